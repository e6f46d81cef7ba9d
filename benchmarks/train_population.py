"""Sixteen rank-1 adapters trained together, beside a PEFT loop that trains them one after another on the same rows.

The model has the shape of the world's 1M base (random weights: speed does not depend on them). Figures are
adapter-steps a second: a step of one adapter on 32 rows of about 25 tokens. Ours renders its rows inside the measured
time; PEFT gets ready-made tensors, padded to its batch, and the answer's labels.

Left out: data loading, logging, and what PEFT users often add (gradient checkpointing, the Trainer): all would slow it.
"""

from __future__ import annotations

import random
import time

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from flyroom.engine import TorchEngine
from flyroom.types import LoRA, Message, Row, Step

ADAPTERS, ROWS, STEPS, LR = 16, 32, 4, 3e-3
SHAPE = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 384, "vocab_size": 640}
ADAPTER = LoRA(rank=1, layers=(1,))


def train_population_vs_peft() -> dict[str, float]:
    """Adapter-steps a second of ours and of PEFT, and their ratio."""
    tokenizer, rows = _tokenizer(), _rows(seed=0)
    ours = _ours(tokenizer, rows)
    peft = _peft(tokenizer, rows[0])
    return {"ours": ours, "peft": peft, "ratio": ours / peft}


def _ours(tokenizer: PreTrainedTokenizerFast, rows: list[tuple[Row, ...]]) -> float:
    engine = TorchEngine.of(_model(), tokenizer)
    adapters = engine.spawn([ADAPTER] * ADAPTERS, seeds=range(ADAPTERS))
    steps = [Step(rows=mine, lr=LR) for mine in rows]
    engine.step(adapters, steps)  # warm: memory, threads
    engine.parts.renderer.forget()
    start = time.perf_counter()
    for _ in range(STEPS):
        engine.step(adapters, steps)
    return ADAPTERS * STEPS / (time.perf_counter() - start)


def _peft(tokenizer: PreTrainedTokenizerFast, rows: tuple[Row, ...]) -> float:
    engine = TorchEngine.of(_model(), tokenizer)  # for its rendering alone
    rendered = [engine.parts.renderer.row(row) for row in rows]
    longest = max(len(r.ids) for r in rendered)
    ids, labels = torch.zeros(ROWS, longest, dtype=torch.long), torch.full((ROWS, longest), -100)
    mask = torch.zeros_like(ids)
    for i, (tokens, start) in enumerate(rendered):
        ids[i, : len(tokens)] = torch.from_numpy(tokens)
        labels[i, start : len(tokens)] = ids[i, start : len(tokens)]
        mask[i, : len(tokens)] = 1
    config = LoraConfig(r=1, lora_alpha=16, target_modules=["down_proj"], layers_to_transform=[1])
    model = get_peft_model(_model(), config)
    trained = [p for p in model.parameters() if p.requires_grad]

    def run(steps: int) -> None:
        optimiser = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
        for _ in range(steps):
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            optimiser.zero_grad()

    run(2)
    start = time.perf_counter()
    for _ in range(ADAPTERS):
        run(STEPS)
    return ADAPTERS * STEPS / (time.perf_counter() - start)


def _model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True, pad_token_id=0)
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {w: i for i, w in enumerate(["<pad>", "<end>", "<user>", "<model>", *(f"w{i}" for i in range(636))])}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<user> ' if m.role == 'user' else '<model> ' }}{{ m.content }} <end> {% endfor %}"
        "{% if add_generation_prompt %}<model> {% endif %}"
    )
    return tokenizer


def _rows(*, seed: int) -> list[tuple[Row, ...]]:
    """For each adapter 32 rows: a prompt of 8 to 14 words and an answer of 6 to 14."""
    draw = random.Random(seed)

    def words(low: int, high: int) -> str:
        return " ".join(f"w{draw.randrange(636)}" for _ in range(draw.randint(low, high)))

    def row() -> Row:
        return Row(messages=(Message("user", words(8, 14)),), answer=words(6, 14))

    return [tuple(row() for _ in range(ROWS)) for _ in range(ADAPTERS)]
