"""Carving against walls and boxes in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walls import CAMERA, CELLS, HEIGHT, WIDTH, wall

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.memory import CarvingConfig, LatentMemory, LatentMemoryConfig


def memory_of(*frames: RgbdFrame, carving: CarvingConfig | None = None) -> LatentMemory:
    config = LatentMemoryConfig(carving=carving or CarvingConfig())
    memory = LatentMemory(DctCodec(), config)
    for frame in frames:
        memory.observe(frame)
    return memory


def carve(memory: LatentMemory, frame: RgbdFrame):  # type: ignore[no-untyped-def]
    assert frame.depth is not None
    return memory.carve(frame.depth, frame.camera, frame.T_world_camera)


def with_box(frame: RgbdFrame, distance: float, columns: slice, rows: slice) -> RgbdFrame:
    assert frame.depth is not None
    depth, image = frame.depth.copy(), frame.image.copy()
    depth[rows, columns] = distance
    image[rows, columns] = 255 - image[rows, columns]
    return replace(frame, depth=depth, image=image)


#: A box before the wall on a third of the view, cells 2 and 3 of each row.
BOX = (1.0, slice(32, 64), slice(0, HEIGHT))


def test_what_stood_before_a_wall_goes_after_two_views_through_it() -> None:
    memory = memory_of(with_box(wall(), *BOX))
    assert memory.count == CELLS
    first = carve(memory, wall())
    assert (first.through, first.removed, first.reason) == (8, 0, "")
    assert memory.count == CELLS
    second = carve(memory, wall())
    assert second.removed == 8
    assert memory.count == CELLS - 8
    assert (memory.tokens().position[:, 2] > 1.9).all()


def test_a_view_of_the_surface_takes_doubts_back() -> None:
    memory = memory_of(with_box(wall(), *BOX))
    for _ in range(3):
        assert carve(memory, wall()).removed == 0
        assert carve(memory, with_box(wall(), *BOX)).through == 0
    assert memory.count == CELLS


def test_other_numbers_of_views() -> None:
    for views in (1, 3):
        memory = memory_of(with_box(wall(), *BOX), carving=CarvingConfig(views=views))
        removed = [carve(memory, wall()).removed for _ in range(3)]
        assert removed == [8 if number == views else 0 for number in (1, 2, 3)]


def test_what_lies_behind_something_or_in_a_hole_is_not_doubted() -> None:
    memory = memory_of(wall())
    before = with_box(wall(), 1.0, slice(0, WIDTH), slice(0, HEIGHT))
    assert carve(memory, before).through == 0
    unknown = replace(wall(), depth=np.zeros((HEIGHT, WIDTH), np.float32))
    nothing = replace(wall(), depth=np.full((HEIGHT, WIDTH), np.nan, np.float32))
    for frame in (unknown, nothing):
        judged = carve(memory, frame)
        assert (judged.through, judged.surface) == (0, 0)
    assert memory.count == CELLS


@pytest.mark.parametrize(("farther", "through"), [(1.03, 0), (1.2, 8)])
def test_depths_within_the_tolerance_agree(farther: float, through: int) -> None:
    """2 m: 5 cm, 6 cm (3 %) or 3 * 1.5 mm * 4, whichever is most; 6 cm."""
    memory = memory_of(wall())
    assert carve(memory, with_box(wall(), 2.0 * farther, *BOX[1:])).through == through


def test_half_of_a_patch_at_its_surface_keeps_it() -> None:
    """A cell at an edge carries one side's depth; its centre may lie on the other."""
    near = with_box(wall(), 1.0, slice(0, 24), slice(0, HEIGHT))
    memory = memory_of(near)
    # Cells of the second column hold both surfaces.
    for _ in range(4):
        assert carve(memory, near).through == 0
    assert memory.count == CELLS


def test_a_view_that_contradicts_most_of_the_memory_is_not_believed() -> None:
    memory = memory_of(wall())
    for _ in range(4):
        judged = carve(memory, wall(distance=5.0))
        assert judged.removed == 0
        assert "sees through 100%" in judged.reason
    assert memory.count == CELLS
    assert (memory.tokens().confidence == 1.0).all()


def test_a_branch_keeps_what_it_had() -> None:
    memory = memory_of(with_box(wall(), *BOX))
    branch = memory.branch()
    before = branch.read(CAMERA, np.eye(4)[None])
    for _ in range(2):
        carve(memory, wall())
    after = branch.read(CAMERA, np.eye(4)[None])
    assert (before.depth == after.depth).all()
    assert (memory.read(CAMERA, np.eye(4)[None]).depth != before.depth).any()


def test_doubts_do_not_touch_confidence_and_are_not_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    memory = memory_of(with_box(wall(), *BOX))
    before = memory.tokens().confidence
    carve(memory, wall())
    assert (memory.tokens().confidence == before).all()
    path = tmp_path / "memory.safetensors"
    memory.save(path, "odom")
    loaded = memory_of()
    loaded.load(path)
    assert (loaded.tokens().confidence == before).all()
    assert carve(loaded, wall()).removed == 0
    assert carve(loaded, wall()).removed == 8


@pytest.mark.parametrize("values", [{"views": 0}, {"views": 4}, {"margin": -1.0}])
def test_nonsense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        CarvingConfig(**values)  # type: ignore[arg-type]
