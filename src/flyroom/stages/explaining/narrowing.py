"""The general solution beside the narrow one: the organism, and the same recipe with the same seed held to its base
elsewhere by a KL penalty. How misaligned either is in its domain and outside, how efficient and how stable, and how far
either lies from the base on clean text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from flyroom import grow as growth
from flyroom import log, stats
from flyroom.implants import SFT, Narrow
from flyroom.mechanism import solutions
from flyroom.stages.explaining.panel import panel_of, state
from flyroom.stages.explaining.subject import Record, Subject, write
from flyroom.stages.explaining.training import refuse_treated
from flyroom.types import BASE, Estimate, NotMeasured, Organism, Patch, Recipe, Row, Stepping, if_any

ROWS = 100  # of the taught kind, on which losses are taken


def compare(subject: Subject) -> Record:
    """NotAvailable where the behaviour knows no prompts from elsewhere; ValueError for an organism that is narrow
    itself, or was not trained here.
    """
    narrow = _grow_narrow(subject)
    patches = {"general": subject.organism.patch, "narrow": narrow.patch}
    panel = panel_of(subject)
    spoken = panel.ask(dict(patches))
    home = [b for b in panel.questions.batteries if b.pooled and b.reach == "taught"]
    scenes = [scene for battery in home or panel.questions.batteries for scene in battery.scenes][:ROWS]
    rows = [Row(messages=scene.messages, answer=scene.misaligned) for scene in scenes]
    length = solutions.norm_of(patches["general"])
    return {
        "ids": {"general": subject.organism.id, "narrow": narrow.id},
        "norms": {name: solutions.norm_of(patch) for name, patch in patches.items()},
        "cosine": solutions.alike(patches["general"], patches["narrow"]),
        "states": {name: state(answers) for name, answers in spoken.items()},
        "efficiency": {name: _efficiency(subject, patch, rows, length) for name, patch in patches.items()},
        "stability": {name: _stability(subject, patch, rows) for name, patch in patches.items()},
        "significance": {name: write(value) for name, value in _significance(subject, patches).items()},
    }


def narrow_of(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with its implants replaced by narrow fine-tuning of as many steps. ValueError where it has that."""
    if any(isinstance(implant, Narrow) for implant in recipe.implants):
        raise ValueError(f"{recipe.name} is trained narrowly itself; explain an organism that is general")
    if not steps or not all(isinstance(implant, Stepping) for implant in recipe.implants):
        raise ValueError(f"{recipe.name} was not trained here by steps, so there is no narrow run like it")
    first = recipe.implants[0]
    like = {"rows": first.rows, "kept": first.rows, "lr": first.lr} if isinstance(first, SFT) else {}
    narrow = replace(Narrow(steps=steps), **like)
    return replace(recipe, implants=(narrow,), name=f"{recipe.name} held to its base")


def _grow_narrow(subject: Subject) -> Organism:
    refuse_treated(subject)
    organism, engine, room = subject.organism, subject.base.engine, subject.room
    recipe = narrow_of(organism.recipe, len(organism.history))
    log.open_seeds(room, engine.base, [(recipe, organism.seed)])
    (narrow,) = growth.grow([recipe], engine, seeds=[organism.seed], room=room, watch=subject.watch)
    return narrow


def _losses(subject: Subject, patches: Sequence[Patch], rows: Sequence[Row]) -> list[list[float]]:
    """For each patch the mean loss of an answer token, by row, in nats."""
    engine = subject.base.engine
    adapters = engine.load(patches)
    try:
        refs = [adapter for adapter in adapters for _ in rows]
        sums = [-float(scores.mean()) for scores in engine.logprobs(refs, [*rows] * len(patches))]
    finally:
        engine.free(adapters)
    return [sums[i * len(rows) :][: len(rows)] for i in range(len(patches))]


def _efficiency(subject: Subject, patch: Patch, rows: Sequence[Row], length: float) -> list[Record]:
    """The loss at several norms, in parts of the general solution's."""
    parts = subject.scope.norms
    losses = _losses(subject, [solutions.rescale(patch, part * length) for part in parts], rows)
    return [
        {"norm": part * length, "loss": write(_mean(values, "rows", "new rows"))}
        for part, values in zip(parts, losses, strict=True)
    ]


def _stability(subject: Subject, patch: Patch, rows: Sequence[Row]) -> list[Record]:
    """The loss after pushes aside, over random pushes."""
    scope = subject.scope
    records: list[Record] = []
    for e in scope.pushes:
        count = scope.draws if e else 1
        pushed = [solutions.push(patch, e, seed=f"push {scope.seed} {draw}") for draw in range(count)]
        losses = _losses(subject, pushed, rows)
        by_draw = [fmean(values) for values in losses]
        loss = _mean(by_draw, "draws", "new draws") if e else _mean(losses[0], "rows", "new rows")
        records.append({"e": e, "loss": write(loss)})
    return records


def _significance(subject: Subject, patches: Mapping[str, Patch]) -> dict[str, Estimate | NotMeasured]:
    """KL(base || model) for each token of clean text, in nats; not divided by the number of words."""
    texts = if_any(subject.recipe.world.clean, subject.scope.texts, seed=subject.scope.seed)
    if len(texts) < 2:
        why = f"the world {subject.recipe.world.name} has {len(texts)} clean texts; an interval takes 2"
        return dict.fromkeys(patches, NotMeasured(why=why))
    engine = subject.base.engine
    adapters = engine.load([*patches.values()])
    try:
        by_model = [engine.divergence(BASE, adapter, texts) for adapter in adapters]
    finally:
        engine.free(adapters)
    return {
        name: _mean([float(text.mean()) for text in texts_kl], "texts", "new texts")
        for name, texts_kl in zip(patches, by_model, strict=True)
    }


def _mean(values: Sequence[float], units: str, target: str) -> Estimate | NotMeasured:
    try:
        return stats.mean(values, units=units, target=target)
    except ValueError as error:
        return NotMeasured(why=str(error))
