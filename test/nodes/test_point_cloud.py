from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import Header

from mirage_ros.memory import MemoryCloud
from mirage_ros.nodes.point_cloud import TOKEN_DTYPE, feature_cloud, thinned, token_cloud


def cloud(count: int, *, with_features: bool = True) -> MemoryCloud:
    number = np.arange(count)
    return MemoryCloud(
        positions=np.stack([number, -number, 2 * number], axis=1).astype(np.float32),
        colours=np.stack([number % 256] * 3, axis=1).astype(np.uint8),
        confidence=np.full(count, 0.5, np.float32),
        stamps_ns=number * 10**9,
        observed=number % 2 == 0,
        features=np.stack([number] * 5, axis=1).astype(np.float32) if with_features else None,
    )


def test_a_cloud_within_the_limit_stays_whole() -> None:
    whole = cloud(100)
    assert thinned(whole, 100) is whole


@pytest.mark.parametrize(("count", "limit"), [(101, 100), (1000, 100), (1_234_567, 1000)])
def test_a_larger_cloud_is_thinned_evenly(count: int, limit: int) -> None:
    thin = thinned(cloud(count), limit)
    kept = thin.positions[:, 0].astype(int)
    assert len(kept) == limit
    steps = np.diff(kept)
    assert set(steps) <= {count // limit, -(-count // limit)}
    assert count - 1 - kept[-1] <= count / limit
    # All fields of a point are still of one element.
    np.testing.assert_array_equal(thin.colours[:, 0], kept % 256)
    np.testing.assert_array_equal(thin.stamps_ns, kept * 10**9)
    np.testing.assert_array_equal(thin.observed, kept % 2 == 0)
    assert thin.features is not None
    np.testing.assert_array_equal(thin.features[:, 4], kept)


def test_a_memory_without_latents_is_thinned_and_shown_but_has_no_features() -> None:
    thin = thinned(cloud(5000, with_features=False), 1000)
    assert thin.features is None
    message = token_cloud(thin, Header(frame_id="odom"), now_ns=5 * 10**9)
    points = np.frombuffer(message.data, TOKEN_DTYPE)
    assert message.width == len(points) == 1000
    np.testing.assert_allclose(points["age"][:2], [5.0, 0.0])
    with pytest.raises(ValueError, match="without"):
        feature_cloud(thin, Header())
