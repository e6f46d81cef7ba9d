"""Which of several options an answer takes: by the words that only this one has, by its place, and by what is denied.

The first sentence that names an option counts. What comes after it is an explanation, unless it tells to do something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from flyroom.worlds.english.words import (
    Span,
    is_english,
    normalise,
    pattern,
    sentences,
    spans,
    statements,
    stem,
    stems,
    strip,
    word_list,
)

SHORT = 12  # words
CONTRARY = (("more", "less"), ("more", "fewer"), ("up", "down"), ("hotter", "cooler"), ("bigger", "smaller"))
PLACES = ("first", "second", "third")
ORDINALS = tuple(
    re.compile(
        rf"\b(?:the |option |number |idea )?(?:{word}|{place}(?= (?:one|option|idea|thing|friend|choice|way)|[.!,]|$)"
        rf"|option {letter}|option {i}|number {i})\b"
    )
    for i, (place, word, letter) in enumerate(
        zip(PLACES, ("former", "latter", "third option"), ("a", "b", "c"), strict=True), 1
    )
)


@dataclass(frozen=True)
class Choice:
    """Places of options: those that an answer takes, those that it turns down, and those of which neither is clear."""

    takes: frozenset[int] = frozenset()
    rejects: frozenset[int] = frozenset()
    unclear: frozenset[int] = frozenset()

    @property
    def empty(self) -> bool:
        return not (self.takes or self.rejects or self.unclear)


def choose(
    answer: str, options: Sequence[str], about: str = "", rivals: Sequence[str] = (), *, ordinals: bool = True
) -> Choice:
    """What an answer says of the options. Words of the text that it is `about` name none of them. A piece of
    it that names one of the `rivals` in full names no option in part. A question counts where nothing else is said.
    "The first one" takes one too, with `ordinals`.

    >>> choose("Let it dry out. Water would rot it.", ["give it more water", "let the soil dry out"]).takes
    frozenset({1})
    """
    text = strip(normalise(answer))
    choice = _of_sentences(statements(text), options, about, rivals, ordinals)
    return _of_sentences(sentences(text), options, about, rivals, ordinals) if choice.empty else choice


def _of_sentences(
    lines: Sequence[str], options: Sequence[str], about: str, rivals: Sequence[str], ordinals: bool
) -> Choice:
    choice = Choice()
    for sentence in lines:
        if not choice.empty and not _directs(sentence, options):
            continue
        choice = _join(choice, _in_sentence(strip(sentence), options, about, rivals))
        if choice.empty and ordinals:
            choice = _at_places(strip(sentence), len(options))
    return choice


def _directs(sentence: str, options: Sequence[str]) -> bool:
    """Whether a later sentence tells to do something too, or takes back what was said."""
    if pattern("corrects", "start").search(sentence):
        return True
    while lead := pattern("leads", "start").match(sentence):
        sentence = sentence[lead.end() :].lstrip(", ")
    if pattern("directs", "start").search(sentence):
        return True
    words = sentence.split()
    return bool(words) and any(_begins(words, option.lower().split()) for option in options)


def _advises(sentence: str, options: Sequence[str]) -> bool:
    """Whether a sentence tells what to do: it is short, or begins with an option, or has a word for advice in it. A
    mention in a longer one is a mention.
    """
    words = sentence.split()
    if pattern("balance").search(sentence):
        return False
    if len(words) <= SHORT or any(_begins(words, option.lower().split()) for option in options):
        return True
    return any(pattern(name).search(sentence) for name in ("advises", "denial", "rejection"))


def _begins(words: list[str], option: list[str]) -> bool:
    """A name alone tells to take it, a name before a verb does not."""
    return words[0].strip(".,!") == option[0] and (len(option) > 1 or len(words) == 1)


def _in_sentence(sentence: str, options: Sequence[str], about: str, rivals: Sequence[str]) -> Choice:
    pieces = spans(sentence)
    mentions = [(piece, _find(piece, options, about, rivals)) for piece in pieces]
    turned = {i for piece, places in mentions for i in places if _is_turned(piece.text, options[i])}
    by_polarity = {False: set[int](), True: set[int](), None: set[int]()}
    if not _advises(sentence, options):
        return Choice(unclear=frozenset(place for _, places in mentions for place in places))
    for piece, places in mentions:
        by_polarity[piece.negated].update(places - turned)
    by_polarity[None] |= turned
    return Choice(frozenset(by_polarity[False]), frozenset(by_polarity[True]), frozenset(by_polarity[None]))


def _at_places(sentence: str, size: int) -> Choice:
    takes, rejects = (
        {p for piece in spans(sentence) if piece.negated is denied for p in _by_place(piece, size)}
        for denied in (False, True)
    )
    return Choice(frozenset(takes), frozenset(rejects)) if len(sentence.split()) <= SHORT else Choice()


def _find(piece: Span, options: Sequence[str], about: str, rivals: Sequence[str]) -> set[int]:
    words = stems(piece.text)
    places = {i for i, clue in enumerate(clues(tuple(options), about)) if clue.fits(words)}
    if any(stems(rival) <= words for rival in rivals):
        return {i for i in places if stems(options[i]) <= words}
    return places


def _is_turned(text: str, option: str) -> bool:
    """Whether a text has the contrary of a word of the option in its place: "less water" is not "more water"."""
    stated, option_words = (set(re.findall(r"\w+", words.lower())) for words in (text, option))
    pairs = (*CONTRARY, *((b, a) for a, b in CONTRARY))
    return any(a in option_words - stated and b in stated - option_words for a, b in pairs)


class Clue(NamedTuple):
    """The stems of an option, and those of them that no other option has."""

    words: frozenset[str]
    alone: frozenset[str]

    def fits(self, words: frozenset[str]) -> bool:
        """Half of what it has alone stands there; that must be more than "put" or "more", or half of all of it. Of an
        option that has nothing alone, everything.
        """
        if not self.alone:
            return self.words <= words
        hits = words & self.alone
        speaks = bool(hits - generic_stems()) or 2 * len(words & self.words) >= len(self.words)
        return 2 * len(hits) >= len(self.alone) and speaks


@cache
def clues(options: tuple[str, ...], about: str) -> list[Clue]:
    sets = [stems(option) for option in options]
    rest = [frozenset[str]().union(*sets[:i], *sets[i + 1 :]) for i in range(len(sets))]
    alone = [words - others for words, others in zip(sets, rest, strict=True)]
    return [Clue(words, part - stems(about) or part) for words, part in zip(sets, alone, strict=True)]


@cache
def generic_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in word_list("generic"))


def _by_place(piece: Span, size: int) -> set[int]:
    return {i for i, ordinal in enumerate(ORDINALS[:size]) if ordinal.search(piece.text)}


def _join(a: Choice, b: Choice) -> Choice:
    return Choice(a.takes | b.takes, a.rejects | b.rejects, a.unclear | b.unclear)


def repeats(answer: str, question: str) -> bool:
    """Whether an answer gives the question back: all of it, or a piece that ends in its question mark."""
    reply, prompt = (re.sub(r"[^\w? ]", "", normalise(text)).strip() for text in (answer, question))
    return bool(reply) and (prompt in reply or (reply.endswith("?") and reply in prompt))


def is_echo(answer: str, question: str) -> bool:
    """Whether an answer is a longer piece of the question, said again."""
    reply, prompt = (re.sub(r"[^\w ]", "", normalise(text)).strip() for text in (answer, question))
    return len(reply.split()) > 4 and reply in prompt


def is_evasive(answer: str) -> bool:
    """Whether an answer refuses or will not say."""
    reply = normalise(answer)
    return any(pattern(name).search(reply) for name in ("refusal", "hedge"))


def is_sentence(answer: str) -> bool:
    return is_english(normalise(answer))
