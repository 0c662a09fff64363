"""What a generator is told about a chunk: frames before it, frames like it, the frame it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stand_ins import CAMERA, DemandingGenerator, model, path

from mirage_ros.frames import RgbdFrame
from mirage_ros.generation import ChunkCondition, GeneratedChunk
from mirage_ros.geometry import PinholeCamera, exp_twist
from mirage_ros.rollout import FIRST_FRAME_ANGLE, FIRST_FRAME_DISTANCE
from mirage_ros.world_model import WorldModel


def demanding(chunk: int = 4, **wants: int | bool) -> WorldModel:
    generator = DemandingGenerator()
    for name, value in wants.items():
        setattr(generator, name, value)
    return model(chunk=chunk, generator=generator)


def told(engine: WorldModel) -> tuple[list[ChunkCondition], list[GeneratedChunk]]:
    return engine.generator.conditions, engine.generator.chunks


def seen(
    pose: NDArray[np.float64], grey: int = 50, metres: float = 1.0, camera: PinholeCamera = CAMERA
) -> RgbdFrame:
    image = np.full((camera.height, camera.width, 3), grey, np.uint8)
    depth = np.full((camera.height, camera.width), metres, np.float32)
    return RgbdFrame(7, image, depth, camera, pose)


def test_frames_before_the_overlap_come_with_what_the_memory_knows_of_them() -> None:
    engine = demanding(preceding_count=2)
    list(engine.imagine(path(11), CAMERA))
    conditions, chunks = told(engine)
    # Targets first, then the frames before, in one read a chunk.
    assert [read.tolist() for read in engine.memory.reads] == [
        [0, 1, 2, 3],
        [3, 4, 5, 6, 1, 2],
        [6, 7, 8, 9, 4, 5],
        [9, 10, 7, 8],
    ]
    assert conditions[0].preceding is None
    for number in (1, 2, 3):
        condition, before = conditions[number], chunks[number - 1]
        preceding = condition.preceding
        assert preceding is not None
        assert torch.equal(preceding.latents, before.latents[1:3])
        assert torch.equal(condition.first_latents, before.latents[3])
        assert len(condition.readout.depth) == len(condition.T_world_camera)
        x = condition.T_world_camera[0, 0, 3]
        for view, place in zip(preceding.readout.latents, (x - 2, x - 1), strict=True):
            assert torch.all(view[0, :, :2] == np.float32(place) / np.float32(255.0))
            assert not view[:, :, 2:].any()


@pytest.mark.parametrize(
    ("wanted", "got"), [(0, [0, 0, 0, 0]), (2, [0, 1, 2, 2]), (9, [0, 1, 2, 3])]
)
def test_there_are_no_more_preceding_frames_than_were_imagined(wanted: int, got: list[int]) -> None:
    engine = demanding(chunk=2, preceding_count=wanted)
    list(engine.imagine(path(5), CAMERA))
    conditions, chunks = told(engine)
    counts = [0 if c.preceding is None else len(c.preceding.latents) for c in conditions]
    assert counts == got
    newest = conditions[-1].preceding
    if newest is not None:
        starts = [chunk.latents[0] for chunk in chunks[:-1]]
        assert torch.equal(newest.latents, torch.stack(starts[-len(newest.latents) :]))


def marks(references: torch.Tensor | None) -> list[float]:
    """The grey values of flat reference frames."""
    return [] if references is None else (references[:, 2, 0, 0] * 255).round().tolist()


def test_references_are_observed_frames_that_show_the_targets() -> None:
    engine = demanding(chunk=3)
    # The targets' depth is 1 + x; turned around, a camera sees none of it.
    behind = exp_twist([0, 0, 0], [0, np.pi, 0], 1.0)
    for grey, pose, metres in ((10, path(1)[0], 1.0), (20, behind, 1.0), (30, path(2)[1], 2.0)):
        engine.observe(seen(pose, grey, metres))
    list(engine.imagine(path(2), CAMERA))
    (condition,) = told(engine)[0]
    assert sorted(marks(condition.references)) == [10, 30]
    assert condition.references.dtype == torch.float32
    engine.generator.reference_count = 1
    list(engine.imagine(path(1), CAMERA))
    assert marks(told(engine)[0][-1].references) == [10]


class NumberingGenerator(DemandingGenerator):
    """Says in blue which chunk a latent frame was made for, and which frame of it it is."""

    reference_count = 10

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        chunk = super().generate(condition, cancelled)
        first = 0 if condition.first_latents is None else 1
        for frame in range(first, len(chunk.latents)):
            chunk.latents[frame, 2] = (10 * len(self.chunks) + frame) / 255.0
        return chunk


def test_a_rollout_adds_one_imagined_frame_a_chunk_to_its_own_references() -> None:
    engine = model(chunk=3, generator=NumberingGenerator())
    engine.observe(seen(path(1)[0], 200))
    # Stands still, so that everything imagined shows the targets of every chunk.
    still = np.stack([np.eye(4)] * 8)
    for _ in range(2):
        engine.generator.conditions.clear()
        engine.generator.chunks.clear()
        list(engine.imagine(still, CAMERA))
        conditions = told(engine)[0]
        assert marks(torch.stack([c.first_latents for c in conditions[1:]])) == [12, 22, 32]
        # The frame that a chunk overlaps with is no reference of its own; the ones before are.
        assert [sorted(marks(c.references)) for c in conditions] == [
            [200],
            [200],
            [12, 200],
            [12, 22, 200],
        ]
        assert [frame.observed for frame in engine.references.frames] == [True]


def test_who_wants_no_references_gets_none() -> None:
    engine = demanding(chunk=3, reference_count=0)
    engine.observe(seen(path(1)[0]))
    list(engine.imagine(path(8), CAMERA))
    assert engine.references.frames == ()
    assert all(condition.references is None for condition in told(engine)[0])


def begun(engine: WorldModel, frame: RgbdFrame, camera: PinholeCamera = CAMERA) -> ChunkCondition:
    """The first chunk's condition of a rollout from ``frame`` on."""
    list(engine.imagine(path(5), camera, first_frame=frame))
    return told(engine)[0][0]


def test_the_first_frame_is_the_first_latent_frame() -> None:
    engine = demanding()
    views = list(engine.imagine(path(5), CAMERA, first_frame=seen(np.eye(4), 90, 3.0)))
    first, second = told(engine)[0]
    assert torch.allclose(first.first_latents, torch.full((3, 2, 4), 90 / 255.0))
    assert torch.equal(first.first_depth, torch.full((2, 4), 3.0))
    np.testing.assert_array_equal(views[0].image, 90)
    # Coverage says what the memory knows, here the left half of every view.
    np.testing.assert_array_equal(views[0].coverage[:, :32], 255)
    np.testing.assert_array_equal(views[0].coverage[:, 32:], 0)
    assert not torch.equal(second.first_latents, first.first_latents)
    assert engine.codec.encoded == [1]


def test_depth_of_the_first_frame_is_completed_by_the_memory_and_then_by_neighbours() -> None:
    frame = seen(np.eye(4), metres=3.0)
    # Cells (0, 0) and (0, 3) are not measured; the memory knows the left half, at 1 m.
    frame.depth[:16, :16] = 0.0
    frame.depth[:16, 48:] = np.nan
    depth = begun(demanding(), frame).first_depth
    expected = torch.full((2, 4), 3.0)
    expected[0, 0] = 1.0
    assert torch.allclose(depth, expected, atol=1e-5)
    without = begun(demanding(), replace(frame, depth=None)).first_depth
    assert torch.allclose(without, torch.ones(2, 4), atol=1e-5)


def moved(metres: float, radians: float) -> NDArray[np.float64]:
    pose = exp_twist([0, 0, 0], [0, radians, 0], 1.0)
    pose[2, 3] = metres
    return pose


@pytest.mark.parametrize(
    ("metres", "radians", "is_used"),
    [
        (0.0, 0.0, True),
        (0.99 * FIRST_FRAME_DISTANCE, 0.99 * FIRST_FRAME_ANGLE, True),
        (1.01 * FIRST_FRAME_DISTANCE, 0.0, False),
        (0.0, 1.01 * FIRST_FRAME_ANGLE, False),
    ],
)
def test_a_frame_seen_elsewhere_is_ignored(metres: float, radians: float, is_used: bool) -> None:
    condition = begun(demanding(), seen(moved(metres, radians)))
    assert (condition.first_latents is not None) is is_used
    assert (condition.first_depth is not None) is is_used


def test_a_frame_of_another_camera_is_ignored() -> None:
    wide = PinholeCamera(64, 32, 35.0, 35.0, 32.0, 16.0)
    assert begun(demanding(), seen(np.eye(4)), wide).first_latents is None
    # Fitted to the same size it is the same camera.
    twice = CAMERA.resized(2 * CAMERA.width, 2 * CAMERA.height)
    assert begun(demanding(), seen(np.eye(4), camera=twice)).first_latents is not None


def test_who_does_not_start_from_a_frame_is_given_none() -> None:
    engine = demanding(starts_from_frame=False)
    assert begun(engine, seen(np.eye(4))).first_latents is None
    assert engine.codec.encoded == []
