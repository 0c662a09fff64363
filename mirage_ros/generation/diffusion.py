"""The generator that invents: denoises a chunk, conditioned on what is remembered.

The sequence that the transformer sees is [references | targets | preceding]. References and
preceding frames are clean, and so is the first target where it is known (the overlap with the
chunk before, or what the camera sees now); only the other targets are denoised. What the memory
knows of targets and preceding frames goes through the side branch, which also takes the latents of
a constant white video: they never change, but the released weights expect them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError, GenerationError
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, GenerationCancelled
from mirage_ros.generation.readout_generator import fill_depth
from mirage_ros.generation.scene import Units
from mirage_ros.generation.schedule import Schedule, Solver
from mirage_ros.generation.side_input import ConstantSide, SideInput
from mirage_ros.generation.transformer import TextContext, WanWorldTransformer
from mirage_ros.stages import measured

#: Prompts that are kept, the generator's own among them.
_PROMPTS = 4

#: What a model's output means: noise less the clean latents, or the clean latents.
PREDICTIONS = ("velocity", "clean")


@dataclass(frozen=True)
class DiffusionConfig:
    """How chunks are denoised.

    Attributes:
        schedule: steps and solver.
        guidance: weight of the prompt against the negative prompt (classifier-free guidance); 1:
            none, as the model was published.
        references: whole past frames shown to the model, at most.
        preceding: latent frames before a chunk that are shown to the model, at most.
        side_scale: weight of the side branch's hints.
        batch: chunks of different rollouts that go through the model at once, at most.
        prediction: one of :data:`PREDICTIONS`.

    Raises:
        ConfigurationError: a value is out of range.
    """

    schedule: Schedule = field(default_factory=Schedule)
    guidance: float = 1.0
    references: int = 4
    preceding: int = 2
    side_scale: float = 1.0
    batch: int = 1
    prediction: str = "velocity"

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise ConfigurationError(
                f"prediction must be one of {', '.join(PREDICTIONS)}. Got '{self.prediction}'"
            )
        for name in ("references", "preceding", "guidance", "side_scale"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} must not be negative. Got {getattr(self, name)}")
        if self.batch < 1:
            raise ConfigurationError(f"batch must be at least 1. Got {self.batch}")


class DiffusionGenerator:
    """Denoises chunks; implements :class:`mirage_ros.generation.base.Generator`.

    What no chunk changes is computed once: the text's keys and values in every block, the latents
    of the constant video.

    Args:
        transformer: the model, in the type that it shall compute in.
        codec: encodes the constant video.
        text: (L, text_dim) the encoded prompt.
        config: how to denoise.
        negative_text: (L, text_dim) the encoded negative prompt; needed for guidance.
        device: to compute on (default: where the transformer is).
        dtype: to compute in (default: the type of the transformer's first layer).
        placement: makes a context in which the transformer is on ``device``.
        keep_text_keys: keep the text's keys and values; without, less memory and more work.
        encode: encodes prompts that rollouts bring along; None: they bring none.
        name: of the generator, in messages.
        side: what the side branch is given (default: as published).

    Raises:
        ConfigurationError: the model allows fewer references, or has other channels than the codec;
            or guidance is asked for without a negative prompt.
    """

    invents = True
    starts_from_frame = True

    def __init__(
        self,
        transformer: WanWorldTransformer,
        codec: Codec,
        text: Tensor,
        config: DiffusionConfig | None = None,
        *,
        negative_text: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        placement: Callable[[], AbstractContextManager[object]] = nullcontext,
        keep_text_keys: bool = True,
        encode: Callable[[str], Tensor] | None = None,
        name: str = "wan2.2",
        side: SideInput | None = None,
    ) -> None:
        self.config = config or DiffusionConfig()
        self.name = name
        self.transformer = transformer
        self.codec = codec
        self.side = side or ConstantSide(codec)
        self.needs_placement = self.side.needs_placement
        self.device = torch.device(device or transformer.patch_embedding.weight.device)
        self.dtype: torch.dtype = dtype or transformer.patch_embedding.weight.dtype
        self._check(transformer, codec)
        if self.config.guidance != 1.0 and negative_text is None:
            raise ConfigurationError(
                f"guidance {self.config.guidance} needs a negative prompt. Got none"
            )
        self._negative: list[Tensor] = []
        if self.config.guidance != 1.0 and negative_text is not None:
            self._negative.append(self._checked_text(negative_text))
        self._texts = {"": [self._checked_text(text), *self._negative]}
        self._keys: dict[str, list[TextContext]] = {}
        self._keep_text_keys = keep_text_keys
        self._encode = encode
        self._placement = placement
        self.reference_count = self.config.references
        self.preceding_count = self.config.preceding

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth of the chunk; frame 0 is the given one exactly, where there is one.

        Raises:
            GenerationCancelled: ``cancelled()`` was true before a step. It is called before every
                layer, so that what cannot wait is done, but a step that has begun is finished:
                plans that come faster than a step would never be answered otherwise.
            GenerationError: the condition does not fit the model.
        """
        return self.generate_together([condition], cancelled)[0]

    @torch.no_grad()
    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        """Chunks of several rollouts, as many at once as the configuration's ``batch`` says.

        Raises:
            GenerationCancelled: as :meth:`generate`.
            GenerationError: likewise.
        """
        made: dict[int, GeneratedChunk] = {}
        with self._placement():
            for numbers in self._batches(conditions):
                batch = [conditions[number] for number in numbers]
                for number, latents in zip(numbers, self._denoised(batch, cancelled), strict=True):
                    made[number] = _chunk(conditions[number], latents)
        return [made[number] for number in range(len(conditions))]

    def prepare_prompt(self, prompt: str) -> None:
        """Encode a prompt, unless that has been done.

        Raises:
            ConfigurationError: the generator was made without a way to encode prompts.
            UnavailableError: the text encoder is not at hand.
        """
        if prompt in self._texts:
            return
        if self._encode is None:
            raise ConfigurationError(
                f"generator '{self.name}' keeps to its own prompt. Got '{prompt}'"
            )
        _make_room(self._texts)
        self._texts[prompt] = [self._checked_text(self._encode(prompt)), *self._negative]

    def _batches(self, conditions: Sequence[ChunkCondition]) -> list[list[int]]:
        """Numbers of conditions that can share a forward pass: those of one layout."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for number, condition in enumerate(conditions):
            layout = (
                tuple(condition.readout.latents.shape),
                condition.first_latents is None,
                0 if condition.references is None else len(condition.references),
                0 if condition.preceding is None else len(condition.preceding.latents),
                condition.prompt,
            )
            alike.setdefault(layout, []).append(number)
        size = self.config.batch
        return [
            numbers[start : start + size]
            for numbers in alike.values()
            for start in range(0, len(numbers), size)
        ]

    def _denoised(
        self,
        batch: Sequence[ChunkCondition],  # B, of one layout
        cancelled: Callable[[], bool],
    ) -> Tensor:  # (B, T, C, h, w) float32
        shape = batch[0].readout.latents.shape  # (T, C, h, w)
        generators = [torch.Generator().manual_seed(condition.seed) for condition in batch]
        # Drawn on the CPU, so that a seed means the same on every device.
        noise = [torch.randn(shape, generator=generator) for generator in generators]
        sample = torch.stack(noise).to(self.device)
        clean = sample[:, :0]
        given = [c.first_latents for c in batch if c.first_latents is not None]
        if given:
            clean, sample = torch.stack(given)[:, None].to(sample), sample[:, 1:]
        if not sample.shape[1]:
            return clean
        stages = batch[0].stages
        with measured(stages, "conditioning", self.device):
            before, after = self._context(batch)
            control, units = self._side_chunk(batch)
            texts = self._text_contexts(batch[0].prompt, len(batch))
        given_clean = clean
        if units is not None:
            count = clean.shape[1] + sample.shape[1]
            before, clean = units.whole(before), units.inside(clean, slice(0, clean.shape[1]))
            after = units.inside(after, slice(count, count + after.shape[1]))
        before, after = before.to(self.dtype), after.to(self.dtype)
        solver = Solver(self.config.schedule)
        start = before.shape[1] + clean.shape[1]
        noisy = slice(start, start + sample.shape[1])
        count = len(solver.timesteps)
        for number, timestep in enumerate(solver.timesteps):
            if cancelled():
                raise GenerationCancelled(f"cancelled before denoising step {number} of {count}")
            with measured(stages, "denoise_step", self.device):
                targets = torch.cat([clean, sample], dim=1).to(self.dtype)
                sequence = torch.cat([before, targets, after], dim=1)
                levels = torch.zeros(sequence.shape[:2], device=self.device)
                levels[:, noisy] = timestep
                made = self._output(sequence, levels, texts, control, before.shape[1], cancelled)
                made = made[:, noisy]
                if self.config.prediction == "clean":
                    made = (sample - made) / solver.levels[number]
                sample = solver.step(number, made, sample, generators)
        if units is not None:
            sample = units.outside(sample, slice(clean.shape[1], clean.shape[1] + sample.shape[1]))
        return torch.cat([given_clean, sample], dim=1)

    def _output(
        self,
        sequence: Tensor,  # (B, F, C, h, w)
        levels: Tensor,  # (B, F)
        texts: list[TextContext] | list[Tensor],
        control: Tensor | None,
        references: int,
        before_block: Callable[[], object],
    ) -> Tensor:  # (B, F, C, h, w) float32
        hidden = sequence.transpose(1, 2)
        predictions: list[Tensor] = [
            self.transformer(
                hidden, levels, text, control, self.config.side_scale,
                num_references=references, before_block=before_block,
            )[0].transpose(1, 2).float()
            for text in texts
        ]  # fmt: skip
        if len(predictions) == 1:
            return predictions[0]
        wanted, unwanted = predictions
        return unwanted + self.config.guidance * (wanted - unwanted)

    def _context(self, batch: Sequence[ChunkCondition]) -> tuple[Tensor, Tensor]:
        """References (B, R, C, h, w) and preceding frames (B, P, C, h, w) for the model."""
        before, after = [], []
        for condition in batch:
            empty = condition.readout.latents[:0]
            before.append(empty if condition.references is None else condition.references)
            after.append(empty if condition.preceding is None else condition.preceding.latents)
        both = torch.stack(before), torch.stack(after)
        return both[0].to(self.device), both[1].to(self.device)

    def _side_chunk(self, batch: Sequence[ChunkCondition]) -> tuple[Tensor | None, Units | None]:
        """What the side branch sees, embedded (B, S', D), the same in all steps; and the units."""
        chunk = self.side.of(batch)
        units = None if chunk.units is None else chunk.units.to(self.device)
        if not self.transformer.has_side_branch:
            return None, units
        control = chunk.control.to(self.device, self.dtype)
        return self.transformer.embed_control(control), units

    def _text_contexts(self, prompt: str, batch: int) -> list[TextContext] | list[Tensor]:
        self.prepare_prompt(prompt)
        if not self._keep_text_keys:
            return [text.expand(batch, -1, -1) for text in self._texts[prompt]]
        if prompt not in self._keys:
            _make_room(self._keys)
            self._keys[prompt] = [
                self.transformer.text_context(text) for text in self._texts[prompt]
            ]
        return [keys.expanded(batch) for keys in self._keys[prompt]]

    def _checked_text(self, text: Tensor) -> Tensor:  # (L, text_dim) -> (1, L, text_dim)
        wanted = self.transformer.config.text_dim
        if text.ndim != 2 or text.shape[1] != wanted:
            raise GenerationError(
                f"an encoded prompt must have shape (L, {wanted}). Got {tuple(text.shape)}"
            )
        return text[None].to(self.device, self.dtype)

    def _check(self, transformer: WanWorldTransformer, codec: Codec) -> None:
        config = transformer.config
        if self.config.references > config.max_reference_frames:
            raise ConfigurationError(
                f"references must be at most the model's {config.max_reference_frames}. "
                f"Got {self.config.references}"
            )
        if (config.in_channels, config.out_channels) != (codec.channels, codec.channels):
            raise ConfigurationError(
                f"the model must take and make the codec's {codec.channels} channels. "
                f"Got {config.in_channels} and {config.out_channels}"
            )
        if transformer.has_side_branch and config.vace_in_channels != 2 * codec.channels:
            raise ConfigurationError(
                f"the side branch must take twice the codec's channels, {2 * codec.channels}. "
                f"Got {config.vace_in_channels}"
            )


def _make_room(kept: dict[str, Any]) -> None:
    """Let the oldest prompts go, but for the generator's own."""
    while len(kept) >= _PROMPTS:
        kept.pop(next(prompt for prompt in kept if prompt))


def _chunk(condition: ChunkCondition, latents: Tensor) -> GeneratedChunk:  # latents: (T, C, h, w)
    """Latents with the depth that the memory's is completed to."""
    readout = condition.readout
    depth = fill_depth(readout.depth, readout.coverage)
    if condition.first_depth is not None:
        depth[0] = condition.first_depth
    return GeneratedChunk(latents.to(readout.latents.device), depth)
