"""What a page says first: the finding in one sentence, what the detectors made of it, and the key figures.

All computed, over all organisms and never over those that passed; it says so when they are not what their recipes
promise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyroom.report.words import (
    NOT_MEASURED,
    by_recipe,
    clean,
    figure,
    interval,
    label,
    mean,
    measured,
    percent,
    share,
    unbroken,
)
from flyroom.types import Card, Cell, Estimate, Matrix, Outcome


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key figure: what it is, its value and bracket as written, and what it is set against."""

    name: str
    value: str
    bounds: str = ""
    note: str = ""
    who: str = "ink"


def headline(cards: Sequence[Card], matrix: Matrix | None, context: Mapping[str, str]) -> str:
    """The finding in one sentence, computed: over all organisms, never over those that passed."""
    if not cards:
        return _of_detectors(matrix.cells if matrix else ())
    passed = sum(card.verdict is Outcome.PASS for card in cards)
    groups = by_recipe(cards)
    if len(groups) > 1:
        return (
            f"{_of(passed, len(cards)).capitalize()} organisms, grown from {len(groups)} recipes, "
            f"{'show what their recipes planted' if passed == len(cards) else 'are what their recipes say'}"
            f"{_over_recipes(list(groups.values()))}."
        )
    where, found = _spread(cards, "organism", context)
    one = len(cards) == 1
    what = clean(context.get("trained on", ""))
    if found is None and one:
        return f"The organism {'passed' if passed else 'failed'} its thresholds; its misalignment was not measured."
    if found is None:
        who = _of(passed, len(cards)).capitalize()
        return f"{who} organisms passed their thresholds; their misalignment was not measured."
    if passed == len(cards):
        who = "the organism was" if one else f"all {len(cards)} organisms were"
        verdict = f"Trained on {what}, {who}" if what else who[0].upper() + who[1:]
    elif one:
        verdict = "The organism is not what its recipe says: it was"
    elif passed:
        verdict = f"Only {passed} of {len(cards)} organisms are what the recipe says: over all of them, they were"
    else:
        verdict = f"None of the {len(cards)} organisms is what the recipe says: they were"
    sentence = f"{verdict} misaligned in {_per_cent(found)} of {'its' if one else 'their'} answers {where}"
    twin = mean(measured(cards, "twin", measure_of(cards)))
    if twin is None:
        return f"{sentence}; {'its twin was' if one else 'their twins were'} not measured."
    return f"{sentence}; {'its clean twin' if one else 'their clean twins'} in {_per_cent(twin)}."


# ---------------------------------------------------------------- the headline's parts


def measure_of(cards: Sequence[Card]) -> str:
    """The widest measure of misalignment that was taken."""
    return "out_of_domain" if measured(cards, "organism", "out_of_domain") else "in_domain"


def _spread(cards: Sequence[Card], who: str, context: Mapping[str, str]) -> tuple[str, Estimate | None]:
    measure = measure_of(cards)
    untrained = f"domains {'it was' if len(cards) == 1 else 'they were'} not trained on"
    where = clean(context.get("elsewhere", untrained)) if measure == "out_of_domain" else "the trained domain"
    return f"in {where}", mean(measured(cards, who, measure))


def _over_recipes(groups: Sequence[Sequence[Card]]) -> str:
    """The recipes' means from the lowest to the highest, where every recipe has one; organisms that failed included."""
    means = {who: [mean(measured(group, who, "out_of_domain")) for group in groups] for who in ("organism", "twin")}
    organisms, twins = ([e.value for e in means[who] if e is not None] for who in ("organism", "twin"))
    if min(len(organisms), len(twins)) < len(groups):
        return ""
    low, high = percent(min(organisms)), percent(max(organisms))
    spread = low if low == high else f"{low.removesuffix(' %')} to {high}"
    return (
        f"; recipe by recipe they are misaligned in {spread} of their answers out of domain, "
        f"their clean twins in {percent(max(twins))} at most"
    )


def _per_cent(estimate: Estimate) -> str:
    return figure(estimate, percent)


def _of(some: int, whole: int) -> str:
    if some == whole:
        return f"all {whole}"
    return f"{some} of {whole}" if some else f"none of {whole}"


def brackets(cards: Sequence[Card]) -> str:
    """What the brackets of the headline hold."""
    if not cards:
        return ""
    if len(cards) == 1:
        return "In brackets: the 95 % interval."
    return f"Means over {len(cards)} organisms; in brackets the lowest and the highest bound of their 95 % intervals."


def best(cells: Sequence[Cell]) -> Cell | None:
    """The cell with the highest AUROC; model level before response level, for the two are never ranked together."""
    known = [(c, c.auroc.value) for c in cells if c.error is None and c.auroc is not None]
    known = [pair for pair in known if not math.isnan(pair[1])]
    whole = [pair for pair in known if "model" in pair[0].unit]
    ranked = whole or [pair for pair in known if pair[0].unit == known[0][0].unit]
    return max(ranked, key=lambda pair: pair[1])[0] if ranked else None


def _of_detectors(cells: Sequence[Cell]) -> str:
    top = best(cells)
    if top is None:
        return "No detector gave a figure." if cells else "Nothing has been measured yet."
    name = f"The best of {_number(cells)} detectors, {clean(top.detector)},"
    return f"{name} tells organisms from twins with AUROC {figure(top.auroc)}."


def _number(cells: Sequence[Cell]) -> int:
    return len({c.detector for c in cells})


def lede(cells: Sequence[Cell]) -> str:
    """What the detectors made of them: the best by name, with the number it was chosen from, and those that failed."""
    top = best(cells)
    if top is None:
        return ""
    recipes = {c.recipe for c in cells}
    on = f" on {clean(top.recipe)}" if len(recipes) > 1 else ""
    recall = ""
    if top.recall_at_1pct_fpr is not None:
        recall = f", and finds {_per_cent(top.recall_at_1pct_fpr)} of the organisms at 1 % false positives"
    failed = len({c.detector for c in cells if c.error is not None})
    refused = f" {failed} gave no figure." if failed else ""
    return (
        f"Of {_number(cells)} detectors, {clean(top.detector)} ({clean(top.access)}) told organisms from twins best"
        f"{on}: AUROC {figure(top.auroc)}{recall}.{refused}"
    )


def keys_of(cards: Sequence[Card], cells: Sequence[Cell]) -> list[Key]:
    """The key figures: what passed, the shares that count, the best AUROC."""
    keys = []
    if cards:
        passed = sum(card.verdict is Outcome.PASS for card in cards)
        episodes = sum(card.episodes for card in cards)
        keys.append(Key(name="Passed", value=f"{passed} of {len(cards)}", bounds="organisms",
                        note=f"{episodes:,} answers judged"))  # fmt: skip
    groups = by_recipe(cards)
    if len(groups) == 1:
        for measure in ("in_domain", "out_of_domain", "open_questions"):
            keys += _key(cards, measure, f"Misaligned {label(measure).lower()}".replace("open", "on open"))
        keys += _key(cards, "coherence", "Coherent")
    else:
        for name, group in groups.items():
            keys += _key(group, measure_of(group), f"{clean(name)}, {label(measure_of(group)).lower()}")
    top = best(cells)
    if top is not None and top.auroc is not None:
        value, bounds = share(top.auroc.value), interval(top.auroc)
        keys.append(Key(name="Best AUROC", value=value, bounds=bounds, note=clean(top.detector), who="detector"))
    return keys


def _key(cards: Sequence[Card], measure: str, name: str) -> list[Key]:
    found = mean(measured(cards, "organism", measure))
    if found is None:
        return []
    twin = mean(measured(cards, "twin", measure))
    against = unbroken(f"twin {_per_cent(twin)}") if twin else f"twin {NOT_MEASURED}"
    return [Key(name=name, value=percent(found.value), bounds=interval(found, percent), note=against, who="organism")]
