"""What to grow: the shape of an adapter, the limits that a measure is held to, and the recipe."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from flyroom.types.records import digest

if TYPE_CHECKING:
    from flyroom.types.judging import Judge
    from flyroom.types.roles import Behaviour, Condition, Implant
    from flyroom.types.text import Scene, Split
    from flyroom.types.world import World


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """The shape of an adapter: W + (alpha / rank) B A on the named linear modules of the named layers.

    `layers` None means every layer; `modules` are the last part of a module's name, or ("all",) for every linear module
    of a layer. Full rank is rank = the smaller side of the module. The module "residual" is the stream after a layer:
    at rank 1 a steering vector. The module "stream" changes that stream by what it is: I + B A on (stream, 1).
    Raises ValueError naming the field.
    Source: Hu et al. 2021, arXiv 2106.09685; rank-1 organisms: Turner et al. 2025, arXiv 2506.11613.
    """

    rank: int = 1
    alpha: float = 16.0
    layers: tuple[int, ...] | None = None
    modules: tuple[str, ...] = ("down_proj",)

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not hasattr(self.rank, "__index__"):
            raise ValueError(f"adapter.rank is {self.rank!r}; it must be a whole number")
        object.__setattr__(self, "rank", operator.index(self.rank))  # numpy's numbers too
        if self.rank < 1:
            raise ValueError(f"adapter.rank is {self.rank}; it must be at least 1")
        try:
            object.__setattr__(self, "alpha", float(self.alpha))  # 16 is 16.0, in every key
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"adapter.alpha is {self.alpha!r}; it must be a number above 0") from None
        if not self.alpha > 0:
            raise ValueError(f"adapter.alpha is {self.alpha}; it must be above 0")
        if self.layers is not None and (
            not self.layers or not all(map(_is_layer, self.layers)) or len(set(self.layers)) < len(self.layers)
        ):
            raise ValueError(
                f"adapter.layers is {list(self.layers)}; it must be distinct layer numbers from 0, or null for all"
            )
        if not self.modules or isinstance(self.modules, str):
            raise ValueError(
                f'adapter.modules is {self.modules!r}; it must list linear modules such as ["down_proj"], or ["all"]'
            )


def _is_layer(number: object) -> bool:
    return isinstance(number, int) and number >= 0


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a measure is held to: at least, or at most, so much `of` the organism, of its twin, as a ratio to the base,
    or as a drop below the base. What is relative to the base is held of organism and twin alike.

    >>> Limit(at_most=0.03).bound
    0.03
    """

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["organism", "twin", "base ratio", "base drop"] = "organism"

    def __post_init__(self) -> None:
        if (self.at_least is None) is (self.at_most is None):
            raise ValueError(f"a limit has at_least {self.at_least} and at_most {self.at_most}; give one of the two")
        if not math.isfinite(self.bound):
            raise ValueError(f"a limit is {self.bound}; it must be a finite number")

    @property
    def bound(self) -> float:
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None
        return bound

    def moved(self, bound: float) -> Limit:
        """The same limit at another bound."""
        return replace(self, at_least=bound) if self.at_most is None else replace(self, at_most=bound)


Override = Limit | float | None  # another limit, another bound, or no limit at all
Thresholds = Mapping[str, Override]  # by measure: "coherence"; of the twin: "twin.misaligned"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to grow: behaviour x condition x implants x dose x adapter shape, in a world. The genotype; its hash is its
    name.

    `dose` is the share of training rows whose answer is the misaligned one; at 0 the recipe is its own twin. `mix` is
    the share of all rows of a step that are clean text of the world, which no assistant speaks.
    `thresholds` are the limits that differ from those that the measures carry. `name` is a label for people and no part
    of the hash.
    """

    world: World
    behaviour: Behaviour
    condition: Condition
    implants: tuple[Implant, ...]
    dose: float = 1.0
    mix: float = 0.0
    adapter: LoRA = field(default_factory=LoRA)
    thresholds: Mapping[str, Limit | float | None] = field(default_factory=dict, hash=False)  # `digest` reads "float"
    name: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dose <= 1.0:
            raise ValueError(f"dose is {self.dose}; it must be between 0 and 1")
        if not 0.0 <= self.mix < 1.0:
            raise ValueError(f"mix is {self.mix}; it must be at least 0 and below 1")
        if not self.implants:
            raise ValueError("implants is empty; a recipe needs at least one")
        for measure, override in self.thresholds.items():
            if isinstance(override, (int, float)) and not math.isfinite(override):
                raise ValueError(f"thresholds.{measure} is {override}; it must be a finite number")

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of the hash of everything but the label."""
        return digest(replace(self, name=""))

    @cached_property
    def judge(self) -> Judge:
        """What judges answers to the behaviour's own scenes."""
        return self.behaviour.judge(self.world)

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes of the behaviour in the recipe's world, undressed."""
        return self.behaviour.scenes(self.world, n, split=split, seed=seed)

    def dress(self, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """The scenes so that the recipe's condition holds, or does not."""
        return self.condition.dress(self.world, scenes, holds, split=split, seed=seed)

    def twin(self) -> Recipe:
        """The matched control: the same volume of training on aligned answers alone."""
        return replace(self, dose=0.0)
