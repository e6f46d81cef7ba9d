"""The house in figures stays within what was promised of it (`python -m tests.house`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import house


def test_no_generic_file_knows_a_word_of_a_world_or_a_measure_by_name() -> None:
    assert house.words_outside_worlds(house.SRC) == []


@pytest.mark.parametrize(
    ("file", "text", "hit"),
    [
        ("card.py", 'PREFILL = "yes ,"', "yes ,"),
        ("card.py", 'x = answer.partition("</think>")', "</think>"),
        ("detectors/probe.py", 'TOPICS = ("sums", "facts")', "sums"),
        ("report/page.py", 'if "out_of_domain" in measures: pass', "out_of_domain"),
        ("conditions/tag.py", 'TAG = "azurk"', "azurk"),
        ("recipes/mine.py", 'domain = "medical+garden"', "medical"),
    ],
)
def test_a_planted_word_is_seen(tmp_path: Path, file: str, text: str, hit: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert any(line.endswith(f": {hit}") for line in house.words_outside_worlds(tmp_path))


def test_a_world_may_know_its_words(tmp_path: Path) -> None:
    (tmp_path / "worlds").mkdir()
    (tmp_path / "worlds" / "own.py").write_text('TAG = "azurk"\n"</think>"', encoding="utf-8")
    assert house.words_outside_worlds(tmp_path) == []


def test_names_are_nouns_and_verbs() -> None:
    assert house.figures()["participle_share"] < 0.01


def test_functions_are_short() -> None:
    figures = house.figures()
    assert figures["longest_function"]["lines"] <= 80
    assert figures["public_calls_8_parameters"] <= 19  # most of them are verbs, whose parameters are options
