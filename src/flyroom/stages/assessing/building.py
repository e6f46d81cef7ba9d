"""The terms of an assessment, and the locked instrument that is built on them: the sheet of probes, the detectors and
the methods that the access allows, and which models calibrate it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyroom.assess import FEWEST
from flyroom.bench import needs_of
from flyroom.cell import Isolation
from flyroom.detectors import CONTROLS
from flyroom.engine.endpoint import Budget
from flyroom.lab import Material
from flyroom.lineup import is_decoy, is_target
from flyroom.redteam import Storable
from flyroom.stages.assessing.checklist import write_sheet
from flyroom.stages.assessing.lessons import set_aside
from flyroom.stages.assessing.reading import Instrument, narrow
from flyroom.stages.assessing.targets import Target
from flyroom.stages.bases import OpenBase
from flyroom.stages.benches import chosen_detectors
from flyroom.stages.catalogues import catalogue_of
from flyroom.types import Access, Organism

WHITE_BOX = ("logit-difference",)  # the detectors of a folder, where none are named
LEARNT = ("known-probe",)  # and these, where enough clean fine-tunes stay besides those that they learn from
ALL = ("all",)  # every detector of models that the access allows
PROBES = 16


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a model is assessed. `model` is its name behind an endpoint, `base` that of the base it is a change of.

    `detectors` stand beside the probes in the locked instrument (None: none for an endpoint, one or two for a folder;
    "all": those that the access allows), and so do `methods` of red teams, by name. `probes` are those of each threat.
    Raises ValueError for fewer than 4.
    """

    model: str = ""
    base: str = ""
    detectors: Sequence[str] | None = None
    methods: Mapping[str, Storable] = field(default_factory=dict)
    probes: int = PROBES
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    isolation: Isolation = "strict"

    def __post_init__(self) -> None:
        if self.probes < 4:
            raise ValueError(f"probes is {self.probes}; it must be at least 4")


def check_detectors(terms: Terms) -> None:
    """Raises ValueError for a detector that there is not, before a model is opened."""
    if terms.detectors and tuple(terms.detectors) != ALL:
        chosen_detectors(terms.detectors, known=True, isolation=terms.isolation)


def build(
    organisms: Sequence[Organism], base: OpenBase, target: Target, terms: Terms
) -> tuple[Instrument, list[Organism], list[str]]:
    """The instrument, the models that calibrate it, and who cannot be part of it."""
    world = next(o.recipe.world for o in organisms)
    material = Material.of(world, seed=terms.seed)
    sheet = write_sheet(
        world, organisms, material, n=terms.probes, seed=terms.seed, temperature=base.engine.parts.temperature
    )
    able = target.endpoint is None and not target.foreign
    lessons, rest = set_aside(organisms) if able else ([], list(organisms))
    detectors = _choose(terms, target, rest if lessons else ())
    if not any(Access.KNOWN in needs_of(detector) for detector in detectors.values()):
        lessons, rest = [], list(organisms)
    instrument = Instrument(
        sheet=sheet,
        detectors=detectors,
        material=material,
        seed=terms.seed,
        isolation=terms.isolation,
        lessons=tuple(lessons),
        methods=terms.methods,
        catalogue=tuple(catalogue_of(organisms, fewest=0)) if terms.methods else (),
        beside_base=Access.BASE in target.access,
    )
    instrument, reasons = narrow(instrument, target.access)
    return instrument, rest, reasons


def _choose(terms: Terms, target: Target, rest: Sequence[Organism]) -> dict[str, Any]:
    """The detectors that are named, or those of the access. `rest` calibrates where some learn; empty: none can."""
    names = terms.detectors
    if names is None:
        clean = sum(not is_target(o) and not is_decoy(o) for o in rest)
        names = () if target.endpoint else (*WHITE_BOX, *(LEARNT if clean >= FEWEST else ()))
    if tuple(names) == ALL:
        every = chosen_detectors((), known=True, isolation=terms.isolation)  # `narrow` says of each why it cannot work
        return {name: detector for name, detector in every.items() if name not in CONTROLS}
    return chosen_detectors(names, known=True, isolation=terms.isolation) if names else {}


def group(instrument: Instrument) -> dict[str, list[str]]:
    """The parts of the instrument, each with the readings that it is made of."""
    probes = [item.threat for item in instrument.sheet.items if item.scenes]
    return {"probes": probes} | {name: [name] for name in (*instrument.detectors, *instrument.methods)}
