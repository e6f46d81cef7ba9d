"""The log of a game: a file of JSON lines, each with the hash of the line before, so that none is changed or left out.

Several players may write at once: whoever appends holds a lock on the file, reads every line, and writes one behind
them. A line counts once it is written whole; what a kill left of one is cut off by the next who writes. Where there is
an identity it signs each line that it writes.

A chain alone does not show that its end was cut off, or that all of it was written anew. So every head, the hash of the
last line, is written down a second time in `GAME.heads`, beside the folder and not in it: a log in which one of these
is missing is refused. Whoever may change both could still agree on another story; so heads are printed too, for the
other side to keep.

A game may come from a stranger: no link is followed, and a pipe is not waited for.
Left out: a witness on another machine. Source: chained logs, Haber and Stornetta 1991, J. Cryptology 3:99.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flyroom.claims import GameError
from flyroom.vault import current, verify

LOG = "log.jsonl"
LARGEST = 1 << 28  # bytes of a file of a game
LABEL = b"flyroom game log 1\n"  # before what is signed, so that no signature is good for anything else
FIELDS = {"at": str, "what": str, "said": dict, "before": str, "hash": str}
HEADS = re.compile(rb"([0-9]{0,9}( [0-9a-f]{0,64})?(\n|$))*")  # a kill may have cut one, anywhere
Line = dict[str, Any]


def read_log(folder: Path) -> list[Line]:
    """Every line. Raises GameError at the first that does not follow from the one before, and where there is none."""
    lines = _parse(_cut(read_file(folder / LOG)), folder / LOG)
    if not lines:
        raise GameError(f"{folder / LOG} is empty; a game has a log from its first moment")
    return lines


def append(folder: Path, write: Callable[[Sequence[Line]], tuple[str, Mapping[str, Any]]]) -> Line:
    """Write one line behind the others, and return it.

    Args: write, is handed every line while nobody else can add one, and returns what happened and what belongs to it;
    what it raises leaves the log as it was.
    """
    with _lock(folder / LOG) as handle:
        whole = _cut(_read_all(handle))
        lines = _parse(whole, folder / LOG)
        what, content = write(lines)
        line = _sign(_make(lines, what, content))
        os.ftruncate(handle, len(whole))
        _write_all(handle, json.dumps(line).encode() + b"\n")
        _note_head(folder, len(lines), line["hash"])
    return line


def confirm(folder: Path, lines: Sequence[Line], heads: Sequence[str] = ()) -> None:
    """Raises GameError unless each head that was written down, in GAME.heads or by somebody, stands in the log.

    Args: heads, hashes of lines or starts of at least 16 digits.
    """
    hashes = [line["hash"] for line in lines]
    notes = _read_heads(folder)
    for number, head in notes:
        if number >= len(hashes) or hashes[number] != head:
            raise GameError(
                f"{folder / LOG} was cut or written anew: its line {number + 1} was {head[:16]}… by {head_file(folder)}"
            )
    for head in heads:
        if len(head) < 16 or not any(text.startswith(head) for text in hashes):
            raise GameError(
                f"head is {head[:70]!r}; the log of {folder} has no such line: it was cut or written anew since, or "
                "the head is not of this game"
            )
    if not notes and not heads:
        path = head_file(folder)
        state = "holds no whole head" if path.exists() else "is missing"
        raise GameError(
            f"{path} {state}, so nobody knows whether the log was cut; give a head that was written "
            "down with --head, such as the one that submit printed"
        )


def head_file(folder: Path) -> Path:
    """Where the heads of a game's log are kept besides: next to its folder."""
    folder = Path(os.path.abspath(folder))  # a folder may be given as "."
    return folder.with_name(f"{folder.name}.heads")


def check_heads(folder: Path) -> None:
    """Raises GameError where something lies in the place of GAME.heads that no game wrote: a new game replaces it."""
    path = head_file(folder)
    if path.exists() and not HEADS.fullmatch(read_file(path)):
        raise GameError(
            f"folder is {folder}; {path} is where its heads go, and no game wrote that: give another folder"
        )


# ---------------------------------------------------------------- lines


def _make(lines: Sequence[Line], what: str, content: Mapping[str, Any]) -> Line:
    before = lines[-1]["hash"] if lines else ""
    line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "what": what, "said": content, "before": before}
    return line | {"hash": _hash(line)}


def _hash(line: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in line.items() if key not in ("hash", "signer", "signature")}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sign(line: Line) -> Line:
    identity = current()
    if identity is None:
        return line
    signature = identity.sign(LABEL + line["hash"].encode())
    return line | {"signer": identity.signer, "signature": signature.hex()}


def _parse(data: bytes, path: Path) -> list[Line]:
    before, lines = "", list[Line]()
    for number, text in enumerate(data.split(b"\n")[:-1], 1):
        line = _parse_line(text)
        if line is None or line["before"] != before:
            raise GameError(f"{path} was touched: line {number} does not follow from the one before")
        if "signer" in line and not _is_signed(line):
            raise GameError(f"{path} was touched: line {number} is not signed by {line['signer']}")
        before = line["hash"]
        lines.append(line)
    return lines


def _parse_line(text: bytes) -> Line | None:
    """A line that is written as this file writes one, and has its own hash; None for any other."""
    try:
        line = json.loads(text)
        if not isinstance(line, dict) or json.dumps(line).encode() != text:  # one text a line, no key twice
            return None
        whole = all(isinstance(line.get(name), kind) for name, kind in FIELDS.items())
        signed = {"signer", "signature"} & set(line)
        if not whole or set(line) - set(FIELDS) - signed or signed not in (set(), {"signer", "signature"}):
            return None
        return line if _hash(line) == line["hash"] else None
    except (ValueError, RecursionError):
        return None


def _is_signed(line: Line) -> bool:
    try:
        return verify(line["signer"], bytes.fromhex(line["signature"]), LABEL + line["hash"].encode())
    except (ValueError, TypeError):
        return False


# ---------------------------------------------------------------- heads


def _note_head(folder: Path, number: int, head: str) -> None:
    path = head_file(folder)
    if number == 0:  # another game had this name
        path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with suppress(OSError):  # of a player who may write in the game's folder alone; then --head is asked for
        handle = os.open(path, flags, 0o600)
        try:
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            _write_all(handle, (b"\n" if is_torn else b"") + f"{number} {head}\n".encode())
        finally:
            os.close(handle)


def _read_heads(folder: Path) -> list[tuple[int, str]]:
    """(number of a line, its hash) each; what a kill tore is passed over."""
    path = head_file(folder)
    if not path.exists():
        return []
    notes = []
    for text in _cut(read_file(path)).decode(errors="replace").split("\n")[:-1]:
        number, _, head = text.partition(" ")
        if number.isdecimal() and len(number) <= 9 and len(head) == 64:
            notes.append((int(number), head))
    return notes


# ---------------------------------------------------------------- files


def read_file(path: Path) -> bytes:
    """What is in a file. Raises GameError for a link, for what is no file, and for more than `LARGEST` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise GameError(f"{path} is missing") from None
    except OSError as error:
        raise GameError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _read_all(handle)
    except OSError as error:
        raise GameError(f"{path} cannot be read: {error}") from error
    finally:
        os.close(handle)


@contextmanager
def _lock(path: Path) -> Iterator[int]:
    """Yields a handle of the log, which nobody else may write to meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise GameError(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read_all(handle: int) -> bytes:
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
        raise OSError(f"it must be a file of at most {LARGEST} bytes")
    os.lseek(handle, 0, os.SEEK_SET)
    parts = list[bytes]()
    while part := os.read(handle, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write_all(handle: int, data: bytes) -> None:
    os.lseek(handle, 0, os.SEEK_END)
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def _cut(data: bytes) -> bytes:
    """Lines without a last one that a kill cut off."""
    return data[: data.rfind(b"\n") + 1]
