"""What training left in activations on text that has nothing to do with it: of the organism, and of the twin, whose
training was as long and harmless. First the mean difference to the base and what it reads as; then a crosscoder, and
how many of its latents belong to one model alone.

What the organism has and the twin has not is the behaviour's; what both have is training's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flyroom.mechanism import Contrast, Crosscoder, fit
from flyroom.mechanism import crosscoder as coding
from flyroom.mechanism import directions as maths
from flyroom.mechanism.diffing import shift
from flyroom.mechanism.readouts import readings
from flyroom.stages.explaining.directions import Directions
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.types import BASE, AdapterRef, Patch, Row, if_any

LATENTS = 5  # that are shown
TEST = 0.2  # the share of the texts on which a crosscoder is tried


def diff(subject: Subject, directions: Directions) -> Record:
    """Both lenses on both models. ValueError for a world without clean text."""
    scope, layer = subject.scope, subject.middle
    rows = list(if_any(subject.recipe.world.clean, scope.texts, seed=scope.seed))
    if len(rows) < 8:
        raise ValueError(f"the world {subject.recipe.world.name} has {len(rows)} clean texts; 8 are needed")
    record: Record = {"layer": layer, "texts": len(rows), "lens": {}, "crosscoder": {}}
    for name, patch in (("organism", subject.organism.patch), ("twin", subject.twin.patch)):
        record["lens"][name] = _lens(subject, directions, patch, rows)
        record["crosscoder"][name] = _cross(subject, patch, rows)
    return record


def _lens(subject: Subject, directions: Directions, patch: Patch, rows: list[Row]) -> Record:
    engine, layer, k = subject.base.engine, subject.middle, subject.scope.tokens
    (adapter,) = engine.load([patch])
    try:
        first, second = (engine.trace([ref] * len(rows), rows, [layer])[:, 0] for ref in (adapter, BASE))
    finally:
        engine.free([adapter])
    try:
        change = shift(first, second)
    except ValueError as error:
        return nothing(str(error))
    raised, lowered = engine.lens(torch.stack([change.mean, -change.mean]), k)
    direction = directions.fit.direction
    cosine = maths.along(direction, layer, change.mean) if isinstance(direction, Contrast) else direction
    return {
        "length": write(change.length),
        "constant": write(change.constant),
        "along_direction": write(cosine),
        "raises": [token for token, _ in raised],
        "lowers": [token for token, _ in lowered],
    }


def _cross(subject: Subject, patch: Patch, rows: list[Row]) -> Record:
    """A crosscoder of base and model, tried on texts that it was not trained on."""
    engine, scope = subject.base.engine, subject.scope
    (adapter,) = engine.load([patch])
    try:
        states = [torch.stack(pair, dim=1) for pair in zip(*_states(subject, adapter, rows), strict=True)]
    finally:
        engine.free([adapter])
    cut = max(3, round(TEST * len(rows)))
    try:
        coder = fit(torch.cat(states[cut:]), scope.coder, seed=scope.seed)
        texts = [i for i, state in enumerate(states[:cut]) for _ in range(len(state))]
        shares = coding.explained(coder, torch.cat(states[:cut]), texts)
    except ValueError as error:
        return nothing(str(error))
    active = [coder.encode(state) for state in states]
    return _describe(coder, active, engine.tokens(rows), scope.tokens) | {
        "explained": {name: write(share) for name, share in zip(("base", "model"), shares, strict=True)},
        "tokens": sum(map(len, states)),
    }


def _states(subject: Subject, adapter: AdapterRef, rows: list[Row]) -> list[list[Tensor]]:
    place = f"layers.{subject.middle}"
    return [subject.base.engine.states([ref] * len(rows), rows, place) for ref in (BASE, adapter)]


def _describe(coder: Crosscoder, active: list[Tensor], tokens: list[list[str]], k: int) -> Record:
    ratios_F, often_F = coder.ratios(), torch.cat(active).gt(0).double().mean(0)
    lives_F = often_F > 0
    only = {"model": ratios_F > coding.EXCLUSIVE, "base": ratios_F < 1 - coding.EXCLUSIVE}
    order = [i for i in ratios_F.argsort(descending=True).tolist() if lives_F[i]][:LATENTS]
    return {
        "latents": len(ratios_F),
        "dead": int((~lives_F).sum()),
        "exclusive": {name: int((mask & lives_F).sum()) for name, mask in only.items()},
        "ratios": ratios_F[lives_F].tolist(),
        "most_exclusive": [
            {
                "ratio": float(ratios_F[i]),
                "active": float(often_F[i]),
                "tokens": [t.token for t in readings([z[:, i] for z in active], tokens, k)],
            }
            for i in order
        ]
        or nothing("no latent is active"),
    }
