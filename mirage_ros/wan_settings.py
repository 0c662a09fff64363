"""What can be chosen about the Wan2.2 backend. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

#: The published base model, in diffusers' layout.
BASE_MODEL = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"

#: Width x height that the model knows well, largest first; other multiples of 32 work too.
RESOLUTIONS: dict[str, tuple[int, int]] = {
    "1280x704": (1280, 704),
    "832x480": (832, 480),
    "640x352": (640, 352),
}

#: ``unipc``: multistep, for 8 steps and more. ``euler``: one step after the other. ``renoise``: to
#: the clean sample and back to the next level with new noise, as few-step models are trained.
SOLVERS = ("unipc", "euler", "renoise")

#: Types that a model may compute in.
DTYPES = ("bfloat16", "float16", "float32")

#: ``fp8``: weights and activations of large layers in 8 bits (GPUs of compute capability 8.9 and
#: more). ``fp8_weights``: weights only; less memory on any device, not faster.
QUANTIZATIONS = ("none", "fp8", "fp8_weights")

#: ``model``: on the GPU only while denoising. ``group``: layer by layer, copied ahead of its turn.
OFFLOADS = ("none", "model", "group")

#: ``fuse``: added to the weights. ``adapter``: kept beside them (needs peft), slower.
LORA_MODES = ("fuse", "adapter")


@dataclass(frozen=True)
class WanSettings:
    """Which weights the Wan2.2 backend runs, and how.

    Paths are local files and folders, or ``owner/name`` of a hub (a file of it as
    ``owner/name:file``).

    Attributes:
        model: folder in diffusers' layout, or one that this package wrote.
        side_branch: file or folder with the side branch's weights, as training saves them; empty:
            those of ``model``, if it has any.
        side_branch_layers: layers that the side branch gives hints to; empty: as its files say.
        lora: files of low-rank changes to the weights, added in this order.
        lora_scales: one for each of them; empty: 1 for all.
        lora_mode: one of :data:`LORA_MODES`.
        prompt: text that every rollout is generated with.
        negative_prompt: text to keep away from; of effect with ``guidance`` other than 1.
        steps: evaluations of the model per chunk.
        shift: of the noise levels.
        solver: one of :data:`SOLVERS`.
        noise_levels: the levels themselves, falling, in (0, 1], for few-step models; empty: from
            ``steps`` and ``shift``.
        guidance: weight of the prompt (classifier-free guidance); 1: none, half the work.
        references: whole past frames shown to the model, at most.
        preceding: latent frames before a chunk shown to the model, at most.
        batch: chunks of different candidates that go through the model at once.
        dtype: one of :data:`DTYPES`.
        attention: an attention backend of diffusers; empty: torch's own.
        compile: compile the blocks; the first chunk then takes minutes.
        quantization: one of :data:`QUANTIZATIONS`.
        offload: one of :data:`OFFLOADS`.
        tiny_decoder: file of a TAEHV decoder (taew2_2), used instead of the VAE's; empty: none.
        tile: side of the tiles that the VAE works in, pixels; 0: whole pictures.
        offline: never ask a hub; take what is there.
        allow_pickle: read weights from pickles too, without running code (torch, weights_only).
        cache_directory: where encoded prompts are kept; empty: mirage_ros in the user's cache.
    """

    model: str = BASE_MODEL
    side_branch: str = ""
    side_branch_layers: tuple[int, ...] = ()
    lora: tuple[str, ...] = ()
    lora_scales: tuple[float, ...] = ()
    lora_mode: str = "fuse"
    prompt: str = ""
    negative_prompt: str = ""
    steps: int = 20
    shift: float = 5.0
    solver: str = "unipc"
    noise_levels: tuple[float, ...] = ()
    guidance: float = 1.0
    references: int = 4
    preceding: int = 2
    batch: int = 1
    dtype: str = "bfloat16"
    attention: str = ""
    compile: bool = False
    quantization: str = "none"
    offload: str = "none"
    tiny_decoder: str = ""
    tile: int = 0
    offline: bool = False
    allow_pickle: bool = False
    cache_directory: str = ""
