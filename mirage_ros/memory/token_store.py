"""Tokens in compact arrays: stored relative to the keyframe that saw them, shared copy-on-write.

A token's position is its cell in a keyframe and a depth; where that keyframe stood is kept once.
So a position takes 4 bytes instead of 12, viewing direction and footprint take none, and whatever
moves a keyframe moves its tokens. Tokens that were stored together lie together: a *run* of them
has a bounding box, by which a readout leaves out what no camera looks at.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.run_boxes import boxes_of_runs

#: Values of the provenance of a token.
IMAGINED, OBSERVED = 0, 1

#: Length of a stored normal.
NORMAL_SCALE = 127.0

#: Tokens that share a bounding box.
RUN = 64

#: Cells of the largest grid: their numbers have to fit 16 bits.
MOST_CELLS = 2**15

#: A byte holds a token's confidence in its upper six bits and its doubts in the lower two.
_CONFIDENCE_STEPS, _DOUBT_BITS = 63, 2
MOST_DOUBTS = 2**_DOUBT_BITS - 1

#: Rows of the largest keyframe table, for the same reason.
MOST_KEYFRAMES = 2**15

#: Columns of the keyframe table: T_world_camera row by row; fx, fy, cx, cy of the latent grid; the
#: focal length in pixels; width and height of the latent grid; and the time on the memory's clock.
KEYFRAME_COLUMNS = 20


@dataclass(frozen=True)
class PackedTokens:
    """N tokens as they are stored.

    Attributes:
        features: (N, F) uint8, see :class:`mirage_ros.memory.features.FeatureFormat`.
        cell: (N,) int16 number of the cell in the keyframe's latent grid, row by row.
        depth: (N,) float16 z-depth in that keyframe, metres (float32 beside float32 features).
        normal: (N, 3) int8 unit normal times NORMAL_SCALE, world; zero where unknown.
        keyframe: (N,) int16 row of the keyframe table.
        seen: (N,) int16 when the token was last confirmed, on the memory's clock of updates.
        sureness: (N,) uint8 confidence in 63rds times 4, plus the number of views in a row that saw
            through the token, up to :data:`MOST_DOUBTS`.
    """

    features: Tensor
    cell: Tensor
    depth: Tensor
    normal: Tensor
    keyframe: Tensor
    seen: Tensor
    sureness: Tensor

    def __len__(self) -> int:
        return self.cell.shape[0]

    @property
    def confidence(self) -> Tensor:
        """(N,) float32 in [0, 1]."""
        return (self.sureness >> _DOUBT_BITS).float() / _CONFIDENCE_STEPS

    @property
    def doubts(self) -> Tensor:
        """(N,) uint8 views in a row that saw through each token."""
        doubts: Tensor = self.sureness & MOST_DOUBTS
        return doubts

    @property
    def nbytes(self) -> int:
        """Bytes of all fields."""
        return sum(getattr(self, name).nbytes for name in FIELDS)

    def select(self, index: Tensor | slice) -> PackedTokens:
        """The tokens at ``index``: (M,) int64 positions, an (N,) bool mask, or a slice (a view)."""
        return PackedTokens(**{name: getattr(self, name)[index] for name in FIELDS})


FIELDS = tuple(field.name for field in fields(PackedTokens))


def pack_confidence(
    confidence: Tensor,  # (N,) float32 in [0, 1]
) -> Tensor:  # (N,) uint8
    """Confidence in one byte, without doubts."""
    steps = (confidence.clamp(0.0, 1.0) * _CONFIDENCE_STEPS).round()
    return steps.to(torch.uint8) << _DOUBT_BITS


@dataclass(frozen=True)
class Geometry:
    """Where tokens are and how they were seen, decoded; as in :class:`TokenCloud`."""

    position: Tensor
    footprint: Tensor
    view: Tensor
    normal: Tensor


class TokenArrays:
    """Tokens that can be read.

    Attributes:
        count: tokens held.
    """

    def __init__(self, arrays: dict[str, Tensor], count: int) -> None:
        self._arrays = arrays
        self.count = count

    @property
    def device(self) -> torch.device:
        """Where the tokens live."""
        return self._arrays["cell"].device

    @property
    def tokens(self) -> PackedTokens:
        """The tokens, as views of the storage."""
        return PackedTokens(**{name: self._arrays[name][: self.count] for name in FIELDS})

    def array(self, name: str) -> Tensor:
        """An array by name, with its unused rows: for its type and the shape of a row."""
        return self._arrays[name]

    @property
    def keyframes(self) -> Tensor:
        """(K, 20) float64 keyframe table, see :data:`KEYFRAME_COLUMNS`."""
        return self._arrays["keyframes"]

    @property
    def stamps_ns(self) -> Tensor:
        """(K,) int64 stamps of the keyframes."""
        return self._arrays["stamps_ns"]

    @property
    def boxes(self) -> Tensor:
        """(R, 6) float32 least and greatest x, y, z of every run of :data:`RUN` tokens."""
        return self._arrays["boxes"][: -(-self.count // RUN)]

    @property
    def nbytes(self) -> int:
        """Bytes that the tokens, their boxes and the keyframe table take."""
        shared = self.boxes.nbytes + self.keyframes.nbytes + self.stamps_ns.nbytes
        return self.tokens.nbytes + (shared if self.count else 0)

    def geometry(self, index: Tensor | slice) -> Geometry:
        """Decode the tokens at ``index``, as :meth:`PackedTokens.select` takes it."""
        return decode(self.tokens.select(index), self.keyframes)


class TokenStore(TokenArrays):
    """Tokens that can be read and changed; readers of a snapshot never see a change."""

    def __init__(self, feature_width: int, exact_depth: bool, device: torch.device | str) -> None:
        self._new = {
            "features": ((feature_width,), torch.uint8),
            "cell": ((), torch.int16),
            "depth": ((), torch.float32 if exact_depth else torch.float16),
            "normal": ((3,), torch.int8),
            "keyframe": ((), torch.int16),
            "seen": ((), torch.int16),
            "sureness": ((), torch.uint8),
            "boxes": ((6,), torch.float32),
            "keyframes": ((KEYFRAME_COLUMNS,), torch.float64),
            "stamps_ns": ((), torch.int64),
        }
        self._device = torch.device(device)
        super().__init__({name: self._empty(name, 0) for name in self._new}, 0)
        self._readers: weakref.WeakSet[TokenArrays] = weakref.WeakSet()
        self._shared: set[str] = set()

    def snapshot(self) -> TokenArrays:
        """The tokens as they are now, without copying; later changes here do not show there."""
        reader = TokenArrays(dict(self._arrays), self.count)
        self._readers.add(reader)
        self._shared.update(self._arrays)
        return reader

    def add_keyframe(
        self,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        camera: PinholeCamera,  # of the whole latent grid
        focal: float,  # pixels
        stamp_ns: int,
        now: int,
    ) -> int:
        """Enter a keyframe into the table, which has room; its row (see :meth:`make_room`)."""
        pose = T_world_camera[:3].ravel().tolist()
        grid = [camera.fx, camera.fy, camera.cx, camera.cy, focal, camera.width, camera.height]
        row = torch.tensor([*pose, *grid, now], dtype=torch.float64)
        self._arrays["keyframes"] = torch.cat([self.keyframes, row[None].to(self._device)])
        stamp = torch.tensor([stamp_ns], dtype=torch.int64, device=self._device)
        self._arrays["stamps_ns"] = torch.cat([self.stamps_ns, stamp])
        return len(self.stamps_ns) - 1

    def append(self, tokens: PackedTokens) -> None:
        """Store ``tokens`` behind the others; neighbours in space should be neighbours here."""
        start, end = self.count, self.count + len(tokens)
        if end > len(self._arrays["cell"]):
            # A quarter of slack: appending costs O(1) a token and the memory stays compact.
            size = max(end, start + start // 4 + RUN)
            for name in FIELDS:
                self._grow(name, start, size)
            self._grow("boxes", -(-start // RUN), -(-size // RUN))
        for name in FIELDS:
            self._arrays[name][start:end] = getattr(tokens, name)
        self.count = end
        first_new = -(-start // RUN)
        self._arrays["boxes"][first_new : -(-end // RUN)] = _empty_box(self._device)
        self._extend_boxes(torch.arange(start, end, device=self._device))

    def replace(
        self,
        index: Tensor,  # (M,) int64, each at most once
        tokens: PackedTokens,  # M
    ) -> None:
        """Put ``tokens`` in the place of others."""
        for name in FIELDS:
            self._writable(name)[index] = getattr(tokens, name)
        self._writable("boxes")
        self._extend_boxes(index)

    def touch(
        self,
        index: Tensor,  # (M,) int64
        now: int,
    ) -> None:
        """Note that the tokens at ``index`` were confirmed."""
        self._writable("seen")[index] = now

    def doubt(
        self,
        index: Tensor,  # (M,) int64, each at most once
    ) -> Tensor:  # (M,) uint8
        """Count one more view that saw through the tokens at ``index``; how many it are now."""
        sureness = self._writable("sureness")
        doubts: Tensor = ((sureness[index] & MOST_DOUBTS) + 1).clamp(max=MOST_DOUBTS)
        sureness[index] = (sureness[index] & ~MOST_DOUBTS) | doubts
        return doubts

    def trust(
        self,
        index: Tensor,  # (M,) int64
    ) -> None:
        """Forget all doubts about the tokens at ``index``: their surface was seen."""
        doubted = index[self.tokens.doubts[index] > 0]
        if len(doubted):
            sureness = self._writable("sureness")
            sureness[doubted] = sureness[doubted] & ~MOST_DOUBTS

    def move_keyframes(
        self,
        rows: Tensor,  # (M,) int64 of the keyframe table, each at most once
        T_world_camera: Tensor,  # (M, 4, 4) float64 rigid
    ) -> None:
        """Let keyframes stand elsewhere; their tokens go with them."""
        table = self.keyframes.clone()
        before = table[rows, :12].reshape(-1, 3, 4)
        table[rows, :12] = T_world_camera[:, :3].reshape(-1, 12).to(table)
        turn = torch.eye(3, dtype=torch.float64, device=self._device).repeat(len(table), 1, 1)
        turn[rows] = T_world_camera[:, :3, :3].to(table) @ before[:, :, :3].transpose(1, 2)
        self._arrays["keyframes"] = table
        moved = torch.zeros(len(table), dtype=torch.bool, device=self._device)
        moved[rows] = True
        index = moved[self.tokens.keyframe.long()].nonzero()[:, 0]
        turned = (
            turn[self.tokens.keyframe[index].long()]
            @ (self.tokens.normal[index].double()[..., None])
        )
        self._writable("normal")[index] = turned[..., 0].round().clamp(-127, 127).to(torch.int8)
        self._rebuild_boxes(0)

    def set_clock_back(self, shift: int) -> None:
        """Count time from ``shift`` on; what is older than that stays oldest."""
        seen = self._writable("seen")
        seen[: self.count] = (seen[: self.count].int() - shift).clamp(min=0).to(torch.int16)
        self._arrays["keyframes"] = self.keyframes.clone()
        self.keyframes[:, -1] -= shift

    def visited(
        self,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        distance: float,  # metres
        angle: float,  # radians
        before: int,  # on the memory's clock
    ) -> bool:
        """Whether a keyframe of an earlier time was taken from about here."""
        table = self.keyframes
        pose = torch.from_numpy(T_world_camera).to(self._device)
        near = (table[:, 3:12:4] - pose[:3, 3]).norm(dim=1) <= distance
        # The trace of R1^T R2 is the sum of the products of their elements.
        rotation = table[:, [0, 1, 2, 4, 5, 6, 8, 9, 10]]
        trace = (rotation * pose[:3, :3].flatten()).sum(dim=1)
        near &= (trace - 1.0) / 2.0 >= math.cos(angle)
        return bool((near & (table[:, -1] <= before)).any())

    def keep(
        self,
        index: Tensor,  # (M,) int64, ascending
    ) -> None:
        """Forget all tokens but those at ``index``, and the keyframes that no token is left of."""
        tokens = self.tokens.select(index)
        used, row = torch.unique(tokens.keyframe.long(), return_inverse=True)
        for name in FIELDS:
            self._arrays[name] = getattr(tokens, name).contiguous()
        self._arrays["keyframe"] = row.to(torch.int16)
        self._arrays["keyframes"] = self.keyframes[used]
        self._arrays["stamps_ns"] = self.stamps_ns[used]
        self.count = len(index)
        # Runs before the first token that is gone stay what they were.
        moved = index != torch.arange(self.count, device=self._device)
        runs = (int(moved.int().argmax()) if bool(moved.any()) else self.count) // RUN
        self._shared.clear()
        self._rebuild_boxes(runs)

    def make_room(self) -> int:
        """See to it that a keyframe can be entered; tokens forgotten for that.

        Where the table is full, a sixteenth of it is given up. Numbers of tokens change then.
        """
        if len(self.stamps_ns) < MOST_KEYFRAMES:
            return 0
        return self.forget_keyframes(MOST_KEYFRAMES - MOST_KEYFRAMES // 16)

    def forget_keyframes(self, most: int) -> int:
        """Keep ``most`` keyframes of those that tokens are left of, the latest; tokens forgotten.

        Rows are in the order of time, so the oldest come first.
        """
        used = torch.unique(self.tokens.keyframe)
        before = self.count
        oldest = used[max(0, len(used) - most) :][:1]
        kept = self.tokens.keyframe >= (oldest if len(oldest) else 0)
        self.keep(kept.nonzero()[:, 0])
        return before - self.count

    def clear(self) -> None:
        """Forget everything and give the storage back."""
        self._arrays = {name: self._empty(name, 0) for name in self._new}
        self._shared.clear()
        self.count = 0

    def assign(self, tokens: PackedTokens, keyframes: Tensor, stamps_ns: Tensor) -> None:
        """Hold these tokens, undoubted, and this keyframe table instead of what is held."""
        self.clear()
        self._arrays["keyframes"] = keyframes.to(self._device)
        self._arrays["stamps_ns"] = stamps_ns.to(self._device)
        self.append(replace(tokens, sureness=tokens.sureness & ~MOST_DOUBTS))

    def _empty(self, name: str, size: int) -> Tensor:
        shape, dtype = self._new[name]
        return torch.empty((size, *shape), dtype=dtype, device=self._device)

    def _grow(self, name: str, used: int, size: int) -> None:
        larger = self._empty(name, size)
        larger[:used] = self._arrays[name][:used]
        self._arrays[name] = larger
        self._shared.discard(name)

    def _writable(self, name: str) -> Tensor:
        """The array, copied first where somebody still reads it."""
        if name in self._shared:
            if len(self._readers):
                self._arrays[name] = self._arrays[name].clone()
            self._shared.discard(name)
        return self._arrays[name]

    def _rebuild_boxes(self, first: int) -> None:
        """The boxes of all runs from ``first`` on anew."""
        tokens = self.tokens.select(slice(first * RUN, None))
        if self._device.type == "cpu":
            boxes = torch.from_numpy(
                boxes_of_runs(
                    tokens.cell.numpy(),
                    tokens.depth.float().numpy(),
                    tokens.keyframe.numpy(),
                    self.keyframes.numpy(),
                    RUN,
                )
            )
        else:
            boxes = _empty_box(self._device).repeat(-(-len(tokens) // RUN), 1)
        rows = -(-len(self._arrays["cell"]) // RUN) - first - len(boxes)
        spare = _empty_box(self._device).repeat(max(rows, 0), 1)
        self._arrays["boxes"] = torch.cat([self._arrays["boxes"][:first], boxes, spare])
        self._shared.discard("boxes")
        if self._device.type != "cpu":
            self._extend_boxes(torch.arange(first * RUN, self.count, device=self._device))

    def _extend_boxes(self, index: Tensor) -> None:
        """Let the boxes of the runs of the tokens at ``index`` hold them."""
        if len(index) == 0:
            return
        position = self.geometry(index).position
        boxes = self._arrays["boxes"]
        run = (index // RUN)[:, None].expand(-1, 3)
        boxes[:, :3] = boxes[:, :3].scatter_reduce(0, run, position, "amin")
        boxes[:, 3:] = boxes[:, 3:].scatter_reduce(0, run, position, "amax")


def decode(tokens: PackedTokens, keyframes: Tensor) -> Geometry:
    """Where tokens are and how they were seen.

    In float64 until the end, because the world frame's origin may be far away; only exactly rounded
    elementwise arithmetic, so that every device gives the same bits.
    """
    row = keyframes.index_select(0, tokens.keyframe.long())  # (N, 20)
    pose, fx, fy, cx, cy, focal, columns = row[:, :12], *row[:, 12:18].unbind(dim=1)
    cell, depth = tokens.cell.double(), tokens.depth.double()
    line = torch.floor(cell / columns)
    x = (cell - line * columns + 0.5 - cx) / fx * depth
    y = (line + 0.5 - cy) / fy * depth
    length = torch.sqrt(x * x + y * y + depth * depth)
    position, view = [], []
    for axis in range(3):
        right, down, ahead, origin = pose[:, 4 * axis : 4 * axis + 4].unbind(dim=1)
        ray = right * x + down * y + ahead * depth
        position.append((ray + origin).float())
        view.append((ray / length).float())
    return Geometry(
        torch.stack(position, dim=1),
        (depth / focal).float(),
        torch.stack(view, dim=1),
        tokens.normal,
    )


def _empty_box(device: torch.device) -> Tensor:  # (1, 6)
    return torch.tensor([[torch.inf] * 3 + [-torch.inf] * 3], device=device)
