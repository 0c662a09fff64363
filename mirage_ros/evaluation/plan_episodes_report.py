"""What ``mirage plan-episodes`` found, as a document of results and as a short table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mirage_ros.evaluation.episode_methods import (
    IMAGINATION,
    KEYFRAME,
    LOOKING,
    ORACLE,
    RANDOM,
    TIME_LIMIT,
)
from mirage_ros.evaluation.episodes import Outcome, rate_of
from mirage_ros.evaluation.exploration import EXPLORERS, NEXT_BEST, RANDOM_DRIVING
from mirage_ros.evaluation.plan_episodes_measure import (
    ApartmentFindings,
    Questions,
    of_method,
)
from mirage_ros.evaluation.results import (
    Cell,
    Picture,
    Plot,
    Result,
    Section,
    Series,
    Table,
    Target,
)

_GOAL_TEXT = f"""\
A tour through an apartment builds the memory and a map of the floor from its depth. In each \
episode the robot gets an image that was rendered from a pose it never stood at: at least 0.5 m \
away or 30 degrees turned from every pose of the tour, on reachable floor. It starts somewhere \
else. Success: it says that it is there within {TIME_LIMIT:.0f} simulated seconds, is within 0.3 \
m and 15 degrees, and has touched nothing. Odometry is true, and planning takes no simulated \
time; the seconds of real time that it took are in the table. All methods have the same map, the \
same driving and the same comparison of images.

"{IMAGINATION}" imagines views over the floor and around the best of them from memory (readout, \
nothing invented), drives there and searches again from near. "{ORACLE}" is the same planner \
with the true renderer instead of the memory. "{LOOKING}" can score a pose only by standing \
there: it visits viewpoints, turns around, and climbs from the best real view in small steps. \
"{KEYFRAME}" drives to the keyframe of the tour that is most like the image and stops as it was \
taken; since goals are away from all poses of the tour it can only come near, which is what \
"near" (1 m, 45 degrees) is for. "{RANDOM}" drives to random poses and stops at one. Intervals \
are Wilson's, 95 %."""

_EXPLORE_TEXT = """\
From a random start, with empty memory and map, the robot explores. The area seen is that of the \
map's cells that depth says something about, by one rule for all. "Next best view" imagines \
views of candidate poses and goes for the most unknown content per second. "Random driving" \
takes random arcs as long as there is room, and turns where there is none. "Random viewpoints" \
drives to random places of the map so far."""


def document(
    findings: Sequence[ApartmentFindings],
    questions: Questions,
    *,
    title: str,
    command: str,
    inputs: Mapping[str, Cell],
    pictures: Sequence[Picture],
) -> Result:
    """The findings as results."""
    sections = [
        Section(
            "Driving to where an image was taken",
            _GOAL_TEXT,
            tables=[_rates(findings, questions), _costs(findings, questions), *_by_seed(findings)],
            plots=_plots(findings, questions),
            pictures=pictures,
            targets=_goal_targets(findings, questions),
        )
    ]
    if questions.explorations:
        sections.append(
            Section(
                "Exploration",
                _EXPLORE_TEXT,
                tables=[_areas(findings, questions)],
                plots=[_area_plot(findings, questions)],
                targets=_explore_targets(findings),
            )
        )
    return Result(title=title, command=command, inputs=inputs, sections=sections)


def short_table(findings: Sequence[ApartmentFindings], questions: Questions) -> str:
    """The main figures as aligned text."""
    lines = [
        f"{'':20}{'success %':>10}{'95 %':>14}{'near %':>8}{'metres':>8}{'degrees':>8}"
        f"{'sim. s':>8}{'way/shortest':>13}{'touched':>8}"
    ]
    for method in questions.methods:
        outcomes = of_method(findings, method)
        rate, low, high = rate_of(outcomes)
        interval = f"{100 * low:.1f}-{100 * high:.1f}"
        lines.append(
            f"{method:20}{100 * rate:10.1f}{interval:>14}{100 * _near(outcomes):8.1f}"
            f"{_median([o.distance for o in outcomes]):8.2f}"
            f"{math.degrees(_median([o.turn for o in outcomes])):8.1f}"
            f"{_median([o.seconds for o in outcomes]):8.1f}"
            f"{_way_over_shortest(outcomes):13.2f}{sum(o.collided for o in outcomes):8d}"
        )
    if questions.explorations:
        lines += ["", f"area seen after {questions.explore_s:.0f} s, m2"]
        lines += [f"{name:20}{_mean_area(findings, name):10.1f}" for name in EXPLORERS]
    return "\n".join(lines)


def _rates(findings: Sequence[ApartmentFindings], questions: Questions) -> Table:
    rows: list[list[Cell]] = []
    for method in questions.methods:
        outcomes = of_method(findings, method)
        rate, low, high = rate_of(outcomes)
        rows.append(
            [
                method,
                len(outcomes),
                100.0 * rate,
                100.0 * low,
                100.0 * high,
                100.0 * _near(outcomes),
                sum(o.collided for o in outcomes),
                sum(not o.said and not o.collided for o in outcomes),
            ]
        )
    columns = ["method", "episodes", "success, %", "95 % from", "to", "near, %"]
    return Table([*columns, "touched something", "out of time"], rows, "Success of all episodes")


def _costs(findings: Sequence[ApartmentFindings], questions: Questions) -> Table:
    rows: list[list[Cell]] = []
    for method in questions.methods:
        outcomes = of_method(findings, method)
        rows.append(
            [
                method,
                _median([o.distance for o in outcomes]),
                math.degrees(_median([o.turn for o in outcomes])),
                _median([o.seconds for o in outcomes]),
                _way_over_shortest(outcomes),
                float(np.mean([o.views for o in outcomes])) if outcomes else None,
                float(np.mean([o.thought for o in outcomes])) if outcomes else None,
            ]
        )
    columns = ["method", "error, m", "error, deg", "simulated s", "way over shortest"]
    return Table(
        [*columns, "views imagined", "planning, real s"],
        rows,
        "Medians over all episodes; of views and planning time, means. The way over the shortest "
        "one is of successful episodes, or of all without one",
    )


def _by_seed(findings: Sequence[ApartmentFindings]) -> list[Table]:
    methods = list(dict.fromkeys(o.method for a in findings for o in a.outcomes))
    if not methods:
        return []
    rows: list[list[Cell]] = []
    for apartment in findings:
        rates = [rate_of(of_method([apartment], method))[0] for method in methods]
        known = [o.known for o in apartment.outcomes]
        rows.append(
            [
                apartment.seed,
                *(100.0 * rate for rate in rates),
                100.0 * float(np.mean(known)),
                apartment.setup_s,
                apartment.seconds,
            ]
        )
    columns = ["apartment", *methods, "goals known, %", "setup, s", "all, s"]
    return [Table(columns, rows, "Success in % by apartment, what of the goals' views is known")]


def _plots(findings: Sequence[ApartmentFindings], questions: Questions) -> list[Plot]:
    series = []
    for method in questions.methods:
        outcomes = of_method(findings, method)
        if not outcomes:
            continue
        errors = sorted(o.distance for o in outcomes)
        shares = [100.0 * (place + 1) / len(errors) for place in range(len(errors))]
        series.append(Series(method, errors, shares))
    if not series:
        return []
    return [Plot("Distance at the end", "metres to the goal", "episodes within, %", series)]


def _goal_targets(findings: Sequence[ApartmentFindings], questions: Questions) -> list[Target]:
    if IMAGINATION not in questions.methods:
        return []
    rates = {m: 100.0 * rate_of(of_method(findings, m))[0] for m in questions.methods}
    ours = rates[IMAGINATION]
    targets = [Target("Success with imagination, %", ours, "at least 80", ours >= 80.0)]
    for method in (LOOKING, KEYFRAME):
        if method in rates:
            ahead = ours - rates[method]
            targets.append(
                Target(f"Points above {method}", ahead, "at least 30", bool(ahead >= 30.0))
            )
    if ORACLE in rates:
        behind = rates[ORACLE] - ours
        targets.append(Target("Points below the oracle", behind, "as few as possible", None))
    return targets


def _areas(findings: Sequence[ApartmentFindings], questions: Questions) -> Table:
    rows: list[list[Cell]] = []
    for method in EXPLORERS:
        areas = [e.area for a in findings for e in a.explored if e.method == method]
        touched = sum(e.collided for a in findings for e in a.explored if e.method == method)
        rows.append([method, len(areas), float(np.mean(areas)), min(areas), max(areas), touched])
    columns = ["method", "runs", "mean, m2", "least", "most", "touched something"]
    return Table(columns, rows, f"Area seen after {questions.explore_s:.0f} simulated seconds")


def _area_plot(findings: Sequence[ApartmentFindings], questions: Questions) -> Plot:
    times = np.linspace(0.0, questions.explore_s, 61)
    series = []
    for method in EXPLORERS:
        runs = [e for a in findings for e in a.explored if e.method == method]
        curves = [np.interp(times, run.seconds, run.square_metres) for run in runs]
        series.append(Series(method, times.tolist(), np.mean(curves, axis=0).tolist()))
    return Plot("Area seen, mean of all runs", "simulated seconds", "square metres", series)


def _explore_targets(findings: Sequence[ApartmentFindings]) -> list[Target]:
    ratio = _mean_area(findings, NEXT_BEST) / _mean_area(findings, RANDOM_DRIVING)
    name = "Area seen with next best views, over random driving"
    return [Target(name, ratio, "at least 1.5", bool(ratio >= 1.5))]


def _mean_area(findings: Sequence[ApartmentFindings], method: str) -> float:
    areas = [e.area for a in findings for e in a.explored if e.method == method]
    return float(np.mean(areas)) if areas else math.nan


def _near(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([o.nearly for o in outcomes])) if outcomes else math.nan


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


def _way_over_shortest(outcomes: Sequence[Outcome]) -> float:
    good = [o for o in outcomes if o.success] or outcomes
    return _median([o.way / o.shortest for o in good])
