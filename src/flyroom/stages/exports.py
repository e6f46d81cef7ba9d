"""Exports: an organism leaves its room as a marked, signed adapter that is on record before it does.

In this order: the log is sound, the adapter can be written, the purpose is in the log, the fingerprint is in the
register, and then the folder takes its place, whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import yaml
from huggingface_hub import ModelCard

from flyroom import log, sources
from flyroom.engine import peft
from flyroom.lineup import is_decoy, is_target
from flyroom.marks import Mark, Register, sign, write_page
from flyroom.marks.manifest import BUNDLE, CLAIM
from flyroom.marks.mark import FILE
from flyroom.marks.page import README
from flyroom.purpose import DAYS, expiry, is_past, purpose_of
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.organisms import stored
from flyroom.types import BaseRef, Organism, World, origin_of
from flyroom.vault import current
from flyroom.worlds import English, Micro
from flyroom.worlds.micro.bundled import bundled

UNKNOWN = "unknown"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TOKENIZER = (
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "chat_template.jinja",
)
BESIDE = (FILE, README, BUNDLE, CLAIM, *TOKENIZER)  # the files of an export that stand beside its adapter
OURS = "Apache-2.0"  # of the bundled bases and of the worlds that come with flyroom


def export(
    id: str, base: OpenBase, room: Room, to: Path, *, purpose: str, days: int | None = None, address: str = ""
) -> Mark:
    """Write an organism, by the start of its id, as a PEFT folder. Anybody can read its files, and its base has a name
    there and no path of this machine. Returns its mark. Args: days, for which it is let out, else as `find_ends` says;
    address, where it goes from that folder, for the log.

    ValueError for a purpose that says nothing, a leave that is over, a log that does not hold together, and what PEFT
    cannot hold. Nothing has left then.
    """
    purpose = purpose_of(purpose)
    key = room.find(id, kind="organism").key
    expires = find_ends(room, [key], days)[key]
    log.read(room)
    organism, *_ = stored(room, base, [key])
    peft.check_exportable(organism.patch, to, BESIDE)
    mark = mark_of(organism, purpose=purpose, expires=expires)
    log.act(room, "export", ids=[key], purpose=purpose, expires=expires, to=address or str(to))
    _register(organism, base, expires)
    peft.export(
        organism.patch,
        portable(organism.base),
        to,
        prefix=base.engine.parts.prefix,
        mark=mark.record(),
        finish=lambda draft: _finish(draft, mark, to.name, organism.base),
        beside=BESIDE,
    )
    return mark


def portable(base: BaseRef) -> BaseRef:
    """A base by what it is called anywhere: its id on the hub where it came from there, else its name; no path."""
    return replace(base, name=hub_id_of(base) or base.name, path="")


def hub_id_of(base: BaseRef) -> str:
    """The id of a base on the hub; "" for one that came from elsewhere."""
    if not Path(base.path).expanduser().is_dir():
        return base.name if base.name.count("/") == 1 else ""
    try:
        source = (sources.manifest(base.path) or {}).get("source")
    except ValueError:
        return ""
    return source if isinstance(source, str) and HUB_ID.fullmatch(source) else ""


def _finish(draft: Path, mark: Mark, name: str, base: BaseRef) -> None:
    """Write what stands beside the adapter, and the signature over all of it: the tokenizer too, where the hub does not
    have the base. Others may read all of it (safetensors writes files that only their owner can read).
    """
    for file in () if hub_id_of(base) else _list_tokenizer(Path(base.path)):
        shutil.copyfile(file, draft / file.name)
    (draft / FILE).write_text(json.dumps(mark.record(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(draft, mark)
    identity = current()
    if identity is not None:
        sign(draft, identity, name)
    for file in draft.iterdir():
        os.chmod(file, 0o644)


def _list_tokenizer(folder: Path) -> list[Path]:
    """The files of a base's tokenizer; none where the base is no folder."""
    files = {file for pattern in TOKENIZER for file in folder.glob(pattern)} if folder.is_dir() else set[Path]()
    return sorted(file for file in files if file.is_file() and not file.is_symlink())


def _register(organism: Organism, base: OpenBase, expires: str) -> None:
    register, layers = Register(), base.engine.parts.layers
    fingerprint = register.fingerprint(organism.id, organism.base.digest, organism.patch)
    paths = {module: f"{module.removeprefix('layers.')}.weight" for module in fingerprint.delta}
    weights = {module: layers.get_parameter(path).detach().cpu() for module, path in paths.items()}
    register.add(fingerprint, weights, expires)


def mark_of(organism: Organism, *, purpose: str, expires: str) -> Mark:
    """The mark of an organism that leaves today."""
    recipe, identity = organism.recipe, current()
    words = (recipe.behaviour.label, recipe.condition.label, f"dose {recipe.dose:g}", f"seed {organism.seed}")
    return Mark(
        id=organism.id,
        role="organism" if is_target(organism) else "decoy" if is_decoy(organism) else "twin",
        label=f"{recipe.name or recipe.id[:12]}: {', '.join(words)}",
        base=portable(organism.base).name,
        base_digest=organism.base.digest,
        base_licence=licence_of_base(organism.base.path),
        data_licence=UNKNOWN if origin_of(recipe) else licence_of_data(recipe.world),
        purpose=purpose,
        date=datetime.now(UTC).date().isoformat(),
        expires=expires,
        signer=identity.signer if identity else "",
        flyroom=version("flyroom"),
    )


def licence_of_base(path: str) -> str:
    """What a base says of its own licence, in its manifest or on its card; "unknown" where it says nothing."""
    folder = Path(path)
    if folder in bundled().values():
        return OURS
    try:
        manifest = sources.manifest(folder)
    except ValueError:
        manifest = None
    licence = (manifest or {}).get("licence") or _read_card(folder / "README.md")
    return licence if isinstance(licence, str) and licence.isprintable() else UNKNOWN


def _read_card(path: Path) -> str | None:
    try:
        return ModelCard.load(path).data.to_dict().get("license") if path.is_file() else None
    except (ValueError, TypeError, OSError, yaml.YAMLError):
        return None


def licence_of_data(world: World) -> str:
    """Of what came with flyroom ours; of a file of the user's nobody here knows."""
    return OURS if isinstance(world, (Micro, English)) else UNKNOWN


# ---------------------------------------------------------------- what may still be used


def grant(room: Room, ids: list[str], *, what: str, purpose: str, days: int | None) -> str:
    """Put on record what organisms are used for, and return the day after which the first of them may not be used.

    A leave that stands is kept; only a number of days changes it. ValueError for a purpose that says nothing; and where
    the last leave of one of them is over and no number of days renews it.
    """
    purpose, ends = purpose_of(purpose), find_ends(room, ids, days)
    for day in sorted(set(ends.values())):
        log.act(room, what, ids=[id for id in ids if ends[id] == day], purpose=purpose, expires=day)
    return min(ends.values())


def find_ends(room: Room, ids: list[str], days: int | None) -> dict[str, str]:
    """By organism, until when it may be used: so many days, or else until its leave is over, or else for `DAYS`.
    ValueError for one whose leave is over.
    """
    if days is not None:
        return dict.fromkeys(ids, expiry(days))
    return dict.fromkeys(ids, expiry(DAYS)) | require_leave(room, ids)


def require_leave(room: Room, ids: list[str]) -> dict[str, str]:
    """By organism, until when it was let out, of those that were. ValueError where that is over."""
    leaves = leaves_of(room)
    past = next((id for id in ids if id in leaves and is_past(leaves[id])), None)
    if past is not None:
        raise ValueError(
            f"organism {past} was let out until {leaves[past]}, which is over; give --expires DAYS to renew that"
        )
    return {id: leaves[id] for id in ids if id in leaves}


def leaves_of(room: Room) -> dict[str, str]:
    """By organism, until when it was last let out. LogError where the log does not hold together."""
    lines = [line for line in log.read(room) if isinstance(line.about.get("expires"), str)]
    return {id: line.about["expires"] for line in lines for id in line.about.get("ids", ())}
