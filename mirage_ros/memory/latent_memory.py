"""The latent spatial memory: store what a camera saw as tokens in space, read it for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory import layers
from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.base import MemoryBranch, MemoryCloud, MemoryUpdate, Poses, Readout
from mirage_ros.memory.bounds import Verdict, in_view, judge, surplus
from mirage_ros.memory.carving import Carving, judge_tokens
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.keyframe_table import (
    Keyframes,
    PlacedTokens,
    SurfacePoints,
    keyframes_of,
    move_keyframes,
    placed_tokens,
    surfaces_in_view,
)
from mirage_ros.memory.latent_branch import LatentBranch
from mirage_ros.memory.latent_config import GRID_SHIFTS, LatentMemoryConfig
from mirage_ros.memory.latent_file import KIND, load_latent, save_latent
from mirage_ros.memory.layers import Layers
from mirage_ros.memory.likeness import alike_tokens
from mirage_ros.memory.readout import Selection
from mirage_ros.memory.token_store import (
    IMAGINED,
    MOST_KEYFRAMES,
    OBSERVED,
    RUN,
    TokenArrays,
    TokenStore,
)
from mirage_ros.memory.tokens import TokenCloud, token_cloud
from mirage_ros.memory.view_tokens import View, ViewTokens, tokens_of_view, views_of_frame

#: The clock of updates has to fit 16 bits: at this time it is set back by half.
_CLOCK_LIMIT = 32_000
#: Voxels are looked through when there are more tokens by this factor than after the last time, and
#: more than this many.
_GROWTH, _FIRST_LOOK = 1.25, 10_000


class LatentMemory:
    """Tokens of keyframes; implements :class:`mirage_ros.memory.base.SpatialMemory`.

    Not safe for use from several threads at once: its owner serialises the calls.

    Attributes:
        codec: makes the latents that are stored.
        config: how to store and read.
        device: where tokens live.
        features: how latents are stored.
    """

    kind = KIND

    def __init__(
        self,
        codec: Codec,
        config: LatentMemoryConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.codec = codec
        self.config = config or LatentMemoryConfig()
        self.device = torch.device(device)
        self.features = FeatureFormat(self.config.features, codec.channel_gain)
        self._gain = torch.tensor(codec.channel_gain, device=self.device)
        self._exact_depth = self.config.features == "float32"
        self._observed = self.new_store()
        self._imagined = self.new_store()
        self._clock = 0
        self._look_at = _FIRST_LOOK

    @property
    def count(self) -> int:
        """Number of tokens held."""
        return self._observed.count + self._imagined.count

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens, the bounding boxes of their runs and the keyframe table."""
        return self._observed.nbytes + self._imagined.nbytes

    def new_store(self) -> TokenStore:
        """An empty store of the kind that this memory keeps tokens in."""
        return TokenStore(self.features.width, self._exact_depth, self.device)

    def tokens(self) -> TokenCloud:
        """A decoded copy of all tokens, safe to keep and to hand to another thread."""
        return TokenCloud.concatenate(
            [
                token_cloud(self._observed, self.features, OBSERVED),
                token_cloud(self._imagined, self.features, IMAGINED),
            ]
        )

    def cloud(self, *, with_features: bool = False) -> MemoryCloud:
        """A snapshot of everything held."""
        tokens = self.tokens()
        features = tokens.features.float()
        colours = self.codec.mean_colour(features) * 255.0
        return MemoryCloud(
            positions=tokens.position.cpu().numpy(),
            colours=colours.round().byte().cpu().numpy(),
            confidence=tokens.confidence.cpu().numpy(),
            stamps_ns=tokens.stamp_ns.cpu().numpy(),
            observed=tokens.provenance.bool().cpu().numpy(),
            features=features.cpu().numpy() if with_features else None,
        )

    def clear(self) -> None:
        """Forget everything."""
        self._observed.clear()
        self._imagined.clear()
        self._clock = 0
        self._look_at = _FIRST_LOOK

    @property
    def cell_depth(self) -> CellDepthConfig:
        """How depth is brought to the latent grid."""
        return self.config.cell_depth

    @torch.no_grad()
    def observe(
        self,
        frame: RgbdFrame,
        latents: Tensor | None = None,  # (C, h, w) float32 of the whole frame
    ) -> MemoryUpdate:
        """Store a sensor frame, encoded as a single image where its latents are not given.

        Raises:
            FrameError: the frame carries no depth.
            CodecError: its size is not a multiple of the codec's stride.
            MemoryFormatError: ``latents`` do not fit codec and frame.
        """
        config, update = self.config, MemoryUpdate()
        shifts = GRID_SHIFTS[config.grids]
        views = views_of_frame(frame, self.codec, config.cell_depth, shifts, self.device, latents)
        for view in views:
            update += self._observe_view(view)
        return update

    @torch.no_grad()
    def carve(
        self,
        depth: NDArray[np.float32],  # (H, W) z-depth in metres; 0 or NaN = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> Carving:
        """Doubt observed tokens that a view sees through, and forget those doubted enough.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: the pose is not rigid.
        """
        store, config = self._observed, self.config.carving
        pose = validate_pose(T_world_camera, "T_world_camera")
        stride = self.codec.spatial_stride
        through, surface = judge_tokens(
            store, depth, camera, stride, pose, self.config.readout, config
        )
        judged = len(through) + len(surface)
        if len(through) > config.most_contradicted * judged:
            share = len(through) / judged
            return Carving(
                len(through),
                len(surface),
                reason=f"the view sees through {share:.0%} of what is remembered in it (believed "
                f"up to {config.most_contradicted:.0%}): is its pose or its depth wrong?",
            )
        store.trust(surface)
        gone = through[store.doubt(through) >= config.views]
        if len(gone):
            kept = torch.ones(store.count, dtype=torch.bool, device=self.device)
            kept[gone] = False
            store.keep(kept.nonzero()[:, 0])
        return Carving(len(through), len(surface), len(gone))

    def surfaces(
        self,
        camera: PinholeCamera,  # pixel camera
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> SurfacePoints:
        """Observed surfaces in and about a view, in the order in which they were stored.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: the pose is not rigid.
        """
        pose = validate_pose(T_world_camera, "T_world_camera")
        grid = camera.latent(self.codec.spatial_stride)
        return surfaces_in_view(self._observed, grid, pose, self.config.readout)

    def placed_tokens(self) -> PlacedTokens:
        """Observed tokens as their keyframes saw them."""
        return placed_tokens(self._observed)

    def keyframes(self) -> Keyframes:
        """Where the keyframes stand that observed tokens came with."""
        return keyframes_of(self._observed)

    @torch.no_grad()
    def move_keyframes(self, moved: Keyframes) -> int:
        """Let keyframes of these stamps stand where they are said to; how many there were.

        Their tokens go with them.

        Raises:
            PoseError: a pose is not rigid.
        """
        return move_keyframes(self._observed, moved)

    @torch.no_grad()
    def read(
        self,
        camera: PinholeCamera,
        T_world_camera: Poses,  # (T, 4, 4)
        *,
        placed: bool = False,
    ) -> Readout:
        """What is remembered of T views of one camera, in one batched pass.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: a pose is not rigid.
        """
        everything = Layers((self._observed,), (self._imagined,))
        return self.read_layers(everything, camera, T_world_camera, placed=placed)

    def read_layers(
        self, what: Layers, camera: PinholeCamera, T_world_camera: Poses, *, placed: bool = False
    ) -> Readout:
        """:meth:`read` for other sets of tokens than this memory's."""
        stride = self.codec.spatial_stride
        poses = [validate_pose(pose, "T_world_camera") for pose in T_world_camera]
        return layers.read(
            what,
            self.features,
            camera.latent(stride),
            stride,
            np.array(poses).reshape(-1, 4, 4),
            self.config.readout,
            placed=placed,
        )

    def branch(self) -> LatentBranch:
        """A memory that begins as this one is now, for imagined content; cheap until written to."""
        return LatentBranch(self, (self._observed.snapshot(),), (self._imagined.snapshot(),))

    @torch.no_grad()
    def commit(self, branch: MemoryBranch) -> MemoryUpdate:
        """Keep what a branch of this memory imagined, marked as imagined.

        Raises:
            MemoryFormatError: the branch is another memory's.
        """
        if not isinstance(branch, LatentBranch) or branch.memory is not self:
            raise MemoryFormatError(
                "a branch to commit must come from this memory. Got another memory's"
            )
        update = MemoryUpdate()
        for view in branch.views():
            update += self.imagine_view(view, self._imagined, Layers((self._observed,), ()))
        return update

    def save(self, path: Path, frame_id: str) -> None:
        """Write everything to a file, which is whole or not there at any moment.

        Raises:
            OSError: it cannot be written.
        """
        save_latent(path, frame_id, self.codec, self.features, self._stores(), self._clock)

    def load(self, path: Path, frame_id: str | None = None) -> dict[str, str]:
        """Hold what a file holds instead of what is held; the file's header.

        Raises:
            MemoryFormatError: the file does not fit this memory, or is in another frame than
                ``frame_id``; nothing has changed then.
            OSError: it cannot be read.
        """
        content = load_latent(path, frame_id, self.codec, self.features, self._stores())
        for name, store in self._stores().items():
            store.assign(*content.stores[name])
        self._clock = content.clock
        self._look_at = _FIRST_LOOK
        self._stay_within_bounds(None)
        return content.header

    def imagine_view(self, view: View, into: TokenStore, known: Layers) -> MemoryUpdate:
        """Store an imagined view in ``into``, except where ``known`` has something already."""
        free = torch.ones_like(view.depth, dtype=torch.bool)
        for parts in (known.observed, known.imagined):
            if any(part.count for part in parts):
                free &= self._select(parts, view).index[0] < 0
        update = self._store(view.only(free), into)
        excess = into.count - self.config.bounds.capacity
        if excess > 0:
            into.keep(torch.arange(excess, into.count, device=self.device))
        return update + MemoryUpdate(evicted=max(excess, 0))

    def _stores(self) -> dict[str, TokenStore]:
        return {"observed": self._observed, "imagined": self._imagined}

    def _observe_view(self, view: View) -> MemoryUpdate:
        self._clock += 1
        if self._clock > _CLOCK_LIMIT:
            self._clock -= _CLOCK_LIMIT // 2
            for store in self._stores().values():
                store.set_clock_back(_CLOCK_LIMIT // 2)
        update = self._store(view, self._observed)
        evicted = self._drop_contradicted(view) + self._stay_within_bounds(view)
        return update + MemoryUpdate(evicted=evicted)

    def _select(self, parts: Sequence[TokenArrays], view: View) -> Selection:
        pose = view.T_world_camera[None]
        stride = self.codec.spatial_stride
        return layers.select(parts, view.grid, stride, pose, self.config.readout)

    def _store(self, view: View, store: TokenStore) -> MemoryUpdate:
        """Store a view's tokens as far as ``store`` does not show the same already."""
        batch = tokens_of_view(view, self.features, self._exact_depth)
        if len(batch.tokens) == 0:
            return MemoryUpdate()
        # Before anything is compared, because numbers of tokens may change.
        forgotten = store.make_room()
        if self.config.bounds.merge and store.count:
            verdict = self._judge(batch, view, store)
        else:
            verdict = Verdict.all_news(batch.cell)
        store.touch(verdict.old[verdict.confirming], self._clock)
        if bool((verdict.appended | verdict.replacing).any()):
            row = store.add_keyframe(
                view.T_world_camera, view.grid, view.focal, view.stamp_ns, self._clock
            )
            tokens = batch.entered(row, self._clock)
            store.replace(verdict.old[verdict.replacing], tokens.select(verdict.replacing))
            store.append(tokens.select(verdict.appended))
        return MemoryUpdate(
            int(verdict.appended.sum()),
            int(verdict.replacing.sum()),
            int(verdict.confirming.sum()),
            forgotten,
        )

    def _judge(self, batch: ViewTokens, view: View, store: TokenStore) -> Verdict:
        bounds, stride = self.config.bounds, self.codec.spatial_stride
        selection = self._select((store,), view)
        old = selection.index.flatten()[batch.cell]
        slots = old.clamp(min=0)
        shown = self.features.unpack(store.tokens.features[slots])
        verdict = judge(
            old,
            selection.depth.flatten()[batch.cell],
            selection.fit.flatten()[batch.cell],
            ((shown - batch.latents) * self._gain).square().sum(dim=1),
            bounds.allowed_error(view.contrast.flatten()[batch.cell]),
            batch.depth,
            batch.footprint / store.geometry(slots).footprint,
            bounds,
        )
        before = self._clock - bounds.revisit_after
        if store.visited(
            view.T_world_camera, bounds.revisit_distance, bounds.revisit_angle, before
        ):
            readout = self.config.readout
            alike = alike_tokens(store, self.features, self._gain, view, stride, readout, bounds)
            verdict = verdict.unless_alike(alike.flatten()[batch.cell])
        return verdict

    def _drop_contradicted(self, view: View) -> int:
        """Forget imagined tokens where a sensor now sees their surface or through it."""
        store = self._imagined
        if store.count == 0:
            return 0
        selection = self._select((store,), view)
        limit = view.depth * (1.0 + self.config.bounds.same_surface)
        refuted = (selection.index[0] >= 0) & (view.depth > 0.0) & (selection.depth[0] <= limit)
        gone = torch.zeros(store.count, dtype=torch.bool, device=self.device)
        gone[selection.index[0][refuted]] = True
        if bool(gone.any()):
            store.keep((~gone).nonzero()[:, 0])
        return int(gone.sum())

    def _stay_within_bounds(self, view: View | None) -> int:
        """Forget what is too much; ``view`` is what the robot sees now."""
        bounds, store = self.config.bounds, self._observed
        excess = self.count - bounds.capacity
        # Refreshing leaves keyframes without tokens behind.
        if len(store.stamps_ns) > _FIRST_LOOK // RUN + store.count // RUN:
            store.forget_keyframes(MOST_KEYFRAMES)
        if excess <= 0 and (not bounds.merge or store.count < self._look_at):
            return 0
        evicted = 0
        if excess > 0 and self._imagined.count:
            # What was only imagined goes first, the oldest before the others.
            evicted = min(excess, self._imagined.count)
            left = torch.arange(evicted, self._imagined.count, device=self.device)
            self._imagined.keep(left)
        geometry = store.geometry(slice(None))
        protected = torch.zeros(store.count, device=self.device)
        robot = torch.zeros(3, device=self.device)
        if view is not None:
            robot = torch.from_numpy(view.T_world_camera[:3, 3].astype(np.float32)).to(self.device)
            selection = self._select((store,), view)
            protected = in_view(geometry.position, view, selection, self.config.readout.depth_band)
        gone = surplus(
            store.tokens,
            geometry,
            self.codec.spatial_stride,
            robot,
            self._clock,
            protected,
            bounds.capacity - self._imagined.count,
            bounds,
        )
        if bool(gone.any()):
            store.keep((~gone).nonzero()[:, 0])
        self._look_at = max(_FIRST_LOOK, int(store.count * _GROWTH))
        return evicted + int(gone.sum())
