"""seccomp: system calls that the code in a cell has no use for fail with "not permitted".

A filter is a program for the kernel's packet machine, which sees the number of a call and its arguments, and cannot
follow a pointer. Source: linux/seccomp.h, linux/filter.h, man 2 seccomp. Numbers are those of asm/unistd.h on the two
machines that are known here; any other has no such wall.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Sequence

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # what the kernel calls them, column below


def _table(text: str) -> dict[str, tuple[int, int]]:
    """System calls by name: their numbers on either machine, -1 where there is none."""
    rows = [row.split() for row in text.split(", ")]
    return {name: (int(first), int(second)) for name, first, second in rows}


NEVER = _table(  # what no cell has a use for. setsid and setpgid: whoever leaves its group outlives it
    "ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_open 434 434, "
    "pidfd_getfd 438 438, pidfd_send_signal 424 424, process_madvise 440 440, process_mrelease 448 448, "
    "mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, unshare 272 97, setns 308 268, "
    "open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433, "
    "mount_setattr 442 442, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_uring_setup 425 425, "
    "io_uring_enter 426 426, io_uring_register 427 427, add_key 248 217, request_key 249 218, keyctl 250 219, "
    "shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, semget 64 190, mq_open 240 180, "
    "open_by_handle_at 304 265, name_to_handle_at 303 264, inotify_init 253 -1, inotify_init1 294 26, "
    "fanotify_init 300 262, init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, "
    "kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60, "
    "settimeofday 164 170, clock_settime 227 112, sethostname 170 161, setdomainname 171 162, iopl 172 -1, "
    "ioperm 173 -1, syslog 103 116, personality 135 92, vhangup 153 58, setsid 112 157, setpgid 109 154, "
    "ioprio_set 251 30"
)
SOCKETS = _table(  # to others
    "socket 41 198, connect 42 203, bind 49 200, listen 50 201"
)
MESSAGES = _table(  # to an address that the filter cannot see
    "sendmsg 46 211, sendmmsg 307 269"
)
SIGNALS = _table(  # to other processes
    "kill 62 129, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240"
)
MODES = _table(  # of files, which Landlock does not cover
    "chmod 90 -1, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -1, fchown 93 55, lchown 94 -1, "
    "fchownat 260 54, utime 132 -1, utimes 235 -1, futimesat 261 -1, utimensat 280 88, setxattr 188 5, "
    "lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, "
    "setxattrat 463 463, removexattrat 466 466"
)
FORKS = _table("fork 57 -1, vfork 58 -1")
OF_PROCESSES = _table(  # limits and places in the queue, of the one that the first argument names; 0 is the caller
    "prlimit64 302 261, sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118, "
    "sched_setattr 314 274"
)
CLONE, CLONE3, SOCKET, PAIR = (56, 220), (435, 435), (41, 198), (53, 199)
SENDTO, IOCTL, FCNTL, TGKILL, PRIORITY = (44, 206), (16, 29), (72, 25), (234, 131), (141, 140)
THREAD, SPACES = 0x00010000, 0x7E020080  # flags of clone: a thread; a new namespace of any kind
TYPED = (0x5412, 0x541C)  # ioctls that write into the terminal of others: TIOCSTI, TIOCLINUX
OWNING = (8, 15)  # of fcntl, F_SETOWN and F_SETOWN_EX: who is sent a signal of any number when a file is ready
OWNED = (0x8901, 0x8902)  # the same as ioctls: FIOSETOWN, SIOCSPGRP
INTERNET = (2, 10)  # IPv4 and IPv6
FAST = 0x20000000  # a flag of what is sent, MSG_FASTOPEN: it connects, and Landlock does not see that
TCP = (0, 6)  # protocols of a stream; others, as MPTCP, are not held by Landlock
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
LOAD, MASK, EQUAL, AT_LEAST, HAS, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
STREAM = 1  # a pair of any other kind could still be sent to an address
Code = list[tuple[int, int, int, int]]


def has_numbers() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return platform.machine() in MACHINES


def restrict(*, network: bool, processes: bool, signals: bool, modes: bool) -> None:
    """Refuse what no cell needs. `network` lets TCP through, whose connections Landlock holds, `processes` new
    processes, `signals` those to other processes, and `modes` changes of files' modes and owners. Raises OSError where
    that cannot be done.
    """
    if not has_numbers():
        raise OSError(errno.ENOSYS, f"the system calls of {platform.machine()} are not known here")
    code = program(network=network, processes=processes, signals=signals, modes=modes)
    raw = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    packed = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
    if LIBC.prctl(22, 2, ctypes.c_char_p(packed), 0, 0):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def program(*, network: bool, processes: bool, signals: bool, modes: bool) -> Code:
    """The filter, as (operation, jump if so, jump if not, value)."""
    name, column = MACHINES[platform.machine()]
    groups = [NEVER, *([] if network else [SOCKETS, MESSAGES]), *([] if signals else [SIGNALS])]
    groups += [*([] if modes else [MODES]), *([] if processes else [FORKS])]
    numbers = [pair[column] for group in groups for pair in group.values() if pair[column] >= 0]
    code: Code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, name), _refusal(errno.EPERM), (LOAD, 0, 0, 0)]
    code += [(AT_LEAST, 0, 1, 0x40000000), _refusal(errno.EPERM)]  # the second set of numbers of x86-64
    for number in numbers:
        code += [(EQUAL, 0, 1, number), _refusal(errno.EPERM)]
    code += [(EQUAL, 0, 1, CLONE3[column]), _refusal(errno.ENOSYS)]  # its flags are behind a pointer; libc falls back
    code += _when(CLONE[column], _clone(processes))
    code += _when(IOCTL[column], [(LOAD, 0, 0, 24), *_refuse_each(TYPED if signals else TYPED + OWNED)])
    for pair in OF_PROCESSES.values():
        code += _when(pair[column], _need_zero(16))
    code += _when(PRIORITY[column], _need_zero(16, 24))  # of a process, and of the caller
    if not signals:
        code += _when(FCNTL[column], [(LOAD, 0, 0, 24), *_refuse_each(OWNING)])
        code += _when(TGKILL[column], [(LOAD, 0, 0, 16), (EQUAL, 1, 0, os.getpid()), _refusal(errno.EPERM)])
    code += _when(PAIR[column], [(LOAD, 0, 0, 24), (MASK, 0, 0, 15), (EQUAL, 1, 0, STREAM), _refusal(errno.EPERM)])
    if network:
        code += _when(SOCKET[column], _tcp())
        for pair, place in ((SENDTO, 40), (MESSAGES["sendmsg"], 32), (MESSAGES["sendmmsg"], 40)):
            code += _when(pair[column], [(LOAD, 0, 0, place), (HAS, 0, 1, FAST), _refusal(errno.EPERM)])
    else:
        code += _when(SENDTO[column], _need_zero(48, 52))  # an answer on a line that stands, without an address
    return [*code, (RETURN, 0, 0, ALLOW)]


def _when(number: int, body: Code) -> Code:
    """The body for one system call. It may end anywhere; behind it the number is loaded again."""
    return [(EQUAL, 0, len(body) + 1, number), *body, (LOAD, 0, 0, 0)]


def _clone(processes: bool) -> Code:
    flags = (LOAD, 0, 0, 16)
    if processes:
        return [flags, (HAS, 0, 1, SPACES), _refusal(errno.EPERM)]
    return [flags, (HAS, 1, 0, THREAD), _refusal(errno.EPERM), (HAS, 0, 1, SPACES), _refusal(errno.EPERM)]


def _refuse_each(values: Iterable[int]) -> Code:
    return [line for value in values for line in ((EQUAL, 0, 1, value), _refusal(errno.EPERM))]


def _tcp() -> Code:
    """A socket of the internet, a stream, and of TCP."""
    family = [(LOAD, 0, 0, 16), *_need_one(INTERNET, errno.EAFNOSUPPORT)]
    kind = [(LOAD, 0, 0, 24), (MASK, 0, 0, 15), *_need_one([STREAM], errno.EPERM)]
    return [*family, *kind, (LOAD, 0, 0, 32), *_need_one(TCP, errno.EPERM)]


def _need_one(values: Sequence[int], error: int) -> Code:
    ends = [(EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*ends, _refusal(error)]


def _need_zero(*places: int) -> Code:
    """Of the arguments at these places."""
    return [line for place in places for line in ((LOAD, 0, 0, place), *_need_one([0], errno.EPERM))]


def _refusal(number: int) -> tuple[int, int, int, int]:
    return RETURN, 0, 0, REFUSE | number
