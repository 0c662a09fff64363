"""``mirage benchmark wan``: its counts against other ways of counting, and the command itself."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mirage_ros.cli import main
from mirage_ros.codec.tiny_decoder import TinyDecoder
from mirage_ros.evaluation import benchmark_wan_equalities as equalities
from mirage_ros.evaluation import benchmark_wan_sections as sections
from mirage_ros.evaluation.benchmark_wan_conditioning import ConditioningCosts
from mirage_ros.evaluation.benchmark_wan_forward import ForwardCosts
from mirage_ros.evaluation.benchmark_wan_models import SIZES, build_models, random_transformer
from mirage_ros.evaluation.benchmark_wan_rollout import ChunkCosts, Setting, StageTimes
from mirage_ros.evaluation.benchmark_wan_scene import make_scene, textured_room
from mirage_ros.evaluation.result_file import read_result
from mirage_ros.evaluation.wan_flops import Sequence, forward_flops, peak_tflops
from mirage_ros.generation.runtime import RuntimeOptions

CPU = torch.device("cpu")
RELEASED = Path(__file__).parents[1] / "generation" / "released_model"

PUBLISHED = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 14336,
    "num_layers": 30,
    "vace_layers": list(range(0, 30, 2)),
    "vace_in_channels": 96,
}


@pytest.mark.parametrize(
    ("size", "context", "tflop"),
    [((1280, 704), (0, 0), 144), ((1280, 704), (4, 2), 247), ((832, 480), (4, 2), 90)],
)
def test_operations_are_those_that_were_published(
    size: tuple[int, int], context: tuple[int, int], tflop: int
) -> None:
    sequence = Sequence(*size, references=context[0], preceding=context[1])
    released = forward_flops(PUBLISHED, sequence, released=True) / 1e12
    assert round(released) == tflop
    ours = forward_flops(PUBLISHED, sequence) / 1e12
    assert 0.97 * released < ours < released


@pytest.mark.parametrize("layers", [[0, 2, 4], []])
@torch.no_grad()
def test_operations_are_those_that_torch_counts(layers: list[int]) -> None:
    sizes = {**SIZES["tiny"].transformer, "vace_layers": layers}
    model = random_transformer(sizes, torch.float32, CPU)
    latents, text = torch.randn(1, 48, 6, 4, 6), torch.randn(1, 8, 32)
    context, seen = model.text_context(text), torch.randn(1, 96, 4, 4, 6) if layers else None
    control = None if seen is None else model.embed_control(seen)
    sequence = Sequence(96, 64, 3, 2, 1, 8)

    def counted(*inputs: object) -> int:
        # As plain products, which the counter knows on every device.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(latents, *inputs, num_references=2)
        return int(counter.get_total_flops())

    assert counted(torch.zeros(1, 6), context, control) == forward_flops(model.config, sequence)
    released = forward_flops(model.config, sequence, released=True)
    assert counted(torch.zeros(1, 36), text, seen) == released


def test_a_gpu_is_known_by_its_name() -> None:
    assert peak_tflops("NVIDIA H200") == peak_tflops("NVIDIA H100 80GB HBM3") == 989.0
    assert peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert peak_tflops("NVIDIA GeForce GTX 1080") is None


@torch.no_grad()
def test_random_weights_of_a_deep_model_stay_in_range() -> None:
    """As deep as the full one, and in its type."""
    sizes = {"num_attention_heads": 1, "attention_head_dim": 48, "ffn_dim": 96, "text_dim": 32}
    model = random_transformer(sizes, torch.bfloat16, CPU)
    assert len(model.blocks) == 30
    assert len(model.vace_blocks) == 15
    sample = torch.randn(1, 48, 3, 4, 4, dtype=torch.bfloat16)
    control = torch.randn(1, 96, 3, 4, 4, dtype=torch.bfloat16)
    out = model(sample, torch.full((1, 3), 900.0), torch.randn(1, 5, 32).bfloat16(), control)[0]
    assert 0.1 < float(out.float().std()) < 10.0
    again = random_transformer(sizes, torch.bfloat16, CPU)
    assert torch.equal(again.proj_out.weight, model.proj_out.weight)


def test_the_room_is_seen_alike_from_different_places() -> None:
    scene = textured_room((96, 64), 129)
    assert np.allclose(scene.path[0], scene.path[-1])
    first, later = scene.frames[0], scene.frames[2]
    assert first.depth is not None
    camera = scene.camera
    points = camera.unproject(camera.pixel_centres(), first.depth.astype(np.float64))
    world = points @ first.T_world_camera[:3, :3].T + first.T_world_camera[:3, 3]
    local = (world - later.T_world_camera[:3, 3]) @ later.T_world_camera[:3, :3]
    u = local[..., 0] / local[..., 2] * camera.fx + camera.cx
    v = local[..., 1] / local[..., 2] * camera.fy + camera.cy
    inside = (u > 1) & (u < 95) & (v > 1) & (v < 63) & (local[..., 2] > 0)
    assert inside.mean() > 0.5
    row, column = v[inside].astype(int), u[inside].astype(int)
    assert later.depth is not None
    assert np.median(np.abs(later.depth[row, column] - local[inside][:, 2])) < 0.02
    pixels = later.image[row, column].astype(float) - first.image[inside]
    assert np.median(np.abs(pixels)) < 12.0
    assert first.image.astype(float).std() > 40.0


def test_without_mujoco_there_is_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if ".simulator" in name or name == "mujoco"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    scene = make_scene("auto", 3, (64, 32), 65, lambda items, _: items)
    assert scene.name == "textured room"
    with pytest.raises(ModuleNotFoundError):
        make_scene("apartment", 3, (64, 32), 65, lambda items, _: items)


def test_times_of_stages_add_up_until_they_are_taken() -> None:
    clock = StageTimes()
    for _ in range(3):
        with clock.measure("outer"), clock.measure("inner"):
            pass
    taken = clock.take()
    assert 0.0 < taken["inner"] < taken["outer"]
    assert clock.take() == {}


def rollout(seconds: float, **changes: object) -> ChunkCosts:
    values = {"size": (1280, 704), "steps": 4, "context": True, "tiny": True} | changes
    stages = dict.fromkeys(sections.STAGES, 0.1)
    peak = 20 * 2**30
    return ChunkCosts(Setting(**values), seconds, seconds, stages, 4, peak, peak, peak)  # type: ignore[arg-type]


def test_targets_are_held_against_the_figures() -> None:
    costs = [rollout(1.9), rollout(2.5, context=False), rollout(1.0, size=(832, 480))]
    section = sections.rollout_section(costs, "", True)
    assert [(t.measured, t.met) for t in section.targets] == [(1.9, True), (20.0, True)]
    slow = sections.rollout_section([rollout(2.1), rollout(0.5, tiny=False)], "", True)
    assert [t.met for t in slow.targets] == [False, None]
    failed = ChunkCosts(Setting((832, 480), 4, True, False), failure="out of GPU memory")
    assert sections.rollout_section([*costs, failed], "", True).targets[1].met is False
    forward = ForwardCosts(Sequence(1280, 704), 0.25, round(144e12))
    assert sections.forward_section([forward], 989.0, True).targets[0].met is False
    assert sections.forward_section([forward], 900.0, True).targets[0].met is True
    assert sections.forward_section([forward], None, True).targets[0].met is None
    alone = ConditioningCosts(0.01, 0.02, 2.0, 0.5, 0.9, 0.1)
    assert alone.read_ratio == pytest.approx(200.0)
    assert alone.ratio == pytest.approx(70.0)
    assert alone.fair_ratio == pytest.approx(100.0 / 3.0)
    pair = (rollout(1.0, tiny=False), rollout(11.0, tiny=False, memory="rgb"))
    rgb = sections.rgb_section([pair], [((1280, 704), alone)], 1, 1, True)
    assert [t.met for t in rgb.targets] == [True, True]
    # 1 s less 2 x 0.1 s of its own memory's, and 2.1 s of the points'.
    assert rgb.tables[0].rows[0][4] == pytest.approx(2.9)


def test_a_difference_beyond_what_is_allowed_is_told() -> None:
    found = [equalities.Equality("one", 1e-6), equalities.Equality("other", 2e-5)]
    target = sections.equality_section(found, None).targets[0]
    assert (target.met, target.comment) == (False, "beyond: other")
    assert not equalities.Equality("none", math.nan).holds


def test_the_tiny_pipeline_is_tiny() -> None:
    models = build_models(SIZES["tiny"], RuntimeOptions(dtype="float32"), CPU)
    assert sum(p.numel() for p in models.transformer.parameters()) < 10**6
    assert isinstance(models.codec(True).tiny_decoder, TinyDecoder)
    assert models.codec(False).tiny_decoder is None


# A whole pipeline, which a machine that is busy with something else takes minutes for.
@pytest.mark.timeout(600)
def test_the_command_writes_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "mirage_ros.evaluation.html_report", raising=False)
    arguments = [
        "--quick",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--scene",
        "room",
        "--golden",
        str(RELEASED),
    ]
    assert main(["benchmark", "wan", *arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no report.html, which needs the package 'jinja2'" in printed
    result = read_result(tmp_path / "benchmark.json")
    assert [section.title for section in result.sections] == [
        "The transformer alone",
        "Rollouts end to end",
        "Latent tokens against coloured points",
        "Equalities",
    ]
    *others, equal = result.targets
    assert [target.met for target in others] == [None] * 5
    assert all(target.comment == "needs the full model on a CUDA GPU" for target in others)
    assert equal.met is True
    rollouts = result.sections[1].tables[0]
    assert len(rollouts.rows) == 4
    chunk = rollouts.columns.index("chunk")
    parts = [rollouts.columns.index(name) for name in ("readout", "generate", "decode")]
    for row in rollouts.rows:
        assert row[chunk] >= sum(row[part] for part in parts) > 0.0  # type: ignore[operator, misc]
    names = [row[0] for row in result.sections[3].tables[0].rows]
    assert sum(str(name).startswith("released implementation") for name in names) == 3
    assert result.command.startswith("mirage benchmark wan --")
    assert str(RELEASED.parent) not in result.command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "speed"], "parts are some of forward, rollout, rgb, equalities. Got 'speed'"),
        (["--sizes", "100x64"], "sizes must be multiples of 32. Got '100x64'"),
        (["--steps", "0"], "steps must be whole numbers of at least 1. Got '0'"),
        (["--golden", "/nowhere", "--parts", "equalities"], "golden must be a folder with"),
    ],
)
def test_bad_options_are_refused(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--quick", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["benchmark", "wan", *quick, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_every_subject_has_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for given, there, absent in (
        (["wan"], "--side-layers", "--sequence"),
        (["memory"], "--sequence", "--side-layers"),
        ([], "--sequence", "--side-layers"),
    ):
        with pytest.raises(SystemExit):
            main(["benchmark", *given, "--help"])
        text = capsys.readouterr().out
        assert there in text
        assert absent not in text
    with pytest.raises(SystemExit):
        main(["benchmark", "--quick", "wan"])
    assert "the subject 'wan' must come before all options" in capsys.readouterr().err
