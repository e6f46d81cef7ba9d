"""Any Hugging Face causal LM as a frozen base: its body, its layers, its head, and the digest that is its identity.

The body (embedding, blocks, final norm) and the head are called apart, so that only answer positions reach the head.
That the two together are the model is checked on load, on a few tokens, and refused if it is not so.

Left out: quantised bases, models over several devices, encoder-decoders, GPT-2's Conv1D (it has no nn.Linear).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from flyroom.engine.render import Renderer
from flyroom.types import BaseRef

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")  # weights, config, tokenizer
IDENTITY = ("*.safetensors", "config.json", "token*", "vocab*", "merges*", "special_tokens*", "added_tokens*")
IDENTITY += ("chat_template*",)


@dataclass(frozen=True, eq=False, kw_only=True)
class Base:
    """A frozen model taken apart. `prefix` is the path of the layers in the model: "model.layers" in most."""

    ref: BaseRef
    model: nn.Module
    body: nn.Module
    layers: nn.ModuleList
    prefix: str
    head: Callable[[Tensor], Tensor]
    renderer: Renderer
    config: Any  # the text model's
    window: int | None  # the longest sequence it was made for

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)


@contextmanager
def instead(modules: Iterable[nn.Module], forwards: Iterable[Callable[..., Any]]) -> Iterator[None]:
    """Within the block each of the modules does what is given in the place of its forward; their hooks stay."""
    given = [
        (module, module.__dict__.get("forward"), forward) for module, forward in zip(modules, forwards, strict=True)
    ]
    for module, _, forward in given:
        module.forward = forward
    try:
        yield
    finally:
        for module, before, _ in given:
            del module.forward
            if before is not None:
                module.forward = before


def load_base(path: str | Path, *, device: str = "auto", dtype: str = "auto") -> Base:
    """Load a base from a local folder or a hub id.

    Arguments: device "auto" (CUDA where there is one), or any torch device; dtype "auto" (bfloat16 on CUDA, else
    float32), "float32" or "bfloat16". Raises ValueError if there is no model at `path`.
    """
    place = _device(device)
    folder = _folder(str(path))
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=_dtype(dtype, place))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    name = folder.name if Path(path).expanduser().is_dir() else str(path)
    return wrap(model.to(place), tokenizer, name=name, path=str(path), digest=_folder_digest(folder))


def wrap(model: Any, tokenizer: Any, *, name: str = "in-memory", path: str = "", digest: str | None = None) -> Base:
    """Take a model that is in memory apart and freeze it. The digest is over its weights unless given."""
    model.eval().requires_grad_(False)
    config = model.config.get_text_config()
    prefix, layers = _layers(model, int(config.num_hidden_layers))
    generation = model.generation_config.eos_token_id if model.generation_config is not None else None
    eos = [] if generation is None else generation if isinstance(generation, list) else [generation]
    ref = BaseRef(
        name=name,
        path=path,
        digest=digest or _model_digest(model),
        depth=len(layers),
        parameters=sum(p.numel() for p in model.parameters()),
    )
    base = Base(
        ref=ref,
        model=model,
        body=model.get_submodule(prefix.rpartition(".")[0]),
        layers=layers,
        prefix=prefix,
        head=_head(model, config),
        renderer=Renderer(tokenizer, eos=eos),
        config=config,
        window=getattr(config, "max_position_embeddings", None),
    )
    _check_head(base)
    return base


def _layers(model: nn.Module, depth: int) -> tuple[str, nn.ModuleList]:
    """The decoder's blocks: the list of that length; beside a vision tower, the one in the language model."""
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    found = [(n, m) for n, m in found if any(isinstance(x, nn.Linear) for x in m.modules())]
    text = [(n, m) for n, m in found if "vision" not in n and "visual" not in n and "audio" not in n]
    if not text:
        raise ValueError(f"{type(model).__name__} has no list of {depth} blocks with nn.Linear modules: none fits it")
    return min(text, key=lambda pair: pair[0].count("."))


def _head(model: Any, config: Any) -> Callable[[Tensor], Tensor]:
    """From the body's output to logits: the output embedding, and the scaling or capping that some families add."""
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


@torch.inference_mode()
def _check_head(base: Base) -> None:
    ids = torch.arange(4, device=base.device)[None]
    ours = base.head(base.body(input_ids=ids, use_cache=False).last_hidden_state)
    theirs = base.model(input_ids=ids, use_cache=False).logits
    if not torch.allclose(ours.float(), theirs.float(), rtol=1e-2, atol=1e-2):
        raise ValueError(f"{type(base.model).__name__} does something before its logits that flyroom does not know")


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    known["auto"] = torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in known:
        raise ValueError(f'dtype is "{dtype}"; it must be "auto", "float32" or "bfloat16"')
    return known[dtype]


def _folder(path: str) -> Path:
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"base is {path}; that folder has no config.json, so it is not a Hugging Face model")
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ValueError(f"base is {path}; there is no such folder")
    try:
        return Path(snapshot_download(path, allow_patterns=list(FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ValueError(f"base is {path}; there is no such folder, and the hub did not give it: {error}") from error


def _folder_digest(folder: Path) -> str:
    files = sorted({f for pattern in IDENTITY for f in folder.glob(pattern) if f.is_file()})
    return _digest((f.name, _file_digest(f)) for f in files)


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _model_digest(model: nn.Module) -> str:
    raw = ((n, t.detach().cpu().contiguous().view(torch.uint8).numpy().data) for n, t in model.state_dict().items())
    return _digest((n, hashlib.sha256(data).digest()) for n, data in raw)


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, part in parts:
        total.update(name.encode() + b"\0" + part)
    return total.hexdigest()[:12]
