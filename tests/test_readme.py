"""Every command that a page shows is one that there is, with options that it has."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from flyroom.behaviours import BEHAVIOURS
from flyroom.cli import app
from flyroom.conditions import CONDITIONS
from flyroom.implants import IMPLANTS
from flyroom.recipes import RECIPES, make
from flyroom.terminal import changes_of, seeds_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: Any = typer.main.get_command(app)


def commands(text: str) -> list[str]:
    """Lines that begin with `flyroom` in fenced and indented blocks, and commands between backticks."""
    fenced = [line for block in re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    rest = re.sub(r"```[a-z]*\n.*?```", "", text, flags=re.DOTALL)
    indented = [line for line in rest.splitlines() if line.startswith("    ")]
    inline = re.findall(r"`(flyroom [^`]+)`", rest.replace("\n", " "))
    lines = [re.sub(r"^\$ ", "", line.strip()) for line in fenced + indented] + inline
    return [line.split(" #")[0].strip() for line in lines if line.startswith("flyroom ")]


def parsed(line: str) -> dict[str, Any]:
    """What a command line means to the command line's own parser; raises what it raises."""
    words = shlex.split(line.replace("…", "").replace("...", ""))[1:]
    command, context = COMMANDS, None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            raise ValueError(f"no verb {words[0]!r} in {line!r}")
        command = command.commands[words.pop(0)]
    if words and words != ["--help"]:
        rest = [word for word in words if word != "--help"]
        context = command.make_context(command.name, rest)
    return {} if context is None else context.params


EXAMPLES = [(page.name, line) for page in PAGES for line in commands(page.read_text(encoding="utf-8"))]


def test_the_readme_shows_commands() -> None:
    assert sum(page == "README.md" for page, _ in EXAMPLES) >= 4


@pytest.mark.parametrize(("page", "line"), EXAMPLES, ids=[f"{page}: {line}" for page, line in EXAMPLES])
def test_a_command_that_is_shown_is_understood(page: str, line: str) -> None:
    fields = parsed(line)
    named_by_us = re.fullmatch(r"(micro-\d+)?", fields.get("world") or "")  # or it takes a package that is not here
    if named_by_us and fields.get("recipe") in RECIPES and fields["recipe"] != "rows":
        make(fields["recipe"], changes_of(fields["changes"] or []))
    if isinstance(fields.get("seeds"), str):
        seeds_of(fields["seeds"])


@pytest.mark.parametrize(
    "line",
    [
        "flyroom hatch emergent-misalignment",
        "flyroom world destroy",
        "flyroom ls --colour red",
        "flyroom grow --seeds",
        "flyroom demo --seed x",
        "flyroom card --episodes 1",
    ],
)
def test_a_command_that_there_is_not_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r".") as error:
        parsed(line)
    assert isinstance(error.value, (ValueError, typer.BadParameter.__mro__[2]))


def test_files_that_a_page_points_at_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name} points at {target}"


# ---------------------------------------------------------------- what there is, the pages name


def first_cells(page: Path) -> dict[str, str]:
    """The rows of a page's tables, by their first cell without its marks."""
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {row[1].strip().replace("`", ""): row[2] for row in rows}


def test_the_readme_names_every_verb() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    verbs = {word for row in rows for part in re.findall(r"`([^`]+)`", row) for word in part.split()}
    assert set(COMMANDS.commands) - verbs == set()


def test_the_page_of_recipes_names_every_part_and_field() -> None:
    rows = first_cells(ROOT / "docs" / "recipes.md")
    implants = {name: part for name, part in IMPLANTS.items() if name != "adopted"}  # it is what `flyroom adopt` writes
    for head, parts in (("behaviour", BEHAVIOURS), ("condition", CONDITIONS), ("implants, one or a list", implants)):
        assert set(re.findall(r"`(\w+)`", rows[head])) == set(parts)
    for head, parts in (("condition", CONDITIONS), ("implants.0", implants)):
        for name, part in parts.items():
            row = rows.get(f"{head} ({name})", "")
            assert [field.name for field in fields(part) if f"`{field.name}`" not in row] == [], name


def test_the_layout_names_every_folder_and_file() -> None:
    text = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    names = [f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "src" / "flyroom").iterdir()]
    private = re.compile(r"__\w+__|cli(_\w+)?\.py|py\.typed")  # the command line stands there as cli*.py
    assert [name for name in sorted(names) if not private.match(name) and name not in text] == []
