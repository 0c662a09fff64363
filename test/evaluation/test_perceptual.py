import importlib
import importlib.util
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from mirage_ros.errors import FrameError, UnavailableError
from mirage_ros.evaluation import perceptual
from mirage_ros.evaluation.perceptual import Lpips, lpips_missing


def importable() -> bool:
    try:
        importlib.import_module("lpips")
    except (ImportError, OSError, RuntimeError):
        return False
    return True


needs_packages = pytest.mark.skipif(not importable(), reason="lpips and torchvision do not load")


@pytest.fixture
def no_network(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("package", ["lpips", "torchvision"])
def test_without_a_package_there_is_a_reason(package: str, monkeypatch) -> None:
    real = importlib.util.find_spec
    found = real("numpy")  # stands for any package that is there
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else found
    )
    reason = f"LPIPS not computed: the package {package} is not installed"
    assert lpips_missing() == reason
    with pytest.raises(UnavailableError, match=f"the package {package}"):
        Lpips()


def test_packages_that_do_not_load_are_a_reason(monkeypatch) -> None:
    found = importlib.util.find_spec("numpy")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)

    def misfit() -> Path:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(perceptual, "_backbone_weights", misfit)
    missing = lpips_missing()
    assert missing is not None
    assert missing.startswith("LPIPS not computed: ")
    assert "torchvision::nms" in missing


@pytest.mark.usefixtures("no_network")
def test_the_answer_here_is_a_reason_or_a_figure() -> None:
    missing = lpips_missing()
    if missing is None:
        picture = np.zeros((64, 64, 3), dtype=np.uint8)
        assert Lpips()(picture, picture) == 0.0
    else:
        assert missing.startswith("LPIPS not computed: ")
        with pytest.raises(UnavailableError, match="LPIPS not computed"):
            Lpips()


@needs_packages
@pytest.mark.usefixtures("no_network")
def test_without_weights_nothing_is_downloaded(empty_cache) -> None:
    missing = lpips_missing()
    assert missing is not None
    assert str(empty_cache) in missing
    with pytest.raises(UnavailableError, match="no AlexNet weights"):
        Lpips()
    assert not list(empty_cache.iterdir())


@needs_packages
@pytest.mark.usefixtures("no_network")
def test_with_weights_there_is_a_distance(empty_cache, make_texture) -> None:
    # Drawn at random: what is tested is the way to a figure, not the figure.
    models = importlib.import_module("torchvision.models")
    torch.manual_seed(0)
    name = models.AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(models.alexnet().state_dict(), empty_cache / name)
    assert lpips_missing() is None
    distance = Lpips()
    picture = make_texture(0, 64)
    rng = np.random.default_rng(0)
    a_little, a_lot = (
        np.clip(picture + rng.normal(0.0, sigma, picture.shape), 0, 255).astype(np.uint8)
        for sigma in (5.0, 60.0)
    )
    assert distance(picture, picture) == 0.0
    assert 0.0 < distance(a_little, picture) < distance(a_lot, picture)
    unit = picture.astype(np.float32) / np.float32(255.0)
    assert distance(a_lot, unit) == pytest.approx(distance(a_lot, picture), abs=1e-6)
    with pytest.raises(FrameError, match="one size"):
        distance(picture, picture[:48])
    with pytest.raises(FrameError, match="at least 32x32"):
        distance(picture[:16], picture[:16])
