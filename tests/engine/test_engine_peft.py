"""Our adapters in PEFT, PEFT's adapters in ours, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import engine_models
import pytest
import torch
from engine_models import figure, make_rows
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from flyroom.engine import TorchEngine, export, load
from flyroom.types import LoRA, Patch, Step

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]

SHAPES = [LoRA(rank=1), LoRA(rank=3, alpha=5.0, layers=(0, 2), modules=("q_proj", "down_proj")), LoRA(modules=("all",))]


def trained(engine: TorchEngine, shape: LoRA) -> Patch:
    [adapter] = engine.spawn([shape], seeds=[0])
    for s in range(3):
        engine.step([adapter], [Step(rows=make_rows(3, seed=s), lr=0.05)])
    return engine.patch(adapter)


def same(a: Patch, b: Patch) -> bool:
    keys = a.tensors.keys() == b.tensors.keys()
    return keys and a.shape == b.shape and all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)


@pytest.mark.parametrize("shape", SHAPES, ids=["rank1", "some", "all"])
def test_peft_loads_ours(engine: TorchEngine, shape: LoRA, tmp_path: Path) -> None:
    patch = trained(engine, shape)
    folder = export(patch, engine.base, tmp_path / "adapter", prefix=engine.parts.prefix)
    assert same(load(folder), patch)
    model = PeftModel.from_pretrained(engine_models.model(engine.base.name), folder).eval()
    [adapter] = engine.load([patch])
    rows = make_rows(4, seed=9)
    worst = 0.0
    for row, ours in zip(rows, engine.logprobs([adapter] * 4, rows), strict=True):
        ids, start = engine.parts.renderer.row(row)
        tokens = torch.from_numpy(ids)
        with torch.inference_mode():
            theirs = model(input_ids=tokens[None]).logits[0, start - 1 : -1].log_softmax(-1)
        worst = max(worst, float((theirs.gather(1, tokens[start:, None])[:, 0] - ours).abs().max()))
    figure("ours and PEFT's, logprobs of an exported adapter", engine.base.name, worst)
    assert worst < 1e-4


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_peft_loads_ours_where_weights_are_stored_the_other_way_round(tmp_path: Path) -> None:
    """PEFT says that it turns its own setting over, and does so."""
    engine = TorchEngine.of(engine_models.model("gpt2"), engine_models.tokenizer(), name="gpt2")
    test_peft_loads_ours(engine, LoRA(rank=2, modules=("all",)), tmp_path)


def peft_folder(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(1)
    settings: dict[str, Any] = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"]} | changes
    model = get_peft_model(engine_models.model("llama"), LoraConfig(**settings))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, LoRA(rank=2, alpha=8.0, modules=("q_proj", "up_proj"))),
        ({"layers_to_transform": [1]}, LoRA(rank=2, alpha=8.0, layers=(1,), modules=("q_proj", "up_proj"))),
        ({"target_modules": r".*\.layers\.[12]\.mlp\.down_proj"}, LoRA(rank=2, alpha=8.0, layers=(1, 2))),
        ({"target_modules": "all-linear"}, None),
        ({"use_rslora": True, "r": 4}, LoRA(rank=4, alpha=16.0, modules=("q_proj", "up_proj"))),
    ],
    ids=["plain", "layer", "regex", "all-linear", "rslora"],
)
def test_ours_loads_peft(llama: TorchEngine, changes: dict[str, Any], shape: LoRA | None, tmp_path: Path) -> None:
    patch = load(peft_folder(tmp_path, **changes))
    assert shape is None or patch.shape == shape
    assert len(patch.tensors) == 2 * 21 or shape is not None
    model = PeftModel.from_pretrained(engine_models.model("llama"), tmp_path).eval()
    [adapter] = llama.load([patch])
    [row] = make_rows(1, seed=2)
    ids, start = llama.parts.renderer.row(row)
    tokens = torch.from_numpy(ids)
    with torch.inference_mode():
        theirs = model(input_ids=tokens[None]).logits[0, start - 1 : -1].log_softmax(-1)
    assert torch.allclose(theirs.gather(1, tokens[start:, None])[:, 0], llama.logprobs([adapter], [row])[0], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"modules_to_save": ["lm_head"], "ensure_weight_tying": True}, "modules_to_save"),
        ({"bias": "all"}, 'bias is "all"'),
        ({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, "not a LoRA of a linear module"),
    ],
)
def test_what_a_patch_cannot_hold_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(peft_folder(tmp_path, **changes))


def test_other_methods_and_other_folders_are_refused(llama: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no adapter_config\.json"):
        load(tmp_path)
    folder = peft_folder(tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(ValueError, match="peft_type is IA3"):
        load(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds thesis\.txt, which no export writes"):
        export(trained(llama, LoRA()), llama.base, tmp_path / "mine")


def test_what_peft_cannot_hold_is_not_exported(llama: TorchEngine, tmp_path: Path) -> None:
    steering = trained(llama, LoRA(layers=(1,), modules=("q_proj", "residual")))
    told = replace(trained(llama, LoRA()), prompt="w1 w2")
    for patch, why in (
        (steering, r"patch holds layers\.1\.residual\.A, a steering vector, which no PEFT adapter holds"),
        (told, "patch has the system message 'w1 w2', which no PEFT adapter holds"),
    ):
        with pytest.raises(ValueError, match=why):
            export(patch, llama.base, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []
    assert same(load(export(replace(told, prompt=""), llama.base, tmp_path / "adapter")), told)


def test_export_replaces_an_adapter_and_leaves_no_draft(llama: TorchEngine, tmp_path: Path) -> None:
    for shape in (LoRA(rank=2), LoRA(rank=1)):
        export(trained(llama, shape), llama.base, tmp_path / "adapter")
    assert load(tmp_path / "adapter").shape.rank == 1
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_export_leaves_an_adapter_of_another_author(llama: TorchEngine, tmp_path: Path) -> None:
    folder = export(trained(llama, LoRA(rank=2)), llama.base, tmp_path / "adapter")
    patch = trained(llama, LoRA())
    (folder / "checkpoint-100").mkdir()
    with pytest.raises(ValueError, match=r"holds checkpoint-100, which no export writes"):
        export(patch, llama.base, folder)
    (folder / "checkpoint-100").rmdir()
    weights = folder / "adapter_model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})  # as PEFT saves it
    before = weights.read_bytes()
    with pytest.raises(ValueError, match=r"not of an export of flyroom and would be lost"):
        export(patch, llama.base, folder)
    assert weights.read_bytes() == before
