"""How tokens lie in their cells, against planes projected with plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from plane_views import Array, jacobian, random_pose
from scipy.spatial.transform import Rotation

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.placement import Placement, place_tokens, untouched
from mirage_ros.memory.token_store import NORMAL_SCALE, PackedTokens

#: Two latent grids, neither with square cells nor with its principal point in the middle.
SOURCE = PinholeCamera(12, 10, 7.0, 9.0, 5.5, 5.25)
TARGET = PinholeCamera(8, 6, 6.0, 5.0, 4.25, 2.75)
VIEWS = 5


def keyframe_row(pose: Array, grid: PinholeCamera) -> list[float]:
    """As documented at KEYFRAME_COLUMNS."""
    intrinsics = [grid.fx, grid.fy, grid.cx, grid.cy]
    return [*pose[:3].ravel().tolist(), *intrinsics, 1.0, grid.width, grid.height, 0.0]


class Tokens:
    """One random token for each of N cells of the target views, each in a keyframe of its own."""

    def __init__(self, seed: int, share: float = 0.7) -> None:
        rng = np.random.default_rng(seed)
        self.read = rng.random((VIEWS, TARGET.height, TARGET.width)) < share
        self.at = np.argwhere(self.read)  # (N, 3) view, row, column
        count = len(self.at)
        self.views = np.stack([random_pose(rng, 0.3, 0.5) for _ in range(VIEWS)])
        self.poses = np.stack([random_pose(rng, 0.3, 0.5) for _ in range(count)])
        self.cells = rng.integers(0, SOURCE.width * SOURCE.height, count)
        self.depth = rng.uniform(2.0, 6.0, count)
        column, row = self.cells % SOURCE.width, self.cells // SOURCE.width
        self.uv = np.stack([column + 0.5, row + 0.5], axis=1)
        self.ray = np.stack(
            [
                (self.uv[:, 0] - SOURCE.cx) / SOURCE.fx,
                (self.uv[:, 1] - SOURCE.cy) / SOURCE.fy,
                np.ones(count),
            ],
            axis=1,
        )
        self.sight = self.ray / np.linalg.norm(self.ray, axis=1, keepdims=True)
        # Normals of any angle below 85 degrees to the ray, in the keyframe's frame.
        angle, about = rng.uniform(0.0, np.radians(85.0), count), rng.uniform(0.0, 2 * np.pi, count)
        self.set_normals(tilted(self.sight, angle, about))

    def set_normals(self, local: Array) -> None:
        """Store (N, 3) normals, given in the keyframes' frames; what is stored is rounded."""
        world = np.einsum("nij,nj->ni", self.poses[:, :3, :3], local)
        self.stored = np.rint(world * NORMAL_SCALE).astype(np.int8)
        length = np.linalg.norm(self.stored.astype(float), axis=1, keepdims=True)
        self.normal = self.stored / np.maximum(length, 1.0)  # world
        self.local = np.einsum("nji,nj->ni", self.poses[:, :3, :3], self.normal)
        self.cosine = -(self.local * self.sight).sum(axis=1)

    def placed(self) -> Placement:
        count = len(self.at)
        rows = torch.tensor([keyframe_row(pose, SOURCE) for pose in self.poses])
        packed = PackedTokens(
            features=torch.zeros(count, 0, dtype=torch.uint8),
            cell=torch.from_numpy(self.cells.astype(np.int16)),
            depth=torch.from_numpy(self.depth.astype(np.float32)),
            normal=torch.from_numpy(self.stored),
            keyframe=torch.zeros(count, dtype=torch.int16),
            seen=torch.zeros(count, dtype=torch.int16),
            sureness=torch.zeros(count, dtype=torch.uint8),
        )
        read = torch.from_numpy(self.read)
        return place_tokens(packed, rows.double(), read, TARGET, self.views)

    def appears(self, number: int, normal: Array) -> Callable[[Array], Array]:
        """Where a point of the keyframe's picture appears in the target's, by way of a plane.

        The plane passes through the token, with this normal in the keyframe's frame.
        """
        point = self.ray[number] * self.depth[number].astype(np.float32)
        motion = np.linalg.inv(self.views[self.at[number, 0]]) @ self.poses[number]

        def project(uv: Array) -> Array:
            ray = np.array([(uv[0] - SOURCE.cx) / SOURCE.fx, (uv[1] - SOURCE.cy) / SOURCE.fy, 1.0])
            hit = ray * (normal @ point) / (normal @ ray)
            x, y, z = motion[:3, :3] @ hit + motion[:3, 3]
            return np.array([TARGET.fx * x / z + TARGET.cx, TARGET.fy * y / z + TARGET.cy])

        return project

    def ahead(self, number: int) -> float:
        motion = np.linalg.inv(self.views[self.at[number, 0]]) @ self.poses[number]
        return float((motion[:3, :3] @ (self.ray[number] * self.depth[number]) + motion[:3, 3])[2])

    def plain(self, number: int) -> float:
        """Scale of a surface that faces both cameras."""
        focal = np.sqrt(TARGET.fx * TARGET.fy / (SOURCE.fx * SOURCE.fy))
        return float(focal * self.depth[number] / self.ahead(number))


def tilted(sight: Array, angle: Array, about: Array) -> Array:
    """Unit vectors at an angle to the way back to the camera, turned about it."""
    helper = np.array([0.3, -0.5, 0.8])
    first = np.cross(sight, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(sight, first)
    sideways = np.cos(about)[:, None] * first + np.sin(about)[:, None] * second
    return np.sin(angle)[:, None] * sideways - np.cos(angle)[:, None] * sight


@pytest.mark.parametrize("seed", range(3))
def test_offset_and_stretch_are_those_of_the_plane(seed: int) -> None:
    tokens = Tokens(seed)
    placement = tokens.placed()
    checked = 0
    for number, (view, row, column) in enumerate(tokens.at):
        project = tokens.appears(number, tokens.local[number])
        offset = project(tokens.uv[number]) - [column + 0.5, row + 0.5]
        np.testing.assert_allclose(placement.offset[view, row, column], offset, atol=1e-5)
        expected = jacobian(project, tokens.uv[number])
        values = np.linalg.svd(expected)[1]
        believed = np.linalg.det(expected) > 0.0 and values[1] > 0.255 and values[0] < 3.95
        if believed and tokens.cosine[number] > 0.255:
            checked += 1
            np.testing.assert_allclose(placement.stretch[view, row, column], expected, atol=1e-4)
    assert checked > 80
    assert placement.offset.dtype == placement.stretch.dtype == placement.turn.dtype


def test_turn_is_between_the_rays_in_the_world() -> None:
    tokens = Tokens(3)
    turn = tokens.placed().turn
    for number, (view, row, column) in enumerate(tokens.at):
        before = tokens.poses[number, :3, :3] @ tokens.ray[number]
        point = before * tokens.depth[number] + tokens.poses[number, :3, 3]
        now = point - tokens.views[view, :3, 3]
        cosine = before @ now / np.linalg.norm(before) / np.linalg.norm(now)
        assert float(turn[view, row, column]) == pytest.approx(1.0 - cosine, abs=1e-6)


def test_nothing_is_said_where_nothing_was_read() -> None:
    tokens = Tokens(4, share=0.3)
    placement, nothing = tokens.placed(), torch.from_numpy(~tokens.read)
    assert bool(nothing.any())
    assert not bool(placement.offset[nothing].any())
    assert not bool(placement.turn[nothing].any())
    assert bool((placement.stretch[nothing] == torch.eye(2)).all())


def test_surfaces_of_unknown_normal_face_the_camera_that_saw_them() -> None:
    tokens = Tokens(5)
    tokens.set_normals(np.zeros_like(tokens.local))
    placement = tokens.placed()
    for number, (view, row, column) in enumerate(tokens.at):
        expected = jacobian(tokens.appears(number, -tokens.sight[number]), tokens.uv[number])
        np.testing.assert_allclose(placement.stretch[view, row, column], expected, atol=1e-4)


@pytest.mark.parametrize("degrees", [78.0, 88.0, 100.0, 150.0])
def test_grazing_normals_are_turned_up_to_the_least_cosine(degrees: float) -> None:
    """Also those that a bad estimate turned away: in the plane of ray and normal, to 1 / 4."""
    tokens = Tokens(6)
    count = len(tokens.at)
    about = np.linspace(0.0, 6.0, count)
    tokens.set_normals(tilted(tokens.sight, np.full(count, np.radians(degrees)), about))
    placement = tokens.placed()
    checked = 0
    for number, (view, row, column) in enumerate(tokens.at):
        axis = np.cross(-tokens.sight[number], tokens.local[number])
        turned = Rotation.from_rotvec(np.arccos(0.25) * axis / np.linalg.norm(axis))
        project = tokens.appears(number, turned.apply(-tokens.sight[number]))
        expected = jacobian(project, tokens.uv[number])
        values = np.linalg.svd(expected)[1]
        if np.linalg.det(expected) > 0.0 and values[1] > 0.255 and values[0] < 3.95:
            checked += 1
            np.testing.assert_allclose(placement.stretch[view, row, column], expected, atol=1e-3)
    assert checked > 60


def test_maps_that_cannot_be_believed_keep_only_their_scale() -> None:
    """Too large, too small, too thin, or seen from behind: as if it faced both cameras."""
    tokens = Tokens(7)
    count = len(tokens.at)
    rng = np.random.default_rng(8)
    # Depth, and how far ahead of the target the keyframe stood: from afar, near by, slanted.
    depth, ahead = rng.choice([(30.0, -28.0), (1.0, 7.0), (3.0, -2.0)], count).T
    tokens.depth = depth
    tokens.poses[:, :3, 3] += ahead[:, None] * tokens.poses[:, :3, 2]
    tokens.set_normals(
        tilted(tokens.sight, np.radians(rng.uniform(40.0, 74.0, count)), rng.uniform(0, 6, count))
    )
    placement = tokens.placed()
    seen = {"large": 0, "small": 0, "thin": 0, "mirrored": 0}
    for number, (view, row, column) in enumerate(tokens.at):
        if tokens.ahead(number) < 0.05 or tokens.cosine[number] < 0.255:
            continue
        expected = jacobian(tokens.appears(number, tokens.local[number]), tokens.uv[number])
        greatest, least = np.linalg.svd(expected)[1]
        if np.linalg.det(expected) < 0.0:
            kind = "mirrored"
        elif least > 4.05:
            kind = "large"
        elif greatest < 0.245:
            kind = "small"
        elif least < 0.245 or greatest > 4.05:
            kind = "thin"
        else:
            continue
        seen[kind] += 1
        scale = np.clip(tokens.plain(number), 0.25, 4.0)
        found = placement.stretch[view, row, column]
        np.testing.assert_allclose(found, scale * np.eye(2), rtol=1e-5, atol=1e-7)
    assert min(seen.values()) > 5, seen


def test_joined_parts_are_the_whole() -> None:
    placement = Tokens(9).placed()
    parts = [placement.part(slice(0, 2)), placement.part(slice(2, None))]
    joined = Placement.joined(parts)
    for name in ("offset", "stretch", "turn"):
        assert torch.equal(getattr(joined, name), getattr(placement, name))
        assert len(getattr(parts[0], name)) == 2
    first = torch.from_numpy(Tokens(9).read)
    both = placement.where(first, untouched(first.shape, first.device))
    assert torch.equal(both.stretch, placement.stretch)
    swapped = untouched(first.shape, first.device).where(first, placement)
    assert torch.equal(swapped.stretch, torch.eye(2).expand_as(swapped.stretch))
