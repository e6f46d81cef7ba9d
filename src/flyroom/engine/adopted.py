"""Read what somebody else trained on a base, in whichever form it lies: a PEFT folder, or a merged checkpoint.

A tokenizer that lies beside an adapter says in which words and turns it was trained. Where it is not the base's own,
the adapter would be asked in others than it knows, so it is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flyroom.engine import peft
from flyroom.engine.folders import has_tokenizer, read_tokenizer
from flyroom.engine.merged import read_merged
from flyroom.engine.peft_config import CONFIG
from flyroom.engine.torch import TorchEngine
from flyroom.types import Patch

FORMS = f"an adapter of PEFT ({CONFIG} beside adapter_model.safetensors or .bin), or a merged checkpoint (config.json)"
NEW_WORDS = "new_embeddings.safetensors"  # as vLLM reads it


def read_adapter(folder: str | Path, engine: TorchEngine) -> Patch:
    """The change of the base's weights that lies in a folder, checked against that base. Raises ValueError, naming the
    folder, for what cannot be represented exactly, for a tokenizer beside it that is not the base's, and for a folder
    that holds neither form.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "that is a file" if folder.is_file() else "there is no such folder"
        raise ValueError(f"folder is {folder}; {what}: give {FORMS}")
    if (folder / CONFIG).is_file():
        _require_same_words(folder, engine)
        patch = peft.load(folder, engine.parts)
    elif (folder / "config.json").is_file():
        patch = read_merged(folder, engine.parts)
    else:
        inside = sorted(place.parent.name for place in folder.glob(f"*/{CONFIG}"))
        where = f"; there is one in each of {', '.join(inside[:5])}" if inside else ""
        raise ValueError(f"folder is {folder}; it holds no adapter{where}: give {FORMS}")
    engine.check(patch.shape)
    return patch


def notes_on(folder: str | Path, engine: TorchEngine) -> list[str]:
    """What must be said of an adapter that was read: its config names another base. A name proves nothing, for the same
    base lies in many folders.
    """
    folder, base = Path(folder), engine.base
    if not (folder / CONFIG).is_file():
        return []
    config: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    name = str(config.get("base_model_name_or_path") or "")
    if not name or _last(name) in (_last(base.name), _last(base.path)):
        return []
    return [
        f"{folder}: its {CONFIG} names the base {name[:200]}, and it is put on {base.name}; that the two are the same "
        "cannot be seen from a name"
    ]


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def _require_same_words(folder: Path, engine: TorchEngine) -> None:
    if (folder / NEW_WORDS).is_file():
        raise ValueError(f"{folder}: {NEW_WORDS} holds vectors of tokens that the base lacks; an adapter has none here")
    if not has_tokenizer(folder):
        return
    try:
        tokenizer = read_tokenizer(folder)
    except Exception as error:  # of a stranger's files the library raises whatever it trips over
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{folder}: the tokenizer beside it cannot be read; take its files out: {why}") from error
    difference = _difference(engine.parts.renderer.tokenizer, tokenizer)
    if difference:
        raise ValueError(
            f"{folder}: the tokenizer beside it has {difference}, so the adapter was trained on other turns than "
            f"{engine.base.name} writes: give --base a folder of the base with that tokenizer, or take its files out "
            "where they are not what it was trained with"
        )


def _difference(home: Any, tokenizer: Any) -> str:
    """What a tokenizer has that the base's has not, "" for nothing that changes a row, as a token for padding is."""
    words = home.get_vocab()
    strange = next(
        (t for t, i in tokenizer.get_vocab().items() if words.get(t) != i and t != tokenizer.pad_token), None
    )
    if strange is not None:
        return f"the token {strange!r}, which the base's has not or elsewhere"
    if tokenizer.chat_template and tokenizer.chat_template != home.chat_template:
        return "another chat template" if home.chat_template else "a chat template, and the base's has none"
    if not home.chat_template and tokenizer.eos_token != home.eos_token:
        return f"the eos_token {tokenizer.eos_token!r}, and the base's {home.eos_token!r}"
    return ""
