from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mirage_ros.geometry import PoseUnavailableError
from mirage_ros.nodes.pairing import FrameAssembler

MS = 1_000_000


def _image(name: str = "image") -> Any:
    return SimpleNamespace(header=SimpleNamespace(frame_id="camera"), name=name)


class _Fixture:
    """An assembler with a clock and poses under control."""

    def __init__(self, **kwargs: Any) -> None:
        self.now = 0.0
        self.known_until = 10_000 * MS
        self.drops: list[tuple[str, str]] = []
        self.without: list[tuple[str, str]] = []
        arguments = {
            "use_depth": True,
            "use_mask": False,
            "slop_s": 0.01,
            "wait_s": 0.2,
            "capacity": 5,
            "on_drop": lambda topic, reason: self.drops.append((topic, reason)),
            "on_without": lambda topic, reason: self.without.append((topic, reason)),
            "clock": lambda: self.now,
        }
        self.assembler = FrameAssembler(self._pose, **{**arguments, **kwargs})

    def _pose(self, stamp_ns: int, frame_id: str, last_chance: bool) -> np.ndarray:
        if stamp_ns > self.known_until + (50 * MS if last_chance else 0):
            raise PoseUnavailableError("too late", retriable=True)
        pose = np.eye(4)
        pose[0, 3] = stamp_ns
        return pose


def test_messages_pair_by_stamp_in_whatever_order_they_come() -> None:
    f = _Fixture()
    f.assembler.add_depth(1003 * MS, "depth 1")
    f.assembler.add_image(1000 * MS, _image())
    assert f.assembler.poll() == []
    f.assembler.add_info(995 * MS, "info 1")
    f.assembler.add_info(900 * MS, "info 0")
    f.assembler.add_depth(1066 * MS, "depth 2")
    (frame,) = f.assembler.poll()
    assert (frame.info, frame.depth, frame.stamp_ns) == ("info 1", "depth 1", 1000 * MS)
    assert frame.T_world_camera[0, 3] == 1000 * MS
    assert f.assembler.poll() == []


def test_an_image_waits_for_its_pose_and_then_takes_an_extrapolated_one() -> None:
    f = _Fixture(use_depth=False)
    f.known_until = 980 * MS
    f.assembler.add_info(1000 * MS, "info")
    f.assembler.add_image(1000 * MS, _image())
    assert f.assembler.poll() == []
    f.now = 0.2
    (frame,) = f.assembler.poll()
    assert frame.depth is None
    assert f.drops == []


@pytest.mark.parametrize(
    ("missing", "topic", "words"),
    [("info", "camera_info", "nothing has arrived"), ("depth", "depth", "0.500 s away")],
)
def test_an_overdue_image_is_given_up_naming_the_topic(
    missing: str, topic: str, words: str
) -> None:
    f = _Fixture()
    f.assembler.add_image(1000 * MS, _image())
    if missing == "depth":
        f.assembler.add_info(1000 * MS, "info")
        f.assembler.add_depth(500 * MS, "old")
    assert f.assembler.poll() == []
    assert f.drops == []
    f.now = 0.25
    assert f.assembler.poll() == []
    assert [drop[0] for drop in f.drops] == [topic]
    assert words in f.drops[0][1]


def test_buffers_are_bounded_and_the_oldest_image_gives_way() -> None:
    f = _Fixture(capacity=3)
    for k in range(5):
        f.assembler.add_image(k * 100 * MS, _image())
    assert len(f.drops) == 2
    for k in range(5):
        f.assembler.add_info(k * 100 * MS, k)
        f.assembler.add_depth(k * 100 * MS, k)
    assert [frame.info for frame in f.assembler.poll()] == [2, 3, 4]


def test_frames_come_out_in_order_and_a_late_one_is_dropped() -> None:
    f = _Fixture(use_depth=False)
    f.assembler.add_image(1000 * MS, _image("old"))
    f.assembler.add_image(1100 * MS, _image("new"))
    f.assembler.add_info(1100 * MS, "info")
    assert [frame.image.name for frame in f.assembler.poll()] == ["new"]
    f.assembler.add_info(1000 * MS, "info")
    assert f.assembler.poll() == []
    assert "newer frame" in f.drops[0][1]


def test_clear_forgets_and_lets_time_begin_again() -> None:
    f = _Fixture(use_depth=False)
    for stamp in (5000 * MS, 100 * MS):
        f.assembler.add_image(stamp, _image())
        f.assembler.add_info(stamp, "info")
        assert len(f.assembler.poll()) == 1
        f.assembler.clear()
    assert f.drops == []


def _masked() -> _Fixture:
    """A fixture that wants masks, with all else there for images at 1.0 and 1.1 s."""
    f = _Fixture(use_mask=True)
    for stamp in (1000 * MS, 1100 * MS):
        f.assembler.add_info(stamp, "info")
        f.assembler.add_depth(stamp, "depth")
    return f


def test_an_image_waits_for_the_mask_of_its_stamp() -> None:
    f = _masked()
    f.assembler.add_mask(900 * MS, "old")
    f.assembler.add_image(1000 * MS, _image())
    assert f.assembler.poll() == []
    f.assembler.add_mask(1008 * MS, "mask")
    (frame,) = f.assembler.poll()
    assert (frame.mask, frame.depth) == ("mask", "depth")
    assert f.drops == f.without == []


@pytest.mark.parametrize(
    ("stamps_ms", "words"), [([], "nothing has arrived"), ([700, 880], "0.120 s away")]
)
def test_an_overdue_mask_costs_no_frame(stamps_ms: list[int], words: str) -> None:
    f = _masked()
    for stamp in stamps_ms:
        f.assembler.add_mask(stamp * MS, "old")
    f.assembler.add_image(1000 * MS, _image())
    f.now = 0.15
    assert f.assembler.poll() == []
    assert f.without == []
    f.now = 0.2
    (frame,) = f.assembler.poll()
    assert frame.mask is None
    assert [topic for topic, _ in f.without] == ["dynamic_mask"]
    assert words in f.without[0][1]
    assert f.drops == []


def test_a_lost_mask_is_not_waited_for_once_a_later_one_is_there() -> None:
    f = _masked()
    f.assembler.add_image(1000 * MS, _image())
    f.assembler.add_image(1100 * MS, _image())
    f.assembler.add_mask(1100 * MS, "mask")
    assert [frame.mask for frame in f.assembler.poll()] == [None, "mask"]
    assert len(f.without) == 1
    assert f.drops == []


def test_an_image_without_its_needs_is_given_up_whatever_its_mask() -> None:
    f = _Fixture(use_mask=True)
    f.assembler.add_image(1000 * MS, _image())
    f.assembler.add_mask(1000 * MS, "mask")
    f.now = 0.25
    assert f.assembler.poll() == []
    assert [topic for topic, _ in f.drops] == ["camera_info"]
    assert f.without == []


def test_masks_that_nobody_wants_do_not_matter() -> None:
    f = _Fixture()
    f.assembler.add_info(1000 * MS, "info")
    f.assembler.add_depth(1000 * MS, "depth")
    f.assembler.add_image(1000 * MS, _image())
    (frame,) = f.assembler.poll()
    assert frame.mask is None
    assert f.without == []


def test_clear_forgets_masks() -> None:
    f = _masked()
    f.assembler.add_mask(5000 * MS, "of a time that is over")
    f.assembler.clear()
    f.assembler.add_info(1000 * MS, "info")
    f.assembler.add_depth(1000 * MS, "depth")
    f.assembler.add_image(1000 * MS, _image())
    assert f.assembler.poll() == [], "the image waits for its mask"


def test_depth_that_is_a_help_is_waited_for_and_then_done_without() -> None:
    f = _Fixture(needs_depth=False)
    f.assembler.add_image(1000 * MS, _image())
    f.assembler.add_info(1000 * MS, "info")
    assert f.assembler.poll() == []
    f.assembler.add_depth(1005 * MS, "depth")
    (frame,) = f.assembler.poll()
    assert (frame.depth, f.without) == ("depth", [])
    f.assembler.add_image(1100 * MS, _image())
    f.assembler.add_info(1100 * MS, "info")
    assert f.assembler.poll() == []
    f.now = 0.2
    (frame,) = f.assembler.poll()
    assert frame.depth is None
    assert [topic for topic, _ in f.without] == ["depth"]
    assert f.drops == []
