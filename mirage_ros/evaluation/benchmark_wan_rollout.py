"""What a chunk of a Wan2.2 rollout costs, stage by stage, end to end."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from mirage_ros.evaluation.benchmark_wan_models import CountingGenerator, Models
from mirage_ros.evaluation.benchmark_wan_scene import Scene
from mirage_ros.generation.memory_estimate import ChunkSize, estimate_memory
from mirage_ros.generation.references import ReferenceBank
from mirage_ros.generation.schedule import Schedule
from mirage_ros.memory import LatentMemory, RgbMemory
from mirage_ros.world_model import WorldModel, WorldModelConfig

#: Pixel frames that a chunk adds, and latent frames of a chunk.
NEW_FRAMES, LATENT_FRAMES = 32, 9

#: Stages of a chunk, in order. Conditioning and denoising are parts of generating.
STAGES = (
    "readout",
    "references",
    "conditioning",
    "denoise_step",
    "generate",
    "write_back",
    "decode",
)


class StageTimes:
    """Adds up the time of stages; a :class:`mirage_ros.stages.StageClock`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the body's time to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last call."""
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken


@dataclass(frozen=True)
class Setting:
    """One row of the measurement.

    Attributes:
        size: width x height.
        steps: of denoising.
        context: with references and preceding frames.
        tiny: with the tiny decoder.
        memory: ``latent`` or ``rgb``.
    """

    size: tuple[int, int]
    steps: int
    context: bool
    tiny: bool
    memory: str = "latent"


@dataclass(frozen=True)
class ChunkCosts:
    """Figures of one setting.

    Attributes:
        setting: what was measured.
        seconds: a chunk of 32 new frames, median.
        first_seconds: the first chunk, 33 frames, without what is computed once.
        stages: seconds a chunk by stage, medians.
        references: shown to the model, of most chunks.
        peak: bytes of tensors on the GPU, at most; None on a CPU.
        reserved: bytes that torch's allocator held for them; None on a CPU.
        estimated: bytes as estimated beforehand.
        failure: why there are no figures, else empty.
    """

    setting: Setting
    seconds: float | None = None
    first_seconds: float | None = None
    stages: dict[str, float] | None = None
    references: int = 0
    peak: int | None = None
    reserved: int | None = None
    estimated: int = 0
    failure: str = ""


@dataclass
class Remembered:
    """A scene in memory.

    Attributes:
        scene: what was seen.
        memory: that remembers it.
        references: whole frames of it.
        observe_seconds: a keyframe, median.
    """

    scene: Scene
    memory: LatentMemory | RgbMemory
    references: ReferenceBank
    observe_seconds: float


def remember(models: Models, scene: Scene, kind: str) -> Remembered:
    """Let a memory of a kind, ``latent`` or ``rgb`` as published, see all keyframes."""
    codec = models.codec(tiny=False)
    memory: LatentMemory | RgbMemory
    if kind == "latent":
        memory = LatentMemory(codec, device=models.device)
    else:
        memory = RgbMemory(codec, device=models.device)
    model = WorldModel(codec, memory, models.generator(codec, 1, True), _config(scene))
    model.observe(scene.frames[0])
    model.reset()
    seconds = []
    for frame in scene.frames:
        start = time.perf_counter()
        model.observe(frame)
        _wait(models.device)
        seconds.append(time.perf_counter() - start)
    return Remembered(scene, memory, model.references, statistics.median(seconds))


def roll_out(models: Models, remembered: Remembered, setting: Setting, chunks: int) -> ChunkCosts:
    """Imagine ``1 + chunks`` chunks along the scene's path; figures are those of the later ones.

    Two chunks of one step come before, so that compilation and what is computed once are not in the
    times; they count for the peak of memory. Where that does not suffice, the result says so.
    """
    scene = remembered.scene
    estimated = estimate_memory(
        dict(models.transformer.config),
        ChunkSize(
            *setting.size,
            references=4 if setting.context else 0,
            preceding=2 if setting.context else 0,
            text_tokens=len(models.text),
        ),
        models.options,
        vae_config=models.vae_config,
        tiny_decoder=models.tiny if setting.tiny else None,
    ).total
    codec = models.codec(setting.tiny)
    remembered.memory.codec = codec
    device = models.device
    try:
        _reset_peak(device)
        generator = models.generator(codec, 1, setting.context)
        model = WorldModel(codec, remembered.memory, generator, _config(scene))
        model.references = remembered.references
        model.stages = clock = StageTimes()
        _chunks(model, clock, scene, 2)
        generator.references.clear()
        generator.config = replace(generator.config, schedule=Schedule(setting.steps))
        seconds, stages = _chunks(model, clock, scene, 1 + chunks)
    except torch.cuda.OutOfMemoryError:
        return ChunkCosts(setting, estimated=estimated, failure="out of GPU memory")
    later = stages[1:]
    medians = {name: statistics.median(stage.get(name, 0.0) for stage in later) for name in STAGES}
    return ChunkCosts(
        setting,
        statistics.median(seconds[1:]),
        seconds[0],
        medians,
        _usual(generator),
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
        estimated,
    )


def _chunks(
    model: WorldModel, clock: StageTimes, scene: Scene, count: int
) -> tuple[list[float], list[dict[str, float]]]:
    """Seconds of each chunk and of its stages, from one chunk's last view to the next one's."""
    seconds: list[float] = []
    stages: list[dict[str, float]] = []
    path = scene.path[: count * NEW_FRAMES + 1]
    start = time.perf_counter()
    for view in model.imagine(path, scene.camera, seed=0, first_frame=scene.frames[0]):
        if view.index and view.index % NEW_FRAMES == 0:
            now = time.perf_counter()
            seconds.append(now - start)
            stages.append(clock.take())
            start = now
    return seconds, stages


def _usual(generator: CountingGenerator) -> int:
    return statistics.mode(generator.references)


def _config(scene: Scene) -> WorldModelConfig:
    return WorldModelConfig(scene.camera.width, scene.camera.height, LATENT_FRAMES)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
