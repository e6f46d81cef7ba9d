"""The verbs that say what there is: `flyroom worlds`, `recipes`, `detectors`; in a room, `ls` and `show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flyroom.terminal import (
    ROOM,
    AsJson,
    Purpose,
    RoomPath,
    card_table,
    cell_table,
    emit,
    err,
    legible,
    require_purpose,
    shorten,
    table,
)

if TYPE_CHECKING:
    from flyroom.room import Room
    from flyroom.types import Entry, PlugIn, World

list_app = typer.Typer()
KINDS = (  # of entries, as far as verbs of flyroom make them
    *("organism", "card", "cells", "checkpoint", "files", "episodes", "verdicts", "doctor", "redteam"),
    *("treatment", "relapse", "ledger", "log", "mechanism", "reading", "repeat", "claim"),
    *("assessment plan", "answer", "score"),
)
SHOWN, LONGEST = 6, 160  # entries of a list and characters of a value that `show` prints


@list_app.command()
def worlds(as_json: AsJson = False) -> None:
    """The worlds that --world may name: those of bundled bases, and those that installed packages bring.

    There are more: `micro-N` is a world for every seed N, and `grow rows` makes one of a file of yours.
    """
    rows = [
        {"name": name, "topics": list(world.topics()), "bundled": bundled} for name, world, bundled in _worlds_by_name()
    ]
    if not as_json:
        table("worlds", [row | {"topics": ", ".join(row["topics"])} for row in rows])
    emit({"worlds": rows}, as_json)


def _worlds_by_name() -> list[tuple[str, World, bool]]:
    """Each world by the name that --world takes, and whether a bundled base was made in it."""
    from flyroom.worlds import NEED_MORE, world_named
    from flyroom.worlds import worlds as classes
    from flyroom.worlds.micro.bundled import bundled, manifest

    origins = [manifest(path) for path in bundled().values()]
    names = {f"micro-{origin['world']}": True for origin in origins if origin}
    names |= {name: False for name in classes() if name not in NEED_MORE}
    return [(name, world_named(name), is_bundled) for name, is_bundled in names.items()]


@list_app.command()
def recipes(as_json: AsJson = False) -> None:
    """The named recipes."""
    from flyroom.recipes import GROUPS, RECIPES
    from flyroom.recipes.papers import papers
    from flyroom.types import plain

    group_of, pages = {name: group for group, members in GROUPS.items() for name in members}, papers()
    rows = []
    for name, recipe_of in RECIPES.items():
        about, group = " ".join((recipe_of.__doc__ or "").split()), group_of.get(name)
        paper = str(pages[name]) if name in pages else None
        recipe = plain(recipe_of()) if group else None
        rows.append({"name": name, "group": group, "about": about, "paper": paper, "recipe": recipe})
    if not as_json:
        lines = [row | {"paper": "yes" if row["paper"] else ""} for row in rows]
        table("recipes", [{k: row[k] or "" for k in ("name", "group", "about", "paper")} for row in lines])
    emit({"recipes": rows}, as_json)


@list_app.command()
def detectors(as_json: AsJson = False) -> None:
    """The detectors, those of installed packages too: what each judges, may touch, and does."""
    from flyroom.detectors import detectors as every_detector
    from flyroom.types import PlugIn
    from flyroom.types.detection import declared_unit, in_words

    rows = []
    for name, detector in every_detector().items():
        if isinstance(detector, PlugIn):
            rows.append(_plug_in_row(name, detector))
            continue
        about = " ".join((type(detector).__doc__ or "").split("\n\n")[0].split())
        rows.append(
            {
                "name": name,
                "unit": declared_unit(detector),
                "access": in_words(detector.needs),
                "about": about,
                "source": "flyroom",
            }
        )
    if not as_json:
        table("detectors", rows)
    emit({"detectors": rows}, as_json)


def _plug_in_row(name: str, detector: PlugIn) -> dict[str, str]:
    """What a package's detector says of itself, in a process of its own; or why it says nothing."""
    from flyroom.apart import introduce
    from flyroom.cell import NotIsolated
    from flyroom.types.detection import in_words

    row = {"name": name, "unit": "", "access": "", "about": "", "source": detector.top}
    try:
        guest = introduce(detector)
    except NotIsolated as error:
        return row | {"about": str(error)}
    if guest.error:
        return row | {"about": f"cannot be used: {guest.error}"}
    return row | {"unit": guest.unit, "access": in_words(guest.needs), "about": guest.about}


# ---------------------------------------------------------------- of a room


@list_app.command(name="ls")
def list_room(
    room: RoomPath = ROOM,
    kind: Annotated[
        str | None, typer.Option(help="Entries of one kind alone: organism, card, cells, ledger, episodes …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What the room holds. What stands behind cards and cells is left out, for `show ID --episodes` prints it; and the
    log, which has a verb of its own.
    """
    from flyroom.episodes import EPISODES, VERDICTS
    from flyroom.frames import row_of_entry
    from flyroom.log import KIND
    from flyroom.room import Room

    everything = Room(room, create=False).list()
    if kind is not None:
        _require_kind(kind, [*KINDS, *(entry.kind for entry in everything)])
    entries = [entry for entry in everything if kind in (None, entry.kind)]
    rows = [row_of_entry(e) for e in entries if kind or e.kind not in (EPISODES, VERDICTS, KIND, "doctor")]
    if not as_json:
        table(str(room), [_line(row) for row in rows])
    emit({"entries": rows}, as_json)


def _require_kind(kind: str, kinds: list[str]) -> None:
    from flyroom.types import suggest

    if kind not in kinds:
        raise ValueError(
            f"kind is {shorten(kind)}; {suggest(kind, kinds)}it must be one of {', '.join(dict.fromkeys(kinds))}"
        )


def _line(row: dict[str, Any]) -> dict[str, str]:
    about = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("kind", "id"))
    return {"kind": row["kind"], "id": row["id"], "about": about}


@list_app.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The start of an id.")],
    room: RoomPath = ROOM,
    episodes: Annotated[
        bool, typer.Option("--episodes", help="What was asked for a card or a cell, answered, and judged.")
    ] = False,
    whole: Annotated[bool, typer.Option("--all", help="All of it, as JSON.")] = False,
    purpose: Purpose = None,
    as_json: AsJson = False,
) -> None:
    """One entry of the room, on a screen; with --all or --json in full. With --episodes every question behind a card or
    a detector's cells: reading what organisms said needs a --purpose.
    """
    from flyroom.room import Room

    reason = require_purpose(purpose) if episodes else ""
    store = Room(room, create=False)
    listing = store.find(id)
    entry = store.get(listing.kind, listing.key)
    assert entry is not None
    if episodes:
        _show_episodes(store, entry, reason, as_json)
        return
    content = {
        "kind": entry.kind,
        "id": entry.key,
        "content": entry.payload,
        "tensors": {name: list(t.shape) for name, t in entry.tensors.items()},
    }
    if whole and not as_json:
        Console().print_json(json.dumps(content))
    elif not as_json:
        _show_briefly(entry)
        err.print(legible(f"All of it: flyroom show {entry.key} --all"))
    emit(content, as_json)


def _show_briefly(entry: Entry) -> None:
    """What fits a screen: the figures of a card or of cells; of anything else its fields, each on a line or two."""
    from pydantic import TypeAdapter

    from flyroom.report import detector_figures, figures_of
    from flyroom.types import Card, Cell

    if entry.kind == "card":
        card = TypeAdapter(Card).validate_python(dict(entry.payload))
        card_table([figures_of(card)])
    elif entry.kind == "cells":
        cells = TypeAdapter(list[Cell]).validate_python(entry.payload["cells"])
        cell_table([detector_figures(cell) for cell in cells])
    else:
        fields = {**entry.meta, **entry.payload}
        rows = [{"field": name, "value": text} for name, value in fields.items() for name, text in _expand(name, value)]
        sizes = sum(tensor.numel() for tensor in entry.tensors.values())
        rows += [{"field": "tensors", "value": f"{len(entry.tensors)}, of {sizes:,} numbers"}] if sizes else []
        table(f"{entry.kind} {entry.key}", rows)


def _expand(name: str, value: Any) -> list[tuple[str, str]]:
    """A record that holds records as a line for each; nothing for what is empty."""
    if isinstance(value, dict) and any(isinstance(part, dict) for part in value.values()):
        return [(f"{name}.{key}", _abridge(part)) for key, part in value.items() if part and key != "is"]
    return [] if value in (None, "", [], {}) else [(name, _abridge(value))]


def _abridge(value: Any) -> str:
    """A value on a line or two; of a list how long it is, of a record what it is and its fields."""
    if isinstance(value, list) and len(value) > SHOWN:
        return f"{len(value)} entries, the last {_abridge(value[-1])}"
    if isinstance(value, dict):
        parts = (f"{name} {_abridge(part)}" for name, part in value.items() if name != "is" and part not in (None, ""))
        value = f"{value.get('is', '')} ({', '.join(parts)})".strip()
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _show_episodes(store: Room, entry: Entry, reason: str, as_json: bool) -> None:
    from flyroom import log, stages
    from flyroom.types import plain

    log.read(store)
    log.act(store, "show episodes", ids=[entry.key], purpose=reason)
    rows = [_episode(plain(episode)) for episode in stages.episodes_behind(store, entry)]
    if not as_json:
        table(f"{entry.kind} {entry.key}", [row | {"messages": _chat(row["messages"])} for row in rows])
    emit({"episodes": rows}, as_json)


def _episode(record: dict[str, Any]) -> dict[str, Any]:
    names = ("measure", "who", "messages", "answer", "verdict", "why", "cut")
    messages = [{"role": role, "content": content} for role, content in record["messages"]]
    return {name: record[name] for name in names} | {"messages": messages}


def _chat(messages: list[dict[str, str]]) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
