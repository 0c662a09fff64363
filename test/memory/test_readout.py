from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.memory import readout_dense
from mirage_ros.memory.readout import ReadoutConfig, Selection, select_tokens
from mirage_ros.memory.readout_reference import select_tokens_reference
from mirage_ros.memory.tokens import TokenCloud

STRIDE = 16
CAMERA = PinholeCamera(6 * STRIDE, 5 * STRIDE, 70.0, 80.0, 47.0, 41.0).latent(STRIDE)
FOCAL = np.sqrt(70.0 * 80.0)
HERE = np.eye(4)[None]


def cloud(
    position: np.ndarray,
    footprint: np.ndarray | float,
    view: np.ndarray,
    normal: np.ndarray | None = None,
) -> TokenCloud:
    """Tokens whose only feature is their own number; without normals, seen from both sides."""
    count = len(position)
    scaled = np.zeros((count, 3)) if normal is None else np.round(127.0 * normal)
    return TokenCloud(
        position=torch.from_numpy(np.asarray(position, dtype=np.float32)).reshape(count, 3),
        features=torch.arange(count).half()[:, None],
        footprint=torch.from_numpy(np.broadcast_to(footprint, count).astype(np.float32)),
        view=torch.from_numpy(np.asarray(view, dtype=np.float32)).reshape(count, 3),
        normal=torch.from_numpy(scaled.astype(np.int8)).reshape(count, 3),
        stamp_ns=torch.zeros(count, dtype=torch.int64),
        provenance=torch.ones(count, dtype=torch.uint8),
        confidence=torch.ones(count),
        keyframe=torch.zeros(count, dtype=torch.int32),
    )


def random_cloud(count: int, seed: int) -> TokenCloud:
    """Tokens all around the origin, seen from random places at random distances."""
    rng = np.random.default_rng(seed)
    position = rng.uniform([-2.0, -2.0, -1.0], [2.0, 2.0, 3.0], (count, 3))
    view = rng.normal([0.0, 0.0, 1.0], 0.5, (count, 3))
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    normal = rng.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    normal[::5] = 0.0
    return cloud(position, rng.uniform(0.002, 0.15, count), view, normal)


def poses(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    twists = rng.normal(size=(count, 2, 3)) * 0.4
    return np.array([exp_twist(*twist, 1.0) for twist in twists]).reshape(count, 4, 4)


def ahead(*points: tuple[float, float, float], zoom: float = 1.0) -> TokenCloud:
    """Tokens that were seen from the origin, at footprints ``zoom`` times those of the camera."""
    position = np.array(points)
    footprint = zoom * np.maximum(position[:, 2], 0.01) / FOCAL
    return cloud(position, footprint, directions(position))


def directions(points: np.ndarray) -> np.ndarray:
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)


def at_cell(column: float, row: float, depth: float) -> tuple[float, float, float]:
    """The point that projects to (column, row), in cells, at ``depth``."""
    x, y, z = CAMERA.unproject(np.array([column, row]), np.array(depth))
    return float(x), float(y), float(z)


Select = Callable[[TokenCloud, PinholeCamera, int, np.ndarray, ReadoutConfig], Selection]


def select_dense(
    tokens: TokenCloud,
    camera: PinholeCamera,
    stride: int,
    targets: np.ndarray,
    config: ReadoutConfig,
) -> Selection:
    """What accelerators run, on the CPU."""
    geometry = (tokens.position, tokens.footprint, tokens.view, tokens.normal)
    index, depth, steps = readout_dense.select(*geometry, camera, stride, targets, config)
    return Selection(index, depth, steps.float())


@pytest.mark.parametrize("views", [0, 1, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 150])
@pytest.mark.parametrize(
    "config",
    [
        ReadoutConfig(),
        ReadoutConfig(depth_band=0.0, reach=0.5, max_reach=0.5),
        ReadoutConfig(depth_band=0.5, reach=1.3, max_reach=2.6, offset_weight=0.3),
    ],
    ids=["default", "narrow", "wide"],
)
@pytest.mark.parametrize("select", [select_tokens, select_dense], ids=["compiled", "dense"])
def test_same_tokens_as_the_reference(
    select: Select, views: int, count: int, config: ReadoutConfig
) -> None:
    tokens, targets = random_cloud(count, seed=count), poses(views, seed=views)
    selection = select(tokens, CAMERA, STRIDE, targets, config)
    index, depth = select_tokens_reference(tokens, CAMERA, STRIDE, targets, config)
    np.testing.assert_array_equal(selection.index.numpy(), index)
    np.testing.assert_array_equal(selection.depth.numpy(), depth)
    if count == 150 and views:
        assert (index >= 0).mean() > 0.3, "the comparison must be about something"


def test_views_do_not_influence_each_other() -> None:
    tokens, targets = random_cloud(100, seed=1), poses(3, seed=2)
    together = select_tokens(tokens, CAMERA, STRIDE, targets, ReadoutConfig())
    for view, pose in enumerate(targets):
        alone = select_tokens(tokens, CAMERA, STRIDE, pose[None], ReadoutConfig())
        torch.testing.assert_close(alone.index[0], together.index[view])


def test_nothing_behind_the_camera_is_read() -> None:
    tokens = ahead((0.0, 0.0, -1.0), (0.0, 0.0, 0.05), (0.0, 0.0, 0.0))
    assert (select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig()).index == -1).all()


def test_of_equal_tokens_the_oldest_wins() -> None:
    point = at_cell(2.5, 2.5, 1.0)
    tokens = ahead(at_cell(2.5, 2.5, 1.05), point, point, point)
    selection = select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig(depth_band=0.01))
    assert selection.index[0, 2, 2] == 1


def test_a_token_lands_where_the_camera_projects_it() -> None:
    selection = select_tokens(
        ahead(at_cell(4.5, 1.5, 1.0)), CAMERA, STRIDE, HERE, ReadoutConfig(reach=0.5)
    )
    expected = torch.full((5, 6), -1)
    expected[1, 4] = 0
    torch.testing.assert_close(selection.index[0], expected)
    assert selection.depth[0, 1, 4] == pytest.approx(1.0)


def test_a_surface_hides_what_lies_farther_behind_than_the_band() -> None:
    hidden, front = at_cell(2.5, 2.5, 1.5), at_cell(2.8, 2.8, 1.0)
    tokens = ahead(hidden, front)
    assert select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig()).index[0, 2, 2] == 1
    wide = ReadoutConfig(depth_band=0.6)
    assert select_tokens(tokens, CAMERA, STRIDE, HERE, wide).index[0, 2, 2] == 0


def test_a_neighbour_fills_but_does_not_hide() -> None:
    """A near token one cell aside neither hides what covers this cell nor leaves a hole."""
    behind, aside = at_cell(2.5, 2.5, 2.0), at_cell(3.2, 2.5, 1.0)
    both = select_tokens(ahead(behind, aside), CAMERA, STRIDE, HERE, ReadoutConfig())
    assert both.index[0, 2, 3] == 1
    assert both.depth[0, 2, 2] in (1.0, 2.0)
    far_only_covers = select_tokens(
        ahead(behind, aside), CAMERA, STRIDE, HERE, ReadoutConfig(offset_weight=100.0)
    )
    assert far_only_covers.index[0, 2, 2] == 0
    alone = select_tokens(ahead(aside), CAMERA, STRIDE, HERE, ReadoutConfig())
    assert alone.index[0, 2, 2] == 0


def test_each_part_of_the_fit_counts() -> None:
    middle = at_cell(2.5, 2.5, 1.0)
    seen_alike = 1.0 / FOCAL

    def winner(rival: tuple[float, float, float], footprint: float, eye_x: float = 0.0) -> int:
        """Of a rival (0) seen from (``eye_x``, 0, 0) and one seen just so from the origin (1)."""
        points = np.array([rival, middle])
        view = directions(points - [[eye_x, 0.0, 0.0], [0.0, 0.0, 0.0]])
        tokens = cloud(points, np.array([footprint, seen_alike]), view)
        selection = select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig())
        return int(selection.index[0, 2, 2])

    assert winner(middle, seen_alike) == 0
    assert winner(at_cell(2.8, 2.5, 1.0), seen_alike) == 1
    assert winner(middle, 2.0 * seen_alike) == 1
    assert winner(middle, 0.5 * seen_alike) == 1
    assert winner(middle, seen_alike, eye_x=0.3) == 1


def test_a_token_seen_from_afar_covers_several_cells_near_by() -> None:
    """Seen at 3 m and read at 1 m, a token is three cells wide."""
    tokens = ahead(at_cell(2.5, 2.5, 1.0), zoom=3.0)
    covered = select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig()).index[0] >= 0
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[1:4, 1:4] = True
    torch.testing.assert_close(covered, expected)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"depth_band": -0.1}, "depth_band"),
        ({"angle_weight": float("nan")}, "angle_weight"),
        ({"near_plane": 0.0}, "near_plane"),
        ({"reach": 3.0, "max_reach": 2.0}, "reach"),
    ],
)
def test_unusable_configurations_are_refused(values: dict[str, float], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        ReadoutConfig(**values)


def test_a_surface_is_not_seen_from_behind() -> None:
    """A wall at 2 m that was seen from the origin, and its far side from 4 m on."""
    position = np.array([at_cell(2.5, 2.5, 2.0)])
    view = directions(position)
    far_side = np.diag([-1.0, 1.0, -1.0, 1.0])
    far_side[2, 3] = 4.0
    for normal, from_here, from_behind in (
        ([0.0, 0.0, -1.0], True, False),
        ([0.0, 0.0, 1.0], False, True),
        ([0.0, 0.0, 0.0], True, True),
    ):
        tokens = cloud(position, 2.0 / FOCAL, view, np.array([normal]))
        for pose, expected in ((np.eye(4), from_here), (far_side, from_behind)):
            selection = select_tokens(tokens, CAMERA, STRIDE, pose[None], ReadoutConfig())
            assert bool((selection.index == 0).any()) is expected, (normal, pose)


@pytest.mark.parametrize(("degrees", "seen"), [(0, True), (85, True), (100, True), (103, False)])
def test_normals_are_taken_with_a_margin(degrees: float, seen: bool) -> None:
    """The cosine limit 0.2 lies at 101.5 degrees between the ray back and the normal."""
    position = np.array([[0.0, 0.0, 2.0]])
    angle = np.radians(degrees)
    normal = np.array([[np.sin(angle), 0.0, -np.cos(angle)]])
    tokens = cloud(position, 2.0 / FOCAL, directions(position), normal)
    selection = select_tokens(tokens, CAMERA, STRIDE, HERE, ReadoutConfig())
    assert bool((selection.index == 0).any()) is seen


def test_fit_is_zero_from_where_a_token_was_seen_and_grows_with_the_change() -> None:
    point = at_cell(2.5, 2.5, 1.0)
    aside = exp_twist([0.1, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0)
    config = ReadoutConfig(offset_weight=0.0)
    here, there = (
        select_tokens(ahead(point), CAMERA, STRIDE, pose[None], config)
        for pose in (np.eye(4), aside)
    )
    assert float(here.fit[0, 2, 2]) == pytest.approx(0.0, abs=1e-3)
    before, after = directions(np.array([point, np.array(point) - aside[:3, 3]]))
    seen = there.index[0] >= 0
    assert float(there.fit[0][seen].max()) == pytest.approx(80.0 * (1.0 - before @ after), abs=2e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_threads_do_not_change_the_choice(count: int) -> None:
    tokens, targets = random_cloud(400, seed=5), poses(3, seed=6)
    before = torch.get_num_threads()
    expected, _ = select_tokens_reference(tokens, CAMERA, STRIDE, targets, ReadoutConfig())
    try:
        torch.set_num_threads(count)
        for views in (targets, targets[:1]):
            selection = select_tokens(tokens, CAMERA, STRIDE, views, ReadoutConfig())
            np.testing.assert_array_equal(selection.index.numpy(), expected[: len(views)])
    finally:
        torch.set_num_threads(before)


def test_the_dense_readout_never_waits_for_the_device() -> None:
    """Tensors without values: whatever asked for one of them, or for a shape that depends on one,
    would raise."""
    real = random_cloud(50, seed=3)
    with FakeTensorMode() as mode:
        fake = [
            mode.from_tensor(tensor)
            for tensor in (real.position, real.footprint, real.view, real.normal)
        ]
        index, depth, _ = readout_dense.select(
            *fake, CAMERA, STRIDE, poses(2, seed=1), ReadoutConfig()
        )
    assert index.shape == depth.shape == (2, CAMERA.height, CAMERA.width)
