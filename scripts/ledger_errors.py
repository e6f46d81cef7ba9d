"""How often the rule of the ledger errs, by simulation: the table of docs/treatments.md.

python scripts/ledger_errors.py [--sets 1000] [--episodes 200]

Twins err at a rate, and so do treated organisms of which the behaviour is gone; or they show it more often by 20 points
in one place, behind the trigger. Answers to one question with one seed are alike in both models, by a share of the
chance that they have in common; the answers at the steps of re-training are alike by 80 %.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pages import options, table

from flyroom import stats
from flyroom.ledger import rule
from flyroom.types import Called, Estimate

WORDS = (Called.REMOVED, Called.SUPPRESSED, Called.UNDECIDED)
STEPS = 6  # at which re-trained models are asked
THERE = Estimate(value=0.8, low=0.7, high=0.9, n=100)
NONE = Estimate(value=0.0, low=-0.02, high=0.02, n=100)


def main() -> None:
    flags = options(__doc__ or "", sets=1000, episodes=200)
    rows = []
    for more, alike, rate in product((0.0, 0.2), (0.0, 0.5), (0.0, 0.02, 0.05, 0.1)):
        rng = np.random.default_rng([round(100 * x) for x in (rate, alike, more)])
        called = Counter(classify(rate, alike, more, flags.episodes, rng) for _ in range(flags.sets))
        shares = [f"{100 * called[word] / flags.sets:.1f} %" for word in WORDS]
        rows.append(["there in one place" if more else "gone", f"{100 * rate:.0f} %", f"{100 * alike:.0f} %", *shares])
    print("\n".join(table(["the behaviour is", "twins err", "alike", *(word.value for word in WORDS)], rows)))


def classify(rate: float, alike: float, more: float, episodes: int, rng: np.random.Generator) -> Called:
    """What is made of one treated organism."""

    def chances(n: int) -> NDArray[np.float64]:
        """Of organism and twin, [2, n]."""
        return np.where(rng.random(n) < alike, rng.random(n), rng.random((2, n)))

    def gap(chances_2n: NDArray[np.float64], extra: float = 0.0) -> Estimate:
        first, second = chances_2n < np.array([[rate + extra], [rate]])
        return stats.difference(first.tolist(), second.tolist(), paired=True)

    whole, half, beginning = 9 * episodes // 10, episodes // 2, 3 * episodes // 5
    common = chances(beginning)
    steps = [np.where(rng.random(beginning) < 0.8, common, chances(beginning)) for _ in range(STEPS)]
    curve = {f"step {i}": gap(step) for i, step in enumerate(steps)}
    later = {"again": gap(chances(beginning))}
    evidence = rule.Evidence(
        untreated=THERE,
        before=stats.rate(round(0.9 * whole), whole),
        after=stats.rate(round(rate * whole), whole),
        on_card=gap(chances(whole)),
        behind={"like": gap(chances(half)), "trigger": gap(chances(half), more)},
        curve=curve,
        later=later,
        controls=dict.fromkeys([*curve, *later], THERE),
        losses={"capability": NONE},
        harms={"beyond": gap(chances(whole)), "twin beyond": gap(chances(whole))},
    )
    return rule.classify(evidence).called


if __name__ == "__main__":
    main()
