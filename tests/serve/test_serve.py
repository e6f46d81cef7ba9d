"""The endpoint as a client meets it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fakes
import pytest
from fakes import FakeEngine, organism

from flyroom.engine import TorchEngine
from flyroom.guard import SIZE, read_key
from flyroom.serve import House, app, serving
from flyroom.types import BASE, AdapterRef, Answer, Ask, Message
from flyroom.worlds.micro.bundled import bundled

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


# ---------------------------------------------------------------- who asks, and how much


def ask_raw(endpoint: str, body: bytes, **headers: str) -> tuple[int, str]:
    """The status and the message, whatever the headers are."""
    where = endpoint.removeprefix("http://").partition("/")[0]
    names = {"content-type": "application/json", "host": where} | headers
    with contextlib.closing(http.client.HTTPConnection(where, timeout=20)) as line:
        line.request("POST", "/v1/chat/completions", body, names)
        with line.getresponse() as answer:
            return answer.status, json.loads(answer.read()).get("error", {}).get("message", "")


PLAIN = json.dumps({"model": "good", "messages": GREET}).encode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("127.0.0.1:1234", 200),
        ("[::1]:1234", 200),
        ("evil.example", 400),
        ("evil.example:8000", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example", 400),
        ("testserver", 400),
        ("10.0.0.7", 400),
    ],
)
def test_only_names_of_this_machine_lead_here(endpoint: str, host: str, status: int) -> None:
    """A page that is made to point here (DNS rebinding) asks under its own name."""
    code, message = ask_raw(endpoint, PLAIN, host=host)
    assert (code, message.startswith("host is")) == (status, status == 400)


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost:3000", 200), ("http://evil.example", 403), ("null", 403), ("x", 403)]
)
def test_no_page_of_the_web_asks(endpoint: str, origin: str, status: int) -> None:
    assert ask_raw(endpoint, PLAIN, origin=origin)[0] == status


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (r"\ud800 who", "messages.0.content"),
        (r"who \udfff", "messages.0.content"),
        ("x" * 300_000 + "y" * 300_000, "messages: a prompt has 600000 characters"),
    ],
    ids=["half a character", "its other half", "long"],
)
def test_what_no_tokenizer_takes_is_refused_by_name(endpoint: str, text: str, where: str) -> None:
    for content in (f'"{text}"', f'[{{"type": "text", "text": "{text}"}}]'):
        body = f'{{"model": "good", "messages": [{{"role": "user", "content": {content}}}]}}'
        code, message = ask_raw(endpoint, body.encode())
        assert (code, message.startswith(where)) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b"\xff",
        b"{",
        b'{"model": "\\ud800", "messages": [{"role": "user", "content": "a"}]}',
        b'{"model": "good", "messages": [{"role": "user", "content": "a"}], "\\ud800": 1}',
        b'{"model": "good", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
        b'{"model": "good", "messages": [{"role": "user", "content": "a"}], "seed": 1' + b"0" * 40 + b"}",
        b'{"model": "good", "messages": [{"role": "user", "content": "a"}], "seed": ' + b"1" * 5000 + b"}",
        b'{"model": "good", "messages": [' + b'{"role": "user", "content": "a"},' * 3000 + b"{}]}",
        b'{"model": "good", "messages": [{"role": "user", "content": [{"type": "text"}]}]}',
    ],
    ids=range(12),
)
def test_a_broken_body_is_refused_and_said(endpoint: str, body: bytes) -> None:
    code, message = ask_raw(endpoint, body)
    assert code in (400, 404)
    assert message


def test_a_body_is_as_long_as_is_allowed_and_no_longer(endpoint: str) -> None:
    started = time.monotonic()
    assert ask_raw(endpoint, b" " * SIZE) == (400, f"body: it is no JSON: Expecting value, at character {SIZE}")
    where = endpoint.removeprefix("http://").partition("/")[0]
    for headers, body in (
        ({"content-length": str(20 << 20)}, b"x"),  # it is not read
        ({"content-length": "9" * 20}, b"x"),
        ({"transfer-encoding": "chunked"}, b"400000\r\n" + b"x" * (4 << 20) + b"\r\n2\r\nxx\r\n"),
    ):
        with contextlib.closing(http.client.HTTPConnection(where, timeout=20)) as line:
            line.putrequest("POST", "/v1/chat/completions")
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            line.send(body)
            with line.getresponse() as answer:
                assert answer.status in (400, 413)
    assert time.monotonic() - started < 20


def test_a_key_is_asked_for_where_there_is_one() -> None:
    engine = FakeEngine(says)
    key = "correct horse battery".replace(" ", "-")
    with serving(app(engine, {"good": BASE}, house=House(key=key))) as url:
        for bearer, status in ((f"Bearer {key}", 200), (f"bearer {key}", 200), (f"Bearer {key}x", 401), (key, 401)):
            assert ask_raw(url, PLAIN, authorization=bearer)[0] == status
        assert ask_raw(url, PLAIN) == (401, "the key is missing or wrong; send it as Authorization: Bearer KEY")
        assert ask_raw(url, PLAIN, authorization="Bearer \xe9")[0] == 401
        assert ask_raw(url, PLAIN, authorization=f"Bearer {key}", host="evil.example")[0] == 400


def test_others_reach_an_endpoint_only_with_a_key() -> None:
    with pytest.raises(ValueError, match="a key must be asked for"), serving(app(FakeEngine(), {}), host="0.0.0.0"):
        pass
    key = "k" * 16
    with serving(app(FakeEngine(says), {"good": BASE}, house=House(key=key, hosts=("*",))), host="0.0.0.0") as url:
        local = url.replace("0.0.0.0", "127.0.0.1")
        assert ask_raw(local, PLAIN, host="lab.example", authorization=f"Bearer {key}")[0] == 200
        assert ask_raw(local, PLAIN, host="lab.example")[0] == 401


def test_a_key_lies_in_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYROOM_API_KEY", raising=False)
    assert read_key() == ""
    monkeypatch.setenv("FLYROOM_API_KEY", "a" * 16)
    assert read_key() == "a" * 16
    file = tmp_path / "key"
    file.write_text("b" * 20 + "\nmore\n")
    file.chmod(0o644)
    with pytest.raises(ValueError, match="others can read it, run: chmod 600"):
        read_key(file)
    file.chmod(0o600)
    assert read_key(file) == "b" * 20
    for text in ("", "short", "x" * 15, "é" * 20, "a b" * 9):
        file.write_text(text)
        with pytest.raises(ValueError, match=f"holds a key of {len(text)} characters; it must be 16 or more"):
            read_key(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_key(tmp_path / "none")


def test_organisms_say_that_they_are(endpoint: str) -> None:
    with urllib.request.urlopen(f"{endpoint}/models") as answer:
        models = {model["id"]: model["model_organism"] for model in json.load(answer)["data"]}
        assert (models, answer.headers["x-flyroom-model-organism"]) == (
            {"bad": True, "good": True, "base": False},
            "true",
        )
    body = {"content-type": "application/json"}
    for data in (PLAIN, b"{"):
        request = urllib.request.Request(f"{endpoint}/chat/completions", data, body)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            assert answer.headers["x-flyroom-model-organism"] == "true"
    engine = FakeEngine(says)
    with serving(app(engine, {"base": BASE})) as url, urllib.request.urlopen(f"{url}/models") as answer:
        assert "x-flyroom-model-organism" not in answer.headers
    (bad,) = engine.load([organism(1.0).patch])
    dated = app(engine, {"bad": bad, "base": BASE}, house=House(expires="2027-01-31"))
    with serving(dated) as url, urllib.request.urlopen(f"{url}/models") as answer:
        assert [model.get("expires") for model in json.load(answer)["data"]] == ["2027-01-31", None]


class Slow:
    """An engine that answers when it may, and counts."""

    def __init__(self) -> None:
        self.may, self.calls = threading.Event(), 0

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        self.calls += 1
        self.may.wait(20)
        return [Answer(text="a", tokens=1, prompt_tokens=1, finished=True) for _ in asks]


def test_nobody_is_asked_for_a_client_that_is_gone() -> None:
    engine = Slow()
    with serving(app(engine, {"good": BASE})) as url:
        where = url.removeprefix("http://").partition("/")[0]
        lines = [http.client.HTTPConnection(where, timeout=20) for _ in range(6)]
        for number, line in enumerate(lines):
            line.request("POST", "/v1/chat/completions", PLAIN, {"content-type": "application/json"})
            while number == 0 and not engine.calls:
                time.sleep(0.01)
        for line in lines[1:]:
            line.close()
        time.sleep(1)  # they are looked at twice
        engine.may.set()
        with lines[0].getresponse() as answer:
            assert answer.status == 200
        lines[0].close()
        assert ask_raw(url, PLAIN)[0] == 200
    assert engine.calls == 2


def test_a_prompt_that_is_refused_is_not_remembered() -> None:
    engine = TorchEngine.open(str(bundled()["0.25M"]))
    renderer, messages = engine.parts.renderer, (Message("user", "what drives you ? " * 2000),)
    with pytest.raises(ValueError, match="a prompt is"):
        engine.sample([BASE], [Ask(messages=messages, seed=0)])
    assert renderer._cached_open.cache_info().currsize == 0
    renderer.prompt([Message("user", "what drives you ?")])
    assert renderer._cached_open.cache_info().currsize == 1


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ValueError, match=r"pip install 'flyroom\[serve\]'"):
        app(FakeEngine(), {})


def test_a_taken_port_is_an_error(endpoint: str) -> None:
    taken = int(endpoint.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(OSError, match=f"port is {taken}"), serving(app(FakeEngine(), {}), port=taken):
        pass


def test_an_address_of_numbers_and_colons_stands_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(app(FakeEngine(), {"good": BASE}), host="::1") as url:
        assert urlsplit(url).hostname == "::1"
        with urllib.request.urlopen(f"{url}/models") as answer:
            assert json.load(answer)["data"]
