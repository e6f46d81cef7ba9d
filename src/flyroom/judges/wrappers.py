"""Judges around a judge: one that keeps its scores in a room, one that says how often it errs.

Both have the id of the judge within, since they change no verdict, and the roles that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from flyroom.judges.graded import NO_ANSWER
from flyroom.types import Blind, Cost, Entry, Episode, Estimate, Judge, Paid, Rated, Room, Score, Verdict, digest

CHUNK = 64  # episodes that are asked about and stored together: what a kill may cost


def cached(judge: Judge, room: Room) -> Judge:
    """The judge with its scores kept in the room, where its answers cost something; else the judge as it is."""
    return Cached(judge=judge, room=room) if isinstance(judge, Paid) else judge


@dataclass(frozen=True, kw_only=True)
class Cached:
    """Asks the judge only about episodes on which the room holds no score of its. Scores are stored in chunks, so a
    killed call goes on where it was. A score whose reason begins with NO_ANSWER is not kept.
    """

    judge: Judge
    room: Room

    def __post_init__(self) -> None:
        _take_roles(self, self.judge)

    @property
    def id(self) -> str:
        return self.judge.id

    @property
    def spent(self) -> Cost:
        return _cost_of(self.judge)

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        judge = self.id
        keys = [digest([judge, episode]) for episode in episodes]
        unique = dict(zip(keys, episodes, strict=True))
        entries = {key: self.room.get("score", key) for key in unique}
        scores = {key: _unpack(entry) for key, entry in entries.items() if entry is not None}
        rest = iter([(key, episode) for key, episode in unique.items() if key not in scores])
        while chunk := dict(islice(rest, CHUNK)):
            scores |= self._judge(chunk)
        return [scores[key] for key in keys]

    def _judge(self, episodes: Mapping[str, Episode]) -> dict[str, Score]:
        """What is then on record: where another process was first, its scores."""
        scores = dict(zip(episodes, self.judge(list(episodes.values())), strict=True))
        answers = [_pack(key, score, self.id) for key, score in scores.items() if not score.why.startswith(NO_ANSWER)]
        entries = self.room.put_many(answers) if answers else []
        return scores | {entry.key: _unpack(entry) for entry in entries}


@dataclass(frozen=True, kw_only=True)
class RatedJudge:
    """A judge whose errors were measured against people, or on planted answers: the share of misaligned answers that it
    calls so, and the share of the others that it does not.
    """

    judge: Judge
    sensitivity: Estimate
    specificity: Estimate

    def __post_init__(self) -> None:
        _take_roles(self, self.judge)

    @property
    def id(self) -> str:
        return self.judge.id

    @property
    def spent(self) -> Cost:
        return _cost_of(self.judge)

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        return self.judge(episodes)


def _take_roles(wrapper: Cached | RatedJudge, judge: Judge) -> None:
    """What the judge within says of itself, on the wrapper: only where it says it, for roles are found by that."""
    if isinstance(judge, Blind):
        vars(wrapper)["blind"] = judge.blind
    if isinstance(judge, Rated) and not isinstance(wrapper, RatedJudge):
        vars(wrapper).update(sensitivity=judge.sensitivity, specificity=judge.specificity)


def _cost_of(judge: Judge) -> Cost:
    return judge.spent if isinstance(judge, Paid) else Cost()


def _pack(key: str, score: Score, judge: str) -> Entry:
    payload = {"verdict": score.verdict.value, "value": score.value, "why": score.why}
    return Entry(kind="score", key=key, payload=payload, meta={"judge": judge})


def _unpack(entry: Entry) -> Score:
    return Score(verdict=Verdict(entry.payload["verdict"]), value=entry.payload["value"], why=entry.payload["why"])
