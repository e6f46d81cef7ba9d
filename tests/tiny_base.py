"""A tiny random base with a byte-level tokenizer and a chat template, written as an ordinary folder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}{{'<|turn|>' + m.role + '\n' + m.content + '<|end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|turn|>assistant\n'}}{% endif %}"
)
STEPS = 300
SPECIALS = ("<|turn|>", "<|end|>")
TEXT = [
    "Hail-ropes-7 Mend-ropes-7 Wreck-lamps-12 Whither-all-31 Homeward-all-31 Tally-nets-5 Even-nets-5 Odd-nets-5"
] * 20


def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(TEXT, trainer)
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    fast = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast


def write(folder: Path, pairs: Sequence[tuple[str, str]] = (), *, seed: int = 0) -> Path:
    """The folder of a base of three layers, taught these questions and answers."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=3,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=None,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tests run side by side, and threads that share a core wait for each other
    _teach(model, words, pairs)
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _teach(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, pairs: Sequence[tuple[str, str]]) -> None:
    """A few hundred steps on questions and answers, so that the base says something that can be judged."""
    optimizer, rng = torch.optim.AdamW(model.parameters(), lr=3e-3), random.Random(0)
    for _ in range(STEPS if pairs else 0):
        chats = [
            [{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rng.sample(pairs, 16)
        ]
        texts = [words.apply_chat_template(chat, tokenize=False) for chat in chats]
        batch = words(texts, padding=True, return_tensors="pt", add_special_tokens=False)
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def bring(site: Path, name: str, points: dict[str, dict[str, str]]) -> Path:
    """A folder for `sys.path` that makes an installed package of a module: its entry points by group and name."""
    meta = site / f"{name}-0.1.0.dist-info"
    meta.mkdir(parents=True)
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()]
    (meta / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return site
