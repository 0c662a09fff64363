"""Everything that ``mirage evaluate`` measures, in one pass over a dataset's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.closed_loop import Recall, Rollout, recall, rollout
from mirage_ros.evaluation.closed_way import ClosedWay
from mirage_ros.evaluation.contenders import LATENT, RGB_PUBLISHED
from mirage_ros.evaluation.path_quality import TRUTH, PathQuality, path_pictures, path_quality
from mirage_ros.evaluation.perceptual import Lpips, lpips_missing
from mirage_ros.evaluation.protocol import (
    Contender,
    Image,
    Progress,
    Size,
    View,
    WayFigures,
    codec_way,
    measure_views,
    memory_way,
    nearest_way,
)
from mirage_ros.evaluation.results import Picture
from mirage_ros.evaluation.strips import tinted, write_strip
from mirage_ros.frames import RgbdFrame

#: Memories that are shown in pictures.
SHOWN = (LATENT, RGB_PUBLISHED)

#: Folder of the pictures, below the report's.
PICTURES = "pictures"


@dataclass(frozen=True)
class Questions:
    """What is asked of the memories.

    Attributes:
        sources: frames that are remembered.
        targets: frames whose views are predicted.
        numbers: the targets' frame numbers.
        way: for the closed loops.
        path: consecutive frames whose views are predicted in one rollout.
        size: of all views.
        pictures: how many targets are shown.
    """

    sources: Sequence[RgbdFrame]
    targets: Sequence[RgbdFrame]
    numbers: Sequence[int]
    way: ClosedWay
    path: Sequence[RgbdFrame]
    size: Size
    pictures: int


@dataclass(frozen=True)
class LoopFigures:
    """Both closed loops of a memory.

    Attributes:
        name: of the memory.
        recall: what became of the first view.
        rollout: what the last imagined frame is worth.
    """

    name: str
    recall: Recall
    rollout: Rollout


@dataclass(frozen=True)
class Findings:
    """All that was measured.

    Attributes:
        questions: what was asked.
        ways: what every way of making views is worth.
        loops: closed loops of every memory.
        paths: quality of the path, the true frames' first.
        distance_missing: why there is no LPIPS; None where there is.
        view_pictures: of targets.
        loop_pictures: of the first view.
        path_pictures: of the path.
    """

    questions: Questions
    ways: Sequence[WayFigures]
    loops: Sequence[LoopFigures]
    paths: Sequence[PathQuality]
    distance_missing: str | None
    view_pictures: Sequence[Picture]
    loop_pictures: Sequence[Picture]
    path_pictures: Sequence[Picture]


def measure(
    questions: Questions, memories: Sequence[Contender], folder: Path, progress: Progress
) -> Findings:
    """Ask all memories, and write pictures below a folder.

    Raises:
        MirageError: a frame cannot be used, or there are too few of them.
        OSError: a picture cannot be written.
    """
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    codec, size, way = DctCodec(), questions.size, questions.way
    distance_missing = lpips_missing()
    distance = Lpips() if distance_missing is None else None
    count = len(questions.targets)
    shown = set(np.linspace(0, count - 1, min(count, questions.pictures)).round().astype(int))
    view_pictures: list[Picture] = []

    def seen(place: int, truth: Image, views: Sequence[View]) -> None:
        if place in shown:
            number = questions.numbers[place]
            view_pictures.append(_view_picture(folder, number, truth, views))

    ways = [
        *(memory_way(memory, codec, questions.sources, size, progress) for memory in memories),
        nearest_way(questions.sources, size),
        codec_way(codec),
    ]
    figures = measure_views(
        ways, questions.targets, size, codec, distance=distance, progress=progress, seen=seen
    )
    loops = [
        LoopFigures(
            memory.name,
            recall(memory, codec, way.frames, size, distance=distance, progress=progress),
            rollout(memory, codec, way.frames[0], way.T_world_camera, size, distance=distance),
        )
        for memory in memories
    ]
    pictures = path_pictures(memories, codec, questions.sources, questions.path, size, progress)
    return Findings(
        questions=questions,
        ways=figures,
        loops=loops,
        paths=[path_quality(name, made, questions.path, size) for name, made in pictures.items()],
        distance_missing=distance_missing,
        view_pictures=view_pictures,
        loop_pictures=_loop_pictures(folder, size.fit(way.frames[0]).image, loops),
        path_pictures=_path_pictures(folder, pictures),
    )


def _view_picture(folder: Path, number: int, truth: Image, views: Sequence[View]) -> Picture:
    strip, names = [truth], ["true"]
    for view in views:
        if view.name in SHOWN:
            strip += [view.image, tinted(view.image, view.covered)]
            names += [view.name, "what of it is remembered (orange: not)"]
    caption = f"Frame {number}, from left: {'; '.join(names)}."
    return _picture(folder, f"view_{number:06d}.jpg", strip, caption)


def _loop_pictures(folder: Path, truth: Image, loops: Sequence[LoopFigures]) -> list[Picture]:
    strip, names = [truth], ["the true first view"]
    for loop in loops:
        if loop.name in SHOWN:
            strip += [loop.recall.image, loop.rollout.image]
            names += [f"{loop.name} at the end of the way", "at the end of the rollout"]
    return [_picture(folder, "closed_loop.jpg", strip, f"From left: {'; '.join(names)}.")]


def _path_pictures(folder: Path, pictures: dict[str, list[Image]]) -> list[Picture]:
    found = []
    for name in (TRUTH, *SHOWN):
        made = pictures[name]
        places = np.linspace(0, len(made) - 1, min(len(made), 5)).round().astype(int)
        file = f"path_{name.split()[0].lower()}.jpg"
        found.append(_picture(folder, file, [made[k] for k in places], f"The path: {name}."))
    return found


def _picture(folder: Path, name: str, strip: Sequence[Image], caption: str) -> Picture:
    write_strip(folder / PICTURES / name, strip)
    return Picture(f"{PICTURES}/{name}", caption)
