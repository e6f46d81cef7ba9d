"""Which files are the source of a module: those of its package, or, of a module that stands alone in a folder, its own
and those of the modules beside it that it imports.

They are what a detector's process may read besides Python, and what the names of other people's parts cover. Nothing is
imported to find them. Left out: an import of a computed name beside a lone module; and, of a class that stands in no
file, the values that its functions read from other cells.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

SITES = ("site-packages", "dist-packages")
GENERATED = {f"__{name}__" for name in ("init", "repr", "eq", "hash", "setattr", "delattr", "replace", "annotate_func")}
NAMESPACE: Any = vars(ModuleType)["__dict__"].__get__  # as Python keeps it: a module may lie about its names


def origin(top: str, paths: Sequence[str] | None = None) -> Path | None:
    """The file of a top-level module, or of its package's `__init__`; None for one that has none."""
    if top in sys.modules:
        return file_of(top)
    spec = importlib.machinery.PathFinder.find_spec(top, list(paths) if paths is not None else None)
    file = spec.origin if spec else None
    return Path(file).absolute() if file and Path(file).is_file() else None


def is_package(file: Path) -> bool:
    """Whether a file of Python is that of a package."""
    return file.name == "__init__.py"


def is_installed(file: Path) -> bool:
    """Whether a file came with Python or with what is installed beside it."""
    library = Path(ast.__file__).resolve().parent
    return any(part in SITES for part in file.parts) or file.resolve().is_relative_to(library)


def files_of(file: Path) -> list[Path]:
    """The sources of a module whose file this is, in order."""
    if is_package(file):
        return sorted(path for path in file.parent.rglob("*.py") if path.is_file())
    files, waiting = {file}, [file]
    while waiting:
        path = waiting.pop()
        tops = {name.partition(".")[0] for name in imports_of(path)}
        beside = {file for top in tops for file in _beside(path, top)}
        waiting += beside - files
        files |= beside
    return sorted(files)


def hash_of(files: Sequence[Path]) -> str:
    """Twelve digits that name the files' names and contents."""
    sums = hashlib.sha256()
    for path in files:
        sums.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sums.hexdigest()[:12]


def file_of(module: str) -> Path | None:
    """The file of a module that is loaded."""
    space = sys.modules.get(module)
    file = NAMESPACE(space).get("__file__") if type(space) is ModuleType else None
    return Path(file).absolute() if type(file) is str and file.endswith(".py") and Path(file).is_file() else None


# ---------------------------------------------------------------- of a class


def code_of_class(kind: type) -> str:
    """Twelve digits that name what a class of somebody else's does: its name, and its source with that of the classes
    it comes of. "" for one of flyroom's own.
    """
    if _top(kind) == "flyroom":
        return ""
    bases = [base for base in kind.__mro__ if _is_theirs(base)]
    text = json.dumps([[base.__module__, base.__qualname__, _source(base)] for base in bases])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _top(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_theirs(kind: type) -> bool:
    return _top(kind) not in sys.stdlib_module_names and _top(kind) != "flyroom"


def _source(kind: type) -> str:
    return _source_in_file(kind) or json.dumps(list(_texts(kind)))


@lru_cache(maxsize=256)  # by the class and not by its file: what is loaded stays what it was when the file is edited
def _source_in_file(kind: type) -> str:
    """The hash of the files that a class is of; "" for a class that stands in none, as in a notebook."""
    top, path = origin(_top(kind)), file_of(kind.__module__)
    file = top if top is not None and is_package(top) else path
    return hash_of(files_of(file)) if file else ""


def _texts(kind: type) -> Iterator[str]:
    """The functions and values of a class, and the functions and classes beside it that these name."""
    parts: list[object] = [kind]
    for part in parts:  # it grows on the way
        members = sorted(vars(part).items()) if isinstance(part, type) else [("", part)]
        for name, member in members:
            function = _function_of(member)
            if name in GENERATED:
                continue
            if function is None:
                yield from _constant(name, member)
                continue
            yield _text(function)
            beside = [function.__globals__.get(word) for word in names_in(function.__code__)]
            local = [x for x in beside if isinstance(x, (type, FunctionType)) and x.__module__ == kind.__module__]
            parts += [x for x in local if x not in parts]


def _function_of(member: object) -> FunctionType | None:
    member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return member if isinstance(member, FunctionType) else None


def _constant(name: str, value: object) -> Iterator[str]:
    if not name.startswith("__"):
        try:
            yield json.dumps([name, value], sort_keys=True)
        except (TypeError, ValueError):
            return


def _text(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return json.dumps(steps_of(function.__code__))


# ---------------------------------------------------------------- of a file


def imports_of(file: Path) -> frozenset[str]:
    """The names that a file imports, modules and names in modules alike."""
    return _imports(file, file.stat().st_mtime_ns)


def _beside(path: Path, top: str) -> Iterator[Path]:
    lone, package = path.with_name(f"{top}.py"), path.parent / top / "__init__.py"
    if lone.is_file():
        yield lone
    elif package.is_file() and not is_installed(path):
        yield from files_of(package)


@lru_cache(maxsize=1024)
def _imports(path: Path, at: int) -> frozenset[str]:
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


# ---------------------------------------------------------------- of compiled code


def names_in(code: CodeType) -> Iterator[str]:
    """The names that a function's code speaks of, those of functions within it behind its own."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from names_in(const)


def steps_of(code: CodeType) -> list[object]:
    """The compiled steps of a function, with its names and constants: what it does, where its text is not to be had."""
    within = [steps_of(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), within]
