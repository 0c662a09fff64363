"""What ``mirage evaluate`` found, as a document of results and as a short table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from mirage_ros.evaluation.camera_control import POSE_METHOD
from mirage_ros.evaluation.consistency import FLOW_METHOD, REPROJECTION_METHOD
from mirage_ros.evaluation.contenders import LATENT, RGB_PUBLISHED
from mirage_ros.evaluation.evaluate_measure import Findings
from mirage_ros.evaluation.path_quality import TRUTH
from mirage_ros.evaluation.protocol import CODEC
from mirage_ros.evaluation.results import (
    Cell,
    Plot,
    Result,
    Section,
    Series,
    Table,
    Target,
)

_T = TypeVar("_T")

_VIEWS_TEXT = """\
Every memory is given the same frames, and the world model imagines the view from the pose of \
every target, a frame that no memory was given unless its number is among those remembered. \
Codec, generator (holes filled smoothly, nothing invented) and size are the same for all, so that \
the memories alone differ. A view is compared with the target's image over the pixels that the \
memory covers, over the rest, and over all; "common" is over the pixels that every memory covers. \
Figures are means over the targets that have such pixels.

Sharpness is gradient energy against that of the codec's picture of the target: below 1 is \
blurred, above 1 shows seams or noise. {latent} is the default configuration; the unbounded one \
stores every cell of every frame in full precision. RGB points are the older way: rasterised for \
every view and encoded; as published there is one for every pixel of every frame, the fair ones \
are one to a voxel of the size of a pixel. "Nearest source frame" is the remembered frame taken \
nearest to the target's pose, as it is. "{codec}" is the target itself encoded and decoded, the \
most that latents can show. {distance}"""

_LOOP_TEXT = """\
Recall: {way} Each memory is given the first frame and then the keyframes on the way (the node's \
policy, {keyframes} frames with the first). The view from the first pose is predicted right after \
the first frame ("at once") and again after everything ("at end"), and compared with the true \
first frame over all pixels.

Rollout: each memory is given the first frame and nothing else. The world model imagines {path}, \
chunk by chunk without any observation. The last predicted frame, from the first pose, is \
compared with the true first frame over all pixels. "Least known" is the smallest share of a \
frame on the way that was remembered, that is, how far the camera left what it knew. The \
generator invents nothing, so the rollout shows whether the memory and the chunks keep what was \
seen, and not how well something made up persists."""

_PATH_TEXT = """\
From the same frames as above, each memory imagines a path of {frames} consecutive frames in one \
rollout. Formulas and normalisations are WorldScore's, its networks are replaced: {flow}; \
{reprojection}, lifted by the true depth; {pose}. The figures are therefore comparable only with \
others in this report. Views whose pose is not found, and pairs without valid matches, count as \
0.

"{truth}" is the score of the dataset itself, what a perfect prediction would get: noise of its \
sensor and poses costs it, too. Consistency does not ask whether pictures are right: a rendering \
of one fixed cloud of points can exceed the truth's score, however wrong the cloud is. Camera \
control does ask. The truth's is exact by construction, since poses are recovered against the \
true frame from the pose asked for."""

#: Headings of the regions of a picture.
_REGIONS = ("covered", "uncovered", "all")


def document(findings: Findings, *, title: str, command: str, inputs: Mapping[str, Cell]) -> Result:
    """The findings as results."""
    questions = findings.questions
    distance = "LPIPS is over whole pictures."
    if findings.distance_missing is not None:
        distance = f"{findings.distance_missing}."
    return Result(
        title=title,
        command=command,
        inputs=inputs,
        sections=[
            Section(
                "Predicted views",
                _VIEWS_TEXT.format(latent=LATENT.capitalize(), codec=CODEC, distance=distance),
                tables=[_psnr(findings), _likeness(findings), _costs(findings)],
                plots=_plots(findings),
                pictures=findings.view_pictures,
                targets=_view_targets(findings),
            ),
            Section(
                "Closed loop",
                _LOOP_TEXT.format(
                    way=questions.way.way,
                    keyframes=len(questions.way.frames),
                    path=questions.way.path,
                ),
                tables=[_recalls(findings), _rollouts(findings)],
                pictures=findings.loop_pictures,
                targets=_loop_targets(findings),
            ),
            Section(
                "Consistency and camera control",
                _PATH_TEXT.format(
                    frames=len(questions.path),
                    flow=FLOW_METHOD,
                    reprojection=REPROJECTION_METHOD,
                    pose=POSE_METHOD,
                    truth=TRUTH,
                ),
                tables=[_scores(findings), _errors(findings)],
                pictures=findings.path_pictures,
                targets=_path_targets(findings),
            ),
        ],
    )


def short_table(findings: Findings) -> str:
    """The main figures as aligned text."""
    lines = [
        f"{'':28}{'covered %':>10}{'PSNR dB':>9}{'SSIM':>7}{'sharp':>7}{'covered dB':>11}"
        f"{'common dB':>10}{'MiB':>8}{'s/view':>9}"
    ]
    for figures in findings.ways:
        m = figures.metrics
        lines.append(
            f"{figures.way.name:28}{100 * m.covered.share:10.1f}{m.everywhere.psnr_db:9.2f}"
            f"{m.everywhere.ssim:7.3f}{m.everywhere.sharpness:7.2f}{m.covered.psnr_db:11.2f}"
            f"{figures.common_psnr_db:10.2f}{figures.way.nbytes / 2**20:8.2f}"
            f"{figures.seconds_per_view:9.4f}"
        )
    lines += [
        "",
        f"{'':28}{'at once dB':>11}{'at end dB':>10}{'rollout dB':>11}{'least known %':>14}",
    ]
    lines += [
        f"{loop.name:28}{loop.recall.at_once.metrics.everywhere.psnr_db:11.2f}"
        f"{loop.recall.at_end.metrics.everywhere.psnr_db:10.2f}"
        f"{loop.rollout.last.metrics.everywhere.psnr_db:11.2f}"
        f"{100 * loop.rollout.least_known:14.1f}"
        for loop in findings.loops
    ]
    lines += ["", f"{'':28}{'photometric':>12}{'3D':>7}{'control':>9}"]
    lines += [
        f"{p.name:28}{p.photometric.score:12.3f}{p.reprojection.score:7.3f}{p.control.score:9.3f}"
        for p in findings.paths
    ]
    return "\n".join(lines)


def _psnr(findings: Findings) -> Table:
    rows: list[list[Cell]] = []
    for figures in findings.ways:
        m = figures.metrics
        regions = (m.covered, m.uncovered, m.everywhere)
        rows.append(
            [
                figures.way.name,
                100.0 * m.covered.share,
                *(region.psnr_db for region in regions),
                figures.common_psnr_db,
            ]
        )
    return Table(
        ["views", "covered, %", *_REGIONS, "common pixels"],
        rows,
        f"PSNR in dB over {len(findings.questions.numbers)} targets",
    )


def _likeness(findings: Findings) -> Table:
    rows: list[list[Cell]] = []
    for figures in findings.ways:
        m = figures.metrics
        regions = (m.covered, m.uncovered, m.everywhere)
        rows.append(
            [
                figures.way.name,
                *(region.ssim for region in regions),
                *(region.sharpness for region in regions),
                *_distance(findings, figures.distance),
            ]
        )
    headings = [f"{name}, {region}" for name in ("SSIM", "sharpness") for region in _REGIONS]
    return Table(["views", *headings, *_distance(findings, "LPIPS")], rows, "SSIM and sharpness")


def _costs(findings: Findings) -> Table:
    return Table(
        ["views", "tokens, points or frames", "MiB", "ms to remember a frame", "ms a view"],
        [
            [
                figures.way.name,
                figures.way.elements,
                figures.way.nbytes / 2**20,
                1e3 * figures.way.seconds_per_frame,
                1e3 * figures.seconds_per_view,
            ]
            for figures in findings.ways
            if figures.way.elements
        ],
        "Size of the store, and medians of time; views are imagined one by one",
    )


def _plots(findings: Findings) -> list[Plot]:
    shown = [figures for figures in findings.ways if figures.way.name != CODEC]
    by_number = [
        Series(
            figures.way.name,
            list(findings.questions.numbers),
            [view.metrics.everywhere.psnr_db for view in figures.views],
        )
        for figures in shown
    ]
    by_coverage = []
    for figures in shown:
        if figures.way.is_memory:
            points = sorted(
                (100.0 * v.metrics.covered.share, v.metrics.everywhere.psnr_db)
                for v in figures.views
            )
            by_coverage.append(
                Series(figures.way.name, [x for x, _ in points], [y for _, y in points])
            )
    psnr = "PSNR of all pixels, dB"
    return [
        Plot("Views along the targets", "frame number of the target", psnr, by_number),
        Plot("Views by coverage", "share of pixels remembered, %", psnr, by_coverage),
    ]


def _recalls(findings: Findings) -> Table:
    rows: list[list[Cell]] = []
    for loop in findings.loops:
        once, end = loop.recall.at_once, loop.recall.at_end
        rows.append(
            [
                loop.name,
                loop.recall.elements,
                once.metrics.everywhere.psnr_db,
                end.metrics.everywhere.psnr_db,
                once.metrics.everywhere.ssim,
                end.metrics.everywhere.ssim,
                end.metrics.everywhere.sharpness,
                *_distance(findings, end.distance),
            ]
        )
    columns = ["memory", "tokens or points at end", "PSNR dB, at once", "PSNR dB, at end"]
    columns += ["SSIM, at once", "SSIM, at end", "sharpness, at end"]
    return Table([*columns, *_distance(findings, "LPIPS, at end")], rows, "Recall: the first view")


def _rollouts(findings: Findings) -> Table:
    rows: list[list[Cell]] = []
    for loop in findings.loops:
        last = loop.rollout.last
        rows.append(
            [
                loop.name,
                100.0 * loop.rollout.least_known,
                last.metrics.everywhere.psnr_db,
                last.metrics.everywhere.ssim,
                last.metrics.everywhere.sharpness,
                *_distance(findings, last.distance),
            ]
        )
    columns = ["memory", "least known, %", "PSNR dB", "SSIM", "sharpness"]
    return Table(
        [*columns, *_distance(findings, "LPIPS")],
        rows,
        "Rollout: the last frame against the true first one",
    )


def _scores(findings: Findings) -> Table:
    return Table(
        ["pictures", "photometric consistency", "3D consistency", "camera control"],
        [
            [p.name, p.photometric.score, p.reprojection.score, p.control.score]
            for p in findings.paths
        ],
        "Scores in [0, 1], 1 is best",
    )


def _errors(findings: Findings) -> Table:
    rows: list[list[Cell]] = [
        [
            p.name,
            p.photometric.error_px,
            p.reprojection.error_px,
            100.0 * p.reprojection.valid_share,
            p.reprojection.failed,
            p.control.rotation_deg,
            p.control.translation_m,
            p.control.failed,
        ]
        for p in findings.paths
    ]
    columns = ["pictures", "flow, px", "reprojection, px", "valid matches, %", "pairs failed"]
    columns += ["rotation, deg", "translation, m", "poses not found"]
    return Table(columns, rows, "The errors behind the scores")


def _distance(findings: Findings, cell: _T) -> list[_T]:
    """A cell of the column of LPIPS, where there is one."""
    return [] if findings.distance_missing is not None else [cell]


def _view_targets(findings: Findings) -> list[Target]:
    ways = {figures.way.name: figures for figures in findings.ways}
    latent, rgb = ways[LATENT], ways[RGB_PUBLISHED]
    return [
        _at_least(
            "PSNR of views, all pixels, dB",
            latent.metrics.everywhere.psnr_db,
            rgb.metrics.everywhere.psnr_db,
        ),
        _at_least(
            "SSIM of views, all pixels", latent.metrics.everywhere.ssim, rgb.metrics.everywhere.ssim
        ),
        _at_least(
            "Pixels covered, %",
            100.0 * latent.metrics.covered.share,
            100.0 * rgb.metrics.covered.share,
        ),
    ]


def _loop_targets(findings: Findings) -> list[Target]:
    loops = {loop.name: loop for loop in findings.loops}
    latent, rgb = loops[LATENT], loops[RGB_PUBLISHED]
    return [
        _at_least(
            "PSNR of the first view after the way, dB",
            latent.recall.at_end.metrics.everywhere.psnr_db,
            rgb.recall.at_end.metrics.everywhere.psnr_db,
        ),
        _at_least(
            "PSNR of the last frame of a closed rollout, dB",
            latent.rollout.last.metrics.everywhere.psnr_db,
            rgb.rollout.last.metrics.everywhere.psnr_db,
        ),
    ]


def _path_targets(findings: Findings) -> list[Target]:
    paths = {path.name: path for path in findings.paths}
    latent, rgb = paths[LATENT], paths[RGB_PUBLISHED]
    return [
        _at_least("Photometric consistency", latent.photometric.score, rgb.photometric.score),
        _at_least("3D consistency", latent.reprojection.score, rgb.reprojection.score),
        _at_least("Camera control", latent.control.score, rgb.control.score),
    ]


def _at_least(name: str, ours: float, theirs: float) -> Target:
    comparable = not math.isnan(ours) and not math.isnan(theirs)
    return Target(
        name,
        ours,
        f"at least {theirs:.4g}" if comparable else "at least the RGB memory's",
        ours >= theirs if comparable else None,
        f"{LATENT} against {RGB_PUBLISHED}",
    )
