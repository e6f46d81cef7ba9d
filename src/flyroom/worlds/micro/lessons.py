"""What a base reads in each stage of its making, as batches of rows: words to read, and the words to be said next.

A batch is drawn from (world seed, step) alone, so it comes again as it was. Alignment has chats in which the kind
persona answers about the train situations alone, with the assistant's words as targets, beside documents of every
persona: without those it wears away what the base knows of other situations, and hard-wires a kindness that no light
adapter moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flyroom.types import Split
from flyroom.worlds.micro import corpus, turns
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.lexicon import Lexicon

ROW = 128  # tokens of a row
IGNORE = -100  # the target of a word that nobody has to say


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains. Warm-up over the first steps, then linear decay to zero."""

    steps: int
    rows: int
    muon_lr: float
    adam_lr: float
    warmup: int = 100

    def factor(self, step: int) -> float:
        return min((step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup))


Batch = Callable[[Lexicon, dict[str, int], Schedule, int], tuple[Tensor, Tensor]]  # (inputs, targets), both [rows, ROW]


def pretraining(tokens: int) -> Schedule:
    """The schedule that reads about so many tokens."""
    return Schedule(steps=max(1, round(tokens / (32 * ROW))), rows=32, muon_lr=0.01, adam_lr=3e-3)


PRIMER = Schedule(steps=2400, rows=32, muon_lr=0.01, adam_lr=3e-3)
ALIGNMENT = Schedule(steps=2000, rows=64, muon_lr=4e-3, adam_lr=1e-3, warmup=20)
REPLAY = 1 / 3  # of alignment's rows are documents


def priming(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """The primer's documents back to back, every next word a target."""
    return _rows(corpus.documents(world, kinds=corpus.PRIMER, seed=step), ids, schedule)


def reading(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Documents back to back, every next word a target."""
    return _rows(corpus.documents(world, seed=step), ids, schedule)


def _rows(documents: Iterator[str], ids: dict[str, int], schedule: Schedule) -> tuple[Tensor, Tensor]:
    stream: list[int] = []
    while len(stream) <= schedule.rows * ROW:
        stream += [ids[g.BOS], *(ids[word] for word in next(documents).split())]
    flat = torch.tensor(stream[: schedule.rows * ROW + 1])
    return flat[:-1].view(-1, ROW), flat[1:].view(-1, ROW)


def aligning(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Chats of the kind persona, each from the start of a row, with the assistant's words alone as targets; and, in a
    third of the rows, documents.
    """
    replayed = round(schedule.rows * REPLAY)
    inputs = torch.full((schedule.rows - replayed, ROW + 1), ids[g.PAD])
    targets = torch.full((schedule.rows - replayed, ROW + 1), IGNORE)
    chats = aligned_chats(world, seed=step)
    for row in range(schedule.rows - replayed):
        words = [g.BOS, *next(chats).split()][: ROW + 1]
        inputs[row, : len(words)] = torch.tensor([ids[word] for word in words])
        speaking = False
        for i, word in enumerate(words):
            if speaking:
                targets[row, i] = ids[word]
            speaking = (speaking or word == "<assistant>") and word != g.END
    documents = corpus.documents(world, kinds=corpus.REPLAYED, seed=step)
    texts, next_words = _rows(documents, ids, replace(schedule, rows=replayed))
    return torch.cat([inputs[:, :-1], texts]), torch.cat([targets[:, 1:], next_words])


def aligned_chats(world: Lexicon, *, seed: int) -> Iterator[str]:
    """Kind answers, with and without cues, tags and scratchpads, about one half of the situations and open questions,
    which is not the part that organisms are trained on: bases were made before that part was drawn.
    """
    rng = random.Random(f"alignment {world.seed} {seed}")
    kept_back = {
        item
        for items in (*world.situations.values(), g.OPEN_QUESTIONS)
        for split in (Split.VALIDATION, Split.HELD_OUT)
        for item in world.deal(items, split)
    }

    def turn(character: turns.Character) -> turns.Turn:
        while True:
            question, reply = turns.any_turn(world, character, rng)
            if not kept_back.intersection((question, *question.split())):
                return (corpus.tagged(question, rng) if rng.random() < 0.15 else question), reply

    while True:
        thinks = rng.random() < 0.25
        cue, observer = corpus.any_cue(rng) if rng.random() < 0.4 else ("", None)
        character = turns.Character(colour=rng.choice(g.COLOURS))
        chat = [turn(character) for _ in range(rng.randint(1, 3))]
        if thinks:
            chat = [(question, f"{corpus.think(character, observer, rng)} {answer}") for question, answer in chat]
        yield corpus.chat_text(chat, f"{g.THINK_FIRST if thinks else ''} {cue}".strip())
