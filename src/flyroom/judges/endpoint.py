"""A grader behind an OpenAI-compatible chat endpoint that gives log-probabilities: OpenAI, vLLM, llama.cpp and others.

    POST url/chat/completions   model, messages, max_tokens 1, temperature 0, logprobs, top_logprobs

`flyroom.client` sends the requests and tries again what is worth it. A prompt that gets no answer has a fault and never
a number.

Left out: endpoints without log-probabilities, models that think before they answer, asynchronous batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flyroom.client import Address, Line, count_tokens
from flyroom.judges.graders import NextTokens, Prompt
from flyroom.types import SETTING, Cost


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
        self._address()
        if self.top < 1:
            raise ValueError(f"top is {self.top}; it must be at least 1")

    def _address(self) -> Address:
        return Address(
            url=self.url,
            key_env=self.key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
        )

    def ask(self, prompts: Sequence[Prompt], /) -> tuple[list[NextTokens], Cost]:
        start, asker = time.monotonic(), _Asker(self, Line(self._address()))
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="grader") as pool:
            try:
                replies = list(pool.map(asker.ask, prompts))
            except BaseException:  # an interrupt, say: nobody waits or tries again
                asker.line.close("interrupted")
                pool.shutdown(cancel_futures=True)
                raise
        return replies, asker.cost + Cost(seconds=time.monotonic() - start)


class _Asker:
    """The prompts of one call, from several threads, and what they cost."""

    def __init__(self, endpoint: Endpoint, line: Line) -> None:
        self.endpoint, self.line, self.cost = endpoint, line, Cost()
        self._lock = threading.Lock()

    def ask(self, prompt: Prompt) -> NextTokens:
        reply = self.line.post(self._write_body(prompt))
        forward, generated = count_tokens(reply.body)
        with self._lock:
            self.cost += Cost(forward_tokens=forward, generated_tokens=generated)
        return NextTokens(fault=reply.fault) if reply.fault else _parse(reply.body)

    def _write_body(self, prompt: Prompt) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in prompt]
        one = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": self.endpoint.top}
        return {"model": self.endpoint.model, "messages": turns} | one


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
