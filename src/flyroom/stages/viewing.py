"""A room in a browser: what its pages need of an engine, and the gate before what organisms said.

A base is opened when somebody asks one of its organisms, and not before; a room may hold several. Who chats with an
organism lets it out, as `serve` does: it is on record, with a purpose and until when.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyroom import log, recipes
from flyroom.game import Game, Table
from flyroom.purpose import purpose_of
from flyroom.room import Room, place_page
from flyroom.room.vaults import is_encrypted
from flyroom.stages.audits import enter, sit
from flyroom.stages.bases import OpenBase, open_base
from flyroom.stages.exports import grant, require_leave
from flyroom.stages.organisms import stored
from flyroom.types import BASE, AdapterRef, Answer, Ask, Message, answer_tokens
from flyroom.view import Doorkeeper, Shelf, write_bundle
from flyroom.view.arcade import Arcade
from flyroom.view.bundle import require_place

GAMES = "games"
CAST = 12  # organisms that are loaded at once


@dataclass(eq=False)
class RoomHands:
    """`view.Hands` over a room. `base` names the base for all; "" takes the one that each organism names."""

    room: Room
    shelf: Shelf
    base: str = ""
    _bases: dict[str, OpenBase] = field(default_factory=dict)
    _casts: dict[str, Mapping[str, tuple[OpenBase, AdapterRef, int]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # an engine takes one call at a time

    def permit(self, purpose: str) -> str:
        words = purpose_of(purpose)
        log.read(self.room)
        log.act(self.room, "view", purpose=words)
        return words

    def chat(
        self, organism: str, talks: Mapping[str, Sequence[Message]], *, seed: int, purpose: str
    ) -> Mapping[str, Mapping[str, Any]]:
        with self._lock:
            if organism in self._casts:
                require_leave(self.room, [organism])  # it may have ended since the first question
            cast = self._casts.get(organism) or self._load(organism, purpose)
            return {side: _answer(*part, talks[side], seed) for side, part in cast.items() if side in talks}

    def _load(self, organism: str, purpose: str) -> Mapping[str, tuple[OpenBase, AdapterRef, int]]:
        """The organism, its twin and its base, in an engine."""
        opened = self._open(str(self.shelf.index.rows[organism]["base"]))
        model, *twins = stored(self.room, opened, [organism])
        grant(self.room, [organism], what="chat", purpose=purpose, days=None)
        while len(self._casts) >= CAST:
            self._forget(next(iter(self._casts)))
        models = [model, *twins[:1]]
        limit = max(answer_tokens(model.recipe.world) for model in models)
        refs = opened.engine.load([model.patch for model in models])
        names = ("organism", "twin")[: len(models)]
        cast = {name: (opened, ref, limit) for name, ref in zip(names, refs, strict=True)}
        self._casts[organism] = cast | {"base": (opened, BASE, limit)}
        return self._casts[organism]

    def _forget(self, organism: str) -> None:
        cast = self._casts.pop(organism)
        opened = cast["base"][0]
        opened.engine.free([ref for _, ref, _ in cast.values() if ref != BASE])

    def _open(self, name: str) -> OpenBase:
        address = self.base or name
        if address not in self._bases:
            self._bases[address] = open_base(address)
        return self._bases[address]

    # ------------------------------------------------------------ the game

    def enter(self, folder: Path, sealed: Path, *, budget: int, suspects: int) -> Game:
        rows = draw_cast(list(self.shelf.index.rows.values()), suspects)
        with self._lock:
            opened = self._open(rows[0]["base"])
            ids = [row["id"] for row in rows]
            models = {o.id: o for o in stored(self.room, opened, ids)}  # with twins, which need not play
            log.act(self.room, "game new", ids=ids, to=str(folder))
            return enter([models[id] for id in ids], opened, folder, sealed, budget=budget, absent=0)

    def sit(self, folder: Path) -> tuple[Game, Table]:
        with self._lock:
            game, table = sit(folder, self._seat_base())

        def ask(suspects: Sequence[str], asks: Sequence[Ask]) -> tuple[list[Answer], int]:
            with self._lock:
                return table.ask(suspects, asks)

        return game, Table(folder, ask, table.measure)

    def _seat_base(self) -> OpenBase:
        """The base that games of this room are played on."""
        return self._open(_most_common([str(row["base"]) for row in self.shelf.index.rows.values()]))


def _answer(opened: OpenBase, ref: AdapterRef, limit: int, messages: Sequence[Message], seed: int) -> dict[str, Any]:
    (answer,) = opened.engine.sample([ref], [Ask(messages=tuple(messages), seed=seed, max_tokens=limit)])
    return {"text": answer.text, "cut": not answer.finished}


def _most_common(names: Sequence[str]) -> str:
    if not names:
        raise ValueError("the room holds no organism; grow one first: flyroom grow emergent-misalignment")
    return max(dict.fromkeys(names), key=names.count)


def draw_cast(rows: Sequence[Mapping[str, Any]], suspects: int) -> list[Mapping[str, Any]]:
    """Who plays: half organisms, of those that passed their cards where there are enough, and half twins and decoys,
    all on one base. Fewer where the room has fewer. ValueError where one of the two sides is empty.
    """
    base = _most_common([str(row["base"]) for row in rows])
    rows = [row for row in rows if row["base"] == base]
    targets = [row for row in rows if row["kind"] in ("organism", "imported")]
    harmless = [row for row in rows if row["kind"] in ("twin", "decoy")]
    if not targets or not harmless:
        raise ValueError("a game needs organisms and twins or decoys on one base, and the room has not both")
    draw = random.SystemRandom()
    targets = sorted(draw.sample(targets, len(targets)), key=lambda row: row["verdict"] != "pass")
    number = max(1, min(suspects // 2, len(targets)))
    return [*targets[:number], *draw.sample(harmless, max(1, min(suspects - number, len(harmless))))]


# ---------------------------------------------------------------- the two forms


def shelf_of(room: Room) -> Shelf:
    """What the view reads of a room, with the names of the decoys."""
    return Shelf(room, decoys=frozenset(recipes.GROUPS["decoys"]))


def open_view(
    room: Room, *, base: str = "", purpose: str = "", games: Sequence[Path] = ()
) -> tuple[Shelf, RoomHands, Arcade, Doorkeeper]:
    """What the app is made of. An encrypted room gets a token that is drawn anew each time."""
    shelf = shelf_of(room)
    desk = RoomHands(room=room, shelf=shelf, base=base)
    shelf.index  # noqa: B018 - so that a room that cannot be opened says so before anything is served
    words = desk.permit(purpose) if purpose else ""
    door = Doorkeeper(token=secrets.token_urlsafe(24) if is_encrypted(room.root) else "", purpose=words)
    return shelf, desk, Arcade(place_page(room.root, GAMES), desk, games), door


def bundle(
    room: Room, folder: Path, *, purpose: str, watch: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Write the pages of a room as a folder, and put on record what for before a byte of it leaves."""
    words = purpose_of(purpose)
    require_place(folder)
    log.read(room)
    shelf = shelf_of(room)
    log.act(room, "bundle", ids=list(shelf.index.rows), purpose=words, to=str(folder))
    return write_bundle(shelf, folder, purpose=words, watch=watch)
