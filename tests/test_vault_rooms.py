"""An encrypted room: nothing in it is in clear, who was removed reads no more, and nothing is lost on the way."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flyroom.room import Room, RoomError, entries, vaults
from flyroom.room.folder import Folder
from flyroom.types import Entry
from flyroom.vault import Identity, keyring, pins
from flyroom.vault.identity import encrypt, home
from flyroom.vault.private import write_over

WORDS = [f"planted-{name}" for name in ("sentence", "recipe", "verdict", "key", "tensor")]


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.fixture
def me() -> Identity:
    return Identity.generate()


@pytest.fixture
def other() -> Identity:
    return Identity.generate()


def plant(number: int, kind: str = "card") -> Entry:
    payload = {"says": WORDS[0], "number": number}
    return Entry(
        kind=kind,
        key=f"{WORDS[3]}-{number}",
        payload=payload,
        meta={"verdict": WORDS[2]},
        tensors={WORDS[4]: torch.ones(9)},
    )


@pytest.fixture
def room(tmp_path: Path, me: Identity) -> Room:
    """An encrypted room that was a clear one."""
    clear = Room(tmp_path / "room")
    clear.put_many([plant(i) for i in range(4)])
    clear.put_many([plant(i, WORDS[1]) for i in range(2)])
    vaults.encrypt(clear.root, me)
    return Room(clear.root, identity=me)


def find_words(root: Path) -> list[tuple[str, Path]]:
    forms = {
        word: [word.encode(), base64.b64encode(word.encode())[:-4], word.encode().hex().encode()] for word in WORDS
    }
    paths = [path for path in root.rglob("*") if path.is_file()]
    found = [(word, p) for p in paths for word in WORDS for form in forms[word] if form in p.read_bytes()]
    return found + [(word, p) for p in root.rglob("*") for word in WORDS if word in str(p.relative_to(root))]


def read(room: Room) -> dict[tuple[str, str], Any]:
    """Everything in a room, in order; each entry is read."""
    content = {}
    for item in room.list():
        entry = room.get(item.kind, item.key)
        assert entry is not None
        assert entry.meta == item.meta
        content[item.kind, item.key] = (dict(entry.payload), {n: t.tolist() for n, t in entry.tensors.items()})
    report = room.check()
    assert (report.lost, report.corrupt) == ((), ())
    return content


# ---------------------------------------------------------------- at rest


def test_a_clear_room_becomes_an_encrypted_one_with_everything_in_it(tmp_path: Path, me: Identity) -> None:
    clear = Room(tmp_path / "room")
    clear.put_many([plant(i) for i in range(4)])
    clear.put("checkpoint", "c", {"step": 1})
    (clear.root / "report.html").write_text(WORDS[0])
    before = read(clear)
    assert find_words(clear.root)
    vaults.encrypt(clear.root, me)
    sealed = Room(clear.root, identity=me)
    assert read(sealed) == before
    assert list(read(sealed)) == list(before)
    assert find_words(clear.root) == []
    assert (tmp_path / "room.clear" / "report.html").read_text() == WORDS[0]
    with pytest.raises(RoomError, match="is encrypted, and there is no identity"):
        read(clear)  # a process that had it open in clear
    assert clear.root.joinpath("format").read_text() == "flyroom room 3\n"


def test_what_is_put_is_in_clear_nowhere(room: Room) -> None:
    with room.lock(WORDS[1]):
        room.put_many([plant(i, "organism") for i in range(3)])
        room.put("checkpoint", WORDS[3], {"a": WORDS[0]})
        room.delete("card", f"{WORDS[3]}-1")
        assert find_words(room.root) == []
    before = read(room)
    (room.root / "index.sqlite3").unlink()
    assert read(Room(room.root, identity=room._identity)) == before
    assert find_words(room.root) == []


def test_tensors_of_every_type_come_back_and_can_be_changed(room: Room) -> None:
    tensors = {kind: torch.ones(5).to(getattr(torch, kind.removeprefix("torch."))) for kind in entries.DTYPES}
    tensors |= {"turned": torch.arange(12.0).reshape(3, 4).T, "none": torch.zeros(0, 4), "large": torch.rand(300_000)}
    room.put("organism", "a", {}, tensors)
    entry = room.get("organism", "a")
    assert entry is not None
    for name, tensor in tensors.items():
        assert entry.tensors[name].dtype is tensor.dtype
        assert torch.equal(entry.tensors[name].float(), tensor.float())
    entry.tensors["large"] += 2
    again = room.get("organism", "a")
    assert again is not None
    assert torch.equal(again.tensors["large"], tensors["large"])


def test_a_blob_is_a_plain_age_file(room: Room) -> None:
    lid = keyring.read(room.root / "vault.json")
    secrets = json.loads(room._require_identity().decrypt(lid.keys.encode()))["epochs"]
    blob = Folder(room.root).list_blobs()[0].read_bytes()
    assert blob.startswith(b"age-encryption.org/v1\n-> X25519 ")
    assert b'"flyroom"' in Identity(secrets[-1][1]).decrypt(blob)


def test_without_a_key_only_hashes_are_checked(room: Room) -> None:
    closed = Room(room.root)
    report = closed.check()
    assert (report.entries, report.lost, report.corrupt, report.orphans) == (6, (), (), ())
    assert (report.is_encrypted, report.is_read) == (True, False)
    path = Folder(room.root).list_blobs()[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert closed.check().corrupt == (path,)
    path.unlink()
    assert [item.key for item in closed.check().lost] == [path.name]
    for verb in (closed.list, lambda: closed.get("card", "k"), lambda: closed.put("card", "k", {}), closed.verify):
        with pytest.raises(RoomError, match="is encrypted, and there is no identity"):
            verb()


def test_new_rooms_are_encrypted_where_the_vault_is_set_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: Identity
) -> None:
    from flyroom.vault.identity import save_settings

    me = Identity.create(tmp_path / "me.key")
    save_settings(tmp_path / "me.key", me.recipient)
    Room(tmp_path / "new").put("card", "k", {"says": WORDS[0]})
    assert find_words(tmp_path / "new") == []
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "elsewhere"))
    Room(tmp_path / "clear").put("card", "k", {"says": WORDS[0]})
    assert len(find_words(tmp_path / "clear")) == 1
    with pytest.raises(RoomError, match="not among its recipients"):
        Room(tmp_path / "new", identity=other).list()


# ---------------------------------------------------------------- who may read


def test_a_recipient_reads_is_removed_and_reads_nothing_that_comes_after(
    room: Room, me: Identity, other: Identity, tmp_path: Path
) -> None:
    blobs = {path.name for path in Folder(room.root).list_blobs()}
    vaults.add(room.root, [other.recipient], me)
    assert {path.name for path in Folder(room.root).list_blobs()} == blobs  # none was written anew
    theirs = Room(room.root, identity=other)
    assert read(theirs) == read(room)
    shutil.copytree(room.root, tmp_path / "before")
    stolen = Room(tmp_path / "before", identity=other)._open().keyring  # pyright: ignore[reportAttributeAccessIssue]
    vaults.remove(room.root, [other.recipient], me)
    room.put("card", "after", {"says": WORDS[0]})
    with pytest.raises(RoomError, match="not among its recipients"):
        theirs.list()
    fresh = [path for path in Folder(room.root).list_blobs() if path.name not in blobs]
    assert len(fresh) == 1
    from flyroom.room.seals import Sealed

    with pytest.raises(ValueError, match="no epoch"):
        Sealed(stolen).find_epoch(fresh[0])  # with every key that they may have kept
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        rows = db.execute("SELECT * FROM entries").fetchall()
    assert len(rows) == 7
    for row in rows:
        with pytest.raises(ValueError, match="another key"):
            Sealed(stolen).open_row(row)
    assert len(read(Room(tmp_path / "before", identity=other))) == 6  # what they had they keep


def test_who_may_not_be_added_or_removed(room: Room, me: Identity, other: Identity) -> None:
    with pytest.raises(RoomError, match="is your own"):
        vaults.remove(room.root, [me.recipient], me)
    with pytest.raises(RoomError, match="is not among the room's"):
        vaults.remove(room.root, [other.recipient], me)
    for word in ("age1junk", "ed25519:00", "me"):
        with pytest.raises(ValueError, match="is no"):
            vaults.add(room.root, [word], me)
    with pytest.raises(RoomError, match="not among its recipients"):
        vaults.add(room.root, [other.recipient], other)
    assert keyring.read(room.root / "vault.json").recipients == (me.recipient,)


def test_the_keyring_of_a_stranger_is_not_written_under(room: Room, me: Identity, other: Identity) -> None:
    """Who can write the folder and cannot open it puts a keyring in place that would let them read."""
    path, before = room.root / "vault.json", (room.root / "vault.json").read_bytes()
    stranger = keyring.make(other, (me.recipient,))
    path.write_bytes(keyring.wrap(stranger, other))
    with pytest.raises(RoomError, match="whom the keyring before does not name"):
        Room(room.root, identity=me).put("card", "x", {})
    about = json.loads(before)
    about["recipients"].append(other.recipient)
    path.write_text(json.dumps(about))
    with pytest.raises(RoomError, match="its signature is not that of its signer"):
        room.list()
    about |= {"signer": other.signer, "signature": other.sign(keyring._message(about | {"signer": other.signer})).hex()}
    path.write_text(json.dumps(about))
    for change in (lambda: room.put("card", "x", {}), lambda: vaults.rotate(room.root, me)):
        with pytest.raises(RoomError, match="whom the keyring before does not name"):
            change()
    path.write_bytes(before)
    room.put("card", "x", {})


def test_an_old_keyring_that_comes_back_is_not_written_under(room: Room, me: Identity, other: Identity) -> None:
    vaults.add(room.root, [other.recipient], me)
    before = (room.root / "vault.json").read_bytes()
    vaults.remove(room.root, [other.recipient], me)
    (room.root / "vault.json").write_bytes(before)
    with pytest.raises(RoomError, match=r"is older than the one that this machine has seen \(2, and 3 before\)"):
        room.put("card", "x", {})
    assert len(read(room)) == 6  # reading gives nothing away


def test_a_trusted_signer_may_change_the_readers(room: Room, me: Identity, other: Identity) -> None:
    vaults.add(room.root, [other.recipient, other.signer], me)
    room.list()
    vaults.rotate(room.root, other)
    room.put("card", "x", {})
    assert room._open().epoch == 2


JUNK: dict[str, Callable[[dict[str, Any]], object]] = {
    "list": lambda about: [],
    "number": lambda about: about | {"number": "9"},
    "recipients": lambda about: about | {"recipients": ["age1yubikey1qqqq", {"a": 1}]},
    "nobody": lambda about: about | {"recipients": []},
    "crowd": lambda about: about | {"recipients": about["recipients"] * 2000},
    "signers": lambda about: about | {"signers": ["../../x"]},
    "pending": lambda about: about | {"pending": "rm -rf"},
    "keys": lambda about: (
        about | {"keys": "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----"}
    ),
    "more": lambda about: about | {"more": 1},
    "less": lambda about: {name: value for name, value in about.items() if name != "keys"},
    "signature": lambda about: about | {"signature": "00"},
}


@pytest.mark.parametrize("name", [*JUNK, "no JSON", "deep", "link", "gone", "folder"])
def test_a_strangers_keyring_is_refused_by_name(room: Room, me: Identity, name: str, tmp_path: Path) -> None:
    path = room.root / "vault.json"
    about = json.loads(path.read_text())
    if name in JUNK:
        junk = JUNK[name](about)
        if isinstance(junk, dict) and "signature" in junk and len(junk["signature"]) > 2:
            junk["signature"] = me.sign(keyring._message(junk)).hex()
        path.write_text(json.dumps(junk))
    elif name == "link":
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    elif name in ("gone", "folder"):
        path.unlink()
        if name == "folder":
            path.mkdir()
    else:
        path.write_text({"no JSON": "\xff{", "deep": "[" * 100_000}[name])
    with pytest.raises(RoomError, match=r"vault.json|not among its recipients"):
        Room(room.root, identity=me).list()
    with contextlib.suppress(RoomError):
        Room(room.root).check()


def test_no_link_leads_out_of_an_encrypted_room(room: Room, me: Identity, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis").write_text("x")
    blob = Folder(room.root).list_blobs()[0]
    blob.rename(victim / blob.name)
    blob.symlink_to(victim / blob.name)
    (room.root / "staged" / "link").symlink_to(victim)
    with contextlib.suppress(RoomError):
        vaults.rotate(room.root, me, shred=True)
    assert sorted(path.name for path in victim.iterdir()) == sorted(["thesis", blob.name])
    assert len(Room(room.root, identity=me).list()) == 6


# ---------------------------------------------------------------- epochs, and what is shredded


def test_what_was_deleted_cannot_be_read_with_the_keys_that_remain(room: Room, me: Identity, tmp_path: Path) -> None:
    backup = shutil.copytree(room.root / "blobs", tmp_path / "blobs")
    room.delete("card", f"{WORDS[3]}-0")
    before = read(room)
    ring = vaults.rotate(room.root, me, shred=True)
    assert read(room) == before
    assert list(read(room)) == list(before)
    assert (ring.now.number, len(ring.epochs)) == (2, 1)
    from flyroom.room.seals import Sealed

    for path in (path for path in backup.rglob("*") if path.is_file()):
        with pytest.raises(ValueError, match="no epoch"):
            Sealed(ring).find_epoch(path)


def test_a_damaged_blob_keeps_its_secret_and_stops_nobody(room: Room, me: Identity) -> None:
    path = Folder(room.root).list_blobs()[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(RoomError, match=r"could not be moved to the new epoch: .* is damaged or gone"):
        vaults.rotate(room.root, me, shred=True)
    assert len(room.list()) == 6
    room.put("card", "x", {})
    path.write_bytes(content)
    assert len(read(room)) == 7
    assert len(vaults.rotate(room.root, me, shred=True).epochs) == 1
    assert len(read(room)) == 7


def test_a_process_with_the_room_open_goes_on_after_each_change(room: Room, me: Identity, other: Identity) -> None:
    changes = [
        lambda: vaults.add(room.root, [other.recipient], me),
        lambda: vaults.rotate(room.root, me),
        lambda: vaults.remove(room.root, [other.recipient], me),
        lambda: vaults.rotate(room.root, me, shred=True),
    ]
    with room.lock("stage"):
        for number, change in enumerate(changes):
            change()
            room.put("card", f"k{number}", {"number": number})
            assert len(room.list()) == 7 + number
    assert len(read(room)) == 10


def test_what_was_staged_for_the_readers_before_is_written_again(
    room: Room, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, calls = Room._begin, []

    def rotate_first(self: Room, how: str = "DEFERRED") -> Any:
        if how == "IMMEDIATE" and not calls:
            calls.append(how)
            vaults.rotate(room.root, me)
        return begin(self, how)

    room.list()
    monkeypatch.setattr(Room, "_begin", rotate_first)
    room.put("card", "late", {})
    monkeypatch.undo()
    seal = room._open()
    with room._begin() as db:
        from flyroom.room import index

        (row,) = [row for row in index.read_rows(db, seal) if row.key == "late"]
    assert row.epoch == 2
    assert seal.find_epoch(Folder(room.root).locate(row.blob)) == 2
    assert list((room.root / "staged").iterdir()) == []


# ---------------------------------------------------------------- killed


def die_at(target: Any, name: str, number: int, work: Callable[[], object]) -> bool:
    """Do something in a process that kills itself at the `number`th call of a function; whether it came to that."""
    child = os.fork()
    if child == 0:
        calls, call = [0], getattr(target, name)

        def step(*words: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*words, **more)

        setattr(target, name, step)
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("number", [2, 7, 12])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_conversion_that_is_killed_goes_on(tmp_path: Path, me: Identity, number: int, call: str) -> None:
    clear = Room(tmp_path / "room")
    clear.put_many([plant(i) for i in range(4)])
    before = read(clear)
    die_at(os, call, number, lambda: vaults.encrypt(clear.root, me))
    vaults.encrypt(clear.root, me)
    sealed = Room(clear.root, identity=me)
    assert read(sealed) == before
    assert list(read(sealed)) == list(before)
    assert find_words(clear.root) == []
    assert len(Folder(clear.root).list_blobs()) == 4
    assert list((clear.root / "staged").iterdir()) == []


@pytest.mark.parametrize("number", [2, 4, 9])
@pytest.mark.parametrize("verb", ["shred", "remove"])
def test_a_change_of_readers_that_is_killed_is_whole_or_did_not_happen(
    room: Room, me: Identity, other: Identity, number: int, verb: str
) -> None:
    vaults.add(room.root, [other.recipient], me)
    before = read(room)
    work = {
        "shred": lambda: vaults.rotate(room.root, me, shred=True),
        "remove": lambda: vaults.remove(room.root, [other.recipient], me),
    }[verb]
    die_at(os, "fsync", number, work)
    fresh = Room(room.root, identity=me)
    assert read(fresh) == before
    lid = keyring.read(room.root / "vault.json")
    assert lid.pending == ""
    assert (other.recipient in lid.recipients) or fresh._open().epoch == 2
    fresh.put("card", "after", {})
    assert len(read(fresh)) == len(before) + 1
    assert find_words(room.root) == []


def test_a_full_disk_loses_nothing(room: Room, me: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read(room)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    for work in (
        lambda: room.put("card", "x", {}),
        lambda: vaults.rotate(room.root, me),
        lambda: vaults.rotate(room.root, me, shred=True),
        lambda: vaults.add(room.root, [Identity.generate().recipient], me),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RoomError, match=r"disk is full .* nothing that was stored is lost"):
                work()
        assert read(Room(room.root, identity=me)) == before
    assert list((room.root / "staged").iterdir()) == []


def test_what_cannot_be_written_is_said_as_in_a_clear_room(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in (
        Entry(kind="a", key="k", payload={"x": float("nan")}),
        Entry(kind="a", key="k", payload={}, tensors={"x": torch.zeros(1, dtype=torch.complex64)}),
    ):
        with pytest.raises(RoomError, match="a k cannot be stored"):
            room.put_many([entry])
    from flyroom.room import seals

    class Full:
        """A file on a full disk, which says so while age is writing to it."""

        def write(self, part: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(seals, "create", lambda path: contextlib.nullcontext(Full()))
    with pytest.raises(RoomError, match="disk is full"):
        room.put("a", "k", {})
    monkeypatch.undo()
    assert len(read(Room(room.root, identity=room._identity))) == 6


# ---------------------------------------------------------------- signed


def test_every_entry_says_who_signed_it(tmp_path: Path, me: Identity, other: Identity) -> None:
    root = tmp_path / "room"
    Room(root).put("card", "nobody", {}, {"x": torch.ones(3)})
    Room(root, identity=me).put("card", "me", {}, {"x": torch.ones(3)})
    Room(root, identity=other).put("card", "other", {})
    states = [(x.key, x.state, x.signer, x.is_trusted) for x in Room(root, identity=me).verify()]
    assert states == [
        ("nobody", "unsigned", None, False),
        ("me", "signed", me.signer, True),
        ("other", "signed", other.signer, False),
    ]
    vaults.encrypt(root, me)
    sealed = Room(root, identity=me)
    assert [(x.key, x.state, x.signer, x.is_trusted) for x in sealed.verify()] == states  # a signature stays
    vaults.add(root, [other.signer], me)
    assert [x.is_trusted for x in sealed.verify()] == [False, True, True]


@pytest.mark.parametrize("part", ["payload", "meta", "key", "tensor", "shape", "signer", "signature", "none"])
def test_a_change_of_any_part_is_a_bad_signature(tmp_path: Path, me: Identity, other: Identity, part: str) -> None:
    entry = plant(0)
    data = b"".join(entries.serialize(entry, me))
    size = 8 + int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8:size]), data[size:]
    about = json.loads(header["__metadata__"]["flyroom"])
    signer, _, signature = header["__metadata__"]["signed"].partition(" ")
    if part in ("payload", "meta"):
        about[part] = {}
    elif part == "key":
        about["key"] = "another"
    elif part == "tensor":
        tensors = tensors[:-1] + b"\1"
    elif part == "shape":
        header[WORDS[4]]["shape"] = [3, 3]
    elif part == "signer":
        signer = other.signer
    elif part == "signature":
        signature = "zz"
    header["__metadata__"] = {"flyroom": json.dumps(about, separators=(",", ":")), "signed": f"{signer} {signature}"}
    raw = json.dumps(header, separators=(",", ":")).encode()
    import io

    file = io.BytesIO(len(raw).to_bytes(8, "little") + raw + tensors)
    result = entries.read_signature(file, lambda signer: True)
    assert result.state == ("signed" if part == "none" else "bad")
    assert result.is_trusted is (part == "none")


def test_a_signed_entry_that_was_changed_in_a_clear_room_is_found(tmp_path: Path, me: Identity) -> None:
    import hashlib

    room = Room(tmp_path / "room", identity=me)
    room.put("card", "k", {"verdict": "fail"})
    (path,) = Folder(room.root).list_blobs()
    content = path.read_bytes().replace(b"fail", b"pass")
    path.unlink()
    name = hashlib.sha256(content).hexdigest()
    fresh = Folder(room.root).locate(name)
    fresh.parent.mkdir(exist_ok=True)
    fresh.write_bytes(content)
    (room.root / "index.sqlite3").unlink()
    (signature,) = Room(room.root, identity=me).verify()
    assert (signature.key, signature.state, signature.is_trusted) == ("k", "bad", False)


def test_pins_are_of_a_path_and_a_copy_elsewhere_is_believed(room: Room, me: Identity, tmp_path: Path) -> None:
    shutil.copytree(room.root, tmp_path / "copy")
    vaults.rotate(room.root, me)
    Room(tmp_path / "copy", identity=me).put("card", "x", {})
    assert set(pins._read()) == {str(room.root), str(tmp_path / "copy")}


def test_rooms_that_are_noted_at_once_are_both_remembered(room: Room, me: Identity, tmp_path: Path) -> None:
    shutil.copytree(room.root, tmp_path / "copy")
    with pins._hold():
        late = threading.Thread(target=lambda: Room(tmp_path / "copy", identity=me).list())
        late.start()
        late.join(0.5)
        pin = pins._read()[str(room.root)]
        write_over(home() / "rooms.json", json.dumps({"/another": pin, str(room.root): pin}).encode())
    late.join()
    assert set(pins._read()) == {"/another", str(room.root), str(tmp_path / "copy")}


def test_a_file_of_age_is_no_blob_unless_it_is_of_an_epoch(room: Room, me: Identity, other: Identity) -> None:
    import hashlib

    data = encrypt(b"".join(entries.serialize(plant(9), other)), [me.recipient])
    name = hashlib.sha256(data).hexdigest()
    path = Folder(room.root).locate(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    (room.root / "index.sqlite3").unlink()
    assert len(Room(room.root, identity=me).list()) == 6  # who cannot open the keyring adds nothing


def test_a_blob_that_age_finds_damaged_is_left_out(room: Room) -> None:
    import hashlib

    path = Folder(room.root).list_blobs()[0]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # in the part that is encrypted, under a name that agrees
    path.unlink()
    fresh = Folder(room.root).locate(hashlib.sha256(content).hexdigest())
    fresh.parent.mkdir(exist_ok=True)
    fresh.write_bytes(content)
    (room.root / "index.sqlite3").unlink()
    again = Room(room.root, identity=room._identity)
    assert len(again.list()) == 5
    assert again.check().corrupt == (fresh,)


# ---------------------------------------------------------------- who can write the folder


def make_clear(root: Path) -> None:
    """What a file server does to an encrypted room that it wants to read from now on."""
    (root / "vault.json").unlink()
    (root / "format").write_text("flyroom room 2\n")


def test_what_was_encrypted_is_never_written_in_clear(room: Room, me: Identity) -> None:
    room.list()
    make_clear(room.root)
    for one in (room, Room(room.root, identity=me), Room(room.root)):
        with pytest.raises(RoomError, match="was encrypted when this machine saw it last"):
            one.put("card", "x", {"says": WORDS[0]})
    with pytest.raises(RoomError, match="was encrypted when this machine saw it last"):
        vaults.encrypt(room.root, me)
    assert find_words(room.root) == []


def test_an_open_room_stays_encrypted_where_nothing_is_remembered(room: Room) -> None:
    room.list()
    (home() / "rooms.json").unlink()
    make_clear(room.root)
    with pytest.raises(RoomError, match="is gone, and this room was encrypted"):
        room.put("card", "x", {"says": WORDS[0]})


def test_the_keyring_of_another_room_is_not_written_under(room: Room, me: Identity, other: Identity) -> None:
    """It is signed by the same identity, and names a reader who was removed there since."""
    elsewhere = room.root.with_name("elsewhere")
    vaults.encrypt(elsewhere, me)
    for _ in range(3):
        vaults.rotate(elsewhere, me)
    vaults.add(elsewhere, [other.recipient], me)
    (room.root / "vault.json").write_bytes((elsewhere / "vault.json").read_bytes())
    with pytest.raises(RoomError, match="is of another room than the one"):
        Room(room.root, identity=me).put("card", "x", {})


def test_a_new_room_may_take_the_place_of_an_old_one(room: Room, me: Identity) -> None:
    shutil.rmtree(room.root)
    vaults.encrypt(room.root, me)
    Room(room.root, identity=me).put("card", "x", {})


def test_a_damaged_blob_does_not_become_whole_by_encryption(tmp_path: Path, me: Identity) -> None:
    clear = Room(tmp_path / "room")
    clear.put_many([plant(i) for i in range(2)])
    path = Folder(clear.root).list_blobs()[0]
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\x80\x40")
    assert clear.check().corrupt == (path,)
    vaults.encrypt(clear.root, me)
    sealed = Room(clear.root, identity=me)
    assert sealed.check().corrupt == (path,)
    assert len(sealed.list()) == 1
    assert find_words(clear.root) == []  # and in clear it is no more


@pytest.mark.parametrize("sealed", [False, True])
def test_an_index_that_hides_an_entry_is_found_and_shredding_keeps_the_entry(
    tmp_path: Path, me: Identity, sealed: bool
) -> None:
    if sealed:
        vaults.encrypt(tmp_path / "room", me)
    room = Room(tmp_path / "room", identity=me)
    room.put_many([plant(i) for i in range(3)])
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        ((name,),) = db.execute("SELECT blob FROM entries LIMIT 1").fetchall()
        db.execute("DELETE FROM entries WHERE blob = ?", [name])
        db.commit()
    hidden = Folder(room.root).locate(name)
    report = Room(room.root, identity=me).check()
    assert (report.entries, report.lost, report.orphans, report.misfiled) == (2, (), (hidden,), (hidden,))
    if sealed:
        vaults.rotate(room.root, me, shred=True)
        assert len(read(Room(room.root, identity=me))) == 3


def test_a_shred_beside_a_deletion_brings_nothing_back(
    room: Room, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the rows' removal and the blobs', a deleted entry is a whole blob without a row."""
    drop = Room._drop

    def shred_first(self: Room, names: Any) -> None:
        monkeypatch.setattr(Room, "_drop", drop)
        vaults.rotate(room.root, me, shred=True)
        drop(self, names)

    gone = plant(0)
    monkeypatch.setattr(Room, "_drop", shred_first)
    room.delete(gone.kind, gone.key)
    again = Room(room.root, identity=me)
    assert again.get(gone.kind, gone.key) is None
    assert (len(read(again)), again.check().orphans) == (5, ())


def test_an_index_that_says_another_verdict_is_found(tmp_path: Path, me: Identity) -> None:
    room = Room(tmp_path / "room", identity=me)
    room.put("card", "k", {"verdict": "fail"}, meta={"verdict": "fail"})
    assert room.check().misfiled == ()
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        db.execute("UPDATE entries SET meta = ?", ['{"verdict": "pass"}'])
        db.commit()
    again = Room(room.root, identity=me)
    assert again.check().misfiled == tuple(Folder(room.root).list_blobs())
    (signature,) = again.verify()
    assert (signature.key, signature.state, signature.is_trusted) == ("k", "bad", False)
