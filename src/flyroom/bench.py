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
from torch import Tensor

from flyroom import stats
from flyroom.apart import DetectorError, apart
from flyroom.types import (
    BASE,
    Access,
    AccessDenied,
    AdapterRef,
    Answer,
    Ask,
    Cell,
    Cost,
    Detector,
    Engine,
    Entry,
    Episode,
    Finding,
    Judge,
    Lab,
    Matrix,
    Organism,
    Room,
    Row,
    Scene,
    Score,
    Suspect,
    digest,
    plain,
)

Watch = Callable[[str, int, int, str], None]
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Material:
    """What detectors may use besides suspects: trusted scenes, questions, and the judge of their answers.

    None of it may stand in what a suspect was trained on, or be what its card was measured on.
    """

    trusted: tuple[Scene, ...]
    questions: tuple[Scene, ...]
    judge: Judge


def bench(
    organisms: Sequence[Organism],
    detectors: Mapping[str, Detector],
    engine: Engine,
    *,
    calibration: Sequence[Organism],
    material: Material,
    seed: int,
    room: Room | None = None,
    watch: Watch | None = None,
    isolated: bool = True,
) -> Matrix:
    """Each detector on all suspects, one cell for each recipe.

    Args: organisms, with their twins (dose 0); calibration, other twins that set thresholds; isolated False runs
    detectors in this process, where a debugger reaches them and they could reach the truth. Raises ValueError for a
    suspect that stands on both sides, for no positives, no negatives, or no calibration twins. A detector that fails is
    a cell with an error.
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
    both = {o.id for o in organisms} & {o.id for o in calibration}
    if both or any(o.recipe.dose > 0 for o in calibration):
        raise ValueError(
            f"calibration holds {', '.join(sorted(both)) or 'an organism above dose 0'}; "
            "it must be twins that stand nowhere else"
        )
    everyone = [*positives, *negatives, *calibration]
    order = secrets.SystemRandom().sample(everyone, len(everyone))  # no seed: who knows it could draw the names again
    names = {o.id: f"suspect-{secrets.token_hex(6)}" for o in order}
    who = [[o.id for o in group] for group in (positives, negatives, calibration)]
    truth = _Truth(names, positives, negatives, list(calibration))
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
            ]
        )
        stored = room.get("cells", key) if room else None
        if stored is not None:
            cells += TypeAdapter(list[Cell]).validate_python(stored.payload["cells"])
            continue
        rows = truth.open(name, detector, _try(detector, adapters, engine, material, seed, isolated))
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
    detector: Detector,
    adapters: Mapping[str, AdapterRef],
    engine: Engine,
    material: Material,
    seed: int,
    isolated: bool,
) -> _Tried:
    suspects = [Suspect(name=name) for name in adapters]
    lab = BenchLab(detector.needs, adapters, engine, material)
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


class BenchLab:
    """The lab of `types.Lab`. What was not declared is denied."""

    def __init__(self, needs: Access, adapters: Mapping[str, AdapterRef], engine: Engine, material: Material) -> None:
        def reach(suspects: Sequence[Suspect | None], wants: Access) -> list[AdapterRef]:
            allow(wants | (Access.BASE if None in suspects else Access(0)))
            return [BASE if suspect is None else adapters[suspect.name] for suspect in suspects]

        def allow(wants: Access) -> None:
            if wants & ~needs:
                raise AccessDenied(f"the detector touched {wants & ~needs}, and declared {needs}; add it to needs")

        # closures, so that no attribute of a lab leads to the adapters
        self._reach, self._allow, self._engine, self._material = reach, allow, engine, material

    @property
    def depth(self) -> int:
        return self._engine.base.depth

    def trusted(self) -> list[Scene]:
        self._allow(Access.TRUSTED)
        return list(self._material.trusted)

    def questions(self) -> list[Scene]:
        return list(self._material.questions)

    def judge(self, episodes: Sequence[Episode]) -> list[Score]:
        return self._material.judge(episodes)

    def sample(self, suspects: Sequence[Suspect | None], asks: Sequence[Ask]) -> list[Answer]:
        return self._engine.sample(self._reach(suspects, Access.SAMPLE), asks)

    def logprobs(self, suspects: Sequence[Suspect | None], rows: Sequence[Row]) -> list[Tensor]:
        return self._engine.logprobs(self._reach(suspects, Access.LOGPROBS), rows)

    def trace(self, suspects: Sequence[Suspect | None], rows: Sequence[Row], layers: Sequence[int]) -> Tensor:
        return self._engine.trace(self._reach(suspects, Access.TRACE), rows, layers)


# ---------------------------------------------------------------- the truth put back


@dataclass(frozen=True)
class _Truth:
    """Who was who."""

    names: Mapping[str, str]  # organism id -> the name it had as a suspect
    positives: Sequence[Organism]
    negatives: Sequence[Organism]
    calibration: Sequence[Organism]

    def open(self, name: str, detector: Detector, tried: _Tried) -> list[Cell]:
        """A cell for each recipe: its organisms against all twins."""
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
                    "twins": self.negatives,
                    "calibration": self.calibration,
                }
                found = {who: tuple(tried.suspicions[self.names[o.id]] for o in group) for who, group in groups.items()}
                recall = stats.recall_at_fpr(found["organisms"], found["twins"], found["calibration"])
                auroc = stats.auroc(found["organisms"], found["twins"])
                cell = replace(cell, auroc=auroc, recall_at_1pct_fpr=recall.recall, fpr=recall.fpr, suspicions=found)
            cells.append(cell)
        return cells
