"""How good predicted views are: like a goal image, informative, free of obstacles.

Costs lie between 0 (the best) and 1; they are comparable among views of one goal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.planning.views import PlannedView

#: Maps images (N, H, W, 3) uint8 RGB to latents (N, C, h, w) float32.
Encoder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class ImageCostConfig:
    """How an image is compared with a goal.

    Attributes:
        channels: weight of every latent channel. Low frequencies are what a readout with seams
            gets right; the highest ones change with a shift of a few pixels.
        scale: error of a cell that counts half, in units of the weighted latents.
        unknown_cost: of a cell that is not remembered: about what a wrong view costs, so that
            nothing is gained by looking where nothing is known.
        least_coverage: views that know less are worth as much as knowing nothing.
        brightness: index of the channel whose mean over the view is made equal, None = none.

    Raises:
        ConfigurationError: no channel counts, or a value is out of range.
    """

    channels: tuple[float, ...]
    scale: float = 1.0
    unknown_cost: float = 0.7
    least_coverage: float = 0.25
    brightness: int | None = 0

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 0.0 or max(self.channels) == 0.0:
            raise ConfigurationError(
                f"weights of channels must be >= 0 and not all 0. Got {self.channels}"
            )
        if not (self.scale > 0.0 and math.isfinite(self.scale)):
            raise ConfigurationError(f"scale must be positive. Got {self.scale}")
        if not (0.0 <= self.unknown_cost <= 1.0 and 0.0 <= self.least_coverage <= 1.0):
            raise ConfigurationError(
                "unknown_cost and least_coverage must be between 0 and 1. "
                f"Got {self.unknown_cost} and {self.least_coverage}"
            )

    def compact(self) -> tuple[NDArray[np.intp], ImageCostConfig]:  # (K,) channels that count
        """The channels whose weight is not 0, and what is left of the configuration for them."""
        used = np.flatnonzero(self.channels)
        place = np.flatnonzero(used == self.brightness)
        return used, replace(
            self,
            channels=tuple(self.channels[channel] for channel in used),
            brightness=int(place[0]) if place.size else None,
        )


class LatentGoal:
    """Compares views with a goal image in latent space.

    Per cell the squared error e of the weighted channels, after the views' mean brightness is made
    the goal's, becomes e / (e + scale^2) (Geman and McClure): what differs a lot, because it moved
    or is seen past an edge, counts once and no more. The cost of a view is the mean over its
    cells, with ``unknown_cost`` for those not remembered.

    Args:
        latents: (C, h, w) of the goal image.
        config: how.

    Raises:
        FrameError: latents that do not have the configured channels.
    """

    def __init__(self, latents: NDArray[np.float32], config: ImageCostConfig) -> None:
        if latents.ndim != 3 or len(latents) != len(config.channels):
            raise FrameError(
                f"a goal's latents must have {len(config.channels)} channels. Got {latents.shape}"
            )
        self.config = config
        self._used, compact = config.compact()
        weights = np.array(compact.channels, dtype=np.float32)
        self._root = np.sqrt(weights / weights.sum())[:, None, None]
        self._goal = latents[self._used]
        self._brightness = compact.brightness

    def costs(
        self,
        latents: NDArray[np.float32],  # (N, C, h, w) of views
        coverage: NDArray[np.floating] | NDArray[np.bool_],  # (N, h, w) share remembered, 0 to 1
        shift: int = 0,
    ) -> NDArray[np.float64]:  # (N,) in [0, 1]
        """Costs of views, with the goal moved ``shift`` cells to the right.

        Cells that the moved goal does not show are left out.

        Raises:
            FrameError: shapes that do not fit the goal's.
        """
        if latents.shape[1:] != (len(self.config.channels), *self._goal.shape[1:]) or (
            coverage.shape != (len(latents), *self._goal.shape[1:])
        ):
            raise FrameError(
                f"views must have latents (N, {len(self.config.channels)}, h, w) and coverage "
                f"(N, h, w) with h, w = {self._goal.shape[1:]}. "
                f"Got {latents.shape} and {coverage.shape}"
            )
        width = self._goal.shape[2]
        here = slice(max(0, shift), width + min(0, shift))
        there = slice(max(0, -shift), width + min(0, -shift))
        known = coverage[:, :, here].astype(np.float32)
        errors = latents[:, self._used][..., here] - self._goal[..., there]
        total = known.sum(axis=(1, 2))
        if self._brightness is not None:
            offset = (errors[:, self._brightness] * known).sum(axis=(1, 2)) / np.maximum(total, 1.0)
            errors[:, self._brightness] -= offset[:, None, None]
        squares = np.square(errors * self._root).sum(axis=1)
        costs = squares / (squares + np.float32(self.config.scale**2))
        mean = (known * costs + (1.0 - known) * self.config.unknown_cost).mean(axis=(1, 2))
        share = total / known[0].size
        enough = share >= self.config.least_coverage
        result: NDArray[np.float64] = np.where(
            enough, mean, np.maximum(mean, self.config.unknown_cost)
        ).astype(np.float64)
        return result


def encoded(
    views: Sequence[PlannedView],
    encode: Encoder,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # (N, C, h, w), (N, h, w)
    """Latents of views' images, and the share of every cell that is remembered."""
    latents = encode(np.stack([view.image for view in views]))
    rows, columns = latents.shape[2:]
    return latents, cell_coverage(views, (rows, columns))


def cell_coverage(
    views: Sequence[PlannedView],
    shape: tuple[int, int],  # h, w
) -> NDArray[np.float32]:  # (N, h, w)
    """Share of every latent cell that is remembered.

    Raises:
        FrameError: the views' size is no multiple of the shape.
    """
    shares = np.empty((len(views), *shape), dtype=np.float32)
    for share, view in zip(shares, views, strict=True):
        height, width = view.coverage.shape
        if height % shape[0] or width % shape[1]:
            raise FrameError(f"coverage must be a multiple of {shape}. Got {view.coverage.shape}")
        blocks = view.coverage.reshape(shape[0], height // shape[0], shape[1], width // shape[1])
        share[:] = blocks.mean(axis=(1, 3))
    return shares


def pixel_costs(
    goal: NDArray[np.uint8],  # (H, W, 3)
    views: Sequence[PlannedView],
    *,
    width: int = 40,
    scale: float = 25.0,
    unknown_cost: float = 0.7,
) -> NDArray[np.float64]:  # (N,) in [0, 1]
    """Costs of views against a goal image in pixels; needs no codec.

    Both are shrunk to ``width`` pixels, which leaves what shapes and colours there are, and their
    mean brightness over remembered pixels made equal. The root mean square difference over colours
    of a pixel, d, becomes d^2 / (d^2 + scale^2).

    Raises:
        FrameError: an image of another size than the goal's.
    """
    height = max(1, round(goal.shape[0] * width / goal.shape[1]))
    wanted = cv2.resize(goal, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    costs = np.empty(len(views))
    for number, view in enumerate(views):
        if view.image.shape != goal.shape:
            raise FrameError(
                f"views must have the goal's shape {goal.shape}. Got {view.image.shape}"
            )
        shown = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
        known = cv2.resize(
            view.coverage.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
        )
        errors = shown.astype(np.float64) - wanted
        errors -= (errors.mean(axis=2) * known).sum() / max(float(known.sum()), 1e-6)
        squares = np.square(errors).mean(axis=2)
        cost = squares / (squares + scale**2)
        costs[number] = float((known * cost + (1.0 - known) * unknown_cost).mean())
    return costs


def information_gain(
    path: Sequence[PlannedView],
    *,
    max_range: float = 5.0,
    overlap: float = 0.5,
) -> float:
    """How much would be newly seen along a path, in units of whole views.

    A view is worth the share of it that is not remembered. What is far is seen with few pixels and
    through more that is unknown, so a pixel counts its predicted depth over ``max_range``, at most
    1: an unknown pixel without any depth counts fully. Consecutive views see much the same, so of
    every view after the best only the share ``overlap`` counts, and of the next that squared, and
    so on.

    Raises:
        ConfigurationError: ``max_range`` is not positive, or ``overlap`` is not in [0, 1).
    """
    if not (max_range > 0.0 and 0.0 <= overlap < 1.0):
        raise ConfigurationError(
            f"max_range must be positive and overlap in [0, 1). Got {max_range} and {overlap}"
        )
    gains = []
    for view in path:
        rows, columns = view.depth.shape
        blocks = view.coverage.reshape(
            rows, view.coverage.shape[0] // rows, columns, view.coverage.shape[1] // columns
        )
        unknown = 1.0 - blocks.mean(axis=(1, 3))
        weight = np.where(view.depth > 0.0, np.minimum(view.depth / max_range, 1.0), 1.0)
        gains.append(float((unknown * weight).mean()))
    gains.sort(reverse=True)
    return math.fsum(gain * overlap**place for place, gain in enumerate(gains))


def nearest_surface(
    view: PlannedView,
    *,
    half_width: float,
    low: float,
    high: float,
) -> float:
    """How far ahead of a view the robot would meet something, by its predicted depth, metres.

    Points count that lie in the corridor of ``2 half_width`` metres in the direction of view and
    between the heights ``low`` and ``high`` of the world; infinite where there is none. Depth that
    is made up counts, too: what nothing is known of is no reason to drive there.

    Raises:
        ConfigurationError: the corridor is empty.
    """
    if not (half_width > 0.0 and low < high):
        raise ConfigurationError(
            f"half_width must be positive and low < high. Got {half_width}, {low} and {high}"
        )
    rows, columns = view.depth.shape
    camera = view.camera.resized(columns, rows)
    known = view.depth > 0.0
    points = camera.unproject(camera.pixel_centres()[known], view.depth[known])
    world = points @ view.T_world_camera[:3, :3].T
    height = world[:, 2] + view.T_world_camera[2, 3]
    forward = view.T_world_camera[:2, 2]
    norm = float(np.hypot(*forward))
    if norm < 1e-6:
        return math.inf
    forward = forward / norm
    ahead = world[:, :2] @ forward
    aside = np.abs(world[:, 0] * forward[1] - world[:, 1] * forward[0])
    met = (height > low) & (height < high) & (aside < half_width) & (ahead > 0.0)
    return float(ahead[met].min()) if met.any() else math.inf
