"""The running average of a model's weights, which is what is kept of a training run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: The average follows quickly at first: after n updates it decays by at most (1 + n) / (10 + n).
_HEAD_START = 10.0


class WeightAverage:
    """Exponential moving average of the weights that are trained.

    Args:
        module: whose weights.
        decay: share that is kept at an update.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._decay = decay
        self.updates = 0
        self.values = {
            name: value.detach().clone()
            for name, value in module.named_parameters()
            if value.requires_grad
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are now into the average."""
        self.updates += 1
        decay = min(self._decay, (1.0 + self.updates) / (_HEAD_START + self.updates))
        for name, value in self._module.named_parameters():
            if name in self.values:
                self.values[name].lerp_(value, 1.0 - decay)

    def keep(self) -> None:
        """Give the module the averaged weights for good."""
        self._exchanged(self.values)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights inside the block, its own ones after it."""
        own = self._exchanged(self.values)
        try:
            yield
        finally:
            self._exchanged(own)

    @torch.no_grad()
    def _exchanged(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        before = {}
        for name, parameter in self._module.named_parameters():
            if name in values:
                before[name] = parameter.detach().clone()
                parameter.copy_(values[name])
        return before
