"""Things that move by the clock: what they are made of, and how they get into the simulation.

They are there to be seen. Nothing collides with them, so the robot's tour, which does not know of
them, drives through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirage_ros.geometry.poses import quaternion_from_pose
from mirage_ros.sources.simulator.apartment import MOVER_GROUP, add_material, add_mesh
from mirage_ros.sources.simulator.headless import mujoco
from mirage_ros.sources.simulator.materials import Material
from mirage_ros.sources.simulator.meshes import MeshSet, PieceBuilder, Placement

#: Where something is that is not there: far below the floor, beyond every camera's range.
ABSENT: NDArray[np.float64] = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1000.0], [0.0, 0.0, 0.0, 1.0]]
)


@dataclass(frozen=True)
class MovingBody:
    """A rigid part of a mover.

    Attributes:
        meshes: triangles in the body's own frame, by material.
        materials: those that are not the apartment's, by name.
    """

    meshes: MeshSet
    materials: Mapping[str, Material] = field(default_factory=dict)

    def builder(self, rng: np.random.Generator, apartment: Mapping[str, Material]) -> PieceBuilder:
        """Builds furniture into this body, whose frame is then the piece's."""
        tile_sizes = {
            name: material.tile_size for name, material in {**apartment, **self.materials}.items()
        }
        return PieceBuilder(self.meshes, [], Placement(0.0, 0.0, 0.0), rng, tile_sizes)


class Mover(Protocol):
    """Something that moves; where it is depends on the simulated time alone."""

    def bodies(self, materials: Mapping[str, Material]) -> Sequence[MovingBody]:
        """Its rigid parts; ``materials`` are the apartment's and may be used by name."""
        ...

    def poses(self, time_s: float) -> NDArray[np.float64]:  # (B, 4, 4)
        """T_world_body of every part at a simulated time, :data:`ABSENT` where not there."""
        ...


class PlacedMovers:
    """Movers in a simulation of their own making: adds their bodies, then puts them in place.

    Args:
        spec: receives the bodies.
        movers: in any order.
        materials: the apartment's.
    """

    def __init__(
        self, spec: mujoco.MjSpec, movers: Sequence[Mover], materials: Mapping[str, Material]
    ) -> None:
        self._movers = tuple(movers)
        known = {material.name for material in spec.materials}
        self._names: list[str] = []
        for number, mover in enumerate(self._movers):
            for part, body in enumerate(mover.bodies(materials)):
                name = f"mover_{number}_{part}"
                self._names.append(name)
                added = spec.worldbody.add_body(name=name, mocap=True)
                for material, mesh in sorted(body.meshes.meshes.items()):
                    own = body.materials.get(material)
                    # Two movers may mean different things by one name.
                    unique = material if own is None else f"mover_{number}_{material}"
                    if unique not in known:
                        add_material(spec, unique, materials[material] if own is None else own)
                        known.add(unique)
                    add_mesh(spec, added, f"{name}_{material}", mesh, unique, MOVER_GROUP)

    def __len__(self) -> int:
        return len(self._movers)

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Put every part where it is at a simulated time; nothing else of ``data`` is changed."""
        poses = np.concatenate([mover.poses(time_s) for mover in self._movers])
        for name, pose in zip(self._names, poses, strict=True):
            index = model.body(name).mocapid[0]
            data.mocap_pos[index] = pose[:3, 3]
            data.mocap_quat[index] = quaternion_from_pose(pose)[[3, 0, 1, 2]]
        mujoco.mj_kinematics(model, data)
