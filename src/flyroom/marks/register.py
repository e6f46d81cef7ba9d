"""The register: the fingerprints of what has left, in the user's own folder, so that it is known again anywhere.

    $FLYROOM_HOME/exports/
      key                     32 random bytes: which directions are looked at
      ORGANISM.safetensors    the projections of its change, its base's digest, the day it expires
      bases/DIGEST.safetensors  the projections of the base, so that a merged checkpoint needs no base beside it

It holds no recipe and no name, and neither weights nor text. Whoever has it can tell which published model is one of
these; whoever has the key could make a change that hides. It is therefore for its owner alone (mode 0600).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from flyroom.marks.fingerprint import Fingerprint, Projections, project, project_product
from flyroom.types import Patch
from flyroom.vault import identity
from flyroom.vault.private import write_new, write_over

KEY = 32  # bytes


class Register:
    """A folder of fingerprints. Nothing is made before the first of them.

    >>> import tempfile
    >>> Register(Path(tempfile.mkdtemp()) / "exports").fingerprints()
    []
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or identity.home() / "exports"

    @property
    def key(self) -> bytes:
        """The key of all projections; drawn at the first use. ValueError where the file is no key."""
        path = self.folder / "key"
        if not path.exists():
            with suppress(FileExistsError):  # another process has drawn one meanwhile: that is the key
                write_new(path, secrets.token_bytes(KEY))
        key = path.read_bytes()
        if len(key) != KEY:
            raise ValueError(f"{path} has {len(key)} bytes and must have {KEY}; put the right one back")
        return key

    def fingerprint(self, id: str, base: str, patch: Patch) -> Fingerprint:
        """The fingerprint of an organism under this register's key."""
        return Fingerprint(id, base, project_patch(self.key, patch))

    def add(self, fingerprint: Fingerprint, weights: Mapping[str, Tensor], expires: str) -> None:
        """Keep a fingerprint, and the projections of those weights of its base that it stands on, by module."""
        projections = dict(self.base(fingerprint.base))
        missing = [module for module in fingerprint.delta if module not in projections]
        projections |= {module: project(self.key, module, weights[module]) for module in missing}
        if missing:
            self._save(self._base_file(fingerprint.base), projections, {})
        about = {"id": fingerprint.id, "base": fingerprint.base, "expires": expires}
        self._save(self.folder / f"{fingerprint.id}.safetensors", fingerprint.delta, about)

    def base(self, digest: str) -> Projections:
        """The projections of a base's modules; none where nothing that stands on it was kept."""
        path = self._base_file(digest)
        return _load(path)[0] if path.exists() else {}

    def fingerprints(self) -> list[Fingerprint]:
        """All of them, in the order of their ids. ValueError naming a file that is damaged."""
        return [fingerprint for fingerprint, _ in self._read_all()]

    def expiries(self) -> dict[str, str]:
        """By id, the day after which it has expired."""
        return {fingerprint.id: expires for fingerprint, expires in self._read_all()}

    def _read_all(self) -> Iterable[tuple[Fingerprint, str]]:
        for path in sorted(self.folder.glob("*.safetensors")):
            delta, about = _load(path)
            yield Fingerprint(about.get("id", path.stem), about.get("base", ""), delta), about.get("expires", "")

    def _base_file(self, digest: str) -> Path:
        return self.folder / "bases" / f"{digest}.safetensors"

    def _save(self, path: Path, projections: Projections, about: Mapping[str, str]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        tensors = {module: torch.from_numpy(np.ascontiguousarray(p)) for module, p in projections.items()}
        write_over(path, save(tensors, metadata=dict(about)))


def project_patch(key: bytes, patch: Patch) -> dict[str, np.ndarray]:
    """The projections of an adapter, by module; those of a steering vector or a system message are none."""
    weights = (name for name in patch.tensors if not {"residual", "stream"} & set(name.split(".")))
    modules = sorted({name.rpartition(".")[0] for name in weights})
    scale = patch.shape.alpha / patch.shape.rank
    return {m: project_product(key, m, patch.tensors[f"{m}.A"], patch.tensors[f"{m}.B"], scale) for m in modules}


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).numpy() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it: what it told of is not recognised then") from error
