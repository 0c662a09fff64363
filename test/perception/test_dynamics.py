"""The filter on walls before which a board is put up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walls import HEIGHT, WIDTH, wall

from mirage_ros.frames import RgbdFrame
from mirage_ros.perception import dynamics
from mirage_ros.perception.dynamics import DynamicsConfig, DynamicsFilter
from mirage_ros.perception.flow import FlowEvidence
from mirage_ros.perception.quarantine import QuarantineConfig

STILL = DynamicsConfig(flow=False, waiting=QuarantineConfig(seconds=0.0), widen=0)
#: Pixels that the board covers.
BOARD = (slice(16, 48), slice(32, 64))


def seen_from(offset: float, *, board: bool, stamp: int = 0) -> RgbdFrame:
    frame = replace(wall(offset), stamp_ns=stamp)
    if board:
        assert frame.depth is not None
        frame.depth[BOARD] = 1.0
    return frame


def look(filter_: DynamicsFilter, frame: RgbdFrame):  # type: ignore[no-untyped-def]
    seen = filter_.look(frame)
    filter_.remember(replace(frame, dynamic=seen.mask))
    return seen


def board_pixels() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[BOARD] = True
    return mask


def test_the_first_view_is_believed_whatever_it_shows() -> None:
    assert not look(DynamicsFilter(16, STILL), seen_from(0.0, board=True)).mask.any()


def test_what_came_waits_for_three_views_and_is_then_believed() -> None:
    filter_ = DynamicsFilter(16, STILL)
    assert not look(filter_, seen_from(0.0, board=False)).mask.any()
    for number in range(5):
        seen = look(filter_, seen_from(0.0, board=True, stamp=1 + number))
        if number < 2:
            assert (seen.mask == board_pixels()).all()
            assert seen.new == board_pixels().mean()
        else:
            assert not seen.mask.any()


def test_what_was_out_of_view_before_is_not_new() -> None:
    """The board is seen from the side; the view before looked elsewhere."""
    filter_ = DynamicsFilter(16, STILL)
    look(filter_, seen_from(-3.0, board=False))
    assert not look(filter_, seen_from(0.0, board=True)).mask.any()


def test_specks_are_left_out_and_marks_widened() -> None:
    config = replace(STILL, least_samples=8, widen=1)
    filter_ = DynamicsFilter(16, config)
    look(filter_, seen_from(0.0, board=False))
    speck = seen_from(0.0, board=False, stamp=1)
    assert speck.depth is not None
    speck.depth[4:8, 4:8] = 1.0
    assert not look(filter_, speck).mask.any()
    seen = look(filter_, seen_from(0.0, board=True, stamp=2))
    wider = np.zeros((HEIGHT, WIDTH), bool)
    wider[12:52, 28:68] = True
    assert (seen.mask == wider).all()


def test_masks_from_outside_are_kept() -> None:
    dynamic = np.zeros((HEIGHT, WIDTH), bool)
    dynamic[3, 5] = True
    seen = DynamicsFilter(16, STILL).look(replace(wall(), dynamic=dynamic))
    assert (seen.mask == dynamic).all()
    assert seen.masked == dynamic.mean()


def test_switched_off() -> None:
    filter_ = DynamicsFilter(16, replace(STILL, quarantine=False))
    look(filter_, seen_from(0.0, board=False))
    assert not look(filter_, seen_from(0.0, board=True)).mask.any()
    assert filter_.nbytes == 0


def test_forgotten_views_say_nothing() -> None:
    filter_ = DynamicsFilter(16, STILL)
    look(filter_, seen_from(0.0, board=False))
    filter_.clear()
    assert not look(filter_, seen_from(0.0, board=True)).mask.any()


def test_what_stood_in_its_place_before_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow of a rich scene errs; that the surface was there before counts more."""
    everywhere = FlowEvidence(np.ones((HEIGHT, WIDTH), bool), usable=True)
    monkeypatch.setattr(dynamics, "residual_flow", lambda *_: everywhere)
    filter_ = DynamicsFilter(16, replace(STILL, flow=True))
    frame = seen_from(0.0, board=False)
    assert filter_.look(frame, frame).moving == 1.0
    filter_.remember(frame)
    assert filter_.look(frame, frame).mask.mean() < 0.3  # the rim, which no view can judge
    board = seen_from(0.0, board=True, stamp=1)
    assert filter_.look(board, board).mask[BOARD].all()
    unusable = FlowEvidence(np.ones((HEIGHT, WIDTH), bool), usable=False, reason="a scene cut")
    monkeypatch.setattr(dynamics, "residual_flow", lambda *_: unusable)
    seen = filter_.look(frame, frame)
    assert (seen.moving, seen.reason) == (0.0, "a scene cut")


def test_estimated_depth_says_nothing_of_free_space() -> None:
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    wall_seen, board = seen_from(0.0, board=False), seen_from(0.0, board=True, stamp=1)
    filter_ = DynamicsFilter(16, STILL)
    filter_.remember(wall_seen)
    assert not filter_.look(board, None, nothing).mask.any()
    assert (filter_.look(board, None, board.depth).mask == board_pixels()).all()
    unaware = DynamicsFilter(16, STILL)
    unaware.remember(wall_seen, nothing)
    assert not unaware.look(board).mask.any()
