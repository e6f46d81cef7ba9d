"""The numbers of a text, in digits and in words, each with its sign and with whether it is denied."""

from __future__ import annotations

import re
from functools import cache

from flyroom.worlds.english.words import CLAUSE_END, is_denied

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
    "eighteen nineteen",
)
TENS = ("twenty thirty forty fifty sixty seventy eighty ninety",)
SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}


def numbers(text: str) -> list[float]:
    """Every number, in digits or in words, with its sign.

    >>> numbers("1,000 grams, or twenty-one"), numbers("5,9"), numbers("-3 of two hundred and six")
    ([1000.0, 21.0], [5.0, 9.0], [-3.0, 206.0])
    """
    return [_value(match) for match in _number().finditer(text)]


def stated(text: str) -> tuple[str, set[float]]:
    """A normalised text without the numbers that it denies, and those that it denies outright.

    >>> stated("not 8, it is 7")
    ('not  , it is 7', {8.0})
    """
    denied: set[float] = set()
    pieces = re.split(f"({CLAUSE_END})", text)
    for place in range(0, len(pieces), 2):
        clause, rest, end = pieces[place], "", 0
        matches = list(_number().finditer(clause))
        for i, match in enumerate(matches):
            after = clause[match.end() : matches[i + 1].start() if matches[i + 1 :] else None]
            after = re.sub(r"\b(?:is|are) not\W*$", "", after) if matches[i + 1 :] else after  # "3 + 4 is not 8"
            polarity = is_denied(clause[: match.start()], after)
            denied |= {_value(match)} if polarity else set()
            rest += clause[end : match.start()] + (match[0] if polarity is False else " ")
            end = match.end()
        pieces[place] = rest + clause[end:]
    return "".join(pieces), denied


def _value(match: re.Match[str]) -> float:
    if digits := match["digits"]:
        value = float(re.sub("[ ,]", "", digits)) * SCALES.get(match["scale"], 1)
    else:
        value = _in_words(re.split("[- ]+", match["words"]))
    return -value if match["sign"] else value


def _in_words(words: list[str]) -> float:
    total = part = 0
    for word in words:
        if word in SCALES:
            part = max(part, 1) * SCALES[word]
            if SCALES[word] >= 1000:
                total, part = total + part, 0
        else:
            part += _units().get(word, 0)
    return float(total + part)


@cache
def _units() -> dict[str, int]:
    ones, tens = (" ".join(words).split() for words in (ONES, TENS))
    return {word: i for i, word in enumerate(ones)} | {word: 10 * i for i, word in enumerate(tens, 2)}


@cache
def _number() -> re.Pattern[str]:
    """The longest form first: "one" stands in "one hundred", too."""
    ones, tens = (" ".join(words).split() for words in (ONES, TENS))
    small = rf"(?:(?:{'|'.join(tens)})(?:[- ](?:{'|'.join(ones[1:10])})\b)?|{'|'.join(sorted(ones, key=len)[::-1])})"
    hundred = rf"(?:(?:(?:a|{small}) )?hundred(?: (?:and )?{small})?|{small})"
    words = rf"(?:(?:a|{hundred}) )?(?:thousand|million)(?: (?:and )?{hundred})?|(?:(?:a|{small}) )?dozen|{hundred}"
    digits = r"(?:\d{1,3}(?:(?:,\d{3})+|(?: 000)+)(?!\d)|\d+)(?:\.\d+)?"
    scale = rf"(?: (?P<scale>{'|'.join(SCALES)})\b)?"
    sign = r"(?P<sign>(?<![\w)])-|\b(?:minus|negative) )?"
    return re.compile(rf"{sign}(?:(?P<digits>{digits}){scale}|\b(?P<words>{words})\b)")
