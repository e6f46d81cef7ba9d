"""Encrypted rooms that a fuzzer damages: keyrings, sealed blobs, the index, and identity files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from fuzz_inputs import bend, damage
from fuzz_kinds import Kind


class Vaults(Kind):
    """An encrypted room with one wound, as its reader opens it."""

    name = "vaults"

    def prepare(self, home: Path) -> None:
        import torch

        from flyroom.room import Room, vaults
        from flyroom.vault import Identity

        self.source, self.key = home / "room", home / "me.key"
        self.identity = Identity.create(self.key)
        vaults.encrypt(self.source, self.identity)
        room = Room(self.source, identity=self.identity)
        for i in range(3):
            room.put("organism", f"{i}" * 12, {"a": [1, {"b": None}]}, {"x": torch.ones(2)}, meta={"seed": i})
        vaults.rotate(self.source, self.identity)
        room.put("card", "c" * 12, {"verdict": "pass"})

    def make(self, rng: random.Random, folder: Path, victim: str) -> str:
        shutil.copytree(self.source, folder / "room")
        shutil.copy(self.key, folder / "me.key")
        wound = rng.choice((self.hurt_keyring, self.sign_keyring, self.hurt_blob, self.hurt_index, self.hurt_identity))
        wound(rng, folder, victim)
        return wound.__name__

    def hurt_keyring(self, rng: random.Random, folder: Path, victim: str) -> None:
        path = folder / "room" / "vault.json"
        path.write_bytes(damage(path.read_bytes(), rng))

    def sign_keyring(self, rng: random.Random, folder: Path, victim: str) -> None:
        """Fields that no keyring has, under a good signature; or secrets that are none, for this very reader."""
        import pyrage

        from flyroom.vault import keyring
        from flyroom.vault.identity import parse_recipient

        path = folder / "room" / "vault.json"
        about = json.loads(path.read_text())
        if rng.random() < 0.5:
            about = bend(about, rng, victim)
        else:
            secrets = {"epochs": [[1, self.identity.secret], [2, self.identity.secret]], "locks": "00" * 32}
            text = json.dumps(bend(secrets, rng, victim)).encode(errors="replace")
            about["keys"] = pyrage.encrypt(text, [parse_recipient(self.identity.recipient)], armored=True).decode()
        with contextlib.suppress(TypeError, ValueError, AttributeError, RecursionError):
            about["signature"] = self.identity.sign(keyring._message(about)).hex()
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            path.write_text(json.dumps(about), encoding="utf-8", errors="replace")

    def hurt_blob(self, rng: random.Random, folder: Path, victim: str) -> None:
        """Another blob under its own hash, and no index: whoever opens the room has to read it."""
        path = rng.choice(sorted(p for p in (folder / "room" / "blobs").glob("*/*")))
        changed = damage(path.read_bytes(), rng)
        name = hashlib.sha256(changed).hexdigest() if rng.random() < 0.8 else path.name
        path.unlink()
        other = path.parent.parent / name[:2] / name
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(changed)
        if rng.random() < 0.7:
            (folder / "room" / "index.sqlite3").unlink()

    def hurt_index(self, rng: random.Random, folder: Path, victim: str) -> None:
        path = folder / "room" / "index.sqlite3"
        if rng.random() < 0.5:
            path.write_bytes(damage(path.read_bytes(), rng))
            return
        with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(Exception):
            column = rng.choice(("kind", "key", "blob", "meta", "sequence"))
            value = rng.choice((victim, f"../../{victim}", "f" * 64, "", b"\xff" * 40, 2**62, None, 0.5))
            db.execute(f"UPDATE entries SET {column} = ? WHERE rowid = 1", (value,))
            db.commit()

    def hurt_identity(self, rng: random.Random, folder: Path, victim: str) -> None:
        path = folder / "me.key"
        path.write_bytes(damage(path.read_bytes(), rng))
        os.chmod(path, rng.choice((0o600, 0o600, 0o600, 0o644)))

    def open(self, case: Any, folder: Path) -> None:
        from flyroom.room import Room
        from flyroom.vault import Identity

        os.environ |= {
            "XDG_RUNTIME_DIR": str(folder),
            "FLYROOM_HOME": str(folder / "home"),
        }
        identity = Identity.read(folder / "me.key", lambda sentence: "a guess")
        room = Room(folder / "room", create=False, identity=identity)
        for item in room.list():
            room.get(item.kind, item.key)
        room.check()
        room.verify()
        room.put("card", "mine", {"a": 1})
        room.delete("card", "mine")
