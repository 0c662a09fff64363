"""Pieces of furniture, each built of textured boxes, cylinders and ellipsoids.

Every function takes a builder whose frame has the middle of the piece's back at the origin, x along
its width, y out of its back and z up, and draws its variations from the builder's generator. Sizes
are the footprint in metres (width, depth). Colliders go up to where the robot's mast reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mirage_ros.sources.simulator.meshes import PieceBuilder

Furniture = Callable[[PieceBuilder, float, float], None]

WOODS = ("wood_light", "wood_dark", "wood_red", "wood_white")
FABRICS = ("fabric_a", "fabric_b", "fabric_c", "fabric_d", "stripes")
PICTURE_GRID = 4


def pick(build: PieceBuilder, names: tuple[str, ...]) -> str:
    """One of the materials."""
    return names[int(build.rng.integers(len(names)))]


def picture_part(build: PieceBuilder) -> tuple[float, float, float, float]:
    """The part of the sheet of pictures that holds one of them."""
    i, j = (int(k) for k in build.rng.integers(PICTURE_GRID, size=2))
    n = float(PICTURE_GRID)
    inset = 0.004
    return i / n + inset, j / n + inset, (i + 1) / n - inset, (j + 1) / n - inset


def sofa(build: PieceBuilder, width: float, depth: float) -> None:
    """A sofa, or an armchair where it is narrow."""
    cloth, cushion = pick(build, FABRICS), pick(build, FABRICS)
    build.box(cloth, (0, depth / 2, 0.21), (width, depth, 0.30))
    build.box(cloth, (0, 0.12, 0.60), (width, 0.24, 0.50))
    for sign in (-1, 1):
        build.box(cloth, (sign * (width / 2 - 0.09), depth / 2, 0.48), (0.18, depth, 0.26))
    seats = max(1, round((width - 0.36) / 0.7))
    pitch = (width - 0.38) / seats
    for index in range(seats):
        x = (index + 0.5) * pitch - (width - 0.38) / 2
        build.box(cloth, (x, depth / 2 + 0.1, 0.42), (pitch - 0.02, depth - 0.24, 0.13))
        build.ellipsoid(cushion, (x, 0.32, 0.62), (0.20, 0.09, 0.17))
    build.solid((0, depth / 2, 0.43), (width, depth, 0.86))


def table(build: PieceBuilder, width: float, depth: float, height: float = 0.74) -> None:
    """A table with something on it."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, height - 0.02), (width, depth, 0.04))
    for sx in (-1, 1):
        for y in (0.06, depth - 0.06):
            build.box(timber, (sx * (width / 2 - 0.06), y, height / 2), (0.06, 0.06, height))
    build.solid((0, depth / 2, height / 2), (width, depth, height))
    ornament(build, float(build.rng.uniform(-0.2, 0.2)) * width, depth / 2, height)


def coffee_table(build: PieceBuilder, width: float, depth: float) -> None:
    """A low table."""
    table(build, width, depth, 0.42)


def dining_table(build: PieceBuilder, width: float, depth: float) -> None:
    """A table between two rows of chairs, within the footprint."""
    timber = pick(build, WOODS)
    top = depth - 0.7
    build.box(timber, (0, depth / 2, 0.72), (width, top, 0.04))
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - 0.07), depth / 2 + sy * (top / 2 - 0.07)
            build.box(timber, (x, y, 0.35), (0.07, 0.07, 0.70))
    ornament(build, 0.0, depth / 2, 0.74)
    cloth, frame = pick(build, FABRICS), pick(build, WOODS)
    chairs = max(1, int(width / 0.6))
    for index in range(chairs):
        x = (index + 0.5) * width / chairs - width / 2
        for sign in (-1, 1):
            y = depth / 2 + sign * (depth / 2 - 0.22)
            build.box(cloth, (x, y, 0.45), (0.42, 0.42, 0.05))
            build.box(frame, (x, y + sign * 0.19, 0.70), (0.40, 0.03, 0.46))
            for lx in (-0.18, 0.18):
                for ly in (-0.18, 0.18):
                    build.box(frame, (x + lx, y + ly, 0.21), (0.035, 0.035, 0.43))
    build.solid((0, depth / 2, 0.46), (width, depth, 0.92))


def ornament(build: PieceBuilder, x: float, y: float, z: float) -> None:
    """A vase with leaves, a bowl of fruit, or a stack of books."""
    kind = int(build.rng.integers(3))
    if kind == 0:
        build.cylinder("ceramic", (x, y, z), 0.05, 0.16, top_radius=0.07)
        build.ellipsoid("leaves", (x, y, z + 0.28), (0.14, 0.14, 0.16))
    elif kind == 1:
        build.cylinder("ceramic", (x, y, z), 0.07, 0.07, top_radius=0.15)
        for angle in (0.0, 2.1, 4.2):
            at = (x + 0.06 * math.cos(angle), y + 0.06 * math.sin(angle), z + 0.09)
            build.ellipsoid("fruit", at, (0.05, 0.05, 0.05), rings=5, sides=8)
    else:
        for level in range(3):
            size = (0.24 - 0.03 * level, 0.17, 0.035)
            part = (0.2 * level, 0.2, 0.2 * level + 0.05, 0.4)
            build.box("fabric_b", (x, y, z + 0.018 + 0.036 * level), size, front=("books", part))


def bookshelf(build: PieceBuilder, width: float, depth: float) -> None:
    """Shelves full of books, with an ornament here and there."""
    timber = pick(build, WOODS)
    height, levels = float(build.rng.uniform(1.7, 2.1)), 5
    for sign in (-1, 1):
        build.box(
            timber, (sign * (width / 2 - 0.015), depth / 2, height / 2), (0.03, depth, height)
        )
    build.box(timber, (0, 0.01, height / 2), (width, 0.02, height))
    pitch = (height - 0.08) / levels
    for level in range(levels + 1):
        z = 0.06 + level * pitch
        build.box(timber, (0, depth / 2, z), (width, depth, 0.03))
        if level == levels:
            break
        filled = float(build.rng.uniform(0.55, 1.0)) * (width - 0.07)
        tall = float(build.rng.uniform(0.62, 0.85)) * pitch
        left = -width / 2 + 0.035
        u = float(build.rng.uniform(0.0, 0.5))
        v = 0.5 * float(build.rng.integers(2))
        # The box faces +y, where +x is to the left: u runs against x.
        build.box(
            "wood_dark",
            (left + filled / 2, depth / 2 - 0.02, z + 0.015 + tall / 2),
            (filled, depth - 0.07, tall),
            front=("books", (u, v, u + filled / 2.6, v + 0.49)),
        )
        if width - 0.07 - filled > 0.2:
            x = left + filled + 0.1
            build.cylinder("ceramic", (x, depth / 2, z + 0.015), 0.05, 0.6 * pitch, top_radius=0.03)
    build.solid((0, depth / 2, height / 2), (width, depth, height))


def television(build: PieceBuilder, width: float, depth: float) -> None:
    """A low cabinet with a television on it."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.25), (width, depth, 0.44))
    for index in range(3):
        x = (index - 1) * width / 3
        build.box("metal", (x, depth + 0.008, 0.32), (0.12, 0.016, 0.015))
        build.box("wood_dark", (x + width / 6, depth + 0.002, 0.25), (0.008, 0.006, 0.40))
    side = min(1.1, width - 0.2)
    build.box("black", (0, 0.18, 0.50), (0.3, 0.2, 0.05))
    build.box("black", (0, 0.18, 0.87), (side, 0.05, 0.64))
    build.panel("pictures", (0, 0.207, 0.87), (side - 0.05, 0.59), part=picture_part(build))
    build.solid((0, depth / 2, 0.6), (width, depth, 1.2))


def plant(build: PieceBuilder, width: float, depth: float) -> None:
    """A pot with a bush or a small tree."""
    y, radius = depth / 2, width / 2
    build.cylinder("terracotta", (0, y, 0), 0.7 * radius, 0.32, top_radius=0.9 * radius)
    build.cylinder("wood_dark", (0, y, 0.32), 0.02, 0.5)
    for index in range(6):
        angle, z = index * 2.4, 0.55 + 0.14 * index
        at = (0.35 * radius * math.cos(angle), y + 0.35 * radius * math.sin(angle), z)
        build.ellipsoid("leaves", at, (0.62 * radius, 0.62 * radius, 0.16))
    build.solid((0, y, 0.7), (width, depth, 1.4))


def floor_lamp(build: PieceBuilder, width: float, depth: float) -> None:
    """A lamp on a pole."""
    y = depth / 2
    build.cylinder("metal", (0, y, 0), 0.14, 0.03)
    build.cylinder("metal", (0, y, 0.03), 0.015, 1.45, sides=8)
    build.cylinder("lamp", (0, y, 1.40), 0.20, 0.28, top_radius=0.13)
    build.solid((0, y, 0.7), (width, depth, 1.4))


def bed(build: PieceBuilder, width: float, depth: float) -> None:
    """A double bed, head against the wall."""
    timber, cloth, blanket = pick(build, WOODS), pick(build, FABRICS), pick(build, FABRICS)
    build.box(timber, (0, 0.04, 0.50), (width, 0.08, 1.0))
    build.box(timber, (0, depth / 2, 0.20), (width, depth, 0.24))
    build.box("sheet", (0, depth / 2 + 0.04, 0.42), (width - 0.06, depth - 0.1, 0.22))
    build.box(blanket, (0, depth * 0.62, 0.45), (width - 0.01, depth * 0.66, 0.23))
    for sign in (-1, 1):
        build.ellipsoid(cloth, (sign * width / 4, 0.32, 0.58), (0.34, 0.20, 0.10))
    build.solid((0, depth / 2, 0.5), (width, depth, 1.0))


def nightstand(build: PieceBuilder, width: float, depth: float) -> None:
    """A small chest with a lamp."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.26), (width, depth, 0.52))
    for z in (0.16, 0.38):
        build.box("metal", (0, depth + 0.01, z), (0.1, 0.02, 0.02))
        build.box("wood_dark", (0, depth + 0.001, z + 0.1), (width - 0.04, 0.004, 0.01))
    build.cylinder("ceramic", (0, depth / 2, 0.52), 0.06, 0.18, top_radius=0.03)
    build.cylinder("lamp", (0, depth / 2, 0.68), 0.13, 0.18, top_radius=0.09)
    build.solid((0, depth / 2, 0.45), (width, depth, 0.9))


def wardrobe(build: PieceBuilder, width: float, depth: float) -> None:
    """A tall cupboard with doors."""
    timber, doors = pick(build, WOODS), max(2, round(width / 0.5))
    build.box(timber, (0, depth / 2, 1.05), (width, depth, 2.1))
    other = pick(build, WOODS)
    for index in range(doors):
        x = (index + 0.5) * width / doors - width / 2
        build.box(other, (x, depth + 0.008, 1.07), (width / doors - 0.02, 0.018, 1.98))
        handle = x + (0.35 if index % 2 == 0 else -0.35) * width / doors
        build.box("metal", (handle, depth + 0.03, 1.05), (0.02, 0.03, 0.22))
    build.solid((0, depth / 2, 1.05), (width, depth + 0.04, 2.1))


def desk(build: PieceBuilder, width: float, depth: float) -> None:
    """A desk with a monitor, drawers and a chair, all within the footprint."""
    timber, top = pick(build, WOODS), depth - 0.5
    build.box(timber, (0, top / 2, 0.73), (width, top, 0.04))
    build.box(timber, (-width / 2 + 0.22, top / 2, 0.36), (0.40, top - 0.06, 0.70))
    build.box(timber, (width / 2 - 0.03, top / 2, 0.36), (0.05, top - 0.06, 0.72))
    for z in (0.2, 0.42, 0.62):
        build.box("metal", (-width / 2 + 0.22, top - 0.02, z), (0.14, 0.02, 0.02))
    build.box("black", (0.05, 0.2, 0.78), (0.24, 0.16, 0.03))
    build.box("black", (0.05, 0.2, 1.05), (0.62, 0.04, 0.38))
    build.panel("screen", (0.05, 0.222, 1.05), (0.59, 0.35))
    build.box("ceramic", (0.05, top - 0.16, 0.757), (0.44, 0.14, 0.02))
    build.cylinder("lamp", (width / 2 - 0.16, 0.16, 0.98), 0.10, 0.14, top_radius=0.06)
    build.cylinder("metal", (width / 2 - 0.16, 0.16, 0.75), 0.012, 0.24, sides=8)
    cloth, y = pick(build, FABRICS), depth - 0.26
    build.cylinder("metal", (0.1, y, 0.0), 0.24, 0.06, top_radius=0.05)
    build.cylinder("metal", (0.1, y, 0.06), 0.03, 0.38, sides=8)
    build.box(cloth, (0.1, y, 0.47), (0.46, 0.44, 0.07))
    build.box(cloth, (0.1, y + 0.22, 0.80), (0.42, 0.06, 0.50))
    build.solid((0, top / 2, 0.6), (width, top, 1.2))
    build.solid((0.1, y, 0.5), (0.52, 0.54, 1.0))


def kitchen_counter(build: PieceBuilder, width: float, depth: float) -> None:
    """Base cabinets with worktop, sink and stove, and cabinets on the wall above."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.43), (width, depth, 0.86))
    build.box("stone", (0, depth / 2, 0.88), (width, depth + 0.04, 0.04))
    doors = max(2, round(width / 0.5))
    other = pick(build, WOODS)
    for index in range(doors):
        x = (index + 0.5) * width / doors - width / 2
        build.box(other, (x, depth + 0.006, 0.46), (width / doors - 0.02, 0.014, 0.72))
        build.box("metal", (x, depth + 0.025, 0.74), (0.14, 0.02, 0.02))
        build.box(other, (x, 0.33, 1.85), (width / doors - 0.02, 0.02, 0.66))
        build.box("metal", (x, 0.35, 1.58), (0.02, 0.02, 0.10))
    build.box(timber, (0, 0.16, 1.85), (width, 0.32, 0.70))
    build.box("black", (-width / 4, depth / 2, 0.905), (0.56, 0.48, 0.012))
    for dx in (-0.13, 0.13):
        for dy in (-0.11, 0.11):
            build.cylinder("metal", (-width / 4 + dx, depth / 2 + dy, 0.911), 0.08, 0.008)
    build.cylinder("ceramic", (-width / 4 + 0.13, depth / 2 - 0.11, 0.92), 0.10, 0.14)
    build.box("metal", (width / 4, depth / 2, 0.903), (0.5, 0.42, 0.01))
    build.cylinder("metal", (width / 4, 0.10, 0.90), 0.015, 0.26, sides=8)
    build.box("metal", (width / 4, 0.18, 1.15), (0.03, 0.18, 0.03))
    ornament(build, 0.0, 0.22, 0.90)
    build.solid((0, depth / 2, 0.45), (width, depth + 0.04, 0.92))


def fridge(build: PieceBuilder, width: float, depth: float) -> None:
    """A refrigerator with notes on its door."""
    build.box("enamel", (0, depth / 2, 0.92), (width, depth, 1.84))
    build.box("black", (0, depth + 0.002, 1.22), (width, 0.006, 0.012))
    for z, tall in ((0.9, 0.4), (1.5, 0.3)):
        build.box("metal", (-width / 2 + 0.06, depth + 0.03, z), (0.03, 0.04, tall))
    for _ in range(4):
        x, z = float(build.rng.uniform(-0.1, 0.22)), float(build.rng.uniform(0.9, 1.7))
        build.panel("pictures", (x, depth + 0.006, z), (0.12, 0.15), part=picture_part(build))
    build.solid((0, depth / 2, 0.92), (width, depth + 0.05, 1.84))


def bathtub(build: PieceBuilder, width: float, depth: float) -> None:
    """A tub with a striped curtain at its head."""
    build.box("enamel", (0, depth / 2, 0.28), (width, depth, 0.56))
    build.box("water", (0, depth / 2, 0.562), (width - 0.16, depth - 0.16, 0.004))
    build.box("metal", (width / 2 - 0.12, depth / 2, 0.66), (0.14, 0.04, 0.04))
    build.box("stripes", (-width / 2 + 0.2, depth - 0.02, 1.2), (0.4, 0.06, 1.7))
    build.solid((0, depth / 2, 0.5), (width, depth, 1.0))


def washbasin(build: PieceBuilder, width: float, depth: float) -> None:
    """A basin on a cabinet under a mirror."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.40), (width, depth, 0.78))
    build.box("enamel", (0, depth / 2, 0.83), (width, depth, 0.08))
    build.ellipsoid("water", (0, depth / 2 + 0.02, 0.868), (0.2, 0.14, 0.006), rings=5)
    build.cylinder("metal", (0, 0.07, 0.87), 0.014, 0.14, sides=8)
    build.box("wood_white", (0, 0.012, 1.50), (width, 0.024, 0.84))
    build.panel("mirror", (0, 0.026, 1.50), (width - 0.08, 0.76))
    for sign in (-1, 1):
        build.box("metal", (sign * 0.08, depth + 0.01, 0.6), (0.02, 0.02, 0.14))
    build.solid((0, depth / 2, 0.45), (width, depth, 0.9))


def toilet(build: PieceBuilder, width: float, depth: float) -> None:
    """A toilet with its cistern."""
    build.box("enamel", (0, 0.09, 0.60), (width, 0.18, 0.40))
    build.ellipsoid("enamel", (0, depth / 2 + 0.1, 0.34), (width / 2, depth / 2 - 0.1, 0.14))
    build.cylinder("enamel", (0, depth / 2, 0.0), 0.13, 0.3, top_radius=0.17)
    build.ellipsoid("sheet", (0, depth / 2 + 0.1, 0.45), (width / 2, depth / 2 - 0.1, 0.03))
    build.solid((0, depth / 2, 0.45), (width, depth, 0.9))


def washing_machine(build: PieceBuilder, width: float, depth: float) -> None:
    """A front loader with a basket on top."""
    build.box("enamel", (0, depth / 2, 0.43), (width, depth, 0.86))
    build.box("metal", (0, depth + 0.004, 0.78), (width - 0.08, 0.01, 0.1))
    for radius, material, y in ((0.2, "metal", 0.003), (0.16, "black", 0.006)):
        build.ellipsoid(material, (0, depth + y, 0.42), (radius, 0.02, radius))
    build.cylinder("stripes", (0, depth / 2, 0.86), 0.16, 0.24, top_radius=0.22)
    build.solid((0, depth / 2, 0.55), (width, depth + 0.02, 1.1))


def sideboard(build: PieceBuilder, width: float, depth: float) -> None:
    """A chest of drawers with ornaments."""
    timber, other = pick(build, WOODS), pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.42), (width, depth, 0.84))
    for column in (-1, 1):
        for z in (0.18, 0.43, 0.68):
            x = column * width / 4
            build.box(other, (x, depth + 0.006, z), (width / 2 - 0.03, 0.014, 0.22))
            build.box("metal", (x, depth + 0.022, z), (0.1, 0.02, 0.02))
    ornament(build, -width / 4, depth / 2, 0.84)
    ornament(build, width / 4, depth / 2, 0.84)
    build.solid((0, depth / 2, 0.6), (width, depth + 0.03, 1.2))


def coat_rack(build: PieceBuilder, width: float, depth: float) -> None:
    """A bench under coats on hooks."""
    timber = pick(build, WOODS)
    build.box(timber, (0, depth / 2, 0.42), (width, depth, 0.04))
    for sign in (-1, 1):
        build.box(timber, (sign * (width / 2 - 0.03), depth / 2, 0.2), (0.05, depth, 0.4))
    build.box(timber, (0, 0.015, 1.62), (width, 0.03, 0.14))
    hooks = max(2, int(width / 0.28))
    for index in range(hooks):
        x = (index + 0.5) * width / hooks - width / 2
        long = float(build.rng.uniform(0.6, 0.9))
        coat = FABRICS[int(build.rng.integers(len(FABRICS)))]
        build.ellipsoid(coat, (x, 0.10, 1.58 - long / 2), (0.13, 0.08, long / 2))
    for index in range(3):
        x = (index - 1) * 0.28
        build.ellipsoid("black", (x, depth / 2, 0.05), (0.06, 0.13, 0.05), rings=5, sides=8)
    build.solid((0, depth / 2, 0.6), (width, depth, 1.2))
