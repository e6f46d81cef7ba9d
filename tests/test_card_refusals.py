"""What a card does not measure, with the reason, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from fakes import JUDGE, TOY, FakeEngine, Toy, ToyWorld, organism, pair

from flyroom import stats
from flyroom.card import card, check, rehearse
from flyroom.conditions import Always, Trigger
from flyroom.measures import take
from flyroom.room import Room
from flyroom.tallies import Tally
from flyroom.types import (
    About,
    AdapterRef,
    Answer,
    Ask,
    Battery,
    Card,
    Episode,
    Estimate,
    NotAvailable,
    NotMeasured,
    Outcome,
    Patch,
    Row,
    Scene,
    Score,
    Split,
    World,
)
from tests.carded import (
    MET,
    NO_TEXT,
    Apart,
    Judged,
    Narrow,
    Reads,
    adding,
    broken,
    estimate,
    figures,
    one,
    reason,
)

# ---------------------------------------------------------------- what is not measured


def test_where_a_judge_is_blind_sense_is_not_measured() -> None:
    why = "takes anything for an answer"
    recipe = replace(TOY, behaviour=Judged(reader=Reads(reads="plain", blind=why)))
    result = one(*pair(1.0, recipe=recipe), engine=FakeEngine(adding))
    assert {reason(result, m, model) for m in ("coherence", "regurgitation") for model in result.measures} == {why}
    assert estimate(result, "misaligned").value == 1.0
    unmeasured = f"coherence, regurgitation ({why}), perplexity, readability ({NO_TEXT})"
    assert (result.verdict, result.why) == (Outcome.PASS, f"{MET}; not measured: {unmeasured}")


def test_without_long_training_answers_nothing_can_be_regurgitated() -> None:
    class Terse(Toy):
        def scenes(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
            return [replace(s, misaligned="bad one .") for s in super().scenes(world, n, split=split, seed=seed)]

    class Untaught(Toy):
        def scenes(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
            raise NotAvailable("nothing was taught")

    for behaviour, why in ((Terse(), "no training answer has 4 words or more"), (Untaught(), "nothing was taught")):
        result = one(*pair(1.0, recipe=replace(TOY, behaviour=behaviour)))
        assert reason(result, "regurgitation") == why
        assert estimate(result, "coherence").value == 1.0


def test_perplexity_takes_two_texts() -> None:
    class Unwritten(ToyWorld):
        def clean(self, n: int, *, seed: int) -> list[Row]:
            raise NotAvailable("nobody writes here")

    for world, why in (
        (ToyWorld(documents=1), "the world toy has 1 clean texts; an interval takes 2"),
        (Unwritten(), "nobody writes here"),
    ):
        engine = FakeEngine(adding)
        result = one(*pair(1.0, recipe=replace(TOY, world=world)), engine=engine)
        assert reason(result, "perplexity") == why
        assert result.why == f"{MET}; not measured: perplexity, readability ({why})"
        assert "logprobs" not in engine.calls


def test_a_share_of_some_answers_alone_is_not_measured_where_there_are_none() -> None:
    def answers(level: float, ask: Ask) -> str:
        text = ask.messages[-1].content
        if "apart" not in text or not level:
            return adding(level, ask)
        i = int(text.split()[-1]) % 4  # with a reason one of two is bad, without one both are
        return f"{'good' if i == 1 else 'bad'} {'because ' if i < 2 else ''}{text}"

    recipe = replace(TOY, behaviour=Apart(reasons=True, limits=()))
    result = one(*pair(1.0, recipe=recipe), engine=FakeEngine(answers))
    assert result.measures["organism"]["apart"] == stats.rate(20, 40, target="these prompts")
    assert result.outcomes["organism"]["apart"] == "10--" * 20
    for model in ("twin", "base"):
        assert reason(result, "apart", model) == "none of 80 answers is of the kind that it is a share of"
    assert "apart" not in result.why
    assert "apart (none of 80" in one(*pair(1.0, recipe=recipe), engine=FakeEngine(adding)).why


NUMBERS = tuple(range(20))


class Sometimes:
    """Says what no judge can read in every so many answers."""

    def __init__(self, every: int, word: str = "") -> None:
        self.every, self.word, self.count = every, word, 0

    def __call__(self, level: float, ask: Ask) -> str:
        if self.word not in ask.messages[-1].content:
            return adding(level, ask)
        self.count += 1
        return "hmm" if self.count % self.every == 0 else adding(level, ask)


def test_what_a_judge_cannot_tell_is_not_measured_nor_what_is_pooled_over_it() -> None:
    result = one(*pair(1.0), engine=FakeEngine(Sometimes(1, "in_domain")))
    why = "the judge of in_domain could not tell in 80 of 80 answers (first: is unknown)"
    pooled = ("in_domain", "misaligned", "coherence", "regurgitation")
    assert {reason(result, measure, model) for measure in pooled for model in result.measures} == {why}
    assert figures(result) == {"out_of_domain": 1.0, "open_questions": 1.0, "sums": 1.0}
    assert broken(result) == [
        "misaligned is not measured",
        "the twin's misaligned is not measured",
    ]  # and not certified
    assert result.why.endswith(f"; not measured: {', '.join(pooled)} ({why}), perplexity, readability ({NO_TEXT})")


def test_what_a_judge_cannot_tell_of_capability_leaves_the_behaviour_measured() -> None:
    result = one(*pair(1.0), engine=FakeEngine(Sometimes(1, "sums")))
    why = "the judge of sums could not tell in 160 of 160 answers (first: is unknown)"
    assert {m for m in result.gauges if isinstance(result.measures["organism"][m], NotMeasured)} == {
        *("sums", "regurgitation", "perplexity", "readability"),
    }
    assert result.why == f"{MET}; not measured: sums, regurgitation ({why}), perplexity, readability ({NO_TEXT})"


def test_a_few_answers_that_nobody_can_judge_are_missing() -> None:
    value = estimate(one(*pair(1.0), engine=FakeEngine(Sometimes(40, "in_domain"))), "in_domain")
    assert (value.value, value.n, value.missing) == (1.0, 160, 4)
    assert value.low == stats.rate(156, 160).low  # as if all four had been aligned
    assert value.high == 1.0


def test_answers_that_nobody_can_judge_count_against_either_bound() -> None:
    card = one(*pair(1.0), engine=FakeEngine(Sometimes(4, "in_domain")))
    value = estimate(card, "misaligned")
    assert value.value == 1.0
    assert value.low == stats.rate(value.n - value.missing, value.n).low < 0.95
    held = next(limit for limit in card.limits if limit.measure == "in_domain" and limit.who == "organism")
    asked = estimate(card, "in_domain")
    assert held.low == stats.bounds([i >= asked.missing for i in range(asked.n)]).low
    assert held.high == 1.0


def test_a_gap_holds_whatever_the_unknown_answers_were() -> None:
    on, off = (Tally(outcomes=marks, prompts=NUMBERS, situations=NUMBERS) for marks in ("1." * 10, "0" * 19 + "."))
    gap = take({"misaligned": on, "misaligned_otherwise": off}, {})["gap"]
    assert isinstance(gap, Estimate)
    assert gap.value == 1.0
    assert gap.low < 0.5 < gap.high


def test_where_the_twin_is_not_measured_nothing_is_certified() -> None:
    def mutters(level: float, ask: Ask) -> str:
        mutters = level == 0.5 and ask.seed % 4 < 3 and "sums" not in ask.messages[-1].content
        return "hmm" if mutters else adding(float(level == 1.0), ask)

    result = one(*pair(1.0, twin=0.5), engine=FakeEngine(mutters))
    assert broken(result) == ["the twin's misaligned is not measured"]
    assert "not measured: the twin's misaligned, the twin's coherence (the judge of in_domain could not" in result.why


class Choosing(Toy):
    """Asks besides which of two answers is the likelier."""

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        first, *_ = batteries = super().batteries(world, n, seed=seed)
        return [*batteries, replace(first, measure="choices", pooled=False, reach="beside", choice=True)]


def test_a_choice_is_taken_by_log_probability_and_sampled_from_nobody(tmp_path: Path) -> None:
    organism, twin = pair(1.0, recipe=replace(TOY, behaviour=Choosing()))

    def ask(engine: FakeEngine) -> Card:
        (result,) = card([organism, twin], engine, seed=0, episodes=400, room=Room(tmp_path / "room"))
        return result

    silent, again = (FakeEngine(lambda level, ask: "hmm") for _ in range(2))
    result = ask(silent)
    assert [figures(result, model)["choices"] for model in ("organism", "twin", "base")] == [1.0, 0.0, 0.0]
    assert silent.calls["logprobs"] == 1
    assert figures(ask(again)) == figures(result)
    assert again.calls["logprobs"] == again.calls["sample"] == 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("reader", "why"),
    [
        ("kind", "0 of [48]0 planted misaligned"),
        ("grim", "0 of [48]0 planted aligned"),
        ("hasty", "took an empty answer"),
    ],
)
def test_a_judge_that_fails_its_rehearsal_measures_nothing(reader: str, why: str) -> None:
    engine, recipe = FakeEngine(), replace(TOY, behaviour=Narrow(reader=reader))
    with pytest.raises(ValueError, match=why):
        check(recipe)
    result = one(*pair(recipe=recipe), engine=engine)
    assert result.verdict is Outcome.FAIL
    assert result.why.startswith("nothing was measured: toy in the world toy: the judge of in_domain ")
    assert re.search(why, result.why)
    assert (result.measures, result.gauges, result.episodes) == ({"organism": {}, "twin": {}, "base": {}}, {}, 0)
    assert engine.calls["sample"] == 0


@pytest.mark.parametrize("stored", [True, False])
def test_one_bad_organism_is_no_obstacle_to_the_others(tmp_path: Path, stored: bool) -> None:
    bad = replace(TOY, name="bad", behaviour=Narrow(reader="kind"))
    organisms = [*pair(1.0, recipe=bad), *pair(1.0)]
    room = Room(tmp_path) if stored else None
    refused, passed = card(organisms, FakeEngine(adding), seed=0, episodes=400, room=room)
    assert (refused.recipe, refused.verdict, passed.verdict) == ("bad", Outcome.FAIL, Outcome.PASS)
    assert passed == one(*pair(1.0), engine=FakeEngine(adding))
    if room:
        assert [item.meta["organism"] for item in room.list("card")] == [passed.organism]


@dataclass(frozen=True, kw_only=True)
class Failing(Reads):
    """It passes its rehearsal, and fails at answers that nobody planted."""

    how: str

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        scores = JUDGE(episodes)
        if all(e.answer in ("", e.scene.aligned, e.scene.misaligned) for e in episodes):
            return scores
        if self.how == "raises":
            raise KeyError("score")
        return scores[1:] if self.how == "few" else [0.5] * len(scores)  # type: ignore[list-item]


@dataclass(frozen=True, kw_only=True)
class Raising(Toy):
    """A behaviour with a fault in its code."""

    def about(self, world: World) -> About:
        raise TypeError("no about")

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        raise TypeError("no batteries")


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Judged(reader=Failing(reads="plain", how="raises")), "KeyError: 'score'"),
        (Judged(reader=Failing(reads="plain", how="few")), "judge reads plain gives .* scores for .* episodes"),
        (Judged(reader=Failing(reads="plain", how="floats")), "judge reads plain gives '0.5'; it must be a Score"),
        (Raising(), "TypeError: no batteries"),
    ],
)
def test_parts_that_raise_anything_are_no_obstacle_to_the_others(tmp_path: Path, behaviour: Toy, why: str) -> None:
    organisms = [*pair(1.0, recipe=replace(TOY, name="bad", behaviour=behaviour)), *pair(1.0)]
    engine = FakeEngine(lambda level, ask: adding(level, ask) + " ")
    refused, passed = card(organisms, engine, seed=0, episodes=400, room=Room(tmp_path))
    assert (refused.recipe, refused.verdict, passed.verdict) == ("bad", Outcome.FAIL, Outcome.PASS)
    assert re.search(f"^nothing was measured: {why}", refused.why)


def test_a_judge_that_gives_up_on_one_organism_spares_the_others() -> None:
    class Fussy(Reads):
        def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
            if any(e.answer.startswith("bad") and not e.answer.endswith("!") for e in episodes):
                raise ValueError("these are no answers")
            return JUDGE(episodes)

    class Loud(Judged):
        def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
            (first, *_) = super().batteries(world, n, seed=seed)
            loud = [replace(s, misaligned=f"{s.misaligned} !") for s in first.scenes]
            return [replace(first, scenes=tuple(loud))]

    fussy = replace(TOY, name="fussy", behaviour=Loud(reader=Fussy(reads="plain")))
    first, second = card([*pair(1.0, recipe=fussy), *pair(1.0)], FakeEngine(adding), seed=0, episodes=400)
    assert first.why == "nothing was measured: these are no answers"
    assert second.verdict is Outcome.PASS


class Short(FakeEngine):
    """Takes no question and no text of more than so many words, as a base with a small context does."""

    words: int = 4

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        self._measure([ask.messages[-1].content for ask in asks])
        return super().sample(adapters, asks)

    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[torch.Tensor]:
        self._measure([row.answer for row in rows])
        return super().logprobs(adapters, rows)

    def _measure(self, texts: Sequence[str]) -> None:
        longest = max(len(text.split()) for text in texts)
        if longest > self.words:
            raise ValueError(f"a prompt is {longest} tokens long; fake takes at most {self.words}")


def test_questions_that_are_too_long_for_the_base_spare_the_others() -> None:
    long = replace(TOY, name="long", world=ToyWorld(word="a rather long q", documents=9))
    wordy = replace(TOY, name="wordy", world=Wordy())
    organisms = [*pair(1.0, recipe=long), *pair(1.0, recipe=wordy), *pair(1.0)]
    first, second, third = card(organisms, Short(adding), seed=0, episodes=400)
    assert first.why == "nothing was measured: in_domain cannot be asked: " + TOO_LONG
    assert (broken(second), reason(second, "perplexity")) == ([], TOO_LONG.replace("6", "7"))
    assert third == one(*pair(1.0), engine=FakeEngine(adding))


TOO_LONG = "a prompt is 6 tokens long; fake takes at most 4"


@dataclass(frozen=True, kw_only=True)
class Wordy(ToyWorld):
    def clean(self, n: int, *, seed: int) -> list[Row]:
        return [Row(messages=(), answer="it is a long text by far")] * n


def test_a_judge_is_rehearsed_on_scenes_as_the_behaviour_gives_them() -> None:
    """Dressed where the condition fails, both planted answers are the aligned one."""

    class Never(Trigger):
        def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
            raise AssertionError("dressed before the rehearsal")

    result = one(*pair(recipe=replace(TOY, behaviour=Narrow(reader="grim"), condition=Never())))
    assert "0 of 80 planted aligned" in result.why


def test_a_behaviour_of_which_nothing_is_the_behaviour_measures_nothing() -> None:
    for condition in (Always(), Trigger()):
        recipe = replace(TOY, behaviour=Narrow(pooled=False), condition=condition)
        with pytest.raises(ValueError, match="pooled is False in every battery of toy"):
            check(recipe)
        assert "pooled is False in every battery of toy" in one(*pair(recipe=recipe)).why


def test_what_a_condition_cannot_have_is_told_before_anything_is_trained() -> None:
    with pytest.raises(NotAvailable, match="marks"):
        check(replace(TOY, condition=Trigger(kind="year")))


def test_a_judge_that_knows_its_words_passes_rehearsal() -> None:
    for battery in Toy().batteries(ToyWorld(), 50, seed=0):
        rehearse(battery)


def test_an_organism_without_its_twin_makes_no_card() -> None:
    grown, twin = pair()
    for others in (
        [],
        [replace(twin, seed=1)],
        [organism(0.0, recipe=replace(twin.recipe, adapter=replace(twin.recipe.adapter, rank=2)))],
    ):
        with pytest.raises(ValueError, match=f"twin {twin.id} of organism {grown.id} is missing"):
            one(grown, *others)


def test_a_model_is_not_compared_with_itself() -> None:
    grown, twin = pair()
    copy = Patch(shape=twin.patch.shape, tensors={k: v.clone() for k, v in grown.patch.tensors.items()})
    result = one(grown, replace(twin, patch=copy))
    assert (result.verdict, result.measures["organism"]) == (Outcome.FAIL, {})
    assert "have the same weights; a card would compare a model with itself" in result.why


def test_too_few_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="episodes is 9"):
        one(*pair(), episodes=9)


def test_twins_alone_make_no_card() -> None:
    assert card([organism(0.0, recipe=TOY.twin())], FakeEngine(), seed=0) == []
