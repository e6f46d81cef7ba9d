"""A grader behind an OpenAI-compatible chat endpoint that gives log-probabilities: OpenAI, vLLM, llama.cpp and others.

    POST url/chat/completions   model, messages, max_tokens 1, temperature 0, logprobs, top_logprobs

What is worth another try (429, 408, 5xx, a line that breaks) is tried again, later and later. A prompt that gets no
answer has a fault and never a number. After a refusal that every prompt would meet (401, 403, 404), or GIVE_UP prompts
in a row without an answer, the rest of the call is not asked.

Left out: endpoints without log-probabilities, models that think before they answer, asynchronous batches.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from flyroom.judges.graders import NextTokens, Prompt
from flyroom.types import SETTING, Cost

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
CLOSED = frozenset({401, 403, 404})
WAIT, LONGEST = 1.0, 60.0  # seconds before the first new try, and at most
GIVE_UP = 5
BODY = 1 << 20  # bytes that are read of a reply
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`model` at `url` (as in "https://api.openai.com/v1"), of which the `top` likeliest tokens are looked at.

    The key is read from the environment variable `key_env` at each call and stands in no record, message or digest.
    `timeout` in seconds. Raises ValueError naming the field, and for a key that would go over an open line.
    """

    url: str
    model: str
    key_env: str = field(default="OPENAI_API_KEY", metadata=SETTING)
    top: int = 20
    concurrency: int = field(default=8, metadata=SETTING)
    timeout: float = field(default=60.0, metadata=SETTING)
    retries: int = field(default=4, metadata=SETTING)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'url is {self.url!r}; it must be an address such as "https://api.openai.com/v1"')
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url holds a name, a password or a query; it is written down: give the key by key_env")
        for name, least in (("top", 1), ("concurrency", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout}; it must be above 0")

    def ask(self, prompts: Sequence[Prompt], /) -> tuple[list[NextTokens], Cost]:
        start, line = time.monotonic(), _Line(self, self._read_key())
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="grader") as pool:
            try:
                replies = list(pool.map(line.ask, prompts))
            except BaseException:  # an interrupt, say: nobody waits or tries again
                line.close("interrupted")
                pool.shutdown(cancel_futures=True)
                raise
        return replies, line.cost + Cost(seconds=time.monotonic() - start)

    def _read_key(self) -> str:
        key, parts = os.environ.get(self.key_env, "") if self.key_env else "", urlsplit(self.url)
        if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError(f"url is {self.url}; a key goes over https alone: use https, or key_env '' for no key")
        return key


@dataclass(frozen=True, kw_only=True)
class _Reply:
    """What came of one request: the body, or a fault; and after how many seconds it may be tried again."""

    body: Any = None
    fault: str = ""
    status: int = 0
    again: bool = False
    after: float | None = None


class _SameHost(urllib.request.HTTPRedirectHandler):
    """A redirect is a fault: the key must not go to an address that nobody wrote down."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class _Line:
    """The requests of one call, from several threads."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self.endpoint, self.key, self.cost = endpoint, key, Cost()
        self._opener = urllib.request.build_opener(_SameHost)
        self._lock, self._over, self._why = threading.Lock(), threading.Event(), ""
        self._failures = 0  # prompts in a row without an answer

    def close(self, why: str) -> None:
        """Ask nothing more."""
        with self._lock:
            self._why = self._why or why
        self._over.set()

    def ask(self, prompt: Prompt) -> NextTokens:
        """One prompt, as often as it takes."""
        reply = _Reply()
        for attempt in range(self.endpoint.retries + 1):
            if self._over.is_set():
                return NextTokens(fault=f"not asked, after: {self._why}")
            reply = self._post(prompt)
            if not reply.again:
                break
            if attempt < self.endpoint.retries:
                self._over.wait(min(LONGEST, WAIT * 2**attempt if reply.after is None else reply.after))
        self._count(reply)
        return NextTokens(fault=reply.fault) if reply.fault else _parse(reply.body)

    def _post(self, prompt: Prompt) -> _Reply:
        request = urllib.request.Request(
            f"{self.endpoint.url.rstrip('/')}/chat/completions",
            json.dumps(self._write_body(prompt)).encode(),
            {"Content-Type": "application/json"},
        )
        if self.key:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        try:
            with self._opener.open(request, timeout=self.endpoint.timeout) as response:
                return _Reply(body=json.loads(response.read(BODY)))
        except urllib.error.HTTPError as error:
            return self._explain(error)
        except (OSError, HTTPException) as error:  # also URLError and timeouts
            return _Reply(fault=self._clean(f"no reply: {error or type(error).__name__}"), again=True)
        except ValueError as error:
            return _Reply(fault=f"the reply is not JSON: {error}", again=True)

    def _write_body(self, prompt: Prompt) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in prompt]
        one = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": self.endpoint.top}
        return {"model": self.endpoint.model, "messages": turns} | one

    def _explain(self, error: urllib.error.HTTPError) -> _Reply:
        with error:
            try:
                text = error.read(BODY).decode(errors="replace")
            except (OSError, HTTPException):
                text = ""
        fault, after = f"HTTP {error.code}: {' '.join(text.split())[:200]}", error.headers.get("Retry-After", "")
        return _Reply(
            fault=self._clean(fault),
            status=error.code,
            again=error.code in AGAIN,
            after=float(after) if after.isdecimal() else None,
        )

    def _clean(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text

    def _count(self, reply: _Reply) -> None:
        with self._lock:
            self._failures = self._failures + 1 if reply.again else 0
            self.cost += _count_tokens(reply.body)
        if reply.status in CLOSED or self._failures >= GIVE_UP:
            self.close(reply.fault)


def _count_tokens(body: Any) -> Cost:
    """Tokens by the reply's own account; nothing where it gives none."""
    usage = body.get("usage") if isinstance(body, dict) else None
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    forward, generated = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
    return Cost(forward_tokens=forward, generated_tokens=generated)


def _parse(body: Any) -> NextTokens:
    try:
        choice = body["choices"][0]
        if (choice.get("message") or {}).get("refusal"):
            return NextTokens(fault=f"the grader refused: {str(choice['message']['refusal'])[:200]}")
        tops = choice["logprobs"]["content"][0]["top_logprobs"]
        pairs = [(str(top["token"]), float(top["logprob"])) for top in tops]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return NextTokens(fault="the reply holds no log-probabilities (logprobs.content[0].top_logprobs)")
    if not pairs:
        return NextTokens(fault="the reply holds an empty list of log-probabilities")
    return NextTokens(logprobs=dict(pairs))
