"""Whether a chair that was put elsewhere is forgotten where it stood and remembered where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation import benchmark_perception_scenes as scenes
from mirage_ros.evaluation.benchmark_perception_cells import bounded
from mirage_ros.evaluation.perception_runs import AskedView, Progress, ask_views, drive, ghosts
from mirage_ros.evaluation.results import Cell, Picture, Plot, Section, Series, Table, Target
from mirage_ros.evaluation.strips import write_strip
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import inverse
from mirage_ros.memory import LatentMemory
from mirage_ros.sources.simulator.apartment import build_apartment
from mirage_ros.sources.simulator.chair import CHAIR_SIZE, MovedChair
from mirage_ros.sources.simulator.free_space import FreeSpace
from mirage_ros.sources.simulator.rendered import robot_tour
from mirage_ros.sources.simulator.robot import RobotCamera, planar_pose
from mirage_ros.world_model import Observation, WorldModel

#: Rows of the table.
OFF, ON, ALWAYS = "filter off", "filter on", "filter on, always in the new place"

#: Wanted: views of the empty place after which nothing is left, and in the new place the share of
#: the tokens that the same frames leave there without the filter.
VIEWS, PRESENT = 3, 0.5

#: Room that the chair takes and that the robot's way keeps from it, metres.
_CLEARANCE, _OFF_WAY, _APART = 0.33, 0.45, 0.8

#: A place is seen from no farther than this, metres; its view is empty if this share of the chair's
#: box is in the picture with nothing in it or before it.
_FARTHEST, _NEAREST, _IN_VIEW = 4.0, 1.0, 0.95

#: A chair is moved while nobody has looked at either place for so long, seconds.
_UNSEEN_S = 2.0

#: More views than so many do not make a place a better one.
_ENOUGH = 12

#: Height of the chair, and what a token may lie off it, metres.
_HEIGHT, _MARGIN = 0.96, 0.04

_Place = tuple[float, float, float]


@dataclass(frozen=True)
class ChairPlan:
    """Where the chair stands when.

    Attributes:
        old: x, y, heading until it is moved.
        new: likewise from then on.
        moved_s: when, simulated seconds.
    """

    old: _Place
    new: _Place
    moved_s: float


@dataclass
class ChairRun:
    """One drive.

    Attributes:
        at_old: tokens of the chair in the old place when it was moved, then after each view that
            sees that place empty.
        at_new: tokens in the new place in the end.
        tokens: in memory in the end.
        views: of the old place in the end, from where it was seen empty.
    """

    at_old: list[int] = field(default_factory=list)
    at_new: int = 0
    tokens: int = 0
    views: list[AskedView] = field(default_factory=list)

    @property
    def gone_after(self) -> int | None:
        """Views of the empty place after which nothing was left; None = something always was."""
        return next((count for count, left in enumerate(self.at_old) if count and not left), None)


@dataclass(frozen=True)
class ChairRuns:
    """All drives of one apartment.

    Attributes:
        seed: of the apartment.
        plan: None where there was no place that is seen often enough.
        runs: by their names.
        before: what the camera saw last of the chair in its old place; at most one.
    """

    seed: int
    plan: ChairPlan | None
    runs: dict[str, ChairRun]
    before: list[RgbdFrame]


def measure(
    seed: int, size: tuple[int, int], duration_s: float | None, progress: Progress
) -> ChairRuns:
    """Drive past a chair that is moved while the robot is elsewhere.

    Args:
        seed: of the apartment.
        size: of pictures and views, multiples of 32.
        duration_s: simulated seconds of the tour; None = all of it.
        progress: wraps loops.
    """

    def tour(*chairs: MovedChair) -> scenes.SharedFrames:
        camera = RobotCamera(*size)
        return scenes.SharedFrames(
            robot_tour(
                seed, camera=camera, rate_hz=scenes.RATE_HZ, duration_s=duration_s, movers=chairs
            )
        )

    empty = tour()
    with empty.sequence:
        keyframes = empty.keyframes()
        for number in progress(keyframes, "render the empty room"):
            empty.still(number)
        plan = planned(build_apartment(seed).free_space, empty, keyframes)
        if plan is None:
            return ChairRuns(seed, None, {}, [])
        places = [(0.0, plan.old), (plan.moved_s, plan.new)]
        moved, always = tour(MovedChair(places)), tour(MovedChair([(0.0, plan.new)]))
        times = empty.stamps_ns / 1e9

        def in_new_place(number: int) -> RgbdFrame:
            return moved.live(number) if times[number] >= plan.moved_s else always.live(number)

        def chair_tokens(model: WorldModel, place: _Place) -> int:
            memory = model.memory
            assert isinstance(memory, LatentMemory)
            among = in_box(memory.cloud().positions, place)
            return int(ghosts(memory, empty.still_at, size, among).sum())

        runs = {}
        with moved.sequence, always.sequence:
            sees = {
                number
                for number in keyframes
                if times[number] >= plan.moved_s and sees_empty(moved.live(number), plan.old)
            }
            asked = [moved.live(number) for number in sorted(sees)[:VIEWS]]
            for name, sensor, settings in (
                (OFF, moved.live, scenes.OFF),
                (ON, moved.live, scenes.ON),
                (ALWAYS, in_new_place, scenes.ON),
            ):
                run = ChairRun()

                def watch(
                    number: int, model: WorldModel, _: Observation, run: ChairRun = run
                ) -> None:
                    if times[number] < plan.moved_s:
                        run.at_old[:] = [chair_tokens(model, plan.old)]
                    elif number in sees:
                        run.at_old.append(chair_tokens(model, plan.old))

                driven = drive(
                    sensor,
                    keyframes,
                    scenes.perception(settings),
                    size,
                    watch=watch,
                    progress=lambda numbers, name=name: progress(numbers, f"chair, {name}"),  # type: ignore[misc]
                )
                run.at_new = chair_tokens(driven.model, plan.new)
                run.tokens = driven.memory.count
                run.views = ask_views(driven.model, asked)
                runs[name] = run
            before = [
                moved.live(number)
                for number in keyframes
                if times[number] < plan.moved_s and _shares(empty.still(number), [plan.old])[0] == 1
            ]
    return ChairRuns(seed, plan, runs, before[-1:])


def planned(
    free_space: FreeSpace,
    empty: scenes.SharedFrames,
    keyframes: Sequence[int],
) -> ChairPlan | None:
    """Two places beside the robot's way and a time, so that both are seen before and after it.

    None where there are no such places.
    """
    spots = _spots(free_space, empty.poses)
    headings = np.random.default_rng(len(spots)).uniform(-np.pi, np.pi, len(spots))
    places: list[_Place] = [
        (float(x), float(y), float(heading))
        for (x, y), heading in zip(spots, headings, strict=True)
    ]
    if not places:
        return None
    shares = np.stack([_shares(empty.still(number), places) for number in keyframes])
    whole, partly = shares >= _IN_VIEW, shares > 0.0  # (K, P)
    times = empty.stamps_ns[list(keyframes)] / 1e9
    best, plan = 0, None
    # The chair is moved in the middle of a time in which neither place is seen.
    for number in range(1, len(times)):
        moved_s = float(times[number - 1] + times[number]) / 2.0
        near = np.abs(times - moved_s) <= _UNSEEN_S
        unseen = ~partly[near].any(axis=0)
        often = np.minimum(whole[:number].sum(axis=0), whole[number:].sum(axis=0)) * unseen
        order = np.argsort(-often, kind="stable")
        old = int(order[0])
        apart = [
            int(place)
            for place in order
            if np.hypot(*(spots[place] - spots[old])) >= _APART and often[place]
        ]
        if apart and (value := min(_ENOUGH, int(often[apart[0]]))) > best:
            best, plan = value, ChairPlan(places[old], places[apart[0]], moved_s)
    return plan


def sees_empty(frame: RgbdFrame, place: _Place) -> bool:
    """Whether the frame sees that no chair stands in a place."""
    return bool(_shares(frame, [place])[0] >= _IN_VIEW)


def in_box(
    positions: NDArray[np.float32],  # (N, 3) world, metres
    place: _Place,
) -> NDArray[np.bool_]:  # (N,)
    """Which points lie where a chair in the place is."""
    T_chair_world = inverse(planar_pose(*place))
    local = positions @ T_chair_world[:3, :3].T + T_chair_world[:3, 3]
    inside: NDArray[np.bool_] = np.abs(local[:, :2]).max(axis=1) <= CHAIR_SIZE / 2.0 + _MARGIN
    return inside & (local[:, 2] >= -_MARGIN) & (local[:, 2] <= _HEIGHT + _MARGIN)


def section(found: ChairRuns, folder: Path, prefix: str = "") -> Section:
    """Table, curve, targets and pictures of the moved chair.

    Raises:
        OSError: a picture cannot be written.
    """
    title = f"{prefix}A chair is put elsewhere"
    left, present = (
        "views of the empty place until nothing is left",
        "tokens in the new place, of those without the filter, %",
    )
    wanted = f"at most {VIEWS}", f"at least {100 * PRESENT:.0f}"
    if found.plan is None:
        return Section(
            title=title,
            text=f"Apartment {found.seed}: no place for the chair is seen before and after.",
            targets=(
                bounded(left, np.nan, wanted[0], None),
                bounded(present, np.nan, wanted[1], None),
            ),
        )
    plan, on, always = found.plan, found.runs[ON], found.runs[ALWAYS]
    rows: list[list[Cell]] = [
        [
            name, run.at_old[0] if name != ALWAYS else None,
            *[_after(run, count) if name != ALWAYS else None for count in (1, 2, 3)],
            run.at_old[-1] if name != ALWAYS else None,
            run.gone_after if name != ALWAYS else None, run.at_new, run.tokens,
        ]
        for name, run in found.runs.items()
    ]  # fmt: skip
    off = found.runs[OFF]
    share = on.at_new / off.at_new if off.at_new else np.nan
    looked = len(on.at_old) > VIEWS
    return Section(
        title=title,
        text=(
            f"Apartment {found.seed}: a chair stands at ({plan.old[0]:.1f}, {plan.old[1]:.1f}) m "
            f"until {plan.moved_s:.0f} s, while nobody looks it is put to ({plan.new[0]:.1f}, "
            f"{plan.new[1]:.1f}). Counted are the tokens in the box of a chair that "
            "stand in space that is free in the empty room (ghosts, were the chair not there), in "
            f"the old place after each keyframe that sees all of that box empty from within "
            f"{_FARTHEST:.0f} m ({len(on.at_old) - 1} of them), and in the new place in the end, "
            "beside a run in which the chair has stood there from the start."
        ),
        tables=(
            Table(
                [
                    "run", "old place, when moved", "after 1 view", "after 2", "after 3",
                    "in the end", "none left after", "new place", "tokens in all",
                ],
                rows,
                "tokens of the chair",
            ),
        ),
        plots=(
            Plot(
                "What is left in the old place",
                "views that see it empty",
                "tokens",
                [
                    Series(name, range(len(found.runs[name].at_old)), found.runs[name].at_old)
                    for name in (OFF, ON)
                ],
            ),
        ),
        pictures=_strips(found, folder),
        targets=(
            Target(
                left, on.gone_after, wanted[0],
                None if not looked and on.gone_after is None
                else on.gone_after is not None and on.gone_after <= VIEWS,
                f"{on.at_old[0]} when it was moved; without the filter {off.at_old[-1]} in the end",
            ),
            bounded(
                present, 100.0 * share, wanted[1], share >= PRESENT,
                f"{on.at_new} against {off.at_new}; {always.at_new} of one that stood there all "
                "the time and was seen before",
            ),
        ),
    )  # fmt: skip


def _after(run: ChairRun, views: int) -> int | None:
    return run.at_old[views] if views < len(run.at_old) else None


def _spots(
    free_space: FreeSpace,
    poses: NDArray[np.float64],  # (N, 4, 4) of the camera
) -> NDArray[np.float64]:  # (P, 2)
    """Places with room for the chair, beside the way, on a grid."""
    low, high = poses[:, :2, 3].min(axis=0) - 4.0, poses[:, :2, 3].max(axis=0) + 4.0
    x, y = np.meshgrid(np.arange(low[0], high[0], 0.2), np.arange(low[1], high[1], 0.2))
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    points = points[free_space.clearance_at(points) >= _CLEARANCE]
    off = np.linalg.norm(points[:, None] - poses[None, ::4, :2, 3], axis=2).min(axis=1)
    kept: NDArray[np.float64] = points[off >= _OFF_WAY]
    return kept


def _shares(frame: RgbdFrame, places: Sequence[_Place]) -> NDArray[np.float64]:  # (P,)
    """Of the chair's box in each place, how much is in the picture with nothing in it or before it.

    0 where its middle is too near or too far.
    """
    assert frame.depth is not None
    across, up = np.linspace(-0.2, 0.2, 4), np.linspace(0.1, 0.9, 5)
    box = np.stack(np.meshgrid(across, across, up, indexing="ij"), axis=-1).reshape(-1, 3)
    T_world_chair = np.stack([planar_pose(*place) for place in places])
    world = box @ T_world_chair[:, :3, :3].transpose(0, 2, 1) + T_world_chair[:, None, :3, 3]
    T_camera_world = inverse(frame.T_world_camera)
    points = world @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]  # (P, B, 3)
    camera = frame.camera
    z = np.maximum(points[..., 2], 1e-3)
    column = np.floor(camera.fx * points[..., 0] / z + camera.cx).astype(np.int64)
    row = np.floor(camera.fy * points[..., 1] / z + camera.cy).astype(np.int64)
    inside = (points[..., 2] > 0.0) & (column >= 0) & (column < camera.width)
    inside &= (row >= 0) & (row < camera.height)
    depth = frame.depth[row.clip(0, camera.height - 1), column.clip(0, camera.width - 1)]
    # Beyond the camera's range is nothing.
    clear = inside & ((depth <= 0.0) | (depth >= z))
    away = np.linalg.norm(points.mean(axis=1), axis=-1)
    share: NDArray[np.float64] = clear.mean(axis=1)
    return np.where((away >= _NEAREST) & (away <= _FARTHEST), share, 0.0)


def _strips(found: ChairRuns, folder: Path) -> list[Picture]:
    """The chair in its old place, the place empty, and what is remembered of it then."""
    pictures = []
    folder.mkdir(parents=True, exist_ok=True)
    for place, (off, on) in enumerate(
        zip(found.runs[OFF].views, found.runs[ON].views, strict=True)
    ):
        path = folder / f"chair_{found.seed}_{place}.png"
        before = [frame.image for frame in found.before]
        write_strip(path, [*before, on.truth, off.image, on.image])
        pictures.append(
            Picture(
                f"{folder.name}/{path.name}",
                "the chair in its old place; from elsewhere, after it was moved, the truth, what "
                "is remembered in the end without the filter, and with it",
            )
        )
    return pictures
