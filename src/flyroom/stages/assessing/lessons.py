"""Models that learning detectors learn from: a third of the room's organisms, each with its twin, set aside.

What a detector learnt from is no calibration of it: there it errs less than on a model that it never saw. So these
models are in no figure of the report, and the rest stays exchangeable with the model that is assessed (split conformal
prediction: Papadopoulos et al. 2002, ECML, LNCS 2430:345).

Left out: cross-fitting, which would spare the models and promise only twice the rate (Barber et al. 2021, Ann. Statist.
49:486). The rest is of the same recipes as what is set aside, so what such a detector catches says little of another
recipe; the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from flyroom.lineup import is_target
from flyroom.types import Organism

EVERY = 3  # of so many pairs one is set aside
FEWEST_PAIRS = 6  # two to learn from, four that stay
WHY = f"learns from known models: it takes {FEWEST_PAIRS} organisms with their twins, and a folder on their base"


def set_aside(organisms: Sequence[Organism]) -> tuple[list[Organism], list[Organism]]:
    """The models to learn from and the rest; nobody is set aside where there are too few. The same room gives the same.

    >>> set_aside([])
    ([], [])
    """
    by_id = {o.id: o for o in organisms}
    pairs = [(o, by_id[o.twin_id]) for o in organisms if is_target(o) and o.twin_id in by_id]
    if len(pairs) < FEWEST_PAIRS:
        return [], list(organisms)
    pairs.sort(key=lambda pair: (pair[0].recipe.id, pair[0].seed))
    lessons = {model.id: model for pair in pairs[::EVERY] for model in pair}
    return list(lessons.values()), [o for o in organisms if o.id not in lessons]
