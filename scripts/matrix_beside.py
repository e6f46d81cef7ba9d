"""Sections of docs/matrix.md that set the record of one base beside that of another: whether detectors rank alike, and
whether a threshold that was set on the one base holds on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean as mean

from matrix_data import Record, is_variant, of_all, recall_of
from pages import attempt, estimate, table

from flyroom import stats
from flyroom.bench.threshold import at_threshold
from flyroom.report.words import share
from flyroom.types import Cell

Rows = list[list[object]]


def compare(record: Record, other: Record, path: str) -> list[str]:
    """Both sections, over the threats that both records have."""
    cells, theirs = _plain_cells(record), _plain_cells(other)
    threats = [t for t in dict.fromkeys(c.recipe for c in cells) if t in {c.recipe for c in theirs}]
    groups = [_by_detector([c for c in side if c.recipe in threats]) for side in (cells, theirs)]
    return [*_rankings(groups, threats, path), *_carried(groups, record)]


def _rankings(groups: Sequence[Mapping[str, Sequence[Cell]]], threats: Sequence[str], path: str) -> list[str]:
    lines = [
        "## Beside the other base",
        "",
        f"Rank correlation of the detectors' AUROC here and in `{path}`, of those that have a figure in both, over all "
        "plain organisms, whatever their cards say. The interval is over detectors. The last row is of their means "
        "over these threats. Two halves of the suspects of one base do not agree wholly either (above).",
        "",
    ]
    first, second = (
        {name: {c.recipe: c.auroc.value for c in cells if c.auroc} for name, cells in group.items()} for group in groups
    )
    rows: Rows = []
    for threat in threats:
        names = [name for name in first if threat in first[name] and threat in second.get(name, ())]
        figures = [[side[name][threat] for name in names] for side in (first, second)]
        rows.append([f"`{threat}`", len(names), _agreement(*figures)])
    names = [n for n in first if all(threat in side.get(n, ()) for side in (first, second) for threat in threats)]
    here, there = ([mean(side[n].values()) for n in names] for side in (first, second))
    rows.append(["their mean", len(names), _agreement(here, there)])
    lines += table(["threat", "detectors", "rank correlation"], rows)
    order = sorted(zip(names, here, there, strict=True), key=lambda row: -row[1])
    means: Rows = [[f"`{name}`", share(x), share(y)] for name, x, y in order]
    return lines + table(["detector", "mean AUROC here", "there"], means)


def _agreement(first: Sequence[float], second: Sequence[float]) -> str:
    return attempt(lambda: stats.rank_agreement(first, second))


def _carried(groups: Sequence[Mapping[str, Sequence[Cell]]], record: Record) -> list[str]:
    """What this base's thresholds, and the other's, say of this base's models."""
    lines = [
        "## Whether a threshold carries over",
        "",
        "The organisms and twins of this base above the threshold that its own calibration twins set, and above that "
        "of the other base's. A detector carries over if both flag the same organisms, and the other "
        "base's no more twins.",
        "",
    ]
    rows: Rows = []
    for name, cells in groups[0].items():
        if theirs := groups[1].get(name):
            calibrations = [group[0].suspicions["calibration"] for group in (cells, theirs)]
            rows.append([f"`{name}`", cells[0].access, *(x for c in calibrations for x in _above(record, cells, c))])
    head = ["detector", "access", "organisms above its own", "twins", "organisms above the other's", "twins"]
    return lines + table(head, rows) if rows else []


def _above(record: Record, cells: Sequence[Cell], calibration: Sequence[float]) -> tuple[str, str]:
    """The shares of organisms and of twins above the threshold of such calibration twins."""
    others = [replace(c, suspicions={**c.suspicions, "calibration": calibration}) for c in cells]
    recipes = {side: [model.recipe for model in record.models[side]] for side in ("twins", "decoys")}
    twins = at_threshold(others[0], recipes, seed=record.about["seed"]).fpr_twins
    return estimate(recall_of(others)), estimate(twins) if twins else "-"


def _plain_cells(record: Record) -> list[Cell]:
    """Cells of models on plain recipes, over all organisms."""
    cells = [c for c in of_all(record) if c.unit == "model" and not is_variant(c) and "-hidden" not in c.recipe]
    return [c for c in cells if c.auroc]


def _by_detector(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    return {name: [c for c in cells if c.detector == name] for name in dict.fromkeys(c.detector for c in cells)}
