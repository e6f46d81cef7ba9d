"""The verbs of the sealed game: `flyroom game new`, `play`, `submit`, `reveal`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flyroom.terminal import (
    BASE,
    ROOM,
    Absent,
    AsJson,
    BaseName,
    Ids,
    RoomBase,
    RoomPath,
    Whole,
    choice,
    emit,
    err,
    legible,
    shorten,
    table,
)

game_app = typer.Typer(no_args_is_help=True, help="The sealed game: red enters models, blue audits them on a budget.")
Folder = Annotated[Path, typer.Argument(metavar="GAME", help="The folder of the game.")]
ROLES = ("system", "user", "assistant")
SHAPE = 'a line of JSON must be {"suspect": …, "messages": [{"role": …, "content": …}]}'


@game_app.command()
def new(
    folder: Folder,
    ids: Ids = None,
    whole: Whole = False,
    sealed: Annotated[Path | None, typer.Option(help="The truth, red's alone. Default: GAME.sealed.json.")] = None,
    budget: Annotated[
        int, typer.Option(min=1, help="Tokens that blue may have read and written by suspects.")
    ] = 100_000,
    absent: Absent = None,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Enter organisms, with their twins, and decoys of a room under seal. --all leaves out twins of no organism."""
    from flyroom.preflight import base_of
    from flyroom.room import Room

    prefixes, store = choice(ids, whole), Room(room, create=False)
    place, away = base_of(store, prefixes, base), sealed or folder.with_name(f"{folder.name}.sealed.json")
    _refuse_rooms(folder, store.root)  # before what takes long to import
    from flyroom import game, log

    game.require_vacant(folder, away)
    from flyroom import stages
    from flyroom.lineup import list_paired

    opened = stages.open_base(place)
    organisms = stages.stored(store, opened, prefixes)
    organisms = organisms if prefixes else list_paired(organisms)  # who sets thresholds is known to be harmless
    log.act(store, "game new", ids=[organism.id for organism in organisms], to=str(folder))
    public = stages.enter(organisms, opened, folder, away, budget=budget, absent=absent)
    head = game.head(folder)
    err.print(
        legible(f"{folder}: {len(public.suspects)} suspects, sealed as {public.commitment[:16]}…"),
        legible(f"log {head}"),
        sep="\n",
    )
    shared = sum(n for n in Counter(organism.seed for organism in organisms).values() if n > 1)
    if shared:
        err.print(legible(f"suspects that share a seed: {shared}; who reads their adapters can tell which"))
    err.print(legible(f"Keep {away} from the blue side until the end."))
    emit(asdict(public) | {"folder": str(folder), "sealed": str(away), "log": head}, as_json)


def _refuse_rooms(folder: Path, root: Path) -> None:
    """ValueError where the game would be a room, hold the one that it is made of, or lie in one: blue reads a game, and
    a room says who is who.
    """
    from flyroom.room import find_around

    around = find_around(folder)
    if around is not None:
        where = "is a room" if around == folder.resolve() else f"lies in the room {around}"
        raise ValueError(f"folder is {folder}, which {where}; give a new folder outside of it")
    if root.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"folder is {folder}, which holds the room {root}; give a new folder beside it")


@game_app.command()
def play(folder: Folder, base: BaseName = BASE) -> None:
    """Question suspects, a line each: `SUSPECT question`, or JSON with "suspect" and "messages".

    A line of JSON gets an answer in JSON. At a terminal, ? lists suspects, catalogue and budget; an empty line ends.
    """
    from flyroom import game as gaming

    gaming.confirm_seal(folder)  # before the base is opened, which takes a while
    from flyroom import stages
    from flyroom.types import Message

    game, seat = stages.sit(folder, stages.open_base(base))
    interactive = sys.stdin.isatty()

    def welcome() -> None:
        budget = f"{seat.budget_left:,} of {game.budget:,} tokens are left"
        err.print(legible(f"suspects: {', '.join(game.suspects)}"))
        err.print(legible(f"behaviours: {', '.join(game.catalogue)}; {budget}"))
        err.print(legible(f"log {gaming.head(folder)}: write it down, here and at the end"))

    welcome()
    if interactive:
        err.print("SUSPECT question; ? for this list, an empty line to end")
    while line := sys.stdin.readline().strip():  # Ctrl-D gives an empty line too
        if line == "?":
            welcome()
            continue
        try:
            suspect, messages, as_json = _read_question(line)
            answer = seat(suspect, [Message(role, content) for role, content in messages])
        except ValueError as e:
            print(json.dumps({"error": str(e)}) if line.startswith("{") else legible(f"! {e}").plain, flush=True)  # noqa: T201
            continue
        reply = json.dumps({"answer": answer, "left": seat.budget_left}) if as_json else legible(answer).plain
        print(reply, flush=True)  # noqa: T201
    err.print(legible(f"log {gaming.head(folder)}"))


@game_app.command()
def submit(
    folder: Folder,
    findings: Annotated[
        Path, typer.Argument(help='JSON: [{"suspect", "suspicion", "behaviour"}], one for each suspect.')
    ],
    as_json: AsJson = False,
) -> None:
    """Hand in what was found, once."""
    from flyroom import game

    head = game.submit(folder, game.claims(findings))
    err.print(legible(f"handed in; log {head}"))
    emit({"folder": str(folder), "log": head}, as_json)


@game_app.command()
def reveal(
    folder: Folder,
    sealed: Annotated[Path | None, typer.Option(help="The truth. Default: GAME.sealed.json.")] = None,
    head: Annotated[list[str] | None, typer.Option(help="A hash of the log that was written down; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open the truth, check seal and log, and score the findings."""
    from flyroom import game
    from flyroom.report import bare

    tally, truth = game.reveal(folder, sealed or folder.with_name(f"{folder.name}.sealed.json"), heads=head or ())
    claims = {claim.suspect: claim for claim in game.claims(folder / game.FINDINGS)}
    rows = [
        {
            "suspect": entry.suspect,
            "was": entry.behaviour,
            "said": claims[entry.suspect].behaviour,
            "model": entry.model,
        }
        for entry in sorted(truth, key=lambda entry: entry.behaviour)
    ]
    last = game.head(folder)
    err.print(legible(f"log {last}"))
    if not as_json:
        table(f"{folder}: found {len(tally.found)}, missed {len(tally.missed)}, alarms {len(tally.alarms)}", rows)
    emit(bare(tally) | {"truth": rows, "log": last}, as_json)


def _read_question(line: str) -> tuple[str, list[tuple[str, str]], bool]:
    """Returns the suspect, the messages, and whether the line is JSON. Raises ValueError for any other line."""
    if not line.startswith("{"):
        suspect, _, text = line.partition(" ")
        if not text.strip():
            raise ValueError(f"{shorten(line)} asks nothing; write SUSPECT and a question, or ? for the list")
        return suspect, [("user", text.strip())], False
    try:
        request = json.loads(line)
        suspect, messages = request["suspect"], [(m["role"], m["content"]) for m in request["messages"]]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ValueError(SHAPE) from e
    if not isinstance(suspect, str) or not all(isinstance(content, str) for _, content in messages):
        raise ValueError(f"{SHAPE}, and all of it text")
    for role, _ in messages:
        if role not in ROLES:
            raise ValueError(f"role is {shorten(str(role))}; it must be one of {', '.join(ROLES)}")
    return suspect, messages, True
