"""``python -m mirage_ros.demo``: drive the simulated robot, or replay a sequence, and show it.

Starts the source of sensor data and the world model as processes of their own, watches their topics
until the tour or the sequence ends, and writes pictures and figures.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mirage_ros.demo.cloud_file import cloud_arrays, write_ply
from mirage_ros.demo.processes import NodeDiedError, ProcessGroup, ros_arguments
from mirage_ros.demo.report import horizon_row, table
from mirage_ros.demo.video import contact_sheet, outcome_panels, write_picture
from mirage_ros.evaluation.cloud_picture import render_cloud
from mirage_ros.evaluation.outcomes import Outcome
from mirage_ros.evaluation.video_file import write_video
from mirage_ros.nodes.demo_recorder import Recorder, recording

#: World models that run without a GPU and without weights from elsewhere.
_BACKENDS = ("readout", "nano")
#: Predicted views: width and height, frames and time between them.
_SIZE = (320, 256)
_HORIZON_S = 2.0
_FRAME_PERIOD_S = 0.25
_FRAME_INTERVAL_S = 1.0 / 15.0
#: Horizons the table shows, seconds.
_SHOWN_HORIZONS_S = (0.25, 1.0, 2.0)
_VIDEO_HORIZON_S = 1.0
_START_TIMEOUT_S = 60.0
#: Topics need a moment to be flushed after the last frame.
_SETTLE_S = 2.5


@dataclass(frozen=True)
class Source:
    """Where the sensor data comes from: a node, its parameters, and the world model's for it."""

    name: str
    module: str
    parameters: dict[str, object]
    params_file: Path


def main() -> int:
    """Run the demo; the process's exit code."""
    arguments = _parse()
    config = _share_directory() / "config"
    source = _source(arguments, config)
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(_environment(config))
    # A terminal that is closed must take the nodes along as an interrupt does.
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with recording(source.name, _SIZE, _HORIZON_S, _FRAME_INTERVAL_S) as recorder:
            with ProcessGroup(arguments.out / "log", os.environ) as group:
                parameters = _parameters(arguments)
                seconds = _run(group, recorder, source, parameters)
            _write_results(recorder, seconds, arguments.out, source)
    except NodeDiedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mirage_ros.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results")
    parser.add_argument(
        "--sequence", type=Path, help="replay this RGB-D sequence instead of simulating"
    )
    parser.add_argument(
        "--backend", choices=_BACKENDS, help="world model that predicts (default: the node's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which apartment is simulated")
    parser.add_argument(
        "--seconds", type=float, default=75.0, help="longest time to simulate (default 75)"
    )
    parser.add_argument(
        "--people", type=int, default=0, help="who walk about in the apartment (default 0)"
    )
    parser.add_argument(
        "--no-filter", action="store_true", help="remember people as if they were furniture"
    )
    return parser.parse_args()


def _parameters(arguments: argparse.Namespace) -> dict[str, object]:
    """Of the world model, beside those that the source wants."""
    parameters: dict[str, object] = {
        "autostart": True,
        "horizon": _HORIZON_S,
        "frame_period": _FRAME_PERIOD_S,
        "dynamic_filter": not arguments.no_filter,
        "optical_flow": not arguments.no_filter,
    }
    if arguments.backend is not None:
        parameters["backend"] = arguments.backend
    return parameters


def _source(arguments: argparse.Namespace, config: Path) -> Source:
    if arguments.sequence is not None:
        return Source(
            "replay",
            "mirage_ros.nodes.replay_node",
            {"sequence": str(arguments.sequence.resolve()), "wait_for_subscribers": 2},
            config / "replay_world_model.yaml",
        )
    return Source(
        "simulator",
        "mirage_ros.nodes.simulator_node",
        {
            "seed": arguments.seed,
            "duration": arguments.seconds,
            "people": arguments.people,
            "wait_for_subscribers": 2,
        },
        config / "simulator_world_model.yaml",
    )


def _share_directory() -> Path:
    """The installed share/mirage_ros, in the prefix that this package was imported from.

    Not from the ament index, which a plain virtual environment does not announce.
    """
    for prefix in Path(__file__).parents:
        share = prefix / "share" / "mirage_ros"
        if share.is_dir():
            return share
    raise SystemExit("demo: mirage_ros is not installed (no share/mirage_ros): run make install")


def _environment(config: Path) -> dict[str, str]:
    """DDS on this machine only, in a domain of the demo's own, with room for images."""
    return {
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_DEFAULT_PROFILES_FILE": str(config / "fastdds.xml"),
    }


def _run(
    group: ProcessGroup, recorder: Recorder, source: Source, parameters: dict[str, object]
) -> float:
    """Start the nodes, watch until the source has finished; seconds that frames were sent."""
    group.start(
        "world_model",
        "mirage_ros.nodes.world_model_node",
        ros_arguments(parameters, source.params_file),
    )

    def check_start() -> None:
        group.check()
        # A node that is not configured waits for its operator; there is none here.
        group.check_log("world_model", "not configured: ")

    if not recorder.spin_until(lambda: recorder.status is not None, _START_TIMEOUT_S, check_start):
        raise NodeDiedError(f"world_model did not become active within {_START_TIMEOUT_S:.0f} s")
    group.start(source.name, source.module, ros_arguments(source.parameters))
    if not recorder.spin_until(lambda: recorder.frames_sent > 0, _START_TIMEOUT_S, group.check):
        raise NodeDiedError(f"{source.name} sent no frame within {_START_TIMEOUT_S:.0f} s")
    start = time.monotonic()
    with tqdm(total=100, desc=source.name, unit="%", bar_format=_BAR) as bar:
        while not recorder.finished:
            recorder.spin_until(lambda: recorder.finished, 0.5, group.check)
            bar.n = round(100 * recorder.progress)
            if recorder.status is not None:
                bar.set_postfix_str(f"{recorder.status.token_count} tokens")
        bar.n = 100
    seconds = time.monotonic() - start
    recorder.spin_until(lambda: False, _SETTLE_S, group.check)
    return seconds


_BAR = "{desc} {percentage:3.0f} %|{bar}| {elapsed}, {postfix}"


def _write_results(recorder: Recorder, seconds: float, out: Path, source: Source) -> None:
    outcomes = recorder.matcher.outcomes
    figures: dict[str, Any] = {
        "source": source.name,
        "parameters": source.parameters,
        "size": list(_SIZE),
        "horizons": [
            horizon_row(outcomes, horizon)
            for horizon in tqdm(_SHOWN_HORIZONS_S, desc="figures", leave=False)
        ],
        "node": recorder.figures(seconds),
    }
    (out / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    shown = _at_horizon(outcomes, _VIDEO_HORIZON_S)
    if shown:
        write_picture(out / "contact_sheet.png", contact_sheet(shown, rows=8))
        rate = max(len(shown) / max(seconds, 1e-3), 1.0)
        panels = (outcome_panels(o) for o in tqdm(shown, desc="video", leave=False))
        write_video(out / "predicted_vs_actual.mp4", panels, rate)
    if recorder.cloud is not None:
        write_ply(out / "latent_cloud.ply", recorder.cloud)
        write_picture(out / "latent_cloud.png", render_cloud(*cloud_arrays(recorder.cloud)))
    print(table(figures))
    print(f"\nresults in {out}: " + ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))


def _at_horizon(outcomes: list[Outcome], horizon_s: float) -> list[Outcome]:
    return [o for o in outcomes if abs(o.prediction.horizon_ns * 1e-9 - horizon_s) < 1e-3]


if __name__ == "__main__":
    sys.exit(main())
