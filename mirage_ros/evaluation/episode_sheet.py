"""What was imagined in an episode, beside what was wanted and what was seen, as one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.episode_apartment import Task
from mirage_ros.evaluation.episodes import Outcome
from mirage_ros.planning.planar import planar_matrices
from mirage_ros.sources.simulator import Simulator

_TILE = (200, 160)
_BAR, _GAP = 18, 4
_CANDIDATES, _VIDEO_CANDIDATES = 4, 6
_DARK, _LIGHT = 24, (235, 235, 235)
_CHOSEN = (80, 220, 120)


def episode_strip(
    outcome: Outcome, task: Task, simulator: Simulator
) -> NDArray[np.uint8]:  # (H, W, 3)
    """The goal, the best imagined candidates of the first search, the chosen view, the final one.

    The chosen view is the best one of the last search, framed in green; the final one is what the
    camera truly sees at the end.
    """
    tiles = [_tile(task.image, "goal image")]
    candidates = outcome.searches[0].tried if outcome.searches else ()
    tiles += [
        _tile(one.view.image, f"imagined, cost {one.cost:.2f}") for one in candidates[:_CANDIDATES]
    ]
    if outcome.searches:
        best = outcome.searches[-1].best
        tiles.append(_tile(best.view.image, f"chosen, cost {best.cost:.2f}", framed=True))
    end = planar_matrices(outcome.trace[-1:])[0] @ simulator.T_base_camera
    image, _ = simulator.render_from(end)
    word = "found" if outcome.success else "missed"
    text = f"{word}: {outcome.distance:.2f} m {np.degrees(outcome.turn):.0f} deg"
    tiles.append(_tile(image, text))
    while len(tiles) < _CANDIDATES + 3:
        tiles.append(np.full_like(tiles[0], _DARK))
    gap = np.full((tiles[0].shape[0], _GAP, 3), _DARK, dtype=np.uint8)
    return np.hstack([part for tile in tiles for part in (tile, gap)][:-1])


def episode_frames(
    outcome: Outcome, task: Task, simulator: Simulator, every: int
) -> Iterator[NDArray[np.uint8]]:  # (H, W, 3)
    """An episode as pictures of a video, one for ``every`` poses of its trace.

    Above, the goal, what the camera sees and the best view imagined so far; below, the candidates
    of the newest search.
    """
    last = len(outcome.trace) - 1
    for index in [*range(0, last, every), last]:
        pose = planar_matrices(outcome.trace[index][None])[0] @ simulator.T_base_camera
        tiles = [_tile(task.image, "goal image"), _tile(simulator.render_from(pose)[0], "camera")]
        done = sum(at <= index for at in outcome.searched_at)
        if done:
            search = outcome.searches[done - 1]
            best = search.best
            tiles.append(_tile(best.view.image, f"chosen, cost {best.cost:.2f}", framed=True))
            tiles += [
                _tile(one.view.image, f"imagined, cost {one.cost:.2f}")
                for one in search.tried[:_VIDEO_CANDIDATES]
            ]
        while len(tiles) < 3 + _VIDEO_CANDIDATES:
            tiles.append(np.full_like(tiles[0], _DARK))
        yield np.vstack([np.hstack(tiles[start : start + 3]) for start in range(0, len(tiles), 3)])


def contact_sheet(strips: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Strips of one size under each other."""
    gap = np.full((_GAP, strips[0].shape[1], 3), _DARK, dtype=np.uint8)
    return np.vstack([part for strip in strips for part in (strip, gap)][:-1])


def _tile(image: NDArray[np.uint8], text: str, *, framed: bool = False) -> NDArray[np.uint8]:
    shown = np.asarray(cv2.resize(image, _TILE, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if framed:
        cv2.rectangle(shown, (0, 0), (_TILE[0] - 1, _TILE[1] - 1), _CHOSEN, 3)
    bar = np.full((_BAR, _TILE[0], 3), _DARK, dtype=np.uint8)
    cv2.putText(bar, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _LIGHT, 1, cv2.LINE_AA)
    return np.vstack([bar, shown])
