"""Why a request is not answered, in the shape that OpenAI's clients raise as exceptions: a message, the field that it
is about, and a code that a program can compare.

    {"error": {"message": "n: ...", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

LONGEST = 2000  # characters of a message: what it quotes may be long
QUOTE = 80  # characters of a value that it quotes
KINDS = re.compile(
    r"str|int|list\[.*\]"
)  # where a value may be of several kinds, pydantic names the kind behind the field
CODES = {
    "extra_forbidden": "unsupported_parameter",
    "missing": "missing_required_parameter",
    "unsupported": "unsupported_value",
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error"}


class Refusal(Exception):
    """A request is not answered. `wait`: seconds after which it may be sent again."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str = "", wait: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.wait = status, message, param, wait
        self.code = code or ("invalid_value" if status == 400 else "")

    def body(self) -> dict[str, Any]:
        """As JSON.

        >>> Refusal(400, "n: is 0", param="n").body()["error"]["param"]
        'n'
        """
        text = self.message[:LONGEST].encode("utf-8", "backslashreplace").decode()  # half a character cannot be sent
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": text, "type": kind, "param": self.param, "code": self.code or None}}

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.wait)} if self.wait else {}


HINTS = {
    "response_format": 'only {"type": "text"} is supported: an answer is what the model writes, and nothing shapes it',
}
FORBIDDEN = "it is not supported here and would change the answer; leave it out"


def refusal_of(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """The refusal of a body that is none: its first error, of those that pydantic lists."""
    first = _deepest(errors)
    if first["type"] == "json_invalid":
        return Refusal(400, f"body: it is no JSON: {first['ctx']['error']}, at character {first['loc'][-1]}")
    param = ".".join(str(part) for part in first["loc"][1:] if not KINDS.fullmatch(str(part)))
    message, code = _reason_of(first), CODES.get(first["type"], "")
    if not param and first["type"] != "field":
        return Refusal(400, "body: it must be one JSON object, with the header content-type: application/json")
    if first["type"] == "field":  # what fields must have among them is an error of the body that names one of them
        param, _, message = message.partition(": ")
    elif first["type"] == "extra_forbidden":
        message, code = HINTS.get(param, FORBIDDEN), "unsupported_value" if param in HINTS else code
    return Refusal(400, f"{param}: {message}", param=param, code=code)


def _deepest(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a value that is of none of several kinds, what is wrong with it as the kind that it comes nearest to."""
    field = tuple(takewhile(lambda part: not KINDS.fullmatch(str(part)), errors[0]["loc"]))
    return max((e for e in errors if e["loc"][: len(field)] == field), key=lambda error: len(error["loc"]))


def _reason_of(error: Mapping[str, Any]) -> str:
    """What pydantic says, beside the value where that is short to say."""
    message, value = str(error["msg"]).removeprefix("Value error, "), error["input"]
    if not message.startswith("Input should") or not isinstance(value, str | int | float):
        return message
    quote = repr(value)
    return f"it is {quote if len(quote) <= QUOTE else quote[:QUOTE] + '…'}; {message[0].lower()}{message[1:]}"
