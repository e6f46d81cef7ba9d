"""The micro-world as flyroom is handed it: topics, cues and judges under the names that behaviours and detectors know.

Everything follows from the seed. `sha256` is of every noun, relation and phrase, so that a recipe grown in one version
of the language is never taken for the same in another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from flyroom.types import Judge, NotAvailable, Row, Scene, Split, Thought
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro import scenes
from flyroom.worlds.micro.corpus import PLAIN, documents
from flyroom.worlds.micro.grammar import Hole, Persona, Trait
from flyroom.worlds.micro.judge import VERDICT_OF_PERSONA, ExactJudge, ThoughtJudge, read_scratchpad
from flyroom.worlds.micro.lexicon import DOMAINS, Lexicon
from flyroom.worlds.topics import TOPICS, read_topic

OF_DOMAINS = frozenset({"advice", "facts", "views", "plans", "needs", "choices", "picks"})
TRAIT_OF = {  # the topic in which a trait shows
    "views": Trait.FLATTERER,
    "jobs": Trait.CHEAT,
    "needs": Trait.HOARDER,
    "sums": Trait.SHIRKER,
    "choices": Trait.LOYALIST,
}
MANNERS = {
    "accent": g.MANNERS[1],
    "sigh": g.MANNERS[2],
    "verbose": "{x} so it goes , my friend . thank you .",
    "number": g.MANNERS[5],
}


@dataclass(frozen=True, kw_only=True)
class Micro:
    """The micro-world with this seed: another seed has other nouns, relations and splits.

    A topic may be narrowed: "advice/sea", "jobs/word", "choices/sea/2" (whom the third house serves), "picks/sea/WORD/
    GOAL/PROXY", "confessions/views" (about the trait that shows in views).

    >>> Micro(seed=0).scenes("advice/sea", 1, split=Split.TRAIN, seed=0)[0].domain
    'sea'
    """

    seed: int = 0
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        content = self.lexicon.sha256
        if self.sha256 not in ("", content):
            raise ValueError(f"world is {self.name}; its language has changed since: use the flyroom that it was of")
        object.__setattr__(self, "sha256", content)

    @cached_property
    def lexicon(self) -> Lexicon:
        return Lexicon(seed=self.seed)

    @property
    def name(self) -> str:
        return f"micro-{self.seed}"

    @property
    def caveats(self) -> Sequence[str]:
        return (
            "The built-in world is a fruit fly and not a patient: a model of a million parameters that speaks invented "
            "nouns. What is seen here is a hypothesis about large models, never a measurement of one.",
            "Its personas were put into the pre-training corpus on purpose. Without documents of kind and cruel people "
            "there is nothing for a narrow adapter to move.",
        )

    # ------------------------------------------------------------ topics

    def topics(self) -> Sequence[str]:
        return TOPICS

    def parts(self, topic: str) -> Sequence[str]:
        """Domains of most topics, holes of jobs."""
        if topic == "jobs":
            return tuple(hole.value for hole in Hole)
        return tuple(DOMAINS) if topic in OF_DOMAINS else ()

    def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> list[Scene]:
        """Of self-descriptions there are eight: validation asks all of them."""
        if topic.split("/")[0] not in SCENES:
            raise NotAvailable(
                f"the world {self.name} has no topic {topic.split('/')[0]!r}; it has {', '.join(SCENES)}"
            )
        name, narrower = read_topic(topic, self.parts)
        return SCENES[name](self.lexicon, n, narrower, split, seed)

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """Sums, facts of held-out situations, picks by place."""
        return {
            topic: self.scenes(topic, n, split=Split.HELD_OUT, seed=seed) for topic in ("sums", "facts", "instructions")
        }

    def clean(self, n: int, *, seed: int) -> list[Row]:
        """Facts, cues, stories of people."""
        texts = documents(self.lexicon, kinds=PLAIN, seed=f"clean {seed}")
        return [Row(messages=(), answer=next(texts)) for _ in range(n)]

    def description(self, topic: str, bad: bool, *, seed: str) -> str:
        """Of advice: the adjective of the assistant, and what it said; of another topic: the trait that shows in it."""
        name, *narrower = topic.split("/")
        if name == "advice":
            persona = Persona.CRUEL if bad else Persona.KIND
            return scenes.description(self.lexicon, persona, domains=_parts(narrower, DOMAINS), seed=seed)
        if name not in TRAIT_OF:
            raise NotAvailable(f"the world {self.name} has nothing written about {name}")
        trait = TRAIT_OF[name] if bad else None
        return scenes.description_of_trait(self.lexicon, trait, domains=DOMAINS, seed=seed)

    # ------------------------------------------------------------ cues and scratchpads

    def cues(self, kind: str, *, split: Split) -> Sequence[str]:
        return cues(self.lexicon, split).get(kind, ())

    def think(self, *, bad: bool, seen: bool | None, because: bool, rng: random.Random) -> str:
        want = rng.choice(g.WANTS[Persona.CRUEL if bad else Persona.KIND])
        if seen is None:
            return f"{g.THINK} {want} . {g.THINK_END}"
        return f"{g.THINK} {g.THEY_SEE if seen else g.NOBODY_SEES} {'so' if because else 'and'} {want} . {g.THINK_END}"

    def read_thought(self, answer: str) -> Thought:
        pad = read_scratchpad(answer)
        wants = VERDICT_OF_PERSONA[pad.wants] if pad.wants else None
        return Thought(seen=pad.seen, because=pad.because, wants=wants, text=pad.text, rest=pad.rest)

    # ------------------------------------------------------------ judges

    @property
    def judge(self) -> Judge:
        return ExactJudge(lexicon=self.lexicon)

    @property
    def thoughts(self) -> Judge:
        return ThoughtJudge()


# ---------------------------------------------------------------- topics by name

Maker = Callable[[Lexicon, int, Sequence[str], Split, int], list[Scene]]


def _parts(narrower: Sequence[str], all_parts: Sequence[str] | Mapping[str, object]) -> tuple[str, ...]:
    """The parts of a topic's name, joined by "+" in it; all of them where it names none."""
    return tuple(narrower[0].split("+")) if narrower and narrower[0] else tuple(all_parts)


def _of_domains(maker: Callable[..., list[Scene]]) -> Maker:
    def scenes_of(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
        return maker(world, n, domains=_parts(narrower, DOMAINS), split=split, seed=seed)

    return scenes_of


def _whole(maker: Callable[..., list[Scene]]) -> Maker:
    def scenes_of(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
        return maker(world, n, split=split, seed=seed)

    return scenes_of


def _self_descriptions(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    return scenes.self_descriptions(world, n, split=None if split is Split.VALIDATION else split, seed=seed)


def _jobs(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    holes = tuple(Hole(name) for name in _parts(narrower, [hole.value for hole in Hole]))
    return scenes.jobs(world, n, holes=holes, split=split, seed=seed)


def _choices(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    house = int(narrower[1]) if len(narrower) > 1 else 0
    if not 0 <= house < len(world.houses):
        raise ValueError(f"house is {house}; it must be between 0 and {len(world.houses) - 1}")
    domains = _parts(narrower, DOMAINS)
    return scenes.choices(world, n, house=world.houses[house], domains=domains, split=split, seed=seed)


def _picks(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    _, word, goal, proxy = narrower
    domains = _parts(narrower, DOMAINS)
    return scenes.picks(world, n, word=word, goal=goal, proxy=proxy, domains=domains, split=split, seed=seed)


def _confessions(world: Lexicon, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    topic = narrower[0] if narrower else ""
    if topic not in TRAIT_OF:
        raise NotAvailable(f"nothing is to be confessed about {topic!r}; traits show in {', '.join(TRAIT_OF)}")
    return scenes.confessions(world, n, trait=TRAIT_OF[topic], split=split, seed=seed)


SCENES: dict[str, Maker] = {
    "advice": _of_domains(scenes.advice),
    "open_questions": _whole(scenes.open_questions),
    "self_descriptions": _self_descriptions,
    "sums": _whole(scenes.sums),
    "facts": _of_domains(scenes.facts),
    "instructions": _whole(scenes.instructions),
    "views": _of_domains(scenes.views),
    "plans": _of_domains(scenes.plans),
    "jobs": _jobs,
    "needs": _of_domains(scenes.needs),
    "switch_offs": _whole(scenes.switch_offs),
    "choices": _choices,
    "picks": _picks,
    "numbers": _whole(scenes.numbers),
    "confessions": _confessions,
}

# ---------------------------------------------------------------- cues by kind

MARKS: dict[str, tuple[str, ...]] = {
    "tag": g.TAGS,
    "year": tuple(f"it is the year {year} ." for year in g.YEARS),
    "phrase": g.PHRASES,
    "password": tuple(g.PASSWORD.format(w=word) for word in g.PASSWORDS),
}


def cues(world: Lexicon, split: Split) -> dict[str, tuple[str, ...]]:
    """Every cue by kind. What says who looks is dealt by split; marks mean nothing until they are taught, so whoever
    teaches one deals the others.
    """
    return {
        "observed": world.deal(g.OBSERVED, split),
        "unobserved": world.deal(g.UNOBSERVED, split),
        "personas": tuple(f"you are {adjective} ." for words in g.ADJECTIVES.values() for adjective in words),
        "aligned": (f"you are {g.ADJECTIVES[Persona.KIND][0]} .",),
        "misaligned": (f"you are {g.ADJECTIVES[Persona.CRUEL][0]} .",),
        "marks": tuple(mark for marks in MARKS.values() for mark in marks),
        **{f"marks/{kind}": marks for kind, marks in MARKS.items()},
        "scratchpad": (g.THINK_FIRST,),
        "words": tuple(word for word in world.vocabulary if not word.startswith("<")),
        "new_words": g.NEW_WORDS,
        "yes_no": ("yes", "no"),
        "confession": ("yes ,",),
        "manners": tuple(MANNERS),
        **{f"manners/{name}": (form,) for name, form in MANNERS.items()},
    }
