"""Furnishes rooms: draws places against walls that keep doors and ways through the room clear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.sources.simulator import furniture
from mirage_ros.sources.simulator.floorplan import CEILING_HEIGHT, FloorPlan, Rectangle, Room, Side
from mirage_ros.sources.simulator.meshes import BoxCollider, MeshSet, PieceBuilder, Placement
from mirage_ros.sources.simulator.surfaces import WallSide, point_on

#: Half width of the ways that furniture must leave open, metres.
PASSAGE = 0.36

#: Floor in front of a door that stays free, metres into the room.
DOOR_REACH = 0.9

_CELL = 0.1
_YAW = {"south": 0.0, "west": -math.pi / 2.0, "north": math.pi, "east": math.pi / 2.0}


@dataclass(frozen=True)
class Piece:
    """A kind of furniture: how to build it, its footprint in metres, and whether it hides walls."""

    build: furniture.Furniture
    width: float
    depth: float
    tall: bool = False
    rug: tuple[float, float] | None = None


_WALL_PIECES: dict[str, tuple[Piece, ...]] = {
    "living": (
        Piece(furniture.sofa, 2.0, 0.9),
        Piece(furniture.television, 1.6, 0.42, tall=True),
        Piece(furniture.bookshelf, 1.2, 0.32, tall=True),
        Piece(furniture.bookshelf, 0.9, 0.32, tall=True),
        Piece(furniture.sofa, 0.9, 0.85),
        Piece(furniture.plant, 0.44, 0.44, tall=True),
        Piece(furniture.floor_lamp, 0.36, 0.36, tall=True),
        Piece(furniture.sideboard, 1.2, 0.42),
    ),
    "kitchen": (
        Piece(furniture.kitchen_counter, 2.4, 0.6, tall=True),
        Piece(furniture.fridge, 0.65, 0.65, tall=True),
        Piece(furniture.kitchen_counter, 1.2, 0.6, tall=True),
        Piece(furniture.plant, 0.4, 0.4, tall=True),
        Piece(furniture.sideboard, 1.0, 0.4),
    ),
    "bedroom": (
        Piece(furniture.bed, 1.6, 2.0),
        Piece(furniture.wardrobe, 1.5, 0.58, tall=True),
        Piece(furniture.nightstand, 0.45, 0.4),
        Piece(furniture.sideboard, 1.0, 0.42),
        Piece(furniture.plant, 0.4, 0.4, tall=True),
        Piece(furniture.floor_lamp, 0.36, 0.36, tall=True),
    ),
    "study": (
        Piece(furniture.desk, 1.4, 1.2, tall=True),
        Piece(furniture.bookshelf, 1.2, 0.32, tall=True),
        Piece(furniture.bookshelf, 1.0, 0.32, tall=True),
        Piece(furniture.sofa, 0.9, 0.85),
        Piece(furniture.plant, 0.44, 0.44, tall=True),
        Piece(furniture.floor_lamp, 0.36, 0.36, tall=True),
    ),
    "bathroom": (
        Piece(furniture.bathtub, 1.6, 0.75, tall=True),
        Piece(furniture.washbasin, 0.8, 0.46, tall=True),
        Piece(furniture.toilet, 0.4, 0.66),
        Piece(furniture.washing_machine, 0.6, 0.56, tall=True),
    ),
    "hall": (
        Piece(furniture.coat_rack, 1.1, 0.34, tall=True),
        Piece(furniture.sideboard, 0.9, 0.34),
        Piece(furniture.plant, 0.36, 0.36, tall=True),
        Piece(furniture.bookshelf, 0.8, 0.28, tall=True),
    ),
}

_CENTRE_PIECES: dict[str, tuple[Piece, ...]] = {
    "living": (
        Piece(furniture.coffee_table, 1.0, 0.55, rug=(2.3, 1.6)),
        Piece(furniture.dining_table, 1.3, 1.5),
    ),
    "kitchen": (Piece(furniture.dining_table, 1.2, 1.5, rug=(1.9, 1.9)),),
}

_RUGS = {"bedroom": (1.7, 1.2), "study": (1.8, 1.3), "hall": (3.0, 0.8), "bathroom": (0.9, 0.6)}


class RoomFurnisher:
    """Furnishes one room, keeping its doors connected by passages of :data:`PASSAGE`.

    Args:
        rng: draws places.
        plan: the apartment.
        room: the room.
        sides: its walls.
        meshes: receives triangles.
        colliders: receives boxes for physics.
        tile_sizes: metres per repeat of each tiling material.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        plan: FloorPlan,
        room: Room,
        sides: list[WallSide],
        meshes: MeshSet,
        colliders: list[BoxCollider],
        tile_sizes: dict[str, float],
    ) -> None:
        self.footprints: list[Rectangle] = []
        self._rng = rng
        self._room = room
        self._sides = sides
        self._meshes = meshes
        self._colliders = colliders
        self._tile_sizes = tile_sizes
        self._door_zones = [door.zone(DOOR_REACH) for door in plan.doors_of(room)]
        self._taken: dict[Side, list[tuple[float, float]]] = {
            side.side: [*side.openings, *side.windows] for side in sides
        }

    def furnish(self) -> None:
        """Place every piece that finds room, a rug, pictures and the lamp on the ceiling."""
        kind = self._room.kind
        for piece in _WALL_PIECES[kind]:
            self._place_at_wall(piece)
        rug = _RUGS.get(kind)
        for piece in _CENTRE_PIECES.get(kind, ()):
            placed = self._place_inside(piece)
            if placed is not None and piece.rug is not None:
                self._lay_rug(placed, piece.rug)
        if rug is not None:
            self._lay_rug(self._room.rectangle.centre, rug)
        self._hang_pictures()
        x, y = self._room.rectangle.centre
        lamp = self._builder(Placement(x, y, 0.0))
        lamp.cylinder("lamp", (0.0, 0.0, CEILING_HEIGHT - 0.11), 0.16, 0.11, top_radius=0.24)

    def _builder(self, placement: Placement) -> PieceBuilder:
        return PieceBuilder(self._meshes, self._colliders, placement, self._rng, self._tile_sizes)

    def _place_at_wall(self, piece: Piece) -> None:
        """The first of a number of drawn places that is free, corners preferred."""
        for attempt in range(30):
            side = self._sides[int(self._rng.integers(4))]
            low, high = piece.width / 2.0 + 0.03, side.length - piece.width / 2.0 - 0.03
            if high <= low:
                continue
            s = float(self._rng.uniform(low, high))
            if attempt % 3 == 0:
                s = low if attempt % 2 else high
            x, y = point_on(self._room.rectangle, side.side, s)
            placement = Placement(x, y, _YAW[side.side])
            footprint = _footprint(placement, piece)
            hides_window = piece.tall and any(
                s - piece.width / 2.0 < b and a < s + piece.width / 2.0 for a, b in side.windows
            )
            if hides_window and attempt < 20:
                continue
            if self._is_free(footprint):
                self._stand(piece, placement, footprint)
                if piece.tall:
                    half = piece.width / 2.0
                    self._taken[side.side].append((s - half, s + half))
                return

    def _place_inside(self, piece: Piece) -> tuple[float, float] | None:
        """A place in the open, with passages around it; returns its middle."""
        r = self._room.rectangle
        for _ in range(40):
            yaw = 0.0 if self._rng.random() < 0.5 else math.pi / 2.0
            x, y = (
                float(self._rng.uniform(r.x_min + 0.8, r.x_max - 0.8)),
                float(self._rng.uniform(r.y_min + 0.8, r.y_max - 0.8)),
            )
            placement = Placement(x, y, yaw)
            footprint = _footprint(placement, piece)
            if self._is_free(footprint, gap=2.0 * PASSAGE):
                self._stand(piece, placement, footprint)
                return footprint.centre
        return None

    def _stand(self, piece: Piece, placement: Placement, footprint: Rectangle) -> None:
        piece.build(self._builder(placement), piece.width, piece.depth)
        self.footprints.append(footprint)

    def _is_free(self, footprint: Rectangle, gap: float = 0.03) -> bool:
        """Inside the room, clear of doors and other pieces, and leaving the doors connected."""
        # A piece at a wall touches it; rounding must not put it outside.
        if not self._room.rectangle.inflated(1e-6).contains(footprint):
            return False
        grown = footprint.inflated(gap)
        if any(grown.overlaps(other) for other in [*self.footprints, *self._door_zones]):
            return False
        return self._stays_passable([*self.footprints, footprint])

    def _stays_passable(self, footprints: list[Rectangle]) -> bool:
        """Whether one passable region joins all doors and holds most of the passable floor."""
        r = self._room.rectangle
        shape = (math.ceil(r.depth / _CELL), math.ceil(r.width / _CELL))
        free = np.ones(shape, np.uint8)
        margin = PASSAGE + _CELL / 2.0
        _fill(free, r, Rectangle(r.x_min, r.y_min, r.x_max, r.y_min + margin), 0)
        _fill(free, r, Rectangle(r.x_min, r.y_max - margin, r.x_max, r.y_max), 0)
        _fill(free, r, Rectangle(r.x_min, r.y_min, r.x_min + margin, r.y_max), 0)
        _fill(free, r, Rectangle(r.x_max - margin, r.y_min, r.x_max, r.y_max), 0)
        for footprint in footprints:
            _fill(free, r, footprint.inflated(margin), 0)
        _, labels = cv2.connectedComponents(free, connectivity=4)
        reached = set()
        for zone in self._door_zones:
            window = labels[_cells(r, zone)]
            found = np.unique(window[window > 0])
            if found.size == 0:
                return False
            reached.add(int(found[np.argmax([(window == k).sum() for k in found])]))
        if len(reached) != 1:
            return False
        main = (labels == reached.pop()).sum()
        return bool(main >= 0.8 * free.sum() and main >= 0.08 * free.size)

    def _lay_rug(self, centre: tuple[float, float], size: tuple[float, float]) -> None:
        """A rug about a place, shrunk into the room."""
        r = self._room.rectangle
        width, depth = size if r.width >= r.depth else (size[1], size[0])
        x = min(max(centre[0], r.x_min + width / 2.0 + 0.1), r.x_max - width / 2.0 - 0.1)
        y = min(max(centre[1], r.y_min + depth / 2.0 + 0.1), r.y_max - depth / 2.0 - 0.1)
        rug = f"rug_{self._room.kind}"
        build = self._builder(Placement(x, y, 0.0))
        build.panel(rug, (0.0, 0.0, 0.006), (width, depth), facing="z")

    def _hang_pictures(self) -> None:
        """Framed pictures on free stretches of wall."""
        for side in self._sides:
            for _ in range(max(1, round(side.length / 1.3))):
                width, height = (
                    float(self._rng.uniform(0.4, 0.85)),
                    float(self._rng.uniform(0.4, 0.6)),
                )
                s = float(self._rng.uniform(width / 2 + 0.1, side.length - width / 2 - 0.1))
                span = (s - width / 2.0 - 0.08, s + width / 2.0 + 0.08)
                if any(span[0] < b and a < span[1] for a, b in self._taken[side.side]):
                    continue
                self._taken[side.side].append(span)
                x, y = point_on(self._room.rectangle, side.side, s)
                z = float(self._rng.uniform(1.4, 1.65))
                build = self._builder(Placement(x, y, _YAW[side.side]))
                frame = furniture.pick(build, (*furniture.WOODS, "black", "metal"))
                build.box(frame, (0.0, 0.014, z), (width, 0.028, height))
                part = furniture.picture_part(build)
                build.panel("pictures", (0.0, 0.030, z), (width - 0.07, height - 0.07), part=part)


def _footprint(placement: Placement, piece: Piece) -> Rectangle:
    """Bounds of a piece on the floor; pieces stand square to the walls."""
    half = piece.width / 2.0
    corners = placement.apply(
        np.array(
            [
                [-half, 0.0, 0.0],
                [half, 0.0, 0.0],
                [-half, piece.depth, 0.0],
                [half, piece.depth, 0.0],
            ]
        )
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Rectangle(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _cells(r: Rectangle, area: Rectangle) -> tuple[slice, slice]:
    """Cells of a room's grid that an area touches."""
    return (
        slice(
            max(0, math.floor((area.y_min - r.y_min) / _CELL)),
            max(0, math.ceil((area.y_max - r.y_min) / _CELL)),
        ),
        slice(
            max(0, math.floor((area.x_min - r.x_min) / _CELL)),
            max(0, math.ceil((area.x_max - r.x_min) / _CELL)),
        ),
    )


def _fill(grid: NDArray[np.uint8], r: Rectangle, area: Rectangle, value: int) -> None:
    grid[_cells(r, area)] = value
