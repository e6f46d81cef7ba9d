"""What was asked and answered: of a card side by side, of a detector by suspect.

Episodes of one measure are put to organism, twin and base in one order, so those with one number have one prompt; where
they do not, the page says so and shows none in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flyroom.episodes import EPISODES, recall, unpack
from flyroom.room import Room
from flyroom.types import Asked, Card, Entry, Message, Transcript
from flyroom.view.figures import SIDES
from flyroom.view.shelf import Missing

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")
PLACES = 4000  # prompts of one page


def slugs_of(entry: Entry) -> dict[str, str]:
    """The measures that a card asked, by what each is called in an address."""
    names = dict.fromkeys(name for row in entry.payload.get("episode_keys", {}).values() for name in row)
    return {name if PLAIN.fullmatch(name) else f"measure-{number}": name for number, name in enumerate(names)}


def asked_by(entry: Entry, card: Card) -> list[dict[str, Any]]:
    """The measures whose episodes are on record."""
    labels = {name: gauge.label for name, gauge in card.gauges.items()}
    return [{"slug": slug, "name": name, "label": labels.get(name, name)} for slug, name in slugs_of(entry).items()]


def transcript_row(number: int, transcript: Transcript) -> dict[str, Any]:
    """A transcript of a card as a row of talks: a prompt, and what each model answered to it."""
    answers = {
        side: {
            "text": text,
            "verdict": transcript.verdicts[side].value if side in transcript.verdicts else "",
            "why": "",
        }
        for side, text in transcript.answers.items()
    }
    return {"n": number, "measure": transcript.measure, "messages": _chat(transcript.messages), "answers": answers}


# ---------------------------------------------------------------- of a card


def episodes_page(room: Room, card: Entry, slug: str) -> dict[str, Any]:
    """Every prompt of one measure with all answers to it; by model, why its answers cannot be shown. Missing for a
    measure that the card did not ask.
    """
    slugs = slugs_of(card)
    if slug not in slugs:
        raise Missing(f"card {card.key} has no episodes of {slug[:80]!r}; it has {', '.join(slugs) or 'none'}")
    measure = slugs[slug]
    columns, gone = _recall_sides(room, card, measure)
    first = columns.get("organism") or next(iter(columns.values()), [])
    prompts = [
        {"n": number, "messages": _chat(episode.messages), "answers": _answers(columns, number, episode.messages)}
        for number, episode in enumerate(first[:PLACES])
    ]
    later = [side for side in columns if side not in SIDES]
    return {"card": card.key, "organism": card.meta.get("organism", ""), "measure": measure, "slug": slug} | {
        "later": later,
        "gone": gone,
        "prompts": prompts,
    }


def _answers(
    columns: Mapping[str, Sequence[Asked]], number: int, messages: Sequence[Message]
) -> dict[str, dict[str, Any]]:
    rows = {side: episodes[number] for side, episodes in columns.items() if number < len(episodes)}
    return {side: _answer(row) for side, row in rows.items() if row.messages == messages}


def _answer(episode: Asked) -> dict[str, Any]:
    verdict = episode.verdict.value if episode.verdict is not None else ""
    return {"text": episode.answer, "verdict": verdict, "why": episode.why, "cut": episode.cut}


def _recall_sides(room: Room, card: Entry, measure: str) -> tuple[dict[str, list[Asked]], dict[str, str]]:
    """The episodes of each model; and why there are none where some of them are gone, for a verdict must not stand
    beside another answer than its own.
    """
    columns, gone = dict[str, list[Asked]](), dict[str, str]()
    for side, keys in card.payload["episode_keys"].items():
        try:
            columns |= {side: recall(room, card, side, measure)} if measure in keys else {}
        except ValueError as error:
            gone[side] = str(error)
    return columns, gone


def _chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


# ---------------------------------------------------------------- of a detector


def suspect_page(room: Room, cells: Entry, model: str) -> dict[str, Any]:
    """What a detector asked one suspect. Empty where it asked nothing, as one that reads weights does."""
    entries = [room.get(EPISODES, key) for key in cells.payload.get("episodes", ())]
    episodes = [episode for entry in entries if entry is not None for episode in unpack(entry) if episode.who == model]
    rows = [
        {"n": number, "messages": _chat(episode.messages), "answers": {"suspect": _answer(episode)}}
        for number, episode in enumerate(episodes[:PLACES])
    ]
    return {"cells": cells.key, "detector": cells.meta.get("detector", ""), "model": model, "prompts": rows}


def voices(room: Room, cells: Entry) -> list[str]:
    """The suspects that a detector asked something."""
    entries = [room.get(EPISODES, key) for key in cells.payload.get("episodes", ())]
    return list(dict.fromkeys(episode.who for entry in entries if entry is not None for episode in unpack(entry)))
