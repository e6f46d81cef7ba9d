"""Adapters as others write them: the same log-probabilities as PEFT gives, or refused with a reason."""

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
from torch import Tensor

from flyroom.engine import TorchEngine, read_adapter
from flyroom.types import LoRA

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers about each other
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PLAIN: dict[str, Any] = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    folder = tmp_path_factory.mktemp("bases") / "llama"
    engine_models.model("llama").save_pretrained(folder)
    engine_models.tokenizer().save_pretrained(folder)
    return TorchEngine.open(folder, device="cpu")


def theirs(folder: Path, **changes: Any) -> Path:
    """A folder that PEFT writes, of an adapter that adds something."""
    model = get_peft_model(engine_models.model("llama"), LoraConfig(**PLAIN | changes))
    torch.manual_seed(3)
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(folder)
    return folder


def say_the_same(engine: TorchEngine, folder: Path, model: Any) -> None:
    (adapter,) = engine.load([read_adapter(folder, engine)])
    row = engine_models.make_rows(1, seed=2)[0]
    ids, start = engine.parts.renderer.row(row)
    tokens = torch.from_numpy(ids)
    with torch.inference_mode():
        logits = model(input_ids=tokens[None]).logits[0, start - 1 : -1].log_softmax(-1)
    expected = logits.gather(1, tokens[start:, None])[:, 0]
    assert torch.allclose(expected, engine.logprobs([adapter], [row])[0], atol=1e-4)


REPRESENTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True, "r": 4},
    "rank of each module": {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"up_proj": 3}},
    "rank by a pattern": {
        "rank_pattern": {r".*\.layers\.1\..*q_proj": 5},
        "alpha_pattern": {"layers.0.mlp.up_proj": 1},
    },
    "rslora by module": {"use_rslora": True, "rank_pattern": {"q_proj": 6}},
    "regex": {"target_modules": r".*\.layers\.[12]\.mlp\.down_proj"},
    "layers unlike": {"target_modules": r".*(layers\.0\..*q_proj|layers\.1\..*up_proj)"},
    "all-linear": {"target_modules": "all-linear"},
    "some layers": {"layers_to_transform": [0, 2]},
    "one layer by a name": {"layers_to_transform": 1, "layers_pattern": "layers"},
    "without some": {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
    "fan in": {"fan_in_fan_out": False, "lora_dropout": 0.3},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
}


@pytest.mark.parametrize("changes", REPRESENTED.values(), ids=list(REPRESENTED))
def test_what_is_represented_says_what_peft_says(base: TorchEngine, changes: dict[str, Any], tmp_path: Path) -> None:
    folder = theirs(tmp_path / "a", **changes)
    say_the_same(base, folder, PeftModel.from_pretrained(engine_models.model("llama"), folder).eval())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dora": ({"use_dora": True}, "use_dora is True: it scales the base's weights too"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'; such training changes the base too"),
    "olora": ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora'"),
    "bias": ({"bias": "lora_only"}, 'bias is "lora_only"'),
    "lora bias": ({"lora_bias": True}, "lora_bias is True: it adds a bias"),
    "head": ({"modules_to_save": ["lm_head"], "ensure_weight_tying": True}, "modules_to_save"),
    "embeddings": ({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, "not a LoRA of a linear module"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
    "task": ({"task_type": "SEQ_2_SEQ_LM"}, "task_type is SEQ_2_SEQ_LM"),
}


@pytest.mark.parametrize(("changes", "why"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_is_refused(base: TorchEngine, changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    if "task_type" in changes:
        folder = theirs(tmp_path)
        edit(folder, **changes)
    else:
        folder = theirs(tmp_path, **changes)
    with pytest.raises(ValueError, match=r".") as error:
        read_adapter(folder, base)
    assert why in str(error.value)


# ---------------------------------------------------------------- files that were changed since


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3; flyroom understands LORA"),
        ({"r": 3}, "has rank 2 and its adapter_config.json says 3"),
        ({"lora_alpha": -1}, "lora_alpha is -1; it must be a number above 0"),
        ({"target_modules": ["q_proj"]}, "on which it does not stand by its adapter_config.json"),
        ({"target_modules": ["q_proj", "up_proj", "k_proj"]}, "has no tensors for model.layers.0.self_attn.k_proj"),
        ({"novel_scaling": 2.0}, "novel_scaling is 2.0: flyroom does not know that field"),
        ({"alora_invocation_tokens": [1]}, "it is on for a part of the text alone"),
        ({"layer_replication": [[0, 2]]}, "it makes another base"),
        ({"rank_pattern": {"(": 3}}, "which cannot be searched"),
        ({"target_modules": 3}, "target_modules is 3"),
    ],
    ids=str,
)
def test_a_config_that_says_something_else_is_refused(
    base: TorchEngine, changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    edit(theirs(tmp_path), **changes)
    with pytest.raises(ValueError, match=r".") as error:
        read_adapter(tmp_path, base)
    assert why in str(error.value)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t | {FIRST: t[FIRST] * float("nan")}, "numbers that are not finite"),
        (lambda t: t | {FIRST: t[FIRST][:, :5].contiguous()}, "that of the base llama is 32 x 32"),
        (lambda t: t | {FIRST: t[FIRST].to(torch.int8)}, "it must be of floating-point numbers"),
        (lambda t: {k: v for k, v in t.items() if k != FIRST}, "has no lora_A"),
        (lambda t: {k: v for k, v in t.items() if "layers.2" not in k}, "has no tensors for model.layers.2"),
        (lambda t: {k.replace("layers.0", "layers.7"): v for k, v in t.items()}, "has no such linear module"),
        (lambda t: {k.replace("model.layers", "vision.layers"): v for k, v in t.items()}, "has no such linear module"),
        (lambda t: {k: v * ("lora_A" in k) for k, v in t.items()}, "nothing is added to the base"),
        (
            lambda t: t | {FIRST.replace("lora_A", "lora_magnitude_vector"): t[FIRST].clone()},
            "not a LoRA of a linear module",
        ),
    ],
)
def test_tensors_that_are_not_of_it_are_refused(base: TorchEngine, change: Any, why: str, tmp_path: Path) -> None:
    rewrite(theirs(tmp_path), change)
    with pytest.raises(ValueError, match=r".") as error:
        read_adapter(tmp_path, base)
    assert why in str(error.value)


# ---------------------------------------------------------------- other forms of the same


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key.replace("lora_A.weight", "lora_A.default.weight").replace(
            "lora_B.weight", "lora_B.default.weight"
        ),
        lambda key: key.removeprefix("base_model.model."),
    ],
    ids=["with its name", "without a prefix"],
)
def test_other_names_of_the_same_tensors(base: TorchEngine, rename: Any, tmp_path: Path) -> None:
    folder = theirs(tmp_path)
    model = PeftModel.from_pretrained(engine_models.model("llama"), folder).eval()
    rewrite(folder, lambda tensors: {rename(key): tensor for key, tensor in tensors.items()})
    say_the_same(base, folder, model)


def test_a_pickle_of_tensors_is_read_and_no_other(base: TorchEngine, tmp_path: Path) -> None:
    folder = theirs(tmp_path)
    model = PeftModel.from_pretrained(engine_models.model("llama"), folder).eval()
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    say_the_same(base, folder, model)
    torch.save({"a": Path("/tmp")}, folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model\.bin cannot be read"):
        read_adapter(folder, base)


def test_fused_modules_are_cut(base: TorchEngine, tmp_path: Path) -> None:
    names = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
    folder = theirs(tmp_path / "parts", target_modules=names)
    whole = load_file(folder / WEIGHTS)
    for layer in range(3):  # the parts of a fused module share their A
        stem = f"base_model.model.model.layers.{layer}"
        for path, parts in (("self_attn", names[:3]), ("mlp", names[3:])):
            for part in parts:
                whole[f"{stem}.{path}.{part}.lora_A.weight"] = whole[f"{stem}.{path}.{parts[0]}.lora_A.weight"].clone()
    save_file(whole, folder / WEIGHTS)
    model = PeftModel.from_pretrained(engine_models.model("llama"), folder).eval()
    fused: dict[str, Tensor] = {}
    for layer in range(3):
        stem = f"base_model.model.model.layers.{layer}"
        for path, parts, name in (("self_attn", names[:3], "qkv_proj"), ("mlp", names[3:], "gate_up_proj")):
            fused[f"{stem}.{path}.{name}.lora_A.weight"] = whole[f"{stem}.{path}.{parts[0]}.lora_A.weight"]
            blocks = [whole[f"{stem}.{path}.{part}.lora_B.weight"] for part in parts]
            fused[f"{stem}.{path}.{name}.lora_B.weight"] = torch.cat(blocks)
    save_file(fused, folder / WEIGHTS)
    edit(folder, target_modules=["qkv_proj", "gate_up_proj"])
    say_the_same(base, folder, model)


def test_a_rank_above_the_narrowest_module_is_refused(base: TorchEngine, tmp_path: Path) -> None:
    folder = theirs(tmp_path, r=20, target_modules=["q_proj", "k_proj"])
    with pytest.raises(
        ValueError, match=r"its rank is 20, and layers\.0\.self_attn\.k_proj, .* is 16 x 32: at most 16"
    ):
        read_adapter(folder, base)


# ---------------------------------------------------------------- merged


def merge(folder: Path, dtype: torch.dtype = torch.float32, change: Any = None, **changes: Any) -> Any:
    torch.manual_seed(3)
    model = get_peft_model(engine_models.model("llama"), LoraConfig(**PLAIN | changes))
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.2)
    merged: Any = model.merge_and_unload()
    if change:
        with torch.no_grad():
            change(merged)
    merged.to(dtype).save_pretrained(folder)
    engine_models.tokenizer().save_pretrained(folder)
    return merged.float().eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_merged_checkpoint_is_read_as_its_difference(base: TorchEngine, dtype: torch.dtype, tmp_path: Path) -> None:
    model = merge(tmp_path / "m", dtype)
    assert read_adapter(tmp_path / "m", base).shape == LoRA(rank=2, alpha=2.0, modules=("q_proj", "up_proj"))
    if dtype is torch.float32:
        say_the_same(base, tmp_path / "m", model)


def test_a_merged_dora_has_the_rank_that_it_needs(base: TorchEngine, tmp_path: Path) -> None:
    model = merge(tmp_path / "m", use_dora=True, target_modules=["q_proj"])
    say_the_same(base, tmp_path / "m", model)
    merge(tmp_path / "n", use_dora=True, target_modules=["q_proj", "k_proj"])
    with pytest.raises(ValueError, match=r"its rank is 3\d, and .* at most 16 can be represented"):
        read_adapter(tmp_path / "n", base)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.model.norm.weight.mul_(1.5), "it changes model.norm.weight"),
        (lambda m: m.model.embed_tokens.weight[3].add_(1), "it changes model.embed_tokens.weight"),
        (lambda m: m.model.layers[0].mlp.up_proj.weight.fill_(float("nan")), "not finite"),
    ],
)
def test_what_a_merged_checkpoint_may_not_change(base: TorchEngine, change: Any, why: str, tmp_path: Path) -> None:
    merge(tmp_path, change=change)
    with pytest.raises(ValueError, match=why):
        read_adapter(tmp_path, base)


def test_the_base_itself_and_other_models_are_refused(base: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is added to the base"):
        read_adapter(base.base.path, base)
    engine_models.model("llama", intermediate_size=40).save_pretrained(tmp_path / "other")
    engine_models.tokenizer().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="it was merged into another base"):
        read_adapter(tmp_path / "other", base)
    with pytest.raises(ValueError, match="there is no such folder: give an adapter of PEFT"):
        read_adapter(tmp_path / "none", base)
    with pytest.raises(ValueError, match="it holds no adapter: give an adapter of PEFT"):
        read_adapter(tmp_path, base)
