"""Whether a GGUF file was read as what it says: transformers passes over fields and tensors that it does not know.

A field that changes what the model computes is held against the configuration that transformers made of the file, and a
file is refused where the two differ, such as for positions that are scaled (Llama 3.1 and later) or for a window. So is
a file that is one of several, or no model.

Source: the GGUF specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
Left out: fields that name, describe or count; what a tokenizer says of itself (`ggufs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = {  # by the name of a field, behind that of the architecture: what the configuration calls it
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.sliding_window": "sliding_window",
    "expert_used_count": "num_experts_per_tok",
    "logit_scale": "logit_scale",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "attention.scale": "attention_multiplier",
}
POSITIONS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def require_model(header: Mapping[str, Any], file: Path) -> None:
    """ValueError for a file that is one of several, or that holds something else than a model."""
    kind, parts = header.get("general.type", "model"), header.get("split.count", 1)
    if kind != "model":
        raise ValueError(f"source is {file}; its general.type is {kind!r}; it must be a model")
    if isinstance(parts, int) and parts > 1:
        raise ValueError(
            f"source is {file}; it is one of {parts} files: merge them into one (llama-gguf-split --merge)"
        )


def require_read(header: Mapping[str, Any], tensors: Mapping[str, Any], config: Any, file: Path) -> None:
    """ValueError where what the file says is not in the configuration. `tensors`: the data by name."""
    differences = (*_fields(header, config), *_rotary(header, config), *_scaling(header, tensors, config))
    for name, value, setting in differences:
        raise ValueError(
            f"source is {file}; its {name} is {value}, and transformers reads the model with {setting}: it would "
            "answer otherwise; give a folder of the model in place of this file"
        )


def _own(header: Mapping[str, Any], name: str) -> Any:
    return header.get(f"{header.get('general.architecture', '')}.{name}")


def _fields(header: Mapping[str, Any], config: Any) -> list[tuple[str, Any, Any]]:
    longest = _own(header, "context_length") or math.inf
    wrong = []
    for name, attribute in FIELDS.items():
        value, setting = _own(header, name), getattr(config, attribute, None)
        is_idle = not value or (name == "attention.sliding_window" and isinstance(value, int) and value >= longest)
        if not is_idle and not _is_close(value, setting):
            wrong.append((name, value, setting))
    return wrong


def _is_close(value: Any, setting: Any) -> bool:
    numbers = (int, float)
    return isinstance(value, numbers) and isinstance(setting, numbers) and math.isclose(value, setting, rel_tol=1e-5)


def _rotary(header: Mapping[str, Any], config: Any) -> list[tuple[str, Any, Any]]:
    """The width of a head that positions turn."""
    value, parameters = _own(header, "rope.dimension_count"), _rope(config)
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(value, int) or not parameters or not isinstance(heads, int):
        return []
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    setting = round(width * float(parameters.get("partial_rotary_factor") or 1.0))
    return [] if value == setting else [("rope.dimension_count", value, setting)]


def _scaling(header: Mapping[str, Any], tensors: Mapping[str, Any], config: Any) -> list[tuple[str, Any, Any]]:
    setting = str(_rope(config).get("rope_type", "default"))
    kind, factor = _own(header, "rope.scaling.type"), _own(header, "rope.scaling.factor")
    if kind not in (None, "none", setting) and factor not in (None, 0, 1, 1.0):
        return [("rope.scaling.type", kind, setting)]
    scaled = [name for name in POSITIONS if name in tensors and not np.allclose(tensors[name], 1.0)]
    return [(name, "a scale of positions", setting) for name in scaled if setting == "default"]


def _rope(config: Any) -> Mapping[str, Any]:
    """The parameters of positions; those of the layers that see everything, where layers differ."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return parameters.get("full_attention", parameters)
