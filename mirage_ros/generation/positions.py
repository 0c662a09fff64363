"""Where each patch of a chunk stands for the transformer's rotary position embedding.

A sequence is [references | targets | preceding] along time. Targets count from 0, preceding frames
go on after them. References are no neighbours of the targets in time or place: they stand at
negative times, and their rows begin where the others' rows end, so that no patch of a reference
shares a position with one of a target (as the released model was trained).
"""

from __future__ import annotations

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor

from mirage_ros.errors import GenerationError


def rotary_table(
    rope: WanRotaryPosEmbed,
    frames: int,  # F patch frames, references included
    references: int,  # R of them, at the front
    rows: int,  # patch rows
    columns: int,  # patch columns
) -> tuple[Tensor, Tensor]:  # 2 x (1, F * rows * columns, 1, head_dim) cosines and sines
    """Rotary tables of a sequence, patches in the order frames, rows, columns.

    Negative times turn the other way: the cosine of |t|, the negated sine.

    Raises:
        GenerationError: a position lies beyond the table of ``rope``.
    """
    longest = rope.freqs_cos.shape[0]
    needed = max(frames, rows * (2 if references else 1), columns)
    if needed > longest:
        raise GenerationError(f"positions reach to {needed}, the rotary table to {longest}")
    parts = [rope.t_dim, rope.h_dim, rope.w_dim]
    time = torch.arange(-references, frames - references, device=rope.freqs_cos.device)
    row = torch.arange(rows, device=time.device).repeat(frames, 1)
    row[:references] += rows
    tables = []
    for table, is_odd in ((rope.freqs_cos, False), (rope.freqs_sin, True)):
        by_time, by_row, by_column = table.split(parts, dim=1)
        at_time = by_time[time.abs()]
        if is_odd:
            at_time = torch.where(time[:, None] < 0, -at_time, at_time)
        shape = (frames, rows, columns, -1)
        spread = torch.cat(
            [
                at_time[:, None, None].expand(shape),
                by_row[row][:, :, None].expand(shape),
                by_column[:columns][None, None].expand(shape),
            ],
            dim=-1,
        )
        tables.append(spread.reshape(1, frames * rows * columns, 1, -1))
    return tables[0], tables[1]
