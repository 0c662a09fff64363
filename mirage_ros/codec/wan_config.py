"""What Wan2.2's VAE looks like, as configurations of diffusers' ``AutoencoderKLWan``.

The figures are public: those of the model "Wan2.2-TI2V-5B" (Apache-2.0). Weights are not part of
this package; :func:`random_vae` makes some that show nothing but behave like a VAE's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mirage_ros.codec.probing import synthetic_pictures
from mirage_ros.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

CHANNELS = 48
#: What the names of codecs with such a VAE begin with.
NAME = "wan2.2-vae-48-"
SPATIAL_STRIDE = 16
TEMPORAL_STRIDE = 4
#: Pixels that are stacked into channels along each axis before the first convolution.
PATCH = 2

# fmt: off
#: Mean and standard deviation of the raw latents, which are normalised by them.
LATENTS_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
    -0.1382, 0.0542, 0.2813, 0.0891, 0.157, -0.0098, 0.0375, -0.1825,
    -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.123,
    -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.052, 0.3748,
    0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)
LATENTS_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013,
    0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
    0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
    0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
    0.3971, 1.06, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)
# fmt: on

#: Wan2.2's VAE.
WAN22_VAE: dict[str, Any] = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": CHANNELS,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
    "is_residual": True,
    "in_channels": 3 * PATCH**2,
    "out_channels": 3 * PATCH**2,
    "patch_size": PATCH,
    "scale_factor_spatial": SPATIAL_STRIDE,
    "scale_factor_temporal": TEMPORAL_STRIDE,
    "latents_mean": list(LATENTS_MEAN),
    "latents_std": list(LATENTS_STD),
}

#: The same layers, thin: for tests, and for trying a whole pipeline without weights.
TINY_VAE: dict[str, Any] = {**WAN22_VAE, "base_dim": 8, "decoder_base_dim": 8}

#: What makes a configuration Wan2.2-like: all that latents and their grid depend on.
_FIXED = (
    "z_dim",
    "patch_size",
    "is_residual",
    "in_channels",
    "out_channels",
    "temperal_downsample",
    "scale_factor_spatial",
    "scale_factor_temporal",
)

#: Standard deviation of what a random decoder gives, in [-1, 1].
_RANDOM_DEVIATION = 0.35


def check_vae_config(config: Mapping[str, Any], name: str) -> None:
    """Raise unless a configuration is of a VAE that is used as Wan2.2's is.

    Args:
        config: of an ``AutoencoderKLWan``.
        name: of where it comes from, for the message.

    Raises:
        ConfigurationError: another number of channels, stride or kind, or statistics that do not
            belong to it.
    """
    for key in _FIXED:
        if config.get(key) != WAN22_VAE[key]:
            raise ConfigurationError(
                f"{name}: a VAE like Wan2.2's has {key} = {WAN22_VAE[key]}. Got {config.get(key)}"
            )
    doublings = len(config.get("dim_mult", ())) - 1
    if PATCH * 2**doublings != SPATIAL_STRIDE:
        raise ConfigurationError(
            f"{name}: a VAE like Wan2.2's has 4 numbers in dim_mult. Got {config.get('dim_mult')}"
        )
    for key in ("latents_mean", "latents_std"):
        values = torch.tensor(config.get(key) or [], dtype=torch.float64)
        usable = values.shape == (CHANNELS,) and bool(torch.isfinite(values).all())
        if not usable or (key == "latents_std" and not bool((values > 0.0).all())):
            kind = "positive " if key == "latents_std" else ""
            raise ConfigurationError(
                f"{name}: {key} must be {CHANNELS} {kind}finite numbers. Got {config.get(key)}"
            )


def require_diffusers() -> None:
    """Raise unless diffusers can be imported.

    Raises:
        UnavailableError: it cannot; the message says how to get it.
    """
    try:
        from diffusers import AutoencoderKLWan  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"Wan2.2's VAE needs the package diffusers >= 0.35 (pip install diffusers): {error}"
        ) from error


@torch.no_grad()
def random_vae(
    config: Mapping[str, Any] = TINY_VAE, seed: int = 0, device: torch.device | str = "cpu"
) -> AutoencoderKLWan:
    """A VAE with random weights; the same ones for the same seed.

    Its first and last layers are scaled so that latents of synthetic pictures have the
    configuration's mean and standard deviation, and pictures of random latents stay in range.
    Nothing in a decoded picture resembles what was encoded.

    Args:
        config: :data:`TINY_VAE`, :data:`WAN22_VAE` or one like them.
        seed: of the weights.
        device: to make them on, in float32.

    Raises:
        ConfigurationError: the configuration is not like Wan2.2's.
        UnavailableError: diffusers is not installed.
    """
    check_vae_config(config, "config")
    require_diffusers()
    from diffusers import AutoencoderKLWan

    where = torch.device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(seed)
        with where:
            vae: AutoencoderKLWan = AutoencoderKLWan(**config).eval().requires_grad_(False)
            noise = torch.randn(2, CHANNELS, 2, 4, 4)
    mean = torch.tensor(config["latents_mean"], device=where)
    std = torch.tensor(config["latents_std"], device=where)
    pictures = synthetic_pictures(4, 64, seed).to(where)
    moments = vae.encode(2.0 * pictures[:, :, None] - 1.0).latent_dist.parameters
    # The second half of the rows are log variances, which nothing here uses.
    _rescale(vae.quant_conv, moments, mean, std, slice(0, CHANNELS))
    raw = vae.post_quant_conv(noise * std[:, None, None, None] + mean[:, None, None, None])
    # Two latent frames, because the second and all later ones come out with more contrast.
    cache = [None] * len(list(vae.decoder.modules()))
    first = vae.decoder(raw[:, :, :1], feat_cache=cache, feat_idx=[0], first_chunk=True)
    planes = torch.cat([first, vae.decoder(raw[:, :, 1:], feat_cache=cache, feat_idx=[0])], dim=2)
    rows = planes.shape[1]
    target = torch.full((rows,), _RANDOM_DEVIATION, device=where)
    _rescale(vae.decoder.conv_out, planes, torch.zeros_like(target), target, slice(0, rows))
    return vae


def _rescale(
    layer: torch.nn.Conv3d,
    output: Tensor,  # (B, rows or more, T, h, w) that the layer gave
    mean: Tensor,  # (rows,) that it is to have
    std: Tensor,  # (rows,) likewise
    rows: slice,
) -> None:
    """Change a layer so that the rows of its output have that mean and standard deviation."""
    samples = output[:, rows].transpose(0, 1).flatten(1)
    factor = std / samples.std(dim=1)
    bias = layer.bias
    assert bias is not None
    layer.weight[rows] *= factor[:, None, None, None, None]
    bias[rows] = (bias[rows] - samples.mean(dim=1)) * factor + mean
