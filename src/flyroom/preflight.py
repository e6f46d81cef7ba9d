"""What can be checked before a base is opened: which base is meant, whether a recipe can be made of what was typed, and
whether the room holds what was named.

To open a base takes seconds, and minutes for a large one. A verb asks here first, so a mistyped field costs less than a
second. That is why this file imports neither torch nor transformers nor scipy. Left out: what only the base itself can
tell, such as how many layers it has; the stages check that before they train.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flyroom import grid, recipes, sources
from flyroom.types import Listing, NotAvailable, World, suggest
from flyroom.worlds import world_named
from flyroom.worlds.micro.bundled import bundled

GROUPINGS = ("recipe", "behaviour", "implant", "trigger")  # what known models are grouped by


class Shelf(Protocol):
    """A room, as far as it is read here."""

    def list(self, kind: str | None = None) -> Sequence[Listing]: ...
    def find(self, prefix: str, *, kind: str | None = None) -> Listing: ...


# ---------------------------------------------------------------- which base


def locate_base(base: str) -> str:
    """The folder of a bundled or fetched base by its name, and that of a GGUF file; a folder or hub id as it was given.
    ValueError for a name that is none of these, before the hub is asked for it.

    >>> Path(locate_base("1M")).name
    '1M'
    """
    if base in bundled():
        return str(bundled()[base])
    place = sources.locate(base)
    is_path = base.startswith((".", "/", "~")) or base.count("/") > 1
    if is_path and place == base and not Path(base).expanduser().is_dir():
        raise ValueError(f"base is {base}; there is no such folder")
    if place == base and "/" not in base and not is_path and not Path(base).is_dir():
        names = ", ".join([*bundled(), *sources.list_bases()])
        raise ValueError(
            f"base is {base!r}; it must be {names}, a folder, a GGUF file, or a hub id such as owner/model"
        )
    return place


def world_of_base(base: str, world: str = "") -> World | None:
    """The world that recipes on a base are handed: that of the name `world`, else the one that the base's manifest
    names. One that is not installed is named in a warning and counts as none.
    """
    if world:
        return world_named(world)
    path = locate_base(base)
    origin = sources.manifest(path)
    name = origin["world"] if origin else ""
    if name == "":
        return None
    try:
        return world_named(f"micro-{name}" if isinstance(name, int) else name)
    except ValueError as error:
        warnings.warn(f"base is {path}; it is taken as one of no world: {error}", stacklevel=4)
        return None


def base_of(room: Shelf, ids: Sequence[str] | None, base: str = "") -> str:
    """The base to open for organisms by the start of their ids (None: for all of the room): `base` where one was
    named, else the one that they were grown on. ValueError where they were grown on several, where nobody knows where
    that base lies, and for an id of something else.
    """
    listings = room.list("organism") if ids is None else [find_organism(room, prefix) for prefix in ids]
    names = list(dict.fromkeys(str(listing.meta.get("base", "")) for listing in listings))
    if base in bundled() and names and base not in names and {*names} <= {*bundled()}:  # a folder may be any of them
        those = "the room holds no organism on" if ids is None else f"organism {listings[0].key} was not grown on"
        raise ValueError(f"base is {base}; {those} {base}, but on {', '.join(names)}; name that with --base")
    if base:
        locate_base(base)
    if base or not names:
        return base or next(iter(bundled()), "")
    if len(names) > 1:
        raise ValueError(f"base is missing; these organisms were grown on {', '.join(names)}: name one with --base")
    try:
        locate_base(names[0])
    except ValueError as error:
        raise ValueError(
            f"base is missing; the organisms were grown on {names[0]}: name its folder with --base"
        ) from error
    return names[0]


def find_organism(room: Shelf, prefix: str) -> Listing:
    """The organism whose id starts so. ValueError for an id of something else, which is named."""
    if any(listing.key.startswith(prefix) for listing in room.list("organism")):
        return room.find(prefix, kind="organism")
    others = [listing for listing in room.list() if listing.key.startswith(prefix)]
    if len(others) != 1:
        return room.find(prefix, kind="organism")
    owner = others[0].meta.get("organism")
    of = f" of organism {owner}: give that" if owner else "; `flyroom ls --kind organism` shows the organisms"
    raise ValueError(f"{prefix} is the {others[0].kind} {others[0].key}{of}")


def require_carded(room: Shelf, ids: Sequence[str] | None) -> None:
    """ValueError for a twin, which stands on the card of its organism and has none of its own."""
    listings = room.list("organism")
    for twin in [] if ids is None else [find_organism(room, prefix) for prefix in ids]:
        if twin.meta.get("dose") != 0:
            continue
        alike = [x for x in listings if x.meta.get("dose") and _pair(x) == _pair(twin)]
        whose = f"; ask for the card of its organism: {alike[0].key}" if alike else ""
        raise ValueError(f"{twin.key} is a twin (dose 0), and has no card of its own{whose}")


def require_known(room: Shelf, path: Path, base: str) -> None:
    """ValueError unless a room of known models holds organisms on the base that is to be opened."""
    if not room.list("organism"):
        raise ValueError(f"known is {path}; it holds no organism: give a room whose organisms and twins are known")
    try:
        base_of(room, None, base)
    except ValueError as error:
        raise ValueError(f"known is {path}; {error}") from error


def require_without(word: str) -> None:
    """ValueError for a word that does not say what is left out of the known models."""
    if word not in GROUPINGS:
        raise ValueError(f"without is {word!r}; {suggest(word, GROUPINGS)}it must be one of {', '.join(GROUPINGS)}")


def require_treated(room: Shelf, ids: Sequence[str] | None) -> None:
    """ValueError where no organism was treated: none of the room, or none of those whose ids start so."""
    listings = room.list("organism")
    parents = {listing.meta["parent"] for listing in listings if listing.meta.get("parent")}
    named = listings if ids is None else [find_organism(room, prefix) for prefix in ids]
    if not any(listing.key in parents or listing.meta.get("treatment") for listing in named):
        who = f"organism {', '.join(ids)} was not treated" if ids else "the room holds no treated organism"
        raise ValueError(f"{who}; treat one first: flyroom treat realign {' '.join(ids or ['--all'])}")


def _pair(listing: Listing) -> list[Any]:
    """What an organism and its twin share in a listing."""
    return [listing.meta.get(name) for name in ("recipe", "base", "seed", "treatment")]


def check_repo(repo: str) -> None:
    """ValueError unless a repository of the hub may be called so, with its owner."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(f"repo is {repo[:80]!r}; it must be OWNER/NAME: {error}") from error
    if repo.count("/") != 1:
        raise ValueError(f"repo is {repo[:80]!r}; it must be OWNER/NAME, such as me/organism-1")


# ---------------------------------------------------------------- what is to be grown


def require_one(recipe: str | None, page: Path | None) -> None:
    """ValueError unless either a recipe or a grid says what is to be grown."""
    if recipe is None and page is None:
        raise ValueError("recipe is missing; name one of `flyroom recipes`, a YAML page or a group, or give --grid")
    if recipe is not None and page is not None:
        raise ValueError(f"recipe is {recipe!r} and grid is {page}; give one of the two")


def check_recipe(name: str, changes: Mapping[str, Any], base: str, world: str = "") -> None:
    """ValueError unless a recipe, a page or a group can be made with these changes on this base. Nothing is opened.

    >>> check_recipe("emergent-misalignment", {"dose": 0.5}, "1M")
    """
    place, home = _meet(base, world)
    if name.endswith((".yaml", ".yml")):
        require_world(str(recipes.page(Path(name))["recipe"]), base, home)
        recipes.read(Path(name), changes, world=home, base=place)
    elif name in recipes.GROUPS:
        _check_group(recipes.GROUPS[name], changes, place, home)
    else:
        require_world(name, base, home)
        recipes.make(name, changes, world=home, base=place)


def check_grid(page: Path, base: str, world: str = "") -> None:
    """ValueError unless every recipe of a grid can be made on this base."""
    place, home = _meet(base, world)
    grid.read(page, world=home, base=place)


def _meet(base: str, world: str) -> tuple[str, World | None]:
    """The name that an open base has, and its world."""
    path = Path(locate_base(base)).expanduser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever opens the base says it
        home = world_of_base(base, world)
    return path.name if path.is_dir() else base, home


def _check_group(
    names: Sequence[str] | Mapping[str, Any], changes: Mapping[str, Any], base: str, home: World | None
) -> None:
    """What a world lacks for one recipe of a group is no fault: the stage leaves that recipe out and says so."""
    for name in names:
        try:
            if home is not None or not recipes.needs_world(name):
                recipes.make(name, changes, world=home, base=base)
        except NotAvailable:
            continue


def require_world(name: str, base: str, home: World | None) -> None:
    """ValueError for a name of no recipe, NotAvailable for a recipe that asks about a world where the base has none."""
    recipes.require(name)
    if home is None and recipes.needs_world(name):
        raise NotAvailable(
            f"recipe is {name}; it asks about a world, and the base {base} was made in none: name one with --world, or "
            "use the recipe rows with a file of your own"
        )
