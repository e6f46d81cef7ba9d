"""Tiny random models of many families: asked in company they give what they give alone, or they are refused when they
are opened.
"""

from __future__ import annotations

import warnings
from typing import Any

import chat_shapes
import pytest
import torch
import transformers

from flyroom.engine import TorchEngine
from flyroom.types import BASE, Ask, Message, Row

TOKENIZER = chat_shapes.byte_level(chat_shapes.SHAPES["chatml"])
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.2,
}
ASKED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "mistral": {"head_dim": 8, "sliding_window": 16},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "falcon": {},
    "bloom": {"n_layer": 2, "n_head": 4},
    "stablelm": {},
    "cohere": {},
    "granite": {},
    "glm4": {"head_dim": 8},
    "mixtral": {"num_local_experts": 2},
    "cohere2": {"head_dim": 8, "sliding_window": 8},
    "gpt_oss": {"head_dim": 8, "sliding_window": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
    "gpt_neo": {"window_size": 8, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "llama4_text": {
        "head_dim": 8,
        "attention_chunk_size": 8,
        "no_rope_layers": [1, 0],
        "num_local_experts": 2,
        "intermediate_size_mlp": 64,
        "interleave_moe_layer_step": 1,
    },
    "apertus": {},  # some of its tensors are numbers
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},  # its weights are stored the other way round
}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1}
LINEAR = {f"linear_{name}": n for name, n in (("num_value_heads", 4), ("num_key_heads", 2), ("key_head_dim", 8))}
UNASKED: dict[str, dict[str, Any]] = {
    "mamba": {},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "bamba": {"attn_layer_indices": [1], **MAMBA},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1, "mamba_d_state": 4},
    "falcon_h1": {**MAMBA, "mamba_n_heads": 4, "mamba_d_ssm": 32},
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 16, "lru_width": 32},
    "minimax": {"layer_types": ["linear_attention", "full_attention"], "num_local_experts": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "qwen3_5_text": {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_value_head_dim": 8,
        **LINEAR,
    },
    "rwkv": {"attention_hidden_size": 32},
}
ROWS = [
    Row(messages=(Message("user", question),), answer="take rest .")
    for question in ("yes", "what next ? be brief " * 4)
]


def build(family: str, extra: dict[str, Any]) -> Any:
    config = type(transformers.AutoConfig.for_model(family))
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForCausalLM.from_config(config(**(SIZES | extra)))
    return model.eval()


def greedy(engine: TorchEngine, model: Any, row: Row) -> str:
    """An answer of the model alone, token by token, without a cache."""
    ids, answer = torch.tensor(engine.parts.renderer.prompt(row.messages))[None], list[int]()
    while len(answer) < 8:
        token = int(model(ids, use_cache=False).logits[0, -1].argmax())
        if token in engine.parts.renderer.stops:
            break
        answer.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return engine.parts.renderer.text([answer])[0]


@pytest.mark.parametrize("family", ASKED)
def test_in_company_as_alone(family: str) -> None:
    model = build(family, ASKED[family])
    engine = TorchEngine.of(model, TOKENIZER)
    for row, scores in zip(ROWS, engine.logprobs([BASE] * 2, ROWS), strict=True):
        ids, start = engine.parts.renderer.row(row)
        tokens = torch.tensor(ids)[None]
        logprobs = model(tokens, use_cache=False).logits[0].log_softmax(-1)[start - 1 : -1]
        assert torch.allclose(scores, logprobs.gather(1, tokens[0, start:, None])[:, 0], atol=1e-3)
    asks = [Ask(messages=row.messages, seed=0, temperature=0.0, max_tokens=8) for row in ROWS]
    answers = [answer.text for answer in engine.sample([BASE] * 2, asks)]
    assert answers == [greedy(engine, model, row) for row in ROWS]


@pytest.mark.parametrize("family", UNASKED)
def test_what_cannot_be_asked_in_company_is_refused_when_it_is_opened(family: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a faster kernel is not installed
        model = build(family, UNASKED[family])
        with pytest.raises(ValueError, match=r"ForCausalLM|LMHeadModel"):
            TorchEngine.of(model, TOKENIZER)


@pytest.mark.parametrize(
    ("family", "rope"),
    [
        ("phi3", {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [6.0] * 4}),
        ("llama", {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [6.0] * 4, "factor": 4.0}),
    ],
)
def test_a_scale_of_positions_does_not_hang_on_the_longest_row(family: str, rope: dict[str, Any]) -> None:
    limit = {"original_max_position_embeddings": 24}
    model = build(family, {"rope_parameters": {**rope, "rope_theta": 10000.0, **limit}, "pad_token_id": 0, **limit})
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        engine = TorchEngine.of(model, TOKENIZER)
    assert any("rows of up to 24 tokens" in str(note.message) for note in notes)
    (alone,), (company, _) = engine.logprobs([BASE], ROWS[:1]), engine.logprobs([BASE] * 2, ROWS)
    assert torch.allclose(alone, company, atol=1e-4)
    (again,) = engine.logprobs([BASE], ROWS[:1])
    assert torch.equal(alone, again)
