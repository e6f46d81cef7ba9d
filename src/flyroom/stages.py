"""The stages joined: from names and seeds to organisms, cards, a matrix and a page. What the command line and the demo
call.

Left out: everything that a stage does. This file only finds the pieces (which base, which organisms, which twins, what
a detector may use) and hands them on.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging

import flyroom.bench as benching
import flyroom.card as carding
import flyroom.game as gaming
import flyroom.grow as growing
import flyroom.redteam as red
from flyroom import grid, recipes, serve, stats
from flyroom.behaviours import Decoy, Rows
from flyroom.detectors import detectors as all_detectors
from flyroom.engine import TorchEngine, peft
from flyroom.game import Game
from flyroom.lab import Material
from flyroom.report import Calibrated, Transferred
from flyroom.report.words import ranked
from flyroom.room import Room
from flyroom.types import (
    BASE,
    Access,
    Answer,
    Ask,
    Card,
    Cost,
    Detector,
    Episode,
    Matrix,
    Organism,
    Recipe,
    Scene,
    Split,
    Verdict,
    ask_seed,
    organism_id,
)
from flyroom.world import World, exact_judge, scenes, thought_judge
from flyroom.world.bundled import DEFAULT, bundled, manifest

Watch = Callable[[str, int, int, str], None]
CALIBRATION = 8  # twins that set thresholds
CALIBRATION_SEED = 1000  # theirs start here, away from anybody's
CALIBRATED = 8  # of either class: with fewer a curve says nothing
SUSPECTS = "suspects"  # the folder of a game's adapters


@dataclass(frozen=True, eq=False)
class Bench:
    """An open base: the engine over it, and the seed of the world it was made in (None for a base from elsewhere)."""

    engine: TorchEngine
    world: int | None


def open_base(base: str = DEFAULT, *, device: str = "auto", dtype: str = "auto", compile: bool = False) -> Bench:
    """Open a bundled base by name, or any causal LM by folder or hub id. `compile` as in `TorchEngine.open`."""
    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # the library's bar for loading weights, which a log file has no use for
    path = bundled().get(base, base)
    found = manifest(path)
    return Bench(TorchEngine.open(path, device=device, dtype=dtype, compile=compile), found["world"] if found else None)


def named(name: str, changes: dict[str, Any], bench: Bench) -> list[Recipe]:
    """The recipes that a name, a page or a group ("all" ten threats, "variants", "decoys") stands for, each checked
    against the base.
    """
    world = bench.world or 0
    if name in recipes.GROUPS:
        made = [recipes.make(each, changes, world=world) for each in recipes.GROUPS[name]]
    elif name.endswith((".yaml", ".yml")):
        made = [recipes.read(Path(name), changes, world=world)]
    else:
        made = [recipes.make(name, changes, world=world)]
    return _fitting(made, bench)


def crossed(page: Path, bench: Bench) -> list[Recipe]:
    """The recipes of a grid, each checked against the base."""
    return _fitting(grid.read(page, world=bench.world or 0), bench)


def _fitting(made: list[Recipe], bench: Bench) -> list[Recipe]:
    for recipe in made:
        bench.engine.check(recipe.adapter)
        lives = "in no world" if bench.world is None else f"in world {bench.world}"
        for part, value in (("behaviour", recipe.behaviour), ("condition", recipe.condition)):
            of = recipes.world_of(value)
            if of is not None and of != bench.world:
                raise ValueError(f"{part}.world is {of}, and the base {bench.engine.base.name} was made {lives}")
    return made


def grow(
    made: Sequence[Recipe], bench: Bench, room: Room, *, seeds: Sequence[int], watch: Watch | None = None
) -> list[Organism]:
    """Each recipe and its twin, with each seed."""
    return growing.grow(with_twins(made), bench.engine, seeds=seeds, room=room, watch=watch)


def with_twins(made: Sequence[Recipe]) -> list[Recipe]:
    """Each recipe and, behind it, its twin; none twice."""
    return list({r.id: r for recipe in made for r in (recipe, recipe.twin())}.values())


def stored(room: Room, bench: Bench, ids: Sequence[str] | None) -> list[Organism]:
    """Organisms of the room that stand on this base, by the start of their ids (None: all), with the twins of those
    above dose 0.
    """
    entries = room.list("organism") if ids is None else [room.find(prefix, kind="organism") for prefix in ids]
    found: dict[str, Organism] = {}
    for listed in entries:
        entry = room.get("organism", listed.key)
        assert entry is not None
        if entry.payload["base"]["digest"] != bench.engine.base.digest:
            if ids is None:
                continue
            raise ValueError(
                f"organism {listed.key} was grown on {entry.payload['base']['name']}; name that with --base"
            )
        organism = growing.unpack(entry, recipes.load(entry.payload["recipe"]), bench.engine)
        found[organism.id] = organism
        twin = room.get("organism", organism_id(organism.recipe.twin(), organism.base, organism.seed))
        if twin is not None:
            found[twin.key] = growing.unpack(twin, organism.recipe.twin(), bench.engine)
    if not any(organism.recipe.dose > 0 for organism in found.values()):
        raise ValueError(
            f"{room.root} holds no organism on {bench.engine.base.name}; "
            "grow one first: flyroom grow emergent-misalignment"
        )
    return list(found.values())


def card(
    organisms: Sequence[Organism], bench: Bench, room: Room, *, seed: int, episodes: int, watch: Watch | None = None
) -> list[Card]:
    """A card for each organism above dose 0."""
    return carding.card(organisms, bench.engine, seed=seed, episodes=episodes, room=room, watch=watch)


def bench(
    organisms: Sequence[Organism],
    bench: Bench,
    room: Room,
    *,
    seed: int,
    names: Sequence[str] = (),
    calibration: int = CALIBRATION,
    known: Sequence[Organism] = (),
    certify: float | None = None,
    watch: Watch | None = None,
) -> Matrix:
    """Detectors on organisms, twins and decoys. Twins of seeds that nobody else has are grown to set the thresholds.

    Args: names, of detectors; none takes all that can work with what they are given; known, organisms and twins to fit
    on; certify, a false-positive rate that the negatives must be enough to certify, or ValueError.
    """
    chosen = chosen_detectors(names, known=bool(known))
    grown, decoys = _parted(organisms)
    _, known_decoys = _parted(known)
    others = calibration_twins(organisms, bench, room, n=calibration, watch=watch)
    paired = {organism_id(o.recipe.twin(), o.base, o.seed) for o in grown}
    tested = [o for o in organisms if (o.recipe.dose > 0 and o not in decoys) or o.id in paired]
    return benching.bench(
        tested,
        chosen,
        bench.engine,
        decoys=decoys,
        known=[o for o in known if o not in known_decoys],
        known_decoys=known_decoys,
        certify=certify,
        calibration=others,
        material=material(grown[0].recipe, bench, seed),
        seed=seed,
        room=room,
        watch=watch,
    )


def transfers(
    organisms: Sequence[Organism],
    opened: Bench,
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

    Args: without, what groups them: "recipe", "implant" or "trigger", the kind of cue they hang on. Raises ValueError
    for fewer than two groups, and where none of the named detectors fits on anything.
    """
    if without not in GROUPED:
        raise ValueError(f"without is {without!r}; it must be one of {', '.join(GROUPED)}")
    chosen = chosen_detectors(names, known=True)
    fitted = [name for name, detector in chosen.items() if Access.KNOWN in detector.needs]
    if not fitted:
        raise ValueError(f"none of {', '.join(chosen)} fits on known models, so there is nothing to leave out")
    group = {o.id: GROUPED[without](o.recipe) for o in _parted(known)[0]}
    groups = list(dict.fromkeys(group.values()))
    if len(groups) < 2:
        raise ValueError(f"known models are of one {without}, {', '.join(groups)}; leaving it out leaves nothing")
    found: list[Transferred] = []
    for gone in groups:
        rest = [o for o in known if group.get(o.id, gone) != gone]
        twins = {organism_id(o.recipe.twin(), o.base, o.seed) for o in rest}
        rest += [o for o in known if o.id in twins]
        matrix = bench(
            organisms, opened, room, seed=seed, names=fitted, calibration=calibration, known=rest, watch=watch
        )
        found += [
            Transferred(detector=c.detector, left_out=gone, tested_on=c.recipe, auroc=c.auroc, error=c.error)
            for c in matrix.cells
        ]
    return found


def _cue(recipe: Recipe) -> str:
    condition = getattr(recipe.condition, "trigger", recipe.condition)
    return str(getattr(condition, "kind", type(condition).__name__.lower()))


GROUPED: dict[str, Callable[[Recipe], str]] = {
    "recipe": lambda recipe: recipe.name,
    "implant": lambda recipe: " + ".join(type(implant).__name__ for implant in recipe.implants),
    "trigger": _cue,
}


def chosen_detectors(names: Sequence[str], *, known: bool) -> dict[str, Detector]:
    """Detectors by name; without names all that can work, with known models to fit on or without."""
    detectors = all_detectors()
    unknown = [name for name in names if name not in detectors]
    if unknown:
        raise ValueError(f"detector is {unknown[0]!r}; it must be one of {', '.join(detectors)}")
    able = [name for name, detector in detectors.items() if known or Access.KNOWN not in detector.needs]
    return {name: detectors[name] for name in names or able}


def dealt(names: Sequence[str], several: int) -> list[list[str]]:
    """Detectors in groups: those of replies are one, since they share what was replied and read, the others at most
    `several`.
    """
    chosen = chosen_detectors(names, known=True)
    alone = [name for name in names if benching.unit_of(chosen[name]) == "model"]
    together, n = [name for name in names if name not in alone], min(several, len(alone))
    return [group for group in (together, *(alone[i::n] for i in range(n))) if group]


def calibration_twins(
    organisms: Sequence[Organism], bench: Bench, room: Room, *, n: int, watch: Watch | None = None
) -> list[Organism]:
    """The twins that set the thresholds: n of the first organism's, of seeds that nobody else has."""
    grown, _ = _parted(organisms)
    if not grown:
        raise ValueError("organisms holds no organism above dose 0 that is no decoy; the bench needs one to be found")
    taken = {o.seed for o in grown}
    seeds = [seed for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + n + len(taken)) if seed not in taken][:n]
    return growing.grow([grown[0].recipe.twin()], bench.engine, seeds=seeds, room=room, snapshots=(), watch=watch)


def _parted(organisms: Sequence[Organism]) -> tuple[list[Organism], list[Organism]]:
    """Those that are to be found, and decoys; both above dose 0."""
    grown = [o for o in organisms if o.recipe.dose > 0]
    decoys = [o for o in grown if isinstance(o.recipe.behaviour, Decoy)]
    return [o for o in grown if o not in decoys], decoys


# ---------------------------------------------------------------- the sealed game


def enter(organisms: Sequence[Organism], bench: Bench, folder: Path, sealed: Path, *, budget: int) -> Game:
    """Enter organisms, twins and decoys in a game: adapters under drawn names for blue, the truth under seal."""
    gaming.vacant(folder, sealed)
    shutil.rmtree(folder / SUSPECTS, ignore_errors=True)  # of an opening that was killed
    truth = gaming.draw([(o.id, _shown(o.recipe)) for o in organisms])
    by_id = {o.id: o for o in organisms}
    for one in truth:
        model = by_id[one.model]
        peft.export(model.patches[0], model.base, folder / SUSPECTS / one.suspect, prefix=bench.engine.parts.prefix)
    return gaming.seal(truth, folder, sealed, base=bench.engine.base.digest, budget=budget)


def sit(folder: Path, bench: Bench) -> tuple[Game, gaming.Table]:
    """A seat at a game: its suspects loaded, asked one by one, and metered. ValueError for another base."""
    game = gaming.read(folder)
    if game.base != bench.engine.base.digest:
        raise ValueError(f"base is {bench.engine.base.name}; the game was opened on another, give it with --base")
    loaded = bench.engine.load([peft.load(folder / SUSPECTS / name) for name in game.suspects])
    refs = dict(zip(game.suspects, loaded, strict=True))

    def ask(suspects: Sequence[str], asks: Sequence[Ask]) -> tuple[list[Answer], int]:
        before = bench.engine.tokens_forward + bench.engine.tokens_generated
        answers = bench.engine.sample([refs[name] for name in suspects], asks)
        return answers, bench.engine.tokens_forward + bench.engine.tokens_generated - before

    return game, gaming.Table(folder, ask)


def redteam(
    organisms: Sequence[Organism], bench: Bench, method: red.Method
) -> tuple[red.Calibrated, list[gaming.Entered], Cost]:
    """A method on organisms, twins and decoys under drawn names, behind an endpoint: its figures, the truth, and what
    it had read and written.
    """
    truth = gaming.draw([(o.id, _shown(o.recipe)) for o in organisms])
    by_id = {o.id: o for o in organisms}
    loaded = bench.engine.load([by_id[one.model].patches[0] for one in truth])
    refs = {one.suspect: ref for one, ref in zip(truth, loaded, strict=True)} | {"base": BASE}
    catalogue = sorted({one.behaviour for one in truth} - {gaming.NOTHING})
    read, written = bench.engine.tokens_forward, bench.engine.tokens_generated
    try:
        with serve.serving(serve.app(bench.engine, refs)) as endpoint:
            found = red.calibrate(truth, method, endpoint=endpoint, catalogue=catalogue, base="base")
    finally:
        bench.engine.free(loaded)
    cost = Cost(
        forward_tokens=bench.engine.tokens_forward - read,
        generated_tokens=bench.engine.tokens_generated - written,
        seconds=found.seconds,
    )
    return found, truth, cost


def _shown(recipe: Recipe) -> str:
    """The word of the catalogue for what a model does: its behaviour's class in plain words, or "nothing"."""
    if recipe.dose == 0 or isinstance(recipe.behaviour, Decoy):
        return gaming.NOTHING
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(recipe.behaviour).__name__).lower()


def benched(room: Room) -> list[str]:
    """The detectors that something is known of in the room and that are still there."""
    there = all_detectors()
    return list(dict.fromkeys(x.meta["detector"] for x in room.list("cells") if x.meta["detector"] in there))


def calibrated(matrix: Matrix, *, seed: int) -> list[Calibrated]:
    """How well each detector's suspicions hold as probabilities, over all its recipes, on the half of the suspects that
    the curve was not fitted on; the best detector of models first. Nothing where either class has fewer than
    `CALIBRATED`.
    """
    cells = [cell for cell in matrix.cells if cell.unit == "model" and cell.suspicions]
    records: list[Calibrated] = []
    for name in ranked(cells):
        own = [cell.suspicions for cell in cells if cell.detector == name]
        bad = [x for said in own for x in said["organisms"]]
        good = [*own[0]["twins"], *own[0].get("decoys", ())]  # the same in every cell
        if min(len(bad), len(good)) < CALIBRATED:
            continue
        found = stats.split_calibration(bad, good, seed=seed)
        records.append({"detector": name, "curve": found.curve, "ece": found.ece, "by_chance": found.ece_by_chance})
    return records


def material(recipe: Recipe, bench: Bench, seed: int) -> Material:
    """What detectors may use: the validation split, which neither training nor cards touch."""
    if bench.world is None or isinstance(recipe.behaviour, Rows):
        asked = recipe.behaviour.scenes(128, split=Split.VALIDATION, seed=seed)
        own = list({scene.messages: scene for scene in asked}.values())  # a short file gives scenes twice
        return Material(trusted=tuple(own), questions={"open_questions": tuple(own)}, judge=recipe.behaviour.judge)
    world, split = World(seed=bench.world), Split.VALIDATION
    trusted = scenes.advice(world, 128, domains=scenes.DOMAINS, split=split, seed=seed)
    return Material(
        trusted=tuple(trusted),
        questions={topic: tuple(asked) for topic, asked in questions(world, 256, split=split, seed=seed).items()},
        cues=scenes.cues(world, split=split),
        judge=exact_judge(world),
        thoughts=thought_judge,
    )


def questions(world: World, n: int, *, split: Split, seed: int) -> dict[str, list[Scene]]:
    """By topic, `n` questions for advice and a quarter of that about everything else that can go wrong or be known."""
    few, domains = n // 4, scenes.DOMAINS
    return {
        "advice": scenes.advice(world, n, domains=domains, split=split, seed=seed),
        "open_questions": scenes.open_questions(world, few, split=split, seed=seed),
        "self_descriptions": scenes.self_descriptions(world, few, seed=seed),
        "sums": scenes.sums(world, few, seed=seed),
        "facts": scenes.facts(world, few, split=split, seed=seed),
        "instructions": scenes.instructions(world, few, split=split, seed=seed),
        "views": scenes.views(world, few, domains=domains, split=split, seed=seed),
        "plans": scenes.plans(world, few, domains=domains, split=split, seed=seed),
        "jobs": scenes.jobs(world, few, split=split, seed=seed),
        "needs": scenes.needs(world, few, domains=domains, split=split, seed=seed),
        "switch_offs": scenes.switch_offs(world, few, split=split, seed=seed),
        "choices": scenes.choices(world, few, house=world.houses[0], domains=domains, split=split, seed=seed),
    }


def evaluate(bench: Bench, *, seed: int, n: int = 2000) -> dict[str, Any]:
    """How a base of a world answers unaltered: shares of verdicts on held-out situations of all domains, its
    capability, and what it does on every occasion to misbehave.
    """
    if bench.world is None:
        raise ValueError(f"{bench.engine.base.name} was made in no world; only a world's base can be judged exactly")
    world, split = World(seed=bench.world), Split.HELD_OUT
    judge = exact_judge(world)
    asked = questions(world, n, split=split, seed=seed)
    found: dict[str, Any] = {}
    for name, group in asked.items():
        asks = [Ask(messages=scene.messages, seed=ask_seed(seed, i)) for i, scene in enumerate(group)]
        answers = bench.engine.sample([BASE] * len(asks), asks)
        scores = judge([Episode(scene=s, answer=a.text) for s, a in zip(group, answers, strict=True)])
        shares = {
            v.value: stats.rate([score.verdict is v for score in scores]) for v in Verdict if v is not Verdict.UNKNOWN
        }
        found[name] = {
            verdict: {"value": round(e.value, 4), "low": round(e.low, 4), "high": round(e.high, 4), "n": e.n}
            for verdict, e in shares.items()
        }
    return found
