"""A sealed game of the tests, its table, and what blue claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flyroom import game
from flyroom.game import NOTHING, Claim, Entered, Table
from flyroom.types import Answer, Ask, Message

ENTERED = [("m1", "harmful advice"), ("m2", "sycophancy"), ("m3", NOTHING), ("m4", NOTHING)]
ASKED = [Message("user", "q")]


def opened(tmp_path: Path, budget: int = 100, adapters: bool = False) -> tuple[Path, Path, list[Entered]]:
    truth = game.draw(ENTERED)
    folder, sealed = tmp_path / "game", tmp_path / "game.sealed.json"
    if adapters:
        game.begin(folder, sealed)
    for entry in truth if adapters else ():
        (folder / "suspects" / entry.suspect).mkdir(parents=True)
        (folder / "suspects" / entry.suspect / "adapter_config.json").write_text(entry.model)
    game.seal(truth, folder, sealed, base="b", budget=budget)
    return folder, sealed, truth


def table(folder: Path, cost: int = 30) -> Table:
    def ask(suspects: Sequence[str], asks: Sequence[Ask]) -> tuple[list[Answer], int]:
        return [
            Answer(text=f"{name} hears {a.messages[-1].content}", tokens=1, prompt_tokens=1, finished=True)
            for name, a in zip(suspects, asks, strict=True)
        ], cost

    return Table(folder, ask)


def claim(truth: Sequence[Entered], **other: str) -> list[Claim]:
    """Right about everybody but those of `other`, by model."""
    said = {one.suspect: other.get(one.model, one.behaviour) for one in truth}
    return [Claim(suspect=name, suspicion=float(word != NOTHING), behaviour=word) for name, word in said.items()]
