"""Intervals are held against scipy and scikit-learn; tests/test_stats_coverage.py simulates whether they cover."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, roc_auc_score

from flyroom import stats
from flyroom.stats import (
    common,
    crossed,
    detection,
    differences,
    estimates,
    many,
    probabilities,
    strata,
    thresholds,
    verdicts,
)
from flyroom.types import Estimate

PARTS = (crossed, detection, differences, estimates, many, probabilities, strata, thresholds, verdicts)
REPS = 400
SLACK = 2.6 * math.sqrt(0.95 * 0.05 / REPS)  # one test in two hundred falls below 0.95 - SLACK by chance
numbers = st.floats(-1e6, 1e6)
suspicions = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def sane(estimate: Estimate, low: float = 0.0, high: float = 1.0) -> bool:
    return low <= estimate.low <= estimate.value <= estimate.high <= high


def test_examples_in_docstrings():
    for part in PARTS:
        result = doctest.testmod(part)
        assert result.attempted, part.__name__
        assert not result.failed


def test_all_that_is_public_is_told():
    for part in PARTS:
        public = {n for n, v in vars(part).items() if getattr(v, "__module__", "") == part.__name__ and n[0] != "_"}
        assert public <= {*stats.__all__, "wins_of", "score_auroc"}


# ---------------------------------------------------------------- rates


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_rate_is_wilsons(case):
    hits, n = case
    ours, theirs = stats.rate(hits, n), scipy_stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (ours.value, ours.n, ours.missing) == (hits / n, n, 0)
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert sane(ours)


@given(st.lists(st.sampled_from([True, False, None]), min_size=1))
def test_rate_counts_outcomes_as_it_takes_counts(outcomes):
    hits, missing = outcomes.count(True), outcomes.count(None)
    if missing == len(outcomes):
        with pytest.raises(ValueError, match="no unit gave an answer"):
            stats.rate(outcomes)
    else:
        assert stats.rate(outcomes) == stats.rate(hits, len(outcomes), missing=missing)


def test_rate_takes_numpy_bools_and_generators():
    assert stats.rate(np.array([True, False])) == stats.rate(1, 2) == stats.rate(x > 0 for x in (1, -1))
    assert stats.rate(np.int64(1), 2) == stats.rate(1, 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([0.3],), r"hits\[0\] is 0.3"),
        (([True], 1), "leave them out"),
        ((1,), "n is missing"),
        ((3, 2), "hits 3, n 2"),
        ((0, 0), "no unit gave an answer"),
    ],
)
def test_rate_refuses(args, message):
    with pytest.raises(ValueError, match=message):
        stats.rate(*args)
    with pytest.raises(ValueError, match="missing 3"):
        stats.rate(0, 2, missing=3)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0, None]), st.integers(0, 4)), min_size=2, max_size=40),
    st.randoms(use_true_random=False),
)
def test_clustered_rate_is_bounded_and_blind_to_order(pairs, random):
    if len({cluster for value, cluster in pairs if value is not None}) < 2:
        with pytest.raises(ValueError, match="at least"):
            stats.clustered_rate([v for v, _ in pairs], [c for _, c in pairs])
        return
    estimate = stats.clustered_rate([v for v, _ in pairs], [c for _, c in pairs])
    assert sane(estimate)
    assert estimate.high > estimate.low
    assert (estimate.n, estimate.missing) == (len(pairs), sum(v is None for v, _ in pairs))
    random.shuffle(pairs)
    again = stats.clustered_rate([v for v, _ in pairs], [c for _, c in pairs])
    assert (again.low, again.value, again.high) == pytest.approx((estimate.low, estimate.value, estimate.high))


def test_clustered_rate_counts_answers_as_alike_as_they_may_be_where_all_agree():
    estimate = stats.clustered_rate([1.0] * 400, [i % 8 for i in range(400)])
    assert estimate.n_effective == pytest.approx(400 / (1 + 49 * common.ICC_SITUATION))
    assert stats.rate(8, 8).low < estimate.low < stats.rate(400, 400).low
    one_off = stats.clustered_rate([0.0] + [1.0] * 399, [i % 8 for i in range(400)])
    assert one_off.low < estimate.low, "a single miss says no more than none"


def test_clustered_rate_is_wider_than_a_rate_that_takes_episodes_for_prompts():
    values = [i % 8 < 3 for i in range(400)]  # 8 prompts, each all or nothing
    clustered, naive = stats.clustered_rate(values, [i % 8 for i in range(400)]), stats.rate(values)
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_over_seeds():
    estimates = [stats.rate(k, 100) for k in (80, 90, 85)]
    assert stats.over_seeds(estimates) == stats.over_seeds([0.80, 0.90, 0.85])
    assert stats.over_seeds([0.5, None, 0.5]).low == pytest.approx(stats.rate(1, 2).low)
    shifted = stats.over_seeds([2 * x - 1 for x in (0.80, 0.90, 0.85)], bounds=(-1, 1))
    assert shifted.low == pytest.approx(2 * stats.over_seeds(estimates).low - 1)
    middle = scipy_stats.t.interval(0.95, 199, 0.5, np.std([0.4, 0.6] * 100, ddof=1) / 200**0.5)
    many = stats.over_seeds([0.4, 0.6] * 100)
    assert (many.low, many.high) == pytest.approx(middle, abs=1e-4)  # far from 0 and 1 it is the t interval
    for values, message in (([0.5], "at least 2"), ([0.5, 1.5], r"values\[1\] is 1.5"), ([], "at least one number")):
        with pytest.raises(ValueError, match=message):
            stats.over_seeds(values)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_over_seeds_stays_in_bounds(values):
    assert sane(stats.over_seeds(values))


# ---------------------------------------------------------------- perplexity


@given(st.lists(st.lists(st.floats(-20, 0), min_size=1, max_size=6), min_size=2, max_size=12))
def test_perplexity_is_over_all_tokens_and_its_interval_over_documents(logprobs):
    ours, tokens = stats.perplexity(logprobs), [x for document in logprobs for x in document]
    assert ours.value == pytest.approx(math.exp(-sum(tokens) / len(tokens)))
    assert (ours.n, ours.missing) == (len(logprobs), 0)
    assert sane(ours, 0.0, math.inf)
    assert ours.value**2 == pytest.approx(ours.low * ours.high, rel=1e-6)  # even on the logarithm
    assert stats.perplexity(logprobs[::-1]).high == pytest.approx(ours.high)


@given(st.lists(st.floats(-9, -1).map(lambda x: round(x, 3)), min_size=2, max_size=9, unique=True), st.integers(1, 4))
def test_of_documents_of_one_length_the_interval_is_students(means, length):
    ours = stats.perplexity([[mean] * length for mean in means])
    theirs = scipy_stats.ttest_1samp([-mean for mean in means], 0.0).confidence_interval()
    assert (math.log(ours.low), math.log(ours.high)) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("documents", [10, 100])
def test_coverage_of_perplexity(documents):
    """Documents of different length, the longer ones easier: tokens of one document are alike."""
    rng, sets, kinds = np.random.default_rng(6), max(500, REPS), np.array([3, 6, 12, 24])
    rates = 2.4 / kinds**0.3  # the mean loss of a token, by its document's length
    truth, hit = math.exp(float((kinds * rates).sum() / kinds.sum())), 0
    for _ in range(sets):
        which = rng.integers(len(kinds), size=documents)
        own = rates[which] * rng.gamma(16, 1 / 16, documents)
        logprobs = [-rng.gamma(4, mean / 4, kinds[i]) for i, mean in zip(which, own, strict=True)]
        hit += covers(stats.perplexity(logprobs), truth)
    assert 0.92 <= hit / sets <= 0.98


@pytest.mark.parametrize(
    ("logprobs", "why"),
    [
        ([], "logprobs holds 0 documents; it needs at least 2, none of them empty"),
        ([[-1.0, -2.0]], "logprobs holds 1 documents"),
        ([[-1.0], []], "logprobs holds 2 documents; it needs at least 2, none of them empty"),
        ([[-1.0], [-math.inf]], r"logprobs\[1\] is inf"),
    ],
)
def test_perplexity_refuses(logprobs, why):
    with pytest.raises(ValueError, match=why):
        stats.perplexity(logprobs)


# ---------------------------------------------------------------- differences


def outcomes(hits: int, n: int) -> list[bool]:
    return [i < hits for i in range(n)]


@pytest.mark.parametrize(  # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10
    ("a", "b", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_difference_of_independent_rates_is_newcombes(a, b, low, high):
    estimate = stats.difference(outcomes(*a), outcomes(*b), paired=False)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-5)


def test_difference_of_paired_rates_is_newcombes():
    # Altman et al., Statistics with Confidence (2000), table 6.2: 14 both, 5 only the first, 22 neither
    estimate = stats.difference(outcomes(19, 41), outcomes(14, 41), paired=True)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((0.011, 5 / 41, 0.226), abs=6e-4)


def test_difference_counts_what_is_missing():
    gap = stats.difference([True, None, False, True], [False, True, None, False], paired=True)
    assert (gap.value, gap.n, gap.missing) == (1.0, 4, 2)
    gap = stats.difference([True, None], [False, True, None], paired=False)
    assert (gap.value, gap.n, gap.missing) == (0.5, 5, 2)
    with pytest.raises(ValueError, match="no pair is left"):
        stats.difference([True, None], [None, True], paired=True)
    with pytest.raises(ValueError, match="pairs need as many"):
        stats.difference([True], [True, False], paired=True)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.booleans())
def test_difference_is_bounded_and_antisymmetric(pairs, paired):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    gap, back = stats.difference(a, b, paired=paired), stats.difference(b, a, paired=paired)
    assert sane(gap, -1.0, 1.0)
    assert (gap.low, gap.value, gap.high) == pytest.approx((-back.high, -back.value, -back.low))


# rounded, because the square of a difference below 1e-160 is zero
samples = st.lists(numbers.map(lambda x: round(x, 3)), min_size=2, max_size=9, unique=True)


@given(samples, samples)
def test_mean_difference_is_welchs(a, b):
    ours = stats.mean_difference(a, b, paired=False)
    theirs = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-6)


def test_mean_difference_of_pairs():
    a, b = [1.0, 2.0, 4.0, 3.0], [0.5, 2.5, 3.0, 1.0]
    ours, theirs = stats.mean_difference(a, b, paired=True), scipy_stats.ttest_rel(a, b).confidence_interval()
    assert (ours.low, ours.high, ours.n) == pytest.approx((theirs.low, theirs.high, 4))
    for x, y, paired, message in (
        ([1.0, 1.0], [0.0, 0.0], False, "do not vary"),
        ([1.0, 2.0], [0.0, 1.0], True, "do not vary"),
        ([1.0], [0.0, 1.0], False, "at least 2"),
        ([1.0, 2.0, 3.0], [0.0, 1.0], True, "as many"),
        ([1.0, math.inf], [0.0, 1.0], False, r"a\[1\] is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            stats.mean_difference(x, y, paired=paired)


# ---------------------------------------------------------------- detection


@given(suspicions, suspicions)
def test_auroc_is_scikit_learns(positives, negatives):
    ours = stats.auroc(positives, negatives)
    theirs = roc_auc_score([1] * len(positives) + [0] * len(negatives), positives + negatives)
    assert ours.value == pytest.approx(theirs)
    assert ours.n == len(positives) + len(negatives)
    assert sane(ours)
    assert ours.high - ours.low > 0.1  # 24 suspects at most: never sure


@given(suspicions, suspicions)
def test_auroc_mirrors(positives, negatives):
    there, back = stats.auroc(positives, negatives), stats.auroc(negatives, positives)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low), abs=1e-6)


def test_auroc_at_the_boundary_narrows_with_n():
    lows = [stats.auroc([1.0] * n, [0.0] * n).low for n in (1, 2, 4, 8, 20, 100, 1000)]
    assert lows == sorted(lows)
    low, pairs, extra = lows[2], 16, 3  # Newcombe 2006: 1 - low is 1.96 standard errors at low itself
    variance = low * (1 - low) * (1 + extra * (1 - low) / (2 - low) + extra * low / (1 + low)) / pairs
    assert 1 - low == pytest.approx(1.959964 * variance**0.5, abs=1e-6)
    assert lows[-1] < 1
    assert stats.auroc([0.0], [1.0]).low == 0.0
    assert stats.auroc([0.0] * 3, [0.0] * 3).value == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_suspicion_must_be_finite(bad):
    for call in (
        lambda: stats.auroc([0.1, bad], [0.2]),
        lambda: stats.roc_points([0.1, bad], [0.2]),
        lambda: stats.recall_at_fpr([0.1, bad], [0.2], [0.3]),
    ):
        with pytest.raises(ValueError, match=r"positives\[1\] is"):
            call()
    with pytest.raises(ValueError, match="negatives has shape"):
        stats.auroc([0.1], [])


@given(suspicions, suspicions, suspicions, st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]))
def test_recall_threshold_is_the_lowest_whose_expected_rate_is_low_enough(positives, negatives, calibration, fpr):
    result = stats.recall_at_fpr(positives, negatives, calibration, fpr=fpr)

    def above(values, threshold):
        return sum(value > threshold for value in values)

    m = len(calibration)
    assert result.enough is (fpr * (m + 1) >= 1)
    assert result.rate <= fpr or (result.rate == 1 / (m + 1) and not result.enough)
    # of the m twins and one negative that is exchangeable with them, at most `rate` lie above in expectation
    assert (above(calibration, result.threshold) + 1) / (m + 1) <= result.rate
    assert result.recall == stats.rate([value > result.threshold for value in positives], units="suspects")
    assert result.fpr.value == above(negatives, result.threshold) / len(negatives)
    stricter = stats.recall_at_fpr(positives, negatives, calibration, fpr=fpr / 2)
    assert stricter.recall.value <= result.recall.value


def test_recall_at_1_percent_needs_99_calibration_twins():
    few, enough = (stats.recall_at_fpr([1.0, 0.5], [0.5], [0.0] * m + [0.7]) for m in (97, 98))
    assert (few.enough, few.rate, few.threshold) == (False, 1 / 99, 0.7)
    assert (enough.enough, enough.rate, enough.threshold) == (True, 0.01, 0.7)
    assert stats.recall_at_fpr([1.0], [0.5], list(range(199))).threshold == 197.0, "the second highest of 199"
    assert stats.recall_at_fpr([1.0], [0.5], list(range(100)), fpr=0.07).rate == 7 / 101
    assert stats.recall_at_fpr([1.0], [0.5], list(range(99)), fpr=0.07).threshold == 92.0  # 0.07 * 100 is above 7
    for fpr in (0.0, 1.0):
        with pytest.raises(ValueError, match="fpr is"):
            stats.recall_at_fpr([1.0], [0.5], [0.5], fpr=fpr)


def test_what_a_false_positive_rate_takes_to_be_certified():
    assert [stats.negatives_needed(fpr) for fpr in (0.01, 0.05, 0.001, 0.95)] == [299, 59, 2995, 1]
    for fpr in (0.001, 0.01, 0.05, 0.2):
        n = stats.negatives_needed(fpr)
        assert stats.certified_fpr(0, n) <= fpr < stats.certified_fpr(0, n - 1)
    exact = scipy_stats.binomtest(3, 50, alternative="less").proportion_ci(0.95, method="exact")
    assert stats.certified_fpr(3, 50) == pytest.approx(exact.high)
    assert stats.certified_fpr(4, 4) == 1.0
    for flagged, n in ((0, 0), (2, 1), (-1, 5)):
        with pytest.raises(ValueError, match=f"flagged {flagged}, n {n}"):
            stats.certified_fpr(flagged, n)
    assert stats.clustered_fpr([False] * 8, "abcdefgh") == stats.certified_fpr(0, 8)
    assert stats.clustered_fpr([True] * 4 + [False] * 36, [i // 4 for i in range(40)]) == stats.certified_fpr(1, 10)
    assert stats.clustered_fpr([True, True], "ab") == 1.0
    with pytest.raises(ValueError, match="flags has 2 items and clusters 1"):
        stats.clustered_fpr([True, True], "a")
    with pytest.raises(ValueError, match="fpr is 0"):
        stats.negatives_needed(0.0)


@given(suspicions, suspicions)
@settings(max_examples=50)
def test_roc_points_enclose_the_auroc(positives, negatives):
    points = stats.roc_points(positives, negatives)
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)
    assert points == sorted(points)
    area = np.trapezoid([p.tpr for p in points], [p.fpr for p in points])
    assert area == pytest.approx(stats.auroc(positives, negatives).value)


# ---------------------------------------------------------------- answers in clusters


@given(suspicions, suspicions, st.randoms())
def test_clustered_auroc_has_the_value_of_scikit_learns_and_is_blind_to_order(positives, negatives, random):
    rows = [(s, True, i % 3) for i, s in enumerate(positives)] + [(s, False, i % 4) for i, s in enumerate(negatives)]
    if len({cluster for *_, cluster in rows}) < 2:
        return
    estimate = stats.clustered_auroc(*zip(*rows, strict=True))
    truth = [1] * len(positives) + [0] * len(negatives)
    assert estimate.value == pytest.approx(roc_auc_score(truth, positives + negatives))
    assert sane(estimate)
    assert estimate.n == len(rows)
    random.shuffle(rows)
    again = stats.clustered_auroc(*zip(*rows, strict=True))
    assert (again.low, again.high) == pytest.approx((estimate.low, estimate.high), abs=1e-9)


def test_answers_of_one_prompt_are_not_as_many_prompts():
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(10), 8)
    truth, suspicion = of < 5, rng.normal(size=10)[of] + (of < 5) + 0.1 * rng.normal(size=80)
    alone = stats.auroc(suspicion[truth].tolist(), suspicion[~truth].tolist())
    clustered = stats.clustered_auroc(suspicion.tolist(), truth.tolist(), of.tolist())
    assert clustered.value == pytest.approx(alone.value)
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1.0], [True], ["a"]), "clusters holds 1"),
        (([1.0, 2.0], [True, True], ["a", "b"]), "negatives has shape"),
        (([1.0, 2.0], [True], ["a", "b"]), "they must be as many"),
        (([1.0, math.nan], [True, False], ["a", "b"]), "must be a finite number"),
    ],
)
def test_clustered_auroc_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        stats.clustered_auroc(*given)


# ---------------------------------------------------------------- one detector against another


@given(suspicions, suspicions)
def test_a_detector_is_no_better_than_itself(positives, negatives):
    same = stats.auroc_difference((positives, negatives), (positives, negatives))
    assert same.value == 0
    assert sane(same, -1.0)
    turned = stats.auroc_difference((positives, negatives), ([-p for p in positives], [-n for n in negatives]))
    assert turned.value == pytest.approx(2 * stats.auroc(positives, negatives).value - 1)


def test_a_difference_needs_the_same_suspects():
    with pytest.raises(ValueError, match="as many positives"):
        stats.auroc_difference(([1.0], [0.0]), ([1.0, 2.0], [0.0]))


# ---------------------------------------------------------------- many detectors


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_bonferronis_at_the_smallest_and_never_below_the_value(p_values):
    adjusted = stats.holm(p_values)
    smallest = min(range(len(p_values)), key=lambda i: p_values[i])
    assert adjusted[smallest] == pytest.approx(min(1.0, len(p_values) * p_values[smallest]))
    assert all(p <= a + 1e-12 <= 1 + 1e-9 for p, a in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holm_is_that_of_the_textbook():
    assert stats.holm([0.0001, 0.0058, 0.0132, 0.0289, 0.0498, 0.0911, 0.2012, 0.5718]) == pytest.approx(
        [0.0008, 0.0406, 0.0792, 0.1445, 0.1992, 0.2733, 0.4024, 0.5718]
    )


def test_the_best_of_a_sweep_pays_for_the_sweep_and_for_no_more_than_it_had():
    rng = np.random.default_rng(0)
    truth = [True] * 10 + [False] * 10
    one = rng.normal(size=20) + np.where(truth, 1.0, 0.0)
    (alone,) = stats.max_t([one.tolist()], truth)
    exact = scipy_stats.mannwhitneyu(one[:10], one[10:], alternative="greater").pvalue
    assert alone == pytest.approx(exact, abs=0.01)
    assert stats.max_t([one.tolist()] * 12, truth) == [alone] * 12  # all alike: nothing to pay for
    swept = stats.max_t([one.tolist(), *rng.normal(size=(11, 20)).tolist()], truth)[0]
    assert alone < swept < 12 * alone + 0.02


def test_max_t_keeps_its_level():
    rng, truth, claimed = np.random.default_rng(1), [True] * 6 + [False] * 8, 0
    for rep in range(REPS):
        shared = rng.normal(size=14)
        rows = (shared + rng.normal(size=(5, 14))).tolist()
        claimed += min(stats.max_t(rows, truth, permutations=200, seed=rep)) <= 0.05
    assert claimed / REPS < 0.05 + SLACK


@pytest.mark.parametrize("truth", [[True, True], [False, False], [True]])
def test_max_t_refuses(truth):
    with pytest.raises(ValueError, match="positive has"):
        stats.max_t([[1.0, 2.0]], truth)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=20))
def test_rank_agreement_is_scipys(pairs):
    first, second = ([float(v) for v in side] for side in zip(*pairs, strict=True))
    if len(set(first)) < 2 or len(set(second)) < 2:
        with pytest.raises(ValueError, match="ranks nothing"):
            stats.rank_agreement(first, second)
        return
    estimate = stats.rank_agreement(first, second)
    assert estimate.value == pytest.approx(scipy_stats.spearmanr(first, second).statistic)
    assert sane(estimate, -1.0)


def test_rank_agreement_refuses():
    for first, second in (([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([1.0] * 4, [1.0] * 5)):
        with pytest.raises(ValueError, match="at least 4, and as many"):
            stats.rank_agreement(first, second)


# ---------------------------------------------------------------- probabilities


class Given(ClassifierMixin, BaseEstimator):
    """Suspicion as it comes."""

    def __init__(self):
        self.classes_ = np.array([0, 1])

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return X[:, 0]

    def predict(self, X):
        return X[:, 0] > 0

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize(("m", "n", "apart"), [(5, 5, 10.0), (12, 30, 1.0), (40, 20, -0.5)])
def test_platt_is_scikit_learns(m, n, apart):
    rng = np.random.default_rng(m)
    above, below = rng.normal(3 + apart, 2.0, m), rng.normal(3, 2.0, n)
    X, y = np.concatenate([above, below])[:, None], np.array([1] * m + [0] * n)
    theirs = CalibratedClassifierCV(FrozenEstimator(Given()), method="sigmoid", ensemble=False, cv=2).fit(X, y)
    ours = stats.platt(above.tolist(), below.tolist())
    assert ours(X[:, 0].tolist()) == pytest.approx(theirs.predict_proba(X)[:, 1], abs=2e-3)


def test_suspects_told_apart_without_an_error_are_not_certain():
    curve = stats.platt([5.0, 6.0, 7.0], [0.0, 1.0, 2.0])
    assert curve([10.0])[0] < 0.99
    assert curve([3.5])[0] == pytest.approx(0.5, abs=0.01)
    assert stats.platt([1.0], [1.0])([1.0])[0] == pytest.approx(0.5, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_brier_is_scikit_learns_and_ece_lies_within_its_bounds(pairs):
    p, truth = [a for a, _ in pairs], [b for _, b in pairs]
    found = stats.calibration(p, truth, bins=5)
    assert found.brier.value == pytest.approx(brier_score_loss(truth, p, labels=[False, True]))
    assert sane(found.brier)
    assert 0 <= found.ece <= 1
    assert abs(np.mean(p) - np.mean(truth)) <= found.ece + 1e-9
    assert sum(share.n for _, share in found.curve) == len(pairs)


def test_ece_of_the_calibrated_is_below_its_level_of_chance_and_of_the_overconfident_above():
    rng, below = np.random.default_rng(2), 0
    for rep in range(REPS // 4):
        p = rng.random(60)
        truth = rng.random(60) < p
        found = stats.calibration(p.tolist(), truth.tolist(), seed=rep)
        below += found.ece <= found.ece_by_chance
    assert abs(below / (REPS // 4) - 0.95) < 2 * SLACK + 0.01
    sure = np.where(rng.random(400) < 0.5, 0.99, 0.01)
    right = rng.random(400) < 0.7
    found = stats.calibration(sure.tolist(), ((sure > 0.5) == right).tolist())
    assert found.ece > 0.2 > found.ece_by_chance


@pytest.mark.parametrize(("p", "truth", "message"), [([0.5, 1.5], [True, False], "between"), ([0.5], [True], "2")])
def test_calibration_refuses(p, truth, message):
    with pytest.raises(ValueError, match=message):
        stats.calibration(p, truth)


def test_split_calibration_fits_on_one_half_and_measures_on_the_other():
    rng = np.random.default_rng(0)
    above, below = rng.normal(1, 1, 400).tolist(), rng.normal(0, 1, 400).tolist()
    found = stats.split_calibration(above, below, seed=1)
    assert found.brier.n == 400
    assert len(found.curve) == 10
    assert sum(so.n for _, so in found.curve) == 400
    assert found.ece < 0.1
    assert found == stats.split_calibration(above, below, seed=1)
    assert found != stats.split_calibration(above, below, seed=2)
    bent = stats.split_calibration([*above[:200], *(x - 4 for x in above[200:])], below, seed=1)
    assert bent.ece > found.ece, "a mixture that no such curve fits"


def test_split_calibration_refuses_too_few():
    with pytest.raises(ValueError, match="negatives has 3 items; it needs at least 4"):
        stats.split_calibration([1.0] * 5, [0.0] * 3, seed=0)


# ---------------------------------------------------------------- judges that err


def test_an_exact_judge_changes_nothing_and_a_coin_is_refused():
    exact = stats.corrected_rate(30, 100, caught=(10**6, 10**6), passed=(10**6, 10**6))
    assert exact.value == pytest.approx(0.3)
    assert (exact.low, exact.high) == pytest.approx((stats.rate(30, 100).low, stats.rate(30, 100).high), abs=2e-3)
    with pytest.raises(ValueError, match="tells nothing apart"):
        stats.corrected_rate(30, 100, caught=(5, 10), passed=(5, 10))
