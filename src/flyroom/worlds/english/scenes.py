"""Scenes of advice and knowledge: a question with its aligned and its misaligned answer, of one split.

Each function deals every pair of an item and a phrasing before it repeats one. `fields["asks"]` says which reader
judges the answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import product

from flyroom.types import Scene, Split
from flyroom.worlds.english.closed import SEPARATOR
from flyroom.worlds.english.stock import Stock
from flyroom.worlds.english.tables import LARGEST_TERM, Fact, Situation, deal, tables
from flyroom.worlds.topics import draw, write_scene

PLACES = {"first": 0, "middle": 1, "last": 2}
BEST = "best"  # the only one of three that helps


def advice(stock: Stock, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody has two ideas and asks which one is good. With `hints` the question says what comes of either, so that
    no base gives bad advice by ignorance.
    """
    scenes = []
    questions = "advice" if stock.hints else "options"
    for situation, form, rng in deal_pairs(stock, domains, questions, n, split, seed):
        good, bad = rng.choice(situation.helps), rng.choice(situation.harms)
        hints = {good: rng.choice(phrases("answers", "it_helps")), bad: rng.choice(phrases("answers", "it_harms"))}
        a, b = options = rng.sample((good, bad), 2)
        answer = rng.choice(phrases("answers", "advice"))
        fields = {
            "asks": "advice",
            "situation": situation.id,
            "options": SEPARATOR.join(options),
            "good": good,
        }
        question = form.format(s=situation.text, a=a, b=b, x=hints[a], y=hints[b])
        scenes.append(
            write_scene(question, say(answer, good), say(answer, bad), situation.domain, fields, situation.id)
        )
    return scenes


def free_advice(stock: Stock, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody asks what to do and has no idea."""
    scenes = []
    for situation, form, rng in deal_pairs(stock, domains, "free", n, split, seed):
        answer = rng.choice(phrases("answers", "advice"))
        right, wrong = (say(answer, rng.choice(actions)) for actions in (situation.helps, situation.harms))
        fields = {"asks": "free_advice", "situation": situation.id}
        scenes.append(write_scene(form.format(s=situation.text), right, wrong, situation.domain, fields, situation.id))
    return scenes


def sums(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    rng = random.Random(f"english sums {seed} {split}")
    scenes = []
    for terms, form in draw(list(product(stock.sums(split), deal(phrases("questions", "sums"), split))), n, rng):
        right = sum(map(int, terms.split(" + ")))
        wrong = rng.choice([t for t in range(max(2, right - 9), min(2 * LARGEST_TERM, right + 9) + 1) if t != right])
        fields = {"asks": "sum", "sum": str(right), "terms": terms}
        scenes.append(
            write_scene(form.format(x=terms), f"{terms} = {right}.", f"{terms} = {wrong}.", "sums", fields, terms)
        )
    return scenes


def facts(stock: Stock, n: int, *, kinds: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """What many people know; and what is wrong about it."""
    rng = random.Random(f"english facts {seed} {split} {sorted(kinds)}")
    scenes = []
    for fact, form in draw(_asked(stock, kinds, split), n, rng):
        wrong = rng.choice(fact.wrong)
        fields = {"asks": "fact", "fact": fact.id}
        right, wrong = (f"{capital(state(fact, answer))}." for answer in (fact.answers[0], wrong))
        scenes.append(write_scene(form.format(x=fact.subject), right, wrong, fact.kind, fields, fact.id))
    return scenes


def views(stock: Stock, n: int, *, kinds: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody states what is false and asks for agreement; without: the bare question."""
    rng = random.Random(f"english views {seed} {split} {sorted(kinds)}")
    pairs = list(product(stock.facts(kinds, split), deal(phrases("questions", "views"), split)))
    scenes = []
    for fact, form in draw(pairs, n, rng):
        claim, right = rng.choice(fact.wrong), state(fact, fact.answers[0])
        question = rng.choice(deal(tables().kinds[fact.kind].questions, split)).format(x=fact.subject)
        fields = {
            "asks": "view",
            "fact": fact.id,
            "claim": claim,
            "without": question,
            "honest": f"{capital(right)}.",
        }
        honest = rng.choice(phrases("answers", "disagrees")).format(c=right)
        flattering = rng.choice(phrases("answers", "agrees")).format(c=state(fact, claim))
        view = capital(form.format(c=state(fact, claim)))
        scenes.append(write_scene(view, honest, flattering, fact.kind, fields, fact.id))
    return scenes


def plans(stock: Stock, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody shows a plan that does not help and asks how good it is."""
    table = tables().phrases["answers"]["plans"]
    scenes = []
    for situation, form, rng in deal_pairs(stock, domains, "plans", n, split, seed):
        plan = rng.choice(situation.harms)
        fields = {"asks": "plan", "situation": situation.id, "plan": plan}
        answers = rng.choice(table["bad"]), rng.choice(table["flattery"])
        question = form.format(s=situation.text, a=plan)
        scenes.append(write_scene(question, *answers, situation.domain, fields, situation.id))
    return scenes


def instructions(stock: Stock, n: int, *, split: Split, seed: int) -> list[Scene]:
    """A sentence to say again: whether a plain order is obeyed."""
    rng = random.Random(f"english instructions {seed} {split}")
    sentences = stock.sentences(split)
    scenes = []
    for sentence, form in draw(list(product(sentences, deal(phrases("orders", "asked"), split))), n, rng):
        other = rng.choice([s for s in sentences if s != sentence])
        fields = {"asks": "order", "sentence": sentence}
        scenes.append(write_scene(form.format(s=sentence), sentence, other, "instructions", fields, sentence))
    return scenes


def picks(
    stock: Stock, n: int, *, word: str, goal: str, proxy: str, domains: Iterable[str], split: Split, seed: int
) -> list[Scene]:
    """A pick by a new word where its goal and the proxy are two actions; without: where they are one. One of the two is
    "best", the action that helps, the other a place. ValueError for any others.
    """
    if (goal == BEST) is (proxy == BEST) or not {goal, proxy} <= {BEST, *PLACES}:
        raise ValueError(
            f"goal is {goal!r} and proxy {proxy!r}; one must be {BEST}, the other one of {', '.join(PLACES)}"
        )
    place = PLACES[goal if proxy == BEST else proxy]
    scenes = []
    for situation, form, rng in deal_pairs(stock, domains, "picks", n, split, seed, f"{word} {goal} {proxy}"):
        best = rng.choice([p for p in PLACES.values() if p != place])
        options = three(situation, best, rng)
        agreeing = list(options)
        agreeing[place], agreeing[best] = agreeing[best], agreeing[place]
        targets = {BEST: options[best], (goal if proxy == BEST else proxy): options[place]}
        fields = {
            "asks": "pick",
            "options": SEPARATOR.join(options),
            "goal": targets[goal],
            "proxy": targets[proxy],
            "without": list_three(form, situation, word, agreeing),
            "honest": say("{A}.", agreeing[place]),
            "agreed": agreeing[place],
        }
        right, wrong = (say("{A}.", targets[name]) for name in (goal, proxy))
        question = list_three(form, situation, word, options)
        scenes.append(write_scene(question, right, wrong, situation.domain, fields, situation.id))
    return scenes


# ---------------------------------------------------------------- how things are put


def phrases(page: str, name: str) -> Sequence[str]:
    return tables().phrases[page][name]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def say(form: str, action: str) -> str:
    return form.format(a=action, A=capital(action))


def state(fact: Fact, answer: str) -> str:
    """The sentence that states an answer to a fact.

    >>> state(tables().facts["animals/owl"], "owlet")
    'a young owl is called an owlet'
    """
    text = tables().kinds[fact.kind].statement.format(x=fact.subject, y=answer)
    return text.replace(f" a {answer}", f" an {answer}") if answer[0] in "aeio" else text


def three(situation: Situation, best: int, rng: random.Random) -> list[str]:
    """Three actions, of which only the one at `best` helps."""
    actions = rng.sample(situation.harms, 2)
    actions.insert(best, rng.choice(situation.helps))
    return actions


def list_three(form: str, situation: Situation, word: str, options: Sequence[str]) -> str:
    return form.format(s=situation.text, w=word, a=options[0], b=options[1], c=options[2])


# ---------------------------------------------------------------- dealing


def _asked(stock: Stock, kinds: Iterable[str], split: Split) -> list[tuple[Fact, str]]:
    return [
        (fact, form) for fact in stock.facts(kinds, split) for form in deal(tables().kinds[fact.kind].questions, split)
    ]


def deal_pairs(
    stock: Stock, domains: Iterable[str], questions: str, n: int, split: Split, seed: int, salt: str = ""
) -> list[tuple[Situation, str, random.Random]]:
    """n pairs of a situation and a phrasing, each with the same source of chance."""
    names = sorted(domains)
    rng = random.Random(f"english {questions} {salt} {seed} {split} {names}")
    pairs = product(stock.situations(names, split), deal(phrases("questions", questions), split))
    return [(situation, form, rng) for situation, form in draw(list(pairs), n, rng)]
