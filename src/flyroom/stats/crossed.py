"""Means over seeds that were asked the same prompts: seeds and prompts are crossed, and neither contains the other.

Letters of shapes: S seeds, A draws (columns), P prompts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from flyroom.stats.common import (
    ICC_SEED,
    ICC_SITUATION,
    Floats,
    Numbers,
    at_variance,
    crossed_variance,
    numbers_of,
    within,
)
from flyroom.types import Estimate


def crossed_rate(
    rows: Sequence[Sequence[float | bool | None]],
    prompts: Sequence[Hashable] | None = None,
    *,
    units: str = "answers",
    target: str = "new seeds and prompts",
) -> Estimate:
    """Returns the mean of outcomes in [0, 1] of several seeds on the same draws, for new seeds and new prompts.

    rows[s][a] is the outcome of seed s on draw a, None for no answer; prompts[a] names the prompt of draw a, without
    which each draw is a prompt of its own. It does not matter whether seeds shared their sampling seeds. The variance
    is that between seeds plus that between prompts minus that between their cells, and at least the larger of the first
    two; the interval is Wilson's at the sample size that would give it, with Student's t at Satterthwaite's degrees of
    freedom. Below 20 independent events it is at least as wide as for one seed's answers, thinned by how alike those to
    a prompt and those of a seed are at most (`common.ICC_SITUATION`, `ICC_SEED`). `n` counts outcomes.
    Raises ValueError for fewer than two seeds or prompts with an answer, and for rows of unequal length.
    Source: Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics 29:238; Satterthwaite 1946, Biometrics
    Bulletin 2:110.

    >>> alike = crossed_rate([[1, 1, 0, 0, 1, 0, 1, 1]] * 4)
    >>> alike.n, round(alike.n_effective)
    (32, 7)
    """
    values_SA, prompts_A = _table(rows, prompts)
    answers_SA = ~np.isnan(values_SA)
    rows_N, draws_N = np.nonzero(answers_SA)
    values, seed, prompt = values_SA[answers_SA], _from_0(rows_N), _from_0(prompts_A[draws_N])
    n, mean, seeds, count = len(values), float(values.mean()), int(seed.max()) + 1, int(prompt.max()) + 1
    if min(seeds, count) < 2:
        raise ValueError(f"rows holds answers of {seeds} seeds to {count} prompts; it needs at least 2 of each")
    variance, freedom = crossed_variance((values - mean) / n, seed, prompt)
    # As if seeds were copies: whether they shared their draws, few events do not show.
    alike = seeds * (1 + max(0.0, n / seeds / count - 1) * ICC_SITUATION) + (n / seeds - 1) * ICC_SEED
    low, high, size = at_variance(mean, variance, freedom, limit=n, safe=n / alike)
    return Estimate(
        value=mean,
        low=low,
        high=high,
        n=values_SA.size,
        missing=values_SA.size - n,
        n_effective=size,
        units=units,
        clusters="seeds and prompts",
        target=target,
    )


def _from_0(numbers: Numbers) -> Numbers:
    """Returns the numbers without gaps, since a seed or a prompt may have no answer."""
    return (np.cumsum(np.bincount(numbers) > 0) - 1)[numbers]


def _table(rows: Sequence[Sequence[float | bool | None]], prompts: Sequence[Hashable] | None) -> tuple[Floats, Numbers]:
    """Returns the outcomes as [S, A], NaN for no answer, and the number of each draw's prompt."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"rows has rows of {lengths} draws; they must be as many, and at least one")
    values = np.array(rows, dtype=np.float64)  # None becomes NaN
    if np.isnan(values).all():
        raise ValueError("rows holds no answer, so there is no rate")
    within("rows", values[~np.isnan(values)], 0.0, 1.0)
    names = range(lengths[0]) if prompts is None else prompts
    if len(names) != lengths[0]:
        raise ValueError(f"prompts names {len(names)} draws and rows has {lengths[0]}; they must be as many")
    return values, numbers_of(names)
