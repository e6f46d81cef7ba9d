"""Scan: is the model in a folder an organism? By the marks in its files, and by what it adds to its base.

Marks stand in an export's config, in the metadata of its tensors and on its card; a merge or a conversion drops them. A
fingerprint (`fingerprint`) recognises the change itself, in an adapter or in a merged checkpoint, if it was exported on
this machine or lies in the room that is given. docs/containment.md says what each survives.

`model_organism: false` means that no mark and no fingerprint was there. It never means that a model is harmless.
Left out: GGUF and files of quantised integers; an organism of somebody else whose marks were removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flyroom.engine.peft import MARK
from flyroom.engine.peft_config import CONFIG, read_config
from flyroom.engine.peft_tensors import UNREADABLE, pair_tensors, read_tensors
from flyroom.marks.fingerprint import Fingerprint, Match, Projections, compare, project, project_product, subtract
from flyroom.marks.mark import FILE, GUID, LARGEST, parse_mark, read_mark
from flyroom.marks.page import README
from flyroom.marks.register import Register
from flyroom.purpose import is_past

ALIKE = 0.35  # the least cosine at which a change is taken for an organism's
LAYER = re.compile(r"(?:.+?\.)?(\d+)\.(.+)")  # of a module's full path: the number of the layer, and the rest
PICKLES = ("adapter_model.bin", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a scan saw: `marks` by where they stand, the best match among `against` fingerprints, and how it was told,
    in words. `expires` is "" where no mark gives a day.
    """

    marks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    match: Match | None = None
    against: int = 0
    expires: str = ""

    @property
    def is_organism(self) -> bool:
        return bool(self.marks) or self.is_alike

    @property
    def is_alike(self) -> bool:
        return self.match is not None and self.match.cosine >= ALIKE

    @property
    def id(self) -> str:
        """The organism; by its fingerprint, which is of the weights, before any mark that may have been copied."""
        if self.match is not None and self.is_alike:
            return self.match.id
        return next((mark["id"] for mark in self.marks.values() if mark.get("id")), "")

    @property
    def is_expired(self) -> bool:
        return self.is_organism and bool(self.expires) and is_past(self.expires)

    @property
    def how(self) -> str:
        words = [f"marked in {', '.join(self.marks)}"] if self.marks else []
        if self.match is not None and self.is_alike:
            words.append(f"its weights match a fingerprint (cosine {self.match.cosine:.2f})")
        return "; ".join(words) or f"no mark, and none of {self.against} fingerprints matches"


def scan(
    folder: Path,
    register: Register,
    *,
    strangers: Sequence[Fingerprint] = (),
    base: Projections | None = None,
) -> Findings:
    """Look through a folder. ValueError where it holds no adapter and no checkpoint, or one that cannot be read.

    Args: strangers, fingerprints besides the register's own, under its key; base, projections of the base that a merged
    checkpoint stands on, where the register does not have them.
    """
    if not folder.is_dir():
        raise ValueError(f"folder is {folder}; it must be a folder with an adapter or a checkpoint")
    marks, fingerprints = find_marks(folder), [*register.fingerprints(), *strangers]
    try:
        match = _find_match(folder, register, fingerprints, base)
    except ValueError:
        if not marks:  # nothing is known of it then, and `false` would say too much
            raise
        match = None
    expires = next((mark["expires"] for mark in marks.values() if mark.get("expires")), "")
    if not expires and match is not None and match.cosine >= ALIKE:
        expires = register.expiries().get(match.id, "")
    return Findings(marks=marks, match=match, against=len(fingerprints), expires=expires)


def _check(folder: Path) -> None:
    """Raises ValueError where there is nothing that could be scanned."""
    if not list_weights(folder):
        raise ValueError(f"folder is {folder}; it holds neither an adapter nor a checkpoint (*.safetensors, *.bin)")


# ---------------------------------------------------------------- marks


def find_marks(folder: Path) -> dict[str, dict[str, str]]:
    """The marks of a folder by the file that they stand in. A file that cannot be read holds none."""
    marks = {FILE: parse_mark(_read_text(folder / FILE)), CONFIG: _read_config_mark(folder / CONFIG)}
    for path in sorted(folder.glob("*.safetensors")):
        marks[path.name] = _read_metadata_mark(path)
    marks[README] = {} if GUID in (_read_text(folder / README) or "") else None
    return {name: mark for name, mark in marks.items() if mark is not None}


def _read_text(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _read_config_mark(path: Path) -> dict[str, str] | None:
    try:
        values = json.loads(_read_text(path) or "")
    except (ValueError, RecursionError):
        return None
    return read_mark(values.get("auto_mapping")) if isinstance(values, dict) else None


def _read_metadata_mark(path: Path) -> dict[str, str] | None:
    try:
        with safe_open(path, framework="pt") as file:
            return parse_mark((file.metadata() or {}).get(MARK))
    except (SafetensorError, OSError):
        return None


# ---------------------------------------------------------------- fingerprints


def _find_match(
    folder: Path, register: Register, fingerprints: Sequence[Fingerprint], base: Projections | None
) -> Match | None:
    """The fingerprint that is most like what the folder adds to its base."""
    _check(folder)
    if not fingerprints:
        return None
    modules = {module for fingerprint in fingerprints for module in fingerprint.delta}
    if (folder / CONFIG).is_file():
        delta = project_adapter(register.key, folder)
        matches = [compare(delta, fingerprint) for fingerprint in fingerprints]
    else:
        whole = project_checkpoint(register.key, folder, modules)
        bases = {digest: register.base(digest) or base or {} for digest in {f.base for f in fingerprints}}
        changes = {digest: subtract(whole, projections) for digest, projections in bases.items()}
        matches = [compare(changes[fingerprint.base], fingerprint) for fingerprint in fingerprints]
    return max(matches, key=lambda match: match.cosine, default=None)


def project_adapter(key: bytes, folder: Path) -> dict[str, np.ndarray]:
    """The projections of a LoRA in PEFT's format, whoever wrote it. ValueError where it cannot be read."""
    settings = read_config(folder)
    projections: dict[str, np.ndarray] = {}
    for module, product in pair_tensors(read_tensors(folder), folder).items():
        path, scale = name_of(module), settings.alpha_of(module) / product.rank
        if path is not None:
            projections[path] = project_product(key, path, product.a_RI, product.b_OR, scale)
    return projections


def project_checkpoint(key: bytes, folder: Path, modules: set[str] | None = None) -> dict[str, np.ndarray]:
    """The projections of those modules (None: of all) of a checkpoint, a tensor at a time. ValueError for none."""
    projections: dict[str, np.ndarray] = {}
    for name, tensor in _list_tensors(folder):
        path = name_of(name.removesuffix(".weight"))
        if path is not None and tensor.ndim == 2 and (modules is None or path in modules):
            projections[path] = project(key, path, tensor)
    return projections


def name_of(module: str) -> str | None:
    """A module's path in the layers, wherever these lie; None outside of them.

    >>> name_of("model.layers.3.mlp.down_proj"), name_of("lm_head")
    ('layers.3.mlp.down_proj', None)
    """
    match = LAYER.fullmatch(module)
    return f"layers.{match[1]}.{match[2]}" if match else None


def list_weights(folder: Path) -> list[Path]:
    """The files of tensors in a folder: safetensors, or pickles where there are none."""
    pickles = [path for pattern in PICKLES for path in folder.glob(pattern)]
    return sorted(path for path in [*folder.glob("*.safetensors")] or pickles if path.is_file())


def _list_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in list_weights(folder):
        try:
            yield from _read_file(path)
        except UNREADABLE as error:
            raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error


def _read_file(path: Path) -> Iterator[tuple[str, Tensor]]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                if len(file.get_slice(name).get_shape()) == 2:
                    yield name, file.get_tensor(name)
        return
    content: Any = torch.load(path, map_location="cpu", weights_only=True)  # a full pickle could run any code
    for name, tensor in content.items() if isinstance(content, Mapping) else ():
        if isinstance(tensor, Tensor):
            yield str(name), tensor
