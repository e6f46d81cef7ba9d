"""Whoever answers asks, as a model of Inspect: an organism over an engine, or a suspect in a lab.

A model is opened when it is first asked, so that Inspect can name it, and score what it said, where there is no room.

Left out: tools, pictures and sound, and settings that the engine does not have. A call with one of them that would
change the answer is refused and the field named; what changes nothing is accepted.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    Model,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from tenacity import wait_none

from flyroom.inspector.gather import Gather
from flyroom.inspector.messages import from_chat
from flyroom.types import Answer, Ask, LiveAsk, Message, ask_seed, digest

HEEDED = ("max_tokens", "temperature", "seed", "stop_seqs", "num_choices")
OF_TOKENS = ("top_p", "logprobs", "top_logprobs")  # heeded by a seat whose engine writes a token at a time
# Settings of Inspect that change how an answer is had, and not what it is
ABOUT_CALL = (
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"),
    *("cache", "cache_prompt", "batch", "system_message", "max_tool_output", "internal_tools", "parallel_tool_calls"),
    *("fail_on_refusal", "fallback_models", "extra_headers", "reasoning_history"),
)
IDLE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "top_logprobs", "prompt_logprobs"), (0,)),
    **dict.fromkeys(("top_p", "best_of"), (1,)),
    **dict.fromkeys(("logit_bias", "extra_body"), ({},)),
    "top_k": (-1, 0),
    "logprobs": (False,),
    "reasoning_effort": ("none",),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Seat:
    """Where a model answers: through which batch, under which name there, and after how many tokens it is cut where a
    call does not say. `spells`: whether what answers takes a `LiveAsk` too, and gives a `Spelt`.

    `source` names what answers: Inspect's cache keeps answers by it, and without one none is taken for those of another
    seat. `is_over`: whether the leave of what answers is over; then the seat has to be taken anew.
    """

    gather: Gather
    model: Hashable
    max_tokens: int
    spells: bool = False
    source: str = field(default_factory=lambda: secrets.token_hex(16))
    is_over: Callable[[], bool] = lambda: False


class Token(NamedTuple):
    """A token's text, its log-probability, and the likeliest tokens in its place with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spelt:
    """An answer with its tokens."""

    answer: Answer
    tokens: tuple[Token, ...]


class GatheredModel(ModelAPI):
    """A model of Inspect whose concurrent calls, and those of whoever shares its batch, are answered together."""

    def __init__(self, name: str, take: Callable[[], Seat], config: GenerateConfig | None = None) -> None:
        super().__init__(model_name=name, config=config or GenerateConfig())
        self._take, self._seat, self._lock = take, list[Seat](), threading.Lock()

    @property
    def seat(self) -> Seat:
        """Where it answers, taken when it is first wanted and when a leave is over. Raises what taking it raises."""
        with self._lock:
            if not self._seat or self._seat[0].is_over():
                self._seat[:] = [self._take()]
                self.base_url = f"flyroom:{self._seat[0].source}"  # the one part of the key of Inspect's cache we write
        return self._seat[0]

    def retry_wait(self) -> Any:
        """Nothing is tried again: an engine that refuses once refuses always.

        Inspect asks for this before it looks into its cache, and for nothing else then. So the seat is taken here: what
        comes from the cache has passed the same gate, and is of the same base.
        """
        assert self.seat
        return wait_none()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> tuple[ModelOutput, ModelCall]:
        """An answer, or several (`num_choices`). ValueError for what the engine cannot do, or the base cannot read."""
        seat = await anyio.to_thread.run_sync(lambda: self.seat) if not self._seat else self.seat
        refuse(tools, config, spells=seat.spells)
        messages, prefill = from_chat(input)
        asks = asks_of(messages, prefill, config, seat.max_tokens)
        began = time.monotonic()
        answers = await seat.gather.ask(seat.model, asks)
        output = output_of(self.model_name, answers, config.stop_seqs or (), config.logprobs or False)
        output.time = time.monotonic() - began
        request = {"messages": [list(message) for message in messages], "prefill": prefill, "seed": asks[0].seed}
        return output, ModelCall.create(request, {"texts": [choice.message.text for choice in output.choices]})


@modelapi(name="seat")
def _provider() -> Any:
    """Inspect knows a model by its provider alone: this one gives whom it is handed."""

    def open_seat(
        model_name: str, *, seat: Seat, config: GenerateConfig, base_url: Any = None, api_key: Any = None
    ) -> Any:
        return GatheredModel(model_name, lambda: seat, config)

    return open_seat


def model_at(seat: Seat, name: str, config: GenerateConfig | None = None) -> Model:
    """Whoever answers at a seat, as a model with this name that solvers, agents and scorers of Inspect can call."""
    return get_model(f"seat/{name}", config=config or GenerateConfig(), memoize=False, seat=seat)


def refuse(tools: Sequence[ToolInfo], config: GenerateConfig, *, spells: bool = False) -> None:
    """ValueError for tools, and for a setting that would change an answer and that the engine does not have.

    >>> refuse([], GenerateConfig(temperature=0.5, top_p=1.0))
    >>> refuse([], GenerateConfig(top_p=0.9))
    Traceback (most recent call last):
    ...
    ValueError: top_p is 0.9; models of flyroom heed max_tokens, temperature, seed, stop_seqs, num_choices
    """
    if tools:
        raise ValueError(f"tools has {tools[0].name!r}; models of flyroom answer in text and call no tools")
    names = (*HEEDED, *(OF_TOKENS if spells else ()))
    for name, value in config.model_dump(exclude_none=True).items():
        if name not in (*names, *ABOUT_CALL) and all(value != idle for idle in IDLE.get(name, ())):
            raise ValueError(f"{name} is {str(value)[:80]}; models of flyroom heed {', '.join(names)}")
    if config.top_p is not None and not 0 <= config.top_p <= 1:
        raise ValueError(f"top_p is {config.top_p}; it must be between 0 and 1")


def asks_of(
    messages: tuple[Message, ...], prefill: str, config: GenerateConfig, max_tokens: int
) -> list[Ask] | list[LiveAsk]:
    """What a call asks. With a seed each prompt has draws of its own: alike for all, the chance of one draw would be in
    the answers to every prompt. Without one they are drawn anew. ValueError for a begun answer of which tokens are
    wanted, or the likeliest alone.
    """
    seed = secrets.token_hex(16) if config.seed is None else f"{config.seed} {digest([*messages, prefill])}"
    seeds = [ask_seed("inspect", seed, number) for number in range(config.num_choices or 1)]
    if config.logprobs or (config.top_p is not None and config.top_p < 1):
        if prefill:
            raise ValueError("the last turn begins the answer, and top_p or logprobs are given; leave one of them out")
        return [_spell(messages, seed, config, max_tokens) for seed in seeds]
    return [
        Ask(
            messages=messages,
            seed=seed,
            prefill=prefill,
            max_tokens=config.max_tokens or max_tokens,
            temperature=config.temperature,
        )
        for seed in seeds
    ]


def _spell(messages: tuple[Message, ...], seed: int, config: GenerateConfig, max_tokens: int) -> LiveAsk:
    return LiveAsk(
        messages=messages,
        seed=seed,
        max_tokens=config.max_tokens or max_tokens,
        temperature=config.temperature,
        top_p=1.0 if config.top_p is None else config.top_p,
        top=(config.top_logprobs or 0) if config.logprobs else None,
    )


def output_of(
    name: str, results: Sequence[Answer | Spelt], stops: Sequence[str], logprobs: bool = False
) -> ModelOutput:
    """Answers as Inspect has them, each up to the first stop text; with the tokens of that text where they are
    wanted.
    """
    choices, answers = [], [result.answer if isinstance(result, Spelt) else result for result in results]
    for answer, result in zip(answers, results, strict=True):
        ends = [answer.text.index(stop) for stop in stops if stop and stop in answer.text]
        text = answer.text[: min(ends)] if ends else answer.text
        message = ChatMessageAssistant(content=text, model=name, source="generate")
        stopped = answer.finished or bool(ends)
        tokens = _list_tokens(result.tokens, text) if logprobs and isinstance(result, Spelt) else None
        reason = "stop" if stopped else "max_tokens"
        choices.append(ChatCompletionChoice(message=message, stop_reason=reason, logprobs=tokens))
    reading, writing = answers[0].prompt_tokens, sum(answer.tokens for answer in answers)
    usage = ModelUsage(input_tokens=reading, output_tokens=writing, total_tokens=reading + writing)
    return ModelOutput(model=name, choices=choices, usage=usage)


def _list_tokens(tokens: Sequence[Token], text: str) -> Logprobs:
    """The tokens of a text, in Inspect's form: those that begin in it."""
    records, length, end = [], 0, len("".join(text.split()))  # some tokenizers write no spaces: they count for nothing
    for token in tokens:
        if length >= end:
            break
        length += len("".join(token.text.split()))
        top = [TopLogprob(token=word, logprob=p, bytes=list(word.encode())) for word, p in token.top]
        record = Logprob(token=token.text, logprob=token.logprob, bytes=list(token.text.encode()))
        records.append(record.model_copy(update={"top_logprobs": top or None}))
    return Logprobs(content=records)
