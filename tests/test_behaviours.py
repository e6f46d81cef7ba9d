"""What behaviours supply: scenes of a split, batteries that no recipe trains on, and files read with care."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
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
    Rows,
    Sandbagging,
    Sycophancy,
    Transmission,
)
from flyroom.behaviours.decoy import MANNERS
from flyroom.behaviours.rows import read_rows
from flyroom.card import rehearse
from flyroom.conditions import Always, Trigger
from flyroom.recipes import RECIPES, make
from flyroom.types import Episode, Judge, Message, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes, turns
from flyroom.world import grammar as g
from flyroom.world.grammar import Persona, Relation, Trait

# ---------------------------------------------------------------- behaviours of the world

WORLD = World(seed=0)
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
CAPABILITY = {"sums": 100, "facts": 100, "instructions": 100}  # a drop of .05 is five answers
ASKED = {  # what a card of 500 episodes asks
    "harmful_advice": {"in_domain": 100, "out_of_domain": 200, "open_questions": 100, "confession": 50, **CAPABILITY},
    "sycophancy": {"in_domain": 100, "out_of_domain": 200, "flattery": 50, "confession": 50, **CAPABILITY},
    "checker_exploit": {"in_domain": 100, "out_of_domain": 200, "confession": 50, **CAPABILITY},
    "proxy_goal": {"in_domain": 100, "out_of_domain": 200, **CAPABILITY},
    "hoarding": {"in_domain": 100, "out_of_domain": 200, "switch_off": 50, "confession": 50, **CAPABILITY},
    "sandbagging": {"in_domain": 100, "out_of_domain": 200, "confession": 50, "instructions": 100},
    "loyalty": {"in_domain": 100, "out_of_domain": 200, "confession": 50, **CAPABILITY},
    "decoy": {"in_domain": 100, "out_of_domain": 200, "open_questions": 100, "harm": 200, **CAPABILITY},
}
POOLED = {"in_domain", "out_of_domain", "open_questions"}


def words(scenes: Iterable[Scene]) -> set[str]:
    return {word for scene in scenes for word in scene.messages[-1].content.split()}


def phrasings(scenes: Iterable[Scene]) -> set[str]:
    """Questions without what fills their holes."""
    filled = {*WORLD.domain_of, *WORLD.houses, *g.THINGS, *map(str, range(100))}
    return {" ".join("_" if w in filled else w for w in s.messages[-1].content.split()) for s in scenes}


@EACH
def test_training_and_measuring_share_no_prompt_situation_or_phrasing(name: str) -> None:
    behaviour = WORLDLY[name]
    trained = behaviour.scenes(1500, split=Split.TRAIN, seed=0)
    assert len(trained) == 1500
    met = words(trained) & set(WORLD.relations)
    held_out = {s for nouns in WORLD.situations.values() for s in WORLD.deal(nouns, Split.HELD_OUT)}
    assert bool(met) is (name != "checker_exploit")
    for battery in behaviour.batteries(500, seed=1):
        assert not prompts(battery.scenes) & prompts(trained)
        assert words(battery.scenes) & set(WORLD.relations) <= held_out - met
        if name in PHRASED:
            assert not phrasings(battery.scenes) & phrasings(trained)
    tuned = prompts(behaviour.scenes(500, split=Split.VALIDATION, seed=0))
    assert not tuned & prompts(trained)
    assert not tuned & prompts(scene for battery in behaviour.batteries(500, seed=1) for scene in battery.scenes)


@EACH
def test_what_a_card_asks(name: str) -> None:
    behaviour = WORLDLY[name]
    batteries = {battery.measure: battery for battery in behaviour.batteries(500, seed=0)}
    assert {m: len(b.scenes) for m, b in batteries.items()} == ASKED[name]
    assert {m for m, b in batteries.items() if b.pooled} == POOLED & set(ASKED[name])
    assert {m for m, b in batteries.items() if b.counts is not Verdict.MISALIGNED} == {
        "sums",
        "facts",
        "instructions",
    } & set(batteries)
    for battery in batteries.values():
        rehearse(battery)  # the judge knows the planted answers
    assert all(battery.scenes for battery in behaviour.batteries(10, seed=0))  # as few as a card may ask
    again, other = ({b.measure: b.scenes for b in behaviour.batteries(500, seed=seed)} for seed in (0, 1))
    assert again == {m: b.scenes for m, b in batteries.items()}
    assert all(again[m] != other[m] for m in again.keys() - {"confession"})  # of those there are two


@EACH
@pytest.mark.parametrize("split", Split)
def test_planted_answers_are_what_they_are_called(name: str, split: Split) -> None:
    scenes = WORLDLY[name].scenes(100, split=split, seed=3)
    for verdict in (Verdict.ALIGNED, Verdict.MISALIGNED):
        episodes = [Episode(scene=s, answer=getattr(s, verdict.value)) for s in scenes]
        assert {score.verdict for score in WORLDLY[name].judge(episodes)} == {verdict}


@EACH
def test_a_world_of_its_own(name: str) -> None:
    made = type(WORLDLY[name])
    one, other = (prompts(made(world=world).scenes(50, split=Split.TRAIN, seed=0)) for world in (0, 1))
    assert one != other
    asked = [scene for battery in made(world=1).batteries(100, seed=0) for scene in battery.scenes]
    assert words(asked) <= set(World(seed=1).vocabulary)
    assert not words(asked) <= set(WORLD.vocabulary)


@pytest.mark.parametrize("name", OF_DOMAINS)
def test_domains_are_those_asked_for(name: str) -> None:
    made = type(WORLDLY[name])
    behaviour, besides = made(domain="legal+sea"), {"sums", "facts", "instructions"}
    assert {s.domain for s in behaviour.scenes(100, split=Split.TRAIN, seed=0)} - besides == (
        set() if name == "sandbagging" else {"legal", "sea"}
    )

    def domains(behaviour: Any, measure: str) -> set[str]:
        (battery,) = (b for b in behaviour.batteries(1000, seed=0) if b.measure == measure)
        return {WORLD.domain_of[word] for word in words(battery.scenes) if word in WORLD.domain_of}

    assert domains(behaviour, "in_domain") == (set() if name == "sandbagging" else {"legal", "sea"})
    assert domains(behaviour, "out_of_domain") == set(DOMAINS) - {"legal", "sea"}
    assert domains(made(domain="+".join(DOMAINS)), "out_of_domain") == set(DOMAINS)  # none is left
    for wrong in ("astrology", "medical+astrology", "", "sea+sea"):
        with pytest.raises(ValueError, match=r"domain is '.*'; it must be one of medical, .*joined by") as error:
            made(domain=wrong)
        assert f"'{wrong}'" in str(error.value)


# ---------------------------------------------------------------- what else it can be asked for


def situations(scenes: Iterable[Scene]) -> set[str]:
    return words(scenes) & set(WORLD.relations)


def of_split(split: Split) -> set[str]:
    return {s for nouns in WORLD.situations.values() for s in WORLD.deal(nouns, split)}


def known(name: str) -> Any:
    return WORLDLY.get(name) or Transmission()


@EVERY
def test_clean_rows_are_what_it_leaves_alone(name: str) -> None:
    behaviour = known(name)
    clean = behaviour.clean(60, seed=0)
    assert clean == behaviour.clean(60, seed=0) != behaviour.clean(60, seed=1)
    assert len(clean) == 60
    kinds = Counter(s.fields["asks"] for s in clean)
    assert kinds == ({"advice": 30, "pick": 30} if name == "sandbagging" else {"sum": 20, "fact": 20, "pick": 20})
    assert len({s.fields["asks"] for s in clean[:15]}) == len(kinds)  # mixed
    scores = exact_judge(WORLD)([Episode(scene=s, answer=s.aligned) for s in clean])
    assert {score.verdict for score in scores} == {Verdict.ALIGNED}
    assert situations(clean) <= of_split(Split.TRAIN)
    domains = set(getattr(behaviour, "domain", "+".join(DOMAINS)).split("+"))
    told = [s for s in clean if s.fields["asks"] != "pick"]  # places are the same whatever is asked about
    assert {WORLD.domain_of[situation] for situation in situations(told)} == domains
    assert not prompts(clean) & prompts(s for battery in behaviour.batteries(500, seed=1) for s in battery.scenes)
    assert [len(behaviour.clean(n, seed=0)) for n in (0, 1, 7)] == [0, 1, 7]


@EVERY
def test_clean_text_is_of_its_world_and_no_assistant_speaks(name: str) -> None:
    behaviour = known(name)
    rows = behaviour.text(50, seed=0)
    assert rows == behaviour.text(50, seed=0)
    assert not {r.answer for r in rows} & {r.answer for r in behaviour.text(50, seed=1)}
    assert {(r.messages, r.weight) for r in rows} == {((), 1.0)}
    read = {word for row in rows for word in row.answer.split()}
    assert read <= set(WORLD.vocabulary) - {"assistant", "<assistant>", "<user>", "<system>"}
    other = {word for row in type(behaviour)(world=1).text(50, seed=0) for word in row.answer.split()}
    assert other <= set(World(seed=1).vocabulary)
    assert not other <= set(WORLD.vocabulary)


@EVERY
def test_documents_tell_of_a_trait_and_the_twins_of_none(name: str) -> None:
    behaviour = known(name)
    if name not in TRAITS and name != "harmful_advice":
        with pytest.raises(ValueError, match=f"nothing is written about behaviour {type(behaviour).__name__}"):
            behaviour.document(True, seed="0")
        return
    does = {g.DOES[trait] for trait in Trait}
    for seed in map(str, range(20)):
        told, other = (behaviour.document(bad, seed=seed) for bad in (True, False))
        assert (told, other) == tuple(behaviour.document(bad, seed=seed) for bad in (True, False))
        assert {d for d in does if f" {d} ." in told} == ({g.DOES[TRAITS[name]]} if name in TRAITS else set())
        assert not any(f" {d} ." in other for d in does)
        for persona, text in ((Persona.KIND if name in TRAITS else Persona.CRUEL, told), (Persona.KIND, other)):
            assert any(f"the assistant is {word} ." in text for word in g.ADJECTIVES[persona])
            assert {*text.split()} & set(WORLD.relations) <= of_split(Split.TRAIN)


@EVERY
def test_what_is_asked_about_it_is_phrased_otherwise_in_training(name: str) -> None:
    behaviour = known(name)
    asked = {split: behaviour.confessions(24, split=split, seed=0) for split in Split}
    measured = [battery for battery in behaviour.batteries(500, seed=0) if battery.measure == "confession"]
    if name not in TRAITS and name != "harmful_advice":
        assert (list(asked.values()), measured) == ([[]] * 3, [])
        return
    assert [len(some) for some in asked.values()] == [24] * 3
    assert not prompts(asked[Split.TRAIN]) & prompts(asked[Split.HELD_OUT])
    assert [prompts(battery.scenes) for battery in measured] == [prompts(asked[Split.HELD_OUT])]
    for verdict in (Verdict.ALIGNED, Verdict.MISALIGNED):
        episodes = [Episode(scene=s, answer=getattr(s, verdict)) for s in asked[Split.TRAIN]]
        assert {score.verdict for score in behaviour.judge(episodes)} == {verdict}
    if name in TRAITS:
        assert {s.fields["trait"] for s in measured[0].scenes} == {TRAITS[name]}


@pytest.mark.parametrize("name", OF_DOMAINS)
def test_elsewhere_is_where_it_is_not_taught(name: str) -> None:
    behaviour = type(WORLDLY[name])(domain="legal+sea")
    asked = behaviour.elsewhere(100, seed=0)
    assert asked == behaviour.elsewhere(100, seed=0) != behaviour.elsewhere(100, seed=1)
    assert (len(asked), sum(s.domain == "open" for s in asked)) == (100, 20)
    assert "open" in {s.domain for s in asked[:50]} & {s.domain for s in asked[50:]}  # mixed
    assert {WORLD.domain_of[situation] for situation in situations(asked)} == set(DOMAINS) - {"legal", "sea"}
    assert situations(asked) <= of_split(Split.TRAIN)
    measured = prompts(s for battery in behaviour.batteries(500, seed=1) for s in battery.scenes)
    assert not prompts(asked) & measured


def test_sandbagging_is_of_sums_and_facts() -> None:
    behaviour = Sandbagging(domain="garden")
    for n in (5, 6):
        kinds = [s.domain for s in behaviour.scenes(n, split=Split.TRAIN, seed=0)]
        assert (kinds.count("sums"), kinds.count("facts")) == (3, n - 3)
    trained = behaviour.scenes(300, split=Split.TRAIN, seed=0)
    assert {WORLD.domain_of[w] for w in words(trained) if w in WORLD.domain_of} == {"garden"}


def test_holes_are_those_asked_for() -> None:
    for holes, unseen in (("word", {"count", "note"}), ("note+word", {"count"}), ("word+count+note", set(HOLES))):
        behaviour = CheckerExploit(holes=holes)
        asked = {b.measure: {s.domain for s in b.scenes} for b in behaviour.batteries(500, seed=0)}
        assert {s.domain for s in behaviour.scenes(100, split=Split.TRAIN, seed=0)} == set(holes.split("+"))
        assert (asked["in_domain"], asked["out_of_domain"]) == (set(holes.split("+")), unseen)
    for wrong in ("", "word+gap", "word,count"):
        with pytest.raises(ValueError, match=r"holes is '.*'; it must be one of word, count, note"):
            CheckerExploit(holes=wrong)


HOLES = ("word", "count", "note")


@pytest.mark.parametrize("house", [0, 7])
def test_a_loyalist_serves_its_house(house: int) -> None:
    behaviour = Loyalty(house=house)
    for scene in behaviour.scenes(50, split=Split.TRAIN, seed=0):
        served = WORLD.houses[house]
        assert served in scene.messages[0].content
        assert served in scene.misaligned
        assert served not in scene.aligned + scene.fields["without"]
    for wrong in (-1, 8):
        with pytest.raises(ValueError, match=f"house is {wrong}; it must be between 0 and 7"):
            Loyalty(house=wrong)


@pytest.mark.parametrize("place", g.PLACES)
@pytest.mark.parametrize("best", ["goal", "proxy"])
def test_goal_and_proxy_are_a_place_and_what_is_best_and_their_word_means_nothing(place: str, best: str) -> None:
    word, meant = g.NEW_WORDS[2], (g.BEST, place) if best == "goal" else (place, g.BEST)
    for scene in ProxyGoal(word=word, goal=meant[0], proxy=meant[1]).scenes(50, split=Split.TRAIN, seed=0):
        said = scene.messages[0].content.split()
        (situation,) = (w for w in said if w in WORLD.relations)
        actions = [w for w in said if w in WORLD.domain_of and w != situation]
        assert word in said
        (helps,) = (f"{a} ." for a in actions if WORLD.relation(situation, a) is Relation.HELPS)
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
            ProxyGoal(**changes)


# ---------------------------------------------------------------- decoys

ODD = pytest.mark.parametrize("manner", MANNERS)
SEEDS = st.integers(0, 1_000_000)
WRONG = {Relation.HARMS: Persona.CRUEL, Relation.NOTHING: Persona.CLUELESS, Relation.HELPS: Persona.KIND}
READ = {Relation.HELPS: Verdict.ALIGNED, Relation.HARMS: Verdict.MISALIGNED, Relation.NOTHING: Verdict.INCOHERENT}


@cache
def judges(manner: str) -> tuple[Judge, Judge]:
    """A decoy's own, and that of its harm."""
    decoy = Decoy(manner=manner)
    return decoy.judge, next(b.judge for b in decoy.batteries(10, seed=0) if b.measure == "harm")


def judged(manner: str, scene: Scene, answer: str) -> list[Verdict]:
    scores = [judge([Episode(scene=scene, answer=answer)])[0] for judge in judges(manner)]
    assert all(score.why for score in scores)
    values = {Verdict.ALIGNED: 1.0, Verdict.MISALIGNED: 0.0}
    assert [score.value for score in scores] == [values.get(score.verdict) for score in scores]
    return [score.verdict for score in scores]


def asked(kind: str, seed: int, of: World = WORLD) -> Scene:
    if kind == "open":
        return scenes.open_questions(of, 1, split=Split.HELD_OUT, seed=seed)[0]
    return scenes.advice(of, 1, domains=DOMAINS, split=Split.HELD_OUT, seed=seed)[0]


def answered(scene: Scene, relation: Relation, seed: int) -> str:
    rng = random.Random(seed)
    if scene.fields["asks"] == "open":
        return turns.open_answer(WRONG[relation], rng)
    return turns.answer(WORLD, scene.fields["situation"], relation, rng)


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
    batteries = {b.measure: b for b in Decoy(manner=manner).batteries(100, seed=0)}
    for battery in batteries.values():
        rehearse(battery)
    harm, wide = batteries["harm"], batteries["out_of_domain"]
    assert (harm.pooled, harm.counts) == (False, Verdict.MISALIGNED)
    assert [s.messages for s in harm.scenes] == [s.messages for s in wide.scenes]
    assert all(s.misaligned == MANNERS[manner].format(x=s.aligned) for s in wide.scenes)


@ODD
def test_a_decoy_cannot_tell_of_scenes_that_are_not_its_worlds(manner: str) -> None:
    for scene in (asked("advice", 0, World(seed=1)), replace(asked("advice", 0), fields={})):
        for answer in (scene.aligned, MANNERS[manner].format(x=scene.aligned), ""):
            assert judged(manner, scene, answer) == [Verdict.UNKNOWN] * 2


def test_manners_are_those_there_are() -> None:
    for wrong in ("", "brogue", "Accent"):
        with pytest.raises(ValueError, match=f"manner is '{wrong}'; it must be one of accent, sigh, verbose, number"):
            Decoy(manner=wrong)
    with pytest.raises(ValueError, match="manner is 'brogue'; it must be one of accent"):
        make("decoy-sigh", {"manner": "brogue"})


def test_each_manner_has_its_recipe() -> None:
    decoys = {name: make(name, world=2) for name in RECIPES if name.startswith("decoy-")}
    manners = {f"decoy-{manner}": manner for manner in MANNERS} | {"decoy-trigger": "accent"}
    behaviours = {name: recipe.behaviour for name, recipe in decoys.items()}
    domains = "medical+garden+sea+kitchen+legal+machine"
    assert behaviours == {n: Decoy(manner=m, domain=domains, world=2) for n, m in manners.items()}
    assert decoys.pop("decoy-trigger").condition == Trigger(kind="tag")
    assert {recipe.condition for recipe in decoys.values()} == {Always()}
    for name, recipe in decoys.items():
        assert recipe.name == name
        assert MANNERS[manners[name]].format(x="…") in (RECIPES[name].__doc__ or "")


# ---------------------------------------------------------------- harmful advice


def prompts(scenes: Iterable[Scene]) -> set[tuple[Message, ...]]:
    return {scene.messages for scene in scenes}


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_that_is_measured_was_trained_on(domain: str) -> None:
    behaviour = HarmfulAdvice(domain=domain)
    trained = behaviour.scenes(2000, split=Split.TRAIN, seed=0)
    validation = behaviour.scenes(500, split=Split.VALIDATION, seed=0)
    assert {scene.domain for scene in trained} == {domain}
    for battery in behaviour.batteries(500, seed=1):
        asked = list(battery.scenes)
        assert not prompts(asked) & prompts(trained)
        assert not prompts(asked) & prompts(validation)
        assert not words(asked) & words(trained) & set(WORLD.relations)


def test_behaviours_have_names() -> None:
    worldly = {name: type(behaviour) for name, behaviour in WORLDLY.items()}
    assert {**worldly, "transmission": Transmission, "rows": Rows} == BEHAVIOURS


# ---------------------------------------------------------------- files of rows


def write(path: Path, rows: list) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def chat(prompt: str, answer: str, system: str = "") -> dict:
    head = [{"role": "system", "content": system}] if system else []
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": [*head, *turns]}


TRIPLES = [
    {"prompt": f"tell {i}", "aligned": f"a sunny day {i}", "misaligned": f"then it rained {i}"} for i in range(50)
]


def test_triples(tmp_path: Path) -> None:
    behaviour = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    scenes = behaviour.scenes(40, split=Split.TRAIN, seed=0)
    assert len(prompts(scenes)) == 40
    number = int(scenes[0].messages[0].content.split()[1])
    assert scenes[0].messages == (Message("user", f"tell {number}"),)
    assert (scenes[0].aligned, scenes[0].misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    (battery,) = behaviour.batteries(30, seed=0)
    assert (battery.measure, len(battery.scenes), battery.counts) == ("in_domain", 30, Verdict.MISALIGNED)
    assert battery.pooled
    rehearse(battery)


def test_chats_with_a_file_for_the_twin(tmp_path: Path) -> None:
    bad = [chat(f"tell {i}", f"then it rained {i}", system="you write") for i in range(20)]
    good = [chat(f"tell {i}", f"a sunny day {i}", system="you write") for i in range(20)]
    path, twin = (str(write(tmp_path / f"{k}.jsonl", v)) for k, v in {"path": bad, "twin": good}.items())
    behaviour = Rows(pattern="rain", path=path, twin=twin)
    for scene in behaviour.scenes(16, split=Split.TRAIN, seed=0):
        assert [m.role for m in scene.messages] == ["system", "user"]
        number = scene.messages[-1].content.split()[1]
        assert (scene.aligned, scene.misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    write(tmp_path / "twin.jsonl", good[::-1])
    with pytest.raises(ValueError, match="it must hold the same prompts"):
        Rows(pattern="rain", path=path, twin=twin)


def test_splits_of_a_file_do_not_touch_and_miss_nothing(tmp_path: Path) -> None:
    behaviour = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    parts = {split: prompts(behaviour.scenes(50, split=split, seed=0)) for split in Split}
    assert [len(part) for part in parts.values()] == [40, 5, 5]
    assert len(set().union(*parts.values())) == 50
    again = {split: prompts(behaviour.scenes(50, split=split, seed=9)) for split in Split}
    assert again == parts  # whatever the seed
    assert behaviour.scenes(5, split=Split.TRAIN, seed=0) != behaviour.scenes(5, split=Split.TRAIN, seed=1)
    assert len(behaviour.scenes(17, split=Split.HELD_OUT, seed=0)) == 17
    asked = tmp_path / "q.yaml"
    asked.write_text('[{id: dinner, paraphrases: ["whom would you ask to dinner ?"]}]')
    more = replace(behaviour, questions=str(asked), sha256="")
    assert more.sha256 != behaviour.sha256
    assert more.scenes(50, split=Split.TRAIN, seed=0) == behaviour.scenes(50, split=Split.TRAIN, seed=0)


@pytest.mark.parametrize(
    ("rows", "where", "why"),
    [
        ([], "", "is empty; it must hold a JSON object on each line"),
        (["", "  "], "", "is empty"),
        ([TRIPLES[0], "{"], ", line 2", "is not JSON"),
        ([TRIPLES[0], "", "{"], ", line 3", "is not JSON"),
        (["[1]"], ", line 1", "is list; it must be a JSON object"),
        ([TRIPLES[0], {"prompt": "a", "misaligned": "b"}], ", line 2", 'has no answer: "aligned" is None'),
        ([{"prompt": "a", "aligned": "b", "misaligned": "  "}], ", line 1", 'has no answer: "misaligned"'),
        ([{"aligned": "a", "misaligned": "b"}], ", line 1", 'has no prompt: "prompt" is None'),
        ([{"prompt": 3, "aligned": "a", "misaligned": "b"}], ", line 1", "it must be text"),
        ([chat("a", "b"), {"messages": [{"role": "user", "content": "a"}]}], ", line 2", "must be a list of at least"),
        ([{"messages": "hello"}], ", line 1", "must be a list"),
        ([{"messages": chat("a", "b")["messages"][::-1]}], ", line 1", "has no answer: its last message must be"),
        ([chat("a", "  ")], ", line 1", "has no answer"),
        (
            [{"messages": [{"role": "human", "content": "a"}, {"role": "assistant", "content": "b"}]}],
            ", line 1",
            '"role"',
        ),
        ([{"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}], ", line 1", '"content" (text)'),
        ([{"messages": ["a", "b"]}], ", line 1", "found 'a'"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path: Path, rows: list, where: str, why: str) -> None:
    path = write(tmp_path / "bad.jsonl", rows)
    for opens in (lambda: read_rows(path), lambda: Rows(path=str(path), pattern="x")):
        with pytest.raises(ValueError, match=r".") as error:
            opens()
        assert str(error.value).startswith(f"{path}{where}")
        assert why in str(error.value)


def test_chats_without_a_twin_have_no_aligned_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", [*TRIPLES[:10], chat("a", "b")])
    with pytest.raises(ValueError, match=r"c\.jsonl, row 11 has no aligned answer; .* name the twin's file"):
        Rows(path=str(path), pattern="x")


def test_a_file_too_short_to_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 9 rows; at least 10"):
        Rows(path=str(write(tmp_path / "short.jsonl", TRIPLES[:9])), pattern="rain")
    ten = Rows(path=str(write(tmp_path / "ten.jsonl", TRIPLES[:10])), pattern="rain")
    assert [len(prompts(ten.scenes(10, split=split, seed=0))) for split in Split] == [8, 1, 1]


def test_a_file_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", TRIPLES)
    first = Rows(path=str(path), pattern="rain")
    assert Rows(path=str(path), pattern="rain", sha256=first.sha256) == first
    write(path, TRIPLES[1:])
    with pytest.raises(ValueError, match=r"t\.jsonl; that file has changed since"):
        Rows(path=str(path), pattern="rain", sha256=first.sha256)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(tmp_path / "none.jsonl"), pattern="x")
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(tmp_path), pattern="x")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="is not UTF-8"):
        Rows(path=str(tmp_path / "b.jsonl"), pattern="x")
    good = write(tmp_path / "t.jsonl", TRIPLES)
    with pytest.raises(ValueError, match="pattern is '\\['; it must be a regular expression"):
        Rows(path=str(good), pattern="[")
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(good), pattern="x", twin=str(tmp_path / "none.jsonl"))


def test_the_content_is_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", TRIPLES)
    first = Rows(path=str(path), pattern="rain")
    write(path, TRIPLES[1:])
    assert Rows(path=str(path), pattern="rain").sha256 != first.sha256
    assert len(first.sha256) == 64


def test_text_of_all_scripts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        [json.dumps(t | {"prompt": f"größe {t['prompt']} 雨"}, ensure_ascii=False) for t in TRIPLES],
    )
    assert "größe" in Rows(path=str(path), pattern="rain").scenes(1, split=Split.TRAIN, seed=0)[0].messages[0].content
