import math

import numpy as np
import pytest
import torch

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.memory.culling_cpu import visible_tokens
from mirage_ros.memory.readout import ReadoutConfig
from mirage_ros.memory.token_store import (
    FIELDS,
    RUN,
    PackedTokens,
    TokenStore,
    pack_confidence,
)

GRID = PinholeCamera(20, 16, 17.0, 18.0, 9.0, 8.5)
FOCAL = 280.0


def pose(seed: int) -> np.ndarray:
    twist = np.random.default_rng(seed).normal(size=(2, 3))
    return exp_twist(*twist, 1.0)


def tokens(count: int, row: int = 0, seed: int = 0) -> PackedTokens:
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, 20 * 16, count)
    return PackedTokens(
        features=torch.from_numpy(rng.integers(0, 255, (count, 6), dtype=np.uint8)),
        cell=torch.from_numpy(cell.astype(np.int16)),
        depth=torch.from_numpy(rng.uniform(0.5, 6.0, count)).half(),
        normal=torch.from_numpy(rng.integers(-127, 127, (count, 3)).astype(np.int8)),
        keyframe=torch.full((count,), row, dtype=torch.int16),
        seen=torch.zeros(count, dtype=torch.int16),
        sureness=pack_confidence(torch.full((count,), 1 / 3)),
    )


def filled(counts: list[int]) -> TokenStore:
    store = TokenStore(6, exact_depth=False, device="cpu")
    for number, count in enumerate(counts):
        row = store.add_keyframe(pose(number), GRID, FOCAL, 1000 + number, number)
        store.append(tokens(count, row, seed=number))
    return store


def content(store) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
    return [getattr(store.tokens, name).clone() for name in FIELDS]


def assert_same(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_tokens_are_where_their_keyframe_saw_them() -> None:
    store = filled([30, 40])
    geometry = store.geometry(slice(None))
    for number in range(70):
        seen_by = pose(0 if number < 30 else 1)
        row, column = divmod(int(store.tokens.cell[number]), 20)
        cell = np.array([column + 0.5, row + 0.5])
        depth = np.array(float(store.tokens.depth[number]))
        point = seen_by[:3, :3] @ GRID.unproject(cell, depth) + seen_by[:3, 3]
        np.testing.assert_allclose(geometry.position[number], point, atol=1e-6)
        ray = point - seen_by[:3, 3]
        np.testing.assert_allclose(geometry.view[number], ray / np.linalg.norm(ray), atol=1e-6)
        assert float(geometry.footprint[number]) == pytest.approx(depth / FOCAL)
    assert store.tokens.confidence[0] == pytest.approx(1 / 3)


def test_bytes_are_counted_with_everything_beside_the_tokens() -> None:
    store = filled([100])
    token = 6 + 2 + 2 + 3 + 2 + 2 + 1
    assert store.nbytes == 100 * token + 2 * 6 * 4 + 20 * 8 + 8
    assert TokenStore(6, exact_depth=False, device="cpu").nbytes == 0


def test_boxes_hold_their_runs_after_every_change() -> None:
    store = filled([RUN + 7, 3, 200])

    def check() -> None:
        position = store.geometry(slice(None)).position
        assert len(store.boxes) == math.ceil(store.count / RUN)
        for run, box in enumerate(store.boxes):
            part = position[run * RUN : (run + 1) * RUN]
            assert bool((part >= box[:3]).all())
            assert bool((part <= box[3:]).all())

    check()
    store.replace(torch.tensor([5, 130]), tokens(2, row=2, seed=9))
    check()
    store.keep(torch.arange(0, store.count, 3))
    check()
    tight = store.geometry(slice(0, RUN)).position
    torch.testing.assert_close(store.boxes[0, :3], tight.amin(dim=0))


def test_only_what_no_view_can_see_is_left_out() -> None:
    store = filled([900, 900, 900])
    config = ReadoutConfig()
    views = np.stack([pose(11), pose(12)])
    rows, numbers = visible_tokens(store, GRID, views, config)
    assert 0 < len(numbers) < store.count, "some runs must be culled for this to be a test"
    geometry = store.geometry(torch.from_numpy(numbers))
    np.testing.assert_array_equal(rows[0:3].T, geometry.position.numpy())
    np.testing.assert_array_equal(rows[3], geometry.footprint.numpy())
    np.testing.assert_array_equal(rows[4:7].T, geometry.view.numpy())
    np.testing.assert_array_equal(rows[7:10].T, geometry.normal.numpy())
    gone = np.setdiff1d(np.arange(store.count), numbers)
    position = store.geometry(torch.from_numpy(gone)).position.numpy().astype(np.float64)
    for view in views:
        uv, depth = GRID.project((position - view[:3, 3]) @ view[:3, :3])
        size = np.array([GRID.width, GRID.height]) + config.max_reach
        near = (depth > config.near_plane) & ((uv >= -config.max_reach) & (uv <= size)).all(axis=1)
        assert not near.any()


def test_a_snapshot_never_changes() -> None:
    store = filled([80, 50])
    snapshot = store.snapshot()
    before, keyframes = content(snapshot), snapshot.keyframes.clone()
    store.touch(torch.arange(20), now=7)
    assert_same(content(snapshot), before)
    store.replace(torch.tensor([0, 1, 129]), tokens(3, row=1, seed=5))
    assert_same(content(snapshot), before)
    store.append(tokens(500, row=0, seed=6))
    store.set_clock_back(3)
    store.keep(torch.arange(10, 300))
    store.clear()
    assert_same(content(snapshot), before)
    torch.testing.assert_close(snapshot.keyframes, keyframes, rtol=0, atol=0)
    assert store.count == 0


def test_a_snapshot_shares_the_arrays_until_they_change() -> None:
    store = filled([80])
    snapshot = store.snapshot()
    assert snapshot.tokens.features.data_ptr() == store.tokens.features.data_ptr()
    store.touch(torch.tensor([3]), now=2)
    assert snapshot.tokens.features.data_ptr() == store.tokens.features.data_ptr()
    assert snapshot.tokens.seen.data_ptr() != store.tokens.seen.data_ptr()
    del snapshot
    address = store.tokens.features.data_ptr()
    store.replace(torch.tensor([3]), tokens(1, row=0, seed=4))
    assert store.tokens.features.data_ptr() == address, "nobody reads it: no copy"


def test_keeping_some_drops_the_keyframes_that_nothing_is_left_of() -> None:
    store = filled([10, 20, 30])
    expected = store.geometry(torch.arange(30, 60, 2))
    store.keep(torch.arange(30, 60, 2))
    assert store.stamps_ns.tolist() == [1002]
    assert store.tokens.keyframe.unique().tolist() == [0]
    torch.testing.assert_close(store.geometry(slice(None)).position, expected.position)


def test_the_keyframe_table_ends_where_its_numbers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_ros.memory.token_store.MOST_KEYFRAMES", 16)
    store = TokenStore(6, exact_depth=False, device="cpu")
    for number in range(50):
        store.make_room()
        row = store.add_keyframe(pose(number), GRID, FOCAL, number, number)
        if number % 2:
            store.append(tokens(3, row, seed=number))
        assert len(store.stamps_ns) <= 16
    kept = store.stamps_ns[store.tokens.keyframe.long()].unique().tolist()
    assert kept[-1] == 49
    assert len(kept) >= 7
    assert kept == sorted(kept)
    geometry = store.geometry(torch.arange(store.count - 3, store.count))
    seen_by = pose(49)[:3, 3]
    ray = geometry.position.numpy() - seen_by
    np.testing.assert_allclose(
        geometry.view.numpy(), ray / np.linalg.norm(ray, axis=1, keepdims=True), atol=1e-5
    )


@pytest.mark.parametrize(
    ("moved", "turned", "before", "expected"),
    [
        (0.0, 0.0, 1, True),
        (0.09, 0.0, 1, True),
        (0.11, 0.0, 1, False),
        (0.0, 0.19, 1, True),
        (0.0, 0.21, 1, False),
        (0.0, 0.0, 0, False),
    ],
)
def test_a_place_was_visited_if_an_old_keyframe_is_near(
    moved: float, turned: float, before: int, expected: bool
) -> None:
    store = TokenStore(6, exact_depth=False, device="cpu")
    store.add_keyframe(pose(3), GRID, FOCAL, 0, now=1)
    here = pose(3) @ exp_twist([0.0, 0.0, moved], [0.0, turned, 0.0], 1.0)
    assert store.visited(here, 0.1, 0.2, before) is expected


def test_old_times_stay_oldest_when_the_clock_is_set_back() -> None:
    store = filled([4])
    for token, time in enumerate((0, 40, 50, 90)):
        store.touch(torch.tensor([token]), now=time)
    store.set_clock_back(50)
    assert store.tokens.seen.tolist() == [0, 0, 0, 40]
    assert store.keyframes[0, -1] == -50


@pytest.mark.parametrize("gone", [0, 1, RUN - 1, RUN, 3 * RUN + 5, 4 * RUN - 1])
def test_boxes_hold_their_runs_when_one_token_goes(gone: int) -> None:
    store = filled([RUN, 2 * RUN, RUN])
    store.keep(torch.tensor([number for number in range(4 * RUN) if number != gone]))
    position = store.geometry(slice(None)).position
    assert len(store.boxes) == 4
    for run, box in enumerate(store.boxes):
        inside = position[run * RUN : (run + 1) * RUN]
        torch.testing.assert_close(box[:3], inside.amin(dim=0), rtol=0, atol=0)
        torch.testing.assert_close(box[3:], inside.amax(dim=0), rtol=0, atol=0)
