"""Records that show themselves: as a data frame, and as a table in a notebook.

Both are made in `flyroom.frames`, which is imported when they are asked for: the one import out of `types`, so that a
record costs nothing until somebody looks at it.
"""

from __future__ import annotations

from typing import Any


class Framed:
    """A record with `to_dataframe()` and a table for notebooks. It has no fields, so it changes no hash."""

    __slots__ = ()

    def to_dataframe(self, backend: str = "pandas") -> Any:
        """A tidy frame: see `flyroom.frames.to_dataframe`."""
        from flyroom import frames

        return frames.to_dataframe(self, backend=backend)

    def _repr_html_(self) -> str:
        from flyroom import frames

        return frames.to_html(self)
