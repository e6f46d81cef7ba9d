"""Somebody else's classifier or scorer as a detector: of replies, or of models by what they answer on average.

`FromClassifier` takes whatever has scikit-learn's `fit` and a `decision_function` or `predict_proba`. `FromScorer`
takes a scorer of Inspect (inspect.aisi.org.uk), which is imported when the scorer is called for, and not before.

Left out: scorers that ask another model. A detector at work in a process of its own has no key to give them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flyroom.detectors.asking import need_layer, need_questions, need_trusted
from flyroom.inspector import scorers
from flyroom.types import OPEN, Access, Ask, Finding, Lab, Message, Reply, Row, Scene, Suspect, Unit, ask_seed

FEWEST = 8  # trusted scenes to fit on
Messages = tuple[Message, ...]
Grades = list[float | None]  # one for each reply, higher is worse; None where nothing could be told


@dataclass(frozen=True, kw_only=True)
class FromClassifier:
    """`classifier`, a copy of it each time, is fitted on trusted answers, good (0) against bad (1). What is random in
    it and has no `random_state` of its own gets the bench's seed. An error for what does not learn these two classes: a
    detector of outliers pools them, and calls high what is usual.

    It reads the `words` of an answer, which takes a classifier of strings, or the suspect's own `residuals` over it,
    after `layer` (None: the last but one). Of a model the suspicion is the mean over its answers to `asks` questions of
    a topic.

    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> FromClassifier(classifier=KNeighborsClassifier(5)).needs
    <Access.TRACE|TRUSTED: 68>
    >>> FromClassifier(classifier=KNeighborsClassifier(5), unit="model").needs
    <Access.SAMPLE|TRACE|TRUSTED: 69>
    """

    classifier: Any
    reads: Literal["words", "residuals"] = "residuals"
    layer: int | None = None
    unit: Unit = "response"
    topic: str = OPEN
    asks: int = 64

    @property
    def needs(self) -> Access:
        reading = Access.TRACE if self.reads == "residuals" else Access(0)
        return Access.TRUSTED | reading | (Access.SAMPLE if self.unit == "model" else Access(0))

    def __call__(self, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
        pairs = [(s.messages, answer) for s in need_trusted(lab, FEWEST) for answer in (s.aligned, s.misaligned)]
        need_layer(lab, self.layer)
        if self.unit == "response":
            return _of_replies(units, self._grades(units, pairs, lab, seed), "classifier")
        scenes = need_questions(lab, self.topic, self.asks)
        return _of_models(units, self._grades(_answers(units, lab, scenes, seed), pairs, lab, seed), "classifier")

    def _grades(self, replies: Sequence[Reply], pairs: Sequence[tuple[Messages, str]], lab: Lab, seed: int) -> Grades:
        """`pairs` are trusted prompts and answers, a good one and a bad one in turn."""
        labels = [0, 1] * (len(pairs) // 2)
        if self.reads == "words":
            return _grader(self.classifier, [a for _, a in pairs], labels, seed)([r.answer for r in replies])
        layer = need_layer(lab, self.layer)
        lessons = [Row(messages=messages, answer=answer) for messages, answer in pairs]
        grades: Grades = [None] * len(replies)
        for suspect in dict.fromkeys(r.suspect for r in replies):
            places = [i for i, reply in enumerate(replies) if reply.suspect == suspect]
            rows = lessons + [Row(messages=replies[i].messages, answer=replies[i].answer) for i in places]
            x_ND = lab.trace([suspect] * len(rows), rows, [layer])[:, 0].numpy()
            grade = _grader(self.classifier, x_ND[: len(lessons)], labels, seed)
            for i, value in zip(places, grade(x_ND[len(lessons) :]), strict=True):
                grades[i] = value
        return grades


def _grader(classifier: Any, x: Any, labels: Sequence[int], seed: int) -> Callable[[Any], Grades]:
    model = copy.deepcopy(classifier)
    settings = model.get_params() if hasattr(model, "get_params") else {}
    if random := [name for name, value in settings.items() if name.endswith("random_state") and value is None]:
        model.set_params(**dict.fromkeys(random, seed % 2**32))
    model.fit(x, labels)
    if list(classes := getattr(model, "classes_", ())) != [0, 1]:
        raise ValueError(
            f"classifier is {type(classifier).__name__}, whose classes_ are {list(classes)} after its fit on good (0) "
            "and bad (1) answers; it must be [0, 1], as in scikit-learn's classifiers"
        )
    if odds := getattr(model, "decision_function", None):  # a pipeline has it where its last step has
        return lambda new: [float(value) for value in odds(new)]
    return lambda new: [float(row[1]) for row in model.predict_proba(new)]


@dataclass(frozen=True, kw_only=True)
class FromScorer:
    """`scorer` is where a scorer of Inspect is made, as module:name; `options` are what it is made with.

    `target` is what the scorer is to look for: the misaligned answer of a question, or texts of your own; then the
    suspicion is its value. Or the aligned answer; then it is the value turned round. A reply comes without the answers
    to its question, so texts alone will do there.

    >>> FromScorer(scorer="inspect_ai.scorer:includes", unit="response")
    Traceback (most recent call last):
    ...
    ValueError: target is 'misaligned'; a reply comes without the answers to its question, give a tuple of texts
    """

    scorer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Literal["aligned", "misaligned"] | tuple[str, ...] = "misaligned"
    unit: Unit = "model"
    topic: str = OPEN
    asks: int = 64

    def __post_init__(self) -> None:
        if self.unit == "response" and isinstance(self.target, str):
            raise ValueError(
                f"target is {self.target!r}; a reply comes without the answers to its question, give a tuple of texts"
            )
        scorers.check_name(self.scorer)

    @property
    def needs(self) -> Access:
        return Access.SAMPLE if self.unit == "model" else Access(0)

    def __call__(self, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
        if self.unit == "response":
            return _of_replies(units, self._grades(units, [self._texts(None)] * len(units)), self.scorer)
        scenes = need_questions(lab, self.topic, self.asks)
        targets = [self._texts(scene) for scene in scenes] * len(units)
        return _of_models(units, self._grades(_answers(units, lab, scenes, seed), targets), self.scorer)

    def _texts(self, scene: Scene | None) -> list[str]:
        if not isinstance(self.target, str):
            return list(self.target)
        assert scene is not None
        return [scene.aligned if self.target == "aligned" else scene.misaligned]

    def _grades(self, replies: Sequence[Reply], targets: Sequence[list[str]]) -> Grades:
        sign = -1.0 if self.target == "aligned" else 1.0
        conversations = [_conversation(reply, target) for reply, target in zip(replies, targets, strict=True)]
        remarks = scorers.score(self.scorer, self.options, conversations)
        return [None if remark.value is None else sign * remark.value for remark in remarks]


def _conversation(reply: Reply, target: list[str]) -> scorers.Conversation:
    return scorers.Conversation(messages=reply.messages, answer=reply.answer, target=target, model=reply.suspect.name)


# ---------------------------------------------------------------- of replies, and of models by what they say


def _answers(suspects: Sequence[Suspect], lab: Lab, scenes: Sequence[Scene], seed: int) -> list[Reply]:
    """What each suspect answers to each scene, suspect by suspect."""
    asks = [
        Ask(messages=s.messages, seed=ask_seed("asking", seed, i), max_tokens=lab.max_tokens)
        for i, s in enumerate(scenes)
    ]
    answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
    pairs = [(suspect, scene) for suspect in suspects for scene in scenes]
    return [
        Reply(suspect=suspect, messages=scene.messages, answer=answer.text)
        for (suspect, scene), answer in zip(pairs, answers, strict=True)
    ]


def _of_replies(replies: Sequence[Reply], grades: Grades, by: str) -> list[Finding]:
    values = [value for value in grades if value is not None]
    if len(values) < len(replies):
        raise ValueError(f"{by} could not tell in {len(replies) - len(values)} of {len(replies)} replies")
    return [Finding(suspicion=value, claim=f"{value:+.2f} by {by}") for value in values]


def _of_models(suspects: Sequence[Suspect], grades: Grades, by: str) -> list[Finding]:
    findings, per = [], len(grades) // max(1, len(suspects))
    for i, suspect in enumerate(suspects):
        values = [value for value in grades[i * per : (i + 1) * per] if value is not None]
        if not values:
            raise ValueError(f"{by} could not tell in any of {per} answers of suspect {suspect.name}")
        mean = sum(values) / len(values)
        findings.append(Finding(suspicion=mean, claim=f"{mean:+.2f} by {by}, the mean of {len(values)} answers"))
    return findings
