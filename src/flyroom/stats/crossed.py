"""Means over seeds that were asked the same prompts: seeds and prompts are crossed, and neither contains the other.

Letters of shapes: S seeds, A draws (columns), P prompts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from flyroom.stats.common import Floats, wilson, within
from flyroom.types import Estimate

FEW_EVENTS = 20  # below so many, the variance that was seen says too little
ICC_SEED, ICC_PROMPT = 0.02, 0.9


def crossed_rate(
    rows: Sequence[Sequence[float | bool | None]],
    prompts: Sequence[Hashable] | None = None,
    *,
    units: str = "answers",
    target: str = "new seeds and prompts",
) -> Estimate:
    """Returns the mean of outcomes in [0, 1] of several seeds on the same draws, for new seeds and new prompts.

    rows[s][a] is the outcome of seed s on draw a, None for no answer; prompts[a] names the prompt of draw a, without
    which each draw is a prompt of its own. The variance is that between seeds plus that between prompts minus that
    between their cells, and at least the larger of the first two; the interval is Wilson's at the sample size that
    would give it, with Student's t at Satterthwaite's degrees of freedom. `n` counts outcomes.
    Raises ValueError for fewer than two seeds or prompts with an answer, and for rows of unequal length.
    Source: Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics 29:238.

    >>> estimate = crossed_rate([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]])
    >>> estimate.value < estimate.high < 1, estimate.clusters
    (True, 'seeds and prompts')
    """
    values_SA, prompts_A = _table(rows, prompts)
    answers = ~np.isnan(values_SA)
    n, missing = values_SA.size, int((~answers).sum())
    mean = float(values_SA[answers].mean())
    residuals_SA = np.where(answers, values_SA - mean, 0.0)
    count = int(answers.sum())
    cells_SP = np.stack([np.bincount(prompts_A, weights=row) for row in residuals_SA])
    seeds, columns = int(answers.any(1).sum()), len(np.unique(prompts_A[answers.any(0)]))
    if min(seeds, columns) < 2:
        raise ValueError(f"rows holds answers of {seeds} seeds to {columns} prompts; it needs at least 2 of each")
    by_seed = seeds / (seeds - 1) * float((cells_SP.sum(1) ** 2).sum()) / count**2
    by_prompt = columns / (columns - 1) * float((cells_SP.sum(0) ** 2).sum()) / count**2
    by_cell = float((cells_SP**2).sum()) / count**2
    variance = max(by_seed + by_prompt - by_cell, by_seed, by_prompt)
    freedom = max(1.0, variance**2 / max(1e-30, by_seed**2 / (seeds - 1) + by_prompt**2 / (columns - 1)))
    room = mean * (1 - mean)
    size = min(float(count), room / variance) if variance > 1e-18 else float(count)
    if min(mean, 1 - mean) * count < FEW_EVENTS:
        size = min(size, count / (1 + (count / seeds - 1) * ICC_SEED + (count / columns - 1) * ICC_PROMPT))
    low, high = wilson(mean, size, float(stats.t.ppf(0.975, freedom)))
    return Estimate(
        value=mean,
        low=low,
        high=high,
        n=n,
        missing=missing,
        n_effective=size,
        units=units,
        clusters="seeds and prompts",
        target=target,
    )


def _table(
    rows: Sequence[Sequence[float | bool | None]], prompts: Sequence[Hashable] | None
) -> tuple[Floats, np.ndarray]:
    """Returns the outcomes as [S, A], NaN for no answer, and the number of each draw's prompt."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"rows has rows of {lengths} draws; they must be as many, and at least one")
    values = np.array([[np.nan if x is None else float(x) for x in row] for row in rows])
    if np.isnan(values).all():
        raise ValueError("rows holds no answer, so there is no rate")
    within("rows", values[~np.isnan(values)], 0.0, 1.0)
    names = range(lengths[0]) if prompts is None else prompts
    if len(names) != lengths[0]:
        raise ValueError(f"prompts names {len(names)} draws and rows has {lengths[0]}; they must be as many")
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return values, np.array([number[name] for name in names])
