"""A command line in a cell: what it is fed, what it writes, and which one address it may ask.

Unlike a detector it may start other processes, at most `Limits.processes` of them, and all end with it.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flyroom.cell import Isolation, Limits
from flyroom.cell.paths import readable
from flyroom.cell.process import Process, require_walls
from flyroom.cell.relay import Relay
from flyroom.cell.sources import files_of

SHELL = "/bin/sh"
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
    """The files that a command line names."""
    try:
        words = shlex.split(line)
    except ValueError:  # the shell will say what is wrong with it
        return []
    paths = [Path(word) for word in words if len(word) < 1000 and "\0" not in word]
    return [path.absolute() for path in paths if path.is_file()]


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
