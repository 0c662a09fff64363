"""LPIPS (Zhang et al. 2018, CVPR), where its network is at hand: nothing is ever downloaded.

It takes the package ``lpips``, torchvision, and torchvision's AlexNet weights in the local torch
cache (``TORCH_HOME``). None of them comes with this package. Without them there is a reason to put
into the report in place of the figure, never another figure.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path

from mirage_ros.errors import FrameError, UnavailableError
from mirage_ros.evaluation.picture import Picture, as_unit

#: Smallest side of a picture that AlexNet's layers leave anything of.
MIN_SIDE = 32


def lpips_missing() -> str | None:
    """Why LPIPS cannot be computed here, as a report says it; None where it can."""
    for package in ("lpips", "torchvision"):
        if importlib.util.find_spec(package) is None:
            return f"LPIPS not computed: the package {package} is not installed"
    try:
        weights = _backbone_weights()
        importlib.import_module("lpips")
    except (ImportError, OSError, RuntimeError) as error:  # what a misfit of torchvision raises
        return f"LPIPS not computed: its packages cannot be imported ({error})"
    if not weights.is_file():
        return f"LPIPS not computed: no AlexNet weights at {weights}, and nothing is downloaded"
    return None


class Lpips:
    """LPIPS with AlexNet, version 0.1, on the CPU.

    Raises:
        UnavailableError: it is not at hand; the message is that of :func:`lpips_missing`.
    """

    def __init__(self) -> None:
        missing = lpips_missing()
        if missing is not None:
            raise UnavailableError(missing)
        lpips = importlib.import_module("lpips")
        with warnings.catch_warnings():
            # lpips asks torchvision for weights in a way that is deprecated there.
            warnings.simplefilter("ignore", UserWarning)
            self._network = lpips.LPIPS(net="alex", version="0.1", verbose=False)

    def __call__(self, picture: Picture, truth: Picture) -> float:
        """Distance between two whole pictures: 0 for equal ones, larger for less alike ones.

        Raises:
            FrameError: not pictures, of differing sizes, or too small.
        """
        import torch

        one, other = as_unit(picture), as_unit(truth)
        if one.shape != other.shape or min(one.shape[:2]) < MIN_SIDE:
            raise FrameError(
                f"pictures must be of one size, at least {MIN_SIDE}x{MIN_SIDE}. "
                f"Got shapes {one.shape} and {other.shape}"
            )
        with torch.inference_mode():
            tensors = [torch.from_numpy(unit).permute(2, 0, 1)[None] for unit in (one, other)]
            return float(self._network(*tensors, normalize=True))  # it wants [-1, 1]


def _backbone_weights() -> Path:
    """Where torchvision looks for AlexNet's weights before it downloads them."""
    import torch

    models = importlib.import_module("torchvision.models")
    url = str(models.AlexNet_Weights.IMAGENET1K_V1.url)
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
