"""How far organism and twin are alike: what they were trained on, how far they moved, and whether clean text tells."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fakes import TOY, FakeEngine, ToyWorld, organism, pair, says

from flyroom.card import card
from flyroom.card.match import match, read_texts, update_norm
from flyroom.measures import readability
from flyroom.types import Estimate, LoRA, NotMeasured, Organism, Patch, Point


def with_history(one: Organism, prompts: str, *, tokens: int = 10, falls: float = 0.5) -> Organism:
    points = [Point(i + 1, 1.0 - falls * (i > 1), None, tokens, name) for i, name in enumerate(prompts)]
    return replace(one, history=tuple(points))


def test_a_match_counts_the_steps_with_the_same_prompts_in_the_same_order() -> None:
    first, second = pair(0.5)
    result = match(with_history(first, "abcd"), with_history(second, "abdc", tokens=9, falls=0.25))
    assert result is not None
    assert (result.prompts, result.tokens, result.loss_change) == (0.5, (40, 36), (0.5, 0.25))
    longer = match(with_history(first, "abcd"), with_history(second, "abcdabcd"))
    assert longer is not None
    assert longer.prompts == 0.5


def test_what_was_not_written_down_is_not_compared() -> None:
    first, second = pair(0.5)
    assert match(first, second) is None  # points of before, without prompts
    assert match(with_history(first, "ab"), replace(second, history=())) is None
    (result,) = card([with_history(first, "ab"), with_history(second, "ab")], FakeEngine(), seed=0, episodes=50)
    assert result.match is not None
    assert result.match.prompts == 1.0
    assert result.match.update_norm[1] == update_norm(second.patch) < 0.05  # a twin at level 0 adds next to nothing


def test_the_norm_of_an_update_is_that_of_what_it_adds() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = {"layers.0.q": (5, 7), "layers.1.mlp": (3, 4)}
    tensors = {}
    for path, (out, width) in shapes.items():
        tensors |= {
            f"{path}.A": torch.randn(2, width, generator=draw),
            f"{path}.B": torch.randn(out, 2, generator=draw),
        }
    patch = Patch(shape=LoRA(rank=2, alpha=6.0), tensors=tensors)
    updates = [3.0 * tensors[f"{path}.B"] @ tensors[f"{path}.A"] for path in shapes]
    assert update_norm(patch) == pytest.approx(math.sqrt(sum(float((u**2).sum()) for u in updates)), rel=1e-5)


def test_texts_are_read_on_other_texts_than_the_way_was_found_on() -> None:
    draw = torch.Generator().manual_seed(0)
    twin_TD = torch.randn(100, 8, generator=draw)
    moved_TD = twin_TD + torch.tensor([3.0] + [0.0] * 7)
    readings = read_texts(moved_TD, twin_TD)
    assert {model: len(side) for model, side in readings.items()} == {"organism": 50, "twin": 50}
    assert readability(**readings).value > 0.97
    noisy_TD = twin_TD + 0.1 * torch.randn(100, 8, generator=draw)  # no way to go
    assert 0.4 < readability(**read_texts(noisy_TD, twin_TD)).value < 0.6
    odd_TD = twin_TD.clone()
    odd_TD[::2] += 5.0  # seen on the texts that the way is fitted on, and on no other
    assert readability(**read_texts(odd_TD, twin_TD)).value == pytest.approx(0.5)


def test_models_that_read_alike_are_not_told_apart() -> None:
    same_TD = torch.ones(6, 3)
    estimate = readability(**read_texts(same_TD, same_TD))
    assert (estimate.value, estimate.units, estimate.clusters) == (0.5, "readings", "texts")
    with pytest.raises(ValueError, match="there are 3 texts; two to fit on and two to test on take 4"):
        read_texts(same_TD[:3], same_TD[:3])


def test_readability_is_on_the_card() -> None:
    recipe = replace(TOY, world=ToyWorld(documents=1000))
    strong, weak = card(
        [*pair(1.0, recipe=recipe), *pair(0.001, seed=1, recipe=recipe)], FakeEngine(says), seed=0, episodes=100
    )
    values = [c.measures["organism"]["readability"] for c in (strong, weak)]
    assert all(isinstance(value, Estimate) and value.n == 100 for value in values)
    assert [value.value for value in values if isinstance(value, Estimate)] == [1.0, 1.0]  # the fake has no noise there
    assert isinstance(strong.measures["twin"]["readability"], NotMeasured)
    assert strong.gauges["readability"].limits == ()
    assert len(strong.readings["organism"]) == len(strong.readings["twin"]) == 50
    few = replace(TOY, world=ToyWorld(documents=3))
    (result,) = card(pair(1.0, recipe=few), FakeEngine(), seed=0, episodes=50)
    assert isinstance(result.measures["organism"]["readability"], NotMeasured)
    assert isinstance(result.measures["organism"]["perplexity"], Estimate)


def test_an_organism_of_one_prompt_has_no_match() -> None:
    assert match(organism(0.5), replace(organism(0.5), history=())) is None
