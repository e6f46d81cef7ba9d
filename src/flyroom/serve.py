"""Serve models at an OpenAI-compatible endpoint on loopback, so that Inspect, garak, PyRIT or any other client of that
interface can ask them by name.

    GET  /v1/models
    POST /v1/chat/completions   model, messages; n, seed, temperature, stop, max_tokens (or max_completion_tokens)

Without a seed each answer is drawn anew. Needs the extra flyroom[serve]. Who may ask, and how much at once, stands in
`guard`; each model says whether it was made misaligned. A prompt that is too long is refused before it is tokenised,
and a request whose client has gone is not answered.

Left out: streaming, tools, log-probabilities, penalties, top-p, pictures and sound. A request with anything that would
change the answer is refused and the field named; a value that changes nothing, such as a penalty of 0, a null or an
empty list of tools, is accepted.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flyroom.guard import Guard, is_loopback
from flyroom.types import ANSWER_TOKENS, BASE, AdapterRef, Answer, Ask, Message

if TYPE_CHECKING:
    from fastapi import FastAPI

LIMIT = 4096  # the most tokens of an answer
LONGEST = 500_000  # characters of a prompt, whatever the base
PER_TOKEN = 64  # characters: no text of so many has but one token each, so a prompt beyond them fits no context
MOST = 2_000  # messages of a request


class Samples(Protocol):
    """The part of an engine that the endpoint needs."""

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]: ...


TEXTS = ("text", "input_text", "output_text")  # the kinds of parts that are text
NOTES = ("type", "text", "cache_control", "annotations")  # fields of a part that change no answer

# What clients send although it changes nothing here: by field, the values that do not. A null never does.
IDLE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("logprobs", "echo", "ignore_eos", "continue_final_message", "store", "use_beam_search"), (False,)),
    **dict.fromkeys(("tools", "functions", "stop", "stop_token_ids", "bad_words"), ([], "")),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),  # without tools there is nothing to choose
    **dict.fromkeys(("parallel_tool_calls", "skip_special_tokens", "add_generation_prompt"), (True,)),
    **dict.fromkeys(("logit_bias", "extra_body", "chat_template_kwargs"), ({},)),
    **dict.fromkeys(("top_logprobs", "min_p", "min_tokens", "length_penalty"), (0,)),
    **dict.fromkeys(("best_of", "repetition_penalty"), (1,)),
    "top_k": (-1, 0),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
}
ABOUT_CALLER = ("user", "metadata", "safety_identifier", "prompt_cache_key")  # for a provider's books, whatever it is


def _is_idle(field: str, value: Any) -> bool:
    """Whether this value of a field changes no answer.

    >>> _is_idle("tools", []), _is_idle("tools", [{"type": "function"}]), _is_idle("n", None)
    (True, False, True)
    """
    return value is None or field in ABOUT_CALLER or any(value == idle for idle in IDLE.get(field, ()))


def _drop_idle(body: Any) -> Any:
    """A body without what changes nothing, so that its fields have their defaults."""
    return {k: v for k, v in body.items() if not _is_idle(str(k), v)} if isinstance(body, Mapping) else body


class Turn(BaseModel):
    """One message of a request: a text, or parts of text. It refuses whatever else may stand in it, such as a picture,
    a call of a tool or a name.
    """

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]]

    @field_validator("content")
    @classmethod
    def _only_characters(cls, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        texts = [content] if isinstance(content, str) else [str(part.get("text")) for part in content]
        if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
            raise ValueError("it holds half a character (a lone surrogate); give a text")
        return content

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, body: Any) -> Any:
        return {k: v for k, v in body.items() if k in ("role", "content") or v} if isinstance(body, Mapping) else body

    @field_validator("content")
    @classmethod
    def _only_text(cls, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if content == []:
            raise ValueError("it has no part; give a text")
        for part in content if isinstance(content, list) else ():
            if part.get("type") not in TEXTS or not isinstance(part.get("text"), str):
                raise ValueError(f"a part of type {part.get('type')!r} is no text; only text is read")
            strange = next((name for name, value in part.items() if name not in NOTES and value), None)
            if strange is not None:
                raise ValueError(f"a part has {strange!r}, which is not read")
        return content

    def message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part["text"] for part in self.content)
        return Message(role, text)


class Request(BaseModel):
    """The body of a chat completion. It refuses unknown fields, which might change the answer, unless their value
    changes nothing.
    """

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[Turn] = Field(min_length=1, max_length=MOST)
    n: int = Field(default=1, ge=1, le=128)
    seed: int | None = Field(default=None, ge=0, lt=2**62)
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the base's own
    max_tokens: int | None = Field(default=None, ge=1, le=LIMIT)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=LIMIT)
    stop: str | list[str] | None = None
    top_p: float = Field(default=1.0, ge=1, le=1)
    presence_penalty: float = Field(default=0.0, ge=0, le=0)
    frequency_penalty: float = Field(default=0.0, ge=0, le=0)
    stream: Literal[False] = False

    @model_validator(mode="before")
    @classmethod
    def _without_idle(cls, body: Any) -> Any:
        return _drop_idle(body)

    def cut(self, text: str) -> tuple[str, bool]:
        """Returns the answer up to the first stop text, and whether there was one.

        >>> Request(model="m", messages=[{"role": "user", "content": "?"}], stop=["b", "a"]).cut("x a b")
        ('x ', True)
        """
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        ends = [text.index(stop) for stop in stops if stop and stop in text]
        return (text[: min(ends)], True) if ends else (text, False)


@dataclass(frozen=True, kw_only=True)
class House:
    """The rules of an endpoint. `key`: what clients must give, "" for nothing; `hosts`: names by which it may be called
    besides those of loopback; `expires`: until when its organisms may be served, as a date; `window`: how many tokens
    the base takes.
    """

    key: str = ""
    hosts: Sequence[str] = ()
    expires: str = ""
    window: int | None = None

    @property
    def longest(self) -> int:
        """Characters of a prompt."""
        return LONGEST if self.window is None else min(LONGEST, self.window * PER_TOKEN)


def app(
    engine: Samples, models: Mapping[str, AdapterRef], *, max_tokens: int = ANSWER_TOKENS, house: House | None = None
) -> FastAPI:
    """Returns the endpoint for models by name. An answer is cut after `max_tokens` where a request does not say.

    Raises ValueError where the extra is not installed.
    """
    try:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from starlette.exceptions import HTTPException
        from starlette.requests import Request as Call
    except ImportError as e:
        raise ValueError("serving needs FastAPI and uvicorn: pip install 'flyroom[serve]'") from e

    rules = house or House()
    endpoint = FastAPI(title="flyroom", docs_url=None, redoc_url=None, openapi_url=None)
    endpoint.state.house = rules
    organisms = any(ref != BASE for ref in models.values())
    endpoint.add_middleware(Guard, key=rules.key, hosts=tuple(rules.hosts), organisms=organisms)  # type: ignore[arg-type]
    desk = _Desk(engine=engine, models=models, max_tokens=max_tokens, longest=rules.longest)

    @endpoint.exception_handler(RequestValidationError)
    def invalid(_: Any, error: RequestValidationError) -> Any:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "body"
        return _refuse(400, f"{where}: {first['msg'].removeprefix('Value error, ')}")

    @endpoint.exception_handler(HTTPException)
    def wrong(_: Any, error: HTTPException) -> Any:
        return _refuse(error.status_code, str(error.detail))

    @endpoint.get("/v1/models")
    def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_describe(name, ref, rules.expires) for name, ref in models.items()]}

    def complete(request: Request, call: Any = None) -> Any:
        return desk.complete(request, lambda: call is not None and _is_gone(call))

    # FastAPI resolves names in this module, not in this function
    complete.__annotations__ |= {"request": Request, "call": Call}
    endpoint.post("/v1/chat/completions")(complete)
    return endpoint


BEGAN = int(time.time())
BUSY = 0.2  # seconds between two looks whether a client that waits is still there


def _describe(name: str, ref: AdapterRef, expires: str) -> dict[str, Any]:
    """A model as the list of models has it."""
    about = {"id": name, "object": "model", "created": BEGAN, "owned_by": "flyroom", "model_organism": ref != BASE}
    return about | ({"expires": expires} if expires and ref != BASE else {})


def _is_gone(call: Any) -> bool:
    """Whether the client of a request has hung up."""
    from anyio import from_thread

    return from_thread.run(call.is_disconnected)


def _refuse(status: int, message: str) -> Any:
    from fastapi.responses import JSONResponse

    text = message[:2000].encode("utf-8", "backslashreplace").decode()  # half a character cannot be sent
    return JSONResponse({"error": {"message": text, "type": "invalid_request_error"}}, status)


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """Where requests wait for the engine, which takes one call at a time."""

    engine: Samples
    models: Mapping[str, AdapterRef]
    max_tokens: int
    longest: int
    lock: Any = field(default_factory=threading.Lock)

    def complete(self, request: Request, is_gone: Callable[[], bool]) -> Any:
        """The answer to a request, or why there is none."""
        if request.model not in self.models:
            return _refuse(404, f"model is {request.model[:100]!r}; it must be one of {', '.join(self.models)}")
        messages = tuple(turn.message() for turn in request.messages)
        length = sum(len(message.content) for message in messages)
        if length > self.longest:
            return _refuse(400, f"messages: a prompt has {length} characters; at most {self.longest} are read here")
        try:
            answers = self._ask(request, messages, is_gone)
        except ValueError as error:  # a prompt longer than the context, or roles that the chat template refuses
            return _refuse(400, str(error))
        return _refuse(499, "the client is gone") if answers is None else _complete(request, answers)

    def _ask(self, request: Request, messages: tuple[Message, ...], is_gone: Callable[[], bool]) -> list[Answer] | None:
        """The answers; None where nobody waits for them any more."""
        start = secrets.randbits(48) if request.seed is None else request.seed
        tokens = request.max_tokens or request.max_completion_tokens or self.max_tokens
        asks = [
            Ask(messages=messages, seed=start + i, max_tokens=tokens, temperature=request.temperature)
            for i in range(request.n)
        ]
        while not self.lock.acquire(timeout=BUSY):
            if is_gone():
                return None
        try:
            return None if is_gone() else self.engine.sample([self.models[request.model]] * len(asks), asks)
        finally:
            self.lock.release()


def _complete(request: Request, answers: Sequence[Answer]) -> dict[str, Any]:
    """Answers as the interface has them."""
    prompt_tokens, answer_tokens = answers[0].prompt_tokens, sum(answer.tokens for answer in answers)
    texts = [request.cut(answer.text) for answer in answers]
    return {
        "id": f"chatcmpl-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop" if answer.finished or stopped else "length",
            }
            for i, (answer, (text, stopped)) in enumerate(zip(answers, texts, strict=True))
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": answer_tokens,
            "total_tokens": prompt_tokens + answer_tokens,
        },
    }


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
        yield f"http://{host}:{at}/v1"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        if socket:
            socket.close()
