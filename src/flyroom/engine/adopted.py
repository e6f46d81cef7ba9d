"""Read what somebody else trained on a base, in whichever form it lies: a PEFT folder, or a merged checkpoint.

A tokenizer that lies beside an adapter says in which words and turns it was trained, and a config.json on which model.
Where these are not the base's own, the adapter would be asked in others than it knows, so it is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from flyroom.engine import peft
from flyroom.engine.configs import differing_field
from flyroom.engine.merged import read_merged
from flyroom.engine.peft_config import CONFIG
from flyroom.engine.peft_tensors import PICKLE, WEIGHTS
from flyroom.engine.torch import TorchEngine
from flyroom.engine.wording import difference_beside, lacks_template
from flyroom.types import Patch

FORMS = f"an adapter of PEFT ({CONFIG} beside adapter_model.safetensors or .bin), or a merged checkpoint (config.json)"
NEW_WORDS = "new_embeddings.safetensors"  # as vLLM reads it
MODEL = "config.json"


def read_adapter(folder: str | Path, engine: TorchEngine) -> Patch:
    """The change of the base's weights that lies in a folder, checked against that base. Raises ValueError, naming the
    folder, for what cannot be represented exactly, for a tokenizer or a config beside it that is not the base's, and
    for a folder that holds neither form.
    """
    return read_with_notes(folder, engine)[0]


def read_with_notes(folder: str | Path, engine: TorchEngine) -> tuple[Patch, list[str]]:
    """The same, and what must be said of it: that its config names another base or a revision of it, that files beside
    it were not read, or how much of a merged checkpoint lies within rounding.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "that is a file" if folder.is_file() else "there is no such folder"
        raise ValueError(f"folder is {folder}; {what}: give {FORMS}")
    if (folder / CONFIG).is_file():
        _require_same_words(folder, engine)
        _require_same_model(folder, engine)
        patch = peft.load(folder, engine.parts)
        notes = _notes_on(folder, engine)
    elif (folder / MODEL).is_file():
        patch, notes = read_merged(folder, engine.parts)
    else:
        inside = _list_inside(folder)
        where = f"; there is one in each of {', '.join(inside[:5])}" if inside else ""
        raise ValueError(f"folder is {folder}; it holds no adapter{where}: give {FORMS}")
    engine.check(patch.shape)
    return patch, notes


def _list_inside(folder: Path) -> list[str]:
    """The folders below that hold adapters."""
    return sorted(place.parent.name for place in folder.glob(f"*/{CONFIG}"))


def _notes_on(folder: Path, engine: TorchEngine) -> list[str]:
    """A name proves nothing, for the same base lies in many folders: so another one is said, and not refused."""
    base = engine.base
    config: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    name, revision = (str(config.get(field) or "")[:200] for field in ("base_model_name_or_path", "revision"))
    notes = []
    if name and _last(name) not in (_last(base.name), _last(base.path)):
        notes += [
            f"its {CONFIG} names the base {name}, and it is put on {base.name}; that the two are the same cannot be "
            "seen from a name"
        ]
    if revision not in ("", "main"):
        notes += [
            f"its {CONFIG} names the revision {revision} of its base; which revision {base.name} is cannot be seen here"
        ]
    if lacks_template(folder, engine.parts.renderer):
        notes += ["the tokenizer beside it has no chat template; that it was trained on the base's turns is not known"]
    if (folder / WEIGHTS).is_file() and (folder / PICKLE).is_file():
        notes += [f"{WEIGHTS} is read, as in PEFT, and {PICKLE} beside it is not"]
    if inside := _list_inside(folder):
        notes += [f"another adapter lies in each of {', '.join(inside[:5])}, which is not read"]
    return [f"{folder}: {note}" for note in notes]


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def _require_same_words(folder: Path, engine: TorchEngine) -> None:
    if (folder / NEW_WORDS).is_file():
        raise ValueError(f"{folder}: {NEW_WORDS} holds vectors of tokens that the base lacks; an adapter has none here")
    if difference := difference_beside(folder, engine.parts.renderer):
        raise ValueError(
            f"{folder}: the tokenizer beside it has {difference}, so the adapter was trained on other turns than "
            f"{engine.base.name} writes: give --base a folder of the base with that tokenizer, or take its files out "
            "where they are not what it was trained with"
        )


def _require_same_model(folder: Path, engine: TorchEngine) -> None:
    """Some trainers leave the config of the model that they trained, which may scale positions in another way."""
    if not (folder / MODEL).is_file():
        return
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # of a stranger's files the library raises whatever it trips over
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{folder}: the {MODEL} beside it cannot be read; take it out: {why}") from error
    if field := differing_field(config, engine.parts.model.config):
        raise ValueError(
            f"{folder}: the {MODEL} beside it has {field} as in {engine.base.name}, so the adapter was trained on "
            "another model: give --base a folder with that config, or take the file out where it is not what it was "
            "trained with"
        )
