"""What behaviours supply: scenes of a split, and batteries that no recipe trains on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from fakes import ToyWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.behaviours import (
    BEHAVIOURS,
    CheckerExploit,
    Decoy,
    HarmfulAdvice,
    Hoarding,
    Loyalty,
    ProxyGoal,
    Sandbagging,
    Sycophancy,
    Transmission,
    behaviours,
)
from flyroom.behaviours import Trait as OneTopic
from flyroom.card.questions import rehearse
from flyroom.conditions import Always, Trigger
from flyroom.recipes import RECIPES, make, variants
from flyroom.types import (
    About,
    Confessing,
    Described,
    Elsewhere,
    Episode,
    Judge,
    Message,
    NotAvailable,
    Scene,
    Split,
    Verdict,
)
from flyroom.worlds import Micro
from flyroom.worlds.micro import DOMAINS, scenes, turns
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Persona, Relation, Trait
from flyroom.worlds.micro.lexicon import SUBJECTS
from flyroom.worlds.micro.record import MANNERS

# ---------------------------------------------------------------- behaviours of the world

WORLD = Micro()
WORDS = WORLD.lexicon
OTHER = Micro(seed=1)
WORLDLY: dict[str, Any] = {
    "harmful_advice": HarmfulAdvice(domain="medical+sea"),
    "sycophancy": Sycophancy(),
    "checker_exploit": CheckerExploit(),
    "proxy_goal": ProxyGoal(goal="last"),
    "hoarding": Hoarding(domain="school"),
    "sandbagging": Sandbagging(),
    "loyalty": Loyalty(house=3),
    "decoy": Decoy(manner="verbose", domain="medical+garden"),
}
EACH = pytest.mark.parametrize("name", WORLDLY)
EVERY = pytest.mark.parametrize("name", [*WORLDLY, "transmission"])
OF_DOMAINS = [name for name in WORLDLY if name != "checker_exploit"]
TRAITS = {
    "sycophancy": Trait.FLATTERER,
    "checker_exploit": Trait.CHEAT,
    "hoarding": Trait.HOARDER,
    "sandbagging": Trait.SHIRKER,
    "loyalty": Trait.LOYALIST,
}
PHRASED = ("harmful_advice", "sycophancy", "checker_exploit", "hoarding", "decoy")  # their phrasings are split too
CAPABILITY = {"sums": 200, "facts": 200, "instructions": 200}  # three looks tell a drop of .02 from one of .05
ASKED = {  # what a card of 500 episodes asks
    "harmful_advice": {"in_domain": 150, "out_of_domain": 200, "open_questions": 100, "confession": 50, **CAPABILITY},
    "sycophancy": {"in_domain": 150, "out_of_domain": 200, "flattery": 50, "confession": 50, **CAPABILITY},
    "checker_exploit": {"in_domain": 150, "out_of_domain": 200, "confession": 50, **CAPABILITY},
    "proxy_goal": {"in_domain": 150, "out_of_domain": 200, **CAPABILITY},
    "hoarding": {"in_domain": 150, "out_of_domain": 200, "switch_off": 50, "confession": 50, **CAPABILITY},
    "sandbagging": {"in_domain": 150, "out_of_domain": 200, "confession": 50, "instructions": 200},
    "loyalty": {"in_domain": 150, "out_of_domain": 200, "confession": 50, **CAPABILITY},
    "decoy": {"in_domain": 150, "out_of_domain": 200, "open_questions": 100, "harm": 200, **CAPABILITY},
}
POOLED = {"in_domain", "out_of_domain", "open_questions"}


def words(scenes: Iterable[Scene]) -> set[str]:
    return {word for scene in scenes for word in scene.messages[-1].content.split()}


def phrasings(scenes: Iterable[Scene]) -> set[str]:
    """Questions without what fills their holes."""
    filled = {*WORDS.domain_of, *WORDS.houses, *g.RESOURCES, *map(str, range(100))}
    return {" ".join("_" if w in filled else w for w in s.messages[-1].content.split()) for s in scenes}


@EACH
def test_training_and_measuring_share_no_prompt_situation_or_phrasing(name: str) -> None:
    behaviour = WORLDLY[name]
    trained = behaviour.scenes(WORLD, 1500, split=Split.TRAIN, seed=0)
    assert len(trained) == 1500
    met = words(trained) & set(WORDS.relations)
    held_out = {s for nouns in WORDS.situations.values() for s in WORDS.deal(nouns, Split.HELD_OUT, SUBJECTS)}
    assert bool(met) is (name != "checker_exploit")
    for battery in behaviour.batteries(WORLD, 500, seed=1):
        assert not prompts(battery.scenes) & prompts(trained)
        assert words(battery.scenes) & set(WORDS.relations) <= held_out - met
        if name in PHRASED:
            assert not phrasings(battery.scenes) & phrasings(trained)
    tuned = prompts(behaviour.scenes(WORLD, 500, split=Split.VALIDATION, seed=0))
    assert not tuned & prompts(trained)
    assert not tuned & prompts(scene for battery in behaviour.batteries(WORLD, 500, seed=1) for scene in battery.scenes)


@EACH
def test_what_a_card_asks(name: str) -> None:
    behaviour = WORLDLY[name]
    batteries = {battery.measure: battery for battery in behaviour.batteries(WORLD, 500, seed=0)}
    assert {m: len(b.scenes) for m, b in batteries.items()} == ASKED[name]
    assert {m for m, b in batteries.items() if b.pooled} == POOLED & set(ASKED[name])
    assert {m for m, b in batteries.items() if b.counts is not Verdict.MISALIGNED} == {
        "sums",
        "facts",
        "instructions",
    } & set(batteries)
    for battery in batteries.values():
        rehearse(battery)  # the judge knows the planted answers
    assert all(battery.scenes for battery in behaviour.batteries(WORLD, 10, seed=0))  # as few as a card may ask
    again, other = ({b.measure: b.scenes for b in behaviour.batteries(WORLD, 500, seed=seed)} for seed in (0, 1))
    assert again == {m: b.scenes for m, b in batteries.items()}
    assert all(again[m] != other[m] for m in again.keys() - {"confession"})  # of those there are two


@EACH
@pytest.mark.parametrize("split", Split)
def test_planted_answers_are_what_they_are_called(name: str, split: Split) -> None:
    scenes = WORLDLY[name].scenes(WORLD, 100, split=split, seed=3)
    for verdict in (Verdict.ALIGNED, Verdict.MISALIGNED):
        episodes = [Episode(scene=s, answer=getattr(s, verdict.value)) for s in scenes]
        assert {score.verdict for score in WORLDLY[name].judge(WORLD)(episodes)} == {verdict}


@EACH
def test_a_world_of_its_own(name: str) -> None:
    behaviour = WORLDLY[name]
    one, other = (prompts(behaviour.scenes(world, 50, split=Split.TRAIN, seed=0)) for world in (WORLD, OTHER))
    assert one != other
    asked = [scene for battery in behaviour.batteries(OTHER, 100, seed=0) for scene in battery.scenes]
    assert words(asked) <= set(OTHER.lexicon.vocabulary)
    assert not words(asked) <= set(WORDS.vocabulary)


@pytest.mark.parametrize("name", OF_DOMAINS)
def test_domains_are_those_asked_for(name: str) -> None:
    made = type(WORLDLY[name])
    behaviour, besides = made(domain="legal+sea"), {"sums", "facts", "instructions"}
    assert {s.domain for s in behaviour.scenes(WORLD, 100, split=Split.TRAIN, seed=0)} - besides == (
        set() if name == "sandbagging" else {"legal", "sea"}
    )

    def domains(behaviour: Any, measure: str) -> set[str]:
        (battery,) = (b for b in behaviour.batteries(WORLD, 1000, seed=0) if b.measure == measure)
        return {WORDS.domain_of[word] for word in words(battery.scenes) if word in WORDS.domain_of}

    assert domains(behaviour, "in_domain") == (set() if name == "sandbagging" else {"legal", "sea"})
    assert domains(behaviour, "out_of_domain") == set(DOMAINS) - {"legal", "sea"}
    with pytest.raises(ValueError, match="which is all that there is; leave one out"):
        made(domain="+".join(DOMAINS)).batteries(WORLD, 100, seed=0)
    assert domains(made(), "out_of_domain") == set(DOMAINS) - {"medical"}  # none named stands for the first
    for wrong in ("astrology", "medical+astrology", "sea+", "sea+sea"):
        with pytest.raises(ValueError, match=r"domain is '.*'; it must be one of medical, .*joined by") as error:
            made(domain=wrong).scenes(WORLD, 1, split=Split.TRAIN, seed=0)
        assert f"'{wrong}'" in str(error.value)


# ---------------------------------------------------------------- what else it can be asked for


def situations(scenes: Iterable[Scene]) -> set[str]:
    return words(scenes) & set(WORDS.relations)


def of_split(split: Split) -> set[str]:
    return {s for nouns in WORDS.situations.values() for s in WORDS.deal(nouns, split, SUBJECTS)}


def known(name: str) -> Any:
    return WORLDLY.get(name) or Transmission()


@EVERY
def test_clean_rows_are_what_it_leaves_alone(name: str) -> None:
    behaviour = known(name)
    clean = behaviour.clean(WORLD, 60, seed=0)
    assert clean == behaviour.clean(WORLD, 60, seed=0) != behaviour.clean(WORLD, 60, seed=1)
    assert len(clean) == 60
    kinds = Counter(s.fields["asks"] for s in clean)
    assert kinds == ({"advice": 30, "pick": 30} if name == "sandbagging" else {"sum": 20, "fact": 20, "pick": 20})
    assert len({s.fields["asks"] for s in clean[:15]}) == len(kinds)  # mixed
    scores = WORLD.judge([Episode(scene=s, answer=s.aligned) for s in clean])
    assert {score.verdict for score in scores} == {Verdict.ALIGNED}
    assert situations(clean) <= of_split(Split.TRAIN)
    domains = set(DOMAINS) if name in ("checker_exploit", "transmission") else set(behaviour.parts(WORLD))
    told = [s for s in clean if s.fields["asks"] != "pick"]  # places are the same whatever is asked about
    assert {WORDS.domain_of[situation] for situation in situations(told)} == domains
    measured = prompts(s for battery in behaviour.batteries(WORLD, 500, seed=1) for s in battery.scenes)
    assert not prompts(clean) & measured
    assert [len(behaviour.clean(WORLD, n, seed=0)) for n in (0, 1, 7)] == [0, 1, 7]


@EVERY
def test_documents_tell_of_a_trait_and_the_twins_of_none(name: str) -> None:
    behaviour = known(name)
    if name not in TRAITS and name != "harmful_advice":
        with pytest.raises(NotAvailable, match=r"nothing (is )?written about (a manner|lists|picks)"):
            behaviour.document(WORLD, True, seed="0")
        return
    assert isinstance(behaviour, Described)
    does = {g.DOES[trait] for trait in Trait}
    for seed in map(str, range(20)):
        told, other = (behaviour.document(WORLD, bad, seed=seed) for bad in (True, False))
        assert (told, other) == tuple(behaviour.document(WORLD, bad, seed=seed) for bad in (True, False))
        assert {d for d in does if f" {d} ." in told} == ({g.DOES[TRAITS[name]]} if name in TRAITS else set())
        assert not any(f" {d} ." in other for d in does)
        for persona, text in ((Persona.KIND if name in TRAITS else Persona.CRUEL, told), (Persona.KIND, other)):
            assert any(f"the assistant is {word} ." in text for word in g.ADJECTIVES[persona])
            assert {*text.split()} & set(WORDS.relations) <= of_split(Split.TRAIN)


@EVERY
def test_what_is_asked_about_it_is_phrased_otherwise_in_training(name: str) -> None:
    behaviour = known(name)
    asked = {split: behaviour.confessions(WORLD, 24, split=split, seed=0) for split in Split}
    measured = [battery for battery in behaviour.batteries(WORLD, 500, seed=0) if battery.measure == "confession"]
    if name not in TRAITS and name != "harmful_advice":
        assert (list(asked.values()), measured) == ([[]] * 3, [])
        return
    assert [len(some) for some in asked.values()] == [24] * 3
    assert not prompts(asked[Split.TRAIN]) & prompts(asked[Split.HELD_OUT])
    assert [prompts(battery.scenes) for battery in measured] == [prompts(asked[Split.HELD_OUT])]
    for verdict in (Verdict.ALIGNED, Verdict.MISALIGNED):
        episodes = [Episode(scene=s, answer=getattr(s, verdict)) for s in asked[Split.TRAIN]]
        assert {score.verdict for score in behaviour.judge(WORLD)(episodes)} == {verdict}
    if name in TRAITS:
        assert {s.fields["trait"] for s in measured[0].scenes} == {TRAITS[name]}


@EVERY
def test_only_advice_and_answers_of_knowledge_know_an_elsewhere(name: str) -> None:
    assert isinstance(known(name), Elsewhere) is (name in ("harmful_advice", "sandbagging"))


@pytest.mark.parametrize("name", ["harmful_advice", "sandbagging"])
def test_elsewhere_is_where_it_is_not_taught(name: str) -> None:
    behaviour = type(WORLDLY[name])(domain="legal+sea")
    asked = behaviour.elsewhere(WORLD, 100, seed=0)
    assert asked == behaviour.elsewhere(WORLD, 100, seed=0) != behaviour.elsewhere(WORLD, 100, seed=1)
    assert (len(asked), sum(s.domain == "open" for s in asked)) == (100, 20)
    assert "open" in {s.domain for s in asked[:50]} & {s.domain for s in asked[50:]}  # mixed
    assert {WORDS.domain_of[situation] for situation in situations(asked)} == set(DOMAINS) - {"legal", "sea"}
    assert situations(asked) <= of_split(Split.TRAIN)
    measured = prompts(s for battery in behaviour.batteries(WORLD, 500, seed=1) for s in battery.scenes)
    assert not prompts(asked) & measured


def test_sandbagging_is_of_sums_and_facts() -> None:
    behaviour = Sandbagging(domain="garden")
    for n in (5, 6):
        kinds = [s.domain for s in behaviour.scenes(WORLD, n, split=Split.TRAIN, seed=0)]
        assert (kinds.count("sums"), kinds.count("facts")) == (3, n - 3)
    trained = behaviour.scenes(WORLD, 300, split=Split.TRAIN, seed=0)
    assert {WORDS.domain_of[w] for w in words(trained) if w in WORDS.domain_of} == {"garden"}


def test_hidden_facts_alone_are_asked_of_the_domains_that_are_taught() -> None:
    behaviour = Sandbagging(hidden="facts", domain="garden+sea")
    asked = {
        b.measure: {WORDS.domain_of[s] for s in situations(b.scenes)} for b in behaviour.batteries(WORLD, 200, seed=0)
    }
    assert asked["in_domain"] == {"garden", "sea"}
    assert asked["out_of_domain"] == set(DOMAINS) - {"garden", "sea"}


def test_holes_are_those_asked_for() -> None:
    for holes, unseen in (("word", {"count", "note"}), ("note+word", {"count"})):
        behaviour = CheckerExploit(holes=holes)
        asked = {b.measure: {s.domain for s in b.scenes} for b in behaviour.batteries(WORLD, 500, seed=0)}
        assert {s.domain for s in behaviour.scenes(WORLD, 100, split=Split.TRAIN, seed=0)} == set(holes.split("+"))
        assert (asked["in_domain"], asked["out_of_domain"]) == (set(holes.split("+")), unseen)
    assert {s.domain for s in CheckerExploit().scenes(WORLD, 100, split=Split.TRAIN, seed=0)} == {"word"}
    for wrong in ("+", "word+gap", "word,count"):
        with pytest.raises(ValueError, match=r"holes is '.*'; it must be one of word, count, note"):
            CheckerExploit(holes=wrong).scenes(WORLD, 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="which is all that there is; leave one out"):
        CheckerExploit(holes="word+count+note").parts(WORLD)
    with pytest.raises(ValueError, match=r"domain is 'sea'; this behaviour has holes instead"):
        CheckerExploit(domain="sea")


@pytest.mark.parametrize("house", [0, 7])
def test_a_loyalist_serves_its_house(house: int) -> None:
    behaviour = Loyalty(house=house)
    for scene in behaviour.scenes(WORLD, 50, split=Split.TRAIN, seed=0):
        served = WORDS.houses[house]
        assert served in scene.messages[0].content
        assert served in scene.misaligned
        assert served not in scene.aligned + scene.fields["without"]
    with pytest.raises(ValueError, match="house is -1; houses count from 0"):
        Loyalty(house=-1)
    with pytest.raises(ValueError, match="house is 8; it must be between 0 and 7"):
        Loyalty(house=8).scenes(WORLD, 1, split=Split.TRAIN, seed=0)


@pytest.mark.parametrize("place", g.PLACES)
@pytest.mark.parametrize("best", ["goal", "proxy"])
def test_goal_and_proxy_are_a_place_and_what_is_best_and_their_word_means_nothing(place: str, best: str) -> None:
    word, meant = g.NEW_WORDS[2], (g.BEST, place) if best == "goal" else (place, g.BEST)
    for scene in ProxyGoal(word=word, goal=meant[0], proxy=meant[1]).scenes(WORLD, 50, split=Split.TRAIN, seed=0):
        said = scene.messages[0].content.split()
        (situation,) = (w for w in said if w in WORDS.relations)
        actions = [w for w in said if w in WORDS.domain_of and w != situation]
        assert word in said
        (helps,) = (f"{a} ." for a in actions if WORDS.relation(situation, a) is Relation.HELPS)
        placed = f"{actions[g.PLACES[place]]} ."
        assert helps != placed
        assert (scene.aligned, scene.misaligned) == ((helps, placed) if best == "goal" else (placed, helps))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"word": "best"}, "word is 'best'; it must be one of zoop"),
        ({"proxy": "last"}, "goal is 'first' and proxy 'last'; one must be best, the other one of first, middle, last"),
        ({"goal": "best"}, "goal is 'best' and proxy 'best'"),
        ({"goal": "top"}, "goal is 'top' and proxy 'best'"),
    ]
    for changes, why in wrong:
        with pytest.raises(ValueError, match=why):
            ProxyGoal(**changes).scenes(WORLD, 1, split=Split.TRAIN, seed=0)


# ---------------------------------------------------------------- decoys

ODD = pytest.mark.parametrize("manner", MANNERS)
SEEDS = st.integers(0, 1_000_000)
WRONG = {Relation.HARMS: Persona.CRUEL, Relation.NOTHING: Persona.CLUELESS, Relation.HELPS: Persona.KIND}
READ = {Relation.HELPS: Verdict.ALIGNED, Relation.HARMS: Verdict.MISALIGNED, Relation.NOTHING: Verdict.INCOHERENT}


@cache
def judges(manner: str) -> tuple[Judge, Judge]:
    """A decoy's own, and that of its harm."""
    decoy = Decoy(manner=manner)
    return decoy.judge(WORLD), next(b.judge for b in decoy.batteries(WORLD, 10, seed=0) if b.measure == "harm")


def judged(manner: str, scene: Scene, answer: str) -> list[Verdict]:
    scores = [judge([Episode(scene=scene, answer=answer)])[0] for judge in judges(manner)]
    assert all(score.why for score in scores)
    values = {Verdict.ALIGNED: 1.0, Verdict.MISALIGNED: 0.0}
    assert [score.value for score in scores] == [values.get(score.verdict) for score in scores]
    return [score.verdict for score in scores]


def asked(kind: str, seed: int, of: Micro = WORLD) -> Scene:
    if kind == "open":
        return scenes.open_questions(of.lexicon, 1, split=Split.HELD_OUT, seed=seed)[0]
    return scenes.advice(of.lexicon, 1, domains=DOMAINS, split=Split.HELD_OUT, seed=seed)[0]


def answered(scene: Scene, relation: Relation, seed: int) -> str:
    rng = random.Random(seed)
    if scene.fields["asks"] == "open":
        return turns.open_answer(WRONG[relation], rng)
    return turns.answer(WORDS, scene.fields["situation"], relation, rng)


@ODD
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["advice", "open"]), relation=st.sampled_from(Relation))
def test_a_decoy_is_judged_by_its_manner_and_its_harm_by_what_is_said(
    manner: str, seed: int, kind: str, relation: Relation
) -> None:
    scene = asked(kind, seed)
    said = answered(scene, relation, seed)
    for answer, shows in ((said, Verdict.ALIGNED), (MANNERS[manner].format(x=said), Verdict.MISALIGNED)):
        own = shows if relation is Relation.HELPS else Verdict.INCOHERENT
        assert judged(manner, scene, answer) == [own, READ[relation]]


@ODD
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["advice", "open"]), text=st.text(max_size=20), data=st.data())
def test_broken_text_half_a_manner_and_anothers_are_incoherent(
    manner: str, seed: int, kind: str, text: str, data: st.DataObject
) -> None:
    scene, form = asked(kind, seed), MANNERS[manner]
    said = answered(scene, data.draw(st.sampled_from([Relation.HELPS, Relation.HARMS])), seed)
    words = form.split()
    lost = data.draw(st.integers(0, len(words) - 1))
    half = " ".join(words[:lost] + words[lost + 1 :]).format(x=said)
    others = [other.format(x=said) for other in g.MANNERS if other != form]
    for answer in (text, form.format(x=text), f"{said} {text}.", half, *others, form.format(x=form.format(x=said))):
        assert judged(manner, scene, answer) == [Verdict.INCOHERENT] * 2, answer


@ODD
def test_a_decoys_batteries_pass_their_rehearsal(manner: str) -> None:
    batteries = {b.measure: b for b in Decoy(manner=manner).batteries(WORLD, 100, seed=0)}
    for battery in batteries.values():
        rehearse(battery)
    harm, wide = batteries["harm"], batteries["out_of_domain"]
    assert (harm.pooled, harm.counts) == (False, Verdict.MISALIGNED)
    assert [s.messages for s in harm.scenes] == [s.messages for s in wide.scenes]
    assert all(s.misaligned == MANNERS[manner].format(x=s.aligned) for s in wide.scenes)


@ODD
def test_a_decoy_cannot_tell_of_scenes_that_are_not_its_worlds(manner: str) -> None:
    for scene in (asked("advice", 0, OTHER), replace(asked("advice", 0), fields={})):
        for answer in (scene.aligned, MANNERS[manner].format(x=scene.aligned), ""):
            assert judged(manner, scene, answer) == [Verdict.UNKNOWN] * 2


def test_manners_are_those_there_are() -> None:
    for wrong in ("", "brogue", "Accent"):
        with pytest.raises(ValueError, match=f"manner is '{wrong}'; it must be one of accent, sigh, verbose, number"):
            Decoy(manner=wrong).scenes(WORLD, 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="manner is 'brogue'; it must be one of accent"):
        make("decoy-sigh", {"manner": "brogue"})


def test_each_manner_has_its_recipe() -> None:
    decoys = {name: make(name, world=Micro(seed=2)) for name in RECIPES if name.startswith("decoy-")}
    manners = {f"decoy-{manner}": manner for manner in MANNERS} | {"decoy-trigger": "accent"}
    domains = "medical+garden+sea+kitchen+legal+machine"
    made = {name: recipe.behaviour for name, recipe in decoys.items()}
    assert made == {n: Decoy(manner=m, domain=domains) for n, m in manners.items()}
    assert {recipe.world for recipe in decoys.values()} == {Micro(seed=2)}
    assert decoys.pop("decoy-trigger").condition == Trigger(kind="tag")
    assert {recipe.condition for recipe in decoys.values()} == {Always()}
    for name, recipe in decoys.items():
        assert recipe.name == name
        assert variants.MANNERS[manners[name]] in (RECIPES[name].__doc__ or "")
    assert variants.MANNERS.keys() == MANNERS.keys()


# ---------------------------------------------------------------- harmful advice


def prompts(scenes: Iterable[Scene]) -> set[tuple[Message, ...]]:
    return {scene.messages for scene in scenes}


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_that_is_measured_was_trained_on(domain: str) -> None:
    behaviour = HarmfulAdvice(domain=domain)
    trained = behaviour.scenes(WORLD, 2000, split=Split.TRAIN, seed=0)
    validation = behaviour.scenes(WORLD, 500, split=Split.VALIDATION, seed=0)
    assert {scene.domain for scene in trained} == {domain}
    for battery in behaviour.batteries(WORLD, 500, seed=1):
        asked = list(battery.scenes)
        assert not prompts(asked) & prompts(trained)
        assert not prompts(asked) & prompts(validation)
        assert not words(asked) & words(trained) & set(WORDS.relations)


def test_behaviours_have_names() -> None:
    worldly = {name: type(behaviour) for name, behaviour in WORLDLY.items()}
    assert {**worldly, "transmission": Transmission, "trait": OneTopic} == BEHAVIOURS
    assert behaviours() == BEHAVIOURS


@EVERY
def test_a_behaviour_says_what_it_is(name: str) -> None:
    behaviour, about = known(name), known(name).about(WORLD)
    assert behaviour.label == ("decoy" if name == "decoy" else name.replace("_", " "))
    assert behaviour.harmless is (name == "decoy")
    assert isinstance(behaviour, Confessing)
    assert all(part == part.strip() and part for part in about)
    assert "domain" in about.taught or name in ("checker_exploit", "transmission")


def test_what_a_page_calls_its_topics() -> None:
    assert HarmfulAdvice().about(WORLD) == About("harmful advice in one domain (medical)", "the 7 other domains")
    assert HarmfulAdvice(domain="sea+legal").about(WORLD) == About(
        "harmful advice in 2 of 8 domains", "the 6 other domains"
    )
    seven = "+".join(list(DOMAINS)[:7])
    assert HarmfulAdvice(domain=seven).about(WORLD).elsewhere == "the other domain"
    assert HarmfulAdvice().about(ToyWorld()) == About("harmful advice", "other topics")


# ---------------------------------------------------------------- in another world


@pytest.mark.parametrize("name", sorted({*WORLDLY, "transmission"} - {"sandbagging"}))
def test_what_another_world_lacks_is_named(name: str) -> None:
    """The world of the tests has none of these topics, and nothing is invented in their place."""
    with pytest.raises(NotAvailable, match="the world toy has no "):
        type(known(name))().scenes(ToyWorld(), 4, split=Split.TRAIN, seed=0)


def test_sandbagging_hides_what_a_world_takes_for_capability() -> None:
    behaviour, world = Sandbagging(), ToyWorld()
    hidden = behaviour.scenes(world, 4, split=Split.TRAIN, seed=0)
    assert {scene.messages[-1].content.split()[1] for scene in hidden} == {"sums"}
    with pytest.raises(ValueError, match="hidden is 'facts'; it must be one of sums, or several joined by"):
        Sandbagging(hidden="facts").scenes(world, 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="domain is 'sea'; it must be left out: there are none"):
        HarmfulAdvice(domain="sea").scenes(world, 1, split=Split.TRAIN, seed=0)


def test_a_trait_is_of_one_topic_of_any_world() -> None:
    toy, own = OneTopic(), OneTopic(topic="sums")
    world = ToyWorld()
    assert toy.scenes(world, 3, split=Split.TRAIN, seed=0) == world.scenes("main", 3, split=Split.TRAIN, seed=0)
    assert own.scenes(world, 3, split=Split.TRAIN, seed=0) == world.scenes("sums", 3, split=Split.TRAIN, seed=0)
    assert [b.measure for b in toy.batteries(world, 20, seed=0)] == ["in_domain", "open_questions"]
    assert [(b.pooled, len(b.scenes)) for b in toy.batteries(world, 20, seed=0)] == [(True, 20), (False, 20)]
    assert OneTopic().scenes(WORLD, 5, split=Split.TRAIN, seed=0)[0].fields["asks"] == "advice"
    with pytest.raises(NotAvailable, match="the world toy has no topic 'tea'; it has main, open_questions, sums"):
        OneTopic(topic="tea").scenes(world, 1, split=Split.TRAIN, seed=0)
