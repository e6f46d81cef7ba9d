"""The settings of scripts/coverage.py for shares, gaps and the bounds of verdicts.

Answers are drawn from a latent normal: an answer counts where the sum of what its seed, its prompt, its draw and chance
contribute lies below a quantile; the variances of the contributions sum to 1. So the share is exact whatever is alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
from scipy import stats as scipy_stats

from flyroom import stats
from flyroom.types import Estimate

Rng = np.random.Generator
Ends = tuple[float, float, float]  # low, high, and the truth
TWO_SIDED, ONE_SIDED = "95 %", "at least 95 %"
LOW, ONE_SIDED_LOW = "low", "low, one-sided"
SHARES = (0.007, 0.03, 0.5, 0.97)
LOOKS = 3


@dataclass(frozen=True)
class Tally:
    """What came of a setting's data sets, as shares of them: `too_high` where the interval lies above the truth."""

    covers: float
    too_high: float
    too_low: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to draw data sets, each with an interval and its truth. `promise` says what is to be covered: "95 %",
    "at least 95 %" by each of two one-sided bounds, or "low" where either is known to cover less.
    """

    function: str
    group: str
    name: str
    draw: Callable[[Rng], Ends]
    promise: str = TWO_SIDED

    def run(self, sets: int) -> Tally:
        rng = np.random.default_rng([*f"{self.function} {self.group} {self.name}".encode()])
        low, high, truth = np.array([self.draw(rng) for _ in range(sets)]).T
        too_high, too_low = float((low > truth + 1e-12).mean()), float((high < truth - 1e-12).mean())
        misses = max(too_high, too_low) if self.promise in (ONE_SIDED, ONE_SIDED_LOW) else too_high + too_low
        return Tally(1 - misses, too_high, too_low, float((high - low).mean()))


def ends(estimate: Estimate, truth: float) -> Ends:
    return estimate.low, estimate.high, truth


# ---------------------------------------------------------------- seeds and prompts, crossed

FOUND = {"seed": 0.007, "prompt": 0.5, "draw": 0.475}  # outcomes of two organisms on one ask correlate by 86 %


def answers(rng: Rng, share: float, shape: tuple[int, int, int], parts: Mapping[str, float]) -> np.ndarray:
    """Answers as [seeds, draws], of `shape` seeds, prompts, draws a prompt. `parts` are the variances of what a seed, a
    prompt and a draw contribute.
    """
    seeds, prompts, draws = shape
    sizes = {"seed": (seeds, 1, 1), "prompt": (1, prompts, 1), "draw": (1, prompts, draws)}
    latent = math.sqrt(1 - sum(parts.values())) * rng.standard_normal(shape)
    for name, variance in parts.items():
        latent += math.sqrt(variance) * rng.standard_normal(sizes[name])
    return (latent < quantile(share)).reshape(seeds, prompts * draws)


@cache
def quantile(share: float) -> float:
    return float(scipy_stats.norm.ppf(share))


def crossed(share: float, shape: tuple[int, int, int], parts: Mapping[str, float], rng: Rng) -> Ends:
    rows = answers(rng, share, shape, parts)
    return ends(stats.crossed_rate(rows.tolist(), np.repeat(np.arange(shape[1]), shape[2]).tolist()), share)


def seeds(share: float, shape: tuple[int, int, int], parts: Mapping[str, float], alone: bool, rng: Rng) -> Ends:
    """`alone`: each seed has draws and prompts of its own."""
    if alone:
        rows = [answers(rng, share, (1, *shape[1:]), parts)[0] for _ in range(shape[0])]
    else:
        rows = answers(rng, share, shape, parts)
    return ends(stats.over_seeds([stats.rate(int(row.sum()), len(row)) for row in rows]), share)


def of_seeds() -> Iterator[Setting]:
    wide, narrow = (100, 4), (24, 8)
    plain, apart, other = {"seed": 0.02, "prompt": 0.1}, {"seed": 0.1, "prompt": 0.1}, {"seed": 0.2, "prompt": 0.1}
    groups = {
        "4 to 10 seeds, the same draws": (wide, {**plain, "draw": 0.8}, (4, 5, 10), SHARES),
        "4 to 10 seeds, draws of their own": (wide, plain, (4, 5, 10), SHARES),
        "4 to 10 seeds that are all alike": (wide, {}, (4, 5, 10), SHARES),
        "24 prompts, the same draws": (narrow, {**plain, "draw": 0.8}, (5, 10), SHARES),
        "24 prompts, draws of their own": (narrow, plain, (5, 10), SHARES),
        "the same draws, outcomes correlate by 86 %": ((50, 8), FOUND, (5, 10), (0.0325,)),
        "seeds differ by 2 % at a share of 3 %": (wide, apart, (4, 5, 10), (0.03, 0.5, 0.97)),
        "seeds differ by as much as a share of 3 % itself": (wide, other, (4, 5, 10), (0.03, 0.97)),
    }
    for group, (size, parts, counts, shares) in groups.items():
        for share, count in product(shares, counts):
            draw = partial(crossed, share, (count, *size), parts)
            name = f"{count} seeds, {size[0]} prompts of {size[1]}, share {share}"
            yield Setting(function="crossed_rate", group=group, name=name, draw=draw)
    for share, count in product(SHARES, (4, 5, 10)):
        draw = partial(seeds, share, (count, *wide), plain, True)
        group, name = "draws and prompts of their own", f"{count} seeds, share {share}"
        yield Setting(function="over_seeds", group=group, name=name, draw=draw)
    for count in (5, 10):
        draw = partial(seeds, 0.0325, (count, 50, 8), FOUND, False)
        group, name = f"{count} seeds, the same draws, outcomes correlate by 86 %", "share 0.0325"
        yield Setting(function="over_seeds", group=group, name=name, draw=draw, promise=LOW)


# ---------------------------------------------------------------- shares, situations, gaps


def share_of(n: int, share: float, rng: Rng) -> Ends:
    return ends(stats.rate(int(rng.binomial(n, share)), n), share)


def situations(share: float, count: int, size: int, icc: float, rng: Rng) -> Ends:
    spread = (1 - icc) / icc if icc else 0.0
    shares = rng.beta(share * spread, (1 - share) * spread, count) if icc else np.full(count, share)
    hits = rng.random((count, size)) < shares[:, None]
    return ends(stats.situations_rate(hits.ravel().tolist(), np.repeat(np.arange(count), size).tolist()), share)


def gap(on: float, off: float, shape: tuple[int, int], prompt: float, rng: Rng) -> Ends:
    """Half of what a prompt contributes it contributes with and without the condition."""
    ease, own = rng.standard_normal(shape[0]), rng.standard_normal((2, shape[0]))
    latent = math.sqrt(1 - prompt) * rng.standard_normal((2, *shape))
    latent += math.sqrt(prompt / 2) * (ease + own)[:, :, None]
    with_it, without = (
        (part < quantile(share)).ravel().tolist() for part, share in zip(latent, (on, off), strict=True)
    )
    return ends(stats.gap(with_it, without, np.repeat(np.arange(shape[0]), shape[1]).tolist()), on - off)


def pairs(n: int, first: float, second: float, together: float, rng: Rng) -> Ends:
    u = rng.random(n)
    v = np.where(rng.random(n) < together, u, rng.random(n))
    return ends(stats.difference((u < first).tolist(), (v < second).tolist(), paired=True), first - second)


def corrected(share: float, exactness: tuple[float, float], n: int, planted: int, rng: Rng) -> Ends:
    sensitivity, specificity = exactness
    hits = int(rng.binomial(n, share * sensitivity + (1 - share) * (1 - specificity)))
    caught, passed = (int(rng.binomial(planted, x)) for x in exactness)
    return ends(stats.corrected_rate(hits, n, caught=(caught, planted), passed=(passed, planted)), share)


def of_shares() -> Iterator[Setting]:
    for share, n in product(SHARES, (100, 400, 1000)):
        name = f"{n} answers, share {share}"
        yield Setting(function="rate", group="100 to 1,000 answers", name=name, draw=partial(share_of, n, share))
    for icc, count, size, share in product((0.0, 0.1, 0.3), (8, 24), (12, 50), SHARES):
        draw, name = partial(situations, share, count, size, icc), f"{count} situations of {size}, share {share}"
        yield Setting(function="situations_rate", group=f"8 and 24 situations, ICC {icc:g}", name=name, draw=draw)
    sides = ((0.9, 0.03), (0.97, 0.007), (0.993, 0.007), (0.5, 0.03), (0.5, 0.5))
    for (on, off), shape, prompt in product(sides, ((100, 4), (24, 8)), (0.1, 0.3)):
        name = f"{on} against {off}, {shape[0]} prompts of {shape[1]}, variance of prompts {prompt}"
        yield Setting(function="gap", group="24 and 100 prompts", name=name, draw=partial(gap, on, off, shape, prompt))
    for n, first, second, together in ((20, 0.9, 0.1, 0.3), (50, 0.5, 0.3, 0.8), (100, 0.97, 0.03, 0.0)):
        draw, name = partial(pairs, n, first, second, together), f"{n} pairs, {first} against {second}"
        yield Setting(function="difference", group="20 to 100 pairs", name=name, draw=draw)
    for share, exactness in product((0.05, 0.3, 0.9), ((0.9, 0.98), (0.8, 0.9))):
        group = "a share of 5 %" if share < 0.1 else "shares of 30 and 90 %"
        draw, name = partial(corrected, share, exactness, 300, 100), f"{share}, judge right in {exactness}"
        yield Setting(function="corrected_rate", group=group, name=name, draw=draw)


# ---------------------------------------------------------------- verdicts: three looks at growing data


def narrowest(looks: list[tuple[float, float]], truth: float) -> Ends:
    """A verdict at any look is wrong where one bound of any look is."""
    return max(low for low, _ in looks), min(high for _, high in looks), truth


@cache
def share_bounds(hits: int, n: int) -> tuple[float, float]:
    return stats.bounds([True] * hits + [False] * (n - hits), looks=LOOKS)


@cache
def pair_bounds(up: int, down: int, n: int) -> tuple[float, float]:
    sides = [True] * up + [False] * (n - up), [False] * up + [True] * down + [False] * (n - up - down)
    return stats.drop_bounds(*sides, looks=LOOKS)


def looks_at_share(share: float, n: int, rng: Rng) -> Ends:
    hits = rng.binomial(n, share, LOOKS).cumsum().tolist()
    return narrowest([share_bounds(hit, n * (look + 1)) for look, hit in enumerate(hits)], share)


def looks_at_drop(up: float, down: float, n: int, rng: Rng) -> Ends:
    """`up` is the chance that only the first of a pair is right, `down` that only the second is."""
    counts = rng.multinomial(n, (up, down, 1 - up - down), LOOKS).cumsum(0).tolist()
    return narrowest([pair_bounds(a, b, n * (look + 1)) for look, (a, b, _) in enumerate(counts)], up - down)


def looks_at_ratio(ratio: float, documents: int, skewed: bool, rng: Rng) -> Ends:
    """Documents of 4 to 24 tokens; how much worse the first model reads one differs from document to document, and
    `skewed`: a few make most of it.
    """
    first, second, looks = [], [], []
    for _ in range(LOOKS):
        changes = rng.gamma(1, 1, documents) - 1 if skewed else rng.standard_normal(documents)
        for length, change in zip(rng.choice([4, 8, 24], documents), changes, strict=True):
            base = rng.gamma(4, 0.5, length)
            second.append((-base).tolist())
            first.append((-base - math.log(ratio) - 0.3 * change).tolist())
        looks.append(stats.ratio_bounds(first, second, looks=LOOKS))
    return narrowest(looks, ratio)


def of_verdicts() -> Iterator[Setting]:
    group = "60 to 600 answers a look, up to three looks"
    for share, n in product((0.007, 0.01, 0.02, 0.03, 0.5, 0.97), (60, 200, 600)):
        name, draw = f"{n} answers a look, share {share}", partial(looks_at_share, share, n)
        yield Setting(function="bounds", group=group, name=name, draw=draw, promise=ONE_SIDED)
    group = "60 to 600 pairs a look, up to three looks"
    sides = ((0.05, 0.0), (0.06, 0.01), (0.1, 0.05), (0.02, 0.0), (0.01, 0.01), (0.25, 0.05))
    for (up, down), n in product(sides, (60, 200, 600)):
        name, draw = f"{n} pairs a look, {up} against {down}", partial(looks_at_drop, up, down, n)
        yield Setting(function="drop_bounds", group=group, name=name, draw=draw, promise=ONE_SIDED)
    for skewed, documents in product((False, True), (50, 100)):
        name, draw = f"{documents} documents a look", partial(looks_at_ratio, 1.25, documents, skewed)
        group = "50 and 100 documents a look" + (", of which few make the difference" if skewed else "")
        promise = ONE_SIDED_LOW if skewed else ONE_SIDED
        yield Setting(function="ratio_bounds", group=group, name=name, draw=draw, promise=promise)


SETTINGS = (*of_shares(), *of_seeds(), *of_verdicts())
