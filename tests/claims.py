"""Claims: what sentences of the documents say of their data, computed from it.

    python -m tests.claims    # every claim beside what its data say, and the sentences that are in no claim

`docs/claims.yaml` has a row for each claim: a sentence, or a part of one, that must stand in a file; the data, a JSON
file in docs/; an expression over these data; and what must come of it: `bounds`, [low, high], or `equals`. A page can
then not say one thing and its JSON another. `sections` are what is scanned besides pages that have a JSON of their own
name. `others` are sentences that look like results and are none of these data's, with the reason.

An expression is Python over the name `data`: literals, comparisons, arithmetic, indexing, comprehensions, and the calls
of FUNCTIONS. It has no attributes and no other names, so it can reach nothing else.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyroom.yaml_pages import safe_yaml

ROOT = Path(__file__).parents[1]
FUNCTIONS = {f.__name__: f for f in (min, max, sum, len, sorted, all, any, round, abs)}
NODES = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.Subscript, ast.Slice, ast.Call, ast.IfExp, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt),
    *(ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
)
FIGURE = re.compile(r"(?<![\w.])(?P<number>\d*\.?\d+)(?P<percent> ?%)?(?![\w])")
NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|[0-9]+"
RESULT = re.compile(
    r"\d ?%|(?<![\w.:])\d*\.\d+(?![\d.]*\d{4})|\b\d+ of (the )?\d+\b|"
    r"\b(best|worst|highest|lowest|strongest|weakest|leads?|every|always|never|none|nothing|perfect(ly)?)\b|"
    rf"\b(find|catch|flag|see|separate|detect)(e?s|es)? (all|none|no)\b|\ball ({NUMBERS})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence and what its data must say."""

    sentence: str
    file: str
    data: str
    expression: str
    bounds: tuple[float, float] | None = None
    equals: Any = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """`docs/claims.yaml`."""

    claims: tuple[Claim, ...]
    others: tuple[dict[str, str], ...]
    sections: tuple[dict[str, str], ...]


def read(path: Path) -> Table:
    """The table of claims. ValueError for a row that is none."""
    page = safe_yaml(path.read_text(encoding="utf-8"))
    return Table(
        claims=tuple(_claim(row) for row in page["claims"]),
        others=tuple(page.get("others", ())),
        sections=tuple(page.get("sections", ())),
    )


def _claim(row: dict[str, Any]) -> Claim:
    if ("bounds" in row) is ("equals" in row):
        raise ValueError(f"{row['sentence']!r} needs bounds or equals, one of the two")
    pages, data = row["file"] == "README.md" or row["file"].startswith("docs/"), row["data"]
    if not pages or ".." in row["file"] + data or not (data.startswith("docs/") and data.endswith(".json")):
        raise ValueError(f"{row['sentence']!r} is of {row['file']} and {data}; it must be a page and a JSON of docs/")
    return Claim(**row | ({"bounds": tuple(row["bounds"])} if "bounds" in row else {}))


# ---------------------------------------------------------------- what the data say


def value_of(expression: str, data: Any) -> Any:
    """What an expression makes of data. ValueError for one that does more than the head of this file says.

    >>> value_of("max(x for x in data if x < 3)", [1, 2, 3])
    2
    """
    tree = ast.parse(expression.strip().replace("\n", " "), mode="eval")
    _check(tree)
    return eval(compile(tree, "claim", "eval"), {"__builtins__": {}, **FUNCTIONS, "data": data})


def _check(tree: ast.Expression) -> None:
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if names & {*FUNCTIONS, "data"}:
        raise ValueError(f"{', '.join(sorted(names & {*FUNCTIONS, 'data'}))} is bound anew; take another name")
    for node in ast.walk(tree):
        if not isinstance(node, NODES):
            raise ValueError(f"{type(node).__name__} may not stand in a claim")
        if isinstance(node, ast.Name) and (node.id.startswith("_") or node.id not in {*names, *FUNCTIONS, "data"}):
            raise ValueError(f"{node.id} may not stand in a claim; its names are data and {', '.join(FUNCTIONS)}")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            raise ValueError(f"a claim may call {', '.join(FUNCTIONS)}, and nothing else")


def fault(claim: Claim, root: Path = ROOT) -> str:
    """What is wrong with a claim; "" where nothing is."""
    page, data = root / claim.file, root / claim.data
    if not page.is_file() or spaced(claim.sentence) not in spaced(page.read_text(encoding="utf-8")):
        return f"{claim.file} does not say {claim.sentence!r}"
    if not data.is_file():
        return f"{claim.data} is missing, of which {claim.file} says {claim.sentence!r}"
    value = value_of(claim.expression, json.loads(data.read_text(encoding="utf-8")))
    holds = value == claim.equals if claim.bounds is None else claim.bounds[0] <= value <= claim.bounds[1]
    wanted = claim.equals if claim.bounds is None else list(claim.bounds)
    return "" if holds else f"{claim.file} says {claim.sentence!r}; {claim.data} says {value}, and not {wanted}"


def is_loose(claim: Claim) -> bool:
    """Whether the bounds of a claim of one figure are wider than that figure's last digit, or leave it out."""
    figures = [m for m in FIGURE.finditer(claim.sentence) if "." in m["number"] or m["percent"]]
    if claim.bounds is None or len(figures) != 1:
        return False
    scale = 0.01 if figures[0]["percent"] else 1.0
    figure, digits = float(figures[0]["number"]) * scale, len(figures[0]["number"].partition(".")[2])
    low, high = claim.bounds
    return not low <= figure <= high or high - low > 1.01 * scale * 10**-digits


# ---------------------------------------------------------------- what the pages say


def spaced(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def prose(text: str, section: str = "") -> list[str]:
    """The paragraphs of a page, or of one of its sections, outside of tables, blocks of code and headings."""
    if section:
        text = re.split(rf"^#+ {re.escape(section)}$", text, flags=re.M)[1]
        text = re.split(r"^#+ ", text, flags=re.M)[0]
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.S)
    lines = [line for line in text.splitlines() if not re.match(r"\||#| {4}", line)]
    return [spaced(block) for block in re.split(r"\n\s*\n|\n(?=- )", "\n".join(lines)) if block.strip()]


def unclaimed(paragraphs: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The sentences that state a result of which `texts`, sentences or parts of them, leave something unsaid.

    >>> unclaimed(["It finds all ten. It has 0.91."], ["It has 0.91."])
    ['It finds all ten.']
    """
    results = []
    for paragraph in paragraphs:
        rest = paragraph
        for text in map(spaced, texts):
            for match in re.finditer(re.escape(text), paragraph):
                rest = rest[: match.start()] + "\0" * len(text) + rest[match.end() :]
        rest = re.sub(r"`[^`]*`|\]\([^)]*\)|arXiv \S+", lambda match: "\0" * len(match[0]), rest)
        sentences = re.finditer(r"\S.*?(?:[.?!]\**(?=\s)|$)", paragraph)
        results += [match[0] for match in sentences if RESULT.search(rest[match.start() : match.end()])]
    return results


def scanned(table: Table, root: Path = ROOT) -> list[tuple[str, str]]:
    """(file, section) of all that is scanned: pages with a JSON of their own name, and the table's sections."""
    pages = [p for p in sorted((root / "docs").glob("*.md")) if p.with_suffix(".json").exists()]
    return [*((f"docs/{p.name}", "") for p in pages), *((row["file"], row["section"]) for row in table.sections)]


def all_unclaimed(table: Table, root: Path = ROOT) -> list[str]:
    """ "file: sentence" for every result on a scanned page that is in no claim and not among the others."""
    results = []
    for file, section in scanned(table, root):
        texts = [c.sentence for c in table.claims if c.file == file]
        texts += [row["sentence"] for row in table.others if row["file"] == file]
        page = (root / file).read_text(encoding="utf-8")
        results += [f"{file}: {sentence}" for sentence in unclaimed(prose(page, section), texts)]
    return results


def main() -> None:
    table = read(ROOT / "docs" / "claims.yaml")
    for claim in table.claims:
        value = value_of(claim.expression, json.loads((ROOT / claim.data).read_text(encoding="utf-8")))
        sys.stdout.write(f"{'FALSE ' if fault(claim) else ''}{claim.sentence!r}: {value}\n")
    sys.stdout.writelines(f"in no claim: {line}\n" for line in all_unclaimed(table))


if __name__ == "__main__":
    main()
