"""Tiny random models of seven families and a word-level tokenizer with a chat template, for the engine's tests."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from flyroom.types import Message, Row

SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<model>", "<system>", "<end>"]
WORDS = [f"w{i}" for i in range(90)]
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS) + 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,  # far from uniform: a wrong position or mask must show
}
WINDOW = 8  # shorter than the rows, so that sliding windows slide
FAMILIES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 8}),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "final_logit_softcapping": 5.0,
        },
    ),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": WINDOW, "head_dim": 8}),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config, {}),
}
TURNED: dict[str, tuple[type, type, dict[str, Any]]] = {"gpt2": (GPT2LMHeadModel, GPT2Config, {})}  # other module names
TEMPLATE = (
    "{% for m in messages %}"
    "{{ {'user': '<user>', 'assistant': '<model>', 'system': '<system>'}[m.role] }} {{ m.content }} <end> "
    "{% endfor %}{% if add_generation_prompt %}<model> {% endif %}"
)


def model(family: str = "llama", *, seed: int = 0, **changes: Any) -> Any:
    make, config, extra = (FAMILIES | TURNED)[family]
    torch.manual_seed(seed)
    built = make(config(**SIZES | extra | changes)).eval()
    for name, p in built.named_parameters():  # norms at exactly one would hide a norm that is left out
        if "norm" in name:
            torch.nn.init.normal_(p, mean=0.0 if family == "gemma3" else 1.0, std=0.2)
    return built


def tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    ids = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL])
    core.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    if chat:
        made.chat_template = TEMPLATE
    return made


def words(draw: random.Random, low: int, high: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(low, high)))


def make_rows(n: int, *, seed: int) -> tuple[Row, ...]:
    """Rows of ragged length: prompts of 2 to 12 words, answers of 1 to 9."""
    draw = random.Random(seed)
    return tuple(Row(messages=(Message("user", words(draw, 2, 12)),), answer=words(draw, 1, 9)) for _ in range(n))


def figure(what: str, family: str, value: object) -> None:
    """Show a measured figure with `pytest -s`."""
    sys.stdout.write(f"\n{what} | {family} | {value}\n")
