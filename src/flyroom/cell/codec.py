"""Messages between a lab and a detector: data, and nothing that is run when it is read.

A message is a frame: a length; a head (JSON) that says what it is; a body (JSON), whose form is that of the lab's own
signatures in `flyroom.types`; and the bytes of tensors, whose types and shapes stand in the head. Whatever does not fit
its form is refused by name (pydantic, strict). Both sides read the same way, so neither can make the other run code.

Left out: pickles; sparse, quantised and complex tensors, which no lab gives.
"""

from __future__ import annotations

import builtins
import inspect
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from torch import Tensor

from flyroom import types
from flyroom.types import AccessDenied, Finding, Lab, NotAvailable, Reply, Suspect, detection

STRICT = ConfigDict(strict=True, ser_json_inf_nan="constants")
METHODS = tuple(name for name, part in vars(Lab).items() if callable(part) and not name.startswith("_"))
FACTS = tuple(name for name, part in vars(Lab).items() if isinstance(part, property))
DTYPES = {str(t).removeprefix("torch."): t for t in (torch.float32, torch.float64, torch.float16, torch.bfloat16)}
DTYPES |= {str(t).removeprefix("torch."): t for t in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)}
DTYPES |= {"bool": torch.bool}
ERRORS = {  # by name: what may be raised on the other side
    **{n: e for n, e in vars(builtins).items() if isinstance(e, type) and issubclass(e, Exception)},
    **{e.__name__: e for e in (AccessDenied, NotAvailable)},
}
TEXT = 4000  # characters of an error that are sent on


class Malformed(ValueError):
    """A message that is none: too long, cut, or of another form."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A message: `what` it is, `head` with what else there is to say, a `body` of JSON, and `tensors`."""

    what: str
    head: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    tensors: Sequence[Tensor] = ()


# ---------------------------------------------------------------- forms


@lru_cache(maxsize=1)
def _forms() -> dict[str, tuple[type[BaseModel], Any]]:
    """Of each method of a lab: the form of its arguments, and that of its result, None where tensors are in it."""
    forms = {}
    for name in METHODS:
        hints = get_type_hints(getattr(Lab, name), {**vars(detection), "Tensor": Tensor})
        result = hints.pop("return")
        fields: dict[str, Any] = {key: (hint, ...) for key, hint in hints.items()}
        arguments = create_model(name, __config__=STRICT, **fields)
        arguments.model_rebuild(_types_namespace=vars(types))  # where the names in the records' signatures stand
        forms[name] = arguments, None if "Tensor" in str(result) else _form(result)
    return forms


def pack_call(method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parcel:
    """A call of a lab's method. Raises TypeError where the arguments are not those of the method."""
    signature = inspect.signature(getattr(Lab, method))
    call = signature.bind(None, *args, **kwargs)
    call.apply_defaults()
    call.arguments.pop("self")
    body = _dump(_forms()[method][0].model_construct(**call.arguments))
    return Parcel(what="call", head={"method": method}, body=body)


def unpack_call(parcel: Parcel) -> tuple[str, dict[str, Any]]:
    """The method and its arguments. AttributeError for a method that a lab lacks, TypeError for other arguments."""
    method = parcel.head.get("method")
    if method not in METHODS:
        raise AttributeError(f"a lab has no {str(method)[:80]}")
    try:
        return method, dict(vars(_forms()[method][0].model_validate_json(parcel.body)))
    except ValidationError as error:
        raise TypeError(f"lab.{method}: {explain(error)}") from None


def pack_result(method: str, value: Any) -> Parcel:
    """What a method of the lab gave, as data: `unpack_result` reads it."""
    form = _forms()[method][1]
    if form is not None:
        return Parcel(what="value", body=_dump(value, form))
    tensors: list[Tensor] = []
    return Parcel(what="value", body=json.dumps(_set_apart(value, tensors)).encode(), tensors=tensors)


def unpack_result(method: str, parcel: Parcel) -> Any:
    """What a method of the lab gave. ValueError for what it cannot have given."""
    form = _forms()[method][1]
    if form is not None:
        return form.validate_json(parcel.body)
    return _put_together(json.loads(parcel.body), parcel.tensors)


def _set_apart(value: Any, tensors: list[Tensor]) -> Any:
    """Tensors, lists of them and mappings to them, with numbers in their places."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return len(tensors) - 1
    if isinstance(value, Mapping):
        return {key: _set_apart(part, tensors) for key, part in value.items()}
    return [_set_apart(part, tensors) for part in value]


def _put_together(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, int):
        return tensors[value]
    if isinstance(value, dict):
        return {key: _put_together(part, tensors) for key, part in value.items()}
    return [_put_together(part, tensors) for part in value]


def _form(kind: Any) -> TypeAdapter[Any]:
    form = TypeAdapter(kind, config={**STRICT, "defer_build": True})
    form.rebuild(_types_namespace=vars(types))
    return form


UNITS: dict[str, TypeAdapter[Any]] = {"model": _form(list[Suspect]), "response": _form(list[Reply])}
FINDINGS = _form(list[Finding])


def pack_findings(findings: Sequence[Finding]) -> Parcel:
    """What a detector found, as data: `unpack_findings` reads it."""
    return Parcel(what="findings", body=_dump(findings, FINDINGS))


def unpack_findings(parcel: Parcel) -> list[Finding]:
    """Raises Malformed for what are no findings: a suspicion that is a text, say."""
    try:
        return FINDINGS.validate_json(parcel.body)
    except ValidationError as error:
        raise Malformed(f"findings: {explain(error)}") from None


def pack_error(error: BaseException) -> Parcel:
    """An error as its class's name and its text."""
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return Parcel(what="error", head={"kind": type(error).__name__, "text": text[:TEXT]})


def unpack_error(parcel: Parcel) -> Exception:
    """The error, where its class is one of Python's own or of a lab's; else a RuntimeError that names the class."""
    kind, text = str(parcel.head.get("kind")), str(parcel.head.get("text"))
    try:
        return ERRORS[kind](text)
    except (KeyError, TypeError):
        return RuntimeError(f"{kind}: {text}")


def explain(error: ValidationError) -> str:
    """The first thing that is wrong, in a line: where, and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}".removeprefix(": ")[:300]


def _dump(value: Any, form: TypeAdapter[Any] | None = None) -> bytes:
    if form is None:
        return type(value).__pydantic_serializer__.to_json(value, warnings=False, fallback=_plain)
    return form.dump_json(value, warnings=False, fallback=_plain)


def _plain(value: Any) -> Any:
    """A number of numpy's or torch's."""
    try:
        return value.item()
    except AttributeError:
        raise TypeError(f"{type(value).__name__} cannot be sent to a lab or by it") from None


# ---------------------------------------------------------------- the line


class Line:
    """One end of a line. `limit` is the longest message in bytes that is read from it."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self._socket, self._limit = socket.socket(fileno=descriptor), limit

    def close(self) -> None:
        self._socket.close()

    def send(self, parcel: Parcel, until: float | None = None) -> None:
        """Raises TimeoutError when it is not read before `until` (of `time.monotonic`), OSError when the line is
        cut.
        """
        arrays = [tensor.detach().cpu().contiguous() for tensor in parcel.tensors]
        forms = [[str(array.dtype).removeprefix("torch."), list(array.shape)] for array in arrays]
        head = json.dumps({**parcel.head, "what": parcel.what, "tensors": forms}).encode()
        parts = [memoryview(array.flatten().view(torch.uint8).numpy().data) for array in arrays]
        length = 8 + len(head) + len(parcel.body) + sum(map(len, parts))
        front = struct.pack(">QII", length, len(head), len(parcel.body)) + head + parcel.body
        for part in [front, *parts]:
            self._wait(until)
            self._socket.sendall(part)

    def receive(self, until: float | None = None) -> Parcel:
        """The next message. Raises EOFError when the line is cut, TimeoutError, and Malformed."""
        (length,) = struct.unpack(">Q", self._take(8, until))
        if length > self._limit:
            raise Malformed(f"a message of {length:,} bytes; it may have {self._limit:,}")
        data = self._take(length, until)
        try:
            return _parse(data)
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, struct.error, MemoryError) as error:
            raise Malformed(f"a message cannot be read: {type(error).__name__}: {str(error)[:200]}") from None

    def _take(self, length: int, until: float | None) -> bytearray:
        data = bytearray(length)
        view, place = memoryview(data), 0
        while place < length:
            self._wait(until)
            count = self._socket.recv_into(view[place:])
            if not count:
                raise EOFError
            place += count
        return data

    def _wait(self, until: float | None) -> None:
        rest = None if until is None else until - time.monotonic()
        if rest is not None and rest <= 0:
            raise TimeoutError
        self._socket.settimeout(rest)


def _parse(data: bytearray) -> Parcel:
    head_length, body_length = struct.unpack_from(">II", data)
    place = 8 + head_length
    if place + body_length > len(data):
        raise ValueError("its parts are longer than it")
    head = json.loads(data[8:place])
    body = bytes(data[place : place + body_length])
    place += body_length
    tensors = []
    for name, shape in head.pop("tensors"):
        dtype = DTYPES[name]
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"a shape is {shape}")
        count = 1
        for n in shape:
            count *= n
        size = count * dtype.itemsize
        if place + size > len(data):
            raise ValueError("a tensor is longer than it")
        whole = torch.frombuffer(data, dtype=dtype, count=count, offset=place) if count else torch.empty(0, dtype=dtype)
        tensors.append(whole.clone().reshape(shape))
        place += size
    return Parcel(what=str(head.pop("what")), head=head, body=body, tensors=tensors)
