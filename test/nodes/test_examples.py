"""The scripts in examples/ against the real node, as programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
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

        def ended() -> bool:
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
