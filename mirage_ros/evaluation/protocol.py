"""How views are predicted and what they are worth: ways of making a view, and figures of each.

Frames are remembered one after the other by the world model, which fits them to its size. For
every target the view from its pose is imagined and compared with its image, fitted alike. Targets
are best not among the frames remembered. Beside the memories stand two ways without any: the
nearest frame remembered, as it is, and the target itself through the codec, which is what a perfect
memory of latents would show.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.image_metrics import ViewMetrics, mean_view, means, psnr, region_metrics
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.generation import Generator, ReadoutGenerator
from mirage_ros.geometry.poses import rotation_angle, translation_distance
from mirage_ros.memory.base import SpatialMemory
from mirage_ros.world_model import WorldModel, WorldModelConfig

#: Metres of translation that count like a radian of rotation when looking for the nearest frame.
METRES_PER_RADIAN = 1.0

#: Names of the ways without a memory.
NEAREST, CODEC = "nearest source frame", "codec on true frame"

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Mask = NDArray[np.bool_]  # (H, W)

#: Distance of a whole picture from the truth, such as LPIPS.
Distance = Callable[[Image, Image], float]

#: Wraps a loop over frames, told what it does.
Progress = Callable[[Iterable[RgbdFrame], str], Iterable[RgbdFrame]]


def no_progress(frames: Iterable[RgbdFrame], what: str) -> Iterable[RgbdFrame]:
    """Show nothing."""
    return frames


@dataclass(frozen=True)
class Size:
    """Of the views, pixels; the world model wants multiples of 32."""

    width: int
    height: int

    def fit(self, frame: RgbdFrame) -> RgbdFrame:
        """The frame as the world model sees it."""
        return fit_frame(frame, self.width, self.height)


@dataclass(frozen=True)
class Contender:
    """A memory that takes part, and who completes what it knows.

    Attributes:
        name: in tables.
        build: makes an empty one.
        complete: makes a generator; the default one invents nothing.
    """

    name: str
    build: Callable[[Codec], SpatialMemory]
    complete: Callable[[Codec], Generator] = lambda codec: ReadoutGenerator()

    def world_model(self, codec: Codec, size: Size) -> WorldModel:
        """A world model of both that has seen nothing yet.

        Raises:
            ConfigurationError: a side is not a positive multiple of 32.
        """
        config = WorldModelConfig(size.width, size.height)
        return WorldModel(codec, self.build(codec), self.complete(codec), config)


@dataclass(frozen=True)
class Way:
    """A way of making the view of a target.

    Attributes:
        name: in tables.
        render: the view of a target of the size fitted, and which of its pixels are remembered.
        is_memory: whether there are pixels that are not.
        elements: tokens, points or frames stored; 0 where nothing is.
        nbytes: size of the store.
        seconds_per_frame: for storing one, median; NaN where nothing is stored.
    """

    name: str
    render: Callable[[RgbdFrame], tuple[Image, Mask]]
    is_memory: bool
    elements: int = 0
    nbytes: int = 0
    seconds_per_frame: float = math.nan


@dataclass(frozen=True)
class View:
    """What a way made of a target.

    Attributes:
        name: of the way.
        image: the view.
        covered: which of its pixels are remembered.
        is_memory: see :class:`Way`.
        seconds: for making it.
    """

    name: str
    image: Image
    covered: Mask
    is_memory: bool
    seconds: float


@dataclass(frozen=True)
class ViewFigures:
    """What one view is worth.

    Attributes:
        metrics: over covered, uncovered and all pixels; sharpness against the codec's picture.
        common_psnr_db: over the pixels that every memory covers, for figures of the same pixels.
        distance: of the whole picture (LPIPS); NaN where it cannot be had.
        seconds: for making it.
    """

    metrics: ViewMetrics
    common_psnr_db: float
    distance: float
    seconds: float


@dataclass(frozen=True)
class WayFigures:
    """What a way is worth.

    Attributes:
        way: which.
        views: one for every target.
    """

    way: Way
    views: tuple[ViewFigures, ...]

    @property
    def metrics(self) -> ViewMetrics:
        """Means over the views that have the figure."""
        return mean_view([view.metrics for view in self.views])

    @property
    def common_psnr_db(self) -> float:
        """Mean over the views with pixels that every memory covers."""
        return means([[view.common_psnr_db] for view in self.views])[0]

    @property
    def distance(self) -> float:
        """Mean over the views."""
        return means([[view.distance] for view in self.views])[0]

    @property
    def seconds_per_view(self) -> float:
        """Median over the views."""
        return statistics.median(view.seconds for view in self.views)


def memory_way(
    contender: Contender,
    codec: Codec,
    sources: Sequence[RgbdFrame],
    size: Size,
    progress: Progress = no_progress,
) -> Way:
    """Imagined from a memory of the sources.

    Raises:
        ConfigurationError: no source, or a size that the world model does not take.
        MirageError: a frame cannot be remembered.
    """
    _check_sources(sources)
    model = contender.world_model(codec, size)
    # Storing and rendering are timed.
    model.warm_up()
    times = [
        model.observe(frame).seconds["store"]
        for frame in progress(sources, f"remember: {contender.name}")
    ]

    return Way(
        contender.name,
        lambda frame: imagined(model, frame),
        is_memory=True,
        elements=model.token_count,
        nbytes=model.memory_bytes,
        seconds_per_frame=statistics.median(times),
    )


def imagined(model: WorldModel, frame: RgbdFrame) -> tuple[Image, Mask]:
    """The view from a frame's pose, and which of its pixels are remembered."""
    view = next(model.imagine(frame.T_world_camera[None], frame.camera))
    return view.image, view.coverage > 0


def nearest_way(sources: Sequence[RgbdFrame], size: Size) -> Way:
    """The remembered frame whose pose is nearest, as it is.

    Raises:
        ConfigurationError: no source.
    """
    _check_sources(sources)
    fitted = [size.fit(frame) for frame in sources]

    def render(frame: RgbdFrame) -> tuple[Image, Mask]:
        nearest = min(fitted, key=lambda source: pose_distance(source, frame))
        return nearest.image, _everywhere(nearest.image)

    nbytes = sum(frame.image.nbytes for frame in fitted)
    return Way(NEAREST, render, is_memory=False, elements=len(fitted), nbytes=nbytes)


def codec_way(codec: Codec) -> Way:
    """The target itself through the codec: what a perfect memory of latents would show."""

    def render(frame: RgbdFrame) -> tuple[Image, Mask]:
        return through_codec(codec, frame.image), _everywhere(frame.image)

    return Way(CODEC, render, is_memory=False)


def through_codec(codec: Codec, image: Image) -> Image:
    """An image encoded and decoded."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
    decoded = codec.decode(codec.encode(pixels))[0]
    shown = (decoded.clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(shown.cpu().numpy())


def views_of(
    target: RgbdFrame,  # fitted
    ways: Sequence[Way],
) -> list[View]:
    """What every way makes of a target."""
    views = []
    for way in ways:
        start = time.perf_counter()
        image, covered = way.render(target)
        seconds = time.perf_counter() - start
        views.append(View(way.name, image, covered, way.is_memory, seconds))
    return views


def view_figures(
    views: Sequence[View],  # of one target
    truth: Image,
    codec: Codec,
    distance: Distance | None = None,
) -> list[ViewFigures]:
    """What views are worth, in their order.

    Raises:
        FrameError: a view of another size than the truth.
    """
    reference = _unit(through_codec(codec, truth))
    common = _everywhere(truth)
    for view in views:
        if view.is_memory:
            common &= view.covered
    return [
        ViewFigures(
            metrics=region_metrics(_unit(view.image), _unit(truth), reference, view.covered),
            common_psnr_db=psnr(_unit(view.image), _unit(truth), common),
            distance=math.nan if distance is None else distance(view.image, truth),
            seconds=view.seconds,
        )
        for view in views
    ]


def measure_views(
    ways: Sequence[Way],
    targets: Sequence[RgbdFrame],
    size: Size,
    codec: Codec,
    *,
    distance: Distance | None = None,
    progress: Progress = no_progress,
    seen: Callable[[int, Image, Sequence[View]], None] = lambda number, truth, views: None,
) -> list[WayFigures]:
    """What every way is worth over targets.

    Args:
        ways: to make views.
        targets: frames whose poses are asked for and whose images are the truth.
        size: of the views.
        codec: of the memories.
        distance: of whole pictures; None where it cannot be had.
        progress: wraps the loop over targets.
        seen: is shown the true image and all views of every target, by its place.

    Raises:
        ConfigurationError: no target.
    """
    if not targets:
        raise ConfigurationError("at least one target is needed. Got none")
    figures: list[list[ViewFigures]] = []
    for number, frame in enumerate(progress(targets, "views")):
        target = size.fit(frame)
        views = views_of(target, ways)
        figures.append(view_figures(views, target.image, codec, distance))
        seen(number, target.image, views)
    return [
        WayFigures(way, tuple(of_way))
        for way, of_way in zip(ways, zip(*figures, strict=True), strict=True)
    ]


def pose_distance(one: RgbdFrame, other: RgbdFrame) -> float:
    """How far apart two frames were taken: metres, and radians as metres."""
    turn = rotation_angle(one.T_world_camera, other.T_world_camera)
    return translation_distance(one.T_world_camera, other.T_world_camera) + (
        METRES_PER_RADIAN * turn
    )


def _check_sources(sources: Sequence[RgbdFrame]) -> None:
    if not sources:
        raise ConfigurationError("at least one frame to remember is needed. Got none")


def _everywhere(image: Image) -> Mask:
    return np.ones(image.shape[:2], dtype=np.bool_)


def _unit(image: Image) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(255.0)
