"""Noise levels and solvers against Wan's published formula and closed forms."""

from __future__ import annotations

import pytest
import torch

from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.schedule import Schedule, Solver, wan_sigmas


@pytest.mark.parametrize("steps", [1, 4, 20, 40])
def test_levels_and_timesteps_are_those_of_wan(steps: int) -> None:
    """Wan2.2: sigma = 0.999 (1 - k / n), shifted by 5; the model is told int(1000 sigma)."""
    solver = Solver(Schedule(steps=steps))
    for k in range(steps):
        even = 0.999 * (1 - k / steps)
        sigma = 5.0 * even / (1.0 + 4.0 * even)
        assert wan_sigmas(steps, 5.0)[k] == pytest.approx(sigma, abs=1e-12)
        assert float(solver._scheduler.sigmas[k]) == pytest.approx(sigma, abs=6e-8)
        assert solver.timesteps[k] == int(1000.0 * sigma)
    assert float(solver._scheduler.sigmas[-1]) == 0.0
    assert len(solver.timesteps) == steps


@pytest.mark.parametrize("solver_name", ["unipc", "euler", "renoise"])
def test_a_model_that_knows_the_answer_is_followed_to_it(solver_name: str) -> None:
    """With the true velocity towards one clean sample every solver ends there."""
    generator = torch.Generator().manual_seed(0)
    clean, sample = torch.randn(2, 1, 5, 3, generator=generator)
    schedule = Schedule(steps=6, solver=solver_name)
    solver = Solver(schedule)
    for number, sigma in enumerate(schedule.levels):
        sample = solver.step(number, (sample - clean) / sigma, sample, [generator])
    torch.testing.assert_close(sample, clean, atol=2e-5, rtol=0)


def test_euler_goes_straight_and_renoise_draws_anew() -> None:
    schedule = Schedule(solver="euler", sigmas=(1.0, 0.5))
    sample, velocity = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    stepped = Solver(schedule).step(0, velocity, sample, [torch.Generator()])
    assert stepped.item() == pytest.approx(2.0 - 0.5 * 1.0)
    again = Schedule(solver="renoise", sigmas=(1.0, 0.5))
    draws = [
        Solver(again).step(0, velocity, sample, [torch.Generator().manual_seed(seed)]).item()
        for seed in (3, 3, 4)
    ]
    noise = torch.randn(1, generator=torch.Generator().manual_seed(3)).item()
    assert draws[0] == pytest.approx(0.5 * (2.0 - 1.0) + 0.5 * noise)
    assert draws[0] == draws[1] != draws[2]


def test_levels_of_a_few_step_model_are_taken_as_they_are() -> None:
    schedule = Schedule(solver="renoise", sigmas=(1.0, 0.757, 0.522))
    assert Solver(schedule).timesteps == pytest.approx([1000.0, 757.0, 522.0])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"solver": "heun"}, "one of unipc, euler, renoise.*Got 'heun'"),
        ({"steps": 0}, "1 to 1000.*Got 0"),
        ({"shift": 0.0}, "positive.*Got 0.0"),
        ({"sigmas": (0.5, 0.7)}, "must fall"),
        ({"sigmas": (1.2, 0.7)}, "must fall, within"),
        ({"sigmas": (float("nan"),)}, "within"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Schedule(**values)
