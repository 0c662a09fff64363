"""``mirage inspect`` on files that memories wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mirage_ros import cli
from mirage_ros.backends import MEMORIES, build_world_model
from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.world_model import WorldModel

CAMERA = PinholeCamera(96, 64, 48.0, 48.0, 48.0, 32.0)
COLOUR = (200, 40, 90)
#: A camera at (1, 2, 0.5) that looks along x, z up: y of the world to its left.
POSE = np.array([[0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 0.5], [0, 0, 0, 1.0]])


def remembering(memory: str, *stamps_s: int) -> WorldModel:
    """A wall of one colour 2 m ahead, seen again and again from a little nearer."""
    model = build_world_model(
        "readout", generation_width=96, generation_height=64, memory=memory, capacity=10_000
    )
    image = np.full((64, 96, 3), COLOUR, np.uint8)
    image[::2] //= 2
    for step, stamp in enumerate(stamps_s):
        pose = POSE.copy()
        pose[0, 3] += 0.4 * step
        depth = np.full((64, 96), 2.0 + step, np.float32)
        model.observe(RgbdFrame(stamp * 10**9, image, depth, CAMERA, pose))
    return model


def inspect(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["inspect", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def inspect_json(capsys: pytest.CaptureFixture[str], path: Path) -> dict[str, Any]:
    code, out, _ = inspect(capsys, path, "--json")
    assert code == 0
    figures: dict[str, Any] = json.loads(out)
    return figures


@pytest.mark.parametrize("memory", MEMORIES)
def test_json_says_what_the_memory_held(
    memory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = remembering(memory, 100, 103, 110), tmp_path / "m"
    model.save(path, "map")
    figures = inspect_json(capsys, path)
    assert figures["header"]["frame_id"] == "map"
    assert figures["header"]["kind"] == memory.partition("_")[0]
    assert figures["count"] == model.token_count > 0
    assert figures["memory_bytes"] == model.memory_bytes
    assert figures["bytes_each"] == pytest.approx(model.memory_bytes / model.token_count)
    assert figures["file_bytes"] == path.stat().st_size
    assert figures["observed_share"] == 1.0
    cloud = model.memory.cloud()
    np.testing.assert_array_equal(figures["extent_m"]["least"], cloud.positions.min(axis=0))
    # The walls stand at x = 3, 4.4 and 5.8.
    np.testing.assert_allclose(
        [figures["extent_m"][end][0] for end in ("least", "greatest")], [3.0, 5.8], atol=0.01
    )
    assert (figures["ages_s"]["least"], figures["ages_s"]["greatest"]) == (0.0, 10.0)
    assert figures["ages_s"]["median"] == pytest.approx(
        110 - np.median(cloud.stamps_ns) * 1e-9, abs=1e-6
    )


def test_text_says_it_in_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = remembering("latent", 100, 103), tmp_path / "m"
    model.save(path, "odom")
    code, out, err = inspect(capsys, path)
    lines = {line[:20].strip(): line[20:] for line in out.splitlines()}
    assert (code, err) == (0, "")
    assert lines["kind"] == "latent"
    assert lines["version"] == "1"
    assert lines["codec"] == model.codec.name
    assert lines["spatial_stride"] == "16"
    assert lines["channels"] == "48"
    assert lines["features"] == "compact"
    assert lines["frame_id"] == "odom"
    assert lines["count"] == lines["observed_tokens"] == str(model.token_count)
    assert lines["x, metres"] == "3.00 to 4.40"
    assert lines["observed"] == "100.0%"
    assert lines["first seen"] == "100.000 s (1970-01-01 00:01:40 UTC)"
    assert lines["last seen"].startswith("103.000 s")
    assert "greatest 3.0 s" in lines["age at last"]


def test_imagined_tokens_are_told_from_observed_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = remembering("latent", 100), tmp_path / "m"
    observed = model.token_count
    away = POSE.copy()
    away[:3, :3] = POSE[:3, :3] @ np.diag([-1.0, 1.0, -1.0])
    branch = model.memory.branch()
    latents = torch.zeros(1, 48, 4, 6)
    branch.write(latents, torch.full((1, 4, 6), 2.0), CAMERA, away[None], 100 * 10**9)
    model.memory.commit(branch)
    model.save(path, "odom")
    share = inspect_json(capsys, path)["observed_share"]
    assert share == pytest.approx(observed / model.token_count)
    assert 0.0 < share < 1.0


@pytest.mark.parametrize("memory", MEMORIES)
def test_an_empty_memory_has_no_extent(
    memory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m"
    remembering(memory).save(path, "odom")
    figures = inspect_json(capsys, path)
    assert figures["count"] == 0
    assert figures["extent_m"] is None
    code, out, _ = inspect(capsys, path, "--picture", tmp_path / "empty.png")
    assert code == 0
    assert "metres" not in out
    assert cv2.imread(str(tmp_path / "empty.png")) is not None


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_picture_shows_the_colours(
    memory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "m", tmp_path / "m.png"
    remembering(memory, 100).save(path, "odom")
    code, _, _ = inspect(capsys, path, "--picture", picture)
    assert code == 0
    rgb = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB).astype(float)
    # A token has the mean of the stripes, a point one of them.
    wanted = np.array(COLOUR) * (0.75 if memory == "latent" else 1.0)
    assert (np.abs(rgb - wanted).max(axis=2) < 8).sum() > 100


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "does not exist"),
        (b"", "expected a mirage_ros/memory file"),
        (b"no memory at all", "expected a mirage_ros/memory file"),
        ("half", "only part of one"),
    ],
)
def test_a_broken_file_is_one_line_and_exit_code_1(
    content: bytes | str | None,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "m"
    if content == "half":
        remembering("latent", 100).save(path, "odom")
        path.write_bytes(path.read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    code, out, err = inspect(capsys, path, "--picture", tmp_path / "m.png")
    assert (code, out) == (1, "")
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m.png").exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"kind": "dream"}, "expected kind 'latent' or 'rgb'. Got 'dream'"),
        ({"features": "int3"}, "features must be one of"),
        ({"codec": "other"}, "expected codec"),
        ({"last_stamp_ns": "-5"}, "stamps in order"),
    ],
)
def test_a_header_that_does_not_fit_is_named(
    header: dict[str, str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "m"
    remembering("latent", 100).save(path, "odom")
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **header}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, path, metadata)
    code, out, err = inspect(capsys, path)
    assert (code, out) == (1, "")
    assert expected in err


def test_the_picture_has_to_be_another_file_and_a_png(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.png"
    remembering("latent", 100).save(path, "odom")
    before = path.read_bytes()
    code, _, err = inspect(capsys, path, "--picture", path)
    assert (code, "must not replace" in err) == (2, True)
    code, _, err = inspect(capsys, path, "--picture", tmp_path / "m.txt")
    assert (code, ".png" in err) == (2, True)
    assert path.read_bytes() == before


def test_a_memory_of_wan_latents_needs_no_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("diffusers")
    from mirage_ros.codec.wan import WanCodec
    from mirage_ros.codec.wan_config import random_vae
    from mirage_ros.memory import LatentMemory

    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    frame = RgbdFrame(10**9, image, np.full((64, 96), 2.0, np.float32), CAMERA, POSE)
    memory, path = LatentMemory(WanCodec(random_vae(seed=0))), tmp_path / "m"
    memory.observe(frame)
    memory.save(path, "odom")
    figures = inspect_json(capsys, path)
    assert figures["header"]["codec"].startswith("wan2.2-vae-48-")
    assert figures["count"] == memory.count > 0
    cloud = memory.cloud()
    np.testing.assert_array_equal(figures["extent_m"]["least"], cloud.positions.min(axis=0))
    # The same weights in another process take it; others would mean something else by it.
    again = LatentMemory(WanCodec(random_vae(seed=0)))
    again.load(path)
    assert again.count == memory.count
    with pytest.raises(MemoryFormatError, match="expected codec"):
        LatentMemory(WanCodec(random_vae(seed=1))).load(path)
