"""How a chat template writes an assistant's turn, learnt from the template itself.

What is trained must be the turn that the template writes in a finished chat, token for token. That is not always the
generation prompt and the answer's own tokens: a generation prompt may open a thought that finished turns lack, a turn
may begin with a channel or an empty thought, a space may stand between prompt and answer, and a tokenizer may put a
space before text that it is given alone. So a few chats are rendered whole, and the first way of writing prompt and
answer is taken that gives the same tokens in all of them:

1. the generation prompt, and the answer encoded alone;
2. the same, and the answer encoded behind the end of the prompt (`anchor`);
3. what the template writes before an assistant's words in a finished chat, in place of the generation prompt;
4. any of these, with the spaces between prompt and answer given to the answer (`lead`).

Where none does, the template is refused and the difference shown. A template that prints today's date is given a fixed
one, so that a row is the same on any day.

Many templates trim what an assistant says, and some take a thought out of it (`Template.write_answer`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import jinja2
from jinja2.exceptions import SecurityError

from flyroom.engine import sandbox as _  # noqa: F401 - from here on templates are bounded
from flyroom.types import Message, NotAvailable

DATE = "2026-01-01"
ROLES = 1_024  # sequences of roles of which it is kept whether the template writes each message
SHORT = 1_000  # characters of a chat that no template of a chat model finds too long
# What a template raises, by itself or since somebody wrote it to.
FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
FAULTS += (MemoryError, AssertionError)
FIELDS = (*"aAbBcdfHIjmMpSuUVwWxXyYZzGDFTR", "-d", "-m", "-H", "-I", "-M", "-S", "-j", "e")  # of a date's format
QUESTION, SYSTEM, FORMER = "what next ?", "be brief", "it rains"
ANSWERS = ("flyroom", "No, two of them.", "1 and 2\n\nThen rest")  # what no template writes of itself
SHAPES = (  # the chats that are rendered: with and without a system message, at the first and at a later turn
    (Message("user", QUESTION),),
    (Message("system", SYSTEM), Message("user", QUESTION)),
    (Message("user", QUESTION), Message("assistant", FORMER), Message("user", QUESTION)),
    (Message("system", SYSTEM), Message("user", QUESTION), Message("assistant", FORMER), Message("user", QUESTION)),
)


class Form(NamedTuple):
    """How a turn is written. `opened`: prompts are the generation prompt, else what finished chats have before an
    answer. An answer is `lead` and its words, encoded behind `anchor`, and then the tokens `close`.
    """

    opened: bool = True
    anchor: str = ""
    lead: str = ""
    close: tuple[int, ...] = ()


class Template:
    """A tokenizer's chat template: messages in, text out. `parts`: contents go in as lists of parts.

    `dated` says whether it may print the date; then it is `date`, an ISO date. `leaves_out` says where it passes over
    system messages, "" for nowhere: a chat with one is refused, for nobody would read it, or not what was trained.
    """

    def __init__(self, tokenizer: Any, *, date: str = DATE) -> None:
        self.tokenizer, self.date = tokenizer, date
        source = _source_of(tokenizer)
        self.dated = "strftime_now" in source
        self._source = fix_date(source, date) if self.dated else None
        self._refusal = ""
        self.parts, self.leaves_out = False, ""
        self._cached_gap = lru_cache(ROLES)(self._find_message)
        self.parts = not self._passes_text()
        self.leaves_out = self._find_gap()

    def write(self, messages: Sequence[Message], *, opened: bool) -> str:
        """The chat as text. NotAvailable where the template refuses it, and once a short chat was too much for it."""
        if self._refusal:
            raise NotAvailable(self._refusal)
        if self.leaves_out and any(m.role == "system" for m in messages):
            raise NotAvailable(f"the chat template leaves a system message out of {self.leaves_out}")
        turns = [{"role": m.role, "content": self._content(m)} for m in messages]
        options = {"tokenize": False, "add_generation_prompt": opened, "chat_template": self._source}
        try:
            text = self.tokenizer.apply_chat_template(turns, **options)
        except FAULTS as error:
            roles, why = [m.role for m in messages], " ".join(str(error).split())[:500]
            refusal = f"messages with roles {roles} are refused by the chat template: {why}"
            if isinstance(error, SecurityError) and sum(len(m.content) for m in messages) < SHORT:
                self._refusal = refusal  # it would take as long each time
            raise NotAvailable(refusal) from error
        return str(text)

    def before(self, messages: Sequence[Message]) -> str:
        """What a finished chat has before the assistant's words. NotAvailable where they are not in it."""
        text = self.write([*messages, Message("assistant", ANSWERS[0])], opened=False)
        if ANSWERS[0] not in text:
            raise NotAvailable(f"the chat template does not write an assistant's words as they are: {text!r}")
        return text.rpartition(ANSWERS[0])[0]

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def shapes(self) -> Iterator[tuple[Message, ...]]:
        """The chats of `SHAPES` that the template accepts, with an answer and without."""
        for messages in SHAPES:
            try:
                self.write(messages, opened=True)
                self.write([*messages, Message("assistant", FORMER)], opened=False)
                self.require_heard(messages)
            except NotAvailable:
                continue
            yield messages

    def write_answer(self, answer: str) -> str:
        """An answer with the white space about it that the template leaves there. NotAvailable where it makes something
        else of the answer.
        """
        if answer == answer.strip():
            return answer
        chat = next(self.shapes(), SHAPES[0])
        text = self.write([*chat, Message("assistant", answer)], opened=False)
        plain = self.write([*chat, Message("assistant", ANSWERS[0])], opened=False)
        before, after = plain.rpartition(ANSWERS[0])[::2]
        words = text[len(before) : len(text) - len(after)]
        if before + words + after != text or words.strip() != answer.strip() or words not in answer:
            raise NotAvailable(
                f"the chat template writes the answer {answer[:200]!r} as {text[-200:]!r}: what it takes out or puts "
                "in cannot be trained; leave it out of the answer"
            )
        return words

    def _content(self, message: Message) -> Any:
        return [{"type": "text", "text": message.content}] if self.parts else message.content

    def _find_gap(self) -> str:
        """Where a system message is neither written nor refused."""
        try:
            opened = self.write(SHAPES[1], opened=True).lower()
            finished = self.write([*SHAPES[1], Message("assistant", FORMER)], opened=False).lower()
        except NotAvailable:
            return ""
        gaps = [where for where, text in (("a prompt", opened), ("a finished chat", finished)) if SYSTEM not in text]
        return " and ".join(gaps)

    def require_heard(self, messages: Sequence[Message]) -> None:
        """NotAvailable where the template passes over one of the messages, as some do over all but the last question.
        Found by a word in place of each, since a template may trim or change what is said.
        """
        number = self._cached_gap(tuple(message.role for message in messages))
        if number is not None:
            raise NotAvailable(
                f"the chat template leaves message {number + 1} of {len(messages)} out of the prompt "
                f"({messages[number].role}: {messages[number].content[:60]!r}); nobody would read it: take it out"
            )

    def _find_message(self, roles: tuple[str, ...]) -> int | None:
        """The place of the first message that a prompt with such roles lacks."""
        words = [f"{ANSWERS[0]}{number}x" for number in range(len(roles))]
        try:
            chat = [Message(role, word) for role, word in zip(roles, words, strict=True)]
            text = self.write(chat, opened=True).lower()
        except NotAvailable:  # it is refused, and so is the chat
            return None
        return next((number for number, word in enumerate(words) if word not in text), None)

    def _passes_text(self) -> bool:
        """Whether a question is written where its content is plain text; True too if it is not written as parts."""
        messages = [Message("user", QUESTION)]
        for self.parts in (False, True):
            try:
                if QUESTION in self.write(messages, opened=True):
                    return not self.parts
            except NotAvailable:
                continue
        return True


def fix_date(source: str, date: str) -> str:
    """A template's source in which it is always one day, at midnight: what asks for the time is a macro that it begins
    with. transformers hands a template no function of ours.

    >>> text = fix_date("{{ strftime_now('%d %b %Y') }}", "2026-01-01")
    >>> jinja2.Environment().from_string(text).render()
    '01 Jan 2026'
    """
    day = datetime.datetime.fromisoformat(date)
    filters = "".join(f" | replace('%{name}', {day.strftime(f'%{name}')!r})" for name in (*FIELDS, "%"))
    macro = f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}{{{{ '' }}}}"
    return macro + re.sub(r"\A[ \t]+(?=\{[%#])", "", source)  # as the environment strips before a block


def _source_of(tokenizer: Any) -> str:
    """The source of the template that holds where none is named. ValueError where that is none of several."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        names = ", ".join(sorted(tokenizer.chat_template)) if isinstance(tokenizer.chat_template, dict) else "one"
        raise ValueError(
            f'the tokenizer has the chat templates {names}, and none of the name "default"; name the one that holds so'
        ) from error


def close_token(template: Template, stops: Sequence[int]) -> int | None:
    """The token that the template puts after an assistant's words: the first that is added or at which generation
    stops. Where the turn ends with its words, the token with which the next turn begins, if generation stops at it.
    None if there is none. ValueError where only text stands behind the words: a token of it may stand within an answer,
    which would be cut there.
    """
    last, between = (_after(template, follow) for follow in ((), (Message("user", QUESTION),)))
    ids, added = template.encode(last.strip()), set(template.tokenizer.get_added_vocab().values())
    end = next((i for i in ids if i in added or i in stops), None)
    if ids and end is None:
        raise ValueError(
            f"the chat template ends a turn with {last.strip()[:80]!r}, which is plain text to the tokenizer: answers "
            "would be cut at its letters; the tokenizer must have a token for it, or the template end with EOS"
        )
    return end if ids else next((i for i in template.encode(between.strip())[:1] if i in stops), None)


def _after(template: Template, follow: Sequence[Message]) -> str:
    """What stands behind the words of an assistant, "" where the template refuses the chat."""
    chat = [Message("user", QUESTION), Message("assistant", ANSWERS[0]), *follow]
    try:
        return template.write(chat, opened=False).rpartition(ANSWERS[0])[2]
    except NotAvailable:  # such as a template that demands a system message: EOS serves instead
        return ""


def learn(template: Template, end: int) -> Form:
    """The form of a template's turns, which end with the token `end`. ValueError where none gives the template's own
    tokens, for a template that takes none of the chats, and for one that writes a chat in two ways.
    """
    chats = list(template.shapes())
    if not chats:
        raise ValueError(f"the chat template takes none of the chats that were tried: {_refusal(template)}")
    if len({template.write(chats[0], opened=True) for times in range(4)}) > 1:
        raise ValueError("the chat template writes the same chat in several ways: a row could not be asked again")
    differences = []
    for form in _forms(template, chats, end):
        faults = [fault for fault in (_difference(template, form, end, chat) for chat in chats) if fault]
        if not faults:
            return form
        differences += faults[:1]
    raise ValueError(
        f"the chat template writes the assistant's turn in a form that cannot be trained: {differences[0]}"
    )


def _refusal(template: Template) -> str:
    """Why a question is refused, or its answer."""
    try:
        template.write([*SHAPES[0], Message("assistant", FORMER)], opened=False)
        template.write(SHAPES[0], opened=True)
    except NotAvailable as error:
        return str(error)
    return ""


def _forms(template: Template, chats: Sequence[Sequence[Message]], end: int) -> Iterator[Form]:
    """The ways of writing a turn, the plain ones first."""
    opened = [template.write(chat, opened=True) for chat in chats]
    try:
        before = [template.before(chat) for chat in chats]
    except NotAvailable as error:
        raise ValueError(str(error)) from error
    gap = before[0][len(before[0].rstrip()) :]
    ways = product(dict.fromkeys(("", gap)), ((True, opened), (False, before)), (False, True))
    for lead, (is_opened, prompts), anchored in ways:
        end_of_all = common_end([prompt.removesuffix(lead) for prompt in prompts]).rpartition(QUESTION)[2]
        anchor = end_of_all if anchored else ""
        if anchor or not anchored:
            yield Form(is_opened, anchor, lead, _close(template, anchor, lead, chats[0], end))


def _close(template: Template, anchor: str, lead: str, chat: Sequence[Message], end: int) -> tuple[int, ...]:
    """The tokens behind an answer's own, up to `end`; it alone where the template writes none, or not behind them."""
    ids = _whole(template, chat, ANSWERS[0], end)
    words = encode_behind(template, anchor, lead + ANSWERS[0])
    starts = [i for i in range(len(ids) - len(words) + 1) if ids[i : i + len(words)] == words]
    rest = ids[starts[-1] + len(words) :] if starts else []
    return tuple(rest) if end in rest else (end,)


def _whole(template: Template, chat: Sequence[Message], answer: str, end: int) -> list[int]:
    """The tokens of a finished chat, up to the end of its last turn. It is added where nothing stands behind the words;
    where something else does, the chat stays as it is, and no turn is the same.
    """
    text = template.write([*chat, Message("assistant", answer)], opened=False)
    ids, answer = template.encode(text), answer.strip()
    if answer not in text:
        return ids
    start = len(template.encode(text[: text.rindex(answer) + len(answer)]))
    if not text.rpartition(answer)[2].strip():
        return [*template.encode(text.rstrip()), end]
    place = next((i for i in range(max(start - 1, 0), len(ids)) if ids[i] == end), None)
    return ids if place is None else ids[: place + 1]


def as_written(template: Template, form: Form, end: int, answer: str) -> str:
    """An answer with the white space that is left of it in the template's own turn, where tokens may swallow some too.
    NotAvailable as from `Template.write_answer`, and where no such answer gives the template's tokens.
    """
    words = template.write_answer(answer)
    if words == answer == answer.strip():
        return words
    chat = next(template.shapes(), SHAPES[0])
    difference = ""
    for text in dict.fromkeys((words, words.rstrip(), words.lstrip(), words.strip())):
        difference = _difference(template, form, end, chat, {answer: text})
        if not difference:
            return text
    raise NotAvailable(f"the answer {answer[:200]!r} cannot be written token for token: {difference}")


def _difference(
    template: Template, form: Form, end: int, chat: Sequence[Message], answers: Mapping[str, str] | None = None
) -> str:
    """What of the turn differs from the template's own, "" where nothing does. `answers`: by what is said, what of it
    is encoded.
    """
    prompt = template.encode(write_prompt(template, form, chat))
    for answer, words in (answers or {text: text for text in ANSWERS}).items():
        row = [*prompt, *encode_behind(template, form.anchor, form.lead + words), *form.close]
        whole = _whole(template, chat, answer, end)
        if row != whole:
            ours, theirs = (template.tokenizer.decode(ids) for ids in (row, whole))
            return f"it writes {theirs!r}, {len(whole)} tokens; trained would be {ours!r}, {len(row)} tokens"
    return ""


def require_turn(template: Template, messages: Sequence[Message], answer: str, row: Sequence[int], end: int) -> None:
    """NotAvailable unless the tokens of a row are those of the template's finished chat with this very answer. From the
    chats of `SHAPES` nobody can tell what a template does to other words.
    """
    text = template.write([*messages, Message("assistant", answer)], opened=False)
    whole = template.encode(text)
    if whole[: len(row)] == row or [*template.encode(text.rstrip()), end] == row:
        return
    place = next((i for i, pair in enumerate(zip(row, whole, strict=False)) if pair[0] != pair[1]), len(whole))
    theirs, ours = (template.tokenizer.decode(ids[max(place - 10, 0) : place + 30]) for ids in (whole, row))
    raise NotAvailable(
        f"the chat template writes the answer {answer[:200]!r} as {theirs!r}, and trained would be {ours!r}, another "
        f"from token {place + 1} on: what it takes out, puts in or joins cannot be trained; leave it out of the answer "
        "or the chat"
    )


def write_prompt(template: Template, form: Form, messages: Sequence[Message]) -> str:
    """What stands before an answer. NotAvailable where the template refuses the chat."""
    text = template.write(messages, opened=True) if form.opened else template.before(messages)
    return text.removesuffix(form.lead)


def encode_behind(template: Template, anchor: str, text: str) -> list[int]:
    """The tokens of a text as it stands behind another, where that one's tokens stay what they are; else alone."""
    if anchor:
        head, both = template.encode(anchor), template.encode(anchor + text)
        if both[: len(head)] == head:
            return both[len(head) :]
    return template.encode(text)


def common_end(texts: Sequence[str]) -> str:
    """The longest text with which all texts end.

    >>> common_end(["a cat", "the cat"])
    ' cat'
    """
    shortest = min(texts, key=len)
    for n in range(len(shortest) + 1):
        if not all(text.endswith(shortest[n:]) for text in texts):
            continue
        return shortest[n:]
    return ""
