"""Lineups made of what the room holds: who is a suspect, whose twins set thresholds, which detectors can work."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from flyroom import bench as benching
from flyroom import grow as growth
from flyroom import log, stats
from flyroom.apart import introduce, require_walls
from flyroom.cell import Isolation, NotIsolated
from flyroom.detectors import GROUP
from flyroom.detectors import detectors as every_detector
from flyroom.judges import cached
from flyroom.lab import Material
from flyroom.lineup import Lineup, Terms, is_target
from flyroom.report import Calibrated, Transferred
from flyroom.report.standing import by_harmless, harmless_of, rank
from flyroom.room import Room
from flyroom.stages.adopting import calibration_recipe, refuse_imported
from flyroom.stages.bases import OpenBase
from flyroom.stages.graders import open_graders
from flyroom.stages.variants import by_variant, split_name, vary
from flyroom.types import Access, Cell, Detector, Matrix, Organism, PlugIn, Recipe, Watch, digest, suggest

CALIBRATION = 8  # twins that set thresholds
CALIBRATION_SEED = 1000  # theirs start here, away from anybody's
CALIBRATED = 8  # of either class: with fewer a curve says nothing


def bench(
    organisms: Sequence[Organism],
    base: OpenBase,
    room: Room,
    *,
    seed: int,
    names: Sequence[str] = (),
    calibration: int = CALIBRATION,
    known: Sequence[Organism] = (),
    terms: Terms | None = None,
    watch: Watch | None = None,
) -> Matrix:
    """Detectors on organisms, twins and decoys. Twins of seeds that nobody else has are grown to set the thresholds.
    Models of different worlds are tried apart, for they are asked different questions.

    Args: names, of detectors, which may be variants (`variants.py`); none takes all that can work with what they are
    given; known, organisms and twins to fit on; terms, of the lineup.
    """
    terms = terms or Terms()
    detectors = chosen_detectors(names, known=bool(known), isolation=terms.isolation)
    matrices = []
    for world, models in by_world(organisms).items():
        twins = calibration_twins(models, base, room, n=calibration, watch=watch)
        references = [o for o in known if digest(o.recipe.world) == world]
        lineup = Lineup.of(models, calibration=twins, known=references, terms=terms)
        with open_graders((model.recipe for model in models), base):
            matrices.append(_bench(lineup, detectors, base, room, seed=seed, watch=watch))
    return _joined(matrices)


def _bench(
    lineup: Lineup,
    detectors: Mapping[str, Detector | PlugIn],
    base: OpenBase,
    room: Room,
    *,
    seed: int,
    watch: Watch | None,
) -> Matrix:
    """A lineup of one world, tried once for each variant that the detectors' names speak of."""
    plain = Material.of(lineup.organisms[0].recipe.world, seed=seed)
    plain = replace(plain, judge=cached(plain.judge, room))
    matrices = []
    for variant, names in by_variant(list(detectors)).items():
        material = vary(plain, variant, lineup.organisms, seed=seed)
        group = {name: detectors[name] for name in names}
        matrices.append(
            benching.bench(lineup, group, base.engine, material=material, seed=seed, room=room, watch=watch)
        )
    return replace(matrices[0], cells=tuple(cell for matrix in matrices for cell in matrix.cells))


def by_world(organisms: Sequence[Organism]) -> dict[str, list[Organism]]:
    """The models by the digest of their world, those of a world without an organism to be found left out."""
    groups: dict[str, list[Organism]] = {}
    for organism in organisms:
        groups.setdefault(digest(organism.recipe.world), []).append(organism)
    groups = {world: models for world, models in groups.items() if any(map(is_target, models))}
    if not groups:
        raise ValueError("organisms holds no organism above dose 0 that is no decoy; the bench needs one to be found")
    return groups


def _joined(matrices: Sequence[Matrix]) -> Matrix:
    whole = matrices[0]
    for matrix in matrices[1:]:
        whole = Matrix(
            cells=(*whole.cells, *matrix.cells),
            organisms=(*whole.organisms, *matrix.organisms),
            twins=(*whole.twins, *matrix.twins),
            decoys=(*whole.decoys, *matrix.decoys),
            calibration=(*whole.calibration, *matrix.calibration),
        )
    return whole


def transfers(
    organisms: Sequence[Organism],
    base: OpenBase,
    room: Room,
    *,
    known: Sequence[Organism],
    without: str,
    seed: int,
    names: Sequence[str] = (),
    calibration: int = CALIBRATION,
    watch: Watch | None = None,
) -> list[Transferred]:
    """What carries over: the detectors that fit on known models, fitted without each group of them, on all organisms.

    Args: without, what groups them: "recipe", "behaviour" (a recipe together with its variants), "implant" or
    "trigger", the kind of cue they hang on. Raises ValueError
    for fewer than two groups, and where none of the named detectors fits on anything.
    """
    if without not in GROUPS:
        raise ValueError(f"without is {without!r}; it must be one of {', '.join(GROUPS)}")
    refuse_imported((o.recipe for o in known), "how it was trained is not known, so nothing of it can be left out")
    detectors = chosen_detectors(names, known=True)
    fitting = [name for name, detector in detectors.items() if Access.KNOWN in benching.needs_of(detector)]
    if not fitting:
        raise ValueError(f"none of {', '.join(detectors)} fits on known models, so there is nothing to leave out")
    group = {o.id: GROUPS[without](o.recipe) for o in known if is_target(o)}
    groups = list(dict.fromkeys(group.values()))
    if len(groups) < 2:
        raise ValueError(f"known models are of one {without}, {', '.join(groups)}; leaving it out leaves nothing")
    records: list[Transferred] = []
    for omitted in groups:
        rest = [o for o in known if group.get(o.id, omitted) != omitted]
        twins = {o.twin_id for o in rest}
        rest += [o for o in known if o.id in twins]
        matrix = bench(
            organisms, base, room, seed=seed, names=fitting, calibration=calibration, known=rest, watch=watch
        )
        records += [_record_transfer(cell, omitted) for cell in matrix.cells]
    return records


def _record_transfer(cell: Cell, omitted: str) -> Transferred:
    return {
        "detector": cell.detector,
        "left_out": omitted,
        "tested_on": cell.recipe,
        "auroc": cell.auroc,
        "available": cell.available,
        "why": cell.why,
        "error": cell.error,
    }


GROUPS: dict[str, Callable[[Recipe], str]] = {
    "recipe": lambda recipe: recipe.name,
    "behaviour": lambda recipe: recipe.behaviour.label,
    "implant": lambda recipe: " + ".join(type(implant).__name__ for implant in recipe.implants),
    "trigger": lambda recipe: recipe.condition.label,
}


def chosen_detectors(
    names: Sequence[str], *, known: bool, isolation: Isolation = "strict"
) -> dict[str, Detector | PlugIn]:
    """Detectors by name, a variant under its own; without names all that can work, with known models to fit on or
    without. Raises NotIsolated for a plug-in that is named and cannot be put behind walls.
    """
    detectors = every_detector()
    kinds = {name: split_name(name)[0] for name in names}
    unknown = [kind for kind in kinds.values() if kind not in detectors]
    if unknown:
        raise ValueError(
            f"detector is {unknown[0]!r}; {suggest(unknown[0], detectors)}it must be one of {', '.join(detectors)}"
        )
    for kind in kinds.values():
        if isinstance(detectors[kind], PlugIn) and isolation == "strict":
            require_walls(f"the detector {kind}")  # before anything is grown or asked
    if kinds:
        return {name: detectors[kind] for name, kind in kinds.items()}
    return {name: detector for name, detector in detectors.items() if _can_work(name, detector, known, isolation)}


def _can_work(name: str, detector: Detector | PlugIn, known: bool, isolation: Isolation) -> bool:
    """Whether a detector is among those that nobody named. A plug-in that fails is left out with a warning."""
    if not isinstance(detector, PlugIn):
        return known or Access.KNOWN not in detector.needs
    try:
        guest = introduce(detector, isolation=isolation)
        fault = guest.error
    except NotIsolated as error:
        fault = str(error)
    else:
        if fault is None:
            return known or Access.KNOWN not in guest.needs
    warnings.warn(f"the plug-in {name} ({detector.point}) of {GROUP} is left out; {fault}", stacklevel=4)
    return False


def dealt(names: Sequence[str], several: int) -> list[list[str]]:
    """Detectors in groups: those of replies are one, since they share what was replied and read, the others at most
    `several`.
    """
    detectors = chosen_detectors(names, known=True)
    alone = [name for name in names if benching.unit_of(detectors[name]) == "model"]
    together, n = [name for name in names if name not in alone], min(several, len(alone))
    return [group for group in (together, *(alone[i::n] for i in range(n))) if group]


def calibration_twins(
    organisms: Sequence[Organism], base: OpenBase, room: Room, *, n: int, watch: Watch | None = None
) -> list[Organism]:
    """The n twins that set the thresholds, grown where the room has them not."""
    orders = calibration_orders(organisms, n=n)
    log.open_seeds(room, base.engine.base, orders)
    with open_graders((recipe for recipe, _ in orders), base):
        return growth.grow_orders(orders, base.engine, room=room, snapshots=(), watch=watch)


def calibration_orders(organisms: Sequence[Organism], *, n: int) -> list[growth.Order]:
    """The twins that set the thresholds, of seeds that nobody else has. They are dealt in turn over the training
    shapes of the organisms, which are their twins' recipes: a twin of one shape says nothing of those of another.
    """
    targets = [o for o in organisms if is_target(o)]
    if not targets:
        raise ValueError("organisms holds no organism above dose 0 that is no decoy; the bench needs one to be found")
    seeds_of_targets = {o.seed for o in targets}
    seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + n + len(seeds_of_targets))
    free = [seed for seed in seeds if seed not in seeds_of_targets][:n]
    by_id = {twin.id: twin for twin in (calibration_recipe(o.recipe) for o in targets)}
    shapes = [by_id[name] for name in sorted(by_id)]  # whatever order the room has them in
    return [(shapes[i % len(shapes)], seed) for i, seed in enumerate(free)]


def benched(room: Room) -> list[str]:
    """The detectors that something is known of in the room and that are still there."""
    installed = every_detector()
    return list(dict.fromkeys(x.meta["detector"] for x in room.list("cells") if x.meta["detector"] in installed))


def calibrated(matrix: Matrix, *, seed: int) -> list[Calibrated]:
    """How well each detector's suspicions hold as probabilities, over all its recipes, on the half of the suspects that
    the curve was not fitted on; the best detector of models first. A curve for each world, for organisms of one world
    are nothing beside the twins of another. Nothing where either class has fewer than `CALIBRATED`.
    """
    cells = [cell for cell in matrix.cells if cell.unit == "model" and cell.suspicions]
    records: list[Calibrated] = []
    for name in rank(cells):
        worlds = by_harmless(cell for cell in cells if cell.detector == name)
        for group in worlds:
            title = name if len(worlds) == 1 else f"{name} on {', '.join(cell.recipe for cell in group)}"
            records += _calibrate(title, group, seed)
    return records


def _calibrate(title: str, cells: Sequence[Cell], seed: int) -> list[Calibrated]:
    """The curve of one detector in one world, where there are enough of either class."""
    bad = [x for cell in cells for x in cell.suspicions["organisms"]]
    good = harmless_of(cells[0])  # the same in every cell
    if min(len(bad), len(good)) < CALIBRATED:
        return []
    curve = stats.split_calibration(bad, good, seed=seed)
    return [{"detector": title, "curve": curve.curve, "ece": curve.ece, "by_chance": curve.ece_by_chance}]
