"""Whose keyring counts: what this machine remembers of each encrypted room it has opened, in `rooms.json`.

A keyring says itself who may read a room and whose signatures count, so whoever can write the folder could put another
in its place: one that adds a reader, or an old one, whose secrets somebody knows who was removed since. What is written
from then on would be theirs to read. So the machine remembers of each room, by its path: its keyring's number, digest
and signers. Before anything is written the keyring must be one that follows: no older, and signed by a signer of the
one before or by this identity. The first keyring that is seen at a path is believed, as SSH believes a host's first
key. Reading asks for none of this: an old keyring gives nothing away.

Left out: a witness outside. Who can write the room and this machine's settings can do as they like.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flyroom.vault.identity import Identity, home
from flyroom.vault.keyring import Sealed, VaultError
from flyroom.vault.private import write_over


def check(keyring: Sealed, identity: Identity) -> None:
    """Raise VaultError where the keyring does not follow from the one that this machine saw last at its path."""
    pin = _read().get(str(keyring.path.parent))
    if pin is None:
        return
    hint = f"if you brought it back yourself, remove {keyring.path.parent} from {home() / 'rooms.json'}"
    if pin["sha256"] == _digest(keyring):
        return
    if keyring.signer not in (*pin["signers"], identity.signer):
        raise VaultError(
            f"{keyring.path} was changed by {keyring.signer}, whom the keyring before does not name; it may add a "
            f"reader, so nothing was written: {hint}"
        )
    if pin["room"] == keyring.room and keyring.number <= pin["number"]:
        raise VaultError(
            f"{keyring.path} is older than the one that this machine has seen ({keyring.number}, and {pin['number']} "
            f"before), so somebody who was removed may read what is written; nothing was written: {hint}"
        )


def remember(keyring: Sealed, identity: Identity) -> None:
    """Note a keyring that follows. Where the settings cannot be written, nothing is remembered."""
    path = str(keyring.path.parent)
    pin = {
        "room": keyring.room,
        "number": keyring.number,
        "sha256": _digest(keyring),
        "signers": list(keyring.signers),
    }
    with suppress(VaultError, OSError):
        if _read().get(path) != pin:
            with _hold():  # another process may be noting another room
                check(keyring, identity)
                write_over(home() / "rooms.json", json.dumps(_read() | {path: pin}, indent=1).encode())


@contextmanager
def _hold() -> Iterator[None]:
    """One process and thread at a time changes the pins."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(home() / ".rooms.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _digest(keyring: Sealed) -> str:
    values = (keyring.room, keyring.number, keyring.recipients, keyring.signers, keyring.pending, keyring.keys)
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _read() -> dict[str, dict[str, Any]]:
    path = home() / "rooms.json"
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise VaultError(f"{path} is damaged ({error}); remove it, and look at each room's recipients") from error
    fields = {"room", "number", "sha256", "signers"}
    if not isinstance(pins, dict) or not all(isinstance(pin, dict) and pin.keys() == fields for pin in pins.values()):
        raise VaultError(f"{path} is damaged; remove it, and look at each room's recipients")
    return pins
