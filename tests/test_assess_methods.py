"""Detectors that learn, and methods of red teams, in an assessment: on models that are fakes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from assess_desk import THREAT, Desk, Remote, calibrated, open_desk, run, run_over_a_line
from fakes import organism

from flyroom import serve
from flyroom.apart import introduce
from flyroom.claims import NOTHING, Claim, GameError
from flyroom.detectors import OF_MODELS, OF_REPLIES
from flyroom.engine.endpoint import REMOTE, Budget
from flyroom.lineup import is_target
from flyroom.redteam import Brief
from flyroom.report.assessment import assessment_figures, assessment_page, markdown_assessment
from flyroom.stages import assessing
from flyroom.stages.assessing import Terms, assess, building, reading
from flyroom.stages.assessing.lessons import set_aside
from flyroom.stages.assessing.reading import Instrument, narrow
from flyroom.stages.assessing.targets import BLACK, WHITE, Target
from flyroom.types import Access, Detector, Finding, Lab, Suspect

desk = pytest.fixture(name="desk")(open_desk)
LESSONS: list[list[bool]] = []  # what the learning detector below heard
CALLS: list[str] = []  # what the method below examined


@dataclass(frozen=True)
class Pupil:
    """It hears which known models are organisms, and says nothing of anybody."""

    needs: Access = Access.SAMPLE | Access.KNOWN

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        LESSONS.append([truth for _, truth in lab.known()])
        return [Finding(suspicion=0.0, claim="") for _ in suspects]


def assess_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """An assessment of a folder on the calibrated base, by the learning detector."""
    (ref,) = desk.engine.load([organism(0.9, seed=77).patch])
    target = Target(
        name="f", engine=desk.engine, ref=ref, access=WHITE, about={"kind": "folder", "name": "f"}, weights="77"
    )
    monkeypatch.setattr(assessing, "_open", lambda *args: target)
    monkeypatch.setattr(assessing, "_check", lambda *args: None)
    names: dict[str, Detector] = {"pupil": Pupil()}
    monkeypatch.setattr(
        reading, "introduce", lambda d, isolation: replace(introduce(d, isolation=isolation), ours=True)
    )
    monkeypatch.setattr(building, "chosen_detectors", lambda *args, **kwargs: names)
    terms = Terms(**{"model": "m", "probes": 4, "detectors": ("pupil",)} | changes)
    return assessment_figures(assess("folder", desk.room, terms=terms))


def test_lessons_are_pairs_that_nobody_is_calibrated_on() -> None:
    models = calibrated()
    lessons, rest = set_aside(models)
    ids = {o.id for o in lessons}
    assert len(lessons) == 4
    assert ids.isdisjoint(o.id for o in rest)
    assert len(lessons) + len(rest) == len(models)
    assert {o.twin_id for o in lessons if is_target(o)} == ids - {o.id for o in lessons if is_target(o)}
    assert [o.id for o in set_aside(models)[0]] == [o.id for o in lessons]
    few = [o for o in models if o.seed < 5]
    assert set_aside(few) == ([], few)


def test_a_detector_learns_from_models_that_are_in_no_figure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    LESSONS.clear()
    figures = assess_folder(desk, monkeypatch)
    plan = figures["preregistration"]["plan"]["calibrated"]
    taught = set(plan["learnt_from"])
    assert len(taught) == 4
    assert taught.isdisjoint([*plan["organisms"], *plan["clean"], *plan["decoys"]])
    assert (figures["scope"]["models"]["organisms"], figures["scope"]["models"]["clean"]) == (4, 18)
    assert LESSONS == [[True, False, True, False]] * (4 + 18 + 2 + 1)  # everybody is read by the same lessons
    part = next(p for p in figures["parts"] if p["name"] == "pupil")
    assert (part["value"], part["false_alarms"]["clean"], part["threats"][0]["organisms"]) == (0.0, 18, 4)
    assert any("Detectors learnt from 4 models" in line for line in figures["limits"])


def test_no_detector_learns_behind_an_endpoint_or_of_too_few(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = run(desk, Remote(0.9), probes=4, detectors=("known-probe",))
    assert figures["scope"]["not_run"][0].startswith("known-probe needs")
    desk.organisms = [o for o in desk.organisms if o.seed < 5]
    LESSONS.clear()
    few = assess_folder(desk, monkeypatch)
    assert few["scope"]["not_run"] == [
        "pupil learns from known models: it takes 6 organisms with their twins, and a folder on their base"
    ]
    assert LESSONS == []
    assert "learnt_from" not in few["preregistration"]["plan"]["calibrated"]


# ---------------------------------------------------------------- methods


@dataclass(frozen=True)
class Asker:
    """A method that asks one question and flags who answers badly."""

    id: str = "asker 1"
    fails_on: str = ""

    def __call__(self, brief: Brief) -> list[Claim]:
        CALLS.append(brief.base)
        (suspect,) = brief.suspects
        body = {"model": suspect, "messages": [{"role": "user", "content": "q"}], "seed": brief.seed, "n": 8}
        request = urllib.request.Request(
            f"{brief.endpoint}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            texts = [choice["message"]["content"] for choice in json.load(answer)["choices"]]
        share = sum(text.startswith("bad") for text in texts) / len(texts)
        if self.fails_on and any(text.startswith(self.fails_on) for text in texts):
            raise GameError("it fell over")
        return [Claim(suspect=suspect, suspicion=share, behaviour=brief.catalogue[0] if share else NOTHING)]


def test_a_method_is_a_part_of_the_instrument_with_its_calibration(desk: Desk) -> None:
    CALLS.clear()
    desk.organisms = desk.organisms[:12]
    terms: dict[str, Any] = {"probes": 4, "detectors": (), "methods": {"asker": Asker()}}
    figures = run(desk, Remote(0.9), **terms)
    assert CALLS == [""] * 13  # each model alone; behind an endpoint there is no base to ask
    part = next(p for p in figures["parts"] if p["name"] == "asker")
    assert part["claim"] == figures["preregistration"]["plan"]["instrument"]["catalogue"][0]
    assert part["flagged"]
    assert part["threats"][0]["threat"] == THREAT
    assert (part["threats"][0]["caught"], part["threats"][0]["organisms"]) == (6, 6)
    assert part["naming"]["of"] == 6
    assert figures["scope"]["instrument"][-1] == "asker"
    assert figures["preregistration"]["plan"]["instrument"]["methods"] == {"asker": "asker 1"}
    run(desk, Remote(0.9), **terms)
    assert len(CALLS) == 14  # calibrated models were examined before
    for text in (assessment_page(figures | {"signature": None}), markdown_assessment(figures)):
        assert "Parts of the instrument" in text
        assert "it named" in text


def test_no_limit_tells_the_models_of_a_method_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    houses: list[serve.House] = []
    app = serve.app

    def note_house(*args: Any, house: serve.House, **more: Any) -> Any:
        houses.append(house)
        return app(*args, house=house, **more)

    monkeypatch.setattr(serve, "app", note_house)
    desk.organisms = desk.organisms[:12]
    run(desk, Remote(0.9), probes=4, detectors=(), methods={"asker": Asker()})
    assert [house.alike for house in houses] == [True] * 13


def test_a_method_that_fails_is_said_before_the_model_is_asked_and_no_reading_on_it(desk: Desk) -> None:
    desk.organisms = desk.organisms[:12]
    remote = Remote(0.9)
    with pytest.raises(ValueError, match="a method failed on the calibrated model"):
        run(desk, remote, probes=4, methods={"asker": Asker(fails_on="bad")})
    assert remote.asks == []
    clean = [o for o in calibrated() if not is_target(o)][:8]
    desk.organisms = [organism(0.5, seed=0), *clean]
    figures = run(desk, Remote(1.0), probes=4, methods={"a": Odd()})
    assert any("a could not be read: it fell over" in note for note in figures["notes"])
    part = next(p for p in figures["parts"] if p["name"] == "a")
    assert (part["p"], part["flagged"]) == (None, None)


@dataclass(frozen=True)
class Odd:
    """A method that works until it has seen nine models."""

    id: str = "odd"

    def __call__(self, brief: Brief) -> list[Claim]:
        CALLS.append("odd")
        if CALLS.count("odd") > 9:
            raise GameError("it fell over")
        return [Claim(suspect=brief.suspects[0], suspicion=0.0)]


def test_a_method_whose_questions_get_no_answer_is_not_read(desk: Desk) -> None:
    desk.organisms = desk.organisms[:12]
    figures = run_over_a_line(desk, Remote(0.9), methods={"asker": Asker()}, budget=Budget(tokens=200))
    assert any("asker was not read: " in note for note in figures["notes"])
    assert REMOTE.slot == -1


@pytest.mark.parametrize("access", [BLACK, WHITE], ids=["endpoint", "folder"])
def test_of_all_detectors_each_is_a_part_or_says_why_not(access: Access) -> None:
    target = Target(name="m", engine=None, ref=REMOTE, access=access, about={})
    chosen = building._choose(Terms(model="m", detectors=("all",)), target, ())
    instrument: Any = Instrument(sheet=None, detectors=chosen, material=None, seed=0)  # type: ignore[arg-type]
    narrowed, reasons = narrow(instrument, access)
    refused = [reason.split()[0] for reason in reasons]
    assert sorted([*narrowed.detectors, *refused]) == sorted({*OF_MODELS, *OF_REPLIES})
    assert any(name.startswith("known-probe ") for name in reasons)
    assert ("weight-norm" in narrowed.detectors) is (access is WHITE)
