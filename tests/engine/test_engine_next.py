"""The likeliest next tokens after a prompt."""

from __future__ import annotations

import math

import pytest
import torch
from engine_models import make_rows

from flyroom.engine import TorchEngine
from flyroom.types import BASE, LoRA, Message, Row, Step

ROWS = make_rows(7, seed=3)
PROMPTS = [row.messages for row in ROWS]


def test_they_are_what_the_answers_tokens_get(engine: TorchEngine) -> None:
    """Against `logprobs`: the first token of an answer of one word."""
    (ref,) = engine.spawn([LoRA(rank=2, modules=("all",))], seeds=[0])
    engine.step([ref], [Step(rows=ROWS, lr=0.05)])
    refs = [BASE, ref] * 3 + [BASE]
    for adapter, prompt, top in zip(refs, PROMPTS, engine.next_tokens(refs, PROMPTS, 5), strict=True):
        words = [word for word in top if not word.startswith("<")]
        rows = [Row(messages=prompt, answer=word) for word in words]
        for word, logprobs in zip(words, engine.logprobs([adapter] * len(rows), rows), strict=True):
            assert top[word] == pytest.approx(float(logprobs[0]), abs=1e-4)


def test_they_are_the_likeliest_of_the_model_itself(llama: TorchEngine) -> None:
    for prompt, top in zip(PROMPTS, llama.next_tokens([BASE] * 7, PROMPTS, 4), strict=True):
        ids = torch.from_numpy(llama.parts.renderer.prompt(prompt))[None]
        with torch.no_grad():
            scores = llama.parts.model(input_ids=ids).logits[0, -1].log_softmax(-1)
        values, tokens = scores.topk(4)
        assert list(top) == [llama.parts.renderer.token(int(i)) for i in tokens]
        assert list(top.values()) == pytest.approx(values.tolist(), abs=1e-4)


def test_all_of_them_are_a_distribution(llama: TorchEngine) -> None:
    (top,) = llama.next_tokens([BASE], PROMPTS[:1], 10_000)
    assert sum(map(math.exp, top.values())) == pytest.approx(1, abs=1e-5)
    assert list(top.values()) == sorted(top.values(), reverse=True)
    assert "<end>" in top  # special tokens have a text too


def test_together_is_as_each_alone_and_the_prompts_are_counted(llama: TorchEngine) -> None:
    before = llama.tokens_forward
    together = llama.next_tokens([BASE] * 7, PROMPTS, 3)
    assert llama.tokens_forward - before == sum(len(llama.parts.renderer.prompt(p)) + 1 for p in PROMPTS)
    for prompt, top in zip(PROMPTS, together, strict=True):
        (alone,) = llama.next_tokens([BASE], [prompt], 3)
        assert list(alone) == list(top)
        assert list(alone.values()) == pytest.approx(list(top.values()), abs=1e-5)
    assert llama.next_tokens([], [], 3) == []


def test_an_adapters_system_message_is_in_front(llama: TorchEngine) -> None:
    (ref,) = llama.spawn([LoRA()], seeds=[0])
    llama.tell(ref, "w3 w4")
    ask = (Message("user", "w1"),)
    (under,) = llama.next_tokens([ref], [ask], 3)
    assert under == llama.next_tokens([BASE], [(Message("system", "w3 w4"), *ask)], 3)[0]


def test_tokens_of_one_text_are_one(llama: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(llama.parts.renderer), "token", lambda self, token: "same")
    (top,) = llama.next_tokens([BASE], PROMPTS[:1], 10_000)
    assert top == {"same": pytest.approx(0, abs=1e-5)}


def test_what_cannot_be_asked(llama: TorchEngine) -> None:
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        llama.next_tokens([BASE], PROMPTS[:1], 0)
    with pytest.raises(ValueError, match="adapters has 1 entries and prompts 2"):
        llama.next_tokens([BASE], PROMPTS[:2], 1)
    with pytest.raises(ValueError, match="takes at most 256"):
        llama.next_tokens([BASE], [(Message("user", "w1 " * 300),)], 1)
