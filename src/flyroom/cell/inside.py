"""The detector's end of the line: what the process in a cell runs.

Here, and nowhere else, a detector is made of its bytes or imported as a plug-in. Whatever it raises, prints or leaves
behind is in this process alone.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from flyroom.cell import codec
from flyroom.cell.codec import Line, Parcel
from flyroom.types import Access, NotAvailable, Unit


class FarLab:
    """The lab, from afar: its facts are here, and its methods are messages."""

    def __init__(self, line: Line, values: Mapping[str, Any]) -> None:
        self._line = line
        vars(self).update({name: value for name, value in values.items() if name in codec.FACTS})

    def __getattr__(self, method: str) -> Any:
        if method not in codec.METHODS:
            raise AttributeError(f"a lab has no {method}; it has {', '.join(codec.METHODS)}")

        def call(*args: Any, **kwargs: Any) -> Any:
            self._line.send(codec.pack_call(method, args, kwargs))
            answer = self._line.receive()
            if answer.what == "error":
                raise codec.unpack_error(answer)
            return codec.unpack_result(method, answer)

        return call


class _Roots(MetaPathFinder):
    """Finds modules that are not installed, each in its one file or package."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        file = self._files.get(name) if path is None else None
        if file is None:
            return None
        within = [str(Path(file).parent)] if Path(file).name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=within)


def main(settings: str) -> None:
    """Work until the line is cut."""
    config = json.loads(settings)
    sys.path.extend(path for path in config["search"] if path not in sys.path)
    sys.meta_path.insert(0, _Roots(config["roots"]))
    line = Line(config["line"], sys.maxsize)
    detectors: list[Any] = []
    while True:
        try:
            parcel = line.receive()
        except EOFError:
            return
        line.send(_answer(parcel, line, detectors))


def _answer(parcel: Parcel, line: Line, detectors: list[Any]) -> Parcel:
    try:
        if parcel.what == "detector":
            detectors[:] = [_make(parcel)]
            return _describe(detectors[0])
        unit: Unit = parcel.head["unit"]
        units = codec.UNITS[unit].validate_json(parcel.body)
        lab = FarLab(line, parcel.head["lab"])
        return codec.pack_findings(list(detectors[0](units, lab, seed=parcel.head["seed"])))
    except NotAvailable as reason:
        return Parcel(what="not available", head={"text": str(reason)[: codec.TEXT]})
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a detector stops itself and nothing else
        return Parcel(what="error", head={"kind": type(error).__name__, "text": _text(error)})


def _make(parcel: Parcel) -> Any:
    point = parcel.head.get("point")
    if point is None:
        return pickle.loads(parcel.tensors[0].numpy().tobytes())
    try:
        make = EntryPoint(name="", value=point, group="").load()
    except Exception as error:
        raise ImportError(f"importing {point} raised {type(error).__name__}: {error}") from None
    return make()


def _describe(detector: Any) -> Parcel:
    needs, unit = detector.needs, getattr(detector, "unit", "model")
    if not isinstance(needs, Access):
        raise TypeError(f"needs is {str(needs)[:80]!r}; it must be an Access")
    about = " ".join(str(type(detector).__doc__ or "").split("\n\n")[0].split())[: codec.TEXT]
    return Parcel(what="described", head={"needs": needs.value, "unit": str(unit), "about": about})


def _text(error: BaseException) -> str:
    try:
        return str(error)[: codec.TEXT]
    except Exception:
        return "an error that cannot be put into words"
