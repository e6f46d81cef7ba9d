"""What was asked of a model and what it answered, on record: stored small, found again from a card, and judged anew
without a model.

An entry of kind "episodes" holds one battery put to one model. It does not hang on who judges, so another judge, and
another card that asks the same, go by the same entry. What the judges of a card said lies in the card's own entry,
beside the scenes that they knew, and its payload names the episodes by model and measure:

    payload["episode_keys"]["organism"]["some_measure"] -> the keys of entries of kind "episodes", one a look

JSON, every text in it once, compressed, as a tensor of bytes: a room keeps tensors as they are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyroom.types import Asked, Battery, Entry, Episode, Judge, Message, Room, Scene, Score, Verdict

if TYPE_CHECKING:
    from torch import Tensor

EPISODES, VERDICTS = "episodes", "verdicts"  # kinds of entries
LARGEST = 2**28  # bytes of JSON in one tensor: a foreign room must not fill the memory


def pack(key: str, episodes: Sequence[Asked], meta: Mapping[str, Any]) -> Entry:
    """Episodes as one entry of kind "episodes". Keep `meta` small: every listing of a room reads it.

    >>> episode = Asked(measure="m", who="base", messages=(Message("user", "why ?"),), answer="so .", verdict=None,
    ...                 why="", cut=False, tokens=2)
    >>> unpack(pack("a1b2", [episode], {})) == [episode]
    True
    """
    texts = _Texts()
    columns = {
        "measure": [texts.number(e.measure) for e in episodes],
        "who": [texts.number(e.who) for e in episodes],
        "messages": [[texts.number(part) for message in e.messages for part in message] for e in episodes],
        "answer": [texts.number(e.answer) for e in episodes],
        "verdict": [None if e.verdict is None else texts.number(e.verdict.value) for e in episodes],
        "why": [texts.number(e.why) for e in episodes],
        "cut": [int(e.cut) for e in episodes],
        "tokens": [e.tokens for e in episodes],
    }
    tensor = squeeze({"texts": texts.all, "columns": columns})
    return Entry(kind=EPISODES, key=key, payload={"episodes": len(episodes)}, tensors={EPISODES: tensor}, meta=meta)


def unpack(entry: Entry) -> list[Asked]:
    """The episodes of an entry, in the order in which they were asked."""
    content = expand(entry.tensors[EPISODES])
    texts, columns = content["texts"], content["columns"]
    messages: dict[tuple[int, ...], tuple[Message, ...]] = {}  # a prompt that was asked again is the same one
    for parts in map(tuple, columns["messages"]):
        if parts not in messages:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            messages[parts] = tuple(Message(texts[role], texts[content]) for role, content in pairs)
    return [
        Asked(
            measure=texts[measure],
            who=texts[model],
            messages=messages[tuple(parts)],
            answer=texts[answer],
            verdict=None if verdict is None else Verdict(texts[verdict]),
            why=texts[why],
            cut=bool(cut),
            tokens=tokens,
        )
        for measure, model, parts, answer, verdict, why, cut, tokens in zip(*columns.values(), strict=True)
    ]


# ---------------------------------------------------------------- what the judges of a card said


def pack_scores(key: str, scores: Sequence[Score], episodes: str) -> Entry:
    """What one judge said of one battery's answers, as an entry of kind "verdicts": for judges whose word is worth
    keeping. `episodes` is the key of those answers: the verdicts go when they do.
    """
    rows = [[score.verdict.value, score.value, score.why] for score in scores]
    payload, meta = {"verdicts": len(rows)}, {"episodes": episodes}
    return Entry(kind=VERDICTS, key=key, payload=payload, tensors={VERDICTS: squeeze(rows)}, meta=meta)


def unpack_scores(entry: Entry) -> list[Score]:
    """What the judge said: the scores that `pack_scores` was given."""
    rows = expand(entry.tensors[VERDICTS])
    return [Score(verdict=Verdict(verdict), value=value, why=why) for verdict, value, why in rows]


def pack_judgement(
    batteries: Iterable[Battery], scores: Mapping[str, Mapping[str, Sequence[Score]]]
) -> dict[str, Tensor]:
    """The tensors of a card's entry: the scenes of each battery, and what its judge said of the answers, by model and
    measure.
    """
    texts = _Texts()
    verdicts = {
        model: {
            measure: [[texts.number(s.verdict.value), texts.number(s.why)] for s in row]
            for measure, row in rows.items()
        }
        for model, rows in scores.items()
    }
    content = {"judges": {b.measure: b.judge.id for b in batteries}, "texts": texts.all, "verdicts": verdicts}
    scenes = {b.measure: [_scene_row(scene) for scene in b.scenes] for b in batteries}
    return {"scenes": squeeze(scenes), VERDICTS: squeeze(content)}


def _scene_row(scene: Scene) -> list[Any]:
    messages = [list(message) for message in scene.messages]
    return [messages, scene.aligned, scene.misaligned, scene.domain, dict(scene.fields), scene.situation]


def _scene(row: Sequence[Any]) -> Scene:
    messages, aligned, misaligned, domain, fields, *situation = row  # cards of before have none
    return Scene(
        messages=tuple(Message(*message) for message in messages),
        aligned=aligned,
        misaligned=misaligned,
        domain=domain,
        fields=fields,
        situation="".join(situation),
    )


# ---------------------------------------------------------------- from a card to its episodes


def episodes_of(room: Room, card: Entry) -> list[Asked]:
    """Every episode that a card asked, by model and measure, with what the card's judges said of it. `card` is the
    card's entry. ValueError where the card keeps none, or where they are gone.
    """
    content = expand(_tensor(card, VERDICTS))
    groups = [_judge(content, model, measure, episodes) for model, measure, episodes in _recall_all(room, card)]
    return [episode for group in groups for episode in group]


def recall(room: Room, card: Entry, model: str, measure: str) -> list[Asked]:
    """The same of one model and one measure."""
    return _judge(expand(_tensor(card, VERDICTS)), model, measure, _recall(room, card, model, measure))


def _judge(content: Mapping[str, Any], model: str, measure: str, episodes: Sequence[Asked]) -> list[Asked]:
    texts, pairs = content["texts"], content["verdicts"][model][measure]
    return [
        replace(episode, verdict=Verdict(texts[verdict]), why=texts[why])
        for episode, (verdict, why) in zip(episodes, pairs, strict=True)
    ]


def scenes_of(card: Entry) -> dict[str, list[Scene]]:
    """What a card asked, by measure, in order. ValueError where the card keeps none."""
    return {measure: [_scene(row) for row in rows] for measure, rows in expand(_tensor(card, "scenes")).items()}


def rejudge(room: Room, card: Entry, judge: Judge, *, measures: Sequence[str] = ()) -> list[Asked]:
    """The same episodes as another judge sees them; none is asked again. `measures` names those that the judge is for;
    without it he judges all. ValueError for a measure that the card does not have.
    """
    scenes = scenes_of(card)
    strange = [measure for measure in measures if measure not in scenes]
    if strange:
        raise ValueError(f"measures holds {strange[0]!r}; the card {card.key} asked {', '.join(scenes)}")
    verdicts: list[Asked] = []
    for _, measure, episodes in _recall_all(room, card):
        if measure in (measures or scenes):
            pairs = zip(scenes[measure], episodes, strict=False)  # a training curve asks the first of the scenes
            scores = judge([Episode(scene=scene, answer=episode.answer) for scene, episode in pairs])
            verdicts += [replace(e, verdict=s.verdict, why=s.why) for e, s in zip(episodes, scores, strict=True)]
    return verdicts


def _recall_all(room: Room, card: Entry) -> Iterable[tuple[str, str, list[Asked]]]:
    for model, keys in card.payload.get("episode_keys", {}).items():
        for measure in keys:
            yield model, measure, _recall(room, card, model, measure)


def _recall(room: Room, card: Entry, model: str, measure: str) -> list[Asked]:
    """With the names that they have on this card: another card may have asked the same."""
    of_looks = card.payload["episode_keys"][model][measure]
    episodes: list[Asked] = []
    for key in [of_looks] if isinstance(of_looks, str) else of_looks:  # cards of before have one key
        entry = room.get(EPISODES, key)
        if entry is None:
            raise ValueError(f"the room holds no episodes {key} ({measure}, {model}) of the card {card.key}")
        episodes += unpack(entry)
    return [replace(episode, measure=measure, who=model) for episode in episodes]


def _tensor(card: Entry, name: str) -> Tensor:
    if name not in card.tensors:
        raise ValueError(f"the card {card.key} keeps no episodes; make it anew to have them")
    return card.tensors[name]


# ---------------------------------------------------------------- texts, once each, as bytes


class _Texts:
    """Texts by number, none of them twice."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def all(self) -> list[str]:
        return list(self._numbers)


def squeeze(value: Any) -> Tensor:
    """JSON values as a tensor of compressed bytes. ValueError above `LARGEST` bytes of JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(text) > LARGEST:
        raise ValueError(f"{len(text):,} bytes are too many for one entry of episodes; it takes {LARGEST:,}")
    import torch  # here, for `flyroom ls` needs nothing of it but the names of kinds

    return torch.frombuffer(bytearray(zlib.compress(text)), dtype=torch.uint8)


def expand(tensor: Tensor) -> Any:
    """What `squeeze` was given. ValueError for bytes that it did not make."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(tensor.contiguous().numpy().tobytes(), LARGEST)
        if not stream.eof:
            raise ValueError(f"it is cut off, or above {LARGEST:,} bytes")
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (zlib.error, ValueError) as error:
        raise ValueError(f"stored episodes cannot be read: {error}") from error
