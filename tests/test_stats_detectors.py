"""Exchangeable twins, replies within their model, two detectors over threats, and halves of threats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from flyroom import stats

values = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=9)


# ---------------------------------------------------------------- exchangeable


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_exchangeable_is_scipys_anderson_and_darling(shift: float, coarse: bool) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=20), shift + rng.normal(size=30)
    if coarse:
        first, second = np.round(2 * first), np.round(2 * second)
    method = scipy_stats.PermutationMethod(n_resamples=4000, rng=np.random.default_rng(0))
    theirs = scipy_stats.anderson_ksamp([first, second], variant="midrank", method=method).pvalue  # type: ignore[call-arg]
    ours = stats.exchangeable(first.tolist(), second.tolist(), seed=0, permutations=4000)
    assert ours == pytest.approx(theirs, abs=0.03)


def test_twins_of_another_training_shape_are_not_exchangeable() -> None:
    rng = np.random.default_rng(0)
    calibration = rng.normal(size=20).tolist()
    assert stats.exchangeable(calibration, (2 + rng.normal(size=38)).tolist(), seed=0) < 0.001
    assert stats.exchangeable(calibration, (4 * rng.normal(size=38)).tolist(), seed=0) < 0.05, "wider, at one middle"
    assert stats.exchangeable(calibration, rng.normal(size=38).tolist(), seed=0) > 0.05


@given(values, values)
@settings(max_examples=30)
def test_exchangeable_is_a_p_value_with_its_seed(first: list[float], second: list[float]) -> None:
    p = stats.exchangeable(first, second, seed=3, permutations=99)
    assert 0.01 <= p <= 1
    assert p == stats.exchangeable(first, second, seed=3, permutations=99)
    assert stats.exchangeable([1.0] * len(first), [1.0], seed=3) == 1.0


# ---------------------------------------------------------------- replies


def test_a_detector_that_tells_models_apart_tells_no_replies_apart() -> None:
    """Bad replies come from one model and good ones from another: pooled it is perfect, within models there is
    nothing. So it was with 124 aligned replies of which none was an organism's."""
    suspicions, truth = [2.0] * 20 + [1.0] * 20, [True] * 20 + [False] * 20
    models = ["organism"] * 20 + ["twin"] * 20
    assert stats.clustered_auroc(suspicions, truth, list(range(20)) * 2).value == 1.0
    with pytest.raises(ValueError, match="strata: none holds both classes"):
        stats.stratified_auroc(suspicions, truth, models, models, list(range(20)) * 2)


def replies(
    models: int, questions: int, apart: float, seed: int
) -> tuple[list[float], list[bool], list[int], list[int]]:
    rng = np.random.default_rng(seed)
    model, question = (axis.ravel() for axis in np.indices((models, questions)))
    truth = rng.random(len(model)) < 0.5
    scores = apart * truth + rng.normal(size=len(model)) + 5 * rng.normal(size=models)[model]
    return scores.tolist(), truth.tolist(), model.tolist(), question.tolist()


def test_how_suspicious_a_model_looks_does_not_matter() -> None:
    scores, truth, model, question = replies(4, 30, 1.0, 0)
    estimate = stats.stratified_auroc(scores, truth, model, model, question)
    moved = [s + 10 * m for s, m in zip(scores, model, strict=True)]
    again = stats.stratified_auroc(moved, truth, model, model, question)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((again.low, again.value, again.high))
    wins = [
        (a > b) + (a == b) / 2
        for a, t, m in zip(scores, truth, model, strict=True)
        for b, u, o in zip(scores, truth, model, strict=True)
        if t and not u and m == o
    ]
    assert estimate.value == pytest.approx(sum(wins) / len(wins))
    assert (estimate.clusters, estimate.target) == ("models and questions", "new models and questions")


def test_replies_of_four_models_are_those_of_four() -> None:
    scores, truth, model, question = replies(4, 60, 40.0, 1)
    estimate = stats.stratified_auroc(scores, truth, model, model, question)
    four = stats.auroc([1.0] * 4, [0.0] * 4)
    assert (estimate.value, estimate.low) == pytest.approx((1.0, four.low))
    assert estimate.n == 240


def test_models_that_differ_widen_the_interval() -> None:
    scores, truth, model, question = replies(6, 40, 0.0, 2)
    better = [s + 3.0 * t * (m < 3) for s, t, m in zip(scores, truth, model, strict=True)]
    same = [s + 1.2 * t for s, t in zip(scores, truth, strict=True)]
    apart, alike = (stats.stratified_auroc(each, truth, model, model, question) for each in (better, same))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_answers_without_a_pair_are_missing_and_a_single_model_says_nothing_of_others() -> None:
    estimate = stats.stratified_auroc([3, 1, 2, 5], [True, False, True, True], "aaab", "mmmm", "1232")
    assert (estimate.value, estimate.n, estimate.missing) == (1.0, 4, 1)
    assert (estimate.clusters, estimate.target) == ("questions", "new questions")
    with pytest.raises(ValueError, match="strata 1"):
        stats.stratified_auroc([1.0, 2.0], [True, False], "a", "ab", "ab")


# ---------------------------------------------------------------- two detectors, halves of threats


def test_a_contrast_over_threats_is_delongs_where_each_threat_has_its_own_luck_and_more_where_it_is_shared() -> None:
    rng = np.random.default_rng(0)
    sides = [(rng.normal(1, 1, (12, 6)).tolist(), rng.normal(size=40).tolist()) for _ in range(2)]
    contrast = stats.threat_contrast(*sides)
    aurocs = [[stats.auroc(threat, negatives).value for threat in positives] for positives, negatives in sides]
    assert contrast.value == pytest.approx(np.mean(aurocs[0]) - np.mean(aurocs[1]))
    threats = scipy_stats.ttest_rel(*aurocs).confidence_interval()
    assert contrast.low < threats.low < threats.high < contrast.high  # the harmless models' luck is in it, too
    mirrored = stats.threat_contrast(*reversed(sides))
    assert mirrored == pytest.approx((-contrast.value, -contrast.high, -contrast.low, contrast.p))
    in_copies = [(positives, negatives * 3) for positives, negatives in sides]
    assert stats.threat_contrast(*in_copies, [*range(40)] * 3) == pytest.approx(contrast)
    assert stats.threat_contrast(sides[0], sides[0]).p == 1.0


@pytest.mark.parametrize(
    ("first", "clusters", "message"),
    [
        (([[1.0], [2.0]], [0.0]), None, r"first is of organisms and negatives \(\[1, 1\], 1\) and second of"),
        (([[1.0], [2.0]], [0.0, 1.0]), ["a"], "clusters has 1 names for 2 negatives"),
        (([[1.0], [2.0]], [0.0, 1.0]), ["a", "a"], "2 threats and 1 clusters; it needs 2 of each"),
        (([[1.0], [float("nan")]], [0.0, 1.0]), None, r"positives\[1\]\[0\] is nan"),
    ],
)
def test_a_contrast_names_what_does_not_fit(first: object, clusters: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.threat_contrast(first, ([[1.0], [2.0]], [0.0, 1.0]), clusters)  # pyright: ignore[reportArgumentType]


def test_halves_of_threats_agree_where_every_threat_ranks_alike_and_not_where_each_has_its_own_best() -> None:
    rng = np.random.default_rng(0)
    alike = [[quality + 0.01 * rng.random() for _ in range(10)] for quality in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert stats.threat_halves(alike, seed=0).median == pytest.approx(1.0)
    own = rng.random((12, 10)).tolist()
    halves = stats.threat_halves(own, seed=0)
    assert halves.low < 0 < halves.high < 0.9
    assert halves == stats.threat_halves(own, seed=0)
    with pytest.raises(ValueError, match="3 detectors and 10 threats"):
        stats.threat_halves(own[:3], seed=0)


def test_halves_in_which_all_detectors_are_equal_have_no_correlation() -> None:
    figures = [[0.5, quality] for quality in (0.5, 0.6, 0.7, 0.8)]  # one of two halves is constant in every split
    with pytest.raises(ValueError, match="all detectors equal over half of the threats"):
        stats.threat_halves(figures, seed=0)
    some = [[0.5, 0.5, quality, quality] for quality in (0.5, 0.6, 0.7, 0.8)]  # in a third of the splits
    assert stats.threat_halves(some, seed=0).low == pytest.approx(1.0)
