"""An identity: one secret in one file, which opens rooms and signs what goes into them.

The secret is an X25519 key as age writes it (`AGE-SECRET-KEY-1…`), so that `age -d -i FILE` opens by hand whatever was
encrypted to it. The Ed25519 key that signs is derived from the secret by HKDF-SHA256 (RFC 5869) under a label that
nothing else uses: neither key says anything of the other, and one file is all that has to be kept. The public half of
the first is the recipient (`age1…`), that of the second the signer (`ed25519:` and 64 hex digits).

A file is refused where anybody but its owner could read it. It may itself be encrypted with a passphrase, as `age -p`
makes it; then `unlock` puts an open copy into a folder that belongs to this user and lies in memory where the machine
has such a folder, until `lock` removes it. A passphrase is asked for by a callback, and its file may not ask for more
than 2**20 rounds of scrypt (1 GiB): a stranger's file could otherwise take all memory.

Left out: keys in hardware, SSH keys and age's plug-ins, which run programs.
Source: age, https://age-encryption.org/v1 (format), by pyrage; RFC 8032 (Ed25519), by cryptography.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flyroom.vault.private import write_new, write_over

VARIABLE = "FLYROOM_IDENTITY"
LABEL = b"flyroom ed25519 1"  # what tells the signing key from everything else that might be derived of the secret
SECRET = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")
RECIPIENT = re.compile(r"age1[0-9a-z]{58}")
SIGNER = re.compile(r"ed25519:[0-9a-f]{64}")
PROTECTED = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
SIZE = 2**16  # bytes of an identity file at most
ROUNDS = 20  # log2 of scrypt's rounds at most: 1 GiB; `age -p` takes 18


class IdentityError(ValueError):
    """An identity cannot be used as asked: the message names the file and says what to do."""


@dataclass(frozen=True)
class Identity:
    """A secret that opens and signs. Its text is never shown.

    >>> import tempfile
    >>> identity = Identity.create(tempfile.mkdtemp() + "/me.key")
    >>> verify(identity.signer, identity.sign(b"a line"), b"a line")
    True
    """

    secret: str = field(repr=False)

    @cached_property
    def recipient(self) -> str:
        """What others encrypt to: `age1…`."""
        return str(self._key.to_public())

    @cached_property
    def signer(self) -> str:
        """What others check signatures with: `ed25519:` and 64 hex digits."""
        return f"ed25519:{self._signing_key.public_key().public_bytes_raw().hex()}"

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature of 64 bytes."""
        return self._signing_key.sign(message)

    def decrypt(self, data: bytes) -> bytes:
        """What an age file holds. Raises IdentityError where it is not encrypted to this recipient, or damaged."""
        try:
            return pyrage.decrypt(data, [self._key])
        except pyrage.DecryptError as error:
            raise IdentityError(f"{self.recipient} cannot open this: {error}") from error

    @classmethod
    def create(cls, path: str | Path, passphrase: str | None = None) -> Identity:
        """Make a new identity and write it to a file of mode 0600, encrypted where there is a passphrase.

        Raises IdentityError where the file exists: it may be the only key to a room.
        """
        identity = cls.generate()
        text = f"# recipient: {identity.recipient}\n# signer: {identity.signer}\n{identity.secret}\n".encode()
        write_private(Path(path), text if passphrase is None else pyrage.passphrase.encrypt(text, passphrase))
        return identity

    @classmethod
    def generate(cls) -> Identity:
        """A new identity that lies in no file."""
        return cls(str(pyrage.x25519.Identity.generate()))

    @classmethod
    def read(cls, path: str | Path, ask: Callable[[str], str] | None = None) -> Identity:
        """The identity in a file; `ask` is called with a sentence where the file needs a passphrase.

        Raises IdentityError where others could read the file, where it holds no identity of age's or several, or where
        it needs a passphrase and there is nobody to ask.
        """
        path = Path(path).expanduser()
        data = _read_private(path)
        if is_protected(data):
            if ask is None:
                raise IdentityError(f"{path} is protected by a passphrase; run `flyroom vault unlock`")
            data = _open_protected(path, data, ask(f"Passphrase of {path}: "))
        lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
        secrets = [line for line in lines if line and not line.startswith("#")]
        if len(secrets) != 1 or not SECRET.fullmatch(secrets[0]):
            raise IdentityError(f"{path} does not hold one AGE-SECRET-KEY-1…; make one with `flyroom vault init`")
        try:
            pyrage.x25519.Identity.from_str(secrets[0])
        except pyrage.IdentityError as error:
            raise IdentityError(f"{path} holds a damaged key: {error}") from error
        return cls(secrets[0])

    @cached_property
    def _key(self) -> pyrage.x25519.Identity:
        return pyrage.x25519.Identity.from_str(self.secret)

    @cached_property
    def _signing_key(self) -> Ed25519PrivateKey:
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=LABEL)
        return Ed25519PrivateKey.from_private_bytes(kdf.derive(self.secret.encode()))


def verify(signer: str, signature: bytes, message: bytes) -> bool:
    """Whether the signature is that signer's, of that message. False for what is no signer or no signature."""
    if not isinstance(signer, str) or not SIGNER.fullmatch(signer) or not isinstance(signature, bytes):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.removeprefix("ed25519:"))).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def encrypt(data: bytes, recipients: list[str]) -> bytes:
    """An age file that every one of the recipients opens. Raises IdentityError naming what is no recipient."""
    return pyrage.encrypt(data, [parse_recipient(text) for text in recipients])


def parse_recipient(text: str) -> pyrage.x25519.Recipient:
    """Raises IdentityError for what is no X25519 recipient, as a plug-in's would be, which runs a program."""
    try:
        if RECIPIENT.fullmatch(text):
            return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise IdentityError(f"{text[:80]!r} is no recipient: {error}") from error
    raise IdentityError(f"{text[:80]!r} is no recipient; it must be age1 and 58 letters and digits")


# ---------------------------------------------------------------- which identity is in use


def current() -> Identity | None:
    """The identity that this process works under, or None where there is none or it is locked (`explain` says which).

    It is the file that FLYROOM_IDENTITY names; else the one that `flyroom vault init` set up; of a file that needs a
    passphrase the copy that `flyroom vault unlock` left. Raises IdentityError where a file is set that cannot be used.
    """
    path = locate()
    if path is None:
        return None
    return read_open(path)


def read_open(path: Path) -> Identity | None:
    """The identity in a file, or in its open copy where it needs a passphrase; None where that is locked."""
    source = _locate_copy(path) if is_locked(path) else path
    return _read_once(source, *_stamp(source)) if source is path or _is_private_file(source) else None


def explain() -> str:
    """Why `current` gives None, and what to do: the end of a sentence."""
    path = locate()
    if path is None:
        return f"there is no identity: set {VARIABLE}=FILE, or run `flyroom vault init --room ROOM --identity FILE`"
    return f"the identity {path} is locked: run `flyroom vault unlock`"


def locate() -> Path | None:
    """The identity file that is set, or None. Raises IdentityError where it is set and not there."""
    name = os.environ.get(VARIABLE)
    path = Path(name).expanduser() if name else settings().get("identity")
    if path is None:
        return None
    if not Path(path).is_file():
        source = VARIABLE if name else str(home() / "vault.json")
        raise IdentityError(f"{source} names {path}, and there is no such file; bring it back or name another")
    return Path(path).absolute()


def home() -> Path:
    """Where this user's settings of the vault lie: $FLYROOM_HOME, else `flyroom` in the user's settings."""
    name = os.environ.get("FLYROOM_HOME")
    if name:
        return Path(name).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "flyroom"


def settings() -> dict[str, str]:
    """What `flyroom vault init` set up: `identity`, a file, and `recipient`, to whom new rooms are encrypted; or {}."""
    path = home() / "vault.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise IdentityError(f"{path} is damaged ({error}); run `flyroom vault init` again") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(key), str) for key in ("identity", "recipient")):
        raise IdentityError(f"{path} must name an identity and a recipient; run `flyroom vault init` again")
    return values


def unlock(path: Path, ask: Callable[[str], str]) -> Identity:
    """Put an open copy of a protected identity into the runtime folder, mode 0600, and return it."""
    identity = Identity.read(path, ask)
    if is_locked(path):
        copy = _locate_copy(path)
        copy.unlink(missing_ok=True)
        write_private(copy, f"{identity.secret}\n".encode())
    return identity


def lock(path: Path) -> bool:
    """Remove the open copy; whether there was one. A file without a passphrase cannot be locked."""
    copy = _locate_copy(path)
    existed = copy.exists()
    copy.unlink(missing_ok=True)
    return existed


def runtime() -> Path:
    """A folder of this user alone, in memory where the machine has one. Raises IdentityError where others own it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    memory = Path("/dev/shm")
    root = Path(base) if base else memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    folder = root / ("flyroom" if base else f"flyroom-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise IdentityError(f"{folder} is not a folder of yours alone (mode 0700); remove it, or set XDG_RUNTIME_DIR")
    return folder


def is_locked(path: Path) -> bool:
    """Whether a file needs a passphrase."""
    return is_protected(_read_private(path))


def is_protected(data: bytes) -> bool:
    """Whether the text of an identity file is behind a passphrase."""
    return data.lstrip().startswith(PROTECTED)


# ---------------------------------------------------------------- files


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, whole or not at all. Raises IdentityError where there is one."""
    path = path.expanduser()
    try:
        write_new(path, data)
    except FileExistsError as error:
        raise IdentityError(f"{path} exists; it may be the only key to a room, so it is not written over") from error


def _read_private(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for ever
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
    with open(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size > SIZE:
            raise IdentityError(f"{path} is no identity file: it must be a file of at most {SIZE} bytes")
        if about.st_mode & 0o077:
            mode = stat.S_IMODE(about.st_mode)
            raise IdentityError(f"{path} has mode {mode:04o}, so others can read the secret; run: chmod 600 {path}")
        return file.read(SIZE)


def _open_protected(path: Path, data: bytes, passphrase: str) -> bytes:
    header = re.match(rb"\s*age-encryption\.org/v1\n-> scrypt \S+ ([0-9]{1,4})\n", data)
    if header is None:
        raise IdentityError(f"{path} is no identity under a passphrase as `age -p` makes it (without --armor)")
    if int(header[1]) > ROUNDS:
        raise IdentityError(f"{path} asks for 2**{int(header[1])} rounds of scrypt; 2**{ROUNDS} is the most")
    try:
        return pyrage.passphrase.decrypt(data, passphrase)
    except pyrage.DecryptError as error:
        raise IdentityError(f"{path} does not open with this passphrase ({error})") from error


def _locate_copy(path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path.absolute()) + b"\0" + _read_private(path)).hexdigest()
    return runtime() / f"{digest[:32]}.key"  # a file that took the place of another has no open copy


def _is_private_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _stamp(path: Path) -> tuple[int, int, int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode


@lru_cache(maxsize=8)
def _read_once(path: Path, *stamp: int) -> Identity:
    del stamp  # it only tells a changed file from the one that was read
    return Identity.read(path)


def save_settings(path: Path, recipient: str) -> None:
    """Remember an identity's file, and that new rooms are encrypted to its recipient."""
    values = {"identity": str(path.expanduser().absolute()), "recipient": recipient}
    write_over(home() / "vault.json", json.dumps(values, indent=1).encode())
