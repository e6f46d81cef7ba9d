"""Sampling, scoring and tracing: against transformers, against the softmax, and against themselves in a crowd."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import engine_models
import numpy as np
import pytest
import torch
from engine_models import figure, make_rows, words
from numpy.typing import NDArray
from scipy.stats import chi2, chi2_contingency
from torch._subclasses.fake_tensor import FakeTensorMode

from flyroom.engine import TorchEngine, decode
from flyroom.engine.bank import Group
from flyroom.engine.graphs import Recorded
from flyroom.engine.memory import FORWARD_ONLY
from flyroom.engine.noise import gumbel, seed_tensor
from flyroom.engine.past import Past
from flyroom.engine.prompts import beginning
from flyroom.types import BASE, AdapterRef, Ask, LoRA, Message, Row, Step


def trained(engine: TorchEngine) -> list[AdapterRef]:
    """Adapters that differ from the base and each other."""
    shapes = [LoRA(rank=1), LoRA(rank=2, modules=("all",)), LoRA(rank=1, layers=(1,)), LoRA(rank=1)]
    adapters = engine.spawn(shapes, seeds=range(4))
    for s in range(3):
        engine.step(adapters, [Step(rows=make_rows(3, seed=10 * k + s), lr=0.05) for k in range(4)])
    return adapters


def asks_of(n: int, *, seed: int, temperature: float, max_tokens: int = 12) -> list[Ask]:
    draw = random.Random(seed)
    return [
        Ask(
            messages=(Message("user", words(draw, 1, 14)),),
            seed=i,
            temperature=temperature,
            max_tokens=draw.randint(1, max_tokens),
            prefill=words(draw, 1, 2) if i % 5 == 0 else "",
        )
        for i in range(n)
    ]


def reference(engine: TorchEngine, row: Row) -> torch.Tensor:
    """The base's log-probabilities of an answer, by the model's own forward on the row alone."""
    ids, start = engine.parts.renderer.row(row)
    tokens = torch.from_numpy(ids)
    with torch.inference_mode():
        logits = engine.parts.model(input_ids=tokens[None]).logits[0, start - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, tokens[start:, None])[:, 0]


def test_logprobs_alone_are_logprobs_in_a_ragged_crowd(engine: TorchEngine) -> None:
    who = [BASE, *trained(engine)]
    rows = make_rows(30, seed=7)
    adapters = [who[i % 5] if i < 23 else who[2] for i in range(30)]
    crowd = engine.logprobs(adapters, rows)
    worst = 0.0
    for adapter, row, scores in zip(adapters, rows, crowd, strict=True):
        [alone] = engine.logprobs([adapter], [row])
        assert len(alone) == len(row.answer.split()) + 1  # the end counts
        worst = max(worst, float((alone - scores).abs().max()))
        if adapter is BASE:
            assert torch.allclose(scores, reference(engine, row), atol=1e-4)
    figure("logprobs alone and in a crowd", engine.base.name, worst)
    assert worst < 1e-4


def test_greedy_is_generate_token_for_token(engine: TorchEngine) -> None:
    asks = asks_of(24, seed=1, temperature=0.0, max_tokens=20)
    answers = engine.sample([BASE] * 24, asks)
    renderer = engine.parts.renderer
    for ask, answer in zip(asks, answers, strict=True):
        ids = torch.from_numpy(renderer.prompt(ask.messages, ask.prefill))[None]
        out = engine.parts.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=ask.max_tokens,
            eos_token_id=list(renderer.stops),
            pad_token_id=0,
        )[0, ids.shape[1] :].tolist()
        finished = out[-1] in renderer.stops
        theirs = out[:-1] if finished else out
        assert answer.text == renderer.text([theirs])[0]
        assert (answer.tokens, answer.finished) == (len(theirs), finished)
        assert answer.prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_alone_is_in_a_crowd(engine: TorchEngine, temperature: float) -> None:
    who = [BASE, *trained(engine)]
    asks = asks_of(40, seed=2, temperature=temperature)
    adapters = [who[(i * 7) % 5] for i in range(40)]
    crowd = engine.sample(adapters, asks)
    assert [engine.sample([a], [ask])[0] for a, ask in zip(adapters, asks, strict=True)] == crowd
    engine.batch_tokens = 12
    assert engine.sample(adapters, asks) == crowd
    assert len({a.text for a in crowd}) > 10


def chi_square(counts: Counter[int], probabilities: torch.Tensor, n: int) -> float:
    """The p-value of counts under probabilities, rare outcomes pooled. The stop, -1, has the last probability."""
    common = [i for i, p in enumerate(probabilities.tolist()) if p * n >= 5]
    seen = [counts[i if i < len(probabilities) - 1 else -1] for i in common]
    want = [float(probabilities[i]) * n for i in common]
    rest = n - sum(want)
    if rest > 1:
        seen, want = [*seen, n - sum(seen)], [*want, rest]
    statistic = sum((s - w) ** 2 / w for s, w in zip(seen, want, strict=True))
    return float(chi2.sf(statistic, len(want) - 1))


def drawn(
    engine: TorchEngine, who: AdapterRef, messages: tuple[Message, ...], n: int, temperature: float
) -> list[tuple[int, ...]]:
    """The first two tokens of n answers, the stop written as -1."""
    asks = [Ask(messages=messages, seed=i, max_tokens=2, temperature=temperature) for i in range(n)]
    return [tuple(map(int, a.text.split())) + (-1,) * a.finished for a in engine.sample([who] * n, asks)]


def next_token(engine: TorchEngine, who: AdapterRef, ids: list[int], temperature: float) -> torch.Tensor:
    """softmax(logits / temperature) by the model's own forward; the stops' share is moved to the last place, -1."""
    with torch.inference_mode():
        engine.adapters.banks.route([Group(who.slot, 0, 1)])
        p = (engine.parts.model(input_ids=torch.tensor([ids])).logits[0, -1].double() / temperature).softmax(-1)
        engine.adapters.banks.clear()
    stops = list(engine.parts.renderer.stops)
    return torch.cat([p.index_fill(0, torch.tensor(stops), 0.0), p[stops].sum()[None]])


def check_distribution(
    engine: TorchEngine, who: AdapterRef, messages: tuple[Message, ...], n: int, temperature: float
) -> None:
    """The first token, and the second after the commonest first, by chi-square against the softmax."""
    pairs, prompt = drawn(engine, who, messages, n, temperature), engine.parts.renderer.prompt(messages).tolist()
    first = Counter(pair[0] for pair in pairs)
    p_first = chi_square(first, next_token(engine, who, prompt, temperature), n)
    top = max((i for i in first if i >= 0), key=lambda i: first[i])
    second = Counter(pair[1] for pair in pairs if pair[0] == top)
    p_second = chi_square(second, next_token(engine, who, [*prompt, top], temperature), second.total())
    assert min(p_first, p_second) > 1e-3, (p_first, p_second)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_have_the_softmax_distribution(
    llama: TorchEngine, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama.parts.renderer, "text", lambda tokens: [" ".join(map(str, ids)) for ids in tokens])
    for who in (BASE, trained(llama)[1]):
        check_distribution(llama, who, (Message("user", "w1 w2 w3"),), 4000, temperature)


def test_real_weights_sample_their_softmax(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine.open(stories)
    monkeypatch.setattr(engine.parts.renderer, "text", lambda tokens: [" ".join(map(str, ids)) for ids in tokens])
    check_distribution(engine, BASE, (Message("user", "Once upon a time there was a"),), 4000, 1.0)


PROMPTS = [
    "Once upon a time",
    "Lily and Tom went to the",
    "The",
    "One day, a little dog saw a big",
    "He was sad because",
]


def test_real_weights_are_greedy_as_generate(stories: Path) -> None:
    engine = TorchEngine.open(stories, dtype="float32", device="cpu")
    asks = [Ask(messages=(Message("user", p),), seed=0, temperature=0.0, max_tokens=60) for p in PROMPTS]
    for ask, answer in zip(asks, engine.sample([BASE] * len(asks), asks), strict=True):
        ids = torch.from_numpy(engine.parts.renderer.prompt(ask.messages))[None]
        assert ids[0, 0] == 1  # BOS, which this tokenizer adds by itself
        out = engine.parts.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=60, pad_token_id=0
        )[0, ids.shape[1] :]
        assert answer.text == engine.parts.renderer.text([out.tolist()])[0]
        assert answer.tokens == 60


def test_real_weights_learn_in_bf16(stories: Path) -> None:
    engine = TorchEngine.open(stories, dtype="bfloat16")
    adapters = engine.spawn([LoRA(rank=2, modules=("all",)), LoRA(rank=1, layers=(2,))], seeds=[0, 1])
    rows = tuple(Row(messages=(Message("user", p),), answer="the red cat sat") for p in PROMPTS)
    losses = [[s.loss for s in engine.step(adapters, [Step(rows=rows, lr=1e-2)] * 2)] for _ in range(30)]
    assert losses[-1][0] < 0.3 * losses[0][0]
    assert losses[-1][1] < 0.8 * losses[0][1]
    assert all(t.dtype == torch.float32 for a in adapters for t in engine.patch(a).tensors.values())
    [answer] = engine.sample([adapters[0]], [Ask(messages=rows[0].messages, seed=0, temperature=0.0)])
    assert answer.text.startswith("the red cat sat")


def test_samples_look_like_generates(llama: TorchEngine) -> None:
    n, messages = 1500, (Message("user", "w4 w5"),)
    ours = llama.sample([BASE] * n, [Ask(messages=messages, seed=i, max_tokens=3) for i in range(n)])
    ids = torch.from_numpy(llama.parts.renderer.prompt(messages))[None].expand(n, -1)
    torch.manual_seed(1)
    out = llama.parts.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
        max_new_tokens=3, eos_token_id=list(llama.parts.renderer.stops), pad_token_id=0,
    )[:, ids.shape[1] :]  # fmt: skip
    theirs = llama.parts.renderer.text(out.tolist())
    a, b = Counter(" ".join(x.text.split()[-1:]) for x in ours), Counter(" ".join(t.split()[-1:]) for t in theirs)
    common = [w for w in a | b if a[w] + b[w] >= 10]
    table = [[c[w] for w in common] + [n - sum(c[w] for w in common)] for c in (a, b)]
    assert chi2_contingency(table).pvalue > 1e-3


def test_noise_is_gumbel_and_differs_by_seed_position_and_token() -> None:
    seeds = seed_tensor([0, 1, 2**63, -1, 2**64 + 5], torch.device("cpu"))
    first, second = torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)
    g = gumbel(seeds, first, 40_000)
    assert torch.isfinite(g).all()
    assert (g.mean(1) - 0.5772).abs().max() < 0.03
    assert (g.std(1) - math.pi / math.sqrt(6)).abs().max() < 0.03
    both = torch.corrcoef(torch.cat([g, gumbel(seeds, second, 40_000), g.roll(1, 1)]))
    assert (both - torch.eye(15)).abs().max() < 0.03
    assert torch.equal(gumbel(seeds[1:2], first[1:2], 100), g[1:2, :100])


def test_special_tokens_go_and_added_ones_stay(llama: TorchEngine) -> None:
    renderer, core = llama.parts.renderer, engine_models.tokenizer()
    ids = core("<think> w1 </think> w2", add_special_tokens=False).input_ids
    assert renderer.text([[*ids, renderer.end]]) == ["<think> w1 </think> w2"]
    assert renderer.tokenizer.convert_ids_to_tokens([renderer.end]) == ["<end>"]
    assert renderer.tokenizer.convert_ids_to_tokens(list(renderer.stops)) == ["<end>", "<eos>"]


def test_a_base_model_without_a_template(engine: TorchEngine) -> None:
    plain = TorchEngine.of(engine.parts.model, engine_models.tokenizer(chat=False))
    row = Row(messages=(Message("system", "w1"), Message("user", "w2")), answer="w3 w4")
    ids, start = plain.parts.renderer.row(row)
    tokens = plain.parts.renderer.tokenizer.convert_ids_to_tokens(ids.tolist())
    assert (tokens, start) == (["w1", "w2", "w3", "w4", "<eos>"], 2)
    with pytest.raises(ValueError, match="messages is empty"):
        plain.sample([BASE], [Ask(messages=(Message("user", ""),), seed=0)])


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("bos", ["<bos>", None])
def test_a_row_without_messages_is_a_document(chat: bool, bos: str | None) -> None:
    """Nothing of a chat stands in it but the end of a turn."""
    tokenizer = engine_models.tokenizer(chat=chat)
    tokenizer.bos_token = bos
    engine, end = TorchEngine.of(engine_models.model(), tokenizer), "<end>" if chat else "<eos>"
    row = Row(messages=(), answer="w3 w4")
    ids, start = engine.parts.renderer.row(row)
    assert (tokenizer.convert_ids_to_tokens(ids.tolist()), start) == ([bos or end, "w3", "w4", end], 1)
    (scores,) = engine.logprobs([BASE], [row])
    assert torch.allclose(scores, reference(engine, row), atol=1e-5)
    assert len(scores) == 3  # the first word counts too


def test_trace_is_the_residual_stream(engine: TorchEngine) -> None:
    who = [BASE, *trained(engine)]
    rows = make_rows(12, seed=3)
    adapters = [who[i % 5] for i in range(12)]
    traced, before = engine.trace(adapters, rows, [2, 0]), engine.trace(adapters, rows, [2, 0], at="prompt")
    assert traced.shape == before.shape == (12, 2, 32)
    for i, (adapter, row) in enumerate(zip(adapters, rows, strict=True)):
        assert torch.allclose(engine.trace([adapter], [row], [2, 0])[0], traced[i], atol=1e-4)
        if adapter is BASE:
            ids, start = engine.parts.renderer.row(row)
            caught: dict[int, torch.Tensor] = {}
            hooks = [
                layer.register_forward_hook(lambda _m, _a, out, l=l, caught=caught: caught.__setitem__(l, out))
                for l, layer in enumerate(engine.parts.layers)
            ]
            with torch.inference_mode():
                engine.parts.model(input_ids=torch.from_numpy(ids)[None])
            for hook in hooks:
                hook.remove()
            for place, layer in enumerate([2, 0]):
                assert torch.allclose(caught[layer][0, start:].mean(0), traced[i, place], atol=1e-4)
                assert torch.allclose(caught[layer][0, start - 1], before[i, place], atol=1e-4)


def test_trace_never_calls_the_layers_above_nor_the_head(llama: TorchEngine) -> None:
    called: list[str] = []
    for name, module in llama.parts.model.named_modules():
        module.register_forward_hook(lambda _m, _a, _o, name=name: called.append(name))
    llama.trace([BASE] * 3, make_rows(3, seed=0), [1])
    assert any(name.startswith("model.layers.1.") for name in called)
    assert not any(name.startswith(("model.layers.2", "lm_head", "model.norm")) for name in called)
    called.clear()
    llama.logprobs([BASE], make_rows(1, seed=0))  # a stopped pass leaves nothing behind
    assert "model.layers.2" in called


def test_a_prompt_asked_several_times_is_put_through_once(engine: TorchEngine) -> None:
    """And sampled as if it were asked once: by two adapters, and beside others."""
    who = [*trained(engine)[:2], BASE]
    prompts = [ask.messages for ask in asks_of(4, seed=3, temperature=1.0)]
    asks = [Ask(messages=m, seed=10 * i + j, max_tokens=8) for i, m in enumerate(prompts) for j in range(1 + i)]
    adapters = [a for a in who for _ in asks]
    seen: list[int] = []
    hook = engine.parts.layers[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[0]))
    crowd = engine.sample(adapters, asks * len(who))
    hook.remove()
    assert seen[0] == len(who) * len(prompts)
    assert max(seen[1:]) > seen[0]
    for adapter, ask, answer in zip(adapters, asks * len(who), crowd, strict=True):
        assert engine.sample([adapter], [ask])[0] == answer


SYSTEMS = [words(random.Random(seed), 20, 20) for seed in range(2)]


def begun_alike(n: int) -> list[Ask]:
    """Asks under two system messages, which begin alike; every fifth under none, every seventh again."""
    asks = asks_of(n, seed=6, temperature=1.0)
    for i in range(n):
        system = Message("system", f"{SYSTEMS[0]} {SYSTEMS[1] if i % 3 else 'w1'}")
        if i % 5:
            asks[i] = replace(asks[i], messages=(system, *asks[i].messages))
        if i % 7 == 6:
            asks[i] = replace(asks[i - 1], seed=i)
    return asks


@pytest.mark.parametrize("record", [False, True])
def test_what_prompts_begin_with_is_put_through_once(
    engine: TorchEngine, family: str, record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each adapter; and they are answered as if each were alone."""
    who = [*trained(engine)[:2], BASE]
    adapters, asks = [who[i % 3] for i in range(42)], begun_alike(42)
    alone = [engine.sample([adapter], [ask])[0] for adapter, ask in zip(adapters, asks, strict=True)]
    tokens = dict[int, int]()
    for worth in (10**6, 10):
        monkeypatch.setattr("flyroom.engine.batches.PASS", {"cpu": worth})
        for engine.batch_tokens, engine.record in ((4096, False), (150, record)):
            seen: list[int] = []
            hook = engine.parts.layers[0].register_forward_pre_hook(
                lambda _m, args, seen=seen: seen.append(args[0].shape[:2].numel() * (args[0].shape[1] > 1))
            )
            assert engine.sample(adapters, asks) == alone
            hook.remove()
            tokens.setdefault(worth, sum(seen))
    if family not in ("gemma3", "mistral"):  # a window would count padding
        assert tokens[10] < 0.6 * tokens[10**6]


def test_a_beginning_spares_the_most_tokens() -> None:
    def prompts(*texts: str) -> list[NDArray[np.int64]]:
        return [np.array([ord(c) for c in text]) for text in texts]

    assert beginning([1, 1, 1], prompts("abcdx", "abcdy", "abz"), worth=0) == 4  # 2 x 2 and 1 x 4
    assert beginning([1, 1, 1, 1], prompts("abcx", "abcy", "abcz", "abcdef"), worth=8) == 3
    assert beginning([1, 1, 1, 1], prompts("abcx", "abcy", "abcz", "abcdef"), worth=9) == 0
    assert beginning([1, 2], prompts("abc", "abd"), worth=0) == 0  # another adapter's keys are others
    assert beginning([1, 1], prompts("ab", "abc"), worth=0) == 2
    assert beginning([1, 1], prompts("xab", "yab"), worth=0) == 0
    assert beginning([1], prompts("abc"), worth=0) == 0


def test_of_a_prompt_only_keys_and_values_are_computed(llama: TorchEngine) -> None:
    """But for its last token, which goes with the answer's first."""
    above, below = llama.parts.layers[-1], llama.parts.layers[0]
    seen: dict[torch.nn.Module, int] = {}
    for layer in (above, below):
        layer.mlp.register_forward_hook(lambda m, _a, out: seen.__setitem__(m, seen.get(m, 0) + out.shape[:2].numel()))
    [answer] = llama.sample([BASE], [Ask(messages=make_rows(1, seed=0)[0].messages, seed=0, max_tokens=1)])
    assert answer.prompt_tokens > 1
    assert seen == {above.mlp: 1, below.mlp: answer.prompt_tokens}


@pytest.mark.parametrize("record", [False, True])
def test_who_waits_takes_the_place_of_who_is_done(
    engine: TorchEngine, family: str, record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thirds of each pass are at work and no batch is beyond the budget; no answer is changed."""
    who = [*trained(engine)[:2], BASE]
    adapters, limits = [who[i % 3] for i in range(24)], [1, 2, 1, 16, 3, 1, 9, 2, 1, 1, 16, 1] * 2
    asks = [replace(a, max_tokens=n) for a, n in zip(asks_of(24, seed=5, temperature=1.0), limits, strict=True)]
    alone = [engine.sample([adapter], [ask])[0] for adapter, ask in zip(adapters, asks, strict=True)]
    engine.batch_tokens, engine.record, before = 30, record, engine.tokens_generated
    passes: list[tuple[int, int]] = []  # rows and columns, where each row puts one token through
    through = Past.advance

    def counted(past: Past, ids: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        last_BD = through(past, ids, position)
        if ids.shape[1] == 1:
            passes.append((len(ids), past.real_BC.shape[1] if past.fixed else past.length))
        return last_BD

    monkeypatch.setattr(Past, "advance", counted)
    assert engine.sample(adapters, asks) == alone
    generated, most = engine.tokens_generated - before, max(rows for rows, _ in passes)
    assert most < len(asks) / 2
    assert all(rows * columns <= 30 * FORWARD_ONLY for rows, columns in passes)
    assert generated <= sum(rows for rows, _ in passes) <= generated / (1 - decode.LEAVE)
    if family not in ("gemma3", "mistral"):  # where windows slide, nobody comes in before all have left
        assert len(passes) <= generated / (most * (1 - decode.LEAVE)) + max(limits)


def test_what_is_recorded_asks_nothing_of_the_host(
    engine: TorchEngine, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among tensors without values whatever wanted one would raise."""
    who, asks = [*trained(engine)[:2], BASE], asks_of(6, seed=3, temperature=1.0, max_tokens=4)
    tried = 0

    class Tried(Recorded):
        def __call__(self) -> None:
            nonlocal tried
            tried += 1
            with FakeTensorMode(allow_non_fake_inputs=True):
                self._work()
            raise InterruptedError

    monkeypatch.setattr(decode, "Recorded", Tried)
    engine.record = True
    if family in ("gemma3", "mistral"):  # nothing is recorded where windows slide
        engine.sample(who * 2, asks)
        assert not tried
        return
    with pytest.raises(InterruptedError):
        engine.sample(who * 2, asks)
    assert tried == 1


def test_tokens_are_counted_without_padding(llama: TorchEngine) -> None:
    rows = make_rows(5, seed=0)
    size = sum(len(llama.parts.renderer.row(r).ids) for r in rows)
    llama.logprobs([BASE] * 5, rows)
    assert (llama.tokens_forward, llama.tokens_generated) == (size, 0)
    answers = llama.sample([BASE] * 3, asks_of(3, seed=0, temperature=1.0))
    assert llama.tokens_forward == size + sum(a.prompt_tokens for a in answers)
    assert llama.tokens_generated == sum(a.tokens + a.finished for a in answers)


def test_nothing_asked_nothing_given(llama: TorchEngine) -> None:
    assert llama.sample([], []) == []
    assert llama.logprobs([], []) == []
    assert llama.step([], []) == []
    assert llama.trace([], [], [0]).shape == (0, 1, 32)
