"""Whose keyring counts: what this machine remembers of each encrypted room it has opened, in `rooms.json`.

A keyring says itself who may read a room and whose signatures count, so whoever can write the folder could put another
in its place: one that adds a reader, or an old one, whose secrets somebody knows who was removed since. What is written
from then on would be theirs to read. So the machine remembers of each room, by its path: its keyring's number, digest
and signers. Before anything is written the keyring must be one that follows: of the same room, no older, and signed by
a signer of the one before or by this identity. Only who makes a room begins anew at its path (`begin`). The first
keyring that is seen at a path is believed, as SSH believes a host's first key. Reading asks for none of this, as an old
keyring gives nothing away; but a room that was seen encrypted is never opened as one in clear (`require_unseen`).

Left out: a witness outside. Who can write the room and this machine's settings can do as they like.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flyroom.vault.identity import Identity, home
from flyroom.vault.keyring import Lid, VaultError
from flyroom.vault.private import write_over


def check(lid: Lid, identity: Identity) -> None:
    """Raise VaultError where the keyring does not follow from the one that this machine saw last at its path."""
    root = lid.path.parent
    pin = _read().get(_name(root))
    if pin is None or pin["sha256"] == _digest(lid):
        return
    hint = _hint(root)
    if lid.signer not in (*pin["signers"], identity.signer):
        raise VaultError(
            f"{lid.path} was changed by {lid.signer}, whom the keyring before does not name; it may add a "
            f"reader, so nothing was written: {hint}"
        )
    if pin["room"] != lid.room:
        raise VaultError(
            f"{lid.path} is of another room than the one that this machine has seen there, so somebody else may "
            f"read what is written; nothing was written: {hint}"
        )
    if lid.number <= pin["number"]:
        raise VaultError(
            f"{lid.path} is older than the one that this machine has seen ({lid.number}, and {pin['number']} "
            f"before), so somebody who was removed may read what is written; nothing was written: {hint}"
        )


def require_unseen(root: Path) -> None:
    """Raise VaultError where this machine has seen an encrypted room at a path: it has no keyring now."""
    if _name(root) in _read():
        raise VaultError(
            f"{root} was encrypted when this machine saw it last, and {root / 'vault.json'} is gone: what is written "
            f"would be in clear. Bring it back from a copy; {_hint(root)}"
        )


def begin(lid: Lid) -> None:
    """Note the first keyring of a room that is made, in the place of whatever was at its path before."""
    _note(lid, lambda: None)


def remember(lid: Lid, identity: Identity) -> None:
    """Note a keyring that follows. Where the settings cannot be written, nothing is remembered."""
    _note(lid, lambda: check(lid, identity))


def _note(lid: Lid, require: Callable[[], None]) -> None:
    name = _name(lid.path.parent)
    pin = {
        "room": lid.room,
        "number": lid.number,
        "sha256": _digest(lid),
        "signers": list(lid.signers),
    }
    with suppress(VaultError, OSError):
        if _read().get(name) != pin:
            with _hold():  # another process may be noting another room
                require()
                write_over(home() / "rooms.json", json.dumps(_read() | {name: pin}, indent=1).encode())


def _name(root: Path) -> str:
    return str(root.absolute())


def _hint(root: Path) -> str:
    return f"if you brought it back yourself, remove {root} from {home() / 'rooms.json'}"


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


def _digest(lid: Lid) -> str:
    values = (lid.room, lid.number, lid.recipients, lid.signers, lid.pending, lid.keys)
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
