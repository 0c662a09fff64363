"""Which weights a stage trains, and low-rank changes to those it leaves alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.training.run_config import NanoConfig, StageConfig

#: Width of the text embedding and of the noise level's; the model is not told any text.
_TEXT_DIM, _FREQ_DIM = 64, 64

#: Linear layers of a block that get low-rank changes, as published.
_LORA_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")

_SIDE = ("vace_blocks", "vace_patch_embedding")


def new_transformer(config: NanoConfig, channels: int, seed: int) -> WanWorldTransformer:
    """A transformer with random weights that says zero: it begins with the draft."""
    torch.manual_seed(seed)
    transformer: WanWorldTransformer = WanWorldTransformer(
        patch_size=(1, 2, 2),
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        in_channels=channels,
        out_channels=channels,
        text_dim=_TEXT_DIM,
        freq_dim=_FREQ_DIM,
        ffn_dim=config.ffn,
        num_layers=config.layers,
        vace_layers=list(config.side_layers),
        vace_in_channels=2 * channels,
        max_reference_frames=config.references,
    )
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer


def choose(transformer: WanWorldTransformer, stage: StageConfig) -> list[nn.Parameter]:
    """Prepare a transformer for a stage; the weights that it trains.

    A stage that trains the side branch alone begins with hints of zero (as published): what the
    main transformer can do is where it starts from.
    """
    transformer.requires_grad_(False)
    if stage.trains == "all":
        transformer.requires_grad_(True)
    elif stage.trains == "base":
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(not name.startswith(_SIDE))
    else:
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(name.startswith(_SIDE))
        if stage.trains == "side":
            for name, parameter in transformer.vace_blocks.named_parameters():
                if ".proj_out." in name:
                    nn.init.zeros_(parameter)
        else:
            add_lora(transformer, stage.lora_rank)
    return [parameter for parameter in transformer.parameters() if parameter.requires_grad]


class _LowRank(nn.Module):
    """A weight plus a product of two narrow matrices, zero at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5.0))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_lora(transformer: WanWorldTransformer, rank: int) -> None:
    """Let low-rank changes to the main transformer's blocks be trained."""
    for layer in _lora_layers(transformer):
        parametrize.register_parametrization(layer, "weight", _LowRank(layer.weight, rank))


def fused_copy(transformer: WanWorldTransformer) -> WanWorldTransformer:
    """A copy with low-rank changes as part of the weights; the given one can be trained on."""
    config = {k: v for k, v in transformer.config.items() if not k.startswith("_")}
    made: WanWorldTransformer = WanWorldTransformer(**config)
    state = {
        name: value
        for name, value in transformer.state_dict().items()
        if ".parametrizations." not in name
    }
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    made.load_state_dict(state)
    return made


def fuse_lora(transformer: WanWorldTransformer) -> None:
    """Make low-rank changes part of the weights; nothing where there are none."""
    for layer in _lora_layers(transformer):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _lora_layers(transformer: WanWorldTransformer) -> list[nn.Linear]:
    layers = []
    for block in transformer.blocks:
        for name, module in block.named_modules():
            if isinstance(module, nn.Linear) and name.endswith(_LORA_LAYERS):
                layers.append(module)
    return layers
