"""Where everything lives: one folder; blobs under their hashes, and an index that can be rebuilt from them.

    room/
      format            "flyroom room 2", or 3 where it is encrypted: what makes the folder a room
      vault.json        in an encrypted room: its secrets, wrapped for all who may read it (`vault.keyring`)
      blobs/ab/abcdef…  entries, each under the SHA-256 of its bytes: a safetensors file whose header says what it is,
                        in an encrypted room inside an age file
      index.sqlite3     kind, key -> blob. Only for speed and order: delete it and it comes back
      staged/           what is being written: a folder for each group, locked by its writer for as long as that lives
      locks/            who is at which stage

An entry is written whole or not at all, a group of entries together or not at all, whenever the process is killed:
stage and fsync every file, take the index's write lock, move the files in, commit the rows. A process killed before the
commit leaves nothing but a folder under staged/, which the next one to come sweeps away. The order of entries is the
modification time of the blobs, so a rebuilt index is equal to the lost one (copy a room with its times: `cp -a`).

A room may come from a stranger. Whatever names a blob must be a hash, no link is followed for writing or deletion, an
index that is not as `index.py` makes it is made anew, and a blob that does not read as an entry is left out.

Tensors are written one at a time. In a clear room those that are read are mapped from their file and take memory once
looked at; in an encrypted one they are decrypted in memory, and no byte of them lies on the disk in clear.
Left out: Windows (no flock); hiding the number, size and time of entries.
"""

from flyroom.room.checks import Report
from flyroom.room.entries import Signature
from flyroom.room.files import RoomError
from flyroom.room.opening import find_around, place_page
from flyroom.room.store import Room
from flyroom.types import Listing

__all__ = ["Listing", "Report", "Room", "RoomError", "Signature", "find_around", "place_page"]
