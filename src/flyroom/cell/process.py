"""A process in a cell, seen from outside: it is started behind its walls, bounded, and ended with all that it started.

What it prints is data of strangers: it goes to standard error, without control characters, and is cut after `PRINTED`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

from flyroom.cell import Limits, NotIsolated
from flyroom.cell.launch import NEEDED, WALLS, Plan
from flyroom.cell.paths import FLYROOM, Paths, readable
from flyroom.cell.scratch import Scratch

PRINTED, HELD = 1 << 16, 1 << 24  # bytes of what a process prints that are shown, or held
ENVIRONMENT = (
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
)
LAUNCHER = f"import sys; sys.path.insert(0, {str(FLYROOM.parent)!r}); from flyroom.cell.launch import main; main()"
GRACE = 5.0  # seconds that a process has to end once it is told to


class Process:
    """A program in a scratch folder of its own, which is its working directory and is removed with it. One that is fed
    a `text` may start others, and what it writes is held; what any other writes is shown.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        walls: Sequence[str],
        paths: Paths,
        limits: Limits,
        pass_fds: Sequence[int] = (),
        text: str | None = None,
        port: int = 0,
        listener: int = -1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Scratch()
        self.scratch, root = self._folder.path / "scratch", self._folder.path / "root"
        self.scratch.mkdir()
        root.mkdir()
        self.walls: list[str] = []
        report, back = os.pipe()
        plan = Plan(
            argv=list(argv),
            environment={**_environment(self.scratch), **(environment or {})},
            parent=os.getpid(),
            report=back,
            walls=list(walls),
            files=paths.files,
            folders=paths.folders,
            scratch=str(self.scratch),
            root=str(root),
            memory=limits.memory if walls else 0,
            file=limits.file if walls else 0,
            processes=1 if text is None else limits.processes,
            text=text or "",
            port=port,
            listener=listener,
        )
        try:
            self.child = _spawn(plan, [*pass_fds, *([listener] if listener >= 0 else [])], apart=text is not None)
        except BaseException:
            os.close(report)
            self._folder.close()
            raise
        finally:
            os.close(back)
        self._outputs = [_Output(stream, text is None) for stream in (self.child.stdout, self.child.stderr) if stream]
        self._hear(report)

    def _hear(self, report: int) -> None:
        """What the launcher says of its walls."""
        if sys.platform != "linux":
            os.close(report)
            return
        with os.fdopen(report, "rb") as lines:
            answer = json.loads(lines.readline() or b'{"error": "it ended"}')
        if "error" in answer:
            self.close()
            raise NotIsolated(f"the walls of a cell cannot be put up here: {answer['error']}")
        self.walls = answer["walls"]

    def status(self) -> int:
        """How it ended; it is ended if it has not. 128 and a signal's number for one that a signal ended."""
        try:
            code = self.child.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.child.wait()
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)  # it leads a group of its own, which nobody in it can leave
        self.child.kill()

    def close(self) -> None:
        self.kill()
        self.child.wait()
        for output in self._outputs:
            output.close()
        self._folder.close()

    @property
    def printed(self) -> int:
        """How many bytes it has written."""
        return sum(output.length for output in self._outputs)

    def texts(self) -> list[str]:
        """What it wrote, by stream."""
        for output in self._outputs:
            output.close()
        return [output.data.decode("utf-8", "replace") for output in self._outputs]

    def count(self) -> int:
        """How many processes its group has."""
        group, number = str(self.child.pid), 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                number += (folder / "stat").read_text().rpartition(")")[2].split()[2] == group
        return number


def _spawn(plan: Plan, descriptors: Sequence[int], *, apart: bool) -> subprocess.Popen[bytes]:
    """The launcher, whose standard input is its plan; on other systems the program itself. `apart`: standard error is a
    stream of its own.
    """
    linux = sys.platform == "linux"
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAUNCHER] if linux else plan.argv,
        pass_fds=[*descriptors, plan.report],
        cwd=plan.scratch,
        env=plan.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        start_new_session=True,
    )
    with contextlib.suppress(BrokenPipeError):
        assert child.stdin
        child.stdin.write(plan.dump().encode() + b"\n" if linux else plan.text.encode())
        child.stdin.close()
    return child


class _Output:
    """What a program writes, read by a thread as it comes, and shown (its first `PRINTED` bytes) or held (its last
    `HELD`, for what it finds comes at its end).
    """

    def __init__(self, stream: IO[bytes], shows: bool) -> None:
        self.length, self.data = 0, bytearray()
        self._stream, self._shows = stream, shows
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while data := os.read(self._stream.fileno(), 1 << 16):
            if self._shows:
                _show(data[: max(0, PRINTED - self.length)])
            else:
                self.data += data
                del self.data[:-HELD]
            self.length += len(data)

    def close(self) -> None:
        self._thread.join(GRACE)
        if not self._thread.is_alive():
            self._stream.close()


def _show(data: bytes) -> None:
    clean = "".join(c for c in data.decode("utf-8", "replace") if c.isprintable() or c in "\n\t")
    with contextlib.suppress(ValueError, OSError):  # nobody reads standard error any more
        sys.stderr.write(clean)


def _environment(scratch: Path) -> dict[str, str]:
    """What a program is told: how to find libraries, and where it may write."""
    passed = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    folders = {"HOME": str(scratch), "TMPDIR": str(scratch), "PATH": os.environ.get("PATH", os.defpath)}
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", "JOBLIB_MULTIPROCESSING": "0"}
    return {**passed, **folders, **quiet, "CUDA_VISIBLE_DEVICES": ""}


@lru_cache(maxsize=1)
def walls_here() -> tuple[str, ...]:
    """The walls that stand on this machine, found out by putting them up once: all, or those that "strict" needs, or
    none.
    """
    if sys.platform != "linux":
        return ()
    paths = readable({})
    for walls in (WALLS, NEEDED):
        try:
            process = Process([sys.executable, "-I", "-S", "-c", ""], walls=walls, paths=paths, limits=Limits())
        except (NotIsolated, OSError):
            continue
        status = process.status()
        process.close()
        if status == 0:
            return walls
    return ()


def require_walls(what: str) -> tuple[str, ...]:
    """The walls. Raises NotIsolated where "strict" cannot be had, for `what` was to run behind them."""
    walls = walls_here()
    if not walls:
        raise NotIsolated(
            f"{what} is not isolated here: this machine has no {' and '.join(NEEDED)} to put around it; give "
            "--isolation trust to run it all the same, with the rights of your account"
        )
    return walls
