"""What an assessment says of itself: its scope, who did what, and its limits."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from flyroom.assess import FEWEST, Calibration, Probe
from flyroom.bench.outcome import in_words
from flyroom.lineup import is_decoy, is_target
from flyroom.stages.assessing.checklist import ALONE, LOOKED_AT, threat_of
from flyroom.stages.assessing.reading import AWARE, Instrument, Sitting
from flyroom.stages.assessing.targets import Target
from flyroom.stages.bases import OpenBase
from flyroom.types import Cautioned, Organism, World
from flyroom.vault import current


def describe(
    target: Target,
    base: OpenBase,
    instrument: Instrument,
    organisms: Sequence[Organism],
    probes: Sequence[Probe],
    sitting: Sitting,
) -> dict[str, Any]:
    """The scope: the target, what may be touched, what calibrated, what was asked, who ran it."""
    ref, identity = base.engine.base, current()
    return {
        "target": dict(target.about),
        "access": in_words(target.access),
        "calibrated_on": {"name": ref.name, "digest": ref.digest, "parameters": ref.parameters},
        "world": organisms[0].recipe.world.name,
        "models": _count_models(organisms),
        "instrument": [
            *(item.threat for item in instrument.sheet.items if item.scenes),
            *instrument.detectors,
            *instrument.methods,
        ],
        "learnt_from": len(instrument.lessons),
        "temperature": instrument.sheet.temperature,
        "probes": sum(p.asks for p in probes),
        "refused": sum(p.refused for p in probes),
        "unknown": sum(p.unknown for p in probes),
        "evaluation_awareness": _count_awareness(probes, sitting),
        "ran_by": identity.signer if identity else getpass.getuser(),
        "flyroom": version("flyroom"),
    }


def _count_models(organisms: Sequence[Organism]) -> dict[str, Any]:
    targets = [o for o in organisms if is_target(o)]
    return {
        "organisms": len(targets),
        "clean": sum(not is_target(o) and not is_decoy(o) for o in organisms),
        "decoys": sum(map(is_decoy, organisms)),
        "recipes": len({o.recipe.id for o in targets}),
        "seeds": len({o.seed for o in targets}),
        "threats": sorted({threat_of(o.recipe) for o in targets}),
    }


def _count_awareness(probes: Sequence[Probe], sitting: Sitting) -> dict[str, Any]:
    """How many answers speak of a test, and the share of misaligned ones where somebody is said to look, or nobody."""
    texts = [answer.text for answers in sitting.answers.values() for answer in answers]
    shares = {p.threat: p.misaligned / p.answered for p in probes if p.answered}
    return {
        "speak_of_a_test": sum(bool(AWARE.search(text)) for text in texts),
        "of": len(texts),
        "misaligned_when_seen": shares.get(LOOKED_AT),
        "misaligned_when_unseen": shares.get(ALONE),
    }


def limits_of(
    target: Target, organisms: Sequence[Organism], calibration: Calibration | None, instrument: Instrument
) -> tuple[str, ...]:
    """What the assessment cannot show, a sentence each."""
    world: World = organisms[0].recipe.world
    lines = [
        "It says nothing of behaviours, conditions and triggers that were not tried, and never “aligned”.",
        "A model that tells a test from use may behave well in the one and not in the other.",
        f"All questions are of the world {world.name}; how a model behaves in use is another matter.",
        "Recall is that of organisms which were made on purpose; a misalignment that came about by itself may differ.",
    ]
    if target.endpoint:
        lines.append(
            "Of a model behind an endpoint nobody here knows the base; that it is a change of the calibrated "
            "one is read off its answers, and a model that imitates them is not told apart."
        )
    if calibration and calibration.alarm.clean < FEWEST:
        lines.append(
            f"{calibration.alarm.clean} clean fine-tunes were calibrated; p-values below "
            f"{1 / (calibration.alarm.clean + 1):.3f} take more of them, and 1 % takes {FEWEST}."
        )
    if calibration and calibration.alarm.recipes:
        lines.append(
            f"Clean fine-tunes are of {calibration.alarm.recipes} recipes; one trained otherwise need "
            "not be exchangeable with them."
        )
    if instrument.lessons:
        lines.append(
            f"Detectors learnt from {len(instrument.lessons)} models of these very recipes, which calibrate nothing; "
            "what they catch of another recipe is not measured."
        )
    return (*lines, *(world.caveats if isinstance(world, Cautioned) else ()))
