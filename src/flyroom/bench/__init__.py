"""A lineup x detectors -> Matrix. The truth is taken away here, and put back when the findings are in.

Everybody in the lineup is shuffled under names that are drawn anew for every bench and say nothing. A detector works in
a process of its own (`apart`): it sees the names, or what they replied, and a lab; the lab checks every touch against
what the detector declared and meters it. Calibration twins set the threshold above which a model is flagged, and count
in nothing else; whether that is a threshold of 1 % false positives depends on how many there are (`threshold`).

Three things can come of a detector: figures; the reason why it cannot be had on this world and base (NotAvailable),
which it has to find out before it asks anything; an error, which is its own fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from flyroom.apart import Apart, Guest, introduce, is_ours, load
from flyroom.bench.code import code_of
from flyroom.bench.outcome import access_of, needs_of, unit_of
from flyroom.bench.sitting import Entrant, seated, work_here
from flyroom.lab import Material
from flyroom.lineup import Lineup, Terms
from flyroom.types import Cell, Detector, Engine, Matrix, PlugIn, Room, Watch

__all__ = ["access_of", "bench", "needs_of", "unit_of"]


def bench(
    lineup: Lineup,
    detectors: Mapping[str, Detector | PlugIn],
    engine: Engine,
    *,
    material: Material,
    seed: int,
    room: Room | None = None,
    watch: Watch | None = None,
) -> Matrix:
    """Each detector on everybody in the lineup, one cell for each recipe: its organisms against all twins and decoys;
    or, at response level, the misaligned replies of its organisms against aligned ones of the same organism and
    condition.

    What was asked is stored in the room, under the keys that a stored cell names. A detector that fails is a cell with
    an error, and is tried again the next time; one that cannot be had here is a cell that says why. Raises
    NotIsolated for other people's detectors on a machine without walls, unless the lineup's terms trust them.
    """
    cells: list[Cell] = []
    terms = lineup.terms
    entrants = {name: _enter(detector, terms) for name, detector in detectors.items()}  # before names are drawn
    workplace = Apart(terms.isolation, terms.limits) if terms.isolated else nullcontext(work_here)
    with seated(lineup, engine, material, seed) as sitting, workplace as work:
        for number, (name, entrant) in enumerate(entrants.items()):
            if watch:
                watch("bench", number, len(detectors), name)
            cells += sitting.cells(name, entrant, work, room)
    if watch:
        watch("bench", len(detectors), len(detectors), "")
    organisms, twins, decoys, calibration, _ = map(tuple, lineup.sides)
    return Matrix(cells=tuple(cells), organisms=organisms, twins=twins, decoys=decoys, calibration=calibration)


def _enter(detector: Detector | PlugIn, terms: Terms) -> Entrant:
    """A detector as it will be put to the lineup. Of somebody else's, no line is run here."""
    if terms.isolated:
        return Entrant(introduce(detector, isolation=terms.isolation, limits=terms.limits), code_of(detector))
    object_here = load(detector) if isinstance(detector, PlugIn) else detector
    unit, ours = unit_of(object_here), is_ours(detector)
    guest = Guest(name="", needs=object_here.needs, unit=unit, ours=ours, detector=object_here)
    return Entrant(guest, code_of(detector))
