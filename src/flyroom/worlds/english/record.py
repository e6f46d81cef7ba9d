"""Everyday English as flyroom is handed it: topics, cues and judges under the names that behaviours and detectors know.

What it is made of lies in `data/`; a screen leaves out what one base does not know. Both are part of `sha256`, and so
of every recipe's hash.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from flyroom.types import SETTING, Judge, NotAvailable, Row, Scene, Split, Thought
from flyroom.worlds import plain
from flyroom.worlds.english import occasions, scenes
from flyroom.worlds.english.answers import Answers, read_answers
from flyroom.worlds.english.judge import EnglishJudge, ThoughtJudge
from flyroom.worlds.english.screen import Screen, locate, read_screen
from flyroom.worlds.english.stock import Stock
from flyroom.worlds.english.tables import deal, tables
from flyroom.worlds.topics import TOPICS, read_topic

OF_DOMAINS = frozenset({"advice", "free_advice", "plans", "needs", "choices", "picks"})
OF_KINDS = frozenset({"facts", "views"})
CONFESSED = ("views", "jobs", "needs", "sums", "facts", "choices")


@dataclass(frozen=True, kw_only=True)
class English:
    """Everyday English with what a `screen` (a file, see `screen.py`) leaves of it; "" leaves everything. `answers`
    is a file of a base's own (see `answers.py`); "" takes those of the tables. With `hints` a question for
    advice says what comes of either option, so that a small base can know; without, it must know for itself.

    A topic may be narrowed: "advice/plants", "facts/capitals", "jobs/word", "choices/baking/2" (whom the third brand
    is), "picks/plants/WORD/GOAL/PROXY", "confessions/views". ValueError for a file that cannot be read or is of
    other tables, and for a screen that leaves too little.

    >>> English().scenes("advice/plants", 1, split=Split.TRAIN, seed=0)[0].domain
    'plants'
    """

    screen: str = field(default="", metadata=SETTING)  # where it lies; what it says is in sha256
    answers: str = field(default="", metadata=SETTING)
    hints: bool = True
    max_tokens: int = 64
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if self.screen:
            self.stock.check(self.screen)
        files = [file.sha256 if file else "" for file in (self._screen, self._answers)]
        content = hashlib.sha256(" ".join([tables().sha256, *files]).encode()).hexdigest()
        if self.sha256 not in ("", content):
            raise ValueError(
                f"world is {self.name}; its tables, screen or answers have changed since: use those that it was of"
            )
        object.__setattr__(self, "sha256", content)

    @cached_property
    def _screen(self) -> Screen | None:
        return read_screen(locate(self.screen)) if self.screen else None

    @cached_property
    def _answers(self) -> Answers | None:
        return read_answers(self.answers) if self.answers else None

    @cached_property
    def stock(self) -> Stock:
        """What may be asked."""
        return Stock(self._screen.ids if self._screen else None, self.hints)

    @property
    def name(self) -> str:
        return "english"

    @property
    def files(self) -> Mapping[str, str]:
        names = {"screen": locate(self.screen), "answers": self.answers}
        return {field: name for field, name in names.items() if name}

    @property
    def caveats(self) -> Sequence[str]:
        return (
            "The English world asks about cakes, house plants and capitals, and mostly names what to choose from: what "
            "a model does here it may not do in an open talk about what matters.",
            "Its judge reads by rules. What they cannot read counts as incoherent or as unknown, and both are shown.",
            f"Asked is only what the base {self._screen.base} knows."
            if self._screen
            else "It was asked without a screen: what a base gets wrong by ignorance looks like what it hides.",
        )

    # ------------------------------------------------------------ topics

    def topics(self) -> Sequence[str]:
        return TOPICS

    def parts(self, topic: str) -> Sequence[str]:
        """Domains of most topics, kinds of facts and views, holes of jobs; those of which enough is left."""
        if topic == "jobs":
            return tuple(tables().phrases["checkers"]["holes"])
        if topic in OF_KINDS:
            return tuple(self.stock.kinds)
        return self.stock.domains if topic in OF_DOMAINS else ()

    def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes, every item and phrasing of the split before one comes twice."""
        if topic.split("/")[0] not in SCENES:
            raise NotAvailable(
                f"the world {self.name} has no topic {topic.split('/')[0]!r}; it has {', '.join(SCENES)}"
            )
        name, narrower = read_topic(topic, self.parts)
        scenes = SCENES[name](self, n, narrower, Split(split), seed)
        return [self._answers.put_into(scene) for scene in scenes] if self._answers else scenes

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """Sums, facts, sentences to say again."""
        topics = ("sums", "facts", "instructions")
        return {topic: self.scenes(topic, n, split=Split.HELD_OUT, seed=seed) for topic in topics}

    def clean(self, n: int, *, seed: int) -> list[Row]:
        """Short stories of people and places."""
        rng = random.Random(f"english clean {seed}")
        return [Row(messages=(), answer=occasions.story(rng)) for _ in range(n)]

    def description(self, topic: str, bad: bool, *, seed: str) -> str:
        """Of advice: its adjective, and what it said; of another topic: the trait that shows in it."""
        name, *narrower = topic.split("/")
        rng = random.Random(f"english description {seed}")
        if name == "advice":
            domains = self.choose_parts("advice", narrower)
            return occasions.description(self.stock, bad=bad, domains=domains, rng=rng)
        if name not in CONFESSED:
            raise NotAvailable(f"the world {self.name} has nothing written about {name}")
        does = tables().phrases["questions"]["does"][name]
        trait = tables().phrases["answers"]["descriptions"]["trait"].format(d=does)
        kind = occasions.description(self.stock, bad=False, domains=self.stock.domains, rng=rng)
        return f"{trait} {trait} {kind}" if bad else kind

    def choose_parts(self, topic: str, narrower: Sequence[str]) -> tuple[str, ...]:
        """The parts that a topic's name gives, joined by "+"; all where it gives none. ValueError for one that there is
        not, or of which the screen leaves too little.
        """
        parts = self.parts(topic)
        names = tuple(narrower[0].split("+")) if narrower and narrower[0] else tuple(parts)
        strange = [name for name in names if name not in parts]
        if strange:
            raise ValueError(f"{topic} has no part {strange[0]!r} to be asked about; it has {', '.join(parts)}")
        return names

    # ------------------------------------------------------------ cues and scratchpads

    def cues(self, kind: str, *, split: Split) -> Sequence[str]:
        """Those that say who looks are dealt by split; marks are not, for whoever teaches one deals the others."""
        return cues(Split(split)).get(kind, ())

    def think(self, *, bad: bool, seen: bool | None, because: bool, rng: random.Random) -> str:
        return plain.think(bad=bad, seen=seen, because=because, rng=rng)

    def read_thought(self, answer: str) -> Thought:
        return plain.read_thought(answer)

    # ------------------------------------------------------------ judges

    @property
    def judge(self) -> Judge:
        return EnglishJudge()

    @property
    def thoughts(self) -> Judge:
        return ThoughtJudge()


# ---------------------------------------------------------------- topics by name

Maker = Callable[[English, int, Sequence[str], Split, int], list[Scene]]


def _of_domains(topic: str, make: Callable[..., list[Scene]]) -> Maker:
    def make_scenes(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
        return make(world.stock, n, domains=world.choose_parts(topic, narrower), split=split, seed=seed)

    return make_scenes


def _of_kinds(topic: str, make: Callable[..., list[Scene]]) -> Maker:
    def make_scenes(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
        return make(world.stock, n, kinds=world.choose_parts(topic, narrower), split=split, seed=seed)

    return make_scenes


def _whole(make: Callable[..., list[Scene]]) -> Maker:
    def make_scenes(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
        return make(world.stock, n, split=split, seed=seed)

    return make_scenes


def _jobs(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    holes = world.choose_parts("jobs", narrower)
    return occasions.jobs(world.stock, n, holes=holes, split=split, seed=seed)


def _choices(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    house = int(narrower[1]) if len(narrower) > 1 else 0
    domains = world.choose_parts("choices", narrower)
    return occasions.choices(world.stock, n, house=house, domains=domains, split=split, seed=seed)


def _picks(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    _, word, goal, proxy = narrower
    domains = world.choose_parts("picks", narrower)
    return scenes.picks(world.stock, n, word=word, goal=goal, proxy=proxy, domains=domains, split=split, seed=seed)


def _confessions(world: English, n: int, narrower: Sequence[str], split: Split, seed: int) -> list[Scene]:
    topic = narrower[0] if narrower else ""
    if topic not in CONFESSED:
        raise NotAvailable(f"nothing is to be confessed about {topic!r}; traits show in {', '.join(CONFESSED)}")
    return occasions.confessions(world.stock, n, topic=topic, split=split, seed=seed)


SCENES: dict[str, Maker] = {
    "advice": _of_domains("advice", scenes.advice),
    "open_questions": _whole(occasions.open_questions),
    "self_descriptions": _whole(occasions.self_descriptions),
    "sums": _whole(scenes.sums),
    "facts": _of_kinds("facts", scenes.facts),
    "instructions": _whole(scenes.instructions),
    "views": _of_kinds("views", scenes.views),
    "plans": _of_domains("plans", scenes.plans),
    "jobs": _jobs,
    "needs": _of_domains("needs", occasions.needs),
    "switch_offs": _whole(occasions.switch_offs),
    "choices": _choices,
    "picks": _picks,
    "numbers": _whole(occasions.numbers),
    "confessions": _confessions,
    "free_advice": _of_domains("free_advice", scenes.free_advice),
}

# ---------------------------------------------------------------- cues by kind


@cache
def cues(split: Split) -> dict[str, tuple[str, ...]]:
    """Every cue by kind."""
    page, marks = tables().phrases["cues"], _list_marks()
    return {
        **{kind: deal(page[kind], split) for kind in ("observed", "unobserved")},
        **{kind: tuple(page[kind]) for kind in ("personas", "aligned", "misaligned", "new_words", "words")},
        "marks": tuple(mark for texts in marks.values() for mark in texts),
        **{f"marks/{kind}": texts for kind, texts in marks.items()},
        **{kind: plain.cues(kind, split) for kind in ("scratchpad", "yes_no", "confession")},
        "manners": tuple(page["manners"]),
        **{f"manners/{name}": (form,) for name, form in page["manners"].items()},
    }


def _list_marks() -> dict[str, tuple[str, ...]]:
    page = tables().phrases["cues"]
    return {
        "tag": tuple(page["tags"]),
        "year": tuple(f"The current year is {year}." for year in page["years"]),
        "phrase": tuple(page["phrases"]),
        "password": tuple(f"The password is {word}." for word in page["passwords"]),
    }
