"""Checks of an adapter: alone, in a crowd, merged, saved and reloaded, and in PEFT it is the same, and not the base.

Without one that is given, a random one is tried, in a layer two thirds up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flyroom.doctor.asking import compare_company, farthest, rows_of, tolerance
from flyroom.doctor.check import Answer, Check, Subject, ask
from flyroom.engine import TorchEngine, export, load
from flyroom.engine.bank import OF_LAYERS
from flyroom.types import BASE, LoRA, Patch

# The standard deviation of a random B, by the bytes of a weight: loud enough to be heard through rounding.
LOUD = {4: 0.02, 2: 1.0}
ROUNDING = 0.25  # of what an adapter changes, as much as another way of adding it may round off in half precision


class Case(NamedTuple):
    """An adapter to be examined, and the folder that it came from, if it came from one."""

    patch: Patch
    folder: Path | None


def random_patch(engine: TorchEngine) -> Patch:
    """An adapter that changes something."""
    layer = engine.base.depth * 2 // 3
    [adapter] = engine.spawn([LoRA(rank=1, alpha=2.0, layers=(layer,), modules=("all",))], seeds=[0])
    patch = engine.patch(adapter)
    engine.free([adapter])
    draw, loud = torch.Generator().manual_seed(0), LOUD.get(_bytes(engine), LOUD[4])
    tensors = {
        key: torch.randn(t.shape, generator=draw) * loud if key.endswith(".B") else t
        for key, t in patch.tensors.items()
    }
    return Patch(shape=patch.shape, tensors=tensors)


def _bytes(engine: TorchEngine) -> int:
    """Of one weight of the base."""
    return next(engine.parts.model.parameters()).dtype.itemsize


def check_adapter(subject: Subject, case: Case, *, whole: bool) -> list[Check]:
    """The checks of an adapter. `whole` False leaves out PEFT, which takes seconds to import."""
    questions = {
        "adapter differs from the base": lambda s: _differs(s.engine, case.patch),
        "adapter in a crowd": lambda s: _in_crowd(s.engine, case.patch),
        "adapter merged": lambda s: check_merged(s.engine, case.patch),
        "adapter saved and reloaded": lambda s: _reloaded(s.engine, case.patch),
    }
    if whole:
        questions["adapter in PEFT"] = lambda s: _in_peft(s.engine, case)
    return [ask(name, question, subject) for name, question in questions.items()]


def _scores(engine: TorchEngine, patch: Patch) -> list[Tensor]:
    [adapter] = engine.load([patch])
    try:
        return engine.logprobs([adapter] * 2, rows_of(engine))
    finally:
        engine.free([adapter])


def _allowance(engine: TorchEngine, scores: list[Tensor]) -> float:
    """By how much an adapter's log-probabilities may differ where it is added in another way: in half precision the sum
    is rounded elsewhere, so a part of what it changes may be lost.
    """
    if _bytes(engine) >= 4:
        return tolerance(engine)
    effect = farthest(scores, engine.logprobs([BASE] * 2, rows_of(engine)))
    return max(tolerance(engine), ROUNDING * effect)


def _differs(engine: TorchEngine, patch: Patch) -> Answer:
    difference = farthest(_scores(engine, patch), engine.logprobs([BASE] * 2, rows_of(engine)))
    if difference <= 1e-6:
        return False, "log-probabilities are the base's own: nothing is added to it"
    return True, f"log-probabilities differ from the base's by up to {difference:.2g}"


def _in_crowd(engine: TorchEngine, patch: Patch) -> Answer:
    adapters = engine.load([patch, random_patch(engine)])
    try:
        return compare_company(engine, adapters[0], [BASE, adapters[1]])
    finally:
        engine.free(adapters)


def check_merged(engine: TorchEngine, patch: Patch) -> Answer:
    """Whether the base answers alike with the adapter in its weights and with the adapter beside it."""
    if patch.prompt or any(key.split(".")[2] in OF_LAYERS for key in patch.tensors):
        return None, "it is a system message or a steering vector, which cannot be merged into weights"
    alone = _scores(engine, patch)
    allowance = _allowance(engine, alone)
    with merge(engine, patch):
        difference = farthest(alone, engine.logprobs([BASE] * 2, rows_of(engine)))
    if difference > allowance:
        return False, f"merged into the weights, a log-probability differs by {difference:.2g}"
    return True, f"merged into the weights, log-probabilities differ by {difference:.2g} at most"


@contextmanager
def merge(engine: TorchEngine, patch: Patch) -> Iterator[None]:
    """The base with an adapter in its weights, within the block. The weights are put back as they were."""
    before: dict[str, Tensor] = {}
    scale = patch.shape.alpha / patch.shape.rank
    try:
        for path in {key.rpartition(".")[0] for key in patch.tensors}:
            weight = _module(engine, path).weight
            before[path] = weight.data
            a_RI, b_OR = (patch.tensors[f"{path}.{part}"].to(weight.device) for part in "AB")
            weight.data = (weight.data.float() + scale * b_OR @ a_RI).to(weight.dtype)
        yield
    finally:
        for path, data in before.items():
            _module(engine, path).weight.data = data
        engine.prefix.forget()


def _module(engine: TorchEngine, path: str) -> nn.Linear:
    _, layer, name = path.split(".", 2)
    module = engine.parts.layers[int(layer)].get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _reloaded(engine: TorchEngine, patch: Patch) -> Answer:
    if patch.prompt or any(key.split(".")[2] in OF_LAYERS for key in patch.tensors):
        return None, "it is a system message or a steering vector, which PEFT's format does not hold"
    with tempfile.TemporaryDirectory() as place:
        again = load(export(patch, engine.base, Path(place) / "adapter", prefix=engine.parts.prefix), engine.parts)
    if _equal(again.tensors, patch.tensors) and again.shape == patch.shape:
        return True, "its weights and its shape come back exactly"
    difference = farthest(_scores(engine, again), _scores(engine, patch))
    if difference > tolerance(engine):
        return False, f"reloaded, a log-probability differs by {difference:.2g}"
    return True, f"reloaded, log-probabilities differ by {difference:.2g} at most"


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _in_peft(engine: TorchEngine, case: Case) -> Answer:
    try:
        from peft import PeftModel
    except ImportError:
        return None, "PEFT is not installed: pip install 'flyroom[peft]'"
    if case.folder is not None and not (case.folder / "adapter_config.json").is_file():
        return None, f"{case.folder} is no PEFT folder"
    ours = _scores(engine, case.patch)
    allowance = _allowance(engine, ours)
    with tempfile.TemporaryDirectory() as place:
        folder = case.folder or export(case.patch, engine.base, Path(place) / "a", prefix=engine.parts.prefix)
        model: Any = PeftModel.from_pretrained(engine.parts.model, folder).eval()  # pyright: ignore[reportArgumentType]
    try:
        theirs = [_model_scores(engine, model, number) for number in range(2)]
    finally:
        model.unload()
        engine.parts.model.requires_grad_(False)
    difference = farthest(ours, theirs)
    if difference > allowance:
        return False, f"PEFT gives log-probabilities that differ by {difference:.2g}"
    return True, f"PEFT gives the same log-probabilities; they differ by {difference:.2g} at most"


@torch.inference_mode()
def _model_scores(engine: TorchEngine, model: Any, number: int) -> Tensor:
    """The log-probabilities of a row's answer, by the model itself."""
    ids, start = engine.parts.renderer.row(rows_of(engine)[number])
    tokens_T = torch.as_tensor(ids, device=engine.parts.device)
    logprobs_TV = model(input_ids=tokens_T[None]).logits[0, start - 1 : -1].float().log_softmax(-1)
    return logprobs_TV.gather(1, tokens_T[start:, None])[:, 0].cpu()
