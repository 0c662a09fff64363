"""What the demo measured: quality of predictions and timing of the node, as numbers and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.image_metrics import psnr, sharpness, ssim
from mirage_ros.evaluation.outcomes import Outcome

#: Outcomes with less coverage than this have no meaningful figure over covered pixels.
_LEAST_COVERAGE = 0.02
_NANOSECONDS = 1e9


def horizon_row(outcomes: Sequence[Outcome], horizon_s: float) -> dict[str, Any]:
    """Mean figures of the outcomes at one horizon, beside the forecast 'the view does not change'.

    PSNR, SSIM and sharpness are taken over the covered pixels of each prediction (for the trivial
    forecast: over the same pixels), and PSNR over all pixels as well.
    """
    at_horizon = [
        o for o in outcomes if abs(o.prediction.horizon_ns / _NANOSECONDS - horizon_s) < 1e-3
    ]
    usable = [o for o in at_horizon if o.prediction.coverage.mean() >= _LEAST_COVERAGE]
    row: dict[str, Any] = {
        "horizon_s": horizon_s,
        "predictions": len(at_horizon),
        "coverage": _mean([float(o.prediction.coverage.mean()) for o in at_horizon]),
    }
    for name in ("predicted", "unchanged"):
        triples = [(_unit(_view(o, name)), _unit(o.actual), o.prediction.coverage) for o in usable]
        row[name] = {
            "psnr_covered": _mean([psnr(*triple) for triple in triples]),
            "psnr_all": _mean([psnr(v, a, np.ones_like(mask)) for v, a, mask in triples]),
            "ssim_covered": _mean([ssim(*triple) for triple in triples]),
            "sharpness_covered": _mean([sharpness(*triple) for triple in triples]),
        }
    return row


def table(figures: dict[str, Any]) -> str:
    """The figures as a short table for the terminal."""
    lines = [
        f"{'':>6} {'':>4} {'':>8} | {'PSNR, dB':^19} | {'SSIM':^19} | sharpness",
        f"{'ahead':>6} {'n':>4} {'covered':>8} | {'predicted':>9} {'unchanged':>9} | "
        f"{'predicted':>9} {'unchanged':>9} | predicted",
    ]
    for row in figures["horizons"]:
        pairs = " | ".join(
            f"{_number(row['predicted'][key], digits):>9} "
            f"{_number(row['unchanged'][key], digits):>9}"
            for key, digits in (("psnr_covered", 1), ("ssim_covered", 3))
        )
        lines.append(
            f"{row['horizon_s']:>4.2f} s {row['predictions']:>4} {_percent(row['coverage']):>8} | "
            f"{pairs} | {_number(row['predicted']['sharpness_covered'], 2):>9}"
        )
    node = figures["node"]
    lines += [
        "(over covered pixels; 'unchanged' is the forecast that the view stays as it is)",
        "",
        f"backend                  {node['backend']}",
        f"frames arrived           {node['frames_arrived']} of {node['frames_sent']} sent "
        f"({_percent(node['frames_arrived_share'])})",
        f"keyframes stored         {node['keyframes_stored']} of {node['keyframes_wanted']} wanted",
        f"oldest frame worked on   {node['oldest_frame_worked_on_s'] * 1e3:.0f} ms",
        *(_timing_line(node["timings"], stage, label) for stage, label in _TIMING_LABELS.items()),
        f"predicted frames         {node['predicted_frames']} "
        f"({node['predicted_frames_per_s']:.1f} a second)",
        f"memory                   {node['tokens']} tokens, {node['memory_mib']:.1f} MiB",
    ]
    return "\n".join(lines)


_TIMING_LABELS = {
    "callback": "callback",
    "image_to_memory": "image stamp to memory",
    "plan_to_first_frame": "plan to first frame",
}


def _timing_line(timings: dict[str, Any], stage: str, label: str) -> str:
    timing = timings.get(stage)
    if timing is None:
        return f"{label:<24} not measured"
    return (
        f"{label:<24} p50 {timing['p50_s'] * 1e3:.1f} ms, p99 {timing['p99_s'] * 1e3:.1f} ms "
        f"({timing['count']} times)"
    )


def _view(outcome: Outcome, name: str) -> NDArray[np.uint8]:
    return outcome.prediction.image if name == "predicted" else outcome.before


def _unit(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours from 0 to 1."""
    return image.astype(np.float32) / np.float32(255.0)


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f} %"
