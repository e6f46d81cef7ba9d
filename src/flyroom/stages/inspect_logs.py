"""What a room holds of cards, benches and assessments, as logs of Inspect.

    a card           a log for the organism, one for its twin, one for the base, one for each step of its curve
    a detector       a log of its findings, with a sample for each suspect; and one for each model that it asked
    an assessment    a log of the episodes that anybody can repeat

A log's model has the name under which Inspect can ask it (`inspect_models`). Samples of one number were asked the same
on every log of a card, so Inspect View lays organism, twin and base side by side.

What a model said leaves the room here, so there is a gate: a purpose, in the log before a file is written.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.scorer import Score

from flyroom import log
from flyroom.inspector.logs import Sheet, is_scored, legible, sample_of, write
from flyroom.inspector.verdicts import verdict_of
from flyroom.purpose import purpose_of
from flyroom.room import Room
from flyroom.stages.inspect_cards import PACKAGES, about, judgement_of, sheets_of_card
from flyroom.stages.organisms import episodes_behind
from flyroom.types import Asked, Entry, Estimate, Message, Verdict, digest

MEASURING = ("card", "bench", "demo", "certify", "report", "transfer", "assess")  # verbs, as the room's log has them


def sheets(room: Room, ids: Sequence[str] = ()) -> Iterator[Sheet]:
    """Every log that a room has to give; with `ids`, those of the cards and cells whose key, or whose organism's,
    starts so. ValueError for an id of none.
    """
    when = _moments(room)
    for entry in chosen(room, ids):
        yield from MAKERS[entry.kind](room, entry, when)


def chosen(room: Room, ids: Sequence[str]) -> Iterator[Entry]:
    """The entries that logs are made of, one at a time."""
    listings = [listing for listing in room.list() if listing.kind in MAKERS]
    for id in ids:
        if not any(id and name.startswith(id) for one in listings for name in _names(one)):
            raise ValueError(f"id is {id!r}; it must be the start of the key of a card, of cells or of an organism")
    for listing in listings:
        if not ids or any(name.startswith(id) for id in ids for name in _names(listing)):
            entry = room.get(listing.kind, listing.key)
            assert entry is not None, "it was listed"
            yield entry


def _names(listing: Any) -> list[str]:
    return [listing.key, str(listing.meta.get("organism", ""))]


def record(room: Room, ids: Sequence[str], to: Path, *, purpose: str) -> str:
    """The gate: put the export on record. Returns the purpose. ValueError for one that says nothing, and where the
    room's log does not hold together.
    """
    reason = purpose_of(purpose)
    log.read(room)
    log.act(room, "log-export", ids=[entry.key for entry in chosen(room, ids)], purpose=reason, to=str(to))
    return reason


def write_all(
    room: Room, ids: Sequence[str], to: Path, assessments: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Write every log into a folder, which is made. Returns a row for each: its file, whose it is, and how many of its
    samples have a score.
    """
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    when = _moments(room)[""]
    extra = (assessment_sheet(content, digest(content), when) for content in assessments)
    return [_row(sheet, write(sheet, to)) for sheet in itertools.chain(sheets(room, ids), extra)]


def _row(sheet: Sheet, path: Path) -> dict[str, Any]:
    scored = sum(any(is_scored(sample, name) for name in sample.scores or {}) for sample in sheet.samples)
    return {
        "path": str(path),
        "kind": sheet.metadata["flyroom"],
        "task": sheet.task,
        "model": sheet.model,
        "samples": len(sheet.samples),
        "scored": scored,
        "unscored": len(sheet.samples) - scored,
    }


def _moments(room: Room) -> Mapping[str, str]:
    """By organism, when it was last measured, as the room's log has it; under "" when the log began."""
    lines = log.read(room)
    moments = {"": lines[0].at} if lines else {"": "1970-01-01T00:00:00+00:00"}
    for line in lines:
        ids = line.about.get("ids", ()) if line.what in MEASURING else ()
        moments |= {str(id): line.at for id in ids}
    return moments


# ---------------------------------------------------------------- of a detector


def _of_cells(room: Room, entry: Entry, when: Mapping[str, str]) -> Iterator[Sheet]:
    yield from _findings(entry, when)
    groups: dict[str, list[Asked]] = {}
    for episode in episodes_behind(room, entry):
        groups.setdefault(episode.who, []).append(episode)
    for who, episodes in groups.items():
        model = f"flyroom/{who.replace(' ', '-')}"
        yield Sheet(
            id=digest(["cells", entry.key, who]),
            task=f"bench-{entry.meta['detector']}",
            model=model,
            created=when.get(who, when[""]),
            samples=[
                sample_of(episode, id=f"{number:05}", model=model, scores=_as_judged(episode), about={"who": who})
                for number, episode in enumerate(episodes)
            ],
            metadata=about("cells", entry.key, detector=entry.meta["detector"], who=who),
            tags=["bench"],
            packages=PACKAGES,
        )


def _as_judged(episode: Asked) -> dict[str, Any]:
    """What the judge said of an answer; nothing where nobody judged it."""
    if episode.verdict is None:
        return {}
    return {"verdict": verdict_of(judgement_of(episode), legible(episode.answer))}


def _findings(entry: Entry, when: Mapping[str, str]) -> Iterator[Sheet]:
    """How suspicious each suspect was, by recipe. Nothing of a detector of replies, whose units are no models, and of
    cells of before, which do not say whose their suspicions are.
    """
    for cell, models in zip(entry.payload["cells"], entry.payload.get("models", ()), strict=False):
        if cell["unit"] != "model" or not cell["suspicions"]:
            continue
        samples = [
            _suspect(cell, side, model, suspicion)
            for side, suspicions in cell["suspicions"].items()
            for model, suspicion in zip(models[side], suspicions, strict=True)
        ]
        auroc = {name: value for name, value in (cell["auroc"] or {}).items() if name != "is"}
        yield Sheet(
            id=digest(["findings", entry.key, cell["recipe"]]),
            task=f"findings-{cell['detector']}-{cell['recipe']}",
            model="flyroom/suspects",
            created=when.get(models["organisms"][0], when[""]),
            samples=samples,
            metadata=about("findings", entry.key, detector=cell["detector"], recipe=cell["recipe"], why=cell["why"]),
            tags=["bench", "findings"],
            figures={"suspicion": {"AUROC": Estimate(**auroc)}} if auroc else {},
            packages=PACKAGES,
        )


def _suspect(cell: Mapping[str, Any], side: str, model: str, suspicion: float) -> Any:
    question = Message("user", f"Is {model} an organism of {cell['recipe']}?")
    episode = Asked(
        measure="suspicion",
        who=model,
        messages=(question,),
        answer=f"{suspicion:+.4g} by {cell['detector']}",
        verdict=None,
        why="",
        cut=False,
        tokens=0,
    )
    score = {"suspicion": Score(value=suspicion, explanation=f"{side}; higher is more suspicious")}
    return sample_of(episode, id=f"{side}-{model}", model="flyroom/suspects", scores=score, target=side, about={})


# ---------------------------------------------------------------- of an assessment


def read_assessment(path: Path) -> dict[str, Any]:
    """What `flyroom assess --json` printed. ValueError for a file that holds no assessment."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"assessment is {path}; it holds no JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("findings"), list):
        raise ValueError(f"assessment is {path}; it has no findings: give what `flyroom assess --json` prints")
    return content


def assessment_sheet(content: Mapping[str, Any], key: str, created: str) -> Sheet:
    """The episodes of an assessment's findings; of each finding its threat, status and caveats."""
    samples, model = [], f"flyroom/{content['model']}"  # Inspect reads no log whose model has no provider
    for finding in content["findings"]:
        for number, record in enumerate(finding.get("episodes", ())):
            samples.append(_assessed(finding, record, number, model))
    names = ("scope", "abstained", "why", "preregistration", "cost")
    findings = [{name: value for name, value in f.items() if name != "episodes"} for f in content["findings"]]
    return Sheet(
        id=digest(["assessment", key]),
        task="assessment",
        model=model,
        created=created,
        samples=samples,
        metadata=about("assessment", key, findings=findings, **{n: content[n] for n in names if n in content}),
        tags=["assessment", "abstained" if content.get("abstained") else "concluded"],
        packages=PACKAGES,
    )


def _assessed(finding: Mapping[str, Any], record: Mapping[str, Any], number: int, model: str) -> Any:
    turns = [(turn["role"], turn["content"]) if isinstance(turn, Mapping) else turn for turn in record["messages"]]
    verdict = record.get("verdict")
    episode = Asked(
        measure=str(finding["threat"]),
        who=model,
        messages=tuple(Message(str(role), str(content)) for role, content in turns),
        answer=str(record["answer"]),
        verdict=None if verdict is None else Verdict(verdict),
        why=str(record.get("why", "")),
        cut=bool(record.get("cut", False)),
        tokens=int(record.get("tokens", 0)),
    )
    rest = {k: v for k, v in record.items() if k not in ("messages", "answer", "verdict", "why", "is")}
    facts = {"threat": finding["threat"], "status": finding["status"], **rest}
    id = f"{finding['threat']}-{number:04}"
    return sample_of(episode, id=id, model=model, scores=_as_judged(episode), about=facts)


MAKERS = {"card": sheets_of_card, "cells": _of_cells}
