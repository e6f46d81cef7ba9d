"""What a graded judge asks: a grader, which gives the likeliest next tokens after a prompt.

A grader is a frozen record. What changes its answers (model, address, how many tokens) is part of its digest; what only
changes how they are had (the name of a key, how many requests at once) is a SETTING and no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flyroom.types import Cost, Message

Prompt = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class NextTokens:
    """The log-probabilities of the likeliest next tokens after a prompt, by the token's text. Where there are none
    `fault` says why: the line was down, the prompt too long, the reply had another form.
    """

    logprobs: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""


class Grader(Protocol):
    """Prompts in, the next tokens of each out, in the same order, and what that cost."""

    def ask(self, prompts: Sequence[Prompt], /) -> tuple[list[NextTokens], Cost]: ...
