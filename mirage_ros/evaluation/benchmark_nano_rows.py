"""Who takes part in the benchmark of the small model, and how they share what is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirage_ros.codec import DctCodec
from mirage_ros.codec.base import Codec
from mirage_ros.evaluation import contenders as memories
from mirage_ros.evaluation.benchmark_nano_memoryless import MemorylessGenerator
from mirage_ros.evaluation.protocol import Contender, Size
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation import Generator
from mirage_ros.generation.draft_generator import DraftGenerator
from mirage_ros.generation.nano_model import NanoModel, nano_generator
from mirage_ros.memory.base import SpatialMemory
from mirage_ros.world_model import WorldModel, WorldModelConfig

#: Names in tables. The mean is one step, the sample several.
READOUT, DRAFT, MEAN, SAMPLE = "readout", "draft", "nano, mean", "nano, sample"
RGB_MEMORY = "nano, mean, RGB memory"
NO_MEMORY, NO_MEMORY_SAMPLE = "nano, mean, no memory", "nano, sample, no memory"


@dataclass(frozen=True)
class Ablation:
    """A model that was made otherwise.

    Attributes:
        name: in tables.
        model: itself.
        points: whether it remembers coloured points instead of tokens.
    """

    name: str
    model: NanoModel
    points: bool = False


@dataclass(frozen=True)
class Cast:
    """Who takes part.

    Attributes:
        model: that is looked at.
        sample_steps: of its sample.
        ablations: models beside it; they show their mean.
    """

    model: NanoModel
    sample_steps: int
    ablations: Sequence[Ablation] = ()

    @property
    def readout(self) -> Contender:
        """What is remembered, holes filled smoothly."""
        return Contender(READOUT, _build(memories.LATENT))

    @property
    def draft(self) -> Contender:
        """What the model begins with."""
        return Contender(DRAFT, _build(memories.LATENT), DraftGenerator)

    @property
    def mean(self) -> Contender:
        """The model in one step."""
        return self.in_steps(1, MEAN)

    @property
    def sample(self) -> Contender:
        """The model in several steps."""
        return self.in_steps(self.sample_steps, SAMPLE)

    @property
    def rgb(self) -> Contender:
        """The model's mean with coloured points for a memory."""
        return Contender(RGB_MEMORY, _build(memories.RGB_FAIR), _nano(self.model, 1))

    @property
    def without_memory(self) -> tuple[Contender, Contender]:
        """Mean and sample of the model that is told nothing of what is remembered."""
        return self._without(1, NO_MEMORY), self._without(self.sample_steps, NO_MEMORY_SAMPLE)

    @property
    def others(self) -> list[Contender]:
        """The ablations."""
        return [
            Contender(
                f"{one.name}, mean",
                _build(memories.RGB_FAIR if one.points else memories.LATENT),
                _nano(one.model, 1),
            )
            for one in self.ablations
        ]

    def in_steps(self, steps: int, name: str) -> Contender:
        """The model with so many steps."""
        return Contender(name, _build(memories.LATENT), _nano(self.model, steps))

    def _without(self, steps: int, name: str) -> Contender:
        complete = _nano(self.model, steps)
        return Contender(
            name, _build(memories.LATENT), lambda codec: MemorylessGenerator(complete(codec))
        )


class Company:
    """Contenders' world models; those with memories of one kind share it, so nothing is seen twice.

    Args:
        contenders: who.
        size: of what is remembered and shown.

    Attributes:
        models: by the contenders' names.

    Raises:
        ConfigurationError: a size that the world model does not take.
    """

    def __init__(self, contenders: Sequence[Contender], size: Size) -> None:
        codec, config = DctCodec(), WorldModelConfig(size.width, size.height)
        kinds: dict[Callable[[Codec], SpatialMemory], list[Contender]] = {}
        for one in contenders:
            kinds.setdefault(one.build, []).append(one)
        self.models: dict[str, WorldModel] = {}
        self._groups: list[list[WorldModel]] = []
        for build, alike in kinds.items():
            memory = build(codec)
            group = [WorldModel(codec, memory, one.complete(codec), config) for one in alike]
            for model in group:
                model.references = group[0].references
            self.models |= {one.name: model for one, model in zip(alike, group, strict=True)}
            # Whole frames are kept by those alone whose generator wants some.
            self._groups.append(sorted(group, key=lambda m: -m.generator.reference_count))

    def warm_up(self) -> None:
        """Make everyone ready to be timed, before anything is remembered."""
        for model in self.models.values():
            model.warm_up()

    def remember(self, frame: RgbdFrame) -> None:
        """Let all of them see a frame."""
        for first, *rest in self._groups:
            first.observe(frame)
            for model in rest:
                model.newest_stamp_ns = first.newest_stamp_ns

    def forget(self) -> None:
        """Let all of them forget everything."""
        for group in self._groups:
            for model in group:
                model.reset()


_BUILDS = {one.name: one.build for one in memories.contenders()}


def _build(name: str) -> Callable[[Codec], SpatialMemory]:
    return _BUILDS[name]


def _nano(model: NanoModel, steps: int) -> Callable[[Codec], Generator]:
    def complete(codec: Codec) -> Generator:
        assert isinstance(codec, DctCodec)
        return nano_generator(model, codec, steps=steps)

    return complete
