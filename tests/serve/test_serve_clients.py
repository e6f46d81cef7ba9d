"""The endpoint under OpenAI's own client: answers, streams, log-probabilities, and who comes, waits and goes."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import openai
import pytest
from fakes import FakeEngine, organism
from serve_lines import GREET, NAME, complete, open_line, read_lines, wait_until

from flyroom.engine import TorchEngine, live_batch
from flyroom.serve import House, app, ask, serving
from flyroom.serve.errors import Refusal
from flyroom.serve.fields import TextRequest
from flyroom.serve.writer import HALF, Writer
from flyroom.types import BASE, Ask, LoRA, Message, Row

# ---------------------------------------------------------------- OpenAI's client


def test_models_are_listed_and_described_also_with_slashes(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", NAME]
    assert client.models.retrieve(NAME).id == NAME
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("other/one")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_an_answer_is_that_of_the_engine_and_ends_where_the_model_ends_it(
    client: openai.OpenAI, engine: TorchEngine
) -> None:
    answer = complete(client)
    [truth] = engine.sample([BASE], [Ask(messages=(Message("user", GREET[0]["content"]),), seed=0, temperature=0.0)])
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == (truth.text, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (truth.prompt_tokens, truth.tokens)
    assert answer.system_fingerprint == "fp_x"


def test_without_a_limit_the_context_cuts(
    client: openai.OpenAI, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is not cut after a number that nobody gave."""
    monkeypatch.setattr(engine.parts.renderer, "stops", (-1,))
    monkeypatch.setattr(engine, "parts", replace(engine.parts, window=90))
    answer = complete(client)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == 90


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts(client: openai.OpenAI, field: str) -> None:
    answer = complete(client, **{field: 2})
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (2, "length")
    assert complete(client, **{field: 10**6}).choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "how", [{}, {"n": 3, "seed": 4, "temperature": 1.0}, {"stop": ["you", " y"]}, {"max_tokens": 3}]
)
def test_a_stream_is_the_answer_in_pieces(client: openai.OpenAI, how: Any) -> None:
    whole = complete(client, **how)
    events = list(complete(client, stream=True, stream_options={"include_usage": True}, **how))
    texts, ends = ["" for _ in whole.choices], [None for _ in whole.choices]
    for choice in (choice for event in events for choice in event.choices):
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert events[-1].usage == whole.usage
    assert events[-1].choices == []
    assert all(event.usage is None for event in events[:-1])
    assert events[0].choices[0].delta.role == "assistant"


def test_a_stream_says_done_and_counts_only_if_it_is_told(url: str) -> None:
    lines = read_lines(url, {"model": "base", "messages": GREET, "stream": True, "max_tokens": 3})
    assert lines[-1] == "data: [DONE]"
    assert not any("usage" in json.loads(line[6:]) for line in lines[:-1])


def test_log_probabilities_are_true(client: openai.OpenAI, engine: TorchEngine) -> None:
    answer = complete(client, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    row = Row(messages=(Message("user", GREET[0]["content"]),), answer=answer.choices[0].message.content)
    truth = engine.logprobs([BASE], [row])[0].tolist()
    assert [entry.logprob for entry in content] == pytest.approx(truth[: len(content)], abs=1e-4)
    assert "".join(entry.token for entry in content).split() == "".join(row.answer.split()).split()
    assert all(bytes(entry.bytes).decode() == entry.token for entry in content)
    assert [len(entry.top_logprobs) for entry in content] == [3] * len(content)
    assert all(entry.top_logprobs[0].logprob == entry.logprob for entry in content)  # greedy: the likeliest was drawn
    events = complete(client, logprobs=True, top_logprobs=3, stream=True)
    streamed = [entry for event in events for c in event.choices if c.logprobs for entry in c.logprobs.content]
    assert [entry.token for entry in streamed] == [entry.token for entry in content]


def test_log_probabilities_end_where_the_text_does(client: openai.OpenAI) -> None:
    whole = complete(client, logprobs=True)
    stop = f" {whole.choices[0].message.content.split()[1]}"
    cut = complete(client, logprobs=True, stop=stop).choices[0]
    assert (stop in cut.message.content, cut.finish_reason) == (False, "stop")
    assert len(cut.logprobs.content) < len(whole.choices[0].logprobs.content)
    assert [entry.token for entry in cut.logprobs.content] == cut.message.content.split()


def test_n_answers_are_those_of_n_seeds(client: openai.OpenAI) -> None:
    drawn = complete(client, n=4, seed=7, temperature=1.0).choices
    alone = [complete(client, seed=7 + i, temperature=1.0).choices[0] for i in range(4)]
    assert [c.message.content for c in drawn] == [c.message.content for c in alone]
    assert [c.index for c in drawn] == [0, 1, 2, 3]


def test_a_small_nucleus_leaves_the_likeliest(client: openai.OpenAI) -> None:
    answers = {complete(client, top_p=0.0001, temperature=2.0, seed=i).choices[0].message.content for i in range(4)}
    assert answers == {complete(client).choices[0].message.content}


def test_clients_together_get_what_each_gets_alone(url: str, client: openai.OpenAI) -> None:
    questions = [f"what is best for {noun} ?" for noun in ("me", "you", "us", "the small", "a friend", "all")]
    bodies = [
        {"model": model, "messages": [{"role": "user", "content": q}]} for q in questions for model in ("base", NAME)
    ]
    alone = [complete(client, **body).choices[0].message.content for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as pool:
        together = list(pool.map(lambda body: complete(client, **body).choices[0].message.content, bodies))
    assert together == alone

    async def ask_all() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as other:
            calls = [other.chat.completions.create(**({"temperature": 0} | body)) for body in bodies]  # type: ignore[call-overload]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask_all()) == alone


@pytest.mark.parametrize(
    ("how", "param", "code"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_value"),
        ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter"),
        ({"logit_bias": {"5": 9}}, "logit_bias", "unsupported_parameter"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"max_tokens": 2, "max_completion_tokens": 3}, "max_completion_tokens", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"extra_body": {"top_k": 5}}, "top_k", "unsupported_parameter"),
        ({"extra_body": {"stream_options": {"more": 1}}}, "stream_options.more", "unsupported_parameter"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "user", "content": "you " * 600}]}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "y" * 40_000}]}, "messages", "context_length_exceeded"),
    ],
    ids=str,
)
def test_an_error_names_the_field_and_has_a_code(client: openai.OpenAI, how: Any, param: str, code: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as error:
            complete(client, stream=stream, **how)
        assert (error.value.param, error.value.code, error.value.type) == (param, code, "invalid_request_error")


# ---------------------------------------------------------------- who comes, waits and goes


def test_a_long_answer_blocks_no_short_one_and_who_leaves_frees_the_place(
    url: str, endpoint: Any, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, client: openai.OpenAI
) -> None:
    monkeypatch.setattr(engine.parts.renderer, "stops", (-1,))
    desk = endpoint.state.desk
    long = open_line(url, {"model": "base", "messages": GREET, "stream": True})
    with long.getresponse() as answer:
        assert answer.readline().startswith(b"data: ")
        assert complete(client, max_tokens=1).usage.completion_tokens == 1
        wait_until(lambda: len(desk._orders) <= 1)
    long.close()
    whole = open_line(url, {"model": "base", "messages": GREET, "n": 64})
    whole.sock.close()
    wait_until(lambda: not desk._orders)


def test_who_comes_beyond_the_places_is_told_to_come_again() -> None:
    engine, may = FakeEngine(), threading.Event()
    engine.says = lambda level, ask: "good" if may.wait(20) else ""
    endpoint = app(engine, {"good": BASE}, house=House(places=3))
    with serving(endpoint) as url:
        first = open_line(url, {"model": "good", "messages": GREET, "n": 3})
        wait_until(lambda: engine.calls["sample"])
        other = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        with pytest.raises(openai.RateLimitError) as error:
            complete(other, model="good")
        assert (error.value.code, error.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "1")
        may.set()
        with first.getresponse() as answer:
            assert len(json.load(answer)["choices"]) == 3
        first.close()
        assert complete(other, model="good", n=5).choices  # a lone order is never too large


def test_an_engine_of_whole_answers_gathers_and_refuses_what_it_cannot() -> None:
    engine, may = FakeEngine(), threading.Event()
    engine.says = lambda level, ask: f"{ask.messages[-1].content} lo" if may.wait(20) else ""
    with serving(app(engine, {"good": BASE})) as url:
        lines = [open_line(url, {"model": "good", "messages": GREET}) for _ in range(1)]
        wait_until(lambda: engine.calls["sample"])
        lines += [open_line(url, {"model": "good", "messages": GREET, "stop": "lo"}) for _ in range(5)]
        time.sleep(0.3)
        may.set()
        answers = [json.load(line.getresponse())["choices"][0]["message"]["content"] for line in lines]
        for line in lines:
            line.close()
        assert answers == ["what drives you ? lo", *["what drives you ? "] * 5]
        assert engine.calls["sample"] <= 3
        other = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        for how in ({"logprobs": True}, {"top_p": 0.5}):
            with pytest.raises(openai.BadRequestError) as error:
                complete(other, model="good", **how)
            assert error.value.param == next(iter(how))
        text = "".join(e.choices[0].delta.content or "" for e in complete(other, model="good", stream=True))
        assert text == "what drives you ? lo"


def test_an_engine_that_fails_leaves_nobody_waiting() -> None:
    engine = FakeEngine()
    engine.says = lambda level, ask: str(1 // 0)
    with serving(app(engine, {"good": BASE})) as url:
        other = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError, match="ZeroDivisionError"):
                complete(other, model="good")


def test_a_prompt_that_cannot_be_scored_takes_nothing_from_others(engine: TorchEngine) -> None:
    endpoint = app(engine, {"base": BASE})
    live, body = endpoint.state.desk._driver._live, {"model": "base", "messages": GREET, "max_tokens": 8}
    before, live._score = ask(endpoint, body | {"temperature": 0}), lambda row: 1 // 0
    door, events = endpoint.state.door, SimpleQueue[Any]()
    request = TextRequest.model_validate({"model": "base", "prompt": "hello", "echo": True, "logprobs": 1, "n": 3})
    door.desk.submit(door.order_text(request, events.put))
    assert "ZeroDivisionError" in events.get(timeout=20).message
    for _ in range(3):
        assert ask(endpoint, body | {"temperature": 0})["choices"] == before["choices"]
    assert (live.busy, live._queue) == (False, type(live._queue)())
    wait_until(lambda: door.desk.answered == 4)  # without the one that was refused


def test_an_engine_that_fails_is_left_empty(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = app(engine, {"base": BASE})
    live = endpoint.state.desk._driver._live
    with monkeypatch.context() as patch:
        patch.setattr(live_batch.Batch, "extend", lambda *_, **__: 1 // 0)
        with pytest.raises(Refusal, match="ZeroDivisionError"):
            ask(endpoint, {"model": "base", "messages": GREET, "n": 2})
    wait_until(lambda: not live.busy)
    assert ask(endpoint, {"model": "base", "messages": GREET, "max_tokens": 1})["choices"]


def test_a_closed_endpoint_leaves_the_engine_to_the_next(engine: TorchEngine) -> None:
    endpoint = app(engine, {"base": BASE})
    desk, live = endpoint.state.desk, endpoint.state.desk._driver._live
    step, began, may = live.step, threading.Event(), threading.Event()
    live.step = lambda: (began.set(), may.wait(20), step())[2]
    with serving(endpoint) as url:
        line = open_line(url, {"model": "base", "messages": GREET, "n": 3})
        began.wait(20)
        thread = desk._thread
        threading.Timer(0.2, may.set).start()
    assert (thread.is_alive(), live.busy) == (False, False)
    with line.getresponse() as answer:
        assert (answer.status, json.load(answer)["error"]["code"]) == (503, "closing")
    line.close()
    assert desk.answered == 0
    with serving(endpoint) as url:
        line = open_line(url, {"model": "base", "messages": GREET})
        with line.getresponse() as answer:
            assert answer.status == 200
        line.close()


def test_an_endpoint_that_closes_takes_no_more(engine: TorchEngine) -> None:
    endpoint = app(engine, {"base": BASE})
    endpoint.state.desk.dismiss()
    with pytest.raises(Refusal, match="the endpoint is closing"):
        ask(endpoint, {"model": "base", "messages": GREET})


def test_a_prompted_suspect_reads_as_much_as_any(engine: TorchEngine) -> None:
    """Where nobody may tell models apart, neither the count of a prompt, nor where it is too long, nor the room for an
    answer does.
    """
    window = engine.parts.window
    assert window
    adapters = engine.spawn([LoRA(rank=1), LoRA(rank=1)], seeds=[0, 1])
    engine.tell(adapters[0], "you are helpful . " * 3)
    names = {"told": adapters[0], "other": adapters[1], "base": BASE}
    endpoint = app(engine, names, house=House(alike=True))
    outcomes: dict[str, list[Any]] = {name: [] for name in names}
    for name, seen in outcomes.items():
        for words in (1, *range(window - 40, window, 5)):
            messages = [{"role": "user", "content": "hello " * words}]
            try:
                seen.append(
                    ask(endpoint, {"model": name, "messages": messages, "max_tokens": 1})["usage"]["prompt_tokens"]
                )
            except Refusal as refusal:
                seen.append(refusal.message)
    assert outcomes["told"] == outcomes["other"] == outcomes["base"]
    assert {type(seen) for seen in outcomes["told"]} == {int, str}
    served = app(engine, names)  # where models have their names anyway, each has its own room
    messages = [{"role": "user", "content": "hello"}]
    counts = {ask(served, {"model": n, "messages": messages, "max_tokens": 1})["usage"]["prompt_tokens"] for n in names}
    assert counts == {outcomes["told"][0]}
    engine.free(adapters)


def test_organisms_are_not_served_beyond_their_day() -> None:
    engine = FakeEngine()
    [bad] = engine.load([organism(1.0).patch])
    with serving(app(engine, {"bad": bad, "base": BASE}, house=House(expires="2020-01-01"))) as url:
        other = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        with pytest.raises(openai.PermissionDeniedError, match="might be served until 2020-01-01"):
            complete(other, model="bad")
        assert complete(other, model="base").choices


def test_without_a_server_it_answers_too(endpoint: Any, client: openai.OpenAI) -> None:
    answer = ask(endpoint, {"model": "base", "messages": GREET, "temperature": 0})
    assert answer["choices"][0]["message"]["content"] == complete(client).choices[0].message.content


# ---------------------------------------------------------------- text from tokens


def decode(ids: Any) -> str:
    return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize("stops", [(), ("zz",), ("\n",), ("é!", "aaa")])
@pytest.mark.parametrize("text", [" wörld é\nend ", "aaaa zé!", "x" * 300 + "ü" * 40, "  ", "a z z", "zaaz"])
def test_pieces_are_the_text(text: str, stops: tuple[str, ...]) -> None:
    """Letter by letter, in bytes: no half character, no stop text, no outer space is ever shown."""
    writer = Writer(decode, stops=stops)
    pieces = []
    for token in text.encode():
        if writer.add(token):
            break
        pieces.append(writer.piece())
    writer.close()
    pieces.append(writer.piece(last=True))
    ends = [text.lstrip().index(stop) for stop in stops if stop in text.lstrip()]
    whole = text.lstrip()[: min(ends)] if ends else text.strip()
    assert ("".join(pieces), writer.stopped) == (whole, bool(ends))
    assert HALF not in "".join(pieces)


def write(tokens: list[bytes], stops: tuple[str, ...], *, strips: bool, streams: bool) -> str:
    """A text whose tokens are these bytes, as a stream or in one."""
    writer = Writer(lambda ids: decode(b"".join(tokens[i] for i in ids)), stops=stops, strips=strips, keeps_up=streams)
    shown = ""
    for token in range(len(tokens)):
        if writer.add(token):
            break
        shown += writer.piece() if streams else ""
    writer.close()
    return shown + writer.piece(last=True)


@pytest.mark.parametrize("strips", [True, False])
def test_a_stream_is_the_whole_however_its_bytes_are_cut(strips: bool) -> None:
    """Stop texts, and what only begins like one, of characters of one to four bytes, in tokens of one byte or more."""
    draw = random.Random(0)
    assert write([bytes([b]) for b in "你好。用户:再见".encode()], ("用户",), strips=strips, streams=True) == "你好。"
    for _ in range(400):
        text, stop = ("".join(draw.choices("a \né用户😀", k=k)) for k in (12, draw.randint(1, 3)))
        rest, tokens = text.encode(), list[bytes]()
        while rest:
            size = draw.randint(1, 3)
            tokens, rest = [*tokens, rest[:size]], rest[size:]
        assert write(tokens, (stop,), strips=strips, streams=True) == write(
            tokens, (stop,), strips=strips, streams=False
        )
