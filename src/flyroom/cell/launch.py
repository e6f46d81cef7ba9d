"""The launcher: it puts up the walls around itself and then becomes the program that is to run behind them.

`python -I -S -c ...` runs `main`, which reads a `Plan` as JSON from its standard input, so that nothing that is
installed beside Python (site, .pth files) comes before the walls. It imports nothing but the standard library. What
stood is written, as a line of JSON, to the descriptor that the plan names, before anything else starts.

With namespaces there are two processes: the first one of the new namespace becomes the program; the launcher waits for
it, and hands on how it ended. If the launcher is killed, so are all others.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict, dataclass, field

from flyroom.cell import landlock, namespaces, seccomp

LIBC = ctypes.CDLL(None, use_errno=True)
DIES_WITH_PARENT, NO_NEW_RIGHTS, DROP = 1, 38, 24
STATUS = 125  # of a launcher that could not put up its walls
WALLS = ("landlock", "seccomp", "namespaces")
NEEDED = ("landlock", "seccomp")  # for "strict"


@dataclass(kw_only=True)
class Plan:
    """What is to run, and behind what. `walls` are those to put up; `files` may be read, of `folders` the listing;
    `text` is its standard input; `port` is that of loopback which a command may ask, and `listener` the descriptor over
    which it is handed on.
    """

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    parent: int = 0
    report: int = -1
    walls: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    scratch: str = "/"
    root: str = ""
    memory: int = 0
    file: int = 0
    processes: int = 1
    text: str = ""
    port: int = 0
    listener: int = -1

    def dump(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    """Read a plan, and become its program. Ends with `STATUS` where a wall that was asked for cannot be put up."""
    plan = Plan(**json.loads(sys.stdin.buffer.readline()))
    if LIBC.prctl(DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0) or (plan.parent and os.getppid() != plan.parent):
        os._exit(STATUS)
    try:
        if "namespaces" in plan.walls:
            _leave(plan)
        elif plan.listener >= 0:
            os.close(plan.listener)
        stood = _put_up(plan)
    except OSError as error:
        _report(plan, {"error": str(error)})
        os._exit(STATUS)
    _report(plan, {"walls": stood})
    os.close(plan.report)
    os.dup2(_input(plan.text), 0)
    os.execve(plan.argv[0], plan.argv, plan.environment)


def _input(text: str) -> int:
    """What the program reads, as a descriptor."""
    if not text:
        return os.open("/dev/null", os.O_RDONLY)
    memory = os.memfd_create("input")
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(text.encode())
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def _report(plan: Plan, what: dict[str, object]) -> None:
    os.write(plan.report, json.dumps(what).encode() + b"\n")


def _leave(plan: Plan) -> None:
    """Go on in new namespaces, as their first process; what was the launcher waits for it."""
    namespaces.enter()
    child = os.fork()
    if child:
        _wait(child)
    LIBC.prctl(DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if plan.port:
        namespaces.raise_loopback()
        _hand_on(plan)
    namespaces.change_root(plan.root, plan.files, plan.folders, plan.scratch)


def _wait(child: int) -> None:
    os.closerange(3, 256)  # so that the line is cut when the child ends
    _, status = os.waitpid(child, 0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _hand_on(plan: Plan) -> None:
    """Listen on the port in here, and give the socket to the one outside who answers for it."""
    with socket.create_server(("127.0.0.1", plan.port)) as server, socket.socket(fileno=plan.listener) as line:
        socket.send_fds(line, [b"."], [server.fileno()])


def _put_up(plan: Plan) -> list[str]:
    os.chdir(plan.scratch)
    if not plan.walls:
        return []
    _limit(plan)
    for right in range(64):
        LIBC.prctl(DROP, right, 0, 0, 0)
    if LIBC.prctl(NO_NEW_RIGHTS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
    spaces, several = "namespaces" in plan.walls, plan.processes > 1
    stood = ["namespaces"] if spaces else []
    abi = 0
    if "landlock" in plan.walls:
        paths = [*plan.files, *_of_process()]
        abi = landlock.restrict(paths, [plan.scratch, *namespaces.DEVICES[:3]], plan.folders, plan.port)
        stood.append(f"landlock {abi}")
    if "seccomp" in plan.walls:
        network = bool(plan.port) and (spaces or abi >= 4)
        seccomp.restrict(network=network, processes=several, signals=spaces or abi >= 6, modes=spaces)
        stood.append("seccomp")
    return sorted(stood)


def _of_process() -> list[str]:
    """What a program reads of the machine and of itself."""
    return ["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", *namespaces.DEVICES]


def _limit(plan: Plan) -> None:
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 1024}
    if plan.memory:
        limits[resource.RLIMIT_DATA] = plan.memory
    if plan.file:
        limits[resource.RLIMIT_FSIZE] = plan.file
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


if __name__ == "__main__":
    main()
