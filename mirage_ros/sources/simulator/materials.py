"""The materials that furniture is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirage_ros.sources.simulator import furniture, textures


@dataclass(frozen=True)
class Material:
    """A texture and how it is laid.

    Attributes:
        pixels: (H, W, 3) uint8.
        tile_size: metres that one repeat covers; 1 where meshes give the part of the texture.
        emission: light of its own, 0 to 1.
    """

    pixels: textures.Pixels
    tile_size: float = 1.0
    emission: float = 0.0


#: One texture of this many pixels across serves most materials.
_SIZE = 192


def furniture_materials(rng: np.random.Generator) -> dict[str, Material]:
    """Materials by name, their colours drawn about typical ones."""

    def varied(colour: textures.Colour, spread: float = 0.06) -> textures.Colour:
        return textures.varied(rng, colour, spread)

    def plain(colour: textures.Colour) -> textures.Pixels:
        return textures.plaster(rng, _SIZE, _SIZE, colour)

    woods = {
        "wood_light": (0.80, 0.64, 0.44),
        "wood_dark": (0.38, 0.25, 0.16),
        "wood_red": (0.58, 0.33, 0.20),
    }
    fabrics = {
        "fabric_a": (0.30, 0.42, 0.58),
        "fabric_b": (0.66, 0.32, 0.28),
        "fabric_c": (0.52, 0.56, 0.36),
        "fabric_d": (0.72, 0.62, 0.46),
    }
    plains: dict[str, textures.Colour] = {
        "wood_white": (0.90, 0.88, 0.84),  # painted, no grain
        "metal": (0.62, 0.63, 0.66),
        "black": (0.09, 0.09, 0.10),
        "enamel": (0.92, 0.92, 0.93),
        "ceramic": varied((0.55, 0.68, 0.76), 0.15),
        "terracotta": varied((0.70, 0.42, 0.28)),
        "fruit": varied((0.85, 0.48, 0.15), 0.10),
        "sheet": (0.92, 0.91, 0.88),
        "water": (0.66, 0.80, 0.86),
    }
    sheet = [
        np.hstack([textures.picture(rng, 128, 128) for _ in range(furniture.PICTURE_GRID)])
        for _ in range(furniture.PICTURE_GRID)
    ]
    shelves = [textures.books(rng, 64, 512) for _ in range(2)]
    mirror = textures.window_view(rng, 128, 128) // 2 + 90
    stripes = textures.stripes(
        rng, _SIZE, _SIZE, [varied((0.85, 0.82, 0.75)), varied((0.4, 0.5, 0.6), 0.2)]
    )
    return {
        **{
            name: Material(textures.wood(rng, _SIZE, _SIZE, textures.toned(rng, colour)), 1.2)
            for name, colour in woods.items()
        },
        **{
            name: Material(textures.fabric(rng, _SIZE, _SIZE, varied(colour, 0.1)), 0.9)
            for name, colour in fabrics.items()
        },
        **{name: Material(plain(colour), 0.8) for name, colour in plains.items()},
        "stripes": Material(stripes, 0.9),
        "leaves": Material(textures.leaves(rng, _SIZE, _SIZE), 0.5),
        "stone": Material(textures.plaster(rng, _SIZE, _SIZE, varied((0.45, 0.45, 0.47))), 0.5),
        "lamp": Material(plain((0.99, 0.93, 0.78)), 0.8, emission=0.8),
        "pictures": Material(np.vstack(sheet)),
        "books": Material(np.vstack(shelves)),
        "screen": Material(textures.screen(rng, 128, 192), emission=0.4),
        "mirror": Material(mirror),
    }
