"""The body of a person: its limbs as rigid parts, in clothes drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mirage_ros.sources.simulator import textures
from mirage_ros.sources.simulator.materials import Material
from mirage_ros.sources.simulator.meshes import MeshSet
from mirage_ros.sources.simulator.movers import MovingBody

#: Height that the proportions below are given for, metres.
REFERENCE_HEIGHT = 1.75

# Lengths of a person of that height, metres. Limbs hang down from the joint that is their origin.
THIGH, SHANK, ANKLE = 0.43, 0.40, 0.08
UPPER_ARM, FOREARM = 0.29, 0.25
#: Joints in the frame of the trunk, whose origin lies between the hips: x forward, y left, z up.
HIP, SHOULDER = (0.0, 0.09, -0.02), (0.0, 0.192, 0.465)
#: The sole's ends, from the ankle: (forward, up).
HEEL, TOE = (-0.07, -ANKLE), (0.19, -ANKLE)

_CLOTH_TILE = 0.5
_SIDES = 18

# Cross sections of parts from the lowest up: height, middle (forward), half depth, half width.
_HIPS = [
    (-0.13, 0.0, 0.050, 0.060),
    (-0.10, 0.0, 0.095, 0.135),
    (-0.02, -0.01, 0.120, 0.172),
    (0.06, -0.005, 0.115, 0.165),
    (0.13, 0.0, 0.104, 0.150),
]
_CHEST = [
    (0.07, 0.0, 0.118, 0.168),
    (0.12, 0.0, 0.110, 0.158),
    (0.20, 0.0, 0.104, 0.148),
    (0.32, 0.005, 0.116, 0.168),
    (0.42, 0.005, 0.118, 0.186),
    (0.49, 0.0, 0.104, 0.190),
    (0.53, -0.005, 0.082, 0.150),
    (0.56, -0.01, 0.062, 0.085),
    (0.58, -0.01, 0.052, 0.055),
]
_NECK = [(0.53, -0.01, 0.050, 0.052), (0.60, 0.0, 0.048, 0.050), (0.66, 0.005, 0.052, 0.052)]
_HEAD = [
    (0.605, 0.030, 0.012, 0.012),
    (0.615, 0.025, 0.045, 0.036),
    (0.645, 0.015, 0.075, 0.058),
    (0.70, 0.008, 0.092, 0.072),
    (0.75, 0.0, 0.098, 0.077),
    (0.79, -0.005, 0.090, 0.072),
    (0.82, -0.008, 0.065, 0.052),
    (0.835, -0.010, 0.010, 0.010),
]
_THIGH = [
    (-0.47, 0.0, 0.030, 0.030),
    (-0.43, 0.0, 0.060, 0.058),
    (-0.20, 0.0, 0.078, 0.076),
    (-0.02, 0.0, 0.092, 0.086),
    (0.06, 0.0, 0.060, 0.056),
]
_SHANK = [
    (-0.42, -0.005, 0.062, 0.056),
    (-0.38, -0.005, 0.060, 0.054),
    (-0.22, -0.010, 0.060, 0.055),
    (-0.10, -0.008, 0.064, 0.059),
    (0.0, 0.0, 0.061, 0.058),
    (0.04, 0.0, 0.030, 0.030),
]
_UPPER_ARM = [
    (-0.33, 0.0, 0.020, 0.020),
    (-0.29, 0.0, 0.043, 0.042),
    (-0.15, 0.0, 0.050, 0.048),
    (-0.02, 0.0, 0.058, 0.054),
    (0.02, 0.0, 0.050, 0.044),
    (0.04, 0.0, 0.034, 0.028),
    (0.048, 0.0, 0.006, 0.006),
]
_FOREARM = [
    (-0.25, 0.0, 0.034, 0.032),
    (-0.12, 0.0, 0.041, 0.039),
    (0.0, 0.0, 0.043, 0.042),
    (0.04, 0.0, 0.015, 0.015),
]

_SKINS = ((0.93, 0.76, 0.65), (0.80, 0.60, 0.47), (0.58, 0.40, 0.30), (0.40, 0.27, 0.20))
_HAIRS = ((0.12, 0.09, 0.07), (0.32, 0.20, 0.11), (0.62, 0.48, 0.28), (0.55, 0.53, 0.52))
_TROUSERS = ((0.20, 0.26, 0.40), (0.24, 0.24, 0.26), (0.52, 0.45, 0.34), (0.30, 0.34, 0.26))


def figure_materials(seed: int) -> dict[str, Material]:
    """Skin, hair and clothes of a person; one seed makes one person."""
    rng = np.random.default_rng(seed)

    def pick(colours: tuple[textures.Colour, ...]) -> textures.Colour:
        return textures.varied(rng, colours[int(rng.integers(len(colours)))], 0.03)

    def cloth(colour: textures.Colour) -> Material:
        return Material(textures.fabric(rng, 192, 192, colour), _CLOTH_TILE)

    skin, hair = pick(_SKINS), pick(_HAIRS)
    bright = textures.varied(rng, (0.58, 0.40, 0.38), 0.16)
    pale = textures.varied(rng, (0.85, 0.82, 0.76), 0.06)
    if rng.random() < 0.6:
        # Stripes run up a texture; on a shirt they go around.
        bands = textures.stripes(rng, 192, 192, [bright, pale]).swapaxes(0, 1)
        shirt = Material(np.ascontiguousarray(bands), _CLOTH_TILE)
    else:
        shirt = cloth(bright)
    return {
        "skin": Material(textures.plaster(rng, 96, 96, skin), 0.3),
        "hair": Material(textures.wood(rng, 96, 96, hair), 0.2),
        "shirt": shirt,
        "trousers": cloth(pick(_TROUSERS)),
        "shoes": Material(textures.plaster(rng, 96, 96, pick(_HAIRS)), 0.3),
    }


def figure_bodies(
    seed: int, height: float, apartment: Mapping[str, Material]
) -> tuple[MovingBody, ...]:
    """Trunk with head, then thigh, shank, foot, upper arm and forearm, left before right."""
    own = figure_materials(seed)
    # Limbs of both sides are cut from the same cloth.
    limbs: tuple[Callable[[], MovingBody], ...] = (
        lambda: _limb(own, "trousers", _THIGH),
        lambda: _limb(own, "trousers", _SHANK),
        lambda: _foot(own, apartment),
        lambda: _limb(own, "shirt", _UPPER_ARM),
        lambda: _forearm(own, apartment),
    )
    parts = [_trunk(own, apartment), *(make() for make in limbs for _ in range(2))]
    for part in parts:
        for mesh in part.meshes.meshes.values():
            mesh.vertices = [v * (height / REFERENCE_HEIGHT) for v in mesh.vertices]
    return tuple(parts)


def _trunk(own: dict[str, Material], apartment: Mapping[str, Material]) -> MovingBody:
    body = MovingBody(MeshSet(), own)
    _loft(body, "trousers", _HIPS)
    _loft(body, "shirt", _CHEST)
    _loft(body, "skin", _NECK)
    _loft(body, "skin", _HEAD)
    build = body.builder(np.random.default_rng(0), apartment)
    build.ellipsoid("hair", (-0.028, 0.0, 0.750), (0.094, 0.087, 0.100), rings=11, sides=_SIDES)
    build.ellipsoid("skin", (0.100, 0.0, 0.722), (0.018, 0.013, 0.024))
    for side in (1.0, -1.0):
        build.ellipsoid("skin", (0.0, side * 0.078, 0.725), (0.022, 0.010, 0.030))
        build.ellipsoid("hair", (0.084, side * 0.033, 0.748), (0.009, 0.012, 0.006))
        build.ellipsoid("hair", (0.083, side * 0.033, 0.768), (0.009, 0.020, 0.004))
    build.ellipsoid("shoes", (0.092, 0.0, 0.675), (0.007, 0.022, 0.004))
    return body


def _limb(own: dict[str, Material], material: str, sections: ArrayLike) -> MovingBody:
    body = MovingBody(MeshSet(), own)
    _loft(body, material, sections)
    return body


def _foot(own: dict[str, Material], apartment: Mapping[str, Material]) -> MovingBody:
    body = MovingBody(MeshSet(), own)
    build = body.builder(np.random.default_rng(0), apartment)
    middle, half = (HEEL[0] + TOE[0]) / 2.0, (TOE[0] - HEEL[0]) / 2.0
    build.ellipsoid("shoes", (middle, 0.0, -0.035), (half, 0.046, 0.043), rings=9, sides=_SIDES)
    build.ellipsoid("shoes", (0.0, 0.0, -0.015), (0.055, 0.042, 0.050), rings=9, sides=_SIDES)
    build.box("shoes", (middle, 0.0, -ANKLE + 0.0125), (2.0 * half - 0.06, 0.078, 0.025))
    return body


def _forearm(own: dict[str, Material], apartment: Mapping[str, Material]) -> MovingBody:
    body = _limb(own, "shirt", _FOREARM)
    build = body.builder(np.random.default_rng(0), apartment)
    build.ellipsoid("skin", (0.008, 0.0, -FOREARM - 0.075), (0.040, 0.020, 0.092), rings=9)
    return body


def _loft(
    body: MovingBody,
    material: str,
    sections: ArrayLike,  # (K, 4) ascending: height, middle, half depth, half width; metres
) -> None:
    """A smooth surface through elliptic cross sections; its ends stay open."""
    z, middle, depth, width = np.asarray(sections, dtype=np.float64).T[:, :, None]
    angles = np.linspace(0.0, 2.0 * math.pi, _SIDES + 1)
    c, s = np.cos(angles), np.sin(angles)
    points = np.stack([middle + depth * c, width * s, np.broadcast_to(z, (len(z), len(c)))], -1)
    around = np.stack([-depth * s, width * c, np.zeros_like(points[..., 2])], -1)
    upwards = np.gradient(points, axis=0)
    normals: NDArray[np.float64] = np.cross(around, upwards)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    tile = body.materials[material].tile_size
    u = np.broadcast_to(angles * max(depth.max(), width.max()) / tile, points.shape[:2])
    uv = np.stack([u, points[..., 2] / tile], -1)
    columns = _SIDES + 1
    i, j = np.meshgrid(np.arange(len(z) - 1), np.arange(_SIDES), indexing="ij")
    a = (i * columns + j).ravel()
    faces = np.concatenate(
        [
            np.stack([a, a + 1, a + 1 + columns], -1),
            np.stack([a, a + 1 + columns, a + columns], -1),
        ]
    )
    body.meshes.meshes[material].add(
        points.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), faces
    )
