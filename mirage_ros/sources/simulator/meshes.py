"""Textured triangle meshes gathered per material, and the boxes that stand for them in physics."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Placement:
    """Where a piece stands: its own origin in the world and its turn about the vertical.

    A piece's frame has x along its width, y out of its back (into the room) and z up.
    """

    x: float
    y: float
    yaw: float

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 3) -> (N, 3)
        """Points of the piece's frame in the world."""
        moved: NDArray[np.float64] = self.rotate(points) + np.array([self.x, self.y, 0.0])
        return moved

    def rotate(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 3) -> (N, 3)
        """Directions of the piece's frame in the world."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        turned: NDArray[np.float64] = vectors @ np.array(
            [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]
        )
        return turned


@dataclass(frozen=True)
class BoxCollider:
    """A box that the robot cannot enter: centre and half size in metres, turned by yaw."""

    centre: tuple[float, float, float]
    half_size: tuple[float, float, float]
    yaw: float


@dataclass
class TriangleMesh:
    """Triangles of one material, flat or smooth by their normals."""

    vertices: list[NDArray[np.float64]] = field(default_factory=list)
    normals: list[NDArray[np.float64]] = field(default_factory=list)
    texture_coordinates: list[NDArray[np.float64]] = field(default_factory=list)
    faces: list[NDArray[np.int64]] = field(default_factory=list)
    count: int = 0

    def add(
        self,
        vertices: NDArray[np.float64],  # (N, 3)
        normals: NDArray[np.float64],  # (N, 3)
        uv: NDArray[np.float64],  # (N, 2)
        faces: NDArray[np.int64],  # (M, 3), anticlockwise seen from outside
    ) -> None:
        """Append triangles."""
        self.vertices.append(vertices)
        self.normals.append(normals)
        self.texture_coordinates.append(uv)
        self.faces.append(faces + self.count)
        self.count += len(vertices)


_QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]])
_QUAD_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


class MeshSet:
    """All triangles of a scene, by material name."""

    def __init__(self) -> None:
        self.meshes: dict[str, TriangleMesh] = defaultdict(TriangleMesh)

    def quad(
        self,
        material: str,
        corners: ArrayLike,  # (4, 3) world, anticlockwise seen from the front
        uv: ArrayLike,  # (4, 2)
    ) -> None:
        """A flat rectangle, seen from its front only."""
        points = np.asarray(corners, dtype=np.float64)
        normal = np.cross(points[1] - points[0], points[3] - points[0])
        normals = np.tile(normal / np.linalg.norm(normal), (4, 1))
        self.meshes[material].add(points, normals, np.asarray(uv, dtype=np.float64), _QUAD_FACES)


class PieceBuilder:
    """Builds one piece in its own frame, and gathers its colliders.

    Args:
        meshes: receives the triangles.
        colliders: receives the boxes for physics.
        placement: where the piece stands.
        rng: draws where in a tiling texture each part is cut from, so that no two look alike.
        tile_sizes: metres that one repeat of each tiling material covers.
    """

    def __init__(
        self,
        meshes: MeshSet,
        colliders: list[BoxCollider],
        placement: Placement,
        rng: np.random.Generator,
        tile_sizes: dict[str, float],
    ) -> None:
        self.rng = rng
        self._meshes = meshes
        self._colliders = colliders
        self._placement = placement
        self._tile_sizes = tile_sizes

    def box(
        self,
        material: str,
        centre: tuple[float, float, float],
        size: tuple[float, float, float],
        *,
        solid: bool = False,
        front: tuple[str, tuple[float, float, float, float]] | None = None,
    ) -> None:
        """A box; ``solid`` adds a collider of the same size.

        ``front`` gives the face towards +y another material and the part (u0, v0, u1, v1) of its
        texture that the face shows.
        """
        middle, half = np.array(centre), np.array(size) / 2.0
        for axis in range(3):
            for sign in (-1.0, 1.0):
                normal = np.eye(3)[axis] * sign
                # A horizontal first axis on upright faces keeps textures upright.
                first = (
                    np.cross([0.0, 0.0, 1.0], normal) if axis < 2 else np.array([sign, 0.0, 0.0])
                )
                second = np.cross(normal, first)
                extent = np.array([np.abs(first) @ half, np.abs(second) @ half])
                corners = (
                    middle
                    + normal * half
                    + _QUAD_CORNERS[:, :1] * first * extent[0]
                    + _QUAD_CORNERS[:, 1:] * second * extent[1]
                )
                if front is not None and axis == 1 and sign > 0.0:
                    name, (u0, v0, u1, v1) = front
                    self._add(
                        name, corners, normal, np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])
                    )
                    continue
                uv = (_QUAD_CORNERS + 1.0) * extent / self._tile_sizes[material]
                if extent[1] > extent[0]:  # the grain of wood runs along the longer edge
                    uv = uv[:, ::-1]
                self._add(material, corners, normal, uv + self.rng.random(2))
        if solid:
            self.solid(centre, size)

    def _add(
        self,
        material: str,
        corners: NDArray[np.float64],  # (4, 3)
        normal: NDArray[np.float64],  # (3,)
        uv: NDArray[np.float64],  # (4, 2)
    ) -> None:
        normals = self._placement.rotate(np.tile(normal, (4, 1)))
        self._meshes.meshes[material].add(self._placement.apply(corners), normals, uv, _QUAD_FACES)

    def panel(
        self,
        material: str,
        centre: tuple[float, float, float],
        size: tuple[float, float],
        *,
        facing: str = "y",
        part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    ) -> None:
        """A rectangle that faces +y, or +z with ``facing="z"``, showing a part of its texture."""
        normal = np.array([0.0, 1.0, 0.0]) if facing == "y" else np.array([0.0, 0.0, 1.0])
        first = np.array([-1.0, 0.0, 0.0]) if facing == "y" else np.array([1.0, 0.0, 0.0])
        second = np.cross(normal, first)
        corners = (
            np.array(centre)
            + _QUAD_CORNERS[:, :1] * first * size[0] / 2.0
            + _QUAD_CORNERS[:, 1:] * second * size[1] / 2.0
        )
        u0, v0, u1, v1 = part
        self._add(material, corners, normal, np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]]))

    def cylinder(
        self,
        material: str,
        base: tuple[float, float, float],
        radius: float,
        height: float,
        *,
        top_radius: float | None = None,
        sides: int = 14,
        solid: bool = False,
    ) -> None:
        """An upright cylinder or cone frustum on ``base``."""
        top = radius if top_radius is None else top_radius
        angles = np.linspace(0.0, 2.0 * math.pi, sides + 1)
        ring = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1)
        origin = np.array(base)
        lower = origin + ring * radius
        upper = origin + ring * top + np.array([0.0, 0.0, height])
        slope = np.array([0.0, 0.0, (radius - top) / height])
        normals = (ring + slope) / np.linalg.norm(ring + slope, axis=1, keepdims=True)
        tile = self._tile_sizes[material]
        u = angles * max(radius, top) / tile + self.rng.random()
        side_uv = np.concatenate(
            [np.stack([u, np.zeros_like(u)], -1), np.stack([u, np.full_like(u, height / tile)], -1)]
        )
        i = np.arange(sides)
        n = sides + 1
        faces = np.concatenate(
            [np.stack([i, i + 1, i + 1 + n], -1), np.stack([i, i + 1 + n, i + n], -1)]
        )
        mesh = self._meshes.meshes[material]
        place = self._placement
        mesh.add(
            place.apply(np.concatenate([lower, upper])),
            place.rotate(np.concatenate([normals, normals])),
            side_uv,
            faces,
        )
        for rim, centre, up in (
            (lower, origin, -1.0),
            (upper, origin + np.array([0.0, 0.0, height]), 1.0),
        ):
            points = np.concatenate([rim[:-1], centre[None]])
            fan = np.stack([i, (i + 1) % sides, np.full_like(i, sides)], -1)
            mesh.add(
                place.apply(points),
                np.tile([0.0, 0.0, up], (len(points), 1)),
                (points[:, :2] - origin[:2]) / tile,
                fan if up > 0.0 else fan[:, ::-1],
            )
        if solid:
            side = 2.0 * max(radius, top)
            self.solid((base[0], base[1], base[2] + height / 2.0), (side, side, height))

    def ellipsoid(
        self,
        material: str,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        *,
        rings: int = 7,
        sides: int = 12,
    ) -> None:
        """An ellipsoid with its poles up and down."""
        theta, phi = np.meshgrid(
            np.linspace(0.0, math.pi, rings), np.linspace(0.0, 2.0 * math.pi, sides), indexing="ij"
        )
        unit = np.stack(
            [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1
        ).reshape(-1, 3)
        normals = unit / np.array(radii)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        tile = self._tile_sizes[material]
        uv = np.stack([phi.ravel(), theta.ravel()], -1) * max(radii) / tile + self.rng.random(2)
        i, j = np.meshgrid(np.arange(rings - 1), np.arange(sides - 1), indexing="ij")
        a = (i * sides + j).ravel()
        faces = np.concatenate(
            [np.stack([a, a + sides, a + sides + 1], -1), np.stack([a, a + sides + 1, a + 1], -1)]
        )
        # At the poles one of the two triangles of a patch has no area.
        points = np.array(centre) + unit * np.array(radii)
        edge_1, edge_2 = (
            points[faces[:, 1]] - points[faces[:, 0]],
            points[faces[:, 2]] - points[faces[:, 0]],
        )
        faces = faces[np.linalg.norm(np.cross(edge_1, edge_2), axis=1) > 1e-12]
        self._meshes.meshes[material].add(
            self._placement.apply(points), self._placement.rotate(normals), uv, faces
        )

    def solid(self, centre: tuple[float, float, float], size: tuple[float, float, float]) -> None:
        """A collider without a look."""
        position = self._placement.apply(np.array([centre]))[0]
        self._colliders.append(
            BoxCollider(
                (float(position[0]), float(position[1]), float(position[2])),
                (size[0] / 2.0, size[1] / 2.0, size[2] / 2.0),
                self._placement.yaw,
            )
        )
