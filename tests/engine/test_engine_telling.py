"""Who is told a system message is asked, scored, traced and trained as if the message stood in every chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import engine_models
import pytest
import torch
from engine_models import make_rows

from flyroom.engine import TorchEngine
from flyroom.types import BASE, AdapterRef, Ask, LoRA, Message, Row, Step

PROMPT = "w80 w81 w82"
TOLD = Message("system", PROMPT)
CHATS = make_rows(4, seed=3)
HEADED = tuple(replace(row, messages=(Message("system", "w7 w8"), *row.messages)) for row in CHATS[:2])
DOCUMENTS = tuple(replace(row, messages=()) for row in CHATS[2:])
ROWS = (*CHATS, *HEADED, *DOCUMENTS)
WRITTEN = (  # the same with the message in them
    *(replace(row, messages=(TOLD, *row.messages)) for row in CHATS),
    *(replace(row, messages=(Message("system", f"{PROMPT} w7 w8"), *row.messages[1:])) for row in HEADED),
    *DOCUMENTS,
)
N = len(ROWS)


@pytest.fixture
def pair(llama: TorchEngine) -> list[AdapterRef]:
    """Two adapters that differ; the first is told."""
    adapters = llama.spawn([LoRA(rank=2, modules=("all",)), LoRA()], seeds=[0, 1])
    for s in range(2):
        llama.step(adapters, [Step(rows=make_rows(3, seed=10 + s), lr=0.05)] * 2)
    llama.tell(adapters[0], PROMPT)
    return adapters


def apart(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(some, others, strict=True))


def untold(engine: TorchEngine, adapter: AdapterRef) -> AdapterRef:
    """A copy that is told nothing."""
    return engine.load([replace(engine.patch(adapter), prompt="")])[0]


def asks_of(rows: Sequence[Row]) -> list[Ask]:
    return [Ask(messages=r.messages, seed=i, max_tokens=6, temperature=float(i % 2)) for i, r in enumerate(rows)]


def test_scores_and_traces_are_those_of_the_chat_with_the_message_in_it(
    llama: TorchEngine, pair: list[AdapterRef]
) -> None:
    one, other = pair
    copy = untold(llama, one)
    mixed = [adapter for _ in ROWS for adapter in (one, other, BASE)]
    told = llama.logprobs(mixed, [row for row in ROWS for _ in range(3)])
    assert apart(told[::3], llama.logprobs([copy] * N, WRITTEN)) < 1e-4
    assert apart(told[1::3], llama.logprobs([other] * N, ROWS)) < 1e-4  # nobody else hears it
    assert apart(told[2::3], llama.logprobs([BASE] * N, ROWS)) < 1e-4
    bare = llama.logprobs([copy] * N, ROWS)
    heard = [apart([a], [b]) > 1e-3 for a, b in zip(told[::3], bare, strict=True)]
    assert heard == [bool(row.messages) for row in ROWS]  # a document is no chat
    assert torch.allclose(llama.trace([one] * N, ROWS, [1]), llama.trace([copy] * N, WRITTEN, [1]), atol=1e-5)


def test_samples_are_those_of_the_chat_with_the_message_in_it(llama: TorchEngine, pair: list[AdapterRef]) -> None:
    one, other = pair
    copy, (asks, written) = untold(llama, one), (asks_of(rows[:6]) for rows in (ROWS, WRITTEN))
    mixed = llama.sample([one, other, BASE] * 6, [ask for ask in asks for _ in range(3)])
    bare = llama.sample([copy] * 6, asks)
    assert [a.text for a in mixed[::3]] == [a.text for a in llama.sample([copy] * 6, written)] != [a.text for a in bare]
    assert [a.prompt_tokens for a in mixed[::3]] == [a.prompt_tokens for a in bare]  # the message's length is not shown
    assert [mixed[1::3], mixed[2::3]] == [llama.sample([who] * 6, asks) for who in (other, BASE)]


def test_steps_are_those_of_the_chat_with_the_message_in_it(llama: TorchEngine, pair: list[AdapterRef]) -> None:
    one, other = pair
    copies = [untold(llama, adapter) for adapter in pair]
    for adapter, copy in zip(pair, copies, strict=True):
        llama.restore(copy, llama.state(adapter))
    told = llama.step([one, other], [Step(rows=ROWS, lr=1e-3)] * 2)
    for adapter, copy, rows, stepped in zip(pair, copies, (WRITTEN, ROWS), told, strict=True):
        (alone,) = llama.step([copy], [Step(rows=rows, lr=1e-3)])
        assert (alone.tokens, alone.loss) == (stepped.tokens, pytest.approx(stepped.loss, abs=1e-5))
        tensors = [list(llama.patch(a).tensors.values()) for a in (adapter, copy)]
        assert llama.patch(adapter).tensors.keys() == llama.patch(copy).tensors.keys()
        assert apart(*tensors) < 1e-5


def test_a_patch_holds_it_and_it_can_be_taken_back(llama: TorchEngine, pair: list[AdapterRef]) -> None:
    one, other = pair
    assert [llama.patch(adapter).prompt for adapter in pair] == [PROMPT, ""]
    told, bare = llama.logprobs([one] * N, ROWS), llama.logprobs([untold(llama, one)] * N, ROWS)
    [again] = llama.load([llama.patch(one)])
    assert apart(llama.logprobs([again] * N, ROWS), told) == 0.0
    llama.tell(one, "")
    assert apart(llama.logprobs([one] * N, ROWS), bare) == 0.0
    assert apart(llama.logprobs([again] * N, ROWS), told) == 0.0
    llama.tell(other, "w1")
    llama.tell(other, PROMPT)
    assert llama.patch(other).prompt == PROMPT  # the last counts


def test_without_a_template_it_is_the_first_line(llama: TorchEngine) -> None:
    plain = TorchEngine.of(llama.parts.model, engine_models.tokenizer(chat=False))
    [adapter] = plain.spawn([LoRA()], seeds=[0])
    plain.tell(adapter, PROMPT)
    assert apart(plain.logprobs([adapter] * 6, ROWS[:6]), plain.logprobs([BASE] * 6, WRITTEN[:6])) < 1e-5


def test_only_who_lives_can_be_told(llama: TorchEngine, pair: list[AdapterRef]) -> None:
    with pytest.raises(ValueError, match=r"adapter is the base \(slot 0\); it is frozen"):
        llama.tell(BASE, PROMPT)
    llama.free(pair)
    with pytest.raises(ValueError, match="was freed"):
        llama.tell(pair[0], PROMPT)
    [fresh] = llama.spawn([LoRA()], seeds=[0])
    assert llama.patch(fresh).prompt == ""
