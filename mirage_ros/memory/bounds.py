"""What a memory keeps: when a new token is news, and which tokens go when there are too many."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mirage_ros.errors import ConfigurationError
from mirage_ros.memory.readout import Selection
from mirage_ros.memory.token_store import Geometry, PackedTokens
from mirage_ros.memory.view_tokens import View

#: Bits of a voxel coordinate in its key, three of them and 8 bits of level to an int64.
_KEY_BITS = 18

#: After an eviction the memory is this full, so that the next one is some time off.
_AFTER_EVICTION = 0.95


@dataclass(frozen=True)
class BoundsConfig:
    """When a view refreshes what is remembered, and how much may be remembered.

    A cell of a new view is compared with the token that the memory would read there. Let *error* be
    the mean squared difference of their pixels in [0, 1], *fit* the readout's (0 = seen from the
    same place). On the same surface::

        fit < same_view                              the new token takes the old one's place
        error max(1, fit / same_fit) < allowed       the old one is confirmed, the new one dropped
                                                     (or takes its place if it is a better view)
        else                                         the new token is stored beside the old one

    where ``allowed = min(same_error, same_error_flat + same_error_contrast * contrast)`` and
    contrast is the variance of the new cell's pixels: a smooth wall shows errors that a texture
    hides.
    So what the memory already predicts costs nothing: a flat wall needs few tokens, a bookshelf one
    for every direction it was looked at from. Where the robot has stood before, the comparison is
    with every token that may stand in the cell, not only the one that is read: coming back adds
    nothing, unless there is something to see that was not there.

    Attributes:
        capacity: tokens held at most.
        merge: False stores every cell of every keyframe, as published systems do.
        same_surface: share of the depth by which two tokens on one surface may differ.
        same_view: fit below which a view is the same view again.
        same_error: mean squared pixel error above which no token stands for another.
        same_error_flat: error up to which a token stands for another without any contrast.
        same_error_contrast: further error allowed, as a share of the contrast.
        same_fit: fit up to which all of that error is allowed; beyond it, less.
        better_scale: a view from nearer, by this factor, is the better one of two that are alike.
        revisit_distance: metres from an earlier keyframe within which a view is a revisit.
        revisit_angle: radians likewise.
        revisit_after: keyframes after which a keyframe counts as an earlier one.
        voxel_tokens: most tokens in a voxel. Voxels are as large as the cells of their tokens.
        forget_age: keyframes after which a token not seen again is worth 1 less.
        forget_distance: metres from the robot at which a token is worth 1 less.
        forget_doubt: lack of confidence that makes a token worth 1 less.
        forget_redundancy: worthier tokens in its voxel that make a token worth 1 less.

    Raises:
        ConfigurationError: a value is out of range.
    """

    capacity: int = 400_000
    merge: bool = True
    same_surface: float = 0.1
    same_view: float = 0.02
    same_error: float = 0.006
    same_error_flat: float = 0.0004
    same_error_contrast: float = 2.5
    same_fit: float = 0.5
    better_scale: float = 0.8
    revisit_distance: float = 0.1
    revisit_angle: float = 0.1
    revisit_after: int = 10
    voxel_tokens: int = 16
    forget_age: float = 500.0
    forget_distance: float = 10.0
    forget_doubt: float = 4.0
    forget_redundancy: float = 1.0

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ConfigurationError(f"capacity must be at least one token. Got {self.capacity}")
        if self.voxel_tokens < 1:
            raise ConfigurationError(f"voxel_tokens must be at least 1. Got {self.voxel_tokens}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"{field.name} must be finite and >= 0. Got {value}")
        for name in (
            "same_fit",
            "forget_age",
            "forget_distance",
            "forget_doubt",
            "forget_redundancy",
        ):
            if getattr(self, name) == 0.0:
                raise ConfigurationError(f"{name} must be positive. Got 0.0")

    def allowed_error(
        self,
        contrast: Tensor,  # (...) float32
    ) -> Tensor:  # (...) float32
        """Error up to which a token stands for a cell of that contrast from the same place."""
        error = self.same_error_flat + self.same_error_contrast * contrast
        return error.clamp(max=self.same_error)


@dataclass(frozen=True)
class Verdict:
    """What becomes of N new tokens; every token is in at most one of the masks.

    Attributes:
        old: (N,) int64 the token each is compared with, -1 = none.
        appended: (N,) bool, stored beside what is there.
        replacing: (N,) bool, stored in the place of ``old``.
        confirming: (N,) bool, dropped; ``old`` is confirmed.
    """

    old: Tensor
    appended: Tensor
    replacing: Tensor
    confirming: Tensor

    @classmethod
    def all_news(cls, like: Tensor) -> Verdict:
        """The verdict on as many tokens as ``like`` has when there is nothing to compare with."""
        none = torch.zeros_like(like, dtype=torch.bool)
        return cls(torch.full_like(like, -1), ~none, none, none)

    def unless_alike(
        self,
        alike: Tensor,  # (N,) int64 a token that stands for the new one anyway, -1 = none
    ) -> Verdict:
        """The verdict after another look at what seemed to be news."""
        known = self.appended & (alike >= 0)
        return Verdict(
            torch.where(known, alike, self.old),
            self.appended & ~known,
            self.replacing,
            self.confirming | known,
        )


def judge(
    old: Tensor,  # (N,) int64 token that the memory would read in the new one's cell, -1 = none
    old_depth: Tensor,  # (N,) float32 its depth in the new view
    fit: Tensor,  # (N,) float32 its fit in the new view
    error: Tensor,  # (N,) float32 mean squared pixel error between the two
    allowed: Tensor,  # (N,) float32 the most of it, from the same place
    depth: Tensor,  # (N,) float32 depth of the new token
    scale: Tensor,  # (N,) float32 footprint of the new token over that of the old one
    config: BoundsConfig,
) -> Verdict:
    """Whether new tokens are news."""
    on_surface = (old >= 0) & ((old_depth - depth).abs() <= config.same_surface * depth)
    same_view = on_surface & (fit < config.same_view)
    alike = on_surface & (error * (fit / config.same_fit).clamp(min=1.0) < allowed)
    # A token that several cells rely on stays, or all but one of them would lose it.
    slots = old.clamp(min=0)
    size = int(slots.max()) + 1 if len(slots) else 1
    users = torch.zeros(size, dtype=torch.int64, device=old.device)
    users = users.index_add(0, slots, on_surface.long())[slots]
    better = alike & (scale <= config.better_scale) & (users == 1)
    wanted = same_view | better
    # Of several that want one place the first takes it.
    order = torch.arange(len(old), device=old.device)
    winner = torch.full((size,), len(old), device=old.device)
    claims = torch.where(wanted, order, len(old))
    winner = winner.scatter_reduce(0, slots, claims, "amin")[slots]
    replacing = wanted & (winner == order)
    confirming = alike & ~replacing
    return Verdict(old, ~(replacing | confirming), replacing, confirming)


def voxel_keys(
    geometry: Geometry,
    stride: int,  # pixels per cell
) -> Tensor:  # (N,) int64
    """The voxel that each token lies in; its side is the token's cell, up to a power of two."""
    level = torch.round(torch.log2(geometry.footprint.double() * stride))
    index = torch.floor(geometry.position.double() / torch.exp2(level)[:, None]).long()
    index = index & (2**_KEY_BITS - 1)
    key = level.long() & 0xFF
    for axis in range(3):
        key = (key << _KEY_BITS) | index[:, axis]
    return key


def rank_in_voxel(
    key: Tensor,  # (N,) int64
    cost: Tensor,  # (N,) float32
) -> Tensor:  # (N,) int64
    """How many cheaper tokens share each token's voxel; of equal cost the earlier is cheaper."""
    by_cost = torch.argsort(cost, stable=True)
    order = by_cost[torch.argsort(key[by_cost], stable=True)]
    _, inverse, counts = torch.unique_consecutive(
        key[order], return_inverse=True, return_counts=True
    )
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(key)
    rank[order] = torch.arange(len(key), device=key.device) - starts[inverse]
    return rank


def surplus(
    tokens: PackedTokens,
    geometry: Geometry,
    stride: int,  # pixels per cell
    robot: Tensor,  # (3,) float32 world
    now: int,  # on the memory's clock
    protected: Tensor,  # (N,) float32 as of :func:`in_view`
    capacity: int,
    config: BoundsConfig,
) -> Tensor:  # (N,) bool
    """Which tokens have to go so that voxels hold no more than they may, and all ``capacity``.

    Worst are tokens that are old, far away, in a full voxel and of low confidence. What is in view
    goes only where the memory cannot be emptied enough otherwise, and never what the current view
    reads.
    """
    age = (now - tokens.seen.float()) / config.forget_age
    distance = (geometry.position - robot).norm(dim=1) / config.forget_distance
    cost = age + distance + (1.0 - tokens.confidence) / config.forget_doubt
    cost = torch.where(protected >= 2.0, -torch.inf, cost)
    key = voxel_keys(geometry, stride)
    rank = rank_in_voxel(key, cost)
    gone = (rank >= config.voxel_tokens) & (protected < 2.0)
    left = len(tokens) - int(gone.sum())
    if left > capacity:
        cost = cost + rank.float() / config.forget_redundancy - 1e6 * protected
        cost = torch.where(gone, torch.inf, cost)
        worst = torch.argsort(cost, descending=True, stable=True)
        goal = int(capacity * _AFTER_EVICTION)
        spare = int((protected < 2.0).sum())
        gone = torch.zeros_like(gone)
        gone[worst[: min(len(tokens) - goal, spare)]] = True
    return gone


def in_view(
    position: Tensor,  # (N, 3) float32 world
    view: View,
    selection: Selection,  # of the store's tokens in that one view
    band: float,  # share of the depth that counts as the visible surface
) -> Tensor:  # (N,) float32
    """2 where the view reads the token, 1 where it sees it, 0 where it does not."""
    device = position.device
    pose = torch.from_numpy(view.T_world_camera.astype(np.float32)).to(device)
    local = (position - pose[:3, 3]) @ pose[:3, :3]
    depth = local[:, 2].clamp(min=1e-3)
    column = torch.floor(local[:, 0] / depth * view.grid.fx + view.grid.cx).long()
    row = torch.floor(local[:, 1] / depth * view.grid.fy + view.grid.cy).long()
    inside = (column >= 0) & (column < view.grid.width) & (row >= 0) & (row < view.grid.height)
    inside &= local[:, 2] > 0.0
    cell = torch.where(inside, row * view.grid.width + column, 0)
    surface = selection.depth[0].flatten()[cell]
    seen = inside & ((surface == 0.0) | (local[:, 2] <= surface * (1.0 + band)))
    result = seen.float()
    read = selection.index[0]
    result[read[read >= 0]] = 2.0
    return result
