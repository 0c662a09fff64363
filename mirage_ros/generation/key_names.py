"""Names of the transformer's tensors: those of Wan's own files, and those of diffusers.

Wan's published files, training runs and LoRAs name tensors in one of two ways, behind prefixes that
say which program wrote them (``pipe.dit.``, ``model.diffusion_model.``, ``module.`` and so on).
Here every one of them becomes the name that the tensor has in diffusers' WanVACETransformer3DModel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirage_ros.errors import CheckpointError

#: How many names an error lists.
LISTED = 8

#: Modules outside the blocks.
_MODULES = {
    "patch_embedding": "patch_embedding",
    "vace_patch_embedding": "vace_patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}

#: Modules inside a block. Only one of its three norms has weights, the one before the
#: cross-attention: third in Wan's files and second in diffusers.
_BLOCK_MODULES = {
    **{
        f"{attention}.{theirs}": f"{ours}.{name}"
        for attention, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for theirs, name in (
            *(("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0")),
            *(("norm_q", "norm_q"), ("norm_k", "norm_k")),
        )
    },
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
}
_SIDE_BLOCK_MODULES = {**_BLOCK_MODULES, "before_proj": "proj_in", "after_proj": "proj_out"}

#: Parameters that belong to no such module.
_PARAMETERS = {"head.modulation": "scale_shift_table"}
_BLOCK_PARAMETERS = {"modulation": "scale_shift_table"}


def _both_ways(table: dict[str, str]) -> dict[str, str]:
    """The table, and every name in diffusers' way standing for itself."""
    return {**{ours: ours for ours in table.values()}, **table}


_ROOT_MODULES = _both_ways(_MODULES)
_ROOT_PARAMETERS = _both_ways(_PARAMETERS)
_INNER_MODULES = {
    "blocks": _both_ways(_BLOCK_MODULES),
    "vace_blocks": _both_ways(_SIDE_BLOCK_MODULES),
}
_INNER_PARAMETERS = _both_ways(_BLOCK_PARAMETERS)

#: Where a name begins once its prefix is taken off.
_ROOTS = {name.split(".")[0] for name in (*_ROOT_MODULES, *_ROOT_PARAMETERS, *_INNER_MODULES)}

#: What training wrappers put between the parts of a name.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

EXPECTED = (
    "names of a Wan transformer such as blocks.0.self_attn.q.weight (Wan's files) or "
    "blocks.0.attn1.to_q.weight (diffusers), of its side branch such as "
    "vace_blocks.0.before_proj.weight, behind any prefix"
)


def module_name(path: str) -> str | None:
    """What diffusers calls the module at ``path``, prefix or not; None if there is none."""
    return _converted(path, _ROOT_MODULES, _INNER_MODULES)


def parameter_name(key: str) -> str | None:
    """What diffusers calls the tensor ``key``, prefix or not; None if there is none."""
    path, _, kind = key.rpartition(".")
    if kind in ("weight", "bias"):
        module = module_name(path)
        return None if module is None else f"{module}.{kind}"
    inner = dict.fromkeys(_INNER_MODULES, _INNER_PARAMETERS)
    return _converted(key, _ROOT_PARAMETERS, inner)


def is_side_branch(name: str) -> bool:
    """Whether a name in diffusers' way belongs to the side branch."""
    return name.startswith(("vace_blocks.", "vace_patch_embedding."))


def converted_keys(keys: Iterable[str], source: str) -> dict[str, str]:
    """For every tensor its name in diffusers' way, with the key it has in the file.

    Raises:
        CheckpointError: a key is no such name, or two keys are the same tensor.
    """
    found: dict[str, str] = {}
    unknown = []
    for key in keys:
        name = parameter_name(key)
        if name is None:
            unknown.append(key)
        elif name in found:
            raise CheckpointError(
                f"{source}: expected every tensor once. Got {name} as {found[name]} and as {key}"
            )
        else:
            found[name] = key
    if unknown:
        raise CheckpointError(
            f"{source}: expected {EXPECTED}. Got {len(unknown)} names that are neither, beside "
            f"{len(found)} that are: {listed(unknown)}"
        )
    return found


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + more


def _converted(
    path: str,
    outside: dict[str, str],
    inside: dict[str, dict[str, str]],
) -> str | None:
    parts = [part for part in path.split(".") if part not in _WRAPPERS]
    start = next((number for number, part in enumerate(parts) if part in _ROOTS), None)
    if start is None:
        return None
    root, *rest = parts[start:]
    if root not in inside:
        return outside.get(".".join((root, *rest)))
    if not rest or not re.fullmatch(r"\d+", rest[0]):
        return None
    name = inside[root].get(".".join(rest[1:]))
    return None if name is None else f"{root}.{int(rest[0])}.{name}"
