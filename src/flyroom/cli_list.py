"""The verbs that say what there is: `flyroom worlds`, `recipes`, `detectors`; in a room, `ls` and `show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flyroom.terminal import ROOM, AsJson, Purpose, RoomPath, emit, require_purpose, table

if TYPE_CHECKING:
    from flyroom.types import PlugIn, World

list_app = typer.Typer()


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
    from flyroom.bench import access_of, unit_of
    from flyroom.detectors import detectors as every_detector
    from flyroom.types import PlugIn

    rows = []
    for name, detector in every_detector().items():
        if isinstance(detector, PlugIn):
            rows.append(_plug_in_row(name, detector))
            continue
        about = " ".join((type(detector).__doc__ or "").split("\n\n")[0].split())
        rows.append(
            {
                "name": name,
                "unit": unit_of(detector),
                "access": access_of(detector),
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
    from flyroom.bench.outcome import in_words
    from flyroom.cell import NotIsolated

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
        str | None, typer.Option(help="organism, card, cells, checkpoint, files, episodes, verdicts or doctor.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What the room holds. What stands behind cards and cells is left out, for `show ID --episodes` prints it; and the
    log, which has a verb of its own.
    """
    from flyroom.episodes import EPISODES, VERDICTS
    from flyroom.log import KIND
    from flyroom.room import Room

    entries = Room(room, create=False).list(kind)
    rows = [
        {"kind": e.kind, "id": e.key, **e.meta}
        for e in entries
        if kind or e.kind not in (EPISODES, VERDICTS, KIND, "doctor")
    ]
    if not as_json:
        table(str(room), [_line(row) for row in rows])
    emit({"entries": rows}, as_json)


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
    purpose: Purpose = None,
    as_json: AsJson = False,
) -> None:
    """One entry of the room, in full; with --episodes every question behind a card or a detector's cells. Reading what
    organisms said needs a --purpose.
    """
    from flyroom import log, stages
    from flyroom.marks.mark import purpose_of
    from flyroom.room import Room
    from flyroom.types import plain

    reason = purpose_of(require_purpose(purpose)) if episodes else ""
    store = Room(room, create=False)
    listing = store.find(id)
    entry = store.get(listing.kind, listing.key)
    assert entry is not None
    if episodes:
        log.read(store)
        log.act(store, "show episodes", ids=[entry.key], purpose=reason)
    if episodes:
        rows = [_episode(plain(episode)) for episode in stages.episodes_behind(store, entry)]
        if not as_json:
            table(f"{entry.kind} {entry.key}", [row | {"messages": _chat(row["messages"])} for row in rows])
        emit({"episodes": rows}, as_json)
        return
    content = {
        "kind": entry.kind,
        "id": entry.key,
        "content": entry.payload,
        "tensors": {name: list(t.shape) for name, t in entry.tensors.items()},
    }
    if not as_json:
        Console().print_json(json.dumps(content))
    emit(content, as_json)


def _episode(record: dict[str, Any]) -> dict[str, Any]:
    names = ("measure", "who", "messages", "answer", "verdict", "why", "cut")
    messages = [{"role": role, "content": content} for role, content in record["messages"]]
    return {name: record[name] for name in names} | {"messages": messages}


def _chat(messages: list[dict[str, str]]) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
