"""How fast the memory is read, against the plain way, and what a branch of it costs."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.evaluation.benchmark_tour import CHUNK
from mirage_ros.evaluation.results import Section, Table, Target
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import BoundsConfig, LatentMemory, LatentMemoryConfig
from mirage_ros.memory.readout import select_tokens
from mirage_ros.memory.readout_dense import select as select_dense

_REPEATS = 9


def plain_readout(
    position: Tensor,  # (N, 3) float32 world
    features: Tensor,  # (N, C) float32
    camera: PinholeCamera,  # of the latent grid
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
) -> Tensor:  # (T, h * w, C)
    """The plain way: one view at a time, sort by depth, scatter from far to near."""
    views = []
    for pose in T_world_camera.astype(np.float32):
        local = (position - torch.from_numpy(pose[:3, 3])) @ torch.from_numpy(pose[:3, :3])
        depth = local[:, 2]
        column = torch.floor(local[:, 0] / depth * camera.fx + camera.cx).long()
        row = torch.floor(local[:, 1] / depth * camera.fy + camera.cy).long()
        inside = (depth > 0.1) & (column >= 0) & (column < camera.width)
        inside &= (row >= 0) & (row < camera.height)
        token = inside.nonzero()[:, 0]
        token = token[torch.argsort(depth[token], descending=True)]
        latents = torch.zeros(camera.height * camera.width, features.shape[1])
        latents[row[token] * camera.width + column[token]] = features[token]
        views.append(latents)
    return torch.stack(views)


def measure(codec: Codec, frames: Sequence[RgbdFrame], threads: int = 2) -> Section:
    """Time reading nine views of the tokens of forty, and branching.

    Args:
        codec: of the memory.
        frames: at least 40 of a tour; nine from its middle are read.
        threads: CPU threads that either way may use.
    """
    everything = BoundsConfig(merge=False, capacity=10**9)
    memory = LatentMemory(codec, LatentMemoryConfig(bounds=everything))
    for frame in frames[:40]:
        memory.observe(frame)
    tokens = memory.tokens()
    camera, stride = frames[0].camera, codec.spatial_stride
    latent = camera.latent(stride)
    poses = np.stack([frame.T_world_camera for frame in frames[16 : 16 + CHUNK]])
    features = tokens.features.float()
    config = memory.config.readout
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        plain = _seconds(lambda: plain_readout(tokens.position, features, latent, poses))
        ours = _seconds(lambda: memory.read(camera, poses))
        first, again = memory.read(camera, poses), memory.read(camera, poses)
        same = torch.equal(first.latents, again.latents) and torch.equal(first.depth, again.depth)
        chosen = select_tokens(tokens, latent, stride, poses, config).index
        arrays = (tokens.position, tokens.footprint, tokens.view, tokens.normal)
        dense = select_dense(*arrays, latent, stride, poses, config)[0]
        rows: list[list[Any]] = [
            ["plain: view by view, sort, scatter", round(1e3 * plain, 2)],
            ["this memory", round(1e3 * ours, 2)],
        ]
        agreement = float((chosen == dense).float().mean())
        gpu, on_gpu, note = None, None, "no CUDA device here"
        if torch.cuda.is_available():
            gpu, on_gpu = _on_cuda(arrays, latent, stride, poses, config, chosen)
            rows.append(["this memory's choice on CUDA", round(1e3 * gpu, 3)])
            note = torch.cuda.get_device_name()
    finally:
        torch.set_num_threads(before)
    branch_seconds, branch_bytes = _branch_cost(memory)
    share = branch_bytes / memory.nbytes
    return Section(
        title="Readout and branches",
        text=(
            f"{CHUNK} views of {latent.width}x{latent.height} cells from {memory.count} tokens, "
            f"{threads} threads, median of {_REPEATS} runs. The plain way copies the nearest "
            "token, this memory the visible one whose view fits best; the times include the "
            "features."
        ),
        tables=(
            Table(["way", "ms"], rows, "Reading"),
            Table(
                ["", "µs", "bytes", "share of the memory"],
                [["a branch", round(1e6 * branch_seconds, 1), branch_bytes, round(share, 6)]],
                f"Branching a memory of {memory.count} tokens",
            ),
        ),
        targets=(
            Target(
                "plain / this memory", round(plain / ours, 2), "at least 5", plain / ours >= 5.0
            ),
            Target("the same bits on every run", float(same), "1", bool(same)),
            Target(
                "compiled and dense readout choose the same token, share of cells, both on the CPU",
                round(agreement, 6), "at least 0.9999", agreement >= 0.9999,
            ),
            Target(
                "CPU and CUDA choose the same token, share of cells",
                None if on_gpu is None else round(on_gpu, 6), "at least 0.9999",
                None if on_gpu is None else on_gpu >= 0.9999, note,
            ),
            Target(
                "readout on an H200-class GPU, ms",
                None if gpu is None else round(1e3 * gpu, 3), "at most 1",
                None if gpu is None else gpu <= 1e-3,
            ),
            Target(
                "taking a branch, ms", round(1e3 * branch_seconds, 4), "under 1",
                branch_seconds < 1e-3,
            ),
            Target(
                "bytes of a branch before it is written to, share", round(share, 6), "under 0.01",
                share < 0.01,
            ),
        ),
    )  # fmt: skip


def _seconds(function: Callable[[], object]) -> float:
    function()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _on_cuda(
    arrays: tuple[Tensor, ...],
    latent: PinholeCamera,
    stride: int,
    poses: NDArray[np.float64],
    config: Any,
    chosen: Tensor,
) -> tuple[float, float]:
    """Seconds on the GPU and the share of cells with the CPU's token."""
    position, footprint, view, normal = (array.cuda() for array in arrays)

    def choose() -> Tensor:
        geometry = (position, footprint, view, normal)
        index = select_dense(*geometry, latent, stride, poses, config)[0]
        torch.cuda.synchronize()
        return index

    agreement = float((choose().cpu() == chosen).float().mean())
    return _seconds(choose), agreement


def _branch_cost(memory: LatentMemory) -> tuple[float, int]:
    """Seconds to take a branch, and the bytes that it holds then."""
    seconds = _seconds(memory.branch)
    tracemalloc.start()
    branch = memory.branch()
    traced = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return seconds, traced + branch.nbytes
