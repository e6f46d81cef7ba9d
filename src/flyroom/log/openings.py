"""Which seeds of which recipes were opened in a room, when, and for which certification: read from the log's lines, and
written there before anything is grown.

Left out: what was grown elsewhere. A room says of an organism that came with no line only that it was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flyroom.log.chain import KIND, OPENED, PRESENT, Line, append_locked, read, read_whole
from flyroom.log.heads import LogError
from flyroom.room import Room
from flyroom.types import BaseRef, Recipe, organism_id


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An organism, and the line that opened its seed; `number` and `at` are None where no line did. `plan` names the
    certification that it was opened for. Of an organism that was there before its line, the room says only the names of
    recipe and base.
    """

    organism: str
    seed: int
    name: str
    base_name: str
    number: int | None = None
    at: str | None = None
    recipe: str = ""
    world: str = ""
    base: str = ""
    plan: str = ""


class Title(NamedTuple):
    """What a recipe goes by in the log."""

    id: str
    name: str
    world: str

    @classmethod
    def of(cls, recipe: Recipe) -> Title:
        return cls(recipe.id, recipe.name, recipe.world.name)


def open_seeds(
    room: Room, base: BaseRef, orders: Sequence[tuple[Recipe, int]], plans: Mapping[str, str] | None = None
) -> None:
    """Put on record which recipes are grown with which seeds for the first time, before they are.

    Args: plans, the certification that a recipe is grown for, by its id. Where the log is broken it goes on behind its
    last line: growth is not stopped by that, but nothing is certified in such a room.
    """
    with room.lock(KIND):
        organisms = [*_list_openings(room, read_whole(room))]
        strangers = [_row_of(opening) for opening in organisms if opening.number is None]
        if strangers:
            append_locked(room, PRESENT, {"organisms": strangers})
        rows = _list_fresh(base, orders, plans or {}, {opening.organism for opening in organisms})
        if rows:
            append_locked(room, OPENED, {"base": base.digest, "base_name": base.name, "recipes": rows})


def _list_fresh(
    base: BaseRef, orders: Sequence[tuple[Recipe, int]], plans: Mapping[str, str], names: set[str]
) -> list[dict[str, Any]]:
    """A row for each recipe with seeds that no organism of these names has."""
    rows: dict[str, dict[str, Any]] = {}
    for recipe, seed in dict.fromkeys(orders):
        name = organism_id(recipe, base, seed)
        if name not in names:
            about = {**Title.of(recipe)._asdict(), "dose": recipe.dose, "plan": plans.get(recipe.id, "")}
            row = rows.setdefault(recipe.id, about | {"seeds": [], "organisms": []})
            row["seeds"].append(seed)
            row["organisms"].append(name)
    return [*rows.values()]


def _row_of(opening: Opening) -> dict[str, Any]:
    return {
        "organism": opening.organism,
        "seed": opening.seed,
        "name": opening.name,
        "base_name": opening.base_name,
    }


def openings(room: Room) -> list[Opening]:
    """Every organism that was opened in the room, oldest first; those that no line names come last. LogError as `read`
    raises it.
    """
    return [*_list_openings(room, read(room))]


def _list_openings(room: Room, lines: Sequence[Line]) -> Iterator[Opening]:
    names: set[str] = set()
    for line in lines:
        for opening in _read_openings(line):
            names.add(opening.organism)
            yield opening
    for item in room.list("organism"):
        if item.key not in names:
            seed, name, base = (item.meta.get(field) for field in ("seed", "recipe", "base"))
            yield Opening(organism=item.key, seed=seed, name=name, base_name=base)  # pyright: ignore[reportArgumentType]


def _read_openings(line: Line) -> Iterator[Opening]:
    about = line.about
    try:
        if line.what == PRESENT:
            for row in about["organisms"]:
                yield Opening(**row, number=line.number, at=line.at)
        for row in about["recipes"] if line.what == OPENED else ():
            for seed, organism in zip(row["seeds"], row["organisms"], strict=True):
                yield Opening(
                    organism=organism,
                    seed=seed,
                    name=row["name"],
                    base_name=about["base_name"],
                    number=line.number,
                    at=line.at,
                    recipe=row["id"],
                    world=row["world"],
                    base=about["base"],
                    plan=row["plan"],
                )
    except (KeyError, TypeError, ValueError) as error:  # a stranger's room
        raise LogError(f"line {line.number} of the log opens seeds and does not say which: {error!r}") from error


def first_opening(organisms: Sequence[Opening], title: Title, base: BaseRef, seed: int) -> Opening | None:
    """Who opened a seed of a recipe first on this base; None where nobody has.

    It counts as opened once any recipe of that name was grown with it in this world, whatever its fields were then: who
    has seen one has seen what another could be made to fit.
    """
    return next((o for o in organisms if o.seed == seed and _is_kin(o, title, base)), None)


def _is_kin(opening: Opening, title: Title, base: BaseRef) -> bool:
    if opening.base_name != base.name if not opening.base else opening.base != base.digest:
        return False
    alike = bool(title.name) and opening.name == title.name and opening.world in ("", title.world)
    return alike or opening.recipe == title.id
