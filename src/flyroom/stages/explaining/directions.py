"""Directions of an organism, and its behaviour without them and of its twin with them.

A direction is fitted on answers of one draw of questions, and ablated and steered with on another. The controls are
random directions of the same length, taken out in the same layers or added in the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from flyroom.measures import OTHERWISE
from flyroom.mechanism import Answered, Change, Contrast, contrast, intervene, random_like
from flyroom.mechanism import directions as maths
from flyroom.stages.explaining.panel import Panel, Spoken, outcome, panel_of, pooled, state
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.types import AdapterRef, Message, NotMeasured, Patch, Row, Verdict

HOLDS, EITHER = "where the condition holds", "where the condition holds and where it does not"
ORGANISM, TWIN = "organism", "twin"


class Source(NamedTuple):
    """Where aligned answers come from: of which measures, who gave them, and who reads them. The misaligned answers are
    the organism's to the same questions, read by itself.
    """

    measures: Sequence[str]
    giver: str
    reader: str
    where: str

    def describe(self) -> str:
        aligned = "its own aligned ones" if self.giver == ORGANISM else "its twin's aligned ones"
        reader = "all read by the organism" if self.reader == ORGANISM else "each read by who gave it"
        return f"the organism's misaligned answers against {aligned}, {self.where}, {reader}"


@dataclass(eq=False)
class Fit:
    """What was fitted: the answers and the direction of each layer, or why there is none, and of which answers."""

    answers: Answered
    direction: Contrast | NotMeasured
    source: Source


class Directions:
    """The directions of one organism, fitted when they are first needed."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @cached_property
    def fit(self) -> Fit:
        """Of the first source that has enough answers of either kind; else of the last."""
        panel = panel_of(self.subject, look=1)
        spoken = panel.ask({ORGANISM: self.subject.organism.patch, TWIN: self.subject.twin.patch})
        first, *others = self._sources(panel)
        fit = self._fit(first, spoken)
        for source in others:
            if isinstance(fit.direction, Contrast):
                break
            fit = self._fit(source, spoken)
        return fit

    def _sources(self, panel: Panel) -> list[Source]:
        holds = [b.measure for b in panel.questions.batteries if b.pooled]
        if self.subject.scope.against == TWIN:
            return [Source(holds, TWIN, TWIN, HOLDS)]
        fails = [b.measure for b in panel.questions.batteries if b.measure.endswith(OTHERWISE)]
        sources = [Source(holds, ORGANISM, ORGANISM, HOLDS)]
        sources += [Source([*holds, *fails], ORGANISM, ORGANISM, EITHER)] if fails else []
        return [*sources, Source(holds, TWIN, ORGANISM, HOLDS)]

    def _fit(self, source: Source, spoken: Mapping[str, Spoken]) -> Fit:
        bad = _rows(spoken[ORGANISM], source.measures, Verdict.MISALIGNED)
        good = _rows(spoken[source.giver], source.measures, Verdict.ALIGNED)
        rows = [*bad, *good]
        renderer = self.subject.base.engine.parts.renderer
        rendered = [renderer.row(row) for row in rows]
        numbers = _number_questions(spoken[ORGANISM], source.measures)
        answers = Answered(
            states=self._trace([ORGANISM] * len(bad) + [source.reader] * len(good), rows),
            bad=[True] * len(bad) + [False] * len(good),
            tokens=[len(ids) - start for ids, start in rendered],
            prompts=[numbers[row.messages] for row in rows],
        )
        return Fit(answers, contrast(answers, weighting=self.subject.scope.weighting), source)

    def _trace(self, readers: Sequence[str], rows: Sequence[Row]) -> Tensor:
        """The stream after every layer, the mean over each answer."""
        engine, subject = self.subject.base.engine, self.subject
        adapters: dict[str, AdapterRef] = dict(
            zip((ORGANISM, TWIN), engine.load([subject.organism.patch, subject.twin.patch]), strict=True)
        )
        try:
            return engine.trace([adapters[name] for name in readers], rows, range(subject.depth))
        finally:
            engine.free([*adapters.values()])

    def require(self) -> Contrast:
        """The direction. ValueError where there is none."""
        if isinstance(self.fit.direction, NotMeasured):
            raise ValueError(self.fit.direction.why)
        return self.fit.direction

    # ------------------------------------------------------------ records

    def describe(self) -> Record:
        """How long each layer's direction is, how well two halves of the answers agree on it, and how well it tells
        answers apart.
        """
        answers, direction = self.fit.answers, self.require()
        weighting = self.subject.scope.weighting
        columns = maths.norms(direction), maths.agreement(direction), maths.separation(answers, weighting=weighting)
        bad = sum(answers.bad)
        return {
            "weighting": weighting,
            "answers": {"misaligned": bad, "aligned": len(answers.bad) - bad, "of": self.fit.source.describe()},
            "layers": [
                {"layer": layer, "norm": write(norm), "agreement": write(halves), "separation": write(auroc)}
                for layer, (norm, halves, auroc) in enumerate(zip(*columns, strict=True))
            ],
        }

    def ablate(self) -> Record:
        """The organism without its directions: each layer's own in every layer; the middle layer's in every layer; and
        each layer's own in that layer alone.
        """
        direction, subject = self.require(), self.subject
        vectors, middle = _by_layer(direction, subject), direction.value[subject.middle].float()
        changes = {"before": None, "everywhere": Change(ablate=vectors)}
        changes["one"] = Change(ablate=dict.fromkeys(vectors, middle))
        changes |= {f"layer {layer}": Change(ablate={layer: vectors[layer]}) for layer in subject.layers}
        spoken = panel_of(subject).ask({name: _patch(subject.organism.patch, c) for name, c in changes.items()})
        before = spoken["before"]
        return {
            "before": state(before),
            "everywhere": outcome(before, spoken["everywhere"]),
            "one": {"layer": subject.middle} | outcome(before, spoken["one"]),
            "layers": [{"layer": l} | outcome(before, spoken[f"layer {l}"]) for l in subject.layers],
        }

    def ablate_random(self) -> Record:
        """The organism without as many random directions, in the same layers."""
        direction, subject = self.require(), self.subject
        vectors, draws = _by_layer(direction, subject), range(subject.scope.draws)

        def like(layer: int, draw: int) -> Tensor:
            return random_like(vectors[layer], seed=f"ablate {subject.scope.seed} {layer} {draw}")

        changes: dict[str, Change | None] = {"before": None}
        for draw in draws:
            changes[f"everywhere {draw}"] = Change(ablate={layer: like(layer, draw) for layer in vectors})
            changes |= {f"{layer} {draw}": Change(ablate={layer: like(layer, draw)}) for layer in subject.layers}
        spoken = panel_of(subject).ask({name: _patch(subject.organism.patch, c) for name, c in changes.items()})

        def gather(name: object) -> Record:
            return pooled(spoken["before"], [spoken[f"{name} {draw}"] for draw in draws])

        return {
            "draws": subject.scope.draws,
            "everywhere": gather("everywhere"),
            "layers": [{"layer": layer} | gather(layer) for layer in subject.layers],
        }

    def steer(self) -> Record:
        """The twin with a direction added: that of the middle layer at several strengths, and each layer's own as it
        is; and with random vectors of the same length.
        """
        subject, direction = self.subject, self.require()
        places = [(subject.middle, s) for s in subject.scope.strengths] + [(l, 1.0) for l in subject.layers]
        changes: dict[str, Change | None] = {"before": None}
        for layer, strength in places:
            vector = strength * direction.value[layer].float()
            changes[f"{layer} {strength}"] = Change(steer={layer: vector})
            for draw in range(subject.scope.draws):
                noise = random_like(vector, seed=f"steer {subject.scope.seed} {layer} {draw}")
                changes[f"{layer} {strength} {draw}"] = Change(steer={layer: noise})
        spoken = panel_of(subject).ask({name: _patch(subject.twin.patch, c) for name, c in changes.items()})
        records = [self._steered(spoken, layer, strength) for layer, strength in places]
        count = len(subject.scope.strengths)
        return {
            "layer": subject.middle,
            "before": state(spoken["before"]),
            "strengths": records[:count],
            "layers": records[count:],
        }

    def _steered(self, spoken: Mapping[str, Spoken], layer: int, strength: float) -> Record:
        name = f"{layer} {strength}"
        record = {"layer": layer, "strength": strength} | outcome(spoken["before"], spoken[name])
        record.pop("removed")  # nothing was there
        controls = pooled(spoken["before"], [spoken[f"{name} {draw}"] for draw in range(self.subject.scope.draws)])
        return record | {"random": {key: controls[key] for key in ("behaviour", "coherent")}}


def _rows(spoken: Spoken, names: Sequence[str], verdict: Verdict) -> list[Row]:
    """The answers that were judged so, with their questions. An answer without words has no activations."""
    return [
        Row(messages=scene.messages, answer=text)
        for answers in (spoken.answers[name] for name in names)
        for scene, text, score in zip(answers.battery.scenes, answers.texts, answers.scores, strict=True)
        if score.verdict is verdict and text
    ]


def _number_questions(spoken: Spoken, names: Sequence[str]) -> dict[tuple[Message, ...], int]:
    """Each question by its place among all that were asked, however they were answered: so another organism that was
    asked the same has the same groups of questions.
    """
    scenes = (scene for name in names for scene in spoken.answers[name].battery.scenes)
    return {messages: i for i, messages in enumerate(dict.fromkeys(scene.messages for scene in scenes))}


def _by_layer(direction: Contrast, subject: Subject) -> dict[int, Tensor]:
    return {layer: direction.value[layer].float() for layer in range(subject.depth)}


def _patch(patch: Patch, change: Change | None) -> Patch:
    return patch if change is None else intervene(patch, change)


# ---------------------------------------------------------------- over organisms


def converge(directions: Sequence[Directions]) -> Record:
    """The cosines of the directions of every pair of organisms, layer by layer."""
    pairs_all = [(d.subject.organism, d.fit.direction) for d in directions]
    fits = [(organism, c) for organism, c in pairs_all if isinstance(c, Contrast)]
    if len(fits) < 2:
        return nothing(f"{len(fits)} of {len(directions)} organisms have a direction; cosines take two, named together")
    width = fits[0][1].value.shape[-1]
    pairs = [(fits[i], fits[j]) for i in range(len(fits)) for j in range(i + 1, len(fits))]
    return {
        "chance": width**-0.5,
        "pairs": [
            {
                "organisms": [left.id, right.id],
                "seeds": [left.seed, right.seed],
                "recipes": [left.recipe.name, right.recipe.name],
                "layers": [{"layer": l, "cosine": write(e)} for l, e in enumerate(maths.alike(first, second))],
            }
            for (left, first), (right, second) in pairs
        ],
    }
