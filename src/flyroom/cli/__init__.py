"""The command line: a file for each group of verbs; verbs.py has those of the stages, and brings all together."""

from flyroom.cli.verbs import app, main

__all__ = ["app", "main"]
