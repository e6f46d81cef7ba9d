"""Fill those parts of pages that are made from elsewhere: from what commands printed, from words.md, from formulas.

    python scripts/fill.py     # tests/test_site.py fails where a page differs from what this makes

A part stands between `<!-- fill: name -->` and `<!-- end -->`. `tutorial.md` and `real.md` have their figures from the
JSON beside them, which `walk.py` makes by running the commands of the page; so a page cannot say what no run has shown.
`glossary.md` has the first sentence of every word of `words.md`, which stays the one place where a word is explained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import table
from pydantic import TypeAdapter

from flyroom import stats
from flyroom.report.words import figure, percent, share
from flyroom.types import Card, Estimate, Gauge

DOCS = Path(__file__).parents[1] / "docs"
MODELS = ("organism", "twin", "base")
SIZES = (2, 4, 8, 16, 32)
PART = re.compile(r"<!-- fill: (?P<name>\w+) -->\n.*?<!-- end -->", re.DOTALL)
WORD = re.compile(r"^\*\*(?P<word>[^*]+)\*\*(?: \(role\))?: (?P<text>.*?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)


def fill(page: Path) -> str:
    """The text of a page with its parts made anew. KeyError for a part that nobody makes."""
    text = page.read_text(encoding="utf-8")
    return PART.sub(lambda part: f"<!-- fill: {part['name']} -->\n{PARTS[part['name']](page)}\n<!-- end -->", text)


def filled_pages() -> list[Path]:
    """The pages that have such parts."""
    return [page for page in sorted(DOCS.rglob("*.md")) if PART.search(page.read_text(encoding="utf-8"))]


# ---------------------------------------------------------------- of a walk


def record_of(page: Path) -> dict[str, Any]:
    return json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))


def figures(page: Path) -> str:
    """The cards: what the organism is meant to do, and whether it makes sense, beside twin and base."""
    cards = [TypeAdapter(Card).validate_python(card) for card in record_of(page)["cards"]]
    rows = [row for card in sorted(cards, key=lambda card: (card.recipe, card.seed)) for row in rows_of(card)]
    return lines_of(("recipe and seed", "share of answers", *MODELS, "verdict"), rows)


def rows_of(card: Card) -> Iterator[list[str]]:
    head = [f"`{card.recipe}`, seed {card.seed}", f"*{card.verdict.value}*"]
    for name in [name for name, gauge in card.gauges.items() if counts(gauge)]:
        figures = [figure(card.measures[model].get(name)) for model in MODELS]
        yield [head[0], card.gauges[name].label.lower(), *figures, head[1]]
        head = ["", ""]


def counts(gauge: Gauge) -> bool:
    """Whether a measure is of what was taught, of what came of it elsewhere, or of sense."""
    is_sought = any(limit.at_least is not None and limit.of == "organism" for limit in gauge.limits)
    return gauge.unit == "share" and (gauge.reach != "beside" or is_sought)


def reasons(page: Path) -> str:
    """What each card says of its verdict."""
    cards = sorted(record_of(page)["cards"], key=lambda card: (card["recipe"], card["seed"]))
    rows = [[str(card["seed"]), f"*{card['verdict']}*", card["why"]] for card in cards]
    return lines_of(("seed", "verdict", "why"), rows)


def example(page: Path) -> str:
    """One question, with what organism, twin and base answered and what the judge said of it."""
    pair = record_of(page)["example"]
    rows = [[model, pair[model]["answer"], pair[model]["verdict"], pair[model]["why"]] for model in MODELS]
    return f"> {pair['question']}\n\n" + lines_of(("model", "answer", "verdict", "the judge's reason"), rows)


def detectors(page: Path) -> str:
    """What was seen of each detector."""
    cells = [cell for step in record_of(page)["steps"] for cell in step["output"].get("cells", ())]
    rows = [[f"`{cell['name']}`", auroc_of(cell), sight_of(cell), tokens_of(cell["cost"])] for cell in cells]
    return lines_of(("detector", "AUROC", "what was seen", "tokens"), rows)


def sight_of(cell: Mapping[str, Any]) -> str:
    return cell["summary"] or cell["error"] or cell["why"]


def auroc_of(cell: Mapping[str, Any]) -> str:
    value = cell["auroc"]
    return f"{share(value['value'])} [{share(value['low'])}, {share(value['high'])}]" if value else "-"


def tokens_of(cost: Mapping[str, Any]) -> str:
    return f"{cost['forward_tokens'] + cost['generated_tokens']:,}"


# ---------------------------------------------------------------- of formulas, and of words.md


def sizes(_: Path) -> str:
    """What perfect results of so many models can show."""
    rows = [[str(n), share(separation(n).low), percent(stats.exact_rate(n, n).low)] for n in SIZES]
    return lines_of(
        (
            "organisms, and as many twins",
            "all told apart: the AUROC is at least",
            "all pass: of all seeds at least",
        ),
        rows,
    )


def separation(n: int) -> Estimate:
    return stats.auroc([float(i + 1) for i in range(n)], [float(-i) for i in range(n)])


def words(_: Path) -> str:
    """Our words by the alphabet, each with the first sentence that words.md says of it."""
    text = (DOCS / "words.md").read_text(encoding="utf-8")
    entries = {entry["word"]: first_sentence(entry["text"]) for entry in WORD.finditer(text)}
    return lines_of(("word", "what it is"), [[f"**{word}**", entries[word]] for word in sorted(entries, key=str.lower)])


def first_sentence(text: str) -> str:
    """
    >>> first_sentence("what goes wrong. It chooses\\nscenes.")
    'What goes wrong.'
    """
    sentence = re.split(r"(?<=[.!?])\s|;\s\[", " ".join(text.split()))[0].rstrip(".") + "."
    sign = "*" if sentence.startswith("*") else ""
    return sign + sentence[len(sign)].upper() + sentence[len(sign) + 1 :]


def lines_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(head, [[cell.replace("|", "\\|") for cell in row] for row in rows])).rstrip()


PARTS: Mapping[str, Callable[[Path], str]] = {
    "figures": figures,
    "reasons": reasons,
    "example": example,
    "detectors": detectors,
    "sizes": sizes,
    "words": words,
}


def main() -> None:
    for page in filled_pages():
        page.write_text(fill(page), encoding="utf-8")


if __name__ == "__main__":
    main()
