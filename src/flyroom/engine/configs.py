"""Where two config.json say different models, so that the same weights would give other answers.

Fields are those that transformers reads into the model's own class of config: what a tool writes beside them, such as
its version, is read by no model.

Left out: fields that only training or saving reads, and how the tokens that end an answer are called, which the
renderer compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TRAINING = ("attention_dropout", "hidden_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "initializer_range")
SAVING = ("architectures", "transformers_version", "dtype", "torch_dtype", "name_or_path", "tie_word_embeddings")
CALLING = ("use_cache", "return_dict", "output_attentions", "output_hidden_states", "chunk_size_feed_forward")
NAMING = ("id2label", "label2id", "problem_type", "pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id")
IDLE = {*TRAINING, *SAVING, *CALLING, *NAMING, "pretraining_tp", "is_encoder_decoder"}
LENGTH = "max_position_embeddings"  # moves positions where they are scaled by it, else only says how long texts may be


def differing_field(config: Any, own: Any) -> str:
    """The first field in which a config differs from a base's own, as "rope_parameters.factor 8.0, not 1.0"; "" where
    none does that changes an answer.
    """
    fields, own_fields = dict(_fields(config)), dict(_fields(own))
    for name in sorted({*fields, *own_fields}):
        if fields.get(name) != own_fields.get(name):
            return f"{name} {fields.get(name)!r:.60}, not {own_fields.get(name)!r:.60}"
    return ""


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    settings = config.to_dict()
    known = settings if getattr(config, "has_no_defaults_at_init", False) else type(config)().to_dict()
    idle = IDLE if "dynamic" in str(settings) or "longrope" in str(settings) else {*IDLE, LENGTH}
    return _flatten({name: value for name, value in settings.items() if name in known}, idle)


def _flatten(settings: Mapping[str, Any], idle: set[str], stem: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if name.startswith("_") or name in idle:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, idle, f"{stem}{name}.")
        elif value is not None and value is not False:
            yield f"{stem}{name}", list(value) if isinstance(value, tuple) else value
