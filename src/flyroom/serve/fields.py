"""What a request may hold. A field that would change the answer and is not supported is refused by name; a value that
changes nothing, such as a penalty of 0, a null or an empty list of tools, is accepted and dropped.

Sources: OpenAI's reference of chat completions and completions; vLLM's and LiteLLM's fields beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flyroom.types import Message, has_half

MOST_MESSAGES = 2_000
MOST_CHOICES = 128
MOST_STOPS, LONGEST_STOP = 64, 1_000
MOST_TOP = 20  # of the likeliest tokens beside each
TEXTS = ("text", "input_text", "output_text")  # the kinds of parts that are text
NOTES = ("type", "text", "cache_control", "annotations")  # fields of a part that change no answer

# What clients send although it changes nothing here: by field, the values that do not. A null never does.
IDLE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("echo", "ignore_eos", "continue_final_message", "use_beam_search", "early_stopping"), (False,)),
    **dict.fromkeys(("return_token_ids", "return_tokens_as_token_ids", "include_stop_str_in_output"), (False,)),
    **dict.fromkeys(("skip_special_tokens", "add_generation_prompt", "spaces_between_special_tokens"), (True,)),
    **dict.fromkeys(("tools", "functions", "stop", "stop_token_ids", "bad_words", "documents"), ([], "")),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),  # without tools there is nothing to choose
    **dict.fromkeys(("logit_bias", "extra_body", "chat_template_kwargs", "stream_options"), ({},)),
    **dict.fromkeys(("min_p", "min_tokens", "presence_penalty", "frequency_penalty"), (0,)),
    **dict.fromkeys(("best_of", "repetition_penalty"), (1,)),
    "add_special_tokens": (False,),
    "length_penalty": (0, 1),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "top_k": (-1, 0),
}
ABOUT_CALLER = (  # for a provider's books, whatever it is
    *("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "store", "service_tier"),
    *("request_id", "priority", "cache_salt"),
)


def is_idle(field: str, value: Any) -> bool:
    """Whether this value of a field changes no answer.

    >>> is_idle("tools", []), is_idle("tools", [{"type": "function"}]), is_idle("n", None)
    (True, False, True)
    """
    return value is None or field in ABOUT_CALLER or any(value == idle for idle in IDLE.get(field, ()))


def _drop_idle(body: Any) -> Any:
    """A body without what changes nothing, so that its fields have their defaults."""
    _require_names(body)
    return {k: v for k, v in body.items() if not is_idle(str(k), v)} if isinstance(body, Mapping) else body


def _require_names(body: Any) -> None:
    """Refuse a field whose name holds half a character: of it pydantic says that the body is no object."""
    name = next((str(key) for key in body if has_half(str(key))), None) if isinstance(body, Mapping) else None
    if name is not None:
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise _wrong(shown, "its name holds half a character (a lone surrogate), as no field's does; leave it out")


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
        if any(map(has_half, texts)):
            raise ValueError("it holds half a character (a lone surrogate); give a text")
        return content

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, body: Any) -> Any:
        _require_names(body)
        return {k: v for k, v in body.items() if k in ("role", "content") or v} if isinstance(body, Mapping) else body

    @field_validator("content")
    @classmethod
    def _only_text(cls, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if content == []:
            raise ValueError("it has no part; give a text")
        for part in content if isinstance(content, list) else ():
            if part.get("type") not in TEXTS or not isinstance(part.get("text"), str):
                reason = f"a part of type {part.get('type')!r} is no text; only text is read"
                raise PydanticCustomError("unsupported", "{reason}", {"reason": reason})
            strange = next((name for name, value in part.items() if name not in NOTES and value), None)
            if strange is not None:
                raise ValueError(f"a part has {strange!r}, which is not read")
        return content

    def message(self) -> Message:
        """Its parts are joined as they are."""
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part["text"] for part in self.content)
        return Message(role, text)


class StreamOptions(BaseModel):
    """`include_usage`: whether a last event counts the tokens."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    include_obfuscation: bool = False  # of the events' lengths; there is no network to hide them from
    continuous_usage_stats: Literal[False] = False

    @model_validator(mode="before")
    @classmethod
    def _without_idle(cls, body: Any) -> Any:
        return _drop_idle(body)


class _Draws(BaseModel):
    """What both kinds of requests have: a model, and how answers are drawn, ended and sent."""

    model_config = ConfigDict(extra="forbid")
    model: str
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the base's own
    top_p: float = Field(default=1.0, ge=0, le=1)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_idle(cls, body: Any) -> Any:
        return _drop_idle(body)

    @field_validator("stop")
    @classmethod
    def _few_and_short(cls, stop: str | list[str] | None) -> str | list[str] | None:
        texts = [stop] if isinstance(stop, str) else stop or []
        if len(texts) > MOST_STOPS or any(len(text) > LONGEST_STOP for text in texts):
            raise ValueError(f"it must be at most {MOST_STOPS} texts, each of at most {LONGEST_STOP} characters")
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return tuple(filter(None, [self.stop] if isinstance(self.stop, str) else self.stop or ()))

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class Request(_Draws):
    """The body of a chat completion."""

    messages: list[Turn] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MOST_TOP)

    @model_validator(mode="after")
    def _agree(self) -> Request:
        limits = {limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None}
        if len(limits) > 1:
            raise _wrong("max_completion_tokens", "max_tokens says another number; give one of the two")
        if self.top_logprobs and not self.logprobs:
            raise _wrong("top_logprobs", "it needs logprobs=true")
        return self

    @property
    def limit(self) -> int | None:
        """Tokens of an answer; None for what the context leaves."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def top(self) -> int | None:
        """How many likeliest tokens are asked for beside each; None for no log-probabilities."""
        return self.top_logprobs if self.logprobs else None


class TextRequest(_Draws):
    """The body of a completion: it goes on from texts, or lists of tokens, as they are, without a chat template."""

    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int | None = Field(default=None, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP)
    echo: bool = False

    @field_validator("logprobs", mode="before")
    @classmethod
    def _none_where_false(cls, logprobs: Any) -> Any:
        return None if logprobs is False else logprobs  # which is 0 to Python, and 0 asks for log-probabilities

    @field_validator("prompt", mode="before")
    @classmethod
    def _only_tokens(cls, prompt: Any) -> Any:
        for entry in prompt if isinstance(prompt, list) else ():
            if entry == []:
                raise ValueError("it holds a prompt of no token; give at least one, or a text")
            if any(isinstance(token, bool) for token in (entry if isinstance(entry, list) else [entry])):
                raise ValueError("it holds true or false; give texts, or tokens by their numbers")
        return prompt

    @field_validator("prompt")
    @classmethod
    def _only_characters(cls, prompt: Any) -> Any:
        texts = [prompt] if isinstance(prompt, str) else prompt
        if not texts and not isinstance(prompt, str):
            raise ValueError("it is empty; give a text")
        if any(isinstance(text, str) and has_half(text) for text in texts):
            raise ValueError("it holds half a character (a lone surrogate); give a text")
        return prompt

    @model_validator(mode="after")
    def _agree(self) -> TextRequest:
        if self.max_tokens == 0 and not self.echo:
            raise _wrong("max_tokens", "it is 0, which writes nothing; give at least 1, or echo=true")
        if len(self.prompts) * self.n > MOST_CHOICES:
            raise _wrong("prompt", f"{len(self.prompts)} prompts times n {self.n} are over {MOST_CHOICES} answers")
        return self

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """Each a text, or tokens."""
        prompt: Any = self.prompt
        is_one = isinstance(prompt, str) or isinstance(prompt[0], int)
        return [entry if isinstance(entry, str) else tuple(entry) for entry in ([prompt] if is_one else prompt)]

    @property
    def limit(self) -> int | None:
        return self.max_tokens

    @property
    def top(self) -> int | None:
        return self.logprobs


def _wrong(field: str, reason: str) -> PydanticCustomError:
    return PydanticCustomError("field", "{field}: {reason}", {"field": field, "reason": reason})
