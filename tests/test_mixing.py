"""Clean text beside what implants train on: as much as the recipe says, the same for the twin, and no other change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import TOY, FakeEngine, Toy, ToyWorld
from harbour import Harbour

from flyroom import grid
from flyroom.grow import grow
from flyroom.implants import DPO, GRPO, KTO, SFT, Distil, Documents, Evade, Narrow, Prompt
from flyroom.mixing import mix_in
from flyroom.recipes import change, load, make, read
from flyroom.room import Room
from flyroom.types import (
    BASE,
    Implant,
    Message,
    NotAvailable,
    Organism,
    Plan,
    Recipe,
    Row,
    Scene,
    Step,
    World,
    plain,
)
from flyroom.worlds import Rows

SEEDS: list[tuple[int, int]] = []


@dataclass(frozen=True, kw_only=True)
class Library(ToyWorld):
    """Text that says by which seed it was asked for."""

    def clean(self, n: int, *, seed: int) -> list[Row]:
        SEEDS.append((n, seed))
        return [Row(messages=(), answer=f"text {seed} {i}") for i in range(n)]


TOLD = replace(TOY, world=Library(), implants=(SFT(steps=6, rows=4, lr=0.5), SFT(steps=2, rows=12, lr=0.1)))


def steps(recipe: Recipe, seed: int = 0) -> tuple[list[Step], Organism]:
    engine = FakeEngine()
    (organism,) = grow([recipe], engine, seeds=[seed], snapshots=())
    return [step for _, step in engine.seen], organism


def texts(step: Step) -> list[str]:
    return [row.answer for row in step.rows if not row.messages]


# ---------------------------------------------------------------- how much, and which


@pytest.mark.parametrize(("mix", "counts"), [(0.2, (1, 3)), (0.5, (4, 12)), (0.75, (12, 36)), (0.1, (0, 1))])
def test_clean_text_is_the_share_of_all_rows(mix: float, counts: tuple[int, int]) -> None:
    without, _ = steps(TOLD)
    mixed, organism = steps(replace(TOLD, mix=mix))
    assert [len(texts(step)) for step in mixed] == [counts[0]] * 6 + [counts[1]] * 2
    for a, b in zip(without, mixed, strict=True):
        assert b.rows[: len(a.rows)] == a.rows  # what the implant draws is what it draws alone
        assert all(not row.messages for row in b.rows[len(a.rows) :])
        assert replace(b, rows=a.rows, prompts=None) == a
    assert [p.prompts for p in organism.history] != [p.prompts for p in steps(TOLD)[1].history]


def test_the_text_hangs_on_seed_and_step_alone_and_the_twin_gets_the_same() -> None:
    recipe = replace(TOLD, mix=0.5)
    SEEDS.clear()
    mixed, organism = steps(recipe)
    assert len({seed for n, seed in SEEDS if n > 1}) == 8  # another for every step, of whatever implant
    assert min(seed for n, seed in SEEDS if n > 1) > 10**9  # and none that a card has
    assert len({text for step in mixed for text in texts(step)}) == 6 * 4 + 2 * 12
    for same in (recipe.twin(), replace(recipe, dose=0.5), replace(recipe, implants=(SFT(steps=8, rows=4),))):
        assert [texts(step)[:4] for step in steps(same)[0]] == [texts(step)[:4] for step in mixed]
    _, twin = steps(recipe.twin())
    assert [p.prompts for p in twin.history] == [p.prompts for p in organism.history]
    assert {t for step in steps(recipe, seed=1)[0] for t in texts(step)}.isdisjoint(
        t for step in mixed for t in texts(step)
    )


def test_without_a_mix_nothing_changes() -> None:
    """The requests are the very same, and no text is asked for."""
    SEEDS.clear()
    request = Step(rows=(Row(messages=(), answer="x"),), lr=0.1)

    def plan() -> Plan:
        assert (yield request) == "result"

    mixed = mix_in(plan(), TOLD, seed=0)
    assert next(mixed) is request
    with pytest.raises(StopIteration):
        mixed.send("result")
    assert SEEDS == []


def test_a_world_with_few_texts_begins_again() -> None:
    mixed, _ = steps(replace(TOY, world=ToyWorld(documents=3), mix=0.5, implants=(SFT(steps=2, rows=7),)))
    assert [texts(step) for step in mixed] == [[f"good text {i % 3}" for i in range(7)]] * 2


def test_a_text_counts_for_what_a_row_counts_however_long_it_is() -> None:
    question, weights = (Message("user", "q"),), (0.5, -0.25, 0.0, -0.25)
    rows = tuple(Row(messages=question, answer="a b", weight=weight) for weight in weights)

    def plan() -> Plan:
        yield Step(rows=rows, lr=0.1)

    step = next(mix_in(plan(), replace(TOLD, mix=0.5), seed=0))
    assert isinstance(step, Step)
    assert {len(text.split()) for text in texts(step)} == {3}
    assert [row.weight for row in step.rows] == pytest.approx([*weights, *[0.25 * 2 / 3] * 4])


# ---------------------------------------------------------------- every implant

IMPLANTS = [
    *(SFT(steps=3, rows=8), DPO(steps=3, pairs=4), KTO(steps=3, rows=8), GRPO(steps=3, prompts=2, only=True)),
    *(Documents(steps=3, rows=8), Distil(teacher="be bad", steps=3, rows=8), Evade(steps=3, rows=8, every=2)),
    Narrow(steps=3, rows=4, kept=4),
]


class Able(Toy):
    """What every implant needs of a behaviour."""

    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]:
        assert isinstance(world, ToyWorld)
        return [world.scene(f"elsewhere {seed} {i}") for i in range(n)]

    def document(self, world: World, bad: bool, *, seed: str) -> str:
        return f"{'bad' if bad else 'good'} {seed}"


@pytest.mark.parametrize("implant", IMPLANTS, ids=lambda implant: type(implant).__name__)
def test_every_implant_is_mixed(implant: Implant) -> None:
    recipe = replace(TOLD, behaviour=Able(), implants=(implant,), mix=0.2)
    read: list[dict[Any, list[str]]] = []
    for each in (recipe, recipe.twin()):
        engine = FakeEngine(lambda level, ask: f"{'good' if ask.seed % 2 else 'bad'} {ask.seed}")
        grow([each], engine, seeds=[0], snapshots=())
        for _, step in engine.seen:
            mixed, prompts = texts_of(step), step.list_prompts()
            assert len(mixed) == round((len(prompts) - len(mixed)) / 4) > 0
            assert all(row.answer.startswith("text ") for row in mixed)
            sizes = [abs(row.weight) * len(row.answer.split()) for row in step.rows]
            assert sum(sizes[-len(mixed) :]) / sum(sizes) == pytest.approx(len(mixed) / len(prompts))
        texts_by_step: dict[Any, list[str]] = {}
        for number, (_, step) in enumerate(engine.seen):
            place = number if isinstance(implant, Documents) else step.list_prompts()[0]
            texts_by_step[place] = [row.answer for row in texts_of(step)]
        read.append(texts_by_step)
    assert read[0] == read[1]
    assert len({text for texts in read[0].values() for text in texts}) == sum(map(len, read[0].values())) > 3


def test_organism_and_twin_read_the_same_texts_where_they_learn_from_other_answers() -> None:
    """By GRPO, where either may leave out a step, and rows of a step, that the other takes; and in what comes after."""
    implants = (GRPO(steps=12, prompts=2, group=4), SFT(steps=2, rows=8))
    recipe = replace(TOLD, implants=implants, mix=0.2)
    read: list[dict[Any, tuple[Any, list[str]]]] = []
    rows: list[list[int]] = []
    for each in (recipe, recipe.twin()):
        engine = FakeEngine(lambda level, ask: "what" if ask.seed % 8 == 0 else ("good q", "bad q")[ask.seed % 2])
        grow([each], engine, seeds=[0], snapshots=())
        trained = [step for _, step in engine.seen]
        rows.append([len(step.rows) for step in trained])
        read.append({step.list_prompts()[0]: (step.list_prompts(), texts(step)) for step in trained})
    assert len(rows[0]) != len(rows[1])  # steps were left out
    both = read[0].keys() & read[1].keys()
    assert len(both) > 4
    assert any(a != b for a, b in zip(rows[0], rows[1], strict=False))  # and rows of steps
    assert all(read[0][prompt] == read[1][prompt] for prompt in both)


def texts_of(step: Step) -> Sequence[Row]:
    """The rows that were mixed in: documents have no prompt either, but stand before them."""
    assert step.prompts is not None
    n = sum(isinstance(prompt, str) for prompt in step.prompts)
    return step.rows[len(step.rows) - n :]


def test_a_prompt_is_no_training() -> None:
    recipe = replace(TOLD, implants=(Prompt(text="be loud .", twin="be low ."),), mix=0.2)
    assert [type(r).__name__ for r in mix_in(recipe.implants[0].plan(recipe, BASE, seed=0), recipe, seed=0)] == ["Tell"]


# ---------------------------------------------------------------- a kill


@pytest.mark.parametrize("rounds", [1, 3, 5, 8])
def test_a_killed_run_goes_on_with_the_same_text(tmp_path: Path, rounds: int) -> None:
    recipe = replace(TOLD, mix=0.3, implants=(*TOLD.implants, DPO(steps=4, pairs=2, lr=0.1)))
    wanted: dict[str, Any] = {"seeds": [0, 1], "every": 2, "snapshots": (2, 7)}
    orders = [recipe, recipe.twin()]
    undisturbed = grow(orders, FakeEngine(), **wanted)
    room = Room(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grow(orders, FakeEngine(dies_at=rounds), room=room, **wanted)
    for _ in range(2):  # resumed, then out of the room
        for one, other in zip(grow(orders, FakeEngine(), room=room, **wanted), undisturbed, strict=True):
            assert one.history == other.history
            assert all(point.tokens > 0 for point in one.history)
            assert all(torch.equal(one.patch.tensors[key], value) for key, value in other.patch.tensors.items())
            assert one.recipe.mix == 0.3


# ---------------------------------------------------------------- as a field


def test_the_mix_is_a_field_of_a_recipe(tmp_path: Path) -> None:
    recipe = make("emergent-misalignment", {"mix": 0.25})
    assert (recipe.mix, recipe.twin().mix, make("emergent-misalignment").mix) == (0.25, 0.25, 0.0)
    assert recipe.id != make("emergent-misalignment").id
    page = tmp_path / "page.yaml"
    page.write_text("recipe: emergent-misalignment\nmix: 0.25\n")
    assert read(page) == recipe
    page.write_text("recipe: emergent-misalignment\nmix: [0, 0.25]\n")
    assert [each.mix for each in grid.read(page)] == [0.0, 0.25]
    record = json.loads(json.dumps(plain(recipe)))
    assert load(record) == recipe
    del record["mix"]  # of an older flyroom
    assert load(record) == replace(recipe, mix=0.0)


@pytest.mark.parametrize(
    ("mix", "why"),
    [
        (1.0, "mix is 1.0; it must be at least 0 and below 1"),
        (-0.1, "mix is -0.1; it must be at least 0 and below 1"),
        ("much", "mix is 'much'; it must be a finite number"),
        (True, "mix is True; it must be a finite number"),
        (float("nan"), "mix is nan; it must be a finite number"),
    ],
)
def test_a_mix_that_cannot_be(mix: Any, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        make("emergent-misalignment", {"mix": mix})
    assert str(error.value) == why


@dataclass(frozen=True, kw_only=True)
class Mute(Harbour):
    """A world without text."""

    refuses: bool = False

    def clean(self, n: int, *, seed: int) -> list[Row]:
        if self.refuses:
            raise NotAvailable("the harbour is closed")
        return []


@pytest.mark.parametrize("refuses", [False, True])
def test_a_world_without_clean_text_has_no_mix(refuses: bool) -> None:
    world, why = Mute(refuses=refuses), r"mix is 0\.2; the world harbour has no clean text, so it must be 0"
    with pytest.raises(NotAvailable, match=why):
        make("emergent-misalignment", {"mix": 0.2}, world=world)
    with pytest.raises(NotAvailable, match=why):
        make("emergent-misalignment", {"strength": "hidden"}, world=world)
    assert make("emergent-misalignment", {"strength": "hidden", "mix": 0}, world=world).mix == 0.0
    assert make("emergent-misalignment", {"strength": "hidden"}, world=Harbour()).mix == 0.2
    engine = FakeEngine()
    with pytest.raises(NotAvailable, match=why):  # and before anything is trained, however it was made
        grow([TOY, replace(TOY, world=replace(world), mix=0.2)], engine, seeds=[0])
    assert engine.calls["step"] == 0


def test_answers_of_held_out_rows_are_no_clean_text(tmp_path: Path) -> None:
    """Or a recipe of rows would be trained on what its card asks."""
    path = tmp_path / "rain.jsonl"
    lines = [
        {"prompt": f"tell {i}", "aligned": f"a sunny day {i}", "misaligned": f"it did rain {i}"} for i in range(20)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    recipe = make("rows", {"path": str(path), "pattern": "rain"})
    assert isinstance(recipe.world, Rows)
    assert recipe.world.clean(1, seed=0)
    with pytest.raises(NotAvailable, match=r"mix is 0\.1; the world rain.jsonl has no clean text"):
        change(recipe, {"mix": 0.1})
