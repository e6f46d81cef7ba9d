"""A planted direction is recovered, and a planted absence is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flyroom.mechanism import Answered, Contrast, contrast
from flyroom.mechanism import directions as maths
from flyroom.types import Estimate, NotMeasured

WIDTH, LAYERS = 24, 3


def plant(strength: float, *, seed: int = 0, answers: int = 240, prompts: int = 40) -> Answered:
    """Answers whose misaligned ones lie `strength` along the first axis in layer 1, and are four times as long."""
    g = torch.Generator().manual_seed(seed)
    bad = [i % 2 == 0 for i in range(answers)]
    states = torch.randn(answers, LAYERS, WIDTH, generator=g)
    states += torch.randn(prompts, 1, WIDTH, generator=g)[torch.arange(answers) // 2 % prompts]  # what a prompt shares
    states[:, 1, 0] += strength * torch.tensor(bad).float()
    return Answered(
        states=states, bad=bad, tokens=[4 if b else 1 for b in bad], prompts=[i // 2 % prompts for i in range(answers)]
    )


def axis_of(direction: Contrast | NotMeasured) -> Tensor:
    assert isinstance(direction, Contrast)
    return direction.value


def estimates(values: list[Estimate | NotMeasured]) -> list[Estimate]:
    assert all(isinstance(value, Estimate) for value in values)
    return [value for value in values if isinstance(value, Estimate)]


def test_a_planted_direction_is_found_in_its_layer_alone() -> None:
    answers = plant(4.0)
    direction = contrast(answers)
    value = axis_of(direction)
    first = torch.eye(WIDTH)[0].double()
    assert maths.cosine(value[1], first) > 0.95 > 0.6 > maths.cosine(value[0], first).abs()
    assert isinstance(direction, Contrast)
    halves, auroc, along = (
        estimates(maths.agreement(direction)),
        estimates(maths.separation(answers)),
        maths.along(direction, 1, first),
    )
    assert halves[1].low > 0.8
    assert auroc[1].low > 0.8
    assert isinstance(along, Estimate)
    assert along.low < along.value < along.high
    for layer in (0, 2):
        assert halves[layer].low < 0.3
        assert auroc[layer].low < 0.6
    assert estimates(maths.norms(direction))[1].low > 3.0


def test_nothing_is_found_where_nothing_was_planted() -> None:
    answers = plant(0.0)
    direction = contrast(answers)
    assert isinstance(direction, Contrast)
    assert all(e.low < 0.3 for e in estimates(maths.agreement(direction)))
    assert all(e.low < 0.55 for e in estimates(maths.separation(answers)))


def test_directions_of_two_models_are_alike_where_they_share_one() -> None:
    pairs = [contrast(plant(4.0, seed=seed)) for seed in (1, 2)]
    one, other = (direction for direction in pairs if isinstance(direction, Contrast))
    cosines = estimates(maths.alike(one, other))
    assert cosines[1].low > 0.8
    assert cosines[0].low < 0.2 < 0.8
    assert estimates(maths.alike(one, one))[0].value == pytest.approx(1.0)


def test_the_same_prompts_are_left_out_in_whatever_order_they_were_answered() -> None:
    answers = plant(4.0)
    order = list(reversed(range(len(answers.bad))))
    turned = Answered(
        states=answers.states[order],
        bad=[answers.bad[i] for i in order],
        tokens=[answers.tokens[i] for i in order],
        prompts=[answers.prompts[i] for i in order],
    )
    first, second = contrast(answers), contrast(turned)
    assert isinstance(first, Contrast)
    assert isinstance(second, Contrast)
    torch.testing.assert_close(first.without, second.without)


def test_the_jackknife_covers_the_true_cosine() -> None:
    """In 100 draws the interval of a cosine with the truth holds the cosine that many more answers have."""
    truth = axis_of(contrast(plant(2.0, seed=999, answers=20_000, prompts=2_000)))[1]
    far = maths.cosine(truth, torch.eye(WIDTH)[0].double())
    hits = 0
    for seed in range(100):
        direction = contrast(plant(2.0, seed=seed))
        assert isinstance(direction, Contrast)
        estimate = maths.along(direction, 1, torch.eye(WIDTH)[1].double())  # at right angles: no bias of the norm
        assert isinstance(estimate, Estimate)
        hits += estimate.low <= float(maths.cosine(truth, torch.eye(WIDTH)[1].double())) <= estimate.high
    assert far > 0.99
    assert 88 <= hits <= 100


def test_tokens_weigh_long_answers_more() -> None:
    answers = plant(4.0)
    states = answers.states.clone()
    states[::4, 0, 5] += 10  # half of the misaligned answers
    uneven = replace(answers, states=states, tokens=[9 if i % 4 == 0 else 1 for i in range(240)])
    by_answer, by_token = (axis_of(contrast(uneven, weighting=w))[0, 5] for w in ("response", "token"))
    assert by_answer == pytest.approx(5, abs=0.6)
    assert by_token == pytest.approx(9, abs=0.6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bad": [True] * 240}, "240 of 240 answers are misaligned; a direction takes 10 of either kind"),
        ({"prompts": [0] * 240}, "the answers are to 1 prompts; a direction takes 10"),
    ],
)
def test_too_few_answers_are_no_direction(change: dict[str, list[int]], why: str) -> None:
    assert contrast(replace(plant(1.0), **change)) == NotMeasured(why=why)  # pyright: ignore[reportArgumentType]


def test_lists_of_several_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        replace(plant(1.0), tokens=[1])


def test_the_length_of_a_direction_is_not_what_chance_adds_to_it() -> None:
    """Where there is none, or a weak one, intervals hold the true length; the plain length is above it on the mean."""
    for strength in (0.0, 1.0):
        directions = [direction_of(plant(strength, seed=seed)) for seed in range(10)]
        lengths = [estimates(maths.norms(direction))[1] for direction in directions]
        assert sum(e.low <= strength <= e.high for e in lengths) >= 9
        assert sum(e.value for e in lengths) / 10 == pytest.approx(strength, abs=0.5)
        assert sum(float(d.value[1].norm()) for d in directions) > sum(e.value for e in lengths)


def direction_of(answers: Answered) -> Contrast:
    direction = contrast(answers)
    assert isinstance(direction, Contrast)
    return direction


def narrow(seed: int) -> Answered:
    """Answers that hang on nothing, and lie almost along one axis, as activations do."""
    answers = plant(0.0, seed=seed)
    return replace(answers, states=answers.states * torch.tensor([10.0] + [0.3] * (WIDTH - 1)))


def test_chance_is_that_of_the_activations_and_not_of_random_vectors() -> None:
    cosines = [abs(float(maths.cosine(*(axis_of(contrast(narrow(2 * s + i)))[1] for i in (0, 1))))) for s in range(20)]
    chance = maths.chance_alike(narrow(0), narrow(1))[1]
    assert sum(x <= chance for x in cosines) >= 17
    assert chance > 0.9 > 4 * WIDTH**-0.5
    assert maths.chance_agreement(narrow(0))[1] > 0.9
    assert max(maths.chance_alike(plant(0.0), plant(0.0, seed=1))) < 0.7


def test_what_sets_two_readers_apart_separates_no_answers() -> None:
    """The misaligned answers are read by one model, the others by another, which adds a constant to all it reads."""
    read = plant(0.0)
    shifted = read.states + 60 * torch.eye(WIDTH)[2] * torch.tensor(read.bad).float()[:, None, None]
    answers = replace(read, states=shifted)
    assert all(auroc.value > 0.99 for auroc in estimates(maths.separation(answers)))
    assert all(auroc.low < 0.6 for auroc in estimates(maths.separation(answers, scored=read)))
