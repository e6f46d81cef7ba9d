"""The app: static files, pages of JSON, and what asks models, behind one door.

Every answer bears a Content-Security-Policy that takes scripts and styles from here alone and no string as HTML, so a
transcript that holds markup stays text whatever a page does with it. Requests under a foreign Host or Origin are
refused (`guard`). Where there is a token, everything but the static files asks for it: as `Authorization: Bearer`, or
as ?token= in the address that is opened first.

Source: Content Security Policy 3, Trusted Types (W3C); Fetch Metadata.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flyroom.claims import GameError
from flyroom.guard import Application, Guard, Receive, Send
from flyroom.guard import Message as Packet
from flyroom.room import RoomError
from flyroom.serve import House
from flyroom.types import Message, has_half
from flyroom.view.arcade import Arcade
from flyroom.view.figures import SIDES, tidy
from flyroom.view.hands import Hands
from flyroom.view.pages import CONFIDED, page
from flyroom.view.shelf import Missing, Shelf

if TYPE_CHECKING:
    from fastapi import FastAPI

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": f"{POLICY}; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ROLES = ("system", "user", "assistant")
LONGEST = 100_000  # characters of a chat
Handler = Callable[[Any], Awaitable[Any]]


def static_files() -> dict[str, bytes]:
    """The files of the pages, by name."""
    folder = files("flyroom.view") / "static"
    return {path.name: path.read_bytes() for path in folder.iterdir() if "." + path.name.rpartition(".")[2] in TYPES}


@dataclass(eq=False)
class Doorkeeper:
    """Who may come in, and what for. `token` "" asks for none; `purpose` "" is asked for before a page shows what
    organisms said, and before one is asked.
    """

    token: str = ""
    purpose: str = ""

    def knows(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        offer = key.strip() if scheme.lower() == "bearer" else query.get("token", "")
        return not self.token or secrets.compare_digest(offer.encode("utf-8", "replace"), self.token.encode())


class Need(Exception):
    """A request lacks something, by its name: "token" or "purpose"."""


WORDS = {
    "token": (401, "open the address that flyroom view printed; it holds the token of this room"),
    "purpose": (403, "say first what it is needed for; that goes into the log of the room"),
}


@dataclass(frozen=True)
class Headers:
    """An application whose every answer bears the headers of the pages."""

    app: Application

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        async def send_dressed(packet: Packet) -> None:
            if packet["type"] == "http.response.start":
                fresh = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                packet["headers"] = [*packet.get("headers", ()), *fresh]
            await send(packet)

        await self.app(scope, receive, send_dressed)


def app(shelf: Shelf, hands: Hands, arcade: Arcade, *, door: Doorkeeper | None = None) -> FastAPI:
    """Returns the app over a room. Raises ValueError where the extra is not installed."""
    try:
        from fastapi import FastAPI
    except ImportError as error:
        raise ValueError("the view needs FastAPI and uvicorn: pip install 'flyroom[view]'") from error
    keeper = door or Doorkeeper()
    clerk = _Clerk(shelf, hands, arcade, keeper)
    endpoint = FastAPI(title="flyroom view", docs_url=None, redoc_url=None, openapi_url=None)
    endpoint.state.house = House(key=keeper.token)
    endpoint.add_middleware(Guard)  # type: ignore[arg-type]
    endpoint.add_middleware(Headers)  # type: ignore[arg-type]
    pages = static_files()
    for path, name in {"/": "index.html", **{f"/static/{name}": name for name in pages}}.items():
        endpoint.add_route(path, _static(name, pages[name]), methods=["GET"])
    endpoint.add_route("/data/{name:path}", _serve(clerk.show), methods=["GET"])
    endpoint.add_route("/ask/{name:path}", _serve(clerk.ask), methods=["POST"])
    return endpoint


def _static(name: str, content: bytes) -> Handler:
    from starlette.responses import Response

    kind = TYPES["." + name.rpartition(".")[2]]

    async def serve(_: Any) -> Response:
        return Response(content, media_type=kind)

    return serve


def _serve(work: Callable[[str, Mapping[str, str], Mapping[str, str], bytes], Any]) -> Handler:
    """A handler that works in a thread, and turns what is wrong into an answer."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    async def serve(request: Any) -> Response:
        body = await request.body()
        parts = request.path_params["name"], dict(request.query_params), dict(request.headers), body
        status, content = await run_in_threadpool(_try, work, *parts)
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        return Response(text, status, media_type="application/json")

    return serve


def _try(work: Callable[..., Any], *parts: Any) -> tuple[int, Any]:
    try:
        return 200, work(*parts)
    except Need as need:
        status, text = WORDS[str(need)]
        return status, {"error": text, "need": str(need)}
    except Missing as error:
        return 404, {"error": tidy(str(error))}
    except (GameError, RoomError, ValueError) as error:  # pydantic's errors are ValueErrors: an entry of a stranger
        return 400, {"error": tidy(str(error)[:2000])}
    except (LookupError, TypeError, AttributeError) as error:  # what else an entry of a stranger may come to
        return 400, {"error": tidy(f"an entry of the room is not as flyroom writes it: {error!r}"[:2000])}


@dataclass(frozen=True)
class _Clerk:
    """Reads pages and asks models, for whoever may."""

    shelf: Shelf
    hands: Hands
    arcade: Arcade
    door: Doorkeeper

    def show(self, name: str, query: Mapping[str, str], headers: Mapping[str, str], _: bytes) -> Any:
        self._admit(headers, query)
        stem = name.removesuffix(".json")
        if stem == name:
            raise Missing(f"there is no page {name[:100]!r}")
        if stem.partition("/")[0] in CONFIDED:
            self._require_purpose()
        if stem == "games":
            return {"games": self.arcade.list()}
        if stem.startswith("games/"):
            return tidy(self.arcade.show(stem.removeprefix("games/")))
        content = page(self.shelf, stem, query)
        return content | {"mode": "live", "purpose": self.door.purpose} if stem == "room" else content

    def ask(self, name: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Any:
        self._admit(headers, query)
        if not headers.get("content-type", "").startswith("application/json"):
            raise ValueError("content-type must be application/json")  # a form of another site cannot send that
        content = _read_body(body)
        if name == "purpose":
            purpose = content.get("purpose")
            if not isinstance(purpose, str):
                raise ValueError(f"purpose is {str(purpose)[:40]!r}; it must be a text that says what it is needed for")
            self.door.purpose = self.hands.permit(purpose)
            return {"purpose": self.door.purpose}
        self._require_purpose()
        match name.split("/"):
            case ["chat"]:
                return tidy(self._chat(content))
            case ["games"]:
                return tidy(self.arcade.begin(content))
            case ["games", game]:
                return tidy(self.arcade.ask(game, content))
            case ["games", game, "findings"]:
                return tidy(self.arcade.submit(game, content))
        raise Missing(f"nothing can be asked of {name[:100]!r}")

    def _chat(self, content: Mapping[str, Any]) -> dict[str, Any]:
        organism, seed = content.get("organism"), content.get("seed", 0)
        if organism not in self.shelf.index.rows:
            raise Missing(f"the room has no organism {str(organism)[:40]!r}")
        if not isinstance(seed, int) or not 0 <= seed < 2**53:
            raise ValueError(f"seed is {str(seed)[:40]!r}; it must be a number from 0 up")
        talks = _read_talks(content.get("messages"))
        return {"answers": self.hands.chat(str(organism), talks, seed=seed, purpose=self.door.purpose)}

    def _admit(self, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        if not self.door.knows(headers, query):
            raise Need("token")

    def _require_purpose(self) -> None:
        if not self.door.purpose:
            raise Need("purpose")


def _read_body(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError("the body must be a JSON object")
    return content


def _read_talks(value: Any) -> dict[str, list[Message]]:
    """By "organism", "twin" and "base", what each is asked: a list of turns is for all three."""
    if isinstance(value, Mapping):
        return {str(side): _read_messages(rows) for side, rows in value.items()}
    return dict.fromkeys(SIDES, _read_messages(value))


def _read_messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError("messages must be a list of turns, each with role and content")
    turns = [_read_turn(row) for row in value]
    if sum(len(turn.content) for turn in turns) > LONGEST:
        raise ValueError(f"messages has more than {LONGEST} characters; ask a shorter question")
    return turns


def _read_turn(row: Any) -> Message:
    role, text = (row.get("role"), row.get("content")) if isinstance(row, Mapping) else (None, None)
    if role not in ROLES or not isinstance(text, str):
        raise ValueError(f"messages must hold role (one of {', '.join(ROLES)}) and content, a text")
    if has_half(text):
        raise ValueError("messages holds half a character (a lone surrogate); it must be text")
    return Message(role, text)
