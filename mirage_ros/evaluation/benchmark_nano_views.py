"""What chunks are worth that contenders show, over what is remembered, over holes, over all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_nano_rows import READOUT, Company
from mirage_ros.evaluation.benchmark_nano_scenes import Moment, Question
from mirage_ros.evaluation.image_metrics import (
    RegionMetrics,
    ViewMetrics,
    gradient_energy,
    region_metrics,
)
from mirage_ros.evaluation.picture import as_unit
from mirage_ros.evaluation.protocol import CODEC, Image, Mask, through_codec

#: The readout through a Gaussian filter of so many pixels: what blurring alone does to PSNR.
BLUR_PX = 2.0
BLURRED = f"readout blurred, sigma {BLUR_PX:g} px"

#: Regions of a view, by the fields of :class:`mirage_ros.evaluation.image_metrics.ViewMetrics`.
COVERED, HOLES, ALL = "covered", "uncovered", "everywhere"

#: Is shown every question with what everyone made of it, and what of it is remembered.
Seen = Callable[[Question, Mapping[str, Sequence[Image]], Sequence[Mask]], None]


@dataclass(frozen=True)
class ViewScore:
    """What one view is worth.

    Attributes:
        kind: of its question.
        metrics: against the truth; sharpness against what the codec makes of it.
        energy: of the gradients of what the codec makes of it, by region.
    """

    kind: str
    metrics: ViewMetrics
    energy: Mapping[str, float]


@dataclass
class RowScores:
    """What one row is worth.

    Attributes:
        views: all that were scored.
        seconds: for a frame of each chunk, from reading to decoding; nothing for rows that are made
            of others.
    """

    views: list[ViewScore] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def of_kind(self, kind: str) -> RowScores:
        """Those of one kind of question."""
        return RowScores([view for view in self.views if view.kind == kind], self.seconds)

    def psnr_db(self, region: str = ALL) -> float:
        """Mean, views counting by their share of such pixels; NaN without any."""
        parts = self._regions(region)
        return _weighed([part.share for part in parts], [part.psnr_db for part in parts])

    def ssim(self, region: str = ALL) -> float:
        """Likewise, which is the mean over the pixels."""
        parts = self._regions(region)
        return _weighed([part.share for part in parts], [part.ssim for part in parts])

    def sharpness(self, region: str = ALL) -> float:
        """Gradient energy of all views as a share of that of the codec's pictures."""
        energies = [view.energy[region] for view in self.views]
        return _weighed(energies, [part.sharpness for part in self._regions(region)])

    def share(self, region: str) -> float:
        """Mean share of the pixels."""
        shares = [part.share for part in self._regions(region)]
        return float(np.mean(shares)) if shares else math.nan

    @property
    def seconds_per_frame(self) -> float:
        """Median over the chunks; NaN for rows that are made of others."""
        return float(np.median(self.seconds)) if self.seconds else math.nan

    def _regions(self, region: str) -> list[RegionMetrics]:
        return [getattr(view.metrics, region) for view in self.views]


def measure(
    company: Company,
    moments: Iterable[Moment],
    scores: dict[str, RowScores],
    *,
    seed: int,
    seen: Seen = lambda question, pictures, covered: None,
) -> None:
    """Ask everyone everything and add what it is worth to the rows; all is forgotten in the end.

    What is covered is what the first contender's memory knows, for all rows: figures over it are
    of the same pixels. The first view of a chunk is given and not scored.

    Args:
        company: who is asked, the readout among them.
        moments: of one drive.
        scores: by row, to be added to.
        seed: of the first chunk; the others have those that follow.
        seen: is shown everything.
    """
    codec = DctCodec()
    for moment in moments:
        for frame in moment.seen:
            company.remember(frame)
        for question in moment.questions:
            pictures, covered = asked(company, question, scores, seed)
            seed += 1
            reference = [through_codec(codec, frame.image) for frame in question.truth]
            pictures = {**pictures, CODEC: reference}
            for name, views in pictures.items():
                row = scores.setdefault(name, RowScores())
                row.views += [
                    score_of(
                        question.kind,
                        views[number],
                        question.truth[number].image,
                        reference[number],
                        covered[number],
                    )
                    for number in range(1, len(views))
                ]
            seen(question, pictures, covered)
    company.forget()


def asked(
    company: Company, question: Question, scores: dict[str, RowScores], seed: int
) -> tuple[dict[str, list[Image]], list[Mask]]:
    """Everyone's pictures of a chunk by row, and what of them the readout's memory knows.

    The time that each took goes to its row.
    """
    pictures: dict[str, list[Image]] = {}
    covered: list[Mask] = []
    first, poses = question.truth[0], question.T_world_camera
    for name, model in company.models.items():
        start = time.perf_counter()
        views = list(model.imagine(poses, first.camera, seed=seed, first_frame=first))
        seconds = (time.perf_counter() - start) / (len(views) - 1)
        scores.setdefault(name, RowScores()).seconds.append(seconds)
        pictures[name] = [view.image for view in views]
        if name == READOUT:
            covered = [view.coverage > 0 for view in views]
            pictures[BLURRED] = [blurred(view.image) for view in views]
    return pictures, covered


def blurred(image: Image) -> Image:
    """A picture through the Gaussian filter."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR_PX), dtype=np.uint8)


def score_of(kind: str, image: Image, truth: Image, reference: Image, covered: Mask) -> ViewScore:
    """What one view is worth; ``reference`` is what the codec makes of the truth."""
    sharpest = as_unit(reference)
    masks = {COVERED: covered, HOLES: ~covered, ALL: np.ones_like(covered)}
    return ViewScore(
        kind,
        region_metrics(as_unit(image), as_unit(truth), sharpest, covered),
        {region: gradient_energy(sharpest, mask) for region, mask in masks.items()},
    )


def _weighed(weights: Sequence[float], values: Sequence[float]) -> float:
    """Weighed mean of the values that are there; NaN without weight."""
    kept = [(w, v) for w, v in zip(weights, values, strict=True) if w > 0.0 and not math.isnan(v)]
    total = math.fsum(weight for weight, _ in kept)
    return math.fsum(weight * value for weight, value in kept) / total if kept else math.nan
