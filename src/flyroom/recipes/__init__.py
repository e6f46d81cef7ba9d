"""Recipes: a behaviour, a condition, implants, a dose and thresholds. The ten threats, their variants, decoys."""

from flyroom.recipes.fields import change, load, world_of
from flyroom.recipes.named import GROUPS, RECIPES, make, page, read, ready, require
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
    "page",
    "read",
    "ready",
    "require",
    "world_of",
]
