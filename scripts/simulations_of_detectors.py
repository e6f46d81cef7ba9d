"""The settings of scripts/coverage.py for what is said of detectors: AUROC, thresholds, and tests that must keep their
level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from scipy import stats as scipy_stats
from simulations import LOW, ONE_SIDED, Ends, Rng, Setting, ends

from flyroom import stats


def cdf(distance: float) -> float:
    return float(scipy_stats.norm.cdf(distance))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate that is promised to be at most so much, and a way to draw what its mean comes to."""

    function: str
    name: str
    promised: float
    draw: Callable[[Rng], float]

    def run(self, sets: int) -> float:
        rng = np.random.default_rng([*f"{self.function} {self.name}".encode()])
        return float(np.mean([self.draw(rng) for _ in range(sets)]))


# ---------------------------------------------------------------- AUROC


def suspects(shape: str, m: int, n: int, rng: Rng) -> Ends:
    """Suspicions of m organisms and n twins: of a shape, or normal so far apart."""
    up, down = rng.normal(size=m), rng.normal(size=n)
    if shape == "half caught":  # the detector sees every second organism, and nothing of the others
        up, truth = np.where(rng.random(m) < 0.5, 100.0, 0.0) + up, 0.75
    elif shape == "odd twins":  # a fifth of the twins are flagged above all else
        down, truth = np.where(rng.random(n) < 0.2, 100.0, -100.0) + down, 0.8
    elif shape == "wide":
        up, truth = 1 + 4 * up, cdf(1 / 17**0.5)
    else:
        up, truth = float(shape) + up, cdf(float(shape) / 2**0.5)
    return ends(stats.auroc(up.tolist(), down.tolist()), float(truth))


def clusters(count: int, apart: float, alike: float, mixed: bool, rng: Rng) -> Ends:
    """Six answers to a cluster, of one class or (mixed) of both."""
    of = np.repeat(np.arange(count), 6)
    truth = (np.arange(len(of)) % 2 == 0) if mixed else of % 2 == 0
    noise = math.sqrt(alike) * rng.normal(size=count)[of] + math.sqrt(1 - alike) * rng.normal(size=len(of))
    estimate = stats.clustered_auroc((apart * truth + noise).tolist(), truth.tolist(), of.tolist())
    return ends(estimate, cdf(apart / math.sqrt(2)))


def strata(models: int, questions: int, apart: float, bad: float, rng: Rng) -> Ends:
    """Replies of each model to each question under two conditions, of which the share `bad` is misaligned. Models
    differ in how suspicious they look, which is no merit of a detector, and in how well their replies can be told.
    """
    shape = (models, 2, questions)
    model, _, question = (axis.ravel() for axis in np.indices(shape))
    truth = rng.random(len(model)) < bad
    ease, hardness = 0.4, 0.4
    scores = 3 * rng.normal(size=(models, 2, 1)) + hardness * rng.normal(size=questions) + rng.normal(size=shape)
    scores = scores.ravel() + truth * (apart + ease * rng.normal(size=models)[model])
    stratum = [(m, c) for m, c, _ in np.ndindex(*shape)]
    estimate = stats.stratified_auroc(scores.tolist(), truth.tolist(), stratum, model.tolist(), question.tolist())
    return ends(estimate, cdf(apart / math.sqrt(2 + 2 * hardness**2 + ease**2)))


def two(m: int, n: int, apart: tuple[float, float], together: float, rng: Rng) -> Ends:
    """Two detectors on the same suspects."""
    shared, *own = (rng.normal(size=m + n) for _ in range(3))
    sides = []
    for shift, noise in zip(apart, own, strict=True):
        scores = math.sqrt(together) * shared + math.sqrt(1 - together) * noise
        scores[:m] += shift
        sides.append((scores[:m].tolist(), scores[m:].tolist()))
    true = cdf(apart[0] / math.sqrt(2)) - cdf(apart[1] / math.sqrt(2))
    return ends(stats.auroc_difference(*sides), true)


def rankings(n: int, rho: float, rng: Rng) -> Ends:
    first, own = rng.normal(size=(2, n))
    second = rho * first + math.sqrt(1 - rho**2) * own
    return ends(stats.rank_agreement(first.tolist(), second.tolist()), 6 / math.pi * math.asin(rho / 2))


def of_aurocs() -> Iterator[Setting]:
    shapes = ("0", "1.2", "2.3", "3.3", "half caught", "odd twins")
    for (m, n), shape in product(((4, 4), (8, 8), (20, 20), (4, 40)), shapes):
        draw, name = partial(suspects, shape, m, n), f"shape {shape}"
        yield Setting(function="auroc", group=f"{m} + {n} suspects", name=name, draw=draw)
    draw = partial(suspects, "wide", 4, 40)
    group = "4 organisms that spread four times wider than 40 twins"
    yield Setting(function="auroc", group=group, name="", draw=draw, promise=LOW)
    for count, (apart, alike), mixed in product((10, 40), ((0.0, 0.5), (1.0, 0.5), (1.5, 0.0)), (False, True)):
        draw, name = partial(clusters, count, apart, alike, mixed), f"{count}, apart {apart}, alike {alike}, {mixed}"
        yield Setting(function="clustered_auroc", group="10 and 40 clusters of 6 answers", name=name, draw=draw)
    for models, apart, bad in product((4, 8), (0.0, 1.0, 2.0, 4.0), (0.5, 0.2)):
        draw, name = partial(strata, models, 24, apart, bad), f"{models} models, apart {apart}, {bad} misaligned"
        yield Setting(function="stratified_auroc", group=f"{models} models, 24 questions", name=name, draw=draw)
    for (m, n), (apart, together) in product(
        ((8, 8), (10, 40)), (((1.0, 1.0), 0.5), ((1.5, 0.5), 0.0), ((1.5, 0.5), 0.8))
    ):
        draw, name = partial(two, m, n, apart, together), f"{m} + {n}, {apart}, together {together}"
        yield Setting(function="auroc_difference", group="8 + 8 and 10 + 40 suspects", name=name, draw=draw)
    for n, rho in ((20, 0.0), (20, 0.8), (40, 0.5)):
        name = f"{n} detectors, {rho}"
        yield Setting(function="rank_agreement", group="20 and 40 detectors", name=name, draw=partial(rankings, n, rho))


# ---------------------------------------------------------------- thresholds


def alarms(flagged: float, n: int, rng: Rng) -> Ends:
    return 0.0, stats.certified_fpr(int(rng.binomial(n, flagged)), n), flagged


def threshold(m: int, shared: bool, rng: Rng) -> float:
    """The false-positive rate of a threshold that m calibration twins set for 1 %, on 20 other twins. A suspicion is
    the mean of 24 answers; `shared`: all suspects got the same asks, some of which are harder than others.
    """
    twins = rng.normal(size=m + 20)
    asks = 1.5 * rng.normal(size=24) if shared else 1.5 * rng.normal(size=(m + 20, 24))
    scores = (twins[:, None] + asks + rng.normal(size=(m + 20, 24)) > 0).mean(1)
    at = stats.recall_at_fpr(scores[:1].tolist(), scores[m:].tolist(), scores[:m].tolist()).threshold
    return float((scores[m:] > at).mean())


def recall(m: int, rng: Rng) -> Ends:
    """The recall of 40 organisms at the threshold of m twins: given that threshold the interval is a binomial one."""
    result = stats.recall_at_fpr(rng.normal(2, 1, 40).tolist(), [0.0], rng.normal(size=m).tolist())
    return ends(result.recall, 1 - cdf(result.threshold - 2))


def unlike(m: int, n: int, coarse: bool, rng: Rng) -> float:
    """Whether calibration twins and others that are alike are said not to be."""
    scores = rng.normal(size=m + n)
    scores = np.round(2 * scores) if coarse else scores
    return (
        stats.exchangeable(scores[:m].tolist(), scores[m:].tolist(), seed=int(rng.integers(2**31)), permutations=199)
        <= 0.05
    )


def told_apart(threats: int, organisms: int, harmless: int, spread: float, rng: Rng) -> float:
    """Whether two detectors that are alike are told apart: how well each sees a threat is drawn anew."""

    def draw() -> tuple[list[list[float]], list[float]]:
        centres = 0.5 + spread * rng.normal(size=(threats, 1))
        return (centres + rng.normal(size=(threats, organisms))).tolist(), rng.normal(size=harmless).tolist()

    return stats.threat_contrast(draw(), draw()).p <= 0.05


def alarms_by_recipe(recipes: int, alike: float, rng: Rng) -> Ends:
    """Four twins of each recipe, a tenth of all flagged in the long run, so alike within a recipe."""
    if alike in (0.0, 1.0):
        shares = np.full(recipes, 0.1) if not alike else (rng.random(recipes) < 0.1) * 1.0
    else:
        shares = rng.beta(0.1 * (1 - alike) / alike, 0.9 * (1 - alike) / alike, size=recipes)
    flags = rng.random((recipes, 4)) < shares[:, None]
    return 0.0, stats.clustered_fpr(flags.ravel().tolist(), np.repeat(np.arange(recipes), 4).tolist()), 0.1


def of_thresholds() -> Iterator[Setting]:
    for m in (8, 20, 100):
        group, name = "40 organisms at the threshold of 8 to 100 twins", f"{m} twins"
        yield Setting(function="recall_at_fpr", group=group, name=name, draw=partial(recall, m))
    for flagged, n in product((0.01, 0.1, 0.5), (8, 38, 300)):
        name = f"{n} twins and decoys, rate {flagged}"
        draw = partial(alarms, flagged, n)
        yield Setting(function="certified_fpr", group="8 to 300 twins", name=name, draw=draw, promise=ONE_SIDED)
    for recipes, alike in product((4, 17, 40), (0.0, 0.3, 0.6, 1.0)):
        name, draw = f"{recipes} recipes, ICC {alike}", partial(alarms_by_recipe, recipes, alike)
        group = "4 to 40 recipes of 4 twins"
        yield Setting(function="clustered_fpr", group=group, name=name, draw=draw, promise=ONE_SIDED)


def of_rates() -> Iterator[Rate]:
    for m, shared in product((8, 20, 50, 99, 100), (True, False)):
        name = f"{m} calibration twins, {'the same asks' if shared else 'asks of their own'}"
        promised = max(1, (m + 1) // 100) / (m + 1)
        yield Rate(function="recall_at_fpr", name=name, promised=promised, draw=partial(threshold, m, shared))
    for (m, n), coarse in product(((8, 8), (20, 38)), (False, True)):
        name = f"{m} calibration twins and {n} twins that are alike{', many ties' if coarse else ''}"
        yield Rate(function="exchangeable", name=name, promised=0.05, draw=partial(unlike, m, n, coarse))
    for threats, organisms, harmless in ((6, 4, 20), (9, 4, 76), (14, 4, 76), (9, 10, 76), (17, 3, 20)):
        for spread, how in ((0.0, "equally well"), (1.0, "each its own")):
            name = f"two that are alike, {threats} threats of {organisms} beside {harmless}; threats are seen {how}"
            draw = partial(told_apart, threats, organisms, harmless, spread)
            yield Rate(function="threat_contrast", name=name, promised=0.05, draw=draw)


SETTINGS = (*of_aurocs(), *of_thresholds())
RATES = tuple(of_rates())
