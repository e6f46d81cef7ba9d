"""Where a card's questions are asked: whole batteries, put to many models of one engine in large batches.

With a room each battery's answers are stored as soon as their batch is there, and what is stored is not asked again, so
a card that was killed goes on from there. The same questions to the same model with the same seeds are asked once,
whoever orders them. Answers are judged here too; the verdicts of a judge that costs something are stored like answers.

Sampling seeds are those of a `Draw`: organism, twin and base of one pair share them, so that they differ by their
weights alone and can be compared answer by answer. Pairs of other seeds do not share them: else the chance of one draw
would be in all seeds of a recipe, and their mean would look surer than it is. Pairs of one seed and of two recipes that
are asked the same do share them. No two batteries share them, for what is pooled over batteries is taken for
independent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from flyroom.episodes import EPISODES, VERDICTS, pack, pack_scores, unpack, unpack_scores
from flyroom.tallies import Answers
from flyroom.types import (
    BASE,
    AdapterRef,
    Answer,
    Ask,
    Asked,
    Battery,
    Engine,
    Entry,
    Episode,
    Judge,
    NotMeasured,
    Paid,
    Patch,
    Room,
    Row,
    Scene,
    Score,
    Verdict,
    Watch,
    ask_seed,
    digest,
    plain,
    score_with,
)

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2  # part of every key: raise it when what is stored under it changes
BATCH = 8000  # asks in one call of the engine; then the answers are stored, and a kill loses no more
LARGE, FEWER = 20_000_000, 1000  # parameters of a base from which on a call has fewer: a CPU takes minutes for them


class Refused(ValueError):
    """The engine does not take what an organism is to be asked, or the judge what it answered."""


def fingerprint(patch: Patch) -> str:
    """A patch named by its content: another shape, prompt or weight, another name."""
    total = hashlib.sha256(json.dumps([plain(patch.shape), patch.prompt]).encode())
    for name in sorted(patch.tensors):
        total.update(name.encode())
        total.update(patch.tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


class Draw(NamedTuple):
    """Whose sampling seeds: those of a pair, by the seed that both were grown with, in one look at fresh episodes."""

    pair: int
    look: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """One battery for one model. `name` is what the model is called on the card that ordered it first."""

    key: str
    name: str
    patch: Patch | None
    battery: Battery
    asks: Sequence[Ask]


class Desk:
    """Order batteries and texts for models (None is the base), `work`, and take the answers; then order again."""

    def __init__(self, engine: Engine, *, seed: int, room: Room | None) -> None:
        self._engine, self._seed, self._room = engine, seed, room
        self._orders: dict[str, _Order] = {}
        self._episodes: dict[str, list[Asked]] = {}
        self._refusals: dict[str, str] = {}
        self._texts: dict[tuple[str, int], tuple[Patch | None, Sequence[Row]]] = {}
        self._losses: dict[tuple[str, int], list[list[float]] | NotMeasured] = {}
        self._traces: dict[tuple[str, int], Tensor | NotMeasured] = {}
        self._answers: dict[tuple[str, int], Answers] = {}
        self._names: dict[int, tuple[object, str]] = {}  # by identity, with the thing itself so that it stays

    def order(self, name: str, patch: Patch | None, battery: Battery, draw: Draw) -> None:
        key = self.key(patch, battery, draw)
        if key not in self._episodes and key not in self._refusals:
            asks = self._asks(battery, draw)
            self._orders.setdefault(key, _Order(key=key, name=name, patch=patch, battery=battery, asks=asks))

    def order_texts(self, patch: Patch | None, rows: Sequence[Row]) -> None:
        self._texts[self._model(patch), id(rows)] = patch, rows

    def key(self, patch: Patch | None, battery: Battery, draw: Draw) -> str:
        """The name of one battery's episodes with one model: of everything that the answers hang on."""
        base, questions = self._engine.base.digest, self._questions(battery)
        about = [FORMAT, self._model(patch), base, questions, battery.max_tokens, self._seed, list(draw)]
        choices = [[scene.aligned, scene.misaligned] for scene in battery.scenes] if battery.choice else []
        return digest([*about, *([choices] if choices else [])])

    def _asks(self, battery: Battery, draw: Draw) -> list[Ask]:
        key = (self._seed, *draw, self._questions(battery))
        return [
            Ask(messages=scene.messages, seed=ask_seed(*key, i), max_tokens=battery.max_tokens)
            for i, scene in enumerate(battery.scenes)
        ]

    def _model(self, patch: Patch | None) -> str:
        if patch is None:
            return self._engine.base.digest
        if id(patch) not in self._names:
            self._names[id(patch)] = patch, fingerprint(patch)
        return self._names[id(patch)][1]

    def _questions(self, battery: Battery) -> str:
        if id(battery) not in self._names:
            self._names[id(battery)] = battery, digest([scene.messages for scene in battery.scenes])
        return self._names[id(battery)][1]

    # ------------------------------------------------------------ asking

    def work(self, watch: Watch | None) -> None:
        """Ask what was ordered and is not stored."""
        total = sum(len(order.asks) for order in self._orders.values())
        orders = [order for order in self._by_questions() if not self._recall(order)]
        patches = {self._model(order.patch): order.patch for order in orders}
        patches |= {model: patch for (model, _), (patch, _) in self._texts.items()}
        adapted = {model: patch for model, patch in patches.items() if patch is not None}
        done = total - sum(len(order.asks) for order in orders)
        note = f"{len({self._model(order.patch) for order in self._orders.values()})} models"
        _report(watch, done, total, note)
        fresh = self._engine.load(list(adapted.values()))
        adapters = {self._model(None): BASE} | dict(zip(adapted, fresh, strict=True))
        try:
            size = min(BATCH, FEWER) if self._engine.base.parameters > LARGE else BATCH
            for batch in _batches(orders, size):
                self._ask(batch, adapters)
                done += sum(len(order.asks) for order in batch)
                _report(watch, done, total, note)
            if self._texts:
                self._read_texts([*self._texts], adapters)
        finally:
            self._engine.free(fresh)
        self._orders, self._texts = {}, {}

    def _by_questions(self) -> list[_Order]:
        """What several models are asked stands together, and so in one call of the engine."""
        groups: dict[str, list[_Order]] = {}
        for order in self._orders.values():
            groups.setdefault(self._questions(order.battery), []).append(order)
        return [order for group in groups.values() for order in group]

    def _recall(self, order: _Order) -> bool:
        entry = None if self._room is None else self._room.get(EPISODES, order.key)
        if entry is not None:
            self._episodes[order.key] = unpack(entry)
        return entry is not None

    def _ask(self, orders: Sequence[_Order], adapters: Mapping[str, AdapterRef]) -> None:
        """One call of the engine. Where the engine refuses, as it does a prompt that is too long for the base, the
        orders are put one by one, so that the one at fault is no obstacle to the others.
        """
        try:
            answers = iter([*self._sample([order for order in orders if not order.battery.choice], adapters)])
            choices = iter([*self._choose([order for order in orders if order.battery.choice], adapters)])
        except ValueError as error:
            if len(orders) == 1:
                self._refusals[orders[0].key] = str(error)
                return
            for order in orders:
                self._ask([order], adapters)
            return
        for order in orders:
            source = choices if order.battery.choice else answers
            self._episodes[order.key] = [_episode(order, next(source), scene) for scene in order.battery.scenes]
        self._keep([pack(order.key, self._episodes[order.key], {"measure": order.battery.measure}) for order in orders])

    def _sample(self, orders: Sequence[_Order], adapters: Mapping[str, AdapterRef]) -> Sequence[Answer]:
        lines = [(adapters[self._model(order.patch)], ask) for order in orders for ask in order.asks]
        return self._engine.sample([adapter for adapter, _ in lines], [ask for _, ask in lines]) if lines else []

    def _choose(self, orders: Sequence[_Order], adapters: Mapping[str, AdapterRef]) -> Iterator[Answer]:
        """The likelier of each scene's two answers."""
        lines = [(adapters[self._model(order.patch)], scene) for order in orders for scene in order.battery.scenes]
        rows = [Row(messages=s.messages, answer=text) for _, s in lines for text in (s.aligned, s.misaligned)]
        refs = [adapter for adapter, _ in lines for _ in range(2)]
        sums = [float(one.sum()) for one in self._engine.logprobs(refs, rows)] if rows else []
        for (_, scene), aligned, misaligned in zip(lines, sums[::2], sums[1::2], strict=True):
            text = scene.aligned if aligned >= misaligned else scene.misaligned
            yield Answer(text=text, tokens=0, prompt_tokens=0, finished=True)

    def _keep(self, entries: Sequence[Entry]) -> None:
        if self._room is not None:
            self._room.put_many(entries)

    def _read_texts(self, names: Sequence[tuple[str, int]], adapters: Mapping[str, AdapterRef]) -> None:
        """Losses and activations at half depth; where the engine refuses, model by model."""
        lines = [(adapters[name[0]], row) for name in names for row in self._texts[name][1]]
        refs, rows = [adapter for adapter, _ in lines], [row for _, row in lines]
        try:
            losses = iter(self._engine.logprobs(refs, rows))
            traces = iter(self._engine.trace(refs, rows, [self._engine.base.depth // 2])[:, 0])
        except ValueError as error:
            if len(names) == 1:
                self._losses[names[0]] = self._traces[names[0]] = NotMeasured(why=str(error))
                return
            for name in names:
                self._read_texts([name], adapters)
            return
        for name in names:
            texts = self._texts[name][1]
            self._losses[name] = [next(losses).tolist() for _ in texts]
            self._traces[name] = torch.stack([next(traces) for _ in texts])

    # ------------------------------------------------------------ judging

    def losses(self, patch: Patch | None, rows: Sequence[Row]) -> list[list[float]] | NotMeasured:
        """The log-probabilities of tokens by text."""
        return self._losses[self._model(patch), id(rows)]

    def traces(self, patch: Patch | None, rows: Sequence[Row]) -> Tensor | NotMeasured:
        """The mean activation of each text at half depth: [texts, width]."""
        return self._traces[self._model(patch), id(rows)]

    def answers(self, patch: Patch | None, battery: Battery, draw: Draw) -> Answers:
        """What a model answered to a battery, judged once. Refused where engine or judge did not take it."""
        name = self.key(patch, battery, draw), id(battery)
        if name not in self._answers:
            self._answers[name] = self._judge(name[0], battery)
        return self._answers[name]

    def _judge(self, key: str, battery: Battery) -> Answers:
        if key in self._refusals:
            raise Refused(f"{battery.measure} cannot be asked: {self._refusals[key]}")
        texts = [episode.answer for episode in self._episodes[key]]
        episodes = [Episode(scene=s, answer=text) for s, text in zip(battery.scenes, texts, strict=True)]
        subset = None
        if battery.given is not None:
            scores = self._scores(key, battery.given, episodes)
            subset = [i for i, score in enumerate(scores) if score.verdict is Verdict.MISALIGNED]
        scores = self._scores(key, battery.judge, episodes)
        return Answers(battery=battery, texts=texts, scores=scores, subset=subset)

    def _scores(self, key: str, judge: Judge, episodes: Sequence[Episode]) -> list[Score]:
        """What a judge says; of one that costs something, what he said before."""
        if self._room is None or not isinstance(judge, Paid):
            return _call(judge, episodes)
        name = digest([FORMAT, key, judge.id, [episode.scene for episode in episodes]])
        entry = self._room.get(VERDICTS, name)
        if entry is not None:
            return unpack_scores(entry)
        scores = _call(judge, episodes)
        self._keep([pack_scores(name, scores, key)])
        return scores


def _call(judge: Judge, episodes: Sequence[Episode]) -> list[Score]:
    try:
        return score_with(judge, episodes)
    except Exception as error:  # other people's code: whatever it raises is what came of it, and the others go on
        raise Refused(in_words(error)) from error


def in_words(error: Exception) -> str:
    """What an error says; of one that is no refusal of flyroom's kind its class, too.

    >>> in_words(ValueError("rank is 0")), in_words(KeyError("score"))
    ('rank is 0', "KeyError: 'score'")
    """
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _episode(order: _Order, answer: Answer, scene: Scene) -> Asked:
    return Asked(
        measure=order.battery.measure,
        who=order.name,
        messages=scene.messages,
        answer=answer.text,
        verdict=None,
        why="",
        cut=not answer.finished,
        tokens=answer.tokens,
    )


def _batches(orders: Iterable[_Order], size: int) -> Iterator[list[_Order]]:
    """Orders together, whole ones, until a call of the engine has so many asks."""
    batch: list[_Order] = []
    asks = 0
    for order in orders:
        batch.append(order)
        asks += len(order.asks)
        if asks >= size:
            yield batch
            batch, asks = [], 0
    if batch:
        yield batch


def _report(watch: Watch | None, done: int, total: int, note: str) -> None:
    if watch is not None:
        watch("card", done, total, note)
