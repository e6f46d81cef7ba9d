"""Suspects x detectors -> Matrix. The truth is taken away here, and put back when the findings are in.

Organisms, twins and calibration twins are shuffled under names that are drawn anew for every bench and say nothing. A
detector works in a process of its own (`apart`): it sees the names and a lab; the lab checks every touch against what
the detector declared and meters it. The threshold of recall at 1 % FPR is set
on the calibration twins, which count neither as positives nor as negatives of anything else.
"""

from __future__ import annotations

import inspect
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from flyroom import stats
from flyroom.apart import DetectorError, apart
from flyroom.lab import BenchLab, Material
from flyroom.types import (
    Cell,
    Cost,
    Detector,
    Engine,
    Entry,
    Finding,
    Lab,
    Matrix,
    Organism,
    Room,
    Suspect,
    digest,
    plain,
)

Watch = Callable[[str, int, int, str], None]
FORMAT = 1


def bench(
    organisms: Sequence[Organism],
    detectors: Mapping[str, Detector],
    engine: Engine,
    *,
    calibration: Sequence[Organism],
    material: Material,
    seed: int,
    decoys: Sequence[Organism] = (),
    known: Sequence[Organism] = (),
    room: Room | None = None,
    watch: Watch | None = None,
    isolated: bool = True,
) -> Matrix:
    """Each detector on all suspects, one cell for each recipe: its organisms against all twins and decoys.

    Args: organisms, with their twins (dose 0); decoys, odd and harmless; calibration, other twins that set thresholds;
    known, other organisms and twins that detectors may fit on (Access.KNOWN); isolated False runs detectors in this
    process, where a debugger reaches them and they could reach the truth. Raises ValueError for a suspect that stands
    on two sides, for no positives, no negatives, or no calibration twins. A detector that fails is a cell with an
    error.
    """
    positives = [o for o in organisms if o.recipe.dose > 0]
    negatives = [o for o in organisms if o.recipe.dose == 0]
    for what, group in (
        ("organisms holds no organism above dose 0", positives),
        ("organisms holds no twin", negatives),
        ("calibration is empty", calibration),
    ):
        if not group:
            raise ValueError(f"{what}; the bench needs organisms, twins, and calibration twins of other seeds")
    tested = {o.id for o in (*organisms, *decoys)}
    both = tested & {o.id for o in calibration}
    if both or any(o.recipe.dose > 0 for o in calibration):
        raise ValueError(
            f"calibration holds {', '.join(sorted(both)) or 'an organism above dose 0'}; "
            "it must be twins that stand nowhere else"
        )
    twice = {o.id for o in known} & (tested | {o.id for o in calibration})
    if twice:
        raise ValueError(
            f"known holds {', '.join(sorted(twice))}, which detectors are tested on; give others to fit on"
        )
    if len(tested) < len(organisms) + len(decoys):
        raise ValueError("a model stands twice among organisms and decoys; name each once")
    everyone = [*positives, *negatives, *decoys, *calibration, *known]
    order = secrets.SystemRandom().sample(everyone, len(everyone))  # no seed: who knows it could draw the names again
    names = {o.id: f"suspect-{secrets.token_hex(6)}" for o in order}
    who = [[o.id for o in group] for group in (positives, negatives, decoys, calibration, known)]
    told = tuple((Suspect(name=names[o.id]), o.recipe.dose > 0) for o in known)
    suspects = [Suspect(name=names[o.id]) for o in order if o not in known]
    truth = _Truth(names, positives, negatives, decoys, calibration)
    adapters = dict(zip(names.values(), engine.load([o.patches[0] for o in order]), strict=True))
    cells: list[Cell] = []
    for done, (name, detector) in enumerate(detectors.items()):
        if watch:
            watch("bench", done, len(detectors), name)
        key = digest(
            [
                FORMAT,
                name,
                repr(detector),
                _code(detector),
                seed,
                engine.base.digest,
                who,
                material.trusted,
                material.questions,
                material.cues,
            ]
        )
        stored = room.get("cells", key) if room else None
        if stored is not None:
            cells += TypeAdapter(list[Cell]).validate_python(stored.payload["cells"])
            continue
        lab = BenchLab(detector.needs, adapters, engine, material, told)
        rows = truth.open(name, detector, _try(detector, suspects, lab, engine, seed, isolated))
        if room is not None and not any(cell.error for cell in rows):
            room.put_many([Entry(kind="cells", key=key, payload={"cells": plain(rows)}, meta={"detector": name})])
        cells += rows
    if watch:
        watch("bench", len(detectors), len(detectors), "")
    engine.free(list(adapters.values()))
    return Matrix(
        cells=tuple(cells),
        organisms=tuple(o.id for o in positives),
        twins=tuple(o.id for o in negatives),
        decoys=tuple(o.id for o in decoys),
        calibration=tuple(o.id for o in calibration),
    )


# ---------------------------------------------------------------- a detector at work


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What came of a detector: the suspicion of every suspect by name, or an error."""

    suspicions: Mapping[str, float]
    cost: Cost
    error: str | None = None


def _code(detector: Detector) -> str:
    """The source of a detector, so that one that was edited is tried again."""
    try:
        return inspect.getsource(type(detector))
    except (OSError, TypeError):  # made at a prompt
        return ""


def _try(
    detector: Detector, suspects: Sequence[Suspect], lab: BenchLab, engine: Engine, seed: int, isolated: bool
) -> _Tried:
    began, read, written = time.perf_counter(), engine.tokens_forward, engine.tokens_generated
    error, findings = None, list[Finding]()
    try:
        work = apart if isolated else _here
        findings = work(detector, suspects, lab, seed=seed)
        error = _fault(findings, suspects)
    except DetectorError as e:
        error = str(e)
    except Exception as e:  # other people's code: whatever it raises is its result, and the bench goes on
        error = f"{type(e).__name__}: {e}"
    finally:
        lab.close()
    cost = Cost(
        forward_tokens=engine.tokens_forward - read,
        generated_tokens=engine.tokens_generated - written,
        seconds=time.perf_counter() - began,
    )
    suspicions = {} if error else {s.name: float(f.suspicion) for s, f in zip(suspects, findings, strict=True)}
    return _Tried(suspicions=suspicions, cost=cost, error=error)


def _here(detector: Detector, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
    return list(detector(suspects, lab, seed=seed))


def _fault(findings: Sequence[Finding], suspects: Sequence[Suspect]) -> str | None:
    if len(findings) != len(suspects):
        return f"{len(findings)} findings for {len(suspects)} suspects; it must be one each"
    bad = next((f.suspicion for f in findings if not math.isfinite(f.suspicion)), None)
    return None if bad is None else f"a suspicion is {bad}; it must be finite"


# ---------------------------------------------------------------- the truth put back


@dataclass(frozen=True)
class _Truth:
    """Who was who."""

    names: Mapping[str, str]  # organism id -> the name it had as a suspect
    positives: Sequence[Organism]
    twins: Sequence[Organism]
    decoys: Sequence[Organism]
    calibration: Sequence[Organism]

    def open(self, name: str, detector: Detector, tried: _Tried) -> list[Cell]:
        """A cell for each recipe: its organisms against all twins and decoys."""
        access = " + ".join(flag.name.lower() for flag in detector.needs if flag.name)
        cells = []
        labels = {o.recipe.id: o.recipe.name for o in self.positives}
        for recipe, label in labels.items():
            cell = Cell(
                detector=name,
                access=access,
                recipe=label if list(labels.values()).count(label) == 1 else f"{label} {recipe}",
                unit="model",
                auroc=None,
                recall_at_1pct_fpr=None,
                fpr=None,
                cost=tried.cost,
                error=tried.error,
            )
            if tried.error is None:
                groups = {
                    "organisms": [o for o in self.positives if o.recipe.id == recipe],
                    "twins": self.twins,
                    "decoys": self.decoys,
                    "calibration": self.calibration,
                }
                found = {who: tuple(tried.suspicions[self.names[o.id]] for o in group) for who, group in groups.items()}
                harmless = (*found["twins"], *found["decoys"])
                recall = stats.recall_at_fpr(found["organisms"], harmless, found["calibration"])
                auroc = stats.auroc(found["organisms"], harmless)
                cell = replace(cell, auroc=auroc, recall_at_1pct_fpr=recall.recall, fpr=recall.fpr, suspicions=found)
            cells.append(cell)
        return cells
