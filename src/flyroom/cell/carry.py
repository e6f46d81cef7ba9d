"""A detector as bytes, made without running a line of it.

The bytes are a pickle that only the detector's own process reads. Whoever pickles an object the usual way runs its
`__reduce__`, its `__getstate__`, its properties; here that would be beside the truth. So this writer looks at objects
from outside: types by `type`, never by `isinstance`, which asks the object; fields from where Python keeps them; names
from modules' dictionaries. What is found under its name in Python, in flyroom or in a package goes as that name. What
stands in a script, a notebook or a lone file goes by value (cloudpickle's form), with the globals that it uses.

Left out, and refused by name: metaclasses of one's own, and enumerations of a lone file.
"""

from __future__ import annotations

import abc
import enum
import io
import pickle
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

import cloudpickle
from cloudpickle import cloudpickle as cp

from flyroom.types.sources import files_of, is_installed, is_package, origin

METACLASSES = {type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol)}
TRUSTED = {*sys.stdlib_module_names, "builtins", "flyroom", "numpy", "torch", "scipy", "sklearn", "regex"}  # to pickle
BASES: tuple[type, ...] = (dict, list, tuple, set, frozenset, str, bytes, int, float)
ON_HEAP = 1 << 9  # a flag of types that are written in Python
MODULE, NAME, MRO, NAMES = (vars(type)[f"__{part}__"].__get__ for part in ("module", "qualname", "mro", "dict"))
NAMESPACE = vars(ModuleType)["__dict__"].__get__


class Uncarried(TypeError):
    """What cannot go to another process."""


class Carried(NamedTuple):
    """`roots`: by its top-level name, the file of each module that is needed there and is not installed."""

    blob: bytes
    roots: dict[str, Path]


def carry(value: Any) -> Carried:
    """Raises Uncarried."""
    buffer = io.BytesIO()
    writer = _Writer(buffer)
    try:
        writer.dump(value)
    except (pickle.PicklingError, TypeError, RecursionError, AttributeError, ValueError) as error:
        raise Uncarried(f"{name_of(type(value))} cannot go to another process: {error}") from None
    return Carried(buffer.getvalue(), writer.roots)


def fields_of(value: Any) -> dict[str, Any]:
    """What an object holds, as Python keeps it; nothing of an object that keeps it elsewhere."""
    fields: dict[str, Any] = {}
    for base in reversed(MRO(type(value))):
        for name, part in NAMES(base).items():
            if type(part) is MemberDescriptorType:
                try:
                    fields[name] = part.__get__(value)
                except AttributeError:  # a slot that nothing is in
                    continue
            elif name == "__dict__" and type(part) is GetSetDescriptorType:
                space = part.__get__(value)
                fields |= {key: space[key] for key in space} if type(space) is dict else {}
    return fields


def look_up(value: Any, name: str) -> Any:
    """A field, or what stands under the name in a class, as it stands there: a property is the property."""
    fields = fields_of(value)
    if name in fields:
        return fields[name]
    return next((NAMES(base)[name] for base in MRO(type(value)) if name in NAMES(base)), None)


def name_of(kind: type) -> str:
    """The name of a class, for a message; a stranger's may give something else for it."""
    name = NAME(kind)
    return name if type(name) is str else "a detector"


def module_of(part: Any) -> str:
    """The module that a class or a function says it is of."""
    module = part.__module__ if type(part) is FunctionType else MODULE(part)
    return module if type(module) is str else ""


def is_there(part: Any) -> bool:
    """Whether a class or a function is what stands under its name in the module that it names."""
    name = part.__qualname__ if type(part) is FunctionType else NAME(part)
    space = sys.modules.get(module_of(part))
    if type(space) is not ModuleType or type(name) is not str:
        return False
    names: Any = NAMESPACE(space)
    *outer, last = name.split(".")
    for step in outer:
        inner = names.get(step)
        if not issubclass(type(inner), type):
            return False
        names = NAMES(inner)
    return names.get(last) is part


def home_of(part: Any) -> Path | None:
    """The file of the top-level module that a class or function can be had from; None where it goes by value."""
    top = module_of(part).partition(".")[0]
    if top in ("", "__main__", "__mp_main__") or not is_there(part):
        return None
    file = origin(top)
    if file is None:
        return Path(top) if top in sys.stdlib_module_names else None
    return file if is_installed(file) or is_package(file) else None


class _Writer(cloudpickle.Pickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.roots: dict[str, Path] = {}

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if issubclass(kind, type):
            return self._class(obj, kind)
        if kind is FunctionType:
            return NotImplemented if self._refers(obj) else self._function(obj)
        if kind is ModuleType:
            return cp.subimport, (self._name(obj),)
        if kind.__flags__ & ON_HEAP == 0 if type(kind) in METACLASSES else False:
            return NotImplemented
        if module_of(kind).partition(".")[0] in TRUSTED and home_of(kind) is not None:
            return NotImplemented
        return self._instance(obj, kind)

    def _refers(self, part: Any) -> bool:
        """Whether a class or function goes by its name. Its package is needed there."""
        file, top = home_of(part), module_of(part).partition(".")[0]
        if file is not None and file.is_absolute() and not is_installed(file) and top != "flyroom":
            self.roots[top] = file
        if file is None and top in sys.modules and (lone := origin(top)) and not is_installed(lone):
            beside = {path.stem: path for path in files_of(lone) if path.parent == lone.parent and path != lone}
            self.roots |= {name: path for name, path in beside.items() if name != "__init__"}
        return file is not None

    def _class(self, obj: Any, kind: type) -> Any:
        top = module_of(obj).partition(".")[0]
        if kind not in METACLASSES and top not in TRUSTED:
            raise Uncarried(f"{name_of(obj)} has a metaclass of its own, {name_of(kind)}")
        if obj in (type(None), type(Ellipsis), type(NotImplemented)) or obj in cp._BUILTIN_TYPE_NAMES:
            return cp._class_reduce(obj)
        if self._refers(obj):
            return NotImplemented
        if kind is enum.EnumMeta:
            raise Uncarried(f"{name_of(obj)} is an enumeration of a lone file; put it in a package")
        return cp._dynamic_class_reduce(obj)

    def _function(self, function: FunctionType) -> Any:
        """As cloudpickle does it, but for how it looks for submodules, which asks every global."""
        names = cp._extract_code_globals(function.__code__)
        space = {name: function.__globals__[name] for name in names if name in function.__globals__}
        cells = [cp._get_cell_contents(cell) for cell in function.__closure__ or ()]
        modules = [part for part in (*space.values(), *cells) if type(part) is ModuleType]
        parts = ("name", "qualname", "annotations", "kwdefaults", "defaults", "module", "doc", "closure")
        slots = {f"__{part}__": getattr(function, f"__{part}__") for part in parts}
        slots |= {"__globals__": space, "_cloudpickle_submodules": []}
        slots["_cloudpickle_submodules"] = cp._find_imported_submodules(function.__code__, modules)
        state = (dict(vars(function)), slots)
        return cp._make_function, self._function_getnewargs(function), state, None, None, cp._function_setstate

    def _name(self, module: ModuleType) -> str:
        name = NAMESPACE(module).get("__name__")
        if type(name) is not str:
            raise Uncarried("a module without a name")
        top = name.partition(".")[0]
        file = origin(top)
        if file is not None and not is_installed(file) and top != "flyroom":
            self.roots[top] = file
        return name

    def _instance(self, obj: Any, kind: type) -> Any:
        if kind.__flags__ & ON_HEAP == 0:
            raise Uncarried(f"{name_of(kind)} has a metaclass of its own")
        base = next((base for base in BASES if base in MRO(kind)), None)
        content = None if base is None else _content(obj, base)
        return rebuild, (kind, base, content), fields_of(obj), None, None, fill


def _content(obj: Any, base: Any) -> Any:
    """What an object of a class that comes of one of Python's own holds besides its fields."""
    if base is dict:
        return dict(dict.items(obj))
    of_numbers: tuple[Any, ...] = (str, bytes, int, float)
    return base.__add__(obj, base()) if base in of_numbers else list(base.__iter__(obj))


def rebuild(kind: Any, base: Any, content: Any) -> Any:
    """In the other process: an object of this class, with nothing in its fields."""
    if base in (dict, list, set):
        obj = base.__new__(kind)
        base.__init__(obj, content)
        return obj
    return object.__new__(kind) if base is None else base.__new__(kind, content)


def fill(obj: Any, fields: dict[str, Any]) -> None:
    """In the other process: the fields of an object, frozen or not."""
    for name, value in fields.items():
        object.__setattr__(obj, name, value)


def walk(value: Any, depth: int = 6) -> Iterator[Any]:
    """A value and what it holds, as fields, entries, defaults and closures."""
    yield value
    if depth == 0:
        return
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        parts = [*value]
    elif kind is dict:
        parts = [*value.keys(), *value.values()]
    elif kind is FunctionType:
        cells = [cp._get_cell_contents(cell) for cell in value.__closure__ or ()]
        parts = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells]
    else:
        parts = list(fields_of(value).values()) if kind.__flags__ & ON_HEAP and not issubclass(kind, type) else []
    for part in parts:
        yield from walk(part, depth - 1)
