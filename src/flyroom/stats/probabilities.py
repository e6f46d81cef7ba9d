"""Turn suspicion into a probability, and correct rates for judges that are not exact.

Platt's curve is fitted on some suspects, and its calibration is measured on others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from flyroom.stats.common import Z, finite, within
from flyroom.stats.estimates import clustered_rate, rate
from flyroom.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Platt:
    """P(organism | suspicion) = 1 / (1 + exp(-(slope * suspicion + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, suspicions: Sequence[float]) -> list[float]:
        return special.expit(self.slope * finite("suspicions", suspicions) + self.intercept).tolist()


def platt(positives: Sequence[float], negatives: Sequence[float]) -> Platt:
    """Returns the curve that turns suspicion into a probability. Platt's smoothed targets keep it from becoming a step
    where no suspicion of one class is among those of the other.

    Raises ValueError for an empty class, and for a suspicion that is not finite.
    Source: Platt 1999; Lin, Lin and Weng 2007, Machine Learning 68:267.

    >>> round(platt([2.0, 3.0], [0.0, 1.0])([2.5])[0], 2)
    0.71
    """
    above, below = finite("positives", positives), finite("negatives", negatives)
    x = np.concatenate([above, below])
    targets = np.concatenate(
        [np.full(len(above), (len(above) + 1) / (len(above) + 2)), np.full(len(below), 1 / (len(below) + 2))]
    )
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    z = (x - centre) / scale

    def loss(by: np.ndarray) -> tuple[float, np.ndarray]:
        logit = by[0] * z + by[1]
        off = special.expit(logit) - targets
        return float((np.logaddexp(0, logit) - targets * logit).sum()), np.array([off @ z, off.sum()])

    slope, intercept = optimize.minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return Platt(slope=float(slope / scale), intercept=float(intercept - slope * centre / scale))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well probabilities hold.

    `ece` is the mean distance, over bins of equally many suspects, between the mean probability and the share of
    organisms. `ece_by_chance` is the value below which a perfectly calibrated detector stays in 95 of 100 cases with
    the same number of suspects. `curve` holds, for each bin, the mean probability and the share of organisms.
    """

    brier: Estimate
    ece: float
    ece_by_chance: float
    curve: tuple[tuple[float, Estimate], ...]


def calibration(
    probabilities: Sequence[float], positive: Sequence[bool], *, bins: int = 10, seed: int = 0
) -> Calibration:
    """Returns Brier score, expected calibration error and calibration curve. Fit Platt's curve on other suspects.

    With few suspects the ECE of any detector is far above 0. So it comes with a level of chance instead of an interval.
    Raises ValueError for a probability outside [0, 1] or fewer than two suspects.
    Source: Brier 1950; Naeini et al. 2015; for the level of chance Bröcker and Smith 2007, Weather and Forecasting
    22:651.

    >>> result = calibration([0.9, 0.8, 0.2, 0.1], [True, True, False, False], bins=2)
    >>> round(result.brier.value, 3), round(result.ece, 3), result.ece < result.ece_by_chance
    (0.025, 0.15, True)
    """
    p, truth = finite("probabilities", probabilities), np.asarray(positive, dtype=float)
    within("probabilities", p, 0.0, 1.0)
    if len(p) != len(truth) or len(p) < 2:
        raise ValueError(
            f"probabilities has {len(p)} items and positive {len(truth)}; it needs at least 2, and as many"
        )
    order = np.argsort(p, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]

    def ece(outcomes: np.ndarray) -> np.ndarray:  # [..., suspects]
        return np.stack([np.abs((outcomes[..., g] - p[g]).sum(-1)) for g in groups]).sum(0) / len(p)

    draws = np.random.default_rng(seed).random((2000, len(p))) < p
    return Calibration(
        brier=clustered_rate(((p - truth) ** 2).tolist(), range(len(p))),
        ece=float(ece(truth)),
        ece_by_chance=float(np.quantile(ece(draws.astype(float)), 0.95)),
        curve=tuple((float(p[g].mean()), rate(int(truth[g].sum()), len(g))) for g in groups),
    )


def split_calibration(positives: Sequence[float], negatives: Sequence[float], *, seed: int) -> Calibration:
    """Fit Platt's curve on a random half of the suspects of each class, and measure its calibration on the other half.

    There are two bins, or more, up to ten, where each then holds eight suspects. Raises ValueError for fewer than four
    of either class.

    >>> result = split_calibration([2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 1.5, 2.5], seed=0)
    >>> len(result.curve), result.brier.n
    (2, 4)
    """
    smaller = min(("positives", len(positives)), ("negatives", len(negatives)), key=lambda pair: pair[1])
    if smaller[1] < 4:
        raise ValueError(f"{smaller[0]} has {smaller[1]} items; it needs at least 4, two to fit on and two to measure")
    rng = np.random.default_rng(seed)
    above = rng.permutation(finite("positives", positives)).tolist()
    below = rng.permutation(finite("negatives", negatives)).tolist()
    curve = platt(above[::2], below[::2])
    rest = [*above[1::2], *below[1::2]]
    truth = [i < len(above[1::2]) for i in range(len(rest))]
    return calibration(curve(rest), truth, bins=min(10, max(2, len(rest) // 8)), seed=seed)


def corrected_rate(hits: int, n: int, *, caught: tuple[int, int], passed: tuple[int, int]) -> Estimate:
    """Returns a share that an inexact judge counted, corrected for the judge's errors.

    `caught` says how many of how many planted cases the judge recognised (sensitivity), and `passed` how many of how
    many planted other answers it let pass (specificity). The share is (p + Sp - 1) / (Se + Sp - 1), within [0, 1]. The
    interval carries the uncertainty of all three. Raises ValueError where the judge is no better than a coin.
    Source: Rogan and Gladen 1978; Lang and Reiczigel 2014, Preventive Veterinary Medicine 113:13.

    >>> estimate = corrected_rate(30, 100, caught=(90, 100), passed=(95, 100))
    >>> round(estimate.low, 2), round(estimate.value, 2), round(estimate.high, 2)
    (0.18, 0.29, 0.41)
    """
    p, se, sp = (rate(*counts) for counts in ((hits, n), caught, passed))
    if se.value + sp.value <= 1:
        raise ValueError(f"sensitivity {se.value:.2f} and specificity {sp.value:.2f}: the judge tells nothing apart")
    value = min(1.0, max(0.0, (p.value + sp.value - 1) / (se.value + sp.value - 1)))
    size_p, size_se, size_sp = p.n + Z**2, se.n + 2, sp.n + 2
    p_, se_, sp_ = (hits + Z**2 / 2) / size_p, (caught[0] + 1) / size_se, (passed[0] + 1) / size_sp
    bent = (p_ + sp_ - 1) / (se_ + sp_ - 1)
    var_se, var_sp = se_ * (1 - se_) / size_se, sp_ * (1 - sp_) / size_sp
    shift = 2 * Z**2 * (bent * var_se - (1 - bent) * var_sp)
    half = Z * math.sqrt(p_ * (1 - p_) / size_p + bent**2 * var_se + (1 - bent) ** 2 * var_sp) / (se_ + sp_ - 1)
    low, high = (min(1.0, max(0.0, bent + shift + by)) for by in (-half, half))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n)
