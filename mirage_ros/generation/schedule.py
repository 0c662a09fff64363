"""Noise levels of the denoising steps, and the solvers that take them.

A sample at noise level sigma is (1 - sigma) * clean + sigma * noise; the model predicts the
velocity noise - clean, and is told 1000 * sigma. Solvers are diffusers'; the levels are given to
them, because those that they space themselves differ from the ones that Wan was published with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from mirage_ros.errors import ConfigurationError
from mirage_ros.wan_settings import SOLVERS

#: Levels of training; the model is told a level times this.
TRAIN_STEPS = 1000


@dataclass(frozen=True)
class Schedule:
    """How a chunk is denoised.

    Attributes:
        steps: evaluations of the model.
        shift: moves the levels towards noise; 5 is what Wan2.2-TI2V-5B is published with.
        solver: one of :data:`mirage_ros.wan_settings.SOLVERS`.
        sigmas: the levels themselves, falling, in (0, 1], as few-step models come with; empty: from
            ``steps`` and ``shift``.

    Raises:
        ConfigurationError: a value is out of range.
    """

    steps: int = 20
    shift: float = 5.0
    solver: str = "unipc"
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ConfigurationError(
                f"solver must be one of {', '.join(SOLVERS)}. Got '{self.solver}'"
            )
        if not 1 <= self.steps <= TRAIN_STEPS:
            raise ConfigurationError(f"steps must be 1 to {TRAIN_STEPS}. Got {self.steps}")
        if not self.shift > 0.0:
            raise ConfigurationError(f"shift must be positive. Got {self.shift}")
        levels = np.array(self.sigmas)
        if levels.size and not (
            (levels > 0.0).all() and (levels <= 1.0).all() and (np.diff(levels) < 0.0).all()
        ):
            raise ConfigurationError(f"sigmas must fall, within (0, 1]. Got {list(self.sigmas)}")

    @property
    def levels(self) -> tuple[float, ...]:
        """Noise level of each step."""
        return self.sigmas or wan_sigmas(self.steps, self.shift)


def wan_sigmas(steps: int, shift: float) -> tuple[float, ...]:
    """Noise levels as Wan spaces them, from noise on; 0, the clean sample, comes after the last.

    Evenly spaced from 1 - 1/1000 (the noisiest level of training) to 0, that one left out, then
    shifted: shift * s / (1 + (shift - 1) * s). Source: Wan2.2, wan/utils/fm_solvers_unipc.py.
    """
    even = np.linspace(1.0 - 1.0 / TRAIN_STEPS, 0.0, steps + 1)[:-1]
    return tuple((shift * even / (1.0 + (shift - 1.0) * even)).tolist())


class Solver:
    """Takes the steps of one chunk; made anew for every chunk.

    Attributes:
        timesteps: what the model is told at each step, 0 to 1000. Whole numbers for ``unipc``, as
            in Wan's own sampling.
        levels: noise level of the sample at each step.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._scheduler: Any
        if schedule.solver == "unipc":
            self._scheduler = UniPCMultistepScheduler(
                num_train_timesteps=TRAIN_STEPS,
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
                flow_shift=1.0,
            )
        else:
            self._scheduler = FlowMatchEulerDiscreteScheduler(
                num_train_timesteps=TRAIN_STEPS,
                shift=1.0,
                stochastic_sampling=schedule.solver == "renoise",
            )
        self._scheduler.set_timesteps(sigmas=np.array(schedule.levels))
        # Otherwise the first step looks its number up, which waits for the device.
        self._scheduler.set_begin_index(0)
        self._draws = schedule.solver == "renoise"
        self.levels = schedule.levels
        self.timesteps: list[float] = [float(t) for t in self._scheduler.timesteps]

    def step(
        self,
        number: int,  # of the step, from 0
        velocity: Tensor,  # as the model predicts it
        sample: Tensor,  # (B, ...) float32, at this step's level
        generators: list[torch.Generator],  # B, on the CPU: the same draws on every device
    ) -> Tensor:  # float32, at the next step's level
        """The sample one step cleaner. Steps are taken in order."""
        given = {"generator": generators} if self._draws else {}
        stepped: Tensor = self._scheduler.step(
            velocity.float(),
            self._scheduler.timesteps[number],
            sample,
            return_dict=False,
            **given,
        )[0]
        return stepped
