"""What grows just now: read from the checkpoints of the room, as a killed run would be.

A checkpoint is written every few rounds, so this is as new as the last one. Its journal holds the loss of each step.
How long a training will be stands in no checkpoint; where the room holds a finished organism of the very same recipe,
by its hash and not by its name, it was as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flyroom import log
from flyroom.view.shelf import Shelf

HEAD = "/head"
POINTS = 120  # of a curve
LINES = 12  # of the log


def growth_page(shelf: Shelf) -> dict[str, Any]:
    """What grows now: each group that has a checkpoint, its jobs, and how far they are."""
    index = shelf.index
    heads = [item.key for item in index.by_kind.get("checkpoint", ()) if item.key.endswith(HEAD)]
    lines, fault = log.examine(shelf.room)
    titles = {organism: title for line in lines for organism, title in _titles(line).items()}
    groups = [_group(shelf, key.removesuffix(HEAD), titles) for key in heads]
    return {
        "groups": [group for group in groups if group["jobs"]],
        "organisms": len(index.rows),
        "log": [
            {"at": line.at, "what": line.what, "who": line.who, "purpose": line.purpose} for line in lines[-LINES:]
        ],
        "fault": fault,
    }


def _titles(line: log.Line) -> dict[str, dict[str, Any]]:
    """What a line that opens seeds says of each organism: the recipe, its hash, seed and dose."""
    rows = line.about.get("recipes", ()) if line.what == log.OPENED else ()
    return {
        organism: {"recipe": row["name"], "seed": seed, "dose": row.get("dose"), "hash": row.get("id", "")}
        for row in rows
        if isinstance(row, Mapping)
        for seed, organism in zip(row.get("seeds", ()), row.get("organisms", ()), strict=False)
    }


def _group(shelf: Shelf, name: str, titles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The jobs of one run; none where it has ended since the room was listed."""
    head = shelf.room.get("checkpoint", f"{name}{HEAD}")
    if head is None:
        return {"id": name, "rounds": 0, "jobs": []}
    steps: Mapping[str, int] = head.payload["steps"]
    losses: dict[str, list[dict[str, float]]] = {job: [] for job in steps}
    for number in head.payload["journal"]:
        part = shelf.room.get("checkpoint", f"{name}/{number}")
        for job, notes in (part.payload if part is not None else {}).items():
            losses.setdefault(job, []).extend(_read_losses(notes, len(losses.get(job, ()))))
    unknown = {"recipe": "", "seed": None, "dose": None, "hash": ""}
    jobs = [
        {"id": job, "steps": n, "loss": thin(losses[job]), **(titles.get(job) or unknown)} for job, n in steps.items()
    ]
    return {"id": name, "rounds": head.payload["rounds"], "jobs": [job | _ahead(shelf, job, titles) for job in jobs]}


def _read_losses(notes: Sequence[Any], begin: int) -> list[dict[str, float]]:
    values = [note["loss"] for note in notes if isinstance(note, Mapping) and note.get("is") == "Stepped"]
    return [{"x": begin + place, "value": loss} for place, loss in enumerate(values, 1)]


def _ahead(shelf: Shelf, job: Mapping[str, Any], titles: Mapping[str, Mapping[str, Any]]) -> dict[str, int | None]:
    """How many steps the job will have, where another of its recipe tells."""
    alike = (key for key, title in titles.items() if title["hash"] == job["hash"] and key in shelf.index.rows)
    entry = shelf.room.get("organism", key) if job["hash"] and (key := next(alike, "")) else None
    return {"total": len(entry.payload.get("history", ())) or None if entry is not None else None}


def thin(points: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """At most `POINTS` of them, evenly, with the last.

    >>> len(thin([{"x": n, "value": 0.0} for n in range(1000)])) <= POINTS + 1
    True
    """
    stride = max(1, -(-len(points) // POINTS))
    return [*points[::stride], *([points[-1]] if points and (len(points) - 1) % stride else [])]
