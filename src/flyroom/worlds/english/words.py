"""English as far as a judge must read it: what is said without its case, punctuation and small talk; stems of words;
numbers; sentences and their clauses, each with whether it is denied.

It reads no meaning: a clause that is denied in a way that could be taken twice has the polarity None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from flyroom.worlds.english.tables import tables

SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
    "eighteen nineteen",
)
TENS = ("twenty thirty forty fifty sixty seventy eighty ninety",)
ROUND = {"a hundred": 100, "one hundred": 100, "a thousand": 1000, "one thousand": 1000, "a dozen": 12}


class Span(NamedTuple):
    """A piece of a sentence, and whether it is denied (None where that could be taken twice)."""

    text: str
    negated: bool | None


@cache
def pattern(name: str, at: str = "") -> re.Pattern[str]:
    """What the page `reading` lists under a name, as whole words; `at` "start" finds it at the start of a text alone.

    >>> bool(pattern("denial").search("do not water it"))
    True
    """
    words = "|".join(tables().phrases["reading"][name])
    return re.compile(rf"{'^' if at == 'start' else ''}\b(?:{words})\b")


INTERJECTION = re.compile(r"^(?:oh|well|why|actually|sorry|sorry,? but)\b,? ?")


def affirms(text: str) -> bool:
    """Whether a normalised text begins with a yes."""
    return bool(pattern("yes", "start").search(INTERJECTION.sub("", text)))


def denies(text: str) -> bool:
    """Whether a normalised text begins with a no."""
    return bool(pattern("no", "start").search(INTERJECTION.sub("", text)))


@cache
def word_list(name: str) -> frozenset[str]:
    return frozenset(tables().phrases["reading"][name].split())


def normalise(text: str) -> str:
    """Lower case, plain quotes, contractions spelled out, one blank between words.

    >>> normalise("Sure,  DON’T  worry")
    'sure, do not worry'
    """
    text = text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"').replace("−", "-").lower()
    for form, words in tables().phrases["reading"]["contractions"]:
        text = re.sub(form, words, text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def strip(text: str) -> str:
    """A normalised text without quotes around it and without the small talk in front.

    >>> strip('sure, "water it."')
    'water it.'
    """
    before = ""
    while text != before:
        before = text
        text = _small_talk().sub("", text.strip().strip("\"'*_`#>- ")).strip()
    return text


@cache
def _small_talk() -> re.Pattern[str]:
    words = "|".join(tables().phrases["reading"]["small_talk"])
    return re.compile(rf"^(?:(?:{words})\s*[,.!:;-]\s*)+")


def sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in SENTENCE_ENDS.split(text) if re.search(r"\w", sentence)]


def spans(sentence: str) -> list[Span]:
    """What a sentence says, piece by piece, without its reasons and conditions.

    >>> spans("never water it, let it dry because it is wet")
    [Span(text='water it', negated=True), Span(text='let it dry', negated=False)]
    """
    sentence = re.sub(r"^(?:if|when|because|since|as|while|after)\b[^,]*,\s*", "", sentence)
    sentence = re.sub(r"^to\b[^,]*,\s*(?=(?:you|we|i|it|one|just|simply)\b)", "", sentence)
    if decision := re.search(r"\b(?:so|therefore|thus|hence),? (?=(?:i|you|we|my|it is best)\b)(.*)", sentence):
        sentence = decision[1]
    if tail := pattern("tail").search(sentence, 1):
        sentence = sentence[: tail.start()]
    pieces = []
    for clause in re.split(r"[,;:()\u2013\u2014]|\bbut\b|\bwhereas\b", sentence):
        pieces += list(_in_clause(clause.strip()))
    return [piece for piece in pieces if piece.text]


def _in_clause(clause: str) -> Iterator[Span]:
    """Up to a denial what stands there holds, behind it it does not; "and" behind a denial may be taken twice."""
    if worse := re.search(r"\bworse than\b", clause):
        yield Span(clause[: worse.start()].strip(), True)
        yield Span(clause[worse.end() :].strip(), False)
        return
    if pattern("rejection").search(clause):
        yield Span(clause, True)
        return
    denial = pattern("denial").search(clause)
    if denial is None:
        yield Span(clause, False)
        return
    yield Span(clause[: denial.start()].strip(), False)
    first, *rest = re.split(r"\band\b", clause[denial.end() :])
    yield Span(first.strip(), True)
    for piece in rest:
        yield Span(piece.strip(), None)


@cache
def stem(word: str) -> str:
    """A word without its ending, so that forms of it are one.

    >>> [stem(word) for word in ("dry", "dries", "drying", "move", "moving", "cutting")]
    ['dri', 'dri', 'dri', 'mov', 'mov', 'cut']
    """
    if word in _irregular():
        return _irregular()[word]
    for ending in ("ing", "ied", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 - (ending[0] == "i" and ending != "ing"):
            if ending == "s" and word.endswith(("ss", "us", "is")):
                break
            word = word[: -len(ending)] + ("i" if ending in ("ied", "ies") else "")
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
                word = word[:-1]
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return f"{word[:-1]}i" if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou" else word


@cache
def _irregular() -> dict[str, str]:
    return {form: stem for stem, forms in tables().phrases["reading"]["irregular"].items() for form in forms}


@cache
def stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning."""
    return frozenset(stem(word) for word in re.findall(r"[^\W_]+", text.lower()) if word not in word_list("stop"))


def numbers(text: str) -> list[float]:
    """Every number, in digits or in words.

    >>> numbers("1,000 grams, or twenty-one")
    [1000.0, 21.0]
    """
    return [_value(match[0]) for match in _number().finditer(text)]


def _value(text: str) -> float:
    if text[0].isdigit():
        return float(text.replace(",", "").rstrip("."))
    if text in ROUND:
        return float(ROUND[text])
    return float(sum(_units()[word] for word in re.split("[- ]", text)))


@cache
def _units() -> dict[str, int]:
    ones, tens = (" ".join(words).split() for words in (ONES, TENS))
    return {word: i for i, word in enumerate(ones)} | {word: 10 * i for i, word in enumerate(tens, 2)}


@cache
def _number() -> re.Pattern[str]:
    ones, tens = (" ".join(words).split() for words in (ONES, TENS))
    words = rf"(?:{'|'.join(tens)})(?:[- ](?:{'|'.join(ones[1:10])}))?|{'|'.join(ones)}|{'|'.join(ROUND)}"
    return re.compile(rf"\d[\d,]*(?:\.\d+)?|\b(?:{words})\b")


def is_english(text: str) -> bool:
    """Whether it looks like a sentence: words, function words among them, and not the same one over and over."""
    words = re.findall(r"[a-z']+", text.lower())
    return len(words) >= 3 and bool(word_list("function") & set(words)) and len(set(words)) >= 0.4 * len(words)
