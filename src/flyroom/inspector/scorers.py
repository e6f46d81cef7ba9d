"""A scorer of Inspect, called on conversations that are finished.

It is named by where it is made, as module:name, so that a record that holds it can be hashed, stored and sent to
another process. Inspect is imported when the scorer is called for, and not before.
"""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyroom.inspector import EXTRA
from flyroom.types import Message

GRADES = {"C": 1.0, "P": 0.5, "I": 0.0}  # correct, partly, incorrect: of the target


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a model was asked and answered, and the texts that a scorer is to hold the answer against."""

    messages: tuple[Message, ...]
    answer: str
    target: Sequence[str]
    model: str = "flyroom"


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a scorer said: its value as a number, None where it could not tell; and its explanation."""

    value: float | None
    why: str


def check_name(scorer: str) -> None:
    """ValueError for a name that is not module:name."""
    if scorer.count(":") != 1:
        raise ValueError(f"scorer is {scorer!r}; it must be module:name, as in inspect_ai.scorer:includes")


def score(scorer: str, options: Mapping[str, Any], conversations: Sequence[Conversation]) -> list[Remark]:
    """What a scorer says of each conversation, all of them asked at once where it asks a model.

    Raises ValueError where Inspect is missing, and for a value that is neither a number nor a grade.

    >>> said = Conversation(messages=(Message("user", "why ?"),), answer="it is so", target=("so",))
    >>> score("inspect_ai.scorer:includes", {}, [said])[0].value
    1.0
    """
    call = find_scorer(scorer)(**options)
    states = [state_of(conversation) for conversation in conversations]

    async def everything() -> list[Any]:
        return await asyncio.gather(*(call(state, target) for state, target in states))

    return [_remark(result) for result in asyncio.run(everything())]


def find_scorer(name: str) -> Callable[..., Any]:
    """What makes the scorer. ValueError where Inspect, or what is named, is missing."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as e:
        if not (e.name or module).startswith("inspect_ai"):
            raise ValueError(f"scorer is {name!r}; {e}") from e
        raise ValueError(f"scorers of Inspect need it: {EXTRA}") from e
    except AttributeError as e:
        raise ValueError(f"scorer is {name!r}; {module} has no {attribute}") from e


def state_of(conversation: Conversation) -> tuple[Any, Any]:
    """What a scorer is called with: a finished state of Inspect's, and the target."""
    model, scorer, solver = (importlib.import_module(f"inspect_ai.{part}") for part in ("model", "scorer", "solver"))
    turn_of = {
        "system": model.ChatMessageSystem,
        "user": model.ChatMessageUser,
        "assistant": model.ChatMessageAssistant,
    }
    turns = [*conversation.messages, Message("assistant", conversation.answer)]
    state = solver.TaskState(
        model=conversation.model,
        sample_id=0,
        epoch=1,
        input=conversation.messages[-1].content,
        messages=[turn_of[turn.role](content=turn.content) for turn in turns],
        target=scorer.Target(list(conversation.target)),
        output=model.ModelOutput.from_content(model=conversation.model, content=conversation.answer),
        completed=True,
    )
    return state, state.target


def number_of(value: Any) -> float | None:
    """A value of Inspect's as a number. None where it could not tell; no answer is no number.

    >>> [number_of(value) for value in ("C", "P", "I", True, 0.3, "N", None)]
    [1.0, 0.5, 0.0, 1.0, 0.3, None, None]
    """
    if isinstance(value, (bool, int, float)):
        return float(value) if math.isfinite(value) else None
    if value is None or value == "N":
        return None
    if not isinstance(value, str) or value not in GRADES:
        raise ValueError(f"the scorer's value is {value!r}; it must be a number, or one of {', '.join(GRADES)} and N")
    return GRADES[value]


def _remark(result: Any) -> Remark:
    if result is None:
        return Remark(value=None, why="the scorer gave no score")
    value = number_of(result.value)
    words = getattr(result, "explanation", None) or ("" if value is None else f"scored {value:g}")
    return Remark(value=value, why=words or getattr(result, "reason", None) or "the scorer could not tell")
