"""Export and load adapters in PEFT's format, a folder of two files that PEFT, vLLM and the hub read.

The files are plain JSON and safetensors, so PEFT itself is not needed. The safetensors header holds the adapter's shape
too, so that `load(export(p))` is p also where PEFT's config cannot say it ("every linear module of these layers").

Adapters of others are read by the same call: what the config means stands in `peft_config`, names and pairs of tensors
in `peft_tensors`, and how unlike modules become one patch in `uniform`.

Source: peft.LoraConfig and peft.utils.save_and_load of PEFT 0.17 to 0.21.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flyroom.engine.bank import OF_LAYERS, RESIDUAL
from flyroom.engine.bases import Base
from flyroom.engine.peft_config import CONFIG, Settings, read_config
from flyroom.engine.peft_place import HEADER, require_place
from flyroom.engine.peft_tensors import FUSED, WEIGHTS, Product, pair_tensors, read_tensors, split_fused
from flyroom.engine.uniform import make_uniform
from flyroom.types import BaseRef, LoRA, Patch, plain
from flyroom.whole import replace_folder

MARK = "flyroom.mark"  # beside HEADER in the metadata of the tensors
LAYER = re.compile(r"(?:(.+?)\.)?(\d+)\.(.+)")  # the path of the layers, the number, the rest


def export(
    patch: Patch,
    base: BaseRef,
    folder: str | Path,
    *,
    prefix: str = "model.layers",
    mark: Mapping[str, Any] | None = None,
    finish: Callable[[Path], object] | None = None,
    beside: Collection[str] = (),
) -> Path:
    """Write an adapter as a PEFT folder, the whole of it or nothing. It replaces an earlier export of the same path.

    Args: prefix, the path of the layers in the base (`TorchEngine.parts.prefix`); mark, JSON that says what the adapter
    is, for its config and the metadata of its tensors; finish, called with the folder before it takes its place, so
    that what it writes beside the adapter is there from the first moment; beside, the patterns of those files. Returns
    the folder. Raises ValueError for a steering vector or a system message, which the format cannot hold, and for a
    folder that holds anything but an export.
    """
    folder = Path(folder)
    check_exportable(patch, folder, beside)
    tensors = {_peft_key(key, prefix): t.detach().cpu().contiguous() for key, t in patch.tensors.items()}
    metadata = {"format": "pt", HEADER: json.dumps(plain(patch.shape))}
    metadata |= {MARK: json.dumps(mark)} if mark else {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(tensors, draft / WEIGHTS, metadata=metadata)
        config = _config(patch, base) | ({"auto_mapping": mark} if mark else {})
        (draft / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        if finish is not None:
            finish(draft)
        draft.chmod(0o755)  # mkdtemp makes a folder that only its owner can read
        replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def check_exportable(patch: Patch, folder: Path, beside: Collection[str] = ()) -> None:
    """Raises ValueError where `export` would refuse."""
    require_place(folder, beside)
    if patch.prompt:
        raise ValueError(
            f"patch has the system message {patch.prompt!r}, which no PEFT adapter holds; give it to your client"
        )
    steering = next((key for key in patch.tensors if key.split(".")[2] in OF_LAYERS), None)
    if steering:
        what = "a steering vector" if f".{RESIDUAL}." in steering else "a change of the residual stream"
        raise ValueError(f"patch holds {steering}, {what}, which no PEFT adapter holds")


def load(folder: str | Path, base: Base | None = None) -> Patch:
    """Read a PEFT LoRA folder, whoever wrote it. Raises ValueError, naming folder and field, for what a Patch cannot
    represent exactly (`peft_config.UNDERSTOOD` is what it can), and where config and tensors do not agree.

    With a `base`, tensors on fused modules are cut, and the adapter is held against the base's modules: none that the
    base lacks, and none missing that the config names.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"folder is {folder}; it has no {CONFIG}, so it is not a PEFT adapter")
    settings, tensors = read_config(folder), read_tensors(folder)
    pairs = pair_tensors(tensors, folder)
    products = {module: pair._replace(alpha=settings.alpha_of(module)) for module, pair in pairs.items()}
    for module, product in products.items():
        _check_rank(module, product, settings)
    if base is None:
        by_path, sizes, depth = _cut_prefix(products, folder), None, None
    else:
        sizes, depth = list_sizes(base), base.ref.depth
        by_path = _fit(products, settings, base, sizes)
    header = _read_header(folder, settings)
    if header is not None:
        return Patch(shape=header, tensors=_as_tensors(by_path))
    return make_uniform(by_path, sizes or _infer_sizes(by_path), depth=depth, where=str(folder))


def list_sizes(base: Base) -> dict[str, tuple[int, int]]:
    """(in, out) of every linear module on which an adapter can stand, by path: "layers.0.mlp.down_proj"."""
    return {
        f"layers.{l}.{name}": (module.in_features, module.out_features)
        for l, layer in enumerate(base.layers)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and f"layers.{l}.{name}" not in base.streams.choices
    }


def _check_rank(module: str, product: Product, settings: Settings) -> None:
    if not settings.covers(module):
        raise ValueError(
            f"{settings.folder}: holds tensors for {module}, on which it does not stand by its {CONFIG}: the two are "
            "not of one adapter"
        )
    if product.rank != settings.rank_of(module):
        raise ValueError(
            f"{settings.folder}: {module} has rank {product.rank} and its {CONFIG} says {settings.rank_of(module)}: "
            "the two are not of one adapter"
        )


def _cut_prefix(products: Mapping[str, Product], folder: Path) -> dict[str, Product]:
    """The products by path in the layers, wherever these lie in a base that nobody has opened."""
    by_path: dict[str, Product] = {}
    prefixes: set[str] = set()
    for module, product in products.items():
        match = LAYER.fullmatch(module)
        if match is None:
            raise ValueError(f"{folder}: holds tensors for {module}, which is not a linear module in a layer")
        prefixes.add(match[1])
        by_path[f"layers.{match[2]}.{match[3]}"] = product
    if len(prefixes) > 1:
        raise ValueError(f"{folder}: stands on layers of several models ({', '.join(sorted(prefixes))}); one is read")
    return by_path


def _infer_sizes(products: Mapping[str, Product]) -> dict[str, tuple[int, int]]:
    """Of every module in every layer that the adapter stands on, taken for alike in all of them."""
    numbers = sorted({int(path.split(".")[1]) for path in products})
    by_name = {path.split(".", 2)[2]: product.size for path, product in products.items()}
    return {f"layers.{number}.{name}": size for number in numbers for name, size in by_name.items()}


def _fit(
    products: Mapping[str, Product], settings: Settings, base: Base, sizes: Mapping[str, tuple[int, int]]
) -> dict[str, Product]:
    """The products by path in the layers of this base. ValueError unless they are those that the config names."""
    full = {path.replace("layers", base.prefix, 1): path for path in sizes}
    folder, name = settings.folder, base.ref.name
    pieces = split_fused(products, {module: sizes[path] for module, path in full.items()}, folder)
    strange = next((module for module in pieces if module not in full), None)
    if strange is not None:
        raise ValueError(f"{folder}: holds tensors for {strange}; the base {name} has no such linear module in a layer")
    for module, product in pieces.items():
        if product.size != sizes[full[module]]:
            raise ValueError(
                f"{folder}: its {module} is {product.size[1]} x {product.size[0]}; that of the base {name} is "
                f"{sizes[full[module]][1]} x {sizes[full[module]][0]}"
            )
    _check_layers(settings, base)
    fused = {module.rpartition(".")[2] for module in products} & FUSED.keys()
    missing = next((module for module in _covered(full, settings, base, fused) if module not in pieces), None)
    if missing is not None:
        raise ValueError(f"{folder}: has no tensors for {missing}, on which it stands by its {CONFIG}")
    return {full[module]: product for module, product in pieces.items()}


def _check_layers(settings: Settings, base: Base) -> None:
    strange = [number for number in settings.layers or () if not 0 <= number < base.ref.depth]
    if strange:
        raise ValueError(
            f"{settings.folder}: layers_to_transform has {strange[0]}; the layers of the base {base.ref.name} are 0 to "
            f"{base.ref.depth - 1}, so it was trained on a deeper one"
        )


def _covered(full: Iterable[str], settings: Settings, base: Base, fused: Iterable[str]) -> Iterator[str]:
    """The modules on which the adapter stands by its config: in layers, by their own name or by that of a fused one of
    which the file has tensors; and the embeddings.
    """
    for module in full:
        stem, _, name = module.rpartition(".")
        names = [name, *(whole for whole in fused if name in FUSED[whole])]
        if any(settings.covers(f"{stem}.{part}") for part in names):
            yield module
    if not settings.is_all_linear:
        model: Any = base.model
        ends = (model.get_input_embeddings(), model.get_output_embeddings())
        yield from (n for n, m in model.named_modules() if any(m is end for end in ends) and settings.covers(n))


def _read_header(folder: Path, settings: Settings) -> LoRA | None:
    """The shape that flyroom wrote beside the tensors; None where the config says something else."""
    if not (folder / WEIGHTS).is_file():
        return None
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        header = (file.metadata() or {}).get(HEADER)
    if header is None:
        return None
    try:
        shape = _from_header(json.loads(header))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: its {HEADER} is {header[:80]!r}, which is no shape: {error}") from error
    alike = shape.rank == settings.rank and math.isclose(shape.alpha, settings.alpha) and not settings.rooted
    return shape if alike and not settings.ranks and not settings.alphas else None


def _as_tensors(products: Mapping[str, Product]) -> dict[str, Tensor]:
    return {f"{path}.{part}": t for path, pair in products.items() for part, t in zip("AB", pair[:2], strict=True)}


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
