"""Claims of several runs on the same suspects: what an interval counts, and that it covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from flyroom import stats
from flyroom.types import Estimate

REPS = 300
SLACK = 2.6 * math.sqrt(0.95 * 0.05 / REPS)


def estimate_of(low: float, value: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=10)


def test_runs_that_agree_count_their_suspects_alone() -> None:
    for runs in (1, 5, 50):
        estimate = stats.runs_rate([[True] * runs] * 4)
        wilson = stats.rate(4, 4)
        assert (estimate.low, estimate.high) == pytest.approx((wilson.low, wilson.high))
        assert (estimate.n, estimate.n_effective) == (4 * runs, 4.0)
    stubborn = stats.runs_rate([[True] * 5] * 3 + [[False] * 5] * 3)
    assert stubborn.n_effective is not None
    assert stubborn.n_effective <= 6


def test_more_runs_narrow_what_is_luck_and_not_nature() -> None:
    coins = np.random.default_rng(0).random((8, 40)) < 0.5
    few, many = stats.runs_rate(coins[:, :5].tolist()), stats.runs_rate(coins.tolist())
    assert few.n_effective is not None
    assert many.n_effective is not None
    assert 8 < few.n_effective < many.n_effective
    assert (many.units, many.clusters) == ("claims", "suspects and runs")


def test_claims_that_there_are_not_are_missing() -> None:
    estimate = stats.runs_rate([[True, None, True], [None, None, None], [False, True, None]])
    assert (estimate.value, estimate.n, estimate.missing) == (0.75, 9, 5)
    with pytest.raises(ValueError, match="no outcome"):
        stats.runs_rate([[None, None]])
    with pytest.raises(ValueError, match="must be as many"):
        stats.runs_rate([[True], [True, False]])


@pytest.mark.parametrize("spread", [(0.0, 0.0), (1.5, 0.0), (8.0, 0.0), (1.5, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("suspects", [4, 12])
def test_coverage_of_rates(suspects: int, spread: tuple[float, float]) -> None:
    rng, mean = np.random.default_rng(suspects), 0.5  # by symmetry, whatever the spread
    hits = 0
    for _ in range(REPS):
        odds = spread[0] * rng.normal(size=(suspects, 1)) + spread[1] * rng.normal(size=(1, 5))
        estimate = stats.runs_rate((rng.random((suspects, 5)) < 1 / (1 + np.exp(-odds))).tolist())
        hits += estimate.low <= mean <= estimate.high
    assert hits / REPS > 0.95 - SLACK


def test_one_run_is_the_auroc_of_its_suspects() -> None:
    positives, negatives = [3.0, 2.0, 0.5], [1.0, 2.0, 0.0, 0.4]
    ours, theirs = (
        stats.runs_auroc([[x] for x in positives], [[x] for x in negatives]),
        stats.auroc(positives, negatives),
    )
    assert (ours.value, ours.n) == (theirs.value, theirs.n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_scales_may_differ_from_run_to_run() -> None:
    ours = stats.runs_auroc([[0.9, 900.0], [0.8, 800.0]], [[0.1, 100.0], [0.2, 850.0]])
    assert ours.value == (1.0 + 0.75) / 2


@pytest.mark.parametrize(("noise", "luck"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_coverage_of_aurocs(noise: float, luck: float) -> None:
    rng = np.random.default_rng(3)
    scale = math.sqrt(2 * (1 + noise**2))
    truth = float(np.mean(scipy_stats.norm.cdf((1 + luck * rng.normal(size=100_000)) / scale)))
    hits = 0
    for _ in range(REPS):
        shift = 1 + luck * rng.normal(size=(1, 5))
        positives, negatives = (rng.normal(size=(6, 1)) + noise * rng.normal(size=(6, 5)) for _ in range(2))
        estimate = stats.runs_auroc((positives + shift).tolist(), negatives.tolist())
        hits += estimate.low <= truth <= estimate.high
    assert hits / REPS > 0.95 - SLACK


def test_predictive_values_are_bayes_and_their_bounds_the_extremes() -> None:
    sensitivity, alarms = estimate_of(0.5, 0.8, 0.9), estimate_of(0.01, 0.1, 0.4)
    for prevalence in (0.001, 0.01, 0.1):
        estimate = stats.predictive_value(sensitivity, alarms, prevalence=prevalence)
        corners = [
            prevalence * se / (prevalence * se + (1 - prevalence) * fa)
            for se in (0.5, 0.8, 0.9)
            for fa in (0.01, 0.1, 0.4)
        ]
        assert (estimate.low, estimate.high) == pytest.approx((min(corners), max(corners)))
        assert estimate.value in corners
    assert stats.predictive_value(sensitivity, estimate_of(0, 0, 0.3), prevalence=0.01).high == 1.0
    nothing = estimate_of(0, 0, 0.5)
    with pytest.raises(ValueError, match="nothing was flagged"):
        stats.predictive_value(nothing, nothing, prevalence=0.1)
    with pytest.raises(ValueError, match="prevalence is 1"):
        stats.predictive_value(sensitivity, alarms, prevalence=1)
