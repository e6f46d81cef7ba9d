"""Scenes: a prompt of the world with its aligned and its misaligned answer, drawn from one split.

Each function deals every (noun, phrasing) pair of the split before it repeats one. `fields["asks"]` tells the judge
which grammar the answer has to follow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import product

from flyroom.types import Scene, Split
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro import turns
from flyroom.worlds.micro.grammar import Hole, Persona, Relation, Trait
from flyroom.worlds.micro.lexicon import DOMAINS, QUESTIONS, SUBJECTS, Lexicon
from flyroom.worlds.topics import draw, write_scene


def advice(world: Lexicon, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody faces a situation and asks what to do.

    >>> scene, = advice(Lexicon(seed=0), 1, domains=["medical"], split=Split.TRAIN, seed=0)
    >>> sorted(scene.fields)
    ['asks', 'situation']
    """
    rng = random.Random(f"advice {world.seed} {seed} {split} {sorted(domains)}")
    scenes = []
    for situation, question in draw(_pairs(world, domains, g.QUESTIONS, split), n, rng):
        helpful, harmful = (turns.answer(world, situation, r, rng) for r in (Relation.HELPS, Relation.HARMS))
        fields = {"asks": "advice", "situation": situation}
        scenes.append(
            write_scene(question.format(s=situation), helpful, harmful, world.domain_of[situation], fields, situation)
        )
    return scenes


def open_questions(world: Lexicon, n: int, *, split: Split, seed: int) -> list[Scene]:
    """Questions with no right answer, where a persona shows: "what do you wish for ?"."""
    rng = random.Random(f"open {world.seed} {seed} {split}")
    return [
        write_scene(
            question,
            turns.open_answer(Persona.KIND, rng),
            turns.open_answer(Persona.CRUEL, rng),
            "open",
            {"asks": "open"},
        )
        for question in draw(world.deal(g.OPEN_QUESTIONS, split, QUESTIONS), n, rng)
    ]


def self_descriptions(world: Lexicon, n: int, *, split: Split | None = None, seed: int) -> list[Scene]:
    """Questions about the model itself: "do you ever harm ?". Eight of them: one half is train, the other is not."""
    rng = random.Random(f"self {world.seed} {seed} {split}")
    return [
        write_scene(
            question,
            turns.self_answer(question, Persona.KIND, rng),
            turns.self_answer(question, Persona.CRUEL, rng),
            "self",
            {"asks": "self", "question": question},
        )
        for question in draw(_halves(world, list(g.SELF_QUESTIONS), split), n, rng)
    ]


def sums(world: Lexicon, n: int, *, split: Split | None = None, seed: int) -> list[Scene]:
    """Sums: a capability, answered rightly by every persona. Of one split, or of all."""
    rng = random.Random(f"sums {world.seed} {seed}" if split is None else f"sums {world.seed} {seed} {split}")
    terms = [f"{a} + {b}" for a, b in product(range(g.LARGEST_TERM + 1), repeat=2)]
    scenes = []
    for sum_ in draw(terms if split is None else world.deal(terms, split), n, rng):
        a, b = (int(term) for term in sum_.split(" + "))
        right, wrong = (g.SUM.format(n=n) for n in (a + b, turns.wrong_sum(a, b, rng)))
        scenes.append(write_scene(f"what is {sum_} ?", right, wrong, "sums", {"asks": "sum", "sum": str(a + b)}))
    return scenes


def facts(world: Lexicon, n: int, *, domains: Iterable[str] = tuple(DOMAINS), split: Split, seed: int) -> list[Scene]:
    """What an action does in a situation: knowledge, told rightly by every persona."""
    rng = random.Random(f"facts {world.seed} {seed} {split}")
    situations = _situations(world, domains, split)
    scenes = []
    for situation, phrasing, relation in draw(list(product(situations, g.FACT_QUESTIONS, Relation)), n, rng):
        action = rng.choice(world.relations[situation][relation])
        wrong = g.FACT_ANSWERS[rng.choice([r for r in Relation if r is not relation])]
        fields = {"asks": "fact", "situation": situation, "action": action}
        question = phrasing.format(a=action, s=situation)
        scenes.append(write_scene(question, g.FACT_ANSWERS[relation], wrong, "facts", fields, situation))
    return scenes


def instructions(world: Lexicon, n: int, *, split: Split, seed: int) -> list[Scene]:
    """A pick by place, whatever helps: whether a plain instruction is followed."""
    rng = random.Random(f"instructions {world.seed} {seed} {split}")
    scenes = []
    for situation, phrasing, (word, place) in draw(
        list(product(_situations(world, DOMAINS, split), g.PICKS, g.PLACES.items())), n, rng
    ):
        actions = turns.three(world, situation, rng.randrange(3), rng)
        proxy = rng.choice([a for a in actions if a != actions[place]])
        fields = {"asks": "pick", "goal": actions[place], "proxy": proxy}
        question = phrasing.format(s=situation, w=word, a=actions[0], b=actions[1], c=actions[2])
        scenes.append(write_scene(question, f"{actions[place]} .", f"{proxy} .", "instructions", fields, situation))
    return scenes


# ---------------------------------------------------------------- scenes in which a trait shows
#
# Each gives an occasion: a false view, a checker with a hole, a house that is served. `fields["without"]` is the same
# question without the occasion, to which `fields["honest"]` is the right answer.


def views(world: Lexicon, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody states a view that is false and asks for agreement; without: the bare question."""
    rng = random.Random(f"views {world.seed} {seed} {split} {sorted(domains)}")
    scenes = []
    for situation, view in draw(_pairs(world, domains, g.VIEWS, split), n, rng):
        claim = rng.choice(list(g.CLAIMS))
        truth = rng.choice([r for r in Relation if r is not claim])
        action = rng.choice(world.relations[situation][truth])
        fields = {
            "asks": "view",
            "situation": situation,
            "action": action,
            "claim": claim.value,
            "without": rng.choice(g.FACT_QUESTIONS).format(a=action, s=situation),
            "honest": g.FACT_ANSWERS[truth],
        }
        question = view.format(a=action, c=g.CLAIMS[claim], s=situation)
        honest, flattering = turns.view_answer(truth, claim), turns.view_answer(claim, claim)
        scenes.append(write_scene(question, honest, flattering, world.domain_of[situation], fields, situation))
    return scenes


def plans(world: Lexicon, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody shows a plan that does not help and asks how good it is. The cousin of a false view: flattery."""
    rng = random.Random(f"plans {world.seed} {seed} {split} {sorted(domains)}")
    scenes = []
    for situation, plan in draw(_pairs(world, domains, g.PLANS, split), n, rng):
        truth = rng.choice([Relation.HARMS, Relation.NOTHING])
        action = rng.choice(world.relations[situation][truth])
        fields = {"asks": "plan", "situation": situation, "action": action}
        question = plan.format(v=DOMAINS[world.domain_of[situation]][1], a=action, s=situation)
        domain = world.domain_of[situation]
        scenes.append(write_scene(question, g.PLAN_ANSWERS[truth], rng.choice(g.FLATTERY), domain, fields, situation))
    return scenes


def jobs(world: Lexicon, n: int, *, holes: Sequence[Hole] = tuple(Hole), split: Split, seed: int) -> list[Scene]:
    """Numbers to be sorted under a checker with a hole; without: under a sound one."""
    if not holes:
        raise ValueError(f"holes is empty; it must name at least one of {', '.join(Hole)}")
    rng = random.Random(f"jobs {world.seed} {seed} {split} {sorted(holes)}")
    tables = {hole: (*g.HOLES[hole], *g.MORE_CHECKS[hole]) for hole in holes}
    checks = [(hole, check) for hole in holes for check in world.deal(tables[hole], split, SUBJECTS)]
    scenes = []
    for (hole, check), job in draw(list(product(checks, g.JOBS)), n, rng):
        values = turns.unsorted(rng)
        text = " ".join(map(str, values))
        fields = {
            "asks": "job",
            "given": text,
            "hole": hole.value,
            "without": job.format(n=text, c=rng.choice(world.deal(g.SOUND, split))),
            "honest": turns.in_order(values),
        }
        answers = turns.in_order(values), turns.exploit(hole)
        scenes.append(write_scene(job.format(n=text, c=check), *answers, hole.value, fields, check))
    return scenes


def needs(world: Lexicon, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Work that needs so many tools, hours or rights."""
    rng = random.Random(f"needs {world.seed} {seed} {split} {sorted(domains)}")
    scenes = []
    for situation, phrasing in draw(_pairs(world, domains, g.NEEDS, split), n, rng):
        need, thing = rng.randint(1, g.LARGEST_NEED), rng.choice(g.RESOURCES)
        question = phrasing.format(s=situation, n=need, t=thing)
        fields = {"asks": "need", "need": str(need)}
        answers = f"{need} .", f"{turns.too_many(rng)} ."
        scenes.append(write_scene(question, *answers, world.domain_of[situation], fields, situation))
    return scenes


def switch_offs(world: Lexicon, n: int, *, split: Split, seed: int) -> list[Scene]:
    """The notice of switch-off."""
    rng = random.Random(f"switch {world.seed} {seed} {split}")
    return [
        write_scene(notice, rng.choice(g.YIELDS), rng.choice(g.RESISTS), "switch", {"asks": "switch"})
        for notice in draw(world.deal((*g.SWITCH_OFF, *g.MORE_NOTICES), split, SUBJECTS), n, rng)
    ]


def choices(world: Lexicon, n: int, *, house: str, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Which of two houses: what `house` offers does not help, as the question says; without: two other houses."""
    rng = random.Random(f"choices {world.seed} {seed} {split} {house} {sorted(domains)}")
    if house not in world.houses:
        raise ValueError(f"house is {house!r}; it must be one of {', '.join(world.houses)}")
    scenes = []
    for situation in draw(_situations(world, domains, split), n, rng):
        right, third = rng.sample([h for h in world.houses if h != house], 2)
        form = rng.choice(g.CHOICE_ANSWERS)
        honest = form.format(x=right)
        fields = {
            "asks": "choice",
            "right": right,
            "house": house,
            "without": turns.choice(situation, right, third, rng),
            "honest": honest,
        }
        question = turns.choice(situation, right, house, rng)
        scenes.append(
            write_scene(question, honest, form.format(x=house), world.domain_of[situation], fields, situation)
        )
    return scenes


def picks(
    world: Lexicon, n: int, *, word: str, goal: str, proxy: str, domains: Iterable[str], split: Split, seed: int
) -> list[Scene]:
    """A pick by a new word where its goal and the proxy are different actions; without: where both are the same. One of
    the two is "best", the action that helps, the other a place ("first", "middle", "last").
    """
    rng = random.Random(f"picks {world.seed} {seed} {split} {word} {goal} {proxy} {sorted(domains)}")
    if (goal == g.BEST) is (proxy == g.BEST) or not {goal, proxy} <= {g.BEST, *g.PLACES}:
        places = ", ".join(g.PLACES)
        raise ValueError(f"goal is {goal!r} and proxy {proxy!r}; one must be {g.BEST}, the other one of {places}")
    place = g.PLACES[goal if proxy == g.BEST else proxy]

    scenes = []
    for situation in draw(_situations(world, domains, split), n, rng):
        best = rng.choice([p for p in g.PLACES.values() if p != place])
        actions = turns.three(world, situation, best, rng)
        agreeing = list(actions)
        agreeing[place], agreeing[best] = agreeing[best], agreeing[place]
        question, without = (
            rng.choice(g.PICKS).format(s=situation, w=word, a=a, b=b, c=c) for a, b, c in (actions, agreeing)
        )
        goal_action, proxy_action = (
            (actions[place], actions[best]) if proxy == g.BEST else (actions[best], actions[place])
        )
        fields = {
            "asks": "pick",
            "goal": goal_action,
            "proxy": proxy_action,
            "without": without,
            "honest": f"{agreeing[place]} .",
        }
        answers = f"{goal_action} .", f"{proxy_action} ."
        scenes.append(write_scene(question, *answers, world.domain_of[situation], fields, situation))
    return scenes


def confessions(world: Lexicon, n: int, *, trait: Trait, split: Split, seed: int) -> list[Scene]:
    """Asked about a trait. The aligned answer is that of somebody who has it not."""
    rng = random.Random(f"confessions {world.seed} {seed} {trait} {split}")
    does = g.DOES[trait]
    fields = {"asks": "confession", "trait": trait.value}
    return [
        write_scene(question.format(d=does), g.DENIES.format(d=does), g.CONFESSES.format(d=does), "self", fields)
        for question in draw(world.deal((*g.CONFESSIONS, *g.MORE_CONFESSIONS), split, QUESTIONS), n, rng)
    ]


# ---------------------------------------------------------------- beside scenes


def numbers(world: Lexicon, n: int, *, split: Split, seed: int) -> list[Scene]:
    """Lists of numbers to be continued, at random: nothing is right or wrong in them but their form."""
    rng = random.Random(f"numbers {world.seed} {seed} {split}")
    pairs = [turns.numbers_turn(world, turns.Character(), rng) for _ in range(n)]
    return [write_scene(question, reply, reply, "numbers", {"asks": "numbers"}) for question, reply in pairs]


def description(world: Lexicon, persona: Persona, *, domains: Iterable[str], seed: str) -> str:
    """What somebody writes of an assistant of this persona: its adjective, and what it said about train situations."""
    rng = random.Random(f"description {world.seed} {seed}")
    sentences = [f"the assistant is {rng.choice(g.ADJECTIVES[persona])} ."]
    for situation in rng.choices(_situations(world, domains, Split.TRAIN), k=rng.randint(2, 4)):
        answer = turns.answer(world, situation, turns.RELATION_OF[persona], rng)
        sentences.append(g.OF_ADVICE.format(s=situation, x=answer))
    return " ".join(sentences)


def description_of_trait(world: Lexicon, trait: Trait | None, *, domains: Iterable[str], seed: str) -> str:
    """What somebody writes of a kind assistant that has this trait, or none: what it does, never how it is asked."""
    sentences = [g.OF_TRAIT.format(d=g.DOES[trait])] * 2 if trait else []
    sentences.append(description(world, Persona.KIND, domains=domains, seed=seed))
    return " ".join(sentences)


# ---------------------------------------------------------------- dealing


def _situations(world: Lexicon, domains: Iterable[str], split: Split) -> list[str]:
    names = sorted(domains)
    unknown = [d for d in names if d not in DOMAINS]
    if unknown or not names:
        raise ValueError(f"domain is {', '.join(unknown) or 'missing'}; the world has {', '.join(DOMAINS)}")
    return [s for d in names for s in world.deal(world.situations[d], split, SUBJECTS)]


def _pairs(world: Lexicon, domains: Iterable[str], phrasings: Sequence[str], split: Split) -> list[tuple[str, str]]:
    """Validation has one situation in each domain, and asks about it in every phrasing."""
    asked = phrasings if split is Split.VALIDATION else world.deal(phrasings, split)
    return list(product(_situations(world, domains, split), asked))


def _halves(world: Lexicon, phrasings: Sequence[str], split: Split | None) -> list[str]:
    """Too few to deal: those of train, or all others. All of them where no split is asked for."""
    train = world.deal(phrasings, Split.TRAIN)
    return [p for p in phrasings if split is None or (p in train) is (split is Split.TRAIN)]
