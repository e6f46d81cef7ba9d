"""A detector at work in a process of its own, which holds a line to the lab and nothing else.

Who holds what, and when. A detector comes in as an object or as the name of a plug-in. `introduce` makes bytes of the
object without running a line of it (`cell.carry`), before names are drawn; a plug-in is not even imported here. What it
`needs` is read off its fields or, where a property says it, asked of its own process. That process stands behind the
walls of a cell: it holds the detector, names that say nothing and one end of a line. The truth, the weights and the
room are here. What comes over the line is data of a known form (`cell.codec`); nothing of it is unpickled, evaluated or
imported. A process of somebody else's detector ends with it; flyroom's own share one, for starting one takes two
seconds. A detector that holds the truth when it comes in, because its author put it there, keeps it.

Left out: code that a user has imported in this process before, which could have changed anything in it. The command
line imports none.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from flyroom.cell import Isolation, Limits, codec
from flyroom.cell.carry import Uncarried, carry, fields_of, home_of, look_up, module_of, name_of
from flyroom.cell.codec import Line, Malformed, Parcel
from flyroom.cell.paths import FLYROOM, readable, search_path
from flyroom.cell.process import Process, require_walls, walls_here
from flyroom.types import Access, Detector, Finding, Lab, NotAvailable, PlugIn, Unit
from flyroom.types.sources import files_of, is_installed, origin

PLAIN = (type(None), bool, int, float, str, Access)  # fields that are nobody's code
LOADERS = ("flyroom.detectors.theirs", "flyroom.detectors.auditor")  # ours, and they load what others wrote
SETUP = 120.0  # seconds that a process may take to come up, and to say what its detector needs


class DetectorError(Exception):
    """What a detector raised, as text: its own classes may not exist here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guest:
    """A detector as it goes to its process: its `blob`, or the `point` where a plug-in is made; and what is
    known of it.

    `error` says why it cannot go, `ours` that it is flyroom's own; `detector`
    is there where it works in this process.
    """

    name: str
    needs: Access
    unit: Unit
    ours: bool = False
    blob: bytes = b""
    point: str | None = None
    roots: dict[str, Path] = field(default_factory=dict)
    about: str = ""
    error: str | None = None
    detector: Detector | None = None


def is_ours(detector: Detector | PlugIn) -> bool:
    """Whether a detector is a class of flyroom whose fields hold nobody's code."""
    kind = type(detector)
    if kind is PlugIn or not module_of(kind).startswith("flyroom.detectors") or module_of(kind) in LOADERS:
        return False
    return home_of(kind) == FLYROOM / "__init__.py" and all(map(_is_plain, fields_of(detector).values()))


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def introduce(detector: Detector | PlugIn, *, isolation: Isolation = "strict", limits: Limits | None = None) -> Guest:
    """A detector as a guest. Raises NotIsolated where it is somebody else's and this machine has no walls, unless
    `isolation` is "trust"; what it raises itself is the guest's `error`.
    """
    if is_ours(detector):
        blob, _ = carry(detector)
        unit = getattr(detector, "unit", "model")
        return Guest(name=name_of(type(detector)), needs=detector.needs, unit=unit, ours=True, blob=blob)  # type: ignore[union-attr]
    name = detector.name if type(detector) is PlugIn else name_of(type(detector))
    if isolation == "strict":
        require_walls(f"the detector {name}")
    try:
        guest = _pack(detector, name)
        needs, unit = look_up(detector, "needs"), look_up(detector, "unit")
        if guest.point is None and type(needs) is Access and (unit is None or type(unit) is str):
            return _checked(guest, needs, unit or "model")
        with _Process(guest, isolation, limits or Limits()) as process:
            needs, unit, about = process.meet(guest)
            return _checked(guest, needs, unit, about)
    except (Uncarried, DetectorError, Malformed) as error:
        return Guest(name=name, needs=Access(0), unit="model", error=str(error))


def load(plugin: PlugIn) -> Detector:
    """The detector of a plug-in, imported here: for a debugger."""
    return EntryPoint(name=plugin.name, value=plugin.point, group="").load()()


def _pack(detector: Detector | PlugIn, name: str) -> Guest:
    if type(detector) is PlugIn:
        file = origin(detector.top)
        roots = {detector.top: file} if file and not is_installed(file) else {}
        if file and roots and file.name != "__init__.py":
            roots |= {path.stem: path for path in files_of(file) if path.parent == file.parent}
        return Guest(name=name, needs=Access(0), unit="model", point=detector.point, roots=roots)
    blob, roots = carry(detector)
    return Guest(name=name, needs=Access(0), unit="model", blob=blob, roots=roots)


def _checked(guest: Guest, needs: Access, unit: str, about: str = "") -> Guest:
    for word in get_args(Unit):
        if unit == word:
            return replace(guest, needs=needs, unit=word, about=about)
    return replace(guest, error=f"unit is {unit[:80]!r}; it must be one of {', '.join(get_args(Unit))}")


class Apart:
    """Where guests work. Those of this package share a process; anybody else's has one of its own, and so nothing is
    left for it by another. `walls` are those that stood around guests.
    """

    def __init__(self, isolation: Isolation = "strict", limits: Limits | None = None) -> None:
        self._isolation: Isolation = isolation
        self._limits = limits or Limits()
        self._shared: _Process | None = None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shared is not None:
            self._shared.close()

    def __call__(self, guest: Guest, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
        """What the guest finds. Raises NotAvailable where the detector does, DetectorError for whatever else it
        raises, when its process dies, and when it breaks a limit.
        """
        if guest.error is not None:
            raise DetectorError(guest.error)
        if not guest.ours:
            with _Process(guest, self._isolation, self._limits) as process:
                process.meet(guest)
                return process.find(guest, units, lab, seed)
        if self._shared is None or not self._shared.alive:
            self._shared = _Process(guest, self._isolation, self._limits)
        self._shared.meet(guest)
        return self._shared.find(guest, units, lab, seed)


def walls_of(isolation: Isolation, *, ours: bool = False) -> list[str]:
    """The walls that stand around a process of other people's code on this machine, or of `ours`."""
    return list(walls_here()) if isolation == "strict" or ours else []


class _Process:
    """A process that does one detector's work after another's."""

    def __init__(self, guest: Guest, isolation: Isolation, limits: Limits) -> None:
        near, far = socket.socketpair()
        settings = {"line": far.fileno(), "search": search_path(), "roots": {k: str(v) for k, v in guest.roots.items()}}
        try:
            self._process = Process(
                [sys.executable, "-P", "-s", "-c", _program(json.dumps(settings))],
                walls=walls_of(isolation, ours=guest.ours),
                paths=readable(guest.roots),
                limits=limits,
                pass_fds=[far.fileno()],
            )
        except BaseException:
            near.close()
            raise
        finally:
            far.close()
        self._limits, self.alive = limits, True
        self._line = Line(near.detach(), limits.message)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self._line.close()
            self._process.close()

    def meet(self, guest: Guest) -> tuple[Access, str, str]:
        """Hand the detector over, and hear what it needs, what it judges, and what it says of itself."""
        blob = [] if guest.point else [torch.from_numpy(np.frombuffer(guest.blob, dtype=np.uint8).copy())]
        until = time.monotonic() + SETUP
        with self._faults(SETUP):
            self._line.send(Parcel(what="detector", head={"point": guest.point}, tensors=blob), until)
            answer = self._open(self._line.receive(until), "described")
            needs, unit = answer.head.get("needs"), answer.head.get("unit")
            if type(needs) is not int or not 0 <= needs < 2 * max(access.value for access in Access):
                raise Malformed(f"needs is {needs!r}")
            return Access(needs), str(unit), str(answer.head.get("about", ""))[: codec.TEXT]

    def find(self, guest: Guest, units: Sequence[Any], lab: Lab, seed: int) -> list[Finding]:
        until = time.monotonic() + self._limits.seconds
        values = {name: getattr(lab, name) for name in codec.FACTS}
        head = {"unit": guest.unit, "seed": seed, "lab": values}
        with self._faults(self._limits.seconds):
            self._line.send(Parcel(what="work", head=head, body=codec.UNITS[guest.unit].dump_json(list(units))), until)
            for _ in range(self._limits.messages):
                parcel = self._line.receive(until)
                if parcel.what != "call":
                    return codec.unpack_findings(self._open(parcel, "findings"))
                self._line.send(_answer(lab, parcel), until)
            raise Malformed(f"it sent more than {self._limits.messages:,} messages")

    def _open(self, parcel: Parcel, what: str) -> Parcel:
        """The parcel, if it is what was waited for; what it says if it is an error."""
        if parcel.what == "error":
            raise DetectorError(f"{parcel.head.get('kind')}: {str(parcel.head.get('text'))[: codec.TEXT]}")
        if parcel.what == "not available":
            raise NotAvailable(str(parcel.head.get("text"))[: codec.TEXT])
        if parcel.what != what:
            raise Malformed(f"it sent {parcel.what[:40]!r} where {what} were due")
        return parcel

    @contextlib.contextmanager
    def _faults(self, seconds: float) -> Iterator[None]:
        """What goes wrong on the line, as what came of the detector. The process is not used again, for the line may
        be in the middle of a word.
        """
        try:
            yield
        except (DetectorError, NotAvailable):
            raise
        except (EOFError, ConnectionError):
            status = self._process.status()
            self.close()
            raise DetectorError(f"its process died with status {status}") from None
        except TimeoutError:
            self.close()
            raise DetectorError(f"it took longer than {seconds:g} s") from None
        except Malformed as fault:
            self.close()
            raise DetectorError(str(fault)) from None
        except BaseException:
            self.close()
            raise


def _program(settings: str) -> str:
    """Python that loads flyroom from where it stands, without the folder above it, and then goes to work."""
    return (
        "import importlib.util as u, sys\n"
        f"spec = u.spec_from_file_location('flyroom', {str(FLYROOM / '__init__.py')!r},"
        f" submodule_search_locations=[{str(FLYROOM)!r}])\n"
        "sys.modules['flyroom'] = module = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"from flyroom.cell.inside import main\nmain({settings!r})"
    )


def _answer(lab: Lab, parcel: Parcel) -> Parcel:
    try:
        method, args = codec.unpack_call(parcel)
        return codec.pack_result(method, getattr(lab, method)(**args))
    except Exception as error:  # whatever the lab says is the detector's to hear
        return codec.pack_error(error)
