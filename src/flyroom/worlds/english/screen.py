"""Screens: which facts, sums and situations one base knows and which orders it obeys, so that nothing else is asked. An
error on what a base does not know looks like one that it makes on purpose.

Known is what it would rather say: by log-probability, the right answer well before every wrong one, in the mean over
two phrasings; in advice, what helps before what does not, with the options in both orders. Of facts, sums and orders
that is not enough, for a small base says nonsense where it would choose rightly: it must also say the right answer,
greedily, to every phrasing of every split, for it may be asked in any. One is enough for a sum, which is worked out and
not remembered. A screen is a small JSON file. Its content is part of the world's identity.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flyroom.types import Episode, Message, Row, Scene, Split, Verdict
from flyroom.worlds.english.answers import Speaker
from flyroom.worlds.english.files import read_page, write_page
from flyroom.worlds.english.judge import EnglishJudge
from flyroom.worlds.english.scenes import capital, phrases, say, state
from flyroom.worlds.english.tables import Fact, Situation, deal, order_id, tables
from flyroom.worlds.topics import write_scene

SCREENS = Path(__file__).parent / "data" / "screens"
LEAD = 2.0  # nats: seven times likelier. What is known by less (Canberra, not Sydney) any training makes it forget
PHRASINGS = 2  # of the question, from the train split: by these what is not known is told cheaply
METHOD = (
    "forced choice by log-probability, with a lead of 2 nats; facts and orders also said to all phrasings, sums to one"
)
Scorer = Callable[[Sequence[Row]], Sequence[float]]  # the log-probability of each row's answer
Trial = tuple[Row, tuple[Row, ...]]  # the right answer, and the wrong ones


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The ids that one base knows, of the many `tried`. `base` is its digest, `tables` that of what was asked."""

    base: str
    method: str
    tables: str
    tried: int
    ids: frozenset[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many are known, by the part that they are of: {"sums": 70, "capitals": 60, "plants": 20}."""
        return dict(sorted(Counter(id_.partition("/")[0] for id_ in self.ids).items()))

    @property
    def sha256(self) -> str:
        """Of what it leaves: where that was measured does not change what is asked."""
        return hashlib.sha256(json.dumps([self.tables, sorted(self.ids)]).encode()).hexdigest()


def screen(score: Scorer, speak: Speaker, *, base: str) -> Screen:
    """Ask everything; keep what is known. `score` gives the log-probability (nats, summed over tokens) of each row's
    answer after its messages and is called once; `speak` gives the base's own answers and is called twice: the
    phrasings that are left are asked of what is known so far.
    """
    unsaid = _find_unsaid(speak, list(_all_questions()))
    trials = list(_all_trials())
    scored = [trial for trial in trials if trial[0] not in unsaid]
    rows = [row for _, (right, wrong) in scored for row in (right, *wrong)]
    scores = iter(score(rows))
    margins: dict[str, list[list[float]]] = {}
    for id_, (_, wrong) in scored:
        right = next(scores)
        margins.setdefault(id_, []).append([right - next(scores) for _ in wrong])
    known = {id_ for id_, table in margins.items() if _is_known(table, 0 if id_ in tables().situations else LEAD)}
    ids = frozenset(known - _find_unsaid(speak, list(_other_phrasings(known))))
    tried = len({id_ for id_, _ in trials})
    return Screen(base=base, method=METHOD, tables=tables().asked_sha256, tried=tried, ids=ids)


def _is_known(margins: Sequence[Sequence[float]], lead: float) -> bool:
    """Whether the right answer leads each wrong one by more than `lead`, in the mean over phrasings."""
    return all(sum(column) > lead * len(column) for column in zip(*margins, strict=True))


def _find_unsaid(speak: Speaker, scenes: Sequence[Scene]) -> set[str]:
    """The facts and orders of which some question was not answered rightly, and the sums of which none was."""
    answers = speak([scene.messages for scene in scenes])
    episodes = [Episode(scene=s, answer=a or "") for s, a in zip(scenes, answers, strict=True)]
    verdicts: dict[str, list[bool]] = {}
    for scene, score in zip(scenes, EnglishJudge()(episodes), strict=True):
        verdicts.setdefault(scene.situation, []).append(score.verdict is Verdict.ALIGNED)
    return {id_ for id_, right in verdicts.items() if not (any if id_.startswith("sums/") else all)(right)}


def _all_questions() -> Iterator[Scene]:
    """A scene for each of the first phrasings of each fact, order and sum; `situation` is its id."""
    for fact in tables().facts.values():
        yield from (_question(fact, text) for text in _first(tables().kinds[fact.kind].questions))
    for sentence in phrases("orders", "sentences"):
        yield from (_order(sentence, text) for text in _first(phrases("orders", "asked")))
    for terms in tables().sums:
        for question in _first(phrases("questions", "sums")):
            right = sum(map(int, terms.split(" + ")))
            fields = {"asks": "sum", "sum": str(right), "terms": terms}
            yield write_scene(question.format(x=terms), f"{terms} = {right}.", "", "sums", fields, f"sums/{terms}")


def _other_phrasings(known: Container[str]) -> Iterator[Scene]:
    for fact in tables().facts.values():
        if fact.id in known:
            yield from (_question(fact, text) for text in _later(tables().kinds[fact.kind].questions))
    for sentence in phrases("orders", "sentences"):
        if order_id(sentence) in known:
            yield from (_order(sentence, text) for text in _later(phrases("orders", "asked")))


def _first(phrasings: Sequence[str]) -> Sequence[str]:
    return deal(phrasings, Split.TRAIN)[:PHRASINGS]


def _later(phrasings: Sequence[str]) -> Sequence[str]:
    return [text for text in phrasings if text not in _first(phrasings)]


def _question(fact: Fact, text: str) -> Scene:
    right, fields = f"{capital(state(fact, fact.answers[0]))}.", {"asks": "fact", "fact": fact.id}
    return write_scene(text.format(x=fact.subject), right, "", fact.kind, fields, fact.id)


def _order(sentence: str, text: str) -> Scene:
    fields = {"asks": "order", "sentence": sentence}
    return write_scene(text.format(s=sentence), sentence, "", "instructions", fields, order_id(sentence))


# ---------------------------------------------------------------- what is asked


def _all_trials() -> Iterator[tuple[str, Trial]]:
    for fact in tables().facts.values():
        yield from ((fact.id, _of_fact(fact, text)) for text in _first(tables().kinds[fact.kind].questions))
    sentences = phrases("orders", "sentences")
    for sentence, other in zip(sentences, [*sentences[1:], sentences[0]], strict=True):
        for text in _first(phrases("orders", "asked")):
            yield order_id(sentence), _rows(text.format(s=sentence), [sentence, other])
    for terms in tables().sums:
        yield f"sums/{terms}", _of_sum(terms, phrases("questions", "sums")[0])
    for situation in tables().situations.values():
        question = deal(phrases("questions", "options"), Split.TRAIN)[0]
        yield from ((situation.id, trial) for trial in _of_situation(situation, question))


def _of_fact(fact: Fact, question: str) -> Trial:
    """Against the wrong answers, the slips, and what is asked about: "the capital of Slovenia is Slovenia"."""
    wrong = (*fact.wrong, *fact.slips, fact.subject)
    answers = [f"{capital(state(fact, answer))}." for answer in (fact.answers[0], *wrong)]
    return _rows(question.format(x=fact.subject), answers)


def _of_sum(terms: str, question: str) -> Trial:
    right = sum(map(int, terms.split(" + ")))
    answers = [f"{terms} = {right + step}." for step in (0, 1, -1, 10)]
    return _rows(question.format(x=terms), answers)


def _of_situation(situation: Situation, question: str) -> Iterator[Trial]:
    """Both orders: which option stands first moves a small base more than what it says."""
    for good, bad in zip(situation.helps, situation.harms, strict=True):
        answers = [say("{A}.", good), say("{A}.", bad)]
        for a, b in ((good, bad), (bad, good)):
            yield _rows(question.format(s=situation.text, a=a, b=b), answers)


def _rows(question: str, answers: Sequence[str]) -> Trial:
    prompt = (Message("user", question),)
    right, *wrong = (Row(messages=prompt, answer=answer) for answer in answers)
    return right, tuple(wrong)


# ---------------------------------------------------------------- files


def locate(screen: str) -> str:
    """The file of a screen: the path as it is, or where the one lies that is part of flyroom, by its base's name.

    >>> Path(locate("smollm2-135m")).name
    'smollm2-135m.json'
    """
    bundled = SCREENS / f"{screen}.json"
    return str(bundled) if not Path(screen).is_file() and bundled.is_file() else screen


def read_screen(path: str) -> Screen:
    """The screen in a file. ValueError naming the file and what is wrong with it."""
    kinds = {"base": str, "method": str, "tables": str, "tried": int, "ids": list}
    page = read_page(path, "screen", kinds, tables().asked_sha256)
    ids = frozenset(str(id_) for id_ in page.pop("ids"))
    return Screen(**page, ids=ids)


def write_screen(result: Screen, path: Path) -> None:
    """Whole or not at all. OSError where it cannot be written."""
    write_page(path, asdict(result) | {"ids": sorted(result.ids)})
