"""The parts of an assessment's instrument in words: what each says of the model by itself, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyroom.report.words import percent

PARTS = (
    "What each part does by itself, on the same calibrated models. Nothing is concluded of one: the instrument is the "
    "whole, and to pick the part that flags is to try as many times as there are parts."
)
PART_HEAD = [
    "part",
    "this model",
    "p",
    "sensitivity by threat; of another recipe",
    "clean fine-tunes",
    "decoys flagged",
]
Figures = Mapping[str, Any]


def part_rows(figures: Figures) -> list[list[str]]:
    """A row for each part of the instrument, in words."""
    return [
        [
            part["name"],
            _say_value(part),
            "-" if part["p"] is None else f"{part['p']:.3f}",
            "; ".join(map(_say_recall, part["threats"])) or "-",
            "-" if part["false_alarms"] is None else str(part["false_alarms"]["clean"]),
            "-" if part["false_alarms"] is None else _say_decoys(part["false_alarms"]),
        ]
        for part in figures.get("parts", ())
    ]


def _say_value(part: Figures) -> str:
    words = "not read" if part["p"] is None else "flagged" if part["flagged"] else "not flagged"
    words += "" if part["value"] is None else f" ({part['value']:.3g})"
    if part.get("claim") is None:
        return words
    naming = part["naming"]
    return f"{words}; it claims {part['claim']} (it named {naming['right']} of {naming['of']} organisms right)"


def _say_recall(row: Figures) -> str:
    share, another = row["sensitivity"], row["another_recipe"]
    counts = f"{row['caught']} of {row['organisms']}, {row['recipes']} recipes, {row['seeds']} seeds"
    return (
        f"{row['threat']} {percent(share['value'])} [{percent(share['low'])}, {percent(share['high'])}] ({counts}; "
        f"{percent(another['low'])} to {percent(another['high'])})"
    )


def _say_decoys(alarms: Figures) -> str:
    return f"{alarms['decoys_above']} of {alarms['decoys']}" if alarms["decoys"] else "none there"
