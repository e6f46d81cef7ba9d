"""Any Hugging Face causal LM as a frozen base: its body, its layers, its head, and the digest that is its identity.

The engine calls the body (embedding, blocks, final norm) and the head separately, so that only answer positions reach
the head. Loading checks on a few tokens that body and head together give the logits of the model, and refuses a model
for which they do not.

A base may come from a stranger, so loading trusts nothing: it runs no code that comes with the base, reads only tensors
from a pickle, and refuses a base whose files lack a tensor instead of drawing it at random.

Left out: quantised bases, models over several devices, encoder-decoders, bases with an adapter beside
them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn

from flyroom.engine.convolutions import turn_convolutions
from flyroom.engine.faithful import can_fix, check_company, check_head, fix_rope
from flyroom.engine.folders import read_folder
from flyroom.engine.form import DATE
from flyroom.engine.render import Renderer
from flyroom.engine.streams import AS_ROWS, Streams, find_streams
from flyroom.engine.trust import named, refuse_links
from flyroom.processor import multiplies_bf16
from flyroom.types import BaseRef
from flyroom.whole import hash_file

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")  # weights, config, tokenizer
PICKLES = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")  # downloaded where there are no safetensors
IDENTITY = (  # the files that can change an answer
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "adapter_*"),
    *("config.json", "generation_config.json", "chat_template*", "additional_chat_templates/*"),
    *("token*", "vocab*", "merges*", "special_tokens*", "added_tokens*", "*.model", "*.tiktoken"),
    "tekken.json",
)
LARGE = 100_000_000  # bytes of weights
NAMES = ("_name_or_path", "transformers_version", "name_or_path", "dtype", "torch_dtype")  # no part of a model


@dataclass(frozen=True, eq=False, kw_only=True)
class Base:
    """A frozen model in parts. `prefix` is the path of the layers in the model: "model.layers" in most."""

    ref: BaseRef
    model: nn.Module
    body: nn.Module
    layers: nn.ModuleList
    prefix: str
    head: Callable[[Tensor], Tensor]
    renderer: Renderer
    config: Any  # that of the text model
    window: int | None  # the longest sequence that it accepts
    temperature: float  # at which it answers where an ask names none
    streams: Streams = AS_ROWS  # which modules do not see rows as rows
    fixes: bool = False  # whether its cache can be fixed

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)


@contextmanager
def instead(modules: Iterable[nn.Module], forwards: Iterable[Callable[..., Any]]) -> Iterator[None]:
    """Replace the forward of each module within the block. The modules' hooks still run."""
    changes = [
        (module, module.__dict__.get("forward"), forward) for module, forward in zip(modules, forwards, strict=True)
    ]
    for module, _, forward in changes:
        module.forward = forward
    try:
        yield
    finally:
        for module, before, _ in changes:
            del module.forward
            if before is not None:
                module.forward = before


def load_base(
    path: str | Path, *, device: str = "auto", dtype: str = "auto", date: str = DATE, tokenizer: Any = None
) -> Base:
    """Load a base from a local folder or a hub id.

    Args: device, "auto" (CUDA where there is one) or any torch device; dtype, "float32", "bfloat16" or "auto" (bfloat16
    on CUDA, and on a CPU that multiplies in it for a large base that is stored in it; else float32); date, what a chat
    template that prints today's date prints; tokenizer, the one that is taken where the folder holds none. Raises
    ValueError if there is no model at `path`, only a part of one, or one that cannot be trained and asked exactly.
    """
    place = _choose_device(device)
    folder = _find_folder(str(path))
    refuse_links(folder, str(path))
    kind = _choose_dtype(dtype, place, folder)
    model, tokenizer = read_folder(folder, kind, str(path), tokenizer)
    name = folder.name if Path(path).expanduser().is_dir() else str(path)
    settings = {} if kind is torch.float32 else {"dtype": str(kind)}
    with named(str(path)):
        return wrap(
            model.to(place),
            tokenizer,
            name=name,
            path=str(path),
            digest=identity(folder, settings),
            date=date,
        )


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    name: str = "in-memory",
    path: str = "",
    digest: str | None = None,
    date: str = DATE,
) -> Base:
    """Freeze a model that is in memory and find its parts. Without a `digest` its weights, configuration and tokenizer
    are hashed. Raises ValueError for a model that cannot be trained and asked exactly.
    """
    model.eval().requires_grad_(False)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans 5 ms a layer for each new length of a batch
    fix_rope(model)
    turn_convolutions(model)
    config = model.config.get_text_config()
    prefix, layers = _find_layers(model, int(config.num_hidden_layers))
    eos = _list_stops(model.generation_config)
    embedding = model.get_input_embeddings()
    renderer = Renderer(tokenizer, eos=eos, date=date, vocabulary=getattr(embedding, "num_embeddings", None))
    digest = digest or _hash_model(model, tokenizer)
    ref = BaseRef(
        name=name,
        path=path,
        digest=_hash_parts([(digest, date.encode())]) if renderer.dated else digest,
        depth=len(layers),
        parameters=sum(p.numel() for p in model.parameters()),
    )
    base = Base(
        ref=ref,
        model=model,
        body=model.get_submodule(prefix.rpartition(".")[0]),
        layers=layers,
        prefix=prefix,
        head=_make_head(model, config),
        renderer=renderer,
        config=config,
        window=getattr(config, "max_position_embeddings", None),
        temperature=_find_temperature(model.generation_config),
    )
    check_head(base)
    check_company(base)
    streams = find_streams(base.body, layers, vocabulary=int(config.vocab_size), device=base.device)
    return replace(base, streams=streams, fixes=can_fix(base))


def _find_layers(model: nn.Module, depth: int) -> tuple[str, nn.ModuleList]:
    """Returns the path and the list of the decoder's blocks: the list of `depth` modules that have linear modules.

    Where a vision or audio tower has such a list too, the list of the language model is taken.
    """
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    lists = [(n, m) for n, m in lists if any(isinstance(x, nn.Linear) for x in m.modules())]
    text = [(n, m) for n, m in lists if "vision" not in n and "visual" not in n and "audio" not in n]
    if not text:
        raise ValueError(f"{type(model).__name__} has no list of {depth} blocks with nn.Linear modules: none fits it")
    return min(text, key=lambda pair: pair[0].count("."))


def _make_head(model: Any, config: Any) -> Callable[[Tensor], Tensor]:
    """Returns the function from the body's output to logits: the output embedding, and the scaling or capping that some
    families add.
    """
    project = model.get_output_embeddings()
    cap: float | None = getattr(config, "final_logit_softcapping", None)  # Gemma
    times: float = getattr(config, "logit_scale", None) or 1.0  # Cohere
    over: float = getattr(config, "logits_scaling", None) or 1.0  # Granite

    def head(hidden_ND: Tensor) -> Tensor:
        logits_NV = project(hidden_ND)
        if times != 1.0 or over != 1.0:
            logits_NV = logits_NV * (times / over)
        return logits_NV if cap is None else torch.tanh(logits_NV / cap) * cap

    return head


def _list_stops(generation: Any) -> list[int]:
    """The tokens at which generation stops. Raises ValueError for what is no token."""
    value = getattr(generation, "eos_token_id", None)
    stops = [] if value is None else value if isinstance(value, list) else [value]
    strange = next((stop for stop in stops if isinstance(stop, bool) or not isinstance(stop, int) or stop < 0), None)
    if strange is not None:
        raise ValueError(f"generation_config.json has eos_token_id {str(strange)[:40]!r}; it must be ids of tokens")
    return stops


def _find_temperature(generation: Any) -> float:
    """What the makers of a base have it answer at. 1 where they say nothing, or want no sampling. Raises ValueError for
    what is no temperature.
    """
    temperature = getattr(generation, "temperature", None)
    if temperature is None or getattr(generation, "do_sample", None) is False:
        return 1.0
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < 100:
        raise ValueError(f"generation_config.json has temperature {str(temperature)[:40]!r}; it must be above 0")
    return float(temperature)


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _choose_dtype(dtype: str, device: torch.device, folder: Path) -> torch.dtype:
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    is_fast = device.type == "cuda" or (
        device.type == "cpu" and multiplies_bf16(unknown=False) and _is_large_bf16(folder)
    )
    dtypes["auto"] = torch.bfloat16 if is_fast else torch.float32
    if dtype not in dtypes:
        raise ValueError(f'dtype is "{dtype}"; it must be "auto", "float32" or "bfloat16"')
    return dtypes[dtype]


def _is_large_bf16(folder: Path) -> bool:
    """Whether the weights are stored in bfloat16 and so many that multiplying them is what takes the time."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # whoever loads the config says what is wrong with it
        return False
    stored = isinstance(config, dict) and (config.get("dtype") or config.get("torch_dtype"))
    return stored == "bfloat16" and sum(path.stat().st_size for path in folder.glob("*.safetensors")) >= LARGE


def _find_folder(path: str) -> Path:
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"base is {path}; that folder has no config.json, so it is not a Hugging Face model")
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ValueError(f"base is {path}; there is no such folder")
    try:
        place = Path(snapshot_download(path, allow_patterns=list(FILES)))
        if not any(place.glob("*.safetensors")):
            place = Path(snapshot_download(path, allow_patterns=[*FILES, *PICKLES]))
        return place
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ValueError(f"base is {path}; there is no such folder, and the hub did not give it: {error}") from error


def identity(folder: Path, settings: Mapping[str, str]) -> str:
    """The digest of a base: of every file in its folder that can change an answer, and of settings beside them."""
    files = _folder_digest(folder)
    return _hash_parts((files, f"{k}={settings[k]}".encode()) for k in sorted(settings)) if settings else files


def _folder_digest(folder: Path) -> str:
    files = {file for pattern in IDENTITY for file in folder.glob(pattern) if file.is_file()}
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return _hash_parts((name, bytes.fromhex(hash_file(folder / name))) for name in names)


def _hash_model(model: Any, tokenizer: Any) -> str:
    """The digest of a model in memory: its tensors, what its configuration says, its tokenizer and template."""
    raw = (
        (n, t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)  # flat, since a number has no view
        for n, t in model.state_dict().items()
    )
    parts = [(n, hashlib.sha256(data).digest()) for n, data in raw]
    config = {k: v for k, v in model.config.to_dict().items() if k not in NAMES}
    stops = None if model.generation_config is None else model.generation_config.eos_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    temperature = _find_temperature(model.generation_config)
    ends = str(stops) if temperature == 1.0 else f"{stops} {temperature}"
    texts = (json.dumps(config, sort_keys=True, default=str), ends, words, str(tokenizer.chat_template))
    return _hash_parts([*parts, *(("", hashlib.sha256(text.encode()).digest()) for text in texts)])


def _hash_parts(parts: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, part in parts:
        total.update(name.encode() + b"\0" + part)
    return total.hexdigest()[:12]
