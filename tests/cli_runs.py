"""The command line as tests call it: its status, stdout and stderr. The fixture `flyroom` runs it in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE = "0.25M"
WHY = ("--purpose", "a test")
ESTIMATE = {"value", "low", "high", "n"}


class Ran:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        assert self.status == 0, self.err
        assert self.out.count("\n") == 1
        result = json.loads(self.out)
        assert isinstance(result, dict)
        return result

    @property
    def parts(self) -> tuple[int, Any, str]:
        """The status, stdout as JSON where it is JSON, and stderr in one line."""
        return self.status, json.loads(self.out) if self.out.startswith("{") else self.out, " ".join(self.err.split())


Flyroom = Callable[..., Ran]
Run = Callable[..., tuple[int, Any, str]]


def pick(flyroom: Flyroom, room: Path, dose: float = 1.0) -> str:
    return next(e["id"] for e in flyroom("ls", "--json", "--room", room).json["entries"] if e["dose"] == dose)
