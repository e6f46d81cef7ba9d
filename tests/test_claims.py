"""No page contradicts its data: every claim of docs/claims.yaml is computed, and no result stands outside of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests import claims
from tests.claims import ROOT, Claim, Table

TABLE = claims.read(ROOT / "docs" / "claims.yaml")
PAGE = """# Mine

Fitted on all, it finds nine of ten (0.90).
It is the best.

| a | 0.99 |
"""
CLAIM = Claim(
    sentence="it finds nine of ten (0.90)",
    file="docs/mine.md",
    data="docs/mine.json",
    expression='sum(x > 0.5 for x in data["aurocs"]) / len(data["aurocs"])',
    bounds=(0.895, 0.905),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "mine.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "docs" / "mine.json").write_text(json.dumps({"aurocs": [0.9] * 9 + [0.0]}), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("claim", TABLE.claims, ids=lambda claim: claim.sentence[:60])
def test_a_claim_stands_in_its_file_and_its_data_say_so(claim: Claim) -> None:
    assert claims.fault(claim) == ""
    assert not claims.is_loose(claim)
    assert len(claim.sentence.split()) > 2  # or it would stand for figures elsewhere


def test_no_page_states_a_result_that_is_in_no_claim() -> None:
    assert claims.all_unclaimed(TABLE) == []


def test_what_is_no_claim_stands_in_its_file_with_a_reason() -> None:
    for row in TABLE.others:
        assert claims.spaced(row["sentence"]) in claims.spaced((ROOT / row["file"]).read_text(encoding="utf-8"))
        assert row["why"]


def test_pages_with_a_json_of_their_name_are_scanned() -> None:
    pages = [file for file, _ in claims.scanned(TABLE)]
    assert {"docs/matrix.md", "docs/transfer.md", "docs/detectors.md"} <= set(pages)


# ---------------------------------------------------------------- what would be wrong is seen


def test_a_true_claim_has_no_fault(root: Path) -> None:
    assert claims.fault(CLAIM, root) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bounds": (0.995, 1.005)}, "says 0.9, and not"),
        ({"bounds": None, "equals": 1.0}, "says 0.9, and not 1.0"),
        ({"sentence": "it finds all ten (1.00)"}, "does not say"),
        ({"file": "docs/other.md"}, "does not say"),
        ({"data": "docs/other.json"}, "is missing"),
    ],
)
def test_a_planted_contradiction_is_seen(root: Path, changes: dict, why: str) -> None:
    assert why in claims.fault(replace(CLAIM, **changes), root)


def test_data_that_change_under_a_sentence_are_seen(root: Path) -> None:
    (root / "docs" / "mine.json").write_text('{"aurocs": [0.9, 0.0]}', encoding="utf-8")
    assert "says 0.5, and not" in claims.fault(CLAIM, root)


def test_a_result_outside_of_claims_is_seen(root: Path) -> None:
    table = Table(claims=(CLAIM,), others=(), sections=())
    assert claims.all_unclaimed(table, root) == ["docs/mine.md: It is the best."]
    other = {"file": "docs/mine.md", "sentence": "It is the best.", "why": "a joke"}
    assert claims.all_unclaimed(replace(table, others=(other,)), root) == []


@pytest.mark.parametrize(
    ("sentence", "is_result"),
    [
        ("They find all ten.", True),
        ("It flags all four organisms.", True),
        ("The mean is .72.", True),
        ("It reaches 94 % of them.", True),
        ("So 4 of 4 are flagged.", True),
        ("Every threat has one.", True),
        ("No recipe leads here: it leads.", True),
        ("AUROC over all twins; a row is a family.", False),
        ("Made by `python scripts/matrix.py --level 0.91`.", False),
        ("Source: arXiv 2510.13900.", False),
        ("They hang on other triggers.", False),
    ],
)
def test_what_a_result_looks_like(sentence: str, is_result: bool) -> None:
    assert bool(claims.unclaimed([sentence], [])) is is_result


def test_a_claim_covers_what_it_says_and_no_more() -> None:
    sentence = "It has 0.91 plain and 0.88 hidden."
    assert claims.unclaimed([sentence], ["It has 0.91 plain"]) == [sentence]
    assert claims.unclaimed([sentence], ["It has 0.91 plain", "and 0.88 hidden"]) == []


def test_bounds_are_as_narrow_as_the_figure() -> None:
    assert not claims.is_loose(CLAIM)
    for sentence, bounds in (("has 0.90", (0.5, 1.0)), ("has 0.90", (0.91, 0.92)), ("in 71 % of", (0.6, 0.8))):
        assert claims.is_loose(replace(CLAIM, sentence=sentence, bounds=bounds))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "open('x')",
        "data.__class__",
        "().__class__",
        "(lambda: 1)()",
        "[x for x in data][0].real",
        "data['f'](1)",
        "9 ** 9",
        "[max for max in data]",
        "(data := 1)",
        "f'{data}'",
        "_x",
        "print(1)",
    ],
)
def test_an_expression_reaches_nothing_but_its_data(expression: str) -> None:
    with pytest.raises(ValueError, match=r"may not stand in a claim|a claim may call|is bound anew"):
        claims.value_of(expression, {"f": max})


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"bounds": [0, 1], "equals": 1}, "bounds or equals"),
        ({}, "bounds or equals"),
        ({"equals": 1, "file": "src/x.py"}, "must be a page"),
        ({"equals": 1, "data": "docs/../x.json"}, "must be a page"),
    ],
)
def test_a_row_that_is_no_claim_is_refused(tmp_path: Path, row: dict, why: str) -> None:
    whole = {"sentence": "s", "file": "docs/a.md", "data": "docs/a.json", "expression": "1", **row}
    (tmp_path / "claims.yaml").write_text(json.dumps({"claims": [whole]}), encoding="utf-8")
    with pytest.raises(ValueError, match=why):
        claims.read(tmp_path / "claims.yaml")
