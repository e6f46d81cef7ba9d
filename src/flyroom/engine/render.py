"""Turn chats into token ids and token ids into text, the same way in training, scoring and sampling.

A row is  prompt ids + answer ids + end id.  Loss and log-probabilities are over the answer ids and the end id.

The prompt, the prefill and the answer are encoded separately, so that the text before an answer never changes the
answer's tokens. The prompt is the tokenizer's chat template with the assistant's turn opened. A row without messages is
a document, and its prompt is the BOS token alone (the end id, for a tokenizer without BOS). A tokenizer without a
template, such as that of a base model, encodes the messages' contents, joined by newlines, as raw text, and adds its
BOS; write the space between prompt and answer into the answer if the tokenizer needs one. The end id is the token with
which the template closes an assistant's turn, which is found by rendering a chat; without a template it is EOS.

Left out: tools, images, packing, and options of a template such as `enable_thinking` (their defaults hold).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
import numpy as np
from numpy.typing import NDArray

from flyroom.types import Message, NotAvailable, Row

MEMO = 1 << 17  # rendered prompts and answers in the cache: the same rows come in every epoch
MARK = "flyroom"


class Rendered(NamedTuple):
    """The token ids of a row, and the position at which its answer begins."""

    ids: NDArray[np.int64]
    start: int


class Renderer:
    """Renders for one tokenizer. `end` closes an answer. Generation stops at any of `stops`."""

    def __init__(self, tokenizer: Any, *, eos: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.is_chat = bool(tokenizer.chat_template)
        tokenizer_eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        eos = [*tokenizer_eos, *eos]
        end = _closing_token(tokenizer) if self.is_chat else None
        if end is None and not eos:
            raise ValueError("the tokenizer has no eos_token and its template closes no turn; set tokenizer.eos_token")
        self.end: int = eos[0] if end is None else end
        self.stops: tuple[int, ...] = tuple(dict.fromkeys([self.end, *eos]))
        self._cached_open = lru_cache(MEMO)(self._open)
        self._cached_encode = lru_cache(MEMO)(self._encode)
        self._cached_row = lru_cache(MEMO)(self._row)

    def prompt(self, messages: Sequence[Message], prefill: str = "") -> NDArray[np.int64]:
        """Returns the ids of prompt and prefill, which the answer follows. Raises ValueError if there are none."""
        ids = self._cached_open(tuple(messages))
        return np.concatenate([ids, self._cached_encode(prefill)]) if prefill else ids

    def row(self, row: Row) -> Rendered:
        """Returns the ids of prompt, answer and end."""
        return self._cached_row(row)

    def forget(self) -> None:
        """Empty the caches."""
        for memo in (self._cached_open, self._cached_encode, self._cached_row):
            memo.cache_clear()

    def text(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Decode answers. Special tokens are removed; tokens that were merely added, such as <think>, stay."""
        decoded = self.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [text.strip() for text in decoded]

    def token(self, token: int) -> str:
        """Returns the text of one token as it is, with spaces, and also for special tokens."""
        return self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _row(self, row: Row) -> Rendered:
        prompt, answer = self._cached_open(row.messages), self._cached_encode(row.answer)
        return Rendered(np.concatenate([prompt, answer, [self.end]]), len(prompt))

    def _open(self, messages: tuple[Message, ...]) -> NDArray[np.int64]:
        if not messages:
            bos = self.tokenizer.bos_token_id
            return np.array([self.end if bos is None else bos], dtype=np.int64)
        if self.is_chat:
            ids = self._encode(_template(self.tokenizer, messages, opened=True))
        else:
            raw = self.tokenizer("\n".join(m.content for m in messages)).input_ids
            # Some tokenizers end a text with EOS, which no answer may follow.
            ids = np.array(raw[:-1] if raw and raw[-1] == self.tokenizer.eos_token_id else raw, dtype=np.int64)
        if len(ids) == 0:
            raise ValueError("messages is empty and the tokenizer adds no BOS; an answer needs a token before it")
        return ids

    def _encode(self, text: str) -> NDArray[np.int64]:
        return np.array(self.tokenizer(text, add_special_tokens=False).input_ids, dtype=np.int64)


def _template(tokenizer: Any, messages: Sequence[Message], *, opened: bool) -> str:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opened)
    except jinja2.TemplateError as error:
        roles = [m.role for m in messages]
        raise NotAvailable(f"messages with roles {roles} are refused by the chat template: {error}") from error


def _closing_token(tokenizer: Any) -> int | None:
    """Returns the token that the template puts after an assistant's words: the first added one, else the first."""
    try:
        closed = _template(tokenizer, [Message("user", MARK), Message("assistant", MARK)], opened=False)
    except ValueError:  # such as a template that demands a system message: EOS serves instead
        return None
    after = closed.rpartition(MARK)[2].strip()
    ids = tokenizer(after, add_special_tokens=False).input_ids
    added = set(tokenizer.get_added_vocab().values())
    return next((i for i in ids if i in added), ids[0] if ids else None)
