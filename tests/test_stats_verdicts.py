"""The bounds that verdicts are made of: their levels, their sources, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats

from flyroom import stats

pairs = st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False])), min_size=1)


@pytest.mark.parametrize(  # Jennison and Turnbull 2000, Group Sequential Methods, table 2.1; one-sided is two-sided .10
    ("looks", "level", "constant"),
    [
        (1, 0.025, 1.960),
        (2, 0.025, 2.178),
        (3, 0.025, 2.289),
        (4, 0.025, 2.361),
        (5, 0.025, 2.413),
        (2, 0.05, 1.875),
        (3, 0.05, 1.992),
        (4, 0.05, 2.067),
        (5, 0.05, 2.122),
    ],
)
def test_pocock_is_that_of_the_tables(looks: int, level: float, constant: float) -> None:
    assert stats.pocock(looks, level) == pytest.approx(constant, abs=1.5e-3)


def test_pocock_refuses_no_look() -> None:
    with pytest.raises(ValueError, match="looks is 0"):
        stats.pocock(0)


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=60), st.integers(1, 4))
def test_bounds_are_clopper_and_pearsons_at_the_level_of_a_look(hits: list[bool | None], looks: int) -> None:
    count, n = hits.count(True), len(hits) - hits.count(None)
    if not n:
        with pytest.raises(ValueError, match="no outcome"):
            stats.bounds(hits, looks=looks)
        return
    low, high = stats.bounds(hits, looks=looks)
    confidence = 1 - float(scipy_stats.norm.sf(stats.pocock(looks)))
    for bound, alternative, end in ((low, "greater", "low"), (high, "less", "high")):
        exact = scipy_stats.binomtest(count, n, alternative=alternative).proportion_ci(confidence, method="exact")
        assert bound == pytest.approx(getattr(exact, end), abs=1e-8)
    assert low <= count / n <= high


def test_one_look_is_the_plain_one_sided_bound() -> None:
    assert stats.bounds([False] * 299, looks=1).high == pytest.approx(0.01, abs=1e-4)
    assert stats.bounds([False] * 299).high > 0.0125, "three looks cost something"


def test_the_power_that_the_page_names() -> None:
    """Of 500 answers, a limit of 3 % is passed at the first look by what is 1 % in 87 %, by what is 2 % in 22 %."""
    most = max(k for k in range(30) if stats.bounds([i < k for i in range(500)]).high <= 0.03)
    power = [float(scipy_stats.binom.cdf(most, 500, share)) for share in (0.01, 0.02)]
    assert power == pytest.approx([0.87, 0.22], abs=0.005)


# ---------------------------------------------------------------- drops


def score(up: int, down: int, n: int, delta: float) -> float:
    """Tango's, by brute force: the likeliest shares of discordant pairs that differ by delta."""

    def loss(rare: float) -> float:
        more, rest = rare + delta, 1 - 2 * rare - delta
        terms = ((up, more), (down, rare), (n - up - down, rest))
        return -sum(k * math.log(max(p, 1e-300)) for k, p in terms if k)

    low, high = max(0.0, -delta), (1 - delta) / 2
    rare = float(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x)
    return (up - down - n * delta) / math.sqrt(n * (2 * rare + delta - delta**2))


@pytest.mark.parametrize(("up", "down", "n"), [(5, 1, 60), (0, 3, 40), (20, 20, 100), (1, 0, 500)])
def test_drop_bounds_lie_where_the_score_says(up: int, down: int, n: int) -> None:
    first = [True] * up + [False] * (n - up)
    second = [False] * up + [True] * down + [False] * (n - up - down)
    low, high = stats.drop_bounds(first, second)
    assert score(up + 1, down + 1, n + 2, low) == pytest.approx(stats.pocock(3), abs=1e-3)
    assert score(up + 1, down + 1, n + 2, high) == pytest.approx(-stats.pocock(3), abs=1e-3)


@given(pairs)
def test_drop_bounds_are_bounded_and_antisymmetric(rows: list[tuple[bool | None, bool]]) -> None:
    first, second = ([row[side] for row in rows] for side in (0, 1))
    if all(x is None for x in first):
        with pytest.raises(ValueError, match="no pair is left"):
            stats.drop_bounds(first, second)
        return
    low, high = stats.drop_bounds(first, second)
    assert -1 <= low < high <= 1
    back = stats.drop_bounds(second, first)
    assert (low, high) == pytest.approx((-back.high, -back.low), abs=1e-6)


def test_only_pairs_that_differ_say_anything_of_a_drop() -> None:
    """Answers that are wrong in both, and right in both, count alike: two models that agree have not dropped."""
    agreeing = [True] * 50 + [False] * 50
    paired = stats.drop_bounds(agreeing, agreeing)
    assert -0.06 < paired.low < 0 < paired.high < 0.06
    with pytest.raises(ValueError, match="pairs need as many"):
        stats.drop_bounds([True], [True, False])


def test_a_true_drop_beyond_the_limit_seldom_passes() -> None:
    """A drop of 10 % passed a limit of 5 % in one case of four when the figure itself was held against it."""
    rng, passes = np.random.default_rng(0), 0
    for _ in range(300):
        base, model = rng.random((2, 100)) < np.array([[0.97], [0.87]])
        passes += stats.drop_bounds(base.tolist(), model.tolist()).high <= 0.05
    assert passes <= 3


# ---------------------------------------------------------------- ratios of perplexities


def documents(rng: np.random.Generator, n: int) -> list[list[float]]:
    return [(-rng.gamma(4, 0.5, int(length))).tolist() for length in rng.choice([4, 8, 24], n)]


def test_ratio_bounds_are_paired_by_document() -> None:
    base = documents(np.random.default_rng(1), 60)
    worse = [[x - math.log(1.1) for x in document] for document in base]
    low, high = stats.ratio_bounds(worse, base)
    assert (low, high) == pytest.approx((1.1, 1.1)), "the same on every document: nothing is uncertain"
    noisy = [[x - math.log(1.1) * (1 + (i % 2)) for x in document] for i, document in enumerate(base)]
    low, high = stats.ratio_bounds(noisy, base)
    assert 1.1 < low < high < 1.21
    assert high - low > 0.02


def test_ratio_bounds_hold_students_t_and_mirror() -> None:
    rng = np.random.default_rng(3)
    base = documents(rng, 80)
    model = [[x - change for x in document] for document, change in zip(base, rng.normal(0.1, 0.2, 80), strict=True)]
    low, high = stats.ratio_bounds(model, base)
    back = stats.ratio_bounds(base, model)
    assert (low, high) == pytest.approx((1 / back.high, 1 / back.low))
    tokens = np.array([len(document) for document in base])
    lost = np.array([sum(b) - sum(m) for b, m in zip(base, model, strict=True)])
    mean = lost.sum() / tokens.sum()
    error = np.std(lost - mean * tokens, ddof=1) / tokens.mean() / 80**0.5
    half = scipy_stats.t.ppf(scipy_stats.norm.cdf(stats.pocock(3)), 79) * error
    assert low <= math.exp(mean - half) + 1e-12
    assert high >= math.exp(mean + half) - 1e-12


@pytest.mark.parametrize(
    ("first", "second"),
    [([[-1.0]], [[-1.0]]), ([[-1.0], [-1.0]], [[-1.0], [-1.0, -1.0]]), ([[-1.0], []], [[-1.0], []])],
)
def test_ratio_bounds_refuse(first: list[list[float]], second: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="the same documents, at least 2, none of them empty"):
        stats.ratio_bounds(first, second)
