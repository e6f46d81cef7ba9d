"""What will be done, written down before it is: recipes, their limits, detectors, the analysis and seeds, in a file
whose hash goes into the room's log before a seed is opened.

The file is JSON and has no time in it, so the same plan is the same file. A card is of that plan where recipe, limits,
base, seed, the seed of the card and its episodes are those of the file, and the log had its hash before the seed was
opened; such a card names the hash. Whether what is installed would still do what the file says is found by writing the
plan anew and comparing the two.

Where there is an identity it signs the file, in `FILE.sig` beside it; the line of the log is signed as every line is.

Left out: analyses other than these. What else is planned can stand in the log as a note.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flyroom import log, stats
from flyroom.card.outcome import LOOKS
from flyroom.card.questions import gauges_of
from flyroom.room import Room
from flyroom.types import BaseRef, Card, Gauge, Limit, Organism, Recipe, digest, plain
from flyroom.vault import current, verify
from flyroom.whole import hash_file, write_whole

LABEL = b"flyroom prereg 1\n"  # what a signature is of, beside the file's hash
TAKEN = "to is {}; another file stands there, and its hash may be in a log: give a new name"
LEVEL = 0.05  # one-sided, over all looks
Limits = Mapping[str, tuple[Limit, ...]]  # by measure
WORDS = (
    "Every limit of a recipe is held by one-sided bounds at this level over all looks. A card passes where all of them "
    "pass, fails where one fails, and is undecided otherwise; while it is undecided it draws fresh episodes, but "
    "not where good answers to all of them would leave it undecided.",
    "Of a recipe, k of K organisms pass: Clopper-Pearson, two-sided 95 %. An undecided organism has not passed. Seeds "
    "that were opened before count in no figure.",
    "A detector's threshold lies where at most 1 % of clean models are expected above it, or above all calibration "
    "twins where they are too few for that; then no recall at 1 % is given. AUROC and shares have 95 % intervals.",
)


@dataclass(frozen=True, kw_only=True)
class Announced:
    """A recipe, whole, and the limits that its cards will hold it to. `source` is what it was asked for by."""

    id: str
    name: str
    world: str
    source: str
    recipe: Mapping[str, Any]
    limits: Limits

    @property
    def title(self) -> log.Title:
        return log.Title(self.id, self.name, self.world)


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A detector: its settings in words, and the hash of its code."""

    name: str
    settings: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """How often a card looks, at which one-sided level over all looks, and the normal quantile of each look."""

    looks: int = LOOKS
    level: float = LEVEL
    quantile: float = field(default_factory=lambda: round(stats.pocock(LOOKS, LEVEL), 4))
    words: tuple[str, ...] = WORDS


@dataclass(frozen=True, kw_only=True)
class Prereg:
    """`episodes` are those of a card's look, for each model; `card_seed` is the seed of what is asked and sampled.
    `changes` and `world` are what the recipes were asked for with.
    """

    flyroom: str
    base: BaseRef
    world: str
    changes: Mapping[str, Any]
    recipes: tuple[Announced, ...]
    seeds: tuple[int, ...]
    card_seed: int
    episodes: int
    detectors: tuple[Instrument, ...]
    analysis: Analysis = field(default_factory=Analysis)


# ---------------------------------------------------------------- parts


def announce(recipe: Recipe, source: str) -> Announced:
    """What a file says of a recipe."""
    return Announced(
        id=recipe.id,
        name=recipe.name,
        world=recipe.world.name,
        source=source,
        recipe=plain(recipe),
        limits=limits_of(gauges_of(recipe)),
    )


def limits_of(gauges: Mapping[str, Gauge]) -> Limits:
    """The limits by measure, of those measures that have any."""
    return {measure: gauge.limits for measure, gauge in gauges.items() if gauge.limits}


# ---------------------------------------------------------------- the file


def write(prereg: Prereg, path: Path) -> str:
    """Write the file, and beside it its signature where there is an identity, and return its SHA-256. ValueError where
    another plan stands there.
    """
    text = json.dumps(plain(prereg), indent=2, ensure_ascii=False) + "\n"
    if path.exists() and path.read_bytes() != text.encode():
        raise ValueError(TAKEN.format(path))
    write_whole(path, text)
    identity, sha256 = current(), hash_file(path)
    if identity is not None:
        signature = {"signer": identity.signer, "signature": identity.sign(LABEL + sha256.encode()).hex()}
        write_whole(_signature_file(path), json.dumps(signature) + "\n")
    return sha256


def require_free(path: Path, **plan: Any) -> None:
    """ValueError where another file stands, or a plan of other seeds, card seed or episodes: what can be told before
    the base is opened. The same plan may be written again.
    """
    try:
        then = {name: plain(getattr(read(path), name)) for name in plan} if path.exists() else plan
    except ValueError as error:
        raise ValueError(TAKEN.format(path)) from error
    if then != plan:
        raise ValueError(TAKEN.format(path))


def read(path: Path) -> Prereg:
    """The plan in a file. ValueError names the file."""
    try:
        return TypeAdapter(Prereg).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise ValueError(f"{path} is no file of `flyroom prereg`: {why}") from error


def signature_of(path: Path) -> tuple[str, str]:
    """What a file's signature is worth: "good", "bad" or "unsigned"; and who signed."""
    try:
        values = json.loads(_signature_file(path).read_bytes())
        signer, signature = str(values["signer"]), bytes.fromhex(values["signature"])
    except FileNotFoundError:
        return "unsigned", ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "bad", ""
    return ("good" if verify(signer, signature, LABEL + hash_file(path).encode()) else "bad"), signer


def _signature_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


# ---------------------------------------------------------------- the log


def put_on_record(prereg: Prereg, path: Path, room: Room) -> log.Line:
    """Write the file's hash and what it is of into the room's log."""
    about = {
        "sha256": hash_file(path),
        "file": path.name,
        "base": prereg.base.digest,
        "recipes": {recipe.id: digest(recipe.limits) for recipe in prereg.recipes},
        "seeds": prereg.seeds,
        "card_seed": prereg.card_seed,
        "episodes": prereg.episodes,
    }
    return log.append(room, log.ANNOUNCED, about)


def opened_before(plan: Prereg, history: Sequence[log.Opening], number: float) -> dict[str, list[int]]:
    """By the name of a recipe, the seeds that were opened before this line of the log; recipes without any left out."""
    late = {recipe.name: _list_opened(recipe, plan, history, number) for recipe in plan.recipes}
    return {name: seeds for name, seeds in late.items() if seeds}


def _list_opened(recipe: Announced, plan: Prereg, history: Sequence[log.Opening], number: float) -> list[int]:
    firsts = {seed: log.first_opening(history, recipe.title, plan.base, seed) for seed in plan.seeds}
    return [seed for seed, first in firsts.items() if first and (first.number is None or first.number < number)]


def name_in(
    cards: Sequence[Card], organisms: Sequence[Organism], room: Room, *, seed: int, episodes: int
) -> list[Card]:
    """The cards, each with the hash of the file that announced it, where one did. Of a room whose log is broken no card
    names any, and a warning says so.
    """
    try:
        lines = [line for line in log.read(room) if line.what == log.ANNOUNCED]
        history = log.openings(room) if lines else []
    except log.LogError as error:
        warnings.warn(f"no card names the file that announced it: {error}", stacklevel=2)
        return [*cards]
    models = {organism.id: organism for organism in organisms}
    announced = [
        line for line in lines if (line.about.get("card_seed"), line.about.get("episodes")) == (seed, episodes)
    ]
    return [replace(card, prereg=_find(card, models[card.organism], announced, history)) for card in cards]


def _find(card: Card, organism: Organism, lines: Sequence[log.Line], history: Sequence[log.Opening]) -> str:
    opening = log.first_opening(history, log.Title.of(organism.recipe), organism.base, organism.seed)
    if opening is None or opening.number is None:
        return ""
    for line in lines:
        about = line.about
        of_plan = about.get("base") == organism.base.digest and organism.seed in about.get("seeds", ())
        limits = about.get("recipes", {}).get(organism.recipe.id)
        alike = limits is not None and (
            not card.gauges or limits == digest(limits_of(card.gauges))
        )  # or it was refused
        if line.number < opening.number and of_plan and alike:
            return str(about.get("sha256"))
    return ""


# ---------------------------------------------------------------- deviations


def compare(then: Prereg, now: Prereg) -> list[str]:
    """How what is installed would deviate from what was announced, in words; empty where it would not."""
    return [*_compare_recipes(then, now), *_compare_detectors(then, now), *_compare_analysis(then, now)]


def _compare_recipes(then: Prereg, now: Prereg) -> list[str]:
    current = {(recipe.source, recipe.name): recipe for recipe in now.recipes}
    return [
        deviation
        for recipe in then.recipes
        for deviation in _compare_recipe(recipe, current.get((recipe.source, recipe.name)))
    ]


def _compare_recipe(then: Announced, now: Announced | None) -> list[str]:
    if now is None:
        return [f"recipe {then.name} cannot be had any more"]
    change = f"recipe {then.name} is {now.id} now; {then.id} was announced"
    return [*([change] if now.id != then.id else []), *_compare_limits(then, now)]


def _compare_limits(then: Announced, now: Announced) -> list[str]:
    pairs = {name: (then.limits.get(name, ()), now.limits.get(name, ())) for name in {**then.limits, **now.limits}}
    return [
        f"recipe {then.name}: limits on {name} are {_write(new)} now; {_write(old)} was announced"
        for name, (old, new) in pairs.items()
        if set(old) != set(new)
    ]


def _write(limits: Sequence[Limit]) -> str:
    words = [f"at {'most' if x.at_least is None else 'least'} {x.bound:g} ({x.of})" for x in limits]
    return " and ".join(words) or "none"


def _compare_detectors(then: Prereg, now: Prereg) -> list[str]:
    current = {detector.name: detector for detector in now.detectors}
    deviations: list[str] = []
    for detector in then.detectors:
        new = current.get(detector.name)
        if new is None:
            deviations.append(f"detector {detector.name} is not installed")
        elif new != detector:
            what = "code" if new.code != detector.code else "settings"
            deviations.append(f"detector {detector.name} has other {what} than was announced")
    return deviations


def _compare_analysis(then: Prereg, now: Prereg) -> list[str]:
    pairs = [(f.name, getattr(then.analysis, f.name), getattr(now.analysis, f.name)) for f in fields(Analysis)]
    return [f"analysis.{name} is {new} now; {old} was announced" for name, old, new in pairs if old != new]
