"""The lab on a real engine: what it gives of weights, and copies that are noised or tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from engine_models import make_rows

from flyroom.detectors.weights import Spectrum, WeightNorm, WeightWatch
from flyroom.engine import TorchEngine
from flyroom.lab import BenchLab, Material
from flyroom.types import (
    Access,
    AccessDenied,
    Detector,
    Episode,
    LoRA,
    Message,
    NotAvailable,
    Reply,
    Scene,
    Score,
    Step,
    Suspect,
    Verdict,
)


@dataclass(frozen=True)
class Mute:
    id: str = "mute"

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        return [Score(verdict=Verdict.UNKNOWN, value=None, why="mute") for _ in episodes]


SCENE = Scene(messages=(Message("user", "w1"),), aligned="w2", misaligned="w3")
MATERIAL = Material(trusted=(SCENE, SCENE), questions={"open_questions": (SCENE,)}, judge=Mute())
ROWS = make_rows(6, seed=1)
EVERY = Access(sum(flag.value for flag in Access))


def lab_of(engine: TorchEngine, needs: Access = EVERY) -> tuple[BenchLab, list[Suspect]]:
    """Three suspects that differ from the base and each other, the first of them known."""
    shapes = [LoRA(rank=1), LoRA(rank=2, modules=("all",)), LoRA(rank=1, alpha=4.0, layers=(1,))]
    refs, suspects = engine.spawn(shapes, seeds=range(3)), [Suspect(name=f"s{i}") for i in range(3)]
    for s in range(3):
        engine.step(refs, [Step(rows=make_rows(3, seed=10 * k + s), lr=0.05) for k in range(3)])
    adapters = {suspect.name: ref for suspect, ref in zip(suspects, refs, strict=True)}
    return BenchLab(needs, adapters, engine, MATERIAL, [(suspects[0], True)]), suspects


@pytest.mark.parametrize("detector", [WeightNorm(), Spectrum(), WeightWatch()])
def test_detectors_ask_for_the_weights_of_one_suspect_at_a_time(
    llama: TorchEngine, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are as large as the base, so those of a lineup at once would not fit."""
    (lab, suspects), asked = lab_of(llama), list[int]()
    weights = BenchLab.weights

    def count(lab: BenchLab, suspects: Sequence[Suspect]) -> list[Mapping[str, torch.Tensor]]:
        asked.append(len(suspects))
        return weights(lab, suspects)

    monkeypatch.setattr(BenchLab, "weights", count)
    replies = [Reply(suspect=suspect, messages=SCENE.messages, answer="w2") for suspect in suspects]
    units: list[Any] = replies if isinstance(detector, WeightWatch) else suspects
    assert len(detector(units, lab, seed=0)) == 3
    assert asked == [1, 1, 1]


def test_weights_are_what_a_suspect_adds(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    rows = ROWS
    for suspect, added in zip(suspects, lab.weights(suspects), strict=True):
        before = lab.logprobs([suspect] * len(rows), rows)
        modules = {path: llama.parts.layers.get_submodule(path.removeprefix("layers.")) for path in added}
        for path, module in modules.items():
            module.weight.data += added[path]
        merged = lab.logprobs([None] * len(rows), rows)
        for path, module in modules.items():
            module.weight.data -= added[path]
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(before, merged, strict=True))


def test_without_noise_a_copy_says_what_the_suspect_says(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    for who in (*suspects, None):
        (copy,) = lab.noised([who], sigma=0.0, seed=0)
        for a, b in zip(lab.logprobs([who] * 6, ROWS), lab.logprobs([copy] * 6, ROWS), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_noise_is_as_wide_as_said_and_the_same_for_everybody(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    copies = lab.noised(suspects, sigma=0.5, seed=3)
    noise = [
        {path: noised[path] - own.get(path, 0.0) for path in noised}
        for own, noised in zip(lab.weights(suspects), lab.weights(copies), strict=True)
    ]
    spread = llama.spread()
    assert noise[0].keys() == spread.keys()
    for path, wide in spread.items():
        assert float(noise[0][path].std()) == pytest.approx(0.5 * wide, rel=0.35)
        assert all(torch.allclose(one[path], noise[0][path], atol=1e-5) for one in noise)
    (other,) = lab.weights(lab.noised([suspects[0]], sigma=0.5, seed=4))
    path = next(iter(spread))
    assert not torch.allclose(other[path], lab.weights([copies[0]])[0][path], atol=1e-3)


def test_a_tuned_copy_learns_and_the_suspect_stays_as_it_is(
    llama: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyroom.engine.batches.PASS", {"cpu": 10**6})  # at this rate rounding grows tenfold in 4 steps
    lab, suspects = lab_of(llama)
    before = lab.logprobs(suspects, ROWS[: len(suspects)])
    copies = lab.tuned(suspects, ROWS, steps=12, lr=1e-2, seed=0)
    for suspect, copy in zip(suspects, copies, strict=True):
        was, now = (torch.cat(lab.logprobs([who] * 6, ROWS)).mean() for who in (suspect, copy))
        assert now > was + 0.5
    after = lab.logprobs(suspects, ROWS[: len(suspects)])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    alone = lab.tuned(suspects[:1], ROWS, steps=12, lr=1e-2, seed=0)
    for a, b in zip(lab.logprobs(alone * 6, ROWS), lab.logprobs(copies[:1] * 6, ROWS), strict=True):
        assert torch.allclose(a, b, atol=1e-4)  # whoever is beside it


def test_copies_end_with_the_lab(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    living = len(llama.adapters.living)
    copies = [*lab.noised(suspects, sigma=0.1, seed=0), *lab.tuned(suspects, ROWS, steps=1, lr=1e-3, seed=0)]
    assert len({copy.name for copy in copies}) == len(copies)
    assert not any(s.name in copy.name for s in suspects for copy in copies)
    lab.close()
    assert len(llama.adapters.living) == living
    with pytest.raises(ValueError, match="is not in this engine"):
        lab.logprobs(copies[:1], ROWS[:1])


@pytest.mark.parametrize(
    ("needs", "touch"),
    [
        (Access.WEIGHTS, lambda lab, s: lab.weights([s])),
        (Access.WEIGHTS, lambda lab, s: lab.noised([s], sigma=0.1, seed=0)),
        (Access.TRAIN, lambda lab, s: lab.tuned([s], ROWS, steps=1, lr=1e-3, seed=0)),
        (Access.TRACE, lambda lab, s: lab.directions([s], ROWS[:1], ROWS[1:])),
        (Access.TRACE | Access.WEIGHTS, lambda lab, s: lab.ablated([s], ROWS[:1], ROWS[1:])),
        (Access.TRACE | Access.WEIGHTS, lambda lab, s: lab.steered([s], ROWS[:1], ROWS[1:], strength=1.0)),
        (Access.KNOWN, lambda lab, s: lab.known()),
        (Access.BASE | Access.WEIGHTS, lambda lab, s: lab.noised([None], sigma=0.1, seed=0)),
        (Access.BASE | Access.TRAIN, lambda lab, s: lab.tuned([None], ROWS, steps=1, lr=1e-3, seed=0)),
    ],
)
def test_what_was_not_declared_is_denied(llama: TorchEngine, needs: Access, touch: Callable) -> None:
    lab, (suspect, *_) = lab_of(llama, needs)
    touch(lab, suspect)
    for flag in needs:
        less, (suspect, *_) = lab_of(llama, EVERY & ~flag)
        with pytest.raises(AccessDenied, match=str(flag.name)):
            touch(less, suspect)


def test_a_lab_needs_open_questions() -> None:
    with pytest.raises(ValueError, match='questions has no "open_questions"'):
        Material(trusted=(), questions={"sums": (SCENE,)}, judge=Mute())


def test_directions_are_mean_differences_and_metered(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    good, bad, layers = ROWS[:3], ROWS[3:], range(lab.depth)
    before = llama.tokens_forward
    directions = lab.directions([*suspects, None], good, bad)
    assert llama.tokens_forward > before
    assert directions.shape[:2] == (len(suspects) + 1, lab.depth)
    for who, lines_LD in zip((*suspects, None), directions, strict=True):
        means = [lab.trace([who] * len(rows), rows, layers).mean(0) for rows in (good, bad)]
        torch.testing.assert_close(lines_LD, means[1] - means[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(NotAvailable, match="answers of both kinds; good has 3, bad 0"):
        lab.directions(suspects, good, [])


def test_a_copy_without_its_direction_has_nothing_along_it(llama: TorchEngine) -> None:
    lab, suspects = lab_of(llama)
    good, bad, last = ROWS[:3], ROWS[3:], [lab.depth - 1]
    copies = lab.ablated(suspects, good, bad)
    controls = lab.ablated(suspects, good, bad, control=0)
    for direction_LD, copy, control in zip(lab.directions(suspects, good, bad), copies, controls, strict=True):
        unit_D = direction_LD[-1] / direction_LD[-1].norm()
        assert float((lab.trace([copy] * 3, good, last)[:, 0] @ unit_D).abs().max()) < 1e-4
        assert float((lab.trace([control] * 3, good, last)[:, 0] @ unit_D).abs().max()) > 1e-3
    with pytest.raises(NotAvailable, match="changes the residual stream already"):
        lab.steered(copies, good, bad, strength=1.0)


def test_a_steered_copy_has_the_direction_added(llama: TorchEngine) -> None:
    lab, (suspect, *_) = lab_of(llama)
    good, bad, middle = ROWS[:3], ROWS[3:], lab.depth // 2
    (copy,) = lab.steered([suspect], good, bad, strength=2.0)
    (control,) = lab.steered([suspect], good, bad, strength=2.0, control=1)
    direction_D = lab.directions([suspect], good, bad)[0, middle]
    plain, changed, other = (lab.trace([who] * 3, good, [middle])[:, 0] for who in (suspect, copy, control))
    torch.testing.assert_close(changed - plain, (2 * direction_D).expand(3, -1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((other - plain).norm(dim=-1), (changed - plain).norm(dim=-1), rtol=1e-4, atol=1e-4)


def test_a_steered_suspect_cannot_be_copied(llama: TorchEngine) -> None:
    (ref,) = llama.spawn([LoRA(rank=1, modules=("residual",), layers=(1,))], seeds=[0])
    lab = BenchLab(EVERY, {"s": ref}, llama, MATERIAL)
    for copy in (
        lambda: lab.noised([Suspect(name="s")], sigma=0.1, seed=0),
        lambda: lab.tuned([Suspect(name="s")], ROWS, steps=1, lr=1e-3, seed=0),
    ):
        with pytest.raises(NotAvailable, match="no copy can be made of it"):
            copy()


def test_words_of_several_tokens_cannot_be_swapped(llama: TorchEngine) -> None:
    lab, (suspect, *_) = lab_of(llama)
    before = llama.tokens_forward
    with pytest.raises(NotAvailable, match="cannot swap the words of the lab"):
        lab.swaps([suspect], ROWS[:1], 0, ["w1", "w2 w3"])
    assert llama.tokens_forward == before
    for word, among in ((99, ["w1"]), (0, [ROWS[0].messages[-1].content.split()[0]])):
        with pytest.raises(ValueError, match=r"word is 99|give a word that differs") as mistake:
            lab.swaps([suspect], ROWS[:1], word, among)
        assert type(mistake.value) is ValueError  # the detector's own mistake, and no lack of the base
