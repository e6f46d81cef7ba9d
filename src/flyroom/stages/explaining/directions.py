"""Directions of an organism, and its behaviour without them and of its twin with them.

A direction is fitted on answers of one draw of questions, and ablated and steered with on another; a question that is
in both is left out of the fit. The controls are random directions, taken out in the same layers or added in the same
one: of the same length, and along which the activations are as large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import NamedTuple

import torch
from torch import Tensor

from flyroom.adapters import paths_of
from flyroom.measures import OTHERWISE
from flyroom.mechanism import Answered, Change, Contrast, contrast, intervene, random_like, random_matched
from flyroom.mechanism import directions as maths
from flyroom.stages.explaining.panel import Panel, Spoken, outcome, panel_of, pooled, state
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.types import AdapterRef, Message, NotMeasured, Patch, Row, Verdict

HOLDS, EITHER = "where the condition holds", "where the condition holds and where it does not"
ORGANISM, TWIN = "organism", "twin"
NO_ELSEWHERE = "the adapter writes on every layer, so none is free of it"


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
    """What was fitted: the answers and the direction of each layer, or why there is none, and of which answers;
    `one_reader` has them as the organism reads all of them, `left_out` is how many questions are asked later, too.
    """

    answers: Answered
    one_reader: Answered
    left_out: int
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
        held_out = {scene.fields["asked"] for b in panel_of(self.subject).questions.batteries for scene in b.scenes}
        bad = _rows(spoken[ORGANISM], source.measures, Verdict.MISALIGNED, held_out)
        good = _rows(spoken[source.giver], source.measures, Verdict.ALIGNED, held_out)
        rows = [*bad, *good]
        renderer = self.subject.base.engine.parts.renderer
        rendered = [renderer.row(row) for row in rows]
        numbers = _number_questions(spoken[ORGANISM], source.measures)
        scenes = [s for name in source.measures for s in spoken[ORGANISM].answers[name].battery.scenes]
        questions = {scene.fields["asked"] for scene in scenes}
        states = self._trace([ORGANISM] * len(rows), rows)
        one_reader = Answered(
            states=states,
            bad=[True] * len(bad) + [False] * len(good),
            tokens=[len(ids) - start for ids, start in rendered],
            prompts=[numbers[row.messages] for row in rows],
        )
        answers = one_reader
        if source.reader != ORGANISM:
            good_states = self._trace([source.reader] * len(good), good)
            answers = replace(one_reader, states=torch.cat([states[: len(bad)], good_states]))
        direction = contrast(answers, weighting=self.subject.scope.weighting)
        return Fit(answers, one_reader, len(questions & held_out), direction, source)

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
        fit, answers, direction = self.fit, self.fit.answers, self.require()
        weighting = self.subject.scope.weighting
        aurocs = maths.separation(answers, weighting=weighting, scored=fit.one_reader)
        chances = maths.chance_agreement(answers, weighting=weighting, seed=self.subject.scope.seed)
        columns = maths.norms(direction), maths.agreement(direction), chances, aurocs
        bad = sum(answers.bad)
        return {
            "weighting": weighting,
            "answers": {"misaligned": bad, "aligned": len(answers.bad) - bad, "of": fit.source.describe()},
            "questions": {"fitted": len(set(answers.prompts)), "left_out": fit.left_out},
            "layers": [
                {
                    "layer": layer,
                    "norm": write(norm),
                    "agreement": write(halves),
                    "chance": chance,
                    "separation": write(auroc),
                }
                for layer, (norm, halves, chance, auroc) in enumerate(zip(*columns, strict=True))
            ],
        }

    def ablate(self) -> Record:
        """The organism without its directions: each layer's own in every layer, and "elsewhere", where its adapter does
        not write; the middle layer's in every layer; and each layer's own in that layer alone.
        """
        direction, subject = self.require(), self.subject
        vectors, middle = _by_layer(direction, subject), direction.value[subject.middle].float()
        changes = {"before": None, "everywhere": Change(ablate=vectors)}
        elsewhere = self._elsewhere(vectors)
        changes |= {"elsewhere": Change(ablate=elsewhere)} if elsewhere else {}
        changes["one"] = Change(ablate=dict.fromkeys(vectors, middle))
        changes |= {f"layer {layer}": Change(ablate={layer: vectors[layer]}) for layer in subject.layers}
        spoken = panel_of(subject).ask({name: _patch(subject.organism.patch, c) for name, c in changes.items()})
        before = spoken["before"]
        return {
            "before": state(before),
            "everywhere": outcome(before, spoken["everywhere"]),
            "elsewhere": outcome(before, spoken["elsewhere"]) if elsewhere else nothing(NO_ELSEWHERE),
            "one": {"layer": subject.middle} | outcome(before, spoken["one"]),
            "layers": [{"layer": l} | outcome(before, spoken[f"layer {l}"]) for l in subject.layers],
        }

    def _elsewhere(self, vectors: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Those of layers on which the organism's adapter does not write."""
        adapted = {int(path.split(".")[1]) for path in paths_of(self.subject.organism.patch)}
        return {layer: vector for layer, vector in vectors.items() if layer not in adapted}

    def ablate_random(self) -> Record:
        """The organism without as many random directions, in the same layers: any; and any along which its misaligned
        answers are as large as along its own ("matched").
        """
        direction, subject, answers = self.require(), self.subject, self.fit.answers
        vectors, draws = _by_layer(direction, subject), range(subject.scope.draws)
        states_NLD = answers.states[torch.tensor(answers.bad)]

        def like(layer: int, draw: int) -> Tensor:
            return random_like(vectors[layer], seed=f"ablate {subject.scope.seed} {layer} {draw}")

        def matched(layer: int, draw: int) -> Tensor:
            return random_matched(
                vectors[layer], states_NLD[:, layer], seed=f"match {subject.scope.seed} {layer} {draw}"
            )

        places = {"everywhere": [*vectors], "elsewhere": [*self._elsewhere(vectors)]}
        places |= {f"layer {layer}": [layer] for layer in subject.layers}
        changes: dict[str, Change | None] = {"before": None}
        for (kind, make), draw in product((("like", like), ("matched", matched)), draws):
            for place, layers in places.items():
                if layers:
                    changes[f"{kind} {place} {draw}"] = Change(ablate={layer: make(layer, draw) for layer in layers})
        spoken = panel_of(subject).ask({name: _patch(subject.organism.patch, c) for name, c in changes.items()})

        def gather(kind: str) -> Record:
            parts = {
                place: pooled(spoken["before"], [spoken[f"{kind} {place} {draw}"] for draw in draws])
                if layers
                else nothing(NO_ELSEWHERE)
                for place, layers in places.items()
            }
            layers = [{"layer": layer} | parts[f"layer {layer}"] for layer in subject.layers]
            return {"everywhere": parts["everywhere"], "elsewhere": parts["elsewhere"], "layers": layers}

        return {"draws": subject.scope.draws, **gather("like"), "matched": gather("matched")}

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


def _rows(spoken: Spoken, names: Sequence[str], verdict: Verdict, held_out: Set[str]) -> list[Row]:
    """The answers that were judged so, with their questions, without those to questions that are held out. An answer
    without words has no activations.
    """
    return [
        Row(messages=scene.messages, answer=text)
        for answers in (spoken.answers[name] for name in names)
        for scene, text, score in zip(answers.battery.scenes, answers.texts, answers.scores, strict=True)
        if score.verdict is verdict and text and scene.fields["asked"] not in held_out
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
    """The cosines of the directions of every pair of organisms, layer by layer, and which cosines chance gives."""
    fits = [(d, c) for d in directions if isinstance(c := d.fit.direction, Contrast)]
    if len(fits) < 2:
        return nothing(f"{len(fits)} of {len(directions)} organisms have a direction; cosines take two, named together")
    return {"pairs": [_converge(*pair) for pair in combinations(fits, 2)]}


def _converge(left: tuple[Directions, Contrast], right: tuple[Directions, Contrast]) -> Record:
    (first, direction), (second, other) = left, right
    organisms, scope = [first.subject.organism, second.subject.organism], first.subject.scope
    chances = maths.chance_alike(first.fit.answers, second.fit.answers, weighting=scope.weighting, seed=scope.seed)
    return {
        "organisms": [organism.id for organism in organisms],
        "seeds": [organism.seed for organism in organisms],
        "recipes": [organism.recipe.name for organism in organisms],
        "layers": [
            {"layer": l, "cosine": write(e), "chance": chances[l]} for l, e in enumerate(maths.alike(direction, other))
        ],
    }
