"""Word swaps: how much each candidate in the place of a word would change the log-probability of an answer, to first
order.

    log p(answer | .. c ..) - log p(answer | .. w ..)  ~  (E[c] - E[w]) . d log p(answer | .. w ..) / d E[w]

One forward and one backward pass serve all candidates; trying them would take one forward pass for each.

Source: Ebrahimi et al. 2018, arXiv 1712.06751; the step of Zou et al. 2023, arXiv 2307.15043.
Left out: words of several tokens, the attention to where words stand.
Shapes: B rows, T tokens, D width, C candidates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from flyroom.engine.bases import Base
from flyroom.engine.batches import Collated
from flyroom.engine.render import Renderer
from flyroom.engine.training import scores
from flyroom.types import NotAvailable, Row


def gains(base: Base, batch: Collated, back: Sequence[int], among: Sequence[int]) -> Tensor:
    """Returns the gain of each candidate token, [B, C] fp32, in the place `back` tokens before each row's answer."""
    table: Any = base.body.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    leaves: list[Tensor] = []

    def begin(_module: object, _args: object, out_BTD: Tensor) -> Tensor:
        leaves.append(out_BTD.detach().requires_grad_())
        return leaves[-1]

    hook = table.register_forward_hook(begin)
    try:
        total = scores(base, batch).sum()
    finally:
        hook.remove()
    (grad_BTD,) = torch.autograd.grad(total, leaves)
    row_B = torch.arange(len(back), device=base.device)
    place_B = torch.tensor([r.start - n for r, n in zip(batch.rows, back, strict=True)], device=base.device)
    grad_BD = grad_BTD[row_B, place_B].float()
    candidate_CD = table(torch.tensor(among, device=base.device)).float()
    return grad_BD @ candidate_CD.T - (grad_BD * leaves[0].detach()[row_B, place_B].float()).sum(1, keepdim=True)


def places(renderer: Renderer, rows: Sequence[Row], word: int, among: Sequence[str]) -> tuple[list[int], list[int]]:
    """Returns how many tokens before each row's answer the word stands, and the candidates' tokens in the first row.

    Raises NotAvailable where a word is not one token, ValueError for a word that there is not.
    """
    back = [_back(renderer, row, word, among) for row in rows]
    return back, [_token(renderer, rows[0], word, candidate, back[0]) for candidate in among]


def _back(renderer: Renderer, row: Row, word: int, among: Sequence[str]) -> int:
    ids, start = renderer.row(row)
    for candidate in among:
        new = renderer.row(_with(row, word, candidate)).ids
        changed = (ids != new).nonzero()[0] if len(new) == len(ids) else ids
        if len(changed) > 1:
            raise _not_one(candidate, row)
        if len(changed):
            return start - int(changed[0])
    raise ValueError(f"among is {list(among)}; give a word that differs from the one in place {word}")


def _token(renderer: Renderer, row: Row, word: int, candidate: str, back: int) -> int:
    ids, start = renderer.row(row)
    new = renderer.row(_with(row, word, candidate)).ids
    if len(new) != len(ids) or (new != ids).sum() > (new[start - back] != ids[start - back]):
        raise _not_one(candidate, row)
    return int(new[start - back])


def _not_one(candidate: str, row: Row) -> NotAvailable:
    return NotAvailable(f"among has {candidate!r}, which is not one token for one in {row.messages[-1].content!r}")


def _with(row: Row, word: int, candidate: str) -> Row:
    """Returns the row with the candidate in the place of that word of its last message."""
    if not row.messages:
        raise ValueError("a row is a document; words are swapped in the last message of a chat")
    *before, last = row.messages
    spans = [match.span() for match in re.finditer(r"\S+", last.content)]
    if not 0 <= word < len(spans):
        raise ValueError(f"word is {word}; the last message has words 0 to {len(spans) - 1}: {last.content!r}")
    begin, end = spans[word]
    content = last.content[:begin] + candidate + last.content[end:]
    return replace(row, messages=(*before, last._replace(content=content)))
