"""A line to an OpenAI-compatible endpoint: one POST after another, from several threads, as often as each takes.

What is worth another try (429, 408, 5xx, a line that breaks, a reply that is no JSON) is tried again, later and later,
or when the endpoint says (Retry-After, in seconds or as a date); then everybody on the line waits. `per_minute` spaces
requests out. A request that gets no answer has a fault and never a number. After a refusal that every request would
meet (401, 402, 404, and 403 before any answer), after `give_up` requests in a row without an answer, and where the
endpoint asks for a wait of more than PATIENCE, the rest are not sent. A 403 once something was answered is about one
prompt. A reply that comes in drops may take `timeout` as a whole.

The key is read from an environment variable when the line is opened. It stands in no record, message or digest, and
goes over https alone, or to this machine, which is asked without a proxy.

Left out: streaming, batches of an hour, proxies with a log-in.
Source: RFC 9110 (status codes, Retry-After), RFC 6585 (429).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
CLOSED, FORBIDDEN = frozenset({401, 402, 404}), 403
PERHAPS = frozenset({500, 502, 504})  # the request may have been answered, and the answer lost
WAIT, LONGEST = 1.0, 60.0  # seconds before the first new try, and at most
PATIENCE = 600.0  # seconds that are waited at most where the endpoint says how long
GIVE_UP = 5
BODY = 1 << 20  # bytes that are read of a reply
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an endpoint is (as in "https://api.openai.com/v1"), and how it is asked. `timeout` in seconds.

    Raises ValueError naming the field.
    """

    url: str
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 4
    per_minute: float | None = None
    give_up: int = GIVE_UP

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'url is {self.url!r}; it must be an address such as "https://api.openai.com/v1"')
        try:
            parts.port  # noqa: B018 - it is read to be checked
        except ValueError as error:
            raise ValueError(f"url is {self.url!r}; its port must be 0 to 65535") from error
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url holds a name, a password or a query; it is written down: give the key by key_env")
        for name, least in (("concurrency", 1), ("retries", 0), ("give_up", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("timeout", "per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; it must be above 0")

    def read_key(self) -> str:
        """The key, "" where there is none. Raises ValueError for one that would go over an open line."""
        key, parts = os.environ.get(self.key_env, "") if self.key_env else "", urlsplit(self.url)
        if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError(f"url is {self.url}; a key goes over https alone: use https, or key_env '' for no key")
        return key


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of one request: the body, or a fault and the field (`param`) that the endpoint says it is about; how
    many new tries it took, and when it may be tried again. `lost`: tries that reached the endpoint and whose reply did
    not come, so that nobody knows what they cost.
    """

    body: Any = None
    fault: str = ""
    status: int = 0
    param: str = ""
    again: bool = False
    after: float | None = None
    retries: int = 0
    lost: int = 0


class _SameHost(urllib.request.HTTPRedirectHandler):
    """A redirect is a fault: the key must not go to an address that nobody wrote down."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class Line:
    """The requests of one call, from several threads."""

    def __init__(self, address: Address) -> None:
        self.address, self._key = address, address.read_key()
        is_here = urlsplit(address.url).hostname in LOOPBACK
        self._opener = urllib.request.build_opener(_SameHost, *([urllib.request.ProxyHandler({})] if is_here else []))
        self._lock, self._over, self._why = threading.Lock(), threading.Event(), ""
        self._failures = 0  # requests in a row without an answer
        self.answered = False  # whether any request was
        self._next = 0.0  # the moment before which no request begins

    def close(self, why: str) -> None:
        """Ask nothing more."""
        with self._lock:
            self._why = self._why or why
        self._over.set()

    @property
    def closed(self) -> str:
        """Why nothing is asked any more; "" while something is."""
        return self._why if self._over.is_set() else ""

    def post(
        self,
        body: Mapping[str, Any],
        path: str = "chat/completions",
        *,
        may_repeat: Callable[[Reply], bool] = lambda reply: True,
    ) -> Reply:
        """The reply to one request, after as many tries as it takes; `may_repeat` is asked before each new one."""
        reply, attempt, lost = Reply(), 0, 0
        for attempt in range(self.address.retries + 1):
            self._take_turn()
            if self._over.is_set():
                return Reply(fault=f"not asked, after: {self._why}", lost=lost)
            reply = self._post(body, path)
            lost += reply.lost
            if not reply.again or attempt == self.address.retries or not may_repeat(reply):
                break
            self._back_off(attempt, reply)
        self._count(reply)
        return replace(reply, retries=attempt, lost=lost)

    def _take_turn(self) -> None:
        """Wait until a request may begin."""
        with self._lock:
            wait = self._next - time.monotonic()
            gap = 60.0 / self.address.per_minute if self.address.per_minute else 0.0
            self._next = max(self._next, time.monotonic()) + gap
        if wait > 0:
            self._over.wait(wait)

    def _back_off(self, attempt: int, reply: Reply) -> None:
        """Wait before another try; where the endpoint says how long, everybody does."""
        wait = min(LONGEST, WAIT * 2**attempt) if reply.after is None else reply.after
        if reply.after is not None:
            with self._lock:
                self._next = max(self._next, time.monotonic() + wait)
        self._over.wait(wait)

    def _post(self, body: Mapping[str, Any], path: str) -> Reply:
        request = urllib.request.Request(
            f"{self.address.url.rstrip('/')}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=self.address.timeout) as response:
                return Reply(body=json.loads(read_whole(response, self.address.timeout)))
        except urllib.error.HTTPError as error:
            return self._explain(error)
        except (OSError, HTTPException) as error:  # also timeouts, and URLError where it could not be sent
            fault, lost = f"no reply: {error or type(error).__name__}", not isinstance(error, urllib.error.URLError)
            return Reply(fault=self._clean(fault), again=True, lost=int(lost))
        except (ValueError, RecursionError) as error:
            return Reply(fault=f"the reply is not JSON: {error}", again=True, lost=1)

    def _explain(self, error: urllib.error.HTTPError) -> Reply:
        with error:
            try:
                text = read_whole(error, self.address.timeout).decode(errors="replace")
            except (OSError, HTTPException):
                text = ""
        fault, again = f"HTTP {error.code}: {' '.join(text.split())[:200]}", error.code in AGAIN
        seconds = seconds_until(error.headers.get("Retry-After", ""))
        if error.code == 401:
            name = self.address.key_env
            fault += f" (the key sent is that of {name})" if self._key else f" (no key was sent: {name} is not set)"
        if again and seconds is not None and seconds > PATIENCE:
            fault, again = f"{fault}; it asks to come again in {seconds:.0f} s", False
        lost = int(error.code in PERHAPS)
        return Reply(
            fault=self._clean(fault), status=error.code, param=param_of(text), again=again, after=seconds, lost=lost
        )

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _count(self, reply: Reply) -> None:
        with self._lock:
            self.answered = self.answered or not reply.fault
            self._failures = self._failures + 1 if reply.again else 0
            is_closed = reply.status in CLOSED or (reply.status == FORBIDDEN and not self.answered)
        is_put_off = reply.after is not None and reply.after > PATIENCE
        if is_closed or is_put_off or self._failures >= self.address.give_up:
            self.close(reply.fault)


def read_whole(response: Any, seconds: float) -> bytes:
    """The body of a reply. Raises OSError for one that takes longer, is longer than BODY, or ends before its end."""
    parts, size, until = list[bytes](), 0, time.monotonic() + seconds
    while part := response.read1(BODY):
        parts.append(part)
        size += len(part)
        if size > BODY:
            raise OSError(f"its answer is longer than {BODY:,} bytes")
        if time.monotonic() > until:
            raise TimeoutError(f"its answer took longer than {seconds:g} s")
    if getattr(response, "length", None):  # what was announced and did not come
        raise OSError(f"its answer ends {response.length} bytes before its end")
    return b"".join(parts)


def param_of(text: str) -> str:
    """The field that an error is about, in the shape of OpenAI's; "" where it names none.

    >>> param_of('{"error": {"message": "no", "param": "seed"}}'), param_of("no")
    ('seed', '')
    """
    try:
        error = json.loads(text)["error"]
        param = error["param"]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return ""
    return param if isinstance(param, str) else ""


def seconds_until(text: str) -> float | None:
    """What a Retry-After header asks for; None for one that says nothing.

    >>> seconds_until("3"), seconds_until("0.5"), seconds_until("soon"), seconds_until("Thu, 01 Jan 1970 00:00:00 GMT")
    (3.0, 0.5, None, 0.0)
    """
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip(), re.ASCII):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def count_tokens(body: Any) -> tuple[int, int]:
    """Tokens read and written, by the reply's own account; 0 where it gives none.

    >>> count_tokens({"usage": {"prompt_tokens": 7, "completion_tokens": 2}}), count_tokens([])
    ((7, 2), (0, 0))
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    forward, generated = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
    return forward, generated
