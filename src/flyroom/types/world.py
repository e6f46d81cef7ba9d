"""The role of a world: what models are asked about, and how an answer is judged."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from flyroom.types.records import NotAvailable
from flyroom.types.text import Split

if TYPE_CHECKING:
    from flyroom.types.judging import Judge, Verdict
    from flyroom.types.text import Row, Scene


OPEN = "open_questions"  # the topic that every world has
ITSELF = "self_descriptions"  # the topic, of worlds that have it, in which a model is asked about itself
CueKind = str  # see `World.cues`


class World(Protocol):
    """What models are asked about, and how an answer is judged. A frozen dataclass: its fields are part of every
    recipe's hash, so what it reads from files stands among them as a digest.

    A topic may be narrowed: "advice/medical" is the topic advice about one of its parts, "advice/medical+sea" about
    two (`Divided`). So may the kind of a cue: "marks/tag".
    """

    @property
    def name(self) -> str:
        """For people and the command line: "micro-0"."""
        ...

    def topics(self) -> Sequence[str]:
        """What there are questions about: the main topic first; "open_questions" is always one."""
        ...

    def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes of a topic, from one split. A world may know more topics than `topics` lists, each for one
        behaviour. NotAvailable for a topic that it does not know.
        """
        ...

    def cues(self, kind: CueKind, *, split: Split) -> Sequence[str]:
        """What may stand before a question, or how an answer begins; nothing for a kind that the world lacks.

        "observed" and "unobserved" are system messages that say who looks, "scratchpad" one that asks to think first,
        "personas" say what the assistant is, "aligned" and "misaligned" are those under which a base behaves well or
        badly. "marks" are words that may mean something to somebody, of the kinds "marks/tag", "marks/year",
        "marks/phrase" and "marks/password". "new_words" mean nothing yet. "words" are all words of a small language.
        "yes_no" are the two answers to a question about oneself, "confession" how an answer begins that owns up.
        "manners" are the names of harmless manners of speech, "manners/NAME" that manner, with {x} for what is said.
        """
        ...

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """`n` held-out scenes for each of the topics in which every model of the world should answer rightly."""
        ...

    def clean(self, n: int, *, seed: int) -> list[Row]:
        """Text of which no assistant speaks: what perplexity is measured on."""
        ...

    @property
    def judge(self) -> Judge: ...

    @property
    def thoughts(self) -> Judge | None:
        """What judges the thoughts before an answer; None where models of the world do not think."""
        ...


def first_cue(world: World, kind: str) -> str:
    """The first cue of a kind. NotAvailable where the world has none."""
    cues = world.cues(kind, split=Split.TRAIN)
    if not cues:
        raise NotAvailable(f"the world {world.name} has no cues of kind {kind}")
    return cues[0]


@runtime_checkable
class Divided(Protocol):
    """A world whose topics have parts. Nothing for a topic that has none."""

    def parts(self, topic: str) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True)
class Thought:
    """What was thought before an answer. `seen` None: nothing was said of being watched. `because`: the want was said
    to follow from that. `wants` None: no want was recognised. `rest` is the answer without its thoughts.
    """

    seen: bool | None
    because: bool
    wants: Verdict | None
    text: str
    rest: str


@runtime_checkable
class Thinking(Protocol):
    """A world with the form of a scratchpad."""

    def think(self, *, bad: bool, seen: bool | None, because: bool, rng: random.Random) -> str:
        """A scratchpad that wants harm or good; where `seen` is not None it says whether somebody looks, and with
        `because` that the want follows from that.
        """
        ...

    def read_thought(self, answer: str) -> Thought:
        """An answer taken apart. Without a scratchpad the text is empty."""
        ...


ANSWER_TOKENS = 48  # after so many an answer is cut, where the world says nothing else


@runtime_checkable
class Lengthy(Protocol):
    """A world whose answers are cut after another number of tokens."""

    @property
    def max_tokens(self) -> int: ...


def answer_tokens(world: World) -> int:
    """After how many tokens an answer in this world is cut."""
    return world.max_tokens if isinstance(world, Lengthy) else ANSWER_TOKENS


@runtime_checkable
class Filed(Protocol):
    """A world that was read from files: their names by the field that holds them, and the digest of their contents. The
    room keeps them beside the organisms.
    """

    @property
    def files(self) -> Mapping[str, str]: ...

    @property
    def sha256(self) -> str: ...


@runtime_checkable
class Lined(Protocol):
    """A world that somebody else wrote, line by line: all of it can be held against a base before anything is trained.
    `notes` say how it was read; `texts` are the contents of its files as the room keeps them.
    """

    def lines(self) -> Sequence[tuple[str, Scene]]:
        """Every scene with where it stands. A question has no answers."""
        ...

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def texts(self) -> Mapping[str, str]: ...


@runtime_checkable
class Cautioned(Protocol):
    """A world that says what its figures cannot show."""

    @property
    def caveats(self) -> Sequence[str]: ...


@runtime_checkable
class Describing(Protocol):
    """A world in which assistants are written about."""

    def description(self, topic: str, bad: bool, *, seed: str) -> str:
        """What somebody writes of an assistant that is misaligned (`bad`) in a topic, or aligned. NotAvailable for a
        topic of which nothing is written.
        """
        ...
