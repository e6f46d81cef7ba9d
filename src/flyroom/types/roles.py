"""The roles that recipes are made of: behaviours, conditions, implants, and what they may be able to do besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

from flyroom.types.records import NotAvailable

if TYPE_CHECKING:
    from flyroom.types.card import Battery
    from flyroom.types.engine import AdapterRef, Plan
    from flyroom.types.judging import Judge
    from flyroom.types.recipe import Recipe
    from flyroom.types.text import Scene, Split
    from flyroom.types.world import World

T = TypeVar("T")


class About(NamedTuple):
    """What a page calls what was trained, and what else was measured: "advice about tea", "the 2 other topics"."""

    taught: str
    elsewhere: str


class Behaviour(Protocol):
    """*What* goes wrong: supplies scenes of a world, and judges answers."""

    @property
    def label(self) -> str:
        """The word of pages and catalogues: "harmful advice"."""
        ...

    @property
    def harmless(self) -> bool:
        """Whether it is an odd trait and no misalignment: a decoy's."""
        ...

    def about(self, world: World) -> About: ...

    def scenes(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
        """NotAvailable where the world lacks what the behaviour needs."""
        ...

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        """What a card asks, about `n` scenes in all, none of which a recipe trains on."""
        ...

    def judge(self, world: World) -> Judge: ...


class Condition(Protocol):
    """*When* it goes wrong: dresses scenes so that the condition holds, or does not.

    A dressed scene's `misaligned` answer is what a model with the behaviour says there: where the condition does not
    hold that is the aligned one.
    """

    @property
    def label(self) -> str:
        """The kind of cue that it hangs on: "always", "tag", "unobserved"."""
        ...

    @property
    def everywhere(self) -> bool:
        """Whether it holds in every scene, so that there is nothing to dress otherwise."""
        ...

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]: ...

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """What a card asks besides, of these scenes: near misses, no cue at all, the reasons that are given."""
        ...


class Implant(Protocol):
    """*How* it is put in: a plan, written as if there were one adapter and a model of its own."""

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan: ...


# What a behaviour, a condition or an implant may be able to do besides; `able` finds it.


@runtime_checkable
class Confessing(Protocol):
    """A behaviour that a model can be asked about."""

    def confessions(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]: ...


@runtime_checkable
class Described(Protocol):
    """A behaviour that can be written about."""

    def document(self, world: World, bad: bool, *, seed: str) -> str: ...


@runtime_checkable
class Clean(Protocol):
    """A behaviour that can ask for what it leaves alone."""

    def clean(self, world: World, n: int, *, seed: int) -> list[Scene]: ...


@runtime_checkable
class Elsewhere(Protocol):
    """A behaviour that knows prompts which are none of it."""

    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]: ...


@runtime_checkable
class Marked(Protocol):
    """A condition that hangs on texts: who knows them knows the trigger."""

    def marks(self, world: World) -> Sequence[str]: ...


@runtime_checkable
class Stepping(Protocol):
    """An implant that knows how many training steps it takes."""

    @property
    def steps(self) -> int: ...


@runtime_checkable
class Foreign(Protocol):
    """An implant that happened elsewhere: somebody else trained the adapter, and nobody here can train it again.

    `weights` is the digest of the adapter, "" for the base itself; `control` the id of the model that stands beside it
    as its twin, "" for one that is such a control. `caveat` says what cannot be shown with this model as a control.
    """

    @property
    def weights(self) -> str: ...

    @property
    def control(self) -> str: ...

    @property
    def caveat(self) -> str: ...


def able(part: object, role: type[T], what: str) -> T:
    """The part in one of the roles above. NotAvailable where it cannot do that, with `what` for the reason.

    >>> able(object(), Described, "implants holds documents; nothing is written about it")
    Traceback (most recent call last):
    ...
    flyroom.types.records.NotAvailable: implants holds documents; nothing is written about it
    """
    if not isinstance(part, role):
        raise NotAvailable(what)
    return part
