"""The model card: what a model was made of, how, on what, and how good it was on validation."""

from __future__ import annotations

from collections.abc import Mapping

from mirage_ros.machine import machine
from mirage_ros.sources.simulator.splits import SPLITS, split_seeds
from mirage_ros.training.run_config import RunConfig
from mirage_ros.training.validation import Scores

_CARD = """# A small world model: mirage_ros nano

A diffusion transformer with a side branch for what is remembered, references and preceding
frames: the layout of the large one (Wan2.2-TI2V-5B with a latent spatial memory) at a small size,
on latents of a linear codec. It finishes drafts of views: remembered blocks put where they belong,
holes filled smoothly. Loaded by `mirage_ros` as backend `nano`; {parameters:.1f} million
parameters, in half precision. One step gives the mean of what may be there, several give a sample
of it.

## Data

Simulated apartments alone, drawn and rendered by `mirage train data`; no pictures of anybody or of
any real place. Seeds {first} to {last} for training, {samples} chunks of {targets} frames
from a drive of {duration:g} s through each at {width}x{height}; camera, light, textures
and layout vary, {imperfect:.0%} of the drives have errors of depth, and as many drifting odometry.
Validation: seeds {validation_first} to {validation_last}. Seeds from {test} on are kept for tests.

## Training

`make train-nano`, or `mirage train data` and `mirage train model` with the same configuration.
Seed {seed}; stages: {stages}.
It took {hours:.1f} hours on {cores} cores of {cpu}{gpu}, torch {torch}.

## Scores on validation samples

Peak signal-to-noise ratio in dB against what the codec makes of the true picture, frames that are
given left out; sharpness is the energy of gradients as a share of the true picture's.

| | all | remembered | holes | sharpness |
|---|---|---|---|---|
{rows}

`mirage benchmark nano` measures it on apartments of the test split and on real frames, beside
other ways.

## Limits

It knows nothing but rooms of a simulator: what it puts into large holes of real pictures is a guess
of colours. It was trained at {width}x{height}; other sizes work, worse.

License: Apache-2.0, as the package.
"""


def model_card(
    config: RunConfig, found: Mapping[str, Scores], seconds: float, parameters: int
) -> str:
    """The card of a finished run as Markdown.

    Args:
        config: of the run.
        found: scores on validation samples by what was scored.
        seconds: that the run took.
        parameters: of the model.
    """
    data, on = config.data, machine()
    rows = [
        f"| {name} | {scores.all:.2f} | {scores.known:.2f} | {scores.holes:.2f} "
        f"| {scores.sharpness:.2f} |"
        for name, scores in found.items()
    ]
    stages = [
        f"{stage.name} ({stage.steps} steps of about {stage.batch} chunks, trains {stage.trains}, "
        f"{stage.objective}{', frames count alike' if stage.even_frames else ''})"
        for stage in config.stages
    ]
    train, validation = (
        split_seeds(split, count)
        for split, count in (
            ("train", data.apartments),
            ("validation", data.validation_apartments),
        )
    )
    return _CARD.format(
        width=data.width,
        height=data.height,
        samples=data.samples,
        targets=data.targets,
        imperfect=data.imperfect,
        parameters=parameters / 1e6,
        first=train[0],
        last=train[-1],
        duration=data.duration_s,
        validation_first=validation[0],
        validation_last=validation[-1],
        test=SPLITS["test"][0],
        seed=config.train.seed,
        stages="; ".join(stages),
        hours=seconds / 3600.0,
        cores=on["cores"],
        cpu=on["cpu"],
        gpu=f" with {on['gpu']}" if on["gpu"] else "",
        torch=on["torch"],
        rows="\n".join(rows),
    )
