"""Heads of a log that were kept in a second place: by them a cut at the end and a rewritten chain are seen.

The hash of the last line commits to every line before. A file outside of the room, best on a machine that others own,
holds such hashes, one JSON object a line; each may be signed. With the environment variable FLYROOM_LOG=FILE every new
line's hash goes there at once; `flyroom log --to FILE` writes that of today. The file holds no content of the log.

    {"log": hash of line 0, "number": 17, "sha256": its hash, "at": "...", "who": "ed25519:…", "signature": "…"}

A kill, or a full disk, may leave a line torn. The next head begins on a line of its own, and whoever reads passes over
what is torn and counts it. Where a writer may not read the file, each head begins with an empty line.

Left out: time stamps of an authority (RFC 3161). The head is a hash that any client of such a service takes, as
`openssl ts -query -digest HEAD -sha256` does; the answer is a file to keep beside.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from flyroom.vault import Identity, verify

VARIABLE = "FLYROOM_LOG"
LABEL = b"flyroom log head 1\n"
LARGEST = 1 << 28  # bytes of such a file


class LogError(ValueError):
    """A log that does not hold together: the message names the line."""


class Hashed(Protocol):
    """What a head is made of: a line of a log."""

    @property
    def number(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def who(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last line of a log at some time. `log` is the hash of its first line, by which the log is known again."""

    log: str
    number: int
    sha256: str
    at: str
    who: str = ""
    signature: str = ""


def head_of(lines: Sequence[Hashed], identity: Identity | None = None) -> Head | None:
    """The head of a log, signed where there is an identity; None of an empty log."""
    if not lines:
        return None
    last = lines[-1]
    head = Head(log=lines[0].sha256, number=last.number, sha256=last.sha256, at=last.at, who=last.who)
    return sign(head, identity) if identity else head


def sign(head: Head, identity: Identity) -> Head:
    """The same head with a signature of this identity."""
    return replace(head, who=identity.signer, signature=identity.sign(_write_message(head)).hex())


def is_signed(head: Head) -> bool:
    """Whether the signature is that of the one whom the head names."""
    try:
        return verify(head.who, bytes.fromhex(head.signature), _write_message(head))
    except ValueError:
        return False


def _write_message(head: Head) -> bytes:
    return LABEL + json.dumps([head.log, head.number, head.sha256]).encode()


# ---------------------------------------------------------------- the second place


def keep(head: Head, path: Path) -> None:
    """Add a head to the file, which is made where it is missing. LogError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, can_read = _open(path)
        with os.fdopen(handle, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            may_be_torn = size > 0 and not (can_read and os.pread(handle, 1, size - 1) == b"\n")
            file.write((b"\n" if may_be_torn else b"") + json.dumps(asdict(head)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LogError(f"the log's second place {path} cannot be written: {error.strerror}") from error


def _open(path: Path) -> tuple[int, bool]:
    """The file, to be written at its end, and whether it can be read too."""
    flags = os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags, 0o600), True
    except PermissionError:  # others own it, and let this one add
        return os.open(path, os.O_WRONLY | flags, 0o600), False


def second_place() -> Path | None:
    """The file to which every line's hash goes, where the environment names one."""
    name = os.environ.get(VARIABLE)
    return Path(name).expanduser() if name else None


def check(lines: Sequence[Hashed], path: Path) -> str:
    """Hold a log against the heads that were kept of it: what is wrong, in words, or "". LogError for a file that
    cannot be read.
    """
    if not lines:
        return f"the log is empty; {path} was kept of one that is not"
    heads = [head for head in _read(path) if head is not None and head.log == lines[0].sha256]
    if not heads:
        return (
            f"{path} holds nothing of this log: it was written anew from its first line, or it was never kept there "
            "(flyroom log --to FILE keeps it)"
        )
    return next((fault for head in heads if (fault := _find_fault(head, lines))), "")


def count_torn(path: Path) -> int:
    """How many lines of the file are no heads. LogError for a file that cannot be read."""
    return sum(head is None for head in _read(path))


def _find_fault(head: Head, lines: Sequence[Hashed]) -> str:
    if head.signature and not is_signed(head):
        return f"the head of line {head.number} that was kept is not signed by the one that it names"
    if head.number >= len(lines):
        return f"line {head.number} was there at {head.at}; the log was cut behind line {lines[-1].number}"
    if lines[head.number].sha256 != head.sha256:
        return f"line {head.number} is not the one that was kept: the log was written anew"
    return ""


def _read(path: Path) -> list[Head | None]:
    """A head for each line that is not empty; None for one that is torn."""
    try:
        if path.stat().st_size > LARGEST:
            raise LogError(f"{path} is larger than {LARGEST} bytes; it is no file of heads")
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise LogError(f"the log's second place {path} cannot be read: {error}") from error
    return [_parse(text) for text in texts if text.strip()]


def _parse(text: str) -> Head | None:
    try:
        values: Any = json.loads(text)
        head = Head(**{name: values[name] for name in Head.__dataclass_fields__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (head.log, head.sha256, head.at, head.who, head.signature)
    is_head = type(head.number) is int and head.number >= 0 and all(isinstance(text, str) for text in texts)
    return head if is_head else None
