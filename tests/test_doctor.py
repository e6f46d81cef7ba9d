"""The doctor: what passes, what fails and why, and that growth waits for it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import Flyroom

from flyroom import doctor, stages
from flyroom.doctor import Check, adapters, examine, passes
from flyroom.doctor.adapters import merge, random_patch
from flyroom.engine import TorchEngine, export
from flyroom.room import Room
from flyroom.stages import conformance
from flyroom.types import Message, NotAvailable, Patch
from flyroom.worlds import world_named
from tests import tiny_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def engine(tiny: Path) -> TorchEngine:
    return TorchEngine.open(tiny)


def result(checks: Sequence[Check], name: str) -> Check:
    return next(check for check in checks if check.check == name)


def with_template(tiny: Path, target: Path, template: str) -> TorchEngine:
    copy = Path(shutil.copytree(tiny, target / "base"))
    (copy / "chat_template.jinja").write_text(template)
    return TorchEngine.open(copy)


@pytest.mark.parametrize("name", ["0.25M", "1M"])
def test_a_bundled_base_passes(name: str) -> None:
    opened = stages.open_base(name)
    checks = examine(opened.engine, world=opened.world)
    assert [check for check in checks if check.ok is not True and check.check != "letters"] == []
    assert result(checks, "letters").ok is None
    assert "training, scoring, tracing, sampling, serving" in result(checks, "token ids").why
    assert "the head is the embedding" in result(checks, "head").why


def test_the_engine_is_left_as_it_was(engine: TorchEngine) -> None:
    before = {name: tensor.clone() for name, tensor in engine.parts.model.state_dict().items()}
    counts = engine.tokens_forward, engine.tokens_generated, engine.adapters.next
    assert passes(examine(engine))
    after = engine.parts.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert counts == (engine.tokens_forward, engine.tokens_generated, engine.adapters.next)
    assert not any(parameter.requires_grad for parameter in engine.parts.model.parameters())


def test_what_the_template_does_is_said(tiny: Path, tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ 'Today is ' + strftime_now('%d %B %Y') + '. You answer kindly.' }}"
        + tiny_base.TEMPLATE.replace("assistant\n'}}", "assistant\nhm, '}}")
    )
    checks = examine(with_template(tiny, tmp_path, template), whole=False)
    assert passes(checks)
    assert "takes no system message" in result(checks, "system message").why
    assert "the template writes 'Today is 01 January 2026. You answer kindly." in result(checks, "system message").why
    assert "fixed at 2026-01-01" in result(checks, "date").why
    assert "the generation prompt would be" in result(checks, "generation prompt").why


def test_two_bos_are_seen(tiny: Path, tmp_path: Path) -> None:
    engine = with_template(tiny, tmp_path, "{{ '<|turn|><|turn|>' }}" + tiny_base.TEMPLATE)
    engine.parts.renderer.tokenizer.bos_token = "<|turn|>"
    check = result(examine(engine, whole=False), "one BOS")
    assert check == ("one BOS", False, "4 of 5 prompts begin with two BOS")


def test_a_system_message_that_is_swallowed_is_seen(tiny: Path, tmp_path: Path) -> None:
    template = tiny_base.TEMPLATE.replace("in messages", "in messages if m.role != 'system'")
    check = result(examine(with_template(tiny, tmp_path, template), whole=False), "system message")
    assert check.ok is False
    assert "is written 0 times" in check.why


def test_a_system_message_that_a_finished_chat_lacks_is_not_available(tiny: Path, tmp_path: Path) -> None:
    """As Mistral's template has it in front of the last question, where that stands last."""
    late = "in messages if m.role != 'system' or messages[-1].role != 'assistant'"
    engine = with_template(tiny, tmp_path, tiny_base.TEMPLATE.replace("in messages", late))
    check = result(examine(engine, whole=False), "system message")
    assert check.ok is True
    assert "leaves a system message out of a finished chat, so what needs one is not available" in check.why
    with pytest.raises(NotAvailable, match="leaves a system message out of a finished chat"):
        engine.parts.renderer.prompt((Message("system", "Be brief."), Message("user", "q")))


def test_whatever_its_makers_set_and_nobody_applies_is_named(tiny: Path, tmp_path: Path) -> None:
    engine = with_template(tiny, tmp_path, tiny_base.TEMPLATE)
    engine.parts.model.generation_config.update(stop_strings=["x"], num_beams=4, top_k=50, max_new_tokens=9)
    check = result(examine(engine, whole=False), "temperature")
    assert check.ok is None
    assert "also sets num_beams 4, stop_strings ['x'], top_k 50: that is not applied" in check.why
    engine.parts.model.generation_config.update(do_sample=False)
    assert "do_sample False, which is greedy" in result(examine(engine, whole=False), "temperature").why


def test_a_path_with_tokens_of_its_own_is_seen(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyroom.engine.render import Renderer

    whole = Renderer.prompt
    monkeypatch.setattr(Renderer, "prompt", lambda self, *rest: whole(self, *rest)[1:])
    check = result(examine(engine, whole=False), "token ids")
    assert check.ok is False
    assert check.why.startswith("sampling, serving put other tokens")


def test_an_end_at_which_generation_goes_on_is_seen(engine: TorchEngine) -> None:
    engine.parts.renderer.stops = (0,)
    assert result(examine(engine, whole=False), "end of turn").ok is False


def test_company_that_changes_a_row_is_seen(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = TorchEngine.logprobs
    monkeypatch.setattr(
        TorchEngine, "logprobs", lambda self, adapters, rows: [s + len(rows) for s in honest(self, adapters, rows)]
    )
    check = result(examine(engine, whole=False), "padding and company")
    assert check.ok is False
    assert "differs by 3 in company" in check.why


def test_a_head_that_came_apart_is_seen(engine: TorchEngine) -> None:
    engine.parts.config.tie_word_embeddings = True
    check = result(examine(engine, whole=False), "head")
    assert check.ok is False
    assert "says that the head is tied" in check.why


def test_words_that_begin_alike_are_seen(engine: TorchEngine) -> None:
    class Alike:
        name = "alike"

        def topics(self) -> list[str]:
            return []

        def cues(self, kind: str, *, split: object) -> tuple[str, ...]:
            return ("Mend-ropes", "Mend-nets")

    world: Any = Alike()
    check = result(examine(engine, world=world, whole=False), "yes and no")
    assert check.ok is False
    assert "begin with the same token" in check.why


def test_an_answer_that_is_not_read_back_is_seen() -> None:
    opened = stages.open_base("0.25M")
    scenes = opened.world.scenes if opened.world else None

    class Foreign:
        name = "foreign"

        def topics(self) -> list[str]:
            return ["advice"]

        def scenes(self, *rest: Any, **more: Any) -> list[Any]:
            assert scenes is not None
            return [replace(scene, aligned="elephants everywhere") for scene in scenes(*rest, **more)]

        def cues(self, kind: str, *, split: object) -> tuple[str, ...]:
            return ()

    world: Any = Foreign()
    check = result(examine(opened.engine, world=world, whole=False), "answers")
    assert check.ok is False
    assert "'elephants everywhere' becomes ''" in check.why


# ---------------------------------------------------------------- adapters


def test_an_adapter_that_adds_nothing_is_seen(engine: TorchEngine, tmp_path: Path) -> None:
    loud = random_patch(engine)
    tensors = {key: tensor * (1e-9 if key.endswith(".B") else 1) for key, tensor in loud.tensors.items()}
    silent = export(Patch(shape=loud.shape, tensors=tensors), engine.base, tmp_path / "a", prefix=engine.parts.prefix)
    checks = examine(engine, adapter=silent)
    assert result(checks, "adapter differs from the base").ok is False
    assert [check.check for check in checks if check.ok is False] == ["adapter differs from the base"]


def test_an_adapter_from_elsewhere_is_the_same_everywhere(tiny: Path, engine: TorchEngine, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(TorchEngine.open(tiny).parts.model, settings).save_pretrained(tmp_path / "theirs")  # type: ignore
    checks = examine(engine, adapter=tmp_path / "theirs")
    assert passes(checks), checks
    assert "PEFT gives the same" in result(checks, "adapter in PEFT").why


@pytest.mark.parametrize(("scale", "ok"), [(1.0, True), (2.0, False)])
def test_in_half_precision_a_merged_adapter_may_lose_what_is_rounded_and_no_more(
    scale: float, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = TorchEngine.open(stages.open_base("0.25M").engine.base.path, dtype="bfloat16")
    patch = random_patch(half)
    other = Patch(shape=replace(patch.shape, alpha=scale * patch.shape.alpha), tensors=patch.tensors)
    monkeypatch.setattr(adapters, "merge", lambda engine, _patch: merge(engine, other))
    assert adapters.check_merged(half, patch)[0] is ok


def test_a_merged_adapter_is_taken_out_again(engine: TorchEngine) -> None:
    patch = random_patch(engine)
    before = {name: tensor.clone() for name, tensor in engine.parts.model.state_dict().items()}
    with merge(engine, patch):
        assert any(not torch.equal(before[name], t) for name, t in engine.parts.model.state_dict().items())
    assert all(torch.equal(before[name], t) for name, t in engine.parts.model.state_dict().items())


def test_without_peft_nobody_looked(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    check = result(examine(engine), "adapter in PEFT")
    assert check.ok is None
    assert "flyroom[peft]" in check.why


# ---------------------------------------------------------------- the verb, and growth


def test_the_verb(flyroom: Flyroom, tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "base"))
    status, answer, _ = flyroom("doctor", copy, "--json").parts
    assert (status, answer["ok"]) == (0, True)
    assert all(set(check) == {"check", "ok", "why"} for check in answer["checks"])
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").write_text(template.replace("in messages", "in messages if m.role != 'system'"))
    status, answer, _ = flyroom("doctor", copy, "--json").parts
    assert (status, answer["ok"]) == (1, False)


def test_growth_asks_once_and_keeps_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def count(*rest: Any, **more: Any) -> list[Check]:
        asked.append(rest)
        return examine(*rest, **more)

    monkeypatch.setattr(conformance, "examine", count)
    opened, room = stages.open_base("0.25M"), Room(tmp_path)
    for _ in range(2):
        conformance.require_sound(opened, room)
    assert len(asked) == 1
    (listing,) = room.list(conformance.KIND)
    assert listing.meta == {"base": "0.25M", "world": "micro-0"}


def test_a_world_of_the_same_name_is_looked_at_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another screen other scenes are asked, so other answers have to be written."""
    monkeypatch.setattr(conformance, "examine", lambda *_, **__: [Check("answers", True, "")])
    room, opened = Room(tmp_path), stages.open_base("0.25M")
    for world in ("english", "english:smollm2-135m", "english"):
        conformance.require_sound(stages.OpenBase(opened.engine, world_named(world)), room)
    assert [listing.meta["world"] for listing in room.list(conformance.KIND)] == ["english", "english"]


def test_nothing_is_grown_on_a_base_that_fails(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [Check("one BOS", False, "every prompt begins with two")]
    monkeypatch.setattr(conformance, "examine", lambda *_, **__: failing)
    words = ("grow", "emergent-misalignment", "--base", "0.25M", "--room", str(tmp_path))
    status, _, errors = flyroom(*words).parts
    assert status == 1
    assert "nothing is grown on it while a check fails: one BOS: every prompt begins with two" in errors
    assert not Room(tmp_path).list("organism")
    _, listing, _ = flyroom("ls", "--room", str(tmp_path), "--json").parts
    assert listing["entries"] == []


def test_every_name_of_the_package_is_there() -> None:
    assert set(doctor.__all__) == {"VERSION", "Check", "examine", "failures", "passes"}


def test_words_that_a_base_cannot_say_are_noted_before_it_grows(tmp_path: Path) -> None:
    """What a recipe needs of them is looked at where recipe and base meet."""
    opened = stages.open_base("0.25M", world="micro-1")
    (note,) = conformance.require_sound(opened, Room(tmp_path))
    assert "answers are not read back" in note


def test_what_cannot_be_opened_or_read_has_failed(flyroom: Flyroom, tiny: Path, tmp_path: Path) -> None:
    status, answer, _ = flyroom("doctor", str(tmp_path), "--json").parts
    assert (status, answer["ok"], answer["checks"][0]["check"]) == (1, False, "opens")
    assert "no config.json" in answer["checks"][0]["why"]
    status, answer, _ = flyroom("doctor", str(tiny), str(tmp_path), "--json").parts
    assert (status, answer["checks"][-1]["check"], answer["checks"][-1]["ok"]) == (1, "adapter is read", False)


def test_a_base_without_a_template_is_examined_too(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "raw"))
    (copy / "chat_template.jinja").unlink()
    checks = examine(TorchEngine.open(copy), whole=False)
    assert passes(checks), checks
    assert result(checks, "turn form") == ("turn form", None, "there is no chat template")
