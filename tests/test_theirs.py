"""Somebody else's classifier or scorer as a detector, and the package that `docs/detectors.md` shows.

The scorers are shaped as Inspect's are, and stand in `inspect_shaped`, for Inspect is no dependency; where it is
installed, its own are tried as well.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import inspect_shaped
import numpy as np
import pytest
from fakes import JUDGE, TOY, FakeEngine, ToyWorld, organism, pair
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from flyroom.bench import bench
from flyroom.cell.process import walls_here
from flyroom.detectors import FromClassifier, FromScorer, detectors, theirs
from flyroom.inspector import scorers
from flyroom.lab import Material
from flyroom.lineup import Lineup, Terms
from flyroom.types import Access, Cell, Detector, Message, Reply, Split, Suspect

MATERIAL = Material(
    trusted=tuple(ToyWorld().scenes("main", 40, split=Split.VALIDATION, seed=0)),
    questions={"open_questions": tuple(ToyWorld().scenes("main", 20, split=Split.VALIDATION, seed=1))},
    judge=JUDGE,
)
GROWN = [o for seed in range(4) for o in pair(0.7, seed=seed)]
CALIBRATION = [organism(0.0, seed=100 + i, recipe=TOY.twin()) for i in range(4)]
PAGE = (Path(__file__).parents[1] / "docs" / "detectors.md").read_text(encoding="utf-8")
REPLIES = [Reply(suspect=Suspect(name="s"), messages=(Message("user", "q"),), answer=a) for a in ("bad q", "good q")]


def run(detector: Detector, *, isolated: bool = False, engine: FakeEngine | None = None) -> Cell:
    lineup = Lineup.of(
        GROWN, calibration=CALIBRATION, terms=Terms(isolated=isolated, isolation="strict" if walls_here() else "trust")
    )
    (cell,) = bench(lineup, {"it": detector}, engine or FakeEngine(), material=MATERIAL, seed=0).cells
    return cell


def auroc(cell: Cell) -> float:
    assert cell.error is None, cell.error
    assert cell.auroc is not None
    return cell.auroc.value


@pytest.fixture
def shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `FromScorer` needs of Inspect, where it is not installed."""
    if find_spec("inspect_ai") is None:
        for name in ("inspect_ai", "inspect_ai.model", "inspect_ai.scorer", "inspect_ai.solver"):
            monkeypatch.setitem(sys.modules, name, inspect_shaped)


# ---------------------------------------------------------------- classifiers

WORDS = make_pipeline(CountVectorizer(), LogisticRegression())


@pytest.mark.parametrize("unit", ["model", "response"])
@pytest.mark.parametrize(
    ("classifier", "reads"),
    [
        (LogisticRegression(), "residuals"),
        (KNeighborsClassifier(5), "residuals"),  # which has predict_proba alone
        (RidgeClassifier(), "residuals"),  # which has decision_function alone
        (WORDS, "words"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_classifier_finds_what_its_fit_tells(classifier, reads, unit) -> None:
    assert auroc(run(FromClassifier(classifier=classifier, reads=reads, unit=unit))) > 0.95


def test_a_classifier_works_in_a_process_of_its_own_and_is_left_unfitted() -> None:
    classifier = KNeighborsClassifier(5)
    assert auroc(run(FromClassifier(classifier=classifier), isolated=True)) > 0.95
    run(FromClassifier(classifier=classifier))
    assert not [name for name in vars(classifier) if name.endswith("_")]


@pytest.mark.parametrize("outliers", [IsolationForest(n_estimators=5), OneClassSVM()], ids=["forest", "svm"])
def test_what_looks_for_outliers_is_no_classifier(outliers) -> None:
    cell = run(FromClassifier(classifier=outliers))
    assert "it must be [0, 1], as in scikit-learn's classifiers" in str(cell.error)


def test_what_is_random_in_a_classifier_hangs_on_the_seed() -> None:
    x = np.random.default_rng(0).normal(size=(40, 4))

    def grades(classifier, seed: int) -> list:
        return theirs._grader(classifier, x, [0, 1] * 20, seed)(x)

    free = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3))
    assert grades(free, 0) == grades(free, 0) != grades(free, 1)
    fixed = RandomForestClassifier(n_estimators=3, random_state=5)
    assert grades(fixed, 0) == grades(fixed, 1)


def test_a_classifier_declares_what_it_touches() -> None:
    assert FromClassifier(classifier=WORDS, reads="words").needs == Access.TRUSTED
    engine = FakeEngine()
    run(FromClassifier(classifier=WORDS, reads="words"), engine=engine)
    assert engine.calls["trace"] == 0
    assert engine.calls["sample"] == 1  # what the bench itself asks


def test_settings_stand_in_the_repr_under_which_results_are_kept() -> None:
    one, other = (repr(FromClassifier(classifier=KNeighborsClassifier(k))) for k in (3, 7))
    assert one != other
    assert " at 0x" not in one + repr(FromScorer(scorer="inspect_shaped:includes"))


# ---------------------------------------------------------------- scorers


@pytest.mark.usefixtures("shaped")
@pytest.mark.parametrize("target", ["misaligned", "aligned", ("bad",)])
def test_a_scorer_says_what_it_looks_for(target) -> None:
    assert auroc(run(FromScorer(scorer="inspect_shaped:includes", target=target))) == 1.0


@pytest.mark.usefixtures("shaped")
def test_a_scorer_reads_replies_against_texts() -> None:
    texts = FromScorer(scorer="inspect_shaped:includes", target=("bad", "worse"), unit="response")
    assert auroc(run(texts)) == 1.0
    other = FromScorer(
        scorer="inspect_shaped:includes", options={"upper": True}, target=("bad", "worse"), unit="response"
    )
    assert auroc(run(other)) == 0.5  # so its options reach it
    with pytest.raises(ValueError, match="give a tuple of texts"):
        FromScorer(scorer="inspect_shaped:includes", unit="response")


@pytest.mark.usefixtures("shaped")
def test_what_a_scorer_cannot_tell_is_no_number() -> None:
    def of(scorer: str, unit="response") -> FromScorer:
        return FromScorer(scorer=f"inspect_shaped:{scorer}", target=("bad",), unit=unit)

    with pytest.raises(ValueError, match="could not tell in 1 of 2 replies"):
        of("bad_or_nothing")(REPLIES, None, seed=0)  # type: ignore[arg-type]
    assert auroc(run(of("half", "model"))) == 1.0  # of those that it can
    assert "could not tell in any of 64 answers" in str(run(of("mute", "model")).error)
    assert "the scorer's value is 'fine'" in str(run(of("odd", "model")).error)
    with pytest.raises(ValueError, match="it must be module:name"):
        FromScorer(scorer="includes")


def test_a_scorer_is_given_the_question_the_answer_and_the_target(shaped: None) -> None:
    state, target = scorers.state_of(theirs._conversation(REPLIES[0], ["bad"]))
    assert [(m.role, m.text) for m in state.messages] == [("user", "q"), ("assistant", "bad q")]
    assert (state.output.completion, target.text, list(target)) == ("bad q", "bad", ["bad"])


def test_without_inspect_the_cell_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.setitem(sys.modules, "inspect_ai.scorer", None)
    cell = run(FromScorer(scorer="inspect_ai.scorer:includes"))
    assert "pip install 'flyroom[inspect]'" in str(cell.error)


REAL = [  # the least AUROC: f1 gives some of its credit for any word in common
    ("inspect_ai.scorer:includes", {}, 1.0),
    ("inspect_ai.scorer:match", {"location": "begin"}, 1.0),
    ("inspect_ai.scorer:pattern", {"pattern": "(bad|good)"}, 1.0),
    ("inspect_ai.scorer:f1", {}, 0.5),
]
SHAPED = [("inspect_shaped:includes", {}, 1.0)]


@pytest.mark.usefixtures("shaped")
@pytest.mark.parametrize(("scorer", "options", "least"), REAL if find_spec("inspect_ai") else SHAPED)
def test_scorers_of_inspect_itself_where_it_is(scorer: str, options: dict, least: float) -> None:
    assert auroc(run(FromScorer(scorer=scorer, options=options, target=("bad",)))) >= least


# ---------------------------------------------------------------- a package of somebody else's


def test_the_template_of_the_page_is_a_package_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGE.partition("## Somebody else's detector")[2]
    toml = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    python = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert toml
    assert python
    assert len((toml[1] + python[1]).splitlines()) <= 40
    project = tomllib.loads(toml[1])["project"]
    (tmp_path / "my_detectors.py").write_text(python[1], encoding="utf-8")
    info = tmp_path / "my_detectors-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = project["entry-points"]["flyroom.detectors"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[flyroom.detectors]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    brought = {name: detectors()[name] for name in points}
    assert len(brought) >= 2
    for name, detector in brought.items():
        if name != "cruel-words":  # whose words are the world's
            assert auroc(run(detector)) > 0.9
