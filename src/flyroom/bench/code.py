"""What a detector is, as keys hold it: its fields and its source, so that one that was edited is tried again.

Of one of ours the source is that of its module and of all modules of ours that it leads to, but for the records in
`types`; of anybody else's, that of the whole package, or of a lone file and those beside it that it imports. What
stands in no file, as in a notebook, is read off its compiled steps. Nothing of a stranger's is run to find it: fields
are read as Python keeps them.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from flyroom.apart import LOADERS, is_ours
from flyroom.cell.carry import MRO, NAMES, fields_of, look_up, module_of, name_of, walk
from flyroom.types import Detector, PlugIn, digest
from flyroom.types.sources import file_of, files_of, hash_of, imports_of, names_in, origin, steps_of

DEEP = 6  # how far fields of fields are read
KNOWN = {*sys.stdlib_module_names, "builtins", "numpy", "torch", "scipy", "sklearn", "flyroom"}  # not a detector's own


def code_of(detector: Detector | PlugIn) -> list[str]:
    """The fields of a detector and its source. A function among the fields is what it does, not where it stands in
    memory.
    """
    if type(detector) is PlugIn:
        file = origin(detector.top)
        return [detector.point, *([hash_of(files_of(file))] if file else [])]
    if is_ours(detector):
        return [repr(detector), *_ours(type(detector).__module__)]
    return [digest(_say(detector)), *_theirs(detector), *([digest(loose)] if (loose := _loose(detector)) else [])]


@lru_cache(maxsize=64)
def _ours(module: str) -> tuple[str, ...]:
    """The sources of a module of ours and of those that it imports, theirs too."""
    names, waiting = {module}, [module]
    while waiting:
        beside = {name for name in _lead_to(waiting.pop()) if not name.startswith("flyroom.types")}
        waiting += beside - names
        names |= beside
    return tuple(inspect.getsource(sys.modules[name]) for name in sorted(names))


def _lead_to(module: str) -> Iterator[str]:
    file = file_of(module)
    for name in imports_of(file) if file else ():
        lead = name if name in sys.modules else name.rpartition(".")[0]  # a module, or a name in one
        if lead.startswith("flyroom.") and lead in sys.modules:
            yield lead


def _theirs(detector: Any) -> list[str]:
    """A hash of each package or lone file that the classes and functions in a detector are of."""
    files: set[Path] = set()
    for part in walk(detector):
        kind = part if type(part) is FunctionType or issubclass(type(part), type) else type(part)
        module = module_of(kind)
        if module.partition(".")[0] not in KNOWN:
            files |= {file for file in (origin(module.partition(".")[0]), file_of(module)) if file}
        elif module in LOADERS:
            files |= {file for file in (file_of(module), file_of("flyroom.inspector")) if file}
    return sorted(hash_of(files_of(file)) for file in files)


def _loose(detector: Any) -> list[Any]:
    """The steps and the values of what stands in no file: of the classes and functions in a detector, and of those that
    they name.
    """
    waiting, visited, words = list(walk(detector)), set[int](), list[Any]()
    while waiting:
        part = waiting.pop()
        kind = part if type(part) is FunctionType or issubclass(type(part), type) else type(part)
        module = module_of(kind)
        if id(kind) in visited or module.partition(".")[0] in KNOWN or file_of(module):
            continue
        visited.add(id(kind))
        if type(kind) is FunctionType:
            names = [name for name in dict.fromkeys(names_in(kind.__code__)) if name in kind.__globals__]
            parts = [*(kind.__globals__[name] for name in names), *list(walk(kind))[1:]]
            words.append([names, _say(kind)])
        else:
            parts = [*MRO(kind), *(_bare(part) for name, part in NAMES(kind).items() if _is_content(name, part))]
            words.append([name_of(kind)])
        words += [_say(part) for part in parts if type(part) is not ModuleType]
        waiting += parts
    return words


def _is_content(name: str, part: Any) -> bool:
    return not name.startswith("__") or type(part) is FunctionType


def _bare(part: Any) -> Any:
    """The function of a property, or of a method that is bound otherwise."""
    if type(part) is property:
        return part.fget
    return part.__func__ if type(part) in (classmethod, staticmethod) else part


def _say(value: Any, depth: int = DEEP) -> Any:
    """A value in words, as lists of texts. What cannot be read is its class."""
    kind = type(value)
    if kind in (bool, int, float, str, bytes, type(None)):
        return repr(value)
    if depth == 0:
        return name_of(kind)
    if kind in (list, tuple):
        return [_say(part, depth - 1) for part in value]
    if kind in (set, frozenset):
        return sorted(str(_say(part, depth - 1)) for part in value)
    if kind is dict:
        return [[_say(k, depth - 1), _say(v, depth - 1)] for k, v in value.items()]
    if kind is FunctionType:
        return _say_function(value, depth)
    if issubclass(kind, type):
        return [module_of(value), name_of(value)]
    if module_of(kind).partition(".")[0] in ("numpy", "torch"):
        return [name_of(kind), hashlib.sha256(_bytes_of(value)).hexdigest()]
    values = fields_of(value)
    if issubclass(kind, Enum):
        return [module_of(kind), name_of(kind), _say(values.get("_value_"), depth - 1)]
    declared = look_up(value, "__dataclass_fields__")
    if type(declared) is dict:  # what else lies there was remembered on the way, and says nothing of it
        values = {name: part for name, part in values.items() if type(name) is str and name in declared}
    return [module_of(kind), name_of(kind), _say(values, depth - 1)]


def _say_function(function: FunctionType, depth: int) -> Any:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    code = function.__code__
    return [function.__qualname__, steps_of(code), _say(function.__defaults__, depth - 1), _say(cells, depth - 1)]


def _bytes_of(value: Any) -> bytes:
    """Of an array or a tensor; of anything else of theirs, its text."""
    try:
        return bytes(value.detach().cpu().numpy().tobytes() if hasattr(value, "detach") else value.tobytes())
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return repr(value).encode()
