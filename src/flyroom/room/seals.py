"""How a room keeps its entries and rows: in clear, or sealed under the epochs of its keyring.

Sealed, a blob is an age file, made and opened in memory: no byte of an entry lies on the disk in clear. A row of the
index holds no word of the entry either: its key is an HMAC of kind and key, and the rest is encrypted with AES-256-GCM,
which also binds it to its blob. Both keys are derived from the newest epoch; `version` says which that is, so that an
index of an earlier one is made anew.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flyroom.room import entries
from flyroom.room.files import create
from flyroom.types import Entry, plain
from flyroom.vault.keyring import Epoch, Keyring

CLOSED = (pyrage.DecryptError, OSError)  # what age raises for a file that is not for a key, and for a damaged part


class Row(NamedTuple):
    """What the index says of an entry; `epoch` is 0 in clear."""

    kind: str
    key: str
    blob: str
    meta: Mapping[str, Any]
    sequence: int
    epoch: int = 0


@dataclass(frozen=True)
class Clear:
    """A room that anybody reads: an entry is a safetensors file, and a row is what it says."""

    format: int = 2
    version: tuple[int, int] = (2, 0)
    epoch: int = 0

    def write(self, path: Path, parts: Iterable[bytes | memoryview]) -> str:
        """Write a blob and return its SHA-256."""
        with create(path) as file:
            tally = _Tally(file)
            for part in parts:
                tally.write(part)
            return tally.end()

    def read(self, path: Path, name: str, *, tensors: bool = True) -> Entry | None:
        """The entry in a blob; None where its bytes are not what its name says. Raises one of UNREADABLE."""
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                return None
        return entries.parse(path, tensors=tensors)

    def find_epoch(self, path: Path) -> int:
        return 0

    @contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        """A blob's content, to be read from front to back."""
        with path.open("rb") as file:
            yield file

    def address(self, kind: str, key: str) -> tuple[str, str]:
        """What the index knows an entry by."""
        return kind, key

    def seal_row(self, row: Row) -> tuple[str, str, str, str | bytes, int]:
        text = json.dumps(plain(row.meta))
        return row.kind, row.key, row.blob, text, row.sequence

    def open_row(self, values: tuple[Any, ...]) -> Row:
        """Raises ValueError for a row that this seal did not write."""
        kind, key, blob, text, sequence = values
        if not all(isinstance(value, str) for value in (kind, key, blob, text)):
            raise ValueError("a row of another type")
        return Row(kind, key, blob, json.loads(text), sequence)

    def name_lock(self, key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Sealed:
    """A room under a keyring."""

    keyring: Keyring

    @property
    def format(self) -> int:
        return 3

    @property
    def version(self) -> tuple[int, int]:
        return 3, self.keyring.now.number

    @property
    def epoch(self) -> int:
        return self.keyring.now.number

    def write(self, path: Path, parts: Iterable[bytes | memoryview]) -> str:
        recipient = _key(self.keyring.now).to_public()
        with create(path) as file:
            source, tally = _Source(parts), _Tally(file)
            try:
                pyrage.encrypt_io(source, tally, [recipient])
            except pyrage.EncryptError as error:  # it says only in words what went wrong: a full disk, a bad tensor
                raise source.error or tally.error or error from error
            if source.error is not None:
                raise source.error
            return tally.end()

    def read(self, path: Path, name: str, *, tensors: bool = True) -> Entry | None:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != name:
            return None
        return entries.parse(self._decrypt(data) if tensors else self._decrypt_head(data), tensors=tensors)

    def find_epoch(self, path: Path) -> int:
        """Which epoch opens a blob. Raises ValueError where none does."""
        data = path.read_bytes()
        for epoch in reversed(self.keyring.epochs):
            try:
                _read_head(data, [_key(epoch)])
            except CLOSED:
                continue
            return epoch.number
        raise ValueError(f"no epoch of this room opens {path}")

    @contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self._decrypt(path.read_bytes()))

    def address(self, kind: str, key: str) -> tuple[str, str]:
        return "", hmac.digest(self._tokens, json.dumps([kind, key]).encode(), "sha256").hex()

    def seal_row(self, row: Row) -> tuple[str, str, str, str | bytes, int]:
        _, token = self.address(row.kind, row.key)
        values = (row.kind, row.key, plain(row.meta), row.epoch or self.epoch)
        text = json.dumps(values, allow_nan=False, separators=(",", ":")).encode()
        nonce = os.urandom(12)
        return "", token, row.blob, nonce + self._rows.encrypt(nonce, text, _bind(token, row.blob)), row.sequence

    def open_row(self, values: tuple[Any, ...]) -> Row:
        _, token, blob, data, sequence = values
        if not isinstance(data, bytes) or not isinstance(token, str) or not isinstance(blob, str):
            raise ValueError("a row of another type")
        try:
            text = self._rows.decrypt(data[:12], data[12:], _bind(token, blob))
        except InvalidTag as error:
            raise ValueError("a row under another key") from error
        kind, key, meta, epoch = json.loads(text)
        return Row(kind, key, blob, meta, sequence, epoch)

    def name_lock(self, key: str) -> str:
        return hmac.digest(self.keyring.locks, key.encode(), "sha256").hex()[:32]

    def _decrypt(self, data: bytes) -> bytes:
        try:
            return pyrage.decrypt(data, self._keys)
        except pyrage.DecryptError as error:
            raise ValueError(f"no epoch of this room opens this: {error}") from error

    def _decrypt_head(self, data: bytes) -> bytes:
        try:
            return _read_head(data, self._keys)
        except CLOSED as error:
            raise ValueError(f"no epoch of this room opens this: {error}") from error

    @cached_property
    def _keys(self) -> list[Any]:
        return [_key(epoch) for epoch in reversed(self.keyring.epochs)]

    @cached_property
    def _tokens(self) -> bytes:
        return self.keyring.now.derive("names")

    @cached_property
    def _rows(self) -> AESGCM:
        return AESGCM(self.keyring.now.derive("rows"))


def _key(epoch: Epoch) -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.from_str(epoch.identity.secret)


def _bind(token: str, blob: str) -> bytes:
    return f"{token} {blob}".encode(errors="surrogatepass")


def _read_head(data: bytes, keys: list[Any]) -> bytes:
    """The header of a safetensors file, and no more: age authenticates each part before it hands it out."""
    head = _Head()
    with suppress(_EnoughError):
        pyrage.decrypt_io(io.BytesIO(data), head, keys)
    return bytes(head.content)


class _EnoughError(Exception):
    """The header is there."""


class _Head(io.BufferedIOBase):
    """A file that ends once it holds the header."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self.content += part
        size = 8 + int.from_bytes(self.content[:8], "little")
        if len(self.content) >= 8 and (len(self.content) >= size or size > entries.HEADER):
            raise _EnoughError
        return len(part)


class _Source(io.BufferedIOBase):
    """Parts of bytes as a file: one at a time, so that no more than one is in memory twice."""

    def __init__(self, parts: Iterable[bytes | memoryview]) -> None:
        self._parts = iter(parts)
        self._rest = memoryview(b"")
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        while not self._rest:
            try:
                part = next(self._parts, None)
            except Exception as error:
                self.error = error
                raise
            if part is None:
                return b""
            self._rest = memoryview(part)
        size = len(self._rest) if size is None or size < 0 else size
        head, self._rest = self._rest[:size], self._rest[size:]
        return bytes(head)


class _Tally(io.BufferedIOBase):
    """A file and the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha = hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        try:
            self._file.write(part)
        except OSError as error:
            self.error = error
            raise
        self._sha.update(part)
        return len(part)

    def end(self) -> str:
        """Sync the file to the disk, and return its name. Raises what a write raised, which pyrage may have dropped."""
        if self.error is not None:
            raise self.error
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._sha.hexdigest()
