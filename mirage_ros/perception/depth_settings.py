"""What can be chosen about where depth comes from. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from mirage_ros.errors import ConfigurationError

#: ``sensor``: as measured. ``monocular``: predicted from the image. ``sensor_and_monocular``:
#: measured, and predicted where nothing was measured.
DEPTH_KINDS = ("sensor", "monocular", "sensor_and_monocular")

#: Small, made for rooms, gives metres; Apache-2.0.
INDOOR_MODEL = "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"

#: ``auto``: as the model's configuration says.
MODEL_OUTPUTS = ("auto", "metric", "relative")

#: Types that a depth model may compute in.
DEPTH_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class DepthModelSettings:
    """Which depth model runs, and where.

    Attributes:
        model: folder as ``save_pretrained`` writes it, or ``owner/name`` of the hub.
        revision: of the hub's repository.
        offline: use only what is on this machine.
        output: one of :data:`MODEL_OUTPUTS`.
        device: of the model.
        dtype: one of :data:`DEPTH_DTYPES`.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    model: str = INDOOR_MODEL
    revision: str = ""
    offline: bool = False
    output: str = "auto"
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, allowed in (("output", MODEL_OUTPUTS), ("dtype", DEPTH_DTYPES)):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(
                    f"depth model's {name} must be one of {', '.join(allowed)}. "
                    f"Got '{getattr(self, name)}'"
                )
