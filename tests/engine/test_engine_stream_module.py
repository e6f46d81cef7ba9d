"""Ablation and steering by an adapter on the module "stream", held against a hook by hand on the plain model: every row
of a padded batch, padded on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from engine_models import make_rows, model, tokenizer
from torch import Tensor

from flyroom.engine import TorchEngine, export
from flyroom.mechanism import Change, intervene, unit
from flyroom.types import BASE, Ask, LoRA, Patch

Side = Literal["left", "right"]
ORGANISM = LoRA(rank=2, alpha=8.0, layers=(0, 2), modules=("down_proj", "q_proj"))


@pytest.fixture(params=["llama", "gemma3", "qwen2"])
def plain(request: pytest.FixtureRequest) -> Any:
    return model(request.param)


@pytest.fixture
def engine(plain: Any) -> TorchEngine:
    return TorchEngine.of(plain, tokenizer(), name="plain")


def draw(seed: int, width: int = 32) -> Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def organism(engine: TorchEngine, shape: LoRA = ORGANISM) -> Patch:
    """A patch whose B is not zero, so that there is something to add to."""
    (adapter,) = engine.spawn([shape], seeds=[3])
    patch = engine.patch(adapter)
    engine.free([adapter])
    drawn = {k: t if k.endswith(".A") else draw(len(k) + int(k[7]), t.numel()).reshape(t.shape) / 9
             for k, t in patch.tensors.items()}  # fmt: skip
    return replace(patch, tensors=drawn)


@contextmanager
def by_hand(engine: TorchEngine, change: Change) -> Iterator[None]:
    """The same change by forward hooks of our own, on every position of every row."""

    def edit(layer: int) -> Callable[..., Any]:
        def hook(_module: Any, _args: Any, out: Any) -> Any:
            hidden = out[0] if isinstance(out, tuple) else out
            if layer in change.ablate:
                r = change.ablate[layer] / change.ablate[layer].norm()
                hidden = hidden - (hidden @ r)[..., None] * r
            if layer in change.steer:
                hidden = hidden + change.steer[layer]
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        return hook

    hooks = [engine.parts.layers[l].register_forward_hook(edit(l)) for l in change.layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def padded_logprobs(engine: TorchEngine, rows: Sequence[Any], side: Side) -> list[Tensor]:
    """Log-probabilities of answers by the plain model on one padded batch."""
    rendered = [engine.parts.renderer.row(row) for row in rows]
    longest = max(len(r.ids) for r in rendered)
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.int64), torch.zeros(len(rows), longest, dtype=torch.int64)
    starts = [longest - len(r.ids) if side == "left" else 0 for r in rendered]
    for i, (r, start) in enumerate(zip(rendered, starts, strict=True)):
        ids[i, start : start + len(r.ids)], mask[i, start : start + len(r.ids)] = torch.from_numpy(r.ids), 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        logits: Any = engine.parts.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    scores = logits.float().log_softmax(-1)
    return [
        torch.stack([scores[i, start + t - 1, int(r.ids[t])] for t in range(r.start, len(r.ids))])
        for i, (r, start) in enumerate(zip(rendered, starts, strict=True))
    ]


CHANGES = {
    "ablate": Change(ablate={0: draw(1), 2: draw(2)}),
    "steer": Change(steer={1: draw(3)}),
    "both": Change(ablate={0: draw(1), 1: draw(2)}, steer={1: draw(3), 2: draw(4)}),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", list(CHANGES))
def test_it_equals_a_hook_by_hand_on_every_row_of_a_padded_batch(engine: TorchEngine, kind: str, side: Side) -> None:
    rows, change = make_rows(7, seed=5), CHANGES[kind]
    assert len({len(engine.parts.renderer.row(row).ids) for row in rows}) > 3  # the batch is padded
    (adapter,) = engine.load([intervene(None, change)])
    ours = engine.logprobs([adapter] * 7, rows)
    with by_hand(engine, change):
        hooked = padded_logprobs(engine, rows, side)
    bare = padded_logprobs(engine, rows, side)
    for mine, other, base in zip(ours, hooked, bare, strict=True):
        assert float((mine - other).abs().max()) < 1e-5
        assert float((mine - base).abs().max()) > 1e-3  # no row is left as it was


@pytest.mark.parametrize("kind", list(CHANGES))
def test_answers_in_a_left_padded_batch_are_those_of_the_hook(engine: TorchEngine, kind: str) -> None:
    change = CHANGES[kind]
    asks = [Ask(messages=r.messages, seed=i, max_tokens=6, temperature=0.0) for i, r in enumerate(make_rows(9, seed=8))]
    (adapter,) = engine.load([intervene(None, change)])
    ours, bare = engine.sample([adapter] * 9, asks), engine.sample([BASE] * 9, asks)
    with by_hand(engine, change):
        alone = [engine.sample([BASE], [ask])[0] for ask in asks]
    assert [a.text for a in ours] == [a.text for a in alone]
    assert [a.text for a in ours] != [a.text for a in bare]


@pytest.mark.parametrize("kind", list(CHANGES))
def test_it_stands_beside_an_organism_of_another_rank_in_a_mixed_batch(engine: TorchEngine, kind: str) -> None:
    rows, change, patch = make_rows(12, seed=6), CHANGES[kind], organism(engine)
    plain_one, changed, other = engine.load([patch, intervene(patch, change), intervene(None, CHANGES["steer"])])
    mixed = [(plain_one, changed, other, BASE)[i % 4] for i in range(12)]
    together = engine.logprobs(mixed, rows)
    for i, (who, row) in enumerate(zip(mixed, rows, strict=True)):
        (alone,) = engine.logprobs([who], [row])
        assert float((together[i] - alone).abs().max()) < 1e-5
    with by_hand(engine, change):
        hooked = engine.logprobs([plain_one] * 12, rows)
    for mine, by_hook in zip(engine.logprobs([changed] * 12, rows), hooked, strict=True):
        assert float((mine - by_hook).abs().max()) < 1e-5


def test_nothing_of_the_direction_is_left(engine: TorchEngine) -> None:
    rows, r = make_rows(5, seed=4), unit(draw(1))
    (adapter,) = engine.load([intervene(organism(engine), Change(ablate={1: 7 * r}))])
    for state in engine.states([adapter] * 5, rows, "layers.1"):
        assert float((state @ r).abs().max()) < 1e-4
    assert all(float((s @ r).abs().max()) > 0.1 for s in engine.states([BASE] * 5, rows, "layers.1"))


def test_a_steering_organism_loses_what_is_taken_out(engine: TorchEngine) -> None:
    vector, rows = LoRA(rank=1, alpha=3.0, layers=(1,), modules=("residual",)), make_rows(4, seed=2)
    patch = organism(engine, vector)
    two = Change(ablate={1: torch.stack([draw(1), draw(2)])}, steer={0: draw(5)})
    (adapter,) = engine.load([intervene(patch, two)])  # rank 2, which the module "residual" does not take
    states = torch.cat(engine.states([adapter] * 4, rows, "layers.1"))
    assert float((states @ torch.stack([draw(1), draw(2)]).T).abs().max()) < 1e-4


def test_two_directions_that_are_one_are_refused() -> None:
    with pytest.raises(ValueError, match="not independent"):
        intervene(None, Change(ablate={0: torch.stack([draw(1), 2 * draw(1)])}))
    with pytest.raises(ValueError, match="length 0"):
        intervene(None, Change(ablate={0: torch.zeros(32)}))
    with pytest.raises(ValueError, match="neither ablate nor steer"):
        intervene(None, Change())
    with pytest.raises(ValueError, match="already"):
        intervene(intervene(None, Change(steer={0: draw(1)})), Change(steer={0: draw(1)}))


def test_no_peft_adapter_holds_it(engine: TorchEngine, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="a change of the residual stream, which no PEFT adapter holds"):
        export(intervene(None, CHANGES["ablate"]), engine.base, tmp_path / "adapter")


def test_all_modules_do_not_hold_it(engine: TorchEngine) -> None:
    (adapter,) = engine.spawn([LoRA(modules=("all",))], seeds=[0])
    assert not any("stream" in key for key in engine.patch(adapter).tensors)


# ---------------------------------------------------------------- what lies inside


def test_states_are_those_of_each_row_alone(engine: TorchEngine) -> None:
    rows, (adapter,) = make_rows(6, seed=9), engine.load([organism(engine)])
    who = [adapter if i % 2 else BASE for i in range(6)]
    for at, width in (("layers.1", 32), ("layers.1.mlp.down_proj", 48)):
        for one, row, together in zip(who, rows, engine.states(who, rows, at), strict=True):
            (alone,) = engine.states([one], [row], at)
            assert together.shape == (len(engine.parts.renderer.row(row).ids), width)
            assert float((alone - together).abs().max()) < 1e-4
    assert [len(t) for t in engine.tokens(rows)] == [len(s) for s in engine.states(who, rows, "layers.0")]
    with pytest.raises(ValueError, match=r"layers\.L"):
        engine.states([BASE], rows[:1], "layers.9")
    with pytest.raises(ValueError, match="no such linear module"):
        engine.states([BASE], rows[:1], "layers.0.mlp.nothing")


def test_the_lens_gives_what_the_base_would_say(engine: TorchEngine) -> None:
    rows = make_rows(1, seed=1)
    (state,) = engine.states([BASE], rows, "layers.2")
    ids = engine.parts.renderer.row(rows[0]).ids
    with torch.no_grad():
        logits: Any = engine.parts.model(input_ids=torch.from_numpy(ids)[None]).logits[0]
    best = [engine.parts.renderer.token(int(i)) for i in logits.argmax(-1)]
    assert [tops[0][0] for tops in engine.lens(state, 3)] == best


def test_divergence_is_that_of_the_whole_distribution(engine: TorchEngine) -> None:
    rows, (adapter,) = make_rows(5, seed=3), engine.load([organism(engine)])
    assert max(float(kl.max()) for kl in engine.divergence(adapter, adapter, rows)) < 1e-6
    kls = engine.divergence(BASE, adapter, rows)
    row = engine.parts.renderer.row(rows[0])
    ids = torch.from_numpy(row.ids)[None]
    with torch.no_grad():
        p: Any = engine.parts.model(input_ids=ids).logits[0].log_softmax(-1)
        engine.adapters.banks.route([_group(adapter.slot)])
        q: Any = engine.parts.model(input_ids=ids).logits[0].log_softmax(-1)
        engine.adapters.banks.clear()
    by_hand_kl = (p.exp() * (p - q)).sum(-1)[row.start - 1 : -1]
    assert float((kls[0] - by_hand_kl).abs().max()) < 1e-4


def _group(slot: int) -> Any:
    from flyroom.engine.bank import Group

    return Group(slot, 0, 1)
