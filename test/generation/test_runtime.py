"""Options for a robot's GPU, as far as a CPU can show them: results stay, bad choices are told."""

from __future__ import annotations

import pytest
import torch

from mirage_ros.errors import ConfigurationError, UnavailableError
from mirage_ros.generation.runtime import RuntimeOptions, prepare
from mirage_ros.generation.transformer import WanWorldTransformer

SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 2,
    "vace_layers": [0],
}


def small(ffn_dim: int = 64) -> WanWorldTransformer:
    torch.manual_seed(0)
    return WanWorldTransformer(**(SIZES | {"ffn_dim": ffn_dim})).eval().requires_grad_(False)


@torch.no_grad()
def answer(model: WanWorldTransformer, options: RuntimeOptions) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 48, 3, 4, 4, generator=generator)
    control = torch.randn(1, 96, 2, 4, 4, generator=generator)
    text = torch.randn(1, 5, 16, generator=generator)
    placed = prepare(model, options, "cpu")
    with placed():
        levels = torch.tensor([[0.0, 0.0, 500.0]])
        context, control = model.text_context(text), model.embed_control(control)
        return model(latents, levels, context, control, num_references=1)[0]


@pytest.mark.parametrize(
    "options",
    [
        RuntimeOptions(dtype="float32", offload="model"),
        RuntimeOptions(dtype="float32", offload="group"),
        RuntimeOptions(dtype="float32", attention="native"),
    ],
    ids=["offload model", "offload group", "attention"],
)
def test_options_that_only_place_things_change_no_result(options: RuntimeOptions) -> None:
    plain = answer(small(), RuntimeOptions(dtype="float32"))
    torch.testing.assert_close(answer(small(), options), plain, atol=1e-6, rtol=1e-5)


def test_blocks_can_be_captured_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch.compile needs; generating code for this machine is left out."""
    whole = WanWorldTransformer.compile_repeated_blocks
    monkeypatch.setattr(
        WanWorldTransformer,
        "compile_repeated_blocks",
        lambda self, **options: whole(self, backend="eager", **options),
    )
    plain = answer(small(), RuntimeOptions(dtype="float32"))
    compiled = answer(small(), RuntimeOptions(dtype="float32", compile=True))
    torch.testing.assert_close(compiled, plain, atol=1e-6, rtol=1e-5)


def test_weights_in_8_bits_change_results_a_little_and_only_large_layers() -> None:
    torchao_utils = pytest.importorskip("torchao.quantization")
    assert torchao_utils
    ffn_dim = 2048  # large enough to be quantized; attention is not
    plain = answer(small(ffn_dim), RuntimeOptions(dtype="float32"))
    model = small(ffn_dim)
    eight = answer(model, RuntimeOptions(dtype="float32", quantization="fp8_weights"))
    assert type(model.blocks[0].ffn.net[2].weight.data).__name__ == "Float8Tensor"
    assert type(model.blocks[0].attn1.to_q.weight.data) is torch.Tensor
    error = (eight - plain).norm() / plain.norm()
    assert 0.0 < error < 0.03


def test_fp8_products_need_a_gpu_that_has_them() -> None:
    pytest.importorskip("torchao.quantization")
    with pytest.raises(UnavailableError, match=r"8\.9 or more\. Got cpu with 0\.0; 'fp8_weights'"):
        prepare(small(), RuntimeOptions(quantization="fp8"), "cpu")


def test_an_attention_backend_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match="attention backend 'nonsense' cannot be used"):
        prepare(small(), RuntimeOptions(attention="nonsense"), "cpu")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"dtype": "int8"}, "dtype must be one of bfloat16, .*Got 'int8'"),
        ({"quantization": "int4"}, "quantization must be one of none, fp8, .*Got 'int4'"),
        ({"offload": "disk"}, "offload must be one of none, model, group.*Got 'disk'"),
        ({"offload": "group", "compile": True}, "do not go together"),
        ({"offload": "group", "quantization": "fp8"}, "do not go together"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        RuntimeOptions(**values)
