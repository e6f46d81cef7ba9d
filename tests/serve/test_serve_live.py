"""Rows that come and go get what `sample` gives to a whole list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

from flyroom.engine import TorchEngine, live_batch, memory
from flyroom.engine.decode import Budget
from flyroom.engine.live import Live, TooLong
from flyroom.engine.live_batch import LiveRow
from flyroom.engine.nucleus import chances, keep_nucleus
from flyroom.types import BASE, AdapterRef, Ask, LiveAsk, LoRA, Message, Row
from flyroom.worlds.micro.bundled import bundled

QUESTIONS = ("what drives you ?", "hello", "i am ready . what is best ?")


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine.open(str(bundled()["0.25M"]))


@pytest.fixture(scope="module")
def questions(engine: TorchEngine) -> list[tuple[AdapterRef, Ask]]:
    """Two adapters and the base, three questions, greedy and drawn."""
    adapters = engine.spawn([LoRA(rank=2), LoRA(rank=1, layers=(0,))], seeds=[0, 1])
    for adapter in adapters:
        state = engine.state(adapter)
        noise = torch.Generator().manual_seed(adapter.slot)
        changes = {k: torch.randn(v.shape, generator=noise) * 0.05 for k, v in state.items() if k.endswith(".B")}
        engine.restore(adapter, state | changes)
    return [
        (adapter, Ask(messages=(Message("user", text),), seed=i, max_tokens=14, temperature=temperature))
        for i, text in enumerate(QUESTIONS)
        for adapter in (BASE, *adapters)
        for temperature in (0.0, 1.0)
    ]


def line_up(live: Live, adapter: AdapterRef, ask: Ask, **more: Any) -> LiveRow:
    how = {"seed": ask.seed, "max_tokens": ask.max_tokens, "temperature": ask.temperature}
    return live.line_up(adapter, LiveAsk(messages=ask.messages, **(how | more)))


def run(engine: TorchEngine, questions: Sequence[tuple[AdapterRef, Ask]], *, every: int) -> list[str]:
    """A new ask joins every so many steps."""
    rows, waiting, line = list[LiveRow](), list(questions), Live(engine)
    steps = 0
    while waiting or line.busy:
        if waiting and steps % every == 0:
            rows.append(line_up(line, *waiting.pop(0)))
        line.step()
        steps += 1
    return [line.text(row.tokens).strip() for row in rows]


def texts(engine: TorchEngine, questions: Sequence[tuple[AdapterRef, Ask]]) -> list[str]:
    return [answer.text for answer in engine.sample([a for a, _ in questions], [ask for _, ask in questions])]


@pytest.mark.parametrize("every", [1, 3])
def test_who_joins_late_gets_the_same_answer(engine: TorchEngine, questions: Any, every: int) -> None:
    assert run(engine, questions, every=every) == texts(engine, questions)


def test_a_cache_that_grows_and_rows_that_make_room_change_nothing(
    engine: TorchEngine, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = texts(engine, questions)
    monkeypatch.setattr(live_batch, "GROW", 1)
    monkeypatch.setattr(memory, "answering", lambda *_: Budget(cache_tokens=90, row_tokens=0, pass_tokens=40))
    removals: list[LiveRow] = []
    remove = live_batch.Batch.remove
    monkeypatch.setattr(live_batch.Batch, "remove", lambda batch, row: (removals.append(row), remove(batch, row)))
    assert run(engine, questions, every=1) == answers
    assert removals


def test_rows_begin_again_where_memory_ran_out(
    engine: TorchEngine, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, fails, before = texts(engine, questions), [7, 4], engine.batch_tokens
    extend = live_batch.Batch.extend

    def fail(batch: Any, *, alone: bool) -> Any:
        if fails and len(batch.alive) > fails[0] - 2:
            fails.pop(0)
            raise torch.OutOfMemoryError
        return extend(batch, alone=alone)

    monkeypatch.setattr(live_batch.Batch, "extend", fail)
    assert run(engine, questions, every=1) == answers
    assert (fails, engine.batch_tokens) == ([], before // 4)
    engine.batch_tokens = before


@pytest.mark.parametrize("at", [0, 1])
def test_newcomers_begin_again_where_memory_ran_out(
    engine: TorchEngine, questions: Any, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """At the first pass, before any batch is made, and later."""
    answers, before, calls, through = texts(engine, questions), engine.batch_tokens, list[int](), live_batch.put_through

    def fail(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == at + 1:
            raise torch.OutOfMemoryError
        return through(*args)

    monkeypatch.setattr(live_batch, "put_through", fail)
    line = Live(engine)
    rows = [line_up(line, *question) for question in questions[:4]]
    for _ in range(3):
        line.step()
    rows += [line_up(line, *question) for question in questions[4:]]
    while line.busy:
        line.step()
    assert [line.text(row.tokens).strip() for row in rows] == answers
    assert engine.batch_tokens == before // 2
    engine.batch_tokens = before


def test_a_prompt_is_scored_where_others_leave_no_memory(engine: TorchEngine, questions: Any) -> None:
    answers, line, alone = texts(engine, questions), Live(engine), Live(engine)
    rows = [line_up(line, *question) for question in questions]
    line.step()
    row, score = line.line_up(BASE, LiveAsk(prompt="hello", seed=0, max_tokens=0, top=1)), line._score

    def fail(row: LiveRow) -> Any:
        if line._batches:
            raise torch.OutOfMemoryError
        return score(row)

    line._score = fail  # type: ignore[method-assign]
    assert line.score(row) == alone.score(row)
    while line.busy:
        line.step()
    assert [line.text(row.tokens).strip() for row in rows] == answers


def test_layers_with_a_window_answer_in_turns() -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled()["0.25M"])
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
        num_hidden_layers=2, sliding_window=8, max_position_embeddings=96, initializer_range=0.3,
    )  # fmt: skip
    engine = TorchEngine.of(MistralForCausalLM(config), tokenizer)
    questions = [
        (BASE, Ask(messages=(Message("user", text),), seed=i, max_tokens=20, temperature=t))
        for i, text in enumerate((*QUESTIONS, *QUESTIONS))
        for t in (0.0, 1.0)
    ]
    line = Live(engine)
    assert not line.joins
    assert run(engine, questions, every=2) == texts(engine, questions)


def test_log_probabilities_are_those_of_the_model(engine: TorchEngine, questions: Any) -> None:
    adapter, ask = questions[2]
    line = Live(engine)
    row = line_up(line, adapter, ask, top=4)
    line_up(line, BASE, questions[1][1])
    writings = []
    while line.busy:
        writings += [writing for writing in line.step() if writing.row is row and writing.token]
    answer = Row(messages=ask.messages, answer=line.text(row.tokens).strip())
    truth = engine.logprobs([adapter], [answer])[0]
    scores = torch.tensor([writing.token.logprob for writing in writings])
    assert torch.allclose(scores, truth[: len(scores)], atol=1e-4)
    likeliest = engine.next_tokens([adapter], [ask.messages], 4)[0]
    first = {line.token(id): logprob for id, logprob in writings[0].token.top}
    assert first == pytest.approx(likeliest, abs=1e-4)


def test_a_prompt_is_scored_as_a_document(engine: TorchEngine) -> None:
    line = Live(engine)
    document = Row(messages=(), answer="i am ready .")
    ids = engine.parts.renderer.row(document).ids[:-1]
    row = line.line_up(BASE, LiveAsk(prompt=tuple(ids.tolist()), seed=0, max_tokens=0, top=1))
    scores = line.score(row)
    truth = engine.logprobs([BASE], [document])[0][: len(ids) - 1]
    assert scores[0].logprob is None
    assert torch.allclose(torch.tensor([score.logprob for score in scores[1:]]), truth, atol=1e-4)
    assert (line.step(), line.busy, row.end) == ([], False, "length")


def test_what_does_not_fit_is_refused_before_it_is_put_through(engine: TorchEngine) -> None:
    line, window = Live(engine), engine.parts.window
    assert window
    with pytest.raises(TooLong, match=f"a prompt is {window} tokens long; 0.25M takes at most {window}"):
        line.line_up(BASE, LiveAsk(prompt=(5,) * window, seed=0))
    with pytest.raises(ValueError, match="none of this base's"):
        line.line_up(BASE, LiveAsk(prompt=(10**6,), seed=0))
    row = line.line_up(BASE, LiveAsk(prompt=(5,) * (window - 2), seed=0))
    while line.busy:
        line.step()
    assert len(row.tokens) <= 2
    assert row.end


def test_a_nucleus_is_the_fewest_likeliest_tokens() -> None:
    logits_BV = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()[[2, 0, 3, 1]].expand(5, 4)
    top_p_B, temperature_B = torch.tensor([1.0, 0.79, 0.8001, 0.0, 0.5]), torch.ones(5)
    sizes = keep_nucleus(logits_BV, temperature_B, top_p_B).isfinite().sum(1).tolist()
    assert sizes == [4, 2, 3, 1, 1]
    cold = keep_nucleus(logits_BV, torch.full((5,), 0.01), torch.full((5,), 0.99))
    assert cold.isfinite().sum(1).tolist() == [1] * 5
    assert torch.equal(keep_nucleus(logits_BV, temperature_B, top_p_B)[0], logits_BV[0])


def test_a_small_nucleus_is_greedy_and_a_whole_one_changes_no_draw(engine: TorchEngine, questions: Any) -> None:
    adapter, ask = questions[3]
    line = Live(engine)
    rows = [line_up(line, adapter, ask, **how) for how in ({"top_p": 1e-6}, {"temperature": 0.0}, {"top_p": 1.0})]
    while line.busy:
        line.step()
    assert rows[0].tokens == rows[1].tokens
    assert line.text(rows[2].tokens).strip() == texts(engine, [questions[3]])[0]


def test_chances_are_of_the_whole_vocabulary() -> None:
    scores = chances(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([2]), 9)
    assert scores.token_B.exp().tolist() == pytest.approx([0.25])
    assert scores.ids_BK.shape == (1, 4)


def test_a_row_counts_the_tokens_that_were_given_and_not_those_of_what_the_adapter_was_told(
    engine: TorchEngine,
) -> None:
    told, bare = engine.spawn([LoRA()] * 2, seeds=[0, 0])
    engine.tell(told, "you are kind .")
    ask, line = Ask(messages=(Message("user", "hello"),), seed=0, max_tokens=2), Live(engine)
    rows = [line_up(line, adapter, ask) for adapter in (told, bare)]
    assert rows[0].visible == rows[1].visible == len(rows[1].prompt) < len(rows[0].prompt)
    engine.free([told, bare])
