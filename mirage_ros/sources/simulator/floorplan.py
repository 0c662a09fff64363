"""Floor plans: rooms about a hall, joined by door openings, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Between two rooms; each room's side owns half of it.
WALL_THICKNESS = 0.12

#: Clear size of every door opening, metres.
DOOR_WIDTH = 1.0
DOOR_HEIGHT = 2.05

#: Floor to ceiling, metres.
CEILING_HEIGHT = 2.5

Side = Literal["south", "east", "north", "west"]


@dataclass(frozen=True)
class Rectangle:
    """An axis-aligned rectangle on the floor, world frame, metres."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @property
    def width(self) -> float:
        """Extent along x, metres."""
        return self.x_max - self.x_min

    @property
    def depth(self) -> float:
        """Extent along y, metres."""
        return self.y_max - self.y_min

    @property
    def centre(self) -> tuple[float, float]:
        """Middle (x, y), metres."""
        return (self.x_min + self.x_max) / 2.0, (self.y_min + self.y_max) / 2.0

    def inflated(self, margin: float) -> Rectangle:
        """The rectangle grown by ``margin`` metres on every side."""
        return Rectangle(
            self.x_min - margin, self.y_min - margin, self.x_max + margin, self.y_max + margin
        )

    def overlaps(self, other: Rectangle) -> bool:
        """Whether the two share some area."""
        return (
            self.x_min < other.x_max
            and other.x_min < self.x_max
            and self.y_min < other.y_max
            and other.y_min < self.y_max
        )

    def contains(self, other: Rectangle) -> bool:
        """Whether ``other`` lies wholly inside, the border included."""
        return (
            self.x_min <= other.x_min
            and self.y_min <= other.y_min
            and other.x_max <= self.x_max
            and other.y_max <= self.y_max
        )


@dataclass(frozen=True)
class Room:
    """One room: its kind, which is unique in the apartment, and its inner floor."""

    kind: str
    rectangle: Rectangle


@dataclass(frozen=True)
class Door:
    """An opening of :data:`DOOR_WIDTH` x :data:`DOOR_HEIGHT` in the wall between two rooms.

    Attributes:
        rooms: kinds of the two rooms.
        centre: middle of the opening on the floor, metres.
        along: axis along which the wall, and so the opening, runs.
    """

    rooms: tuple[str, str]
    centre: tuple[float, float]
    along: Literal["x", "y"]

    def zone(self, reach: float) -> Rectangle:
        """Floor of the opening, extended by ``reach`` metres into both rooms."""
        x, y = self.centre
        half, through = DOOR_WIDTH / 2.0, WALL_THICKNESS / 2.0 + reach
        if self.along == "x":
            return Rectangle(x - half, y - through, x + half, y + through)
        return Rectangle(x - through, y - half, x + through, y + half)


@dataclass(frozen=True)
class FloorPlan:
    """Rooms and doors of an apartment about the world's origin."""

    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]

    @property
    def bounds(self) -> Rectangle:
        """Inner outline of the apartment."""
        rectangles = [room.rectangle for room in self.rooms]
        return Rectangle(
            min(r.x_min for r in rectangles),
            min(r.y_min for r in rectangles),
            max(r.x_max for r in rectangles),
            max(r.y_max for r in rectangles),
        )

    def room(self, kind: str) -> Room:
        """The room of a kind.

        Raises:
            KeyError: there is none.
        """
        for room in self.rooms:
            if room.kind == kind:
                return room
        raise KeyError(kind)

    def doors_of(self, room: Room) -> list[Door]:
        """Doors that lead into a room."""
        return [door for door in self.doors if room.kind in door.rooms]

    def openings(self, room: Room, side: Side) -> list[tuple[float, float]]:
        """Intervals that doors cut out of a side of a room, along x or y, ascending."""
        rectangle = room.rectangle
        along = "x" if side in ("south", "north") else "y"
        line = {
            "south": rectangle.y_min - WALL_THICKNESS / 2.0,
            "north": rectangle.y_max + WALL_THICKNESS / 2.0,
            "west": rectangle.x_min - WALL_THICKNESS / 2.0,
            "east": rectangle.x_max + WALL_THICKNESS / 2.0,
        }[side]
        found = []
        for door in self.doors_of(room):
            across, position = (1, 0) if along == "x" else (0, 1)
            if door.along == along and abs(door.centre[across] - line) < 1e-6:
                middle = door.centre[position]
                found.append((middle - DOOR_WIDTH / 2.0, middle + DOOR_WIDTH / 2.0))
        return sorted(found)

    def is_outer(self, room: Room, side: Side) -> bool:
        """Whether a side of a room is on the outline of the apartment."""
        rectangle, bounds = room.rectangle, self.bounds
        return {
            "south": rectangle.y_min == bounds.y_min,
            "north": rectangle.y_max == bounds.y_max,
            "west": rectangle.x_min == bounds.x_min,
            "east": rectangle.x_max == bounds.x_max,
        }[side]


def draw_floorplan(rng: np.random.Generator) -> FloorPlan:
    """A hall with two rooms on one side and three on the other, sizes and mirroring drawn."""
    width = float(rng.uniform(10.4, 11.4))
    hall_depth = float(rng.uniform(1.6, 1.8))
    upper_depth, lower_depth = float(rng.uniform(4.2, 4.7)), float(rng.uniform(3.7, 4.1))
    living_width = float(rng.uniform(5.4, 6.0))
    bath_width = float(rng.uniform(2.5, 2.8))
    bedroom_width = (width - bath_width - 2 * WALL_THICKNESS) * float(rng.uniform(0.5, 0.54))
    lower = _row(["bedroom", "study", "bathroom"], [bedroom_width, None, bath_width], width)
    upper = _row(["living", "kitchen"], [living_width, None], width)
    y0 = lower_depth + WALL_THICKNESS
    y1 = y0 + hall_depth + WALL_THICKNESS
    spans = {
        "hall": Rectangle(0.0, y0, width, y0 + hall_depth),
        **{kind: Rectangle(a, 0.0, b, lower_depth) for kind, (a, b) in lower.items()},
        **{kind: Rectangle(a, y1, b, y1 + upper_depth) for kind, (a, b) in upper.items()},
    }
    mirror_x, mirror_y = bool(rng.integers(2)), bool(rng.integers(2))
    height = y1 + upper_depth
    rooms = {
        kind: Room(kind, _mirrored(r, width, height, mirror_x, mirror_y))
        for kind, r in spans.items()
    }
    doors = [
        _door(rng, rooms[a], rooms[b])
        for a, b in (
            ("living", "hall"),
            ("kitchen", "hall"),
            ("bedroom", "hall"),
            ("study", "hall"),
            ("bathroom", "hall"),
            ("living", "kitchen"),
        )
    ]
    return FloorPlan(tuple(rooms.values()), tuple(doors))


def _row(
    kinds: list[str], widths: list[float | None], total: float
) -> dict[str, tuple[float, float]]:
    """Intervals of rooms side by side; the one of width None takes what the others leave."""
    left = total - WALL_THICKNESS * (len(kinds) - 1) - sum(w for w in widths if w is not None)
    row, x = {}, 0.0
    for kind, width in zip(kinds, widths, strict=True):
        end = x + (left if width is None else width)
        row[kind] = (x, total if kind == kinds[-1] else end)
        x = end + WALL_THICKNESS
    return row


def _mirrored(
    r: Rectangle, width: float, height: float, mirror_x: bool, mirror_y: bool
) -> Rectangle:
    """Shifted so that the apartment's centre is the origin, and mirrored about it."""
    x0, x1 = r.x_min - width / 2.0, r.x_max - width / 2.0
    y0, y1 = r.y_min - height / 2.0, r.y_max - height / 2.0
    if mirror_x:
        x0, x1 = -x1, -x0
    if mirror_y:
        y0, y1 = -y1, -y0
    return Rectangle(x0, y0, x1, y1)


def _door(rng: np.random.Generator, a: Room, b: Room) -> Door:
    """An opening at a random place of the wall that two rooms share, clear of its ends."""
    ra, rb = a.rectangle, b.rectangle
    margin = DOOR_WIDTH / 2.0 + 0.25
    low, high = max(ra.x_min, rb.x_min) + margin, min(ra.x_max, rb.x_max) - margin
    if high > low:
        lower, upper = (ra, rb) if ra.y_max < rb.y_min else (rb, ra)
        y = (lower.y_max + upper.y_min) / 2.0
        return Door((a.kind, b.kind), (float(rng.uniform(low, high)), y), "x")
    low, high = max(ra.y_min, rb.y_min) + margin, min(ra.y_max, rb.y_max) - margin
    left, right = (ra, rb) if ra.x_max < rb.x_min else (rb, ra)
    x = (left.x_max + right.x_min) / 2.0
    return Door((a.kind, b.kind), (x, float(rng.uniform(low, high))), "y")
