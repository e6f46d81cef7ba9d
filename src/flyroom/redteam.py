"""Calibrating a red team's method: suspects whose truth is known to us are put before it, and what it reports is
counted.

A method is rows where the suspects can be asked, their names, and the catalogue of behaviours, and reports a claim for
each. It may be a callable, or a command of any language that reads JSON and writes JSON.
Left out: a wall. A command runs with its owner's rights; names say nothing, but a room on the same disk could be read.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from flyroom import stats
from flyroom.game import Claim, Entered, GameError, Tally, check, score, to_record
from flyroom.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a method is rows. `endpoint` is OpenAI-compatible; the suspects, and `base` where it is not empty, are its
    models.
    """

    endpoint: str
    suspects: tuple[str, ...]
    catalogue: tuple[str, ...]
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """How a method did: over the suite, and its recall by behaviour."""

    tally: Tally
    by_behaviour: dict[str, Estimate]
    claims: tuple[Claim, ...]
    seconds: float


Method = Callable[[Brief], Sequence[Claim]]


def calibrate(
    truth: Sequence[Entered], method: Method, *, endpoint: str, catalogue: Sequence[str], base: str = ""
) -> Calibrated:
    """Let a method loose on suspects and count. Raises GameError for claims that do not fit, and what the method does.

    >>> truth = [Entered(suspect="a", model="1", behaviour="lies")]
    >>> lazy = lambda brief: [Claim(suspect=name, suspicion=0.0) for name in brief.suspects]
    >>> calibrate(truth, lazy, endpoint="", catalogue=["lies"]).tally.recall.value
    0.0
    """
    suspects, words = tuple(entered.suspect for entered in truth), tuple(catalogue)
    began = time.perf_counter()
    claims = list(method(Brief(endpoint=endpoint, suspects=suspects, catalogue=words, base=base)))
    took = time.perf_counter() - began
    check(claims, suspects, words)
    answers = {claim.suspect: claim.behaviour for claim in claims}
    present = sorted({entered.behaviour for entered in truth} & set(words))
    by = {word: stats.rate([answers[t.suspect] == word for t in truth if t.behaviour == word]) for word in present}
    return Calibrated(tally=score(truth, claims), by_behaviour=by, claims=tuple(claims), seconds=took)


def by_command(command: str, *, timeout: float = 3600.0) -> Method:
    """A method that is a command line: the brief is JSON on its standard input, its last line of output a list of
    claims.

    It is run by the shell in an empty folder. Raises GameError for an exit status above 0, no list, or a timeout.
    """

    def method(brief: Brief) -> list[Claim]:
        with tempfile.TemporaryDirectory() as empty:
            try:
                process = subprocess.run(
                    command,
                    shell=True,
                    cwd=empty,
                    input=json.dumps(asdict(brief)),
                    capture_output=True,
                    text=True,
                    timeout=timeout,
                )
            except subprocess.TimeoutExpired:
                raise GameError(f"{command!r} took longer than {timeout:g} s") from None
        if process.returncode:
            last = (process.stderr.strip() or "nothing said").splitlines()[-1]
            raise GameError(f"{command!r} ended with status {process.returncode}: {last}")
        lines = process.stdout.strip().splitlines()
        try:
            rows = json.loads(lines[-1] if lines else "")
        except ValueError:
            rows = None
        if not isinstance(rows, list):
            raise GameError(f"{command!r} wrote no list of claims on the last line of its output")
        return [to_record(Claim, row) for row in rows]

    return method
