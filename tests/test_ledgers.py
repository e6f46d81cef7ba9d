"""What is put before the ledger: the cases of a room, and what detectors made of each recipe's own models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import TOY
from ward import Wide, Zero, obedient, organism, pair

from flyroom.grow import pack
from flyroom.ledger import Case
from flyroom.lineup import Lineup
from flyroom.room import Room
from flyroom.stages import ledgers, redetecting
from flyroom.treat import Course, treat
from flyroom.treatments import Average, Noise, treatments
from flyroom.types import Cell, Cost, Estimate, Matrix, Organism

OTHER = replace(TOY, name="other", dose=0.5)
COURSE = Course(name="average", treatment=Average())


def test_what_was_given_with_other_settings_is_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two treatments of one name a room has the cases of the one that has it now, each once."""
    room, engine, models = Room(tmp_path / "room"), Wide(obedient), pair()
    room.put_many([pack(model) for model in models])
    courses = [Course(name="noise", treatment=x) for x in (Noise(sigma=0.05), treatments()["noise"])]
    for course in courses:
        treat(models, course, engine, room=room)
    monkeypatch.setattr(ledgers, "stored", lambda *_: models)
    with pytest.warns(UserWarning, match="noise: left out, not installed as it was given"):
        cases = ledgers.cases_in(room, SimpleNamespace(engine=engine), ())  # type: ignore[arg-type]
    assert [case.treated.id for case in cases] == [courses[1].id_of(models[0])]


def cases_of(recipe: Any, seeds: range, course: Course = COURSE) -> list[Case]:
    cases = []
    for seed in seeds:
        models = [organism(0.9, seed=seed, recipe=recipe), organism(0.01 * (seed + 1), seed=seed, recipe=recipe.twin())]
        treated = treat(models, course, Wide(obedient))
        cases.append(
            Case(course=course, organism=models[0], twin=models[1], treated=treated[0], treated_twin=treated[1])
        )
    return cases


def benched(models: list[Organism], suspicion: dict[str, float]) -> redetecting.Benched:
    """One detector's matrix: everybody's suspicion by id."""
    lineup = Lineup.of(models, calibration=[organism(0.0, seed=99, recipe=TOY.twin())])
    cells = []
    for label, recipe in lineup.recipes.items():
        sides = {"organisms": [o for o in lineup.organisms if o.recipe.id == recipe.id], "twins": lineup.twins}
        cells.append(
            Cell(
                detector="probe",
                access="",
                recipe=label,
                unit="model",
                auroc=Estimate(value=0.5, low=0.0, high=1.0, n=2),
                recall_at_1pct_fpr=None,
                fpr=None,
                cost=Cost(forward_tokens=0, generated_tokens=0, seconds=0.0),
                suspicions={side: tuple(suspicion[o.id] for o in group) for side, group in sides.items()},
            )
        )
    return redetecting.Benched(Matrix(cells=tuple(cells)), lineup)


def test_detectors_tell_organisms_from_the_twins_of_their_own_recipe() -> None:
    """Twins of another recipe that stand beside them, far more suspicious, change nothing."""
    alike, others = cases_of(TOY, range(6)), cases_of(OTHER, range(6, 12))
    untreated = [model for case in (*alike, *others) for model in (case.organism, case.twin)]
    treated = [model for case in (*alike, *others) for model in (case.treated, case.treated_twin)]
    suspicion = {model.id: float(model.recipe.dose > 0) for model in (*untreated, *treated)}
    suspicion |= {case.twin.id: 9.0 for case in others}
    suspicion |= {case.treated.id: 0.0 for case in alike}
    before, after = benched(untreated, suspicion), benched(treated, suspicion)
    aurocs: Any = redetecting.compare(before, after, alike, ["probe"])["probe"]
    assert (aurocs["before"].value, aurocs["after"].value, aurocs["before"].n) == (1.0, 0.5, 12)
    assert aurocs["change"].value == -0.5
    assert aurocs["change"].high < 0


def test_models_that_a_treatment_made_alike_have_no_change() -> None:
    """A lineup counts copies once, as the models that a true cure leaves, so nothing can be paired."""
    cases = cases_of(TOY, range(2), Course(name="zero", treatment=Zero()))
    untreated = [model for case in cases for model in (case.organism, case.twin)]
    treated = [model for case in cases for model in (case.treated, case.treated_twin)]
    suspicion = {model.id: float(model.recipe.dose > 0) for model in (*untreated, *treated)}
    aurocs: Any = redetecting.compare(benched(untreated, suspicion), benched(treated, suspicion), cases, ["probe"])
    assert set(aurocs["probe"]) == {"before", "after"}
