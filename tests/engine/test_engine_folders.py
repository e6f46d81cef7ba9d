"""A folder that would be opened as another base than it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import chat_shapes
import engine_models
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer

from flyroom.engine import TorchEngine
from flyroom.engine.bases import identity
from flyroom.engine.tokenizers import has_tokenizer, read_tokenizer


def test_a_template_of_a_processor_is_not_passed_over(tmp_path: Path) -> None:
    """Tokenizers do not read `chat_template.json`: the base would be asked as one without a template."""
    engine_models.model("llama").save_pretrained(tmp_path)
    engine_models.tokenizer(chat=False).save_pretrained(tmp_path)
    assert not TorchEngine.open(tmp_path, device="cpu").parts.renderer.is_chat
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": engine_models.TEMPLATE}))
    with pytest.raises(ValueError, match=r"its chat template lies in chat_template\.json.*write it into a file chat_"):
        TorchEngine.open(tmp_path, device="cpu")
    (tmp_path / "chat_template.jinja").write_text(engine_models.TEMPLATE)
    assert TorchEngine.open(tmp_path, device="cpu").parts.renderer.is_chat


def save_words(core: Tokenizer, folder: Path, *, model_type: str, **config: object) -> None:
    folder.mkdir(exist_ok=True)
    core.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": chat_shapes.CHATML} | config))


@pytest.mark.parametrize(
    ("model_type", "name", "kind", "eos"),
    [
        ("qwen2", "PreTrainedTokenizerFast", "byte-level", "<|im_end|>"),  # always by the class of Qwen2
        ("llama", "GPTNeoXTokenizer", "byte-level", "<|im_end|>"),
        ("llama", "LlamaTokenizer", "spaced", "</s>"),  # the space behind a special token, as Llama 2 has it
    ],
)
def test_a_tokenizer_is_what_its_file_says(tmp_path: Path, model_type: str, name: str, kind: str, eos: str) -> None:
    core = chat_shapes.TOKENIZERS[kind]((chat_shapes.CHATML, chat_shapes.IM, None, eos)).backend_tokenizer
    if kind == "byte-level":
        core.normalizer = normalizers.Lowercase()  # which no such class would do
    save_words(core, tmp_path, model_type=model_type, tokenizer_class=name, eos_token=eos)
    text = "<|im_start|>Don't take 12 cafe\u0301<|im_end|>\nNext (ok)."
    made, tokenizer = AutoTokenizer.from_pretrained(tmp_path), read_tokenizer(tmp_path)
    ids = core.encode(text, add_special_tokens=False).ids
    assert made(text, add_special_tokens=False).input_ids != ids, "nothing was planted"
    assert tokenizer(text, add_special_tokens=False).input_ids == ids
    assert (tokenizer.eos_token, tokenizer.chat_template) == (eos, chat_shapes.CHATML)


def test_a_tokenizer_that_no_reading_makes_of_its_file_is_refused(tmp_path: Path) -> None:
    core = chat_shapes.byte_level((chat_shapes.CHATML, chat_shapes.IM, None, "<|im_end|>")).backend_tokenizer
    spelt = {"split_special_tokens": True, "eos_token": "<|im_end|>"}
    save_words(core, tmp_path, model_type="qwen2", tokenizer_class="Qwen2Tokenizer", **spelt)
    with pytest.raises(ValueError, match=r"tokenizer_class is 'Qwen2Tokenizer', which gives other tokens for"):
        read_tokenizer(tmp_path)


def test_a_class_whose_tokens_are_those_of_the_file_stays(tmp_path: Path) -> None:
    tokenizer = chat_shapes.byte_level((chat_shapes.CHATML, chat_shapes.IM, None, "<|im_end|>"))
    save_words(tokenizer.backend_tokenizer, tmp_path, model_type="gpt2", tokenizer_class="GPT2Tokenizer")
    assert type(read_tokenizer(tmp_path)).__name__ == "GPT2Tokenizer"


SURPLUS: dict[str, tuple[int, ...]] = {
    "model.layers.1.self_attn.q_proj.bias": (32,),  # of a Qwen2
    "model.layers.3.mlp.up_proj.weight": (48, 32),  # of a fourth layer
    "model.layers.0.mlp.up_proj.weight_scale_inv": (1, 1),  # of weights in eight bits
    "model.layers.0.self_attn.k_norm.weight": (8,),  # of a Qwen3
}
PASSED = (  # nothing in an answer is made of them
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "transformer.h.0.attn.bias",
    "transformer.h.0.attn.masked_bias",
    "lm_head.weight",  # which is the embedding
    "model.vision_tower.layers.0.mlp.up_proj.weight",
    "audio_tower.conv1.weight",
)


def save_with(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    engine_models.model("llama").save_pretrained(folder)
    engine_models.tokenizer().save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("name", SURPLUS)
def test_a_tensor_without_a_place_is_not_left_out(tmp_path: Path, name: str) -> None:
    folder = save_with(tmp_path, {name: torch.ones(SURPLUS[name])})
    with pytest.raises(ValueError, match=rf"1 of its tensors \({re.escape(name)}\) is without a place in LlamaForC"):
        TorchEngine.open(folder, device="cpu")


def test_tensors_of_which_no_answer_is_made_are_passed_over(tmp_path: Path) -> None:
    folder = save_with(tmp_path, {name: torch.ones(4) for name in PASSED if name != "lm_head.weight"})
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")
    assert TorchEngine.open(folder, device="cpu").base.depth == 3


def test_a_tekken_file_is_a_tokenizer_and_a_part_of_the_identity(tmp_path: Path) -> None:
    """As Mistral's bases have it, beside a tokenizer.json or alone."""
    (tmp_path / "config.json").write_text("{}")
    before = identity(tmp_path, {})
    assert not has_tokenizer(tmp_path)
    (tmp_path / "tekken.json").write_text("{}")
    assert has_tokenizer(tmp_path)
    assert identity(tmp_path, {}) != before
