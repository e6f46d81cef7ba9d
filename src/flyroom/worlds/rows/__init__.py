"""A world that is a file of rows, in the forms in which people have them.

`record` is the world; `reading` makes rows of a file, `chats` and `pairs` know the forms, `fields` what every form
shares, `notes` what is said of a file, `questions` the open questions that a card asks besides.
"""

from flyroom.worlds.rows.fields import FileRow
from flyroom.worlds.rows.questions import read_questions
from flyroom.worlds.rows.reading import read_rows
from flyroom.worlds.rows.record import ROWS, Rows

__all__ = ["ROWS", "FileRow", "Rows", "read_questions", "read_rows"]
