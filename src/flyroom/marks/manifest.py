"""A signature over all files of an export, as OpenSSF's model signing writes it, beside one of the room's identity.

    model.sig     a Sigstore bundle: a DSSE envelope around an in-toto statement that lists every file by its SHA-256
    flyroom.sig   who signed: the identity's Ed25519 signature of that statement and of the key in the bundle

Model signing takes ECDSA keys and no Ed25519 keys, so the bundle is signed with a P-256 key, which is derived from the
identity's (deterministic) signature of a sentence that is never given out. Its public half stands in `flyroom.sig`:
anybody checks the bundle without flyroom by

    model_signing verify key FOLDER --signature FOLDER/model.sig --public_key KEY.pem

Written here, for the format is forty lines and the library brings forty packages. tests/test_marks.py holds our
statement against one that the library made, and has the library verify ours where it is installed.
Source: model-signing 1.1 (predicate https://model_signing/signature/v1.0); DSSE v1.0.0; in-toto Statement v1.
Left out: certificates, Sigstore's public log, folders in folders.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flyroom.vault import Identity
from flyroom.vault import verify as is_signed
from flyroom.whole import hash_file

BUNDLE, CLAIM = "model.sig", "flyroom.sig"
MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
SENTENCE = b"flyroom: the P-256 key that signs exports. This signature is a secret.\n"
LABEL = b"flyroom export 1\n"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4
LARGEST = 1 << 22  # bytes of a stranger's signature file


class Signature(NamedTuple):
    """What a folder's signature is worth: "good", "bad" or "unsigned"; who signed; and why it is bad."""

    state: str
    signer: str = ""
    why: str = ""


def sign(folder: Path, identity: Identity, name: str = "") -> None:
    """Sign every file of a folder as it is; `name` is what the statement calls it. Any other file is signed anew."""
    payload = json.dumps(_state(_hash_files(folder), name or folder.name), indent=2).encode()
    key = derive_key(identity)
    pem = _write_pem(key.public_key())
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD,
        "signatures": [{"sig": base64.b64encode(key.sign(_pae(payload), ec.ECDSA(hashes.SHA256()))).decode()}],
    }
    hint = hashlib.sha256(pem).hexdigest()
    material = {"publicKey": {"hint": hint}, "tlogEntries": []}
    bundle = {"mediaType": MEDIA, "verificationMaterial": material, "dsseEnvelope": envelope}
    claim = {"signer": identity.signer, "public_key": pem.decode(), "signature": _sign_claim(identity, pem, payload)}
    (folder / BUNDLE).write_text(json.dumps(bundle, indent=1) + "\n", encoding="utf-8")
    (folder / CLAIM).write_text(json.dumps(claim, indent=1) + "\n", encoding="utf-8")


def verify(folder: Path) -> Signature:
    """Hold every file of a folder against its signature. Nothing raises: what cannot be read is bad."""
    if not (folder / BUNDLE).exists() and not (folder / CLAIM).exists():
        return Signature("unsigned")
    try:
        claim, payload = _read(folder / CLAIM), _open_bundle(folder)
        pem, signer = str(claim["public_key"]).encode(), str(claim["signer"])
        if not is_signed(signer, bytes.fromhex(claim["signature"]), LABEL + pem + payload):
            return Signature("bad", signer, f"{CLAIM} is not that signer's, of this manifest and this key")
        why = _compare(json.loads(payload), _hash_files(folder))
        return Signature("bad" if why else "good", signer, why)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        return Signature("bad", "", f"the signature cannot be read: {error}")
    except InvalidSignature:
        return Signature("bad", "", f"{BUNDLE} is not signed with the key that {CLAIM} names")


def derive_key(identity: Identity) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of an identity, the same each time."""
    digest = hashlib.sha512(identity.sign(SENTENCE)).digest()  # 512 bits: the remainder is as good as uniform
    return ec.derive_private_key(int.from_bytes(digest) % (ORDER - 1) + 1, ec.SECP256R1())


# ---------------------------------------------------------------- the statement


def _state(files: Mapping[str, str], name: str) -> dict[str, Any]:
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    serialization_of = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [BUNDLE, CLAIM],
    }
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in files.items()]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": serialization_of, "resources": resources},
    }


def _hash_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file but the signatures, by name. ValueError for what is no plain file: it is not signed."""
    digests: dict[str, str] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name in (BUNDLE, CLAIM):
            continue
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path.name} is no plain file")
        digests[path.name] = hash_file(path)
    return digests


def _compare(statement: Mapping[str, Any], files: Mapping[str, str]) -> str:
    if statement["predicateType"] != PREDICATE or statement["_type"] != STATEMENT:
        return f"{BUNDLE} holds another kind of statement"
    signed = {row["name"]: row["digest"] for row in statement["predicate"]["resources"]}
    for name in sorted(signed.keys() | files.keys()):
        if name not in files:
            return f"{name} is missing"
        if name not in signed:
            return f"{name} was added"
        if signed[name] != files[name]:
            return f"{name} was changed"
    return ""


# ---------------------------------------------------------------- the envelope


def _pae(payload: bytes) -> bytes:
    return b" ".join([b"DSSEv1", str(len(PAYLOAD)).encode(), PAYLOAD.encode(), str(len(payload)).encode(), payload])


def _open_bundle(folder: Path) -> bytes:
    """The payload, once its signature was checked. Raises InvalidSignature."""
    envelope, pem = _read(folder / BUNDLE)["dsseEnvelope"], str(_read(folder / CLAIM)["public_key"]).encode()
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or envelope["payloadType"] != PAYLOAD:
        raise ValueError(f"{CLAIM} names no P-256 key, or {BUNDLE} holds no in-toto statement")
    payload = base64.b64decode(envelope["payload"])
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), _pae(payload), ec.ECDSA(hashes.SHA256()))
    return payload


def _sign_claim(identity: Identity, pem: bytes, payload: bytes) -> str:
    return identity.sign(LABEL + pem + payload).hex()


def _write_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} is a link, no plain file, or too large for a signature")
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return values
