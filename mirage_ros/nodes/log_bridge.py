"""What the core says through Python's logging, in the node's log."""

from __future__ import annotations

import logging
from typing import Any

_CORE = logging.getLogger("mirage_ros")


class LogBridge(logging.Handler):
    """Hands records of the core on to a node's logger, from :meth:`open` to :meth:`close`.

    Args:
        logger: the node's.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def open(self) -> None:
        """Begin to hand on."""
        self._level_before = _CORE.level
        _CORE.setLevel(logging.INFO)
        _CORE.addHandler(self)

    def close(self) -> None:
        """Hand nothing on any more."""
        if self in _CORE.handlers:
            _CORE.removeHandler(self)
            _CORE.setLevel(self._level_before)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record with its severity."""
        text = self.format(record)
        # One line a severity: rclpy ties a severity to the line that it is logged from.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
