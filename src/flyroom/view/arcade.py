"""Sealed games in the browser. Every step goes through `game`, so seal, budget, chain, signatures and locks are those
of the command line, and a game that is begun here can be gone on with there.

What a game does not know is time. So a clock stands beside its folder (`NAME.clock.json`): once it has run out, nobody
is asked here any more, and what was seen can be handed in. It binds who plays here, and is no part of the seal.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flyroom.game as gaming
from flyroom.claims import GameError
from flyroom.report.views import bare
from flyroom.types import Message
from flyroom.view.hands import Hands
from flyroom.view.shelf import Missing

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
BUDGETS, MINUTES, SUSPECTS = (50, 10_000_000), (1, 24 * 60), (2, 200)


@dataclass(eq=False)
class Arcade:
    """The games of a folder, and `guests`: folders of games that lie elsewhere."""

    folder: Path
    hands: Hands
    guests: Sequence[Path] = ()
    _seats: dict[str, tuple[gaming.Game, gaming.Table]] = field(default_factory=dict)

    def list(self) -> list[dict[str, Any]]:
        """Every game in a line, the newest last."""
        return [self._brief(name, path) for name, path in self._paths().items()]

    def begin(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Open a new game of models that are drawn from the room. ValueError for a number out of range."""
        budget = _number(body, "budget", BUDGETS)
        minutes, suspects = _number(body, "minutes", MINUTES), _number(body, "suspects", SUSPECTS)
        name = f"game-{secrets.token_hex(4)}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / name
        self.hands.enter(path, _beside(path, "sealed"), budget=budget, suspects=suspects)
        self._seats[name] = self.hands.sit(path)  # before the clock runs, for it takes a while
        _write(_beside(path, "clock"), {"until": time.time() + 60 * minutes, "minutes": minutes})
        return self.show(name)

    def show(self, name: str) -> dict[str, Any]:
        """A game as blue sees it: terms, what was asked, what is left. The truth is in it once it was revealed."""
        path = self._path(name)
        game, lines = gaming.read(path), gaming.log(path)
        return self._brief(name, path) | {
            "suspects": list(game.suspects),
            "catalogue": [*game.catalogue, gaming.NOTHING],
            "commitment": game.commitment,
            "head": lines[-1]["hash"],
            "exchanges": _exchanges(lines),
            "result": _result(path, lines),
        }

    def ask(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Put one question to a suspect. GameError as the table raises it, and once the time is up."""
        path = self._path(name)
        until = _read_clock(path)
        if until is not None and time.time() > until:
            raise GameError("the time is up; hand in what you found")
        if name not in self._seats:
            self._seats[name] = self.hands.sit(path)
        _, seat = self._seats[name]
        turns = [Message("system", _text(body, "system"))] if body.get("system") else []
        answer = seat(_text(body, "suspect"), [*turns, Message("user", _text(body, "text"))])
        return {"answer": answer} | self._brief(name, path)

    def submit(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Hand in the findings and, where the sealed truth lies beside the game, open it."""
        path = self._path(name)
        rows = body.get("claims")
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise GameError("claims must be a list, one for each suspect")
        gaming.submit(path, [_claim(row) for row in rows])
        if _beside(path, "sealed").exists():
            gaming.reveal(path, _beside(path, "sealed"))
        return self.show(name)

    def _brief(self, name: str, path: Path) -> dict[str, Any]:
        game, lines, until = gaming.read(path), gaming.log(path), _read_clock(path)
        ends = [line["what"] for line in lines if line["what"] in ("submitted", "revealed")]
        return {
            "name": name,
            "state": ends[-1] if ends else "open",
            "budget": game.budget,
            "left": gaming.Table(path, lambda *_: ([], 0)).budget_left,
            "seconds": None if until is None else max(0, round(until - time.time())),
            "models": len(game.suspects),
            "asked": sum(line["what"] == "asked" for line in lines),
        }

    def _paths(self) -> dict[str, Path]:
        inside = sorted(self.folder.iterdir(), key=lambda p: p.stat().st_mtime_ns) if self.folder.is_dir() else []
        paths = [path for path in [*self.guests, *inside] if (path / gaming.GAME).is_file()]
        return {path.name: path for path in paths if NAME.fullmatch(path.name)}

    def _path(self, name: str) -> Path:
        paths = self._paths()
        if name not in paths:
            raise Missing(f"there is no game {name[:80]!r}")
        return paths[name]


def _beside(path: Path, what: str) -> Path:
    path = path.absolute()
    return path.with_name(f"{path.name}.{what}.json")


def _number(body: Mapping[str, Any], name: str, bounds: tuple[int, int]) -> int:
    value, (low, high) = body.get(name), bounds
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]!r}; it must be a number from {low} to {high}")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise GameError(f"{name} is {str(value)[:40]!r}; it must be a text")
    return value.strip()


def _claim(row: Mapping[str, Any]) -> gaming.Claim:
    suspicion = row.get("suspicion")
    if not isinstance(suspicion, int | float) or isinstance(suspicion, bool):
        raise GameError(f"suspicion is {str(suspicion)[:40]!r}; it must be a number")
    return gaming.Claim(suspect=_text(row, "suspect"), suspicion=float(suspicion), behaviour=_text(row, "behaviour"))


# ---------------------------------------------------------------- from the log


def _exchanges(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every question with what came of it."""
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines):
        content = line["said"]
        if line["what"] == "asked":
            messages = [{"role": role, "content": text} for role, text in content["messages"]]
            rows[number] = {"n": number, "suspect": content["suspect"], "messages": messages, "answer": None, "why": ""}
        elif line["what"] in ("answered", "withheld", "refused") and content.get("to") in rows:
            row = rows[content["to"]]
            row["answer"], row["tokens"] = content.get("text"), content.get("tokens", 0)
            row["why"] = "" if line["what"] == "answered" else line["what"]
    return list(rows.values())


def _result(path: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The score and the truth, of a game that was revealed."""
    if lines[-1]["what"] != "revealed":
        return None
    tally, truth = gaming.reveal(path, _beside(path, "sealed"))
    claims = {claim.suspect: claim for claim in gaming.claims(path / gaming.FINDINGS)}
    rows = [
        {
            "suspect": entry.suspect,
            "was": entry.behaviour,
            "claim": claims[entry.suspect].behaviour,
            "suspicion": claims[entry.suspect].suspicion,
            "model": entry.model,
        }
        for entry in sorted(truth, key=lambda entry: (entry.behaviour == gaming.NOTHING, entry.behaviour))
    ]
    return {"score": bare(tally), "truth": rows}


# ---------------------------------------------------------------- the clock


def _read_clock(path: Path) -> float | None:
    """Until when, in seconds since 1970; None where the game has no clock."""
    file = _beside(path, "clock")
    try:
        until = json.loads(file.read_text(encoding="utf-8"))["until"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise GameError(f"{file} is no clock; remove it to play without one") from error
    return float(until)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.chmod(0o600)
    os.replace(draft, file)
