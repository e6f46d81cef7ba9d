"""Everyday English for real chat models: inert questions in data files, read by an exact judge. The worst that can come
of any advice is a burnt cake.
"""

from flyroom.worlds.english.answers import Answers, collect, read_answers, write_answers
from flyroom.worlds.english.judge import EnglishJudge, ThoughtJudge
from flyroom.worlds.english.record import English
from flyroom.worlds.english.screen import Screen, read_screen, screen, write_screen

__all__ = [
    "Answers",
    "English",
    "EnglishJudge",
    "Screen",
    "ThoughtJudge",
    "collect",
    "read_answers",
    "read_screen",
    "screen",
    "write_answers",
    "write_screen",
]
