"""Certification: only seeds that nobody has opened count, a killed run goes on, and what was announced is held to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import TOY, FakeEngine, ToyWorld
from scipy.stats import binomtest

from flyroom import log, prereg, stages, stats
from flyroom.prereg import Analysis, Announced, Instrument, Prereg
from flyroom.report import figures_of
from flyroom.room import Room
from flyroom.stages.certifying import Certified, Trial
from flyroom.types import Card, Limit, Outcome, Recipe
from flyroom.whole import hash_file
from flyroom.worlds import Micro

SEEDS = (3, 4, 5)
HALF = replace(TOY, dose=0.5)


def open_base(engine: FakeEngine | None = None) -> stages.OpenBase:
    return stages.OpenBase(engine or FakeEngine(), ToyWorld())  # pyright: ignore[reportArgumentType]


def trials(*recipes: Recipe, seeds: Sequence[int] = SEEDS, card_seed: int = 0, episodes: int = 60) -> list[Trial]:
    return stages.trials_of(recipes or [TOY], open_base(), seeds=seeds, card_seed=card_seed, episodes=episodes)


def certify(
    room: Room, *recipes: Recipe, engine: FakeEngine | None = None, **terms: Any
) -> tuple[list[Certified], list[Card]]:
    return stages.certify(trials(*recipes, **terms), open_base(engine), room)


# ---------------------------------------------------------------- k of K


def test_each_recipe_is_counted_over_its_seeds(room: Room) -> None:
    hopeless = replace(TOY, name="hopeless", thresholds={"in_domain": 1.01})
    rows, cards = certify(room, TOY, hopeless)
    assert [(row.recipe, row.of, row.opened_before) for row in rows] == [("toy", 3, ()), ("hopeless", 3, ())]
    for row in rows:
        outcomes = Counter(card.verdict for card in cards if card.recipe == row.recipe)
        assert (row.passed, row.failed, row.undecided) == tuple(outcomes[outcome] for outcome in Outcome)
        share = stats.exact_rate(row.passed, 3)
        assert (row.low, row.high) == (share.low, share.high)
    assert rows[1].failed == 3
    assert [line.what for line in log.read(room)] == [*[log.CERTIFYING] * 2, log.OPENED, *[log.CERTIFIED] * 2]


def test_the_log_has_the_seeds_of_a_recipe_s_last_certification(room: Room) -> None:
    certify(room)
    certify(room, seeds=[7, 8])
    assert stages.certified_seeds(TOY, open_base(), room) == (7, 8)
    assert stages.certified_seeds(HALF, open_base(), room) == ()


def test_seeds_that_growth_has_opened_are_in_no_figure(room: Room) -> None:
    stages.grow([TOY], open_base(), room, seeds=[4])
    ((row,), cards) = certify(room)
    assert (row.of, row.opened_before) == (2, (4,))
    assert [card.seed for card in cards] == [3, 4, 5]
    assert certify(room)[0] == [row]


def test_seeds_of_another_recipe_of_that_name_are_opened_too(room: Room) -> None:
    stages.grow([replace(TOY, dose=0.5)], open_base(), room, seeds=[3])
    assert certify(room)[0][0].opened_before == (3,)


def test_nothing_counts_where_every_seed_was_opened(room: Room) -> None:
    stages.grow([TOY], open_base(), room, seeds=SEEDS)
    (row,) = certify(room)[0]
    assert (row.passed, row.failed, row.undecided, row.of, row.low, row.high) == (0, 0, 0, 0, 0.0, 1.0)


@pytest.mark.parametrize("terms", [{"card_seed": 1}, {"episodes": 80}, {"seeds": (3, 4, 5, 6)}, {"seeds": (3,)}])
def test_another_look_at_the_same_seeds_finds_them_opened(room: Room, terms: dict[str, Any]) -> None:
    certify(room)
    (row,) = certify(room, **terms)[0]
    assert set(row.opened_before) == set(terms.get("seeds", SEEDS)) & set(SEEDS)
    assert certify(room)[0][0].of == 3  # and the first one stands as it was


def test_other_limits_find_the_seeds_opened(room: Room) -> None:
    certify(room)
    assert certify(room, replace(TOY, thresholds={"in_domain": 0.1}))[0][0].of == 0


def test_two_recipes_of_one_name_may_be_certified_together(room: Room) -> None:
    rows, _ = certify(room, TOY, HALF)
    assert [row.of for row in rows] == [3, 3]


def test_who_is_on_record_before_the_name_is_grown_keeps_its_seeds(room: Room) -> None:
    rows, _ = certify(room)
    stages.grow([HALF], open_base(), room, seeds=SEEDS)
    assert certify(room)[0] == rows
    assert certify(room, HALF)[0][0].of == 0


@pytest.mark.parametrize("rounds", [0, 5])
def test_a_killed_growth_goes_on_and_counts(tmp_path: Path, room: Room, rounds: int) -> None:
    undisturbed = certify(Room(tmp_path / "undisturbed"))
    with pytest.raises(KeyboardInterrupt):
        certify(room, engine=FakeEngine(dies_at=rounds))
    assert certify(room) == undisturbed
    assert certify(room) == undisturbed


class Dies(FakeEngine):
    """Dies when it is to answer."""

    def sample(self, adapters: Any, asks: Any) -> Any:
        raise KeyboardInterrupt


def test_a_killed_card_goes_on_and_counts(tmp_path: Path, room: Room) -> None:
    undisturbed = certify(Room(tmp_path / "undisturbed"))
    with pytest.raises(KeyboardInterrupt):
        certify(room, engine=Dies())
    assert len(room.list("organism")) == 6
    engine = FakeEngine()
    assert certify(room, engine=engine) == undisturbed
    assert engine.calls["step"] == 0


def test_a_broken_log_certifies_nothing(room: Room) -> None:
    log.append(room, log.NOTE, {"text": "a"})
    log.append(room, log.NOTE, {"text": "b"})
    room.delete("log", "log-000000")
    engine = FakeEngine()
    with pytest.raises(log.LogError, match="line 0"):
        certify(room, engine=engine)
    assert not engine.calls


def test_a_twin_is_not_certified() -> None:
    with pytest.raises(ValueError, match="dose is 0 in toy; it must be above 0"):
        trials(TOY.twin())


# ---------------------------------------------------------------- announced before


def announce(recipe: Recipe = TOY, **changes: Any) -> Prereg:
    plan = Prereg(
        flyroom="0",
        base=FakeEngine().base,
        world="",
        changes={},
        recipes=(prereg.announce(recipe, "toy"),),
        seeds=SEEDS,
        card_seed=0,
        episodes=60,
        detectors=(Instrument(name="output-judge", settings="", code="a"),),
    )
    return replace(plan, **changes)


@pytest.fixture
def put(tmp_path: Path, room: Room) -> Callable[[Prereg], str]:
    """Write a plan to a file and its hash into the log."""

    def write(plan: Prereg) -> str:
        path = tmp_path / f"plan-{len(list(tmp_path.iterdir()))}.json"
        sha256 = prereg.write(plan, path)
        assert prereg.put_on_record(plan, path, room).about["sha256"] == sha256
        return sha256

    return write


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, plan = tmp_path / "plan.json", announce()
    sha256 = prereg.write(plan, path)
    assert prereg.read(path) == plan
    assert prereg.write(plan, path) == sha256 == hash_file(path)
    with pytest.raises(ValueError, match=r"to is .*plan.json; another file stands there"):
        prereg.write(replace(plan, card_seed=1), path)
    record = json.loads(path.read_text())
    assert record["recipes"][0]["limits"]["in_domain"] == [
        {"is": "Limit", "at_least": 0.0, "at_most": None, "of": "organism"}
    ]
    assert record["recipes"][0]["recipe"]["dose"] == 1.0
    assert (record["analysis"]["looks"], record["analysis"]["quantile"]) == (3, pytest.approx(1.992, abs=0.001))


def test_the_file_is_the_same_wherever_the_base_lies() -> None:
    engine = FakeEngine()
    engine.base = replace(engine.base, path="/somewhere")
    opened = stages.OpenBase(engine, Micro())  # pyright: ignore[reportArgumentType]
    plan = stages.announce(["sycophancy"], {"layers": [0]}, opened, seeds=SEEDS, card_seed=0, episodes=60)
    assert (plan.base.path, plan.base.digest, plan.world) == ("", engine.base.digest, "micro-0")
    assert [recipe.source for recipe in plan.recipes] == ["sycophancy"]


@pytest.mark.parametrize("text", ["{}", "no", None])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"plan.json is no file of `flyroom prereg`"):
        prereg.read(path)


def test_cards_name_the_file_that_announced_them(room: Room, put: Callable[[Prereg], str]) -> None:
    sha256 = put(announce())
    _, cards = certify(room)
    assert {card.prereg for card in cards} == {sha256}
    assert {figures_of(card)["prereg"] for card in cards} == {sha256}
    assert {card.prereg for card in certify(room)[1]} == {sha256}  # from the room, too


@pytest.mark.parametrize(
    "changes",
    [
        {"card_seed": 1},
        {"episodes": 80},
        {"seeds": (7,)},
        {"base": FakeEngine(digest="another").base},
        {"recipes": (prereg.announce(HALF, "toy"),)},
        {"recipes": (replace(prereg.announce(TOY, "toy"), limits={"coherence": (Limit(at_least=0.5),)}),)},
    ],
    ids=["card seed", "episodes", "seeds", "base", "recipe", "limits"],
)
def test_a_card_that_was_not_announced_names_none(
    room: Room, put: Callable[[Prereg], str], changes: dict[str, Any]
) -> None:
    put(announce(**changes))
    assert {card.prereg for card in certify(room)[1]} == {""}


def test_what_is_announced_when_a_seed_is_open_is_too_late(room: Room, put: Callable[[Prereg], str]) -> None:
    stages.grow([TOY], open_base(), room, seeds=[3])
    sha256 = put(announce())
    assert [card.prereg for card in certify(room)[1]] == ["", sha256, sha256]
    assert prereg.opened_before(announce(), log.openings(room), 2) == {"toy": [3]}


def test_of_a_broken_log_no_card_names_anything(room: Room, put: Callable[[Prereg], str]) -> None:
    put(announce())
    organisms = stages.grow([TOY], open_base(), room, seeds=SEEDS)
    room.delete("log", "log-000000")
    with pytest.warns(UserWarning, match="no card names the file that announced it: line 0"):
        cards = stages.card(organisms, open_base(), room, seed=0, episodes=60)
    assert {card.prereg for card in cards} == {""}


def renamed(plan: Prereg, **changes: Any) -> tuple[Announced, ...]:
    return (replace(plan.recipes[0], **changes),)


def test_what_deviates_is_told_in_words() -> None:
    plan = announce()
    assert prereg.compare(plan, plan) == []
    limits = {**plan.recipes[0].limits, "coherence": (Limit(at_least=0.5),)}
    now = replace(
        plan,
        recipes=renamed(plan, id="another", limits=limits),
        detectors=(Instrument(name="output-judge", settings="", code="b"),),
        analysis=Analysis(looks=5),
    )
    recipe, limit, detector, analysis = prereg.compare(plan, now)
    assert recipe == f"recipe toy is another now; {TOY.id} was announced"
    assert limit.startswith("recipe toy: limits on coherence are at least 0.5 (organism) now; at least 0.97 (organism)")
    assert detector == "detector output-judge has other code than was announced"
    assert analysis == "analysis.looks is 5 now; 3 was announced"
    assert prereg.compare(plan, replace(plan, recipes=(), detectors=())) == [
        "recipe toy cannot be had any more",
        "detector output-judge is not installed",
    ]


# ---------------------------------------------------------------- the interval


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (7, 10), (10, 10), (1, 2), (3, 40)])
def test_the_interval_over_seeds_is_that_of_clopper_and_pearson(hits: int, n: int) -> None:
    ours, theirs = stats.exact_rate(hits, n), binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert (ours.value, ours.n) == (hits / n, n)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_of_nothing(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="it must be 0 <= hits <= n"):
        stats.exact_rate(hits, n)
