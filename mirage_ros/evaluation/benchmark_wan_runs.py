"""Which rollouts the Wan2.2 benchmark runs, over which memories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from mirage_ros.evaluation import benchmark_wan_sections as report
from mirage_ros.evaluation.benchmark_wan_conditioning import ConditioningCosts, measure
from mirage_ros.evaluation.benchmark_wan_models import Models
from mirage_ros.evaluation.benchmark_wan_rollout import (
    NEW_FRAMES,
    ChunkCosts,
    Remembered,
    Setting,
    remember,
    roll_out,
)
from mirage_ros.evaluation.benchmark_wan_scene import make_scene
from mirage_ros.evaluation.results import Section

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        sizes: width x height.
        steps: of denoising.
        contexts: with references and preceding frames, or without.
        decoders: with the tiny decoder, or the VAE's own.
        chunks: measured, after the first.
        repeats: of conditioning.
        scene: see ``benchmark_wan_scene.SCENES``.
        seed: of the apartment.
        rollouts: whether latent memory is measured by itself.
        rgb: whether it is measured against coloured points.
    """

    sizes: list[tuple[int, int]]
    steps: list[int]
    contexts: tuple[bool, ...]
    decoders: tuple[bool, ...]
    chunks: int
    repeats: int
    scene: str
    seed: int
    rollouts: bool
    rgb: bool

    def settings(self, size: tuple[int, int]) -> Iterator[Setting]:
        """Rollouts at a size, those with the VAE's own decoder first."""
        for tiny, steps, context in product(sorted(self.decoders), self.steps, self.contexts):
            yield Setting(size, steps, context, tiny)


def sections(
    models: Models, plan: Plan, progress: Progress, is_figure: bool, inputs: dict[str, Any]
) -> list[Section]:
    """Run the plan.

    Args:
        models: the networks.
        plan: what to run.
        progress: wraps loops.
        is_figure: the full model on a GPU.
        inputs: takes what was seen.

    Raises:
        ConfigurationError: an unknown scene.
    """
    costs: list[ChunkCosts] = []
    pairs: list[tuple[ChunkCosts, ChunkCosts]] = []
    alone: list[tuple[tuple[int, int], ConditioningCosts]] = []
    counts = {"latent": 0, "rgb": 0}
    for size in plan.sizes:
        poses = max(2, 1 + plan.chunks) * NEW_FRAMES + 1
        scene = make_scene(plan.scene, plan.seed, size, poses, progress)
        latent = remember(models, scene, "latent")
        inputs["scene"] = f"{scene.name}, {len(scene.frames)} keyframes"
        inputs[f"ms to remember a keyframe, {size[0]}x{size[1]}"] = 1e3 * latent.observe_seconds
        done: dict[Setting, ChunkCosts] = {}
        if plan.rollouts:
            settings = list(plan.settings(size))
            for setting in progress(settings, f"rollouts {size[0]}x{size[1]}"):
                done[setting] = roll_out(models, latent, setting, plan.chunks)
            costs += done.values()
        if plan.rgb:
            rgb = remember(models, scene, "rgb")
            if size == plan.sizes[0]:
                counts = {"latent": latent.memory.count, "rgb": rgb.memory.count}
            pairs += _pairs(models, plan, latent, rgb, size, done, progress)
            codec = models.codec(tiny=False)
            latent.memory.codec = rgb.memory.codec = codec
            alone.append((size, measure(codec, latent, rgb, plan.repeats, models.device)))
    made = []
    if plan.rollouts:
        options = models.options
        how = f"Latent memory, {inputs['scene']}, {options.dtype}."
        made.append(report.rollout_section(costs, how, is_figure))
    if plan.rgb:
        made.append(report.rgb_section(pairs, alone, counts["rgb"], counts["latent"], is_figure))
    return made


def _pairs(
    models: Models,
    plan: Plan,
    latent: Remembered,
    rgb: Remembered,
    size: tuple[int, int],
    done: dict[Setting, ChunkCosts],
    progress: Progress,
) -> list[tuple[ChunkCosts, ChunkCosts]]:
    """Whole chunks with either memory, in all else the same."""
    pairs = []
    for steps in progress(plan.steps, f"coloured points {size[0]}x{size[1]}"):
        setting = Setting(size, steps, True, False)
        ours = done.get(setting) or roll_out(models, latent, setting, plan.chunks)
        other = Setting(size, steps, True, False, "rgb")
        pairs.append((ours, roll_out(models, rgb, other, plan.chunks)))
    return pairs
