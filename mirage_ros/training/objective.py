"""What is minimised: the error of the clean latents that the model predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.training.inputs import Inputs

#: Errors at low noise are small; they are weighted by 1 / level^2, as those of the velocity are,
#: but for levels below this one.
_LEAST_LEVEL = 0.25

#: What a frame's draft is off by at least, in the model's units: a frame that is nearly right
#: already does not count beyond measure. On average it is 1.
_LEAST_OFF = 0.1


def predicted(
    transformer: WanWorldTransformer,
    inputs: Inputs,
    targets: Tensor,  # (B, T, C, h, w) in the model's units, at ``levels``
    levels: Tensor,  # (B, T)
) -> Tensor:  # (B, T, C, h, w) clean targets in the model's units
    """The model's guess of what is clean."""
    text = targets.new_zeros(len(targets), 1, transformer.config.text_dim)
    references = inputs.references.shape[1]
    output: Tensor = transformer(
        inputs.sequence(targets),
        inputs.timesteps(levels),
        text,
        inputs.control,
        num_references=references,
    )[0]
    return output.transpose(1, 2)[:, references : references + targets.shape[1]]


class FlowObjective:
    """Flow matching in clean latents: mean squared error, weighted by what errors do to pictures.

    With a sample (1 - s) x + s n at level s, predicting x with weight 1 / s^2 is predicting the
    velocity n - x with weight 1 (Lipman et al. 2023, "Flow Matching for Generative Modeling"). A
    channel counts by how much its unit changes a pixel: the square would be the pictures' squared
    error, which leaves hardly anything of fine detail.

    Args:
        codec: of the latents.
        even_frames: divide the error of every frame by what its draft is off by.
    """

    def __init__(self, codec: DctCodec, *, even_frames: bool = False) -> None:
        self._gain = torch.tensor(codec.channel_gain)[:, None, None]
        self._even_frames = even_frames

    def __call__(self, transformer: WanWorldTransformer, inputs: Inputs) -> Tensor:
        """The loss of a batch, about 1 for a model that says zero."""
        made = predicted(transformer, inputs, inputs.targets, inputs.levels)
        return self.weighted(made - inputs.clean, inputs)

    def weighted(self, error: Tensor, inputs: Inputs) -> Tensor:  # (B, T, C, h, w) -> ()
        """Mean squared error over the targets that are not given."""
        scale = inputs.units.scale[:, : error.shape[1]]
        weight = self._gain.to(error.device) * scale
        weight = weight / weight.mean()
        if self._even_frames:
            off = (weight * inputs.clean.square()).mean(dim=(2, 3, 4), keepdim=True)
            weight = weight / (off + _LEAST_OFF)
        level = inputs.levels[:, :, None, None, None]
        weight = weight * (level > 0.0) / level.clamp(min=_LEAST_LEVEL).square()
        share = (inputs.levels > 0.0).float().mean().clamp(min=1e-6)
        return (weight * error.square()).mean() / share
