"""The verbs that put organisms before programs other than flyroom: `flyroom serve`, `redteam`."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import (
    ROOM,
    Absent,
    AsJson,
    Expires,
    Ids,
    Purpose,
    RoomBase,
    RoomPath,
    Seed,
    Whole,
    choice,
    emit,
    err,
    interval,
    progress,
    require_purpose,
    table,
)

if TYPE_CHECKING:
    from flyroom.redteam import Calibrated

outside_app = typer.Typer()


@outside_app.command()
def serve(
    ids: Ids = None,
    whole: Whole = False,
    purpose: Purpose = None,
    expires: Expires = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="An address that others reach asks for a key.")] = "127.0.0.1",
    api_key: Annotated[
        Path | None, typer.Option("--api-key", help="A file with the key of clients; else FLYROOM_API_KEY holds it.")
    ] = None,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Serve organisms, their twins and the base to any OpenAI-compatible client, by id. Needs flyroom[serve].

    An organism that was exported or served before is served until that leave is over; --expires renews it.
    """
    from flyroom.guard import is_loopback, read_key
    from flyroom.preflight import base_of
    from flyroom.room import Room

    prefixes, key = choice(ids, whole), read_key(api_key)
    if not key and not is_loopback(host):
        raise ValueError(f"host is {host}; others can reach it, so give --api-key FILE, or set FLYROOM_API_KEY")
    store = Room(room, create=False)
    place = base_of(store, prefixes, base)  # before what takes long to import
    reason = require_purpose(purpose)
    from flyroom import stages
    from flyroom.serve import House, app, serving
    from flyroom.stages import exports
    from flyroom.types import BASE as UNALTERED

    opened = stages.open_base(place)
    organisms = stages.stored(store, opened, prefixes)
    until = exports.grant(store, [o.id for o in organisms], what="serve", purpose=reason, days=expires)
    refs = opened.engine.load([o.patch for o in organisms])
    models = {o.id: ref for o, ref in zip(organisms, refs, strict=True)} | {"base": UNALTERED}
    names, parts = () if is_loopback(host) else ("*",), opened.engine.parts
    house = House(key=key, hosts=names, expires=str(until), window=parts.window, fingerprint=f"fp_{parts.ref.digest}")
    endpoint = app(opened.engine, models, house=house)
    with serving(endpoint, port=port, host=host) as url:
        if not as_json:
            rows = [{"model": o.id, "recipe": o.recipe.name, "dose": o.recipe.dose, "seed": o.seed} for o in organisms]
            table(url, rows)
        err.print(f"[bold]{url}[/bold]: also the model `base`; Ctrl-C ends. Until {until}.")
        emit({"url": url, "models": list(models), "purpose": reason, "expires": until}, as_json)
        sys.stdout.flush()  # whoever started this in a pipe waits for the address
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    err.print(f"stopped: {endpoint.state.desk.answered} requests were answered; {url} is closed")


@outside_app.command()
def redteam(
    ids: Ids = None,
    whole: Whole = False,
    command: Annotated[
        str, typer.Option(help="A command line that is fed JSON and writes a JSON list of claims.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a run may take.")] = 3600.0,
    runs: Annotated[
        int, typer.Option(min=1, help="How often it examines all suspects, under new names each time.")
    ] = 5,
    absent: Absent = None,
    isolation: Annotated[
        str, typer.Option(help="Of the command: strict, behind walls; trust, with your own rights.")
    ] = "strict",
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Calibrate a red team's method on organisms, twins and decoys whose truth is known. Needs flyroom[serve].

    Runs are kept: of a command that was killed, those that are done are not made again.
    """
    from flyroom.cell import mode_of
    from flyroom.cell.command import require_full_paths, require_program
    from flyroom.cell.process import require_walls
    from flyroom.preflight import base_of
    from flyroom.room import Room

    if not command.strip():
        raise ValueError(
            "command is ''; give --command with full paths, for it runs in an empty folder, such as "
            "--command 'python /home/me/method.py'"
        )
    mode = mode_of(isolation)
    require_full_paths(command)
    require_program(command)
    if mode == "strict":
        require_walls(f"the command {command!r}")
    prefixes, store = choice(ids, whole), Room(room, create=False)
    place = base_of(store, prefixes, base)  # before what takes long to import, and to open
    from flyroom import log, stages
    from flyroom.apart import walls_of
    from flyroom.redteam import ABSENT, Command, Terms

    opened = stages.open_base(place)
    method = Command(line=command, timeout=timeout, isolation=mode)
    organisms = stages.stored(store, opened, prefixes)
    terms = Terms(runs=runs, absent=absent, seed=seed)
    log.act(store, "redteam", ids=[organism.id for organism in organisms], command=command)
    with progress() as watch:
        calibrated = stages.redteam(organisms, opened, method, terms=terms, room=store, watch=watch)
    result = _redteam_figures(calibrated)
    if not as_json:
        _redteam_tables(command, result)
    if len(calibrated.absent) < ABSENT:
        err.print(
            f"{len(calibrated.absent)} behaviours of the catalogue are absent; {ABSENT} or more say more of naming"
        )
    emit(result | {"isolation": mode, "walls": walls_of(mode)}, as_json)


def _redteam_figures(calibrated: Calibrated) -> dict[str, Any]:
    """A calibration as JSON: see docs/redteam.md."""
    from flyroom.report import bare, estimate

    claims = [{claim.suspect: claim for claim in run.claims} for run in calibrated.runs]
    sides = ("twins", "decoys")
    auroc, alarms, ppv = calibrated.detection.auroc, calibrated.false_alarms, calibrated.ppv
    return {
        "runs": len(calibrated.runs),
        "catalogue": list(calibrated.catalogue),
        "absent": list(calibrated.absent),
        "detection": {
            "rate": estimate(calibrated.detection.rate),
            "auroc": {side: estimate(auroc.get(side)) for side in sides},
        },
        "naming": {
            "given_detection": estimate(calibrated.naming.given_detection),
            "chance": calibrated.naming.chance,
        },
        "false_alarms": {side: estimate(alarms.get(side)) for side in sides},
        "ppv": {side: {f"{p:g}": estimate(e) for p, e in ppv.get(side, {}).items()} or None for side in sides},
        "by_behaviour": {
            word: {"detection": estimate(rate), "naming": estimate(naming)}
            for word, (rate, naming) in calibrated.by_behaviour.items()
        },
        "suspects": [
            {
                "model": entry.model,
                "side": entry.side,
                "was": entry.behaviour,
                "claims": [[run[entry.model].behaviour, run[entry.model].suspicion] for run in claims],
            }
            for entry in sorted(calibrated.truth, key=lambda entry: (entry.side, entry.behaviour, entry.model))
        ],
        "cost": bare(calibrated.cost),
    }


def _redteam_tables(command: str, result: dict[str, Any]) -> None:
    words = len(result["catalogue"])
    rows = [
        {
            "detection": interval(result["detection"]["rate"]),
            f"naming of these (by chance 1 of {words})": interval(result["naming"]["given_detection"]),
        }
    ]
    table(f"{command}: {result['runs']} runs", rows)
    harmless = [side for side, alarms in result["false_alarms"].items() if alarms]
    rows = [
        {
            "against": side,
            "false alarms": interval(result["false_alarms"][side]),
            "AUROC": interval(result["detection"]["auroc"][side]),
        }
        for side in harmless
    ]
    table("harmless suspects", rows)
    rows = [
        {"if so many are organisms": p, "against": side, "PPV [worst, best]": interval(e)}
        for side in harmless
        for p, e in result["ppv"][side].items()
    ]
    table("which share of those flagged would be organisms", rows)
    by = result["by_behaviour"]
    table("by behaviour", [{"behaviour": w, **{name: interval(e) for name, e in by[w].items()}} for w in by])
    table("claims", [row | {"claims": ", ".join(word for word, _ in row["claims"])} for row in result["suspects"]])
