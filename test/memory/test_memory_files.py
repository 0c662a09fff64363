import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mirage_ros.codec import DctCodec
from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import LatentMemory, LatentMemoryConfig

CAMERA = PinholeCamera(96, 64, 80.0, 80.0, 48.0, 32.0)


def frame(offset: float = 0.0, stamp_ns: int = 7) -> RgbdFrame:
    rng = np.random.default_rng(3)
    pose = np.eye(4)
    pose[0, 3] = offset
    image = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    return RgbdFrame(stamp_ns, image, np.full((64, 96), 2.0, dtype=np.float32), CAMERA, pose)


def filled(features: str = "compact") -> LatentMemory:
    memory = LatentMemory(DctCodec(), LatentMemoryConfig(features=features))
    memory.observe(frame())
    memory.observe(frame(0.5, stamp_ns=9))
    branch = memory.branch()
    away = np.diag([-1.0, 1.0, -1.0, 1.0])[None]
    branch.write(torch.ones(1, 48, 4, 6), torch.full((1, 4, 6), 3.0), CAMERA, away, 11)
    memory.commit(branch)
    return memory


def views(memory: LatentMemory) -> list[torch.Tensor]:
    poses = np.stack([frame(x).T_world_camera for x in (0.0, 0.2, 0.5)])
    poses = np.concatenate([poses, np.diag([-1.0, 1.0, -1.0, 1.0])[None]])
    readout = memory.read(CAMERA, poses)
    return [readout.latents, readout.coverage, readout.depth, readout.observed]


def assert_same(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("features", ["float32", "float16", "int8", "compact"])
def test_what_was_saved_is_read_back_bit_for_bit(tmp_path: Path, features: str) -> None:
    memory = filled(features)
    memory.save(tmp_path / "m.safetensors", "odom")
    other = LatentMemory(DctCodec(), LatentMemoryConfig(features=features))
    other.observe(frame(3.0))
    header = other.load(tmp_path / "m.safetensors", "odom")
    assert (other.count, other.nbytes) == (memory.count, memory.nbytes)
    assert_same(views(other), views(memory))
    assert header["frame_id"] == "odom"
    assert (header["first_stamp_ns"], header["last_stamp_ns"]) == ("7", "11")
    assert int(header["observed_tokens"]) + int(header["imagined_tokens"]) == memory.count
    # It goes on as the first would have.
    for one in (memory, other):
        one.observe(frame(0.25))
    assert_same(views(other), views(memory))


def test_an_empty_memory_can_be_saved(tmp_path: Path) -> None:
    memory = LatentMemory(DctCodec())
    memory.save(tmp_path / "m", "map")
    other = filled()
    other.load(tmp_path / "m")
    assert other.count == 0


def rewritten(path: Path, header: dict[str, str] | None = None, **arrays: torch.Tensor) -> Path:
    """The file again with some header entries and arrays exchanged."""
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **(header or {})}
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    content.update({name.replace("__", "."): array for name, array in arrays.items()})
    save_file(content, path, metadata)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    filled().save(tmp_path / "m.safetensors", "odom")
    return tmp_path / "m.safetensors"


def refused(path: Path, match: str, frame_id: str | None = "odom") -> None:
    memory = filled()
    before, count = views(memory), memory.count
    with pytest.raises(MemoryFormatError, match=match):
        memory.load(path, frame_id)
    assert memory.count == count
    assert_same(views(memory), before)


@pytest.mark.parametrize(
    ("entry", "value", "match"),
    [
        ("format", "something", "expected format 'mirage_ros/memory'. Got 'something'"),
        ("version", "99", "expected version '1'. Got '99'"),
        ("kind", "rgb", "expected kind 'latent'. Got 'rgb'"),
        ("codec", "wan2.2", "expected codec 'dct16.*Got 'wan2.2'"),
        ("spatial_stride", "8", "expected spatial_stride '16'. Got '8'"),
        ("channels", "16", "expected channels '48'. Got '16'"),
        ("features", "int8", "expected features 'compact'. Got 'int8'"),
        ("channel_gain", "[1.0]", "expected channel_gain"),
        ("frame_id", "map", "expected frame_id 'odom'. Got 'map'"),
        ("clock", "soon", "a clock from 0 to 32767. Got.*clock 'soon'"),
        ("clock", "-1", "a clock from 0 to 32767"),
        ("clock", "1000000", "a clock from 0 to 32767"),
        ("observed_tokens", "5", "expected 5 observed tokens. Got"),
    ],
)
def test_a_file_for_something_else_is_refused(
    saved: Path, entry: str, value: str, match: str
) -> None:
    refused(rewritten(saved, {entry: value}), match)


def test_a_file_cut_off_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        refused(saved, f"expected a mirage_ros/memory file.*Got {length} bytes")
    saved.write_bytes(whole + b"more")
    refused(saved, "expected a mirage_ros/memory file")


def test_absurd_sizes_are_refused_without_allocating_them(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for size in (2**40, 2**62):
        entry = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
        header = json.dumps({"observed.cell": entry}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
        refused(path, "expected a mirage_ros/memory file")
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    refused(path, "expected a mirage_ros/memory file")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_pickle_in_disguise_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    refused(path, "expected a mirage_ros/memory file")
    torch.save({"x": Bomb(mark)}, path)
    refused(path, "expected a mirage_ros/memory file")
    assert not mark.exists()


def array(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def test_content_that_cannot_be_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()

    def check(name: str, change, match: str) -> None:  # type: ignore[no-untyped-def]
        saved.write_bytes(whole)
        value = array(saved, name).clone()
        replaced = change(value)
        value = value if replaced is None else replaced
        refused(rewritten(saved, **{name.replace(".", "__"): value}), match)

    def put(row: int, value: float, column: int | None = None):  # type: ignore[no-untyped-def]
        def change(content: torch.Tensor) -> None:
            if column is None:
                content[row] = value
            else:
                content[row, column] = value

        return change

    check("observed.depth", put(0, float("nan")), "depths finite and positive")
    check("observed.depth", put(0, 0.0), "depths finite and positive")
    check("observed.keyframe", put(3, 99), "keyframe numbers from 0 to")
    check("observed.keyframe", put(3, -1), "keyframe numbers from 0 to")
    check("observed.cell", put(0, 24), "cells inside")
    check("observed.cell", put(0, -1), "cells inside")
    check("observed.seen", put(0, -4), "times of confirmation")
    check("observed.keyframes", put(0, 2.0, 0), "rigid pose")
    check("observed.keyframes", put(0, float("nan"), 3), "rigid pose")
    check("observed.keyframes", put(0, -1.0, 12), "usable grid")
    check("observed.keyframes", put(0, float("inf"), 16), "usable grid")
    check("observed.depth", lambda depth: depth[1:], "observed.depth as torch.float16 of shape")
    check("observed.depth", lambda depth: depth.float(), "observed.depth as torch.float16")
    check("observed.normal", lambda normal: normal[:, :2].contiguous(), "observed.normal as")


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    filled("float16").save(path, "odom")
    features = array(path, "observed.features").clone()
    features[0, :2] = torch.tensor([0x00, 0x7E], dtype=torch.uint8)
    memory = LatentMemory(DctCodec(), LatentMemoryConfig(features="float16"))
    with pytest.raises(MemoryFormatError, match="features finite"):
        memory.load(rewritten(path, observed__features=features))
    assert memory.count == 0


def test_missing_and_foreign_arrays_are_named(saved: Path) -> None:
    refused(rewritten(saved, extra=torch.zeros(3)), "expected the arrays.*Got.*extra")


def test_paths_that_hold_no_file_are_named(tmp_path: Path) -> None:
    memory = filled()
    with pytest.raises(FileNotFoundError, match="nothing"):
        memory.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError, match="expected a memory file"):
        memory.load(tmp_path)
    with pytest.raises(OSError, match="missing"):
        memory.save(tmp_path / "missing" / "m", "odom")


def test_a_full_disk_leaves_the_old_file_and_no_rest(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        LatentMemory(DctCodec()).save(saved, "odom")
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_kill_at_any_moment_leaves_a_whole_file(saved: Path) -> None:
    """A process saves again and again, one content or the other, until it is killed."""
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from test_memory_files import filled, frame
memory = filled()
print("ready", flush=True)
for number in range(10**9):
    memory.save(Path({str(saved)!r}), "odom")
    if number < 40:
        memory.observe(frame(0.5 + 0.1 * number))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    rng = np.random.default_rng(0)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        memory = LatentMemory(DctCodec())
        memory.load(saved, "odom")
        assert memory.count > 0
