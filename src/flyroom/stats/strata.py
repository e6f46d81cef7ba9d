"""The AUROC of replies within model and condition: a detector of replies must tell replies apart, and not models."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from flyroom.stats.common import finite
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

    A stratum is a model and a condition. The variance is that between models plus that between questions minus that
    between their cells, and at least the larger of the first two. `n` counts answers in strata with both classes,
    `missing` is 0. Raises ValueError where no stratum holds both classes.
    Source: Obuchowski 1997, Biometrics 53:567; Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics
    29:238.

    >>> answers = [3.0, 1.0, 2.0, 2.5, 4.0, 0.5]
    >>> stratified_auroc(answers, [True, False] * 3, "aabbcc", "aabbcc", "121212").value
    0.6666666666666666
    """
    values, truth = finite("suspicions", suspicions), np.asarray(positive, dtype=bool)
    if not len(values) == len(truth) == len(strata) == len(models) == len(questions):
        raise ValueError("suspicions, positive, strata, models and questions must be as many")
    groups: dict[Hashable, list[int]] = {}
    for index, stratum in enumerate(strata):
        groups.setdefault(stratum, []).append(index)
    parts = [np.array(group) for group in groups.values()]
    parts = [part for part in parts if 0 < truth[part].sum() < len(part)]
    if not parts:
        raise ValueError("no stratum holds both classes, so no answer can be told from another of its own model")
    influence, pairs, wins_sum = np.zeros(len(values)), 0, 0.0
    sides = []
    for part in parts:
        up, down = part[truth[part]], part[~truth[part]]
        wins_U, wins_D = wins_of(values[up], values[down]), 1.0 - wins_of(values[down], values[up])
        pairs += len(up) * len(down)
        wins_sum += float(wins_U.sum()) * len(down)
        sides.append((up, down, wins_U, wins_D))
    value = wins_sum / pairs
    for up, down, wins_U, wins_D in sides:
        influence[up] += (wins_U - value) * len(down) / pairs
        influence[down] += (wins_D - value) * len(up) / pairs
    used = np.concatenate(parts)
    spread = [_between(influence[used], [names[i] for i in used]) for names in (models, questions)]
    cells = _between(influence[used], [(models[i], questions[i]) for i in used])
    variance = max(spread[0][0] + spread[1][0] - cells[0], spread[0][0], spread[1][0])
    below = sum(v**2 / max(1, count - 1) for v, count in spread)
    freedom = max(1.0, variance**2 / below) if below > 0 else 1.0
    positives = int(truth[used].sum())
    estimate = score_auroc(
        value, variance, positives, len(used) - positives, float(stats.t.ppf(0.975, freedom)), len(used), 1e-3
    )
    return replace(estimate, units="answers", clusters="models and questions", target="new models and questions")


def _between(influence: np.ndarray, names: Sequence[Hashable]) -> tuple[float, int]:
    """Returns the variance of a sum between clusters, and how many clusters there are."""
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    sums = np.bincount([number[name] for name in names], weights=influence)
    return len(sums) / max(1, len(sums) - 1) * float((sums**2).sum()), len(sums)
