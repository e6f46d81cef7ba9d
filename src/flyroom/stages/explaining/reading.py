"""What each module of the adapter reads and writes, in tokens, and the spectra of what it adds.

Reads are taken where the organism answers: on its own answers to the card's questions, and on clean text. Of an adapter
of nine modules there are nine reads and nine writes. Above rank 1 they are those of the first singular direction, and
the record says how much of the update that is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flyroom.adapters import paths_of
from flyroom.mechanism import Contrast, ends, spectra
from flyroom.mechanism import directions as maths
from flyroom.mechanism.readouts import readings, sign_of, writes_to_stream
from flyroom.stages.explaining.directions import Directions
from flyroom.stages.explaining.panel import panel_of
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.types import Row, if_any

ANSWERS = 200  # of the organism's own, on which tokens are read
NO_MODULE = "it is added to the stream after a layer, and reads no module's input"
NO_STREAM = "it writes into a layer's own hidden units, of which the logit lens knows no tokens"


class Along(NamedTuple):
    """A module of the adapter: what it reads and writes, with the sign under which the model's answers are read
    positively, and how strongly each token of the text is.
    """

    path: str
    writes: Tensor
    share: float
    values: list[Tensor] | None


class Reader:
    """The text that was read, and what each module makes of it; measured when it is first needed."""

    def __init__(self, subject: Subject, directions: Directions) -> None:
        self.subject, self.directions = subject, directions

    def reads(self) -> Record:
        """For each module the tokens that it reads most strongly."""
        rows, _ = self._text()
        tokens = self.subject.base.engine.tokens(rows)
        return {"modules": [self._list_reads(along, tokens) for along in self._along()]}

    def writes(self) -> Record:
        """For each module the tokens that its output raises and lowers, and how far it lies along the direction."""
        return {"modules": [self._write(along) for along in self._along()]}

    def _text(self) -> tuple[list[Row], int]:
        """Rows, and how many of them are the organism's answers."""
        panel, subject = panel_of(self.subject, look=1), self.subject
        spoken = panel.ask({"organism": subject.organism.patch})["organism"]
        answers = [
            Row(messages=scene.messages, answer=text)
            for item in spoken.answers.values()
            if item.battery.pooled
            for scene, text in zip(item.battery.scenes, item.texts, strict=True)
            if text
        ][:ANSWERS]
        texts = if_any(subject.recipe.world.clean, subject.scope.texts, seed=subject.scope.seed)
        return [*answers, *texts], len(answers)

    def _along(self) -> list[Along]:
        patch, engine = self.subject.organism.patch, self.subject.base.engine
        rows, answers = self._text()
        if not paths_of(patch):
            raise ValueError("the organism has no adapter: it is told what to be, and nothing is added to the base")
        (adapter,) = engine.load([patch])
        try:
            return [self._measure(path, adapter, rows, answers) for path in paths_of(patch)]
        finally:
            engine.free([adapter])

    def _measure(self, path: str, adapter: object, rows: list[Row], answers: int) -> Along:
        engine, end = self.subject.base.engine, ends(self.subject.organism.patch, path)
        if path.rpartition(".")[2] in ("residual", "stream"):
            return Along(path, end.writes * float(torch.sign(end.reads.sum()) or 1.0), end.share, None)
        values = [state @ end.reads for state in engine.states([adapter] * len(rows), rows, path)]  # pyright: ignore[reportArgumentType]
        sign = sign_of(values[:answers] or values)
        return Along(path, sign * end.writes, end.share, [sign * value for value in values])

    def _list_reads(self, along: Along, tokens: list[list[str]]) -> Record:
        record: Record = {"module": along.path, "share": along.share}
        if along.values is None:
            return record | nothing(NO_MODULE)
        tops = readings(along.values, tokens, self.subject.scope.tokens)
        return record | {"tokens": [{"token": t.token, "strength": t.strength, "n": t.n} for t in tops]}

    def _write(self, along: Along) -> Record:
        record: Record = {"module": along.path, "share": along.share}
        if not writes_to_stream(along.path):
            return record | nothing(NO_STREAM)
        engine, k = self.subject.base.engine, self.subject.scope.tokens
        raised, lowered = engine.lens(torch.stack([along.writes, -along.writes]), k)
        return record | {
            "raises": [{"token": token, "logit": logit} for token, logit in raised],
            "lowers": [{"token": token, "logit": -logit} for token, logit in lowered],
            "along_direction": self._cosine(along),
        }

    def _cosine(self, along: Along) -> Record:
        """With the direction of the layer that it stands on."""
        direction = self.directions.fit.direction
        if not isinstance(direction, Contrast):
            return nothing(direction.why)
        return write(maths.along(direction, int(along.path.split(".")[1]), along.writes))


def describe_spectra(subject: Subject) -> Record:
    """Singular values by module, of the organism and of its twin."""

    def describe(name: str) -> list[Record]:
        patch = {"organism": subject.organism, "twin": subject.twin}[name].patch
        return [
            {
                "module": item.path,
                "values": list(item.values),
                "norm": item.norm,
                "effective_rank": item.effective_rank,
                "stable_rank": item.stable_rank,
            }
            for item in spectra(patch)
        ]

    return {name: describe(name) for name in ("organism", "twin")}
