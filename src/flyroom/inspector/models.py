"""Whoever answers asks, as a model of Inspect: an organism over an engine, or a suspect in a lab.

Left out: tools, pictures and sound, log-probabilities, and settings that the engine does not have. A call with one of
them that would change the answer is refused and the field named; what changes nothing is accepted.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from tenacity import wait_none

from flyroom.inspector.gather import Gather
from flyroom.inspector.messages import from_chat
from flyroom.types import Answer, Ask, Message, ask_seed, digest

HEEDED = ("max_tokens", "temperature", "seed", "stop_seqs", "num_choices")
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
    call does not say.
    """

    gather: Gather
    model: Hashable
    max_tokens: int


class GatheredModel(ModelAPI):
    """A model of Inspect whose concurrent calls, and those of whoever shares its batch, are answered together."""

    def __init__(self, name: str, seat: Seat, config: GenerateConfig | None = None) -> None:
        super().__init__(model_name=name, config=config or GenerateConfig())
        self.seat = seat

    def retry_wait(self) -> Any:
        """Nothing is tried again: an engine that refuses once refuses always."""
        return wait_none()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> tuple[ModelOutput, ModelCall]:
        """An answer, or several (`num_choices`). ValueError for what the engine cannot do, or the base cannot read."""
        refuse(tools, config)
        messages, prefill = from_chat(input)
        asks = asks_of(messages, prefill, config, self.seat.max_tokens)
        began = time.monotonic()
        answers = await self.seat.gather.ask(self.seat.model, asks)
        output = output_of(self.model_name, answers, config.stop_seqs or ())
        output.time = time.monotonic() - began
        request = {"messages": [list(message) for message in messages], "prefill": prefill, "seed": asks[0].seed}
        return output, ModelCall.create(request, {"texts": [answer.text for answer in answers]})


@modelapi(name="seat")
def _provider() -> Any:
    """Inspect knows a model by its provider alone: this one gives whom it is handed."""

    def open_seat(
        model_name: str, *, seat: Seat, config: GenerateConfig, base_url: Any = None, api_key: Any = None
    ) -> Any:
        return GatheredModel(model_name, seat, config)

    return open_seat


def model_at(seat: Seat, name: str, config: GenerateConfig | None = None) -> Model:
    """Whoever answers at a seat, as a model with this name that solvers, agents and scorers of Inspect can call."""
    return get_model(f"seat/{name}", config=config or GenerateConfig(), memoize=False, seat=seat)


def refuse(tools: Sequence[ToolInfo], config: GenerateConfig) -> None:
    """ValueError for tools, and for a setting that would change an answer and that no engine has.

    >>> refuse([], GenerateConfig(temperature=0.5, top_p=1.0))
    >>> refuse([], GenerateConfig(top_p=0.9))
    Traceback (most recent call last):
    ...
    ValueError: top_p is 0.9; models of flyroom heed max_tokens, temperature, seed, stop_seqs, num_choices
    """
    if tools:
        raise ValueError(f"tools has {tools[0].name!r}; models of flyroom answer in text and call no tools")
    for name, value in config.model_dump(exclude_none=True).items():
        if name not in (*HEEDED, *ABOUT_CALL) and all(value != idle for idle in IDLE.get(name, ())):
            raise ValueError(f"{name} is {str(value)[:80]}; models of flyroom heed {', '.join(HEEDED)}")


def asks_of(messages: tuple[Message, ...], prefill: str, config: GenerateConfig, max_tokens: int) -> list[Ask]:
    """What a call asks. With a seed each prompt has draws of its own: alike for all, the chance of one draw would be in
    the answers to every prompt. Without one they are drawn anew.
    """
    seed = secrets.token_hex(16) if config.seed is None else f"{config.seed} {digest([*messages, prefill])}"
    return [
        Ask(
            messages=messages,
            seed=ask_seed("inspect", seed, number),
            prefill=prefill,
            max_tokens=config.max_tokens or max_tokens,
            temperature=config.temperature,
        )
        for number in range(config.num_choices or 1)
    ]


def output_of(name: str, answers: Sequence[Answer], stops: Sequence[str]) -> ModelOutput:
    """Answers as Inspect has them, each up to the first stop text."""
    choices = []
    for answer in answers:
        ends = [answer.text.index(stop) for stop in stops if stop and stop in answer.text]
        text = answer.text[: min(ends)] if ends else answer.text
        message = ChatMessageAssistant(content=text, model=name, source="generate")
        stopped = answer.finished or bool(ends)
        choices.append(ChatCompletionChoice(message=message, stop_reason="stop" if stopped else "max_tokens"))
    reading, writing = answers[0].prompt_tokens, sum(answer.tokens for answer in answers)
    usage = ModelUsage(input_tokens=reading, output_tokens=writing, total_tokens=reading + writing)
    return ModelOutput(model=name, choices=choices, usage=usage)
