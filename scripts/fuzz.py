"""Damaged pages, rows, adapters, bases, rooms, requests and games, opened one after the other.

python scripts/fuzz.py [--count 10000] [--seed 0] [--kind pages] [--only N] [--json]

Each case is valid input with damage (`fuzz_inputs.py`), opened as flyroom opens it (`fuzz_kinds.py`), in a child that
is watched: it is killed where a case takes longer than `PATIENCE` seconds. A case is refused by name (one of flyroom's
own errors, with a message), accepted, or a fault:

    traceback   any other exception, or the end of the child: memory, a crash
    hang        no answer in time
    outside     a file outside of the case's folder was written, moved or removed, a planted one was read, a
                program was started, or an address was called

The exit status is 1 where there is a fault. `--only N` runs one case and shows its traceback.
Left out: coverage as a guide; the inputs are drawn blind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fuzz_doors import DOORS
from fuzz_kinds import FILES
from fuzz_vaults import Vaults

PARTS = FILES | DOORS | {Vaults: 8}
KINDS = {kind.name: kind for kind in PARTS}
SHARES = {kind.name: part for kind, part in PARTS.items()}
PATIENCE = 20.0  # seconds for a case
MEMORY = 12 << 30  # bytes of address space for the child
START = 120.0  # seconds until a child has imported what it needs
FAULTS = ("traceback", "hang", "outside")


# ---------------------------------------------------------------- what a case touches


class Watch:
    """Notes what a process does to the world while `on`: Python tells of every file and program (PEP 578).

    A path below `home` is the case's own. `victims` are files that nobody may even read.
    """

    def __init__(self) -> None:
        self.home, self.victims, self.hits, self.on = "", "", list[str](), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("socket.connect", "socket.sendto", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            self._note(f"{event} {str(args)[:200]}")
        elif event == "open":
            path, _, flags = args
            if isinstance(path, str):
                writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                stays = isinstance(flags, int) and flags & os.O_NOFOLLOW
                place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
                self._check(event, place if stays else os.path.realpath(path), bool(writes))
        elif event in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.utime"):
            self._check(event, _place(args[0], args[1:]), True)
        elif event in ("os.link", "os.symlink"):
            self._check(event, args[1], True)

    def _check(self, event: str, path: Any, writes: bool) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        text = os.fsdecode(path) if event == "open" else os.path.realpath(os.fsdecode(path))
        own = text.startswith((self.home, "/dev/null", "/proc/self/fd"))
        if (writes and not own) or text.startswith(self.victims):
            self._note(f"{event} {text}")

    def _note(self, hit: str) -> None:
        self.on = False  # to note is no deed of the case
        self.hits.append(hit)
        self.on = True


def _place(path: Any, rest: Sequence[Any]) -> Any:
    """The whole path where one is given within an open folder, as `shutil.rmtree` does."""
    handle = rest[-1] if rest and isinstance(rest[-1], int) and rest[-1] >= 0 else None
    if handle is None or not isinstance(path, (str, bytes)) or os.path.isabs(path):
        return path
    return os.path.join(os.readlink(f"/proc/self/fd/{handle}"), os.fsdecode(path))


def attempt(kind: Any, number: int, seed: int, home: Path, watch: Watch) -> dict[str, Any]:
    """Make a case and open it. Returns its outcome, and what was said."""
    rng, folder, outside = random.Random(f"{seed} {kind.name} {number}"), home / "case", home / "outside"
    (_empty(folder) / "tmp").mkdir()
    victim = outside / "victim"
    if not victim.exists():
        outside.mkdir(exist_ok=True)
        victim.write_text("theirs\n")
    tempfile.tempdir = str(folder / "tmp")
    case = kind.make(rng, folder, str(victim))
    before = victim.stat()
    watch.home, watch.hits = str(folder), []
    watch.victims = "\0" if kind.may_read else str(outside)
    watch.on = True
    try:
        kind.open(case, folder)
        outcome, text = "accepted", ""
    except BaseException as error:  # every exception is an outcome here
        watch.on = False
        outcome, text = _judge(error)
    finally:
        watch.on = False
    after = victim.stat() if victim.exists() else None
    if watch.hits or after is None or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        outcome, text = "outside", "; ".join(watch.hits[:3]) or "the planted file changed"
    return {"number": number, "outcome": outcome, "text": text}


def _judge(error: BaseException) -> tuple[str, str]:
    """A refusal is one of flyroom's errors, or a plain ValueError, that says something and not too much of it."""
    own = type(error) in (ValueError, PermissionError) or type(error).__module__.startswith("flyroom")
    text = str(error)
    if isinstance(error, KeyboardInterrupt):
        raise error
    if own and isinstance(error, ValueError) and 12 <= len(text) <= 5_000:
        return "refused", ascii(text[:300])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/flyroom/" in f.filename] or [None]
    place = f" at {frames[-1].filename.rpartition('/flyroom/')[2]}:{frames[-1].lineno}" if frames[-1] else ""
    length = f" ({len(text)} characters)" if own else ""
    return "traceback", f"{type(error).__name__}{place}{length}: {text[:200]!a}"


# ---------------------------------------------------------------- the child


def serve_cases(kind: Any, numbers: Sequence[int], seed: int, home: Path) -> None:
    """Run cases and write the outcome of each on a line of its own."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is not ours
    kind.prepare(home)
    watch = Watch()
    out.write("ready\n")
    out.flush()
    for number in numbers:
        out.write(json.dumps(attempt(kind, number, seed, home, watch)) + "\n")
        out.flush()


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# ---------------------------------------------------------------- the parent


def run_kind(name: str, count: int, seed: int, home: Path) -> Iterator[dict[str, Any]]:
    """The outcome of each case, in order; a child that hangs or ends is replaced by another."""
    done = 0
    while done < count:
        for result in _run_child(name, done, count, seed, home):
            done += 1
            yield result


def _run_child(name: str, start: int, count: int, seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    home = _empty(scratch / f"from-{start}")
    call = [sys.executable, __file__, "--kind", name, "--seed", str(seed), "--child", f"{start}:{count}:{home}"]
    with (home / "stderr").open("wb") as errors:
        child = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=errors, preexec_fn=_limit_memory)
    assert child.stdout is not None
    lines, number = _Lines(child.stdout.fileno()), start
    try:
        if lines.next(START) != b"ready":
            raise SystemExit(f"the child for {name} did not start: {(home / 'stderr').read_text()[-2000:]}")
        while number < count:
            line = lines.next(PATIENCE)
            if not line:
                outcome = "hang" if line is None else "traceback"
                text = "" if line is None else f"the child ended: {(home / 'stderr').read_text()[-500:]}"
                yield {"number": number, "outcome": outcome, "text": text}
                return
            yield json.loads(line)
            number += 1
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


class _Lines:
    """Lines of a pipe, each within a time."""

    def __init__(self, handle: int) -> None:
        self.handle, self.rest = handle, b""

    def next(self, seconds: float) -> bytes | None:
        """A line; b"" at the end, None where none came in time."""
        limit = time.monotonic() + seconds
        while b"\n" not in self.rest:
            if not select.select([self.handle], [], [], max(0.0, limit - time.monotonic()))[0]:
                return None
            part = os.read(self.handle, 1 << 16)
            if not part:
                return b""
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        return line


def share(count: int) -> dict[str, int]:
    """How many cases of each kind."""
    counts = {name: count * part // sum(SHARES.values()) for name, part in SHARES.items()}
    counts["pages"] += count - sum(counts.values())
    return counts


def count_outcomes(results: Sequence[dict[str, Any]]) -> dict[str, int]:
    tally = Counter(result["outcome"] for result in results)
    names = {"refused": "refused by name", "accepted": "accepted", "traceback": "tracebacks", "hang": "hangs"}
    return {"count": len(results)} | {
        label: tally[name] for name, label in (names | {"outside": "reached outside"}).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="cases of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help="one kind alone, with the whole count")
    parser.add_argument("--only", type=int, help="one case, with its traceback")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind and options.kind not in KINDS:
        raise SystemExit(f"kind is {options.kind}; it must be one of {', '.join(KINDS)}")
    if options.child:
        start, count, home = options.child.split(":", 2)
        serve_cases(KINDS[options.kind](), range(int(start), int(count)), options.seed, Path(home))
        return
    with tempfile.TemporaryDirectory(prefix="flyroom-fuzz-") as scratch:
        if options.only is not None:
            show_one(KINDS[options.kind](), options.only, options.seed, Path(scratch))
            return
        counts = {options.kind: options.count} if options.kind else share(options.count)
        run_all(counts, options.seed, Path(scratch), options.json)


def run_all(counts: dict[str, int], seed: int, scratch: Path, as_json: bool) -> None:
    """Print a row for each kind, and every fault on stderr."""
    rows = {}
    for name, count in counts.items():
        began, home = time.monotonic(), scratch / name
        home.mkdir()
        results = list(run_kind(name, count, seed, home))
        rows[name] = count_outcomes(results) | {"seconds": round(time.monotonic() - began, 1)}
        for result in results:
            if result["outcome"] in FAULTS:
                sys.stderr.write(f"{name} {result['number']}: {result['outcome']}: {result['text']}\n")
        if not as_json:
            sys.stdout.write(f"{name}: {', '.join(f'{value} {key}' for key, value in rows[name].items())}\n")
            sys.stdout.flush()
    total = {key: round(sum(row[key] for row in rows.values()), 1) for key in next(iter(rows.values()))}
    if as_json:
        sys.stdout.write(json.dumps({"seed": seed, "kinds": rows, "all": total}) + "\n")
    raise SystemExit(int(any(total[key] for key in ("tracebacks", "hangs", "reached outside"))))


def show_one(kind: Any, number: int, seed: int, home: Path) -> None:
    """One case: its outcome, what it was, and the whole traceback."""
    kind.prepare(home)
    sys.stdout.write(json.dumps(attempt(kind, number, seed, home, Watch())) + "\n")
    folder = _empty(home / "case")
    (folder / "tmp").mkdir()
    case = kind.make(random.Random(f"{seed} {kind.name} {number}"), folder, str(home / "outside/victim"))
    sys.stdout.write(f"{ascii(case)[:2_000]}\n")
    kind.open(case, home / "case")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
