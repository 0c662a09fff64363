"""Who takes part in the small model's benchmark: what is shared, what is kept from whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_nano import tiny_nano

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.benchmark_nano_memoryless import MemorylessGenerator
from mirage_ros.evaluation.benchmark_nano_rows import (
    DRAFT,
    MEAN,
    NO_MEMORY,
    READOUT,
    RGB_MEMORY,
    SAMPLE,
    Ablation,
    Cast,
    Company,
)
from mirage_ros.evaluation.protocol import Contender, Size
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation import GenerationCancelled
from mirage_ros.generation.draft_generator import DraftGenerator
from mirage_ros.generation.nano_model import nano_generator
from mirage_ros.memory import LatentMemory, RgbMemory
from mirage_ros.world_model import WorldModel, WorldModelConfig

SIZE = Size(96, 64)
CODEC = DctCodec()


@pytest.fixture(scope="module")
def path(room) -> list[RgbdFrame]:
    return [SIZE.fit(frame) for frame in room.path(9)]


@pytest.fixture(scope="module")
def company() -> Company:
    cast = Cast(
        tiny_nano(), 3, [Ablation("other", tiny_nano(1)), Ablation("pts", tiny_nano(), True)]
    )
    rows = [cast.readout, cast.draft, cast.mean, cast.sample, cast.rgb, *cast.without_memory]
    return Company([*rows, *cast.others], SIZE)


def images(model: WorldModel, path: list[RgbdFrame], seed: int = 3) -> np.ndarray:
    poses = np.stack([frame.T_world_camera for frame in path])
    views = model.imagine(poses, path[0].camera, seed=seed, first_frame=path[0])
    return np.stack([view.image for view in views])


def test_memories_of_a_kind_are_one(company: Company, path: list[RgbdFrame]) -> None:
    models = company.models
    assert isinstance(models[RGB_MEMORY].memory, RgbMemory)
    assert models[RGB_MEMORY].memory is models["pts, mean"].memory
    latent = {READOUT, DRAFT, MEAN, SAMPLE, NO_MEMORY, "other, mean"}
    assert {id(models[name].memory) for name in latent} == {id(models[READOUT].memory)}
    assert isinstance(models[READOUT].memory, LatentMemory)
    company.remember(path[0])
    assert models[READOUT].token_count > 0 < models[RGB_MEMORY].token_count
    assert len(models[MEAN].references.frames) == 1, "whole frames are kept though not by all"
    assert {model.newest_stamp_ns for model in models.values()} == {path[0].stamp_ns}
    company.forget()
    assert not any(model.token_count for model in models.values())
    assert not models[MEAN].references.frames


def test_a_shared_memory_shows_what_ones_own_shows(company: Company, path: list[RgbdFrame]) -> None:
    """And what one imagines is not seen by the others."""
    config = WorldModelConfig(SIZE.width, SIZE.height)
    company.remember(path[0])
    shared = [images(model, path) for model in company.models.values()]
    for (name, model), seen in zip(company.models.items(), shared, strict=True):
        memory = RgbMemory(CODEC, model.memory.config) if name in (RGB_MEMORY, "pts, mean") else (
            LatentMemory(CODEC)
        )  # fmt: skip
        alone = WorldModel(CODEC, memory, model.generator, config)
        alone.observe(path[0])
        assert np.array_equal(images(alone, path), seen), name
    company.forget()


def test_without_memory_is_with_an_empty_one(path: list[RgbdFrame]) -> None:
    """The newest frame is still given; what is remembered is told for coverage alone."""
    config = WorldModelConfig(SIZE.width, SIZE.height)
    generator = nano_generator(tiny_nano(), CODEC, steps=2)
    empty = WorldModel(CODEC, LatentMemory(CODEC), generator, config)
    blind = WorldModel(CODEC, LatentMemory(CODEC), MemorylessGenerator(generator), config)
    for frame in path[:3]:
        blind.observe(frame)
    assert np.array_equal(images(blind, path), images(empty, path))
    seeing = WorldModel(CODEC, blind.memory, generator, config)
    assert not np.array_equal(images(seeing, path), images(empty, path))
    view = next(blind.imagine(path[0].T_world_camera[None], path[0].camera))
    assert view.known_fraction > 0.5


def test_without_memory_does_not_read_what_it_imagined(path: list[RgbdFrame]) -> None:
    """What a model without a memory shows goes nowhere."""
    config = WorldModelConfig(SIZE.width, SIZE.height)
    blind = MemorylessGenerator(nano_generator(tiny_nano(), CODEC))
    model = WorldModel(CODEC, LatentMemory(CODEC), blind, config)
    branch = model.memory.branch()
    poses = np.stack([frame.T_world_camera for frame in [*path, *path[::-1]]])
    views = model.imagine(poses, path[0].camera, branch=branch, first_frame=path[0])
    assert sum(1 for _ in views) == 18
    assert branch.count == 0


def test_the_draft_is_what_a_model_without_a_head_makes(path: list[RgbdFrame]) -> None:
    config = WorldModelConfig(SIZE.width, SIZE.height)
    models = [
        WorldModel(CODEC, LatentMemory(CODEC), generator, config)
        for generator in (DraftGenerator(CODEC), nano_generator(tiny_nano(zero_head=True), CODEC))
    ]
    for model in models:
        model.observe(path[0])
    draft, nano = (images(model, path) for model in models)
    assert np.array_equal(draft[1:], nano[1:])
    assert not np.array_equal(draft[0], nano[0]), "it alone starts from the frame"


def test_a_draft_can_be_cancelled_and_takes_no_prompt(path: list[RgbdFrame]) -> None:
    generator = DraftGenerator(CODEC)
    model = WorldModel(
        CODEC, LatentMemory(CODEC), generator, WorldModelConfig(SIZE.width, SIZE.height)
    )
    with pytest.raises(GenerationCancelled):
        generator.generate_together([torch.zeros(0)], lambda: True)
    with pytest.raises(ConfigurationError, match=r"takes no prompt\. Got 'sunny'"):
        list(model.imagine_candidates([np.eye(4)[None]], path[0].camera, prompt="sunny"))


def test_a_contender_invents_nothing_unless_told(path: list[RgbdFrame]) -> None:
    contender = Contender("any", LatentMemory)
    assert contender.complete(CODEC).name == "readout"
