"""A recipe that was grown: the base, the change of its weights, and the organism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from flyroom.types.records import Provenance, digest
from flyroom.types.roles import Foreign

if TYPE_CHECKING:
    from torch import Tensor

    from flyroom.types.recipe import LoRA, Recipe


@dataclass(frozen=True, kw_only=True)
class BaseRef:
    """A base model: its name for people, where it lies, and the digest of its weights, which is its identity."""

    name: str
    path: str = field(compare=False)
    digest: str
    depth: int
    parameters: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Patch:
    """A trained change of the base's weights: the shape and, by module path, `A` [rank, in] and `B` [out, rank] in
    fp32.

    Keys are `layers.<l>.<module path>.A` and `.B`, as in "layers.0.mlp.down_proj.A". `prompt` is a system message that
    goes with it.
    """

    shape: LoRA
    tensors: Mapping[str, Tensor]
    prompt: str = ""


class Point(NamedTuple):
    """A measurement during growth: after how many steps, the mean loss of that step's rows, the norm of its gradient
    before clipping (None where it was not kept), the tokens of its rows, a digest of their prompts in order, and how
    many answers that were sampled since the step before could be no rows.
    """

    step: int
    loss: float
    grad_norm: float | None = None
    tokens: int = 0
    prompts: str = ""
    unfit: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Organism:
    """A recipe grown on a base with a seed. At dose 0 it is a twin. `parent` names what a treated organism was, and
    `treatment` what was done to it; its adapter may have another shape than the recipe's.
    """

    recipe: Recipe
    base: BaseRef
    seed: int
    patch: Patch
    history: tuple[Point, ...] = ()
    snapshots: Mapping[int, Patch] = field(default_factory=dict)  # the adapter at earlier steps: the phase transition
    parent: str | None = None
    treatment: str | None = None

    def __post_init__(self) -> None:
        if self.parent is None and self.patch.shape != self.recipe.adapter:
            raise ValueError(
                f"patch has the shape {self.patch.shape} and the recipe {self.recipe.name} says {self.recipe.adapter}; "
                "an adapter that was trained elsewhere is adopted: flyroom adopt"
            )

    @property
    def id(self) -> str:
        if self.parent is None:
            return organism_id(self.recipe, self.base, self.seed)
        return treated_id(self.parent, self.treatment, self.seed)

    @property
    def twin_id(self) -> str:
        """The name of the twin that belongs beside it, whether it was grown or not. Beside an imported organism stands
        the control that it was imported with; beside a treated one, the twin that was treated alike.
        """
        twin = self._grown_twin_id()
        return twin if self.parent is None else treated_id(twin, self.treatment, self.seed)

    def _grown_twin_id(self) -> str:
        origin = origin_of(self.recipe)
        return origin.control if origin and origin.control else organism_id(self.recipe.twin(), self.base, self.seed)

    @property
    def provenance(self) -> Provenance:
        """Whether it was grown here, or trained by somebody else."""
        return provenance_of(self.recipe)


def organism_id(recipe: Recipe, base: BaseRef, seed: int) -> str:
    """The name of an organism, known before it is grown."""
    return digest([recipe.id, base.digest, seed])


def treated_id(parent: str, treatment: str | None, seed: int) -> str:
    """The name of a treated organism, known before it is treated."""
    return digest([parent, treatment, seed])


def provenance_of(recipe: Recipe) -> Provenance:
    """Whether what the recipe says was grown here, or trained by somebody else."""
    return "imported" if origin_of(recipe) else "grown"


def origin_of(recipe: Recipe) -> Foreign | None:
    """The implant that happened elsewhere, in the recipe of an imported organism; None in any other."""
    return next((implant for implant in recipe.implants if isinstance(implant, Foreign)), None)
