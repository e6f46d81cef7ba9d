"""Serve models at an OpenAI-compatible endpoint on loopback, so that Inspect, garak, PyRIT or any other client of that
interface can ask them by name.

    GET  /v1/models
    POST /v1/chat/completions   model, messages; n, seed, temperature, stop, max_tokens (or max_completion_tokens)

Without a seed each answer is drawn anew. Needs the extra flyroom[serve].

Left out: streaming, tools, log-probabilities, penalties, top-p, keys, pictures and sound. A request with anything that
would change the answer is refused and the field named; a value that changes nothing, such as a penalty of 0, a null or
an empty list of tools, is accepted.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flyroom.types import ANSWER_TOKENS, AdapterRef, Answer, Ask, Message

if TYPE_CHECKING:
    from fastapi import FastAPI

LIMIT = 4096  # the most tokens of an answer


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
    messages: list[Turn] = Field(min_length=1)
    n: int = Field(default=1, ge=1, le=128)
    seed: int | None = Field(default=None, ge=0)
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


def app(engine: Samples, models: Mapping[str, AdapterRef], *, max_tokens: int = ANSWER_TOKENS) -> FastAPI:
    """Returns the endpoint for models by name. An answer is cut after `max_tokens` where a request does not say.

    Raises ValueError where the extra is not installed.
    """
    try:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import JSONResponse
    except ImportError as e:
        raise ValueError("serving needs FastAPI and uvicorn: pip install 'flyroom[serve]'") from e

    endpoint, lock, began = FastAPI(title="flyroom"), threading.Lock(), int(time.time())

    def refuse(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)

    @endpoint.exception_handler(RequestValidationError)
    def invalid(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return refuse(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg'].removeprefix('Value error, ')}")

    @endpoint.get("/v1/models")
    def list_models() -> dict[str, Any]:
        data = [{"id": name, "object": "model", "created": began, "owned_by": "flyroom"} for name in models]
        return {"object": "list", "data": data}

    def complete(request: Request) -> Any:
        if request.model not in models:
            return refuse(404, f"model is {request.model!r}; it must be one of {', '.join(models)}")
        start = secrets.randbits(48) if request.seed is None else request.seed
        messages = tuple(turn.message() for turn in request.messages)
        tokens = request.max_tokens or request.max_completion_tokens or max_tokens
        asks = [
            Ask(messages=messages, seed=start + i, max_tokens=tokens, temperature=request.temperature)
            for i in range(request.n)
        ]
        try:
            with lock:  # the engine takes one call at a time
                answers = engine.sample([models[request.model]] * len(asks), asks)
        except ValueError as error:  # a prompt longer than the context, or roles that the chat template refuses
            return refuse(400, str(error))
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

    complete.__annotations__["request"] = Request  # FastAPI resolves names in this module, not in this function
    endpoint.post("/v1/chat/completions")(complete)
    return endpoint


@contextmanager
def serving(endpoint: FastAPI, *, port: int = 0) -> Iterator[str]:
    """Run the endpoint on loopback in a thread of this process. Yields its address, such as http://127.0.0.1:8000/v1.

    `port` 0 takes a free port. Raises OSError for a port that is in use.
    """
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(endpoint, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
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
        yield f"http://127.0.0.1:{at}/v1"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        if socket:
            socket.close()
