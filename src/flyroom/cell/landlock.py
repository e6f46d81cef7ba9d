"""Landlock: from here on a process and all that it starts read and write what is listed, and nothing else.

Source: linux/landlock.h and docs.kernel.org/userspace-api/landlock.html. Rights that a kernel does not know are left
out of what is asked of it. What Landlock does not cover (the names and sizes of files, their modes and owners) is up to
the other walls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls, the same on all machines
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << i for i in range(4))
TRUNCATE, IOCTL = 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
READ = EXECUTE | READ_FILE | READ_DIR
HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}  # by version
NETWORK, SCOPES = 0b11, 0b11  # TCP bind and connect; abstract sockets and signals
CONNECT = 0b10
LIBC = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def version() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    return max(0, LIBC.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict(files: Iterable[str], scratch: Iterable[str], folders: Iterable[str] = (), port: int = 0) -> int:
    """Restrict this process to what is below `files`, to be read, and below `scratch`, and to the listing of `folders`;
    what is not there is passed over. TCP goes to `port` alone; 0: nowhere. Returns the version of Landlock. Raises
    OSError where there is none.
    """
    abi = version()
    if not abi:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    whole = HANDLED[min(abi, 5)]
    rules = _Ruleset(whole, NETWORK if abi >= 4 else 0, SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for paths, rights in ((files, READ), (scratch, whole), (folders, READ_DIR)):
        for path in paths:
            _allow(ruleset, path, rights & whole)
    if port and abi >= 4:
        _call(ADD, ruleset, 2, ctypes.byref(_Port(CONNECT, port)), 0)
    _call(RESTRICT, ruleset, 0)
    os.close(ruleset)
    return abi


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(folder).st_mode):
        rights &= OF_FILES
    if rights:
        _call(ADD, ruleset, 1, ctypes.byref(_Beneath(rights, folder)), 0)
    os.close(folder)


def _call(*args: object) -> int:
    result = LIBC.syscall(*args)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
