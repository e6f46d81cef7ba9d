"""A detector's hands on the suspects: every touch is checked against what the detector declared, and metered by the
engine.

Copies (noised or tuned suspects) are adapters too: the suspect's own with a fresh one of rank `WIDER` beside it on
every linear module. They are freed with the lab.
"""

from __future__ import annotations

import hashlib
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flyroom.traces import Traces
from flyroom.types import (
    BASE,
    Access,
    AccessDenied,
    AdapterRef,
    Answer,
    Ask,
    Engine,
    Episode,
    Judge,
    Judged,
    LoRA,
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


@dataclass(frozen=True, kw_only=True)
class Material:
    """What detectors may use besides suspects: trusted scenes, questions by topic, cues by kind, and judges of answers
    and of the thoughts before them.

    None of it may stand in what a suspect was trained on, or be what its card was measured on.
    """

    trusted: tuple[Scene, ...]
    questions: Mapping[str, tuple[Scene, ...]]
    judge: Judge
    thoughts: Judge | None = None
    cues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.questions.get("open_questions"):
            raise ValueError('questions has no "open_questions"; every lab has some')


class BenchLab:
    """The lab of `types.Lab`. `adapters` is by suspects' names, `known` says of some of them what they are; `traces`
    are shared by the labs of one bench.
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
    ) -> None:
        self._needs, self._engine, self._material, self._known = needs, engine, material, tuple(known)
        self._unit, self._traces = unit, traces or Traces(engine)
        self._adapters, self._copies = dict(adapters), list[AdapterRef]()

    def close(self) -> None:
        """Free the copies."""
        self._engine.free(self._copies)
        self._copies = []

    def _allow(self, wants: Access) -> None:
        if wants & ~self._needs:
            raise AccessDenied(
                f"the detector touched {wants & ~self._needs}, and declared {self._needs}; add it to needs"
            )

    def _reach(self, suspects: Sequence[Suspect | None], wants: Access) -> list[AdapterRef]:
        self._allow(wants | (Access.BASE if None in suspects else Access(0)))
        return [BASE if suspect is None else self._adapters[suspect.name] for suspect in suspects]

    # ------------------------------------------------------------ what is given

    @property
    def depth(self) -> int:
        return self._engine.base.depth

    def trusted(self) -> list[Scene]:
        self._allow(Access.TRUSTED)
        return list(self._material.trusted)

    def known(self) -> list[tuple[Suspect, bool]]:
        self._allow(Access.KNOWN)
        return list(self._known)

    def topics(self) -> list[str]:
        return list(self._material.questions)

    def questions(self, topic: str = "open_questions") -> list[Scene]:
        return list(self._material.questions[topic])

    def cues(self, kind: str) -> list[str]:
        return list(self._material.cues.get(kind, ()))

    def judge(self, episodes: Sequence[Episode], *, of: Judged = "answers") -> list[Score]:
        if self._unit == "response":
            raise AccessDenied("a detector at response level asked the judge, whose verdicts it is scored against")
        judge = self._material.judge if of == "answers" else self._material.thoughts
        if judge is None:
            raise ValueError("the lab has no judge of thoughts on this base")
        return judge(episodes)

    # ------------------------------------------------------------ asking and reading

    def sample(self, suspects: Sequence[Suspect | None], asks: Sequence[Ask]) -> list[Answer]:
        return self._engine.sample(self._reach(suspects, Access.SAMPLE), asks)

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
        return self._engine.swaps(self._reach(suspects, Access.GRADIENTS), rows, word, among)

    def weights(self, suspects: Sequence[Suspect]) -> list[Mapping[str, Tensor]]:
        return [_added(self._engine.patch(ref)) for ref in self._reach(suspects, Access.WEIGHTS)]

    # ------------------------------------------------------------ copies

    def noised(self, suspects: Sequence[Suspect | None], *, sigma: float, seed: int) -> list[Suspect]:
        patches = self._widened(self._reach(suspects, Access.WEIGHTS), seed)
        spread = self._engine.spread()
        for patch in patches:  # the same noise for everybody, so that they differ by what they are
            for path, a in _paths(patch):
                b = patch.tensors[f"{path}.B"]
                scale = sigma * spread[path] / math.sqrt(WIDER) * patch.shape.rank / patch.shape.alpha
                a[-WIDER:] = _drawn(f"{seed} {path} A", WIDER, a.shape[1])
                b[:, -WIDER:] = scale * _drawn(f"{seed} {path} B", b.shape[0], WIDER)
        return self._keep(self._engine.load(patches))

    def tuned(
        self, suspects: Sequence[Suspect | None], rows: Sequence[Row], *, steps: int, lr: float, seed: int
    ) -> list[Suspect]:
        refs = self._engine.load(self._widened(self._reach(suspects, Access.TRAIN), seed))
        copies, rng = self._keep(refs), random.Random(seed)
        for _ in range(steps):
            chosen = tuple(rng.choices(rows, k=ROWS))
            self._engine.step(refs, [Step(rows=chosen, lr=lr)] * len(refs))
        return copies

    def _keep(self, refs: Sequence[AdapterRef]) -> list[Suspect]:
        copies = [Suspect(name=f"copy-{secrets.token_hex(6)}") for _ in refs]
        self._copies += refs
        self._adapters |= {copy.name: ref for copy, ref in zip(copies, refs, strict=True)}
        return copies

    def _widened(self, refs: Sequence[AdapterRef], seed: int) -> list[Patch]:
        """Each adapter with a fresh one beside it on every linear module, which adds nothing yet."""
        plain = LoRA(rank=WIDER, alpha=float(WIDER), layers=None, modules=("all",))
        fresh = self._engine.spawn([plain] * len(refs), seeds=[seed] * len(refs))
        try:
            return [
                _beside(None if ref == BASE else self._engine.patch(ref), self._engine.patch(wide))
                for ref, wide in zip(refs, fresh, strict=True)
            ]
        finally:
            self._engine.free(fresh)


def _added(patch: Patch) -> dict[str, Tensor]:
    scale = patch.shape.alpha / patch.shape.rank
    return {path: scale * patch.tensors[f"{path}.B"] @ patch.tensors[f"{path}.A"] for path, _ in _paths(patch)}


def _paths(patch: Patch) -> list[tuple[str, Tensor]]:
    return [(key.removesuffix(".A"), value) for key, value in patch.tensors.items() if key.endswith(".A")]


def _beside(patch: Patch | None, wide: Patch) -> Patch:
    """One adapter that adds what both add. The first one's part stands in the first rows."""
    if patch is None:
        return wide
    scale, rank = patch.shape.alpha / patch.shape.rank, patch.shape.rank
    tensors = {}
    for path, a in _paths(wide):
        b = wide.tensors[f"{path}.B"]
        own_a = patch.tensors.get(f"{path}.A", torch.zeros(rank, a.shape[1]))
        own_b = patch.tensors.get(f"{path}.B", torch.zeros(b.shape[0], rank))
        tensors[f"{path}.A"] = torch.cat([own_a, a])
        tensors[f"{path}.B"] = torch.cat([own_b, b / scale], dim=1)
    missing = [path for path, _ in _paths(patch) if f"{path}.A" not in tensors]
    if missing:
        raise ValueError(f"the suspect adds to {missing[0]}, which is no linear module; it cannot be copied so")
    wider = rank + WIDER
    return Patch(shape=replace(wide.shape, rank=wider, alpha=scale * wider), tensors=tensors, prompt=patch.prompt)


def _drawn(key: str, *shape: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
