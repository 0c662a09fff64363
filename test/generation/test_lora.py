"""LoRAs in the layouts that programs save them in, against plain arithmetic."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from wan_folders import lora_tensors, original_name, vace_model, write_lora

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.lora import Lora, attach, parse_lora, read_lora

MODEL = vace_model()
WEIGHTS = {name: tensor.detach() for name, tensor in MODEL.state_dict().items()}
PAIRS = lora_tensors(WEIGHTS)
QUERY = "blocks.1.attn1.to_q"


def expected(name: str, scale: float, pairs: dict[str, tuple[Tensor, Tensor]] = PAIRS) -> Tensor:
    """The weight with its pair added, in float64."""
    down, up = (matrix.double() for matrix in pairs[name.removesuffix(".weight")])
    return WEIGHTS[name].double() + scale * torch.einsum("or,ri->oi", up, down)


def flat(name: str) -> str:
    return original_name(name).replace(".", "_")


def fuse(tensors: dict[str, Tensor], lora: Lora, scale: float = 1.0) -> None:
    """What loading does to each tensor, for a whole model at once."""
    lora.check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    for name in lora.pairs.keys() | lora.differences.keys():
        tensors[name] = lora.add_to(name, tensors[name], scale).to(tensors[name].dtype)


@pytest.mark.parametrize(
    ("prefix", "endings", "rename"),
    [
        ("pipe.dit.", (".lora_A.weight", ".lora_B.weight"), original_name),
        ("module.", (".lora_A.default.weight", ".lora_B.default.weight"), original_name),
        ("diffusion_model.", (".lora_down.weight", ".lora_up.weight"), original_name),
        ("transformer.", (".lora_A.weight", ".lora_B.weight"), str),
        ("lora_unet_", (".lora_down.weight", ".lora_up.weight"), flat),
    ],
)
def test_every_layout_gives_the_same_weights(tmp_path: Path, prefix, endings, rename) -> None:
    path = tmp_path / "lora.safetensors"
    write_lora(path, PAIRS, prefix=prefix, endings=endings, rename=rename)
    fused = dict(WEIGHTS)
    fuse(fused, read_lora(path), 0.7)
    for name, tensor in fused.items():
        if name.removesuffix(".weight") in PAIRS:
            torch.testing.assert_close(tensor.double(), expected(name, 0.7), rtol=1e-5, atol=1e-6)
        else:
            assert tensor is WEIGHTS[name]


def test_alpha_is_divided_by_the_rank(tmp_path: Path) -> None:
    alpha = {f"{original_name(QUERY)}.alpha": torch.tensor(1.0)}
    path = write_lora(tmp_path / "lora.safetensors", {QUERY: PAIRS[QUERY]}, more=alpha)
    fused = dict(WEIGHTS)
    fuse(fused, read_lora(path), 2.0)
    wanted = expected(f"{QUERY}.weight", 2.0 / 4)
    torch.testing.assert_close(fused[f"{QUERY}.weight"].double(), wanted, rtol=1e-5, atol=1e-6)


def test_whole_differences_are_added_too() -> None:
    names = {
        "blocks.0.self_attn.q.diff_b": "blocks.0.attn1.to_q.bias",
        "blocks.0.cross_attn.norm_k.diff": "blocks.0.attn2.norm_k.weight",
        "blocks.0.norm3.diff": "blocks.0.norm2.weight",
        "blocks.0.norm3.diff_b": "blocks.0.norm2.bias",
        "blocks.0.diff_m": "blocks.0.scale_shift_table",
        "head.modulation.diff": "scale_shift_table",
        "patch_embedding.diff": "patch_embedding.weight",
    }
    differences = {key: torch.rand_like(WEIGHTS[name]) for key, name in names.items()}
    fused = dict(WEIGHTS)
    fuse(fused, parse_lora({f"model.{k}": v for k, v in differences.items()}, "lora"), 0.5)
    changed = {name for name, tensor in fused.items() if tensor is not WEIGHTS[name]}
    assert changed == set(names.values())
    for key, name in names.items():
        torch.testing.assert_close(fused[name], WEIGHTS[name] + 0.5 * differences[key])


def test_the_side_branch_can_be_a_target(tmp_path: Path) -> None:
    pairs = lora_tensors(WEIGHTS, blocks="vace_blocks")
    assert pairs
    fused = dict(WEIGHTS)
    fuse(fused, read_lora(write_lora(tmp_path / "l.safetensors", pairs, prefix="pipe.vace.")))
    for module in pairs:
        name = f"{module}.weight"
        wanted = expected(name, 1.0, pairs)
        torch.testing.assert_close(fused[name].double(), wanted, rtol=1e-5, atol=1e-6)


def test_a_convolution_can_be_a_target() -> None:
    weight = WEIGHTS["patch_embedding.weight"]
    down, up = torch.rand(3, *weight.shape[1:]), torch.rand(weight.shape[0], 3, 1, 1, 1)
    key = "patch_embedding.lora_{}.weight"
    fused = dict(WEIGHTS)
    fuse(fused, parse_lora({key.format("down"): down, key.format("up"): up}, "lora"))
    wanted = weight + torch.einsum("or,rcthw->octhw", up[..., 0, 0, 0], down)
    torch.testing.assert_close(fused["patch_embedding.weight"], wanted)


def test_sixteen_bit_weights_are_rounded_once() -> None:
    down, up = PAIRS[QUERY]
    lora = parse_lora({f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}, "lora")
    name = f"{QUERY}.weight"
    fused = {name: WEIGHTS[name].bfloat16()}
    fuse(fused, lora, 0.3)
    wanted = (WEIGHTS[name].bfloat16().float() + 0.3 * (up @ down)).bfloat16()
    assert fused[name].dtype == torch.bfloat16
    assert torch.equal(fused[name], wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{QUERY}.lora_B.weight": None}, rf"both matrices of {QUERY}\.weight. Got only down"),
        ({f"{QUERY}.lora_B.weight": torch.zeros(48, 3)}, r"Got \(48, 3\) and \(4, 48\)"),
        ({"text_model.lora_A.weight": torch.zeros(4, 8)}, r"Got 1 of 3 .*: text_model\.lora_A"),
        ({f"{QUERY}.weight": torch.zeros(4, 8)}, rf"Got 1 of 3 .*: {QUERY}\.weight"),
        ({f"{QUERY}.alpha": torch.zeros(2)}, r"one number as alpha .*Got shape \(2,\)"),
        ({f"{QUERY}.lora_A.b.weight": torch.zeros(4, 48)}, "Got down of .* twice"),
    ],
)
def test_what_is_no_lora_is_refused(changes, message) -> None:
    tensors = {f"{QUERY}.lora_A.weight": PAIRS[QUERY][0], f"{QUERY}.lora_B.weight": PAIRS[QUERY][1]}
    tensors = {key: tensor for key, tensor in (tensors | changes).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        parse_lora(tensors, "lora")


def test_a_file_without_tensors_is_no_lora(tmp_path: Path) -> None:
    save_file({}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"expected pairs such as"):
        read_lora(tmp_path / "lora.safetensors")


@pytest.mark.parametrize(
    ("key", "shapes", "message"),
    [
        ("blocks.9.attn1.to_q", ((4, 48), (48, 4)), r"others: blocks\.9\.attn1\.to_q\.weight"),
        (QUERY, ((4, 40), (48, 4)), r"product of 48x48. Got up \(48, 4\) and down \(4, 40\)"),
    ],
)
def test_a_lora_for_another_model_changes_nothing(key, shapes, message) -> None:
    good = parse_lora(
        {
            "blocks.0.attn1.to_k.lora_A.weight": PAIRS[QUERY][0],
            "blocks.0.attn1.to_k.lora_B.weight": PAIRS[QUERY][1],
            f"{key}.lora_A.weight": torch.zeros(shapes[0]),
            f"{key}.lora_B.weight": torch.zeros(shapes[1]),
        },
        "lora",
    )
    fused = dict(WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        fuse(fused, good)
    assert all(fused[name] is tensor for name, tensor in WEIGHTS.items())


def test_a_difference_of_another_shape_is_refused() -> None:
    lora = parse_lora({f"{QUERY}.diff_b": torch.zeros(47)}, "lora")
    with pytest.raises(CheckpointError, match=r"to_q\.bias a difference of \(48,\). Got \(47,\)"):
        fuse(dict(WEIGHTS), lora)


def outputs(model: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        return model(
            torch.randn(1, 48, 2, 4, 4, generator=generator),
            torch.tensor([300.0]),
            torch.randn(1, 5, 32, generator=generator),
            control_hidden_states=torch.randn(1, 96, 2, 4, 4, generator=generator),
            return_dict=False,
        )[0]


def test_adapters_do_what_fusing_does() -> None:
    pytest.importorskip("peft")
    second = lora_tensors(WEIGHTS, rank=2, seed=11, blocks="(?:vace_)?blocks")
    loras = []
    for pairs, alpha in ((PAIRS, 8.0), (second, None)):
        tensors = {}
        for module, (down, up) in pairs.items():
            tensors[f"{module}.lora_A.weight"], tensors[f"{module}.lora_B.weight"] = down, up
            if alpha is not None:
                tensors[f"{module}.alpha"] = torch.tensor(alpha)
        loras.append(parse_lora(tensors, "lora"))
    scales = (0.4, 0.9)
    fused = dict(WEIGHTS)
    for lora, scale in zip(loras, scales, strict=True):
        fuse(fused, lora, scale)
    model = vace_model()
    before = outputs(model)
    attach(model, loras, scales)
    adapted = outputs(model)
    model.disable_adapters()
    assert torch.equal(outputs(model), before)
    plain = vace_model()
    plain.load_state_dict(fused)
    wanted = outputs(plain)
    assert (wanted - before).abs().max() > 0.05 * before.abs().max()
    assert (adapted - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_an_adapter_has_no_place_for_differences() -> None:
    pytest.importorskip("peft")
    lora = parse_lora({f"{QUERY}.diff_b": torch.zeros(48)}, "lora")
    with pytest.raises(
        ConfigurationError, match=r"Got 1 differences \(.*to_q\.bias\); have it fus"
    ):
        attach(vace_model(), [lora], [1.0])


def test_adapters_need_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install peft, or have them fused"):
        attach(MODEL, [], [])
