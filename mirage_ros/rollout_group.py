"""Rollouts of one memory that go through their chunks together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mirage_ros.errors import GenerationError
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, Generator
from mirage_ros.memory.base import Readout
from mirage_ros.rollout import PredictedView, Rollout
from mirage_ros.shortage import memory_shortage_told
from mirage_ros.stages import StageClock, measured


class RolloutGroup:
    """Takes rollouts chunk by chunk: one read for all of them, one call of the generator.

    Args:
        rollouts: of one camera and one generator, each with a branch of its own.
        generator: completes what the memory knows.
        device: where latents are worked on.
        stages: takes the time.
        cancelled: asked inside the generator.
        read_alone: every rollout's branch is read for itself, because they begin differently.
    """

    def __init__(
        self,
        rollouts: Sequence[Rollout],
        generator: Generator,
        device: torch.device,
        stages: StageClock,
        cancelled: Callable[[], bool],
        *,
        read_alone: bool = False,
    ) -> None:
        self._rollouts = rollouts
        self._generator = generator
        self._device = device
        self._stages = stages
        self._cancelled = cancelled
        self._read_alone = read_alone

    def views(self) -> Iterator[tuple[int, PredictedView]]:
        """Number of the rollout, and a view of it: chunk by chunk, in a chunk rollout by rollout.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: the generator returned what cannot be shown, or the device's memory was
                too small for it; the chunk leaves no trace.
        """
        for number in range(max(rollout.chunk_count for rollout in self._rollouts)):
            running = [k for k, r in enumerate(self._rollouts) if number < r.chunk_count]
            group = [self._rollouts[k] for k in running]
            readouts = self._readouts(number, group)
            conditions = [
                rollout.condition(number, readout)
                for rollout, readout in zip(group, readouts, strict=True)
            ]
            with memory_shortage_told(f"chunk {number}"):
                chunks = self._generated(conditions)
                images = []
                for rollout, condition, chunk in zip(group, conditions, chunks, strict=True):
                    self._check(chunk, condition, number)
                    images.append(rollout.decoded(chunk, number))
            for k, condition, chunk, pictures in zip(
                running, conditions, chunks, images, strict=True
            ):
                views = self._rollouts[k].take(number, condition, chunk, pictures)
                yield from ((k, view) for view in views)

    def _readouts(self, number: int, group: Sequence[Rollout]) -> list[Readout]:
        """Of every rollout's targets and the frames that precede them."""
        wanted = [np.concatenate(rollout.poses(number)) for rollout in group]
        # Branches differ by what was written to them: nothing yet, or nothing at all.
        placed = self._generator.needs_placement
        alike = not self._read_alone and (number == 0 or not self._generator.invents)
        with measured(self._stages, "readout", self._device):
            if not alike:
                return [
                    rollout.memory.read(rollout.request.camera, poses, placed=placed)
                    for rollout, poses in zip(group, wanted, strict=True)
                ]
            camera, poses = group[0].request.camera, np.concatenate(wanted)
            everything = group[0].memory.read(camera, poses, placed=placed)
        ends = np.cumsum([len(poses) for poses in wanted]).tolist()
        starts = [0, *ends[:-1]]
        return [everything.part(slice(start, end)) for start, end in zip(starts, ends, strict=True)]

    def _generated(self, conditions: list[ChunkCondition]) -> list[GeneratedChunk]:
        with measured(self._stages, "generate", self._device):
            if len(conditions) == 1:
                return [self._generator.generate(conditions[0], self._cancelled)]
            return self._generator.generate_together(conditions, self._cancelled)

    def _check(self, chunk: GeneratedChunk, condition: ChunkCondition, number: int) -> None:
        """Let no chunk pass that would spoil the memory or the pictures.

        Raises:
            GenerationError: naming what is wrong.
        """
        shape = tuple(condition.readout.latents.shape)
        expected = {"latents": shape, "depth": (shape[0], *shape[2:])}
        for name, wanted in expected.items():
            values: Tensor = getattr(chunk, name)
            where = f"{name} of chunk {number} by generator '{self._generator.name}'"
            if values.shape != wanted or values.dtype != torch.float32:
                raise GenerationError(
                    f"{where} must be float32 of shape {wanted}. "
                    f"Got {values.dtype} of shape {tuple(values.shape)}"
                )
            finite = torch.isfinite(values)
            if not bool(finite.all()):
                bad = int((~finite).sum())
                raise GenerationError(
                    f"{where} must be finite. Got {bad} NaN or infinite values of {values.numel()}"
                )
