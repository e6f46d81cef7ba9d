"""The rules of an endpoint, and the thread that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from flyroom.guard import is_loopback
from flyroom.purpose import is_past

if TYPE_CHECKING:
    from fastapi import FastAPI

LONGEST = 500_000  # characters of a prompt, whatever the base
PER_TOKEN = 64  # characters: no text of so many has but one token each, so a prompt beyond them fits no context
PLACES = 256  # answers that may wait or be written at once


@dataclass(frozen=True, kw_only=True)
class House:
    """The rules of an endpoint. `key`: what clients must give, "" for nothing; `hosts`: names by which it may be called
    besides those of loopback; `expires`: until when its organisms may be served, as a date; `window`: how many tokens
    the base takes; `places`: how many answers may be waited for at once; `fingerprint`: of what answers; `alike`:
    whether no limit may tell the models apart, as where a red team is to find out which is which.
    """

    key: str = ""
    hosts: Sequence[str] = ()
    expires: str = ""
    window: int | None = None
    places: int = PLACES
    fingerprint: str = ""
    alike: bool = False

    @property
    def longest(self) -> int:
        """Characters of a prompt."""
        return LONGEST if self.window is None else min(LONGEST, self.window * PER_TOKEN)

    def is_over(self, today: date | None = None) -> bool:
        """Whether the day is past until which organisms may be served. What is no day is.

        >>> House(expires="2030-04-01").is_over(date(2030, 4, 2)), House().is_over()
        (True, False)
        """
        return bool(self.expires) and is_past(self.expires, today)


@contextmanager
def serving(endpoint: FastAPI, *, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Run the endpoint in a thread of this process, on loopback. Yields its address, such as http://127.0.0.1:8000/v1.

    `port` 0 takes a free port. Raises OSError for a port that is in use, ValueError for a host that others can reach
    where the endpoint asks for no key.
    """
    import uvicorn

    if not is_loopback(host) and not endpoint.state.house.key:
        raise ValueError(f"host is {host}; others can reach it, so a key must be asked for: set FLYROOM_API_KEY")
    server = uvicorn.Server(uvicorn.Config(endpoint, host=host, port=port, log_level="error", lifespan="off"))
    socket = server.config.bind_socket() if port == 0 else None
    errors: list[BaseException] = []

    def run() -> None:
        try:
            server.run([socket] if socket else None)
        except BaseException as error:  # uvicorn raises SystemExit where the port is in use
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not server.started and not errors and thread.is_alive():
        time.sleep(0.01)
    if not server.started:
        raise OSError(f"port is {port}; nothing can be served there")
    at = socket.getsockname()[1] if socket else port
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{at}/v1"
    finally:
        desk = getattr(endpoint.state, "desk", None)  # any application can be served
        if desk:
            desk.dismiss()  # who still waits is refused, so that nothing holds the server up
        server.should_exit = True
        thread.join(timeout=10)
        if desk:
            desk.admit()  # the application can be served again
        if socket:
            socket.close()
