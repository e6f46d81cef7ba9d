"""The model and the tokenizer of a base's folder, or the reason why they cannot be opened as they are.

A base may come from a stranger: no code that comes with it is run, only tensors are read from a pickle, and a tensor
that is missing is never drawn at random, nor one without a place in the model left out.

Left out: quantised weights; processors of pictures and sound, and what lies in their files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from flyroom.engine.tokenizers import has_tokenizer, read_tokenizer

PROCESSOR = "chat_template.json"  # of processors; a tokenizer does not read it
SPARE = re.compile(  # tensors of which nothing in an answer is made
    r"rotary_emb\.inv_freq$|\battn\.(masked_)?bias$|\battention\.(masked_)?bias$"  # buffers that are computed anew
    r"|vision|visual|image|audio|multi_modal|mm_projector"  # towers, and what leads from them
)


def read_folder(folder: Path, dtype: torch.dtype, path: str, tokenizer: Any = None) -> tuple[Any, Any]:
    """The model and its tokenizer, or the one that is given where the folder holds none. `path` is how the folder was
    called. Raises ValueError unless every tensor of the model is in the folder.
    """
    if (folder / "adapter_config.json").exists():
        # With PEFT installed, transformers would apply the adapter and would not report missing tensors.
        raise ValueError(f"base is {path}; an adapter lies in it (adapter_config.json): merge it, or take it out")
    _refuse_quantised(folder, path)
    try:
        pair: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            weights_only=True,  # a full pickle could run any code
            ignore_mismatched_sizes=True,  # the loading report names the tensors, an error would not
            output_loading_info=True,
        )
        words = tokenizer if tokenizer is not None and not has_tokenizer(folder) else read_tokenizer(folder)
    except Exception as error:  # whatever a folder that is broken or hostile makes the libraries trip over
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"base is {path}; it can be loaded only by running code that comes with it, and flyroom runs none: "
                "give a base of an architecture that transformers knows"
            ) from error
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"base is {path}; transformers cannot load it: {why}") from error
    model, report = pair
    _require_whole(report, model, path)
    _require_template(words, folder, path)
    return model, words


def _require_whole(report: Any, model: Any, path: str) -> None:
    absent = sorted(report["missing_keys"])  # tied weights are not among them
    if absent:
        raise ValueError(f"base is {path}; {_name_some(absent)} not in its files: the model would be random there")
    strange = sorted(f"{name} {tuple(size)}, not {tuple(shape)}" for name, size, shape in report["mismatched_keys"])
    if strange:
        raise ValueError(f"base is {path}; {_name_some(strange)} of another shape than its config.json says")
    _require_place(report, model, path)


def _require_place(report: Any, model: Any, path: str) -> None:
    """A tensor without a place is one that the model was trained with and would answer without: biases, norms, layers
    above those of the config, scales of weights in eight bits. Those that the class itself passes over, such as layers
    that guess a second token, are not in the report.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    surplus = sorted(name for name in report["unexpected_keys"] if name not in tied and not SPARE.search(name))
    if surplus:
        kind = getattr(model.config, "model_type", "")
        raise ValueError(
            f"base is {path}; {_name_some(surplus)} without a place in {type(model).__name__}: its config.json must be "
            f"that of the model in its files (model_type is {kind!r}, num_hidden_layers "
            f"{getattr(model.config.get_text_config(), 'num_hidden_layers', None)})"
        )


def _require_template(tokenizer: Any, folder: Path, path: str) -> None:
    """A base with a template that a tokenizer does not read would be asked as one that has none."""
    if tokenizer.chat_template or not (folder / PROCESSOR).is_file():
        return
    raise ValueError(
        f"base is {path}; its chat template lies in {PROCESSOR}, which tokenizers do not read: write it into a file "
        "chat_template.jinja beside that"
    )


def _refuse_quantised(folder: Path, path: str) -> None:
    """transformers would open some of them, with modules that no adapter can stand on."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # transformers says what is wrong with it
    quantised = config.get("quantization_config") if isinstance(config, dict) else None
    method = quantised.get("quant_method", quantised) if isinstance(quantised, dict) else quantised
    if method:
        raise ValueError(
            f"base is {path}; its weights are quantised ({method}): give them as bfloat16 or float32, or as a GGUF "
            "file to `flyroom bases fetch`, which dequantises it"
        )


def _name_some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} of its tensors ({', '.join(names[:3])}{rest}) {'are' if len(names) > 1 else 'is'}"
