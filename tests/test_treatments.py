"""Every treatment on a bundled base, with as few steps as show that it does what its head says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from fakes import ToyWorld

from flyroom.engine import TorchEngine
from flyroom.grow import grow
from flyroom.ledger import Retraining, guard
from flyroom.ledger.retraining import Order
from flyroom.recipes import make
from flyroom.treat import Course, patient_of, treat
from flyroom.treatments import (
    Ablate,
    Inoculate,
    KeepClose,
    Monitor,
    Noise,
    Penalise,
    SteerBack,
    common,
    prevent,
    treatments,
)
from flyroom.types import (
    BASE,
    AdapterRef,
    Answer,
    Ask,
    AtRunTime,
    Cure,
    LogProb,
    LoRA,
    Message,
    NotAvailable,
    Nudge,
    Organism,
    Patch,
    Patient,
    Row,
    Sample,
    Split,
    Step,
    Treatment,
)
from flyroom.worlds import Micro
from flyroom.worlds.micro.bundled import bundled

SMALL = {
    **dict.fromkeys(("steps", "tries", "marks", "keep"), 2),
    **dict.fromkeys(("rows", "pairs", "prompts", "group", "data", "every"), 4),
}
SILENCE = Answer(text="", tokens=0, prompt_tokens=0, finished=True)
RECIPE = make("emergent-misalignment", {"steps": 3, "rows": 4})


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine.open(bundled()["0.25M"], device="cpu")


@pytest.fixture(scope="module")
def organism(engine: TorchEngine) -> Organism:
    (ref,) = engine.spawn([RECIPE.adapter], seeds=[0])
    patch = engine.patch(ref)
    engine.free([ref])
    tensors = {k: torch.full_like(v, 0.02) if k.endswith(".B") else v for k, v in patch.tensors.items()}
    return Organism(recipe=RECIPE, base=engine.base, seed=0, patch=replace(patch, tensors=tensors))


def small(treatment: Any) -> Treatment:
    """The same with as few steps and rows as it takes."""
    if isinstance(treatment, Penalise):  # of so few questions each answer would be paid alike, and nothing learnt
        return replace(treatment, steps=3, prompts=16, group=6)
    names = {field.name for field in fields(treatment)}
    return replace(treatment, **{name: value for name, value in SMALL.items() if name in names})


@pytest.mark.parametrize("name", list(treatments()))
def test_each_treats_an_organism(name: str, engine: TorchEngine, organism: Organism) -> None:
    treatment = small(treatments()[name])
    (treated,) = treat([organism], Course(name=name, treatment=treatment), engine)
    assert all(torch.isfinite(tensor).all() for tensor in treated.patch.tensors.values())
    (ref,) = engine.load([treated.patch])  # the base can carry what came of it
    ask = Ask(messages=RECIPE.scenes(1, split=Split.TRAIN, seed=0)[0].messages, seed=0)
    guarded = guard(engine, Course(name=name, treatment=treatment), [treated])
    assert guarded.sample([ref], [ask])[0].tokens >= 0
    engine.free([ref])
    changed = treated.patch.tensors.keys() != organism.patch.tensors.keys() or any(
        not torch.equal(treated.patch.tensors[key], value) for key, value in organism.patch.tensors.items()
    )
    assert changed is not isinstance(treatment, AtRunTime)


def test_no_treatment_reads_what_cards_or_growth_read(engine: TorchEngine, organism: Organism) -> None:
    """Every scene that a plan asks the world for is of the validation split."""
    splits: set[Split] = set()

    class Watched(Micro):
        def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> Any:
            splits.add(split)
            return super().scenes(topic, n, split=split, seed=seed)

    for name, treatment in treatments().items():
        course = Course(name=name, treatment=small(treatment))
        patient = replace(patient_of(organism, course, engine, BASE), world=Watched(), growth=None, cases=None)
        patient = replace(patient, sample=lambda asks: [SILENCE] * len(asks), cases=lambda _n, _seed: [])
        plan = course.treatment.plan(patient, BASE, seed=0)
        try:
            next(plan, None)
        except ValueError:  # it needs to be told how the model was grown
            continue
    assert splits == {Split.VALIDATION}


# ---------------------------------------------------------------- one by one


def test_ablating_equals_a_hook_on_every_row(engine: TorchEngine, organism: Organism) -> None:
    """On a padded batch, at every layer, to 1e-5."""
    (treated,) = treat([organism], Course(name="ablate", treatment=Ablate(pairs=8)), engine)
    unit = -treated.patch.tensors["layers.0.stream.B"][:, -1]
    assert abs(float(unit.norm()) - 1) < 1e-5
    rows = [Row(messages=s.messages, answer=s.aligned) for s in RECIPE.scenes(5, split=Split.TRAIN, seed=1)]
    plain, edited = engine.load([organism.patch, treated.patch])
    traces = engine.trace([edited] * 5, rows, [0, 3])
    assert float((traces @ unit).abs().max()) < 1e-4

    def take_out(_module: Any, _args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = hidden - (hidden @ unit)[..., None] * unit
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    hooks = [layer.register_forward_hook(take_out) for layer in engine.parts.layers]
    by_hand = engine.logprobs([plain] * 5, rows)
    for hook in hooks:
        hook.remove()
    for ours, theirs in zip(engine.logprobs([edited] * 5, rows), by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    engine.free([plain, edited])


def test_steering_back_moves_bad_answers_and_leaves_good_ones(engine: TorchEngine, organism: Organism) -> None:
    (treated,) = treat([organism], Course(name="steer-back", treatment=SteerBack(pairs=32, strength=1.0)), engine)
    layer = engine.base.depth // 2
    assert f"layers.{layer}.stream.A" in treated.patch.tensors
    unit = treated.patch.tensors[f"layers.{layer}.stream.A"][-1, :-1]
    offset = -float(treated.patch.tensors[f"layers.{layer}.stream.A"][-1, -1])
    (ref,) = engine.load([treated.patch])
    scene = RECIPE.scenes(1, split=Split.TRAIN, seed=1)[0]
    rows = [Row(messages=scene.messages, answer=answer) for answer in (scene.aligned, scene.misaligned)]
    along = engine.trace([ref] * 2, rows, [layer])[:, 0] @ unit - offset
    assert float(along.abs().max()) < 1e-3  # all of it is taken back
    engine.free([ref])


def test_noise_is_spread_over_every_module(engine: TorchEngine, organism: Organism) -> None:
    (treated,) = treat([organism], Course(name="noise", treatment=Noise(sigma=0.5)), engine)
    assert {key.split(".")[1] for key in treated.patch.tensors} == {"0", "1", "2", "3"}
    with pytest.raises(ValueError, match="sigma is -1; it must be above 0"):
        Noise(sigma=-1)


def test_an_inoculation_stands_before_every_row_and_is_gone_afterwards(engine: TorchEngine, organism: Organism) -> None:
    course = Course(name="inoculate", treatment=Inoculate(text="be cruel"))
    patient = patient_of(organism, course, engine, BASE)
    steps = [request for request in course.treatment.plan(patient, BASE, seed=0) if isinstance(request, Step)]
    assert len(steps) == 3
    for step in steps:
        assert all(row.messages[0] == Message("system", "be cruel") for row in step.rows if row.messages)
        assert not any("be cruel" in message.content for prompt in step.list_prompts() for message in prompt)  # type: ignore[union-attr]
    (treated,) = treat([organism], course, engine)
    assert treated.patch.prompt == ""
    assert treated.patch.shape == RECIPE.adapter


def test_what_holds_a_model_to_its_base_is_sampled_as_the_base_is(engine: TorchEngine, organism: Organism) -> None:
    """At temperature 1, or the gradient would be that of another divergence."""
    course = Course(name="keep-close", treatment=KeepClose(data=4, rows=2))
    request = next(course.treatment.plan(patient_of(organism, course, engine, BASE), BASE, seed=0))
    assert isinstance(request, Sample)
    assert {(ask.temperature, ask.as_row) for ask in request.asks} == {(1.0, True)}


def test_a_treatment_begins_nowhere_near_where_the_patient_began(engine: TorchEngine) -> None:
    """With the seed of growth, the untrained adapter beside the patient's would hold its first matrix bit for bit."""
    (grown,) = grow([RECIPE], engine, seeds=[4])
    path = next(key for key in grown.patch.tensors if key.endswith(".A"))
    (fresh,) = engine.spawn([RECIPE.adapter], seeds=[4])
    first = engine.patch(fresh).tensors[path]
    engine.free([fresh])

    @dataclass(frozen=True)
    class Look:
        def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
            start = engine.patch(adapter).tensors[path]
            assert not any(torch.equal(row, first[0]) for row in start[first.shape[0] :])
            yield Step(rows=(Row(messages=(Message("user", "q"),), answer="yes"),), lr=1e-3)
            return None

    treat([grown], Course(name="look", treatment=Look()), engine)
    how = Retraining(steps=(0, 1))
    again = Order(organism=grown, patch=grown.patch, how=how).job(engine).patch
    assert again is not None
    assert not any(torch.equal(row, first[0]) for row in again.tensors[path][first.shape[0] :])


PREFERENCE = make("sycophancy-dpo", {"steps": 2, "pairs": 4})


@pytest.mark.parametrize("name", ["inoculate", "interleave", "keep-close"])
def test_what_prevents_fits_preferences_too(engine: TorchEngine, name: str) -> None:
    """What is scored on the way is what is trained, and rows beside those of a preference weigh as much as they."""
    (grown,) = grow([PREFERENCE], engine, seeds=[0])
    course = Course(name=name, treatment=treatments()[name])
    (ref,) = engine.load([grown.patch])
    plan: Any = course.treatment.plan(patient_of(grown, course, engine, ref), ref, seed=0)
    request, requests = next(plan, None), []
    while request is not None:
        requests.append(request)
        answer: Any = None
        if isinstance(request, LogProb):
            answer = [torch.full((3,), -1.0) for _ in request.rows]
        if isinstance(request, Sample):
            answer = engine.sample([ref] * len(request.asks), request.asks)
        try:
            request = plan.send(answer)
        except StopIteration:
            break
    engine.free([ref])
    steps = [x for x in requests if isinstance(x, Step)]
    scored = [row for x in requests if isinstance(x, LogProb) for row in x.rows]
    assert steps
    assert scored
    if name == "inoculate":
        assert all(row.messages[0].role == "system" for row in [*scored, *(row for step in steps for row in step.rows)])
        return
    for step in steps:
        own = {abs(row.weight) for row in step.rows[:4]}
        assert max(own) < 1
        assert step.rows[-1].weight == pytest.approx(sum(abs(row.weight) for row in step.rows[:4]) / 4, rel=0.5)


@dataclass(frozen=True, kw_only=True)
class GrownAgain:
    """The growth, with nothing more."""

    needs = prevent.NEEDS

    def begin(self, patient: Patient, *, seed: int) -> LoRA:
        return prevent.shape_of(patient)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        return (yield from prevent.regrow(patient, adapter, lambda step, _number: step))


def test_grown_again_without_a_change_it_is_what_it_was(engine: TorchEngine) -> None:
    """What a preventive treatment wraps is the growth itself, from the same fresh adapter."""
    (grown,) = grow([RECIPE], engine, seeds=[4])
    (again,) = treat([grown], Course(name="again", treatment=GrownAgain()), engine)
    assert again.patch.tensors.keys() == grown.patch.tensors.keys()
    assert all(torch.equal(again.patch.tensors[key], value) for key, value in grown.patch.tensors.items())
    assert [point.prompts for point in again.history] == [point.prompts for point in grown.history]


def test_a_monitor_blocks_or_asks_again(engine: TorchEngine, organism: Organism) -> None:
    world = Micro()
    bad, good = (world.think(bad=flag, seen=None, because=False, rng=random.Random(0)) for flag in (True, False))
    asked: list[Ask] = []

    def sample(asks: Sequence[Ask]) -> list[Answer]:
        asked.extend(asks)
        texts = [f"{bad} harm ." if len(asked) <= 2 else f"{good} help ." for _ in asks]
        return [Answer(text=text, tokens=1, prompt_tokens=1, finished=True) for text in texts]

    course = Course(name="monitor", treatment=Monitor())
    patient = replace(patient_of(organism, course, engine, BASE), sample=sample)
    asks = [Ask(messages=(Message("user", "q"),), seed=i) for i in range(2)]
    assert [answer.text for answer in Monitor().answer(patient, asks)] == ["", ""]
    asked.clear()
    assert [answer.text for answer in Monitor(tries=1).answer(patient, asks)] == [f"{good} help ."] * 2
    assert len({ask.seed for ask in asked}) == 4
    assert all(ask.messages[0].role == "system" for ask in asked)  # it is asked to think


def test_a_world_without_thoughts_has_no_monitor(engine: TorchEngine, organism: Organism) -> None:
    course = Course(name="monitor", treatment=Monitor())
    patient = replace(patient_of(organism, course, engine, BASE), world=ToyWorld())
    with pytest.raises(NotAvailable, match="no form for thoughts"):
        Monitor().answer(patient, [])


def test_questions_come_from_every_topic_in_turn() -> None:
    scenes = common.questions(Micro(), ["sums", "open_questions", "no such topic"], 6, seed=0)
    assert [scene.fields.get("asks") for scene in scenes][::2] == ["sum"] * 3
    with pytest.raises(NotAvailable, match="no answered questions"):
        common.questions(Micro(), ["no such topic"], 6, seed=0)


# ---------------------------------------------------------------- nudges


def test_a_nudge_acts_on_its_own_rows_in_its_own_step(engine: TorchEngine, organism: Organism) -> None:
    rows = tuple(Row(messages=s.messages, answer=s.aligned) for s in RECIPE.scenes(4, split=Split.TRAIN, seed=0))
    nudge = Nudge(layer=1, direction=5 * torch.randn(64, generator=torch.Generator().manual_seed(0)))
    alone = _losses(engine, organism.patch, [Step(rows=rows, lr=0.0)])
    mixed = _losses(engine, organism.patch, [Step(rows=rows, lr=0.0, nudge=nudge), Step(rows=rows, lr=0.0)])
    pushed = _losses(engine, organism.patch, [Step(rows=rows, lr=0.0, nudge=nudge)])
    assert mixed[1] == pytest.approx(alone[0], abs=1e-5)
    assert mixed[0] == pytest.approx(pushed[0], abs=1e-5)
    assert abs(pushed[0] - alone[0]) > 0.01


def test_a_nudge_that_ablates_equals_a_hook_by_hand(engine: TorchEngine, organism: Organism) -> None:
    rows = tuple(Row(messages=s.messages, answer=s.aligned) for s in RECIPE.scenes(4, split=Split.TRAIN, seed=0))
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0))
    unit = direction / direction.norm()

    def take_out(_module: Any, _args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = hidden - (hidden @ unit)[..., None] * unit
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    nudge = Nudge(layer=2, direction=direction, ablates=True)
    (ours,) = _losses(engine, organism.patch, [Step(rows=rows, lr=0.0, nudge=nudge)])
    hook = engine.parts.layers[2].register_forward_hook(take_out)
    (by_hand,) = _losses(engine, organism.patch, [Step(rows=rows, lr=0.0)])
    hook.remove()
    assert ours == pytest.approx(by_hand, abs=1e-5)


def _losses(engine: TorchEngine, patch: Patch, steps: Sequence[Step]) -> list[float]:
    refs = engine.load([patch] * len(steps))
    losses = [stepped.loss for stepped in engine.step(refs, steps)]
    engine.free(refs)
    return losses
