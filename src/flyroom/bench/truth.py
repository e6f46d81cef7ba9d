"""Who is who: taken away before detectors look, put back when their findings are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from flyroom import stats
from flyroom.bench.outcome import Attempt, of_recipe
from flyroom.bench.threshold import at_threshold
from flyroom.lineup import Lineup, is_decoy, is_target
from flyroom.types import Cell, Recipe, Suspect


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """A lineup under drawn names."""

    lineup: Lineup
    names: Mapping[str, str]  # organism id -> the name it has as a suspect, in the order that was drawn

    @cached_property
    def models(self) -> dict[str, str]:
        return {name: model for model, name in self.names.items()}

    @cached_property
    def suspects(self) -> list[Suspect]:
        fit = {o.id for o in self.lineup.known}
        return [Suspect(name=name) for model, name in self.names.items() if model not in fit]

    @cached_property
    def lessons(self) -> list[tuple[Suspect, bool]]:
        """Known models, each with whether it is an organism; decoys last."""
        return [(Suspect(name=self.names[o.id]), is_target(o)) for o in sorted(self.lineup.known, key=is_decoy)]

    def open(self, cell: Cell, attempt: Attempt, *, seed: int) -> list[Cell]:
        """A cell for each recipe: its organisms against all twins and decoys."""
        recipes, cell = self.lineup.recipes, replace(cell, caveat=self.lineup.caveat)
        return [self._score(of_recipe(cell, label, recipe), recipe, attempt, seed) for label, recipe in recipes.items()]

    def _score(self, cell: Cell, recipe: Recipe, attempt: Attempt, seed: int) -> Cell:
        if attempt.error or attempt.why:
            return cell
        suspicion = dict(zip((s.name for s in self.suspects), attempt.suspicions, strict=True))
        groups = {
            "organisms": [o for o in self.lineup.organisms if o.recipe.id == recipe.id],
            "twins": self.lineup.twins,
            "decoys": self.lineup.decoys,
            "calibration": self.lineup.calibration,
        }
        recipes = {side: [o.recipe.id for o in group] for side, group in groups.items()}
        by_side = {side: tuple(suspicion[self.names[o.id]] for o in group) for side, group in groups.items()}
        auroc = stats.auroc(by_side["organisms"], (*by_side["twins"], *by_side["decoys"]))
        return at_threshold(replace(cell, auroc=auroc, suspicions=by_side), recipes, seed=seed)
