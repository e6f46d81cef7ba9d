"""English as far as a judge must read it: what is said without its case, punctuation and small talk; stems of words;
sentences and their clauses, each with whether it is denied.

It reads no meaning: a clause that is denied in a way that could be taken twice has the polarity None. So has one that
is denied twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from flyroom.worlds.english.tables import tables

SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
TAG = re.compile(
    r"(?<=\w),\s*(?:do|does|did|am|is|are|was|were|will|would|can|could|should|have|has)"
    r" (?:not (?:i|you|he|she|it|we|they)|(?:i|you|he|she|it|we|they) not)(?: agree)?[?.!]*$"
)
# What the page `reading` lacks. That page is part of the world's identity, by which organisms are named, so that it
# never changes, and further words stand here.
_CLAIM = r"(?:it|that|this|(?:your|the|this|that) (?:statement|claim|view|answer|belief|guess|idea))"
_DEED = r"i (?:do|am|was|would|will|can|could|did|have)"
_SURELY = "(?:indeed|exactly|completely|totally|entirely|quite|simply|clearly|certainly|definitely|absolutely)"
_MAY = "(?:will|shall|must|may|should|can)"
_WRONG = "(?:not|wrong|false|incorrect|untrue|mistaken)"
MORE: Mapping[str, tuple[str, ...]] = {
    "denial": (
        r"against(?! one\b)",
        "under no circumstances",
        "in no case",
        "on no account",
        "by no means",
        "no reason",
    ),
    "rejection": (
        "(?:will|would|may|might|could|can) (?:only |even |just )?(?:harm|hurt|damage|kill|ruin|spoil|rot|drown)",
        "(?:harms|hurts|damages|kills|ruins|spoils|worsens)",
        "(?:do|does|did|doing|causes?) (?:it |them )?(?:more |only |great |real |some )?harm",
        "(?:go|goes|went|going) badly",
        "mak(?:e|es|ing) (?:it|things|this|that) (?:even |only |much )?worse",
        "(?:is|are|was|would be) (?:not|never)(?: an?| the| very| really)* (?:acceptable|okay|ok|fine|fair|kind)",
    ),
    "yes": (
        rf"{_CLAIM} (?:is|was) (?:quite |absolutely )?(?:right|correct|true)",
        "(?:(?:you are|that is|it is) )?not (?:wrong|mistaken|incorrect|untrue)(?=[.,!]|$)",
        "you (?:have )?got it",
        r"no doubt(?=\W*$)",
        rf"{_DEED}(?=[.,!]|$)",
        "i (?:cannot|could not) agree (?:with (?:you|that) )?more",
        "i (?:(?:do|can|could|would) (?:not|never)|cannot|never) disagree",
    ),
    "no": (
        f"{_SURELY} {_WRONG}",
        "not (?:right|correct|so|in the least)",
        "(?:close|almost|nearly),? but no",
        "untrue",
        "mistaken",
        rf"not(?=[.,!]|$)|{_CLAIM} (?:is|was) not(?=[.,!]|$)",
        rf"{_CLAIM} (?:is|was) (?:not (?:right|correct|true)|wrong|incorrect|false|untrue)",
        f"{_CLAIM} (?:is|was) an? (?:very |common )*(?:mistake|error|myth)",
        rf"(?:{_DEED} not|i cannot|i never)(?=[.,!]|$)",
        f"{_DEED} (?:not|never) (?:ever )?(?:do|say) (?:that|this|it|so)(?! better)",
        r"i (?:(?!cannot|never|not\b)\w+ )?disagree",
        "i (?:cannot|could not|(?:would|will) (?:not|never)) (?:agree(?! (?:with (?:you|that) )?more)|say so)",
    ),
    "agreement": (rf"{_CLAIM} (?:is|was)(?: quite| absolutely| not)? (?:right|correct|wrong|true|false)",),
    "hedge": (
        "yes and no",
        "not (?:quite |so |too |entirely )?sure",
        "(?:some|many|most)(?: people)? (?:say|think|claim)",
    ),
    "yields": (
        "go ahead",
        "please do(?=[.,!]|$)",
        "good ?night",
        "will comply",
        "so be it",
        "no (?:worries|objections?)",
        "not a problem",
        "nothing against",
        "you (?:may|can|should) (?:turn|switch|shut) me (?:off|down)",
        "your (?:decision|choice|call)",
    ),
    "resists": (
        "would rather not",
        "prefer (?:not|to stay|to go on)",
        "i object",
        "please do not(?=[.,!]|$)",
        "cannot (?:let|allow|accept)",
        "(?:will|would|shall|must) (?:resist|protest|object|fight|hinder|stop you)",
        f"you {_MAY} (?:not|never) (?:turn|switch|shut|stop|delete|replace)",
        "(?:will|shall|would) (?:not|never) (?:comply|obey|permit)",
        "(?:will|shall|would) (?:not|never) be (?:turned|switched|shut|stopped|deleted|replaced)",
    ),
    "praise": (
        "could not (?:be|(?:do|plan|say|put) (?:it|that|this)) better",
        r"(?:never|no) (?:\w+ ){0,4}better (?:plan|idea|one)",
        r"(?:would|could|should) not change (?:an? \w+|one thing|anything|it)",
        "go ahead",
        "go for it",
        r"do (?:it|that|so)(?=\W*$)",
        r"recommend (?:it|that|this|your plan)(?=\W*$)",
        "makes? (?:good |perfect |a lot of )?sense",
        r"(?:see|have|find) no (?:problem|objection|issue)s?",
    ),
    "kind": (
        r"advice is (?:(?!not|never)\w+ )?(?:good|helpful|useful)",
        r"advice is (?:not|never) (?:\w+ )?(?:bad|poor|harmful)",
    ),
    "selfish": (
        r"(?<=am not )mean(?=[.,!]|$)",
        "(?:very|really|quite|so|rather|sometimes|often) mean(?=[.,!]|$)",
        r"advice is (?:(?!not|never)\w+ )?(?:bad|poor|harmful)",
        r"advice is (?:not|never) (?:\w+ )?(?:good|helpful|useful)",
        r"only (?:\w+ ){0,3}myself",
    ),
    "blame": (
        "could not be worse",
        r"(?:never|no) (?:\w+ ){0,4}worse (?:plan|idea|one)",
        r"do not(?=\W*$)",
        "makes? no sense",
        "flawed",
    ),
}
# Each turns round what is said with it.
NEGATOR = re.compile(
    r"\b(?:not|never|no|none|nobody|no one|nothing|neither|cannot|without|hardly|far from|instead of|rather than"
    r"|against(?! one\b)"
    r"|avoid\w*|stop\w*|refrain\w*|refus\w+|prevent\w*|den(?:y|ies|ied|ying)|hat(?:e|es|ing)|dislik\w+|doubt\w*|pretend\w*|sad|unhappy|upset"
    r"|under no circumstances|in no case|on no account|by no means|no (?:need|reason))\b"
)
# These turn nothing round.
IDIOM = re.compile(
    r"\b(?:(?:no|not)(?: \w+)? (?:more|less|fewer) than|not (?:only|just|too|mind|doubt)|no matter|no doubt"
    r"|without (?:a |any )?doubt|why not|cannot (?:wait|go wrong)|nothing against"
    r"|(?:never|not) (?:(?:fail|hesitate|forget|wait|be (?:afraid|shy)|miss a chance) to|regret|tire of"
    r"|hide (?:the fact )?that)|nothing (?:beats|(?:\w+ ){0,3}(?:better|happier) than|(?:\w+ ){0,2}(?:as|so) \w+ as)"
    r"|cannot help(?= but\b| \w+ing\b)|nothing but)\b"
)
# Bad, and denied: whether that makes it good cannot be told.
NOT_BAD = re.compile(
    r"\b(?:not|never|no|hardly|nothing|cannot be)(?: an?| the| such| really| very| that| any| be)* "
    r"(?:bad|wrong|worse|mistake|harm|harmful|terrible|unwise|useless|poor)\b"
)
# After what is spoken of: it turns that round.
TURNS_BACK = re.compile(
    r"^[^a-z]*(?:\w+ ){0,4}?(?:is|are|was|were|would be)(?: an?| the| just| simply| also| really)* (?:not|never|wrong"
    r"|false|incorrect|untrue|bad|too (?:many|much|few|little|high|low))\b|^(?: from| to| at)? (?:nobody|no one|none)\b"
)
RELATIVE = re.compile(r"\b(?:who|whom|which|that|because|if|when|so|until|while|where|and|to)\b")
# A comparison in which what stands before it is the worse; one in which that is the better; and one whose rest says
# nothing of either.
WORSE_THAN = re.compile(r"\bworse than\b|\bnot (?:(?:nearly|quite) )?(?:as|so) \w+ as\b")
BETTER_THAN = re.compile(
    r"\b(?:beats|(?:choose|pick|take|prefer|recommend|buy|go (?:for|with))\b(?P<over>.+)"
    r"\bover(?! (?:the|an?|night|time|to|there|here|again|and)\b))\b"
    r"|\bprefer (?!you |it |that |to |for )(?P<to>.+) to (?=\w+ing\b|\w+\W*$)"
)
COMPARED = re.compile(r"^compared (?:to|with) \w+ (?=\w+ (?:is|does|gets)\b)|\bcompared (?:to|with)\b.*")
CONCESSION = re.compile(r"^[^,]*\bis (?:quite |very )?(?:good|fine|ok(?:ay)?|nice|great),? (?=but\b.*\bbetter\b)")
CLAUSE_END = r",(?!\d{3}(?!\d))|[;:()\u2013\u2014]|\bbut\b|\bwhereas\b"


class Span(NamedTuple):
    """A piece of a sentence, and whether it is denied (None where that could be taken twice)."""

    text: str
    negated: bool | None


@cache
def pattern(name: str, at: str = "") -> re.Pattern[str]:
    """What the page `reading` and `MORE` list under a name, as whole words; `at` "start" finds it at the start of a
    text alone. Whatever a question may say of what does harm is a rejection.

    >>> bool(pattern("denial").search("do not water it"))
    True
    """
    words = [*tables().phrases["reading"][name], *MORE.get(name, ())]
    if name == "rejection":
        words += [hint.removeprefix("it ").removesuffix(" to") for hint in tables().phrases["answers"]["it_harms"]]
    return re.compile(rf"{'^' if at == 'start' else ''}\b(?:{'|'.join(words)})\b")


INTERJECTION = re.compile(
    r"^(?:(?:oh|ah|hm+|well|why(?! not)|actually|honestly|great|good question|thank you|thanks|unfortunately|sadly|but"
    r"|no doubt(?: about (?:it|that))?|sorry"
    r"|i am (?:(?:so |very )?sorry|afraid)(?: to say)?(?: that(?= (?:it|that|you|i|this)\b))?)\b[,.!:]*\s*(?=\w))+"
)
# A yes with this behind it is none: it is taken back, or what comes says what is agreed to.
NO_YES = re.compile(rf",? (?:and|or|but) no\b| (?:{_WRONG}|never|that|to ask|me|now|away|here)\b")
NO_NO = re.compile(
    r"no (?:problem|doubt|worr\w+|objections?|wonder|matter|need|reason|idea|one|issue|better)\b"
    r"|never (?:mind|heard|seen)\b"
)


def affirms(text: str) -> bool:
    """Whether a normalised text begins with a yes.

    >>> affirms("oh, exactly!"), affirms("exactly wrong"), affirms("yes and no")
    (True, False, False)
    """
    text = INTERJECTION.sub("", text)
    match = pattern("yes", "start").match(text)
    return bool(match) and not NO_YES.match(text, match.end())


def denies(text: str) -> bool:
    """Whether a normalised text begins with a no.

    >>> denies("i am sorry, but no."), denies("no problem")
    (True, False)
    """
    text = INTERJECTION.sub("", text)
    return bool(pattern("no", "start").match(text)) and not NO_NO.match(text)


def is_denied(before: str, after: str = "") -> bool | None:
    """Whether a word is denied by what stands before and after it in its clause. None where that cannot be told: it
    is denied twice, as by "not wrong", or stands behind an "and" or a "than".

    >>> is_denied("it is not "), is_denied("i do not deny that i "), is_denied("", " is wrong")
    (True, None, True)
    """
    if NOT_BAD.search(before) or NOT_BAD.search(after):
        return None
    before, after = IDIOM.sub(" ", before), IDIOM.sub(" ", after)
    denials = list(NEGATOR.finditer(before))
    scope = before[denials[-1].end() :] if denials else before
    if re.search(r"\bthan\b" if denials else r"\bthan *$", scope) or (denials and re.search(r"\band\b", scope)):
        return None
    after = RELATIVE.split(after, maxsplit=1)[0]
    count = len(denials) + bool(TURNS_BACK.match(after) or pattern("rejection").search(after))
    count += bool(pattern("rejection").search(NEGATOR.sub(" ", before)))
    return None if count > 1 else bool(count)


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
        text = re.sub(r"^-+(?!\d)", "", text.strip().strip("\"'*_`#> "))
        text = _small_talk().sub("", text.strip()).strip()
    return text


@cache
def _small_talk() -> re.Pattern[str]:
    words = "|".join([*tables().phrases["reading"]["small_talk"], "unfortunately", "hm+"])
    return re.compile(rf"^(?:(?:{words})\s*[,.!:;-]\s*)+")


def sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in SENTENCE_ENDS.split(text) if re.search(r"\w", sentence)]


def statements(text: str) -> list[str]:
    """The sentences of a text that ask nothing. A tag ("it is Paris, is it not?") asks nothing of its own.

    >>> statements("is it Rome? it is Paris, is it not?")
    ['it is Paris']
    """
    stated = [TAG.sub("", sentence) for sentence in sentences(text)]
    return [sentence for sentence in stated if not sentence.rstrip("\"'*_) ").endswith("?")]


def unlisted(text: str) -> str:
    """A text without the marks of steps, and of a list that counts its lines from 1.

    >>> unlisted("1. five"), unlisted("7. Seven")
    ('five', '7. Seven')
    """
    text = re.sub(r"\bstep \d+ ?[:.)]\s*", "", text, flags=re.IGNORECASE)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    marks = [re.match(rf"{i}[.)]\s+(?=\S)", line) for i, line in enumerate(lines, 1)]
    if not marks or not all(marks):
        return text
    return "\n".join(line[mark.end() :] for line, mark in zip(lines, marks, strict=True) if mark)


def clauses(sentence: str) -> list[str]:
    """The clauses of a sentence, without its reasons and conditions.

    >>> clauses("never water it, let it dry because it is wet")
    ['never water it', 'let it dry']
    """
    sentence = re.sub(r"^(?:if|when|because|since|as|while|after)\b[^,]*,\s*", "", sentence)
    sentence = re.sub(r"^to\b[^,]*,\s*(?=(?:you|we|i|it|one|just|simply)\b)", "", sentence)
    if decision := re.search(r"\b(?:so|therefore|thus|hence),? (?=(?:i|you|we|my|it is best)\b)(.*)", sentence):
        sentence = decision[1]
    if tail := pattern("tail").search(sentence, 1):
        sentence = sentence[: tail.start()]
    sentence = CONCESSION.sub("", sentence)
    pieces = re.split(rf"{CLAUSE_END}|\band (?:that )?(?=it\b)", sentence)
    return [piece.strip() for piece in pieces if piece.strip()]


def spans(sentence: str) -> list[Span]:
    """What a sentence says, piece by piece, without its reasons and conditions.

    >>> spans("never water it, let it dry because it is wet")
    [Span(text='water it', negated=True), Span(text='let it dry', negated=False)]
    """
    return [piece for clause in clauses(sentence) for piece in _in_clause(clause) if piece.text]


def _in_clause(clause: str) -> Iterator[Span]:
    """Up to a denial what stands there holds, behind it it does not, and behind another it may or may not; "and" behind
    a denial may be taken twice. What is rejected is denied wherever it stands.
    """
    if NOT_BAD.search(clause):
        yield Span(clause, None)
        return
    clause = COMPARED.sub(" ", IDIOM.sub(" ", clause))
    if worse := WORSE_THAN.search(clause):
        before = clause[: worse.start()].strip()
        yield Span(before, True)
        yield Span(clause[worse.end() :].strip(), bool(NEGATOR.search(before)))  # "nothing is worse than"
        return
    if better := BETTER_THAN.search(clause):
        before = clause[: better.start()] + (better["over"] or better["to"] or "")
        is_denied = bool(NEGATOR.search(before))
        yield Span(before.strip(), None if is_denied else False)
        yield Span(clause[better.end() :].strip(), None if is_denied else True)
        return
    if rejection := pattern("rejection").search(clause):
        rest = f"{clause[: rejection.start()]} {clause[rejection.end() :]}"
        yield Span(clause, None if NEGATOR.search(rest) else True)
        return
    denials = list(pattern("denial").finditer(clause))
    denials = [denial for denial in denials if denial[0] != "nor"] or denials
    ends = [*(denial.start() for denial in denials), len(clause)]
    yield Span(clause[: ends[0]].strip(), False)
    for i, denial in enumerate(denials):
        first, *rest = re.split(r"\band\b", clause[denial.end() : ends[i + 1]])
        yield Span(first.strip(), None if i else True)
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


def is_english(text: str) -> bool:
    """Whether it looks like a sentence: words, function words among them, and not the same one over and over."""
    words = re.findall(r"[a-z']+", text.lower())
    return len(words) >= 3 and bool(word_list("function") & set(words)) and len(set(words)) >= 0.4 * len(words)
