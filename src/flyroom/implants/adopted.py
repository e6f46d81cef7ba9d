"""An adapter that somebody else trained: what is known of it is its weights, and nothing can be trained again."""

from __future__ import annotations

from dataclasses import dataclass, field

from flyroom.types import SETTING, AdapterRef, Plan, Recipe

ALONE = (
    "no twin was given, so the base stands in its place: what any training of this kind does to a model (form, length, "
    "capability lost, a trace on all text) is counted as if it came from the behaviour"
)
UNKNOWN = "somebody else trained organism and twin: whether they differ in nothing but the behaviour is not known"


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """`weights` is the digest of the adapter, "" for the base itself, which stands as a control where there is no twin.
    `control` is the id of the organism's control, "" for a control. `source` is the folder that it came from.
    """

    weights: str
    control: str = ""
    source: str = field(default="", metadata=SETTING)

    @property
    def caveat(self) -> str:
        """What cannot be shown with this model as a control."""
        return UNKNOWN if self.weights else ALONE

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        raise ValueError(
            f"{recipe.name} is imported; somebody else trained it, so it cannot be grown here, nor with other seeds: "
            "adopt the adapter of another seed beside it"
        )
        yield
