"""A cell: where other people's code works, and what it may do there.

A detector or a red team's command may want the truth. So it runs in a process that can reach nothing but the line to
the lab: no room, no network, no other process, no file but those that it needs to run, and a scratch folder that is
removed. Three walls stand on Linux, each by a system call and none of them with rights of the machine's owner:

- `landlock` (kernel 5.13): which files may be read, and that nothing but scratch is written;
- `seccomp`: system calls that no detector needs, above all sockets, `ptrace`, `mount` and new processes;
- `namespaces`: a root of its own that holds nothing but what may be read, and neither processes nor network of others.

The first two are what "strict" means; the third stands where the machine lets users make namespaces. All are put up
before Python starts (`launch`), so that nothing which Python loads at its start comes before them. What a machine
lacks is found out by trying it once.

Left out: macOS and Windows, which have other walls; a bound on the disk that scratch takes, apart from that of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Isolation = Literal["strict", "trust"]
MODES: tuple[Isolation, ...] = ("strict", "trust")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process in a cell may use: `seconds` of wall time for one detector, lab included; `memory` in bytes;
    `message` in bytes, of one message to the lab, and `messages` of them; bytes of one `file`; and how many
    `processes` a command may have at once (a detector has one).
    """

    seconds: float = 4 * 3600.0
    memory: int = 16384 * MIB
    message: int = 256 * MIB
    messages: int = 1_000_000
    file: int = 1024 * MIB
    processes: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ValueError(f"limits.{name} is {value!r}; it must be a number above 0")


def mode_of(text: str) -> Isolation:
    """The way of isolation that a text names. Raises ValueError.

    >>> mode_of("trust")
    'trust'
    """
    for mode in MODES:
        if mode == text:
            return mode
    raise ValueError(f"isolation is {text!r}; it must be one of {', '.join(MODES)}")


class NotIsolated(ValueError):
    """Other people's code was to run on a machine that has no wall to put around it."""
