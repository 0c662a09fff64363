"""Procedural textures: wood, plaster, tiles, cloth, rugs, books and pictures, all from numpy.

Every function returns (H, W, 3) uint8 RGB and draws from the generator given, so one seed makes one
look. Colours are RGB in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Colour = tuple[float, float, float]


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[float, float]) -> Field:
    """Smooth noise in about [-1, 1]; ``cells`` is its grain in pixels (rows, columns)."""
    total: Field = np.zeros((height, width), np.float32)
    rows, columns = cells
    weight = 1.0
    while weight > 0.2 and min(rows, columns) >= 1.0:
        grid = rng.uniform(
            -1.0, 1.0, (max(2, round(height / rows)) + 1, max(2, round(width / columns)) + 1)
        ).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        rows, columns, weight = rows / 2.0, columns / 2.0, weight * 0.55
    return total / np.float32(1.5)


def shaded(colour: Colour | NDArray[np.floating], brightness: Field) -> Field:  # (H, W, 3)
    """A colour times a brightness field."""
    tint: Field = np.asarray(colour, dtype=np.float32)
    return tint * brightness[..., None]


def to_pixels(field: NDArray[np.floating]) -> Pixels:
    """Colours in [0, 1] as bytes."""
    return np.ascontiguousarray(np.clip(field * 255.0, 0.0, 255.0).astype(np.uint8))


def varied(rng: np.random.Generator, colour: Colour, spread: float = 0.06) -> Colour:
    """A colour near the one given."""
    r, g, b = np.clip(np.array(colour) + rng.normal(0.0, spread, 3), 0.05, 0.95)
    return float(r), float(g), float(b)


def toned(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    """A brighter or darker shade of a colour; its hue stays."""
    factor = 1.0 + float(rng.normal(0.0, spread))
    r, g, b = np.clip(np.array(colour) * factor, 0.05, 0.95)
    return float(r), float(g), float(b)


def plaster(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Painted plaster: faint clouds and a fine grain."""
    clouds = 0.035 * noise(rng, height, width, (60.0, 60.0))
    grain = 0.03 * noise(rng, height, width, (4.0, 4.0))
    return to_pixels(shaded(colour, 1.0 + clouds + grain))


def wood(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Wood whose grain runs along the rows."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    bend = 10.0 * noise(rng, height, width, (40.0, 160.0))
    rings = np.sin((rows + bend) * np.float32(2.0 * np.pi / 13.0))
    fibres = noise(rng, height, width, (2.0, 60.0))
    return to_pixels(shaded(colour, 0.9 + 0.09 * rings + 0.09 * fibres))


def planks(
    rng: np.random.Generator, height: int, width: int, colour: Colour, pixels_per_metre: float
) -> Pixels:
    """A floor of staggered boards, each cut from another place of the wood."""
    board, length = round(0.14 * pixels_per_metre), round(1.3 * pixels_per_metre)
    field = wood(rng, height, width, colour).astype(np.float32) / 255.0
    for top in range(0, height, board):
        offset = int(rng.integers(length))
        for left in range(-offset, width, length):
            window = field[top : top + board, max(left, 0) : max(left + length, 0)]
            window *= np.float32(rng.uniform(0.78, 1.12))
            window[:, -1:] *= np.float32(0.6)
        field[top : top + 1] *= np.float32(0.62)
    return to_pixels(field)


def tiles(
    rng: np.random.Generator, height: int, width: int, colour: Colour, side: int, accent: Colour
) -> Pixels:
    """Square tiles of ``side`` pixels with grout; some carry the accent colour."""
    rows, columns = -(-height // side), -(-width // side)
    tint = np.array(colour) * rng.uniform(0.9, 1.06, (rows, columns, 1))
    marked = rng.random((rows, columns)) < 0.16
    tint[marked] = np.array(accent) * rng.uniform(0.9, 1.05, (int(marked.sum()), 1))
    field = tint.repeat(side, 0).repeat(side, 1)[:height, :width].astype(np.float32)
    field *= (1.0 + 0.05 * noise(rng, height, width, (16.0, 16.0)))[..., None]
    for shift in (0, 1):
        field[shift::side] = 0.62
        field[:, shift::side] = 0.62
    return to_pixels(field)


def fabric(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Woven cloth with a large faint pattern."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    weave = 0.06 * np.sin(rows * np.float32(np.pi / 2)) * np.sin(columns * np.float32(np.pi / 2))
    period = np.float32(2.0 * np.pi * round(width / 42) / width)
    diamonds = 0.08 * np.sign(np.sin((rows + columns) * period) * np.sin((rows - columns) * period))
    clouds = 0.07 * noise(rng, height, width, (30.0, 30.0))
    return to_pixels(shaded(colour, (0.95 + weave + diamonds + clouds).astype(np.float32)))


def stripes(rng: np.random.Generator, height: int, width: int, colours: list[Colour]) -> Pixels:
    """Cloth with vertical stripes of random widths."""
    field = np.empty((height, width, 3), np.float32)
    left = 0
    while left < width:
        right = left + int(rng.integers(6, 30))
        field[:, left:right] = colours[int(rng.integers(len(colours)))]
        left = right
    return to_pixels(field * (1.0 + 0.06 * noise(rng, height, width, (6.0, 6.0)))[..., None])


def leaves(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Foliage: overlapping leaves in greens."""
    field = np.full((height, width, 3), (0.10, 0.20, 0.08), np.float32)
    for _ in range(260):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        green = (float(rng.uniform(0.1, 0.35)), float(rng.uniform(0.35, 0.7)), 0.15)
        axes = (int(rng.integers(7, 15)), int(rng.integers(3, 6)))
        cv2.ellipse(field, centre, axes, float(rng.uniform(0, 180)), 0, 360, green, -1, cv2.LINE_AA)
    return to_pixels(field)


def rug(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A woven rug: borders about a field of rosettes."""
    palette = rng.uniform(0.15, 0.85, (6, 3)).astype(np.float32)
    # Dyed wool: half as saturated as paint.
    palette = 0.5 * palette + 0.5 * palette.mean(axis=1, keepdims=True)
    field = np.empty((height, width, 3), np.float32)
    field[:] = palette[0]
    inset = 0
    for index in range(1, 4):
        inset += int(rng.integers(6, 14))
        field[inset:-inset, inset:-inset] = palette[index]
    step = int(rng.integers(26, 40))
    for row in range(inset + step // 2, height - inset, step):
        for column in range(inset + step // 2, width - inset, step):
            colour = palette[4 + (row // step + column // step) % 2].tolist()
            corners = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]]) * step // 3 + [column, row]
            cv2.fillPoly(field, [corners.astype(np.int32)], colour, cv2.LINE_AA)
            cv2.circle(field, (column, row), step // 8, palette[0].tolist(), -1, cv2.LINE_AA)
    return to_pixels(field * (1.0 + 0.12 * noise(rng, height, width, (2.0, 2.0)))[..., None])


def books(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A row of book spines that stand to different heights on a dark ground."""
    field = np.full((height, width, 3), 0.10, np.float32)
    left = 0
    while left < width:
        right = min(width, left + int(rng.integers(5, 14)))
        if rng.random() < 0.06:
            left = right
            continue
        top = int(rng.integers(0, height // 4))
        colour = rng.uniform(0.08, 0.9, 3).astype(np.float32)
        round_spine = 1.0 - 0.35 * np.abs(np.linspace(-1.0, 1.0, right - left)) ** 2
        field[top:, left:right] = colour * round_spine[None, :, None]
        label = np.clip(colour + rng.choice([-0.45, 0.45]), 0.0, 1.0)
        for _ in range(int(rng.integers(1, 3))):
            y = int(rng.integers(top + 4, height - 8))
            field[y : y + int(rng.integers(2, 7)), left + 1 : right - 1] = label
        left = right
    return to_pixels(field)


def picture(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Something to hang on a wall: a landscape, blocks of colour, discs, or a still life."""
    style = int(rng.integers(4))
    field = np.empty((height, width, 3), np.float32)
    palette = rng.uniform(0.1, 0.95, (6, 3)).astype(np.float32)
    if style == 0:
        fade = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
        field[:] = (1.0 - fade) * palette[0] + fade * palette[1]
        sun = (int(rng.integers(width)), int(rng.integers(height // 3)))
        cv2.circle(field, sun, height // 10, (0.98, 0.9, 0.6), -1, cv2.LINE_AA)
        for index in range(2, 6):
            ridge = (
                height * (0.25 + 0.15 * index)
                + 0.12 * height * noise(rng, 2, width, (2.0, width / 4))[0]
            )
            field[np.arange(height)[:, None] > ridge[None]] = palette[index]
    elif style == 1:
        field[:] = 0.92
        xs = np.sort(rng.integers(0, width, 4)).tolist()
        ys = np.sort(rng.integers(0, height, 4)).tolist()
        for x0, x1 in zip([0, *xs], [*xs, width], strict=True):
            for y0, y1 in zip([0, *ys], [*ys, height], strict=True):
                if rng.random() < 0.6:
                    field[y0:y1, x0:x1] = palette[int(rng.integers(6))]
        for x in xs:
            field[:, x : x + 3] = 0.06
        for y in ys:
            field[y : y + 3] = 0.06
    elif style == 2:
        field[:] = palette[0]
        for index in range(14):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            radius = int(rng.integers(height // 14, height // 4))
            thickness = -1 if rng.random() < 0.6 else 4
            colour = palette[index % 6].tolist()
            cv2.circle(field, centre, radius, colour, thickness, cv2.LINE_AA)
    else:
        field[: height * 2 // 3] = palette[0]
        field[height * 2 // 3 :] = palette[1]
        for index in range(2, 6):
            x, half = (
                int(rng.integers(width // 6, width * 5 // 6)),
                int(rng.integers(8, width // 6)),
            )
            tall = int(rng.integers(height // 5, height // 2))
            base = height * 3 // 4
            cv2.ellipse(
                field,
                (x, base - tall // 2),
                (half, tall // 2),
                0,
                0,
                360,
                palette[index].tolist(),
                -1,
                cv2.LINE_AA,
            )
    return to_pixels(field * (1.0 + 0.06 * noise(rng, height, width, (3.0, 3.0)))[..., None])


def window_view(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A white window frame with sky and trees behind it."""
    fade = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    sky = np.array([0.55, 0.74, 0.95], np.float32), np.array([0.86, 0.92, 0.97], np.float32)
    field = np.broadcast_to((1.0 - fade) * sky[0] + fade * sky[1], (height, width, 3)).copy()
    clouds = np.clip(noise(rng, height, width, (height / 4, width / 3)), 0.0, 1.0)[..., None]
    field += (1.0 - field) * 0.8 * clouds
    skyline = height * 0.62 + height * 0.16 * noise(rng, 2, width, (2.0, width / 6))[0]
    trees = np.arange(height)[:, None] > skyline[None]
    green = shaded((0.22, 0.42, 0.20), 1.0 + 0.5 * noise(rng, height, width, (9.0, 9.0)))
    field[trees] = green[trees]
    bar = max(3, height // 24)
    for x in (0, width // 2 - bar // 2, width - bar):
        field[:, x : x + bar] = 0.93
    for y in (0, height // 3, height - bar):
        field[y : y + bar] = 0.93
    return to_pixels(field)


def screen(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A lit display with windows of text."""
    field = np.empty((height, width, 3), np.float32)
    field[:] = rng.uniform(0.1, 0.4, 3)
    for _ in range(3):
        x, y = int(rng.integers(width * 2 // 3)), int(rng.integers(height * 2 // 3))
        right, bottom = x + width // 3, y + height // 2
        field[y:bottom, x:right] = rng.uniform(0.7, 0.95)
        for line in range(y + 6, min(bottom, height) - 4, 6):
            end = x + 5 + int(rng.integers(width // 4))
            field[line : line + 2, x + 5 : min(end, right - 5)] = rng.uniform(0.1, 0.6, 3)
    return to_pixels(field)
