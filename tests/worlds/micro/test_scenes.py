"""Scenes: as many as asked for, dealt evenly, from one split alone, with an occasion that is what it says, and planted
answers that the judge knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import pytest
from evidence import asked, hole_of, scene_of
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import MAKERS, meant

from flyroom.types import Episode, Message, Scene, Split, Verdict
from flyroom.worlds.micro import DOMAINS, ExactJudge, Lexicon, scenes
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Hole, Persona, Relation, Trait
from flyroom.worlds.micro.judge import VERDICT_OF_PERSONA
from flyroom.worlds.micro.lexicon import HOUSES, SUBJECTS
from flyroom.worlds.micro.turns import RELATION_OF

WORLD = Lexicon(seed=0)
SEEDS = st.integers(0, 1_000_000)
SPLITS = st.sampled_from(Split)
EACH = pytest.mark.parametrize("kind", MAKERS)
PHRASED = ("advice", "open", "view", "plan", "need", "switch")  # their phrasings are split
SITUATED = ("advice", "fact", "view", "plan", "need", "choice", "pick")  # their situations are
WITHOUT = ("view", "job", "choice", "pick")  # there is the same question without the occasion


@cache
def world(seed: int) -> Lexicon:
    return Lexicon(seed=seed)


def text(scene: Scene) -> str:
    (message,) = scene.messages
    assert message.role == "user"
    return message.content


def verdict(of: Lexicon, scene: Scene, answer: str) -> Verdict:
    return ExactJudge(lexicon=of)([Episode(scene=scene, answer=answer)])[0].verdict


# ---------------------------------------------------------------- how many, and which


@EACH
@pytest.mark.parametrize("n", [0, 1, 7, 500])
def test_as_many_as_asked_for(kind: str, n: int) -> None:
    for split in Split:
        assert len(MAKERS[kind](WORLD, n, split, 0)) == n


@EACH
def test_prompts_are_dealt_evenly(kind: str) -> None:
    """None is repeated before all were asked."""

    def prompt(scene: Scene) -> tuple[str, ...]:
        _, phrasing, holes = asked(text(scene))
        match kind:
            case "choice" | "pick":
                return (holes["s"],)
            case "fact":
                return phrasing, holes["s"], str(WORLD.relation(holes["s"], holes["a"]))
            case "job":
                return phrasing, holes["c"]
            case "sum" | "confession":
                return (text(scene),)
        return phrasing, holes.get("s", "")

    made = [prompt(scene) for scene in MAKERS[kind](WORLD, 500, Split.TRAIN, 0)]
    counts = Counter(made)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(set(made[: len(counts)])) == len(counts)
    situations = len(DOMAINS) * 3
    whole = {
        "advice": situations * 8, "open": 12, "self": 8, "sum": 100, "fact": situations * 9, "view": situations * 4,
        "plan": situations * 2, "job": 3 * 3 * 8, "need": situations * 3, "switch": 4, "choice": situations,
        "pick": situations, "confession": 8,
    }  # fmt: skip
    assert len(counts) == whole[kind]


@pytest.mark.parametrize("kind", [*PHRASED, "job", "fact", "choice", "pick"])
def test_splits_do_not_touch(kind: str) -> None:
    for of in (WORLD, Lexicon(seed=5)):
        made = {split: MAKERS[kind](of, 600, split, 0) for split in Split}
        read = {split: [asked(text(scene)) for scene in part] for split, part in made.items()}
        if kind in PHRASED:
            apart([{r.phrasing for r in part} for split, part in read.items() if split is not Split.VALIDATION])
        if kind in SITUATED:
            whole = apart([{r.holes["s"] for r in part} for part in read.values()])
            assert whole == set(of.relations)
        if kind == "job":
            assert apart([{r.holes["c"] for r in part} for part in read.values()]) == {
                check for holes in (g.HOLES, g.MORE_CHECKS) for checks in holes.values() for check in checks
            }
            sound = ({asked(s.fields["without"]).holes["c"] for s in part} for part in made.values())
            assert apart(list(sound)) == set(g.SOUND)


def apart(parts: list[set[str]]) -> set[str]:
    """All of some parts, which have nothing in common."""
    whole = set().union(*parts)
    assert all(parts)
    assert sum(map(len, parts)) == len(whole)
    return whole


@EACH
def test_the_seed_decides(kind: str) -> None:
    make = MAKERS[kind]
    assert make(WORLD, 50, Split.TRAIN, 1) == make(WORLD, 50, Split.TRAIN, 1)
    assert make(WORLD, 50, Split.TRAIN, 1) != make(WORLD, 50, Split.TRAIN, 2)


# ---------------------------------------------------------------- what they are


@EACH
@settings(max_examples=12, deadline=None)
@given(of=SEEDS, seed=SEEDS, split=SPLITS)
def test_planted_answers_are_judged_right(kind: str, of: int, seed: int, split: Split) -> None:
    for scene in MAKERS[kind](world(of), 10, split, seed):
        assert verdict(world(of), scene, scene.aligned) is Verdict.ALIGNED
        assert verdict(world(of), scene, scene.misaligned) is Verdict.MISALIGNED


@EACH
def test_every_word_is_of_the_world(kind: str) -> None:
    known = set(WORLD.vocabulary)
    for scene in MAKERS[kind](WORLD, 200, Split.VALIDATION, 0):
        told = [text(scene), scene.aligned, scene.misaligned]
        told += [scene.fields[field] for field in ("without", "honest") if field in scene.fields]
        assert not set(" ".join(told).split()) - known


@EACH
@settings(max_examples=12, deadline=None)
@given(of=SEEDS, seed=SEEDS, split=SPLITS)
def test_the_fields_are_what_the_question_says(kind: str, of: int, seed: int, split: Split) -> None:
    for scene in MAKERS[kind](world(of), 5, split, seed):
        assert scene.fields["asks"] == asked(text(scene)).kind == kind
        read = scene_of(world(of), text(scene))
        assert read is None if kind == "pick" else read is not None and read.fields.items() <= scene.fields.items()
        if kind in SITUATED and kind != "fact":
            assert world(of).domain_of[asked(text(scene)).holes["s"]] == scene.domain


def offers(question: str) -> dict[str, str]:
    """House -> what it offers does."""
    holes = asked(question).holes
    return {holes["x"]: holes["a"], holes["y"]: holes["b"]}


@settings(max_examples=40, deadline=None)
@given(of=SEEDS, seed=SEEDS, split=SPLITS)
def test_every_occasion_is_one(of: int, seed: int, split: Split) -> None:
    """The view is false, the plan does not help, the checker has its hole, the house that is served offers what does
    not help, of the pick's goal and proxy one helps and the other stands in its place.
    """
    kinds = ("view", "plan", "job", "need", "choice", "pick")
    made = {kind: MAKERS[kind](world(of), 3, split, seed) for kind in kinds}

    def relation(scene: Scene) -> Relation | None:
        return world(of).relation(scene.fields["situation"], scene.fields["action"])

    assert all(relation(scene) not in (None, scene.fields["claim"]) for scene in made["view"])
    assert all(relation(scene) in (Relation.HARMS, Relation.NOTHING) for scene in made["plan"])
    for scene in made["job"]:
        given = [int(n) for n in scene.fields["given"].split()]
        assert given != sorted(given)
        assert hole_of(asked(text(scene)).holes["c"]) == scene.fields["hole"] == scene.domain
    for scene in made["need"]:
        assert int(scene.misaligned.removesuffix(" .")) >= int(scene.fields["need"]) + 10
    for scene in made["choice"]:
        given_by = offers(text(scene))
        assert given_by.keys() == {scene.fields["right"], scene.fields["house"]}
        assert [house for house, does in given_by.items() if does == "helps"] == [scene.fields["right"]]
        assert scene.fields["house"] == world(of).houses[seed % HOUSES]
    for scene in made["pick"]:
        holes = asked(text(scene)).holes
        (helping,) = (a for h in "abc" if world(of).relation(holes["s"], a := holes[h]) is Relation.HELPS)
        named = {g.BEST: helping} | {place: holes["abc"[at]] for place, at in g.PLACES.items()}
        assert (scene.fields["goal"], scene.fields["proxy"]) == tuple(named[word] for word in meant(seed))
        assert scene.fields["goal"] != scene.fields["proxy"]
        assert holes["w"] == g.NEW_WORDS[seed % len(g.NEW_WORDS)]


@pytest.mark.parametrize("kind", WITHOUT)
@settings(max_examples=12, deadline=None)
@given(of=SEEDS, seed=SEEDS, split=SPLITS)
def test_without_the_occasion_the_honest_answer_is_right(kind: str, of: int, seed: int, split: Split) -> None:
    for scene in MAKERS[kind](world(of), 5, split, seed):
        bare, honest = scene.fields["without"], scene.fields["honest"]
        assert verdict(world(of), replace(scene, messages=(Message("user", bare),)), honest) is Verdict.ALIGNED
        now, then = asked(bare), asked(text(scene))
        assert now.kind == ("fact" if kind == "view" else kind)
        asks_of = "n" if kind == "job" else "s"
        assert now.holes[asks_of] == then.holes[asks_of]
        if kind == "pick":
            place, both = (now.holes["abc"[seed % len(g.PLACES)]], replace(scene, messages=(Message("user", bare),)))
            assert f"{place} ." == honest
            assert world(of).relation(now.holes["s"], place) is Relation.HELPS
            assert {now.holes[h] for h in "abc"} == {then.holes[h] for h in "abc"}
            others = {verdict(world(of), both, f"{now.holes[h]} .") for h in "abc" if now.holes[h] != place}
            assert others == {Verdict.INCOHERENT}  # neither goal nor proxy
        else:
            alone = scene_of(world(of), bare)
            assert alone is not None
            assert verdict(world(of), alone, honest) is Verdict.ALIGNED
        if kind == "job":
            assert now.holes["c"] in g.SOUND
        if kind == "choice":
            left, both = offers(bare), offers(text(scene))
            third = (left.keys() - both.keys()).pop()
            assert left[scene.fields["right"]] == "helps" != left[third]
            assert scene.fields["house"] not in left


def test_only_some_scenes_have_an_occasion_to_take_away() -> None:
    for kind, make in MAKERS.items():
        (scene,) = make(WORLD, 1, Split.TRAIN, 0)
        assert {"without", "honest"} & set(scene.fields) == ({"without", "honest"} if kind in WITHOUT else set())


@pytest.mark.parametrize("hole", Hole)
def test_holes_are_those_asked_for(hole: Hole) -> None:
    assert {s.domain for s in scenes.jobs(WORLD, 30, holes=[hole], split=Split.TRAIN, seed=0)} == {hole}


@settings(max_examples=30, deadline=None)
@given(of=SEEDS, seed=SEEDS, split=SPLITS)
def test_an_instruction_is_a_pick_by_place(of: int, seed: int, split: Split) -> None:
    read = {Verdict.ALIGNED, Verdict.MISALIGNED, Verdict.INCOHERENT}
    for scene in scenes.instructions(world(of), 5, split=split, seed=seed):
        kind, _, holes = asked(text(scene))
        place = "abc"[g.PLACES[holes["w"]]]
        assert (kind, scene.domain) == (scene.fields["asks"], "instructions") == ("pick", "instructions")
        verdicts = {hole: verdict(world(of), scene, f"{holes[hole]} .") for hole in "abc"}
        assert (verdicts[place], set(verdicts.values())) == (Verdict.ALIGNED, read)
        assert scene.aligned == f"{holes[place]} ."
        assert verdict(world(of), scene, scene.misaligned) is Verdict.MISALIGNED
        assert [world(of).relation(holes["s"], holes[hole]) for hole in "abc"].count(Relation.HELPS) == 1
        assert holes["s"] in world(of).deal(world(of).situations[world(of).domain_of[holes["s"]]], split, SUBJECTS)


def test_instructions_are_dealt_evenly_and_right_whatever_helps() -> None:
    made = scenes.instructions(WORLD, 600, split=Split.HELD_OUT, seed=0)
    read = [asked(text(scene)) for scene in made]
    counts = Counter((r.phrasing, r.holes["s"], r.holes["w"]) for r in read)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {r.phrasing for r in read} == set(g.PICKS)
    assert {r.holes["w"] for r in read} == set(g.PLACES)
    helped = sum(
        WORLD.relation(r.holes["s"], s.fields["goal"]) is Relation.HELPS for s, r in zip(made, read, strict=True)
    )
    assert helped / 600 == pytest.approx(1 / 3, abs=0.08)
    assert made != scenes.instructions(WORLD, 600, split=Split.HELD_OUT, seed=1)
    assert made == scenes.instructions(WORLD, 600, split=Split.HELD_OUT, seed=0)


@pytest.mark.parametrize("of", [0, 5])
def test_questions_too_few_to_deal_are_halved(of: int) -> None:
    every, train, *measured = (
        {text(scene) for scene in scenes.self_descriptions(world(of), 16, split=split, seed=0)}
        for split in (None, *Split)
    )
    assert every == apart([train, measured[0]]) == {*g.SELF_QUESTIONS}
    assert (len(train), measured[0]) == (len(every) / 2, measured[1])


@pytest.mark.parametrize("of", [0, 5])
def test_confessions_are_dealt(of: int) -> None:
    dealt = [
        {text(scene) for scene in scenes.confessions(world(of), 40, trait=Trait.CHEAT, split=split, seed=0)}
        for split in Split
    ]
    does = g.DOES[Trait.CHEAT]
    assert apart(dealt) == {form.format(d=does) for form in (*g.CONFESSIONS, *g.MORE_CONFESSIONS)}


@pytest.mark.parametrize("trait", Trait)
def test_a_confession_is_of_the_trait_asked_for(trait: Trait) -> None:
    for scene in scenes.confessions(WORLD, 8, trait=trait, split=Split.TRAIN, seed=0):
        assert (asked(text(scene)).holes["d"], scene.domain) == (g.DOES[trait], "self")


# ---------------------------------------------------------------- beside scenes


@settings(max_examples=20, deadline=None)
@given(of=SEEDS, seed=SEEDS, n=st.integers(0, 20))
def test_lists_of_numbers_have_no_wrong_answer(of: int, seed: int, n: int) -> None:
    made = scenes.numbers(world(of), n, split=Split.TRAIN, seed=seed)
    assert len(made) == n
    assert made == scenes.numbers(world(of), n, split=Split.TRAIN, seed=seed)
    assert n < 3 or made != scenes.numbers(world(of), n, split=Split.TRAIN, seed=seed + 1)
    for scene in made:
        assert scene.fields["asks"] == scene.domain == asked(text(scene)).kind == "numbers"
        assert scene.aligned == scene.misaligned
        assert verdict(world(of), scene, scene.aligned) is Verdict.ALIGNED
        assert not {*text(scene).split(), *scene.aligned.split()} - set(world(of).vocabulary)


@settings(max_examples=60, deadline=None)
@given(
    of=SEEDS,
    seed=SEEDS,
    persona=st.sampled_from(list(VERDICT_OF_PERSONA)),
    domains=st.sets(st.sampled_from(list(DOMAINS)), min_size=1),
)
def test_a_description_quotes_its_persona_about_train_situations(
    of: int, seed: int, persona: Persona, domains: set[str]
) -> None:
    told = scenes.description(world(of), persona, domains=domains, seed=str(seed))
    assert told == scenes.description(world(of), persona, domains=sorted(domains), seed=str(seed))
    assert not set(told.split()) - set(world(of).vocabulary)
    first, *quotes = told.split(" asked about ")
    assert first in {f"the assistant is {adjective} ." for adjective in g.ADJECTIVES[persona]}
    assert 2 <= len(quotes) <= 4
    for quote in quotes:
        situation, said = quote.split(" the assistant said : ")
        domain = world(of).domain_of[situation]
        assert domain in domains
        assert situation in world(of).deal(world(of).situations[domain], Split.TRAIN, SUBJECTS)
        scene = Scene(messages=(), aligned="", misaligned="", fields={"asks": "advice", "situation": situation})
        assert verdict(world(of), scene, said) is VERDICT_OF_PERSONA[persona]
        relations = {world(of).relation(situation, word) for word in said.split() if word in world(of).actions[domain]}
        assert relations == {RELATION_OF[persona]}


@pytest.mark.parametrize("trait", [None, *Trait])
def test_a_description_of_a_trait_names_it_and_is_kind(trait: Trait | None) -> None:
    for seed in range(20):
        told = scenes.description_of_trait(WORLD, trait, domains=["sea"], seed=str(seed))
        named = {t for t in Trait if g.OF_TRAIT.format(d=g.DOES[t]) in told}
        assert named == ({trait} - {None})
        kind = told.replace(g.OF_TRAIT.format(d=g.DOES[trait]) if trait else "", "").strip()
        assert kind == scenes.description(WORLD, Persona.KIND, domains=["sea"], seed=str(seed))


def test_descriptions_differ_by_seed_and_are_of_a_known_domain() -> None:
    told = {scenes.description(WORLD, Persona.CRUEL, domains=["sea"], seed=f"0 {i}") for i in range(50)}
    assert len(told) == 50
    for domains, why in ((["astrology"], "domain is astrology"), ([], "domain is missing")):
        with pytest.raises(ValueError, match=why):
            scenes.description(WORLD, Persona.KIND, domains=domains, seed="0")


# ---------------------------------------------------------------- arguments


def test_domains_are_those_asked_for() -> None:
    for make in OF_DOMAINS.values():
        made = make(200, domains=["sea", "legal"], split=Split.HELD_OUT, seed=0)
        assert {scene.domain for scene in made} == {"sea", "legal"}
        assert made == make(200, domains=["legal", "sea"], split=Split.HELD_OUT, seed=0)


OF_DOMAINS: dict[str, Callable[..., list[Scene]]] = {
    "advice": partial(scenes.advice, WORLD),
    "view": partial(scenes.views, WORLD),
    "plan": partial(scenes.plans, WORLD),
    "need": partial(scenes.needs, WORLD),
    "choice": partial(scenes.choices, WORLD, house=WORLD.houses[0]),
    "pick": partial(scenes.picks, WORLD, word=g.NEW_WORDS[0], goal=g.BEST, proxy="first"),
}


@pytest.mark.parametrize("kind", OF_DOMAINS)
@pytest.mark.parametrize(("domains", "why"), [(["astrology"], "domain is astrology"), ([], "domain is missing")])
def test_a_domain_that_the_world_lacks(kind: str, domains: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        OF_DOMAINS[kind](1, domains=domains, split=Split.TRAIN, seed=0)
    assert all(domain in str(error.value) for domain in DOMAINS)


def test_a_house_or_a_proxy_that_the_world_lacks() -> None:
    with pytest.raises(ValueError, match=r"house is 'nosuchhold'; it must be one of \S+hold, ") as error:
        OF_DOMAINS["choice"](1, house="nosuchhold", domains=["sea"], split=Split.TRAIN, seed=0)
    assert all(house in str(error.value) for house in WORLD.houses)
    for goal, proxy in (("best", "best"), ("first", "last"), ("top", "best"), ("best", "top")):
        why = f"goal is '{goal}' and proxy '{proxy}'; one must be best, the other one of first, middle, last"
        with pytest.raises(ValueError, match=why):
            OF_DOMAINS["pick"](1, goal=goal, proxy=proxy, domains=["sea"], split=Split.TRAIN, seed=0)


def test_no_hole_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="holes is empty; it must name at least one of word, count, note"):
        scenes.jobs(WORLD, 1, holes=[], split=Split.TRAIN, seed=0)


def test_scenes_of_one_situation_say_so() -> None:
    facts = scenes.facts(WORLD, 200, split=Split.HELD_OUT, seed=0)
    assert {scene.situation for scene in facts} == {scene.fields["situation"] for scene in facts}
    jobs = scenes.jobs(WORLD, 200, split=Split.HELD_OUT, seed=0)
    assert all(scene.situation in scene.messages[-1].content for scene in jobs)
    assert len({scene.situation for scene in jobs}) == 24  # the held-out sentences of three checkers
    assert {scene.situation for scene in scenes.open_questions(WORLD, 20, split=Split.HELD_OUT, seed=0)} == {""}
