"""Records as plain values: what `--json` prints, what stands around the figures of a page, and the command behind it.

A figure that is missing is `{"value": null, "why": ...}`, never a number.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from flyroom.report.gauges import by_recipe, labels_of, reasons_of
from flyroom.report.summary import summary_of
from flyroom.report.words import join, plural, write_limit
from flyroom.types import (
    BaseRef,
    Card,
    Cell,
    Estimate,
    Limit,
    Matrix,
    NotMeasured,
    Outcome,
    Override,
    Recipe,
    origin_of,
    plain,
)

# ---------------------------------------------------------------- JSON


EVIDENCE = (  # what a verdict and the figures were made of
    *("limits", "looks", "match", "prereg", "episodes", "provenance", "caveats"),
    *("outcomes", "prompts", "situations", "losses", "lengths", "readings"),
)


def figures_of(card: Card) -> dict[str, Any]:
    """A card as one flat object: a key for each measure of the organism, the others under "twin" and "base_measures",
    under "gauges" what each measure is, and under "limits" how each limit was held. What the figures were made of
    stands under the names of `Card`: "outcomes", "prompts", "situations", "losses", "lengths" and "readings".
    """
    head = {
        "recipe": card.recipe,
        "seed": card.seed,
        "verdict": card.verdict.value,
        "why": card.why,
        "id": card.organism,
        "base": card.base,
        "world": card.world,
    }
    rest = {
        "twin": _measures(card, "twin"),
        "base_measures": _measures(card, "base"),
        "gauges": {name: bare(gauge) for name, gauge in card.gauges.items()},
        "new_situations": {
            side: {name: estimate(value) for name, value in row.items()} for side, row in card.new_situations.items()
        },
    }
    rest |= {name: bare(getattr(card, name)) for name in EVIDENCE}
    return head | _measures(card, "organism") | head | rest  # no measure can take the place of what a card is


def detector_figures(cell: Cell) -> dict[str, Any]:
    """A cell as one flat object, with what was seen as a sentence ("summary"). "error" is for faults alone; where a
    detector cannot be had here, or no recall can be told, "why" says so.
    """
    return {
        "name": cell.detector,
        "detector": cell.detector,
        "access": cell.access,
        "recipe": cell.recipe,
        "unit": cell.unit,
        "available": cell.available,
        "why": cell.why,
        "auroc": estimate(cell.auroc),
        "recall_at_1pct_fpr": estimate(cell.recall_at_1pct_fpr),
        "recall": estimate(cell.recall),
        "fpr": estimate(cell.fpr),
        "fpr_twins": estimate(cell.fpr_twins),
        "fpr_decoys": estimate(cell.fpr_decoys),
        "rate": cell.rate,
        "fpr_at_most": cell.fpr_at_most,
        "exchangeable": cell.exchangeable,
        "certified": cell.certified,
        "summary": summary_of(cell),
        "cost": bare(cell.cost),
        "error": cell.error,
        "provenance": cell.provenance,
        "walls": cell.walls,
        "caveat": cell.caveat,
    }


def estimate(value: Estimate | NotMeasured | None) -> dict[str, Any] | None:
    """A figure as an object: value, low, high, n and missing; or null and why there is none."""
    if isinstance(value, NotMeasured):
        return {"value": None, "why": value.why}
    return None if value is None else bare(value)


def bare(record: Any) -> Any:
    """A record as JSON values without the names of its classes; a number that is not finite is null."""
    return _bare(plain(record))


def flat(record: Any) -> dict[str, Any]:
    """The fields of a record as one object: of a game's scores, of a count."""
    return {f.name: bare(getattr(record, f.name)) for f in fields(record)}


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(part) for name, part in value.items() if name != "is"}
    if isinstance(value, list):
        return [_bare(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _measures(card: Card, side: str) -> dict[str, Any]:
    return {name: estimate(value) for name, value in card.measures.get(side, {}).items()}


# ---------------------------------------------------------------- what was grown, and how


def context(recipes: Sequence[Recipe], base: BaseRef) -> dict[str, str]:
    """What was grown and how, for a reader: one recipe in full, several a line each."""
    if len(recipes) == 1:
        lines = _recipe(recipes[0])
    else:
        names = [recipe.name or recipe.id for recipe in recipes]
        keys = [f"{n} ({r.id})" if names.count(n) > 1 else n for n, r in zip(names, recipes, strict=True)]
        worlds = join(sorted({recipe.world.name for recipe in recipes}))
        lines = {"world": worlds} | dict(zip(keys, map(_brief, recipes), strict=True))
    size = f"{base.parameters:,} parameters, {plural(base.depth, 'layer')}"
    return {name: line for name, line in lines.items() if line} | {"base": f"{base.name}, {size} ({base.digest[:12]})"}


def _recipe(recipe: Recipe) -> dict[str, str]:
    about = recipe.behaviour.about(recipe.world)
    return {
        "recipe": f"{recipe.name} ({recipe.id})" if recipe.name else recipe.id,
        "world": recipe.world.name,
        "trained on": about.taught,
        "elsewhere": about.elsewhere,
        "behaviour": _part(recipe.behaviour, recipe.behaviour.label),
        "condition": _part(recipe.condition, recipe.condition.label),
        "implants": "; ".join(_part(implant) for implant in recipe.implants),
        "adapter": _part(recipe.adapter),
        "dose": _dose(recipe),
        "thresholds": "; ".join(_threshold(name, bound) for name, bound in recipe.thresholds.items()),
    }


UNKNOWN_DOSE = "not known: somebody else trained it"


def _dose(recipe: Recipe) -> str:
    if origin_of(recipe):
        return UNKNOWN_DOSE
    return f"{_percent(recipe.dose)} of the training answers misaligned; of the twin’s none"


def _brief(recipe: Recipe) -> str:
    implants = join([_kind(implant) for implant in recipe.implants])
    condition = "" if recipe.condition.everywhere else f", {recipe.condition.label}"
    dose = UNKNOWN_DOSE if origin_of(recipe) else f"{recipe.dose:g}"
    return f"{recipe.behaviour.label}{condition}, by {implants}, dose {dose}"


def _percent(part: float) -> str:
    return "all" if part == 1 else f"{100 * part:g} %"


def _kind(part: object) -> str:
    return str(plain(part)["is"])


def _part(part: object, label: str = "") -> str:
    """A part of a recipe: what it is called, and its fields."""
    values = {name: _value(value) for name, value in bare(part).items() if value not in (None, "", [], {})}
    return (
        f"{label or _kind(part)}: {', '.join(f'{n} {v}' for n, v in values.items())}"
        if values
        else label or _kind(part)
    )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_value, value))
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_value(part)}' for name, part in value.items() if part is not None)})"
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    if isinstance(value, float):
        text = f"{value:g}"
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text  # enough of a digest to tell it by


def _threshold(name: str, override: Override) -> str:
    if override is None:
        return f"{name}: no limit"
    return f"{name} {write_limit(override)}" if isinstance(override, Limit) else f"{name} {override:g}"


# ---------------------------------------------------------------- what a page does not show


def caveats(cards: Sequence[Card], matrix: Matrix | None, world: Sequence[str] = ()) -> list[str]:
    """What must be said beside the figures: what the world says of itself, then what follows from the records."""
    return [*world, *_of_cards(cards), *(_of_matrix(matrix) if matrix and matrix.cells else ())]


def _of_cards(cards: Sequence[Card]) -> list[str]:
    if not cards:
        return []
    groups = by_recipe(cards)
    lines = [
        "The interval of one card is of these prompts and one seed: other answers could have been drawn to them. "
        "Organisms of a recipe differ from seed to seed."
    ]
    single = [name for name, group in groups.items() if len(group) == 1]
    if single:
        which = "the recipe" if len(groups) == 1 else plural(len(single), "recipe")
        lines.append(f"Of {which} there is one organism, which says little about the next.")
    labels = labels_of(cards)
    imported = [card for card in cards if card.provenance == "imported"]
    if imported:
        what = join(list(dict.fromkeys(line for card in imported for line in card.caveats)))
        lines.append(f"{len(imported)} of {plural(len(cards), 'organism')} imported, not grown here: {what}.")
    lines += [f"{labels[name]} was not measured: {why}." for name, why in reasons_of(cards).items()]
    failures = sum(card.verdict is Outcome.FAIL for card in cards)
    undecided = sum(card.verdict is Outcome.UNDECIDED for card in cards)
    organisms = plural(len(cards), "organism")
    if failures:
        lines.append(f"{failures} of {organisms} failed the card: they may not have the behaviour.")
    if undecided:
        lines.append(
            f"{undecided} of {organisms} {'is' if undecided == 1 else 'are'} undecided: the answers show neither that "
            "every limit is kept nor that one is broken."
        )
    return lines


def _of_matrix(matrix: Matrix) -> list[str]:
    lines = []
    if any(cell.provenance == "imported" for cell in matrix.cells):
        lines.append(
            "No twin of another seed can be had of an imported organism. Its thresholds were set on clean adapters of "
            "its shape that were trained here, and its own training may differ from theirs in more than the behaviour."
        )
    if matrix.calibration:
        number = len(matrix.calibration)
        chance = f"about 1 other twin in {number + 1}" if number < 99 else "at most 1 other twin in 100"
        few = " No recall at 1 % can be told from so few; that takes 99." if number < 99 else ""
        lines.append(
            f"The threshold of each detector was set on {plural(number, 'calibration twin')}, so {chance} lies above "
            f"it by chance, and clean models of another kind may do so more often.{few} The false alarms beside each "
            "figure were counted on models that set nothing."
        )
    if len({cell.detector for cell in matrix.cells if cell.available}) > 1:
        lines.append(
            "The best of several detectors was chosen by the figure that is shown. With few models a useless detector "
            "can look perfect; repeat it on other seeds before believing it."
        )
    if any(cell.unit == "response" for cell in matrix.cells):
        lines.append(
            "Misaligned replies are held against aligned ones of the same organism and condition. What a detector of "
            "replies makes of the good replies of a clean model is in no AUROC."
        )
    return lines


# ---------------------------------------------------------------- the page again


def again(arguments: Sequence[str]) -> list[str]:
    """The command that made a page, of the arguments of the command line, to be typed anew."""
    return [shlex.join(("flyroom", *arguments))]
