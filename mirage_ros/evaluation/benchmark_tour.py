"""What a memory costs along a tour: bytes and conditioning, chunk by chunk, latent against RGB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mirage_ros.codec.base import Codec
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table, Target
from mirage_ros.frames import RgbdFrame
from mirage_ros.memory import (
    BoundsConfig,
    LatentMemory,
    LatentMemoryConfig,
    RgbMemory,
    RgbMemoryConfig,
)
from mirage_ros.memory.rgb_points import POINT_BYTES

#: Views of a chunk; the last is the first of the next.
CHUNK = 9
MIB = 2.0**20

Memory = LatentMemory | RgbMemory
Progress = Callable[[Iterable[int], str], Iterable[int]]

#: What the released efficiency chart gives for 1280x704 on an H100: MiB of cache, chunks 1 to 5.
PUBLISHED_MIB = {"Mirage, published": (0.46, 0.90, 1.36, 1.80, 2.25)}
PUBLISHED_MIB["Spatia (RGB points), published"] = (23.4, 47.0, 73.2, 98.4, 124.0)
#: Bytes of a token in the released code: positions and features in float32.
RELEASED_TOKEN_BYTES = 205


@dataclass(frozen=True)
class TourCosts:
    """One memory along the tour.

    Attributes:
        name: of the memory.
        count: elements held after each chunk.
        mib: of those, everything that the memory needs beside them included.
        observe_seconds: a view, mean over the chunk.
        condition_seconds: a view, of reading the next chunk's nine views at once.
    """

    name: str
    count: list[int]
    mib: list[float]
    observe_seconds: list[float]
    condition_seconds: list[float]


def contenders(codec: Codec) -> dict[str, Memory]:
    """Memories that are fed the same views; none comes near its capacity."""
    unbounded = BoundsConfig(merge=False, capacity=10**9)
    return {
        "latent": LatentMemory(codec),
        "latent, every cell": LatentMemory(codec, LatentMemoryConfig(bounds=unbounded)),
        "RGB as published": RgbMemory(codec, RgbMemoryConfig("append")),
        "RGB fair": RgbMemory(codec, RgbMemoryConfig("voxel", capacity=10**9)),
    }


def follow(
    name: str, memory: Memory, frames: Sequence[RgbdFrame], chunks: int, progress: Progress
) -> TourCosts:
    """Store a tour's views and read the views that come next.

    Args:
        name: of the memory.
        memory: empty.
        frames: at least ``(chunks + 1) * 8 + 1`` of them.
        chunks: number of chunks to store.
        progress: wraps the loop over chunks.
    """
    camera = frames[0].camera
    step = CHUNK - 1
    costs = TourCosts(name, [], [], [], [])
    # Compiled loops and buffers are there before the clock runs.
    memory.observe(frames[0])
    memory.read(camera, [frame.T_world_camera for frame in frames[:CHUNK]])
    memory.clear()
    for chunk in progress(range(chunks), name):
        first = 0 if chunk == 0 else chunk * step + 1
        new = frames[first : (chunk + 1) * step + 1]
        start = time.perf_counter()
        for frame in new:
            memory.observe(frame)
        costs.observe_seconds.append((time.perf_counter() - start) / len(new))
        ahead = frames[(chunk + 1) * step : (chunk + 2) * step + 1]
        poses = np.stack([frame.T_world_camera for frame in ahead])
        start = time.perf_counter()
        memory.read(camera, poses)
        costs.condition_seconds.append((time.perf_counter() - start) / len(poses))
        costs.count.append(memory.count)
        beside = memory.index_nbytes if isinstance(memory, RgbMemory) else 0
        costs.mib.append((memory.nbytes + beside) / MIB)
    return costs


def section(costs: Sequence[TourCosts], size: tuple[int, int], tour: str) -> Section:
    """Tables, plots and targets of :func:`follow`'s figures."""
    by_name = {cost.name: cost for cost in costs}
    latent, published = by_name["latent"], by_name["RGB as published"]
    chunks = len(latent.mib)
    numbers = list(range(1, chunks + 1))
    cells = size[0] // 16 * (size[1] // 16)
    token = by_name["latent, every cell"]
    token_bytes = latent.mib[-1] * MIB / latent.count[-1]
    per_view = {
        "latent": token.mib[0] * MIB / CHUNK,
        "RGB": published.mib[0] * MIB / CHUNK,
    }
    added = np.diff([0.0, *latent.mib])
    ratio = published.mib[-1] / latent.mib[-1]
    speed = [
        slow / fast
        for slow, fast in zip(published.condition_seconds, latent.condition_seconds, strict=True)
    ]
    mib_rows: list[list[Cell]] = [
        [c.name, *[round(v, 3) for v in c.mib], c.count[-1]] for c in costs
    ]
    mib_rows += [[name, *values[:chunks], None] for name, values in PUBLISHED_MIB.items()]
    time_rows: list[list[Cell]] = [
        [c.name, *[round(1e3 * v, 2) for v in c.condition_seconds]] for c in costs
    ]
    store_rows: list[list[Cell]] = [
        [c.name, *[round(1e3 * v, 1) for v in c.observe_seconds]] for c in costs
    ]
    heads = [f"chunk {number}" for number in numbers]
    return Section(
        title="Efficiency: latent against RGB",
        text=(
            f"{size[0]}x{size[1]}, {CHUNK} views a chunk of {cells} cells, one shared with the "
            f"chunk before. {tour} All memories are fed the same views. A token takes "
            f"{token_bytes:.1f} bytes with all that belongs to it (released code: "
            f"{RELEASED_TOKEN_BYTES}), a point {POINT_BYTES}. Before any merging a view takes "
            f"{per_view['latent'] / 1024:.0f} KiB as tokens and {per_view['RGB'] / 1024:.0f} KiB "
            f"as points, {per_view['RGB'] / per_view['latent']:.0f} times as much. Conditioning is "
            "reading the nine views of the next chunk: for RGB, rasterising and encoding them."
        ),
        tables=(
            Table(["memory", *heads, "elements"], mib_rows, "MiB held after each chunk"),
            Table(["memory", *heads], time_rows, "conditioning, ms a view"),
            Table(["memory", *heads], store_rows, "storing, ms a view"),
        ),
        plots=(
            Plot(
                "Memory",
                "chunk",
                "MiB",
                [Series(c.name, numbers, c.mib) for c in costs],
                log_y=True,
            ),
            Plot(
                "Conditioning",
                "chunk",
                "ms a view",
                [Series(c.name, numbers, [1e3 * v for v in c.condition_seconds]) for c in costs],
                log_y=True,
            ),
        ),
        targets=(
            Target(
                "MiB of a new chunk, mean", round(float(added.mean()), 3), "at most 0.45",
                bool(added.mean() <= 0.45),
            ),
            Target(
                "MiB of a new chunk, the largest", round(float(added.max()), 3), "at most 0.45",
                bool(added.max() <= 0.45), f"it is chunk {int(added.argmax()) + 1}",
            ),
            Target(
                "bytes a token", round(token_bytes, 1), "at most 128", bool(token_bytes <= 128.0)
            ),
            Target(
                "RGB as published / latent, MiB at the last chunk", round(ratio, 1),
                "at least 55", bool(ratio >= 55.0),
                f"RGB fair / latent: {by_name['RGB fair'].mib[-1] / latent.mib[-1]:.1f}",
            ),
            Target(
                "conditioning, RGB as published / latent, the least", round(min(speed), 1),
                "at least 20", bool(min(speed) >= 20.0),
                f"at the last chunk {speed[-1]:.0f}",
            ),
        ),
    )  # fmt: skip
