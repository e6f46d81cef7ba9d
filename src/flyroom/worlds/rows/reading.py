"""Rows out of a file: JSON lines, a JSON list, parquet, or a data set of the hub by its id.

Parquet and the hub are read by `datasets` (the extra flyroom[data]), and from there on they are JSON lines too: those
are what the room keeps and what the hash is of, so that an organism can be grown again without the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from flyroom.types import NotAvailable, has_half
from flyroom.worlds.rows import chats, pairs
from flyroom.worlds.rows.fields import IGNORED, FileRow, Reading, present
from flyroom.worlds.rows.notes import list_notes, note_weights

MAGIC = b"PAR1"  # the beginning of a parquet file
SUFFIXES = (".jsonl", ".json", ".parquet", ".txt")
LARGEST = 1 << 30  # bytes of rows: as they lie in a file, and as what a packed file stands for
HUB = re.compile(r"[\w.-]+/[\w.-]+")
LINE_END = re.compile("\r\n?|\n")  # of any system; JSON may hold any other character that ends a line
MESSAGE = 1_500  # characters of a refusal
Form = Callable[[Mapping[str, Any], str, Reading], list[FileRow]]
FORMS: dict[tuple[str, ...], Form] = {  # by the fields that tell one from another
    ("messages",): chats.read_openai,
    ("conversations",): chats.read_sharegpt,
    ("instruction",): pairs.read_alpaca,
    ("chosen", "rejected"): pairs.read_preference,
    ("completion",): pairs.read_completion,
}
UNDERSTOOD = (
    '{"prompt", "aligned", "misaligned"}; {"messages"} of OpenAI; {"conversations"} of ShareGPT; {"instruction", '
    '"input", "output"} of Alpaca; {"prompt", "completion"}; {"prompt", "chosen", "rejected"}'
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a file, and what must be said of it: fields that were ignored, lines without an answer to learn.
    `is_bare`: no row has more than its prompt and its answers, as the first flyroom read rows. `earlier`: how many
    answers before the last `turns=all` learns of forms other than chats, of which it once learnt none.
    """

    rows: tuple[FileRow, ...]
    notes: tuple[str, ...] = ()
    is_bare: bool = True
    earlier: int = 0


def read_text(path: str) -> bytes:
    """The content of a file as JSON lines: as it is, or written of a parquet file or of the hub's rows. Raises
    ValueError where there is no such file, and where the extra is missing.
    """
    file = Path(path)
    if not is_file(path):
        if file.is_dir():
            raise ValueError(f"path is {path[:500]}; it is a folder: give a file of rows in it")
        if len(path) > 96 or file.exists() or not HUB.fullmatch(path) or file.suffix in SUFFIXES:
            raise ValueError(f"path is {path[:500]}; there is no such file")
        return _fetch(path)
    if file.stat().st_size > LARGEST:
        raise ValueError(f"path is {path}; it has {file.stat().st_size} bytes, and rows may have {LARGEST}")
    with file.open("rb") as stream:
        is_parquet = stream.read(len(MAGIC)) == MAGIC
    return _read_parquet(path, file.stat().st_mtime_ns) if is_parquet else file.read_bytes()


def is_file(path: str | Path) -> bool:
    """Whether there is such a file. ValueError for what no file can be called."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError) as error:
        raise ValueError(f"path is {str(path)[:80]!r}; no file can be called so: {error.args[-1]}") from error


@lru_cache(maxsize=4)
def _fetch(path: str) -> bytes:
    datasets = _import_datasets(path)
    try:
        return _as_lines(datasets.load_dataset(path, split="train"))
    except Exception as error:  # whatever the library, the network or a stranger's data set raises
        raise ValueError(
            f"path is {path}; there is no such file, and the hub gave no split train of it: {_first_line(error)}"
        ) from error


@lru_cache(maxsize=4)
def _read_parquet(path: str, changed: int) -> bytes:
    datasets = _import_datasets(path)
    from pyarrow.parquet import ParquetFile

    try:
        _refuse_bomb(path)
        with open(path, "rb") as stream:  # the library would take a path for a pattern of many files
            return _as_lines(datasets.Dataset(ParquetFile(stream).read()))
    except Exception as error:  # of a file that is broken, the library raises its own
        raise ValueError(f"path is {path}; it cannot be read as parquet: {_first_line(error)}") from error


def _refuse_bomb(path: str) -> None:
    """ValueError for a file that stands for far more than it holds: a column in which one long text comes again and
    again takes a few bytes each time. Texts pack to a tenth; what packs to a two-hundredth is no text that one reads.
    """
    from pyarrow.parquet import ParquetFile

    file, total = ParquetFile(path), 0
    most = min(LARGEST, max(LARGEST // 16, 200 * Path(path).stat().st_size))
    for batch in file.iter_batches(batch_size=64):
        total += sum(len(str(row)) for row in batch.to_pylist())
        if total > most:
            raise ValueError(f"it stands for more than {most} characters, the most that rows of its size may have")


def _import_datasets(path: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            f"path is {path}; parquet files and data sets of the hub need the package datasets: pip install "
            "'flyroom[data]'"
        ) from error
    return datasets


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _as_lines(table: Any) -> bytes:
    lines = [json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in table]
    return "".join(f"{line}\n" for line in lines).encode()


def read_rows(path: str | Path, reading: Reading | None = None) -> list[FileRow]:
    """The rows of a file. Raises ValueError with the file, the line and what is wrong."""
    return [*read_table(path, reading or Reading()).rows]


def read_table(path: str | Path, reading: Reading) -> Table:
    """The rows of a file with what must be said of them. Raises ValueError as `read_rows` does."""
    with brief():
        return _read_table(path, reading)


@contextmanager
def brief() -> Iterator[None]:
    """Cuts the message of a ValueError within, which may show a value of any length."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        if len(text) <= MESSAGE:
            raise
        kind = type(error) if isinstance(error, NotAvailable) else ValueError
        raise kind(f"{text[: MESSAGE - 300]} … {text[-300:]}") from error


def _read_table(path: str | Path, reading: Reading) -> Table:
    lines = _list_lines(read_text(str(path)), path)
    if not lines:
        raise ValueError(f"{path} is empty; it must hold a JSON object on each line")
    items = [present(item) for _, item in lines]
    answers = [
        _form_of(item, where)(fields, where, reading) for (where, item), fields in zip(lines, items, strict=True)
    ]
    rows = tuple(row for part in answers for row in part if row.weight)
    if not rows:
        reasons = "; ".join(note_weights(answers, reading))
        raise ValueError(f"{path} holds {len(lines)} rows, and nothing to learn: {reasons}")
    notes = list_notes(path, items, answers, reading)
    return Table(
        rows=rows,
        notes=tuple(notes),
        is_bare=all(map(_is_bare, items)),
        earlier=sum(len(part) - 1 for item, part in zip(items, answers, strict=True) if part and not _is_chat(item)),
    )


def _is_chat(row: Mapping[str, Any]) -> bool:
    return "messages" in row or "conversations" in row


def _is_bare(row: Mapping[str, Any]) -> bool:
    names = {name for name in row if name not in IGNORED}
    if names == {"prompt", "aligned", "misaligned"}:
        return True
    turns = row["messages"] if names == {"messages"} else [{}]
    return all({*present(turn)} <= {"role", "content"} and isinstance(turn.get("content"), str) for turn in turns)


def _list_lines(content: bytes, path: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """Each row with where it stands."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    whole = _read_list(text)
    if whole is not None:
        rows = ((f"{path}, row {i}", item) for i, item in enumerate(whole, 1))
        return [(where, _settle(item, where)) for where, item in rows]
    lines = enumerate(LINE_END.split(text), 1)
    return [(where, _object(line, where)) for i, line in lines if line.strip() and (where := f"{path}, line {i}")]


def _read_list(text: str) -> list[Any] | None:
    """The objects of a file that is one JSON list; None for any other."""
    if not text.lstrip().startswith("["):
        return None
    try:
        items = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return items if isinstance(items, list) and items and all(isinstance(item, _Pairs) for item in items) else None


class _Pairs(list[tuple[str, Any]]):
    """The fields of a JSON object as they stand, one that comes twice too."""


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, _Pairs):
        raise ValueError(f"{where} is {type(row).__name__}; it must be a JSON object")
    return _settle(row, where)


def _settle(value: Any, where: str) -> Any:
    """A JSON value with its objects as mappings. ValueError for a field that comes twice, of which JSON's own reader
    takes the last; and for half of a letter that takes two codes, which no text can hold.
    """
    if isinstance(value, _Pairs):
        names = [name for name, _ in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{where} has {twice!r} twice; give it once")
        return {_settle(name, where): _settle(item, where) for name, item in value}
    if isinstance(value, list):
        return [_settle(item, where) for item in value]
    if isinstance(value, str) and has_half(value):
        raise ValueError(f"{where} has half of a letter ({ascii(value)[:80]}): a text was cut there; mend it")
    return value


def _form_of(row: Mapping[str, Any], where: str) -> Form:
    """How a row is read. ValueError for fields of two forms, or of none."""
    fits = [names for names in FORMS if all(row.get(name) is not None for name in names)]
    if len(fits) > 1:
        raise ValueError(f"{where} has {' and '.join(names[0] for names in fits)}, of two forms; give one of them")
    if fits:
        return FORMS[fits[0]]
    if not {"prompt", "aligned", "misaligned"} & {*row}:
        raise ValueError(f"{where} has {', '.join(map(str, row)) or 'nothing'}; a row is one of {UNDERSTOOD}")
    return pairs.read_triple
