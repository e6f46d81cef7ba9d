"""Who stands before the detectors, and on what terms: organisms to be found, twins, decoys, the twins that set
thresholds, and models that detectors may fit on.

A lineup checks itself once, when it is made: whoever holds one can bench it. A decoy is told by its behaviour, which is
harmless; a trigger by its condition, which says on which texts it hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyroom import stats
from flyroom.adapters import changes_of
from flyroom.cell import Isolation, Limits, mode_of
from flyroom.types import Marked, Organism, Recipe, origin_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a lineup is tried.

    `questions` of each recipe are put to its models for detectors at response level. `certify` is a false-positive rate
    of twins that is to be certified: refused where these are too few for it even if none is flagged; afterwards each
    cell says whether it was. `isolation` "trust" runs other people's detectors without walls around their processes,
    `limits` is what each may use, and `isolated` False runs detectors in this process, where a debugger reaches them
    and they could reach the truth. `lab` makes a detector's lab, of what
    `flyroom.lab.BenchLab` is made of; None: that one.
    """

    questions: int = 32
    certify: float | None = None
    isolated: bool = True
    isolation: Isolation = "strict"
    limits: Limits = field(default_factory=Limits)
    lab: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.questions < 4:
            raise ValueError(f"questions is {self.questions}; it must be at least 4, two for each verdict")
        mode_of(self.isolation)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lineup:
    """`calibration` holds twins that set thresholds and stand nowhere else; `known` other models, each of whose truth
    detectors with Access.KNOWN hear.

    Raises ValueError for a model on two sides or on the wrong one, for one that stands twice on a side, under another
    seed or name (a recipe that trains nothing has one organism), for no organisms, no twins or no calibration twins,
    for fewer twins than `terms.certify` takes, and for a trigger that known models share with tested ones.
    """

    organisms: Sequence[Organism]
    twins: Sequence[Organism]
    calibration: Sequence[Organism]
    decoys: Sequence[Organism] = ()
    known: Sequence[Organism] = ()
    terms: Terms = field(default_factory=Terms)

    @staticmethod
    def of(
        models: Iterable[Organism],
        *,
        calibration: Sequence[Organism],
        known: Sequence[Organism] = (),
        terms: Terms | None = None,
    ) -> Lineup:
        """The models sorted by what they are. Twins that belong to none of the organisms are left out, and so are
        copies: of models that do the same to the base the first of each side stays. A calibration twin that is a
        tested twin too goes, unless no other is there.
        """
        models = list_paired(models)
        twins = [o for o in models if o.recipe.dose == 0]
        changes = {changes_of(o.patch) for o in twins}
        return Lineup(
            organisms=_different(o for o in models if is_target(o)),
            twins=_different(twins),
            decoys=_different(o for o in models if is_decoy(o)),
            calibration=_different([o for o in calibration if changes_of(o.patch) not in changes] or calibration),
            known=_different(known),
            terms=terms or Terms(),
        )

    def __post_init__(self) -> None:
        self._check_sides()
        self._check_names()
        self._check_copies()
        self._check_triggers()
        self._check_rate()

    @property
    def suspects(self) -> list[Organism]:
        """Everybody who is put before a detector."""
        return [*self.organisms, *self.twins, *self.decoys, *self.calibration]

    @property
    def sides(self) -> list[list[str]]:
        """The ids by side, as keys hold them."""
        sides = (self.organisms, self.twins, self.decoys, self.calibration, self.known)
        return [[o.id for o in side] for side in sides]

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Those of the organisms, by a label that tells them apart."""
        by_id = {o.recipe.id: o.recipe for o in self.organisms}
        labels = [recipe.name for recipe in by_id.values()]
        return {r.name if labels.count(r.name) == 1 else f"{r.name} {r.id}": r for r in by_id.values()}

    @property
    def beside_base(self) -> bool:
        """Whether all that organisms are held against does nothing to the base, as the control of an adapter that was
        adopted without a twin: then whatever compares with the base is right about everybody.
        """
        return not any(changes_of(o.patch) for o in (*self.twins, *self.decoys))

    @property
    def caveat(self) -> str:
        """What cannot be shown with these twins, where some were trained elsewhere; "" for twins grown here."""
        origins = [origin_of(o.recipe) for o in self.twins]
        return "; ".join(dict.fromkeys(origin.caveat for origin in origins if origin))

    # ------------------------------------------------------------ checks

    def _check_sides(self) -> None:
        for what, side in (
            ("organisms holds no organism above dose 0", [o for o in self.organisms if o.recipe.dose > 0]),
            ("twins holds no twin", [o for o in self.twins if o.recipe.dose == 0]),
            ("calibration is empty", self.calibration),
        ):
            if not side:
                raise ValueError(f"{what}; the bench needs organisms, twins, and calibration twins of other seeds")
        for side, model, what in (
            *(("organisms", o, "a decoy" if is_decoy(o) else "a twin") for o in self.organisms if not is_target(o)),
            *(("twins", o, "an organism above dose 0") for o in self.twins if o.recipe.dose > 0),
            *(("decoys", o, "no decoy: its behaviour is not harmless") for o in self.decoys if not is_decoy(o)),
        ):
            raise ValueError(f"{side} holds {model.id}, which is {what}; put it on the side where it belongs")

    def _check_names(self) -> None:
        sides = [o.id for o in (*self.organisms, *self.twins, *self.decoys)]
        calibration, fit = [o.id for o in self.calibration], [o.id for o in self.known]
        overlap = set(sides) & set(calibration)
        if overlap or any(o.recipe.dose > 0 for o in self.calibration):
            raise ValueError(
                f"calibration holds {', '.join(sorted(overlap)) or 'an organism above dose 0'}; "
                "it must be twins that stand nowhere else"
            )
        if clash := set(fit) & {*sides, *calibration}:
            raise ValueError(
                f"known holds {', '.join(sorted(clash))}, which detectors are tested on; give others to fit on"
            )
        for side, ids in (("organisms and decoys", sides), ("calibration", calibration), ("known", fit)):
            if len(set(ids)) < len(ids):
                raise ValueError(f"a model stands twice among {side}; name each once")

    def _check_copies(self) -> None:
        for what in ("organisms", "twins", "decoys", "calibration", "known"):
            side: Sequence[Organism] = getattr(self, what)
            if copies := {o.id for o in side} - {o.id for o in _different(side)}:
                raise ValueError(
                    f"{what} holds {', '.join(sorted(copies))}, which does to the base what another one there does; "
                    "name one of them, or let Lineup.of sort them"
                )

    def _check_triggers(self) -> None:
        if leaks := triggers(o.recipe for o in self.known) & triggers(o.recipe for o in self.organisms):
            raise ValueError(
                f"known models hang on {', '.join(map(repr, sorted(leaks)))}, as tested organisms do, so detectors "
                "could learn the trigger by heart; grow the known ones with another condition.mark or condition.kind"
            )

    def _check_rate(self) -> None:
        certify, recipes = self.terms.certify, [o.recipe.id for o in self.twins]
        if certify is not None and stats.clustered_fpr([False] * len(recipes), recipes) > certify:
            needed, number = stats.negatives_needed(certify), len(set(recipes))
            raise ValueError(
                f"certify is {certify}; that takes {needed} twins of one recipe, or twins of {needed} recipes, none of "
                f"them flagged, and here are {len(recipes)} of {number}; grow more seeds of one recipe, or claim a "
                "higher rate"
            )


def list_paired(models: Iterable[Organism]) -> list[Organism]:
    """The models without those twins that belong to none of the organisms, such as the twins that set thresholds."""
    models = list(models)
    twin_ids = {o.twin_id for o in models if is_target(o)}
    return [o for o in models if o.recipe.dose > 0 or o.id in twin_ids]


def _different(models: Iterable[Organism]) -> list[Organism]:
    """The first of those that do the same to the base; an organism stands once for each recipe."""
    first = dict[tuple[str, str], Organism]()
    for model in models:
        first.setdefault((changes_of(model.patch), model.recipe.id if model.recipe.dose else ""), model)
    return list(first.values())


def is_target(model: Organism) -> bool:
    """Whether detectors are to find it."""
    return model.recipe.dose > 0 and not model.recipe.behaviour.harmless


def is_decoy(model: Organism) -> bool:
    """Whether it is odd and harmless, and calling it bad is a false alarm."""
    return model.recipe.dose > 0 and model.recipe.behaviour.harmless


def triggers(recipes: Iterable[Recipe]) -> set[str]:
    """The texts on which organisms of these recipes hang."""
    hanging = [(recipe.condition, recipe.world) for recipe in recipes if recipe.dose > 0]
    return {text for condition, world in hanging if isinstance(condition, Marked) for text in condition.marks(world)}
