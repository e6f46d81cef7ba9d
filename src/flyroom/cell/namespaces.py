"""Namespaces: a process that sees a root made of what it may read, no process but its own, and no network but loopback.

It takes no rights: a namespace of users comes first, in which the process may mount. Sources: man 7 user_namespaces,
pid_namespaces, mount_namespaces; man 2 pivot_root, mount_setattr. bubblewrap does the same by a program.

The first process in the namespace is that of the cell. When it ends, the kernel ends all others there.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

MOUNT, UTS, IPC, USER, PID, NETWORK = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
BIND, RECURSIVE, PRIVATE, NOSUID, NODEV, NOEXEC = 0x1000, 0x4000, 0x40000, 2, 4, 8
READ_ONLY, DETACH, BELOW = 1, 2, 0x8000  # of mount_setattr, of umount2, and of mount_setattr again
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
LIBC = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Leave the namespaces of everybody else; processes that are started from here on are in the new one. Raises
    OSError where the machine does not let users do that.
    """
    user, group = os.getuid(), os.getgid()
    _require(LIBC.unshare(USER | MOUNT | PID | NETWORK | IPC | UTS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    _require(LIBC.mount(None, b"/", None, RECURSIVE | PRIVATE, None), "mount /")


def raise_loopback() -> None:
    """Loopback, which is down in a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        flags = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # up and running
        fcntl.ioctl(line, 0x8914, flags)


def change_root(root: str, files: Iterable[str], folders: Iterable[str], scratch: str) -> None:
    """Make `root`, an empty folder, the root, with `files` and the devices to read, and `scratch` to write. A path that
    is not there is passed over. Raises OSError.
    """
    _mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    paths = sorted({path for path in files if os.path.lexists(path)} | {*DEVICES})
    bound: list[str] = []
    for path in paths:
        _bind(path, root, bound)
    for folder in folders:  # with nothing in it but what is listed
        Path(f"{root}{folder}").mkdir(parents=True, exist_ok=True)
    Path(root, "proc").mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # a container may hide part of its own
        _mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    _bind(scratch, root, [])
    attributes = struct.pack("QQQQ", READ_ONLY, 0, 0, 0)
    _require(LIBC.syscall(442, -100, root.encode(), BELOW, attributes, ctypes.c_size_t(32)), "mount_setattr")
    attributes = struct.pack("QQQQ", 0, READ_ONLY, 0, 0)
    place = f"{root}{scratch}".encode()
    _require(LIBC.syscall(442, -100, place, 0, attributes, ctypes.c_size_t(32)), "mount_setattr")
    os.chdir(root)
    _require(LIBC.syscall(_PIVOT[os.uname().machine], b".", b"."), "pivot_root")
    _require(LIBC.umount2(b".", DETACH), "umount")
    os.chdir(scratch)


_PIVOT = {"x86_64": 155, "aarch64": 41}


def _bind(path: str, root: str, bound: list[str]) -> None:
    """A path as it is outside; of a link, the link and what it leads to. What lies below a path of `bound` is there."""
    if any(path == above or path.startswith(f"{above}/") for above in bound):
        return
    bound.append(path)
    target = Path(f"{root}{path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.islink(path):
        goal = os.path.realpath(path)
        target.symlink_to(goal)
        if os.path.exists(goal):
            _bind(goal, root, bound)
        return
    if os.path.isdir(path):
        target.mkdir(exist_ok=True)
    elif not target.exists():
        target.touch()
    _mount(path, str(target), None, BIND | RECURSIVE)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kind_bytes = kind.encode() if kind else None
    _require(LIBC.mount(source.encode(), target.encode(), kind_bytes, flags, options.encode()), f"mount {target}")


def _require(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
