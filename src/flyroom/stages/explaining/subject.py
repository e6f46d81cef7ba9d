"""Whom an explanation is of, how much of it is wanted, and where its parts are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from flyroom import ranges
from flyroom.card.desk import fingerprint
from flyroom.episodes import EPISODES
from flyroom.mechanism import Training, Weighting
from flyroom.report import bare
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.types import Entry, NotMeasured, Organism, Recipe, Watch, digest, plain

KIND = "mechanism"
FORMAT = 3  # part of every key: raise it when what is stored under it changes
WIDEST = 8  # layers that are ablated one at a time; of a deeper base as many, evenly

LEAST = {"episodes": 10, "draws": 2, "grid": 3, "tokens": 1, "texts": 8}

Record = dict[str, Any]
Against = Literal["twin", "self"]  # whose aligned answers a direction points away from


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is measured.

    `episodes` are asked of each model; `against`: a direction points from the aligned answers of the twin, which reads
    them itself, or from the organism's own, to the organism's misaligned ones; `draws` are random controls; `steps` are
    those at which the adapter is looked at, `span` apart from their neighbours (None: `grid` steps over the whole run);
    `strengths` multiply the direction that is added to the twin; `norms` are parts of the general solution's, `pushes`
    the sizes of pushes aside; `tokens` are listed, `texts` read. ValueError naming the field.
    """

    seed: int = 0
    episodes: int = 300
    weighting: Weighting = "response"
    against: Against = "twin"
    draws: int = 4
    steps: tuple[int, ...] | None = None
    span: int | None = None
    grid: int = 24
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    norms: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0)
    pushes: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
    tokens: int = 10
    texts: int = 200
    coder: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        ranges.check_counts(self, **LEAST)
        for name, values in {"weighting": get_args(Weighting), "against": get_args(Against)}.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(values)}")
        if any(not 0 <= e <= 1 for e in self.pushes) or any(norm <= 0 for norm in self.norms):
            raise ValueError(f"pushes is {self.pushes} and norms {self.norms}; from 0 to 1, and above 0")
        if self.span is not None:
            ranges.check_counts(self, span=1)


def scope_of(changes: Mapping[str, Any]) -> Scope:
    """A scope with fields that differ; those of the crosscoder are "coder.latents" and the like. ValueError naming a
    field that there is not, or a value of another kind.

    >>> scope_of({"episodes": 100, "steps": [5, 10], "coder.k": 4}).coder.k
    4
    """
    inner = {name.removeprefix("coder."): value for name, value in changes.items() if name.startswith("coder.")}
    outer = {name: value for name, value in changes.items() if not name.startswith("coder.")}
    coder = replace(Training(), **_checked("coder.", Training(), inner))
    return replace(Scope(), coder=coder, **_checked("", Scope(), outer))


def _checked(prefix: str, default: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, each of the kind that the field has; lists become tuples."""
    names = [f.name for f in fields(default) if f.name != "coder"]
    for name, value in changes.items():
        if name not in names:
            raise ValueError(f"{prefix}{name} is no field of a scope; there are {', '.join(names)}")
        kind = type(getattr(default, name))
        kinds = {int: int, float: (int, float), str: str, tuple: (list, tuple)}.get(kind, (int, list, tuple))
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{prefix}{name} is {value!r}; it must be like {getattr(default, name)!r}")
        if isinstance(value, (list, tuple)) and not all(isinstance(x, (int, float)) for x in value):
            raise ValueError(f"{prefix}{name} is {value!r}; it must be a list of numbers")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}


@dataclass(frozen=True, eq=False)
class Subject:
    """An organism beside its twin, on an open base, in a room."""

    organism: Organism
    twin: Organism
    base: OpenBase
    room: Room
    scope: Scope
    watch: Watch | None = None
    panels: dict[int, Any] = field(default_factory=dict)  # by look: see `panel_of`

    @property
    def recipe(self) -> Recipe:
        return self.organism.recipe

    @property
    def depth(self) -> int:
        return self.base.engine.base.depth

    @property
    def middle(self) -> int:
        """The layer at which one is looked at: half way up, and not the one that shows most."""
        return self.depth // 2

    @property
    def layers(self) -> list[int]:
        """The layers that are looked at one by one."""
        if self.depth <= WIDEST:
            return list(range(self.depth))
        return sorted({round(i * (self.depth - 1) / (WIDEST - 1)) for i in range(WIDEST)})

    def recall(self, part: str, settings: object, make: Callable[[], Mapping[str, Any]]) -> Record:
        """A part of the explanation: that of the room, or what `make` gives, which is stored whole, with the keys of
        the episodes that were asked for it: they go when it does.
        """
        models = [fingerprint(self.organism.patch), fingerprint(self.twin.patch), self.base.engine.base.digest]
        key = digest([FORMAT, part, *models, self.recipe.id, self.recipe.judge.id, plain(settings)])
        entry = self.room.get(KIND, key)
        if entry is None:
            if self.watch:
                self.watch("explain", 0, 1, part)
            payload = bare(dict(make())) | {EPISODES: self._list_asked()}
            meta = {"organism": self.organism.id, "part": part, "recipe": self.recipe.name}
            (entry,) = self.room.put_many([Entry(kind=KIND, key=key, payload=payload, meta=meta)])
            if self.watch:
                self.watch("explain", 1, 1, part)
        return {name: value for name, value in entry.payload.items() if name != EPISODES}

    def _list_asked(self) -> list[str]:
        return sorted({key for panel in self.panels.values() for key in panel.keys})


def nothing(why: str) -> Record:
    """A reason in the place of a figure, as an object without a value."""
    return {"value": None, "why": why}


def write(value: Any) -> Any:
    """An estimate as an object; a reason as an object without a value."""
    if isinstance(value, NotMeasured):
        return nothing(value.why)
    return bare(value)
