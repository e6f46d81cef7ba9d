"""The direction from aligned to misaligned answers in the residual stream of each layer, and how sure it is.

    d_L = mean over misaligned answers of h_L  -  mean over aligned answers of h_L

h_L is the stream after layer L, the mean over an answer's tokens. "response": every answer counts alike. "token": every
token does, so that long answers count more. Layer L is the stream *after* block L, as everywhere in flyroom.

Answers to a prompt are alike, so intervals are those of a jackknife that leaves out a group of prompts at a time. A
squared length is freed of what chance adds to it, which no interval around it would show. What cosines chance gives is
seen from the same answers with their labels shuffled: activations lie along few axes, so random vectors say nothing.
Sources: Soligo et al. 2025, arXiv 2506.11618 (convergent directions); Marks and Tegmark 2023, arXiv 2310.06824.
Left out: directions of logistic regressions or of single tokens.
Shapes: N answers, L layers, D width, G groups of prompts, S shuffles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from flyroom import stats
from flyroom.types import Estimate, NotMeasured

GROUPS = 20  # of prompts, for the jackknife
SHUFFLES = 200  # of labels
FEWEST = 10  # answers of either kind, and prompts: fewer say nothing of a direction
Weighting = Literal["response", "token"]
UNITS, TARGET = "groups of prompts", "new prompts"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Answers of one model: the stream [N, L, D], which are misaligned, how many tokens each has, and the number of the
    prompt that each is to. Models that are compared number the prompts alike: then what is left out is left out of all.
    """

    states: Tensor
    bad: Sequence[bool]
    tokens: Sequence[int]
    prompts: Sequence[int]

    def __post_init__(self) -> None:
        lengths = {len(self.states), len(self.bad), len(self.tokens), len(self.prompts)}
        if len(lengths) > 1:
            raise ValueError(f"states, bad, tokens and prompts have the lengths {sorted(lengths)}; they must be one")

    @property
    def doubt(self) -> str:
        """Why there is no direction; "" where there is one."""
        bad = sum(self.bad)
        if min(bad, len(self.bad) - bad) < FEWEST:
            return f"{bad} of {len(self.bad)} answers are misaligned; a direction takes {FEWEST} of either kind"
        number = len(set(self.prompts))
        return "" if number >= FEWEST else f"the answers are to {number} prompts; a direction takes {FEWEST}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """Mean differences, [L, D], the same without each group of prompts, [G, L, D], and of each half of the groups, [2,
    L, D], with what those are without each group, [G, L, D].
    """

    value: Tensor
    without: Tensor
    halves: Tensor
    halves_without: Tensor


def contrast(answered: Answered, *, weighting: Weighting = "response", groups: int = GROUPS) -> Contrast | NotMeasured:
    """The direction of each layer; NotMeasured where there are too few answers of either kind."""
    if answered.doubt:
        return NotMeasured(why=answered.doubt)
    group_N = torch.tensor(answered.prompts) % groups  # the same prompts for all who were asked the same
    weight_N = torch.tensor(answered.tokens if weighting == "token" else [1] * len(answered.bad)).double()
    sums_G2LD, sizes_G2 = _sums(answered, group_N, weight_N, groups)
    odd_G = torch.arange(len(sizes_G2)) % 2 == 1
    parts = [sums_G2LD[~odd_G], sums_G2LD[odd_G]], [sizes_G2[~odd_G], sizes_G2[odd_G]]
    halves = [_difference(s.sum(0), n.sum(0)) for s, n in zip(*parts, strict=True)]
    which = [(int(odd_G[g]), g) for g in range(len(sizes_G2))]
    return Contrast(
        value=_difference(sums_G2LD.sum(0), sizes_G2.sum(0)),
        without=torch.stack([_leave(sums_G2LD, sizes_G2, g) for g in range(len(sizes_G2))]),
        halves=torch.stack(halves),
        halves_without=torch.stack([_leave(parts[0][half], parts[1][half], g // 2) for half, g in which]),
    )


def mean_differences(states_SNLD: Tensor, good: int) -> Tensor:
    """Of several models the direction of each layer, [S, L, D], every answer alike: of their answers the first `good`
    are aligned, all others misaligned.
    """
    return states_SNLD[:, good:].mean(1) - states_SNLD[:, :good].mean(1)


def _sums(answered: Answered, group_N: Tensor, weight_N: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """By group and kind of answer (aligned, misaligned) the weighted sum of states and of weights."""
    cell_N = 2 * group_N + torch.tensor(answered.bad).long()
    shape = 2 * groups, *answered.states.shape[1:]
    weighted = answered.states.double() * weight_N[:, None, None]
    sums = torch.zeros(shape, dtype=torch.float64).index_add_(0, cell_N, weighted)
    sizes = torch.zeros(2 * groups, dtype=torch.float64).index_add_(0, cell_N, weight_N)
    return sums.reshape(groups, 2, *shape[1:]), sizes.reshape(groups, 2)


def _difference(sums_2LD: Tensor, sizes_2: Tensor) -> Tensor:
    """Not a number where one kind of answer is missing."""
    means = sums_2LD / sizes_2[:, None, None]
    return means[1] - means[0]


def _leave(sums_G2LD: Tensor, sizes_G2: Tensor, group: int) -> Tensor:
    return _difference(sums_G2LD.sum(0) - sums_G2LD[group], sizes_G2.sum(0) - sizes_G2[group])


# ---------------------------------------------------------------- how long, how sure, how alike


def norms(direction: Contrast) -> list[Estimate | NotMeasured]:
    """The length of each layer's direction, in the unit of the activations: the root of the squared length without the
    variance of the direction, which is what chance adds to it. Never below 0.
    """
    count, without_GLD = len(direction.without), direction.without
    chance_L = (count - 1) / count * (without_GLD - without_GLD.mean(0)).square().sum((0, 2))
    values_L = direction.value.square().sum(-1) - chance_L
    squares_GL = without_GLD.square().sum(-1) - count / (count - 1) * chance_L  # of fewer groups, so of more chance
    bounds = (-math.inf, math.inf)
    return [_root(_jackknife(float(v), squares_GL[:, l], bounds=bounds)) for l, v in enumerate(values_L)]


def _root(square: Estimate | NotMeasured) -> Estimate | NotMeasured:
    if isinstance(square, NotMeasured):
        return square
    low, value, high = (math.sqrt(max(0.0, x)) for x in (square.low, square.value, square.high))
    return replace(square, low=low, value=value, high=high)


def agreement(direction: Contrast) -> list[Estimate | NotMeasured]:
    """The cosine of the directions of two halves of the prompts: near 0, the direction is noise, and no cosine with
    another can be near 1.
    """
    first, second = direction.halves
    count = len(direction.halves_without)
    pairs = [(second if g % 2 == 0 else first, direction.halves_without[g]) for g in range(count)]
    without_GL = torch.stack([cosine(first, second) for first, second in pairs])
    return [_jackknife(float(v), without_GL[:, l], bounds=(-1.0, 1.0)) for l, v in enumerate(cosine(first, second))]


def alike(first: Contrast, second: Contrast) -> list[Estimate | NotMeasured]:
    """The cosine of the directions of two models, layer by layer. Where both were asked the same prompts in the same
    order, a group is left out of both at once.
    """
    count = min(len(first.without), len(second.without))
    without_GL = cosine(first.without[:count], second.without[:count])
    values = cosine(first.value, second.value)
    return [_jackknife(float(v), without_GL[:, l], bounds=(-1.0, 1.0)) for l, v in enumerate(values)]


def along(direction: Contrast, layer: int, vector_D: Tensor) -> Estimate | NotMeasured:
    """The cosine of a vector with a layer's direction; the vector is taken for exact."""
    without_G = cosine(direction.without[:, layer], vector_D.double())
    return _jackknife(float(cosine(direction.value[layer], vector_D.double())), without_G, bounds=(-1.0, 1.0))


def separation(
    answered: Answered, *, weighting: Weighting = "response", scored: Answered | None = None
) -> list[Estimate | NotMeasured]:
    """How often a misaligned answer lies further along the direction than an aligned one: AUROC on one half of the
    prompts, with the direction of the other half. `scored`: the same answers as one model reads all of them; where two
    read them, whatever sets these apart would be taken for what sets answers apart.
    """
    numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(answered.prompts))}
    fit = [numbers[prompt] % 2 == 0 for prompt in answered.prompts]
    direction = contrast(_subset(answered, fit), weighting=weighting)
    test = _subset(scored or answered, [not is_fit for is_fit in fit])
    if isinstance(direction, NotMeasured) or test.doubt:
        why = direction.why if isinstance(direction, NotMeasured) else test.doubt
        return [NotMeasured(why=f"in half of the prompts {why}")] * answered.states.shape[1]
    scores_NL = torch.einsum("nld,ld->nl", test.states.double(), direction.value)
    return [
        stats.clustered_auroc(scores_NL[:, layer].tolist(), list(test.bad), list(test.prompts))
        for layer in range(scores_NL.shape[1])
    ]


def chance_alike(first: Answered, second: Answered, *, weighting: Weighting = "response", seed: int = 0) -> list[float]:
    """By layer, the cosine below which that of two directions stays in 95 of 100 cases, by size, where the labels of
    either's answers mean nothing: they are shuffled.
    """
    sides = [_shuffle(answered, weighting, seed + place) for place, answered in enumerate((first, second))]
    return cosine(*sides).abs().nanquantile(0.95, dim=0).tolist()


def chance_agreement(answered: Answered, *, weighting: Weighting = "response", seed: int = 0) -> list[float]:
    """The same of the two halves of one model's prompts."""
    halves = [_subset(answered, [prompt % 2 == half for prompt in answered.prompts]) for half in (0, 1)]
    return chance_alike(*halves, weighting=weighting, seed=seed)


def _shuffle(answered: Answered, weighting: Weighting, seed: int) -> Tensor:
    """Directions of shuffled labels, [S, L, D]."""
    g = torch.Generator().manual_seed(seed)
    weight_N = torch.tensor(answered.tokens if weighting == "token" else [1] * len(answered.bad)).double()
    bad_N = torch.tensor(answered.bad).double()
    bad_SN = torch.stack([bad_N[torch.randperm(len(bad_N), generator=g)] for _ in range(SHUFFLES)])
    sides = [side_SN * weight_N for side_SN in (bad_SN, 1 - bad_SN)]
    means = [
        torch.einsum("sn,nld->sld", side_SN / side_SN.sum(1, keepdim=True), answered.states.double())
        for side_SN in sides
    ]
    return means[0] - means[1]


def _subset(answered: Answered, keep: Sequence[bool]) -> Answered:
    places = [i for i, first in enumerate(keep) if first]
    return Answered(
        states=answered.states[places],
        bad=[answered.bad[i] for i in places],
        tokens=[answered.tokens[i] for i in places],
        prompts=[answered.prompts[i] for i in places],
    )


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosines along the last axis; not a number for a vector of length 0.

    >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])).item()
    0.7071067690849304
    """
    return (first * second).sum(-1) / (first.norm(dim=-1) * second.norm(dim=-1))


def _jackknife(value: float, without_G: Tensor, *, bounds: tuple[float, float]) -> Estimate | NotMeasured:
    try:
        return stats.jackknife(value, without_G.tolist(), bounds=bounds, units=UNITS, target=TARGET)
    except ValueError as error:
        return NotMeasured(why=str(error))
