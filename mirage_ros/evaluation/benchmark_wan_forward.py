"""One forward of the transformer by itself: time, and what share of the GPU's peak it reaches."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from mirage_ros.evaluation.benchmark_wan_models import Models
from mirage_ros.evaluation.wan_flops import Sequence, forward_flops


@dataclass(frozen=True)
class ForwardCosts:
    """Figures of one sequence.

    Attributes:
        sequence: what the forward saw.
        seconds: median.
        flops: operations, exactly.
    """

    sequence: Sequence
    seconds: float
    flops: int

    @property
    def tflops(self) -> float:
        """Operations a second, in 10^12."""
        return self.flops / self.seconds / 1e12


@torch.no_grad()
def measure(models: Models, sequence: Sequence, repeats: int) -> ForwardCosts:
    """Time a forward as a denoising step does it: text and side branch prepared before."""
    model, device, dtype = models.transformer, models.device, models.options.torch_dtype
    config = model.config
    rows, columns = sequence.height // 16, sequence.width // 16
    generator = torch.Generator().manual_seed(0)

    def random(channels: int, frames: int) -> torch.Tensor:
        drawn = torch.randn(1, channels, frames, rows, columns, generator=generator)
        return drawn.to(device, dtype)

    latents = random(config.in_channels, sequence.frames)
    text = models.text[None].to(device, dtype)
    levels = torch.full((1, sequence.frames), 500.0, device=device)
    levels[:, : sequence.references + 1] = 0.0
    seconds = []
    with models.placement():
        keeps = models.options.offload == "none"
        context = model.text_context(text) if keeps else text
        seen = random(config.vace_in_channels, sequence.seen) if model.has_side_branch else None
        control = None if seen is None else model.embed_control(seen)
        for _ in range(2 + repeats):
            _wait(device)
            start = time.perf_counter()
            model(latents, levels, context, control, num_references=sequence.references)
            _wait(device)
            seconds.append(time.perf_counter() - start)
    return ForwardCosts(sequence, statistics.median(seconds[2:]), forward_flops(config, sequence))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
