"""Walls, floors and ceilings of rooms: their look with baked-in light, meshes and colliders."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.sources.simulator import textures
from mirage_ros.sources.simulator.floorplan import (
    CEILING_HEIGHT,
    DOOR_HEIGHT,
    DOOR_WIDTH,
    WALL_THICKNESS,
    Door,
    FloorPlan,
    Rectangle,
    Room,
    Side,
)
from mirage_ros.sources.simulator.meshes import BoxCollider, MeshSet, PieceBuilder

#: Sides in the order in which their textures are unrolled: turning right inside the room.
SIDES: tuple[Side, ...] = ("south", "west", "north", "east")

#: Resolution of walls and floors. At 320 pixels over 80 degrees a surface is sampled as finely as
#: this from a distance of two metres.
PIXELS_PER_METRE = 96.0

#: Seen sizes of windows, metres.
WINDOW_WIDTH, WINDOW_HEIGHT, WINDOW_SILL = 1.3, 1.2, 0.95


@dataclass(frozen=True)
class WallSide:
    """One side of a room, seen from inside; positions along it run from its left end.

    Attributes:
        side: which side.
        length: metres.
        openings: intervals that doors cut out.
        windows: intervals that painted windows take.
    """

    side: Side
    length: float
    openings: tuple[tuple[float, float], ...]
    windows: tuple[tuple[float, float], ...]


def point_on(rectangle: Rectangle, side: Side, s: float) -> tuple[float, float]:
    """World (x, y) at ``s`` metres from the left end of a side, seen from inside."""
    return {
        "south": (rectangle.x_max - s, rectangle.y_min),
        "west": (rectangle.x_min, rectangle.y_min + s),
        "north": (rectangle.x_min + s, rectangle.y_max),
        "east": (rectangle.x_max, rectangle.y_max - s),
    }[side]


def survey(rng: np.random.Generator, plan: FloorPlan, room: Room) -> list[WallSide]:
    """The four sides of a room with their doors, and windows drawn for outer walls."""
    r = room.rectangle
    sides = []
    for side in SIDES:
        length = r.width if side in ("south", "north") else r.depth
        mirror = {"south": r.x_max, "east": r.y_max}.get(side)
        start = r.y_min if side == "west" else r.x_min
        openings = tuple(
            sorted(
                (a - start, b - start) if mirror is None else (mirror - b, mirror - a)
                for a, b in plan.openings(room, side)
            )
        )
        windows: tuple[tuple[float, float], ...] = ()
        if plan.is_outer(room, side) and room.kind != "hall" and length > 2.2:
            count = 2 if length > 4.6 else 1
            pitch = length / count
            middles = [(i + 0.5) * pitch + rng.uniform(-0.3, 0.3) for i in range(count)]
            windows = tuple((m - WINDOW_WIDTH / 2, m + WINDOW_WIDTH / 2) for m in middles)
        sides.append(WallSide(side, length, openings, windows))
    return sides


def paint_walls(rng: np.random.Generator, room: Room, sides: list[WallSide]) -> textures.Pixels:
    """The walls of a room, unrolled side after side, ceiling at the first row."""
    height = round(CEILING_HEIGHT * PIXELS_PER_METRE)
    widths = [round(side.length * PIXELS_PER_METRE) for side in sides]
    field = _wall_pattern(rng, room.kind, height, sum(widths)).astype(np.float32) / 255.0
    rows = np.arange(height, dtype=np.float32)[:, None] / PIXELS_PER_METRE
    left = 0
    for side, width in zip(sides, widths, strict=True):
        strip = field[:, left : left + width]
        for start, end in side.windows:
            a, b = round(start * PIXELS_PER_METRE), round(end * PIXELS_PER_METRE)
            top = round((CEILING_HEIGHT - WINDOW_SILL - WINDOW_HEIGHT) * PIXELS_PER_METRE)
            view = textures.window_view(rng, round(WINDOW_HEIGHT * PIXELS_PER_METRE), b - a)
            strip[top : top + len(view), a:b] = view.astype(np.float32) / 255.0
        columns = np.arange(width, dtype=np.float32)[None] / PIXELS_PER_METRE
        # Corners of a room receive less light: the closer to the other surface, the darker.
        shade = np.ones((height, width), np.float32)
        for distance in (columns, side.length - columns, rows, CEILING_HEIGHT - rows):
            shade -= 0.17 * np.exp(-distance / 0.22)
        shade *= 1.0 + 0.10 * textures.noise(rng, height, width, (height / 2, width / 3))
        strip *= shade[..., None]
        left += width
    return textures.to_pixels(field)


def _wall_pattern(rng: np.random.Generator, kind: str, height: int, width: int) -> textures.Pixels:
    """Paint, paper, tiles or panels by kind of room, with a skirting board."""
    base: textures.Colour = {
        "living": (0.88, 0.80, 0.66),
        "kitchen": (0.90, 0.88, 0.78),
        "bedroom": (0.68, 0.76, 0.86),
        "study": (0.66, 0.80, 0.66),
        "bathroom": (0.80, 0.90, 0.92),
        "hall": (0.90, 0.84, 0.78),
    }[kind]
    base = textures.varied(rng, base, 0.04)
    ppm = PIXELS_PER_METRE
    pixels = textures.plaster(rng, height, width, base)

    def floor_side(metres: float) -> slice:
        return slice(height - round(metres * ppm), height)

    accent = textures.varied(rng, (0.45, 0.50, 0.60), 0.18)
    if kind in ("kitchen", "bathroom"):
        tall = floor_side(1.5 if kind == "kitchen" else 1.9)
        band = pixels[tall]
        pixels[tall] = textures.tiles(
            rng, len(band), width, textures.varied(rng, base, 0.03), round(0.15 * ppm), accent
        )
    elif kind == "bedroom":
        paper = [base, _scaled(base, 0.9), textures.varied(rng, base, 0.05)]
        pixels = textures.stripes(rng, height, width, paper)
    elif kind == "hall":
        panel = floor_side(1.0)
        timber = textures.toned(rng, (0.62, 0.45, 0.30))
        pixels[panel] = textures.wood(rng, width, round(1.0 * ppm), timber).transpose(1, 0, 2)
        for left in range(0, width, round(0.42 * ppm)):
            pixels[panel, left : left + 2] = pixels[panel, left : left + 2] // 2
    else:
        lower = floor_side(1.0)
        darker = _scaled(textures.varied(rng, base, 0.05), 0.82)
        pixels[lower] = textures.plaster(rng, round(1.0 * ppm), width, darker)
        rail = height - round(1.0 * ppm)
        pixels[rail - 3 : rail + 2] = textures.to_pixels(np.array(accent))
    pixels[floor_side(0.09)] = textures.wood(rng, round(0.09 * ppm), width, (0.86, 0.84, 0.80))
    return pixels


def _scaled(colour: textures.Colour, factor: float) -> textures.Colour:
    r, g, b = colour
    return r * factor, g * factor, b * factor


def paint_floor(
    rng: np.random.Generator, room: Room, footprints: list[NDArray[np.float64]]
) -> textures.Pixels:
    """The floor of a room, first row at the largest y, darker under and about furniture.

    Args:
        rng: draws colours.
        room: whose floor.
        footprints: (4, 2) world corners of everything that stands on it.
    """
    r = room.rectangle
    height, width = round(r.depth * PIXELS_PER_METRE), round(r.width * PIXELS_PER_METRE)
    if room.kind in ("kitchen", "bathroom"):
        base = textures.varied(rng, (0.72, 0.70, 0.66), 0.08)
        accent = textures.varied(rng, (0.40, 0.38, 0.38), 0.10)
        pixels = textures.tiles(rng, height, width, base, round(0.33 * PIXELS_PER_METRE), accent)
    elif room.kind == "bedroom":
        pixels = textures.fabric(rng, height, width, textures.varied(rng, (0.62, 0.58, 0.52)))
    else:
        timber = textures.toned(rng, (0.72, 0.52, 0.34))
        pixels = textures.planks(rng, height, width, timber, PIXELS_PER_METRE)
    occupied = np.zeros((height, width), np.float32)
    for corners in footprints:
        columns = (corners[:, 0] - r.x_min) * PIXELS_PER_METRE
        rows = (r.y_max - corners[:, 1]) * PIXELS_PER_METRE
        polygon = np.stack([columns, rows], -1).round().astype(np.int32)
        cv2.fillConvexPoly(occupied, polygon, 1.0)
    shadow = cv2.GaussianBlur(occupied, (0, 0), 0.10 * PIXELS_PER_METRE)
    light = (1.0 - 0.55 * shadow) * _edge_light(height, width)
    light *= 1.0 + 0.08 * textures.noise(rng, height, width, (height / 2, width / 2))
    return textures.to_pixels(pixels.astype(np.float32) / 255.0 * light[..., None])


def paint_ceiling(rng: np.random.Generator, room: Room) -> textures.Pixels:
    """White plaster, brighter about the lamp in the middle."""
    r = room.rectangle
    scale = PIXELS_PER_METRE / 2.0
    height, width = round(r.depth * scale), round(r.width * scale)
    pixels = textures.plaster(rng, height, width, (0.93, 0.92, 0.90)).astype(np.float32) / 255.0
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot((x - width / 2.0) / scale, (y - height / 2.0) / scale)
    light = 0.86 + 0.16 * np.exp(-((distance / 1.0) ** 2))
    for row in range(round(0.6 * scale), height, round(1.2 * scale)):
        pixels[row : row + 1] *= np.float32(0.90)
    return textures.to_pixels(pixels * light[..., None])


def _edge_light(height: int, width: int) -> textures.Field:
    """Less light near the borders of a floor."""
    rows = np.arange(height, dtype=np.float32)[:, None] / PIXELS_PER_METRE
    columns = np.arange(width, dtype=np.float32)[None] / PIXELS_PER_METRE
    light = np.ones((height, width), np.float32)
    for distance in (rows, rows[::-1], columns, columns[:, ::-1]):
        light -= 0.20 * np.exp(-distance / 0.18)
    return light


def build_shell(meshes: MeshSet, room: Room, sides: list[WallSide]) -> None:
    """Triangles of a room's walls (``wall_KIND``), floor (``floor_KIND``) and ceiling."""
    r = room.rectangle
    total = sum(side.length for side in sides)
    offset = 0.0
    for side in sides:
        edges = [0.0, *(edge for opening in side.openings for edge in opening), side.length]
        for index, (start, end) in enumerate(pairwise(edges)):
            bottom = DOOR_HEIGHT if index % 2 else 0.0
            (x0, y0), (x1, y1) = point_on(r, side.side, start), point_on(r, side.side, end)
            u0, u1 = (offset + start) / total, (offset + end) / total
            v0 = bottom / CEILING_HEIGHT
            meshes.quad(
                f"wall_{room.kind}",
                [
                    (x0, y0, bottom),
                    (x1, y1, bottom),
                    (x1, y1, CEILING_HEIGHT),
                    (x0, y0, CEILING_HEIGHT),
                ],
                [(u0, v0), (u1, v0), (u1, 1.0), (u0, 1.0)],
            )
        offset += side.length
    floor = [(r.x_min, r.y_min), (r.x_max, r.y_min), (r.x_max, r.y_max), (r.x_min, r.y_max)]
    unit = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    meshes.quad(f"floor_{room.kind}", [(x, y, 0.0) for x, y in floor], unit)
    meshes.quad(
        f"ceiling_{room.kind}", [(x, y, CEILING_HEIGHT) for x, y in floor[::-1]], unit[::-1]
    )


def wall_colliders(room: Room, sides: list[WallSide]) -> list[BoxCollider]:
    """Half of each wall's thickness as boxes, open where doors are up to the ceiling."""
    colliders = []
    t = WALL_THICKNESS / 2.0
    outward = {"south": (0.0, -1.0), "west": (-1.0, 0.0), "north": (0.0, 1.0), "east": (1.0, 0.0)}
    for side in sides:
        edges = [-t, *(edge for opening in side.openings for edge in opening), side.length + t]
        nx, ny = outward[side.side]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            x, y = point_on(room.rectangle, side.side, (start + end) / 2.0)
            half = (end - start) / 2.0
            size = (half, t / 2.0) if nx == 0.0 else (t / 2.0, half)
            colliders.append(
                BoxCollider(
                    (x + nx * t / 2.0, y + ny * t / 2.0, CEILING_HEIGHT / 2.0),
                    (size[0], size[1], CEILING_HEIGHT / 2.0),
                    0.0,
                )
            )
    return colliders


def build_door_frame(build: PieceBuilder, door: Door, material: str) -> None:
    """Lining and casing of an opening, and its threshold; the piece's x runs along the wall."""
    depth, board = WALL_THICKNESS + 0.03, 0.03
    for sign in (-1.0, 1.0):
        x = sign * (DOOR_WIDTH / 2.0 - board / 2.0)
        build.box(material, (x, 0.0, DOOR_HEIGHT / 2.0), (board, depth, DOOR_HEIGHT))
        for face in (-1.0, 1.0):
            y = face * (WALL_THICKNESS / 2.0 + 0.012)
            casing = sign * (DOOR_WIDTH / 2.0 + 0.03)
            build.box(material, (casing, y, DOOR_HEIGHT / 2.0), (0.09, 0.024, DOOR_HEIGHT))
            if sign > 0.0:
                top = (0.0, y, DOOR_HEIGHT + 0.035)
                build.box(material, top, (DOOR_WIDTH + 0.15, 0.024, 0.09))
    build.box(material, (0.0, 0.0, DOOR_HEIGHT - board / 2.0), (DOOR_WIDTH, depth, board))
    build.panel(
        material,
        (0.0, 0.0, 0.0),
        (DOOR_WIDTH, WALL_THICKNESS),
        facing="z",
        part=(0.0, 0.0, 1.0, 0.12),
    )
