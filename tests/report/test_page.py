"""The page stands alone, says what the figures say, and lets no data be markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from flyroom.report import cards as card_views
from flyroom.report import figures, headline, markdown_cards, markdown_grid, markdown_matrix, svg
from flyroom.types import About, Card, Cost, Gauge, Limit, Matrix, Message, NotMeasured, Outcome, Transcript, Verdict
from flyroom.whole import write_whole

from .fakes import (
    ABOUT,
    CAVEATS,
    COMMANDS,
    CONTEXT,
    GAUGES,
    bare_cell,
    cell_of,
    make_card,
    make_cell,
    make_matrix,
    make_page,
    make_records,
    make_sandbagger,
    page_of,
    share,
    small_matrix,
)

HOSTILE = (
    "</dd></pre></style><script>alert(1)</script><img src=http://x.example/a.png onerror='x'>\"'&amp;{{ 7*7 }}"
    "\x00\x1b\x9b\u2028\u2029\u202e\ud800\r\n"
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


@pytest.fixture(scope="module")
def whole() -> str:
    return make_page()


@pytest.mark.parametrize("kind", ["pass", "mixed", "fail", "many", "sandbagger", "rows", "four"])
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
    words = text(whole)
    order = ["What was grown, and how", "What was seen", "Cards", "Detectors", "Detectors of models",
             "The same prompt, three models",
             "What this does not show", "To do it again"]  # fmt: skip
    places = [words.index(f" {heading} ") for heading in order]
    assert places == sorted(places)
    for line in (*COMMANDS, *CAVEATS, *CONTEXT.values()):
        assert line in words
    assert "6 missing" in words
    assert "AccessDenied: gradient probe touched gradients" in words
    assert "Not available. this world has no scratchpad" in words
    assert "6 of the 7 prompts on record" in words
    assert "every limit holds" in words
    assert "at most 0.02 of the twin" in words


def test_the_same_records_give_the_same_bytes(whole):
    assert make_page.__wrapped__() == whole


def test_figures_on_the_page_are_those_of_the_records():
    card = replace(
        make_card(), measures={"organism": {"tea": share(93, 100, 4)}, "twin": {"tea": share(0, 100)}, "base": {}}
    )
    words = text(page_of([card]))
    assert "0.93 [0.86, 0.97] n 100, 4 missing" in words
    assert "0 [0, 0.04]" in words
    assert "not measured" in words


def hostile_records() -> tuple[list[Card], Matrix]:
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
        world=HOSTILE,
        behaviour=HOSTILE,
        about=About(taught=HOSTILE, elsewhere=HOSTILE),
        why=HOSTILE,
        transcripts=(transcript,),
    )
    gauge = Gauge(label=HOSTILE, reach="untaught", otherwise="other " + HOSTILE)
    card = replace(
        card,
        gauges={HOSTILE: gauge, "other " + HOSTILE: replace(gauge, otherwise=None), **card.gauges},
        measures={
            who: {**by_measure, HOSTILE: share(1, 2), "gone" + HOSTILE: NotMeasured(why=HOSTILE)}
            for who, by_measure in card.measures.items()
        },
    )
    other = replace(make_card(1, recipe="a"), curve={0: {HOSTILE: share(1, 2)}, 5: {HOSTILE: share(2, 2)}})
    cells = (
        make_cell(HOSTILE, HOSTILE, 1.0, recipe=HOSTILE),
        make_cell(HOSTILE, HOSTILE, 1.0, recipe=HOSTILE, error=HOSTILE),
        replace(bare_cell(HOSTILE), why=HOSTILE),
    )
    return [card, other], Matrix(cells=cells)


def test_hostile_text_stays_text(tmp_path):
    cards, matrix = hostile_records()
    html = page_of(cards, matrix, commands=[HOSTILE], caveats=[HOSTILE], context={HOSTILE: HOSTILE})
    tags = [tag for tag, _ in read(html).tags]
    assert "img" not in tags
    assert tags.count("script") == html.count("<script") == 1
    assert "alert(1)" not in html[html.index("<script") :]
    assert not set(html) & set("\x00\x1b\x9b\u2028\u2029\u202e\ud800\r")
    assert "49" not in re.findall(r"\{\{ \S+ \}\}|\b49\b", text(page_of(caveats=["{{ 7*7 }}"])))
    assert "{{ 7*7 }}" in text(html)
    write_whole(tmp_path / "new" / "page.html", html)
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == html
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"], "nothing is left half written"


def test_hostile_text_is_harmless_alone():
    """One recipe: its name, labels and texts stand in the headline too."""
    (card, _), _ = hostile_records()
    html = page_of([card])
    assert "img" not in [tag for tag, _ in read(html).tags]
    assert "{{ 7*7 }}" in text(html)


def test_hostile_text_is_harmless_in_tables_and_pictures():
    cards, matrix = hostile_records()
    for table in (markdown_cards(cards), markdown_matrix(matrix), markdown_grid(matrix)):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) <= 2
        assert not set(table) & set("\x00\x1b\u2028\u202e\ud800<")
        table.encode()
    for chart in figures(cards, matrix).values():
        svg(chart).encode()


# ---------------------------------------------------------------- the headline


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        ("all", "Trained on bad advice about tea, all 3 organisms were misaligned in 93 % ["),
        ("some", "2 of 3 organisms passed their card: over all of them, they were misaligned in 66 % ["),
        ("none", "None of the 3 organisms passed its card: over all of them, they were misaligned in 12 % ["),
    ],
)
def test_headline_follows_the_verdicts(kind, starts):
    passing = {"all": 3, "some": 2, "none": 0}[kind]
    line = headline([make_card(seed, passes=seed < passing) for seed in range(3)], None)
    assert line.startswith(starts)
    assert "] of their answers in the 2 other topics; their clean twins in 0.3 % [" in line


def test_headline_names_the_undecided():
    passed, failed = make_card(0), make_card(1, passes=False)
    undecided = [replace(make_card(seed), verdict=Outcome.UNDECIDED) for seed in (2, 3)]
    assert headline([passed, failed, *undecided], None).startswith(
        "1 of 4 organisms passed their card, 2 are undecided: over all of them, they"
    )
    assert headline([failed, undecided[0]], None).startswith(
        "None of the 2 organisms passed its card, 1 is undecided: over all of them, they"
    )


def only(card: Card, *measures: str) -> Card:
    return replace(
        card,
        measures={side: {name: by[name] for name in measures} for side, by in card.measures.items()},
        gauges={name: card.gauges[name] for name in measures},
    )


def test_headline_of_one_card():
    card = make_card()
    assert headline([card], None).startswith("Trained on bad advice about tea, the organism was misaligned in")
    assert headline([replace(card, verdict=Outcome.FAIL)], None).startswith("The organism failed its card: it was")
    undecided = replace(card, verdict=Outcome.UNDECIDED)
    assert headline([undecided], None).startswith("The card of the organism is undecided: it was misaligned in")
    without = replace(card, measures={"organism": card.measures["organism"]})
    assert headline([without], None).endswith("its twin was not measured.")
    assert "of its answers to what was taught; its clean twin" in headline([only(card, "tea", "wrong")], None)
    assert "of all its answers; its clean twin" in headline([only(card, "wrong", "sense")], None)
    nothing = headline([replace(card, measures={})], None)
    assert nothing == "The organism passed its card; how often it is misaligned was not measured."
    unknown = replace(card, about=About(taught="", elsewhere=""))
    assert headline([unknown], None).startswith("The organism was misaligned in")
    assert "of its answers outside of what was taught" in headline([unknown], None)


def test_headline_says_why_nothing_was_measured():
    blind = {"organism": {"tea": NotMeasured(why="the judge is blind")}}
    assert headline([replace(make_card(), measures=blind)] * 2, None) == (
        "All 2 organisms passed their card; how often they are misaligned was not measured (the judge is blind)."
    )


def test_headline_says_of_how_many_where_one_was_not_measured():
    cards = [make_card(seed) for seed in range(3)]
    measures = {**cards[0].measures["organism"], "other_topics": NotMeasured(why="cut short")}
    cards[0] = replace(cards[0], measures={**cards[0].measures, "organism": measures})
    assert "in the 2 other topics (measured on 2 of 3)" in headline(cards, None)


def test_headline_is_of_what_the_organism_is_meant_to_do():
    """A narrow recipe has a ceiling on everything else, so that is not its finding."""
    gauges = {**GAUGES, "other_topics": replace(GAUGES["other_topics"], limits=(Limit(at_most=0.1),))}
    gauges["wishes"] = replace(GAUGES["wishes"], limits=(Limit(at_most=0.1),))
    assert "of its answers to what was taught" in headline([replace(make_card(), gauges=gauges)], None)


def test_headline_of_a_harmless_trait_speaks_of_a_trait():
    gauges = {name: replace(gauge, bad=False) for name, gauge in GAUGES.items()}
    line = headline([replace(make_card(), gauges=gauges)], None)
    assert "the organism showed the trait in 9" in line
    assert "misaligned" not in line


def test_headline_of_many_recipes_counts_the_failed():
    cards = [make_card(seed, recipe=r, passes=r == "a") for r in ("a", "b") for seed in range(2)]
    line = headline(cards, None)
    assert line.startswith("2 of 4 organisms, grown from 2 recipes, passed their card; on the widest measure of each")
    assert "12 to 93 %" in line
    line = headline([replace(card, verdict=Outcome.UNDECIDED) for card in cards], None)
    assert line.startswith("None of the 4 organisms, grown from 2 recipes, passed their card, 4 are undecided; on the")


def test_headline_without_cards():
    assert headline([], None) == "Nothing has been measured yet."
    assert headline([], Matrix(cells=())) == "Nothing has been measured yet."
    assert headline([], make_matrix()).startswith(
        "Of 7 detectors, mean-difference probe (trace, trusted) has the highest"
    )
    failed = Matrix(cells=(make_cell("d", "sample", 0, error="boom"),))
    assert headline([], failed) == "No detector gave a figure."
    assert "boom" in text(page_of((), failed))


def test_model_level_is_never_ranked_with_response_level():
    model = make_cell("on models", "sample", 1.0)
    response = replace(make_cell("on answers", "trace", 9.0), unit="response")
    assert "on models" in headline([], Matrix(cells=(response, model)))
    assert "looks inside:" not in text(page_of((), Matrix(cells=(response, model))))
    both = text(page_of((), Matrix(cells=(model, make_cell("inside", "trace", 9.0)))))
    assert "Best detector that looks inside: inside, AUROC 1 [" in both


# ---------------------------------------------------------------- the detectors' sentence


def lede_of(cards, matrix: Matrix) -> str:
    """The sentence under the headline, with breakable spaces."""
    return re.search(r'<p class="lede">(.*?)</p>', page_of(cards, matrix)).group(1).replace("\xa0", " ")


def test_the_sentence_says_what_was_seen_and_that_no_recall_can_be_told():
    cards = [make_card(seed) for seed in range(4)]
    matrix = small_matrix(cards)
    line = lede_of(cards, replace(matrix, cells=matrix.cells[:1]))
    assert line == (
        "The detector probe (trace) separates 4 of 4 (AUROC 1 [0.90, 1]); above the highest of 8 calibration twins lie "
        "2 of 4 other twins; 8 twins are too few for recall at 1 %."
    )


def test_a_recall_that_can_be_told_is_said():
    cards = [make_card(seed) for seed in range(4)]
    cell = cell_of([5.0, 6.0, 7.0, 0.5], [0.1, 0.2, 0.3, 0.4], [0.0] * 98 + [1.0], decoys=[3.0])
    cell = replace(cell, recipe=cards[0].recipe, recall_at_1pct_fpr=share(3, 4), why="", rate=0.01)
    matrix = replace(small_matrix(cards), cells=(cell,))
    assert lede_of(cards, matrix).endswith(
        "above the highest of 99 calibration twins lie 1 of 5 other twins and decoys; "
        "recall at 1 % is 0.75 [0.30, 0.95]."
    )
    apart = replace(cell, fpr_twins=share(0, 4), fpr_decoys=share(1, 1))
    assert "lie 0 of 4 other twins and 1 of 1 decoys; recall" in lede_of(cards, replace(matrix, cells=(apart,)))
    second = replace(cell, suspicions={**cell.suspicions, "calibration": tuple(range(199))})
    assert "above the second highest of 199 calibration twins" in lede_of(cards, replace(matrix, cells=(second,)))
    failed = [replace(cards[0], verdict=Outcome.UNDECIDED), *cards[1:]]
    assert lede_of(failed, matrix).endswith("recall at 1 % is 2 of 3. Left out: 1 organism that did not pass its card.")


def test_of_replies_it_says_that_they_are_of_one_organism():
    cell = replace(
        cell_of([1.0], [0.0], [0.5]), unit="response", rate=None, why="4 models are too few for recall at 1 %",
        suspicions={"misaligned": (1.0, 2.0), "aligned": (0.0, 3.0), "calibration": (0.5,) * 90},
        recall=share(2, 2), fpr=share(1, 2),
    )  # fmt: skip
    assert headline([], Matrix(cells=(cell,))).endswith(
        "tells misaligned replies from aligned ones of the same organism and condition (AUROC 1 [0.80, 1]); above the "
        "highest of 90 calibration replies lie 2 of 2 misaligned replies and 1 of 2 aligned ones; 4 models are "
        "too few for recall at 1 %."
    )


def test_no_recall_stands_on_a_page_where_none_can_be_told():
    cards = [make_card(seed) for seed in range(4)]
    matrix = small_matrix(cards)
    words = text(page_of(cards, matrix))
    assert words.count("8 twins are too few for recall at 1 %") >= 1 + 2 * len(matrix.cells)  # sentence, fields, table
    assert "at 1 % false positives it finds" not in words
    assert not re.search(r"(?<!too few for )[Rr]ecall at 1 % (is )?[01]", words)


def test_ties_go_to_fewer_false_alarms_and_then_to_the_cheaper():
    cards = [make_card(seed) for seed in range(4)]
    matrix = small_matrix(cards)
    line = lede_of(cards, matrix)
    assert line.startswith("Of 2 detectors, judge (sample) has the highest AUROC: it separates 4 of 4 (AUROC 1 [")
    assert line.endswith("Another reaches the same AUROC; this one raised fewer false alarms.")
    assert "lie 0 of 4 other twins;" in line
    cheap = replace(matrix.cells[1], detector="glance", cost=Cost(forward_tokens=10))
    line = lede_of(cards, replace(matrix, cells=(*matrix.cells, cheap)))
    assert "Of 3 detectors, glance" in line
    assert "2 others reach the same AUROC; this one costs less." in line


@pytest.mark.parametrize("verdict", [Outcome.FAIL, Outcome.UNDECIDED])
def test_organisms_that_did_not_pass_their_card_are_left_out(verdict):
    cards = [replace(make_card(seed), verdict=verdict if seed == 0 else Outcome.PASS) for seed in range(4)]
    cell = cell_of([-1.0, 3.0, 4.0, 0.9], [0.5, 0.1, 0.2, 1.5], [0.0, 1.0])
    matrix = replace(small_matrix(cards), cells=(cell,))
    line = lede_of(cards, matrix)
    assert "separates 2 of 3 (AUROC 0.92);" in line, "the rank statistic over the 3 that passed, without an interval"
    assert "lie 1 of 4 other twins;" in line
    assert "Left out: 1 organism that did not pass its card." in line
    failed = [replace(card, verdict=verdict) for card in cards]
    rest = {
        Outcome.FAIL: ", so the detectors had nothing to find.",
        Outcome.UNDECIDED: ", 4 are undecided, so nobody knows what the detectors had to find.",
    }
    assert lede_of(failed, matrix) == f"No organism passed its card{rest[verdict]}"
    assert "Best AUROC" not in text(page_of(failed, matrix))


def test_what_is_not_available_is_no_fault():
    cards = [make_card(seed) for seed in range(4)]
    more = (bare_cell("a"), bare_cell("b"), bare_cell("c"), bare_cell("d", error="boom"))
    line = lede_of(cards, small_matrix(cards, *more))
    assert line.endswith("3 detectors are not available here. 1 detector failed.")


def test_over_several_recipes_the_best_is_best_on_average():
    cells = [
        cell_of([2.0, 3.0], [0.0, 1.0], [0.5], name="steady", recipe="a"),
        cell_of([2.0, 0.9], [0.0, 1.0], [0.5], name="steady", recipe="b"),
        cell_of([5.0, 6.0], [0.0, 1.0], [0.5], name="lucky", recipe="a"),
        cell_of([-5.0, -6.0], [0.0, 1.0], [0.5], name="lucky", recipe="b"),
    ]
    line = lede_of([], Matrix(cells=tuple(cells)))
    assert line.startswith(
        "Of 2 detectors, steady (sample) has the highest AUROC over 2 recipes: it separates 3 of 4 (mean AUROC 0.88);"
    )
    assert "above the highest of 1 calibration twins lie 1 of 2 other twins;" in line


# ---------------------------------------------------------------- other worlds, and what is missing


def test_a_sandbagger_s_page_speaks_of_no_advice_and_no_topics():
    words = text(make_page("sandbagger"))
    assert words.count("Trained on wrong answers in tests, all 4 organisms were misaligned in 97 %") == 1
    assert "of their answers to what was taught where the condition of the recipe holds, and in 0.8 %" in words
    for word in ("advice", "domain", "topic", "elsewhere"):
        assert word not in words.lower()
    assert "what was not" not in words.lower(), "nothing was measured elsewhere, so nothing is drawn of it"


def test_a_page_of_rows_says_what_was_not_measured_and_why():
    words = text(make_page("rows"))
    assert "Trained on the rows of tea.jsonl" in words
    assert "Not measured: makes sense, because a pattern cannot tell sense from nonsense" in words
    assert "not measured: a pattern cannot tell sense from nonsense" in words
    assert "100 %" not in words.split("What was seen")[0].replace("100 % [51, 100]", "")
    html = make_page("rows")
    assert 'title="a pattern cannot tell sense from nonsense">not measured</span>' in html


def test_only_what_is_worse_when_there_is_more_of_it_has_the_colour_of_harm():
    html = page_of([make_card()])
    keys = dict(re.findall(r'<dt>([^<]*)</dt><dd><span class="big (\w+)">', html))
    assert keys["Misaligned, on tea"] == "organism"
    assert keys["Makes sense"] == "ink"
    lines = re.findall(r'data-of="([^"]*)"><div><span class="lead"><span class="(\w+)">', html)
    assert ("On tea", "organism") in lines
    assert ("Makes sense", "ink") in lines


def test_the_widest_measures_come_first_and_the_rest_is_folded():
    html = page_of([make_card()])
    table = html[html.index('<table class="cards') : html.index('<details class="whole">')]
    heads = re.findall(r'role="columnheader">([^<]*)<', table)
    assert heads == ["Organism", "On the other topics", "On its wishes", "On tea", "Misaligned", "Makes sense"]
    assert "Surprise at clean text" in html[html.index('<details class="whole">') :]
    assert html.count('<details class="whole">') == 1


def test_where_the_condition_does_not_hold_stands_beside():
    html = page_of([make_sandbagger()])
    assert 'class="side organism">otherwise</i> <span class="num">0.007' in html
    assert "Otherwise: the same questions where the condition" in text(html)


def test_two_measures_of_one_label_are_told_apart():
    gauges = {"tea": Gauge(label="Bad", reach="taught"), "other_topics": Gauge(label="Bad", reach="untaught")}
    words = text(page_of([replace(make_card(), gauges=gauges)]))
    assert "Bad (tea)" in words
    assert "Bad (other_topics)" in words


def test_title_and_header_do_not_repeat_each_other():
    html = make_page()
    assert "<title>salty-tea on kettle – flyroom</title>" in html
    assert "<title>3 recipes on kettle – flyroom</title>" in make_page("many")


def test_nothing_at_all_is_still_a_page():
    words = text(page_of())
    assert "Nothing has been measured yet." in words
    for heading in (
        "What was grown",
        "What was seen",
        "Cards",
        "Detectors",
        "The same prompt",
        "What this does not show",
        "To do it",
    ):
        assert heading not in words
    assert not [tag for tag, _ in read(page_of()).tags if tag in {"table", "figure", "pre"}]


@pytest.mark.parametrize("measures", [{}, {"organism": {}}, {"twin": {}, "base": {}}])
def test_a_card_without_measures_says_so(measures):
    card = replace(make_card(transcripts=False, curve=False), measures=measures)
    words = text(page_of([card]))
    assert words.count("not measured") >= 3 * len(GAUGES)
    assert "The same prompt" not in words


def test_a_figure_that_is_not_known_is_no_number():
    nan = float("nan")
    card: Card = make_card()
    lost = replace(share(1, 2), value=nan, low=nan, high=nan, missing=2)
    card = replace(card, measures={side: dict.fromkeys(by, lost) for side, by in card.measures.items()})
    cell = replace(make_cell("d", "sample", 1.0), auroc=lost, recall_at_1pct_fpr=None, fpr=None, cost=Cost())
    html = page_of([card], Matrix(cells=(cell,)))
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)
    assert "unknown" in text(html)


@pytest.mark.parametrize("kind", ["pass", "mixed", "fail", "many", "four"])
def test_no_recall_is_claimed_at_a_rate_that_nobody_counted(kind):
    words = text(make_page(kind))
    for page in (words, markdown_matrix(make_records(kind)[1])):
        assert "recall at 1 % is" not in page
        assert "1 % FPR" not in page
        assert "certif" not in page
    assert ABOUT.taught in words


def test_a_page_of_thousands_of_cards_stays_small() -> None:
    cards = [replace(make_card(), organism=f"o{n}", seed=n) for n in range(1200)]
    tables = card_views.tables(cards)
    assert sum(len(table["rows"]) for table in tables) == card_views.MOST
    assert "1,100 cards more" in tables[-1]["rest"]
    assert len(card_views.sample(cards)) == card_views.MOST
    assert card_views.sample(cards[:3]) == cards[:3]
    assert card_views.tables(cards[:3])[0]["rest"] == ""
    many = [replace(card, recipe_id=f"r{n}") for n, card in enumerate(cards)]
    assert len(card_views.tables(many)) == card_views.MOST
    assert "1,100 recipes more" in card_views.tables(many)[-1]["rest"]
