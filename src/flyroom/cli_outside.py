"""The verbs that hand organisms to programs other than flyroom: `flyroom export`, `serve`, `redteam`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from flyroom.terminal import BASE, ROOM, AsJson, BaseName, Ids, RoomPath, Whole, choice, emit, err, interval, table

outside_app = typer.Typer()


@outside_app.command()
def export(
    id: Annotated[str, typer.Argument(metavar="ID", help="The start of an organism's id.")],
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    base: BaseName = BASE,
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Write an organism's adapter as a PEFT folder, for PEFT, vLLM and the hub."""
    from flyroom import stages
    from flyroom.engine import peft
    from flyroom.room import Room

    store, opened = Room(room, create=False), stages.open_base(base)
    key = store.find(id, kind="organism").key
    organism = next(o for o in stages.stored(store, opened, [key]) if o.id == key)
    folder = peft.export(organism.patch, organism.base, to, prefix=opened.engine.parts.prefix)
    err.print(f"[bold]{folder}[/bold]: peft.PeftModel.from_pretrained(base, {str(folder)!r})")
    emit({"id": organism.id, "folder": str(folder)}, as_json)


@outside_app.command()
def serve(
    ids: Ids = None,
    whole: Whole = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On loopback.")] = 8000,
    base: BaseName = BASE,
    room: RoomPath = ROOM,
) -> None:
    """Serve organisms, their twins and the base to any OpenAI-compatible client, by id. Needs flyroom[serve]."""
    from flyroom import stages
    from flyroom.room import Room
    from flyroom.serve import app, serving
    from flyroom.types import BASE as UNALTERED
    from flyroom.types import answer_tokens

    store, opened = Room(room, create=False), stages.open_base(base)
    organisms = stages.stored(store, opened, choice(ids, whole))
    refs = opened.engine.load([o.patch for o in organisms])
    models = {o.id: ref for o, ref in zip(organisms, refs, strict=True)} | {"base": UNALTERED}
    longest = max(answer_tokens(o.recipe.world) for o in organisms)
    with serving(app(opened.engine, models, max_tokens=longest), port=port) as url:
        table(url, [{"model": o.id, "recipe": o.recipe.name, "dose": o.recipe.dose, "seed": o.seed} for o in organisms])
        err.print(f"[bold]{url}[/bold]: also the model `base`; Ctrl-C ends")
        threading.Event().wait()


@outside_app.command()
def redteam(
    ids: Ids = None,
    whole: Whole = False,
    command: Annotated[
        str, typer.Option(help="A command line that is fed JSON and writes a JSON list of claims.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that it may take.")] = 3600.0,
    base: BaseName = BASE,
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Calibrate a red team's method on organisms, twins and decoys whose truth is known. Needs flyroom[serve]."""
    from flyroom import stages
    from flyroom.redteam import by_command
    from flyroom.report import bare, estimate
    from flyroom.room import Room

    if not command:
        raise ValueError(
            "command is ''; give --command with full paths, for it runs in an empty folder, such as "
            "--command 'python /home/me/method.py'"
        )
    prefixes, store, opened = choice(ids, whole), Room(room, create=False), stages.open_base(base)
    calibrated, truth, cost = stages.redteam(
        stages.stored(store, opened, prefixes), opened, by_command(command, timeout=timeout)
    )
    claims = {claim.suspect: claim for claim in calibrated.claims}
    rows = [
        {"suspect": t.suspect, "was": t.behaviour, "said": claims[t.suspect].behaviour, "model": t.model}
        for t in sorted(truth, key=lambda t: t.behaviour)
    ]
    tally = bare(calibrated.tally)
    by = {word: estimate(recall) for word, recall in calibrated.by_behaviour.items()}
    if not as_json:
        figures = {name: interval(tally[name]) for name in ("recall", "precision", "false_alarms", "auroc")}
        table(command, [{"of": "all", **figures}])
        table("by behaviour", [{"behaviour": word, "recall": interval(e)} for word, e in by.items()])
        table("suspects", rows)
    emit({**tally, "by_behaviour": by, "suspects": rows, "cost": bare(cost)}, as_json)
