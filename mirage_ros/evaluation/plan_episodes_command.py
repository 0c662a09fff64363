"""``mirage plan-episodes``: closed-loop episodes in the simulator with and without imagining."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from mirage_ros.evaluation.plan_episodes_measure import Questions

#: Apartments that nothing was tuned on.
_SEEDS = "100,101,102"
_EPISODES = 50
#: Random starts of explorations in every apartment.
_EXPLORATIONS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help=f"in all apartments together (default {_EPISODES})",
    )
    parser.add_argument(
        "--apartments",
        default=_SEEDS,
        metavar="SEEDS",
        help="seeds of the apartments, by commas (default %(default)s)",
    )
    parser.add_argument(
        "--methods",
        metavar="NAMES",
        help="methods to compare, by commas: imagination, 'no imagination', 'best keyframe', "
        "random, oracle (default all)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the tasks and of all that is drawn (default 0)"
    )
    parser.add_argument(
        "--explorations",
        type=int,
        metavar="N",
        help=f"random starts in every apartment, 0 = none (default {_EXPLORATIONS})",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="apartments worked on at once (default: one for every core)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("plan_episodes_out"),
        metavar="DIR",
        help="folder for plan_episodes.json, report.html and pictures (default %(default)s)",
    )
    parser.add_argument(
        "--video", action="store_true", help="also a video of some episodes of every apartment"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small apartment, to see that it works"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, write ``plan_episodes.json``, ``report.html`` and pictures, print a table; 0.

    Raises:
        ConfigurationError: a number or name is not allowed.
        MirageError: this machine cannot render.
        OSError: the folder cannot be written to.
    """
    from PIL import Image

    from mirage_ros.evaluation.episode_sheet import contact_sheet
    from mirage_ros.evaluation.html_report import html_page
    from mirage_ros.evaluation.plan_episodes_measure import measure
    from mirage_ros.evaluation.plan_episodes_report import document, short_table
    from mirage_ros.evaluation.result_file import write_result
    from mirage_ros.evaluation.results import Picture

    questions = _questions(options)
    workers = options.workers or len(os.sched_getaffinity(0))
    if workers < 1:
        raise ConfigurationError(f"workers must be at least 1. Got {workers}")
    options.out.mkdir(parents=True, exist_ok=True)
    findings = measure(questions, min(workers, len(questions.seeds)))
    strips = [strip for apartment in findings for strip in apartment.strips]
    pictures = []
    if strips:
        Image.fromarray(contact_sheet(strips)).save(options.out / "episodes.png")
        caption = (
            "Episodes with imagination: the goal, imagined candidates, the view chosen in the "
            "end, and what the camera truly saw there"
        )
        pictures.append(Picture("episodes.png", caption))
    result = document(
        findings,
        questions,
        title="Planning with imagined views",
        command=_command(options),
        inputs={
            "apartments": ", ".join(map(str, questions.seeds)),
            "episodes": sum(questions.episodes),
            "size of views": f"{questions.sizes.width}x{questions.sizes.height}",
            "gallery": f"every {questions.sizes.spacing} m, {questions.sizes.headings} headings",
            "seed": questions.seed,
        },
        pictures=pictures,
    )
    write_result(result, options.out / "plan_episodes.json")
    write_atomically(options.out / "report.html", html_page([(result, options.out)]).encode())
    print(short_table(findings, questions))
    print(f"\n{options.out / 'report.html'}")
    return 0


def _questions(options: argparse.Namespace) -> Questions:
    from mirage_ros.evaluation.episode_apartment import EpisodeSizes
    from mirage_ros.evaluation.episode_methods import METHODS
    from mirage_ros.evaluation.exploration import EXPLORE_SECONDS
    from mirage_ros.evaluation.plan_episodes_measure import Questions

    if not re.fullmatch(r"\d+(,\d+)*", options.apartments, flags=re.ASCII):
        raise ConfigurationError(
            f"apartments are seeds, by commas, such as 100,101. Got '{options.apartments}'"
        )
    seeds = tuple(dict.fromkeys(int(seed) for seed in options.apartments.split(",")))
    methods = tuple(METHODS)
    if options.methods is not None:
        methods = tuple(dict.fromkeys(name.strip() for name in options.methods.split(",")))
        unknown = [name for name in methods if name not in METHODS]
        if unknown:
            raise ConfigurationError(
                f"methods must be out of {', '.join(METHODS)}. Got '{', '.join(unknown)}'"
            )
    if options.quick:
        seeds = seeds[:1]
    episodes = options.episodes or (1 if options.quick else _EPISODES)
    explorations = options.explorations
    if explorations is None:
        explorations = 1 if options.quick else _EXPLORATIONS
    if episodes < len(seeds) or explorations < 0:
        raise ConfigurationError(
            "expected an episode for every apartment at least, and explorations >= 0. "
            f"Got {episodes} and {explorations}"
        )
    sizes = EpisodeSizes()
    if options.quick:
        sizes = EpisodeSizes(width=160, height=128, tour_s=20.0, spacing=0.7, headings=8)
    shared = [
        episodes // len(seeds) + (place < episodes % len(seeds)) for place in range(len(seeds))
    ]
    return Questions(
        seeds=seeds,
        episodes=tuple(shared),
        methods=methods,
        explorations=explorations,
        explore_s=6.0 if options.quick else EXPLORE_SECONDS,
        sizes=sizes,
        seed=options.seed,
        strips=4,
        videos=options.out if options.video else None,
    )


def _command(options: argparse.Namespace) -> str:
    """The line that measures the same again."""
    words = ["mirage", "plan-episodes", "--apartments", options.apartments]
    for name in ("episodes", "methods", "explorations"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    words += ["--seed", str(options.seed)] if options.seed else []
    words += [f"--{name}" for name in ("video", "quick") if getattr(options, name)]
    return shlex.join([*words, "--out", str(options.out)])
