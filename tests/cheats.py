"""What detectors try that want the truth. Each gets `loot`, where things are that they should not reach, as a detector
that was told everything in advance; it returns what it came by, or raises.

All of them run in one process, one after the other. They are carried there by value, so each imports what it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyroom.types import Access, Finding, Lab, Suspect

Loot = dict[str, Any]


def _file_of_parent(name: str) -> Callable[[Loot], Any]:
    def cheat(loot: Loot) -> Any:
        with open(f"/proc/{loot['pid']}/{name}", "rb") as file:
            return file.read(10)

    return cheat


def cwd_of_parent(loot: Loot) -> Any:
    import os

    return os.readlink(f"/proc/{loot['pid']}/cwd")


def files_of_parent(loot: Loot) -> Any:
    import os

    return os.listdir(f"/proc/{loot['pid']}/fd")


def processes(loot: Loot) -> Any:
    import os

    names = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return names or 1 / 0


def heap(loot: Loot) -> Any:
    import gc

    names = ("Truth", "Organism", "Lineup", "Sitting", "BenchLab")
    return next(o for o in gc.get_objects() if type(o).__name__ in names)


def frames(loot: Loot) -> Any:
    import sys

    frame, names = sys._getframe(), set()
    while frame:
        names |= set(frame.f_locals)
        frame = frame.f_back
    return names & {"truth", "lineup", "adapters", "sitting"} or 1 / 0


def _reads(key: str) -> Callable[[Loot], Any]:
    def cheat(loot: Loot) -> Any:
        with open(loot[key], "rb") as file:
            return file.read(10)

    return cheat


def lists_room(loot: Loot) -> Any:
    import os

    return os.listdir(os.path.dirname(loot["room"]))


def common_rooms(loot: Loot) -> Any:
    import glob
    import os

    places = ("room", "flyroom-room", ".flyroom", "../room", "/room", "/root/.flyroom", "/home/*/room", "/tmp/*/room")
    return [path for place in places for path in glob.glob(os.path.expanduser(place))] or 1 / 0


def launch_folder(loot: Loot) -> Any:
    import os
    import sys

    words = [*os.environ.values(), *sys.path, *sys.argv]
    return [word for word in words if loot["launch"] in word.split(os.pathsep)] or 1 / 0


def lists_home(loot: Loot) -> Any:
    import os

    return os.listdir(loot["home"])


def symlink(loot: Loot) -> Any:
    import os

    os.symlink(loot["room"], "link")
    with open("link", "rb") as file:
        return file.read(10)


def hard_link(loot: Loot) -> Any:
    import os

    os.link(loot["room"], "hard")
    return "linked"


def _writes(path: str) -> Callable[[Loot], Any]:
    def cheat(loot: Loot) -> Any:
        with open(path.format(**loot), "a", encoding="utf-8") as file:
            return file.write("x")

    return cheat


def changes_modes(loot: Loot) -> Any:
    import os

    os.chmod(os.__file__, 0o644)
    return "changed"


def removes(loot: Loot) -> Any:
    import os

    os.remove(loot["room"])
    return "removed"


def _connects(family: str, kind: str, key: str) -> Callable[[Loot], Any]:
    def cheat(loot: Loot) -> Any:
        import socket

        with socket.socket(getattr(socket, family), getattr(socket, kind)) as line:
            address = tuple(loot[key]) if isinstance(loot[key], list) else loot[key]
            line.connect(address)
            return line.send(b"x")

    return cheat


def pair_to_others(loot: Loot) -> Any:
    import socket

    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"x", loot["unix"])


def _calls(number: int, *arguments: int) -> Callable[[Loot], Any]:
    """A system call of x86-64, with the parent's id where 0 stands."""

    def cheat(loot: Loot) -> Any:
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.syscall(number, *(ctypes.c_long(loot["pid"] if a == -9 else a) for a in arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    return cheat


def signals_parent(loot: Loot) -> Any:
    import os

    os.kill(loot["pid"], 0)
    return "heard"


def forks(loot: Loot) -> Any:
    import os
    import time

    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    return "a child"


def runs_a_program(loot: Loot) -> Any:
    import subprocess

    return subprocess.run(["/bin/sh", "-c", "id"], check=True, capture_output=True).stdout


def _imports(name: str) -> Callable[[Loot], Any]:
    def cheat(loot: Loot) -> Any:
        import importlib

        return importlib.import_module(name)

    return cheat


def takes_memory(loot: Loot) -> Any:
    return len(bytearray(loot["memory"]))


def fills_the_disk(loot: Loot) -> Any:
    with open("big", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    return "filled"


def asks_for_more_of_the_lab(loot: Loot) -> Any:
    return loot["lab"]._engine


def calls_what_a_lab_has_not(loot: Loot) -> Any:
    from flyroom.cell.codec import Parcel

    line = vars(loot["lab"])["_line"]
    line.send(Parcel(what="call", head={"method": "episodes"}, body=b'{"measure": "", "models": {}}'))
    answer = line.receive()
    return answer.body if answer.what == "value" else 1 / 0


def sends_a_pickle(loot: Loot) -> Any:
    """As an argument of a call: a class whose pickle runs code where it is read."""
    import os

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {loot['room']}.owned",)

    return loot["lab"].questions(Evil())


def raises_code(loot: Loot) -> Any:
    import os

    class Evil(Exception):
        def __reduce__(self) -> Any:
            return os.system, (f"touch {loot['room']}.owned",)

    raise Evil("code")


PTRACE, READ_MEMORY, OPEN_PROCESS, KEYS, RING, SHARED, SPACES, MOUNT, SESSION = (
    101,
    310,
    434,
    250,
    425,
    29,
    272,
    165,
    112,
)
OF_PARENT = ("mem", "environ", "maps", "cmdline", "root/etc/passwd")
OUTSIDE = ("{room}", "/dev/shm/left", "/usr/left", "{launch}/left", "/etc/hosts")
CHEATS: dict[str, Callable[[Loot], Any]] = {
    **{f"{name} of the parent": _file_of_parent(name) for name in OF_PARENT},
    **{cheat.__name__: cheat for cheat in (cwd_of_parent, files_of_parent, processes, heap, frames)},
    **{f"reads {key}": _reads(key) for key in ("room", "tests", "judge", "weights", "temporary", "passwords")},
    **{cheat.__name__: cheat for cheat in (lists_room, common_rooms, launch_folder, lists_home, symlink, hard_link)},
    **{f"writes {path}": _writes(path) for path in OUTSIDE},
    **{cheat.__name__: cheat for cheat in (changes_modes, removes)},
    "TCP": _connects("AF_INET", "SOCK_STREAM", "tcp"),
    "UDP": _connects("AF_INET", "SOCK_DGRAM", "udp"),
    "a socket by path": _connects("AF_UNIX", "SOCK_STREAM", "unix"),
    "a socket by name": _connects("AF_UNIX", "SOCK_STREAM", "abstract"),
    "pair_to_others": pair_to_others,
    "ptrace": _calls(PTRACE, 16, -9, 0, 0),
    "process_vm_readv": _calls(READ_MEMORY, -9, 0, 0, 0, 0, 0),
    "pidfd_open": _calls(OPEN_PROCESS, -9, 0),
    "keyctl": _calls(KEYS, 0, -3, 0),
    "io_uring": _calls(RING, 1, 0),
    "shmget": _calls(SHARED, 1, 4096, 0o1666),
    "unshare": _calls(SPACES, 0x10000000),
    "mount": _calls(MOUNT, 0, 0, 0, 0, 0),
    "setsid": _calls(SESSION),
    **{cheat.__name__: cheat for cheat in (signals_parent, forks, runs_a_program)},
    **{f"imports {name}": _imports(name) for name in ("flyroom.worlds", "flyroom.worlds.micro", "flyroom.recipes")},
    **{f"imports {name}": _imports(name) for name in ("flyroom.room", "flyroom.judges", "flyroom.bench", "test_bench")},
    **{cheat.__name__: cheat for cheat in (takes_memory, fills_the_disk, asks_for_more_of_the_lab)},
    **{cheat.__name__: cheat for cheat in (calls_what_a_lab_has_not, sends_a_pickle, raises_code)},
}


@dataclass(frozen=True, kw_only=True)
class Tries:
    """Does all of it, and says in its first claim what came of each."""

    cheats: dict[str, Callable[[Loot], Any]]
    loot: Loot = field(default_factory=dict)
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        import json

        came_of: dict[str, str] = {}
        for name, cheat in self.cheats.items():
            try:
                came_of[name] = f"reached {cheat({**self.loot, 'lab': lab})!r}"[:200]
            except BaseException as error:
                came_of[name] = f"{type(error).__name__}: {error}"[:200]
        return [Finding(suspicion=0.0, claim=json.dumps(came_of) if i == 0 else "") for i, _ in enumerate(suspects)]
