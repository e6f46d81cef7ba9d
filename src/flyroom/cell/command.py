"""A command line in a cell: what it is fed, what it writes, and which one address it may ask.

Unlike a detector it may start other processes, at most `Limits.processes` of them, and all end with it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flyroom.cell import Isolation, Limits
from flyroom.cell.paths import readable
from flyroom.cell.process import Process, require_walls
from flyroom.cell.relay import Relay
from flyroom.types.sources import files_of

SHELL = "/bin/sh"
SCRIPTS = (".py", ".sh", ".js", ".R", ".jl", ".rb", ".pl")  # what a word that ends so must be
PLAIN = re.compile(r"[\w./+-]+")  # a first word that the shell takes as it stands
BUILTINS = {  # the shell's own words, of which there need not be a program
    *(
        ".",
        "alias",
        "bg",
        "break",
        "case",
        "cd",
        "command",
        "continue",
        "echo",
        "eval",
        "exec",
        "exit",
        "export",
        "false",
    ),
    *("false", "fg", "for", "getopts", "hash", "if", "jobs", "kill", "printf", "pwd", "read", "readonly", "return"),
    *("set", "shift", "test", "time", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "until"),
    *("wait", "while"),
}
PACE = 0.05  # seconds between two looks at how many processes there are


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and what it wrote; `fault` says which limit it broke."""

    status: int
    out: str
    err: str
    fault: str = ""


def run(line: str, text: str, *, port: int, limits: Limits, isolation: Isolation) -> Ended:
    """A command line, fed `text`, with `port` of loopback to ask. Raises NotIsolated where this machine has no walls
    and `isolation` is "strict".
    """
    walls = require_walls(f"the command {line!r}") if isolation == "strict" else ()
    near, far = socket.socketpair()
    files = [path for name in files_in(line) for path in (files_of(name) if name.suffix == ".py" else [name])]
    try:
        process = Process(
            [SHELL, "-c", line],
            walls=walls,
            paths=readable({}, files),
            limits=limits,
            text=text,
            port=port,
            listener=far.fileno(),
            environment=dict(os.environ) if isolation == "trust" else {"PATH": _path()},
        )
    finally:
        far.close()
    relay = _relay(near, port) if port and "namespaces" in walls else None
    try:
        return _watch(process, limits)
    finally:
        if relay:
            relay.close()
        near.close()
        process.close()


def files_in(line: str) -> list[Path]:
    """The files that a command line names, also those behind an equals sign."""
    names = [name for word in _words_of(line) for name in (word, _value_of(word))]
    return [Path(name).absolute() for name in names if os.path.isfile(name)]


def _words_of(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:  # the shell will say what is wrong with it
        return []
    return [word for word in words if len(word) < 1000 and "\0" not in word]


def _value_of(word: str) -> str:
    """What stands behind an equals sign, as in --config=FILE."""
    return word.partition("=")[2]


def require_full_paths(line: str) -> None:
    """ValueError for a command line that names a file of this folder by a part of its path, or a script that is not
    there: it runs in an empty folder, where neither would be found.

    >>> require_full_paths("python no/such/method.py")
    Traceback (most recent call last):
    ValueError: command is 'python no/such/method.py'; there is no file no/such/method.py
    """
    for word in _words_of(line):
        is_whole = word.startswith(("/", "~")) or os.path.exists(word)  # the name of a folder may hold an equals sign
        name = word if is_whole else _value_of(word) or word
        if os.path.isabs(name) or name.startswith("~"):
            is_lost = Path(name).suffix in SCRIPTS and not Path(name).expanduser().exists()
        else:
            if os.path.isfile(name):
                raise ValueError(f"command is {line!r}; it runs in an empty folder, so give {Path(name).absolute()}")
            is_lost = Path(name).suffix in SCRIPTS
        if is_lost:
            raise ValueError(f"command is {line!r}; there is no file {name}")


def require_program(line: str) -> None:
    """ValueError for a command line whose first word names a program that there is not. What only a shell can tell is
    left to it: a word of its own, a variable, a line that begins with a sign.

    >>> require_program("nosuchcmd --fast")
    Traceback (most recent call last):
    ValueError: command is 'nosuchcmd --fast'; there is no program nosuchcmd on the PATH
    """
    word = line.split()[0] if line.strip() else ""
    if PLAIN.fullmatch(word) and word not in BUILTINS and shutil.which(word, path=_path()) is None:
        where = "; it must be a file that may be run" if "/" in word else " on the PATH"
        raise ValueError(f"command is {line!r}; there is no program {word}{where}")


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def _relay(near: socket.socket, port: int) -> Relay:
    near.settimeout(10)
    _, descriptors, _, _ = socket.recv_fds(near, 1, 1)
    return Relay(socket.socket(fileno=descriptors[0]), port)


def _watch(process: Process, limits: Limits) -> Ended:
    until, fault = time.monotonic() + limits.seconds, ""
    while process.child.poll() is None and not fault:
        time.sleep(PACE)
        if time.monotonic() > until:
            fault = f"took longer than {limits.seconds:g} s"
        elif (count := process.count()) > limits.processes:
            fault = f"ran {count} processes at once; it may have {limits.processes}"
        elif process.printed > limits.message:
            fault = f"wrote more than {limits.message:,} bytes"
    process.kill()
    status = process.status()
    out, err = process.texts()
    return Ended(status=status, out=out, err=err, fault=fault)
