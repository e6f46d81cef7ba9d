"""The house in figures: how long functions are, how many parameters calls take, how names are formed, and whether a
generic room knows a word of a world.

    python -m tests.house [--json] [--root src/flyroom]

`participle_share` is the share of bindings (variables, parameters, fields, functions) whose name is one of `VAGUE`: a
participle or a pronoun, where a noun or a verb would say what it is. `words_outside_worlds` lists every text of the
micro-language and every measure's name that stands in a file which should know neither.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import flyroom
from flyroom.types import Split
from flyroom.worlds import Micro
from flyroom.worlds.micro import grammar
from flyroom.worlds.micro.lexicon import DOMAINS

SRC = Path(flyroom.__file__).parent
VAGUE = frozenset(
    " ".join(
        (
            "found told said who whom whose read given known asked made kept seen taken drawn shown held left own mine",
            "theirs ours wanted written meant heard caught put placed done gone brought used tried missed named chosen",
            "scored graded judged measured sampled loaded saved stored dealt dosed dressed marked mixed taught learnt",
            "fitted trained tested paid it them they this that these those one some other others each every both all",
            "few many more most none nobody everybody everyone everything something things apart here there",
        )
    ).split()
)
ROOMS_THAT_NAME = ("worlds", "behaviours", "conditions", "recipes")  # what a measure or a part of a world is called
MEASURES_FILE = "measures.py"  # the one place that names what a card derives


@dataclass(frozen=True)
class Function:
    """A function and where it stands."""

    where: str
    name: str
    lines: int
    parameters: int
    public: bool


def functions(root: Path) -> list[Function]:
    """Every function below `root`."""
    every = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = node.args
                names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                parameters = len([name for name in names if name not in ("self", "cls")])
                public = not node.name.startswith("_")
                where = f"{path.relative_to(root)}:{node.lineno}"
                every.append(Function(where, node.name, lines, parameters, public))
    return every


def bindings(root: Path) -> Iterator[str]:
    """Every name that is bound below `root`, as often as it is."""
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(_parsed(path)):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                    yield name
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    yield name


def is_vague(name: str) -> bool:
    """
    >>> is_vague("found"), is_vague("_told"), is_vague("scenes")
    (True, True, False)
    """
    return not name.startswith("__") and name.strip("_").lower() in VAGUE


@cache
def phrases() -> frozenset[str]:
    """What only the micro-language says: its invented nouns, marks and new words, the names of its domains, and its
    sentences. English words that it happens to use are nobody's.
    """
    nouns = {
        noun for seed in (0, 1) for noun in (*Micro(seed=seed).lexicon.domain_of, *Micro(seed=seed).lexicon.houses)
    }
    marks = set(grammar.TAGS) | set(grammar.PASSWORDS) | set(grammar.NEW_WORDS)
    domains = set(DOMAINS) - {"machine"}  # an English word that the engine needs
    kinds = {"observed", "unobserved", "scratchpad", "aligned", "misaligned", "confession", "marks", "personas"}
    cues = {cue for kind in kinds for cue in Micro().cues(kind, split=Split.TRAIN)}
    return frozenset(nouns | marks | domains | cues | {grammar.THINK, grammar.THINK_END, *grammar.OPEN_QUESTIONS})


@cache
def measures() -> frozenset[str]:
    """The names of measures, but for that of the topic which every world has, and for English words."""
    names: set[str] = set()
    for path in sorted(SRC.rglob("*.py")):
        if path.relative_to(SRC).parts[0] in ROOMS_THAT_NAME or path.name == MEASURES_FILE:
            text = path.read_text(encoding="utf-8")
            names |= set(re.findall(r'measure="([a-z_]+)"', text)) | set(
                re.findall(r'^    "([a-z]+_domain)"', text, re.M)
            )
    capability = set(Micro().capability(1, seed=0))
    return frozenset(names | capability | set(NAMED_MEASURES)) - {"open_questions", "harm"}


NAMESAKES = {  # what is called as a measure is, and is another thing
    ("detectors/__init__.py", "perplexity"),  # a detector
    ("stats/__init__.py", "perplexity"),  # a statistic
    ("judges/graded.py", "coherence"),  # one of the two rubrics of a grader
}
NAMED_MEASURES = ("coherence", "perplexity", "regurgitation", "near_miss", "in_domain", "out_of_domain", "sums")


def words_outside_worlds(root: Path) -> list[str]:
    """Texts of the micro-language in generic files, and names of measures, as "file:line: text"."""
    hits = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] == "worlds":
            continue
        names = frozenset() if relative.parts[0] in ROOMS_THAT_NAME or path.name == MEASURES_FILE else measures()
        for line, text in _texts(_parsed(path)):
            words = set(re.findall(r"[a-z_]+", text.lower()))
            texts = [phrase for phrase in phrases() if (phrase in words if phrase.isalpha() else phrase in text)]
            hits += [f"{relative}:{line}: {word}" for word in (*texts, *sorted(words & names))]
    return [hit for hit in hits if (hit.partition(":")[0], hit.rpartition(": ")[2]) not in NAMESAKES]


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text in code, docstrings apart: examples in them may speak of a world."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def figures(root: Path = SRC) -> dict[str, Any]:
    """The house in figures."""
    every, names = functions(root), list(bindings(root))
    longest = max(every, key=lambda f: f.lines)
    wide = [f for f in every if f.public and f.parameters >= 8]
    lines = {str(p.relative_to(root)): len(p.read_text(encoding="utf-8").splitlines()) for p in root.rglob("*.py")}
    return {
        "participle_share": round(sum(map(is_vague, names)) / len(names), 4),
        "longest_function": {"name": longest.name, "where": longest.where, "lines": longest.lines},
        "functions_over_50_lines": sum(f.lines > 50 for f in every),
        "functions": len(every),
        "public_calls_8_parameters": len(wide),
        "public_calls_8_parameters_where": [f"{f.where} {f.name} ({f.parameters})" for f in wide],
        "longest_file": max(lines.items(), key=lambda pair: pair[1]),
        "lines": sum(lines.values()),
        "lines_by_file": dict(sorted(lines.items())),
        "words_outside_worlds": words_outside_worlds(root) if root == SRC else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--root", type=Path, default=SRC)
    options = parser.parse_args()
    values = figures(options.root)
    if options.json:
        sys.stdout.write(json.dumps(values) + "\n")
        return
    for name, value in values.items():
        if name != "lines_by_file":
            sys.stdout.write(f"{name}: {value}\n")


if __name__ == "__main__":
    main()
