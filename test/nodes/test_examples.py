"""The scripts in examples/ against the real node, as programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

pytestmark = pytest.mark.ros

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(w: Any, script: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output; the robot goes on sending its odometry."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=os.environ,
    ) as process:
        sent = [0.0]

        def ended() -> bool:
            if time.monotonic() - sent[-1] > 0.1:
                sent.append(time.monotonic())
                w.robot.out["odom"].publish(w.robot.odometry())
            return process.poll() is not None

        assert w.spin_until(ended, 60.0), "the example does not end"
        assert process.stdout is not None
        return process.returncode, process.stdout.read()


def test_a_client_asks_for_arcs(world: Callable[..., Any], tmp_path: Path) -> None:
    w = world(rollout_rate=0.0)
    w.send_stored(0.0)
    code, said = run(w, "imagine_paths.py", "--frames", "4", "--out", str(tmp_path))
    assert code == 0, said
    lines = said.splitlines()
    assert len(lines) == 5
    assert all(line.endswith("4 frames") for line in lines)
    assert "curvature +0.0: " in lines[2]
    pictures = sorted(tmp_path.glob("candidate_*.ppm"))
    assert len(pictures) == 5
    assert cv2.imread(str(pictures[0])).shape == (256, 320, 3)


def test_what_goes_wrong_is_told(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=0.0)
    code, said = run(w, "imagine_paths.py")
    assert (code, "error 902: nothing has been observed" in said) == (1, True), said


def test_a_nav2_client_takes_the_path_it_remembers(
    world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nav2 itself is not here: a stand-in for its navigator hands out the planners' paths."""
    import threading
    from argparse import Namespace

    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Path as PathMessage

    monkeypatch.syspath_prepend(str(EXAMPLES))
    import nav2_choose_path
    from imagine_paths import Client

    def straight(y: float) -> PathMessage:
        path = PathMessage()
        path.header.frame_id = "odom"
        for x in (0.0, 0.5, 1.0):
            pose = PoseStamped()
            pose.pose.position.x, pose.pose.position.y = x, y
            pose.pose.orientation.w = 1.0
            path.poses.append(pose)
        return path

    class Navigator:
        followed: PathMessage | None = None

        def __init__(self) -> None:
            self.asked: list[str] = []

        def getPath(self, start: Any, goal: Any, planner: str) -> PathMessage:  # noqa: N802
            self.asked.append(planner)
            return {"unseen": straight(40.0), "seen": straight(0.0)}[planner]

        def followPath(self, path: PathMessage) -> bool:  # noqa: N802
            self.followed = path
            return True

    w = world(rollout_rate=0.0)
    w.send_stored(0.0)
    client, navigator = Client("/world_model"), Navigator()
    options = Namespace(x=1.0, y=0.0, frame="odom", planners=["unseen", "seen"], frames=3)
    options.unknown_metres = 3.0
    codes: list[int] = []
    # The example spins a node of its own, beside the world model's executor.
    thread = threading.Thread(
        target=lambda: codes.append(nav2_choose_path.go(navigator, client, options))
    )
    thread.start()
    assert w.spin_until(lambda: not thread.is_alive(), 60.0)
    thread.join()
    assert codes == [0]
    assert navigator.followed == straight(0.0)
    assert navigator.asked == ["unseen", "seen"]
    client.node.destroy_node()
