"""Situations, seeds and gaps: what the interval counts, what it is of, and when it is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyroom import stats
from flyroom.stats import common
from flyroom.types import Estimate

outcomes = st.sampled_from([True, False, None])


def sane(estimate: Estimate, low: float = 0.0, high: float = 1.0) -> bool:
    return low <= estimate.low <= estimate.value <= estimate.high <= high


@pytest.mark.parametrize(
    ("estimate", "units", "clusters", "target", "size"),
    [
        (stats.rate([True, False, None], target="these prompts"), "answers", "", "these prompts", 2),
        (stats.clustered_rate([1, 0, 0, 1], "abcd", kind="recipes"), "answers", "recipes", "", 4 / (4 / 3)),
        (
            stats.situations_rate([True, False] * 8, "aabbccddeeffgghh"),
            "answers",
            "situations",
            "new situations",
            16 / 1.15,
        ),
        (stats.crossed_rate([[1, 0]] * 2, units="runs"), "runs", "seeds and prompts", "new seeds and prompts", None),
        (stats.over_seeds([0.5, 0.7]), "seeds", "", "new seeds", None),
        (stats.difference([True], [False], paired=True), "answers", "", "", None),
        (stats.gap([True] * 4, [False] * 4, "aabb", kind="situations"), "pairs", "situations", "", None),
        (stats.auroc([1.0], [0.0]), "suspects", "", "", None),
        (stats.clustered_auroc([1, 0, 1, 0], [True, False] * 2, "aabb"), "answers", "prompts", "", None),
    ],
)
def test_an_estimate_says_what_it_counts_and_what_it_is_of(
    estimate: Estimate, units: str, clusters: str, target: str, size: float | None
) -> None:
    assert (estimate.units, estimate.clusters, estimate.target) == (units, clusters, target)
    if size is not None:
        assert estimate.n_effective == pytest.approx(size)


def test_the_effective_n_of_an_auroc_gives_wilsons_interval_its_width() -> None:
    for positives, negatives in (([1.0] * 4, [0.0] * 4), ([1.0, 2.0, 0.5], [0.0, 1.5, 0.2, 0.7])):
        estimate = stats.auroc(positives, negatives)
        assert estimate.n_effective
        low, high = common.wilson(estimate.value, estimate.n_effective)
        assert high - low == pytest.approx(estimate.high - estimate.low, abs=1e-6)
        assert estimate.n_effective < len(positives) + len(negatives) + 1


# ---------------------------------------------------------------- situations


def test_new_situations_take_eight_of_them() -> None:
    with pytest.raises(ValueError, match="situations holds 7 with an answer; new situations take at least 8"):
        stats.situations_rate([True] * 15 + [None], [*(i % 7 for i in range(15)), 7])
    with pytest.raises(ValueError, match="as many"):
        stats.situations_rate([True], [])


def test_answers_about_one_situation_are_not_as_many_situations() -> None:
    hits = [i % 8 < 3 for i in range(400)]  # 8 situations, each all or nothing
    situations = [i % 8 for i in range(400)]
    these, new = stats.rate(hits), stats.situations_rate(hits, situations)
    assert new.high - new.low > 5 * (these.high - these.low)
    assert new.n_effective == pytest.approx(7)  # 8 situations, and their own mean was taken off


@pytest.mark.parametrize("hits", [0, 1, 3])
def test_few_events_are_no_proof_that_situations_do_not_differ(hits: int) -> None:
    """400 answers about 8 situations, of which so many count: as wide as with answers that are alike by 15 %."""
    estimate = stats.situations_rate([i < hits for i in range(400)], [i % 8 for i in range(400)])
    safe = common.wilson(hits / 400, 400 / (1 + 49 * common.ICC_SITUATION))
    assert estimate.high >= safe[1] > stats.rate(hits, 400).high
    assert estimate.low <= safe[0]


# ---------------------------------------------------------------- seeds and prompts


def table(seed: int, seeds: int = 6, prompts: int = 20, draws: int = 3) -> tuple[np.ndarray, list[int]]:
    """Answers that are alike by seed, by prompt and by their meeting."""
    rng = np.random.default_rng(seed)
    latent = 0.5 * rng.normal(size=(seeds, 1, 1)) + 0.6 * rng.normal(size=(1, prompts, 1))
    latent = latent + 0.4 * rng.normal(size=(seeds, prompts, 1)) + rng.normal(size=(seeds, prompts, draws))
    return (latent < 0.3).reshape(seeds, -1), [i // draws for i in range(prompts * draws)]


def test_the_two_way_variance_is_statsmodels() -> None:
    """OLS on a constant, cov_type="cluster" with two groups, no correction, in statsmodels 0.15: 0.008049125514."""
    rows, prompts = table(3)
    mean, n = rows.mean(), rows.size
    parts_SP = np.stack([np.bincount(prompts, weights=row) for row in rows - mean]) / n
    seeds, columns = parts_SP.shape
    by_seed, by_prompt = (float((parts_SP.sum(axis) ** 2).sum()) for axis in (1, 0))
    assert by_seed + by_prompt - float((parts_SP**2).sum()) == pytest.approx(0.00804912551440329, rel=1e-9)
    # Ours scales each of the three by its own degrees of freedom, and takes cells' own means off.
    main = parts_SP.mean(1, keepdims=True) + parts_SP.mean(0, keepdims=True)
    cells = float(((parts_SP - main) ** 2).sum()) * seeds * columns / ((seeds - 1) * (columns - 1))
    variance = by_seed * seeds / (seeds - 1) + by_prompt * columns / (columns - 1) - cells
    estimate = stats.crossed_rate(rows.tolist(), prompts)
    assert estimate.n_effective == pytest.approx(mean * (1 - mean) / variance)


def test_the_variance_is_never_below_that_of_either_kind_alone() -> None:
    for seed in range(20):
        rows, prompts = table(seed)
        mean, n = rows.mean(), rows.size
        sums = (rows - mean).sum(1), np.bincount(prompts, weights=(rows - mean).sum(0))
        alone = [len(side) / (len(side) - 1) * float((side**2).sum()) / n**2 for side in sums]
        size = stats.crossed_rate(rows.tolist(), prompts).n_effective
        assert size
        assert mean * (1 - mean) / size >= max(alone) - 1e-12


def test_seeds_that_are_right_and_wrong_together_are_one() -> None:
    row = [i % 4 > 0 for i in range(200)]
    estimate = stats.crossed_rate([row] * 5)
    once = stats.rate(row)
    assert estimate.high - estimate.low == pytest.approx(once.high - once.low, rel=0.05)
    wrong = stats.over_seeds([stats.rate(row)] * 5)
    assert wrong.high - wrong.low < 0.7 * (once.high - once.low), "which it cannot know: see its docstring"


def test_where_all_seeds_agree_one_seeds_answers_count() -> None:
    """Never as few as there are seeds, and never more than one seed's answers: these may all be copies."""
    estimate = stats.crossed_rate([[False] * 400] * 5, [i // 4 for i in range(400)])
    assert estimate.high < stats.rate(0, 5).high / 5
    assert estimate.high > stats.rate(0, 400).high
    expected = 2000 / (5 * (1 + 3 * common.ICC_SITUATION) + 399 * common.ICC_SEED)
    assert estimate.n_effective == pytest.approx(expected)


@given(st.lists(st.lists(outcomes, min_size=6, max_size=6), min_size=2, max_size=5))
def test_crossed_rate_is_bounded_and_counts_what_is_missing(rows: list[list[bool | None]]) -> None:
    prompts, answers = "aabbcc", [x for row in rows for x in row if x is not None]
    names = {name for row in rows for x, name in zip(row, prompts, strict=True) if x is not None}
    if len(names) < 2 or sum(any(x is not None for x in row) for row in rows) < 2:
        with pytest.raises(ValueError, match=r"at least 2 of each|no answer"):
            stats.crossed_rate(rows, prompts)
        return
    estimate = stats.crossed_rate(rows, prompts)
    assert sane(estimate)
    assert estimate.high > estimate.low
    assert (estimate.n, estimate.missing) == (6 * len(rows), 6 * len(rows) - len(answers))
    assert estimate.value == pytest.approx(sum(answers) / len(answers))
    order = list(range(6))[::-1]
    turned = stats.crossed_rate([[row[i] for i in order] for row in rows[::-1]], [prompts[i] for i in order])
    assert (turned.low, turned.high) == pytest.approx((estimate.low, estimate.high))


def test_crossed_rate_takes_means_and_refuses_what_is_none() -> None:
    assert stats.crossed_rate([[0.25, 0.75, 0.5], [0.5, 1.0, 0.25]]).value == pytest.approx(13 / 24)
    for rows, prompts, message in (
        ([[1, 0], [1]], None, r"rows of \[1, 2\] draws"),
        ([[1, 0], [1, 2]], None, r"rows\[3\] is 2"),
        ([[1, 0], [1, 0]], "abc", "prompts names 3 draws and rows has 2"),
        ([[None, None]] * 2, None, "no answer"),
        ([[1, 0]], None, "1 seeds to 2 prompts"),
    ):
        with pytest.raises(ValueError, match=message):
            stats.crossed_rate(rows, prompts)


def test_over_seeds_knows_the_n_of_estimates_where_all_agree() -> None:
    blind, knowing = stats.over_seeds([0.0] * 5), stats.over_seeds([stats.rate(0, 400)] * 5)
    assert blind.high == pytest.approx(stats.rate(0, 5).high)
    assert knowing.n_effective == pytest.approx(2000 / (1 + 399 * common.ICC_SEED))
    assert stats.rate(0, 2000).high < knowing.high < 0.02
    one_off = stats.over_seeds([stats.rate(k, 400) for k in (0, 0, 0, 0, 1)])
    assert one_off.high > knowing.high, "a single event says no more than none"
    perfect = stats.over_seeds([stats.auroc([1.0] * 4, [0.0] * 4)] * 5)
    assert stats.over_seeds([1.0] * 5).low < perfect.low < 0.9


# ---------------------------------------------------------------- gaps

sides = st.lists(st.tuples(outcomes, outcomes, st.sampled_from("abcdefgh")), min_size=2, max_size=40)


@given(sides)
def test_a_gap_is_bounded_and_antisymmetric(rows: list[tuple[bool | None, bool | None, str]]) -> None:
    on, off, prompts = (list(side) for side in zip(*rows, strict=True))
    complete = [(x, y, name) for x, y, name in rows if x is not None and y is not None]
    if len({name for *_, name in complete}) < 2:
        with pytest.raises(ValueError, match=r"no pair is left|at least 2"):
            stats.gap(on, off, prompts)
        return
    estimate, back = stats.gap(on, off, prompts), stats.gap(off, on, prompts)
    assert sane(estimate, -1.0)
    assert (estimate.n, estimate.missing) == (len(rows), len(rows) - len(complete))
    assert estimate.value == pytest.approx(sum(x - y for x, y, _ in complete) / len(complete))
    assert (estimate.low, estimate.high) == pytest.approx((-back.high, -back.low))


def test_a_gap_of_everything_is_not_certain_and_answers_to_one_prompt_are_alike() -> None:
    prompts = [i // 10 for i in range(100)]
    full = stats.gap([True] * 100, [False] * 100, prompts)
    assert 0.8 < full.low < full.value == full.high == 1.0
    on = [prompt < 6 for prompt in prompts]  # each prompt all or nothing
    alike, scattered = (stats.gap(on, [False] * 100, names) for names in (prompts, range(100)))
    assert alike.high - alike.low > 2 * (scattered.high - scattered.low)
    with pytest.raises(ValueError, match="as many"):
        stats.gap([True], [True, False], "ab")


def test_what_both_sides_share_narrows_the_gap() -> None:
    rng = np.random.default_rng(0)
    hard = np.repeat(rng.random(20), 5)
    on, off = (hard + 0.1 * rng.random((2, 100)) < np.array([[0.7], [0.4]])).tolist()
    prompts = np.repeat(range(20), 5).tolist()
    order = rng.permutation(20)
    shuffled = [off[5 * order[i // 5] + i % 5] for i in range(100)]
    together, apart = stats.gap(on, off, prompts), stats.gap(on, shuffled, prompts)
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low < 0.9 * (apart.high - apart.low)
    assert not math.isnan(together.low)
