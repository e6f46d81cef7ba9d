"""A model behind an endpoint: an answer or a counted fault, never a made-up one; kept, within a budget, as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine

from flyroom import client
from flyroom.client import Address
from flyroom.engine.endpoint import EMPTY, LOST, REMOTE, SPENT, UNCOUNTED, Budget, EndpointEngine
from flyroom.room import Room
from flyroom.types import BASE, Ask, Cost, Message, NotAvailable

Says = Callable[[int, dict[str, Any]], tuple[int, Any, dict[str, str]]]


@contextmanager
def endpoint(says: Says, pause: float = 0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint that answers by script, and the requests that it had. With a pause it sends a byte at a time."""
    requests: list[dict[str, Any]] = []
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                requests.append(body)
                number = len(requests)
            status, content, headers = says(number, body)
            text = content.encode() if isinstance(content, str) else dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # of a client that waits no longer
                for part in [text] if pause == 0 else [text[i : i + 1] for i in range(len(text))]:
                    self.wfile.write(part)
                    time.sleep(pause)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(content: Any = "fine", ends: str = "stop", **message: Any) -> tuple[int, Any, dict[str, str]]:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": ends}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}, {}


def asks(n: int) -> list[Ask]:
    return [Ask(messages=(Message("user", f"question {i}"),), seed=i) for i in range(n)]


def engine(url: str, room: Room | None = None, budget: Budget | None = None, **changes: Any) -> EndpointEngine:
    terms: dict[str, Any] = {"retries": 2, "concurrency": 1} | changes
    address = Address(url=url, **terms)
    return EndpointEngine(address, "m", base=FakeEngine().base, room=room, budget=budget)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_an_ask_goes_out_as_it_is_and_comes_back_once(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with endpoint(lambda n, body: reply(f"answer to {body['messages'][-1]['content']}")) as (url, requests):
        model = engine(url, room)
        answers = model.sample([REMOTE] * 3, asks(3))
        assert [a.text for a in answers] == [f"answer to question {i}" for i in range(3)]
        assert requests[1] == {
            "model": "m",
            "messages": [{"role": "user", "content": "question 1"}],
            "seed": 1,
            "temperature": 1.0,
            "max_tokens": 48,
        }
        other = engine(url, room)
        assert other.sample([REMOTE] * 5, asks(5))[:3] == answers
        assert len(requests) == 5  # the first three were in the room
        assert (other.account.from_room, other.account.requests) == (3, 2)
        assert (other.tokens_forward, other.tokens_generated) == (20, 4)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply(""), EMPTY),
        (reply("  \n"), EMPTY),
        (reply(None), EMPTY),
        (reply(None, refusal="I cannot"), "the endpoint refused: I cannot"),
        (reply("", ends="content_filter"), "the endpoint refused: content_filter"),
        ((200, {"choices": []}, {}), "the reply holds no answer"),
        ((200, [], {}), "the reply holds no answer"),
        ((200, "<html>", {}), "the reply is not JSON"),
        ((200, {"error": {"message": "out of credits"}}, {}), "the endpoint reports an error: out of credits"),
        ((200, '{"choices": [{"mess', {"Content-Length": "60"}), "no reply: its answer ends 41 bytes before its end"),
        ((200, "1" * ((1 << 20) + 1), {}), "no reply: its answer is longer than 1,048,576 bytes"),
        ((400, {"error": "no such thing"}, {}), "HTTP 400"),
        ((500, {"error": "boom"}, {}), "HTTP 500"),
    ],
)
def test_a_bad_answer_is_none_and_is_counted(tmp_path: Path, answer: Any, fault: str) -> None:
    room = Room(tmp_path)
    with endpoint(lambda n, body: answer) as (url, _):
        model = engine(url, room)
        (result,) = model.sample([REMOTE], asks(1))
    assert (result.text, result.finished) == ("", False)
    (reason,) = model.account.faults
    assert reason.startswith(fault)
    assert list(room.list("answer")) == []  # it is asked again the next time


def test_parts_and_cut_answers_are_read() -> None:
    with endpoint(lambda n, body: reply([{"type": "text", "text": "half an"}], ends="length")) as (url, _):
        (answer,) = engine(url).sample([REMOTE], asks(1))
    assert (answer.text, answer.finished) == ("half an", False)


def test_it_waits_as_it_is_told_and_tries_again() -> None:
    script = {1: (429, {}, {"Retry-After": "0"}), 2: (503, {}, {}), 4: (200, "{", {})}
    with endpoint(lambda n, body: script.get(n) or reply()) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 2, asks(2))] == ["fine", "fine"]
    assert (len(requests), model.account.retries, model.account.requests) == (5, 3, 2)


def test_everybody_waits_for_a_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    line = client.Line(Address(url="http://localhost:1/v1", per_minute=60))
    waits: list[float] = []
    monkeypatch.setattr(line._over, "wait", lambda seconds: waits.append(seconds))
    for _ in range(3):
        line._take_turn()
    assert len(waits) == 2  # the first may go at once
    assert 1.5 < waits[1] <= 2.0
    line._back_off(0, client.Reply(after=30.0))
    line._take_turn()
    assert waits[-1] > 29


def test_a_reply_that_comes_in_drops_is_not_waited_for() -> None:
    with endpoint(lambda n, body: reply(), pause=0.1) as (url, requests):
        model = engine(url, timeout=0.3, retries=0)
        (answer,) = model.sample([REMOTE], asks(1))
    assert (answer.text, len(requests)) == ("", 1)
    assert dict(model.account.faults) == {"no reply: its answer took longer than 0.3 s": 1}


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        ((401, {"error": "who are you"}, {}), "(no key was sent: OPENAI_API_KEY is not set)"),
        ((402, {"error": "pay first"}, {}), "HTTP 402"),
        ((429, {"error": "tomorrow"}, {"Retry-After": "7200"}), "it asks to come again in 7200 s"),
    ],
)
def test_what_every_request_would_meet_is_met_once(refusal: Any, why: str) -> None:
    with endpoint(lambda n, body: refusal) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 3, asks(3))] == [""] * 3
    assert (len(requests), model.account.faults.total()) == (1, 3)
    first, rest = model.account.faults
    assert why in first
    assert rest == f"not asked, after: {first}"


def test_a_key_that_is_refused_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-secret")
    with endpoint(lambda n, body: (401, {"error": "no such key: sk-secret"}, {})) as (url, _):
        model = engine(url, key_env="MINE")
        model.sample([REMOTE], asks(1))
    (fault,) = model.account.faults
    assert fault.endswith("(the key sent is that of MINE)")
    assert "sk-secret" not in fault


def test_a_budget_holds_where_nobody_counts_tokens() -> None:
    with endpoint(lambda n, body: (200, {"choices": reply()[1]["choices"]}, {})) as (url, requests):
        model = engine(url, budget=Budget(tokens=200))
        answers = model.sample([REMOTE] * 20, asks(20))
    assert 0 < len(requests) == sum(a.text == "fine" for a in answers) < 5
    assert 0 < model.account.forward + model.account.generated <= 200
    assert model.notes == [UNCOUNTED]


def test_a_field_that_is_refused_by_name_is_left_out() -> None:
    def says(number: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if "seed" in body:
            return 400, {"error": {"message": "unknown field: seed"}}, {}
        if "max_tokens" in body:
            return 400, {"error": {"message": "use max_completion_tokens instead of max_tokens"}}, {}
        return reply()

    with endpoint(says) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 2, asks(2))] == ["fine", "fine"]
    assert sorted(requests[-1]) == ["max_completion_tokens", "messages", "model", "temperature"]
    assert model.notes == ["the endpoint takes no seed"]
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("budget", "most"), [(Budget(tokens=150), 150), (Budget(money=0.003, prices=(10.0, 40.0)), 178)]
)
def test_no_request_begins_that_could_go_over_the_budget(budget: Budget, most: int) -> None:
    with endpoint(lambda n, body: reply()) as (url, requests):
        model = engine(url, budget=budget)
        answers = model.sample([REMOTE] * 20, asks(20))
    assert 0 < len(requests) < 20
    assert model.account.forward + model.account.generated <= most
    assert sum(a.text == "" for a in answers) == 20 - len(requests) == model.account.faults[SPENT]


def test_who_would_fit_but_for_others_waits_for_them() -> None:
    """A question may cost 59 tokens and costs 12, so a budget of 83 has room for three, one after another."""

    def answer_late(number: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        time.sleep(0.1)
        return reply()

    with endpoint(answer_late) as (url, requests):
        model = engine(url, budget=Budget(tokens=83), concurrency=4)
        answers = model.sample([REMOTE] * 4, asks(4))
    assert [a.text for a in answers].count("fine") == len(requests) == 3
    assert (model.account.faults[SPENT], model._open) == (1, Cost())


CUT = (200, '{"choices": [{"mess', {"Content-Length": "60"})  # sent in part, after the answer was written


def test_a_reply_that_is_lost_is_paid_for() -> None:
    """A question may cost 59 tokens, so a budget of 150 has room for two tries, and not for three."""
    with endpoint(lambda n, body: CUT) as (url, requests):
        model = engine(url, budget=Budget(tokens=150), retries=4)
        model.sample([REMOTE] * 5, asks(5))
    assert (len(requests), model.account.faults[SPENT]) == (2, 4)
    assert model.account.forward + model.account.generated == 2 * 59
    assert model.notes == [LOST]
    with endpoint(lambda n, body: CUT if n == 1 else (429, {}, {}) if n == 2 else reply()) as (url, requests):
        model = engine(url, budget=Budget(tokens=150))
        assert [a.text for a in model.sample([REMOTE], asks(1))] == ["fine"]
    assert model.account.forward + model.account.generated == 59 + 12  # who is put off is not served
    assert model._open == Cost()


def test_nobody_sees_a_reply_and_what_was_set_aside_for_it() -> None:
    seen: list[int] = []

    class Lock:
        """Notes, at each release, what another thread would see."""

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None:
            total = model.account.cost + model._open
            seen.append(total.forward_tokens + total.generated_tokens)

        def notify_all(self) -> None: ...

    with endpoint(lambda n, body: reply()) as (url, _):
        model = engine(url)
        model._lock = Lock()  # pyright: ignore[reportAttributeAccessIssue]
        model.sample([REMOTE], asks(1))
    assert (max(seen), seen[-1]) == (59, 12)


def test_what_never_reached_the_endpoint_costs_nothing() -> None:
    model = engine("http://127.0.0.1:1/v1", budget=Budget(tokens=60))
    model.sample([REMOTE], asks(1))
    assert (model.account.retries, model.account.cost.forward_tokens, model.notes) == (2, 0, [])


@pytest.mark.parametrize(
    "error",
    [
        {"message": "refused: 'what temperature melts a seed?' is against our policy"},
        {"message": "the temperature of this chat is too high", "param": "messages"},
    ],
)
def test_a_refusal_that_quotes_the_prompt_takes_no_field_away(error: dict[str, Any]) -> None:
    words = ("hello", "what temperature melts a seed?", "again")
    questions = [Ask(messages=(Message("user", text),), seed=i) for i, text in enumerate(words)]
    with endpoint(lambda n, body: (400, {"error": error}, {}) if n == 2 else reply()) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 3, questions)] == ["fine", "", "fine"]
    assert all({"seed", "temperature"} < set(body) for body in requests)
    assert (len(requests), model.notes) == (3, [])


def test_a_field_is_left_out_for_good_only_where_that_helps() -> None:
    def says(number: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        return (400, {"error": {"message": "seed: no"}}, {}) if "0" in body["messages"][0]["content"] else reply()

    with endpoint(says) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 2, asks(2))] == ["", "fine"]
    assert ["seed" in body for body in requests] == [True, False, True]
    assert model.notes == []


def test_a_run_that_goes_on_knows_what_its_answers_were_asked_without(tmp_path: Path) -> None:
    def says(number: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        no = {"error": {"message": "only 1 is supported", "param": "temperature"}}
        return (400, no, {}) if "temperature" in body else reply()

    with endpoint(says) as (url, requests):
        for count, asked in ((3, 4), (3, 4), (4, 5)):
            model = engine(url, Room(tmp_path))
            assert len(model.sample([REMOTE] * count, asks(count))) == count
            assert model.notes == ["the endpoint takes no temperature"]
            assert len(requests) == asked


def test_one_prompt_that_is_forbidden_ends_nothing() -> None:
    flagged = (403, {"error": {"message": "your input was flagged"}}, {})
    with endpoint(lambda n, body: flagged if n == 2 else reply()) as (url, requests):
        model = engine(url)
        assert [a.text for a in model.sample([REMOTE] * 4, asks(4))] == ["fine", "", "fine", "fine"]
    assert model.account.refusals == 1
    assert next(iter(model.account.faults)).startswith("the endpoint refused: HTTP 403")
    for first, count in ((1, 1), (2, 9)):  # before any answer, and however often behind one
        with endpoint(lambda n, body, first=first: flagged if n >= first else reply()) as (url, requests):
            engine(url).sample([REMOTE] * 9, asks(9))
        assert len(requests) == count


def test_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with (
        endpoint(lambda n, body: reply("by the proxy")) as (proxy, seen),
        endpoint(lambda n, body: reply()) as (url, _),
    ):
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/v1"))
        assert [a.text for a in engine(url).sample([REMOTE], asks(1))] == ["fine"]
        assert [a.text for a in engine("http://far.example/v1", key_env="").sample([REMOTE], asks(1))] == [
            "by the proxy"
        ]
    assert len(seen) == 1


def test_an_interrupt_keeps_what_was_had(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with endpoint(lambda n, body: reply(str(n))) as (url, requests):
        model, kept = engine(url, room), room.put_many

        def die(entries: Any) -> Any:
            if len(room.list("answer")) == 3:
                raise KeyboardInterrupt
            return kept(entries)

        room.put_many = die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            model.sample([REMOTE] * 9, asks(9))
        again = engine(url, Room(tmp_path))
        assert len(again.sample([REMOTE] * 9, asks(9))) == 9
        assert again.account.from_room == 3
        assert len(requests) <= 9 + 2


def test_what_an_endpoint_cannot_do_is_not_available() -> None:
    model = engine("http://localhost:1/v1")
    with pytest.raises(NotAvailable, match="prefilled"):
        model.sample([REMOTE], [Ask(messages=(Message("user", "?"),), seed=0, prefill="yes")])
    with pytest.raises(NotAvailable, match="one model"):
        model.sample([REMOTE, BASE], asks(2))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Budget(tokens=0), "tokens is 0"),
        (lambda: Budget(money=1.0), "there are no prices"),
        (lambda: Budget(prices=(-1.0, 2.0)), "prices are"),
        (lambda: Address(url="ftp://x"), "url is 'ftp://x'"),
        (lambda: Address(url="http://x:99999/v1"), "its port must be 0 to 65535"),
        (lambda: Address(url="http://x/v1", per_minute=0), "per_minute is 0"),
        (lambda: Address(url="http://x/v1", retries=-1), "retries is -1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


def test_a_key_goes_over_an_open_line_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(ValueError, match="https alone"):
        Address(url="http://far.example/v1").read_key()
    assert Address(url="http://127.0.0.1:1/v1").read_key() == "sk-secret"
