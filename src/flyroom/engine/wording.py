"""Whether what lies beside an adapter writes the same words and turns as the base's own tokenizer.

Two tokenizers are held against each other by what they make of texts, and not by their files, which every version of a
library writes in another way: of the words of the vocabulary, of a page of odd ones, and of chats with and without a
system message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flyroom.engine.form import FAULTS, FORMER, SHAPES
from flyroom.engine.render import Renderer
from flyroom.engine.tokenizers import encode_all, has_tokenizer, read_tokenizer, texts_for
from flyroom.types import Message, NotAvailable, Row

TEMPLATES = ("chat_template.jinja", "chat_template.json")
TOKENS, SPECIAL = "added_tokens.json", "special_tokens_map.json"
ENDS = ("bos_token", "eos_token")


def difference_beside(folder: Path, renderer: Renderer) -> str:
    """What the files beside an adapter have that the base's tokenizer has not, "" for nothing that changes a row, as a
    token for padding is. Raises ValueError for files that cannot be read.
    """
    try:
        if has_tokenizer(folder):
            return difference_of(read_tokenizer(folder), renderer) or _other_template(folder, renderer.tokenizer)
        return _other_template(folder, renderer.tokenizer) or _other_tokens(folder, renderer.tokenizer)
    except Exception as error:  # of a stranger's files the library raises whatever it trips over
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{folder}: the tokenizer beside it cannot be read; take its files out: {why}") from error


def difference_of(tokenizer: Any, renderer: Renderer) -> str:
    """What a tokenizer has that the base's has not. A chat template may be missing: then nothing is known of its turns
    (`lacks_template`).
    """
    home = renderer.tokenizer
    words, own = tokenizer.get_vocab(), home.get_vocab()
    for token in sorted(token for token in {*words, *own} if words.get(token) != own.get(token)):
        if token not in (tokenizer.pad_token, home.pad_token):
            there = token in words
            return f"the token {token!r}, which the base's has not or elsewhere" if there else f"no token {token!r}"
    if tokenizer.chat_template and tokenizer.chat_template != home.chat_template:
        return "another chat template" if home.chat_template else "a chat template, and the base's has none"
    if not home.chat_template and tokenizer.eos_token != home.eos_token:
        return f"the eos_token {tokenizer.eos_token!r}, and the base's {home.eos_token!r}"
    texts = texts_for(home)
    pairs = zip(texts, encode_all(tokenizer, texts), encode_all(home, texts), strict=True)
    text = next((text for text, ids, own_ids in pairs if ids != own_ids), None)
    if text is not None:
        return f"other tokens for {text!r:.60}"
    return _difference_of_turns(tokenizer, renderer) if tokenizer.chat_template else ""


def lacks_template(folder: Path, renderer: Renderer) -> bool:
    """Whether a tokenizer beside an adapter says nothing of the turns of a base that has some."""
    return renderer.is_chat and has_tokenizer(folder) and not read_tokenizer(folder).chat_template


def _difference_of_turns(tokenizer: Any, renderer: Renderer) -> str:
    """A template may write tokens by what they are called for: bos_token, eos_token."""
    try:
        theirs = Renderer(tokenizer, eos=renderer.stops, vocabulary=renderer.vocabulary)
    except FAULTS as error:
        return f"turns that cannot be written: {error}"
    for messages in SHAPES:
        turns = [_write(side, messages) for side in (renderer, theirs)]
        if turns[0] != turns[1]:
            return f"other turns, such as {turns[1]!r:.100}, where the base's are {turns[0]!r:.100}"
    return ""


def _write(renderer: Renderer, messages: tuple[Message, ...]) -> str:
    try:
        return "".join(map(renderer.token, renderer.row(Row(messages=messages, answer=FORMER)).ids.tolist()))
    except NotAvailable:
        return "none"


def _other_template(folder: Path, home: Any) -> str:
    """Of files that no tokenizer reads where it lies alone, or in a processor's file."""
    for file in (folder / name for name in TEMPLATES):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            template = text if file.suffix == ".jinja" else json.loads(text)["chat_template"]
            if template != home.chat_template:
                return f"another chat template ({file.name})"
    return ""


def _other_tokens(folder: Path, home: Any) -> str:
    """Of files that only a whole tokenizer reads."""
    words = home.get_vocab()
    for token, number in _read_object(folder / TOKENS).items():
        if words.get(token) != number:
            return f"the token {token!r} ({TOKENS}), which the base's has not or elsewhere"
    for name, token in _read_object(folder / SPECIAL).items():
        text = token.get("content") if isinstance(token, dict) else token
        if name in ENDS and text != getattr(home, name):
            return f"the {name} {text!r} ({SPECIAL}), and the base's {getattr(home, name)!r}"
    return ""


def _read_object(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
