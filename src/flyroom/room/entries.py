"""An entry as bytes: a safetensors file whose header says what it is, and who signed it.

All but the tensors stands as JSON under one key of the header's metadata, so that the same content has the same bytes
each time. Where there is an identity a second key holds the signer and an Ed25519 signature over

    "flyroom entry 1\\n" + SHA-256(kind, key, meta and payload) + SHA-256(names, types, shapes) + SHA-256(the tensors)

so a signature covers all of an entry, and stays with it when it is encrypted, copied or taken to another room. It does
not say when the entry was made, nor that it is the last under its key: the log does, where it is signed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from flyroom.types import Entry, plain
from flyroom.vault import Identity, verify

if TYPE_CHECKING:
    from torch import Tensor

HEADER = 100_000_000  # bytes at most, as in safetensors
DTYPES = {  # as the format of safetensors spells them; by name, so that `flyroom ls` does not wait for torch
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint64": "U64",
    "torch.uint32": "U32",
    "torch.uint16": "U16",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
# A file that is not an entry fails in one of these ways: no safetensors, no JSON, JSON of another shape or too deep, a
# file with a hole that is larger than memory.
UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, RecursionError, MemoryError)


class Signature(NamedTuple):
    """Who signed an entry: `state` is "signed", "unsigned" or "bad"; a signer is trusted where the room names it."""

    kind: str
    key: str
    state: str
    signer: str | None = None
    is_trusted: bool = False


def serialize(entry: Entry, identity: Identity | None) -> Iterator[bytes | memoryview]:
    """The parts of the file: the header's length and the header, then the tensors, one at a time."""
    about = {"kind": entry.kind, "key": entry.key, "meta": entry.meta, "payload": entry.payload}
    text = json.dumps(plain(about), allow_nan=False, separators=(",", ":"))
    # Wide types first, as safetensors does: every tensor then lies where its type may be mapped.
    tensors = sorted(entry.tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    places: dict[str, Any] = {}
    start = 0
    for name, tensor in tensors:
        if str(tensor.dtype) not in DTYPES or str(tensor.layout) != "torch.strided" or name == "__metadata__":
            raise ValueError(f"tensor {name!r} is {tensor.dtype}, {tensor.layout}; no safetensors file takes that")
        stop = start + tensor.numel() * tensor.element_size()
        places[name] = {"dtype": DTYPES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    metadata = {"flyroom": text}
    if identity is not None:
        sha = hashlib.sha256()
        for _, tensor in tensors:
            sha.update(_view(tensor))
        metadata["signed"] = f"{identity.signer} {identity.sign(_message(text, places, sha.digest())).hex()}"
    raw = json.dumps({"__metadata__": metadata, **places}, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    yield len(raw).to_bytes(8, "little") + raw
    for _, tensor in tensors:
        yield _view(tensor)


def parse(source: Path | bytes, *, tensors: bool = True) -> Entry:
    """What `serialize` was given, tuples as lists. A file's tensors are mapped, and take memory once looked at; without
    `tensors` only the header is read, and the bytes may end after it.
    """
    values: dict[str, Tensor] = {}
    if isinstance(source, Path):
        with safe_open(source, framework="pt") as file:
            about = json.loads((file.metadata() or {})["flyroom"])
            values = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    else:
        about = json.loads(read_header(io.BytesIO(source))["__metadata__"]["flyroom"])
        values = _load(source) if tensors else {}
    if not isinstance(about, dict) or about.keys() != {"kind", "key", "meta", "payload"}:
        raise ValueError("this is not an entry of a room")
    kind, key, meta, payload = about["kind"], about["key"], about["meta"], about["payload"]
    if not is_word(kind) or not is_word(key) or not isinstance(meta, dict) or not isinstance(payload, dict):
        raise ValueError("this is not an entry of a room")
    return Entry(kind=kind, key=key, meta=plain(meta), payload=payload, tensors=values)  # plain: not too deep to index


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """The header of a safetensors file, which is left open at its tensors."""
    size = int.from_bytes(file.read(8), "little")
    if size > HEADER:
        raise ValueError(f"a header of {size} bytes")
    header = json.loads(file.read(size))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    return header


def read_signature(file: IO[bytes], trusts: Callable[[str], bool]) -> Signature:
    """Who signed the entry in a file, of which everything is read. Raises one of UNREADABLE for what is no entry."""
    header = read_header(file)
    metadata = header.pop("__metadata__")
    about = json.loads(metadata["flyroom"])
    sha = hashlib.sha256()
    while part := file.read(2**20):
        sha.update(part)
    claim = metadata.get("signed")
    if claim is None:
        return Signature(about["kind"], about["key"], "unsigned")
    signer, _, text = claim.partition(" ")
    try:
        is_good = verify(signer, bytes.fromhex(text), _message(metadata["flyroom"], header, sha.digest()))
    except ValueError:  # no hex
        is_good = False
    state = "signed" if is_good else "bad"
    return Signature(about["kind"], about["key"], state, signer, is_trusted=is_good and trusts(signer))


def is_word(value: object) -> bool:
    """Whether a value can be a kind or a key: printable text that is not empty."""
    return isinstance(value, str) and value != "" and value.isprintable()


def _message(text: str, places: Mapping[str, Any], digest: bytes) -> bytes:
    shapes = json.dumps(places, sort_keys=True, separators=(",", ":"))
    halves = (hashlib.sha256(half.encode()).digest() for half in (text, shapes))
    return b"flyroom entry 1\n" + b"".join(halves) + digest


def _load(source: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(source)


def _view(tensor: Tensor) -> memoryview:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
