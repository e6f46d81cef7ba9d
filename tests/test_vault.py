"""Identities: one file that opens and signs; what is refused of a stranger's, and what lies open for how long."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pyrage
import pytest

from flyroom.vault import Identity, IdentityError, current, verify
from flyroom.vault import identity as module
from flyroom.vault import scratch as scratches

SLOW = "age-encryption.org/v1\n-> scrypt c2FsdHNhbHRzYWx0c2FsdA {} \nAAAA\n--- AAAA\n"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    scratches.scratch.cache_clear()
    return tmp_path / "home"


@pytest.fixture
def protected(tmp_path: Path) -> tuple[Path, Identity]:
    """A file as `age -p` makes it, but quicker: its rounds of scrypt are what takes time."""
    identity, path = Identity.generate(), tmp_path / "protected.key"
    module.write_private(path, pyrage.passphrase.encrypt(identity.secret.encode(), "a long passphrase"))
    return path, identity


def test_a_file_is_made_once_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "me.key"
    identity = Identity.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.read(path) == identity
    assert identity.recipient in path.read_text()
    assert identity.secret not in repr(identity)
    with pytest.raises(IdentityError, match="it may be the only key to a room"):
        Identity.create(path)
    assert [p.name for p in path.parent.iterdir()] == ["me.key"]


def test_signatures_and_age_files_are_of_one_secret() -> None:
    identity, other = Identity.generate(), Identity.generate()
    signature = identity.sign(b"a line")
    assert len(signature) == 64
    assert verify(identity.signer, signature, b"a line")
    for signer, text, message in (
        (other.signer, signature, b"a line"),
        (identity.signer, signature, b"a lime"),
        (identity.signer, b"", b"a line"),
        ("ed25519:" + "0" * 63, signature, b"a line"),
        ("", signature, b"a line"),
    ):
        assert not verify(signer, text, message)
    data = module.encrypt(b"words", [identity.recipient, other.recipient])
    assert identity.decrypt(data) == other.decrypt(data) == b"words"
    assert pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity.secret)]) == b"words"  # plain age
    for damage in (data[:-1], b"", b"junk" * 99):
        with pytest.raises(IdentityError, match="cannot open this"):
            identity.decrypt(damage)


def test_one_secret_always_gives_one_signer() -> None:
    secret = "AGE-SECRET-KEY-18KER9N95VCKY2UVUT5K62P7VY8QRP0CWGRA02YPL26M4AYVSHK3SFRS9U3"
    signer = "ed25519:9b9268240244dbe138e8b128c77184931d184a3592eff82dba44a53257c3c8b5"
    assert Identity(secret).signer == signer  # or what was signed by it before is nobody's


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not hold one AGE-SECRET-KEY"),
        (b"\xff" * 100, "does not hold one AGE-SECRET-KEY"),
        (b"AGE-SECRET-KEY-1" + b"Q" * 58, "holds a damaged key"),
        (b"x" * (module.SIZE + 1), "must be a file of at most"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nAAAA", "no identity under a passphrase"),
        (SLOW.format(30).encode(), "no identity under a passphrase"),
        (SLOW.format(30).replace(" \n", "\n").encode(), r"asks for 2\*\*30 rounds of scrypt"),
        (SLOW.format(21).replace(" \n", "\n").encode(), r"asks for 2\*\*21 rounds of scrypt"),
        (b"age-encryption.org/v1\n-> X25519 AAAA\nAAAA\n--- AAAA\n", "no identity under a passphrase"),
    ],
)
def test_what_is_no_identity_file_is_refused_before_anything_slow(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "k"
    module.write_private(path, content)
    with pytest.raises(IdentityError, match=words):
        Identity.read(path, lambda question: "a guess")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Identity.create(tmp_path / "k")
    for mode in (0o640, 0o604, 0o660):
        (tmp_path / "k").chmod(mode)
        with pytest.raises(IdentityError, match=f"has mode 0{mode:o}, so others can read the secret; run: chmod 600"):
            Identity.read(tmp_path / "k")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(IdentityError, match="must be a file"):
        Identity.read(tmp_path / "pipe")
    with pytest.raises(IdentityError, match="No such file"):
        Identity.read(tmp_path / "gone")


@pytest.mark.parametrize("text", ["", "age1junk", "age1" + "q" * 58, "ssh-ed25519 AAAA", "age1yubikey1" + "q" * 50])
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="is no recipient"):
        module.encrypt(b"", [text])


def test_the_identity_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert current() is None
    assert "there is no identity" in module.explain()
    first, second = Identity.create(tmp_path / "1"), Identity.create(tmp_path / "2")
    module.save_settings(tmp_path / "1", first.recipient)
    assert current() == first
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "2"))
    assert current() == second
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "3"))
    with pytest.raises(IdentityError, match=r"FLYROOM_IDENTITY names .*3, and there is no such file"):
        current()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1, "recipient": "x"}', "[" * 20000])
def test_damaged_settings_are_named(home: Path, text: str) -> None:
    home.mkdir()
    (home / "vault.json").write_text(text)
    with pytest.raises(IdentityError, match=r"vault.json .*run `flyroom vault init` again"):
        current()


def test_a_protected_identity_is_open_between_unlock_and_lock(
    monkeypatch: pytest.MonkeyPatch, protected: tuple[Path, Identity]
) -> None:
    path, identity = protected
    monkeypatch.setenv("FLYROOM_IDENTITY", str(path))
    assert current() is None
    assert "is locked: run `flyroom vault unlock`" in module.explain()
    with pytest.raises(IdentityError, match="run `flyroom vault unlock`"):
        Identity.read(path)
    with pytest.raises(IdentityError, match="does not open with this passphrase"):
        module.unlock(path, lambda question: "wrong")
    assert current() is None
    module.unlock(path, lambda question: "a long passphrase")
    assert current() == identity
    (copy,) = module.runtime().glob("*.key")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert module.lock(path)
    assert not module.lock(path)
    assert current() is None


def test_a_runtime_folder_of_others_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "flyroom").mkdir(mode=0o755)
    with pytest.raises(IdentityError, match="is not a folder of yours alone"):
        module.runtime()
    (tmp_path / "run" / "flyroom").rmdir()
    (tmp_path / "run" / "flyroom").symlink_to(tmp_path)
    with pytest.raises(IdentityError, match="is not a folder of yours alone"):
        module.runtime()


def test_scratch_is_wiped_by_the_next_process_and_not_by_another(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        (scratches.scratch() / "rows.csv").write_text("clear words")
        os._exit(0)  # as if it were killed: nothing of its end is run
    os.waitpid(child, 0)
    (folder,) = (module.runtime() / "scratch").iterdir()
    assert (folder / "rows.csv").exists()
    own = scratches.scratch()
    assert not folder.exists()
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    (own.parent / "link").symlink_to(tmp_path)
    assert scratches.wipe() == 0
    assert own.exists()
    assert tmp_path.exists()
