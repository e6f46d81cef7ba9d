"""`flyroom bases`: the bases that there are; `bases fetch`: one more; `flyroom doctor`: is one read as it is?"""

from __future__ import annotations

from typing import Annotated

import typer

from flyroom.terminal import AsJson, WorldName, emit, table

bases_app, doctor_app = typer.Typer(), typer.Typer()


@bases_app.callback(invoke_without_command=True)
def bases(context: typer.Context, as_json: AsJson = False) -> None:
    """The bases that there are, bundled and fetched, and how each was made; `bases fetch` brings one more."""
    if context.invoked_subcommand:
        return
    from flyroom.sources import list_bases, manifest
    from flyroom.worlds.micro.bundled import bundled

    folders = bundled() | {name: path for name, path in list_bases().items() if name not in bundled()}
    rows = [{"name": name, "path": str(path)} | (manifest(path) or {}) for name, path in folders.items()]
    if not as_json:
        columns = ("name", "parameters", "world", "source", "tokens", "minutes", "hardware")
        table("bases", [{k: row.get(k) for k in columns} for row in rows])
    emit({"bases": rows}, as_json)


@bases_app.command()
def fetch(
    source: Annotated[str, typer.Argument(help="A known name (smollm2-135m), a hub id, a GGUF file or a folder.")],
    name: Annotated[str, typer.Option(help="What it is called from then on. Default: the source's last part.")] = "",
    world: WorldName = "",
    tokenizer: Annotated[str, typer.Option(help="A folder whose tokenizer a GGUF file is given.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Fetch it anew where it is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a base into the cache, once; `--base NAME` opens it from then on."""
    from flyroom.sources import fetch as bring
    from flyroom.sources import manifest

    folder = bring(source, name=name, world=world, tokenizer=tokenizer, again=again)
    row = {"name": folder.name, "path": str(folder)} | (manifest(folder) or {})
    if not as_json:
        table("fetched", [row])
    emit(row, as_json)


@doctor_app.command()
def doctor(
    base: Annotated[str, typer.Argument(help="A base of `flyroom bases`, a folder, or a hub id.")],
    adapter: Annotated[str, typer.Argument(metavar="[ADAPTER]", help="A PEFT folder, or a merged checkpoint.")] = "",
    world: WorldName = "",
    as_json: AsJson = False,
) -> None:
    """Is a base read as it is, and an adapter as it was trained? Ends with status 1 where a check fails."""
    from flyroom import stages
    from flyroom.doctor import Check, examine, passes

    try:
        opened = stages.open_base(base, world=world)
        checks = examine(opened.engine, world=opened.world, adapter=adapter)
    except ValueError as error:  # a base that is refused has failed the first check
        checks = [Check("opens", False, str(error))]
    if not as_json:
        words = {True: "yes", False: "NO", None: "not looked at"}
        table(base, [{"check": c.check, "ok": words[c.ok], "why": c.why} for c in checks])
    emit({"checks": [check._asdict() for check in checks], "ok": passes(checks)}, as_json)
    if not passes(checks):
        raise typer.Exit(1)
