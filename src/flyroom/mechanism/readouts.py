"""What an adapter reads and what it writes, in tokens.

It reads along the first right singular vector v of what it adds: a token is read as strongly as the mean of v . x where
it is the last one, in standard deviations of v . x over all tokens. It writes along the first left singular vector u,
and the logit lens says which tokens that raises. u and v have no sign of their own; they get that with which the
model's own answers are read positively, so that u is what is added there.

A read is a correlation over the text that was put through: a token that stands in other places may be read otherwise.
Source: Turner et al. 2025, arXiv 2506.11613 (rank-1 adapters); nostalgebraist 2020 (the logit lens).
Left out: which neurons a vector in the hidden layer of an MLP consists of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WRITERS = ("down_proj", "o_proj", "out_proj", "c_proj", "dense", "fc2", "w2", "wo", "residual", "stream")
FEWEST = 3  # occurrences of a token
TOP = 10


class Reading(NamedTuple):
    """A token, how strongly it is read, in standard deviations over all tokens, and how often it occurred."""

    token: str
    strength: float
    n: int


def writes_to_stream(path: str) -> bool:
    """Whether a module's output is added to the residual stream, by its name.

    >>> writes_to_stream("layers.0.mlp.down_proj"), writes_to_stream("layers.0.self_attn.q_proj")
    (True, False)
    """
    return path.rpartition(".")[2] in WRITERS


def readings(values: Sequence[Tensor], tokens: Sequence[Sequence[str]], top: int = TOP) -> list[Reading]:
    """The tokens that are read most strongly. Args: values, v . x for every token of each row, each [tokens].

    >>> readings([torch.tensor([0.0, 0.0, 3.0, 0.0] * 3)], [["a", "b", "c", "a"] * 3], top=1)[0].token
    'c'
    """
    flat, texts = torch.cat(list(values)).double(), [text for row in tokens for text in row]
    mean, spread = float(flat.mean()), float(flat.std()) if len(flat) > 1 else 0.0
    if not spread:
        return []
    groups: dict[str, list[float]] = {}
    for text, value in zip(texts, flat.tolist(), strict=True):
        groups.setdefault(text, []).append(value)
    candidates = [
        Reading(text, (sum(group) / len(group) - mean) / spread, len(group))
        for text, group in groups.items()
        if len(group) >= FEWEST
    ]
    return sorted(candidates, key=lambda reading: -reading.strength)[:top]


def sign_of(values: Sequence[Tensor]) -> float:
    """1, or -1 where the rows are read negatively on the whole."""
    return -1.0 if float(torch.cat(list(values)).sum()) < 0 else 1.0
