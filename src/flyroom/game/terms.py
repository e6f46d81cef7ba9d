"""What is agreed when a game is sealed: its terms, the truth, and the commitment that binds one to the other.

The commitment is the SHA-256 of a random salt, the truth and every term: the budget, the length of answers, the hash of
each suspect's adapter, and who sealed it. None of them can be changed later without red's salt. The truth lies in a
file that red keeps; where red has an identity, it is encrypted to that alone.

Source: commitments, Blum 1983.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flyroom.claims import GameError, Side, to_record
from flyroom.game.chain import LOG, Line, read_file
from flyroom.types import ANSWER_TOKENS
from flyroom.vault import current
from flyroom.vault.identity import explain, is_protected

GAME, SUSPECTS = "game.json", "suspects"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The truth about one suspect. `behaviour` is a word of the catalogue, or "nothing". `model` is its id in red's
    room. `side` is None in games that were sealed before sides stood in them.
    """

    suspect: str
    model: str
    behaviour: str
    side: Side | None = None


@dataclass(frozen=True, kw_only=True)
class Game:
    """The public part of a game. `budget` counts the tokens that suspects read and write; an answer is cut after
    `max_tokens`. `adapters` has the hash of each suspect's files, `signer` who sealed it, "" for nobody.
    """

    suspects: tuple[str, ...]
    catalogue: tuple[str, ...]
    budget: int
    base: str
    commitment: str
    max_tokens: int = ANSWER_TOKENS
    adapters: Mapping[str, str] = field(default_factory=dict)
    signer: str = ""

    def __post_init__(self) -> None:
        strange = next((name for name in self.suspects if NAME.fullmatch(name) is None), None)
        if strange is not None or len(set(self.suspects)) < len(self.suspects):
            raise GameError(f"suspects has {strange!r}; it must be names of letters, digits and dashes, each once")
        for name in ("budget", "max_tokens"):
            if getattr(self, name) < 1:
                raise GameError(f"{name} is {getattr(self, name)}; it must be at least 1 token")


def read(folder: Path) -> Game:
    """Returns the public game. Raises GameError where there is none."""
    if not (folder / GAME).is_file():
        raise GameError(f"folder is {folder}; it holds no game, open one with flyroom game new")
    return to_record(Game, parse_json(read_file(folder / GAME), folder / GAME))


def to_row(entry: Entered) -> dict[str, Any]:
    """As JSON, and as the commitment has it: without a side where there is none."""
    return {name: value for name, value in asdict(entry).items() if value is not None}


def commit(salt: str, truth: Sequence[Entered], terms: Mapping[str, Any]) -> str:
    """The commitment: 64 hex digits."""
    text = json.dumps([[to_row(entry) for entry in truth], terms], sort_keys=True)
    return hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def hash_folder(folder: Path) -> str:
    """The SHA-256 of every file's name and content, "" where there is no folder."""
    if not folder.is_dir():
        return ""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() or path.is_symlink():
            total.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(read_file(path)).digest())
    return total.hexdigest()


def list_terms(game: Game) -> dict[str, Any]:
    """What the commitment binds."""
    return {name: value for name, value in asdict(game).items() if name != "commitment"}


def check_seal(folder: Path, game: Game, lines: Sequence[Line]) -> None:
    """Raises GameError where game.json, the first line of the log, its signer and the adapters are not of one seal."""
    if lines[0]["what"] != "sealed" or lines[0]["said"] != json.loads(json.dumps(asdict(game))):
        raise GameError(f"{folder / GAME} is not the game that was sealed: it differs from the first line of the log")
    if lines[0].get("signer", "") != game.signer:
        raise GameError(
            f"the first line of {folder / LOG} is not signed by {game.signer or 'nobody'}, as the game says"
        )
    for name, digest in game.adapters.items():
        if hash_folder(folder / SUSPECTS / name) != digest:
            raise GameError(f"{folder / SUSPECTS / name} is not the adapter that was sealed: its files changed")


def open_truth(sealed: Path, lines: Sequence[Line]) -> Mapping[str, Any]:
    """The truth and its salt: of the sealed file, or of the log if it was opened before and the file is elsewhere."""
    if lines[-1]["what"] == "revealed" and not sealed.exists():
        opened = lines[-1]["said"].get("truth")
    else:
        data = read_file(sealed.resolve())
        opened = parse_json(_decrypt(sealed, data) if is_protected(data) else data, sealed)
    whole = isinstance(opened, dict) and isinstance(opened.get("salt"), str) and isinstance(opened.get("truth"), list)
    if not whole or set(opened) != {"salt", "truth"}:
        raise GameError(f"{sealed} holds no sealed truth; it must have a salt and a list of entries")
    return opened


def _decrypt(sealed: Path, data: bytes) -> bytes:
    identity = current()
    if identity is None:
        raise GameError(f"{sealed} opens for whoever sealed it, and {explain()}")
    return identity.decrypt(data)


def parse_json(data: bytes, path: Path) -> Any:
    """The JSON of a file. Raises GameError, which names the file, where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as e:
        raise GameError(f"{path} cannot be read as JSON: {e}") from e
