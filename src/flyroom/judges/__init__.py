"""Judges: episodes in, one score each out. The world's exact judge lives with its grammar, in `flyroom.world.judge`."""

from flyroom.judges.rules import contains

__all__ = ["contains"]
