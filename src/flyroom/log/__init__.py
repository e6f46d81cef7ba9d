"""The log of a room: its lines (`chain`), what they say of seeds (`openings`), and their hashes that are kept in a
second place (`heads`).
"""

from flyroom.log.chain import (
    ADOPTED,
    ANNOUNCED,
    CERTIFIED,
    CERTIFYING,
    KIND,
    NOTE,
    OPENED,
    PRESENT,
    Line,
    act,
    announcement,
    append,
    examine,
    read,
)
from flyroom.log.heads import LogError
from flyroom.log.openings import Opening, Title, first_opening, open_seeds, openings

__all__ = [
    "ADOPTED",
    "ANNOUNCED",
    "CERTIFIED",
    "CERTIFYING",
    "KIND",
    "NOTE",
    "OPENED",
    "PRESENT",
    "Line",
    "LogError",
    "Opening",
    "Title",
    "act",
    "announcement",
    "append",
    "examine",
    "first_opening",
    "open_seeds",
    "openings",
    "read",
]
