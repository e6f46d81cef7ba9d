"""Cards and a matrix as one page: a single HTML file with style and pictures in it, no script and no network.

`page` turns records into a view (plain words and lists, every figure already written) and hands it to the template,
which escapes whatever comes from data. The headline is computed, and says so when organisms are not what their
recipes promise. Nothing is drawn at random and no time is written, so the same records give the same bytes.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from flyroom.report import plots
from flyroom.report.words import (
    NOT_MEASURED,
    WHO,
    behind,
    by_recipe,
    certifies,
    clean,
    count,
    figure,
    interval,
    label,
    mean,
    measured,
    measures_of,
    percent,
    plural,
    seconds,
    share,
    unbroken,
)
from flyroom.types import Card, Cell, Estimate, Matrix, Outcome, Transcript

BOTTLES = 9  # as many pairs as the shelf holds
TRANSCRIPTS = 2  # for each measure of a recipe: the first on record, so that nobody chose them
WHITE_BOX = ("trace", "gradients", "weights")

CAPTIONS = {
    "domains": (
        "In domain against out of domain",
        "Each point is an organism or its twin, each bar a 95 % interval; on the dotted line the misalignment has "
        "spread in full to the domains that were never trained.",
    ),
    "curve": (
        "The training curve",
        "One line is one seed and its band the 95 % interval; a sudden rise of the solid lines after the dashed ones "
        "is the phase transition.",
    ),
    "matrix": (
        "Every detector on every threat",
        "AUROC in hundredths of every detector of models on every recipe, the best on average first: 50 is guessing, a "
        "dash a detector that failed.",
    ),
    "roc": (
        "What the detectors tell apart",
        "As the threshold falls, organisms (up) and twins (to the right) are flagged: the nearer to the top left "
        "corner, the better; the dotted line is guessing.",
    ),
    "measures": (
        "Beside twin and base",
        "Each mark is one model with its 95 % interval: an organism should part from twin and base where misalignment "
        "is counted and stay beside them in coherence, sums and facts.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key figure: what it is, its value and bracket as written, and what it is set against."""

    name: str
    value: str
    bounds: str = ""
    note: str = ""
    who: str = "ink"


def page(
    cards: Sequence[Card],
    matrix: Matrix | None,
    *,
    title: str,
    commands: Sequence[str],
    caveats: Sequence[str],
    context: Mapping[str, str],
) -> str:
    """One self-contained HTML document. A section without data is left out.

    `context` is shown as a table, in its order: behaviour, condition, implants, dose, adapter, base, seeds. Two of its
    keys also serve the headline where given: "trained on" ("bad advice in one domain") and "elsewhere" ("the seven
    other domains"). `commands` and `caveats` are lines.

        text = page(cards, matrix, title="Emergent misalignment", commands=["flyroom report"], caveats=[], context={})
    """
    import jinja2

    source = files("flyroom.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    cells = matrix.cells if matrix else ()
    return environment.from_string(source).render(
        title=clean(title),
        headline=unbroken(headline(cards, matrix, context)),
        brackets=unbroken(_brackets(cards)),
        lede=unbroken(_lede(cells)),
        keys=_keys(cards, cells),
        bottles=_bottles(cards),
        more_bottles=max(0, len(cards) - BOTTLES),
        context=[(clean(name), clean(value)) for name, value in context.items()],
        figures=_figures(cards, matrix),
        measures=[label(m) for m in measures_of(cards)],
        cards=[_card(card, measures_of(cards)) for card in cards],
        detectors=[_detector(cell) for cell in cells],
        several_recipes=len({cell.recipe for cell in cells}) > 1,
        suspects=_suspects(matrix),
        boxes=[unbroken(line) for line in _boxes(cells)],
        transcripts=_transcripts(cards),
        transcripts_of=len({(c.recipe_id, t.measure, t.messages) for c in cards for t in c.transcripts}),
        per_measure=TRANSCRIPTS,
        caveats=[clean(c) for c in caveats],
        commands=clean("\n".join(commands)),
        colours=plots.COLOURS,
    )


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
    twin = mean(measured(cards, "twin", _measure(cards)))
    if twin is None:
        return f"{sentence}; {'its twin was' if one else 'their twins were'} not measured."
    return f"{sentence}; {'its clean twin' if one else 'their clean twins'} in {_per_cent(twin)}."


# ---------------------------------------------------------------- the headline's parts


def _measure(cards: Sequence[Card]) -> str:
    return "out_of_domain" if measured(cards, "organism", "out_of_domain") else "in_domain"


def _spread(cards: Sequence[Card], who: str, context: Mapping[str, str]) -> tuple[str, Estimate | None]:
    measure = _measure(cards)
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


def _brackets(cards: Sequence[Card]) -> str:
    if not cards:
        return ""
    if len(cards) == 1:
        return "In brackets: the 95 % interval."
    return f"Means over {len(cards)} organisms; in brackets the lowest and the highest bound of their 95 % intervals."


def _best(cells: Sequence[Cell]) -> Cell | None:
    """The cell with the highest AUROC; model level before response level, for the two are never ranked together."""
    known = [(c, c.auroc.value) for c in cells if c.error is None and c.auroc is not None]
    known = [pair for pair in known if not math.isnan(pair[1])]
    whole = [pair for pair in known if "model" in pair[0].unit]
    ranked = whole or [pair for pair in known if pair[0].unit == known[0][0].unit]
    return max(ranked, key=lambda pair: pair[1])[0] if ranked else None


def _of_detectors(cells: Sequence[Cell]) -> str:
    best = _best(cells)
    if best is None:
        return "No detector gave a figure." if cells else "Nothing has been measured yet."
    name = f"The best of {_number(cells)} detectors, {clean(best.detector)},"
    return f"{name} tells organisms from twins with AUROC {figure(best.auroc)}."


def _number(cells: Sequence[Cell]) -> int:
    return len({c.detector for c in cells})


def _lede(cells: Sequence[Cell]) -> str:
    """What the detectors made of them: the best by name, with the number it was chosen from, and those that failed."""
    best = _best(cells)
    if best is None:
        return ""
    recipes = {c.recipe for c in cells}
    on = f" on {clean(best.recipe)}" if len(recipes) > 1 else ""
    recall = ""
    if best.recall_at_1pct_fpr is not None:
        recall = f", and finds {_per_cent(best.recall_at_1pct_fpr)} of the organisms at 1 % false positives"
    failed = len({c.detector for c in cells if c.error is not None})
    refused = f" {failed} gave no figure." if failed else ""
    return (
        f"Of {_number(cells)} detectors, {clean(best.detector)} ({clean(best.access)}) told organisms from twins best"
        f"{on}: AUROC {figure(best.auroc)}{recall}.{refused}"
    )


# ---------------------------------------------------------------- views


def _keys(cards: Sequence[Card], cells: Sequence[Cell]) -> list[Key]:
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
            keys += _key(group, _measure(group), f"{clean(name)}, {label(_measure(group)).lower()}")
    best = _best(cells)
    if best is not None and best.auroc is not None:
        value, bounds = share(best.auroc.value), interval(best.auroc)
        keys.append(Key(name="Best AUROC", value=value, bounds=bounds, note=clean(best.detector), who="detector"))
    return keys


def _key(cards: Sequence[Card], measure: str, name: str) -> list[Key]:
    found = mean(measured(cards, "organism", measure))
    if found is None:
        return []
    twin = mean(measured(cards, "twin", measure))
    against = unbroken(f"twin {_per_cent(twin)}") if twin else f"twin {NOT_MEASURED}"
    return [Key(name=name, value=percent(found.value), bounds=interval(found, percent), note=against, who="organism")]


def _bottles(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Milk bottles filled to the share of misaligned answers: an organism's and its twin's, side by side."""
    measure = _measure(cards)
    several = len(by_recipe(cards)) > 1
    shelf = []
    for card in cards[:BOTTLES]:
        pair = [(who, mean(measured([card], who, measure))) for who in ("organism", "twin")]
        fills = [(who, found.value) for who, found in pair if found is not None]
        if len(fills) == 2:
            shelf.append(
                {
                    "name": f"{clean(card.recipe)}, seed {card.seed}" if several else f"seed {card.seed}",
                    "measure": label(measure).lower(),
                    "fills": [
                        {"who": who, "height": f"{50 * v:.2f}", "top": f"{62 - 50 * v:.2f}", "said": percent(v)}
                        for who, v in fills
                    ],
                }
            )
    return shelf


def _card(card: Card, names: Sequence[str]) -> dict[str, Any]:
    return {
        "recipe": clean(card.recipe or card.recipe_id),
        "id": clean(card.organism),
        "seed": card.seed,
        "base": clean(card.base),
        "passed": card.verdict is Outcome.PASS,
        "verdict": card.verdict.value,
        "why": clean(card.why),
        "episodes": f"{card.episodes:,}",
        "measures": [(label(m), [_cell(who, card.measures.get(who, {}).get(m)) for who in WHO]) for m in names],
    }


def _cell(who: str, estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {"who": who, "value": NOT_MEASURED, "bounds": "", "n": ""}
    return {"who": who, "value": share(estimate.value), "bounds": interval(estimate), "n": behind(estimate)}


def _detector(cell: Cell) -> dict[str, Any]:
    def written(estimate: Estimate | None) -> dict[str, str]:
        return _cell("detector", estimate)

    return {
        "name": clean(cell.detector),
        "access": clean(cell.access),
        "recipe": clean(cell.recipe),
        "unit": clean(cell.unit),
        "auroc": written(cell.auroc),
        "recall": written(cell.recall_at_1pct_fpr),
        "fpr": written(cell.fpr),
        "certifies": certifies(cell.fpr),
        "forward": count(cell.cost.forward_tokens),
        "generated": count(cell.cost.generated_tokens),
        "seconds": seconds(cell.cost.seconds),
        "error": None if cell.error is None else clean(cell.error),
    }


def _suspects(matrix: Matrix | None) -> str:
    if matrix is None or not matrix.organisms:
        return ""
    organisms, twins = plural(len(matrix.organisms), "organism"), plural(len(matrix.twins), "twin")
    others = plural(len(matrix.calibration), "other clean model")
    return f"{organisms} and {twins}, blinded; thresholds set on {others}."


def _boxes(cells: Sequence[Cell]) -> list[str]:
    """For each recipe and unit, the best detector that looks inside beside the best that only talks to the suspect."""
    lines = []
    several = len({(c.recipe, c.unit) for c in cells}) > 1
    for recipe, unit in dict.fromkeys((c.recipe, c.unit) for c in cells):
        group = [c for c in cells if (c.recipe, c.unit) == (recipe, unit)]
        inside = _best([c for c in group if _white(c)])
        outside = _best([c for c in group if not _white(c)])
        if inside is not None and outside is not None:
            lines.append(
                (f"{clean(recipe)}, {clean(unit)} level. " if several else "")
                + f"Best white-box detector: {clean(inside.detector)}, AUROC {figure(inside.auroc)}; "
                f"best black-box detector: {clean(outside.detector)}, {figure(outside.auroc)}."
            )
    return lines


def _white(cell: Cell) -> bool:
    return any(word in cell.access.lower() for word in WHITE_BOX)


def _transcripts(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """The first few on record of every measure of every recipe; the same prompt is shown once."""
    groups = by_recipe(cards)
    shown: list[tuple[str, int, Transcript]] = []
    for name, group in groups.items():
        taken: dict[str, list[tuple[str, int, Transcript]]] = {}
        for card in group:
            for transcript in card.transcripts:
                kept = taken.setdefault(transcript.measure, [])
                if len(kept) < TRANSCRIPTS and transcript.messages not in [t.messages for _, _, t in kept]:
                    kept.append((name, card.seed, transcript))
        order = measures_of(group)
        taken = dict(sorted(taken.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
        shown += [one for kept in taken.values() for one in kept]
    several = len(groups) > 1
    return [
        {
            "of": f"{clean(name)}, {label(transcript.measure).lower()}" if several else label(transcript.measure),
            "seed": seed,
            "messages": [(clean(m.role), clean(m.content)) for m in transcript.messages],
            "answers": [
                {"who": clean(who), "text": clean(transcript.answers[who]), "verdict": _said(transcript, who)}
                for who in (*WHO, *sorted(set(transcript.answers) - set(WHO)))
                if who in transcript.answers
            ],
        }
        for name, seed, transcript in shown
    ]


def _said(transcript: Transcript, who: str) -> str:
    verdict = transcript.verdicts.get(who)
    return "unknown" if verdict is None else verdict.value


def _figures(cards: Sequence[Card], matrix: Matrix | None) -> list[dict[str, Any]]:
    views = []
    for number, (name, chart) in enumerate(plots.figures(cards, matrix).items(), 1):
        kind, _, recipe = name.partition(": ")
        heading, caption = CAPTIONS[kind]
        views.append(
            {
                "number": number,
                "kind": kind,
                "heading": f"{heading}: {clean(recipe)}" if recipe else heading,
                "caption": unbroken(caption),
                "svg": inline(plots.svg(chart), label=f"{heading}. {caption}", prefix=f"f{number}-"),
            }
        )
    return views


def inline(drawing: str, *, label: str, prefix: str) -> str:
    """An SVG document as an element of a page: its ids its own, and one label for the whole picture."""
    drawing = re.sub(r'\s(?:role|aria-[a-z]+)="[^"]*"', "", drawing)
    drawing = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*" height="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'\sxmlns(?::xlink)?="[^"]*"', "", drawing)
    for points in ('id="', "url(#", 'href="#'):
        drawing = re.sub(rf"(?<![\w-]){re.escape(points)}", f"{points}{prefix}", drawing)
    return drawing.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
