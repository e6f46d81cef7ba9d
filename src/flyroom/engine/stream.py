"""Traces of more rows than memory holds: a safetensors file that is written block by block and read by slices.

    stream(engine, adapters, rows, [11], "residuals.safetensors")
    with safe_open("residuals.safetensors", "pt") as file:
        first_rows = file.get_slice("residuals")[:1000]  # [1000, 1, width]; nothing else is read

The header of the file says what it will hold, and blocks are appended behind it. So the length of an unfinished file
says how far a killed run came, and the same call continues from there.

Left out: several files, compression.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from flyroom.types import BASE, AdapterRef, Engine, Place, Row, digest

BLOCK = 4096  # rows in memory at once
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}  # the names of dtypes in safetensors


def stream(
    engine: Engine,
    adapters: Sequence[AdapterRef],
    rows: Sequence[Row],
    layers: Sequence[int],
    path: str | Path,
    *,
    at: Place = "answer",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write `Engine.trace` into a file, as "residuals", [rows, layers, width]. Returns the path of the file.

    A complete file at `path` is replaced; the unfinished file of the same call is continued. Raises ValueError for no
    rows, no layers, lists that differ in length, or a dtype that is not in `NAMES`.
    """
    if not rows or not layers or len(adapters) != len(rows):
        raise ValueError(
            f"adapters has {len(adapters)} entries, rows {len(rows)}, layers {len(layers)}; "
            "there must be one adapter a row, and at least one row and one layer"
        )
    if dtype not in NAMES:
        raise ValueError(f"dtype is {dtype}; it must be one of {', '.join(map(str, NAMES))}")
    path = Path(path)
    part = path.with_name(path.name + ".part")
    first = engine.trace(adapters[:1], rows[:1], layers, at=at).to(dtype)
    header = _header(_key(engine, adapters, rows, at, layers), (len(rows), *first.shape[1:]), dtype)
    size = first.numel() * first.element_size()
    finished = _count_rows(part, header, size)
    with part.open("r+b" if finished is not None else "wb") as file:
        if finished is None:
            file.write(header)
        file.truncate(len(header) + (finished or 0) * size)
        file.seek(0, os.SEEK_END)
        for start in range(finished or 0, len(rows), BLOCK):
            block_rows = slice(start, start + BLOCK)
            file.write(_bytes(engine.trace(adapters[block_rows], rows[block_rows], layers, at=at).to(dtype)))
            file.flush()
            os.fsync(file.fileno())  # the length of the file must be right also after a power cut
    part.replace(path)
    return path


def _count_rows(part: Path, header: bytes, size: int) -> int | None:
    """Returns how many whole rows the unfinished file holds; None where there is no file, or one of another call."""
    if not part.is_file():
        return None
    with part.open("rb") as file:
        if file.read(len(header)) != header:
            return None
    return (part.stat().st_size - len(header)) // size


def _header(key: str, shape: tuple[int, ...], dtype: torch.dtype) -> bytes:
    size = torch.Size(shape).numel() * dtype.itemsize
    fields = {
        "__metadata__": {"key": key},
        "residuals": {"dtype": NAMES[dtype], "shape": shape, "data_offsets": [0, size]},
    }
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _key(engine: Engine, adapters: Sequence[AdapterRef], rows: Sequence[Row], at: Place, layers: Sequence[int]) -> str:
    """Returns a digest of everything that the content of the file depends on, except its dtype and shape."""
    weights = {a.slot: _weights(engine, a) for a in set(adapters)}
    return digest([engine.base.digest, [weights[a.slot] for a in adapters], list(rows), at, list(layers)])


def _weights(engine: Engine, adapter: AdapterRef) -> str:
    if adapter == BASE:
        return "base"
    patch, total = engine.patch(adapter), hashlib.sha256()
    for name, tensor in sorted(patch.tensors.items()):
        total.update(name.encode() + _bytes(tensor))
    return digest([patch.shape, patch.prompt, total.hexdigest()])


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
