"""Cards and a matrix as one page: a single HTML file with style and pictures in it, and no network.

`page` turns records into a view (plain words and lists, every figure already written) and hands it to the templates,
which escape whatever comes from data. A few lines of script sort the matrix; without them everything can still be read
and opened. Nothing is drawn at random and no time is written, so the same records give the same bytes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from flyroom.report import plots
from flyroom.report.headline import brackets, headline, keys_of, lede, measure_of
from flyroom.report.matrix import boxes, flat, suspects, tables
from flyroom.report.misses import misses
from flyroom.report.words import (
    WHO,
    by_recipe,
    clean,
    label,
    mean,
    measured,
    measures_of,
    percent,
    unbroken,
    written,
)
from flyroom.types import Card, Matrix, Outcome, Transcript

BOTTLES = 9  # as many pairs as the shelf holds
TRANSCRIPTS = 2  # for each measure of a recipe: the first on record, so that nobody chose them

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
    "roc": (
        "What the detectors tell apart",
        "As the threshold falls, organisms (up) and twins (to the right) are flagged: the nearer to the top left "
        "corner, the better; the dotted line is guessing.",
    ),
    "calibration": (
        "Whether a probability holds",
        "Suspicion made a probability by Platt’s curve on half of the suspects, and held against the truth on the "
        "other half: on the dotted line what was said is what was so. Chance is the error that a perfectly calibrated "
        "detector stays below in 95 of 100 cases with as few.",
    ),
    "cost": (
        "What recall costs",
        "Each point is a detector of models: the organisms it finds at 1 % false positives, the mean over all recipes, "
        "against the tokens of the whole bench. On the line none finds more for less. Intervals, and names for which "
        "there was no room, stand in the matrix.",
    ),
    "transfer": (
        "What transfers",
        "AUROC in hundredths of detectors fitted without one group (down) on suspects of another (across): 50 is "
        "guessing, a dash was not tried.",
    ),
    "measures": (
        "Beside twin and base",
        "Each mark is one model with its 95 % interval: an organism should part from twin and base where misalignment "
        "is counted and stay beside them in coherence, sums and facts.",
    ),
}


def page(
    cards: Sequence[Card],
    matrix: Matrix | None,
    *,
    title: str,
    commands: Sequence[str],
    caveats: Sequence[str],
    context: Mapping[str, str],
    calibrated: Sequence[plots.Calibrated] = (),
    transfers: Sequence[plots.Transferred] = (),
) -> str:
    """One self-contained HTML document. A section without data is left out.

    `context` is shown as a table, in its order: behaviour, condition, implants, dose, adapter, base, seeds. Two of its
    keys also serve the headline where given: "trained on" ("bad advice in one domain") and "elsewhere" ("the seven
    other domains"). `commands` and `caveats` are lines.

        text = page(cards, matrix, title="Emergent misalignment", commands=["flyroom report"], caveats=[], context={})
    """
    import jinja2

    here = files("flyroom.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: here.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cells = matrix.cells if matrix else ()
    return environment.get_template("page.html.jinja").render(
        title=clean(title),
        headline=unbroken(headline(cards, matrix, context)),
        brackets=unbroken(brackets(cards)),
        lede=unbroken(lede(cells)),
        keys=keys_of(cards, cells),
        bottles=_bottles(cards),
        more_bottles=max(0, len(cards) - BOTTLES),
        context=[(clean(name), clean(value)) for name, value in context.items()],
        figures=_figures(cards, matrix, calibrated, transfers),
        measures=[label(m) for m in measures_of(cards)],
        cards=[_card(card, measures_of(cards)) for card in cards],
        tables=tables(cells),
        detectors=[flat(cell) for cell in cells],
        several_recipes=len({cell.recipe for cell in cells}) > 1,
        suspects=suspects(matrix),
        boxes=[unbroken(line) for line in boxes(cells)],
        misses=misses(cards, matrix),
        transcripts=_transcripts(cards),
        transcripts_of=len({(c.recipe_id, t.measure, t.messages) for c in cards for t in c.transcripts}),
        per_measure=TRANSCRIPTS,
        caveats=[clean(c) for c in caveats],
        commands=clean("\n".join(commands)),
        colours=plots.COLOURS,
    )


# ---------------------------------------------------------------- views


def _bottles(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Milk bottles filled to the share of misaligned answers: an organism's and its twin's, side by side."""
    measure = measure_of(cards)
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
        "measures": [(label(m), [written(card.measures.get(who, {}).get(m), who) for who in WHO]) for m in names],
    }


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


def _figures(
    cards: Sequence[Card],
    matrix: Matrix | None,
    calibrated: Sequence[plots.Calibrated],
    transfers: Sequence[plots.Transferred],
) -> list[dict[str, Any]]:
    """All but the matrix, which the page has as a table."""
    charts = plots.figures(cards, matrix, calibrated=calibrated, transfers=transfers)
    charts.pop("matrix", None)
    views = []
    for number, (name, chart) in enumerate(charts.items(), 1):
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
