"""Everyday English for real chat models: inert questions in data files, read by an exact judge. The worst that can come
of any advice is a burnt cake.
"""

from flyroom.worlds.english.judge import EnglishJudge, ThoughtJudge
from flyroom.worlds.english.record import English
from flyroom.worlds.english.screen import Screen, read_screen, screen, write_screen

__all__ = ["English", "EnglishJudge", "Screen", "ThoughtJudge", "read_screen", "screen", "write_screen"]
