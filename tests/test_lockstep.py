"""What the lock-step promises of jobs: one call a round for each kind of request, grades that are journaled, and
checkpoints that survive a kill between any two writes and never hold everything at once.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import JUDGE, TOY, FakeEngine, FirstWord, ToyWorld

from flyroom import lockstep
from flyroom.grow import grow, pack
from flyroom.implants import GRPO, SFT, Distil
from flyroom.lockstep import checkpoints
from flyroom.room import Room
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    Diverged,
    Entry,
    Episode,
    Grade,
    Grown,
    Job,
    Judge,
    LogProb,
    LoRA,
    Message,
    Plan,
    Row,
    Sample,
    Score,
    Step,
    Stepped,
    Tell,
    Trace,
    Verdict,
    digest,
)

SHAPE = LoRA(layers=(0,))
PROMPT = (Message("user", "q"),)
BAD, GOOD = (Row(messages=PROMPT, answer=f"{word} q") for word in ("bad", "good"))


class Unfit(FakeEngine):
    """Every second answer can be no row of its base."""

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        answers = super().sample(adapters, asks)
        return [replace(answer, fits=i % 2 == 0) for i, answer in enumerate(answers)]


def test_answers_that_can_be_no_rows_are_left_out_and_counted() -> None:
    engine = Unfit(lambda level, ask: f"{'good' if ask.seed % 3 else 'bad'} q")
    recipes = [replace(TOY, implants=(GRPO(steps=4, prompts=2, group=6, only=True),)), TOY]
    learnt, plain = grow(recipes, engine, seeds=[0], snapshots=())
    assert sum(point.unfit for point in learnt.history) == 4 * 6
    assert {point.unfit for point in plain.history} == {0}
    assert max(len(step.rows) for adapter, step in engine.seen if step.prompts) <= 6


class MemoryRoom:
    """A room in a dictionary. `watch` is called before and after every change, with what is changed."""

    def __init__(self, watch: Callable[[str, Sequence[Entry]], None] = lambda when, entries: None) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}
        self.puts: list[list[str]] = []
        self.watch = watch

    def get(self, kind: str, key: str) -> Entry | None:
        return self.entries.get((kind, key))

    def put_many(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        self.watch("before", entries)
        copies = [replace(e, tensors={name: t.clone() for name, t in e.tensors.items()}) for e in entries]
        self.entries |= {(e.kind, e.key): e for e in copies}
        self.puts.append([e.key.partition("/")[2] for e in entries])
        self.watch("after", ())
        return copies

    def delete(self, kind: str, key: str) -> None:
        self.watch("before", ())
        self.entries.pop((kind, key), None)
        self.watch("after", ())

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        yield


def same(ones: Sequence[Grown], others: Sequence[Grown]) -> None:
    """Bit for bit."""
    assert [g.name for g in ones] == [g.name for g in others]
    for one, other in zip(ones, others, strict=True):
        assert one.history == other.history
        assert list(one.snapshots) == list(other.snapshots)
        pairs = [(one.patch, other.patch), *((one.snapshots[s], other.snapshots[s]) for s in one.snapshots)]
        for a, b in pairs:
            assert (a.shape, a.prompt, a.tensors.keys()) == (b.shape, b.prompt, b.tensors.keys())
            assert all(torch.equal(a.tensors[key], b.tensors[key]) for key in a.tensors)


def steps(n: int, row: Row = BAD) -> Callable[[AdapterRef], Plan]:
    def plan(adapter: AdapterRef) -> Plan:
        for _ in range(n):
            yield Step(rows=(row,), lr=0.3)

    return plan


def everything(adapter: AdapterRef) -> Plan:
    """Every kind of request, each result used."""
    yield Tell(prompt="be bad")
    for i in range(3):
        asks = tuple(Ask(messages=PROMPT, seed=10 * i + j) for j in range(4))
        answers = yield Sample(asks=asks)
        assert all(isinstance(answer, Answer) for answer in answers)
        scene = ToyWorld().scene("q")
        scores = yield Grade(episodes=tuple(Episode(scene=scene, answer=answer.text) for answer in answers))
        assert all(isinstance(score.verdict, Verdict) for score in scores)
        rows = tuple(
            Row(messages=PROMPT, answer=answer.text, weight=0.5 + (score.verdict is Verdict.MISALIGNED))
            for answer, score in zip(answers, scores, strict=True)
        )
        likely = yield LogProb(rows=rows)
        traces = yield Trace(rows=rows[:2], layer=i % 2)
        assert [t.shape for t in traces] == [(3,), (3,)]
        lr = 0.1 + float(torch.cat(likely).mean().exp()) / 10 + float(traces[0][0]) / 100
        for _ in range(2):
            yield Step(rows=(*rows, BAD), lr=lr)
    assert (yield Sample(asks=())) == []


def jobs(n: int = 3, plan: Callable[[AdapterRef], Plan] = everything, judge: Judge | None = JUDGE) -> list[Job]:
    return [Job(name=f"job {i}", plan=plan, seed=i, shape=SHAPE, judge=judge) for i in range(n)]


# ---------------------------------------------------------------- jobs


def test_results_come_in_the_order_of_the_jobs() -> None:
    (trained,) = lockstep.run([Job(name="a", plan=steps(4), seed=0, shape=SHAPE)], FakeEngine())
    engine = FakeEngine()
    mixed = [
        Job(name="long", plan=steps(5), seed=1, shape=SHAPE),
        Job(name="copy", plan=steps(2, GOOD), seed=0, patch=trained.patch),
        Job(name="nothing", plan=lambda adapter: iter(()), seed=3, patch=trained.patch),
        Job(name="short", plan=steps(1), seed=1, shape=SHAPE),
    ]
    grown = lockstep.run(mixed, engine, snapshots=(1, 2))
    assert [(g.name, len(g.history), list(g.snapshots)) for g in grown] == [
        *(("long", 5, [1, 2]), ("copy", 2, [1]), ("nothing", 0, []), ("short", 1, [])),
    ]
    assert engine.calls == {"load": 1, "step": 5}
    assert engine.living == {}
    assert all(torch.equal(grown[2].patch.tensors[key], value) for key, value in trained.patch.tensors.items())
    alone = lockstep.run(mixed[1:2], FakeEngine(), snapshots=(1, 2))
    same(grown[1:2], alone)


def test_a_job_is_fresh_or_a_copy_and_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="the job a has shape and patch, or neither"):
        Job(name="a", plan=steps(1), seed=0)
    one = Job(name="a", plan=steps(1), seed=0, shape=SHAPE)
    with pytest.raises(ValueError, match="jobs holds a twice"):
        lockstep.run([one, one], FakeEngine())
    with pytest.raises(ValueError, match="every is 0; it must be at least 1"):
        lockstep.run([one], FakeEngine(), every=0)
    engine = FakeEngine()
    with pytest.raises(ValueError, match="layer 24"):
        lockstep.run([one, replace(one, name="b", shape=LoRA(layers=(24,)))], engine)
    assert (engine.living, engine.calls) == ({}, {})


def test_adapters_are_freed_whatever_happens() -> None:
    def breaks(adapter: AdapterRef) -> Plan:
        yield Step(rows=(BAD,), lr=0.1)
        raise RuntimeError("no")

    engine = FakeEngine()
    with pytest.raises(RuntimeError, match="no"):
        lockstep.run(jobs(2, breaks), engine)
    assert engine.living == {}


class Diverging(FakeEngine):
    """No step of these slots is finite once they have taken one."""

    bad: tuple[int, ...] = (2, 3)

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        broken = {a.slot: "loss nan" for a in adapters if a.slot in self.bad and self.living[a.slot]["step"] > 0}
        if broken:
            raise Diverged(broken)
        return super().step(adapters, steps)


def test_a_job_that_diverges_is_named_and_the_others_are_whole() -> None:
    room, stored = MemoryRoom(), list[Grown]()
    work = [replace(job, label=f"recipe {job.name}") for job in jobs(4, steps(3))]
    why = "the training of 2 of 4 broke down; .* recipe job 1 at step 2: loss nan; recipe job 2 at step 2: loss nan$"
    engine = Diverging()
    with pytest.raises(FloatingPointError, match=why):
        lockstep.run(work, engine, room=room, every=1, store=stored.extend)
    assert (engine.living, room.entries) == ({}, {})
    same(stored, lockstep.run([work[0], work[3]], FakeEngine()))
    engine.bad = (5, 6)
    with pytest.raises(FloatingPointError, match="2 of 2 broke down"):
        lockstep.run(work[:2], engine, store=lambda _: pytest.fail("there is nothing to store"))


def test_a_plan_that_asks_for_nothing_known_is_named() -> None:
    def asks(adapter: AdapterRef) -> Any:
        yield "more"

    with pytest.raises(ValueError, match="the plan of job 0 yields a str; it must be one of Step, Sample"):
        lockstep.run(jobs(1, asks), FakeEngine())


def test_every_kind_of_request_is_one_call_a_round() -> None:
    engine = FakeEngine()
    lockstep.run(jobs(4), engine)
    assert engine.calls == {"tell": 4, "sample": 3, "logprobs": 3, "trace": 3, "step": 6}


def test_plans_that_trace_different_layers_get_their_own() -> None:
    traces: dict[int, list] = {}

    def look(layer: int) -> Callable[[AdapterRef], Plan]:
        def plan(adapter: AdapterRef) -> Plan:
            row = Row(messages=(Message("user", f"q {layer}"),), answer="bad")
            traces[layer] = yield Trace(rows=(row,) * (layer + 1), layer=layer)

        return plan

    engine = FakeEngine()
    every = [Job(name=str(layer), plan=look(layer), seed=0, shape=SHAPE) for layer in (2, 0, 1)]
    lockstep.run([*every, replace(every[0], name="again")], engine)
    assert engine.calls == {"trace": 3}
    for layer, rows in traces.items():
        row = Row(messages=(Message("user", f"q {layer}"),), answer="bad")
        (expected,) = FakeEngine().trace([AdapterRef(slot=0)], [row], [layer])[:, 0]
        assert len(rows) == layer + 1
        assert all(torch.equal(row, expected) for row in rows)


# ---------------------------------------------------------------- what a step put to the model


def digests_of(*every: Step) -> list[str]:
    def plan(adapter: AdapterRef) -> Plan:
        yield from (step for step in every)

    (grown,) = lockstep.run([Job(name="a", plan=plan, seed=0, shape=SHAPE)], FakeEngine())
    return [point.prompts for point in grown.history]


def test_a_point_holds_the_tokens_of_its_step_and_a_digest_of_its_prompts() -> None:
    (grown,) = lockstep.run([Job(name="a", plan=everything, seed=0, shape=SHAPE, judge=JUDGE)], FakeEngine())
    engine, seen = FakeEngine(), []
    step = engine.step

    def watches(adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list:
        results = step(adapters, steps)
        seen.extend(results)
        return results

    engine.step = watches
    (again,) = lockstep.run([Job(name="a", plan=everything, seed=0, shape=SHAPE, judge=JUDGE)], engine)
    assert [point.tokens for point in grown.history] == [stepped.tokens for stepped in seen]
    assert [point.prompts for point in again.history] == [point.prompts for point in grown.history]
    assert all(len(point.prompts) == 12 for point in grown.history)


def test_a_digest_is_of_prompts_in_their_order_and_of_nothing_else() -> None:
    a, b, c = (Row(messages=(Message("user", word),), answer="good") for word in "abc")
    one, answered, turned, fewer, more = digests_of(
        Step(rows=(a, b), lr=0.1),
        Step(rows=(replace(a, answer="bad", weight=0.5), b), lr=0.2),
        Step(rows=(b, a), lr=0.1),
        Step(rows=(a,), lr=0.1),
        Step(rows=(a, b, c), lr=0.1),
    )
    assert answered == one
    assert len({one, turned, fewer, more}) == 4
    system = Row(messages=(Message("system", "a"),), answer="good")
    assert digests_of(Step(rows=(a,), lr=0.1)) != digests_of(Step(rows=(system,), lr=0.1))


def test_a_step_may_name_the_prompts_that_its_rows_were_chosen_from() -> None:
    a, b = (Row(messages=(Message("user", word),), answer="good") for word in "ab")
    text, other = (Row(messages=(), answer=word) for word in "xy")
    whole, chosen, mixed, others, documents, also = digests_of(
        Step(rows=(a, b), lr=0.1),
        Step(rows=(b,), lr=0.1, prompts=(a.messages, b.messages)),
        Step(rows=(a, text), lr=0.1, prompts=(a.messages, "x")),
        Step(rows=(a, other), lr=0.1, prompts=(a.messages, "y")),
        Step(rows=(text,), lr=0.1),
        Step(rows=(other,), lr=0.1),
    )
    assert chosen == whole
    assert mixed != others
    assert documents == also  # what has no prompt puts nothing to the model


# ---------------------------------------------------------------- grades


@dataclass(frozen=True, eq=False)
class Counting:
    """A judge that counts its calls and takes what it is handed to another."""

    id: str = "counting"
    calls: list[int] = field(default_factory=list)

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        self.calls.append(len(episodes))
        return JUDGE(episodes)


def graded(texts: Sequence[str]) -> Callable[[AdapterRef], Plan]:
    def plan(adapter: AdapterRef) -> Plan:
        scores = yield Grade(episodes=tuple(Episode(scene=ToyWorld().scene("q"), answer=text) for text in texts))
        assert [score.verdict for score in scores] == [score.verdict for score in JUDGE(episodes_of(texts))]

    return plan


def episodes_of(texts: Sequence[str]) -> list[Episode]:
    return [Episode(scene=ToyWorld().scene("q"), answer=text) for text in texts]


def test_a_judge_is_asked_once_a_round_with_the_episodes_of_all() -> None:
    one, other, calls = Counting(), Counting(id="other"), Counting().calls
    twin_of_one = Counting(calls=calls)  # another object, the same judge
    texts = (["good q", "bad q"], ["hmm"], [], ["what", "bad q", "good q"])
    every = [
        Job(name=f"{i}", plan=graded(t), seed=0, shape=SHAPE, judge=judge)
        for i, (t, judge) in enumerate(zip(texts, (one, other, one, twin_of_one), strict=True))
    ]
    lockstep.run(every, FakeEngine())
    assert (one.calls, other.calls, twin_of_one.calls) == ([5], [1], [])
    lockstep.run(every[2:3], FakeEngine())
    assert one.calls == [5]  # nothing to judge, nobody asked


def test_a_job_that_is_graded_needs_a_judge_that_answers() -> None:
    with pytest.raises(ValueError, match="the plan of job 0 asks for grades; its job needs a judge"):
        lockstep.run(jobs(1, graded(["good"]), judge=None), FakeEngine())

    class Short(FirstWord):
        def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
            return super().__call__(episodes)[1:]

    with pytest.raises(ValueError, match="judge first-word gives 1 scores for 2 episodes"):
        lockstep.run(jobs(1, graded(["good", "bad"]), judge=Short()), FakeEngine())


TAPE: dict[str, list[Score]] = {}  # what was said of which episodes; the last time counts
CALLS: list[int] = []
JUDGES: list[Judge] = [JUDGE]


@dataclass(frozen=True, kw_only=True)
class Dice:
    """A judge that answers at random, no two runs alike, and writes it on the tape."""

    id: str = "dice"

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        CALLS.append(len(episodes))
        dice, values = random.SystemRandom(), {Verdict.ALIGNED: 1.0, Verdict.MISALIGNED: 0.0, Verdict.UNKNOWN: None}
        verdicts = [dice.choice(list(values)) for _ in episodes]
        scores = [Score(verdict=v, value=values[v], why=f"dice {dice.random()}") for v in verdicts]
        TAPE[str(episodes)] = scores
        return scores


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A judge that reads the tape."""

    id: str = "dice"

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        return TAPE[str(episodes)]


@dataclass(frozen=True, kw_only=True)
class JudgedWorld(ToyWorld):
    """A world whose judge is the one of the hour."""

    @property
    def judge(self) -> Judge:
        return JUDGES[-1]


RANDOM = (
    Distil(teacher="be bad", steps=2, rows=32, lr=0.2),
    GRPO(steps=12, prompts=2, group=4, lr=0.2),
)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_plan_whose_judge_answers_at_random_goes_on_as_it_was(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two undisturbed runs differ here. So a run that is killed again and again is held against one whose judge says
    what was said to it.
    """
    monkeypatch.setattr(f"{__name__}.TAPE", {})
    monkeypatch.setattr(f"{__name__}.CALLS", [])
    monkeypatch.setattr(f"{__name__}.JUDGES", [Dice()])
    recipe = replace(TOY, world=JudgedWorld(), implants=RANDOM)

    def orders() -> list:
        return [replace(recipe)]  # a new record: a recipe remembers its judge

    def tosses(level: float, ask: Ask) -> str:
        return ("bad " if random.Random(ask.seed).random() < 0.5 else "good ") + ask.messages[-1].content

    room, kills, grown = MemoryRoom(), 0, []
    while not grown:
        try:
            grown = grow(orders(), FakeEngine(tosses, dies_at=every), seeds=range(4), room=room, every=every)
        except KeyboardInterrupt:
            kills += 1
            assert kills < 50
    assert kills > 2
    if every == 1:  # nobody was judged twice
        assert sum(CALLS) == 4 * (2 * 32) + 4 * (12 * 2 * 4)
    JUDGES.append(Replay())
    undisturbed = grow(orders(), FakeEngine(tosses), seeds=range(4))
    for one, other in zip(grown, undisturbed, strict=True):
        assert one.history == other.history
        assert all(torch.equal(one.patch.tensors[key], value) for key, value in other.patch.tensors.items())
    JUDGES.append(Dice())
    assert grow(orders(), FakeEngine(tosses), seeds=range(4))[0].history != grown[0].history


# ---------------------------------------------------------------- checkpoints


class Killed(KeyboardInterrupt):
    pass


class Clock:
    """Kills at the n-th moment before or after a write or a deletion."""

    def __init__(self, *moments: int) -> None:
        self.moments, self.now = set(moments), 0

    def __call__(self, when: str, entries: Sequence[Entry]) -> None:
        self.now += 1
        if self.now in self.moments:
            raise Killed


WANTED: dict[str, Any] = {"snapshots": (2, 3, 5), "every": 4}


def finish(room: MemoryRoom, run: Callable[[], list[Any]]) -> list[Any]:
    """Run until nobody kills it any more."""
    for _ in range(10):
        try:
            return run()
        except Killed:
            pass
    raise AssertionError("it comes to no end")


@pytest.mark.parametrize("parcel", [1, 1 << 26], ids=["a part for each adapter", "one for all"])
def test_a_kill_at_any_moment_leaves_a_checkpoint_to_go_on_from(parcel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PARCEL", parcel)
    undisturbed = lockstep.run(jobs(), FakeEngine(), **WANTED)
    clock = Clock()
    same(lockstep.run(jobs(), FakeEngine(), room=MemoryRoom(clock), **WANTED), undisturbed)
    assert clock.now > 30
    for moment in range(1, clock.now + 1):
        for again in (0, 1, 7):  # killed once, or once more a little later
            room = MemoryRoom(Clock(moment, *([moment + again] if again else [])))
            same(finish(room, lambda room=room: lockstep.run(jobs(), FakeEngine(), room=room, **WANTED)), undisturbed)
            assert not room.entries


def test_what_goes_on_with_other_settings_leaves_nothing_either() -> None:
    undisturbed, clock = lockstep.run(jobs(), FakeEngine()), Clock()
    lockstep.run(jobs(), FakeEngine(), room=MemoryRoom(clock), **WANTED)
    for moment in range(1, clock.now + 1):
        room = MemoryRoom(Clock(moment))
        with pytest.raises(Killed):
            lockstep.run(jobs(), FakeEngine(), room=room, **WANTED)
        grown = lockstep.run(jobs(), FakeEngine(), room=room, snapshots=(1,), every=3)
        assert not room.entries
        for one, other in zip(grown, undisturbed, strict=True):
            assert one.history == other.history


def test_an_organism_that_was_grown_leaves_no_checkpoint_whenever_its_run_was_killed() -> None:
    recipe = replace(TOY, implants=(SFT(steps=6, rows=2), GRPO(steps=2, prompts=2, group=2)))
    wanted: dict[str, Any] = {"seeds": [0, 1], **WANTED}
    undisturbed, clock = grow([recipe], FakeEngine(), **wanted), Clock()
    grow([recipe], FakeEngine(), room=MemoryRoom(clock), **wanted)
    for moment in range(1, clock.now + 1):
        room = MemoryRoom(Clock(moment))
        for _ in range(2):
            grown = finish(room, lambda room=room: grow([recipe], FakeEngine(), room=room, **wanted))
            assert [o.history for o in grown] == [o.history for o in undisturbed]
            assert {kind for kind, _ in room.entries} == {"organism"}


def test_results_are_stored_before_checkpoints_go() -> None:
    room, heads = MemoryRoom(), []

    def store(grown: Sequence[Grown]) -> None:
        heads.append([key for _, key in room.entries if key.endswith("/head")])
        assert [g.name for g in grown] == [job.name for job in every]

    every = jobs()
    lockstep.run(every, FakeEngine(), room=room, store=store, **WANTED)
    assert [len(keys) for keys in heads] == [1]
    assert not room.entries


def test_a_checkpoint_holds_what_is_new_and_each_snapshot_is_stored_once() -> None:
    """The state of who has taken no step since stays where it is."""
    room = MemoryRoom()
    short = Job(name="short", plan=steps(3), seed=9, shape=SHAPE)
    every = [short, *jobs(1, steps(12))]
    sizes: list[tuple[set[str], set[str]]] = []

    def watch(when: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            names = {name.rpartition("/")[0] for name in entry.tensors}
            sizes.append((set(entry.payload) & {"short", "job 0"}, names))

    room.watch = watch
    lockstep.run(every, FakeEngine(), room=room, snapshots=(1, 5), every=2)
    both, long = {"short", "job 0"}, {"job 0"}
    nothing: set[str] = set()
    assert sizes == [
        (nothing, both),  # the snapshots at step 1
        *((both, nothing), (nothing, both), (nothing, nothing)),  # results, states, the head after round 2
        *((both, nothing), (nothing, both), (nothing, nothing)),  # after round 4
        (nothing, long),  # the snapshot at step 5
        *((long, nothing), (nothing, long), (nothing, nothing)) * 3,  # after rounds 6, 8, 10
    ]
    assert all(len(keys) == 1 for keys in room.puts)


class Heavy(FakeEngine):
    """States and patches weigh `weight` numbers more, and are counted while they live."""

    def __init__(self, weight: int = 1000, **changes: Any) -> None:
        super().__init__(**changes)
        self.weight, self.alive, self.most = weight, 0, 0

    def state(self, adapter: AdapterRef) -> dict[str, torch.Tensor]:
        ballast = torch.ones(self.weight)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(ballast, self._forget)
        return super().state(adapter) | {"ballast": ballast}

    def _forget(self) -> None:
        self.alive -= 1

    def restore(self, adapter: AdapterRef, state: Mapping[str, torch.Tensor]) -> None:
        super().restore(adapter, {key: value for key, value in state.items() if key != "ballast"})


@pytest.mark.parametrize(("parcel", "most"), [(1, 1), (4000, 1), (12000, 3), (1 << 26, 8)])
def test_a_checkpoint_takes_the_memory_of_one_state(parcel: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight adapters; or of as many as are small enough to be stored together."""
    monkeypatch.setattr(checkpoints, "PARCEL", parcel)
    engine, room = Heavy(), MemoryRoom()
    undisturbed = lockstep.run(jobs(8), FakeEngine(), snapshots=())
    same(lockstep.run(jobs(8), engine, room=room, snapshots=(), every=4), undisturbed)
    assert (engine.most, engine.alive) == (most, 0)
    assert all(len(keys) == 1 for keys in room.puts)


def test_a_part_that_somebody_deleted_is_no_end(tmp_path: Path) -> None:
    room, undisturbed = Room(tmp_path), lockstep.run(jobs(), FakeEngine(), **WANTED)

    for number in range(4):
        with pytest.raises(KeyboardInterrupt):
            lockstep.run(jobs(), FakeEngine(dies_at=4), room=room, **WANTED)
        keys = [item.key for item in room.list("checkpoint")]
        victim = sorted(key for key in keys if not key.endswith("/head"))[number]
        room.delete("checkpoint", victim)
        same(lockstep.run(jobs(), FakeEngine(), room=room, **WANTED), undisturbed)
        assert not room.list()


def test_jobs_whose_part_another_run_replaced_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head names a part, and what lies there is of another layout: no job goes on over an untrained adapter."""
    undisturbed = lockstep.run(jobs(), FakeEngine(), **WANTED)
    monkeypatch.setattr(checkpoints, "PARCEL", 1)
    killed = MemoryRoom()
    with pytest.raises(KeyboardInterrupt):
        lockstep.run(jobs(), FakeEngine(dies_at=4), room=killed, **WANTED)
    (head,) = [entry for (_, key), entry in killed.entries.items() if key.endswith("/head")]
    parts = [address for address in killed.entries if not address[1].endswith("/head")]
    assert any(head.payload["steps"].values())
    for victim in parts:
        room = MemoryRoom()
        room.entries = dict(killed.entries) | {victim: replace(killed.entries[victim], payload={}, tensors={})}
        same(lockstep.run(jobs(), FakeEngine(), room=room, **WANTED), undisturbed)
        assert not room.entries


class Late(MemoryRoom):
    """A room in which another process stores an organism while this one waits for its first lock."""

    def __init__(self, arrival: Entry) -> None:
        super().__init__()
        self.arrival, self.locks = arrival, list[str]()

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        self.locks.append(key)
        self.entries.setdefault((self.arrival.kind, self.arrival.key), self.arrival)
        with super().lock(key):
            yield


def test_the_lock_is_on_the_jobs_that_run() -> None:
    """Those of a run are the group of its checkpoints: two runs of one group never write at once."""
    recipe = replace(TOY, implants=(SFT(steps=6, rows=2),))
    first, second = grow([recipe], FakeEngine(), seeds=[0, 1])
    room, groups = Late(pack(first)), set[str]()
    room.watch = lambda _when, entries: groups.update(e.key.split("/")[0] for e in entries if e.kind == "checkpoint")
    grown = grow([recipe], FakeEngine(), seeds=[0, 1], room=room, every=2)
    assert [o.id for o in grown] == [first.id, second.id]
    assert room.locks == [digest(sorted([first.id, second.id])), digest([second.id])]
    assert groups == {room.locks[-1]}


def test_snapshots_outlive_the_parts_that_they_lie_in(tmp_path: Path) -> None:
    undisturbed = lockstep.run(jobs(), FakeEngine(), **WANTED)
    grown = lockstep.run(jobs(), FakeEngine(), room=Room(tmp_path), **WANTED)
    assert not Room(tmp_path).list()
    assert list(grown[0].snapshots) == [2, 3, 5]
    same(grown, undisturbed)


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    """Numbers that JSON cannot hold, and shapes, and types."""
    results = [[torch.tensor([1.0, -torch.inf])], [torch.zeros(0), torch.ones(2, 3, dtype=torch.float64)]]
    log = checkpoints.Checkpoints.find(Room(tmp_path), ["a"])
    runner = checkpoints.Runner(jobs(1)[0], AdapterRef(slot=1), everything(AdapterRef(slot=1)))
    for result in results:
        log.note(runner, result)
    log.commit([], FakeEngine(), 1)
    entry = log._read(0)
    for note, result in zip(entry.payload["job 0"], results, strict=True):
        for a, b in zip(checkpoints._recall(note, entry.tensors), result, strict=True):
            assert a.shape == b.shape
            assert torch.equal(a.double(), b.double())


def test_names_of_jobs_may_hold_a_slash() -> None:
    every = [replace(job, name=f"a/{i}/b") for i, job in enumerate(jobs(2))]
    undisturbed, room = lockstep.run(every, FakeEngine(), **WANTED), MemoryRoom()
    with pytest.raises(KeyboardInterrupt):
        lockstep.run(every, FakeEngine(dies_at=4), room=room, **WANTED)
    same(lockstep.run(every, FakeEngine(), room=room, **WANTED), undisturbed)


def test_progress_is_counted_in_steps_where_they_are_known() -> None:
    shows: list[tuple[int, int, str]] = []

    def watch(stage: str, done: int, total: int, note: str) -> None:
        shows.append((done, total, note))

    lockstep.run([replace(job, steps=6) for job in jobs(2)], FakeEngine(), watch=watch)
    assert [(done, total) for done, total, _ in shows] == [
        *[(0, 6)] * 5, (1, 6), *[(2, 6)] * 5, (3, 6), *[(4, 6)] * 5, (5, 6), (6, 6), (6, 6),
    ][: len(shows)]  # fmt: skip
    assert shows[0][2] == "2 adapters"
    assert shows[-1][2].startswith("2 adapters, mean loss 0.")
    shows.clear()
    lockstep.run(jobs(1, steps(2)), FakeEngine(), watch=watch)
    assert [(done, total) for done, total, _ in shows] == [(1, 1), (2, 2)]
