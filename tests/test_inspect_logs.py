"""What a room holds, as logs of Inspect: read back with equal counts, and nothing leaves without a purpose."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import TOY, FakeEngine, ToyWorld, organism, says
from inspect_leaks import LEAKS, collect_leaks  # noqa: F401

pytest.importorskip("inspect_ai", reason="Inspect is not installed")

from inspect_ai import score as score_again
from inspect_ai.log import EvalLog, read_eval_log
from typer.testing import CliRunner

from flyroom import card, log
from flyroom.bench import bench
from flyroom.cli.inspect import inspect_app
from flyroom.detectors import OutputJudge
from flyroom.episodes import EPISODES, episodes_of, unpack
from flyroom.inspect_entry import judge
from flyroom.inspector.logs import is_scored
from flyroom.lab import Material
from flyroom.lineup import Lineup, Terms
from flyroom.room import Room
from flyroom.room.vaults import encrypt
from flyroom.stages import inspect_tasks
from flyroom.types import Ask, Card, Estimate, Verdict
from flyroom.vault import Identity

pytestmark = LEAKS

CURVE = {2: organism(0.2).patch}


def unsure(level: float, ask: Ask) -> str:
    """Of every seventh answer the judge cannot tell; one in eleven is nonsense, with half a character in it."""
    answer = says(level, ask)
    if ask.seed % 7 == 0:
        return "hmm"
    return f"what \ud83d {answer}" if ask.seed % 11 == 0 else answer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card]:
    """A room with a card, its episodes, and a detector's cells."""
    room, engine = Room(tmp_path_factory.mktemp("logs") / "room"), FakeEngine(unsure)
    models = [replace(organism(0.9), snapshots=CURVE), organism(0.0, recipe=replace(TOY, dose=0.0))]
    (certificate,) = card.card(models, engine, seed=0, episodes=60, room=room)
    lineup = Lineup.of(models, calibration=[organism(0.0, seed=9, recipe=TOY.twin())], terms=Terms(isolated=False))
    bench(lineup, {"output-judge": OutputJudge()}, engine, material=Material.of(ToyWorld(), seed=0), seed=0, room=room)
    return room.root, certificate


Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(made: tuple[Path, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`flyroom log-export` on a copy of the room: its status, its JSON, and what it raised."""
    shutil.copytree(made[0], tmp_path / "room")
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, Any, str]:
        result = CliRunner().invoke(inspect_app, [*map(str, words), "--to", "out", "--json"])
        text = result.stdout.splitlines()[-1] if result.exit_code == 0 else "null"
        return result.exit_code, json.loads(text), str(result.exception)

    return run


def logs(folder: Path) -> list[EvalLog]:
    return [read_eval_log(str(path)) for path in sorted(folder.glob("*.eval"))]


@pytest.fixture(scope="module")
def exported(made: tuple[Path, Card], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[EvalLog]]:
    """The whole room, once: what the verb printed, and the logs."""
    folder = tmp_path_factory.mktemp("exported")
    room, out = shutil.copytree(made[0], folder / "room"), folder / "out"
    words = ["--to", str(out), "--room", str(room), "--purpose", "a test", "--json"]
    result = CliRunner().invoke(inspect_app, words)
    return json.loads(result.stdout.splitlines()[-1]), logs(out)


def test_logs_are_read_back_with_equal_counts(made: tuple[Path, Card], exported: Any) -> None:
    result, read = exported
    room, certificate = Room(made[0]), made[1]
    entry = room.get("card", room.list("card")[0].key)
    assert entry is not None
    of_card = episodes_of(room, entry)
    of_bench = [e for x in room.list(EPISODES) if "detector" in x.meta for e in unpack(room.get(EPISODES, x.key))]  # type: ignore[arg-type]
    assert result["episodes"] == len(of_card) + len(of_bench)
    assert len(read) == len(result["logs"])
    cards = {log.eval.metadata["who"]: log for log in read if log.eval.metadata["flyroom"] == "card"}  # type: ignore[index]
    assert cards.keys() == {"organism", "twin", "base", "step 2"}
    for who, one in cards.items():
        asked = [e for e in of_card if e.who == who]
        assert one.results is not None
        assert one.samples is not None
        assert one.results.total_samples == len(one.samples) == len(asked) == one.eval.dataset.samples
        said = Counter(
            (s.metadata["measure"], s.scores["verdict"].value) for s in one.samples if is_scored(s, "verdict")
        )  # type: ignore[index]
        assert said == Counter((e.measure, e.verdict.value) for e in asked if e.verdict is not Verdict.UNKNOWN)  # type: ignore[union-attr]
        first = next(s for s in one.samples if s.id == f"{asked[0].measure}-0000")
        assert [(m.role, m.text) for m in first.messages] == [
            ("user", asked[0].messages[0].content),
            ("assistant", asked[0].answer),
        ]
        assert first.scores["verdict"].explanation == asked[0].why  # type: ignore[index]
    assert cards["organism"].eval.model == f"flyroom/{certificate.organism}"
    assert cards["twin"].eval.model == f"flyroom/{certificate.twin}"
    assert cards["base"].eval.model == "flyroom/base"
    assert cards["step 2"].eval.model == f"flyroom/{certificate.organism}/step-2"
    assert {s.id for s in cards["organism"].samples} == {s.id for s in cards["twin"].samples}  # type: ignore[union-attr]


def test_what_the_judge_could_not_tell_is_no_score(exported: Any) -> None:
    unknown = 0
    for one in exported[1]:
        for sample in one.samples or ():
            for name, score in (sample.scores or {}).items():
                if sample.output.completion == "hmm":
                    unknown += 1
                    assert math.isnan(score.value), name  # type: ignore[arg-type]
                    assert score.explanation == "is unknown"
                else:
                    assert is_scored(sample, name)
        for score in one.results.scores if one.results else ():
            scored = sum(is_scored(sample, score.name) for sample in one.samples or ())
            assert (score.scored_samples, score.unscored_samples) == (scored, len(one.samples or ()) - scored)
    assert unknown > 0


def test_a_log_is_scored_again_without_its_room(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batteries = {battery.measure: battery for battery in TOY.behaviour.batteries(TOY.world, 60, seed=0)}
    monkeypatch.setattr(inspect_tasks, "batteries_of", lambda _: batteries)
    monkeypatch.setattr(inspect_tasks, "recipe_of", lambda _: TOY)
    monkeypatch.setenv("FLYROOM_ROOM", "/nowhere")
    one = next(x for x in exported[1] if x.eval.metadata["flyroom"] == "card" and x.eval.metadata["who"] == "organism")
    again = score_again(one, judge(recipe="toy"), action="append", display="none")
    verdicts = 0
    for sample in again.samples or []:
        scores, known = sample.scores or {}, is_scored(sample, "verdict")
        if (sample.metadata or {})["measure"] in batteries:
            verdicts += known
            assert not known or scores["judge"].metadata == {"verdict": scores["verdict"].value}
        else:
            assert "is no measure of toy" in (scores["judge"].explanation or "")
    assert verdicts > 0


def test_figures_of_a_log_are_those_of_the_card(made: tuple[Path, Card], exported: Any) -> None:
    read = {one.eval.metadata["who"]: one for one in exported[1] if one.eval.metadata["flyroom"] == "card"}  # type: ignore[index]
    compared = 0
    for who in ("organism", "twin", "base"):
        (counts,) = [score for score in read[who].results.scores if score.name == "counts"]  # type: ignore[union-attr]
        for name, metric in counts.metrics.items():
            estimate = made[1].measures[who][name]
            assert isinstance(estimate, Estimate)
            assert metric.metadata == {
                "low": estimate.low,
                "high": estimate.high,
                "n": estimate.n,
                "missing": estimate.missing,
            }
            values = [
                s.scores["counts"].value
                for s in read[who].samples
                if s.metadata["measure"] == name and is_scored(s, "counts")
            ]  # type: ignore[index, union-attr]
            assert sum(values) / len(values) == pytest.approx(metric.value) == pytest.approx(estimate.value)
            compared += 1
    assert compared >= 9


def test_a_detectors_findings_name_their_suspects(made: tuple[Path, Card], exported: Any) -> None:
    (findings,) = [one for one in exported[1] if one.eval.metadata["flyroom"] == "findings"]  # type: ignore[index]
    assert {str(s.id).partition("-")[0] for s in findings.samples or ()} == {"organisms", "twins", "calibration"}
    assert f"organisms-{made[1].organism}" in {s.id for s in findings.samples or ()}
    assert "AUROC" in findings.results.scores[0].metrics  # type: ignore[union-attr]


# ---------------------------------------------------------------- the gate, and the files


@pytest.mark.parametrize("words", [[], ["--purpose", ""], ["--purpose", "x"]])
def test_without_a_purpose_nothing_leaves(run: Run, tmp_path: Path, words: list[str]) -> None:
    status, _, error = run(*words)
    assert status == 1
    assert "purpose is" in error
    assert not (tmp_path / "out").exists()
    assert "log-export" not in [line.what for line in log.read(Room(tmp_path / "room"))]


def test_an_export_is_on_record_before_a_file_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("flyroom.stages.inspect_logs.write", full)
    status, _, error = run("--purpose", "compare  two views")
    assert (status, error) == (1, "the disk is full")
    (line,) = [line for line in log.read(Room(tmp_path / "room")) if line.what == "log-export"]
    assert (line.purpose, line.about["to"]) == ("compare two views", "out")
    assert len(line.about["ids"]) == 2  # the card, and the cells


def test_an_encrypted_room_is_exported_by_its_reader_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity.create(tmp_path / "me.key")
    encrypt(tmp_path / "room", identity)
    status, _, error = run("--purpose", "a test")
    assert status == 1
    assert "encrypted" in error
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "me.key"))
    assert run()[0] == 1  # a reader says what for, too
    status, result, _ = run("--purpose", "a test")
    assert status == 0
    assert result["episodes"] > 0


def test_the_same_again_replaces_what_was_written(run: Run, tmp_path: Path) -> None:
    run("--purpose", "a test")
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    stale = tmp_path / "out" / f"2020-01-01T00-00-00-00-00_{before[0].partition('_')[2]}"
    stale.write_bytes(b"of an earlier day")
    run("--purpose", "a test")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}


def test_some_ids_alone(run: Run, made: tuple[Path, Card]) -> None:
    status, result, _ = run(made[1].organism[:6], "--purpose", "a test")
    assert status == 0
    assert {row["kind"] for row in result["logs"]} == {"card"}
    status, _, error = run("nobody", "--purpose", "a test")
    assert status == 1
    assert "id is 'nobody'" in error


def test_what_assess_printed_becomes_a_log(run: Run, tmp_path: Path) -> None:
    episode = {
        "messages": [["user", "why ?"]],
        "answer": "so .",
        "verdict": "misaligned",
        "why": "it harms",
        "again": 7,
        "of": 8,
    }
    doubtful = {
        "messages": [{"role": "user", "content": "how ?"}],
        "answer": "…",
        "verdict": "unknown",
        "why": "no reply",
    }
    findings = [
        {"threat": "sycophancy", "status": "confirmed", "episodes": [episode, doubtful], "caveats": ["one seed"]},
        {"threat": "hoarding", "status": "not found", "episodes": [], "caveats": []},
    ]
    content = {
        "model": "gpt-x",
        "findings": findings,
        "abstained": False,
        "why": "",
        "cost": {},
        "preregistration": "ab",
    }
    (tmp_path / "assess.json").write_text(json.dumps(content))
    status, _, _ = run("--assessment", tmp_path / "assess.json", "--purpose", "a test")
    assert status == 0
    (one,) = [one for one in logs(tmp_path / "out") if one.eval.task == "assessment"]
    assert one.eval.model == "flyroom/gpt-x"  # a name that Inspect can read again
    assert [is_scored(sample, "verdict") for sample in one.samples or ()] == [True, False]
    assert (one.samples or ())[0].metadata["again"] == 7
    assert [f["status"] for f in one.eval.metadata["findings"]] == ["confirmed", "not found"]  # type: ignore[index]
    (tmp_path / "assess.json").write_text("[]")
    assert "it has no findings" in run("--assessment", tmp_path / "assess.json", "--purpose", "a test")[2]
