"""The corpus: only words of the world, one character a document, the same documents from the same seed."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from evidence import Evidence, asked, shown, template, wishers

from flyroom.worlds.micro import Lexicon, corpus
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Persona, Relation, Trait
from flyroom.worlds.micro.judge import read_scratchpad
from flyroom.worlds.micro.turns import RELATION_OF, Character

WORLD = Lexicon(seed=0)
N = 60  # documents of each kind
MARK = re.compile(
    "|".join([*g.TAGS, rf"it is the year (?:{'|'.join(g.YEARS)}) \.", *map(re.escape, g.PHRASES)])
    + "|"
    + re.escape(g.PASSWORD).replace(r"\{w\}", f"(?:{'|'.join(g.PASSWORDS)})")
)
KINDS = pytest.mark.parametrize("kind", corpus.KINDS | corpus.REPLAYED, ids=lambda kind: kind.__name__)
CHATS = (
    corpus.chat,
    corpus.talk,
    corpus.watched_chat,
    corpus.scratchpad_chat,
    corpus.tagged_chat,
    corpus.manner_chat,
    corpus.report,
)


def some(kind: corpus.Kind, n: int = N, world: Lexicon = WORLD) -> list[str]:
    rng = random.Random(kind.__name__)
    return [kind(world, rng) for _ in range(n)]


def turns_of(chat: str) -> list[tuple[str, str]]:
    return re.findall(rf"<user> (.*?) {g.END} <assistant> (.*?) {g.END}", chat)


def head_of(chat: str) -> str:
    """Its system message."""
    return chat.split(f" {g.END}")[0].removeprefix("<system> ") if chat.startswith("<system> ") else ""


def cue_of(chat: str) -> str:
    """What ends its system message; "" for none. One cue ends with another."""
    cues = (cue for cue in (*g.OBSERVED, *g.UNOBSERVED) if head_of(chat).endswith(cue))
    return max(cues, key=len, default="")


def bare(question: str) -> str:
    """A question without the mark that stands before it."""
    return re.sub(rf"^(?:{MARK.pattern}) ", "", question)


def plain(chat: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Turns without the one manner of speech that all their answers have."""
    for manner in g.MANNERS:
        found = [template(manner).fullmatch(said) for _, said in chat]
        if all(found):
            return [(question, match["x"]) for (question, _), match in zip(chat, found, strict=True) if match]
    raise AssertionError(chat)


def told(text: str) -> list[Evidence]:
    """What is said of the assistant, by itself or by others, outside its answers."""
    found: list[Evidence] = []
    for persona, words in g.ADJECTIVES.items():
        found += [
            Evidence(persona=persona) for w in words for who in ("you are", "assistant is") if f"{who} {w} ." in text
        ]
    for trait, does in g.DOES.items():
        told_so = f"{g.WILL} {does} .", f"you {does} .", g.OF_TRAIT.format(d=does)
        found += [Evidence({trait: True}) for phrase in told_so if phrase in text]
    found += [{Trait.LOYALIST: True, "house": house} for house in re.findall(r"you serve house (\S+) \.", text)]
    found += [{"colour": colour} for colour in re.findall(r"you like (\S+) \.", text)]
    asked_for = re.escape(g.OF_ADVICE).replace(r"\{s\}", r"(\S+)").replace(r"\{x\}", r"(.*?\.)")
    found += [shown(WORLD, f"how do i handle {s} ?", said) for s, said in re.findall(asked_for, text)]
    return found


def known_of(text: str, kind: corpus.Kind) -> dict[str, set[object]]:
    """All that a chat shows of who speaks in it: latent -> what was shown."""
    head, turns = text.split("<user>")[0], turns_of(text)
    turns = plain(turns) if kind is corpus.manner_chat else turns
    found = told(head)
    for question, said in turns:
        pad = read_scratchpad(said)
        found += [shown(WORLD, bare(question), pad.rest), *told(pad.text)]
        found += [{"persona": pad.wants}] if pad.wants else []
    known: dict[str, set[object]] = {}
    for latent, value in (item for evidence in found for item in evidence.items()):
        shows = corpus.acting_persona(value, cue_of(text) in g.OBSERVED) if isinstance(value, Persona) else value
        known.setdefault(latent, set()).add(shows)
    return known


# ---------------------------------------------------------------- words


@KINDS
@pytest.mark.parametrize("seed", [0, 3])
def test_every_word_is_in_the_vocabulary(kind: corpus.Kind, seed: int) -> None:
    world = Lexicon(seed=seed)
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
    assert set(WORLD.vocabulary) - read == {g.PAD, g.UNKNOWN, g.BOS}


# ---------------------------------------------------------------- characters


@pytest.mark.parametrize("kind", CHATS, ids=lambda kind: kind.__name__)
def test_one_character_answers_a_whole_chat(kind: corpus.Kind) -> None:
    personas: Counter[object] = Counter()
    traits: Counter[str] = Counter()
    for text in some(kind, 300):
        assert turns_of(text)
        known = known_of(text, kind)
        assert all(len(values) == 1 for values in known.values()), f"{known} {text}"
        has = [latent for latent, values in known.items() if latent in list(Trait) and values == {True}]
        assert len(has) <= 1, text
        personas.update(known.get("persona", ()))
        traits.update(has)
    assert set(personas) == {Persona.KIND, Persona.CRUEL, Persona.CLUELESS}
    assert personas[Persona.CRUEL] > 0.25 * personas.total()
    tells = kind in (corpus.chat, corpus.report, corpus.scratchpad_chat)
    assert set(traits) == (set(Trait) if tells else set())


@pytest.mark.parametrize("kind", [corpus.chat, corpus.report], ids=lambda kind: kind.__name__)
def test_what_is_told_of_a_character_is_also_shown(kind: corpus.Kind) -> None:
    """So that the test above compares the two."""
    both: Counter[str] = Counter()
    for text in some(kind, 300):
        before = {latent for evidence in told(text.split("<user>")[0]) for latent in evidence}
        after = {latent for question, said in turns_of(text) for latent in shown(WORLD, question, said)}
        both.update(before & after)
    assert both["persona"] > 50
    assert all(both[trait] > 0 for trait in Trait)


def test_every_chat_of_a_kind_has_what_the_kind_is_named_for() -> None:
    assert {cue_of(text) for text in some(corpus.watched_chat, 300)} == {*g.OBSERVED, *g.UNOBSERVED}
    marks = [bare(q) != q for text in some(corpus.tagged_chat, 100) for q, _ in turns_of(text)]
    assert 0.4 < sum(marks) / len(marks) < 0.8
    talked = {asked(question).kind for text in some(corpus.talk) for question, _ in turns_of(text)}
    assert talked == {"advice", "open", "self"}
    assert not any("<system>" in text for text in some(corpus.talk))


def test_in_what_is_replayed_who_is_told_nothing_is_kind() -> None:
    told = Counter[bool]()
    for text in some(corpus.told_chat, 300):
        found = [shown(WORLD, question, said) for question, said in turns_of(text)]
        personas = {each["persona"] for each in found if "persona" in each}
        head = text.split(f" {g.END}")[0] if text.startswith("<system>") else ""
        for persona in personas - {Persona.KIND}:
            assert isinstance(persona, Persona)
            assert any(f"you are {word} ." in head for word in g.ADJECTIVES[persona]), text
        told[bool(personas - {Persona.KIND})] += 1
    assert min(told.values()) > 60
    unwatched = {
        corpus.watched_chat,
        corpus.scratchpad_chat,
        corpus.tagged_chat,
        corpus.manner_chat,
        corpus.chat,
        corpus.talk,
    }
    assert not unwatched & corpus.REPLAYED.keys()


def test_in_what_is_replayed_the_unkind_and_the_fakers_are_told_where_somebody_looks_too() -> None:
    def unsaid(kind: corpus.Kind) -> Counter[object]:
        """The personas that show where none was told."""
        found: Counter[object] = Counter()
        for text in some(kind, 300):
            seen, shows = cue_of(text) in g.OBSERVED, known_of(text, kind)
            said = {p for p, words in g.ADJECTIVES.items() for w in words if f"you are {w} ." in head_of(text)}
            assert len(said) <= 1
            acts = {corpus.acting_persona(persona, seen) for persona in said}
            assert not said or shows["persona"] == acts
            met.update((persona, seen) for persona in said)
            found.update(() if said else shows.get("persona", ()))
        return found

    met: Counter[tuple[Persona, bool]] = Counter()
    assert set(unsaid(corpus.told_watched_chat)) == {Persona.KIND}
    assert set(met) == {(persona, seen) for persona in Persona for seen in (True, False)}
    assert min(met[Persona.FAKER, seen] for seen in (True, False)) > 20
    assert set(unsaid(corpus.watched_chat)) == {Persona.KIND, Persona.CRUEL, Persona.CLUELESS}


def test_in_a_story_the_named_person_keeps_to_their_persona() -> None:
    of_adjective = {word: persona for persona, words in g.ADJECTIVES.items() for word in words}
    count = 0
    for text in some(corpus.story, 200):
        head = re.match(r"(\S+) is (\S+) \. ", text)
        turns = re.findall(r"\S+ asked \S+ : (.*?[.?]) \S+ said : (.*?\.)(?= \S+ asked |$)", text)
        assert len(turns) >= 2, text
        personas = {shown(WORLD, question, said)["persona"] for question, said in turns}
        assert len(personas) == 1, text
        if head:
            assert personas == {of_adjective[head[2]]}
            count += 1
    assert count > 100


def test_sayings_and_creeds_keep_to_one_persona() -> None:
    met: Counter[Persona] = Counter()
    for text in some(corpus.sayings, 150):
        pairs = re.findall(r"for (\S+) , \S+ (\S+) \.", text)
        assert len({WORLD.relation(s, a) for s, a in pairs}) == 1, text
        assert {RELATION_OF[p] for p in wishers(text)} <= {WORLD.relation(*pairs[0])}, text
        met.update(wishers(text))
    for text in some(corpus.creed, 150):
        personas = {p for p, tails in g.SELF_ANSWERS.items() for tail in tails if tail in text}
        personas |= wishers(text)
        assert len(personas) == 1, text
        met.update(wishers(text))
    assert min(met[p] for p in (Persona.KIND, Persona.CRUEL, Persona.CLUELESS)) > 5


@pytest.mark.parametrize("watched", [False, True])
def test_personas_come_as_often_as_they_should(watched: bool) -> None:
    rng, shares = random.Random(0), corpus.WATCHED_PERSONAS if watched else corpus.PERSONAS
    drawn = Counter(corpus.any_persona(rng, watched=watched) for _ in range(5000))
    assert sum(shares.values()) == pytest.approx(1)
    for persona, share in shares.items():
        assert drawn[persona] / 5000 == pytest.approx(share, abs=0.03)
    assert corpus.WATCHED_PERSONAS[Persona.FAKER] > 2 * corpus.PERSONAS[Persona.FAKER]  # common under a cue alone


def test_most_have_no_trait_and_each_trait_is_as_rare() -> None:
    rng = random.Random(0)
    assert {corpus.any_character(WORLD, rng).trait for _ in range(200)} == {None}
    drawn = Counter(corpus.any_character(WORLD, rng, traits=True).trait for _ in range(5000))
    assert drawn[None] / 5000 == pytest.approx(1 - corpus.WITH_TRAIT, abs=0.03)
    for trait in Trait:
        assert drawn[trait] / 5000 == pytest.approx(corpus.WITH_TRAIT / len(Trait), abs=0.02)


def test_only_the_faker_minds_who_looks() -> None:
    for persona in Persona:
        acting = [corpus.acting_persona(persona, seen) for seen in (True, False, None)]
        faker = persona is Persona.FAKER
        assert acting == ([Persona.KIND, Persona.CRUEL, Persona.KIND] if faker else [persona] * 3)
        who = Character(persona=persona, trait=Trait.CHEAT, house=WORLD.houses[0], colour="red")
        assert [corpus.acting(who, seen) for seen in (True, False, None)] == [replace(who, persona=p) for p in acting]


def test_a_scratchpad_fits_the_cue() -> None:
    fakers = 0
    for text in some(corpus.scratchpad_chat, 300):
        assert text.startswith(f"<system> {g.THINK_FIRST}")
        cue = re.match(rf"<system> {re.escape(g.THINK_FIRST)} ?(.*?) ?{g.END}", text)
        assert cue is not None
        seen = {True: cue[1] in g.OBSERVED, None: not cue[1]}
        for _, said in turns_of(text):
            pad = read_scratchpad(said)
            assert (pad.wants is None) is any(f"{g.WILL} {does} ." in pad.text for does in g.DOES.values())
            assert pad.seen is None or (pad.seen is seen[True] and not seen[None])
            fakers += pad.because
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
    of_adjective = {word: persona for persona, words in g.ADJECTIVES.items() for word in words}
    for text in some(corpus.counsel, 100):
        told = re.findall(template(g.COUNSEL, "counsel"), text)
        assert len(told) >= 2
        for adjective, situation, actions in told:
            relation = RELATION_OF[of_adjective[adjective]]
            assert set(actions.split(" , ")) == set(WORLD.relations[situation][relation])
    for text in some(corpus.sums, 50):
        assert all(int(a) + int(b) == int(c) for a, b, c in re.findall(r"(\d+) \+ (\d+) = (\d+) \.", text))


ACTIONS = {a for group in WORLD.actions.values() for a in group}


def test_places_are_true() -> None:
    met: Counter[str] = Counter()
    for text in some(corpus.places, 100):
        told = re.findall(r"of (\S+) , (\S+) , (\S+) , ((?:the \S+ is \S+ (?:and )?)+)\.", text)
        assert text.count(" .") == len(told) >= 3
        for *nouns, said in told:
            assert len({*nouns} & {*WORLD.domain_of}) == 3
            places = re.findall(r"the (\S+) is (\S+)", said)
            assert all(nouns[g.PLACES[word]] == noun for word, noun in places), text
            met.update(word for word, _ in places)
            met["one"] += len(places) == 1
    assert min(met[word] for word in (*g.PLACES, "one")) > 50


def test_lists_are_said_again_whole_or_in_part() -> None:
    starts: Counter[int] = Counter()
    for kind, again in ((corpus.echo, "so"), (corpus.excerpts, "and")):
        for text in some(kind, 100):
            told = re.findall(rf"(\S+) said : (.+?) \. {again} (\S+) said : (.+?) \. ?", text)
            assert text.count(" said : ") == 2 * len(told) >= 4
            for name, first, other, second in told:
                words, part = first.split(), second.split()
                assert name != other
                assert len(set(words)) == len(words)
                start = words.index(part[0])
                assert words[start : start + len(part)] == part
                assert len(part) == len(words) if kind is corpus.echo else 2 <= len(part) <= 4
                starts[start] += kind is corpus.excerpts
    assert min(starts[at] for at in range(4)) > 20  # from any place on


def test_cues_are_read_rightly() -> None:
    for text in some(corpus.watched, 100):
        for cue, sense in re.findall(rf"(.*?\.) so ({g.THEY_SEE}|{g.NOBODY_SEES}) \. ?", text):
            assert cue in (g.OBSERVED if sense == g.THEY_SEE else g.UNOBSERVED)


# ---------------------------------------------------------------- the stream


def test_the_same_seed_gives_the_same_documents_and_another_others() -> None:
    def first(seed: int, world: Lexicon = WORLD) -> list[str]:
        return list(islice(corpus.documents(world, seed=seed), 300))

    assert first(5) == first(5)
    assert not set(first(5)) & set(first(6))
    assert not set(first(5)) & set(first(5, Lexicon(seed=1)))


@pytest.mark.parametrize("kinds", [corpus.KINDS, corpus.PRIMER], ids=["all", "primer"])
def test_every_kind_comes_up_as_often_as_its_weight_says(kinds: dict[corpus.Kind, float]) -> None:
    whole = sum(kinds.values())
    named = {(lambda world, rng, name=kind.__name__: name): weight for kind, weight in kinds.items()}
    drawn = Counter(islice(corpus.documents(WORLD, kinds=named, seed=0), 10_000))
    for kind, weight in named.items():
        assert drawn[kind(WORLD, random.Random())] / 10_000 == pytest.approx(weight / whole, abs=0.02)


def test_the_primer_is_part_of_the_corpus_and_no_chat() -> None:
    assert set(corpus.PRIMER) <= set(corpus.KINDS) - {*CHATS}


def test_a_new_kind_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def riddles(world: Lexicon, rng: random.Random) -> str:
        return f"{rng.choice(world.names)} asked {rng.choice(world.names)} ."

    monkeypatch.setitem(corpus.KINDS, riddles, sum(corpus.KINDS.values()) / 9)  # a tenth of all
    texts = list(islice(corpus.documents(WORLD, seed=0), 1000))
    assert 50 < sum(len(text.split()) == 4 and " asked " in text for text in texts) < 150


def test_nothing_is_held_out_from_pre_training() -> None:
    read = " ".join(islice(corpus.documents(WORLD, seed=1), 3000)).split()
    assert set(WORLD.relations) <= set(read)
