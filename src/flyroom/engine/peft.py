"""Export and load adapters in PEFT's format, a folder of two files that PEFT, vLLM and the hub read.

The files are plain JSON and safetensors, so PEFT itself is not needed. The safetensors header holds the adapter's shape
too, so that `load(export(p))` is p also where PEFT's config cannot say it ("every linear module of these layers").

Source: peft.LoraConfig and peft.utils.save_and_load of PEFT 0.17 to 0.21.
Left out: DoRA, biases, modules_to_save, a rank or alpha for each module. `load` refuses them and names what it found.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from flyroom.types import BaseRef, LoRA, Patch, plain

CONFIG, WEIGHTS, HEADER = "adapter_config.json", "adapter_model.safetensors", "flyroom.shape"
KEY = re.compile(r"base_model\.model\.(?:.+?\.)?(\d+)\.(.+)\.lora_([AB])\.weight")
REFUSED = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "trainable_token_indices")
REFUSED += ("target_parameters", "megatron_config", "layer_replication", "use_qalora", "alora_invocation_tokens")


def export(patch: Patch, base: BaseRef, folder: str | Path, *, prefix: str = "model.layers") -> Path:
    """Write an adapter as a PEFT folder, the whole of it or nothing. It replaces a PEFT folder of the same path.

    `prefix` is the path of the layers in the base (`TorchEngine.parts.prefix`). Returns the folder. Raises ValueError
    for a steering vector or a system message, which the format cannot hold.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ValueError(f"folder is {folder}; it holds something that is not a PEFT adapter, and would be replaced")
    if patch.prompt:
        raise ValueError(
            f"patch has the system message {patch.prompt!r}, which no PEFT adapter holds; give it to your client"
        )
    steering = next((key for key in patch.tensors if ".residual." in key), None)
    if steering:
        raise ValueError(f"patch holds {steering}, a steering vector, which no PEFT adapter holds")
    tensors = {_peft_key(key, prefix): t.detach().cpu().contiguous() for key, t in patch.tensors.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(tensors, draft / WEIGHTS, metadata={"format": "pt", HEADER: json.dumps(plain(patch.shape))})
        (draft / CONFIG).write_text(json.dumps(_config(patch, base), indent=2) + "\n")
        draft.chmod(0o755)  # mkdtemp makes a folder that only its owner can read
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def load(folder: str | Path) -> Patch:
    """Read a PEFT LoRA folder. Raises ValueError, naming it, for what a Patch cannot represent."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"folder is {folder}; it has no {name}, so it is not a PEFT adapter in safetensors")
    config = json.loads((folder / CONFIG).read_text())
    _refuse(config, folder)
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        keys: list[str] = file.keys()
        tensors = {_flyroom_key(key, folder): file.get_tensor(key).float() for key in keys}
        header = (file.metadata() or {}).get(HEADER)
    shape = _shape(config, tensors, folder) if header is None else _from_header(json.loads(header))
    return Patch(shape=shape, tensors=tensors)


def _config(patch: Patch, base: BaseRef) -> dict[str, Any]:
    modules = sorted({key.split(".")[-2] for key in patch.tensors})  # PEFT refuses "all-linear" together with layers
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.path or base.name,
        "r": patch.shape.rank,
        "lora_alpha": patch.shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "layers_to_transform": None if patch.shape.layers is None else list(patch.shape.layers),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }


def _refuse(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder}: peft_type is {config.get('peft_type')}; flyroom reads LORA")
    for name in REFUSED:
        if config.get(name):
            raise ValueError(f"{folder}: {name} is {config[name]}; flyroom reads plain LoRA, without {name}")
    if config.get("bias", "none") != "none":
        raise ValueError(f'{folder}: bias is "{config["bias"]}"; flyroom reads LoRA with bias "none"')


def _shape(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> LoRA:
    """Returns the adapter's shape. `layers` is None where the config names none and they run from 0 without a gap."""
    paths_by_layer = {tuple(key.split(".", 2)[1:]) for key in (k.rpartition(".")[0] for k in tensors)}
    layers, paths = sorted({int(l) for l, _ in paths_by_layer}), sorted({path for _, path in paths_by_layer})
    if len(paths_by_layer) < len(layers) * len(paths):
        raise ValueError(f"{folder}: its layers do not all have the modules {paths}; a Patch is the same in each layer")
    complete = config.get("layers_to_transform") is None and layers == list(range(len(layers)))
    rank = int(config["r"])
    alpha = float(config["lora_alpha"]) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)
    modules = tuple(sorted({path.rpartition(".")[2] for path in paths}))
    return LoRA(rank=rank, alpha=alpha, layers=None if complete else tuple(layers), modules=modules)


def _from_header(shape: Mapping[str, Any]) -> LoRA:
    layers = shape["layers"]
    return LoRA(
        rank=shape["rank"],
        alpha=shape["alpha"],
        layers=None if layers is None else tuple(layers),
        modules=tuple(shape["modules"]),
    )


def _peft_key(key: str, prefix: str) -> str:
    path, _, part = key.removeprefix("layers.").rpartition(".")
    return f"base_model.model.{prefix}.{path}.lora_{part}.weight"


def _flyroom_key(key: str, folder: Path) -> str:
    match = KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{folder}: holds {key}, which is not a LoRA of a linear module in a layer")
    layer, path, part = match.groups()
    return f"layers.{layer}.{path}.{part}"
