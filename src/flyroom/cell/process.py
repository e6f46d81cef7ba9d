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
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from flyroom.cell import Limits, NotIsolated
from flyroom.cell.launch import NEEDED, WALLS, Plan
from flyroom.cell.paths import FLYROOM, Paths, readable

PRINTED = 1 << 16  # bytes of what a process prints that are shown
ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
LAUNCHER = f"import sys; sys.path.insert(0, {str(FLYROOM.parent)!r}); from flyroom.cell.launch import main; main()"
GRACE = 5.0  # seconds that a process has to end once it is told to


class Process:
    """A program in a scratch folder of its own, which is its working directory and is removed with it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        walls: Sequence[str],
        paths: Paths,
        limits: Limits,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
        several: bool = False,
        port: int = 0,
        listener: int = -1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="flyroom-cell-", ignore_cleanup_errors=True)
        home = Path(self._folder.name).resolve()
        self.scratch, root = home / "scratch", home / "root"
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
            processes=limits.processes if several else 1,
            port=port,
            listener=listener,
        )
        try:
            self.child = _spawn(plan, [*pass_fds, *([listener] if listener >= 0 else [])], stdin)
        except BaseException:
            os.close(report)
            self._folder.cleanup()
            raise
        finally:
            os.close(back)
        self._printer = threading.Thread(target=_show, args=(self.child,), daemon=True)
        self._printer.start()
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
        self._printer.join(GRACE)
        if self.child.stdout and not self._printer.is_alive():
            self.child.stdout.close()
        self._folder.cleanup()


def _spawn(plan: Plan, descriptors: Sequence[int], stdin: int) -> subprocess.Popen[bytes]:
    """The launcher where there is one. Its standard input is its plan; `stdin` is for machines without."""
    linux = sys.platform == "linux"
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAUNCHER] if linux else plan.argv,
        pass_fds=[*descriptors, plan.report],
        cwd=plan.scratch,
        env=plan.environment,
        stdin=subprocess.PIPE if linux else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if linux and child.stdin:
        child.stdin.write(plan.dump().encode() + b"\n")
        child.stdin.close()
    return child


def _show(child: subprocess.Popen[bytes]) -> None:
    room = PRINTED
    while child.stdout and (data := os.read(child.stdout.fileno(), 8192)):
        text = data[:room].decode("utf-8", "replace")
        room -= min(room, len(data))
        clean = "".join(c for c in text if c.isprintable() or c in "\n\t")
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
