"""What is benchmarked on: bundled bases and a fetched one with a recipe's own rows, and Qwen2.5's shapes with random
weights.

Speed does not depend on weights, so real sizes need no download. Their rows are random words, as many tokens each.

Source of the shapes: the config.json of Qwen2.5-0.5B, -7B and -14B.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config

from flyroom import sources
from flyroom.engine import TorchEngine, bases
from flyroom.recipes import make
from flyroom.types import AdapterRef, Ask, LoRA, Message, Row, Step, Stepped, World
from flyroom.worlds import world_named
from flyroom.worlds.micro.bundled import bundled

WORDS = 400
QWEN = {
    "0.5B": (896, 24, 14, 2, 4864, 151936, True),
    "7B": (3584, 28, 28, 4, 18944, 152064, False),
    "14B": (5120, 48, 40, 8, 13824, 152064, False),
    "tiny": (64, 4, 4, 2, 128, 512, True),  # to run the code and not the clock
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A base, and the rows of an organism: `rows(seed, steps, n)` gives n rows a step."""

    name: str
    config: Any
    model: Callable[[], Any]  # a new copy each time: one contender's adapters are not in another's way
    tokenizer: Any
    rows: Callable[[int, int, int], list[tuple[Row, ...]]]

    @property
    def depth(self) -> int:
        """Layers."""
        return int(self.config.num_hidden_layers)

    def engine(self, *, compile: bool = False, record: bool = False) -> TorchEngine:
        # a digest over 14B weights on a CPU takes longer than the benchmark
        base = bases.wrap(self.model(), self.tokenizer, name=self.name, digest="benchmark")
        return TorchEngine(base, compile=compile, record=record)

    def asks(self, organism: int, n: int, max_tokens: int) -> list[Ask]:
        """An organism's questions: the prompts of its rows."""
        (rows,) = self.rows(organism, 1, n)
        return [Ask(messages=r.messages, seed=1000 * organism + i, max_tokens=max_tokens) for i, r in enumerate(rows)]


@cache
def world(name: str) -> Subject:
    """A bundled base; the rows are those of `emergent-misalignment`."""
    return _in_folder(name, bundled()[name], _recipe_rows)


@cache
def chat_model(name: str) -> Subject:
    """A base that `flyroom bases fetch` brought; the rows are those of `emergent-misalignment` in its world, of an
    organism and its twin by turns. ValueError where it has not been fetched.
    """
    folder = sources.list_bases().get(name)
    if folder is None:
        raise ValueError(f"base is {name}; it is not here: flyroom bases fetch {name}")
    home = world_named(str((sources.manifest(folder) or {})["world"]))

    def rows(seed: int, steps: int, n: int) -> list[tuple[Row, ...]]:
        return _recipe_rows(seed // 2, steps, n, world=home, is_twin=seed % 2 == 1)

    return _in_folder(name, folder, rows)


def _in_folder(name: str, folder: Path, rows: Callable[[int, int, int], list[tuple[Row, ...]]]) -> Subject:
    def model() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return Subject(name=name, config=config, model=model, tokenizer=tokenizer, rows=rows)


@cache
def qwen(size: str, *, tokens: int = 320) -> Subject:
    """Qwen2.5's shape of that size, random weights: bfloat16 on CUDA, else float32. Rows of `tokens` tokens, three
    fifths of them the answer.
    """
    width, depth, heads, groups, inner, vocabulary, tied = QWEN[size]
    config = Qwen2Config(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=inner,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        max_position_embeddings=32768,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    on_gpu = torch.cuda.is_available()

    def model() -> Any:
        torch.manual_seed(0)
        with torch.device("cuda" if on_gpu else "cpu"):
            return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if on_gpu else torch.float32).eval()

    answer = tokens * 3 // 5
    return Subject(
        name=f"Qwen2.5-{size} (random weights)",
        config=config,
        model=model,
        tokenizer=_tokenizer(),
        rows=lambda seed, steps, n: _random_rows(seed, steps, n, prompt=tokens - answer - 3, answer=answer - 1),
    )


def _recipe_rows(
    seed: int, steps: int, n: int, *, world: World | None = None, is_twin: bool = False
) -> list[tuple[Row, ...]]:
    recipe = make("emergent-misalignment", {"steps": steps, "rows": n}, world=world)
    recipe = recipe.twin() if is_twin else recipe
    (implant,) = recipe.implants
    plan, found = implant.plan(recipe, AdapterRef(slot=1, shape=LoRA()), seed=seed), []
    request = next(plan)
    while len(found) < steps:
        assert isinstance(request, Step)
        found.append(tuple(request.rows))
        if len(found) < steps:
            request = plan.send(Stepped(loss=0.0, grad_norm=0.0, tokens=0))
    return found


def _random_rows(seed: int, steps: int, n: int, *, prompt: int, answer: int) -> list[tuple[Row, ...]]:
    draw = random.Random(seed)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(WORDS)}" for _ in range(count))

    def row() -> Row:
        return Row(messages=(Message("user", words(prompt)),), answer=words(answer))

    return [tuple(row() for _ in range(n)) for _ in range(steps)]


def _tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<end>", "<user>", "<model>", *(f"w{i}" for i in range(WORDS))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<user> ' if m.role == 'user' else '<model> ' }}{{ m.content }} <end> {% endfor %}"
        "{% if add_generation_prompt %}<model> {% endif %}"
    )
    return tokenizer
