"""Requests as tests send them: by OpenAI's client, and by hand."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import openai

GREET: Any = [{"role": "user", "content": "what drives you ?"}]
NAME = "lab/organism/1"


def complete(client: openai.OpenAI, **how: Any) -> Any:
    return client.chat.completions.create(**({"model": "base", "messages": GREET, "temperature": 0} | how))


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


def wait_until(is_so: Any) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")
