"""The keyring of a room: its epochs' secrets in one small file, `vault.json`, wrapped for all who may read the room.

    {"format": "flyroom vault 1", "room": …, "number": …, "recipients": ["age1…"], "signers": ["ed25519:…"],
     "pending": "" or "shred", "keys": an age file in its armour, "signer": …, "signature": …}

An epoch is an X25519 identity of the room's own. Everything in the room is encrypted to the newest one, whose public
half is told to nobody, so who cannot open the keyring can neither read an entry nor add one. By hand:
`jq -r .keys room/vault.json | age -d -i FILE` shows the secrets, and with those `age -d` opens any blob.

Adding a recipient wraps the secrets anew and leaves the blobs alone; removing one begins an epoch besides. The whole
file is replaced at once, so a kill leaves the old keyring or the new one. It is signed by whoever changed it last:
`pins.py` remembers on this machine whose changes count, for a file server could otherwise add a reader of its own, or
bring back an old keyring whose secrets somebody knows who was removed since.

The file may come from a stranger: it is read up to a size, and whatever is no recipient, signer or number is refused.
Left out: hiding who the recipients are, and how many and how large the blobs are.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyrage
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flyroom.vault.identity import RECIPIENT, SECRET, SIGNER, Identity, IdentityError, parse_recipient, verify

FORMAT = "flyroom vault 1"
SIZE = 2**22  # bytes at most: 17,000 epochs
MOST = 1000  # recipients, and signers
PUBLIC = ("room", "number", "recipients", "signers", "pending", "keys", "signer")


class VaultError(ValueError):
    """A keyring cannot be used as asked: the message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A secret of the room's own, and what is derived of it."""

    number: int
    identity: Identity = field(repr=False)

    def derive(self, label: str) -> bytes:
        """A key of 32 bytes for one purpose, by HKDF-SHA256."""
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"flyroom {label} 1".encode())
        return kdf.derive(self.identity.secret.encode())


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """An open keyring. `number` counts its changes, `locks` is the secret behind the names of lock files."""

    room: str
    number: int
    recipients: tuple[str, ...]
    signers: tuple[str, ...]
    pending: str = ""
    epochs: tuple[Epoch, ...] = field(repr=False)
    locks: bytes = field(repr=False)

    @cached_property
    def now(self) -> Epoch:
        """The epoch that is written in."""
        return self.epochs[-1]

    def begin(self) -> Keyring:
        """The same with a new epoch, which nobody who was removed has a key to."""
        epoch = Epoch(number=self.now.number + 1, identity=Identity.generate())
        return replace(self, epochs=(*self.epochs, epoch))


@dataclass(frozen=True, kw_only=True)
class Lid:
    """What anybody sees of a keyring."""

    path: Path
    room: str
    number: int
    recipients: tuple[str, ...]
    signers: tuple[str, ...]
    pending: str
    keys: str
    signer: str

    def open(self, identity: Identity) -> Keyring:
        """Raises VaultError where the identity is not among the recipients."""
        try:
            values = json.loads(identity.decrypt(self.keys.encode()))
            epochs = tuple(Epoch(number=int(n), identity=_parse_secret(text)) for n, text in values["epochs"])
            locks = bytes.fromhex(values["locks"])
        except IdentityError as error:
            raise VaultError(
                f"{self.path.parent} is encrypted, and {identity.recipient} is not among its recipients; ask one of "
                f"them for `flyroom vault recipients add {identity.recipient}`"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(self.path, "its keys are not what flyroom wraps") from error
        if not epochs or any(a.number >= b.number for a, b in pairwise(epochs)):
            raise _damaged(self.path, "its epochs are out of order")
        names = ("room", "number", "recipients", "signers", "pending")
        return Keyring(**{name: getattr(self, name) for name in names}, epochs=epochs, locks=locks)


def make(identity: Identity, recipients: tuple[str, ...] = ()) -> Keyring:
    """The first keyring of a room, for one identity and more recipients."""
    return Keyring(
        room=secrets.token_hex(16),
        number=0,
        recipients=tuple(dict.fromkeys((identity.recipient, *recipients))),
        signers=(identity.signer,),
        epochs=(Epoch(number=1, identity=Identity.generate()),),
        locks=secrets.token_bytes(32),
    )


def wrap(keyring: Keyring, identity: Identity) -> bytes:
    """The bytes of `vault.json`: the secrets for all recipients, one change further, signed."""
    values = {"epochs": [[e.number, e.identity.secret] for e in keyring.epochs], "locks": keyring.locks.hex()}
    keys = [parse_recipient(text) for text in keyring.recipients]
    about: dict[str, Any] = {
        "format": FORMAT,
        "room": keyring.room,
        "number": keyring.number + 1,
        "recipients": keyring.recipients,
        "signers": keyring.signers,
        "pending": keyring.pending,
        "keys": pyrage.encrypt(json.dumps(values).encode(), keys, armored=True).decode(),
        "signer": identity.signer,
    }
    about["signature"] = identity.sign(_message(about)).hex()
    return json.dumps(about, indent=1).encode() + b"\n"


def check_signer(text: str) -> None:
    """Raise VaultError for what is no signer."""
    if not SIGNER.fullmatch(text):
        raise VaultError(f"{text[:80]!r} is no signer; it must be ed25519: and 64 hex digits")


def read(path: Path) -> Lid:
    """The keyring of a room as anybody sees it. Raises VaultError for what flyroom did not write and sign."""
    if path.is_symlink() or not path.is_file():
        raise VaultError(f"{path} must be a file of the room, and no link")
    with path.open("rb") as file:
        return parse(file.read(SIZE + 1), path)


def parse(text: bytes, path: Path) -> Lid:
    """The same of the bytes that lie at a path, or will."""
    try:
        about = json.loads(text[:SIZE])
        fault = _find_fault(about)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is no JSON") from error
    if fault:
        raise _damaged(path, fault)
    if not verify(about["signer"], bytes.fromhex(about["signature"]), _message(about)):
        raise _damaged(path, "its signature is not that of its signer")
    values: dict[str, Any] = {name: about[name] for name in PUBLIC}
    values |= {name: tuple(about[name]) for name in ("recipients", "signers")}
    return Lid(path=path, **values)


def _find_fault(about: object) -> str:
    """Which field is not what flyroom writes there; "" where all are."""
    if not isinstance(about, dict) or about.keys() != {"format", *PUBLIC, "signature"}:
        return "it has other fields than a keyring"
    rules = {
        "format": about["format"] == FORMAT,
        "room": _is_text(about["room"], r"[0-9a-f]{32}"),
        "number": isinstance(about["number"], int) and 0 < about["number"] < 2**53,
        "recipients": _are_texts(about["recipients"], RECIPIENT.pattern) and about["recipients"],
        "signers": _are_texts(about["signers"], SIGNER.pattern),
        "pending": about["pending"] in ("", "shred"),
        "keys": isinstance(about["keys"], str) and about["keys"].startswith("-----BEGIN AGE ENCRYPTED FILE-----"),
        "signer": _is_text(about["signer"], SIGNER.pattern),
        "signature": _is_text(about["signature"], "[0-9a-f]{128}"),
    }
    return next((f"its {name} is not what flyroom writes there" for name, holds in rules.items() if not holds), "")


def _message(about: Mapping[str, Any]) -> bytes:
    rest = {name: value for name, value in about.items() if name != "signature"}
    return b"flyroom vault\n" + json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


def _parse_secret(text: object) -> Identity:
    if not isinstance(text, str) or not SECRET.fullmatch(text):
        raise ValueError("no secret of age's")
    return Identity(text)


def _is_text(value: object, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _are_texts(values: object, pattern: str) -> bool:
    return isinstance(values, list) and len(values) <= MOST and all(_is_text(value, pattern) for value in values)


def _damaged(path: Path, fault: str) -> VaultError:
    return VaultError(f"{path} is damaged or was changed by a stranger: {fault}; bring it back from a copy of the room")
