import math

import numpy as np
import pytest
import torch

from mirage_ros.errors import ConfigurationError
from mirage_ros.memory.bounds import BoundsConfig, judge, rank_in_voxel, surplus, voxel_keys
from mirage_ros.memory.token_store import Geometry, PackedTokens

CONFIG = BoundsConfig()


def verdict(**values: list[float]):  # type: ignore[no-untyped-def]
    """One new token a column; what is not given is that of a token seen from elsewhere."""
    count = len(next(iter(values.values())))
    usual = {
        "old": list(range(count)),
        "old_depth": [2.0] * count,
        "fit": [0.3] * count,
        "error": [0.0] * count,
        "allowed": [0.001] * count,
        "depth": [2.0] * count,
        "scale": [1.0] * count,
    }
    columns = {**usual, **values}
    columns["old"] = torch.tensor(columns["old"], dtype=torch.int64)
    tensors = {k: v if k == "old" else torch.tensor(v) for k, v in columns.items()}
    result = judge(**tensors, config=CONFIG)
    names = {"appended": result.appended, "replacing": result.replacing}
    names["confirming"] = result.confirming
    assert bool((sum(mask.int() for mask in names.values()) == 1).all()), "exactly one of them"
    return [next(name for name, mask in names.items() if mask[i]) for i in range(count)]


def test_what_is_shown_already_is_confirmed_and_the_rest_is_news() -> None:
    assert verdict(error=[0.0, 0.0009, 0.0011]) == ["confirming", "confirming", "appended"]
    assert verdict(old=[-1]) == ["appended"]
    assert verdict(old_depth=[2.19, 1.81, 2.21, 1.79]) == [
        "confirming",
        "confirming",
        "appended",
        "appended",
    ]


def test_less_error_is_allowed_from_farther_off() -> None:
    assert verdict(fit=[0.5, 1.0, 1.0], error=[0.0009, 0.0004, 0.0006]) == [
        "confirming",
        "confirming",
        "appended",
    ]


def test_the_same_view_again_takes_the_old_ones_place_whatever_it_shows() -> None:
    assert verdict(fit=[0.01, 0.01], error=[0.0, 0.5]) == ["replacing", "replacing"]


def test_a_nearer_view_is_better_but_not_at_the_cost_of_other_cells() -> None:
    assert verdict(scale=[0.7, 0.9]) == ["replacing", "confirming"]
    assert verdict(old=[4, 4], scale=[0.7, 0.7]) == ["confirming", "confirming"]


def test_one_place_is_taken_once() -> None:
    assert verdict(old=[3, 3], fit=[0.01, 0.01], error=[0.0, 0.5]) == ["replacing", "appended"]


def test_errors_are_forgiven_where_there_is_contrast() -> None:
    allowed = CONFIG.allowed_error(torch.tensor([0.0, 0.001, 1.0])).tolist()
    assert allowed == pytest.approx([0.0004, 0.0029, 0.006])


def geometry(position: np.ndarray, footprint: float | list[float]) -> Geometry:
    count = len(position)
    return Geometry(
        position=torch.from_numpy(np.asarray(position, dtype=np.float32)),
        footprint=torch.tensor(np.broadcast_to(footprint, count).astype(np.float32)),
        view=torch.zeros(count, 3),
        normal=torch.zeros(count, 3, dtype=torch.int8),
    )


def test_voxels_are_as_large_as_the_cells_of_their_tokens() -> None:
    """At 1/64 m a pixel a cell of 16 is 1/4 m wide."""
    points = np.array([[0.01, 0.01, 0.01], [0.24, 0.2, 0.1], [0.26, 0.01, 0.01], [-0.01, 0.0, 0.0]])
    key = voxel_keys(geometry(points, 1 / 64), stride=16)
    assert key[0] == key[1]
    assert len(set(key.tolist())) == 3
    sizes = voxel_keys(geometry(np.zeros((4, 3)), [1 / 64, 1.3 / 64, 1.5 / 64, 0.1 / 64]), 16)
    assert sizes[0] == sizes[1]
    assert len(set(sizes.tolist())) == 3


def test_voxel_keys_differ_wherever_the_voxels_do() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-100.0, 100.0, (5000, 3))
    key = voxel_keys(geometry(points, 1 / 64), stride=16)
    exact = {tuple(voxel) for voxel in np.floor(points.astype(np.float32) / 0.25).astype(int)}
    assert len(set(key.tolist())) == len(exact)


def test_rank_counts_the_cheaper_ones_of_the_same_voxel() -> None:
    key = torch.tensor([5, 7, 5, 5, 7])
    cost = torch.tensor([3.0, 1.0, 1.0, 3.0, 0.5])
    assert rank_in_voxel(key, cost).tolist() == [1, 1, 0, 2, 0]


def gone(
    position: np.ndarray,
    seen: list[int],
    protected: list[float],
    capacity: int,
    sureness: int = 255,
    **config: int,
) -> list[int]:
    count = len(position)
    tokens = PackedTokens(
        features=torch.zeros(count, 1, dtype=torch.uint8),
        cell=torch.zeros(count, dtype=torch.int16),
        depth=torch.ones(count).half(),
        normal=torch.zeros(count, 3, dtype=torch.int8),
        keyframe=torch.zeros(count, dtype=torch.int16),
        seen=torch.tensor(seen, dtype=torch.int16),
        sureness=torch.full((count,), sureness, dtype=torch.uint8),
    )
    mask = surplus(
        tokens,
        geometry(position, 1 / 64),
        16,
        torch.zeros(3),
        100,
        torch.tensor(protected),
        capacity,
        BoundsConfig(**config),
    )
    return mask.nonzero()[:, 0].tolist()


def apart(count: int) -> np.ndarray:
    return np.arange(count)[:, None] * np.array([[0.5, 0.0, 0.0]])


def test_nothing_goes_while_there_is_room() -> None:
    assert gone(apart(5), [100] * 5, [0.0] * 5, capacity=5) == []


def test_the_far_the_old_and_the_crowded_go_first() -> None:
    assert gone(apart(40), [100] * 40, [0.0] * 40, capacity=39) == [37, 38, 39]
    old = [100] * 40
    old[3] = old[7] = old[9] = 0
    assert gone(np.zeros((40, 3)), old, [0.0] * 40, 39, voxel_tokens=40) == [3, 7, 9]
    crowded = np.concatenate([apart(30), np.full((10, 3), 0.1)])
    assert set(gone(crowded, [100] * 40, [0.0] * 40, capacity=39)) <= set(range(30, 40))


def test_what_is_in_view_stays_while_anything_else_is_left() -> None:
    protected = [1.0] * 38 + [0.0, 0.0]
    near_first = apart(40)[::-1].copy()
    assert gone(near_first, [100] * 40, protected, capacity=39) == [0, 38, 39]


def test_what_the_view_reads_never_goes() -> None:
    assert gone(apart(10), [0] * 10, [2.0] * 10, capacity=2) == []
    assert gone(np.zeros((10, 3)), [0] * 10, [2.0] * 10, capacity=10, voxel_tokens=1) == []


def test_a_voxel_holds_so_many_tokens_at_most() -> None:
    points = np.concatenate([np.zeros((6, 3)), np.full((2, 3), 3.0)])
    assert gone(points, [1, 9, 3, 4, 8, 2, 0, 0], [0.0] * 8, 100, voxel_tokens=2) == [0, 2, 3, 5]


@pytest.mark.parametrize(
    "values",
    [
        {"capacity": 0},
        {"voxel_tokens": 0},
        {"same_error": -0.1},
        {"same_fit": 0.0},
        {"forget_age": 0.0},
        {"same_view": math.nan},
    ],
)
def test_unusable_bounds_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(values))}.*Got"):
        BoundsConfig(**values)  # type: ignore[arg-type]
