"""What the perception benchmark drives through, and the settings held against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.frames import RgbdFrame
from mirage_ros.keyframes import chosen_keyframes
from mirage_ros.memory import LatentMemoryConfig
from mirage_ros.perception.build import build_perception
from mirage_ros.perception.pipeline import Perception
from mirage_ros.perception.settings import PerceptionSettings
from mirage_ros.sources.simulator.apartment import ApartmentScene
from mirage_ros.sources.simulator.figure import WalkingFigure
from mirage_ros.sources.simulator.movers import Mover
from mirage_ros.sources.simulator.odometry import OdometryDrift
from mirage_ros.sources.simulator.rendered import RenderedSequence, robot_tour
from mirage_ros.sources.simulator.robot import RobotCamera

#: Frames a second. The one before a keyframe is what flow is seen by.
RATE_HZ = 15.0

#: Rooms between which somebody walks while the robot begins its tour of the same rooms, and when.
WALK, WALK_START_S, WALK_SPEED = ("living", "kitchen", "living", "hall", "living"), 2.0, 1.0

#: Where the truths with and without movers differ by more than this, the movers are seen. Metres,
#: and grey levels of any colour, for their shadows and blended edges.
_DEPTH_DIFFERS, _COLOUR_DIFFERS = 0.02, 24

#: Side of a latent cell, pixels.
_STRIDE = 16

#: The filter of what moves, off and on.
OFF = PerceptionSettings(dynamic_filter=False, optical_flow=False)
ON = PerceptionSettings()
WITHOUT_FLOW = PerceptionSettings(optical_flow=False)


def perception(settings: PerceptionSettings) -> Perception:
    """The perception as it is shipped, for the default memory."""
    limits = LatentMemoryConfig().cell_depth
    return build_perception(
        settings, stride=_STRIDE, min_depth=limits.min_depth, max_depth=limits.max_depth
    )


@dataclass(frozen=True)
class WalkedTour:
    """The robot's tour while somebody walks about.

    Attributes:
        frames: of the tour.
        figure: who walks.
    """

    frames: SharedFrames
    figure: WalkingFigure


class SharedFrames:
    """Frames of a sequence, each rendered once and kept; with movers and without.

    Args:
        sequence: is rendered.
        there: whether any mover is there at a time in seconds; None = always.
    """

    def __init__(
        self, sequence: RenderedSequence, there: Callable[[float], bool] | None = None
    ) -> None:
        self.sequence = sequence
        self.stamps_ns = sequence.stamps_ns
        self.poses = sequence.poses
        self._there = there
        self._live: dict[int, RgbdFrame] = {}
        self._still: dict[int, RgbdFrame] = {}
        self._places = {int(stamp): number for number, stamp in enumerate(self.stamps_ns)}

    def __len__(self) -> int:
        return len(self.sequence)

    def keyframes(self) -> list[int]:
        """Numbers of the frames that the node would remember."""
        return chosen_keyframes(self.poses, self.stamps_ns)

    def way(self) -> NDArray[np.float64]:  # (N,)
        """Metres driven until each frame."""
        steps = np.linalg.norm(np.diff(self.poses[:, :3, 3], axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def live(self, number: int) -> RgbdFrame:
        """What the camera sees."""
        if self._there is not None and not self._there(self.stamps_ns[number] / 1e9):
            return self.still(number)
        if number not in self._live:
            self._live[number] = self.sequence[number]
        return self._live[number]

    def still(self, number: int) -> RgbdFrame:
        """What it would see without the movers."""
        if number not in self._still:
            self._still[number] = self.sequence.still(number)
        return self._still[number]

    def still_at(self, stamp_ns: int) -> RgbdFrame:
        """The same by stamp."""
        return self.still(self._places[stamp_ns])

    def movers(self, number: int) -> NDArray[np.bool_]:  # (H, W)
        """Pixels in which movers are seen."""
        live, still = self.live(number), self.still(number)
        assert live.depth is not None
        assert still.depth is not None
        if live is still:
            return np.zeros(live.depth.shape, dtype=np.bool_)
        colour = np.abs(live.image.astype(np.int16) - still.image).max(axis=2)
        differs: NDArray[np.bool_] = np.abs(live.depth - still.depth) > _DEPTH_DIFFERS
        differs |= colour > _COLOUR_DIFFERS
        return differs


def walked_tour(
    seed: int,
    size: tuple[int, int],
    duration_s: float | None,
    drift: OdometryDrift | None = None,
) -> WalkedTour:
    """The tour of an apartment, through whose first rooms a figure walks, and is gone then.

    Args:
        seed: of the apartment.
        size: of the pictures.
        duration_s: simulated seconds; None = all of it.
        drift: of the odometry; None = none.
    """
    figures: list[WalkingFigure] = []

    def movers(scene: ApartmentScene) -> list[Mover]:
        stops = [scene.free_space.viewpoint(scene.plan.room(room).rectangle) for room in WALK]
        figures.append(
            WalkingFigure.through(
                scene.free_space,
                stops,
                speed=WALK_SPEED,
                start_s=WALK_START_S,
                only_while_walking=True,
                seed=seed,
            )
        )
        return list(figures)

    sequence = robot_tour(
        seed,
        camera=RobotCamera(*size),
        rate_hz=RATE_HZ,
        duration_s=duration_s,
        movers=movers,
        drift=drift,
    )
    return WalkedTour(SharedFrames(sequence, figures[0].is_there), figures[0])
