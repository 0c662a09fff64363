"""The chunk loop over plain stand-ins: which views come, what is decoded, timed and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from stand_ins import CAMERA, DemandingGenerator, model, path

from mirage_ros.errors import GenerationError
from mirage_ros.frames import RgbdFrame, fit_camera
from mirage_ros.generation import ChunkCondition, GeneratedChunk, GenerationCancelled
from mirage_ros.geometry import PinholeCamera
from mirage_ros.rollout import chunk_seed


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 11])
def test_every_pose_gives_one_view_in_order(count: int) -> None:
    views = list(model().imagine(path(count), CAMERA))
    assert [view.index for view in views] == list(range(count))
    for n, view in enumerate(views):
        assert view.T_world_camera[0, 3] == n
        assert view.camera == CAMERA
        np.testing.assert_array_equal(view.image[..., 0], n)
        np.testing.assert_array_equal(view.image[..., 1:], 0)
        np.testing.assert_allclose(view.depth, 1.0 + n, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12, 13, 14, 17, 25, 26])
def test_a_latent_frame_serves_the_pixel_frames_it_decodes_to(count: int) -> None:
    views = list(model(temporal_stride=4, chunk=4).imagine(path(count), CAMERA))
    assert [view.index for view in views] == list(range(count))
    for n, view in enumerate(views):
        # Latent frame k ends at pixel frame 4 k; past the end of the path the camera stands still.
        aligned = min(-(-n // 4) * 4, count - 1)
        assert view.T_world_camera[0, 3] == n
        np.testing.assert_array_equal(view.image[..., 0], aligned)
        np.testing.assert_allclose(view.depth, 1.0 + aligned, rtol=1e-6)


def test_chunks_overlap_by_the_exact_latents() -> None:
    engine = model(chunk=4)
    list(engine.imagine(path(8), CAMERA, seed=100))
    conditions, chunks = engine.generator.conditions, engine.generator.chunks
    assert [list(c.T_world_camera[:, 0, 3]) for c in conditions] == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 7],
    ]
    assert conditions[0].first_latents is None
    assert conditions[0].first_depth is None
    for before, condition in zip(chunks, conditions[1:], strict=False):
        assert torch.equal(condition.first_latents, before.latents[-1])
        assert torch.equal(condition.first_depth, before.depth[-1])
    assert len({c.seed for c in conditions}) == 3


def test_seeds_come_from_the_call_or_the_configuration() -> None:
    engine = model(chunk=4)
    for seed in (None, None, 5):
        list(engine.imagine(path(5), CAMERA, seed=seed))
    seeds = [c.seed for c in engine.generator.conditions]
    assert seeds[:2] == seeds[2:4]
    assert seeds[0] == chunk_seed(11, 0)
    assert seeds[4:] == [chunk_seed(5, 0), chunk_seed(5, 1)]


def test_coverage_is_constant_over_a_cell_and_honest() -> None:
    (view,) = model().imagine(path(1), CAMERA)
    assert view.coverage.dtype == np.uint8
    assert view.depth.dtype == np.float32
    np.testing.assert_array_equal(view.coverage[:, :32], 255)
    np.testing.assert_array_equal(view.coverage[:, 32:], 0)
    assert view.known_fraction == 0.5


def test_views_come_as_soon_as_their_chunk_is_ready() -> None:
    engine = model(chunk=4)
    views = engine.imagine(path(20), CAMERA)
    assert engine.memory.reads == []
    for _ in range(4):
        next(views)
    assert len(engine.memory.reads) == 1


def test_cancel_between_chunks_leaves_the_memory_alone() -> None:
    engine = model(chunk=4)
    stop = False
    views = engine.imagine(path(20), CAMERA, cancelled=lambda: stop)
    for _ in range(4):
        next(views)
    stop = True
    with pytest.raises(GenerationCancelled):
        next(views)
    assert len(engine.generator.chunks) == 1
    assert engine.token_count == 0


def test_any_camera_is_fitted_by_the_stated_rule() -> None:
    camera = PinholeCamera(641, 479, 500.0, 505.0, 322.0, 238.0)
    (view,) = model().imagine(path(1), camera)
    assert view.camera == fit_camera(camera, 64, 32)
    assert view.image.shape == (32, 64, 3)


def test_no_chunk_shares_its_seed_with_a_neighbour() -> None:
    seeds = {chunk_seed(seed, number) for seed in range(-2, 40) for number in range(40)}
    assert len(seeds) == 42 * 40
    # Numbers that would run together if seed and number were simply put next to each other.
    assert chunk_seed(1 << 32, 0) != chunk_seed(0, 1)
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert chunk_seed(3, 5) == chunk_seed(3, 5)


@pytest.mark.parametrize(
    ("count", "stride", "decoded"),
    [
        (9, 1, [9]),
        (26, 1, [9, 8, 8, 1]),
        (33, 4, [33]),
        (34, 4, [33, 4]),
        (98, 4, [33, 32, 32, 4]),
        (1, 4, [1]),
        (6, 4, [9]),
    ],
)
def test_the_overlap_is_decoded_once(count: int, stride: int, decoded: list[int]) -> None:
    engine = model(temporal_stride=stride, chunk=9)
    assert len(list(engine.imagine(path(count), CAMERA))) == count
    (stream,) = engine.codec.streams
    assert stream.counts == decoded


@pytest.mark.parametrize("stride", [1, 4])
def test_there_is_no_seam_between_chunks(stride: int) -> None:
    engine = model(temporal_stride=stride, chunk=4, fading=True)
    views = list(engine.imagine(path(30), CAMERA))
    chunks = engine.generator.chunks
    latents = torch.cat([chunks[0].latents, *(chunk.latents[1:] for chunk in chunks[1:])])
    whole = (engine.codec.decode(latents)[:30] * 255.0).round().byte()
    for view, expected in zip(views, whole, strict=True):
        np.testing.assert_array_equal(view.image, expected.permute(1, 2, 0).numpy())
    # Decoded alone, the second chunk begins otherwise.
    alone = engine.codec.decode(chunks[1].latents)
    assert (alone[1] * 255.0).round().byte()[0, 0, 0] != whole[3 * stride + 1][0, 0, 0]


def test_rollouts_that_take_turns_have_streams_of_their_own() -> None:
    engine = model(chunk=4, fading=True)
    alone = [view.image for view in engine.imagine(path(10), CAMERA)]
    first, second = engine.imagine(path(10), CAMERA), engine.imagine(path(10), CAMERA)
    for image in alone:
        np.testing.assert_array_equal(next(first).image, image)
        np.testing.assert_array_equal(next(second).image, image)


def test_what_is_invented_is_written_once_where_nothing_was_known() -> None:
    engine = model(chunk=4, generator=DemandingGenerator())
    engine.newest_stamp_ns = 77
    list(engine.imagine(path(9), CAMERA))
    assert [poses.tolist() for _, _, poses, _ in engine.memory.written] == [
        [0, 1, 2, 3],
        [4, 5, 6],
        [7, 8],
    ]
    for latents, depth, poses, stamp in engine.memory.written:
        assert len(latents) == len(depth) == len(poses)
        # The left half is covered, and 0 means that nothing is to be written.
        assert not depth[:, :, :2].any()
        assert (depth[:, :, 2:] > 0).all()
        assert stamp == 77
    quiet = model(chunk=4)
    list(quiet.imagine(path(9), CAMERA))
    assert quiet.memory.written == []


class StageLog:
    def __init__(self) -> None:
        self.stages: list[str] = []

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        self.stages.append(stage)
        yield


def test_stages_are_timed_by_who_wants_to_know() -> None:
    engine = model(chunk=4)
    engine.stages = StageLog()
    list(engine.imagine(path(5), CAMERA))
    assert engine.stages.stages == ["readout", "generate", "decode"] * 2
    assert all(c.stages is engine.stages for c in engine.generator.conditions)
    inventive = model(chunk=4, generator=DemandingGenerator())
    inventive.stages = StageLog()
    list(inventive.imagine(path(5), CAMERA))
    chunk = ["readout", "references", "generate", "decode", "write_back"]
    assert inventive.stages.stages == chunk * 2


class FailingGenerator(DemandingGenerator):
    """Spoils its second chunk."""

    spoil: Callable[[GeneratedChunk], GeneratedChunk]

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        chunk = super().generate(condition, cancelled)
        return self.spoil(chunk) if len(self.chunks) == 2 else chunk


def _nan(chunk: GeneratedChunk) -> GeneratedChunk:
    latents = chunk.latents.clone()
    latents[-1, 0, 0, :2] = torch.nan
    return replace(chunk, latents=latents)


def _infinite_depth(chunk: GeneratedChunk) -> GeneratedChunk:
    return replace(chunk, depth=torch.where(chunk.depth > 5.0, torch.inf, chunk.depth))


def _too_short(chunk: GeneratedChunk) -> GeneratedChunk:
    return replace(chunk, latents=chunk.latents[:-1])


def _half_precision(chunk: GeneratedChunk) -> GeneratedChunk:
    return replace(chunk, latents=chunk.latents.half())


def _flat_depth(chunk: GeneratedChunk) -> GeneratedChunk:
    return replace(chunk, depth=chunk.depth[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_nan, "latents of chunk 1 by generator 'readout' must be finite. Got 2 NaN"),
        (_infinite_depth, "depth of chunk 1 .* must be finite. Got .* of 32"),
        (_too_short, r"latents of chunk 1 .* shape \(4, 3, 2, 4\). Got .* shape \(3, 3, 2, 4\)"),
        (_half_precision, "must be float32 .* Got torch.float16"),
        (_flat_depth, r"depth of chunk 1 .* shape \(4, 2, 4\). Got .* shape \(2, 4\)"),
    ],
)
def test_what_cannot_be_shown_ends_the_rollout_without_a_trace(
    spoil: Callable[[GeneratedChunk], GeneratedChunk], message: str
) -> None:
    generator = FailingGenerator()
    generator.spoil = spoil  # type: ignore[method-assign]
    engine = model(chunk=4, generator=generator)
    views = engine.imagine(path(10), CAMERA)
    assert [next(views).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(GenerationError, match=message):
        next(views)
    assert list(views) == []
    assert len(engine.memory.written) == 1
    # Later rollouts are none the worse for it.
    assert len(list(engine.imagine(path(10), CAMERA))) == 10


def _out_of_memory(chunk: GeneratedChunk) -> GeneratedChunk:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23 GiB"
    )


def test_a_chunk_that_the_device_has_no_room_for_is_given_up_with_advice() -> None:
    generator = FailingGenerator()
    generator.spoil = _out_of_memory  # type: ignore[method-assign]
    engine = model(chunk=4, generator=generator)
    views = engine.imagine(path(10), CAMERA)
    assert [next(views).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(GenerationError, match=r"chunk 1 does not fit .*: CUDA out.*offload"):
        next(views)
    assert len(engine.memory.written) == 1
    assert len(list(engine.imagine(path(10), CAMERA))) == 10


def test_a_frame_that_the_device_has_no_room_for_is_not_stored() -> None:
    engine = model()
    frame = RgbdFrame(
        1, np.zeros((32, 64, 3), np.uint8), np.ones((32, 64), np.float32), CAMERA, np.eye(4)
    )

    def observe(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    working, engine.memory.observe = engine.memory.observe, observe  # type: ignore[assignment]
    with pytest.raises(GenerationError, match="a frame to remember does not fit"):
        engine.observe(frame)
    assert engine.newest_stamp_ns is None
    engine.memory.observe = working  # type: ignore[method-assign]
    engine.observe(frame)
    assert engine.newest_stamp_ns == 1


def test_the_warm_up_runs_whole_chunks_of_every_kind() -> None:
    engine = model(chunk=4, generator=DemandingGenerator())
    engine.warm_up()
    first, second = engine.generator.conditions
    assert len(first.T_world_camera) == len(second.T_world_camera) == 4
    assert first.first_latents is not None
    assert first.preceding is None
    assert second.preceding is not None
    assert engine.reference_bytes == 0
    plain = model(chunk=4)
    plain.warm_up()
    assert [len(c.T_world_camera) for c in plain.generator.conditions] == [4]
