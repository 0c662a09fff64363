"""What the world model node tells about itself: the latent cloud, status and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from mirage_ros.msg import MemoryStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2

from mirage_ros.nodes.point_cloud import TOKEN_DTYPE
from mirage_ros.nodes.pose_conversion import stamp_to_ns

pytestmark = pytest.mark.ros

TOKENS_A_FRAME = (320 // 16) * (256 // 16)


def test_latent_cloud_is_latched_and_coloured(world: Callable[..., Any]) -> None:
    w = world(cloud_rate=20.0)
    w.robot.texture[:] = (200, 40, 90)
    early = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    w.spin_for(0.3)
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(early) and early[-1].width == TOKENS_A_FRAME)
    late = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    assert w.spin_until(lambda: bool(late)), "a late subscriber gets the last cloud"
    cloud = late[-1]
    assert cloud.header.frame_id == "odom"
    assert [field.name for field in cloud.fields] == list(TOKEN_DTYPE.names or ())
    points = np.frombuffer(cloud.data, TOKEN_DTYPE)
    np.testing.assert_allclose(points["x"], 3.1, atol=1e-3)
    colours = points["rgb"].view(np.uint32)
    expected = np.array([200, 40, 90])
    rgb = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=1)
    assert np.abs(rgb.astype(int) - expected).max() <= 2
    assert (points["observed"] == 1).all()
    assert (points["confidence"] > 0).all()
    assert np.isfinite(points["age"]).all()


def test_a_large_cloud_is_thinned_for_publishing(world: Callable[..., Any]) -> None:
    w = world(cloud_rate=20.0, grids=4, cloud_points=1000)
    clouds = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    w.spin_for(0.3)
    w.send_stored(0.0)
    assert w.counters.token_count > 1000
    assert w.spin_until(lambda: bool(clouds) and clouds[-1].width > 0)
    assert clouds[-1].width == 1000
    w.node.set_parameters([Parameter("cloud_points", value=100_000)])
    assert w.spin_until(lambda: clouds[-1].width == w.counters.token_count)


def test_features_are_published_only_when_wanted(world: Callable[..., Any]) -> None:
    w = world(cloud_rate=20.0)
    w.send_stored(0.0)
    assert w.node.count_publishers("/world_model/latent_cloud/features") == 1
    features = w.robot.listen(PointCloud2, "world_model/latent_cloud/features")
    assert w.spin_until(lambda: bool(features))
    cloud = features[-1]
    field = cloud.fields[3]
    assert (field.name, field.count, field.offset) == ("latent", 48, 12)
    values = np.frombuffer(cloud.data, np.float32).reshape(-1, 3 + 48)
    assert values.shape[0] == TOKENS_A_FRAME
    assert np.isfinite(values).all()
    assert values[:, 3:].std() > 0.1


def test_a_memory_without_latents_says_so(world: Callable[..., Any]) -> None:
    w = world(cloud_rate=20.0, memory="rgb", cloud_points=2000)
    clouds = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    w.robot.listen(PointCloud2, "world_model/latent_cloud/features")
    w.spin_for(0.3)
    w.send_stored(0.0)
    assert w.counters.token_count == 320 * 256
    assert w.spin_until(lambda: bool(clouds) and clouds[-1].width == 2000)
    assert w.spin_until(lambda: w.robot.warned("latent_cloud/features", "no latents"))


def test_status_and_diagnostics_tell_the_state(world: Callable[..., Any]) -> None:
    w = world(status_rate=20.0, capacity=TOKENS_A_FRAME + 80)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    reports = w.robot.listen(DiagnosticArray, "/diagnostics")
    w.spin_for(0.3)
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(status) and status[-1].keyframe_count == 1)
    last = status[-1]
    assert last.backend == "readout"
    assert last.token_count == TOKENS_A_FRAME
    # Packed features, a cell, a depth, a normal, two numbers and the confidence: under 64 bytes.
    assert TOKENS_A_FRAME * 32 < last.memory_bytes < TOKENS_A_FRAME * 64
    assert last.images_received == 1
    assert stamp_to_ns(last.newest_observation) == w.robot.stamp_ns
    assert {"callback", "observe", "image_to_memory"} <= {t.stage for t in last.timings}
    assert (last.memory, last.capacity) == ("latent", TOKENS_A_FRAME + 80)
    assert (last.tokens_added, last.tokens_evicted) == (TOKENS_A_FRAME, 0)

    def reported(key: str) -> str:
        return {v.key: v.value for v in reports[-1].status[0].values}[key] if reports else ""

    assert w.spin_until(lambda: reported("tokens") == str(TOKENS_A_FRAME))
    assert reported("keyframes") == "1"
    # The same view replaces what was there; from elsewhere it looks new, and there is no room.
    w.node.set_parameters([Parameter("keyframe_interval", value=0.05)])
    w.robot.texture = 255 - w.robot.texture
    w.send_stored(0.0)
    w.send_stored(0.3)
    assert w.spin_until(lambda: reported("keyframes") == str(w.counters.keyframes_stored))
    last = status[-1]
    assert last.tokens_refreshed == TOKENS_A_FRAME
    assert last.tokens_added + last.tokens_confirmed == 2 * TOKENS_A_FRAME
    assert last.tokens_evicted > 0
    assert last.token_count == last.tokens_added - last.tokens_evicted <= last.capacity
    assert reported("tokens_evicted") == str(last.tokens_evicted)
    assert reported("capacity") == str(last.capacity)


def test_silent_inputs_are_named(world: Callable[..., Any]) -> None:
    w = world(input_timeout=0.3, status_rate=10.0)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    assert w.spin_until(lambda: w.robot.warned("/image", "/camera_info", "/depth", "/odom"))
    assert w.spin_until(
        lambda: (
            bool(status)
            and set(status[-1].missing_inputs) == {"image", "camera_info", "depth", "odom"}
        )
    )
    assert w.state == "active"
