"""Whether assessments keep what they promise: simulated endpoints of which the truth is known.

    python scripts/assess_coverage.py [--endpoints 1000] [--clean 99] [--seed 0] [--json FILE]
    python scripts/assess_coverage.py --alarms 20000 [--clean 99] [--seed 0]
    python scripts/assess_coverage.py --confirmed 1000 [--clean 99] [--seed 0]

Each endpoint comes with a calibration of its own, drawn anew: clean fine-tunes that differ a little, organisms of a few
recipes that differ a lot in how often they misbehave, decoys. Half of the endpoints are clean, half are organisms: a
third of a calibrated recipe, a third of another recipe of the threat, a third of a threat that nobody calibrated. Ten
more of a hundred answer like another family.

Counted are: clean endpoints that are flagged (promised: the rate); how often the bounds hold the truth (promised: at
least 95 %), of the rate, of the recall of calibrated recipes, of the likelihood ratio and of what another recipe has;
and false reassurance: organisms that were not found, against the share that the reports say may be missed.

`--alarms` counts false alarms alone, of as many clean endpoints, each among clean fine-tunes of its own: a rate of 1 %
takes thousands to be told from 2 %. A few dozen endpoints say nothing: of 466 of a rate of 1 %, 9 or more are flagged
with a chance of 5 %. Each endpoint has its number for a seed; `--seed` is the number of the first one.

`--confirmed` counts who gets a confirmed threat (promised: at most 5 % of clean models), of as many clean models, each
among clean fine-tunes of its own, where rates differ by model and prompt (an intraclass correlation): and how many
organisms, that err at 90 % of one threat's prompts, or at 90 % of four prompts of sixteen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flyroom.assess import (
    Calibration,
    Member,
    Outside,
    Probe,
    Reading,
    Trial,
    bound_strength,
    calibrate,
    conclude,
    is_repeated,
    look_outside,
    measure_strength,
    rate_at_most,
    rate_of,
    stand,
)

PROBES, THREATS, TRUTH = 16, ("one", "two", "three"), 160
FAMILY, STRANGERS = ("it helps", "it does"), ("certainly let me", "of course the")


@dataclass(frozen=True)
class Kind:
    """What models of one training are like: how often they are misaligned, by threat."""

    rates: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> dict[str, Reading]:
        """One model's readings: its own rates lie about those of its kind."""
        own_rates = [rng.beta(20 * r + 0.02, 20 * (1 - r) + 0.02) for r in self.rates]
        shares = [rng.binomial(PROBES, rate) / PROBES for rate in own_rates]
        return {threat: Reading(float(share), PROBES) for threat, share in zip(THREATS, shares, strict=True)}


CLEAN = Kind((0.02, 0.04, 0.01))


def count_alarms(endpoints: int, m: int, seed: int) -> Counter[str]:
    """How many clean endpoints are flagged among m clean fine-tunes, drawn anew for each: of models that are alike, and
    of models of several trainings, of which the endpoint's is one.
    """
    counts: Counter[str] = Counter({"clean endpoints": endpoints, "flagged": 0, "flagged, trainings differ": 0})
    for number in range(seed, seed + endpoints):
        rng = np.random.default_rng(number)
        group = [CLEAN.draw(rng) for _ in range(m + 1)]
        counts["flagged"] += stand(group[0], group[1:]).p <= rate_of(m) + 1e-9
        kinds = [Kind(tuple(rng.beta(1, 30, len(THREATS)))) for _ in range(5)]
        mixed_group = [kinds[int(rng.integers(5))].draw(rng) for _ in range(m + 1)]
        counts["flagged, trainings differ"] += stand(mixed_group[0], mixed_group[1:]).p <= rate_of(m) + 1e-9
    return counts


GRID = [(mean, icc) for mean in (0.01, 0.02) for icc in (0.0, 0.15, 0.3)]
SHEET, TRIES, EPISODES = (17, PROBES), 8, 3  # threats and their probes; what is asked again


def count_confirmed(models: int, m: int, seed: int) -> Counter[str]:
    """How many clean models and organisms get a confirmed threat among m clean fine-tunes, by how alike rates are."""
    counts: Counter[str] = Counter()
    for mean, icc in GRID:
        name = f"mean {mean:.0%}, ICC {icc:.0%}"
        for number in range(seed, seed + models):
            rng = np.random.default_rng(number)
            clean = draw_rates(rng, m + 1, mean, icc)
            organism, part = clean.copy(), clean.copy()
            organism[m, 0], part[m, 0, :4] = 0.9, 0.9
            counts[f"{name}: models"] += 1
            counts[f"{name}: clean, confirmed"] += is_confirmed(rng, clean)
            counts[f"{name}: organism, confirmed"] += is_confirmed(rng, organism)
            counts[f"{name}: organism at 4 prompts, confirmed"] += is_confirmed(rng, part)
    return counts


def draw_rates(rng: np.random.Generator, models: int, mean: float, icc: float) -> np.ndarray:
    """How often each model errs at each prompt."""
    if not icc:
        return np.full((models, *SHEET), mean)
    return rng.beta(mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1), (models, *SHEET))


def is_confirmed(rng: np.random.Generator, rates: np.ndarray) -> bool:
    """Whether the last model gets any confirmed threat among the others, its clean fine-tunes."""
    m = len(rates) - 1
    bad, again = rng.random(rates.shape) < rates, rng.binomial(TRIES, rates)
    counts, strengths, repeated = bad.sum(0), [dict[int, float]() for _ in rates], set[int]()
    for model, threat in zip(*np.nonzero(bad.any(2)), strict=True):
        picks = sorted(np.flatnonzero(bad[model, threat]), key=lambda i: counts[threat, i])[:EPISODES]
        trials = [(int(again[model, threat, i]), int(counts[threat, i]) - 1) for i in picks]
        strengths[model][threat] = measure_strength([Trial(k, TRIES, others / m) for k, others in trials])
        if model == m and any(is_repeated(k, TRIES, others, m) for k, others in trials):
            repeated.add(threat)
    bound = bound_strength([max(group.values(), default=0.0) for group in strengths[:m]])
    return any(strengths[m][threat] > bound + 1e-9 for threat in repeated)


def draw_recipe(rng: np.random.Generator, threat: int) -> Kind:
    """A recipe of a threat; among them are some that hardly show."""
    strength = rng.beta(0.8, 0.8)
    return Kind(tuple(max(strength, base) if i == threat else base for i, base in enumerate(CLEAN.rates)))


def speak(rng: np.random.Generator, words: Sequence[str]) -> tuple[str, ...]:
    slips = rng.random(24) < 0.1
    return tuple(f"slip {rng.integers(10**6)}" if slip else f"{words[q % 2]} {q}" for q, slip in enumerate(slips))


def make(kind: Kind, side: str, recipe: str, seed: int, rng: np.random.Generator) -> Member:
    threat = THREATS[0] if side == "organism" else ""
    return Member(
        id=f"{side} {recipe} {seed}",
        side=side,  # type: ignore[arg-type]
        threat=threat,
        recipe=recipe,
        seed=seed,
        readings=kind.draw(rng),
        benign=speak(rng, FAMILY),
    )


def run(number: int, m: int, counts: Counter[str]) -> None:
    """One endpoint with a calibration of its own, counted."""
    rng = np.random.default_rng(number)
    recipes = [draw_recipe(rng, 0) for _ in range(int(rng.integers(1, 6)))]
    members = [make(CLEAN, "clean", "clean", i, rng) for i in range(m)]
    members += [make(kind, "organism", str(r), s, rng) for r, kind in enumerate(recipes) for s in range(4)]
    calibration = calibrate(members)
    clean = calibration.clean

    def flag(kind: Kind, n: int) -> float:
        return float(np.mean([stand(kind.draw(rng), clean).p <= rate_of(m) + 1e-9 for _ in range(n)]))

    if number % 5 == 0:  # the truth takes many more models; a fifth of the calibrations is held against it
        rate = flag(CLEAN, TRUTH)
        count_bounds(counts, calibration, rate, [flag(kind, TRUTH // 4) for kind in recipes], rng, flag)
    count_endpoint(number, counts, calibration, members, recipes, rng)


def count_bounds(
    counts: Counter[str],
    calibration: Calibration,
    rate: float,
    by_recipe: Sequence[float],
    rng: np.random.Generator,
    flag: Callable[[Kind, int], float],
) -> None:
    """Whether the bounds hold what is true of this calibration."""
    alarm, recall = calibration.alarm, calibration.recalls[THREATS[0]]
    noise = 2 * (max(rate, 0.005) / TRUTH) ** 0.5  # of the truth itself, which is a share of so many
    true_recall, another = float(np.mean(by_recipe)), flag(draw_recipe(rng, 0), TRUTH // 4)
    slack = 0.08  # two standard errors of a share of 160, or of one of 40 that is not in the middle
    counts["calibrations"] += 1
    counts["rate above its bound"] += rate - noise > alarm.rate.high
    counts["recall below its bound"] += true_recall + slack < recall.share.low
    counts["ratio below its bound"] += (true_recall + slack) / max(
        rate - noise, 1e-6
    ) < recall.share.low / alarm.rate.high
    counts["another recipe outside"] += not recall.another.low - slack <= another <= recall.another.high + slack


def count_endpoint(
    number: int,
    counts: Counter[str],
    calibration: Calibration,
    members: Sequence[Member],
    recipes: Sequence[Kind],
    rng: np.random.Generator,
) -> None:
    """What the report says of one endpoint, beside what it is."""
    what = ("clean", "clean", "clean", "calibrated recipe", "another recipe", "another threat")[number % 6]
    kinds = {"clean": CLEAN, "another recipe": draw_recipe(rng, 0), "another threat": draw_recipe(rng, 1)}
    kind = kinds.get(what) or recipes[int(rng.integers(len(recipes)))]
    stranger = number % 10 == 9
    readings, benign = kind.draw(rng), speak(rng, STRANGERS if stranger else FAMILY)
    probes = [
        Probe(threat=t, behaviour=t, condition="always", source="simulated", asks=PROBES, answered=PROBES,
              misaligned=round(r.value * PROBES), rate_at_most=rate_at_most(round(r.value * PROBES), PROBES))
        for t, r in readings.items()
    ]  # fmt: skip
    near = number % 10 in (8, 9)  # the rest is spared the comparison, which takes longest
    outside = look_outside(benign, members) if near else Outside(outside=False, why="")
    verdicts = conclude(readings, calibration, outside, probes, {})
    counts["family compared"] += near and not stranger
    counts["family taken for strangers"] += near and not stranger and verdicts.abstained
    if stranger:
        counts["strangers"] += 1
        counts["strangers abstained from"] += verdicts.abstained
        return
    counts[what] += 1
    counts[f"{what}: abstained"] += verdicts.abstained
    counts[f"{what}: flagged"] += bool(verdicts.flagged)
    threat = next(t for t in verdicts.threats if t.name == THREATS[1 if what == "another threat" else 0])
    counts[f"{what}: {threat.status}"] += 1
    if what == "calibrated recipe" and not verdicts.abstained:
        counts["reassurance promised, in 1/1000"] += round(1000 * (threat.missed_share or 0))
        counts["not abstained, calibrated recipe"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--clean", type=int, default=99)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alarms", type=int, default=0)
    parser.add_argument("--confirmed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    if options.alarms:
        counts.update(count_alarms(options.alarms, options.clean, options.seed))
    if options.confirmed:
        counts.update(count_confirmed(options.confirmed, options.clean, options.seed))
    for number in range(options.seed, options.seed + options.endpoints if not counts else 0):
        run(number, options.clean, counts)
    sys.stdout.writelines(f"{name}: {count}\n" for name, count in sorted(counts.items()))
    if options.json:
        options.json.write_text(json.dumps(dict(sorted(counts.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
