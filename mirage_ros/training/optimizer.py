"""Updates of the weights: one rule for the matrices inside the blocks, another for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mirage_ros.errors import UnavailableError

#: Decay of the averages of gradients and of their squares. The usual 0.999 is slow for runs of a
#: few thousand steps.
_BETAS = (0.9, 0.99)


class Optimizer:
    """Muon or AdamW for the blocks' matrices, AdamW for all other weights.

    Args:
        model: whose weights that want gradients are trained.
        rate: learning rate.
        decay: of matrices.
        name: one of :data:`mirage_ros.training.run_config.OPTIMIZERS`.

    Raises:
        UnavailableError: this torch is too old for Muon.
    """

    def __init__(self, model: nn.Module, rate: float, decay: float, name: str) -> None:
        blocks: list[nn.Parameter] = []
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for place, weight in model.named_parameters():
            if not weight.requires_grad:
                continue
            inside = name == "muon" and weight.ndim == 2 and "blocks." in place
            (blocks if inside else matrices if weight.ndim >= 2 else others).append(weight)
        groups = [
            {"params": matrices, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([g for g in groups if g["params"]], rate, betas=_BETAS)
        ]
        if blocks:
            muon = getattr(torch.optim, "Muon", None)
            if muon is None:
                raise UnavailableError(
                    f"the optimizer 'muon' needs torch 2.9 or newer; 'adamw' does not. "
                    f"Got torch {torch.__version__}"
                )
            # With updates as large as AdamW's, so that both take one learning rate.
            self._parts.append(
                muon(blocks, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )

    def set_rate(self, rate: float) -> None:
        """Go on with another learning rate."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad()

    def step(self) -> None:
        """Update the weights."""
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {str(number): part.state_dict() for number, part in enumerate(self._parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for number, part in enumerate(self._parts):
            part.load_state_dict(state[str(number)])
