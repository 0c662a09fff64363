"""The diffusion transformer: Wan2.2 with a side branch for what is remembered.

A sequence of latent frames is [references | targets | preceding]: whole past frames that look
at the same place, the frames to denoise, and frames that came just before them. Every latent frame
has a noise level of its own; clean ones have 0. The side branch sees what the memory knows of the
targets and preceding frames, never the references, and gives hints to some of the layers.

Facts: the released implementation of arXiv 2606.09828; diffusers' WanVACETransformer3DModel, whose
modules and names these are, so that its checkpoints and those of WanTransformer3DModel load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from torch import Tensor, nn

from mirage_ros.errors import ConfigurationError, GenerationError
from mirage_ros.generation.blocks import SideBlock, TextKeys, WorldBlock, grouped
from mirage_ros.generation.positions import rotary_table

#: Most rotary tables kept: a chunk, a shorter last one, and both with fewer references.
_ROTARY_TABLES = 8


@dataclass(frozen=True)
class TextContext:
    """A text as every block needs it; the same for all steps and chunks.

    Attributes:
        blocks: for each block of the main transformer.
        side_blocks: for each block of the side branch.
    """

    blocks: tuple[TextKeys, ...]
    side_blocks: tuple[TextKeys, ...]

    def expanded(self, batch: int) -> TextContext:
        """The same text for every entry of a batch; nothing is copied."""
        return TextContext(
            tuple(keys.expanded(batch) for keys in self.blocks),
            tuple(keys.expanded(batch) for keys in self.side_blocks),
        )


class WanWorldTransformer(WanVACETransformer3DModel):  # type: ignore[misc]
    """Wan2.2's transformer with noise levels per latent frame, references and a side branch.

    Args:
        vace_layers: layers after which a hint of the side branch is added, ascending, the first 0;
            empty: no side branch.
        max_reference_frames: references allowed (the model was trained with so many).

    The other arguments are those of diffusers' WanVACETransformer3DModel.

    Raises:
        ConfigurationError: the layer list does not fit the layers.
    """

    _no_split_modules: ClassVar[list[str]] = ["WorldBlock", "SideBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["WorldBlock", "SideBlock"]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: Sequence[int] = (1, 2, 2),
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        in_channels: int = 48,
        out_channels: int = 48,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 14336,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        vace_layers: Sequence[int] = tuple(range(0, 30, 2)),
        vace_in_channels: int = 96,
        max_reference_frames: int = 4,
    ) -> None:
        layers = check_side_layers(vace_layers, num_layers)
        if image_dim is not None or added_kv_proj_dim is not None:
            raise ConfigurationError(
                "Wan2.2-TI2V takes images as latents: image_dim and added_kv_proj_dim must be "
                "null. "
                f"Got image_dim {image_dim}, added_kv_proj_dim {added_kv_proj_dim}"
            )
        # One block each, which ours replace; the rest of the parent is as it is here.
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=1,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            rope_max_seq_len=rope_max_seq_len,
            vace_layers=[0],
            vace_in_channels=vace_in_channels,
        )
        # The parent has written down its own.
        self.register_to_config(num_layers=num_layers, vace_layers=layers)
        block = (
            num_attention_heads * attention_head_dim,
            ffn_dim,
            num_attention_heads,
            qk_norm,
            cross_attn_norm,
            eps,
        )
        self.blocks = nn.ModuleList([WorldBlock(*block) for _ in range(num_layers)])
        self.vace_blocks = nn.ModuleList(
            [
                SideBlock(*block, apply_input_projection=layer == 0, apply_output_projection=True)
                for layer in layers
            ]
        )
        if not layers:
            del self.vace_patch_embedding
        self._rotary: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    @property
    def has_side_branch(self) -> bool:
        """Whether what is remembered can reach what is generated."""
        return bool(self.config.vace_layers)

    def embed_text(self, text: Tensor) -> Tensor:  # (B, L, text_dim) -> (B, L, D)
        """The encoded prompt as tokens of this transformer."""
        embedded: Tensor = self.condition_embedder.text_embedder(text)
        return embedded

    def text_context(self, text: Tensor) -> TextContext:  # (B, L, text_dim)
        """Keys and values of an encoded prompt in every block.

        They take 2 * blocks * L * D numbers; whoever has not got the room gives the text itself to
        :meth:`forward`, which is the same but slower.
        """
        embedded = self.embed_text(text)

        def of(blocks: Iterable[Any]) -> tuple[TextKeys, ...]:
            return tuple(b.attn2.processor.keys(b.attn2, embedded) for b in blocks)

        return TextContext(of(self.blocks), of(self.vace_blocks))

    def embed_control(self, control: Tensor) -> Tensor:  # (B, 96, T + P, h, w) -> (B, S', D)
        """What the side branch starts from; the same for all steps of a chunk."""
        tokens: Tensor = self.vace_patch_embedding(control)
        return tokens.flatten(2).transpose(1, 2).contiguous()

    def forward(
        self,
        hidden_states: Tensor,  # (B, C, F, h, w), F = R + T + P latent frames
        timestep: Tensor,  # (B,), (B, F) or (B, S), 0 to 1000
        encoder_hidden_states: Tensor | TextContext,  # (B, L, text_dim) if a tensor
        control_hidden_states: Tensor | None = None,  # (B, 96, T + P, h, w), or embedded (B, S', D)
        control_hidden_states_scale: float | Tensor = 1.0,  # one, or (number of side blocks,)
        num_references: int = 0,
        return_dict: bool = False,
        before_block: Callable[[], object] | None = None,
    ) -> tuple[Tensor]:  # ((B, C, F, h, w),)
        """Velocity of every latent, references and preceding frames included.

        Without ``control_hidden_states`` the side branch does not run. ``before_block`` is called
        before every layer.

        Raises:
            GenerationError: shapes that do not fit each other or the model, or more references than
                it allows.
        """
        frames, rows, columns = self._check(hidden_states, num_references)
        rotary = self._rotary_table(frames, num_references, rows, columns)
        hidden = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
        skipped = num_references * rows * columns
        time, modulation = self._time(timestep, hidden, frames)
        if isinstance(encoder_hidden_states, TextContext):
            texts: Sequence[Tensor | TextKeys] = encoder_hidden_states.blocks
            side_texts: Sequence[Tensor | TextKeys] = encoder_hidden_states.side_blocks
        else:
            embedded = self.embed_text(encoder_hidden_states)
            texts, side_texts = (embedded,) * len(self.blocks), (embedded,) * len(self.vace_blocks)

        side: dict[int, int] = {}
        if control_hidden_states is not None:
            side = {layer: number for number, layer in enumerate(self.config.vace_layers)}
            control = self._control(control_hidden_states, hidden.shape[1] - skipped)
            groups = modulation.shape[1]
            side_modulation = modulation[:, skipped * groups // hidden.shape[1] :]
            side_rotary = (rotary[0][:, skipped:], rotary[1][:, skipped:])
            entered = hidden[:, skipped:]
            scales = torch.as_tensor(control_hidden_states_scale).expand(len(side)).tolist()
        for layer, block in enumerate(self.blocks):
            if before_block is not None:
                before_block()
            # A hint is computed just before it is needed: held for all layers, hints of a large
            # chunk take more memory than everything else that is computed.
            number = side.get(layer)
            if number is not None:
                hint, control = self._block(
                    self.vace_blocks[number],
                    control, entered, side_texts[number], side_modulation, side_rotary,
                )  # fmt: skip
            hidden = self._block(block, hidden, texts[layer], modulation, rotary)
            if number is not None:
                hinted = hidden[:, skipped:] + hint * scales[number]
                hidden = torch.cat([hidden[:, :skipped], hinted], dim=1) if skipped else hinted
        output = self._unpatched(self._head(hidden, time), frames, rows, columns)
        return (output,)

    def _check(self, hidden_states: Tensor, references: int) -> tuple[int, int, int]:
        """Patch frames, rows and columns of an input that fits."""
        channels = self.config.in_channels
        if hidden_states.ndim != 5 or hidden_states.shape[1] != channels:
            raise GenerationError(
                f"latents must have shape (B, {channels}, frames, rows, columns). "
                f"Got {tuple(hidden_states.shape)}"
            )
        sides = hidden_states.shape[2:]
        if any(side % patch for side, patch in zip(sides, self.config.patch_size, strict=True)):
            raise GenerationError(
                f"frames, rows and columns must be multiples of {self.config.patch_size}. "
                f"Got {tuple(sides)}"
            )
        allowed = self.config.max_reference_frames
        if not 0 <= references <= min(allowed, sides[0] - 1):
            raise GenerationError(
                f"the model allows 0 to {allowed} references, beside at least one other frame. "
                f"Got {references} of {sides[0]} frames"
            )
        frames, rows, columns = (
            side // patch for side, patch in zip(sides, self.config.patch_size, strict=True)
        )
        return frames, rows, columns

    def _rotary_table(
        self, frames: int, references: int, rows: int, columns: int
    ) -> tuple[Tensor, Tensor]:
        buffer = self.rope.freqs_cos
        key = (frames, references, rows, columns, buffer.device, buffer.data_ptr())
        if key not in self._rotary:
            while len(self._rotary) >= _ROTARY_TABLES:
                self._rotary.pop(next(iter(self._rotary)))
            self._rotary[key] = rotary_table(self.rope, frames, references, rows, columns)
        return self._rotary[key]

    def _time(
        self,
        timestep: Tensor,  # (B,) or (B, G)
        hidden: Tensor,  # (B, S, D)
        frames: int,
    ) -> tuple[Tensor, Tensor]:  # (B, G, D), (B, G, 6, D)
        """Embedding of noise levels, and what blocks derive from it; G groups of tokens."""
        levels = timestep[:, None] if timestep.ndim == 1 else timestep
        batch, tokens = hidden.shape[:2]
        if (
            levels.ndim != 2
            or levels.shape[0] != batch
            or levels.shape[1] not in (1, frames, tokens)
        ):
            raise GenerationError(
                f"timesteps must have shape ({batch},), ({batch}, {frames}) for latent frames or "
                f"({batch}, {tokens}) for tokens. Got {tuple(timestep.shape)}"
            )
        embedder = self.condition_embedder
        waves = embedder.timesteps_proj(levels.flatten())
        dtype = next(embedder.time_embedder.parameters()).dtype
        time = embedder.time_embedder(waves.to(dtype)).type_as(hidden)
        modulation = embedder.time_proj(embedder.act_fn(time))
        shape = tuple(levels.shape)
        return time.unflatten(0, shape), modulation.unflatten(0, shape).unflatten(2, (6, -1))

    def _control(self, control: Tensor, tokens: int) -> Tensor:  # (B, S', D)
        if not self.has_side_branch:
            raise GenerationError("the model has no side branch, but was given what it should see")
        if control.ndim == 5:
            channels = self.config.vace_in_channels
            if control.shape[1] != channels:
                raise GenerationError(
                    f"the side branch takes {channels} channels. Got {control.shape[1]}"
                )
            control = self.embed_control(control)
        if control.shape[1] != tokens:
            raise GenerationError(
                "the side branch must see exactly the targets and preceding frames, "
                f"{tokens} tokens. Got {control.shape[1]}"
            )
        return control

    def _block(self, block: nn.Module, *arguments: Any) -> Any:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *arguments)
        return block(*arguments)

    def _head(self, hidden: Tensor, time: Tensor) -> Tensor:  # (B, S, D), (B, G, D)
        table = self.scale_shift_table[:, None].to(time.device) + time[:, :, None]
        shift, scale = table.chunk(2, dim=2)  # (B, G, 1, D) each
        normed = grouped(self.norm_out(hidden.float()), time.shape[1])
        modulated = (normed * (1 + scale) + shift).flatten(1, 2).type_as(hidden)
        projected: Tensor = self.proj_out(modulated)
        return projected

    def _unpatched(self, tokens: Tensor, frames: int, rows: int, columns: int) -> Tensor:
        """Patches (B, S, patch * C) laid out as latents (B, C, F, h, w)."""
        patch = self.config.patch_size
        grid = tokens.reshape(tokens.shape[0], frames, rows, columns, *patch, -1)
        return grid.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def check_side_layers(layers: Sequence[int], num_layers: int) -> list[int]:
    """The layer list of a side branch, checked.

    Raises:
        ConfigurationError: not ascending from 0 within the layers.
    """
    listed = [int(layer) for layer in layers]
    ascending = all(a < b for a, b in pairwise(listed))
    if listed and (listed[0] != 0 or not ascending or listed[-1] >= num_layers):
        raise ConfigurationError(
            f"the side branch's layers must ascend from 0 to at most {num_layers - 1}, or be "
            f"empty. Got {listed}"
        )
    return listed
