"""Which files are the source of a module: those of its package, or, of a module that stands alone in a folder, its own
and those of the modules beside it that it imports.

They are what a detector's process may read besides Python, and what a bench's key covers. Nothing is imported to find
them. Left out: an import of a computed name beside a lone module.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

SITES = ("site-packages", "dist-packages")
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
