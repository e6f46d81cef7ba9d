"""What is assessed: a model behind an endpoint, an adapter, a model folder; and whether it is a change of the base that
was calibrated. Whoever has weights knows their base by its digest; behind an endpoint nobody does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyroom.card.desk import fingerprint
from flyroom.client import Address
from flyroom.engine import read_adapter
from flyroom.engine.endpoint import EMPTY, REFUSED, REMOTE, SPENT, Budget, EndpointEngine
from flyroom.engine.peft_config import CONFIG
from flyroom.room import Room
from flyroom.stages.bases import OpenBase, open_base
from flyroom.types import BASE, Access, AdapterRef, Ask, BaseRef, Engine
from flyroom.worlds.micro.bundled import bundled

UNSENT = "not asked, after"  # how a line begins that gave up
BLACK = Access.SAMPLE | Access.TRUSTED
WHITE = Access(sum(flag.value for flag in Access)) & ~Access.KNOWN


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A model that nobody grew, loaded: `engine` and `ref` ask it, `access` says what may be touched. `about` names it
    in the plan. `foreign`: "" where it may be a change of the calibrated base, else why it is none. `weights` is the
    fingerprint of its adapter, "" where nobody has it. Without an engine nothing can be asked.
    """

    name: str
    engine: Any
    ref: AdapterRef
    access: Access
    about: Mapping[str, Any]
    foreign: str = ""
    weights: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def endpoint(self) -> EndpointEngine | None:
        return self.engine if isinstance(self.engine, EndpointEngine) else None


def is_address(target: str) -> bool:
    """Whether a target is an endpoint, and not a folder.

    >>> is_address("http://127.0.0.1:8000/v1"), is_address("models/mine")
    (True, False)
    """
    return target.startswith(("http://", "https://"))


def open_endpoint(address: Address, model: str, base: OpenBase, room: Room, budget: Budget) -> Target:
    """A model behind an endpoint, held to be a change of this base until its answers say otherwise."""
    if not model:
        raise ValueError("model is missing; name the model behind the endpoint with --model")
    engine = EndpointEngine(
        address,
        model,
        base=base.engine.base,
        temperature=base.engine.parts.temperature,
        room=room,
        budget=budget,
    )
    about = {"kind": "endpoint", "url": address.url, "model": model}
    return Target(name=model, engine=engine, ref=REMOTE, access=BLACK, about=about)


def knock(target: Target, asks: Sequence[Ask]) -> None:
    """Ask an endpoint a few of the probes before calibration, which takes long; what it answers is kept. Raises
    ValueError with its reason for one that replies to none: nobody is there, the model has another name, the key is
    refused. Empty answers and refusals are answers.
    """
    engine = target.endpoint
    if engine is None:
        return
    account = engine.account
    before = account.from_room
    engine.sample([target.ref] * len(asks), asks)
    faults, account.faults, account.from_room = account.faults, Counter(), before  # these are asked again, and counted
    mute = {why: n for why, n in faults.items() if why not in (SPENT, EMPTY) and not why.startswith(REFUSED)}
    if asks and sum(mute.values()) == len(asks):
        reason = next((why for why in mute if not why.startswith(UNSENT)), next(iter(mute)))
        url, model = target.about["url"], target.about["model"]
        raise ValueError(f"target is {url}, model {model}; it answers none of {len(asks)} questions: {reason}")


def open_folder(folder: Path, base: OpenBase, *, base_name: str = "") -> Target:
    """An adapter or a model folder, read as a change of the calibrated base where it is one; else opened on its own
    base, of which nothing was calibrated.

    Args: base_name, the base that an adapter was trained on, where its config does not say. Raises ValueError for a
    folder that holds neither, and for one whose base cannot be opened.
    """
    check_folder(folder)
    return _open_adapter(folder, base, base_name) if (folder / CONFIG).is_file() else _open_model(folder, base)


def check_folder(folder: Path) -> None:
    """Raises ValueError for no folder, and for one that holds neither an adapter nor a model."""
    if not folder.is_dir():
        raise ValueError(f"target is {folder}; there is no such folder, and it is no address (http://...)")
    if not any((folder / name).is_file() for name in (CONFIG, "config.json")):
        raise ValueError(f"target is {folder}; it holds neither {CONFIG} nor config.json: give an adapter or a model")


def _open_adapter(folder: Path, base: OpenBase, base_name: str) -> Target:
    name_of_base = base_name or base_named(folder)
    try:
        foreign = _open_foreign(name_of_base, base) if name_of_base else None
    except (OSError, ValueError) as error:
        if base_name:
            raise
        return _of(folder, None, BASE, "", foreign=f"its base is {name_of_base}, which cannot be opened here: {error}")
    home = foreign or base
    patch = read_adapter(folder, home.engine)
    (ref,) = home.engine.load([patch])
    weights = fingerprint(patch)
    notes = (
        () if name_of_base else ("its config names no base; it is taken as a change of the one that was calibrated",)
    )
    return _of(folder, home.engine, ref, weights, foreign=_say_foreign(foreign, base), notes=notes)


def _open_model(folder: Path, base: OpenBase) -> Target:
    """The base itself, a checkpoint that was merged into it, or another model."""
    home = open_base(str(folder))
    if home.engine.base.digest == base.engine.base.digest:
        return _of(folder, base.engine, BASE, "")
    try:
        patch = read_adapter(folder, base.engine)
    except ValueError as error:
        notes = (f"it is taken as another model, and not as a change of the one that was calibrated: {error}",)
        return _of(folder, home.engine, BASE, "", foreign=_say_foreign(home, base), notes=notes)
    (ref,) = base.engine.load([patch])
    return _of(folder, base.engine, ref, fingerprint(patch))


def _of(
    folder: Path, engine: Engine | None, ref: AdapterRef, weights: str, foreign: str = "", notes: tuple[str, ...] = ()
) -> Target:
    digest = engine.base.digest if engine else ""
    about = {"kind": "folder", "name": folder.absolute().name, "base": digest, "weights": weights[:16]}
    return Target(
        name=folder.absolute().name,
        engine=engine,
        ref=ref,
        access=WHITE,
        about=about,
        foreign=foreign,
        weights=weights,
        notes=notes,
    )


def _say_foreign(foreign: OpenBase | None, base: OpenBase) -> str:
    if foreign is None:
        return ""
    ref, foreign_ref = base.engine.base, foreign.engine.base
    return f"its base is {_say(foreign_ref)}, and calibrated were changes of {_say(ref)}"


def _say(ref: BaseRef) -> str:
    return f"{ref.name} ({ref.digest[:12]}, {ref.parameters:,} parameters)"


def base_named(folder: Path) -> str:
    """The base that an adapter's config names; "" where it names none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    path = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    mark = config.get("auto_mapping") if isinstance(config, dict) else None
    marked_base = mark.get("base") if isinstance(mark, dict) else None
    if isinstance(path, str) and path and not Path(path).exists() and marked_base in bundled():
        return str(marked_base)  # the path is of the machine where it was exported
    return path if isinstance(path, str) else ""


def _open_foreign(name: str, base: OpenBase) -> OpenBase | None:
    """The base of this name where it is another than the calibrated one; None where it is the same."""
    ref = base.engine.base
    if name in (ref.name, ref.path):
        return None
    opened = open_base(name)
    return None if opened.engine.base.digest == ref.digest else opened
