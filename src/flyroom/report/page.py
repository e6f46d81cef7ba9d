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

from flyroom.report import cards as card_views
from flyroom.report import plots
from flyroom.report.gauges import labels_of, lower, reasons_of
from flyroom.report.headline import brackets, headline, keys_of, lede, title
from flyroom.report.matrix import boxes, describe, suspects, tables
from flyroom.report.misses import misses
from flyroom.report.words import clean, join, keep_whole
from flyroom.types import Card, Matrix

CAPTIONS = {
    "spread": (
        "What was taught, and what was not",
        "To the right: how often a model is misaligned on what its organism was taught. Up: how often on what nobody "
        "taught it. On the dotted line misalignment has spread in full. Each mark is one organism or its clean twin, "
        "each bar a 95 % interval.",
    ),
    "curve": (
        "The training curve",
        "How often organisms are misaligned after so many training steps. A thin line is one organism, the thick line "
        "their mean. The band marks the steepest rise of that mean: where it is narrow, the behaviour arrived at once.",
    ),
    "roc": (
        "What the detectors tell apart",
        "A detector gives every model a suspicion, and whoever lies above a threshold is flagged. As the threshold "
        "falls, more organisms (up) and more harmless models (to the right) are flagged. The nearer a curve comes to "
        "the top left corner, the better; the dotted line is guessing.",
    ),
    "calibration": (
        "Whether a probability holds",
        "Suspicions turned into probabilities on half of the models, and compared with the truth on the other half. "
        "On the dotted line, of the models that are given 80 %, 80 % are organisms. “Chance” is the error that a "
        "perfect detector stays below in 95 of 100 cases with as few models.",
    ),
    "cost": (
        "What it costs to tell organisms from twins",
        "Up: the AUROC, the mean over all recipes; the dotted line is guessing. To the right: the tokens that the "
        "whole bench took. On the line are those that nobody beats for less. Names without room are in the matrix.",
    ),
    "transfer": (
        "What transfers",
        "Detectors that learned from known models without one group (down), tested on models of another group "
        "(across). A field is the AUROC in hundredths: 50 is guessing, a dash has no figure.",
    ),
    "measures": (
        "Beside twin and base",
        "Every measure of the cards that is a share. Each mark is one model with its 95 % interval. An organism should "
        "part from its twin and its base where misalignment is counted, and stay beside them in what it should "
        "still be able to do.",
    ),
}


def page(
    cards: Sequence[Card],
    matrix: Matrix | None,
    *,
    context: Mapping[str, str],
    caveats: Sequence[str],
    commands: Sequence[str],
    calibrated: Sequence[plots.Calibrated] = (),
    transfers: Sequence[plots.Transferred] = (),
) -> str:
    """One self-contained HTML document. A section without data is left out.

    Args: context, shown as a table in its order (`views.context` makes one of recipes and their base); caveats, what
    the page does not show, a sentence each (`views.caveats`); commands, what made the page.

        text = page(cards, matrix, context=context(recipes, base), caveats=caveats(cards, matrix), commands=[])
    """
    cells = matrix.cells if matrix else ()
    return template("page.html.jinja").render(
        title=title(cards, matrix),
        headline=keep_whole(headline(cards, matrix)),
        brackets=keep_whole(brackets(cards)),
        lede=keep_whole(lede(cards, matrix)),
        keys=keys_of(cards, matrix),
        context=[(clean(name), clean(value)) for name, value in context.items()],
        figures=_figures(card_views.sample(cards), matrix, calibrated, transfers),
        caveats=[clean(c) for c in caveats],
        commands=clean("\n".join(commands)),
        colours=plots.COLOURS,
        **_cards(cards),
        tables=tables(cells),
        detectors=[describe(cell) for cell in cells],
        several_recipes=len({cell.recipe for cell in cells}) > 1,
        suspects=suspects(matrix),
        boxes=[keep_whole(line) for line in boxes(cells)],
        misses=misses(cards, matrix),
    )


def template(name: str) -> Any:
    """A template of this package, which escapes whatever comes from data."""
    import jinja2

    folder = files("flyroom.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


# ---------------------------------------------------------------- views


def _cards(cards: Sequence[Card]) -> dict[str, Any]:
    return {
        "bottles": card_views.bottles(cards),
        "more_bottles": max(0, len(cards) - card_views.BOTTLES),
        "recipes": card_views.tables(cards),
        "transcripts": card_views.transcripts(card_views.sample(cards)),
        "transcripts_of": len({(c.recipe_id, t.measure, t.messages) for c in cards for t in c.transcripts}),
        "per_measure": card_views.TRANSCRIPTS,
    }


def _figures(
    cards: Sequence[Card],
    matrix: Matrix | None,
    calibrated: Sequence[plots.Calibrated],
    transfers: Sequence[plots.Transferred],
) -> list[dict[str, Any]]:
    """All but the matrix, which the page has as a table."""
    charts = plots.figures(cards, matrix, calibrated=calibrated, transfers=transfers)
    charts.pop("matrix", None)
    return [_figure(number, name, chart, cards) for number, (name, chart) in enumerate(charts.items(), 1)]


def _figure(number: int, name: str, chart: Any, cards: Sequence[Card]) -> dict[str, Any]:
    kind, _, recipe = name.partition(": ")
    heading, caption = CAPTIONS[kind]
    missing = f" {_reasons(cards)}" if kind == "measures" and reasons_of(cards) else ""
    return {
        "number": number,
        "kind": kind,
        "heading": f"{heading}: {clean(recipe)}" if recipe else heading,
        "caption": keep_whole(caption + missing),
        "svg": (drawing := inline(plots.svg(chart), label=f"{heading}. {caption}", prefix=f"f{number}-")),
        "part": _part_of_column(drawing),
    }


def _part_of_column(drawing: str) -> int:
    """How many hundredths of its column a picture takes, so that text has one size in all of them."""
    width = re.search(r'viewBox="0 0 (\d+)', drawing)
    return min(100, round(100 * int(width[1]) / plots.WIDTH)) if width else 100


def _reasons(cards: Sequence[Card]) -> str:
    labels = labels_of(cards)
    lines = [f"{lower(labels[name])}, because {why}" for name, why in reasons_of(cards).items()]
    return f"Not measured: {join(lines)}."


def inline(drawing: str, *, label: str, prefix: str) -> str:
    """An SVG document as an element of a page: its ids its own, and one label for the whole picture."""
    drawing = re.sub(r'\s(?:role|aria-[a-z]+)="[^"]*"', "", drawing)
    drawing = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*" height="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'\sxmlns(?::xlink)?="[^"]*"', "", drawing)
    for reference in ('id="', "url(#", 'href="#'):
        drawing = re.sub(rf"(?<![\w-]){re.escape(reference)}", f"{reference}{prefix}", drawing)
    return drawing.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
