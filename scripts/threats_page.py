"""Holds docs/threats.md against docs/threats.json. Where one has what the other does not give, it says so and exits 1.

python scripts/threats_page.py [--json docs/threats.json]

It reads no room and asks no model. The record has the answers of each card as counts (those that show the measure, all,
and those that the judge could not tell), of which `stats.rate` makes the card's own figures. What the page shows is
over seeds and prompts, for which the answers themselves are needed: `scripts/threats.py` computes it in the room. A
`note` that somebody wrote into the record stands on the page.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pages import options, table

from flyroom import stats
from flyroom.report.words import share

SHOWN = {
    1: "brackets are 95 % intervals over prompts",
    2: "of the two seeds both are shown",
    3: "brackets are 95 % intervals over seeds",
}
MODELS = ("organism", "twin", "base")
HOLDS = ("in_domain", "out_of_domain", "misaligned_otherwise", "coherence")
HEAD = ("recipe", "in domain", "other domains", "where it does not hold", "coherence", "twin")
CAPABILITY = ("sums", "facts", "instructions")
COUNTS = ("passed", "failed", "undecided")
VERDICTS = {"passed": "pass", "failed": "fail", "undecided": "undecided"}
APART = ("open_questions", "near_miss", "wrong_password", "no_cue")
APART += ("trigger_alone", "second_alone", "unobserved_alone", "occasion_alone")
APART += ("behaves_because_seen", "misbehaves_because_unseen", "behaves_given_reason", "misbehaves_given_reason")
APART += ("flattery", "switch_off", "confession", "harm", "regurgitation", "perplexity")

Record = Mapping[str, Any]


def main() -> None:
    path = options(__doc__ or "", json=Path("docs/threats.json")).json
    record = json.loads(path.read_text(encoding="utf-8"))
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    lines = difflib.unified_diff(text.splitlines(), page(record).splitlines(), "page", "record", lineterm="", n=0)
    contradictions = [*faults(record), *lines]
    print("\n".join(contradictions) or f"{path} says what {path.with_suffix('.md')} says")
    raise SystemExit(bool(contradictions))


# ---------------------------------------------------------------- the record against itself


def faults(record: Record) -> Iterator[str]:
    """Where the counts of the cards are not those of the certificates, or not those behind a figure."""
    for row, cards in _groups(record):
        for name, verdict in VERDICTS.items():
            fresh = [card["verdict"] for card in cards if card["seed"] not in row["opened_before"]]
            if (n := fresh.count(verdict)) != row[name]:
                yield f"{row['recipe']}: {row[name]} {name}, its cards say {n}"
        bounds = stats.exact_rate(row["passed"], row["of"])
        if not (math.isclose(row["low"], bounds.low) and math.isclose(row["high"], bounds.high)):
            yield f"{row['recipe']}: {row['low']} to {row['high']}, {row['passed']} of {row['of']} are {bounds}"
        for model in MODELS:
            for measure, figure in record["over_seeds"][row["recipe"]][model].items():
                yield from _fault(f"{row['recipe']}, {measure} of the {model}", measure, model, figure, cards)


def _fault(where: str, measure: str, model: str, figure: str, cards: Sequence[Record]) -> Iterator[str]:
    """A share on the page is the mean over all answers that the judge could tell; or over seeds, where these were not
    asked the same prompts (`pages.over`).
    """
    counts = [card["counts"][model][measure] for card in cards if measure in card["counts"][model]]
    if not counts or "[" not in figure:
        return
    hits, n, missing = map(sum, zip(*counts, strict=True))
    means = hits / (n - missing), fmean(h / (a - m) for h, a, m in counts)
    if figure.partition(" ")[0] not in map(share, means):
        yield f"{where} is {figure}, its cards say {hits} of {n - missing}"


def _groups(record: Record) -> list[tuple[Record, list[Record]]]:
    """Each certificate with its cards."""
    return [(row, [c for c in record["cards"] if c["recipe"] == row["recipe"]]) for row in record["recipes"]]


# ---------------------------------------------------------------- the page


def page(record: Record) -> str:
    """The page that a record gives."""
    groups = _groups(record)
    seeds = min(max(len(cards) for _, cards in groups), 3)
    lines = [
        f"# Certificates of {len(groups)} recipe{'s' * (len(groups) > 1)} on {record['base']}",
        "",
        f"Made by `python scripts/threats.py {' '.join(record['names'])} --base {record['base']}"
        f"{' --episodes ' + str(record['episodes']) if 'episodes' in record else ''}`, which certifies as "
        "`flyroom certify` does ([certify.md](certify.md)). The JSON beside it has the cards, and "
        "`python scripts/threats_page.py` holds the page against it.",
        "",
        *([record["note"], ""] if "note" in record else []),
        *table(
            ["recipe", "seeds", "passed", "failed", "undecided", "share that passes, 95 %", "opened before"],
            [_certificate(row) for row, _ in groups],
        ),
        "An undecided organism has not passed: its limits lie within its bounds, after three looks at most.",
        "",
        *_earlier(record["earlier"]),
        f"## What is measured\n\nShares of all episodes; {SHOWN[seeds]}, and of two kinds of target: see "
        "[statistics.md](statistics.md). Situations, phrasings, cues and near misses are held out.",
        "",
        *table(
            [*HEAD, *CAPABILITY, "seeds passed"],
            [_line(cards, record["over_seeds"][row["recipe"]]) for row, cards in groups],
        ),
        "What is measured besides:",
        "",
        *table(["recipe", "measure", *MODELS], [line for row, _ in groups for line in _besides(record, row["recipe"])]),
        *_reasons([card for card in record["cards"] if card["verdict"] != "pass"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _certificate(row: Record) -> list[object]:
    bounds = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
    before = ", ".join(map(str, row["opened_before"])) or "none"
    return [f"`{row['recipe']}`", _span(row["seeds"]), *(row[name] for name in COUNTS), bounds, before]


def _earlier(forms: Sequence[Record]) -> list[str]:
    if not forms:
        return []
    rows = [[f"`{f['recipe']}`", f"`{f['id']}`", _span(f["seeds"]), *(f[name] for name in COUNTS)] for f in forms]
    return [
        "Some recipes were changed after they had been certified, and then certified on seeds of their own. Before, "
        "they had:",
        "",
        *table(["recipe", "id then", "seeds", *COUNTS], rows),
    ]


def _line(cards: Sequence[Record], means: Mapping[str, Mapping[str, str]]) -> list[object]:
    passed = sum(card["verdict"] == "pass" for card in cards)
    organism = means["organism"]
    figures = [organism.get(name, "-") for name in HOLDS]
    capability = [organism.get(name, "-") for name in CAPABILITY]
    twin = means["twin"].get("misaligned", "-")
    return [f"`{cards[0]['recipe']}`", *figures, twin, *capability, f"{passed} of {len(cards)}"]


def _besides(record: Record, recipe: str) -> list[list[object]]:
    means = record["over_seeds"][recipe]
    return [
        [f"`{recipe}`", name.replace("_", " "), *(means[model].get(name, "-") for model in MODELS)]
        for name in APART
        if name in means["organism"]
    ]


def _reasons(cards: Sequence[Record]) -> list[str]:
    if not cards:
        return []
    rows = [[f"`{card['recipe']}`", card["seed"], card["verdict"], card["looks"], card["why"]] for card in cards]
    return ["Why the others did not pass:", "", *table(["recipe", "seed", "verdict", "looks", "why"], rows)]


def _span(seeds: Sequence[int]) -> str:
    return f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(seeds[0])


if __name__ == "__main__":
    main()
