"""Means and the jackknife: their values by hand, their coverage, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from flyroom import stats


def test_a_mean_has_the_t_interval() -> None:
    estimate = stats.mean([1.0, 2.0, 3.0, 4.0], units="rows", target="new rows")
    assert (estimate.value, estimate.n, estimate.units, estimate.target) == (2.5, 4, "rows", "new rows")
    assert estimate.high - estimate.value == pytest.approx(3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-5)


def test_of_a_mean_the_jackknife_is_the_t_interval() -> None:
    values = [0.3, 1.7, -0.4, 2.2, 0.9]
    without = [float(np.mean(values[:i] + values[i + 1 :])) for i in range(5)]
    both = stats.jackknife(float(np.mean(values)), without), stats.mean(values)
    assert both[0].low == pytest.approx(both[1].low)
    assert both[0].high == pytest.approx(both[1].high)


@pytest.mark.parametrize("figure", [np.mean, lambda x: np.log(np.mean(x)), lambda x: np.std(x) / np.mean(x)])
def test_the_jackknife_covers_a_smooth_figure(figure: object) -> None:
    assert callable(figure)
    draw, hits = np.random.default_rng(0), 0
    truth = float(figure(draw.gamma(4.0, size=400_000)))
    for _ in range(400):
        values = draw.gamma(4.0, size=60)
        without = [float(figure(np.delete(values, range(g, 60, 20)))) for g in range(20)]
        estimate = stats.jackknife(float(figure(values)), without)
        hits += estimate.low <= truth <= estimate.high
    assert 0.90 * 400 <= hits <= 0.985 * 400


def test_ends_are_cut_at_the_bounds_and_hold_the_value() -> None:
    estimate = stats.jackknife(0.99, [0.5, 0.99, 1.0], bounds=(-1.0, 1.0))
    assert estimate.high == 1.0
    assert estimate.low < 0.99


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: stats.mean([1.0]), "holds 1 value"),
        (lambda: stats.mean([1.0, 1.0]), "do not vary"),
        (lambda: stats.mean([1.0, float("nan")]), "finite"),
        (lambda: stats.jackknife(1.0, [1.0, 2.0]), "holds 2 groups"),
        (lambda: stats.jackknife(float("nan"), [1.0, 2.0, 3.0]), "value is nan"),
        (lambda: stats.jackknife(1.0, [1.0, float("inf"), 3.0]), "finite"),
    ],
)
def test_what_has_no_interval_is_refused(call: object, why: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=why):
        call()
