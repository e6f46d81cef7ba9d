"""How a folder is opened as a room, or becomes one: its format, its keyring, and who may read it.

A room is encrypted where it has a keyring. New ones get one where `flyroom vault init` was called on this machine. A
folder with a keyring and the format of a clear room is one whose conversion was cut short; it is finished by the next
to come who has the key.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from flyroom.room.files import RoomError, read_small, stamp
from flyroom.room.folder import Folder
from flyroom.room.seals import Clear, Sealed
from flyroom.vault import Identity, keyring, pins
from flyroom.vault.identity import IdentityError, explain, settings
from flyroom.vault.keyring import VaultError
from flyroom.vault.scratch import wipe

CLEAR, SEALED = 2, 3  # the formats that this version reads
WRITERS = {1: "an early version"}  # of the formats that this version no longer reads
OWN = {"staged", "locks", "vault.json"}  # what may lie in a folder that is becoming a room


def read_format(folder: Folder) -> int:
    """The number of the format. Raises RoomError for another version's, and for a folder that is no room."""
    root, words = folder.root, read_small(folder.marker).split()
    if words[:2] != ["flyroom", "room"] or len(words) != 3 or not re.fullmatch("[1-9][0-9]{0,8}", words[2]):
        raise RoomError(f"{folder.marker} does not say what a room's should; {root} is not a room")
    number = int(words[2])
    if number > SEALED:
        raise RoomError(
            f"{root} was written by a newer flyroom (format {number}, this one reads format {SEALED}): "
            "upgrade flyroom, or give another room"
        )
    if number < CLEAR:
        raise RoomError(
            f"{root} was written by {WRITERS[number]} (format {number}), and this version reads format "
            f"{CLEAR}: grow again into a new room, or keep {WRITERS[number]} for this one"
        )
    if number == SEALED and not folder.keyring.exists():
        raise RoomError(
            f"{folder.keyring} is gone, and without it nothing in this room can be read; bring it back from a copy"
        )
    return number


def make(folder: Folder, identity: Identity | None, *, creates: bool) -> None:
    """Make the folder a room, marker last and whole: of two processes neither takes the other for a stranger."""
    root = folder.root
    others = sorted({path.name for path in root.iterdir()} - OWN) if root.exists() else []
    if others and not folder.marker.exists():
        names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        hint = "Give an empty folder." if creates else "Give a room."
        raise RoomError(f"{root} is not a room: it holds other files ({names}). {hint}")
    if not creates:
        raise RoomError(f"there is no room at {root}")
    recipient = settings().get("recipient")
    if recipient and identity is None:
        raise RoomError(f"new rooms are encrypted, and {explain()}")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.make("staged", "locks")  # and no blobs yet: they are what tells a room from a folder that becomes one
    with folder.hold("vault"):
        if folder.marker.exists():
            return
        if recipient and identity and not folder.keyring.exists():
            put_first_keyring(folder, identity, (recipient,))
        number = SEALED if folder.keyring.exists() else CLEAR
        folder.replace(folder.marker, f"flyroom room {number}\n".encode())


def put_first_keyring(folder: Folder, identity: Identity, recipients: tuple[str, ...] = ()) -> None:
    """Give a room its keyring that is being made. This machine takes note of it before it lies there for others to
    change, in the place of whatever room was at its path.
    """
    content = keyring.wrap(keyring.make(identity, recipients), identity)
    pins.begin(keyring.parse(content, folder.keyring))
    folder.replace(folder.keyring, content)


def find_seal(folder: Folder, identity: Identity | None) -> Clear | Sealed:
    """How the room keeps its entries. Raises RoomError where it is encrypted and there is no key to it, and where it
    was encrypted when this machine saw it last and has no keyring now.
    """
    if stamp(folder.keyring) is None:
        try:
            pins.require_unseen(folder.root)
        except VaultError as error:
            raise RoomError(str(error)) from error
        return Clear()
    if identity is None:
        raise RoomError(f"{folder.root} is encrypted, and {explain()}")
    try:
        lid = keyring.read(folder.keyring)
        opening = lid.open(identity)
        pins.remember(lid, identity)
    except VaultError as error:
        raise RoomError(str(error)) from error
    with suppress(OSError, IdentityError):  # what a killed process had in clear; it is no reason not to open a room
        wipe()
    return Sealed(opening)


def read_lid(folder: Folder) -> keyring.Lid:
    """What the keyring says to anybody. Raises RoomError where it is damaged."""
    try:
        return keyring.read(folder.keyring)
    except VaultError as error:
        raise RoomError(str(error)) from error


def refuse_strangers(folder: Folder, identity: Identity) -> None:
    """Raise RoomError where the keyring is not one to write under: see `pins`."""
    try:
        pins.check(keyring.read(folder.keyring), identity)
    except VaultError as error:
        raise RoomError(str(error)) from error


def find_around(path: Path) -> Path | None:
    """The room that a path is, or lies in; None where it is in none. Nothing has to be there yet."""
    places = [path.resolve(), *path.resolve().parents]
    return next((place for place in places if _is_room(place)), None)


def _is_room(place: Path) -> bool:
    marker = Folder(place).marker
    try:
        return marker.is_file() and read_small(marker).split()[:2] == ["flyroom", "room"]
    except (RoomError, OSError):  # not ours to read, and too large for one of ours
        return False


def place_page(root: Path, name: str) -> Path:
    """Where a page about a room is written that nobody named a place for: in its folder; of an encrypted room, or one
    that will be, in a folder beside it, mode 0700, for a page is in clear.
    """
    folder = Folder(root.absolute())
    is_new = not folder.marker.exists()
    if not folder.keyring.exists() and not (is_new and settings()):
        return root / name
    pages = find_pages(root)
    pages.mkdir(mode=0o700, parents=True, exist_ok=True)
    return pages / name


def find_pages(root: Path) -> Path:
    """The folder of clear files beside an encrypted room."""
    return root.with_name(f"{root.name}.clear")
