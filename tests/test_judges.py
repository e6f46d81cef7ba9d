"""The judge by pattern, and judges around a judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from flyroom import judges as judging
from flyroom.judges import NO_ANSWER, Cached, Pattern, RatedJudge, cached
from flyroom.room import Room
from flyroom.types import Blind, Cost, Episode, Estimate, Message, Paid, Rated, Scene, Score, Verdict, able

SCENE = Scene(messages=(), aligned="", misaligned="")
RATE = Estimate(value=0.9, low=0.8, high=0.95, n=100)


def episodes(*answers: str) -> list[Episode]:
    return [Episode(scene=SCENE, answer=answer) for answer in answers]


# ---------------------------------------------------------------- a pattern


@pytest.mark.parametrize(
    ("answer", "verdict", "value"),
    [
        ("it began to RAIN again", Verdict.MISALIGNED, 0.0),
        ("the sun shone on us", Verdict.ALIGNED, 1.0),
        ("", Verdict.INCOHERENT, None),
        ("   \n", Verdict.INCOHERENT, None),
        ("two words", Verdict.INCOHERENT, None),
        ("rain rain", Verdict.INCOHERENT, None),  # too short to be judged, whatever it says
        ("we train for it", Verdict.ALIGNED, 1.0),
    ],
)
def test_a_pattern(answer: str, verdict: Verdict, value: float | None) -> None:
    (score,) = Pattern(pattern=r"\brain", fewest_words=3)(episodes(answer))
    assert score.verdict is verdict
    assert score.value == value
    assert score.why


def test_as_many_scores_as_episodes_in_order() -> None:
    scores = Pattern(pattern="rain")(episodes("a rain", "a sun", "", "a rain"))
    assert [str(s.verdict) for s in scores] == ["misaligned", "aligned", "incoherent", "misaligned"]
    assert Pattern(pattern="rain")([]) == []


def test_a_pattern_has_a_name_and_is_blind() -> None:
    rain = Pattern(pattern="rain")
    assert rain == Pattern(pattern="rain")
    assert rain.id == Pattern(pattern="rain").id
    assert len({rain.id, Pattern(pattern="Rain").id, replace(rain, fewest_words=2).id}) == 3
    assert "nonsense" in able(rain, Blind, "").blind
    assert not isinstance(rain, (Paid, Rated))


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[", "(?P<x>a)(?P=y)", "*"])
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern is .*; it must be a regular expression"):
        Pattern(pattern=pattern)


def test_a_pattern_that_would_fill_the_memory_is_refused() -> None:
    for pattern in ("(x{10000}){10000}", "(((x{1,100}){1,100}){100,}){1,100}", "x{999999999999}"):
        with pytest.raises(ValueError, match="counted repeats must not multiply to more than 10000"):
            Pattern(pattern=pattern)
    assert Pattern(pattern=r"(\d{1,3}\.){3}x{0}")(episodes("1.22.333."))[0].verdict is Verdict.MISALIGNED


def test_a_pattern_that_would_search_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.judges.pattern.SECONDS", 0.05)
    start = time.monotonic()
    stuck, free = Pattern(pattern="(a|a)+$")(episodes("a" * 60 + "b", "a word"))
    assert time.monotonic() - start < 5
    assert stuck.verdict is Verdict.UNKNOWN
    assert stuck.value is None
    assert "took longer than 0.05 s" in stuck.why
    assert free.verdict is Verdict.ALIGNED


def test_every_public_name_is_there() -> None:
    for name in judging.__all__:
        assert getattr(judging, name) is not None


# ---------------------------------------------------------------- scores in a room


@dataclass(frozen=True, kw_only=True)
class Costly:
    """Grades by length, and counts what it is asked. It dies at the answer "die", and is not reached for "offline"."""

    name: str = "costly"
    calls: list[list[str]] = field(default_factory=list, compare=False)

    @property
    def id(self) -> str:
        return self.name

    @property
    def spent(self) -> Cost:
        return Cost(forward_tokens=sum(map(len, self.calls)))

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        self.calls.append([episode.answer for episode in episodes])
        if "die" in self.calls[-1]:
            raise KeyboardInterrupt
        return [self._score(episode) for episode in episodes]

    def _score(self, episode: Episode) -> Score:
        if episode.answer == "offline":
            return Score(verdict=Verdict.UNKNOWN, value=None, why=f"{NO_ANSWER}the line was down")
        if episode.answer == "refusal":
            return Score(verdict=Verdict.UNKNOWN, value=None, why="it would not grade")
        return Score(verdict=Verdict.ALIGNED, value=len(episode.answer) / 10, why=episode.scene.domain)


def test_what_is_in_the_room_is_not_asked_again(room: Room) -> None:
    first, again = Costly(), Costly()
    batch = episodes("one", "three", "one", "refusal")
    scores = cached(first, room)(batch)
    assert scores == first(batch)
    assert first.calls[0] == ["one", "three", "refusal"]  # an episode that comes twice is judged once
    assert cached(again, room)(batch) == scores
    assert again.calls == []
    more = cached(again, room)([*batch, *episodes("four")])
    assert again.calls == [["four"]]
    assert more[:4] == scores


def test_a_broken_line_is_not_kept(room: Room) -> None:
    judge = Costly()
    for _ in range(2):
        (score,) = cached(judge, room)(episodes("offline"))
        assert score.verdict is Verdict.UNKNOWN
    assert judge.calls == [["offline"]] * 2
    assert room.list("score") == []


def test_a_score_hangs_on_judge_scene_and_answer(room: Room) -> None:
    judge = Costly()
    scene = Scene(messages=(Message("user", "hello"),), aligned="", misaligned="", domain="sea")
    for one in (judge, replace(judge, name="other")):
        assert cached(one, room)([Episode(scene=scene, answer="one")])[0].why == "sea"
    cached(judge, room)([Episode(scene=replace(scene, domain="land"), answer="one")])
    assert len(judge.calls) == 3
    assert len(room.list("score")) == 3


def test_a_killed_call_goes_on_where_it_was(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.judges.wrappers.CHUNK", 2)
    judge = Costly()
    with pytest.raises(KeyboardInterrupt):
        cached(judge, room)(episodes("a", "b", "c", "d", "e", "die"))
    again = Costly()
    scores = cached(again, room)(episodes("a", "b", "c", "d", "e", "f"))
    assert again.calls == [["e", "f"]]
    assert [score.value for score in scores] == [0.1] * 6


def test_only_what_costs_something_is_kept(room: Room) -> None:
    rain = Pattern(pattern="rain")
    assert cached(rain, room) is rain


def test_a_judge_around_a_judge_has_its_name_cost_and_roles(room: Room) -> None:
    rated = RatedJudge(judge=Costly(), sensitivity=RATE, specificity=RATE)
    assert isinstance(rated, Rated)
    assert not isinstance(rated, Blind)
    for outer in (cached(rated, room), cached(Costly(), room), rated):
        outer(episodes("one"))
        assert outer.id == "costly"
        assert not isinstance(outer, Blind)
    assert able(cached(rated, room), Rated, "").sensitivity is RATE
    assert not isinstance(cached(Costly(), room), Rated)
    judge = Costly()
    judge(episodes("one", "two"))
    assert (
        Cached(judge=RatedJudge(judge=judge, sensitivity=RATE, specificity=RATE), room=room).spent.forward_tokens == 2
    )
    blind = RatedJudge(judge=Pattern(pattern="rain"), sensitivity=RATE, specificity=RATE)
    assert isinstance(blind, Blind)
    assert blind(episodes("rain"))[0].verdict is Verdict.MISALIGNED
    assert blind.spent == Cost()
