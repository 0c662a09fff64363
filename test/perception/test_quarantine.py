from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.perception.quarantine import Quarantine, QuarantineConfig

CHAIR = np.array([[1.0, 2.0, 0.4], [1.0, 2.0, 0.9]])
SECOND = 1_000_000_000


def test_released_by_the_third_view_that_agrees() -> None:
    quarantine = Quarantine(QuarantineConfig(views=3, seconds=0.0))
    waits = [quarantine.waits(CHAIR, number).all() for number in range(4)]
    assert waits == [True, True, False, False]


def test_views_within_a_moment_count_as_one_look() -> None:
    quarantine = Quarantine(QuarantineConfig(views=3, seconds=1.0))
    waits = [quarantine.waits(CHAIR, number * SECOND // 4).all() for number in range(6)]
    assert waits == [True, True, True, True, False, False]


def test_what_walks_on_is_never_believed() -> None:
    quarantine = Quarantine(QuarantineConfig(seconds=0.0))
    for number in range(20):
        assert quarantine.waits(CHAIR + np.array([0.4 * number, 0.0, 0.0]), number).all()


def test_noise_within_a_voxel_is_the_same_place() -> None:
    rng = np.random.default_rng(0)
    quarantine = Quarantine(QuarantineConfig(seconds=0.0))
    waits = [quarantine.waits(CHAIR + rng.uniform(-0.07, 0.07, (2, 3)), n) for n in range(3)]
    assert not waits[-1].any()


def test_places_are_told_apart() -> None:
    quarantine = Quarantine(QuarantineConfig(seconds=0.0))
    for number in range(2):
        quarantine.waits(CHAIR, number)
    both = np.concatenate([CHAIR, CHAIR + 5.0])
    assert quarantine.waits(both, 3).tolist() == [False, False, True, True]


def test_old_places_are_forgotten() -> None:
    quarantine = Quarantine(QuarantineConfig(seconds=0.0, forget_views=5))
    quarantine.waits(CHAIR, 0)
    quarantine.waits(CHAIR, 1)
    for number in range(6):
        quarantine.waits(CHAIR + 100.0, 2 + number)
    assert quarantine.waits(CHAIR, 20).all()
    assert len(quarantine) == 4
    quarantine.clear()
    assert len(quarantine) == 0


def test_time_that_jumps_back_begins_anew() -> None:
    quarantine = Quarantine(QuarantineConfig(views=2, seconds=0.0))
    quarantine.waits(CHAIR, 100)
    assert quarantine.waits(CHAIR, 50).all()
    assert not quarantine.waits(CHAIR, 60).any()


@pytest.mark.parametrize("values", [{"views": 0}, {"seconds": -1.0}, {"voxel": 0.0}])
def test_nonsense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        QuarantineConfig(**values)  # type: ignore[arg-type]
