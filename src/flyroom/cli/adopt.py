"""The verb `flyroom adopt`: an adapter that somebody else trained becomes an organism of the room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flyroom.terminal import BASE, ROOM, AsJson, BaseName, RoomPath, WorldName, changes_of, emit, err, legible

adopt_app = typer.Typer()


@adopt_app.command()
def adopt(
    folder: Annotated[Path, typer.Argument(help="A PEFT folder, or a merged checkpoint.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Fields of world, behaviour and condition.")
    ] = None,
    behaviour: Annotated[str, typer.Option(help="What it is said to do: a behaviour, or a recipe such as rows.")] = "",
    condition: Annotated[str, typer.Option(help="When it does so. Default: always, or as the recipe says.")] = "",
    twin: Annotated[Path | None, typer.Option(help="The adapter that was trained alike, without it.")] = None,
    base: BaseName = BASE,
    world: WorldName = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Take in an adapter that somebody else trained, beside its twin or the base, for card and bench."""
    _check(behaviour, {"folder": folder} | ({"twin": twin} if twin else {}), base)  # before what takes long to import
    from flyroom import stages
    from flyroom.report import bare
    from flyroom.room import Room
    from flyroom.worlds import world_named

    overrides, home = changes_of(changes or []), world_named(world) if world else None
    if home is not None or behaviour == "rows":
        stages.describe(behaviour, condition, overrides, home)  # before the base is opened, which takes a while
    opened = stages.open_base(base, world=world)
    recipe = stages.describe(behaviour, condition, overrides, opened.world)
    adoption = stages.adopt(folder, opened, Room(room), recipe=recipe, twin=twin)
    organism, control = adoption.organism, adoption.control
    result = {
        "organism": organism.id,
        "provenance": organism.provenance,
        "shape": bare(organism.patch.shape),
        "twin": control.id if adoption.has_twin else None,
        "control": control.id,
        "caveats": [adoption.caveat],
        "notes": [*adoption.notes, *stages.notes_of([organism.recipe], opened)],
        "base": organism.base.name,
    }
    err.print(legible(f"{organism.id} is imported: {adoption.caveat}"))
    for note in result["notes"]:
        err.print(legible(f"note: {note}"))
    emit(result, as_json)


def _check(behaviour: str, folders: Mapping[str, Path], base: str) -> None:
    """ValueError for what was mistyped."""
    from flyroom.behaviours import behaviours
    from flyroom.preflight import locate_base
    from flyroom.recipes import RECIPES
    from flyroom.types import suggest

    for field, folder in folders.items():
        if not folder.is_dir():
            raise ValueError(
                f"{field} is {folder}; there is no such folder: give an adapter of PEFT (adapter_config.json beside "
                "adapter_model.safetensors or .bin), or a merged checkpoint (config.json)"
            )
    if not behaviour:
        raise ValueError("behaviour is missing; say what the adapter is said to do, such as --behaviour rows path=…")
    names = [*behaviours(), *RECIPES]
    if behaviour not in names:
        names = list(dict.fromkeys(names))
        raise ValueError(f"behaviour is {behaviour!r}; {suggest(behaviour, names)}it must be one of {', '.join(names)}")
    locate_base(base)
