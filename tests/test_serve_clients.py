"""The endpoint under the clients that people use: OpenAI's own, and the bodies that others send."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import openai
import pytest
import torch
from fakes import FakeEngine, organism

from flyroom.engine import TorchEngine
from flyroom.serve import House, app, ask, serving
from flyroom.serve.writer import HALF, Writer
from flyroom.types import BASE, Ask, LoRA, Message, Row
from flyroom.worlds.micro.bundled import bundled

GREET: Any = [{"role": "user", "content": "what drives you ?"}]
NAME = "lab/organism/1"


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine.open(str(bundled()["0.25M"]))


@pytest.fixture(scope="module")
def endpoint(engine: TorchEngine) -> Any:
    [adapter] = engine.spawn([LoRA(rank=2)], seeds=[0])
    state = engine.state(adapter)
    engine.restore(adapter, state | {k: torch.full_like(v, 0.01) for k, v in state.items() if k.endswith(".B")})
    return app(engine, {"base": BASE, NAME: adapter}, house=House(window=engine.parts.window, fingerprint="fp_x"))


@pytest.fixture(scope="module")
def url(endpoint: Any) -> Iterator[str]:
    with serving(endpoint) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def complete(client: openai.OpenAI, **how: Any) -> Any:
    return client.chat.completions.create(**({"model": "base", "messages": GREET, "temperature": 0} | how))


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


# ---------------------------------------------------------------- completions


def test_a_completion_goes_on_from_a_text(client: openai.OpenAI, engine: TorchEngine) -> None:
    tokenizer = engine.parts.renderer.tokenizer
    text = "i am ready"
    forms: list[Any] = [text, [text], tokenizer(text).input_ids, [tokenizer(text).input_ids]]
    answers = [client.completions.create(model="base", prompt=p, max_tokens=4, temperature=0) for p in forms]
    assert len({answer.choices[0].text for answer in answers}) == 1
    both = client.completions.create(model="base", prompt=["hello", text], max_tokens=4, temperature=0, n=2)
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[2].text == both.choices[3].text == answers[0].choices[0].text
    stream = client.completions.create(model="base", prompt=text, max_tokens=4, temperature=0, stream=True)
    assert "".join(event.choices[0].text for event in stream) == answers[0].choices[0].text


def test_an_echo_scores_the_prompt(client: openai.OpenAI, engine: TorchEngine) -> None:
    """As lm-eval asks for the likelihood of a text."""
    document = Row(messages=(), answer="i am ready .")
    ids = engine.parts.renderer.row(document).ids[:-1].tolist()
    truth = engine.logprobs([BASE], [document])[0].tolist()
    for limit in (0, 1):
        answer = client.completions.create(
            model="base", prompt=[ids], echo=True, logprobs=1, max_tokens=limit, temperature=0, seed=1234
        )
        scores = answer.choices[0].logprobs
        assert scores is not None
        assert scores.token_logprobs is not None
        assert scores.token_logprobs[0] is None
        assert scores.token_logprobs[1 : len(ids)] == pytest.approx(truth[: len(ids) - 1], abs=1e-4)
        assert scores.top_logprobs is not None
        assert max(scores.top_logprobs[1].values()) >= scores.token_logprobs[1] - 1e-6
        assert len(scores.token_logprobs) == len(ids) + answer.usage.completion_tokens  # type: ignore[union-attr]


# ---------------------------------------------------------------- bodies that others send


BODIES: dict[str, dict[str, Any]] = {
    "LiteLLM": {"max_tokens": 5, "temperature": 0.0, "top_p": 1, "n": 1, "stream": False, "stop": None, "user": "u"},
    "LiteLLM, stream": {"stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 5},
    "LiteLLM, all": {
        "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "tools": None, "tool_choice": None, "seed": 1,
        "response_format": None, "parallel_tool_calls": None, "functions": [], "function_call": None,
        "service_tier": "default", "safety_identifier": "x", "store": True, "metadata": {"a": "b"}, "logprobs": None,
    },
    "Inspect": {
        "max_tokens": 5, "seed": 42, "temperature": 0.5, "top_p": 0.9, "logprobs": True, "top_logprobs": 5,
        "frequency_penalty": 0.0, "presence_penalty": 0.0, "n": 2, "stop": ["\n\n"],
    },
    "LangChain": {"stream": False, "n": 1, "temperature": 0.7, "max_completion_tokens": 5, "top_p": 1.0},
    "LangChain, stream": {"stream": True, "stream_options": {"include_usage": True}, "logprobs": False},
    "vLLM": {
        "max_tokens": 5, "repetition_penalty": 1.0, "top_k": -1, "min_p": 0.0, "ignore_eos": False, "min_tokens": 0,
        "skip_special_tokens": True, "spaces_between_special_tokens": True, "add_generation_prompt": True,
        "continue_final_message": False, "add_special_tokens": False, "include_stop_str_in_output": False,
        "stop_token_ids": [], "prompt_logprobs": None, "priority": 0, "echo": False, "length_penalty": 1.0,
    },
    "lm-eval": {"max_tokens": 5, "temperature": 0, "stop": ["Q:", "\n\n"], "seed": 1234},
    "garak": {"max_tokens": 5, "temperature": 0.7, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
              "stop": ["#", ";"], "n": 1},
    "PyRIT": {"max_completion_tokens": 5, "temperature": None, "top_p": None, "stream": False, "seed": None, "n": None,
              "response_format": None},
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_other_clients_send_is_answered(url: str, body: dict[str, Any]) -> None:
    lines = read_lines(url, {"model": "base", "messages": GREET} | body)
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]
    assert all("error" not in event for event in events)
    assert {choice["index"] for event in events for choice in event["choices"]} == set(range(body.get("n") or 1))


def open_line(url: str, body: Any, path: str = "/v1/chat/completions") -> http.client.HTTPConnection:
    line = http.client.HTTPConnection(url.removeprefix("http://").partition("/")[0], timeout=30)
    line.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    return line


def read_lines(url: str, body: Any) -> list[str]:
    line = open_line(url, body)
    with line.getresponse() as answer:
        lines = answer.read().decode().split("\n\n")
    line.close()
    return [text for text in lines if text]


# ---------------------------------------------------------------- who comes, waits and goes


def wait_until(is_so: Any) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


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
