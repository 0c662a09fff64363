"""Builds a furnished apartment as a MuJoCo specification: looks, colliders and free floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.sources.simulator import surfaces, textures
from mirage_ros.sources.simulator.floorplan import Door, FloorPlan, Rectangle, Room, draw_floorplan
from mirage_ros.sources.simulator.free_space import FreeSpace
from mirage_ros.sources.simulator.furnish import RoomFurnisher
from mirage_ros.sources.simulator.headless import mujoco
from mirage_ros.sources.simulator.materials import Material, furniture_materials
from mirage_ros.sources.simulator.meshes import (
    BoxCollider,
    MeshSet,
    PieceBuilder,
    Placement,
    TriangleMesh,
)

#: Geom groups: what is seen and stays, what is seen and moves (drawn unless asked not to), and
#: colliders, which are never drawn.
VISUAL_GROUP, MOVER_GROUP, COLLIDER_GROUP = 0, 1, 3


@dataclass(frozen=True)
class Light:
    """A light from afar, which casts no shadows.

    Attributes:
        direction: that it shines in.
        diffuse: red, green and blue that a surface facing it gets.
        ambient: red, green and blue that every surface gets.
    """

    direction: tuple[float, float, float]
    diffuse: tuple[float, float, float]
    ambient: tuple[float, float, float]


@dataclass(frozen=True)
class Lighting:
    """Lights of an apartment, so that every direction of a surface has its own brightness.

    The sum of the default ones stays at or below one on floors, walls and ceilings: nothing is
    blown out. Light that varies within a surface is baked into textures.

    Attributes:
        lights: all of them.
    """

    lights: tuple[Light, ...] = (
        Light((0.35, 0.55, -1.0), (0.44, 0.44, 0.44), (0.54, 0.54, 0.54)),
        Light((-0.45, -0.25, 0.8), (0.40, 0.40, 0.40), (0.0, 0.0, 0.0)),
    )

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Lighting:
        """Lights of random direction, strength and colour, one from above and one from below."""
        tint = 1.0 - rng.uniform(0.0, 0.15, size=3)
        ambient = rng.uniform(0.35, 0.6)
        lights = []
        for downwards, share in ((-1.0, ambient), (1.0, 0.0)):
            x, y = rng.uniform(-0.8, 0.8, size=2)
            diffuse = rng.uniform(0.2, 1.0 - ambient)
            light = Light(
                (float(x), float(y), downwards * float(rng.uniform(0.6, 1.0))),
                _colour(diffuse * tint),
                _colour(share * tint),
            )
            lights.append(light)
        return cls(tuple(lights))


def _colour(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue


@dataclass(frozen=True)
class ApartmentScene:
    """A furnished apartment; the world frame has its origin on the floor, in the middle.

    Attributes:
        seed: what everything was drawn from.
        spec: MuJoCo specification without a robot; compile a copy of it.
        plan: rooms and doors.
        furniture: footprints of the pieces, by kind of room.
        free_space: floor that a robot can use.
        materials: what things of this apartment are made of, by name; not all of them occur.
    """

    seed: int
    spec: mujoco.MjSpec
    plan: FloorPlan
    furniture: dict[str, tuple[Rectangle, ...]]
    free_space: FreeSpace
    materials: dict[str, Material]

    @property
    def rooms(self) -> tuple[Room, ...]:
        """Rooms with their inner floors."""
        return self.plan.rooms

    @property
    def doors(self) -> tuple[Door, ...]:
        """Openings between rooms."""
        return self.plan.doors


def build_apartment(seed: int = 0, lighting: Lighting | None = None) -> ApartmentScene:
    """An apartment of five rooms about a hall; one seed makes one apartment.

    Args:
        seed: of everything but the light.
        lighting: how it is lit; None = as all apartments are unless asked otherwise.
    """
    rng = np.random.default_rng(seed)
    plan = draw_floorplan(rng)
    materials = furniture_materials(rng)
    tile_sizes = {name: material.tile_size for name, material in materials.items()}
    meshes, colliders = MeshSet(), list[BoxCollider]()
    footprints: dict[str, tuple[Rectangle, ...]] = {}
    for room in plan.rooms:
        sides = surfaces.survey(rng, plan, room)
        surfaces.build_shell(meshes, room, sides)
        colliders += surfaces.wall_colliders(room, sides)
        furnisher = RoomFurnisher(rng, plan, room, sides, meshes, colliders, tile_sizes)
        furnisher.furnish()
        footprints[room.kind] = tuple(furnisher.footprints)
        shadows = [_corners(footprint) for footprint in furnisher.footprints]
        kind = room.kind
        materials[f"wall_{kind}"] = Material(surfaces.paint_walls(rng, room, sides))
        materials[f"floor_{kind}"] = Material(surfaces.paint_floor(rng, room, shadows))
        materials[f"ceiling_{kind}"] = Material(surfaces.paint_ceiling(rng, room))
        materials[f"rug_{kind}"] = Material(textures.rug(rng, 192, 288))
    for door in plan.doors:
        x, y = door.centre
        yaw = 0.0 if door.along == "x" else np.pi / 2.0
        frame = PieceBuilder(meshes, colliders, Placement(x, y, yaw), rng, tile_sizes)
        surfaces.build_door_frame(frame, door, "wood_white")
    spec = _specify(meshes, materials, colliders, lighting or Lighting())
    free_space = FreeSpace.of(plan, [f for room in footprints.values() for f in room])
    return ApartmentScene(seed, spec, plan, footprints, free_space, materials)


def _corners(r: Rectangle) -> NDArray[np.float64]:  # (4, 2)
    return np.array(
        [[r.x_min, r.y_min], [r.x_max, r.y_min], [r.x_max, r.y_max], [r.x_min, r.y_max]]
    )


def _specify(
    meshes: MeshSet,
    materials: dict[str, Material],
    colliders: list[BoxCollider],
    lighting: Lighting,
) -> mujoco.MjSpec:
    """MuJoCo specification of everything that does not move."""
    spec = mujoco.MjSpec()
    spec.modelname = "apartment"
    spec.visual.headlight.active = 0
    spec.visual.quality.shadowsize = 0
    for name, mesh in sorted(meshes.meshes.items()):
        add_material(spec, name, materials[name])
        add_mesh(spec, spec.worldbody, name, mesh, name, VISUAL_GROUP)
    _add_lights(spec, lighting)
    world = spec.worldbody
    world.add_geom(
        name="ground",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[20.0, 20.0, 0.1],
        group=COLLIDER_GROUP,
    )
    for index, box in enumerate(colliders):
        world.add_geom(
            name=f"collider_{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=list(box.half_size),
            pos=list(box.centre),
            quat=[np.cos(box.yaw / 2.0), 0.0, 0.0, np.sin(box.yaw / 2.0)],
            group=COLLIDER_GROUP,
        )
    return spec


def add_material(spec: mujoco.MjSpec, name: str, material: Material) -> None:
    """Add a material with its texture to a specification."""
    height, width = material.pixels.shape[:2]
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
    )
    # The first row of the data is the lowest v.
    texture.data = np.ascontiguousarray(material.pixels[::-1]).tobytes()
    added = spec.add_material(name=name)
    added.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    added.emission = material.emission
    added.specular = 0.0
    added.shininess = 0.0
    added.reflectance = 0.0


def add_mesh(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    mesh: TriangleMesh,
    material: str,
    group: int,
) -> None:
    """Add a mesh of one material to a body of a specification, to be seen and not to be touched."""
    added = spec.add_mesh(
        name=name,
        uservert=np.concatenate(mesh.vertices).ravel(),
        usernormal=np.concatenate(mesh.normals).ravel(),
        usertexcoord=np.concatenate(mesh.texture_coordinates).ravel(),
        userface=np.concatenate(mesh.faces).ravel(),
    )
    # Walls are open surfaces, which have no volume.
    added.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    body.add_geom(
        name=f"visual_{name}",
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=name,
        material=material,
        group=group,
        contype=0,
        conaffinity=0,
    )


def _add_lights(spec: mujoco.MjSpec, lighting: Lighting) -> None:
    for light in lighting.lights:
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=[0.0, 0.0, 2.0],
            dir=list(light.direction),
            castshadow=False,
            diffuse=list(light.diffuse),
            ambient=list(light.ambient),
            specular=[0.0] * 3,
        )
