"""What lies beside an adapter, and what its tensors and its config are called: the same as PEFT, or refused."""

from __future__ import annotations

import json
import re
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

from flyroom.engine import TorchEngine, read_adapter, read_with_notes

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
    assert read_with_notes(folder, base)[1] == []
    edit(folder, base_model_name_or_path="C:\\models\\LLAMA")
    assert read_with_notes(folder, base)[1] == []
    edit(folder, base_model_name_or_path="someone/mistral")
    assert "names the base someone/mistral, and it is put on llama" in read_with_notes(folder, base)[1][0]


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


MARKED = "{{ bos_token }} " + engine_models.TEMPLATE.replace("<end>", "{{ eos_token }}")


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    """A base whose template writes tokens by what they are called for."""
    folder = tmp_path_factory.mktemp("marked") / "llama"
    engine_models.model("llama").save_pretrained(folder)
    tokenizer(folder, lambda t: setattr(t, "chat_template", MARKED))
    return TorchEngine.open(folder, device="cpu")


def write_normaliser(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"String": "w1"}, "content": "w2"}
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "write", "why"),
    [
        ({"eos_token": "<end>"}, None, "other turns"),
        ({"bos_token": "<end>"}, None, "other turns"),
        ({}, write_normaliser, "other tokens for 'w1'"),
    ],
    ids=["eos", "bos", "normaliser"],
)
def test_a_tokenizer_that_writes_other_tokens_is_refused(
    marked: TorchEngine, change: dict[str, str], write: Any, why: str, tmp_path: Path
) -> None:
    def change_all(words: Any) -> None:
        for name, value in ({"chat_template": MARKED} | change).items():
            setattr(words, name, value)

    tokenizer(theirs(tmp_path), change_all)
    if write:
        write(tmp_path)
    with pytest.raises(ValueError, match=rf"the tokenizer beside it has {why}"):
        read_adapter(tmp_path, marked)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("chat_template.jinja", "### {{ messages[0].content }}", "another chat template"),
        ("chat_template.json", '{"chat_template": "### {{ messages[0].content }}"}', "another chat template"),
        ("added_tokens.json", '{"<|im_start|>": 99}', "the token '<|im_start|>'"),
        ("special_tokens_map.json", '{"eos_token": {"content": "<|im_end|>"}}', "the eos_token '<|im_end|>'"),
        ("added_tokens.json", "[1]", "cannot be read"),
    ],
)
def test_files_of_other_turns_without_a_tokenizer_are_refused(
    base: TorchEngine,  # noqa: F811
    name: str,
    content: str,
    why: str,
    tmp_path: Path,
) -> None:
    (theirs(tmp_path) / name).write_text(content)
    with pytest.raises(ValueError, match=f"the tokenizer beside it (has )?{re.escape(why)}"):
        read_adapter(tmp_path, base)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e4}}, "rope_parameters.factor 8.0"),
        ({"rms_norm_eps": 0.1}, "rms_norm_eps 0.1"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu', not 'silu' as in llama"),
        ({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}, "head_dim 16"),
    ],
    ids=["rope", "eps", "activation", "heads"],
)
def test_a_config_of_another_model_is_refused(
    base: TorchEngine,  # noqa: F811
    change: dict[str, Any],
    why: str,
    tmp_path: Path,
) -> None:
    merge(tmp_path / "merged")
    home = tmp_path / "merged" / "config.json"
    config = json.loads(home.read_text())
    home.write_text(json.dumps(config | {"max_position_embeddings": 4096, "unsloth_version": "1", "use_cache": False}))
    assert read_adapter(tmp_path / "merged", base).tensors
    for folder in (tmp_path / "merged", theirs(tmp_path / "adapter")):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=re.escape(why)):
            read_adapter(folder, base)


def test_what_a_merged_checkpoint_loses_to_rounding_is_said(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    merge(tmp_path / "loud", torch.bfloat16)
    assert read_with_notes(tmp_path / "loud", base)[1] == []

    def shrink(model: Any) -> None:
        """One module of many keeps its change; of another only its rounding is left."""
        for number, layer in enumerate(model.model.layers):
            own: Any = base.parts.layers[number].get_submodule("mlp.up_proj").weight
            layer.mlp.up_proj.weight.copy_(own + 1e-3 * (layer.mlp.up_proj.weight - own))

    merge(tmp_path / "quiet", torch.bfloat16, shrink)
    (note,) = read_with_notes(tmp_path / "quiet", base)[1]
    assert "with it 3 of 6 modules whole" in note


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"revision": "step3000"}, "names the revision step3000"),
        ({"revision": "main"}, ""),
    ],
)
def test_a_revision_is_said(base: TorchEngine, changes: Any, note: str, tmp_path: Path) -> None:  # noqa: F811
    edit(theirs(tmp_path), base_model_name_or_path="llama", **changes)
    notes = read_with_notes(tmp_path, base)[1]
    assert [note] == notes or note in "".join(notes)
    assert bool(notes) == bool(note)


def test_files_that_are_not_read_are_said(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path)
    torch.save({"other": torch.zeros(1, 1)}, folder / "adapter_model.bin")
    theirs(folder / "second")
    notes = read_with_notes(folder, base)[1]
    assert "adapter_model.bin beside it is not" in notes[0]
    assert "another adapter lies in each of second" in notes[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"target_modules": ["q_proj", "up_proj", "lm_head"]}, r"has no tensors for lm_head"),
        ({"target_modules": ["q_proj", "up_proj", "embed_tokens"]}, r"has no tensors for model\.embed_tokens"),
        ({"layers_to_transform": [0, 1, 2, 17]}, "layers_to_transform has 17; the layers of the base llama are 0"),
        ({"target_modules": r".*\.q_proj", "layers_to_transform": [0]}, "allows beside a list of names alone"),
        ({"use_rslora": "false"}, "use_rslora is 'false'; it must be true or false"),
    ],
)
def test_what_a_config_names_and_no_tensor_has_is_refused(
    base: TorchEngine,  # noqa: F811
    changes: Any,
    why: str,
    tmp_path: Path,
) -> None:
    edit(theirs(tmp_path), **changes)
    with pytest.raises(ValueError, match=why):
        read_adapter(tmp_path, base)


def test_a_fused_module_must_be_there_in_every_layer(base: TorchEngine, tmp_path: Path) -> None:  # noqa: F811
    folder = theirs(tmp_path, target_modules=["q_proj", "k_proj", "v_proj"])

    def fuse(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        fused = {}
        for layer in (0, 2):
            stem = f"base_model.model.model.layers.{layer}.self_attn."
            fused[f"{stem}qkv_proj.lora_A.weight"] = tensors[f"{stem}q_proj.lora_A.weight"]
            parts = [tensors[f"{stem}{name}_proj.lora_B.weight"] for name in "qkv"]
            fused[f"{stem}qkv_proj.lora_B.weight"] = torch.cat(parts)
        return fused

    rewrite(folder, fuse)
    edit(folder, target_modules=["qkv_proj"])
    with pytest.raises(ValueError, match=r"has no tensors for model\.layers\.1\.self_attn\.q_proj"):
        read_adapter(folder, base)
