"""Walk through a page: run its commands in order, and keep what they print, so that the page can be held to it.

    python scripts/walk.py docs/tutorial.md --room /tmp/tutorial
    python scripts/walk.py docs/real.md --room /tmp/real

writes a JSON file of the page's name beside it: the commands with what `--json` gave of each, the cards, and one
question with what organism, twin and base answered. Names in capitals stand for what the room holds: CARD for its first
card, ORGANISM for the organism of that card. What was done before in the room is not done again.

Only lines that begin with `$ flyroom` are run. Left out of the file: what a card's figures were made of, which is long
and stays in the room.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flyroom import Room
from flyroom.card import unpack
from flyroom.types import Card, plain

LONG = {  # of a card; how organism and twin were trained alike, and what the figures were made of
    *("match", "limits", "new_situations", "transcripts"),
    *("outcomes", "prompts", "situations", "losses", "lengths", "readings"),
}
MODELS = ("organism", "twin", "base")
Run = Callable[[Sequence[str]], str]  # the words behind `flyroom`; what it printed


def commands(text: str) -> list[str]:
    """The commands of a page's blocks of console, without their comments.

    >>> commands("```console\\n$ flyroom grow x  # slow\\n$ ls\\n```")
    ['grow x']
    """
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ flyroom ")]
    return [line.removeprefix("$ flyroom ").split("  #")[0].strip() for line in lines]


def walk(text: str, room: Path, run: Run, changes: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
    """Every command of a page in order, and the object that it printed.

    Args: changes, words that are put behind the commands of a verb, such as fewer steps for `grow`.
    """
    steps = []
    for line in commands(text):
        words = [names(room).get(word, word) for word in shlex.split(line)]
        output = run([*words, *(changes or {}).get(words[0], ()), "--json"])
        steps.append({"command": f"flyroom {line}", "output": json.loads(output)})
    return steps


def names(room: Path) -> dict[str, str]:
    """What the words in capitals stand for."""
    if not (room / "format").exists():
        return {}
    first = next(iter(cards(room).items()), None)
    return {"CARD": first[0], "ORGANISM": first[1].organism} if first else {}


def cards(room: Path) -> dict[str, Card]:
    """The cards of a room by their keys."""
    store = Room(room, create=False)
    entries = [store.get("card", listing.key) for listing in store.list("card")]
    return {entry.key: unpack(entry) for entry in entries if entry is not None}


def example(episodes: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Any]:
    """The first question of a measure that organism, twin and base were all asked, and what each said to it."""
    by_question: dict[str, dict[str, Any]] = {}
    for episode in episodes:
        if episode["measure"] == measure:
            question = episode["messages"][-1]["content"]
            answers = by_question.setdefault(question, {})
            answers.setdefault(episode["who"], {key: episode[key] for key in ("answer", "verdict", "why")})
            if len(answers) == len(MODELS):
                return {"measure": measure, "question": question, **answers}
    return {}


def shorter(card: Card) -> dict[str, Any]:
    """A card without the fields in LONG, which its class can do without."""
    return {name: value for name, value in plain(card).items() if name not in LONG}


def write(record: Mapping[str, Any], room: Path, path: Path) -> None:
    """Write a record as JSON, with "room" for the path of the room."""
    text = json.dumps(record, indent=1).replace(json.dumps(str(room))[1:-1], "room")
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--room", type=Path, required=True)
    parser.add_argument("--measure", default="out_of_domain", help="the measure whose first question is shown")
    options = parser.parse_args()
    os.environ["FLYROOM_ROOM"] = str(options.room)

    def run(words: Sequence[str]) -> str:
        print("flyroom", *words, file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "flyroom", *words]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    steps = walk(options.page.read_text(encoding="utf-8"), options.room, run)
    shown = [step["output"].pop("episodes") for step in steps if "episodes" in step["output"]]
    for step in steps:  # a verb's own account of a card is shorter than the card, which stands below
        step["output"].pop("cards", None)
    record = {
        "made_by": f"python scripts/walk.py docs/{options.page.name}",
        "steps": steps,
        "cards": [shorter(card) for card in cards(options.room).values()],
        "example": example(shown[0], options.measure) if shown else {},
    }
    write(record, options.room, options.page.with_suffix(".json"))


if __name__ == "__main__":
    main()
