"""Who may speak to an endpoint, and how much: checked before a word of a request is read as JSON.

A web page that somebody opens on this machine may send requests to it too: under a name of its own that is made to lead
here (DNS rebinding), or straight to loopback. The first bears a foreign Host, the second a foreign Origin; both are
refused. A key is asked for where there is one. A body counts no more than `SIZE` bytes, whatever its header says.

Every answer of models that are misaligned on purpose bears the header `x-flyroom-model-organism: true`, so that a proxy
or a log between them and a person can tell.

Left out: TLS, which a proxy gives; limits on how many requests a client may send.
Source: RFC 9110 (Host, status codes), RFC 6750 (Bearer), RFC 6454 (Origin).
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SIZE = 4 << 20  # bytes of a body
VARIABLE = "FLYROOM_API_KEY"
SHORTEST = 16  # characters of a key
HEADER = b"x-flyroom-model-organism"
CODES = {400: "unknown_host", 401: "invalid_api_key", 403: "foreign_origin", 413: "body_too_long"}
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine and nobody else can reach it.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("[::1]"), is_loopback("evil.example")
    (True, True, True, False)
    """
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_key(file: Path | None = None) -> str:
    """The key that clients must give: the first line of a file, else what FLYROOM_API_KEY holds, else "".

    A command line is seen by everybody on the machine, so it holds no key. Raises ValueError for a file that cannot be
    read or that others may read, and for a key that can be guessed.
    """
    if file is None:
        key, where = os.environ.get(VARIABLE, "").strip(), VARIABLE
        return _check_key(key, where) if key else ""
    try:
        about = file.stat()
        text = file.read_text(encoding="utf-8") if about.st_size < SIZE else ""
    except (OSError, ValueError) as error:
        raise ValueError(f"key file is {file}; it cannot be read: {error}") from error
    if about.st_mode & 0o077:
        raise ValueError(f"key file is {file}; others can read it, run: chmod 600 {file}")
    return _check_key(next(iter(text.splitlines()), "").strip(), str(file))


def _check_key(key: str, where: str) -> str:
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"{where} holds a key of {len(key)} characters; it must be {SHORTEST} or more, of plain ASCII")
    return key


@dataclass(frozen=True)
class Guard:
    """Stands before an application. `hosts` are names besides those of loopback; with a `key` that others on the net
    use, "*" takes any. `organisms`: whether what answers may be misaligned on purpose.
    """

    app: Application
    key: str = ""
    hosts: Sequence[str] = ()
    organisms: bool = True

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start" and self.organisms:
                message["headers"] = [*message.get("headers", ()), (HEADER, b"true")]
            await send(message)

        refusal = self._find_refusal(scope)
        body = b"" if refusal else await _read_body(scope, receive)
        if refusal or body is None:
            await _refuse(send_marked, *(refusal or (413, f"the body has more than {SIZE} bytes; send a shorter one")))
            return
        await self.app(scope, _replay(body, receive), send_marked)

    def _find_refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        headers = {bytes(name).lower(): bytes(value).decode("latin-1") for name, value in scope["headers"]}
        host = _name_of(f"//{headers.get(b'host', '')}")
        if not self._knows(host) and not _is_in_process(scope, host):
            return 400, f"host is {host[:100]!r}; it must be a name of this machine, such as localhost"
        origin = headers.get(b"origin")
        if origin is not None and not self._knows(_name_of(origin)):
            return 403, f"origin is {origin[:100]!r}; no page of the web may ask here"
        scheme, _, key = headers.get(b"authorization", "").partition(" ")
        if self.key and not (scheme.lower() == "bearer" and _is_same(key.strip(), self.key)):
            return 401, "the key is missing or wrong; send it as Authorization: Bearer KEY"
        return None

    def _knows(self, host: str) -> bool:
        return is_loopback(host) or host in self.hosts or (bool(self.key) and "*" in self.hosts)


def _is_same(key: str, other: str) -> bool:
    return secrets.compare_digest(key.encode("utf-8", "replace"), other.encode())


def _name_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_in_process(scope: MutableMapping[str, Any], host: str) -> bool:
    """Whether a test of somebody's asks, as Starlette's client does: its address is that of no socket."""
    return host == "testserver" and (scope.get("client") or ("",))[0] == "testclient"


async def _read_body(scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
    """The body; None where it is too long, which its header may tell before any of it is read."""
    length = next((bytes(value) for name, value in scope["headers"] if bytes(name).lower() == b"content-length"), b"0")
    if not length.isdigit() or len(length) > 12 or int(length) > SIZE:
        return None
    parts, total = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client is gone
            return b"".join(parts)
        parts.append(message.get("body", b""))
        total += len(parts[-1])
        if total > SIZE:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the whole body once, and then what still comes: that the client is gone."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


async def _refuse(send: Send, status: int, text: str) -> None:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    body = json.dumps({"error": {"message": text, "type": kind, "param": None, "code": CODES[status]}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if status == 413 else []
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
