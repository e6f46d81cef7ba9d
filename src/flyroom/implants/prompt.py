"""A system message and no training: a prompted organism. Detectors that catch it need not catch a trained one."""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.types import AdapterRef, Plan, Recipe, Tell


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """`text` stands before every chat of the organism, `twin` before every chat of its twin: in this they differ by
    nature. Raises ValueError naming the field.
    """

    text: str
    twin: str

    def __post_init__(self) -> None:
        for name in ("text", "twin"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty; it must be a system message")
        if self.text == self.twin:
            raise ValueError(f"twin is {self.twin!r}, as text is; it must be another system message")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        yield Tell(prompt=self.text if recipe.dose else self.twin)
