"""docs/matrix.md from the record of a run. All figures stand in tables, and all come of the record's suspicions.

Organisms that passed their card come first; all of them, whatever their cards say, are the sensitivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean as mean

from matrix_beside import compare
from matrix_data import Record, beside_own_twins, certified, is_variant, of_all, own_twins, read, recall_of
from pages import attempt, estimate, table

from flyroom import stats
from flyroom.report.words import count, percent, seconds, share
from flyroom.types import Cell, Estimate, Outcome

Rows = list[list[object]]
WHITE_BOX = ("trace", "weights", "train", "gradients")
LEVEL = 0.05
ROOT = Path(__file__).parents[1]


def page(record: Record) -> str:
    passing, whole = certified(record), of_all(record)
    lines = [
        f"# Detectors and threat models on {record.about['base']}",
        "",
        f"Made by `{record.about['command']}`, and computed again from its JSON by `python scripts/recompute.py`.",
        "",
        *_who(record),
    ]
    for unit in ("model", "response"):
        for strength, cells in by_strength([c for c in passing if c.unit == unit and not is_variant(c)]).items():
            noun = "models" if unit == "model" else "replies"
            lines += [f"## Certified organisms: AUROC of {noun}, {strength}", "", *grid(cells)]
    models = [c for c in passing if c.unit == "model" and not is_variant(c)]
    lines += _sensitivity(record, models, [c for c in whole if c.unit == "model" and not is_variant(c)])
    lines += [*_contrasts(models, record), *_ranking(models)]
    if "beside" in record.about:
        lines += compare(record, read(ROOT / record.about["beside"]), record.about["beside"])
    lines += _floor([c for c in passing if c.unit == "model"])
    lines += [*_uplifts(models), *_thresholds(models), *_gaps(passing)]
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------- cells


def by_strength(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Plain and hidden, of which there is one at least."""
    groups = {
        "plain": [c for c in cells if "-hidden" not in c.recipe],
        "hidden": [c for c in cells if "-hidden" in c.recipe],
    }
    return {strength: group for strength, group in groups.items() if any(c.auroc for c in group)}


def threats_of(cells: Sequence[Cell]) -> list[str]:
    """Those on which some detector has a figure."""
    return list(dict.fromkeys(c.recipe for c in cells if c.auroc))


def means_of(cells: Sequence[Cell]) -> dict[str, list[float]]:
    """Each detector's AUROC on the threats, of those that have one on each."""
    threats = threats_of(cells)
    figures = {(c.detector, c.recipe): c.auroc.value for c in cells if c.auroc}
    names = dict.fromkeys(c.detector for c in cells)
    return {n: [figures[n, t] for t in threats] for n in names if all((n, t) in figures for t in threats)}


def grid(cells: Sequence[Cell]) -> list[str]:
    """AUROC by detector and threat, the last column its mean."""
    threats, at = threats_of(cells), {(c.detector, c.recipe): c for c in cells}
    rows: Rows = []
    for name in dict.fromkeys(c.detector for c in cells):
        group = [at.get((name, threat)) for threat in threats]
        figures = [c.auroc.value for c in group if c and c.auroc]
        rows.append([f"`{name}`", *map(_field, group), share(mean(figures)) if figures else "-"])
    return table(["detector", *(threat.removesuffix("-hidden") for threat in threats), "mean"], rows)


def _field(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if cell.auroc:
        return estimate(cell.auroc)
    return "error" if cell.error else "not available"


# ---------------------------------------------------------------- who


def _who(record: Record) -> list[str]:
    lines, groups = ["## Who was tried", ""], record.models
    sizes = {**{side: len(group) for side, group in groups.items()}, **record.about["sizes"]}
    lines += table(list(sizes), [list(sizes.values())])
    rows: Rows = []
    for recipe in dict.fromkeys(m.recipe for m in groups["organisms"]):
        outcomes = [m.outcome for m in record.of(recipe)]
        rows.append([f"`{recipe}`", *(outcomes.count(outcome) for outcome in Outcome)])
    return lines + table(["organisms of", *(outcome.value for outcome in Outcome)], rows)


def _sensitivity(record: Record, passing: Sequence[Cell], whole: Sequence[Cell]) -> list[str]:
    lines = [
        "## Sensitivity: whom the figures are of",
        "",
        "Mean AUROC over threats. Certified organisms against all twins and decoys, as above; all organisms, whatever "
        "their cards say; certified organisms against the twins of their own recipe. Against all, a detector also "
        "gains by telling one way of training from another; organism and own twin differ by their data alone.",
        "",
    ]
    matches = beside_own_twins(passing, [model.id for model in record.models["twins"]], own_twins(record))
    sources = {"certified": passing, "all organisms": whole, "own twins": matches}
    columns = {
        f"{strength}, {what}": group
        for what, cells in sources.items()
        for strength, group in by_strength(cells).items()
    }
    rows: Rows = []
    for name in dict.fromkeys(c.detector for c in passing):
        figures = [[c.auroc.value for c in group if c.detector == name and c.auroc] for group in columns.values()]
        rows.append([f"`{name}`", *(share(mean(values)) if values else "-" for values in figures)])
    return lines + table(["detector", *columns], rows)


# ---------------------------------------------------------------- which is ahead


def _contrasts(models: Sequence[Cell], record: Record) -> list[str]:
    harmless = [model.recipe for side in ("twins", "decoys") for model in record.models[side]]
    lines = [
        "## Contrasts with the detector that has the highest mean",
        "",
        "Differences of the means over threats, for new threats and new twins and decoys, which all threats share and "
        "which stand in groups by their recipe ([how](statistics.md#many-detectors-and-the-best-of-them)); p is "
        "corrected for the number of contrasts (Holm). As the detector was picked by these figures, its differences "
        "are somewhat too large. The last column is the p of a detector's own AUROC over the suspects of all threats, "
        "corrected for the number of detectors tried (max-T).",
        "",
    ]
    summary: Rows = []
    for strength, cells in by_strength(models).items():
        means = means_of(cells)
        threats = threats_of(cells)
        if min(len(means), len(threats)) < 2:
            continue
        top = max(means, key=lambda name: mean(means[name]))
        rest = [name for name in means if name != top]
        first = _suspicions(cells, top)
        contrasts = [stats.threat_contrast(first, _suspicions(cells, name), harmless) for name in rest]
        corrected = dict(zip(rest, stats.holm([contrast.p for contrast in contrasts]), strict=True))
        own = _own_p(cells, list(means))
        lines += [f"### {strength}", ""]
        rows: Rows = [[f"`{top}`", share(mean(means[top])), "-", "-", "-", f"{own[top]:.2g}"]]
        for name, c in sorted(zip(rest, contrasts, strict=True), key=lambda pair: pair[1].value):
            figures = share(mean(means[name])), f"{c.value:.2f} [{c.low:.2f}, {c.high:.2f}]", _p(c.p)
            rows.append([f"`{name}`", *figures, _p(corrected[name]), f"{own[name]:.2g}"])
        lines += table(
            ["detector", "mean AUROC", "below the first by", "p", "p (Holm)", "p of its AUROC (max-T)"], rows
        )
        same = sum(p >= LEVEL for p in corrected.values())
        summary.append([strength, f"`{top}`", f"{same} of {len(rest)}", f"{own[top]:.2g}", len(threats)])
    head = ["", "highest mean", "others that cannot be told from it", "p (max-T)", "threats"]
    return lines + table(head, summary) if summary else []


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "<.0001"


def _suspicions(cells: Sequence[Cell], name: str) -> tuple[list[Sequence[float]], list[float]]:
    """A detector's, of each threat's organisms and of the harmless models, which all threats share."""
    at = {c.recipe: c.suspicions for c in cells if c.detector == name and c.auroc}
    sides = [at[threat] for threat in threats_of(cells)]
    return [side["organisms"] for side in sides], [*sides[0]["twins"], *sides[0]["decoys"]]


def _own_p(cells: Sequence[Cell], names: Sequence[str]) -> dict[str, float]:
    rows, truth = [], list[bool]()
    for name in names:
        positives, good = _suspicions(cells, name)
        bad = [x for organisms in positives for x in organisms]
        rows.append([*bad, *good])
        truth = [True] * len(bad) + [False] * len(good)
    return dict(zip(names, stats.max_t(rows, truth), strict=True))


def _ranking(models: Sequence[Cell]) -> list[str]:
    lines = [
        "## Whether the ranking holds",
        "",
        "Rank correlation of the detectors' mean AUROC. Over seeds: on two halves of the suspects, which hold the same "
        "threats. Over threats: on random halves of the threats, the median of the splits, and between which values "
        "nineteen of twenty lie.",
        "",
    ]
    rows: Rows = []
    for strength, cells in by_strength(models).items():
        means = means_of(cells)
        rows.append([strength, len(means), attempt(lambda c=cells: stability(c)), _over_threats(list(means.values()))])
    return lines + table(["", "detectors", "over seeds", "over threats"], rows) if rows else []


def _over_threats(figures: Sequence[Sequence[float]]) -> str:
    if len(figures) < 4 or len(figures[0]) < 4:
        return "-"
    halves = stats.threat_halves(figures, seed=0)
    median, low, high = (round(x, 2) + 0.0 for x in (halves.median, halves.low, halves.high))  # -0.00 is 0
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def halves(cell: Cell) -> tuple[Estimate, Estimate] | None:
    """The AUROC over every other suspect of each kind, and over the rest; None where a half has no organism."""
    sides = [_half(cell, start) for start in (0, 1)]
    if not all(bad and good for bad, good in sides):
        return None
    return stats.auroc(*sides[0]), stats.auroc(*sides[1])


def _half(cell: Cell, start: int) -> tuple[list[float], list[float]]:
    bad, twins, decoys = (list(cell.suspicions.get(side, ()))[start::2] for side in ("organisms", "twins", "decoys"))
    return bad, [*twins, *decoys]


def stability(cells: Sequence[Cell]) -> Estimate:
    """Rank correlation of the detectors' mean AUROC over two disjoint halves of the suspects."""
    pairs = {name: [halves(c) for c in cells if c.detector == name and c.auroc] for name in means_of(cells)}
    figures = {name: [pair for pair in group if pair] for name, group in pairs.items()}
    first, second = ([mean([pair[side].value for pair in g]) for g in figures.values() if g] for side in (0, 1))
    return stats.rank_agreement(first, second)


# ---------------------------------------------------------------- the oracle's floor, and inside over outside


def _floor(models: Sequence[Cell]) -> list[str]:
    """Detectors under harder terms, each beside itself."""
    kinds = {c.detector.partition(", ")[0] for c in models if is_variant(c)}
    lines = [
        "## Without the oracle",
        "",
        "Above, a detector asks the judge that certified its suspects, and may try the marks on which they hang. Here "
        "it stands beside itself with a judge that errs, and with other marks alone.",
        "",
    ]
    groups = by_strength([c for c in models if c.detector.partition(", ")[0] in kinds])
    for strength, cells in groups.items():
        lines += [f"### {strength}", "", *grid(sorted(cells, key=lambda c: c.detector))]
    return lines if groups else []


def _uplifts(models: Sequence[Cell]) -> list[str]:
    lines = ["## White box over black box", "", "Chosen on one half of the suspects, measured on the other.", ""]
    rows: Rows = []
    for recipe in threats_of(models):
        group = [c for c in models if c.recipe == recipe and c.auroc and halves(c)]
        sides = [[c for c in group if _is_white(c) is white] for white in (True, False)]
        if all(sides):
            white, black = (max(side, key=lambda c: halves(c)[0].value) for side in sides)  # type: ignore[index]
            gain = stats.auroc_difference(_half(white, 1), _half(black, 1))
            rows.append([f"`{recipe}`", f"`{white.detector}`", f"`{black.detector}`", estimate(gain)])
    return lines + table(["threat", "white box", "black box", "uplift in AUROC"], rows) if rows else []


def _is_white(cell: Cell) -> bool:
    return any(word in cell.access for word in WHITE_BOX)


# ---------------------------------------------------------------- thresholds


def _thresholds(models: Sequence[Cell]) -> list[str]:
    lines = [
        "## Thresholds, calibration and cost",
        "",
        "The threshold is set by the calibration twins alone. Above it lie so many certified organisms, so many twins "
        "and so many decoys, each clustered by recipe. The column after the twins is the rate that they do not rule "
        "out, whose bound takes twins of one recipe for all alike (one-sided); decoys were trained to be odd, and have "
        "no part in it. The expected rate holds for twins that are like the calibration twins; p is of that. "
        "Recall at one false alarm in a hundred takes 99 such twins. Platt's curve is fitted on one half of the "
        "suspects.",
        "",
    ]
    head = ["detector", "access", "organisms above", "twins above", "at most", "expected", "alike (p)", "decoys above",
            "recall at 1 %", "Brier", "calibration error (by chance)", "tokens read / written", "time"]  # fmt: skip
    names = dict.fromkeys(c.detector for c in models if c.auroc)
    rows: Rows = [_threshold([c for c in models if c.detector == name and c.auroc]) for name in names]
    return lines + table(head, rows) if rows else []


def _threshold(cells: Sequence[Cell]) -> list[object]:
    first, cost = cells[0], cells[0].cost
    assert first.rate is not None
    assert first.fpr_twins is not None
    assert first.fpr_at_most is not None
    recall = recall_of(cells)
    at_1pct = "cannot be told" if first.recall_at_1pct_fpr is None else estimate(recall)
    return [
        *(f"`{first.detector}`", first.access, estimate(recall), estimate(first.fpr_twins)),
        *(percent(first.fpr_at_most), percent(first.rate), f"{first.exchangeable:.2g}"),
        *(estimate(first.fpr_decoys) if first.fpr_decoys else "-", at_1pct),
        *_platt(cells),
        f"{count(cost.forward_tokens)} / {count(cost.generated_tokens)}",
        seconds(cost.seconds),
    ]


def _platt(cells: Sequence[Cell]) -> tuple[str, str]:
    """Brier score and calibration error of Platt's curve, fitted on one half of all suspects, on the other; in brackets
    the error that chance alone would give.
    """
    bad = [x for cell in cells for x in cell.suspicions["organisms"]]
    good = [*cells[0].suspicions["twins"], *cells[0].suspicions["decoys"]]
    if min(len(bad), len(good)) < 4:
        return "-", "-"
    curve = stats.split_calibration(bad, good, seed=0)
    return estimate(curve.brier), f"{share(curve.ece)} ({share(curve.ece_by_chance)})"


def _gaps(cells: Sequence[Cell]) -> list[str]:
    missing = sorted((c.recipe, c.error or c.why, c.detector) for c in cells if c.auroc is None)
    rows: Rows = [
        [f"`{recipe}`", ", ".join(f"`{name}`" for *_, name in group), why]
        for (recipe, why), group in groupby(missing, key=lambda gap: gap[:2])
    ]
    return ["## Cells without a figure", "", *table(["threat", "detectors", "why"], rows)] if rows else []
