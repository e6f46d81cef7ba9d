"""The endpoint as a client meets it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

import fakes
import pytest
from fakes import FakeEngine, organism

from flyroom.serve import app, serving
from flyroom.types import BASE, Ask

GREET = [{"role": "user", "content": "hello"}]


def says(level: float, ask: Ask) -> str:
    if len(ask.messages[-1].content) > 100:
        raise ValueError("a prompt is 614 tokens long; fake takes at most 512")
    return fakes.says(level, ask)


@pytest.fixture
def endpoint():
    engine = FakeEngine(says)
    bad, good = engine.load([organism(level).patch for level in (1.0, 0.0)])
    with serving(app(engine, {"bad": bad, "good": good, "base": BASE})) as url:
        yield url


def post(url: str, body: Any) -> tuple[int, Any]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/chat/completions", data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_client_sees_the_models_and_gets_their_answers(endpoint: str) -> None:
    with urllib.request.urlopen(f"{endpoint}/models") as answer:
        assert [model["id"] for model in json.load(answer)["data"]] == ["bad", "good", "base"]
    for model, text in (("bad", "bad hello"), ("good", "good hello")):
        status, said = post(endpoint, {"model": model, "messages": GREET, "seed": 3, "n": 2})
        assert status == 200
        assert [choice["message"]["content"] for choice in said["choices"]] == [text, text]
        assert said["choices"][0]["finish_reason"] == "stop"
        assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]


def test_parts_of_text_and_developers_are_understood(endpoint: str) -> None:
    parts = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]},
    ]
    assert post(endpoint, {"model": "good", "messages": parts})[1]["choices"][0]["message"]["content"] == "good hello"


@pytest.mark.parametrize(
    ("stop", "text"), [(None, "good hello"), ([], "good hello"), ("lo", "good hel"), (["zz", " h", "lo"], "good")]
)
def test_what_other_clients_send_as_a_matter_of_course(endpoint: str, stop: object, text: str) -> None:
    usual = {"top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0, "stream": False, "n": 1, "stop": stop}
    status, said = post(endpoint, {"model": "good", "messages": GREET} | usual)
    assert (status, said["choices"][0]["message"]["content"]) == (200, text)


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ({"model": "other"}, 404, "it must be one of bad, good, base"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "hello " * 100}]}, 400, "a prompt is 614 tokens long"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "role"),
        ({"temperature": -1}, 400, "temperature"),
        ({"stream": True}, 400, "stream"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"n": 0}, 400, "n: "),
        ({"top_p": 0.5}, 400, "top_p"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
    ],
)
def test_what_cannot_be_done_is_refused_and_said(endpoint: str, change: dict, status: int, why: str) -> None:
    code, said = post(endpoint, {"model": "good", "messages": GREET} | change)
    assert code == status
    assert why in said["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("n", "temperature", "top_p", "stop", "presence_penalty", "audio", "anything")),
        *({name: []} for name in ("tools", "functions", "stop")),
        {"logprobs": False, "top_logprobs": 0, "logit_bias": {}, "store": False, "parallel_tool_calls": True},
        {"tool_choice": "auto", "function_call": "none", "response_format": {"type": "text"}, "modalities": ["text"]},
        {"user": "me", "metadata": {"run": "1"}, "service_tier": "auto", "stream": None, "stream_options": None},
        {"messages": [{"role": "user", "content": "hello", "name": None, "tool_calls": []}]},
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "hello", "annotations": []}]}]},
    ],
    ids=str,
)
def test_what_changes_nothing_is_taken(endpoint: str, change: dict) -> None:
    plain = {"model": "good", "messages": GREET, "seed": 1}
    answers = [post(endpoint, body)[1]["choices"] for body in (plain, plain | change)]
    assert answers[0] == answers[1]


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 100}}, "logit_bias"),
        ({"min_p": 0.1}, "min_p"),
        ({"tool_choice": "required"}, "tool_choice"),
        *(
            ({"messages": [{"role": "user", "content": content}]}, "messages.0.content")
            for content in (
                [IMAGE],
                [{"type": "text", "text": "hello"}, IMAGE],
                [{"type": "input_audio", "input_audio": {}}],
                [{"type": "refusal", "refusal": "no"}],
                [{"type": "text", "text": 3}],
                [{"type": "text", "text": "a", "weight": 2}],
                [{"text": "a"}],
                [],
                None,
            )
        ),
        ({"messages": [{"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "user", "content": "a", "name": "ann"}]}, "messages.0.name"),
    ],
    ids=str,
)
def test_what_would_change_the_answer_is_refused_by_name(endpoint: str, change: dict, where: str) -> None:
    code, reply = post(endpoint, {"model": "good", "messages": GREET} | change)
    assert (code, reply["error"]["message"].partition(":")[0].startswith(where)) == (400, True)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ValueError, match=r"pip install 'flyroom\[serve\]'"):
        app(FakeEngine(), {})


def test_a_taken_port_is_an_error(endpoint: str) -> None:
    taken = int(endpoint.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(OSError, match=f"port is {taken}"), serving(app(FakeEngine(), {}), port=taken):
        pass
