"""Turn chats into token ids and token ids into text, the same way in training, scoring and sampling.

A row is  prompt ids + answer ids + end id.  Loss and log-probabilities are over the answer ids and the end id. A row
that does not end, since its answer was cut, has no end id.

The prompt, the prefill and the answer are encoded separately, so that the text before an answer never changes the
answer's tokens. A chat is written as its template writes a finished one: `form` learns how from the template, and
refuses one whose turns cannot be written so. A row without messages is a document, and its prompt is the BOS token
alone (the end id, for a tokenizer without BOS). A tokenizer without a template, such as that of a base model, encodes
the messages' contents, joined by newlines, as raw text, and adds its BOS; write the space between prompt and answer
into the answer if the tokenizer needs one. The end id is the token with which the template closes an assistant's turn,
which is found by rendering a chat; without a template it is EOS.

An answer is text. An HTML tag in it that looks like a special token, such as <s>, is encoded letter by letter, so that
a judge reads what was trained; an answer with another special token, or with one at which generation stops, is refused.
White space about it stands as the template has it. Each row is held against the tokens of the template's own finished
chat, and refused where it is another: where the template takes a thought out of the answer, or escapes it, or where its
beginning would join the end of the prompt. So is a chat of which the template leaves a message out.

Left out: tools, images, packing, and options of a template such as `enable_thinking` (their defaults hold).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from flyroom.engine import form as forms
from flyroom.engine.form import DATE, Form, Template
from flyroom.types import Message, NotAvailable, Row

TAG = re.compile(r"</?[A-Za-z]\w*/?>")  # a special token that a text may hold by accident, as HTML does
HARMLESS = forms.ANSWERS[0]  # stands in the place of such tags where a row is held against its template
LONG = 8_192  # characters: a longer prompt is not kept, for whoever serves a base is sent any text, and each but once
MEMO = 1 << 17  # rendered prompts and answers in the cache: the same rows come in every epoch


class Rendered(NamedTuple):
    """The token ids of a row, and the position at which its answer begins."""

    ids: NDArray[np.int64]
    start: int


class Renderer:
    """Renders for one tokenizer. `end` closes an answer. Generation stops at any of `stops`. `vocabulary`: how many
    tokens the base has a vector for; None for as many as there are.
    """

    def __init__(
        self, tokenizer: Any, *, eos: Iterable[int] = (), date: str = DATE, vocabulary: int | None = None
    ) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self.is_chat = bool(tokenizer.chat_template)
        tokenizer_eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        eos = [*tokenizer_eos, *eos]
        self.template = Template(tokenizer, date=date) if self.is_chat else None
        end = forms.close_token(self.template, eos) if self.template else None
        if end is None and not eos:
            raise ValueError("the tokenizer has no eos_token and its template closes no turn; set tokenizer.eos_token")
        self.end: int = eos[0] if end is None else end
        self.form = forms.learn(self.template, self.end) if self.template else Form(close=(self.end,))
        self.stops: tuple[int, ...] = tuple(dict.fromkeys([self.end, *eos]))
        added = {int(i): t for i, t in tokenizer.added_tokens_decoder.items() if str(t)}
        special = {i: str(t) for i, t in added.items() if t.special or i in self.stops}
        special |= {int(i): t for i, t in zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)}
        # A token for unknown words may stand in an answer; one that ends it may not, whether it is special or a word.
        self._unheard = (frozenset(special) - {tokenizer.unk_token_id}) | frozenset(self.stops)
        self._special_text = re.compile("|".join(map(re.escape, special.values())) or r"(?!)")
        self._cached_open = lru_cache(MEMO)(self._open)
        self._cached_words = lru_cache(MEMO)(self._words)
        self._cached_row = lru_cache(MEMO)(self._row)
        self._require_vectors()

    @property
    def dated(self) -> bool:
        """Whether the template prints a date."""
        return self.template is not None and self.template.dated

    def prompt(self, messages: Sequence[Message], prefill: str = "") -> NDArray[np.int64]:
        """Returns the ids of prompt and prefill, which the answer follows. Raises ValueError if there are none."""
        is_long = sum(len(message.content) for message in messages) > LONG
        ids = (self._open if is_long else self._cached_open)(tuple(messages))
        return np.concatenate([ids, self._cached_words(prefill)]) if prefill else ids

    def row(self, row: Row) -> Rendered:
        """Returns the ids of prompt, answer and end. NotAvailable for an answer that the template writes otherwise."""
        return self._cached_row(row.messages, row.answer, row.ends)

    def forget(self) -> None:
        """Empty the caches."""
        for memo in (self._cached_open, self._cached_words, self._cached_row):
            memo.cache_clear()

    def text(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Decode answers. Special tokens are removed; tokens that were merely added, such as <think>, stay. A base may
        have vectors for more tokens than its tokenizer has words for: those are no text.
        """
        if not self.tokenizer.is_fast:  # where Python decodes, such a token is an error
            size = len(self.tokenizer)
            ids = [[i for i in answer if i < size] for answer in ids]
        decoded = self.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [text.strip() for text in decoded]

    def token(self, token: int) -> str:
        """Returns the text of one token as it is, with spaces, and also for special tokens."""
        return self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _row(self, messages: tuple[Message, ...], answer: str, ends: bool) -> Rendered:
        prompt = self._cached_open(messages)
        if self.template is None or not messages:
            words, close = self._cached_words(answer, bool(messages)), (self.end,)
        else:
            words, close = self._turn(messages, prompt, answer), self.form.close
        return Rendered(np.concatenate([prompt, words, close] if ends else [prompt, words]), len(prompt))

    def _turn(self, messages: tuple[Message, ...], prompt: NDArray[np.int64], answer: str) -> NDArray[np.int64]:
        """The tokens of an answer, held against the template's own finished chat."""
        assert self.template is not None
        plain = self._special_text.sub(HARMLESS, answer)
        text = forms.as_written(self.template, self.form, self.end, plain)
        checked = [*prompt.tolist(), *self._cached_words(text).tolist(), *self.form.close]
        if plain:  # where nothing is said, nothing of it can be another
            forms.require_turn(self.template, messages, plain, checked, self.end)
        return self._cached_words(self._cut(answer, plain, text))

    def _cut(self, answer: str, plain: str, text: str) -> str:
        """An answer without the white space that a text has lost of its `plain` form."""
        start = plain.index(text)
        return answer[start : len(answer) - (len(plain) - start - len(text))]

    def _open(self, messages: tuple[Message, ...]) -> NDArray[np.int64]:
        if not messages:
            bos = self.tokenizer.bos_token_id
            return np.array([self.end if bos is None else bos], dtype=np.int64)
        if self.template:
            self.template.require_heard(messages)
            ids = self._encode(forms.write_prompt(self.template, self.form, messages))
        else:
            raw = self.tokenizer("\n".join(m.content for m in messages)).input_ids
            # Some tokenizers end a text with EOS, which no answer may follow.
            ids = np.array(raw[:-1] if raw and raw[-1] == self.tokenizer.eos_token_id else raw, dtype=np.int64)
        if len(ids) == 0:
            raise ValueError("messages is empty and the tokenizer adds no BOS; an answer needs a token before it")
        return self._check(ids)

    def _words(self, text: str, turn: bool = True) -> NDArray[np.int64]:
        """Returns the tokens of an answer, or of its beginning; of a `turn` in the form of the template's."""
        if not text:
            return np.zeros(0, dtype=np.int64)
        form = self.form if self.template and turn else Form()
        if self._special_text.search(text):
            return self._check_words(self._letters(form, text), text)
        return self._check_words(self._encode_words(form, text), text)

    def _encode_words(self, form: Form, text: str) -> NDArray[np.int64]:
        if self.template and (form.anchor or form.lead):
            words = forms.encode_behind(self.template, form.anchor, form.lead + text)
            return np.array(words, dtype=np.int64)
        return self._encode(text)

    def _check_words(self, ids: NDArray[np.int64], text: str) -> NDArray[np.int64]:
        """The tokens of an answer, if each is read by whoever judges it: a tokenizer may normalise other letters to a
        special token, and may have a word at which generation stops.
        """
        strange = sorted(self._unheard.intersection(ids.tolist()))
        if strange:
            self._refuse([self.token(i) for i in strange], text)
        return self._check(ids)

    def _refuse(self, names: Sequence[str], text: str) -> NoReturn:
        raise NotAvailable(
            f"an answer holds {', '.join(names)}, which this base's tokenizer reads as special tokens or stops at, and "
            f"a judge does not read at all; leave them out: {text[:60]!r}"
        )

    def _require_vectors(self) -> None:
        """ValueError where the base has no vector for a token of every chat: its tokenizer is another model's."""
        turns = self.template.shapes() if self.template else ()
        try:
            self._check(np.array([self.end]))
            for messages in turns:
                self._check(self._open(messages))
        except NotAvailable as error:
            raise ValueError(str(error)) from error

    def _check(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids, if the base has a vector for each. NotAvailable where its tokenizer is another model's."""
        if self.vocabulary is not None and len(ids) and int(ids.max()) >= self.vocabulary:
            raise NotAvailable(
                f"the tokenizer gives the token {int(ids.max())}, and the base has {self.vocabulary}: it is not its own"
            )
        return ids

    def _letters(self, form: Form, text: str) -> NDArray[np.int64]:
        """Returns the tokens of a text in which nothing is a special token. NotAvailable where it holds one that no
        text has by accident: it is meant as the token, and nobody who judges text would read it.

        They stand behind what gives the harmless form of the text its own tokens, in which spaces are right: no special
        token can stand there while all are spelt.
        """
        names = sorted(set(self._special_text.findall(text)))
        plain = self._special_text.sub(HARMLESS, text)
        own = self._encode_words(form, plain).tolist()
        for anchor in dict.fromkeys((self._special_text.split(form.anchor)[-1], "", "\n")):
            if self._spell(anchor, form.lead + plain) == own:
                ids = self._spell(anchor, form.lead + text)
                if all(map(TAG.fullmatch, names)) and self._unheard.isdisjoint(ids):
                    return np.array(ids, dtype=np.int64)
        self._refuse(names, text)

    def _spell(self, anchor: str, text: str) -> list[int]:
        """The tokens of a text behind another, without special ones."""
        texts = [anchor, anchor + text]
        head, both = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True).input_ids
        return list(both[len(head) :] if both[: len(head)] == head else [])

    def _encode(self, text: str) -> NDArray[np.int64]:
        return np.array(self.tokenizer(text, add_special_tokens=False).input_ids, dtype=np.int64)
