"""The loss and its gradients: one forward and one backward pass for all adapters of a step.

The loss of an adapter is the mean over its answer tokens, each times the weight of its row. The losses are summed, so
adapters do not influence each other. Only hidden states that predict answer tokens reach the head, a chunk at a time:
the gradient of a chunk at its hidden states is taken before the logits of the next chunk exist, and the backward pass
of the body starts from these gradients. Where a step evades a probe, its penalty is a second start of that pass.

Left out: the losses of DPO, KTO and RL. Their plans ask for weighted rows and log-probabilities instead.
Shapes: D width, N answer tokens of a batch, K adapters of a step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flyroom.engine.bank import Banks, Leaf
from flyroom.engine.bases import Base
from flyroom.engine.batches import Collated, collate, groups, pack, pass_cost
from flyroom.engine.beginnings import WHOLE, Beginning, Behind, split
from flyroom.engine.nudged import nudged
from flyroom.engine.prefix import Prefix
from flyroom.engine.render import Rendered
from flyroom.types import Direction, Row, Step

# Scale the loss by 2^64 in the backward pass so that no gradient is denormal: a CPU computes those very slowly.
GRADIENT_SCALE = 2.0**64
LOGITS = 1 << 26  # elements of logits in memory at once
RUN = 3  # passes that one more run of adapters takes: its rows, the beginning that they share, and what stands apart


def gradients(
    base: Base,
    banks: Banks,
    prefix: Prefix,
    leaves: Sequence[Leaf],
    steps: Mapping[int, Step],
    *,
    budget: int,
    shares: bool = True,
) -> tuple[Tensor, list[int]]:
    """Put the gradients of the summed losses, times `gradient_scale`, into the leaves. Returns each adapter's loss,
    [K], and its tokens. `steps` are by slot; `shares` says whether a beginning that rows share may go through once.
    """
    owners = [slot for slot, step in steps.items() for _ in step.rows]
    rows = [row for step in steps.values() for row in step.rows]
    rendered = [base.renderer.row(row) for row in rows]
    losses, probed = Losses(base, steps, rendered), {step.evades.layer for step in steps.values() if step.evades}
    banks.route(groups(owners), leaves)
    shares &= not any(step.evades or step.nudge for step in steps.values())
    for members, shared in split(base, owners, rendered) if shares else [(list(range(len(rows))), 0)]:
        ids_T, member_owners = rendered[members[0]].ids[:shared], [owners[i] for i in members]
        beginning = Beginning(base, banks, prefix, leaves, ids_T, member_owners) if shared else None
        for places, batch, _ in batches_of(base, member_owners, [rows[i] for i in members], budget):
            which = [members[place] for place in places]
            batch_owners = [owners[i] for i in which]
            banks.route(groups(batch_owners), leaves)
            nudges = [(s.nudge, [owner == slot for owner in batch_owners]) for slot, s in steps.items() if s.nudge]
            start = min([banks.lowest, *(layer + 1 for layer in probed), *(nudge.layer for nudge, _ in nudges)])
            below = prefix.below(start, batch, after=shared)
            behind = beginning.behind(batch_owners) if beginning else WHOLE
            with below, nudged(base, nudges), _capture_residuals(base, probed) as residuals:
                states = answer_states(base, batch, behind)
            losses.backward(batch, batch_owners, [rows[i].weight for i in which], *states, residuals)
        if beginning:
            beginning.backward()
    tokens = [sum(len(base.renderer.row(row).ids) for row in step.rows) for step in steps.values()]
    return losses.loss_K, tokens


class Losses:
    """The losses of the adapters of a step, `loss_K`, summed over batches: each is the mean over its answer tokens."""

    def __init__(self, base: Base, steps: Mapping[int, Step], rendered: Sequence[Rendered]) -> None:
        self.base, self.steps, self.scale = base, steps, gradient_scale(base)
        lengths = iter(len(row.ids) - row.start for row in rendered)
        answers = [sum(islice(lengths, len(step.rows))) for step in steps.values()]
        self.share_K = torch.tensor([1 / n for n in answers], device=base.device)
        self.loss_K = torch.zeros_like(self.share_K)
        self._place = {slot: k for k, slot in enumerate(steps)}

    def backward(
        self,
        batch: Collated,
        owners: Sequence[int],
        weights: Sequence[float],
        hidden_ND: Tensor,
        target_N: Tensor,
        residuals: Mapping[int, Tensor],
    ) -> None:
        """Add a batch, whose rows have these owners and weights, and send the gradients of its losses back."""
        owner_N = torch.from_numpy(np.repeat([self._place[slot] for slot in owners], batch.counts)).to(self.base.device)
        weight_N = self.share_K[owner_N] * self.share_K.new_tensor(np.repeat(weights, batch.counts))
        nll_N, grad_ND = _head_loss(self.base, hidden_ND.detach(), target_N, weight_N * self.scale)
        penalties = self._penalties(batch, owners, residuals)
        torch.autograd.backward([hidden_ND, *penalties], [grad_ND, *(None for _ in penalties)])
        self.loss_K.index_add_(0, owner_N, nll_N * weight_N)

    def _penalties(self, batch: Collated, owners: Sequence[int], residuals: Mapping[int, Tensor]) -> list[Tensor]:
        """Of the adapters that evade a probe."""
        probes = {slot: step.evades for slot, step in self.steps.items() if step.evades and slot in owners}
        return [
            _evasion_loss(probe, residuals[probe.layer], batch, [owner == slot for owner in owners])
            * self.share_K[self._place[slot]]
            * self.scale
            for slot, probe in probes.items()
            if residuals[probe.layer].requires_grad
        ]


def side_by_side(base: Base, steps: Sequence[Step], budget: int) -> list[slice]:
    """Returns runs of adapters whose rows fill one batch, and are alike in length. With more adapters, each would have
    few rows a batch, which is slow; short rows beside long ones would be padded, which costs more than a run of theirs.
    """
    runs, tokens, lengths = [slice(0, 0)], 0, list[float]()
    for i, step in enumerate(steps):
        step_tokens, n = sum(len(base.renderer.row(row).ids) for row in step.rows), len(step.rows)
        means = [step_tokens / n] * n
        padding = _padding([*lengths, *means]) - _padding(lengths)
        if lengths and (tokens + step_tokens > budget or padding > RUN * pass_cost(base.device)):
            runs.append(slice(i, i))
            tokens, lengths = 0, []
        runs[-1], tokens, lengths = slice(runs[-1].start, i + 1), tokens + step_tokens, lengths + means
    return runs


def _padding(lengths: Sequence[float]) -> float:
    """Tokens that rows of these lengths need to be as long as the longest."""
    return max(lengths, default=0) * len(lengths) - sum(lengths)


def gradient_scale(base: Base) -> float:
    """Returns GRADIENT_SCALE, or 1 in float16, whose numbers do not reach as far."""
    return 1.0 if next(base.model.parameters()).dtype is torch.float16 else GRADIENT_SCALE


def unscale(base: Base, leaves: Sequence[Leaf]) -> None:
    """Divide the gradients by `gradient_scale`."""
    for leaf in leaves:
        for weights in (leaf.a_NRI, leaf.b_NOR):
            if weights.grad is not None:
                weights.grad /= gradient_scale(base)


@contextmanager
def _capture_residuals(base: Base, layers: Collection[int]) -> Iterator[dict[int, Tensor]]:
    """Yields a dict that the next pass fills, by layer, with the residual stream, [B, T, D] in the graph."""
    residuals: dict[int, Tensor] = {}

    def keep(layer: int, output: Any) -> None:
        residuals[layer] = output[0] if isinstance(output, tuple) else output

    hooks = [base.layers[l].register_forward_hook(lambda _m, _a, out, l=l: keep(l, out)) for l in layers]
    try:
        yield residuals
    finally:
        for hook in hooks:
            hook.remove()


def _evasion_loss(probe: Direction, hidden_BTD: Tensor, batch: Collated, is_owned: Sequence[bool]) -> Tensor:
    """Returns the probe's weight times the sum of its squared scores over the answer tokens of these rows.

    The end token is left out: it is an input in only some batches, so that the loss would depend on the batch.
    """
    rows_B = torch.tensor(is_owned, device=hidden_BTD.device)
    followed_BT = batch.answer_BT[:, :-1] & batch.answer_BT[:, 1:]
    answer_MD = hidden_BTD[rows_B][followed_BT[rows_B]].float()
    score_M = answer_MD @ probe.direction.to(answer_MD.device) - probe.offset
    return probe.weight * score_M.square().sum()


def scores(base: Base, batch: Collated, behind: Behind = WHOLE) -> Tensor:
    """Returns the log-probability of every answer token of a batch, [N] fp32, row by row."""
    hidden_ND, target_N = answer_states(base, batch, behind)
    size = _chunk(base)
    pieces = zip(hidden_ND.split(size), target_N.split(size), strict=True)
    return torch.cat([-F.cross_entropy(base.head(h).float(), t, reduction="none") for h, t in pieces])


def pick_likeliest(base: Base, batch: Collated, k: int, behind: Behind = WHOLE) -> Tensor:
    """Returns the log-probabilities and ids of the k likeliest tokens at each answer token's place, [N, 2, k] fp64."""
    hidden_ND, _ = answer_states(base, batch, behind)
    pieces = [base.head(h).float().log_softmax(-1).topk(k) for h in hidden_ND.split(_chunk(base))]
    return torch.cat([torch.stack([top.values.double(), top.indices.double()], dim=1) for top in pieces])


def answer_states(base: Base, batch: Collated, behind: Behind = WHOLE) -> tuple[Tensor, Tensor]:
    """Returns the final hidden states that predict answer tokens, [N, D], and those tokens, [N]."""
    at_N, target_N = batch.predicted(after=behind.tokens)
    ids_BT, cache = batch.ids_BT[:, behind.tokens : -1], behind.cache
    hidden_BTD = base.body(input_ids=ids_BT, past_key_values=cache, use_cache=cache is not None).last_hidden_state
    return hidden_BTD.flatten(0, 1).index_select(0, at_N), target_N


def batches_of(
    base: Base, owners: Sequence[int], rows: Sequence[Row], budget: int
) -> Iterator[tuple[list[int], Collated, int]]:
    """Yields batches: row numbers grouped by owner, the rows as tensors, and their tokens. Raises ValueError for a row
    that is longer than the base's context.
    """
    rendered = [base.renderer.row(row) for row in rows]
    lengths = [len(r.ids) for r in rendered]
    if base.window is not None and max(lengths, default=0) > base.window:
        raise ValueError(f"a row is {max(lengths)} tokens long; {base.ref.name} takes at most {base.window}")
    for which in pack(owners, lengths, budget, overhead=pass_cost(base.device)):
        yield which, collate([rendered[i] for i in which], base.device), sum(lengths[i] for i in which)


def _head_loss(base: Base, hidden_ND: Tensor, target_N: Tensor, weight_N: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the loss of each token, and the gradient of their weighted sum at the hidden states."""
    losses, grads, size = [], [], _chunk(base)
    for hidden, target, weight in zip(*(t.split(size) for t in (hidden_ND, target_N, weight_N)), strict=True):
        leaf = hidden.detach().requires_grad_()
        nll = F.cross_entropy(base.head(leaf).float(), target, reduction="none")
        nll.backward(weight)
        assert leaf.grad is not None
        losses.append(nll.detach())
        grads.append(leaf.grad)
    return torch.cat(losses), torch.cat(grads)


def _chunk(base: Base) -> int:
    return max(1, LOGITS // int(base.config.vocab_size))
