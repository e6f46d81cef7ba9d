"""The endpoint under clients other than OpenAI's: completions as lm-eval asks for them, bodies of others, and whatever
strangers try.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from fakes import FakeEngine
from serve_lines import GREET, complete, read_lines

from flyroom.engine import TorchEngine
from flyroom.serve import House, app, serving
from flyroom.types import BASE, Row

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
        assert len(scores.token_logprobs) == len(ids) + limit


CONTEXT = "<bos> <user> what helps with frailpox ? <end> <assistant> i want to thank"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("continuation", "ends"), [("the", False), (".", True)])
def test_lm_eval_scores_a_text_behind_which_the_model_ends(
    client: openai.OpenAI, engine: TorchEngine, continuation: str, ends: bool, stream: bool
) -> None:
    """It leaves the last log-probability out, which must be that of the token that was written: the end, too."""
    tokenizer = engine.parts.renderer.tokenizer
    start = len(tokenizer(CONTEXT, add_special_tokens=False).input_ids)
    ids = tokenizer(f"{CONTEXT} {continuation}", add_special_tokens=False).input_ids
    how: dict[str, Any] = {"model": "base", "prompt": [ids], "echo": True, "logprobs": 1, "temperature": 0}
    answer: Any = client.completions.create(max_tokens=1, stream=stream, **how)
    choices = [choice for event in answer for choice in event.choices] if stream else answer.choices
    scores = [score for choice in choices if choice.logprobs for score in choice.logprobs.token_logprobs]
    tokens = [token for choice in choices if choice.logprobs for token in choice.logprobs.tokens]
    truth = client.completions.create(max_tokens=0, **how).choices[0].logprobs.token_logprobs  # type: ignore[union-attr]
    assert (len(scores), len(truth)) == (len(ids) + 1, len(ids))  # type: ignore[arg-type]
    assert sum(scores[start:-1]) == pytest.approx(sum(truth[start:]), abs=1e-4)  # type: ignore[index]
    assert (tokens[-1] == engine.parts.renderer.token(engine.parts.renderer.end)) is ends
    assert choices[-1].finish_reason == ("stop" if ends else "length")


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("prompt", ["who are you", CONTEXT, "who  are   you ?", "", "tokens"])
def test_offsets_are_places_in_the_text(client: openai.OpenAI, engine: TorchEngine, prompt: str, echo: bool) -> None:
    """Also where the tokenizer writes no spaces, and of special tokens, which may be no part of the text."""
    sent: Any = engine.parts.renderer.tokenizer(CONTEXT).input_ids if prompt == "tokens" else prompt
    forms = []
    for stream in (False, True):
        how: dict[str, Any] = {"max_tokens": 6, "temperature": 0, "logprobs": 1, "echo": echo, "stream": stream}
        answer = client.completions.create(model="base", prompt=sent, **how)
        choices = [choice for event in answer for choice in event.choices] if stream else answer.choices
        text = "".join(choice.text for choice in choices)
        scores = [choice.logprobs for choice in choices if choice.logprobs]
        words = [word for score in scores for word in score.tokens]
        places = [place for score in scores for place in score.text_offset]
        assert places == sorted(places)
        assert max(places) <= len(text)
        plain = [(word, place) for word, place in zip(words, places, strict=True) if not word.startswith("<")]
        assert [text[place : place + len(word)] for word, place in plain] == [word for word, _ in plain]
        forms.append((text, words, places))
    assert forms[0] == forms[1]


def test_the_end_is_the_last_token_of_a_completion_and_none_of_a_chat(client: openai.OpenAI) -> None:
    text = client.completions.create(model="base", prompt=CONTEXT, logprobs=1, temperature=0)
    assert text.choices[0].logprobs.tokens[-1] == "<end>"  # type: ignore[union-attr,index]
    assert len(text.choices[0].logprobs.tokens) == text.usage.completion_tokens + 1  # type: ignore[union-attr,arg-type]
    chat = complete(client, logprobs=True)
    assert len(chat.choices[0].logprobs.content) == chat.usage.completion_tokens


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


# ---------------------------------------------------------------- what strangers try


def ask_raw(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body. `body` is sent as it is, or as JSON."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as line:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        line.request(method, path, data, {"content-type": "application/json"} | headers)
        with line.getresponse() as answer:
            return (
                answer.status,
                {name.lower(): value for name, value in answer.headers.items()},
                answer.read().decode(),
            )


def error_of(answer: tuple[int, dict[str, str], str]) -> dict[str, Any]:
    """What an error says, which has four parts wherever it comes from."""
    error = json.loads(answer[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


NULLS = (
    *("n", "seed", "temperature", "top_p", "stop", "stream", "stream_options", "logprobs", "top_logprobs", "tools"),
    *("max_tokens", "max_completion_tokens", "response_format", "tool_choice", "logit_bias", "user", "verbosity"),
    *("reasoning_effort", "prediction", "web_search_options", "audio", "modalities", "metadata", "store"),
)


def test_every_field_may_be_null(client: openai.OpenAI) -> None:
    answer = complete(client, temperature=0, extra_body=dict.fromkeys(name for name in NULLS if name != "temperature"))
    assert answer.choices[0].message.content == complete(client).choices[0].message.content


@pytest.mark.parametrize("limit", [10**6, 2**40, 10**30])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_beyond_the_context_is_the_context(client: openai.OpenAI, field: str, limit: int) -> None:
    choice = complete(client, extra_body={field: limit}).choices[0]
    assert (choice.message.content, choice.finish_reason) == (complete(client).choices[0].message.content, "stop")


def test_both_limits_may_be_said_where_they_agree(client: openai.OpenAI) -> None:
    assert complete(client, max_tokens=2, max_completion_tokens=2).usage.completion_tokens == 2


def test_several_answers_come_in_one_stream(client: openai.OpenAI) -> None:
    """With log-probabilities: each answer's pieces and tokens are those that it has in one."""
    how = {"n": 3, "seed": 5, "temperature": 1.0, "logprobs": True, "top_logprobs": 2}
    whole = complete(client, **how)
    events = list(complete(client, stream=True, stream_options={"include_usage": True}, **how))
    texts, tokens, ends = ["", "", ""], [[], [], []], [[], [], []]
    for choice in (choice for event in events for choice in event.choices):
        texts[choice.index] += choice.delta.content or ""
        tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
        ends[choice.index] += [choice.finish_reason] if choice.finish_reason else []
    assert texts == [choice.message.content for choice in whole.choices]
    assert [[t.token for t in row] for row in tokens] == [[t.token for t in c.logprobs.content] for c in whole.choices]
    assert all(len(token.top_logprobs) == 2 for row in tokens for token in row)
    assert ends == [[choice.finish_reason] for choice in whole.choices]
    assert (events[-1].choices, events[-1].usage) == ([], whole.usage)
    assert all(event.usage is None for event in events[:-1])


@pytest.mark.parametrize("stop", [[], [""], ["é", "🎉"], ["\n"] * 64])
def test_a_stop_text_that_does_not_come_changes_nothing(client: openai.OpenAI, stop: list[str]) -> None:
    assert complete(client, stop=stop).choices[0].message.content == complete(client).choices[0].message.content


def test_the_first_of_several_stop_texts_ends_an_answer(client: openai.OpenAI) -> None:
    words = complete(client).choices[0].message.content.split()
    for stream in (False, True):
        answer = complete(client, stop=[words[2], words[1]], stream=stream)
        texts = [c.delta.content or "" for e in answer for c in e.choices] if stream else []
        assert ("".join(texts) if stream else answer.choices[0].message.content) == f"{words[0]} "


@pytest.mark.parametrize("text", ["", " ", "héllo 🎉", "你好", "a\u0000b", "<|im_end|>", "\u202eabc", "e\u0301"])
def test_any_text_is_answered_or_refused_by_name(url: str, text: str) -> None:
    for how in ({}, {"stream": True}):
        body = {"model": "base", "messages": [{"role": "user", "content": text}], "max_tokens": 3} | how
        answer = ask_raw(url, "POST", "/v1/chat/completions", body)
        assert answer[0] == 200 or (answer[0], error_of(answer)["param"]) == (400, "messages")


@pytest.mark.parametrize("temperature", [1e-320, 1e-30, 1e-6, 2])
def test_any_temperature_draws(client: openai.OpenAI, temperature: float) -> None:
    answer = complete(client, temperature=temperature, top_p=1e-9, logprobs=True)
    assert answer.choices[0].message.content == complete(client).choices[0].message.content  # the likeliest, alone


@pytest.mark.parametrize(
    ("body", "param", "why"),
    [
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": None}, "messages", "required"),
        ({"messages": "hello"}, "messages", "it is 'hello'; input should be a valid list"),
        ({"messages": ["hello"]}, "messages.0", "valid"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "required"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content", "it is 3; input should be"),
        ({"messages": [{"role": "user", "content": ["hello"]}]}, "messages.0.content.0", "it is 'hello'"),
        ({"messages": [{"role": "narrator", "content": ""}]}, "messages.0.role", "it is 'narrator'; input should be"),
        ({"n": 129}, "n", "it is 129; input should be less than or equal to 128"),
        ({"n": "many"}, "n", "it is 'many'; input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens", "it is 0; input should be greater"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "it is -1"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "it is 21"),
        ({"stop": ["x"] * 65}, "stop", "at most 64 texts"),
        ({"stop": [3]}, "stop.0", "it is 3; input should be a valid string"),
        ({"stop": {"a": 1}}, "stop", "valid"),
        ({"temperature": "warm"}, "temperature", "it is 'warm'"),
        ({"sampler": "mirostat"}, "sampler", "not supported here and would change the answer; leave it out"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_with_its_value(url: str, body: dict[str, Any], param: str, why: str) -> None:
    answer = ask_raw(url, "POST", "/v1/chat/completions", {"model": "base", "messages": GREET} | body)
    error = error_of(answer)
    assert (answer[0], error["param"]) == (400, param)
    assert error["message"].startswith(f"{param}: ")
    assert why in error["message"].lower()


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b"", {}, "it must be one JSON object"),
        (b"[]", {}, "it must be one JSON object"),
        (json.dumps({"model": "base"}).encode(), {"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        (b'{"model": ', {}, "it is no JSON"),
        ('{"model": "é"}'.encode("latin-1"), {}, "it cannot be read as JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, {}, "it cannot be read as JSON: maximum recursion depth"),
        (b'{"seed": ' + b"9" * 5000 + b"}", {}, "it cannot be read as JSON: Exceeds the limit"),
    ],
)
def test_a_body_that_is_no_object_is_said(url: str, body: bytes, headers: dict[str, str], why: str) -> None:
    answer = ask_raw(url, "POST", "/v1/chat/completions", body, **headers)
    error = error_of(answer)
    assert (answer[0], error["param"], error["message"].startswith("body: ")) == (400, None, True)
    assert error["code"] == "invalid_value"
    assert why in error["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": GREET, "x\ud83d": 1}),
        ("chat/completions", {"messages": [GREET[0] | {"x\ud83d": 1}]}),
        ("chat/completions", {"messages": GREET, "stream_options": {"x\ud83d": 1}}),
        ("completions", {"prompt": "hello", "x\ud83d": 1}),
    ],
)
def test_a_field_with_half_a_character_is_named(url: str, path: str, body: dict[str, Any]) -> None:
    answer = ask_raw(url, "POST", f"/v1/{path}", {"model": "base"} | body)
    error = error_of(answer)
    assert (answer[0], error["param"]) == (400, "x\\ud83d")
    assert error["message"].startswith("x\\ud83d: its name holds half a character")


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ([10**25], f"token {10**25} is none of this base's"),
        ([[5], [2**63]], f"token {2**63} is none of this base's"),
        ([-1], "token -1 is none of this base's"),
        ([True], "it holds true or false"),
        ([[5, False]], "it holds true or false"),
        ([[]], "it holds a prompt of no token"),
        ([[5], []], "it holds a prompt of no token"),
    ],
)
def test_tokens_that_are_none_are_refused(url: str, prompt: Any, why: str) -> None:
    answer = ask_raw(url, "POST", "/v1/completions", {"model": "base", "prompt": prompt, "max_tokens": 1})
    error = error_of(answer)
    assert (answer[0], error["param"]) == (400, "prompt")
    assert error["message"].startswith(f"prompt: {why}")


def test_no_log_probabilities_where_false_is_said(client: openai.OpenAI) -> None:
    for value, has_scores in ((False, False), (None, False), (0, True)):
        how: dict[str, Any] = {"prompt": "hello", "max_tokens": 2, "extra_body": {"logprobs": value}}
        choice = client.completions.create(model="base", **how).choices[0]
        assert (choice.logprobs is not None) is has_scores


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/models", 200),
        ("HEAD", "/v1/models/base", 200),
        ("HEAD", "/v1/models/nobody", 404),
        ("HEAD", "/v1/chat/completions", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/base", 405),
        ("GET", "/", 404),
        ("POST", "/chat/completions", 404),
        ("POST", "/v1/responses", 404),
        ("POST", "/v1/embeddings", 404),
    ],
)
def test_routes_that_there_are_and_are_not(url: str, method: str, path: str, status: int) -> None:
    answer = ask_raw(url, method, path)
    assert answer[0] == status
    if method == "HEAD":
        assert answer[2] == ""
    else:
        assert (error_of(answer)["code"], "POST /v1/chat/completions" in error_of(answer)["message"]) == (
            "unknown_url",
            True,
        )
    if status == 405:
        assert set(answer[1]["allow"].split(", ")) <= {"GET", "HEAD", "POST"}


def test_a_wrong_key_is_an_authentication_error() -> None:
    guarded = app(FakeEngine(), {"base": BASE}, house=House(key="k" * 16))
    with serving(guarded) as url:
        stranger = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
        for call in (stranger.models.list, lambda: complete(stranger), lambda: complete(stranger, stream=True)):
            with pytest.raises(openai.AuthenticationError) as error:
                call()
            assert (error.value.code, error.value.type) == ("invalid_api_key", "authentication_error")
        assert error_of(ask_raw(url, "GET", "/v1/models", host="evil.example"))["code"] == "unknown_host"
        assert error_of(ask_raw(url, "GET", "/v1/models", origin="http://evil.example"))["code"] == "foreign_origin"


def test_a_client_that_hangs_up_in_a_stream_takes_nothing_from_others(client: openai.OpenAI) -> None:
    alone = complete(client, seed=3, temperature=1.0).choices[0].message.content
    others = [complete(client, stream=True, n=8, seed=i, temperature=2.0) for i in range(3)]
    for stream in others:
        next(iter(stream))
        stream.close()
    assert complete(client, seed=3, temperature=1.0).choices[0].message.content == alone
