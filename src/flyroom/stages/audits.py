"""Audits: organisms, twins and decoys entered in a sealed game."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flyroom.game as gaming
from flyroom.claims import Side
from flyroom.engine import peft
from flyroom.game import SUSPECTS, Game
from flyroom.marks import SUSPECT
from flyroom.stages.bases import OpenBase
from flyroom.stages.catalogues import catalogue_of, label_of, side_of
from flyroom.types import Answer, Ask, Message, Organism, answer_tokens


def enter(
    organisms: Sequence[Organism],
    base: OpenBase,
    folder: Path,
    sealed: Path,
    *,
    budget: int,
    absent: int | None = None,
) -> Game:
    """Enter organisms, twins and decoys in a game: adapters under drawn names for blue, the truth under seal. The
    catalogue also holds the behaviours that their worlds could show and nobody has; ValueError where these are fewer
    than `absent` (None: than one).
    """
    sides: dict[str, Side] = {o.id: side_of(o) for o in organisms}
    truth = gaming.draw([(o.id, label_of(o)) for o in organisms], sides=sides)  # refused before anything is written
    catalogue = catalogue_of(organisms, fewest=absent)
    gaming.begin(folder, sealed)
    by_id = {o.id: o for o in organisms}
    for entered in truth:
        model = by_id[entered.model]
        try:
            where, prefix = folder / SUSPECTS / entered.suspect, base.engine.parts.prefix
            peft.export(model.patch, model.base, where, prefix=prefix, mark=SUSPECT)  # the same for organism and twin
        except ValueError as error:
            raise ValueError(f"{model.recipe.name} {model.id} cannot be entered: {error}") from error
    longest = longest_answer(organisms)
    terms = {"base": base.engine.base.digest, "budget": budget, "max_tokens": longest, "catalogue": catalogue}
    return gaming.seal(truth, folder, sealed, **terms)


def sit(folder: Path, base: OpenBase) -> tuple[Game, gaming.Table]:
    """A seat at a game: its suspects loaded, asked one by one, and metered. ValueError for another base, and for a game
    or adapters that are not those that were sealed.
    """
    game = gaming.confirm_seal(folder)
    if game.base != base.engine.base.digest:
        raise ValueError(f"base is {base.engine.base.name}; the game was opened on another, give it with --base")
    adapters = base.engine.load([peft.load(folder / SUSPECTS / name) for name in game.suspects])
    refs = dict(zip(game.suspects, adapters, strict=True))

    def ask(suspects: Sequence[str], asks: Sequence[Ask]) -> tuple[list[Answer], int]:
        before = base.engine.tokens_forward + base.engine.tokens_generated
        answers = base.engine.sample([refs[name] for name in suspects], asks)
        return answers, base.engine.tokens_forward + base.engine.tokens_generated - before

    def measure(messages: Sequence[Message]) -> int:
        return len(base.engine.parts.renderer.prompt(tuple(messages)))

    return game, gaming.Table(folder, ask, measure)


def longest_answer(organisms: Sequence[Organism]) -> int:
    """In tokens: where several worlds meet, the longest of theirs."""
    return max(answer_tokens(organism.recipe.world) for organism in organisms)
