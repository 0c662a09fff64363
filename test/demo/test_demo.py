"""The demo as a person starts it: processes, topics, pictures, figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from mirage_ros.demo.processes import (
    NodeDiedError,
    ProcessGroup,
    ros_arguments,
)

pytestmark = pytest.mark.ros


def test_arguments_keep_their_types() -> None:
    arguments = ros_arguments({"flag": True, "count": 3, "name": "2020"}, Path("/tmp/a b.yaml"))
    assert arguments[:3] == ["--ros-args", "--params-file", "/tmp/a b.yaml"]
    assert arguments[3:] == ["-p", "flag:=true", "-p", "count:=3", "-p", 'name:="2020"']


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, os.environ) as group:
        group.start("broken", "mirage_ros.no_such_module", [])
        group._processes["broken"].wait(30)
        with pytest.raises(NodeDiedError, match=r"broken ended with exit code 1.*\n.*No module"):
            group.check()


def test_a_process_that_cannot_work_is_reported_in_its_own_words(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, os.environ) as group:
        group.start("idle", "http.server", ["0", "--bind", "127.0.0.1"])
        (tmp_path / "idle.log").write_text("begun\n[ERROR] not configured: no weights.\nwaiting\n")
        group.check_log("idle", "not configured by me: ")
        with pytest.raises(NodeDiedError, match=r"^idle: not configured: no weights\.$"):
            group.check_log("idle", "not configured: ")


def test_processes_do_not_outlive_the_group(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, os.environ) as group:
        group.start("server", "http.server", ["0", "--bind", "127.0.0.1"])
        process = group._processes["server"]
        group.check()
    assert process.poll() is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "backend", "keyframes"),
    # Between the steps of a chunk the latest keyframe is stored, and a slow machine skips some.
    [((), "nano", 5), (("--backend", "readout"), "readout", 20)],
    ids=["by default", "readout"],
)
def test_a_sequence_is_shown(
    small_sequence: Callable[[int], Path],
    tmp_path: Path,
    chosen: tuple[str, ...],
    backend: str,
    keyframes: int,
) -> None:
    out = tmp_path / "out"
    sequence = small_sequence(90)
    environment = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
    process = subprocess.run(
        [
            *(sys.executable, "-m", "mirage_ros.demo", *chosen),
            *("--out", out, "--sequence", sequence),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        cwd="/",
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    figures = json.loads((out / "metrics.json").read_text())
    node = figures["node"]
    assert node["backend"] == backend
    assert node["frames_sent"] == 90
    assert node["keyframes_stored"] > keyframes
    assert node["tokens"] > 0
    assert {row["horizon_s"] for row in figures["horizons"]} == {0.25, 1.0, 2.0}
    assert any(row["predictions"] > 0 for row in figures["horizons"])
    for name in (
        "contact_sheet.png",
        "predicted_vs_actual.mp4",
        "latent_cloud.ply",
        "latent_cloud.png",
    ):
        assert (out / name).stat().st_size > 500, name
    assert "keyframes stored" in process.stdout
    assert any(line.split() == ["backend", backend] for line in process.stdout.splitlines())
