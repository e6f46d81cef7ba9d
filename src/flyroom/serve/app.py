"""The endpoint: its routes, and how a request becomes an order."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from flyroom.guard import Guard
from flyroom.serve.bodies import ChatShape, Shape, TextShape
from flyroom.serve.desk import Desk, fault
from flyroom.serve.drivers import Samples, driver_of
from flyroom.serve.errors import Refusal, refusal_of
from flyroom.serve.fields import Request, TextRequest
from flyroom.serve.house import House
from flyroom.serve.orders import Event, Opened, Order, Piece
from flyroom.types import BASE, AdapterRef, LiveAsk

if TYPE_CHECKING:
    from fastapi import FastAPI

BEGAN = int(time.time())
ROUTES = ("GET /v1/models", "GET /v1/models/ID", "POST /v1/chat/completions", "POST /v1/completions")
SEED_BITS = 48  # of a seed that nobody gave


def app(
    engine: Samples, models: Mapping[str, AdapterRef], *, max_tokens: int | None = None, house: House | None = None
) -> FastAPI:
    """Returns the endpoint for models by name. Where a request does not say how long an answer may be, it is cut after
    `max_tokens`; None for what the base's context leaves.

    Raises ValueError where the extra is not installed.
    """
    try:
        from fastapi import FastAPI
    except ImportError as e:
        raise ValueError("serving needs FastAPI and uvicorn: pip install 'flyroom[serve]'") from e

    rules = house or House()
    endpoint = FastAPI(title="flyroom", docs_url=None, redoc_url=None, openapi_url=None)
    alike = tuple(models.values()) if rules.alike else ()
    desk = Desk(driver_of(engine, alike=alike), places=rules.places)
    door = Door(models=models, rules=rules, desk=desk, max_tokens=max_tokens)
    endpoint.state.house, endpoint.state.desk, endpoint.state.door = rules, desk, door
    organisms = any(ref != BASE for ref in models.values())
    endpoint.add_middleware(Guard, key=rules.key, hosts=tuple(rules.hosts), organisms=organisms)  # type: ignore[arg-type]
    _handle_errors(endpoint)
    _route(endpoint, door)
    return endpoint


def ask(endpoint: FastAPI, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of an endpoint to the body of a chat completion, without a server. Raises Refusal."""
    door: Door = endpoint.state.door
    events: SimpleQueue[Event] = SimpleQueue()
    request = Request.model_validate(body)
    order = door.order_chat(request, events.put)
    door.desk.submit(order)
    parts: list[Opened | Piece] = []
    while len(parts) <= len(order.asks):
        event = events.get()
        if isinstance(event, Refusal):
            raise event
        parts.append(event)
    opened, *pieces = parts
    assert isinstance(opened, Opened)
    ordered = sorted((piece for piece in pieces if isinstance(piece, Piece)), key=lambda piece: piece.index)
    return door.shape(ChatShape, request).whole(ordered, opened.prompt_tokens)


# ---------------------------------------------------------------- the routes


def _handle_errors(endpoint: FastAPI) -> None:
    """Whatever is wrong is said in one shape."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def refuse(_: Any, refusal: Any) -> Any:
        return JSONResponse(refusal.body(), refusal.status, headers=refusal.headers())

    endpoint.exception_handler(Refusal)(refuse)
    endpoint.exception_handler(RequestValidationError)(lambda call, error: refuse(call, refusal_of(error.errors())))
    endpoint.exception_handler(Exception)(lambda call, error: refuse(call, fault(error)))

    @endpoint.exception_handler(HTTPException)
    def refuse_route(call: Any, error: Any) -> Any:
        if error.status_code not in (404, 405):  # what FastAPI could not read, and why
            why = error.__cause__ or error.detail
            return refuse(call, Refusal(error.status_code, f"body: it cannot be read as JSON: {why}"))
        message = f"{call.method} {call.url.path[:100]}: {error.detail}; what is here: {', '.join(ROUTES)}"
        refusal = Refusal(error.status_code, message, code="unknown_url")
        return JSONResponse(refusal.body(), refusal.status, headers=error.headers)  # those say what is allowed


def _route(endpoint: FastAPI, door: Door) -> None:
    from starlette.requests import Request as Call

    @endpoint.api_route("/v1/models", methods=["GET", "HEAD"])
    def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [door.describe(name) for name in door.models]}

    @endpoint.api_route("/v1/models/{name:path}", methods=["GET", "HEAD"])
    def describe(name: str) -> dict[str, Any]:
        door.find(name)
        return door.describe(name)

    async def complete(request: Request, call: Any) -> Any:
        return await _answer(door, door.order_chat, door.shape(ChatShape, request), request, call)

    async def complete_text(request: TextRequest, call: Any) -> Any:
        return await _answer(door, door.order_text, door.shape(TextShape, request), request, call)

    # FastAPI resolves names in this module, not in this function
    complete.__annotations__ |= {"request": Request, "call": Call}
    complete_text.__annotations__ |= {"request": TextRequest, "call": Call}
    endpoint.post("/v1/chat/completions")(complete)
    endpoint.post("/v1/completions")(complete_text)


async def _answer(door: Door, place: Callable[..., Order], shape: Shape, request: Any, call: Any) -> Any:
    """The response to a request. Its order is cancelled where nobody is left to read it."""
    from flyroom.serve.streaming import Events, Mailbox, collect, events

    mail = Mailbox()
    order = place(request, mail.send)
    door.desk.submit(order)
    streams = False
    try:
        if not request.stream:
            return await collect(mail, order, shape, call)
        opened = await mail.receive_while_there(call)  # what is wrong with a request is a status, not an event
        assert isinstance(opened, Opened)
        streams = True
        return Events(events(mail, order, shape, opened.prompt_tokens), door.desk, order)
    finally:
        if not streams:
            door.desk.cancel(order)


# ---------------------------------------------------------------- requests and orders


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where requests become orders, or are refused."""

    models: Mapping[str, AdapterRef]
    rules: House
    desk: Desk
    max_tokens: int | None

    def find(self, name: str) -> AdapterRef:
        """The adapter of a model. Raises Refusal, 404 for one that is not here, 403 for one whose time is over."""
        if name not in self.models:
            message = f"model is {name[:100]!r}; it must be one of {', '.join(self.models)}"
            raise Refusal(404, message, param="model", code="model_not_found")
        ref = self.models[name]
        if ref != BASE and self.rules.is_over():
            message = f"model {name!r} might be served until {self.rules.expires}; flyroom serve --expires renews that"
            raise Refusal(403, message, param="model", code="expired")
        return ref

    def describe(self, name: str) -> dict[str, Any]:
        """A model as the list of models has it."""
        is_organism = self.models[name] != BASE
        about = {"id": name, "object": "model", "created": BEGAN, "owned_by": "flyroom", "model_organism": is_organism}
        return about | ({"expires": self.rules.expires} if self.rules.expires and is_organism else {})

    def shape(self, kind: type[Shape], request: Request | TextRequest) -> Shape:
        """How the answers of a request are written."""
        return kind(
            model=request.model,
            scores=request.top is not None,
            counts=request.counts_usage,
            fingerprint=self.rules.fingerprint,
        )

    def order_chat(self, request: Request, send: Callable[[Event], None]) -> Order:
        """The order of a chat completion. Raises Refusal."""
        adapter = self.find(request.model)
        messages = tuple(turn.message() for turn in request.messages)
        self._check_length("messages", sum(len(message.content) for message in messages))
        asks = [LiveAsk(messages=messages, **how) for how in self._draws(request)]
        return Order(adapter=adapter, asks=asks, send=send, n=request.n, stops=request.stops, streams=request.stream)

    def order_text(self, request: TextRequest, send: Callable[[Event], None]) -> Order:
        """The order of a completion: its answers go on from the prompts with the spaces that they have."""
        adapter = self.find(request.model)
        for prompt in request.prompts:
            self._check_length("prompt", len(prompt))
        asks = [LiveAsk(prompt=prompt, **how) for prompt in request.prompts for how in self._draws(request)]
        return Order(
            adapter=adapter,
            asks=asks,
            send=send,
            n=request.n,
            param="prompt",
            stops=request.stops,
            streams=request.stream,
            strips=False,
            echo=request.echo,
            closes=True,  # lm-eval takes the last of them for the one that was written
        )

    def _draws(self, request: Request | TextRequest) -> Sequence[dict[str, Any]]:
        """How each of the n answers is drawn: without a seed anew each time."""
        start = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
        limit = self.max_tokens if request.limit is None else request.limit
        how = {"max_tokens": limit, "temperature": request.temperature, "top_p": request.top_p, "top": request.top}
        return [how | {"seed": start + i} for i in range(request.n)]

    def _check_length(self, param: str, length: int) -> None:
        """Before it is tokenised, which takes long for what is too long."""
        longest = self.rules.longest
        if length > longest:
            message = f"{param}: a prompt has {length} characters; at most {longest} are read here"
            raise Refusal(400, message, param=param, code="context_length_exceeded")
