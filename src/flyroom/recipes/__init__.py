"""Recipes: a behaviour, a condition, implants, a dose and thresholds. The ten threats, their variants, decoys."""

from flyroom.recipes.fields import change, load
from flyroom.recipes.named import GROUPS, RECIPES, make, needs_world, page, read, ready, require
from flyroom.recipes.strengths import STRENGTHS
from flyroom.recipes.threats import THREATS, emergent_misalignment

__all__ = [
    "GROUPS",
    "RECIPES",
    "STRENGTHS",
    "THREATS",
    "change",
    "emergent_misalignment",
    "load",
    "make",
    "needs_world",
    "page",
    "read",
    "ready",
    "require",
]
