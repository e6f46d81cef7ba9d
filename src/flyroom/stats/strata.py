"""The AUROC of replies within model and condition: a detector of replies must tell replies apart, and not models."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from flyroom.stats.common import Floats, Numbers, Z, crossed_variance, finite, numbers_of, student
from flyroom.stats.detection import score_auroc, wins_of
from flyroom.types import Estimate


def stratified_auroc(
    suspicions: Sequence[float],
    positive: Sequence[bool],
    strata: Sequence[Hashable],
    models: Sequence[Hashable],
    questions: Sequence[Hashable],
) -> Estimate:
    """Returns how often a positive's suspicion is above that of a negative of its own stratum, over all such pairs.

    A stratum is a model and a condition; one that holds a single class has no pair. The variance is that between models
    plus that between questions minus that between their cells, and at least the larger of the first two; the interval
    is that of `auroc` at this variance, with Student's t at Satterthwaite's degrees of freedom. Where nothing varies,
    each model counts as one answer of each class. Of a single model the interval is for new questions alone. `n` counts
    answers, and `missing` those that have no pair.
    Raises ValueError where no stratum holds both classes, and for a suspicion that is not finite.
    Source: Obuchowski 1997, Biometrics 53:567; Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics
    29:238.

    >>> answers = [3.0, 1.0, 2.0, 2.5, 4.0, 0.5]
    >>> round(stratified_auroc(answers, [True, False] * 3, "aabbcc", "aabbcc", "121212").value, 3)
    0.667
    """
    values, truth = finite("suspicions", suspicions), np.asarray(positive, dtype=bool)
    if not len(values) == len(truth) == len(strata) == len(models) == len(questions):
        raise ValueError(
            f"suspicions has {len(values)} items, positive {len(truth)}, strata {len(strata)}, models {len(models)} "
            f"and questions {len(questions)}; they must be as many"
        )
    number = numbers_of(strata)
    parts = [part for part in _members(number) if 0 < truth[part].sum() < len(part)]
    if not parts:
        raise ValueError("strata: none holds both classes, so no answer can be set beside another of its own model")
    value, influence = _influence(values, truth, parts)
    used = np.sort(np.concatenate(parts))
    model, question = numbers_of([models[i] for i in used]), numbers_of([questions[i] for i in used])
    variance, freedom = crossed_variance(influence[used], model, question, paired_within=True)
    above, below = truth[used], ~truth[used]
    sides, alone = (int(above.sum()), int(below.sum())), not model.any()
    quantile = student(freedom)
    if variance < 1e-12:  # answers of a model count as one
        sides, quantile = (len(np.unique(model[above])), len(np.unique(model[below]))), Z
    estimate = score_auroc(value, variance, *sides, quantile, len(values))
    return replace(
        estimate,
        missing=len(values) - len(used),
        units="answers",
        clusters="questions" if alone else "models and questions",
        target="new questions" if alone else "new models and questions",
    )


def _members(number: Numbers) -> list[Numbers]:
    """Returns the places of each number."""
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])


def _influence(values: Floats, truth: np.ndarray, parts: Sequence[Numbers]) -> tuple[float, Floats]:
    """Returns the share of pairs that are in order, and what each answer adds to it."""
    wins, rivals = np.zeros(len(values)), np.zeros(len(values))
    for part in parts:
        up, down = part[truth[part]], part[~truth[part]]
        wins[up], wins[down] = wins_of(values[up], values[down]), 1.0 - wins_of(values[down], values[up])
        rivals[up], rivals[down] = len(down), len(up)
    pairs = float(rivals[truth].sum())
    value = float((wins * rivals)[truth].sum()) / pairs
    return value, (wins - value) * rivals / pairs
