"""Networks that predict depth from one image, run through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation.hub import locate_files
from mirage_ros.perception.depth_settings import DepthModelSettings
from mirage_ros.shortage import memory_shortage_told

#: Of a model on the hub.
_FILES = ("config.json", "preprocessor_config.json", "*.safetensors")
_DESCRIPTION = (
    "A depth model's folder holds config.json, preprocessor_config.json and model.safetensors, "
    "about 100 MB for the small ones"
)


class DepthModel(Protocol):
    """Predicts depth from a frame's image.

    Attributes:
        metric: whether it predicts metres; else inverse depth up to scale and shift.
    """

    @property
    def metric(self) -> bool:  # noqa: D102 - see the class
        ...

    def predict(self, frame: RgbdFrame) -> NDArray[np.float32]:  # (H, W)
        """The prediction, of the image's size."""
        ...


class TransformersDepthModel:
    """A model of transformers, such as Depth Anything; implements :class:`DepthModel`.

    Args:
        settings: which model, and where it runs.

    Raises:
        UnavailableError: the package or the files are not at hand; the message says which.
        CheckpointError: the files are not those of a depth model, or not all of them.
        ConfigurationError: the model does not say what it predicts, and neither do the settings.
    """

    def __init__(self, settings: DepthModelSettings) -> None:
        self._device = torch.device(settings.device)
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        folder = locate_files(
            settings.model,
            _FILES,
            description=_DESCRIPTION,
            revision=settings.revision,
            offline=settings.offline,
        )
        self._processor, self._model = _load(folder, self._dtype)
        self._metric = _is_metric(settings, self._model.config)
        with memory_shortage_told("the depth model"):
            self._model.to(self._device).eval()

    @property
    def metric(self) -> bool:
        """Whether it predicts metres; else inverse depth up to scale and shift."""
        return self._metric

    def predict(self, frame: RgbdFrame) -> NDArray[np.float32]:  # (H, W)
        """The prediction, brought back to the image's size.

        Raises:
            GenerationError: the device's memory is too small.
        """
        pixels = self._processor(images=frame.image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode(), memory_shortage_told("the depth of a frame"):
            small = self._model(pixels.to(self._device, self._dtype)).predicted_depth
            # Linear: a cubic overshoots at edges, where it makes surfaces that nobody predicted.
            large = torch.nn.functional.interpolate(
                small[:, None].float(),
                size=frame.image.shape[:2],
                mode="bilinear",
                align_corners=False,
            )
        predicted: NDArray[np.float32] = large[0, 0].cpu().numpy()
        return predicted


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """The image processor and the model."""
    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
    except ImportError as error:
        raise UnavailableError(
            f"Depth is predicted by the package transformers, which cannot be imported ({error}): "
            "pip install transformers"
        ) from error
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model, report = AutoModelForDepthEstimation.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True,
            output_loading_info=True,
        )  # fmt: skip
    except ImportError as error:
        raise UnavailableError(
            f"{folder}: its image processor needs a package that is not installed: {error}"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: expected a depth model and its image processor, as save_pretrained "
            f"writes them. Got {type(error).__name__}: {error}"
        ) from error
    # It would go on with random numbers in their place.
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder}: expected all weights of the depth model. Missing: {', '.join(missing[:8])}"
        )
    return processor, model


def _is_metric(settings: DepthModelSettings, config: Any) -> bool:
    output = settings.output
    if output == "auto":
        output = getattr(config, "depth_estimation_type", "nothing")
    if output not in ("metric", "relative"):
        raise ConfigurationError(
            f"{settings.model}: expected its config.json to say depth_estimation_type metric or "
            f"relative. Got {output}; say which in the settings' output"
        )
    return bool(output == "metric")
