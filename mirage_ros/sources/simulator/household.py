"""People, a chair and a door that move about an apartment, drawn from a seed."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.apartment import ApartmentScene
from mirage_ros.sources.simulator.chair import MovedChair
from mirage_ros.sources.simulator.door import LEAF_WIDTH, HingedDoor
from mirage_ros.sources.simulator.figure import WalkingFigure
from mirage_ros.sources.simulator.floorplan import Rectangle
from mirage_ros.sources.simulator.free_space import RESOLUTION
from mirage_ros.sources.simulator.movers import Mover
from mirage_ros.sources.simulator.tour import Tour

#: Room that a person wants to walk in, that a chair takes, and that the robot needs beside it,
#: metres from the middle.
_WALK_CLEARANCE, _CHAIR_CLEARANCE, _CHAIR_OFF_TOUR = 0.35, 0.33, 0.5

#: A chair has so many places at most, and they are so far apart, metres.
_CHAIR_PLACES, _CHAIR_APART = 4, 0.8

#: Where no tour says when nobody looks, a chair is moved this often, seconds.
_CHAIR_PERIOD = 30.0

#: A door moves for so many seconds about every so many, for so long, seconds.
_SWING, _SWING_PERIOD, _SWING_END = 2.0, 12.0, 3600.0


def draw_movers(
    scene: ApartmentScene,
    tour: Tour | None = None,
    *,
    seed: int = 0,
    people: int = 0,
    moving_chair: bool = False,
    moving_door: bool = False,
) -> tuple[Mover, ...]:
    """Movers of an apartment; each is the same whatever else is asked for.

    People walk through rooms of the tour for ever, each on a round of its own. The chair stands in
    the room that the tour comes to most often and is somewhere else each time the robot comes back.
    The door is one that has room to swing; it stops moving after an hour.

    Args:
        scene: the apartment.
        tour: what the robot is going to do, not begun yet; None = nobody knows.
        seed: of everything drawn.
        people: how many walk about.
        moving_chair: whether there is a chair.
        moving_door: whether there is a door leaf.

    Raises:
        ConfigurationError: a negative number of people.
    """
    if people < 0:
        raise ConfigurationError(f"people must not be negative. Got {people}")
    rooms = tuple(room.kind for room in scene.rooms) if tour is None else tour.rooms
    movers: list[Mover] = [_person(scene, rooms, seed, number) for number in range(people)]
    if moving_chair:
        movers.append(_chair(scene, rooms, tour, seed))
    if moving_door:
        movers.append(_door(scene, tour, seed))
    return tuple(movers)


def _person(scene: ApartmentScene, rooms: tuple[str, ...], seed: int, number: int) -> WalkingFigure:
    """Somebody who goes around through a few rooms, and does not begin where the tour does."""
    rng = np.random.default_rng((seed, 0, number))
    first, *others = dict.fromkeys(rooms)
    some = [str(kind) for kind in rng.permutation(others)][:3]
    stops = []
    for kind in [*some, first]:
        spots = _spots(scene, scene.plan.room(kind).rectangle, _WALK_CLEARANCE)
        x, y = spots[int(rng.integers(len(spots)))]
        stops.append((float(x), float(y)))
    return WalkingFigure.through(
        scene.free_space,
        stops,
        speed=float(rng.uniform(0.7, 1.1)),
        wait_s=float(rng.uniform(0.0, 3.0)),
        endless=True,
        height=float(rng.uniform(1.6, 1.88)),
        seed=int(rng.integers(2**31)),
    )


def _chair(
    scene: ApartmentScene, rooms: tuple[str, ...], tour: Tour | None, seed: int
) -> MovedChair:
    """A chair beside the tour's way that is elsewhere at every visit."""
    rng = np.random.default_rng((seed, 1))
    kind = max(dict.fromkeys(kind for kind in rooms if kind != "hall"), key=rooms.count)
    area = scene.plan.room(kind).rectangle
    spots = rng.permutation(_spots(scene, area, _CHAIR_CLEARANCE))
    if tour is not None:
        off = np.linalg.norm(spots[:, None] - tour.path[None, ::4], axis=2).min(axis=1)
        # Beside the way where there is room for that, else as far from it as may be.
        spots = spots[np.argsort(-np.minimum(off, _CHAIR_OFF_TOUR), kind="stable")]
    chosen: list[NDArray[np.float64]] = []
    for spot in spots:
        if all(np.hypot(*(spot - other)) >= _CHAIR_APART for other in chosen):
            chosen.append(spot)
        if len(chosen) == _CHAIR_PLACES:
            break
    times = [0.0, *_absences(tour, area)] if tour is not None else _CHAIR_PERIOD * np.arange(120)
    places = [
        (float(time_s), (float(x), float(y), float(rng.uniform(-np.pi, np.pi))))
        for time_s, (x, y) in zip(times, itertools.cycle(chosen), strict=False)
    ]
    return MovedChair(places, seed=seed)


def _absences(tour: Tour, area: Rectangle) -> list[float]:
    """Middles of the times that the robot spends outside an area between two visits, seconds."""
    preview = tour.preview(1.5 * tour.duration, 0.5)
    inside = [
        area.x_min < pose[0, 3] < area.x_max and area.y_min < pose[1, 3] < area.y_max
        for _, pose in preview
    ]
    changes = [k for k in range(1, len(inside)) if inside[k] != inside[k - 1]]
    leaves = [k for k in changes if not inside[k]]
    comes = [k for k in changes if inside[k] and leaves and k > leaves[0]]
    return [(preview[a][0] + preview[b][0]) / 2.0 for a, b in zip(leaves, comes, strict=False)]


def _door(scene: ApartmentScene, tour: Tour | None, seed: int) -> HingedDoor:
    """The leaf of an opening, preferably on the tour's way, that moves between a few angles."""
    rng = np.random.default_rng((seed, 2))
    best, most = (scene.doors[0], "low", 1.0), -np.inf
    for door, hinge, sense in itertools.product(scene.doors, ("low", "high"), (1.0, -1.0)):
        leaf = HingedDoor(door, [(0.0, 0.0)], hinge="high" if hinge == "high" else "low")
        poses = np.stack([leaf.pose_at(sense * degrees) for degrees in range(20, 100, 5)])
        reach = np.linspace(0.3, LEAF_WIDTH, 8)
        swept = poses[:, None, :2, 3] + reach[:, None] * poses[:, None, :2, 0]
        free = scene.free_space.clearance_at(swept.reshape(-1, 2)) > 0.0
        off = 0.0
        if tour is not None:
            off = float(np.linalg.norm(tour.path - np.array(door.centre), axis=1).min())
        score = float(free.mean()) - 0.3 * min(1.0, off) + 0.02 * rng.random()
        if score > most:
            best, most = (door, hinge, sense), score
    door, hinge, sense = best
    schedule = [(0.0, 90.0 * sense)]
    while schedule[-1][0] < _SWING_END:
        time_s, degrees = schedule[-1]
        rest = time_s + float(rng.uniform(0.5, 1.5)) * (_SWING_PERIOD - _SWING)
        target = 90.0 if abs(degrees) < 60.0 else float(rng.uniform(20.0, 50.0))
        schedule += [(rest, degrees), (rest + _SWING, target * sense)]
    return HingedDoor(door, schedule, hinge="high" if hinge == "high" else "low", seed=seed)


def _spots(
    scene: ApartmentScene, area: Rectangle, clearance: float
) -> NDArray[np.float64]:  # (N, 2)
    """Places of an area that can be walked to and have so much clearance, else its best one."""
    x, y = np.meshgrid(
        np.arange(area.x_min, area.x_max, 2 * RESOLUTION),
        np.arange(area.y_min, area.y_max, 2 * RESOLUTION),
    )
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    free = scene.free_space.clearance_at(points) >= clearance
    spots: NDArray[np.float64] = points[free & scene.free_space.reachable(points)]
    return spots if len(spots) else np.array([scene.free_space.viewpoint(area)])
