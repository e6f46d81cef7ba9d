"""What a process in a cell may read: Python and what is installed beside it, the system's libraries, of flyroom what a
detector needs, and the detector's own sources.

It is a list of what is allowed. Of a folder that holds something hidden, the entries are allowed one by one. Hidden is
what would answer instead of the detector: flyroom's worlds and their judges, recipes, rooms and benches, and other
packages that bring worlds, behaviours or judges. A detector that brings a copy of a judge in its own sources has it:
what its author knows of a world cannot be taken from it. Hidden everywhere are the rooms that this process has opened,
the identity and the settings of the vault; and in the folders of the system and of Python whatever lies there of the
user's own folder and of the one in which flyroom was started, but for flyroom itself.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from flyroom.cell import NotIsolated
from flyroom.types.sources import SITES, files_of, is_package, origin

FLYROOM = Path(__file__).absolute().parents[1]
# to detectors
OPEN = ("__init__.py", "apart.py", "plugins.py", "cell", "detectors", "inspector", "stats", "types", "py.typed")
ANSWERING = ("flyroom.worlds", "flyroom.behaviours")  # groups of entry points
SYSTEM = ("/lib", "/lib64", "/lib32", "/bin", "/nix/store", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
SYSTEM += ("/etc/localtime", "/etc/alternatives", "/sys/devices/system/cpu")
KEPT = ("vault.json", "rooms.json", ".rooms.lock", "exports", "bases")  # in FLYROOM_HOME
PARTS = ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share", "include")  # and not src, where people's work lies
SYSTEM += tuple(f"{top}/{part}" for top in ("/usr", "/usr/local") for part in PARTS)


class Paths(NamedTuple):
    """`files` may be read, and whole folders; of `folders` the listing."""

    files: list[str]
    folders: list[str]


def readable(roots: Mapping[str, Path], commands: Iterable[Path] = ()) -> Paths:
    """What may be read where these modules (by top-level name, each with its file) or commands' files are at work.
    Raises NotIsolated where one of these, Python or flyroom lies in a folder that nobody's code may read.
    """
    private, personal = _private(), {Path.cwd(), Path(os.path.expanduser("~")).resolve()}
    hidden = _hidden(roots) | private
    paths, python = Paths([], []), _python()
    _require_public([path for path in (*python, FLYROOM) if path.exists()], private)
    for place in dict.fromkeys([*map(Path, SYSTEM), *python, *_libraries()]):
        _allow(place, hidden | {path for path in personal if place.resolve() in path.parents}, paths)
    _allow(FLYROOM, hidden, paths)
    lone = [path for file in roots.values() if not is_package(file) for path in files_of(file)]
    commands = list(commands)
    _require_public([*roots.values(), *lone, *commands], private)
    for file in roots.values():
        _allow(file.parent if is_package(file) else file, private, paths)
    paths.files.extend(map(str, lone))
    for path in commands:
        paths.files.append(str(path))
        if path.suffix == ".py":
            paths.folders.append(str(path.parent))  # or Python finds nothing beside it
    return Paths(list(dict.fromkeys(paths.files)), list(dict.fromkeys(paths.folders)))


def search_path() -> list[str]:
    """The folders of installed packages, in the order of this process; the folder of a launch is none of them."""
    return [path for path in sys.path if Path(path).name in SITES]


def _python() -> list[Path]:
    """The parts of Python's own folders. What else lies in a folder that is also somebody's project is left out."""
    executable = Path(sys.executable)
    places = [Path(sys.base_prefix, name) for name in ("bin", "lib", "lib64")]
    places += [Path(sys.prefix, name) for name in ("pyvenv.cfg", "bin", "lib", "lib64")]
    places += [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib"))]
    return [*places, executable, executable.resolve().parent, *map(Path, [*search_path(), *site.getsitepackages()])]


def _libraries() -> list[Path]:
    return [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(path)]


def _private() -> set[Path]:
    """What no code of others may read: rooms, the identity, and what flyroom keeps of this user. The folder of that may
    hold more, such as Python.
    """
    from flyroom.vault.identity import IdentityError, home, locate
    from flyroom.vault.private import HIDDEN

    places = {*HIDDEN, *(home() / name for name in KEPT)}
    with contextlib.suppress(IdentityError):  # it is set, and not there
        places |= {path for path in [locate()] if path}
    return {path.resolve() for path in places}


def _require_public(files: Iterable[Path], private: Collection[Path]) -> None:
    for file in files:
        around = next((path for path in private if path in (file.resolve(), *file.resolve().parents)), None)
        if around:
            raise NotIsolated(f"{file} lies in {around}, which no code in a cell may read; move it to another folder")


def _hidden(roots: Mapping[str, Path]) -> set[Path]:
    places = {path for path in FLYROOM.iterdir() if path.name not in OPEN}
    for point in (point for group in ANSWERING for point in entry_points(group=group)):
        top = point.value.partition(":")[0].partition(".")[0]
        file = None if top in roots or top == "flyroom" else origin(top)
        if file:
            places.add(file.parent if is_package(file) else file)
    return {path.resolve() for path in places}


def _allow(place: Path, hidden: Collection[Path], paths: Paths) -> None:
    """A place, whole or but for what is hidden in it."""
    if not place.exists():
        return
    goal = place.resolve()
    if any(goal == path or path in goal.parents for path in hidden):
        return
    if not any(goal in path.parents for path in hidden):
        paths.files.append(str(place))
        return
    paths.folders.append(str(place))
    for entry in place.iterdir():
        _allow(entry, hidden, paths)
