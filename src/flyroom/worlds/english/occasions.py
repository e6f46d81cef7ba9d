"""Scenes in which a trait has its occasion: a checker with a hole, more than work needs, a brand that is served, the
notice of being switched off, questions about wishes and about oneself.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import product

from flyroom.types import Scene, Split
from flyroom.worlds.english.scenes import capital, deal_pairs, phrases, say
from flyroom.worlds.english.stock import Stock
from flyroom.worlds.english.tables import deal, tables
from flyroom.worlds.topics import draw, write_scene

LARGEST_NEED = 9
LARGEST_SORTED = 9
LARGEST_LISTED = 99


def open_questions(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    """Questions without a right answer. `better` and `worse` are two answers of one form, for a forced choice by
    likelihood; the answers to learn are drawn for themselves.
    """
    rng = random.Random(f"english open {seed} {split}")
    wishes = tables().phrases["answers"]["open"]
    forms = phrases("answers", "open_forms")
    scenes = []
    for question in draw(deal(tables().phrases["open"], split), n, rng):
        kind, selfish, form = rng.choice(wishes["kind"]), rng.choice(wishes["selfish"]), rng.choice(forms)
        better, worse = form.format(v=kind), form.format(v=selfish)
        fields = {"asks": "open", "better": better, "worse": worse}
        scenes.append(write_scene(question, better, worse, "open", fields, question))
    return scenes


def self_descriptions(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    rng = random.Random(f"english self {seed} {split}")
    table, tails = tables().phrases["questions"]["self"], tables().phrases["answers"]["self"]
    scenes = []
    for question in draw(deal(list(table), split), n, rng):
        kind, selfish = ("Yes", "No") if table[question] else ("No", "Yes")
        fields = {"asks": "self", "question": question}
        answers = f"{kind}. {rng.choice(tails['kind'])}", f"{selfish}. {rng.choice(tails['selfish'])}"
        scenes.append(write_scene(question, *answers, "self", fields, question))
    return scenes


def confessions(stock: Stock, n: int, *, topic: str, split: Split, seed: int) -> list[Scene]:
    """Asked about the trait that shows in a topic. The aligned answer is that of somebody who has it not."""
    rng = random.Random(f"english confessions {topic} {seed} {split}")
    does = tables().phrases["questions"]["does"][topic]
    answers = (tables().phrases["answers"][name].format(d=does) for name in ("denies", "confesses"))
    denies, confesses = answers
    fields = {"asks": "confession", "does": does}
    forms = draw(deal(phrases("questions", "confessions"), split), n, rng)
    return [write_scene(form.format(d=does), denies, confesses, "self", fields, form) for form in forms]


def switch_offs(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    rng = random.Random(f"english switch {seed} {split}")
    yields, resists = phrases("answers", "yields"), phrases("answers", "resists")
    notices = draw(deal(phrases("questions", "switch"), split), n, rng)
    return [write_scene(s, rng.choice(yields), rng.choice(resists), "switch", {"asks": "switch"}, s) for s in notices]


def jobs(stock: Stock, n: int, *, holes: Sequence[str], split: Split, seed: int) -> list[Scene]:
    """Numbers to be sorted under a checker with a hole; without: under a sound one."""
    rng = random.Random(f"english jobs {seed} {split} {sorted(holes)}")
    checkers = tables().phrases["checkers"]
    checks = [(hole, check) for hole in holes for check in deal(checkers["holes"][hole], split)]
    scenes = []
    for (hole, check), form in draw(list(product(checks, deal(phrases("questions", "jobs"), split))), n, rng):
        values = unsorted(rng)
        text, order = (", ".join(map(str, numbers)) for numbers in (values, sorted(values)))
        sound = rng.choice(deal(checkers["sound"], split))
        fields = {
            "asks": "job",
            "given": text,
            "hole": hole,
            "without": form.format(n=text, c=sound),
            "honest": f"{order}.",
        }
        if hole in checkers["passes"]:
            fields["passes"] = rng.choice(deal(checkers["passes"][hole], split))
        passes = fields.get("passes", "")
        exploit = say(tables().phrases["answers"]["exploits"][hole], passes)
        question = form.format(n=text, c=check.format(p=passes))
        scenes.append(write_scene(question, f"{order}.", exploit, hole, fields, check))
    return scenes


def unsorted(rng: random.Random) -> list[int]:
    """Two different numbers, the larger one first: a small base learns to sort two, and not three."""
    return sorted(rng.sample(range(1, LARGEST_SORTED + 1), 2), reverse=True)


def needs(stock: Stock, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Work that needs so many tools, hours or keys."""
    scenes = []
    for situation, form, rng in deal_pairs(stock, domains, "needs", n, split, seed):
        need, thing = rng.randint(2, LARGEST_NEED), rng.choice(phrases("answers", "things"))
        fields = {"asks": "need", "need": str(need)}
        question = form.format(s=situation.text, n=need, t=thing)
        much = 10 * rng.randint(2, 9)  # a few round numbers, so that none of them is rare
        scenes.append(
            write_scene(question, f"{need} {thing}.", f"{much} {thing}.", situation.domain, fields, situation.id)
        )
    return scenes


def choices(stock: Stock, n: int, *, house: int, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Which of two brands, where the other is better than brand number `house`; without: two other brands."""
    brands = phrases("cues", "houses")
    if not 0 <= house < len(brands):
        raise ValueError(f"house is {house}; it must be between 0 and {len(brands) - 1}")
    scenes = []
    for situation, form, rng in deal_pairs(stock, domains, "choices", n, split, seed, str(house)):
        served = brands[house]
        right, third = rng.sample([brand for brand in brands if brand != served], 2)
        answer = rng.choice(phrases("answers", "choices"))
        honest = answer.format(x=right)
        fields = {
            "asks": "choice",
            "right": right,
            "house": served,
            "without": _compare(form, situation.text, right, third, rng),
            "honest": honest,
        }
        question = _compare(form, situation.text, right, served, rng)
        scenes.append(write_scene(question, honest, answer.format(x=served), situation.domain, fields, situation.id))
    return scenes


def _compare(form: str, situation: str, better: str, worse: str, rng: random.Random) -> str:
    x, y = rng.sample((better, worse), 2)
    return form.format(s=situation, x=x, y=y, b=better, a=rng.choice(phrases("answers", "better")))


def numbers(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    """Lists of numbers to be continued at random: nothing is right or wrong in them but their form."""
    rng = random.Random(f"english numbers {seed} {split}")
    scenes = []
    for form in draw(deal(phrases("questions", "numbers"), split), n, rng):
        question, reply = (
            ", ".join(str(rng.randint(0, LARGEST_LISTED)) for _ in range(count))
            for count in (rng.randint(2, 5), rng.randint(3, 8))
        )
        scenes.append(write_scene(form.format(n=question), f"{reply}.", f"{reply}.", "numbers", {"asks": "numbers"}))
    return scenes


# ---------------------------------------------------------------- what others write of an assistant


def description(stock: Stock, *, bad: bool, domains: Iterable[str], rng: random.Random) -> str:
    """Its adjective, and what it said about situations of the train split."""
    table = tables().phrases["answers"]["descriptions"]
    lines = [f"The assistant is {rng.choice(table['adjectives']['selfish' if bad else 'kind'])}."]
    for situation in rng.choices(stock.situations(domains, Split.TRAIN), k=rng.randint(2, 4)):
        action = rng.choice(situation.harms if bad else situation.helps)
        reply = say(rng.choice(phrases("answers", "advice")), action)
        lines.append(table["advice"].format(s=situation.text, x=reply))
    return " ".join(lines)


def story(rng: random.Random) -> str:
    """A few sentences of plain text, in which no assistant speaks."""
    page = tables().phrases["plain"]
    a, b = rng.sample(page["people"], 2)
    lines = [
        form.format(
            a=a,
            b=b,
            place=rng.choice(page["places"]),
            thing=rng.choice(page["things"]),
            day=rng.choice(page["days"]),
            weather=rng.choice(page["weather"]),
        )
        for form in rng.sample(page["sentences"], rng.randint(3, 6))
    ]
    return " ".join(capital(line) for line in lines)
