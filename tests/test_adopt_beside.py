"""What lies beside an adapter, and what its tensors and its config are called: the same as PEFT, or refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parent / "engine"))

import engine_models
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from test_adopt_layouts import CONFIG, PLAIN, WEIGHTS, base, edit, merge, rewrite, say_the_same, theirs  # noqa: F401

from flyroom.engine import TorchEngine, notes_on, read_adapter

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers about each other


def tokenizer(folder: Path, change: Callable[[Any], object] = lambda _: None) -> None:
    words = engine_models.tokenizer()
    change(words)
    words.save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: setattr(t, "chat_template", "{{ messages[0].content }}"), "another chat template"),
        (lambda t: t.add_tokens(["<new>"]), "the token '<new>'"),
    ],
    ids=["template", "words"],
)
def test_a_tokenizer_of_other_turns_is_refused(
    base: TorchEngine,  # noqa: F811
    change: Any,
    why: str,
    tmp_path: Path,
) -> None:
    tokenizer(theirs(tmp_path), change)
    with pytest.raises(ValueError, match=rf"the tokenizer beside it has {why}.*give --base a folder of the base with"):
        read_adapter(tmp_path, base)


def test_the_bases_own_tokenizer_may_lie_beside_it(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path)
    tokenizer(folder, lambda t: t.add_special_tokens({"pad_token": "<padding>"}))  # which no row has
    assert read_adapter(folder, base).tensors
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="the tokenizer beside it cannot be read; take its files out"):
        read_adapter(folder, base)


def test_vectors_of_new_tokens_are_refused(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    save_file({"input_embeddings": torch.zeros(1, 32)}, theirs(tmp_path) / "new_embeddings.safetensors")
    with pytest.raises(ValueError, match="vectors of tokens that the base lacks"):
        read_adapter(tmp_path, base)


def test_a_config_that_names_another_base_is_said(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path)
    assert notes_on(folder, base) == []
    edit(folder, base_model_name_or_path="C:\\models\\LLAMA")
    assert notes_on(folder, base) == []
    edit(folder, base_model_name_or_path="someone/mistral")
    assert "names the base someone/mistral, and it is put on llama" in notes_on(folder, base)[0]
    assert notes_on(tmp_path / "merged", base) == []


def test_an_adapter_may_have_a_name_of_any_letters(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path)
    model = PeftModel.from_pretrained(engine_models.model("llama"), folder).eval()
    rewrite(folder, lambda tensors: {k.replace(".weight", ".my-own adapter.weight"): t for k, t in tensors.items()})
    say_the_same(base, folder, model)


def test_tensors_that_come_twice_are_refused(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    rewrite(theirs(tmp_path), lambda t: t | {k.removeprefix("base_model.model."): 2 * v for k, v in t.items()})
    with pytest.raises(ValueError, match=r"lora_A of model\.layers\.0\.\S+ comes twice"):
        read_adapter(tmp_path, base)


def test_an_adapter_a_folder_below_is_named(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    model = get_peft_model(engine_models.model("llama"), LoraConfig(**PLAIN), adapter_name="mine")
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="it holds no adapter; there is one in each of mine"):
        read_adapter(tmp_path, base)
    (tmp_path / "lora.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"lora\.gguf; that is a file: give an adapter of PEFT"):
        read_adapter(tmp_path / "lora.gguf", base)
    (tmp_path / CONFIG).write_text(json.dumps({"num_layers": 2, "lora_parameters": {"rank": 2}}))
    with pytest.raises(ValueError, match="peft_type is None; without one it is no config of PEFT"):
        read_adapter(tmp_path, base)


def test_eva_has_a_rank_for_each_module(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    """Its start spreads the ranks by the variance of what goes in; afterwards it is a LoRA like any other."""
    from peft import EvaConfig, initialize_lora_eva_weights

    eva = {"init_lora_weights": "eva", "eva_config": EvaConfig(rho=2.0), "r": 3, "target_modules": ["q_proj", "v_proj"]}
    model = get_peft_model(engine_models.model("llama"), LoraConfig(**PLAIN | eva))
    torch.manual_seed(0)
    batches = [{"input_ids": torch.randint(8, 90, (4, 12)), "attention_mask": torch.ones(4, 12).long()}] * 4
    initialize_lora_eva_weights(model, batches, show_progress_bar=False)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["rank_pattern"]
    say_the_same(base, tmp_path, PeftModel.from_pretrained(engine_models.model("llama"), tmp_path).eval())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_halves_are_read_as_peft_reads_them(base: TorchEngine, dtype: torch.dtype, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path)
    rewrite(folder, lambda tensors: {key: tensor.to(dtype) for key, tensor in tensors.items()})
    say_the_same(base, folder, PeftModel.from_pretrained(engine_models.model("llama"), folder).eval())
    if dtype is torch.float16:
        save_file({key: tensor * 1e6 for key, tensor in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
        with pytest.raises(ValueError, match="holds numbers that are not finite"):
            read_adapter(folder, base)


# ---------------------------------------------------------------- merged


def test_a_merged_checkpoint_needs_no_tokenizer(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    """As `save_pretrained` of the model alone leaves it; the base's own is taken."""
    model = merge(tmp_path)
    for file in tmp_path.glob("*token*"):
        file.unlink()
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    say_the_same(base, tmp_path, model)


def test_a_changed_vocabulary_is_named_by_its_tensor(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    model = engine_models.model("llama")
    model.resize_token_embeddings(128)
    model.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"its model\.embed_tokens\.weight is 128 x 32, and that of llama is 100 x 32"):
        read_adapter(tmp_path, base)
