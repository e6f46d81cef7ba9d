"""Parse what people type (seeds, changes, choices), and write what they see (tables, bars, one JSON object)."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flyroom.purpose import purpose_of
from flyroom.yaml_pages import safe_yaml

if TYPE_CHECKING:
    from flyroom.types import Watch

ROOM_VARIABLE = "FLYROOM_ROOM"
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
RoomPath = Annotated[Path, typer.Option("--room", envvar=ROOM_VARIABLE, help="The folder where everything is kept.")]
BaseName = Annotated[str, typer.Option("--base", help="A base of `flyroom bases`, a folder, or a hub id.")]
RoomBase = Annotated[
    str, typer.Option("--base", help="A base, as for `grow`. Default: the one that the organisms were grown on.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The seed of what is asked and sampled.")]
Absent = Annotated[
    int | None, typer.Option(min=0, help="The fewest behaviours in the catalogue that no suspect has. Default: one.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID ...]", help="Starts of organism ids.")]
Whole = Annotated[bool, typer.Option("--all", help="Every organism of the room on this base.")]
On = Annotated[
    str | None, typer.Option(help="ray: on all cores or GPUs of this machine; ray:ADDRESS: on that Ray cluster.")
]
KNOWN_ROOM = typer.Option("--known", help="A room whose organisms and twins are told apart, for detectors to fit on.")
KnownRoom = Annotated[Path, KNOWN_ROOM]
AnyKnownRoom = Annotated[Path | None, KNOWN_ROOM]
Without = Annotated[
    str, typer.Option(help="What is left out of the known models: each recipe, behaviour, implant or trigger.")
]
Calibration = Annotated[int, typer.Option(min=1, help="Twins of other seeds that set the thresholds.")]
WorldName = Annotated[
    str, typer.Option("--world", help="The world that recipes ask about. Default: the one that the base was made in.")
]
Purpose = Annotated[
    str | None, typer.Option("--purpose", help="What it is needed for: it goes into the log. Asked for at a terminal.")
]
Expires = Annotated[
    int | None,
    typer.Option(
        "--expires", help="Days until it is not to be used any more. Default: a leave that stands is kept, else 90."
    ),
]
ROOM = Path("room")
BASE = "1M"
SEEDS = 10_000
LONG, LONGEST = 500, 60  # rows that are printed without a frame; characters to which their columns are aligned
EVERY = 30.0  # seconds between two lines of progress where stderr is no terminal
WIDE = 200  # characters of a line where no window bounds it


def _console(*, stderr: bool = False) -> Console:
    """A console, wide where it is no terminal: a file or a pipe would keep what a narrow one folds."""
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


err = _console(stderr=True)

# ---------------------------------------------------------------- what people type


def seeds_of(text: str, field: str = "seeds") -> list[int]:
    """Seeds, or other whole numbers, from how a command line writes them. ValueError where it is no list of numbers and
    spans.

    >>> seeds_of("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        words = (first, last) if dash else (first, first)
        if not all(word.isdecimal() and len(word) < 19 for word in words) or int(words[1]) < int(words[0]):
            raise ValueError(
                f"{field} is {shorten(text)}; it must be numbers and ranges from 0 up, such as 0-4 or 0,3,7"
            )
        span = range(int(words[0]), int(words[1]) + 1)
        if len(seeds) + len(span) > SEEDS:  # checked before the list is built, which may not fit in memory
            raise ValueError(f"{field} is {shorten(text)}; it must be at most {SEEDS} {field}, such as 0-{SEEDS - 1}")
        seeds.update(dict.fromkeys(span))
    return list(seeds)


def changes_of(items: list[str]) -> dict[str, Any]:
    """Changes by field from KEY=VALUE, the values read as YAML. ValueError for an item without a value.

    >>> changes_of(["dose=0.5", "adapter.layers=[0, 1]"])
    {'dose': 0.5, 'adapter.layers': [0, 1]}
    """
    changes = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ValueError(f"{shorten(item)} is not a change; write KEY=VALUE, such as dose=0.5")
        try:
            changes[key] = safe_yaml(value)
        except ValueError as e:
            raise ValueError(f"{key} is {shorten(value)}; that is no YAML value: {e}") from e
    return changes


def names_of(text: str) -> list[str]:
    """Names that commas part.

    >>> names_of("a, b,")
    ['a', 'b']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def detectors_of(text: str) -> list[str]:
    """Names of detectors, none for "all".

    >>> detectors_of("output-judge,weight-norm"), detectors_of("all")
    (['output-judge', 'weight-norm'], [])
    """
    names = names_of(text)
    return [] if names == ["all"] else names


def require_purpose(purpose: str | None) -> str:
    """The purpose that was given, or typed at a terminal. ValueError where nobody can be asked, or it says nothing."""
    if purpose is None and sys.stdin.isatty():
        purpose = typer.prompt(
            "What is it needed for? (it goes into the log)", default="", show_default=False, err=True
        )
    if purpose is None or not purpose.strip():
        raise ValueError("purpose is missing; say with --purpose what the model is needed for: it goes into the log")
    return purpose_of(purpose)


def arguments(room: Path) -> list[str]:
    """What was typed behind `flyroom`, and the room where a variable named it: so it can be typed anew elsewhere."""
    words = sys.argv[1:]
    is_named = any(word == "--room" or word.startswith("--room=") for word in words)
    return words if is_named or not os.environ.get(ROOM_VARIABLE) else [*words, "--room", str(room)]


def cluster_of(on: str | None) -> str | None:
    """The address in "ray:ADDRESS"; None for "ray", which means a cluster on this machine, and where none is asked for.

    >>> cluster_of("ray:10.0.0.4:6379")
    '10.0.0.4:6379'
    """
    scheme, colon, address = ("ray" if on is None else on).partition(":")
    if scheme != "ray" or bool(colon) is not bool(address):
        raise ValueError(f"on is {on!r}; it must be ray, or ray:ADDRESS such as ray:auto or ray:10.0.0.4:6379")
    return address or None


def require_place(field: str, path: Path | None, *, is_folder: bool = False) -> None:
    """ValueError for a path where nothing can be written at the end: a verb asks before it works for hours."""
    if path is None:
        return
    place = path.absolute()
    if place.exists() and place.is_dir() is not is_folder:
        kinds = ("a file; give a folder", "a folder; give a file")
        raise ValueError(f"{field} is {path}, which is {kinds[not is_folder]}")
    above = next(folder for folder in [place, *place.parents] if folder.exists() and (folder != place or is_folder))
    if not above.is_dir():
        raise ValueError(f"{field} is {path}; {above} is a file, so give a path in a folder")
    if not os.access(above, os.W_OK):
        raise ValueError(f"{field} is {path}; nothing can be written in {above}, so give another path")


def choice(ids: list[str] | None, whole: bool) -> list[str] | None:
    """The ids that were typed, None for --all. ValueError for both, and for neither."""
    if bool(ids) is whole:
        raise ValueError("give ids or --all: `flyroom ls` shows the ids")
    return ids or None


# ---------------------------------------------------------------- what they see


def span(seeds: Sequence[int]) -> str:
    """Seeds as a command line writes them.

    >>> span([3, 4, 5]), span([3, 7])
    ('3-5', '3, 7')
    """
    ends = f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 2 else ""
    return ends if ends and [*seeds] == [*range(seeds[0], seeds[-1] + 1)] else ", ".join(map(str, seeds))


def shorten(text: str) -> str:
    """Returns a text in quotes, cut to 40 characters.

    >>> len(shorten("[" * 20000))
    42
    """
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def legible(text: str) -> Text:
    """Returns a text for the terminal without markup, in which characters that cannot be printed are escaped.

    A name may come from a stranger's room. An escape sequence in it would control the terminal, and a lone surrogate or
    an unopened markup tag would end the program.

    >>> legible("[/x] " + chr(27) + "[2J").plain
    '[/x] \\\\x1b[2J'
    """
    return Text("".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text))


def emit(result: dict[str, Any], as_json: bool) -> None:
    """Print the one object of a verb on stdout, if it was asked for."""
    if as_json:
        print(json.dumps(result))  # noqa: T201 - the one object on stdout


def table(title: str, rows: list[dict[str, Any]]) -> None:
    """Show rows as a table with a column for each key; one row that is too wide as a column of its own; plainly where
    there are more than LONG.
    """
    console = _console()
    if not rows:
        console.print(legible(f"{title}: nothing yet"))
        return
    if len(rows) > LONG:
        _print_plain(title, rows)
        return
    grid = _lay_out(title, rows)
    boundless = console.options.update(max_width=10 * WIDE)
    if len(rows) == 1 and Measurement.get(console, boundless, grid).maximum > console.width:
        grid = _lay_out("", [{title: name, "": value} for name, value in rows[0].items()])
    console.print(grid)


def _lay_out(title: str, rows: list[dict[str, Any]]) -> Table:
    grid = Table(title=legible(title), title_justify="left")
    for name in rows[0]:
        grid.add_column(legible(name), overflow="fold")
    for row in rows:
        grid.add_row(*map(legible, map(_write, row.values())))
    return grid


def _write(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _print_plain(title: str, rows: list[dict[str, Any]]) -> None:
    """Columns without a frame: laying out a table of thousands of rows takes seconds."""
    lines = [[*map(_printable, map(_write, row.values()))] for row in [{n: n for n in rows[0]}, *rows]]
    widths = [min(LONGEST, max(map(len, column))) for column in zip(*lines, strict=False)]
    texts = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    print(f"{_printable(title)}\n" + "\n".join(texts))  # noqa: T201


def _printable(text: str) -> str:
    return text if text.isprintable() else legible(text).plain.replace("\n", " ")


def card_table(rows: list[dict[str, Any]]) -> None:
    """Print a table for each card, with measures as rows, and organism, twin and base as columns; and in how many looks
    its verdict was reached.
    """
    for row in rows:
        columns = {"organism": row, "twin": row["twin"], "base": row["base_measures"]}
        names = (name for name, value in row.items() if isinstance(value, dict) and "value" in value)
        measures = dict.fromkeys([*row["twin"], *names])  # the twin may lack a measure of the organism
        lines = [
            {"measure": measure} | {name: interval(column.get(measure)) for name, column in columns.items()}
            for measure in measures
        ]
        looks = f", {row['looks']} looks" if row.get("looks", 1) > 1 else ""
        kind = "" if row.get("provenance", "grown") == "grown" else f", {row['provenance']}"
        table(f"{row['recipe']}, seed {row['seed']}, {row['id']}{kind}: {row['verdict']}{looks} ({row['why']})", lines)
        for caveat in row.get("caveats", ()):
            err.print(legible(f"{row['id']}: {caveat}"))


def cell_table(rows: list[dict[str, Any]]) -> None:
    """Print the cells, and of each what was seen, or why there is nothing."""
    has_decoys = any(r.get("fpr_decoys") for r in rows)
    lines = [
        {
            "detector": r["detector"],
            "recipe": r["recipe"],
            "AUROC": interval(r["auroc"]),
            "above the threshold": interval(r["recall"]),
            "false alarms": interval(r.get("fpr_twins") or r["fpr"]),
            **({"decoys above": interval(r["fpr_decoys"]) if r.get("fpr_decoys") else "-"} if has_decoys else {}),
            "recall at 1 %": interval(r["recall_at_1pct_fpr"]) if r["recall_at_1pct_fpr"] else "not told",
        }
        for r in rows
    ]
    table("detectors", lines)
    for r in rows:
        failure = f"; failed: {r['error']}" if r["error"] else ""
        absence = "" if r["available"] else f"; not available here: {r['why']}"
        summary = f"; on {r['recipe']}: {r['summary']}" if r["summary"] else ""
        err.print(legible(f"{r['detector']}: needs {r['access']}{failure}{absence}{summary}{_certificate(r)}"))


def _certificate(row: dict[str, Any]) -> str:
    if row["certified"] is None:
        return ""
    no = "" if row["certified"] else "not "
    return f"; its false-positive rate is {no}certified: at most {100 * row['fpr_at_most']:.2g} %"


def transfer_table(rows: list[dict[str, Any]]) -> None:
    """Show what carries over: a row for a detector, what it was not fitted on, and what it was tried on."""
    lines = [
        {
            "detector": r["detector"],
            "left out": r["left_out"],
            "tested on": r["tested_on"],
            "AUROC": interval(r["auroc"]) if r["available"] else f"not available: {r['why']}",
            "error": r["error"],
        }
        for r in rows
    ]
    table("transfers", lines)


def interval(e: dict[str, Any] | None) -> str:
    """A figure with its interval for a column, "not measured" where there is none."""
    if e is None:
        return ""
    return "not measured" if e["value"] is None else f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]"


@contextmanager
def progress() -> Iterator[Watch]:
    """Yields a function that shows a bar for each stage; where stderr is no terminal, a line every `EVERY` seconds."""
    if not err.is_terminal:
        with _lines() as write:
            yield write
        return
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, Any] = {}

        def watch(stage: str, step: int, total: int, note: str) -> None:
            if stage not in tasks or bars.tasks[tasks[stage]].finished:
                tasks[stage] = bars.add_task(stage, total=total, note="")
            bars.update(tasks[stage], completed=step, total=total, note=note)

        yield watch


@contextmanager
def _lines() -> Iterator[Watch]:
    """The lines are written by a thread, so that they come also while one step takes long."""
    began, over = time.monotonic(), threading.Event()
    state = {"now": "still at the start"}

    def watch(stage: str, step: int, total: int, note: str) -> None:
        state["now"] = f"{stage} {step} of {total}{f', {note}' if note else ''}"

    def write() -> None:
        while not over.wait(EVERY):
            line = legible(f"flyroom: {time.monotonic() - began:.0f} s: {state['now']}").plain
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - err would wrap it

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield watch
    finally:
        over.set()
        writer.join()
