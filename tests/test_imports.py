"""Who may import whom: every import of `src/flyroom`, read with `ast`, held against the table of the design.

Imports inside functions and under TYPE_CHECKING count, as does `import_module` of a name that is written out: the
table is about what a reader has to know to read a file, and about what a detector could reach.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyroom

SRC = Path(flyroom.__file__).parent

LEAF, ROLE = {"types"}, {"types", "stats"}
EVERYTHING = {
    *("types", "stats", "room", "engine", "worlds", "judges", "behaviours", "conditions", "implants", "recipes"),
    *("lockstep", "grow", "card", "detectors", "bench", "apart", "lab", "game", "treatments", "mechanism", "report"),
    *("stages", "demo", "grid", "replies", "terminal", "redteam", "serve", "traces", "plugins", "yaml_pages"),
    *("lineup", "measures", "tallies", "episodes", "mixing", "claims", "log", "prereg", "sources", "doctor", "marks"),
    "view",
    *("vault", "whole", "purpose", "ranges"),
    "cell",
    "preflight",
    "frames",
    "guard",
    *("adapters", "treat", "ledger", "inspector", "assess", "client"),
}  # all but the command line, which nobody imports
TABLE: dict[str, set[str]] = {
    **{key: set[str]() for key in ("plugins", "yaml_pages", "whole", "purpose", "ranges")},
    "sources": {"whole", "worlds"},
    "types": {"frames"},  # a record shows itself: types/framed.py, when it is asked to
    **dict.fromkeys(("stats", "report", "vault"), LEAF),
    "client": set(),
    "engine": {*LEAF, "client", "processor", "whole"},
    "assess": ROLE,
    "room": {*LEAF, "vault", "whole"},
    "inspector": LEAF,
    "judges": {*LEAF, "inspector", "client"},
    "worlds": {*LEAF, "judges", "plugins", "processor", "whole", "yaml_pages"},  # a file is judged by a pattern
    **{key: {*LEAF, "judges", "plugins"} for key in ("behaviours", "conditions")},
    "implants": {*ROLE, "plugins", "ranges"},
    "detectors": {*ROLE, "plugins", "inspector"},
    "mechanism": {*ROLE, "adapters", "ranges"},
    "treatments": {*ROLE, "plugins", "adapters", "ranges"},
    "lockstep": ROLE,
    "claims": set(),
    "game": {*ROLE, "claims", "vault"},
    "mixing": LEAF,
    "adapters": LEAF,
    "grow": {*ROLE, "lockstep", "mixing"},
    "treat": {*ROLE, "lockstep", "grow", "adapters"},
    "ledger": {*ROLE, "card", "episodes", "grow", "lockstep", "measures", "tallies", "adapters", "treat"},
    "episodes": LEAF,
    "tallies": LEAF,
    "measures": {*ROLE, "tallies"},
    "card": {*ROLE, "tallies", "measures", "episodes"},
    "redteam": {*ROLE, "claims", "cell"},
    **{key: set() for key in ("guard", "processor")},
    "serve": {*LEAF, "guard", "engine", "purpose"},
    "view": {*LEAF, "card", "claims", "episodes", "game", "guard", "log", "report", "room", "serve", "whole"},
    **dict.fromkeys(("replies", "traces"), LEAF),
    "cell": {*LEAF, "vault"},  # to know what must stay hidden
    "apart": {*LEAF, "cell"},
    "material": LEAF,
    "lab": {*LEAF, "adapters", "material", "mechanism", "traces"},
    "lineup": {*ROLE, "cell", "adapters"},
    "bench": {*ROLE, "apart", "cell", "lab", "lineup", "replies", "traces", "episodes"},
    "terminal": {"types", "yaml_pages", "purpose"},
    "recipes": {
        *("types", "measures", "worlds", "behaviours", "conditions", "implants", "judges", "mixing", "yaml_pages")
    },
    "grid": {"types", "recipes"},
    "preflight": {"types", "recipes", "grid", "sources", "worlds"},
    "frames": {*LEAF, "report", "whole"},
    "log": {"types", "room", "vault"},
    "prereg": {*ROLE, "card", "log", "room", "vault", "whole"},
    "marks": {"types", "vault", "engine", "purpose", "whole"},
    **dict.fromkeys(("", "stages", "demo", "inspect_entry"), EVERYTHING),
    "cli": {*EVERYTHING, "cluster"},
    "doctor": {*LEAF, "engine", "serve"},
    "cluster": {"types", "room", "worlds", "grow", "lineup", "stages"},
    "__main__": {"cli"},
}


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name below flyroom) of every import of ours in a file of `package` ("" is flyroom itself)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["flyroom", *filter(None, package.split("."))]
            home = ".".join(above[: len(above) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (home, node.module)))
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == "flyroom" else [origin]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [str(node.args[0].value)]
        for name in names:
            if name.split(".")[0] == "flyroom":
                yield getattr(node, "lineno", 0), name.removeprefix("flyroom").lstrip(".")


def forbidden(root: Path) -> list[str]:
    """Every import below `root` that the table does not allow, as "file:line part -> part"."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        parts = parts[:-1] if is_package else parts
        part = parts[0] if parts else ""
        if part not in TABLE:
            found.append(f"{path}: {part} stands nowhere in the table")
            continue
        allowed = TABLE[part] | ({part} if part else set())
        for line, name in imports(path, ".".join(parts if is_package else parts[:-1])):
            if name.split(".")[0] not in allowed:
                found.append(f"{path}:{line} {part or 'flyroom'} -> {name or 'flyroom'}")
    return found


def test_nobody_imports_what_the_design_forbids() -> None:
    assert forbidden(SRC) == []


def test_every_file_was_read() -> None:
    seen = {path.relative_to(SRC).parts[0].removesuffix(".py") for path in SRC.rglob("*.py")}
    assert {"types", "engine", "worlds", "detectors", "bench", "cli"} <= seen
    read = [name for path in SRC.rglob("*.py") for _, name in imports(path, "")]
    assert len(read) > 50  # a reader that sees nothing would find nothing wrong


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("types/card.py", "import flyroom.stats", "types -> stats"),
        ("stats.py", "from flyroom.room import Room", "stats -> room"),
        ("report/page.py", "from flyroom import stats", "report -> stats"),
        ("report/page.py", "from flyroom.engine import TorchEngine", "report -> engine"),
        ("detectors/probe.py", "from flyroom.worlds import Micro", "detectors -> worlds"),
        ("detectors/probe.py", "import flyroom.room as store", "detectors -> room"),
        ("detectors/probe.py", "def f():\n    from flyroom.recipes import make", "detectors -> recipes"),
        ("detectors/probe.py", "from importlib import import_module\nimport_module('flyroom.recipes')", "-> recipes"),
        ("detectors/probe.py", "from ..worlds import Micro", "detectors -> worlds"),
        ("detectors/__init__.py", "from ..bench import bench", "detectors -> bench"),
        ("detectors/probe.py", "from .. import bench", "detectors -> bench"),
        ("implants/sft.py", "from flyroom.behaviours import Trait", "implants -> behaviours"),
        ("behaviours/rows.py", "from flyroom.conditions import Always", "behaviours -> conditions"),
        ("judges/rules.py", "from flyroom.worlds import Micro", "judges -> worlds"),
        ("behaviours/tea.py", "from flyroom.worlds import Micro", "behaviours -> worlds"),
        ("card.py", "from flyroom.worlds.micro import Lexicon", "card -> worlds"),
        (
            "grow.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from flyroom.room import Room",
            "-> room",
        ),
        ("recipes.py", "from flyroom import grow", "recipes -> grow"),
        ("stages.py", "from flyroom.cli import main", "stages -> cli"),
        ("__init__.py", "from flyroom.cli import main", "flyroom -> cli"),
        ("engine/bank.py", "import os, flyroom", "engine -> flyroom"),
        ("novel/thing.py", "import os", "stands nowhere"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, text: str, what: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (found,) = forbidden(tmp_path)
    assert what in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("detectors/probe.py", "import os\nfrom flyroom.types import Lab\nfrom flyroom import stats, types"),
        ("detectors/__init__.py", "from flyroom.detectors.probe import Probe\nfrom .probe import Probe"),
        ("worlds/rows.py", "from flyroom.judges import Pattern"),
        ("stages.py", "import flyroom.bench as benching"),
        ("grow.py", '"""\n>>> from flyroom.recipes import make\n"""'),
    ],
)
def test_what_is_allowed_is_not_found(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert forbidden(tmp_path) == []
