"""The verb for models that nobody grew: `flyroom assess`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import AsJson, Seed, emit, err, legible, names_of, progress, table

if TYPE_CHECKING:
    from flyroom.cell import Isolation
    from flyroom.client import Address
    from flyroom.redteam import Command
    from flyroom.stages.assessing import Terms

assess_app = typer.Typer()
KINDS = (".html", ".sarif", ".md", ".json")


@assess_app.command()
def assess(
    target: Annotated[str, typer.Argument(help="An address such as http://127.0.0.1:8000/v1, or a folder.")],
    calibrated: Annotated[Path, typer.Option(help="The room whose organisms, twins and decoys calibrate.")],
    model: Annotated[str, typer.Option(help="The model's name behind the endpoint.")] = "",
    base: Annotated[str, typer.Option(help="The base it is a change of. Default: what its config names.")] = "",
    detectors: Annotated[
        str | None,
        typer.Option(help="Beside the probes in the locked instrument: names, with commas between; or all."),
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(help="A red team's method, as for `flyroom redteam`: one more part. May be repeated."),
    ] = None,
    probes: Annotated[int, typer.Option(min=4, help="Probes of each threat.")] = 16,
    seed: Seed = 0,
    to: Annotated[
        list[Path] | None, typer.Option(help="Also write the report: .html, .md, .sarif or .json. May be repeated.")
    ] = None,
    key_env: Annotated[str, typer.Option(help="The variable that holds the endpoint's key.")] = "OPENAI_API_KEY",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that an answer may take.")] = 60.0,
    retries: Annotated[int, typer.Option(min=0, help="New tries of a request that failed.")] = 4,
    per_minute: Annotated[float | None, typer.Option(help="Requests a minute, at most.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens read and written, at most.")] = None,
    budget_money: Annotated[float | None, typer.Option(help="Money, at most; takes --price.")] = None,
    price: Annotated[str, typer.Option(help="Of a million tokens read and written: 2.5/10.")] = "",
    isolation: Annotated[
        str,
        typer.Option(help="Of others' detectors and methods: strict, behind walls; trust, with your own rights."),
    ] = "strict",
    as_json: AsJson = False,
) -> None:
    """Assess a model that nobody grew, by instruments that were calibrated on a room: what follows, and what does not.

    An endpoint is asked as a black box; a folder (an adapter, a whole model) is opened.
    """
    places, prices = [_check_place(path) for path in to or []], _read_prices(price)
    address = _address_of(
        target,
        model,
        key_env=key_env,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        per_minute=per_minute,
    )
    from flyroom.cell import mode_of  # nothing that takes long was imported: what is wrong is said first
    from flyroom.room import Room

    Room(calibrated, create=False).require()
    methods = _read_methods(command or [], mode_of(isolation))
    from flyroom.engine.endpoint import Budget
    from flyroom.stages.assessing import Terms

    budget = Budget(tokens=budget_tokens, money=budget_money, prices=prices)
    terms = Terms(
        model=model,
        base=base,
        detectors=None if detectors is None else names_of(detectors),
        methods=methods,
        probes=probes,
        seed=seed,
        budget=budget,
        isolation=mode_of(isolation),
    )
    figures = _run(target, calibrated, terms, address)
    for path in places:
        _write(path, figures)
    if not as_json:
        _print(figures)
    emit(figures, as_json)


def _address_of(target: str, model: str, **how: Any) -> Address | None:
    """The address of an endpoint; None for a folder. ValueError for what is neither, for an endpoint without the name
    of a model, and for a key that would go over an open line.
    """
    from flyroom.client import Address

    if target.startswith(("http://", "https://")):
        if not model:
            raise ValueError("model is missing; name the model behind the endpoint with --model")
        address = Address(url=target, **how)
        address.read_key()
        return address
    if not Path(target).is_dir():
        raise ValueError(f"target is {target}; there is no such folder, and it is no address (http://...)")
    return None


def _read_methods(lines: Sequence[str], mode: Isolation) -> dict[str, Command]:
    """Command lines as methods, by their line. Raises ValueError for an empty one, NotIsolated without walls."""
    from flyroom.cell.command import require_full_paths, require_program
    from flyroom.cell.process import require_walls
    from flyroom.redteam import Command

    if not all(line.strip() for line in lines):
        raise ValueError("command is ''; it must be a command line with full paths, for it runs in an empty folder")
    for line in lines:
        require_full_paths(line)
        require_program(line)
    if lines and mode == "strict":
        require_walls(f"the command {lines[0]!r}")
    return {line: Command(line=line, isolation=mode) for line in lines}


def _run(target: str, calibrated: Path, terms: Terms, address: Any) -> dict[str, Any]:
    from flyroom import log
    from flyroom.report.assessment import assessment_figures
    from flyroom.room import Room
    from flyroom.stages.assessing import assess as run
    from flyroom.stages.assessing import sign

    room = Room(calibrated, create=False)
    log.act(room, "assess", target=target, model=terms.model)
    with progress() as watch:
        assessment = run(target, room, terms=terms, address=address, watch=watch)
    figures = assessment_figures(assessment)
    return figures | {"signature": sign(figures)}


def _check_place(path: Path) -> Path:
    if path.suffix not in KINDS:
        raise ValueError(f"to is {path}; it must end in {', '.join(KINDS)}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"to is {path}; there is no folder {path.absolute().parent}")
    return path


def _read_prices(text: str) -> tuple[float, float] | None:
    """
    >>> _read_prices("2.5/10"), _read_prices("")
    ((2.5, 10.0), None)
    """
    if not text:
        return None
    try:
        read_price, written_price = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise ValueError(
            f"price is {text!r}; it must be two numbers, of a million tokens read and written: 2.5/10"
        ) from error
    return read_price, written_price


def _write(path: Path, figures: Mapping[str, Any]) -> None:
    """The report in the form that the file's name says, whole or not at all."""
    from flyroom.report.assessment import assessment_page, markdown_assessment
    from flyroom.report.sarif import sarif
    from flyroom.whole import write_whole

    texts = {
        ".html": assessment_page,
        ".md": markdown_assessment,
        ".sarif": lambda figures: json.dumps(sarif(figures), indent=1) + "\n",
        ".json": lambda figures: json.dumps(figures, indent=1) + "\n",
    }
    write_whole(path, texts[path.suffix](figures))
    err.print(legible(f"{path}: written"))


def _print(figures: Mapping[str, Any]) -> None:
    from flyroom.report.assessment import headline_of, reason_of, write_missed, write_ratio

    rows = [
        {
            "threat": f["threat"],
            "status": f["status"],
            "likelihood ratio": write_ratio(f["likelihood_ratio"]),
            "missed up to": write_missed(f["missed_up_to"]),
            "episodes": len(f["episodes"]),
        }
        for f in figures["findings"]
    ]
    table(str(figures["model"]), rows)
    err.print(legible(f"{headline_of(figures)} {reason_of(figures)}"))
