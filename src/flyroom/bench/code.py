"""What a detector is, as keys hold it: its fields and its source, so that one that was edited is tried again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from flyroom.types import Detector, digest


def code_of(detector: Detector) -> list[str]:
    """The fields of a detector and its source. A function among the fields is what it does, not where it stands in
    memory.
    """
    fields = repr(detector)
    for value in _fields(detector).values():
        if inspect.isfunction(value):
            does = digest([value.__qualname__, _steps(value.__code__), repr(value.__defaults__), _closed(value)])
            fields = fields.replace(repr(value), does)
    return [fields, *_sources(type(detector))]


def _sources(kind: type) -> list[str]:
    """The source of a class's module and of its helpers' modules in the same package; of the class alone, or nothing,
    where it stands in no file.
    """
    module = sys.modules.get(kind.__module__)
    package = kind.__module__.rpartition(".")[0]
    helpers = [v.__module__ for v in vars(module).values() if inspect.isfunction(v)] if module and package else []
    modules = {kind.__module__, *(name for name in helpers if name.rpartition(".")[0] == package)}
    for parts in ([sys.modules[name] for name in sorted(modules)] if module else [], [kind]):
        try:
            if parts:
                return [inspect.getsource(part) for part in parts]
        except (OSError, TypeError):  # made at a prompt
            continue
    return []


def _fields(detector: Detector) -> Mapping[str, Any]:
    try:
        return vars(detector)
    except TypeError:  # it has slots
        return {}


def _steps(code: CodeType) -> list[Any]:
    within = [_steps(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), within]


def _closed(function: FunctionType) -> list[str]:
    return [repr(cell.cell_contents) for cell in function.__closure__ or ()]
