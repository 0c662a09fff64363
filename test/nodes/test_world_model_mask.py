"""The optional mask of what moves, over the real node: a help that a frame can do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.ros

INPUTS = ("image", "camera_info", "depth", "odom", "dynamic_mask")

#: Cells of a keyframe in the default generation size, 320x256.
CELLS = 20 * 16


def _no_mask(robot: Any) -> Any:
    return None


def _small_mask(robot: Any) -> Any:
    mask = robot.mask(0, 160)
    mask.width = mask.step = 160
    mask.data = mask.data[: 160 * mask.height]
    return mask


def _coloured_mask(robot: Any) -> Any:
    return robot.image()


def _short_mask(robot: Any) -> Any:
    mask = robot.mask(0, 160)
    mask.data = mask.data[:100]
    return mask


def _old_mask(robot: Any) -> Any:
    robot.tick(-0.1)
    mask = robot.mask(0, 160)
    robot.tick(0.1)
    return mask


def _send(w: Any, x: float, make: Callable[[Any], Any]) -> None:
    """Send a frame with the mask that ``make`` makes of the robot then, and wait for it."""
    w.robot.tick()
    mask = make(w.robot)
    w.robot.tick(-0.1)
    w.send_stored(x, dynamic_mask=mask)


def test_what_the_mask_marks_is_not_remembered(world: Callable[..., Any]) -> None:
    w = world(connect=INPUTS, use_dynamic_mask=True)
    _send(w, 0.0, lambda robot: robot.mask(0, 160))
    assert w.counters.token_count == CELLS // 2
    _send(w, 0.3, lambda robot: robot.mask())
    assert w.counters.token_count > CELLS // 2
    assert not any("dynamic_mask" in line for line in w.robot.warnings)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_no_mask, "nothing has arrived"),
        (_old_mask, "0.100 s away"),
        (_small_mask, "160x256"),
        (_coloured_mask, "rgb8"),
        (_short_mask, "100 bytes"),
    ],
)
def test_a_frame_with_a_bad_mask_is_stored_without_it(
    world: Callable[..., Any], spoil: Callable[[Any], Any], reason: str
) -> None:
    w = world(connect=INPUTS, use_dynamic_mask=True, sync_wait=0.1)
    _send(w, 0.0, spoil)
    assert w.counters.token_count == CELLS
    assert w.spin_until(lambda: w.robot.warned("dynamic_mask", "without it", reason)), (
        w.robot.warnings
    )
    assert w.counters.frames_dropped == 0


def test_warnings_of_missing_masks_are_throttled(world: Callable[..., Any]) -> None:
    w = world(connect=INPUTS, use_dynamic_mask=True, sync_wait=0.02)
    for number in range(5):
        w.send_stored(0.3 * number)
    assert sum("without it" in line for line in w.robot.warnings) == 1


def test_a_silent_mask_is_named_as_missing_input(world: Callable[..., Any]) -> None:
    w = world(connect=INPUTS, use_dynamic_mask=True, sync_wait=0.02, input_timeout=0.3)
    w.spin_for(0.5)
    w.robot.tick(0.5)
    w.send_stored(0.0)
    assert w.node._session.missing_inputs() == ["dynamic_mask"]


def test_nobody_listens_to_masks_unless_told_to(world: Callable[..., Any]) -> None:
    w = world()
    w.send_stored(0.0)
    assert w.robot.out["dynamic_mask"].get_subscription_count() == 0
    assert w.counters.token_count == CELLS
