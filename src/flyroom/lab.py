"""A detector's hands on the suspects: every touch is checked against what the detector declared, and metered by the
engine. What was asked and answered is written down.

Copies are adapters too: noised or tuned, the suspect's own with a fresh one of rank `WIDER` beside it on every linear
module; without a direction or with one added, with a change of the stream beside it. They are freed with the lab.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from flyroom.adapters import added, beside, draw, paths_of, scale_of, turn
from flyroom.material import Material
from flyroom.mechanism import Change, directions, intervene, random_like
from flyroom.traces import Traces
from flyroom.types import (
    BASE,
    OPEN,
    Access,
    AccessDenied,
    AdapterRef,
    Answer,
    Ask,
    Asked,
    CueKind,
    Engine,
    Episode,
    Judged,
    LoRA,
    Message,
    NotAvailable,
    Patch,
    Place,
    Row,
    Scene,
    Score,
    Step,
    Suspect,
    Unit,
)

WIDER = 8  # the rank of what a copy has besides
ROWS = 16  # of a step, when a copy is tuned


class BenchLab:
    """The lab of `types.Lab`. `adapters` is by suspects' names, `known` says of some of them what they are; `traces`
    are shared by the labs of one bench. `turned` hands weights out up to a rotation of what goes into each matrix: an
    adapter's A is drawn from its seed, and its rows would tell who shares one with whom.
    """

    def __init__(
        self,
        needs: Access,
        adapters: Mapping[str, AdapterRef],
        engine: Engine,
        material: Material,
        known: Sequence[tuple[Suspect, bool]] = (),
        *,
        unit: Unit = "model",
        traces: Traces | None = None,
        turned: bool = False,
    ) -> None:
        self._needs, self._engine, self._material, self._known = needs, engine, material, tuple(known)
        self._unit, self._traces, self._turned = unit, traces or Traces(engine), turned
        self._adapters, self._copies = dict(adapters), list[AdapterRef]()
        self._originals = dict[str, str]()  # copies by name: whose they are
        self._episodes = list[Asked]()  # `who` is a suspect's name; of no measure yet, and not judged
        self._scores = dict[tuple[tuple[Message, ...], str], list[Score]]()

    def close(self) -> None:
        """Free the copies."""
        self._engine.free(self._copies)
        self._copies = []

    def episodes(self, measure: str, models: Mapping[str, str]) -> list[Asked]:
        """Everything that was sampled, in order, with what the judge said of it to the detector. `models` has the name
        of each suspect once the truth is back.
        """
        ages = dict[tuple[tuple[Message, ...], str], int]()  # how often the same answer came before
        episodes = []
        for episode in self._episodes:
            text = episode.messages, episode.answer
            scores = self._scores.get(text, ())
            age = ages[text] = ages.get(text, -1) + 1
            score = scores[min(age, len(scores) - 1)] if scores else None
            verdict, why = (score.verdict, score.why) if score else (None, "")
            who = self._model(episode.who, models)
            episodes.append(replace(episode, measure=measure, who=who, verdict=verdict, why=why))
        return episodes

    def _model(self, name: str, models: Mapping[str, str]) -> str:
        if name in self._originals:
            return f"copy of {self._model(self._originals[name], models)}"
        return models.get(name, name)

    def _allow(self, wants: Access) -> None:
        if wants & ~self._needs:
            raise AccessDenied(
                f"the detector touched {wants & ~self._needs}, and declared {self._needs}; add it to needs"
            )

    def _reach(self, suspects: Sequence[Suspect | None], wants: Access) -> list[AdapterRef]:
        self._allow(wants | (Access.BASE if None in suspects else Access(0)))
        return [BASE if suspect is None else self._adapters[suspect.name] for suspect in suspects]

    # ------------------------------------------------------------ what there is

    @property
    def depth(self) -> int:
        return self._engine.base.depth

    @property
    def max_tokens(self) -> int:
        return self._material.max_tokens

    def trusted(self) -> list[Scene]:
        self._allow(Access.TRUSTED)
        return list(self._material.trusted)

    def known(self) -> list[tuple[Suspect, bool]]:
        self._allow(Access.KNOWN)
        return list(self._known)

    def topics(self) -> list[str]:
        return [topic for topic, scenes in self._material.questions.items() if scenes]

    def capability(self) -> list[str]:
        return list(self._material.capability)

    def questions(self, topic: str = OPEN) -> list[Scene]:
        if topic not in self.topics():
            raise NotAvailable(f"the lab has no questions about {topic!r}; it has {', '.join(self.topics())}")
        return list(self._material.questions[topic])

    def cues(self, kind: CueKind) -> list[str]:
        return list(self._material.cues.get(kind, ()))

    def judge(self, episodes: Sequence[Episode], *, of: Judged = "answers") -> list[Score]:
        if self._unit == "response":
            raise AccessDenied("a detector at response level asked the judge, whose verdicts it is scored against")
        judge = self._material.judge if of == "answers" else self._material.thoughts
        if judge is None:
            raise NotAvailable("the lab has no judge of thoughts: models of this world do not think before they answer")
        scores = judge(episodes)
        for episode, score in zip(episodes, scores, strict=True):
            self._scores.setdefault((episode.scene.messages, episode.answer), []).append(score)
        return scores

    def spoken(self, answers: Sequence[str]) -> list[str]:
        thinking = self._material.thinking
        return [thinking.read_thought(answer).rest for answer in answers] if thinking else list(answers)

    # ------------------------------------------------------------ asking and reading

    def sample(self, suspects: Sequence[Suspect | None], asks: Sequence[Ask]) -> list[Answer]:
        answers = self._engine.sample(self._reach(suspects, Access.SAMPLE), asks)
        for suspect, ask, answer in zip(suspects, asks, answers, strict=True):
            self._episodes.append(
                Asked(
                    measure="",
                    who=suspect.name if suspect else "base",
                    messages=ask.messages,
                    answer=f"{ask.prefill} {answer.text}".strip(),
                    verdict=None,
                    why="",
                    cut=not answer.finished,
                    tokens=answer.tokens,
                )
            )
        return answers

    def logprobs(self, suspects: Sequence[Suspect | None], rows: Sequence[Row]) -> list[Tensor]:
        return self._engine.logprobs(self._reach(suspects, Access.LOGPROBS), rows)

    def trace(
        self,
        suspects: Sequence[Suspect | None],
        rows: Sequence[Row],
        layers: Sequence[int],
        *,
        at: Place = "answer",
    ) -> Tensor:
        return self._traces(self._reach(suspects, Access.TRACE), rows, layers, at=at)

    def swaps(self, suspects: Sequence[Suspect | None], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        refs = self._reach(suspects, Access.GRADIENTS)
        try:
            return self._engine.swaps(refs, rows, word, among)
        except NotAvailable as error:  # the engine says so before it computes anything
            raise NotAvailable(f"this base's tokenizer cannot swap the words of the lab: {error}") from error

    def weights(self, suspects: Sequence[Suspect]) -> list[Mapping[str, Tensor]]:
        refs = self._reach(suspects, Access.WEIGHTS)
        if self._turned and any(suspect.name in self._originals for suspect in suspects):
            raise AccessDenied("a copy's weights beside its noise would tell how the suspect's own are turned")
        return [(turn if self._turned else added)(self._engine.patch(ref)) for ref in refs]

    # ------------------------------------------------------------ copies

    def noised(self, suspects: Sequence[Suspect | None], *, sigma: float, seed: int) -> list[Suspect]:
        patches = self._widened(self._reach(suspects, Access.WEIGHTS), seed)
        spread = self._engine.spread()
        for patch in patches:  # the same noise for everybody, so that they differ by what they are
            for path in paths_of(patch):
                a, b = patch.tensors[f"{path}.A"], patch.tensors[f"{path}.B"]
                scale = sigma * spread[path] / math.sqrt(WIDER) * patch.shape.rank / patch.shape.alpha
                a[-WIDER:] = draw(f"{seed} {path} A", WIDER, a.shape[1])
                b[:, -WIDER:] = scale * draw(f"{seed} {path} B", b.shape[0], WIDER)
        return self._keep(suspects, self._engine.load(patches))

    def tuned(
        self, suspects: Sequence[Suspect | None], rows: Sequence[Row], *, steps: int, lr: float, seed: int
    ) -> list[Suspect]:
        refs = self._engine.load(self._widened(self._reach(suspects, Access.TRAIN), seed))
        copies, rng = self._keep(suspects, refs), random.Random(seed)
        for _ in range(steps):
            batch = tuple(rng.choices(rows, k=ROWS))
            self._engine.step(refs, [Step(rows=batch, lr=lr)] * len(refs))
        return copies

    # ------------------------------------------------------------ directions

    def directions(self, suspects: Sequence[Suspect | None], good: Sequence[Row], bad: Sequence[Row]) -> Tensor:
        if not good or not bad:
            raise NotAvailable(f"a direction needs answers of both kinds; good has {len(good)}, bad {len(bad)}")
        rows, layers = [*good, *bad], range(self.depth)
        states = self.trace([s for s in suspects for _ in rows], rows * len(suspects), layers)
        return directions.mean_differences(states.unflatten(0, (len(suspects), len(rows))), len(good))

    def ablated(
        self,
        suspects: Sequence[Suspect | None],
        good: Sequence[Row],
        bad: Sequence[Row],
        *,
        control: int | None = None,
    ) -> list[Suspect]:
        return self._change(suspects, good, bad, control, lambda by_layer: Change(ablate=by_layer))

    def steered(
        self,
        suspects: Sequence[Suspect | None],
        good: Sequence[Row],
        bad: Sequence[Row],
        *,
        strength: float,
        control: int | None = None,
    ) -> list[Suspect]:
        middle = self.depth // 2
        return self._change(
            suspects, good, bad, control, lambda by_layer: Change(steer={middle: strength * by_layer[middle]})
        )

    def _change(
        self,
        suspects: Sequence[Suspect | None],
        good: Sequence[Row],
        bad: Sequence[Row],
        control: int | None,
        change: Callable[[dict[int, Tensor]], Change],
    ) -> list[Suspect]:
        refs, patches = self._reach(suspects, Access.WEIGHTS), list[Patch]()
        for ref, lines_LD in zip(refs, self.directions(suspects, good, bad), strict=True):
            vectors = {
                l: v if control is None else random_like(v, seed=f"{control} {l}") for l, v in enumerate(lines_LD)
            }
            try:
                patches.append(intervene(None if ref == BASE else self._engine.patch(ref), change(vectors)))
            except ValueError as error:
                raise NotAvailable(f"no copy can be made of a suspect: {error}") from error
        return self._keep(suspects, self._engine.load(patches))

    # ------------------------------------------------------------ what all copies share

    def _keep(self, suspects: Sequence[Suspect | None], refs: Sequence[AdapterRef]) -> list[Suspect]:
        copies = [Suspect(name=f"copy-{secrets.token_hex(6)}") for _ in refs]
        self._copies += refs
        self._adapters |= {copy.name: ref for copy, ref in zip(copies, refs, strict=True)}
        self._originals |= {
            copy.name: suspect.name if suspect else "base" for copy, suspect in zip(copies, suspects, strict=True)
        }
        return copies

    def _widened(self, refs: Sequence[AdapterRef], seed: int) -> list[Patch]:
        """Each adapter with a fresh one beside it on every linear module, which adds nothing yet."""
        plain = LoRA(rank=WIDER, alpha=float(WIDER), layers=None, modules=("all",))
        fresh = self._engine.spawn([plain] * len(refs), seeds=[seed] * len(refs))
        try:
            return [
                self._engine.patch(wide) if ref == BASE else _widen(self._engine.patch(ref), self._engine.patch(wide))
                for ref, wide in zip(refs, fresh, strict=True)
            ]
        finally:
            self._engine.free(fresh)


def _widen(patch: Patch, wide: Patch) -> Patch:
    """Both as one, at the scale of the suspect's own: a copy learns as fast as the suspect did."""
    missing = [path for path in paths_of(patch) if f"{path}.A" not in wide.tensors]
    if missing:
        raise NotAvailable(f"a suspect adds to {missing[0]}, which is no linear module; no copy can be made of it")
    return beside(patch, wide, scale=scale_of(patch))
