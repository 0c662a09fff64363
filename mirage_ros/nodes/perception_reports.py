"""What of the perception's reasons is worth a warning."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mirage_ros.nodes.warner import ThrottledWarner

if TYPE_CHECKING:
    from mirage_ros.perception.pipeline import Perceived

#: What warnings call the parts.
_NAMES = {
    "depth": "depth",
    "registration": "registration",
    "dynamics": "dynamic filter",
    "carving": "memory",
}

#: A view with nothing remembered in it, or without texture, is nothing unusual. So many in a row
#: are: meanwhile drift is not corrected, or motion not seen.
_IN_A_ROW = 3

#: Fewer tokens that a view contradicts say nothing about the view.
_LEAST_CONTRADICTED = 32


class PerceptionReports:
    """Turns reasons into throttled warnings.

    Depth that is less than it could be is named at once, and so is a view that contradicts much of
    what is remembered. Other parts are named when they could do nothing for several keyframes in a
    row.

    Args:
        warner: takes the warnings.
    """

    def __init__(self, warner: ThrottledWarner) -> None:
        self._warner = warner
        self._in_a_row: Counter[str] = Counter()

    def report(self, perceived: Perceived) -> None:
        """Warn about what could not be done for a keyframe, where that is worth it."""
        reasons = perceived.reasons
        for about, name in _NAMES.items():
            reason = reasons.get(about)
            if reason is None:
                self._in_a_row[about] = 0
                continue
            self._in_a_row[about] += 1
            count = self._in_a_row[about]
            if about == "depth":
                self._warner.warn(name, reason, "perception")
            elif about == "carving":
                carving = perceived.carving
                if carving is not None and carving.through >= _LEAST_CONTRADICTED:
                    self._warner.warn(name, f"nothing is forgotten: {reason}", "perception")
            elif count >= _IN_A_ROW:
                self._warner.warn(
                    name, f"of no help for {count} keyframes in a row: {reason}", "perception"
                )
