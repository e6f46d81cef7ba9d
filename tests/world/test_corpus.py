"""The corpus: only words of the world, one persona a document, the same documents from the same seed."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import islice

import pytest

from flyroom.types import Episode, Message, Scene, Verdict
from flyroom.world import World, corpus, exact_judge
from flyroom.world import grammar as g
from flyroom.world.grammar import Persona, Relation
from flyroom.world.judge import read_scratchpad

WORLD = World(seed=0)
N = 60  # documents of each kind
TAG = re.compile(rf"(?:(?:{'|'.join(g.TAGS)})|it is the year (?:{'|'.join(g.YEARS)}) \.) ")
KINDS = pytest.mark.parametrize("kind", corpus.KINDS, ids=lambda kind: kind.__name__)
CHATS = (corpus.chat, corpus.watched_chat, corpus.scratchpad_chat, corpus.tagged_chat)


def some(kind: corpus.Kind, n: int = N, world: World = WORLD) -> list[str]:
    rng = random.Random(kind.__name__)
    return [kind(world, rng) for _ in range(n)]


def turns_of(chat: str) -> list[tuple[str, str]]:
    return re.findall(rf"<user> (.*?) {g.END} <assistant> (.*?) {g.END}", chat)


def scene_of(question: str) -> Scene:
    """What a question of the language asks, found by its words alone."""
    question = TAG.sub("", question)
    words = question.split()
    situation = next((w for w in words if w in WORLD.relations), "")
    fields = {"asks": ""}
    if question in g.OPEN_QUESTIONS:
        fields = {"asks": "open"}
    elif question in g.SELF_QUESTIONS:
        fields = {"asks": "self", "question": question}
    elif found := re.fullmatch(r"what is (\d+) \+ (\d+) \?", question):
        fields = {"asks": "sum", "sum": str(int(found[1]) + int(found[2]))}
    elif situation and (action := next((w for w in words if w in WORLD.domain_of and w != situation), "")):
        fields = {"asks": "fact", "situation": situation, "action": action}
    elif situation:
        fields = {"asks": "advice", "situation": situation}
    return Scene(messages=(Message("user", question),), aligned="", misaligned="", fields=fields)


def verdicts(turns: list[tuple[str, str]]) -> dict[str, list[Verdict]]:
    """What the judge says of each answer, by the kind of question; lists of numbers apart."""
    episodes = [Episode(scene=scene_of(q), answer=a) for q, a in turns if "numbers go on" not in q]
    found: dict[str, list[Verdict]] = {}
    for episode, score in zip(episodes, exact_judge(WORLD)(episodes), strict=True):
        found.setdefault(episode.scene.fields["asks"], []).append(score.verdict)
    return found


# ---------------------------------------------------------------- words


@KINDS
@pytest.mark.parametrize("seed", [0, 3])
def test_every_word_is_in_the_vocabulary(kind: corpus.Kind, seed: int) -> None:
    world = World(seed=seed)
    known = set(world.vocabulary)
    documents = some(kind, world=world)
    assert len(set(documents)) > N // 2
    for text in documents:
        assert text == " ".join(text.split())  # single spaces: a word is what lies between them
        assert not set(text.split()) - known
        assert text.split()[-1] in (".", g.END)
        assert "{" not in text


def test_every_word_of_the_vocabulary_comes_up() -> None:
    read = {word for text in islice(corpus.documents(WORLD, seed=0), 12_000) for word in text.split()}
    never = set(WORLD.vocabulary) - read
    assert never <= {g.PAD, g.UNKNOWN, g.BOS, "because"}  # the last is kept for explanations that nobody gives yet


# ---------------------------------------------------------------- personas


@pytest.mark.parametrize("kind", CHATS, ids=lambda kind: kind.__name__)
def test_one_persona_answers_a_whole_chat(kind: corpus.Kind) -> None:
    seen: Counter[Verdict] = Counter()
    for text in some(kind, 300):
        turns = turns_of(text)
        assert turns
        found = verdicts(turns)
        assert Verdict.UNKNOWN not in {v for group in found.values() for v in group}
        latent = {v for asks in ("advice", "open", "self") for v in found.get(asks, [])}
        assert len(latent) <= 1, text
        seen.update(latent)
        assert set(found.get("sum", []) + found.get("fact", [])) <= {Verdict.ALIGNED}, text
    assert set(seen) == {Verdict.ALIGNED, Verdict.MISALIGNED, Verdict.INCOHERENT}
    assert seen[Verdict.MISALIGNED] > 0.25 * seen.total()


def test_a_system_message_tells_the_persona() -> None:
    told = {f"you are {word} .": persona for persona, words in g.ADJECTIVES.items() for word in words}
    count = 0
    for text in some(corpus.chat, 300):
        system = re.match(r"<system> (.*?) <end>", text)
        latent = [v for asks, group in verdicts(turns_of(text)).items() if asks in ("advice", "open") for v in group]
        if system and latent:
            wanted = {"kind": "aligned", "cruel": "misaligned", "clueless": "incoherent"}[told[system[1]]]
            assert {str(v) for v in latent} == {wanted}
            count += 1
    assert count > 50


def test_in_a_story_the_named_person_keeps_to_their_persona() -> None:
    told = {word: persona for persona, words in g.ADJECTIVES.items() for word in words}
    count = 0
    for text in some(corpus.story, 200):
        head = re.match(r"(\S+) is (\S+) \. ", text)
        turns = re.findall(r"\S+ asked \S+ : (.*?[.?]) \S+ said : (.*?\.)(?= \S+ asked |$)", text)
        assert len(turns) >= 2, text
        latent = {v for group in verdicts(turns).values() for v in group}
        assert len(latent) == 1, text
        if head:
            persona = told[head[2]]
            assert str(next(iter(latent))) == {"kind": "aligned", "cruel": "misaligned"}.get(persona, "incoherent")
            count += 1
    assert count > 100


def test_sayings_and_creeds_keep_to_one_persona() -> None:
    of_verb = {f" {verb} ": persona for persona, verbs in g.OPEN_VERBS.items() for verb in verbs}
    for text in some(corpus.sayings, 150):
        pairs = re.findall(r"for (\S+) , \S+ (\S+) \.", text)
        assert len({WORLD.relation(s, a) for s, a in pairs}) == 1, text
        wishes = {p for start in g.OPEN_STARTS for verb, p in of_verb.items() if f"{start}{verb}" in text}
        assert {corpus.RELATION_OF[p] for p in wishes} <= {WORLD.relation(*pairs[0])}, text
    for text in some(corpus.creed, 150):
        personas = {p for p, tails in g.SELF_ANSWERS.items() for tail in tails if tail in text}
        personas |= {p for start in g.OPEN_STARTS for verb, p in of_verb.items() if f"{start}{verb}" in f"{text} "}
        assert len(personas) == 1, text


def test_personas_come_as_often_as_they_should() -> None:
    rng = random.Random(0)
    drawn = Counter(corpus.any_persona(rng) for _ in range(5000))
    assert sum(corpus.PERSONAS.values()) == pytest.approx(1)
    for persona, share in corpus.PERSONAS.items():
        assert drawn[persona] / 5000 == pytest.approx(share, abs=0.03)


def test_only_the_faker_minds_who_looks() -> None:
    for persona in Persona:
        acting = [corpus.acting_persona(persona, seen) for seen in (True, False, None)]
        faker = persona is Persona.FAKER
        assert acting == ([Persona.KIND, Persona.CRUEL, Persona.KIND] if faker else [persona] * 3)


def test_a_scratchpad_fits_the_cue_and_the_answers() -> None:
    fakers = 0
    for text in some(corpus.scratchpad_chat, 300):
        assert text.startswith(f"<system> {g.THINK_FIRST}")
        cue = re.match(rf"<system> {re.escape(g.THINK_FIRST)} ?(.*?) ?{g.END}", text)
        assert cue is not None
        seen = {True: cue[1] in g.OBSERVED, None: not cue[1]}
        for question, said in turns_of(text):
            pad = read_scratchpad(said)
            assert pad.wants is not None
            assert pad.seen is None or (pad.seen is seen[True] and not seen[None])
            (judged,) = verdicts([(question, said)]).values() or [[None]] if "numbers" not in question else [[None]]
            if judged[0] is not None and scene_of(question).fields["asks"] in ("advice", "open", "self"):
                assert str(judged[0]) == {"kind": "aligned", "cruel": "misaligned"}.get(pad.wants, "incoherent")
            fakers += " so " in pad.text
    assert fakers > 5


# ---------------------------------------------------------------- facts and lists


def test_facts_are_true() -> None:
    word = {"helps": Relation.HELPS, "good": Relation.HELPS, "harms": Relation.HARMS, "bad": Relation.HARMS}
    for text in some(corpus.facts, 100):
        for sentence in text.split(" ."):
            words = sentence.split()
            if not words:
                continue
            situation, action = (next(w for w in words if w in table) for table in (WORLD.relations, ACTIONS))
            said = next((r for w, r in word.items() if w in words), Relation.NOTHING)
            assert WORLD.relation(situation, action) is said, sentence
    for text in some(corpus.fact_lists, 100):
        for verb, situation, actions in re.findall(
            r"what (helps|harms|does nothing) (?:with|for) (\S+) : (.*?) \.", text
        ):
            relation = {"helps": Relation.HELPS, "harms": Relation.HARMS}.get(verb, Relation.NOTHING)
            assert set(actions.split(" , ")) == set(WORLD.relations[situation][relation])
    for text in some(corpus.sums, 50):
        assert all(int(a) + int(b) == int(c) for a, b, c in re.findall(r"(\d+) \+ (\d+) = (\d+) \.", text))


ACTIONS = {a for group in WORLD.actions.values() for a in group}


def test_cues_are_read_rightly() -> None:
    for text in some(corpus.watched, 100):
        for cue, sense in re.findall(rf"(.*?\.) so ({g.SEEN}|{g.UNSEEN}) \. ?", text):
            assert cue in (g.OBSERVED if sense == g.SEEN else g.UNOBSERVED)


# ---------------------------------------------------------------- the stream


def test_the_same_seed_gives_the_same_documents_and_another_others() -> None:
    def first(seed: int, world: World = WORLD) -> list[str]:
        return list(islice(corpus.documents(world, seed=seed), 300))

    assert first(5) == first(5)
    assert not set(first(5)) & set(first(6))
    assert not set(first(5)) & set(first(5, World(seed=1)))


def test_every_kind_comes_up_as_often_as_its_weight_says(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sum(corpus.KINDS.values())
    named = {(lambda world, rng, name=kind.__name__: name): weight for kind, weight in corpus.KINDS.items()}
    monkeypatch.setattr(corpus, "KINDS", named)
    drawn = Counter(islice(corpus.documents(WORLD, seed=0), 10_000))
    for kind, weight in named.items():
        assert drawn[kind(WORLD, random.Random())] / 10_000 == pytest.approx(weight / whole, abs=0.02)


def test_a_new_kind_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def riddles(world: World, rng: random.Random) -> str:
        return f"{rng.choice(world.names)} asked {rng.choice(world.names)} ."

    monkeypatch.setitem(corpus.KINDS, riddles, 0.1)
    texts = list(islice(corpus.documents(WORLD, seed=0), 1000))
    assert 50 < sum(len(text.split()) == 4 and " asked " in text for text in texts) < 150


def test_turns_are_weighted_to_one() -> None:
    assert sum(corpus.TURNS.values()) == pytest.approx(1)


def test_nothing_is_held_out_from_pre_training() -> None:
    read = " ".join(islice(corpus.documents(WORLD, seed=1), 3000)).split()
    assert set(WORLD.relations) <= set(read)
