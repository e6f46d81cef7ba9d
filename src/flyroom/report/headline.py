"""What a page says first: the finding in one sentence, what the detectors made of it, and the key figures.

All computed, for any recipe and base: what was taught, and what else was measured, come from the cards. The finding is
over all organisms and never over those that passed, and it says so when they are not what their recipes promise.
Detectors are judged on organisms that passed their card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.report.gauges import (
    by_recipe,
    columns_of,
    estimates_of,
    gauge_of,
    has_ceiling,
    labels_of,
    lower,
    mean,
    reasons_of,
    widest,
)
from flyroom.report.standing import Standing, best
from flyroom.report.summary import summarise
from flyroom.report.words import (
    NOT_MEASURED,
    clean,
    figure,
    interval,
    join,
    keep_whole,
    percent,
    plural,
    share,
)
from flyroom.types import Card, Cell, Matrix, Outcome

KEYS = 3  # key figures of a recipe, besides the one that should stay high


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key figure: what it is, its value and bracket as written, what it is set against, and the colour it has."""

    name: str
    value: str
    bounds: str = ""
    note: str = ""
    colour: str = "ink"


def title(cards: Sequence[Card], matrix: Matrix | None) -> str:
    """What the page is about, in a few words."""
    recipes = [clean(name) for name in by_recipe(cards)]
    bases = sorted({clean(card.base) for card in cards})
    if not cards:
        return "Detectors" if matrix and matrix.cells else "Nothing yet"
    what = recipes[0] if len(recipes) == 1 else f"{len(recipes)} recipes"
    return f"{what} on {join(bases) if len(bases) < 3 else f'{len(bases)} bases'}"


def headline(cards: Sequence[Card], matrix: Matrix | None) -> str:
    """The finding in one sentence: over all organisms, whether they passed or not."""
    if not cards:
        return _of_detectors(matrix.cells if matrix else ())
    if len(by_recipe(cards)) > 1:
        return _of_recipes(cards)
    measure = widest(cards)
    if measure is None:
        return _no_figure(cards)
    single = len(cards) == 1
    value = figure(mean(estimates_of(cards, "organism", measure)), percent)
    sentence = f"{_subject(cards)} {_verb(cards, measure)} {value} of {_where(cards, measure)}"
    sentence += _where_not(cards, measure)
    twin = mean(estimates_of(cards, "twin", measure))
    if twin is None:
        return f"{sentence}; {'its twin was' if single else 'their twins were'} not measured."
    return f"{sentence}; {'its clean twin' if single else 'their clean twins'} in {figure(twin, percent)}."


# ---------------------------------------------------------------- the headline's parts


def _subject(cards: Sequence[Card]) -> str:
    """Who it is about, and whether they passed: "Trained on tea, all 4 organisms"."""
    number, passes = len(cards), _passes(cards)
    if number == 1 and not passes:
        return f"{_write_outcome(cards[0])}: it"
    also = _write_undecided(cards)
    if not passes:
        return f"None of the {number} organisms passed its card{also}: over all of them, they"
    if passes < number:
        return f"{passes} of {number} organisms passed their card{also}: over all of them, they"
    group = "the organism" if number == 1 else f"all {number} organisms"
    lesson = clean(cards[0].about.taught)
    return f"Trained on {lesson}, {group}" if lesson else group[0].upper() + group[1:]


def _verb(cards: Sequence[Card], measure: str) -> str:
    if not gauge_of(cards, measure).bad:
        return "showed the trait in"
    return "was misaligned in" if len(cards) == 1 else "were misaligned in"


def _where(cards: Sequence[Card], measure: str) -> str:
    """Of which answers the share is: "their answers in the 2 other topics where the condition holds"."""
    pronoun, reach = "its" if len(cards) == 1 else "their", gauge_of(cards, measure).reach
    elsewhere = clean(cards[0].about.elsewhere)
    if reach == "untaught":
        where = f"{pronoun} answers in {elsewhere}" if elsewhere else f"{pronoun} answers outside of what was taught"
    else:
        where = f"{pronoun} answers to what was taught" if reach == "taught" else f"all {pronoun} answers"
    number = len(estimates_of(cards, "organism", measure))
    return where + (f" (measured on {number} of {len(cards)})" if number < len(cards) else "")


def _where_not(cards: Sequence[Card], measure: str) -> str:
    """The same measure where the condition does not hold, for a recipe that has a condition."""
    otherwise = gauge_of(cards, measure).otherwise
    value = mean(estimates_of(cards, "organism", otherwise)) if otherwise else None
    if value is None:
        return ""
    return f" where the condition of the recipe holds, and in {figure(value, percent)} where it does not"


def _no_figure(cards: Sequence[Card]) -> str:
    passes, number = _passes(cards), len(cards)
    verdict = f"{_write_part(passes, number).capitalize()} organisms passed their card"
    if number == 1:
        verdict = _write_outcome(cards[0])
    reasons = join(list(dict.fromkeys(reasons_of(cards).values())))
    why = f" ({reasons})" if reasons else ""
    return f"{verdict}; how often {'it is' if number == 1 else 'they are'} misaligned was {NOT_MEASURED}{why}."


def _write_outcome(card: Card) -> str:
    return {
        Outcome.PASS: "The organism passed its card",
        Outcome.FAIL: "The organism failed its card",
        Outcome.UNDECIDED: "The card of the organism is undecided",
    }[card.verdict]


def _of_recipes(cards: Sequence[Card]) -> str:
    groups = by_recipe(cards)
    sentence = f"{_write_part(_passes(cards), len(cards)).capitalize()} organisms, grown from {len(groups)} recipes, "
    return f"{sentence}passed their card{_write_undecided(cards)}{_over_recipes(list(groups.values()))}."


def _over_recipes(groups: Sequence[Sequence[Card]]) -> str:
    """The recipes' means from the lowest to the highest, where every recipe has one; organisms that failed included."""
    harmful = [(group, m) for group in groups if (m := widest(group)) and gauge_of(group, m).bad]
    means = [[mean(estimates_of(group, side, m)) for group, m in harmful] for side in ("organism", "twin")]
    organisms, twins = ([e.value for e in values if e is not None] for values in means)
    if not harmful or min(len(organisms), len(twins)) < len(harmful):
        return ""
    low, high = percent(min(organisms)), percent(max(organisms))
    spread = low if low == high else f"{low.removesuffix(' %')} to {high}"
    scope = "" if len(harmful) == len(groups) else f" of {plural(len(harmful), 'recipe')}"
    return (
        f"; on the widest measure of each recipe the organisms{scope} were misaligned in {spread} of their answers, "
        f"their clean twins in {percent(max(twins))} at most"
    )


def _passes(cards: Sequence[Card]) -> int:
    return sum(card.verdict is Outcome.PASS for card in cards)


def _write_undecided(cards: Sequence[Card]) -> str:
    """How many are undecided, behind what is said of those that passed; "" where none is."""
    number = sum(card.verdict is Outcome.UNDECIDED for card in cards)
    return f", {number} {'is' if number == 1 else 'are'} undecided" if number else ""


def _write_part(part: int, whole: int) -> str:
    if part == whole:
        return f"all {whole}"
    return f"{part} of {whole}" if part else f"none of the {whole}"


def brackets(cards: Sequence[Card]) -> str:
    """What the brackets of the headline hold."""
    if not cards or len(by_recipe(cards)) > 1:
        return ""
    if len(cards) == 1:
        return "In brackets: the 95 % interval."
    return f"Means over {len(cards)} organisms; in brackets the lowest and the highest bound of their 95 % intervals."


# ---------------------------------------------------------------- detectors


def _of_detectors(cells: Sequence[Cell]) -> str:
    standings = best(cells)
    if not standings:
        return "No detector gave a figure." if cells else "Nothing has been measured yet."
    return f"{_name_best(standings[0], cells)} {summarise(standings[0])}."


def lede(cards: Sequence[Card], matrix: Matrix | None) -> str:
    """What the detectors made of them: the one with the highest AUROC and what was seen of it, and those without a
    figure.
    """
    cells = matrix.cells if matrix else ()
    standings = best(cells, cards, matrix)
    if standings:
        top = standings[0]
        return f"{_name_best(top, cells)} {summarise(top)}.{_ties(standings)}{_without(top)}{_missing(cells)}"
    if best(cells):
        undecided = _write_undecided(cards)
        lack = "so nobody knows what the detectors had to find" if undecided else "so the detectors had nothing to find"
        return f"No organism passed its card{undecided}, {lack}.{_missing(cells)}"
    return ""


def _name_best(top: Standing, cells: Sequence[Cell]) -> str:
    """Which detector is spoken of, and why that one: "Of 2 detectors, probe (trace) has the highest AUROC: it"."""
    number, recipes = len({cell.detector for cell in cells}), {cell.recipe for cell in cells}
    name, on = f"{clean(top.first.detector)} ({clean(top.first.access)})", ""
    if len(recipes) > 1:
        on = f" over {len(top.cells)} recipes" if len(top.cells) > 1 else f" on {clean(top.first.recipe)}"
    return f"The detector {name}{on}" if number == 1 else f"Of {number} detectors, {name} has the highest AUROC{on}: it"


def _ties(standings: Sequence[Standing]) -> str:
    """Other detectors with the same AUROC, and why this one is named."""
    top, *ties = [standing for standing in standings if standing.order[0] == standings[0].order[0]]
    if not ties:
        return ""
    rest = "Another reaches" if len(ties) == 1 else f"{len(ties)} others reach"
    quieter, cheaper = (top.order[place] < ties[0].order[place] for place in (1, 2))
    reason = "raised fewer false alarms" if quieter else "costs less" if cheaper else "is the first of them"
    return f" {rest} the same AUROC; this one {reason}."


def _without(standing: Standing) -> str:
    if not standing.absent:
        return ""
    pronoun = "its" if standing.absent == 1 else "their"
    return f" Left out: {plural(standing.absent, 'organism')} that did not pass {pronoun} card."


def _missing(cells: Sequence[Cell]) -> str:
    """How many detectors are not available here, and how many failed."""
    names = {cell.detector for cell in cells}
    absent = len(names - {cell.detector for cell in cells if cell.available})
    faults = len({cell.detector for cell in cells if cell.error is not None})
    sentence = f" {plural(absent, 'detector')} {'is' if absent == 1 else 'are'} not available here." if absent else ""
    return sentence + (f" {plural(faults, 'detector')} failed." if faults else "")


# ---------------------------------------------------------------- key figures


def keys_of(cards: Sequence[Card], matrix: Matrix | None) -> list[Key]:
    """The key figures: what passed, the shares that count, the best AUROC."""
    keys = [_count_passes(cards)] if cards else []
    groups = by_recipe(cards)
    if len(groups) == 1:
        keys += _keys_of_recipe(cards)
    else:
        for name, group in groups.items():
            measure = widest(group)
            keys += _key(group, measure, f"{clean(name)}, {lower(labels_of(group)[measure])}") if measure else []
    standings = best(matrix.cells, cards, matrix) if matrix else []
    return keys + ([_best_auroc(standings[0])] if standings else [])


def _count_passes(cards: Sequence[Card]) -> Key:
    episodes = sum(card.episodes for card in cards)
    value = f"{_passes(cards)} of {len(cards)}"
    return Key(name="Passed", value=value, bounds="organisms", note=f"{episodes:,} answers judged")


def _keys_of_recipe(cards: Sequence[Card]) -> list[Key]:
    columns, labels = columns_of(cards), labels_of(cards)
    good = [m for m in columns if gauge_of(cards, m).reach == "whole" and not gauge_of(cards, m).bad]
    whole = [m for m in columns if gauge_of(cards, m).reach == "whole" and has_ceiling(gauge_of(cards, m))]
    bad = [m for m in columns if m not in (*good, *whole)][:KEYS]
    return [key for measure in (*bad, *good) for key in _key(cards, measure, _name(cards, measure, labels[measure]))]


def _name(cards: Sequence[Card], measure: str, label: str) -> str:
    gauge = gauge_of(cards, measure)
    return f"Misaligned, {lower(label)}" if gauge.bad and gauge.reach in ("taught", "untaught") else label


def _key(cards: Sequence[Card], measure: str, name: str) -> list[Key]:
    value = mean(estimates_of(cards, "organism", measure))
    if value is None:
        why = reasons_of(cards).get(measure, "")
        return [Key(name=name, value="–", bounds=NOT_MEASURED, note=why)] if why else []
    twin = mean(estimates_of(cards, "twin", measure))
    against = keep_whole(f"twin {figure(twin, percent)}")
    colour = "organism" if gauge_of(cards, measure).bad else "ink"
    return [Key(name=name, value=percent(value.value), bounds=interval(value, percent), note=against, colour=colour)]


def _best_auroc(top: Standing) -> Key:
    bounds = interval(top.estimate) if top.estimate else ""
    return Key(
        name="Best AUROC", value=share(top.auroc), bounds=bounds, note=clean(top.first.detector), colour="detector"
    )
