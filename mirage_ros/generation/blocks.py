"""Transformer blocks whose noise level may differ from latent frame to latent frame.

The modules and their names are those of diffusers' Wan blocks, so that its checkpoints load. What
differs is how they are run: the modulation by the noise level comes per group of tokens (all, a
latent frame, or a single token), is broadcast instead of repeated for every token, and is offered
to the side branch too; and the keys and values of the text, which no step and no chunk changes, may
be given instead of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
)
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformerBlock
from torch import Tensor


@dataclass(frozen=True)
class TextKeys:
    """What a block's attention to the text needs of it.

    Attributes:
        key: (B, L, heads, head_dim).
        value: (B, L, heads, head_dim).
    """

    key: Tensor
    value: Tensor

    def expanded(self, batch: int) -> TextKeys:
        """The same for every entry of a batch; nothing is copied."""
        return TextKeys(self.key.expand(batch, -1, -1, -1), self.value.expand(batch, -1, -1, -1))


class TextAttnProcessor(WanAttnProcessor):  # type: ignore[misc]
    """Attention to the text, whose keys and values may have been computed before."""

    def keys(self, attn: WanAttention, text: Tensor) -> TextKeys:  # text: (B, L, D)
        """Keys and values of ``text`` in this attention."""
        key = attn.norm_k(attn.to_k(text)).unflatten(2, (attn.heads, -1))
        return TextKeys(key, attn.to_v(text).unflatten(2, (attn.heads, -1)))

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,  # (B, S, D)
        encoder_hidden_states: Tensor | TextKeys | None = None,  # (B, L, D) if a tensor
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # (B, S, D)
        """The hidden states after attending; as the parent's, but for given keys."""
        if not isinstance(encoder_hidden_states, TextKeys):
            result: Tensor = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
            )
            return result
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        attended = dispatch_attention_fn(
            query,
            encoder_hidden_states.key,
            encoder_hidden_states.value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
        )
        out: Tensor = attn.to_out[0](attended.flatten(2, 3).type_as(query))
        return out


class WorldBlock(WanTransformerBlock):  # type: ignore[misc]
    """A block of the main transformer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attn2.set_processor(TextAttnProcessor())

    def forward(
        self,
        hidden_states: Tensor,  # (B, S, D)
        text: Tensor | TextKeys,  # (B, L, D) if a tensor
        modulation: Tensor,  # (B, G, 6, D), G groups of S / G tokens
        rotary: tuple[Tensor, Tensor],  # 2 x (1, S, 1, head_dim)
    ) -> Tensor:  # (B, S, D)
        """The hidden states after this block."""
        return _run(self, hidden_states, text, modulation, rotary)


class SideBlock(WanVACETransformerBlock):  # type: ignore[misc]
    """A block of the side branch; the first one takes the main transformer's tokens in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attn2.set_processor(TextAttnProcessor())

    def forward(
        self,
        control: Tensor,  # (B, S, D) of the side branch so far
        hidden_states: Tensor,  # (B, S, D) embedded tokens of the main transformer
        text: Tensor | TextKeys,  # (B, L, D) if a tensor
        modulation: Tensor,  # (B, G, 6, D)
        rotary: tuple[Tensor, Tensor],  # 2 x (1, S, 1, head_dim)
    ) -> tuple[Tensor, Tensor]:  # 2 x (B, S, D): hint, side branch
        """The hint for the main transformer, and the side branch after this block."""
        if self.proj_in is not None:
            control = self.proj_in(control) + hidden_states
        control = _run(self, control, text, modulation, rotary)
        return self.proj_out(control), control


def grouped(tokens: Tensor, groups: int) -> Tensor:  # (B, S, D) -> (B, G, S / G, D)
    """Tokens by the groups that share a noise level."""
    return tokens.reshape(tokens.shape[0], groups, -1, tokens.shape[-1])


def _run(
    block: Any,  # WorldBlock or SideBlock
    hidden_states: Tensor,
    text: Tensor | TextKeys,
    modulation: Tensor,
    rotary: tuple[Tensor, Tensor],
) -> Tensor:
    """Self-attention, attention to the text and feed-forward, each modulated by the noise level."""
    groups = modulation.shape[1]
    changes = (block.scale_shift_table[:, None] + modulation.float()).chunk(6, dim=2)
    shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = changes  # (B, G, 1, D) each

    def modulated(norm: Any, factor: Tensor, offset: Tensor) -> Tensor:
        normed = grouped(norm(hidden_states.float()), groups)
        return (normed * (1 + factor) + offset).flatten(1, 2).type_as(hidden_states)

    def added(change: Tensor, factor: Tensor) -> Tensor:
        weighted = (grouped(change.float(), groups) * factor).flatten(1, 2)
        return (hidden_states.float() + weighted).type_as(hidden_states)

    attended = block.attn1(modulated(block.norm1, scale, shift), None, None, rotary)
    hidden_states = added(attended, gate)
    normed = block.norm2(hidden_states.float()).type_as(hidden_states)
    hidden_states = hidden_states + block.attn2(normed, text, None, None)
    fed = block.ffn(modulated(block.norm3, scale_ffn, shift_ffn))
    return added(fed, gate_ffn)
