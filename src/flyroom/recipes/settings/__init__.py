"""What the named recipes need on a base: shapes, steps and rates that were found by trying, a page for each base.

The recipes as they stand were tried on the built-in bases. A page is called after the base and names for each recipe
the fields that differ, as a recipe page does:

    sycophancy:
      adapter: {rank: 8, layers: null, modules: [all]}
      steps: 60

What it says of "demo" is what `flyroom demo` grows and tries there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from flyroom.yaml_pages import safe_yaml

PAGES = Path(__file__).parent


def settings(base: str, recipe: str) -> dict[str, Any]:
    """The fields of a recipe that differ on the base of this name; none where nobody has tried any.

    >>> settings("a base that nobody has tried", "sycophancy")
    {}
    """
    return dict(_pages().get(base, {}).get(recipe, {}))


@cache
def _pages() -> dict[str, dict[str, Any]]:
    return {page.stem: safe_yaml(page.read_text(encoding="utf-8")) or {} for page in PAGES.glob("*.yaml")}
