"""A GGUF file as an ordinary folder of bf16 weights, tokenizer and template.

transformers reads the file and dequantises it. A model that was read so counts as quantised and cannot be saved, so its
tensors go into a fresh model of the same configuration. A GGUF names how its tokenizer splits text before merging.
Where transformers does not know the name it splits as GPT-2 does and says nothing, which gives other tokens for spaces
before digits. So a name that neither transformers nor `DIGITS` knows is refused.

Source: the GGUF specification and llama.cpp's list of pre-tokenizers (`llama-vocab.cpp`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from flyroom.sources.gguf_checks import require_model, require_read

DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")  # each digit stands alone
AS_GPT2 = ("gpt-2", "gpt2", "default", "olmo", "mpt", "phi-2", "jais", "trillion", "granite-docling")


def convert(file: Path, folder: Path, *, tokenizer_from: Path | None = None) -> None:
    """Write the model of a GGUF file into a folder that is there.

    Args: tokenizer_from, a folder whose tokenizer is taken in the file's place. Raises ValueError for a file that
    cannot be read, or whose tokenizer cannot be rebuilt exactly.
    """
    header = read_header(file)
    require_model(header, file)
    try:
        tokenizer = _read_tokenizer(file, header) if tokenizer_from is None else _open_tokenizer(tokenizer_from)
        pair: Any = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.bfloat16,
            trust_remote_code=False,
            output_loading_info=True,
        )
        model, report = pair
        _require_tensors(report, file)
        require_read(header, _list_tensors(file), model.config, file)
        fresh = _copy(model)
        fresh.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as error:  # of a file that is broken or hostile, the libraries raise whatever they trip over
        if isinstance(error, ValueError) and str(error).startswith("source "):
            raise
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"source is {file}; transformers cannot read it: {why}") from error


def read_header(file: Path) -> dict[str, Any]:
    """The fields of a GGUF file, long lists left out. ValueError without the extra, or for another kind of file."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ValueError("a GGUF file needs the package gguf: pip install 'flyroom[gguf]'") from error
    try:
        fields = GGUFReader(file).fields
        return {name: field.contents() for name, field in fields.items() if len(field.data) == 1}
    except Exception as error:  # the reader trusts every count in the file
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"source is {file}; it is no whole GGUF file: {why}") from error


def _list_tensors(file: Path) -> dict[str, Any]:
    """The data of the tensors of a file, by name; those that are quantised as they lie there."""
    from gguf import GGUFReader

    return {tensor.name: tensor.data for tensor in GGUFReader(file).tensors}


def _require_tensors(report: Any, file: Path) -> None:
    absent = sorted(report["missing_keys"])  # tied weights are not among them
    if absent:
        rest = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(f"source is {file}; it has no {', '.join(absent[:3])}{rest}: the model would be random there")


def _read_tokenizer(file: Path, header: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    kind, splits = header.get("tokenizer.ggml.model"), header.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or splits in AS_GPT2 or splits in _known_splits():
        return tokenizer
    if splits not in DIGITS:
        raise ValueError(
            f"source is {file}; its tokenizer splits text as {splits!r}, which transformers does not know: give the "
            "folder of the model's own tokenizer with --tokenizer"
        )
    apart = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [apart, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def _known_splits() -> set[str]:
    """The names of splits that this version of transformers rebuilds."""
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:  # an older version rebuilds none
        return set()
    return set(GGUF_PRE_TOKENIZER_SPLITS)


def _open_tokenizer(folder: Path) -> Any:
    """As its tokenizer.json says: the classes that transformers picks by name split text by constants of their own."""
    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _copy(model: Any) -> Any:
    """A model that is not marked as quantised, with the same tensors. ValueError where one of them has no place."""
    config = type(model.config).from_dict(
        {
            key: value
            for key, value in model.config.to_dict().items()
            if key not in ("quantization_config", "_name_or_path")
        }
    )
    fresh = type(model)._from_config(config, dtype=torch.bfloat16)
    report = fresh.load_state_dict(model.state_dict(), strict=False)
    tied = set(getattr(fresh, "all_tied_weights_keys", None) or ())
    lost = sorted([*report.unexpected_keys, *(set(report.missing_keys) - tied)])
    if lost:
        raise ValueError(f"source has tensors without a place in {type(model).__name__}: {', '.join(lost[:3])}")
    if model.generation_config is not None:
        fresh.generation_config = GenerationConfig.from_dict(model.generation_config.to_dict())
    return fresh
