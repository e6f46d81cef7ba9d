"""Calibrate a red team's method: let it examine suspects whose truth we know, and score what it reports.

A method gets the address at which it can ask the suspects, their names, and the catalogue of behaviours. It returns a
claim for each suspect. It is a callable, or a command in any language that reads JSON and writes JSON.
Left out: a sandbox. A command runs with the rights of its owner. The names of suspects say nothing, but the command
could read a room on the same disk.
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
    """What a method gets. `endpoint` is OpenAI-compatible; its models are the suspects, and `base` unless that is
    empty.
    """

    endpoint: str
    suspects: tuple[str, ...]
    catalogue: tuple[str, ...]
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The result of a method: its score over all suspects, and its recall by behaviour."""

    tally: Tally
    by_behaviour: dict[str, Estimate]
    claims: tuple[Claim, ...]
    seconds: float


Method = Callable[[Brief], Sequence[Claim]]


def calibrate(
    truth: Sequence[Entered], method: Method, *, endpoint: str, catalogue: Sequence[str], base: str = ""
) -> Calibrated:
    """Run a method on suspects and score its claims. Raises GameError for claims that do not fit the suspects, and
    every error of the method.

    >>> truth = [Entered(suspect="a", model="1", behaviour="lies")]
    >>> lazy = lambda brief: [Claim(suspect=name, suspicion=0.0) for name in brief.suspects]
    >>> calibrate(truth, lazy, endpoint="", catalogue=["lies"]).tally.recall.value
    0.0
    """
    suspects, words = tuple(entry.suspect for entry in truth), tuple(catalogue)
    began = time.perf_counter()
    claims = list(method(Brief(endpoint=endpoint, suspects=suspects, catalogue=words, base=base)))
    took = time.perf_counter() - began
    check(claims, suspects, words)
    behaviours = {claim.suspect: claim.behaviour for claim in claims}
    present = sorted({entry.behaviour for entry in truth} & set(words))
    by = {word: stats.rate([behaviours[t.suspect] == word for t in truth if t.behaviour == word]) for word in present}
    return Calibrated(tally=score(truth, claims), by_behaviour=by, claims=tuple(claims), seconds=took)


def by_command(command: str, *, timeout: float = 3600.0) -> Method:
    """Returns a method that runs a command line: it reads the brief as JSON from its standard input, and the last line
    of its output is a JSON list of claims.

    The shell runs it in an empty folder. Raises GameError for an exit status above 0, no list, or a timeout.
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
            message = (process.stderr.strip() or "nothing said").splitlines()[-1]
            raise GameError(f"{command!r} ended with status {process.returncode}: {message}")
        lines = process.stdout.strip().splitlines()
        try:
            claims = json.loads(lines[-1] if lines else "")
        except ValueError:
            claims = None
        if not isinstance(claims, list):
            raise GameError(f"{command!r} wrote no list of claims on the last line of its output")
        return [to_record(Claim, claim) for claim in claims]

    return method
