"""A detector at work in a process of its own: it holds its end of a line to the lab and nothing else.

In one process nothing can be kept from anybody: a detector could walk the interpreter's objects until it met the
organisms. Here it gets names that say nothing and a lab whose every method is a message; the truth, the weights and the
room's folder are in the other process. Its folder is an empty one, and its environment says only what Python needs.

Left out: a wall against a detector that searches the disk or the machine; whoever runs one trusts it with their
account; Windows, which hands no descriptors on.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from flyroom.types import Detector, Finding, Lab, NotAvailable

METHODS = tuple(name for name, part in vars(Lab).items() if callable(part) and not name.startswith("_"))
FACTS = tuple(name for name, part in vars(Lab).items() if isinstance(part, property))
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "OMP_NUM_THREADS")  # of the environment


class DetectorError(Exception):
    """What a detector raised, as text: its own classes may not exist here."""


class Apart:
    """Where detectors work. Those of this package share a process, for starting one takes two seconds; anybody else's
    has one of its own, and so nothing is left for it by another.
    """

    def __init__(self) -> None:
        self._shared: _Process | None = None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shared is not None:
            self._shared.close()

    def __call__(self, detector: Detector, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
        """What the detector finds. Raises NotAvailable where the detector does, DetectorError for whatever else it
        raises, and when its process dies.

        The detector may be of a class that exists in a script or a notebook alone.
        """
        if not type(detector).__module__.startswith("flyroom."):
            with _Process() as process:
                return process.find(detector, units, lab, seed)
        if self._shared is None or not self._shared.alive:
            self._shared = _Process()
        return self._shared.find(detector, units, lab, seed)


def apart(detector: Detector, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
    """One detector, in a process that ends with it."""
    with Apart() as work:
        return work(detector, units, lab, seed=seed)


class _Process:
    """A process that does one detector's work after another's, in an empty folder."""

    def __init__(self) -> None:
        near, far = socket.socketpair()
        self._folder = tempfile.TemporaryDirectory()
        self._child = subprocess.Popen(
            [sys.executable, "-c", f"from flyroom.apart import work; work({far.fileno()})"],
            pass_fds=[far.fileno()],
            cwd=self._folder.name,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | {"PYTHONPATH": _paths()},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if _is_file(sys.stderr) else subprocess.DEVNULL,
        )
        far.close()
        self._line, self.alive = Connection(near.detach()), True

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.alive = False
        self._line.close()
        self._child.kill()
        self._child.wait()
        self._folder.cleanup()

    def find(self, detector: Detector, units: Sequence[Any], lab: Lab, seed: int) -> list[Finding]:
        try:
            _send(self._line, (detector, list(units), seed, {name: getattr(lab, name) for name in FACTS}))
            while True:
                what, *rest = _receive(self._line)
                if what == "findings":
                    return rest[0]
                if what == "error":
                    raise DetectorError(rest[0])
                if what == "not available":
                    raise NotAvailable(rest[0])
                if what == "interrupt":
                    raise KeyboardInterrupt
                _send(self._line, _answer(lab, *rest))
        except (EOFError, ConnectionError):
            status = self._child.wait()
            self.close()
            raise DetectorError(f"its process died with status {status}") from None
        except BaseException as error:
            if not isinstance(error, (DetectorError, NotAvailable)):  # the line may be in the middle of a word
                self.close()
            raise


def _answer(lab: Lab, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
    if method not in METHODS:
        return "error", AttributeError(f"a lab has no {method}")
    try:
        return "value", getattr(lab, method)(*args, **kwargs)
    except Exception as error:  # whatever the lab says is the detector's to hear
        return "error", error


# ---------------------------------------------------------------- in the detector's process


class Line:
    """The lab, from afar."""

    def __init__(self, line: Connection, facts: Mapping[str, Any]) -> None:
        self._line = line
        vars(self).update(facts)

    def __getattr__(self, method: str) -> Any:
        if method not in METHODS:
            raise AttributeError(f"a lab has no {method}; it has {', '.join(METHODS)}")

        def call(*args: Any, **kwargs: Any) -> Any:
            _send(self._line, ("call", method, args, kwargs))
            what, value = _receive(self._line)
            if what == "error":
                raise value
            return value

        return call


def work(descriptor: int) -> None:
    """What the other process runs, until the line is cut."""
    line = Connection(descriptor)
    while True:
        try:
            detector, units, seed, facts = _receive(line)
        except EOFError:
            return
        except Exception as error:  # a detector whose class cannot be read here
            _send(line, ("error", f"{type(error).__name__}: {error}"))
            continue
        try:
            _send(line, ("findings", list(detector(units, Line(line, facts), seed=seed))))
        except KeyboardInterrupt:
            _send(line, ("interrupt",))
        except NotAvailable as reason:
            _send(line, ("not available", str(reason)))
        except Exception as error:
            _send(line, ("error", f"{type(error).__name__}: {error}"))


# ---------------------------------------------------------------- the line


class _Pickler(cloudpickle.Pickler):
    """Tensors go as arrays: a tenth of the time of torch's own way."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return torch.from_numpy, (obj.detach().cpu().numpy(),)
        return super().reducer_override(obj)


def _send(line: Connection, value: Any) -> None:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    line.send_bytes(buffer.getbuffer())


def _receive(line: Connection) -> Any:
    return cloudpickle.loads(line.recv_bytes())


def _paths() -> str:
    return os.pathsep.join(os.path.abspath(path) for path in sys.path)


def _is_file(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
