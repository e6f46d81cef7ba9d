"""A base's identity covers everything that changes its answers; what cannot be opened faithfully is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flyroom.engine import TorchEngine, bases
from flyroom.types import BASE, Ask, Message
from tests import tiny_base


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def add_to_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


CHANGES = {
    "weights": add_to_weights,
    "a second file of weights": lambda f: save_file({"x": torch.ones(1)}, f / "more.safetensors"),
    "weights in a pickle": lambda f: torch.save({"x": torch.ones(1)}, f / "pytorch_model.bin"),
    "the index of weights": lambda f: (f / "model.safetensors.index.json").write_text("{}"),
    "configuration": lambda f: change(f / "config.json", rms_norm_eps=0.5),
    "stop tokens": lambda f: change(f / "generation_config.json", eos_token_id=[1, 2, 3]),
    "tokenizer": lambda f: change(f / "tokenizer.json", truncation=None, version="1.1"),
    "the tokenizer's settings": lambda f: change(f / "tokenizer_config.json", model_max_length=9),
    "template": lambda f: (f / "chat_template.jinja").write_text(tiny_base.TEMPLATE + " "),
    "a template in the settings": lambda f: change(f / "tokenizer_config.json", chat_template="x"),
    "one more template": lambda f: [
        (f / "additional_chat_templates").mkdir(),
        (f / "additional_chat_templates" / "tools.jinja").write_text("x"),
    ],
    "an adapter beside it": lambda f: (f / "adapter_config.json").write_text("{}"),
    "a sentencepiece model": lambda f: (f / "tokenizer.model").write_bytes(b"x"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_answers_changes_the_identity(what: str, tiny: Path, copy: Path) -> None:
    assert bases.identity(copy, {}) == bases.identity(tiny, {})
    CHANGES[what](copy)
    assert bases.identity(copy, {}) != bases.identity(tiny, {})


@pytest.mark.parametrize(
    ("has", "large", "stored", "kind"),
    [
        (True, True, "bfloat16", torch.bfloat16),
        (False, True, "bfloat16", torch.float32),
        (True, False, "bfloat16", torch.float32),
        (True, True, "float32", torch.float32),
    ],
)
def test_a_cpu_takes_bfloat16_where_it_is_stored_large_and_multiplied(
    has: bool, large: bool, stored: str, kind: torch.dtype, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has})
    monkeypatch.setattr(bases, "LARGE", 1 if large else 10**9)
    change(copy / "config.json", dtype=stored)
    base = bases.load_base(copy, device="cpu")
    assert next(base.model.parameters()).dtype is kind


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [({}, 1.0), ({"temperature": 0.5, "do_sample": True}, 0.5), ({"temperature": 0.5, "do_sample": False}, 1.0)],
)
def test_an_ask_that_names_no_temperature_has_the_bases(settings: Any, temperature: float, copy: Path) -> None:
    change(copy / "generation_config.json", **settings)
    engine = TorchEngine.open(copy, device="cpu")
    [own, same, greedy] = [
        Ask(messages=(Message("user", "a b"),), seed=3, max_tokens=24, temperature=value)
        for value in (None, temperature, 0.0)
    ]
    answers = engine.sample([BASE] * 3, [own, same, greedy])
    assert answers[0].text == answers[1].text != answers[2].text


@pytest.mark.parametrize("temperature", ["hot", -1, 0, True, 1e9, [0.5]])
def test_what_is_no_temperature_is_refused_by_name(temperature: object, copy: Path) -> None:
    change(copy / "generation_config.json", temperature=temperature, do_sample=True)
    with pytest.raises(ValueError, match=r"base is .*temperature"):
        TorchEngine.open(copy, device="cpu")


@pytest.mark.parametrize("stop", ["2", [1, "2"], -1, True, [[1]], 1.5])
def test_what_is_no_token_to_stop_at_is_refused_by_name(stop: object, copy: Path) -> None:
    change(copy / "generation_config.json", eos_token_id=stop)
    with pytest.raises(ValueError, match=r"base is .*eos_token_id"):
        TorchEngine.open(copy, device="cpu")


def test_the_kind_of_number_and_the_date_are_part_of_it(tiny: Path, copy: Path) -> None:
    plain = bases.load_base(tiny).ref.digest
    assert bases.load_base(tiny, dtype="float32", date="2025-02-03").ref.digest == plain
    assert bases.load_base(tiny, dtype="bfloat16").ref.digest != plain
    (copy / "chat_template.jinja").write_text("{{ strftime_now('%d') }}" + tiny_base.TEMPLATE)
    days = {date: bases.load_base(copy, date=date).ref.digest for date in ("2025-02-03", "2025-02-04")}
    assert len(set(days.values())) == 2


def test_a_model_in_memory_is_known_by_all_of_it_too() -> None:
    import engine_models

    def identity(tokenizer=None, **changes: object) -> str:
        return TorchEngine.of(
            engine_models.model("llama", **changes), tokenizer or engine_models.tokenizer()
        ).base.digest

    other = engine_models.tokenizer()
    other.chat_template += " "
    assert identity() == identity()
    assert len({identity(), identity(other), identity(rms_norm_eps=0.5), identity(rope_theta=7.0)}) == 4


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda f: (f / "adapter_config.json").write_text("{}"), "an adapter lies in it"),
        (
            lambda f: change(f / "config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
            r"its weights are quantised \(gptq\)",
        ),
        (
            lambda f: (f / "chat_template.jinja").write_text(
                tiny_base.TEMPLATE.replace("m.content", "m.content | upper")
            ),
            "the chat template does not write an assistant's words as they are",
        ),
    ],
)
def test_what_cannot_be_opened_faithfully_is_refused(what, why: str, copy: Path) -> None:
    what(copy)
    with pytest.raises(ValueError, match=f"base is .*copy; .*{why}"):
        bases.load_base(copy)
