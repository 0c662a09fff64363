"""How far the Wan2.2 pipeline is from what it must equal, on a tiny model in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mirage_ros.codec.wan import WanCodec
from mirage_ros.codec.wan_config import random_vae
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.benchmark_wan_models import SIZES, random_transformer
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.model_config import read_json
from mirage_ros.generation.schedule import TRAIN_STEPS, Schedule, Solver
from mirage_ros.generation.transformer import WanWorldTransformer

_FRAMES, _ROWS, _COLUMNS = 4, 6, 4
_PATCHES = _ROWS // 2 * (_COLUMNS // 2)
_CPU = torch.device("cpu")

#: Files of a folder of reference outputs.
_GOLDEN = ("config.json", "base_original_names", "side_branch", "lora", "io")


@dataclass(frozen=True)
class Equality:
    """One comparison.

    Attributes:
        name: what is compared.
        difference: the largest, over the largest value expected.
        allowed: at most.
    """

    name: str
    difference: float
    allowed: float = 1e-5

    @property
    def holds(self) -> bool:
        """Whether the difference is allowed."""
        return self.difference <= self.allowed


@torch.no_grad()
def measure(golden: Path | None = None) -> list[Equality]:
    """All comparisons.

    Args:
        golden: a folder with outputs of another implementation: ``config.json``, and
            ``base_original_names``, ``side_branch``, ``lora`` and ``io`` as ``.safetensors``.

    Raises:
        ConfigurationError: ``golden`` lacks a file.
    """
    found = [*_against_diffusers(), *_own(), _streaming(), *_schedules()]
    return found + ([] if golden is None else _against_files(golden))


def _against_diffusers() -> list[Equality]:
    from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

    latents, text, control = _inputs()
    sizes = dict(SIZES["tiny"].transformer)
    plain = _model(vace_layers=[])
    ours = {k: v for k, v in plain.config.items() if not k.startswith(("_", "vace", "max"))}
    theirs = WanTransformer3DModel(**ours).eval()
    theirs.load_state_dict(plain.state_dict())
    levels = torch.linspace(0.0, 1000.0, _FRAMES * _PATCHES)[None]
    expected = theirs(latents, levels, text, return_dict=False)[0]
    without = _difference(plain(latents, levels, text)[0], expected)
    branched = _model()
    vace = WanVACETransformer3DModel(**sizes, vace_in_channels=96, in_channels=48, out_channels=48)
    vace.eval().load_state_dict(branched.state_dict())
    level = torch.tensor([700.0])
    expected = vace(latents, level, text, control_hidden_states=control, return_dict=False)[0]
    with_branch = _difference(branched(latents, level, text, control)[0], expected)
    return [
        Equality("no side branch: diffusers' WanTransformer3DModel, a level a token", without),
        Equality("one level for all: diffusers' WanVACETransformer3DModel", with_branch),
    ]


def _own() -> list[Equality]:
    latents, text, control = _inputs()
    model = _model()
    by_frame = torch.tensor([[0.0, 0.0, 600.0, 900.0]])
    by_token = by_frame.repeat_interleave(_PATCHES, dim=1)
    seen = control[:, :, 1:]
    whole = model(latents, by_token, text, seen, num_references=1)[0]
    grouped = model(latents, by_frame, text, seen, num_references=1)[0]
    silent = _model()
    for name, parameter in silent.vace_blocks.named_parameters():
        if "proj_out" in name:
            parameter.zero_()
    without = silent(latents, by_frame, text)[0]
    return [
        Equality("a level a frame: the same for each of its tokens", _difference(grouped, whole)),
        Equality(
            "a side branch that hints at nothing: none",
            _difference(silent(latents, by_frame, text, control)[0], without),
            0.0,
        ),
    ]


def _streaming() -> Equality:
    codec = WanCodec(random_vae())
    latents = torch.randn(9, 48, 2, 3, generator=torch.Generator().manual_seed(0))
    stream = codec.stream()
    parts = torch.cat([stream.decode(part) for part in torch.split(latents, [2, 1, 3, 1, 2])])
    return Equality("decoding in 5 chunks: at once", _difference(parts, codec.decode(latents)))


def _schedules() -> list[Equality]:
    found = []
    for steps in (4, 20, 40):
        solver = Solver(Schedule(steps=steps))
        even = (1.0 - 1.0 / TRAIN_STEPS) * (1.0 - torch.arange(steps, dtype=torch.float64) / steps)
        sigmas = 5.0 * even / (1.0 + 4.0 * even)
        ours = torch.tensor(Schedule(steps=steps).levels, dtype=torch.float64)
        told = torch.tensor(solver.timesteps, dtype=torch.float64)
        levels = _difference(ours, sigmas)
        found.append(Equality(f"noise levels of {steps} steps: Wan's formula", levels, 1e-12))
        times = _difference(told, torch.floor(TRAIN_STEPS * sigmas))
        found.append(Equality(f"timesteps of {steps} steps: Wan's formula", times, 0.0))
    return found


def _against_files(golden: Path) -> list[Equality]:
    paths = [golden / (n if "." in n else f"{n}.safetensors") for n in _GOLDEN]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ConfigurationError(
            f"golden must be a folder with {', '.join(p.name for p in paths)}. "
            f"Got none of {', '.join(missing)} in {golden}"
        )
    settings, base, side, lora = paths[0], *map(str, paths[1:4])
    tensors = load_file(paths[4])
    references = int(read_json(settings).get("num_reference_frames", 0))

    def output(files: ModelFiles, with_control: bool = True) -> Tensor:
        result: Tensor = load_transformer(files)(
            tensors["latents"],
            tensors["timestep_per_frame"][None],
            tensors["text"],
            tensors["scene_and_dummy"] if with_control else None,
            num_references=references,
        )[0]
        return result

    cases: dict[str, Callable[[], Tensor]] = {
        "out": lambda: output(ModelFiles(base, side)),
        "out_without_side_branch": lambda: output(ModelFiles(base, side), False),
        "out_with_lora": lambda: output(ModelFiles(base, side, (lora,))),
    }
    return [
        Equality(f"released implementation: {name}", _difference(run(), tensors[name]))
        for name, run in cases.items()
    ]


def _model(**changes: object) -> WanWorldTransformer:
    sizes = {**SIZES["tiny"].transformer, **changes}
    return random_transformer(sizes, torch.float32, _CPU)


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    text_dim = SIZES["tiny"].transformer["text_dim"]
    return (
        torch.randn(1, 48, _FRAMES, _ROWS, _COLUMNS, generator=generator),
        torch.randn(1, 7, text_dim, generator=generator),
        torch.randn(1, 96, _FRAMES, _ROWS, _COLUMNS, generator=generator),
    )


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference over the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
