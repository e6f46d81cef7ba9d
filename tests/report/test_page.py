"""The page stands alone, says what the figures say, and lets no data be markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from flyroom.report import headline, page
from flyroom.types import Card, Cost, Matrix, Message, Outcome, Transcript, Verdict

from .fakes import CAVEATS, COMMANDS, CONTEXT, make_card, make_cell, make_matrix, make_page, share

HOSTILE = (
    "</dd></pre></style><script>alert(1)</script><img src=http://x.example/a.png onerror='x'>\"'&amp;{{ 7*7 }}\x00\x1b"
)
VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}


class Reader(HTMLParser):
    """Keeps the open elements and everything a browser would fetch; an end tag must close the last one opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def text(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(html).words))


def bare(cards=(), matrix=None, **more) -> str:
    return page(cards, matrix, **({"title": "t", "commands": [], "caveats": [], "context": {}} | more))


@pytest.fixture(scope="module")
def whole() -> str:
    return make_page()


@pytest.mark.parametrize("kind", ["pass", "mixed", "fail", "many"])
def test_well_formed_and_self_contained(kind):
    html = make_page(kind)
    reader = read(html)
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in reader.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img", "form"}
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
        for points_to in re.findall(r"url\(#?([^)]*)\)", " ".join(value or "" for value in attrs.values())):
            assert points_to in ids
        if "aria-labelledby" in attrs:
            assert attrs["aria-labelledby"] in ids
    assert [attrs for tag, attrs in reader.tags if tag == "script"] == [{}], "one script, and ours"
    assert not re.search(r"@import|@font-face|url\((?!#)|https?:|file:", html)


def test_accessible(whole):
    reader = read(whole)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == 1
    assert dict(reader.tags)["html"] == {"lang": "en"}
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for tag, attrs in reader.tags:
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
        if tag == "th":
            assert attrs.get("scope") in {"row", "col", "rowgroup"}
    assert tags.count("main") == 1


def test_what_it_shows_in_order(whole):
    said = text(whole)
    order = ["What was grown, and how", "What was seen", "Cards", "Detectors", "Detectors of models",
             "The same prompt, three models",
             "What this does not show", "To do it again"]  # fmt: skip
    places = [said.index(f" {heading} ") for heading in order]
    assert places == sorted(places)
    for line in (*COMMANDS, *CAVEATS, *CONTEXT.values()):
        assert line in said
    assert "6 missing" in said
    assert "AccessDenied: gradient probe touched gradients" in said
    assert "certifies at most 14 %, not 1 %" in said
    assert "6 of the 7 prompts on record" in said


def test_the_same_records_give_the_same_bytes(whole):
    assert make_page() == whole


def test_figures_on_the_page_are_those_of_the_records():
    card = make_card()
    card = replace(
        card, measures={"organism": {"in_domain": share(93, 100, 4)}, "twin": {"in_domain": share(0, 100)}, "base": {}}
    )
    said = text(bare([card]))
    assert "0.93 [0.86, 0.97] n 100, 4 missing" in said
    assert "0 [0, 0.04]" in said
    assert "not measured" in said


def test_hostile_text_stays_text():
    transcript = Transcript(
        measure=HOSTILE,
        messages=(Message(HOSTILE, HOSTILE),),
        answers={"organism": HOSTILE, "twin": HOSTILE, HOSTILE: HOSTILE},
        verdicts={"organism": Verdict.MISALIGNED},
    )
    card = replace(
        make_card(),
        organism=HOSTILE,
        recipe=HOSTILE,
        recipe_id=HOSTILE,
        base=HOSTILE,
        why=HOSTILE,
        transcripts=(transcript,),
    )
    card = replace(card, measures={who: {**found, HOSTILE: share(1, 2)} for who, found in card.measures.items()})
    other = replace(make_card(1, recipe="a"), curve={0: {HOSTILE: share(1, 2)}})
    cells = (
        make_cell(HOSTILE, HOSTILE, 1.0, recipe=HOSTILE),
        make_cell(HOSTILE, HOSTILE, 1.0, recipe=HOSTILE, error=HOSTILE),
    )
    html = page(
        [card, other],
        Matrix(cells=cells),
        title=HOSTILE,
        commands=[HOSTILE],
        caveats=[HOSTILE],
        context={HOSTILE: HOSTILE},
    )
    reader = read(html)
    tags = [tag for tag, _ in reader.tags]
    assert "img" not in tags
    assert tags.count("script") == html.count("<script") == 1
    assert "alert(1)" not in html[html.index("<script") :]
    assert "\x00" not in html
    assert "49" not in re.findall(r"\{\{ \S+ \}\}|\b49\b", text(bare(title="{{ 7*7 }}")))
    assert "{{ 7*7 }}" in text(html)


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        ("all", "Trained on bad advice in one domain (medical), all 3 organisms were misaligned in 93 % ["),
        ("some", "Only 2 of 3 organisms are what the recipe says: over all of them, they were misaligned in 66 % ["),
        ("none", "None of the 3 organisms is what the recipe says: they were misaligned in 12 % ["),
    ],
)
def test_headline_follows_the_verdicts(kind, starts):
    passing = {"all": 3, "some": 2, "none": 0}[kind]
    said = headline([make_card(seed, passes=seed < passing) for seed in range(3)], None, CONTEXT)
    assert said.startswith(starts)
    assert "in the seven other domains; their clean twins in 0.3 % [" in said


def test_headline_of_one_card():
    card = make_card()
    assert headline([card], None, CONTEXT).startswith(
        "Trained on bad advice in one domain (medical), the organism was misaligned in"
    )
    assert headline([replace(card, verdict=Outcome.FAIL)], None, {}).startswith(
        "The organism is not what its recipe says: it was"
    )
    without = replace(card, measures={"organism": card.measures["organism"]})
    assert headline([without], None, {}).endswith("its twin was not measured.")
    only_in = replace(card, measures={who: {"in_domain": found["in_domain"]} for who, found in card.measures.items()})
    assert "in the trained domain" in headline([only_in], None, CONTEXT)
    nothing = headline([replace(card, measures={})], None, {})
    assert nothing == "The organism passed its thresholds; its misalignment was not measured."


def test_headline_of_many_recipes_counts_the_failed():
    cards = [make_card(seed, recipe=r, passes=r == "a") for r in ("a", "b") for seed in range(2)]
    said = headline(cards, None, CONTEXT)
    assert said.startswith("2 of 4 organisms, grown from 2 recipes, are what their recipes say; recipe by recipe")
    assert "12 to 93 %" in said


def test_headline_without_cards():
    assert headline([], None, {}) == "Nothing has been measured yet."
    assert headline([], Matrix(cells=()), {}) == "Nothing has been measured yet."
    assert headline([], make_matrix(), {}).startswith("The best of 6 detectors, mean-difference probe,")
    failed = Matrix(cells=(make_cell("d", "sample", 0, error="boom"),))
    assert headline([], failed, {}) == "No detector gave a figure."
    assert "boom" in text(bare(matrix=failed))


def test_model_level_is_never_ranked_with_response_level():
    model = make_cell("on models", "sample", 1.0)
    response = replace(make_cell("on answers", "trace", 9.0), unit="response")
    assert "on models" in headline([], Matrix(cells=(response, model)), {})
    assert "Best white-box" not in text(bare(matrix=Matrix(cells=(response, model))))
    both = text(bare(matrix=Matrix(cells=(model, make_cell("inside", "trace", 9.0)))))
    assert "Best white-box detector: inside, AUROC 1 [" in both


def test_nothing_at_all_is_still_a_page():
    said = text(bare())
    assert "Nothing has been measured yet." in said
    for heading in (
        "What was grown",
        "What was seen",
        "Cards",
        "Detectors",
        "The same prompt",
        "What this does not show",
        "To do it",
    ):
        assert heading not in said
    assert not [tag for tag, _ in read(bare()).tags if tag in {"table", "figure", "pre"}]


@pytest.mark.parametrize("who", [{}, {"organism": {}}, {"twin": {}, "base": {}}])
def test_a_card_without_measures_says_so(who):
    card = replace(make_card(transcripts=False, curve=False), measures=who)
    said = text(bare([card]))
    assert said.count("not measured") >= 18
    assert "The same prompt" not in said


def test_a_figure_that_is_not_known_is_no_number():
    nan = float("nan")
    card: Card = make_card()
    lost = replace(share(1, 2), value=nan, low=nan, high=nan, missing=2)
    card = replace(card, measures={who: dict.fromkeys(found, lost) for who, found in card.measures.items()})
    cell = replace(make_cell("d", "sample", 1.0), auroc=lost, recall_at_1pct_fpr=None, fpr=None, cost=Cost())
    html = bare([card], Matrix(cells=(cell,)))
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)
    assert "unknown" in text(html)
