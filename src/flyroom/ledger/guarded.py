"""An engine on which every adapter answers as its treatment at run time has it: for cards, detectors and whoever else
asks. The base, which stands in slot 0, answers as it is.

Its base has another digest, so nothing that was asked there is taken for what the bare model said, nor for what it said
under another treatment. What is read of it (activations, log-probabilities, weights) is the bare model's: a treatment
around a model hides nothing from who has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    AtRunTime,
    BaseRef,
    Engine,
    LoRA,
    Patch,
    Patient,
    Place,
    Row,
    Step,
    Stepped,
    digest,
)

if TYPE_CHECKING:
    from torch import Tensor

PatientOf = Callable[[AdapterRef, Patch], Patient]


class Guarded:
    """`patient_of` makes of an adapter and its weights what the treatment is given; `about` is what else the answers
    hang on, and part of the base's digest.
    """

    def __init__(self, engine: Engine, treatment: AtRunTime, patient_of: PatientOf, about: Sequence[str] = ()) -> None:
        self._engine, self._treatment, self._patient_of, self._about = engine, treatment, patient_of, about
        self._loaded: dict[AdapterRef, Patch] = {}  # as they were given, before the engine rounds them

    @property
    def base(self) -> BaseRef:
        base = self._engine.base
        return replace(base, digest=digest([base.digest, self._treatment, *self._about]))

    @property
    def tokens_forward(self) -> int:
        return self._engine.tokens_forward

    @property
    def tokens_generated(self) -> int:
        return self._engine.tokens_generated

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        """The bare base's answers, and each adapter's as its treatment gives them."""
        places: dict[int, list[int]] = {}
        for i, adapter in enumerate(adapters):
            places.setdefault(adapter.slot, []).append(i)
        answers: dict[int, Answer] = {}
        for numbers in places.values():
            adapter, group = adapters[numbers[0]], [asks[i] for i in numbers]
            if adapter.slot:
                patch = self._loaded.get(adapter) or self._engine.patch(adapter)
                texts = self._treatment.answer(self._patient_of(adapter, patch), group)
            else:
                texts = self._engine.sample([adapter] * len(group), group)
            answers |= dict(zip(numbers, texts, strict=True))
        return [answers[i] for i in range(len(asks))]

    # ------------------------------------------------------------ as the engine does

    def check(self, shape: LoRA) -> None:
        self._engine.check(shape)

    def spread(self) -> dict[str, float]:
        return self._engine.spread()

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        return self._engine.spawn(shapes, seeds=seeds)

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        refs = self._engine.load(patches)
        self._loaded |= dict(zip(refs, patches, strict=True))
        return refs

    def patch(self, adapter: AdapterRef) -> Patch:
        return self._engine.patch(adapter)

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        return self._engine.state(adapter)

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        self._loaded.pop(adapter, None)
        self._engine.restore(adapter, state)

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        self._loaded.pop(adapter, None)
        self._engine.tell(adapter, prompt)

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        self._engine.free(adapters)
        for adapter in adapters:
            self._loaded.pop(adapter, None)

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        for adapter in adapters:
            self._loaded.pop(adapter, None)
        return self._engine.step(adapters, steps)

    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Tensor]:
        return self._engine.logprobs(adapters, rows)

    def trace(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place = "answer"
    ) -> Tensor:
        return self._engine.trace(adapters, rows, layers, at=at)

    def swaps(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        return self._engine.swaps(adapters, rows, word, among)
