"""Where a game may be opened: in a new or an empty folder, or in one that a killed opening left.

An opening leaves a mark in its folder before it writes anything else, and takes it away last. So what a killed one left
is told from files of somebody else's, and that alone is cleared away.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flyroom.claims import GameError
from flyroom.game.chain import LOG, check_heads
from flyroom.game.terms import GAME, SUSPECTS
from flyroom.vault.private import write_over

MARK = ".opening"
WORDS = b"flyroom game 1: this folder is being opened as a game\n"


def require_vacant(folder: Path, sealed: Path) -> None:
    """Raises GameError for a folder that holds a game or anything that no opening left, and for a sealed file that
    exists or lies in the folder. Nothing is written.
    """
    if (folder / GAME).exists():
        raise GameError(f"folder is {folder}; it holds a game already")
    if folder.exists() and not folder.is_dir():
        raise GameError(f"folder is {folder}, which is a file; give a new folder")
    strangers = _list_strangers(folder) if folder.exists() else []
    if strangers:
        names = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
        raise GameError(f"folder is {folder}; it holds other files ({names}): give a new or an empty folder")
    check_heads(folder)  # a file of that name which no game wrote is not ours to take away
    if sealed.exists() or sealed.resolve().is_relative_to(folder.resolve()):
        raise GameError(f"sealed is {sealed}; it must be a new file outside {folder}, which blue reads")


def begin(folder: Path, sealed: Path) -> None:
    """Mark a vacant folder as one that is being opened, without what a killed opening left in it."""
    require_vacant(folder, sealed)
    mark_opening(folder)
    if (folder / SUSPECTS).exists():
        shutil.rmtree(folder / SUSPECTS)
    (folder / LOG).unlink(missing_ok=True)


def mark_opening(folder: Path) -> None:
    """From here on what the folder holds is the opening's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_over(folder / MARK, WORDS)


def end(folder: Path) -> None:
    """The game is open: its folder is nobody's to clear any more."""
    (folder / MARK).unlink(missing_ok=True)


def _list_strangers(folder: Path) -> list[str]:
    """What lies in a folder and no opening left there."""
    paths = sorted(folder.iterdir())
    if not _is_marked(folder):
        return [path.name for path in paths if not _is_draft(path.name, MARK)]
    return [path.name for path in paths if path.is_symlink() or not _is_own(path.name)]


def _is_marked(folder: Path) -> bool:
    mark = folder / MARK
    is_file = mark.is_file() and not mark.is_symlink() and mark.stat().st_size == len(WORDS)
    return is_file and mark.read_bytes() == WORDS


def _is_own(name: str) -> bool:
    return name in (MARK, SUSPECTS, LOG) or any(_is_draft(name, file) for file in (MARK, GAME))


def _is_draft(name: str, of: str) -> bool:
    return name.startswith(f".{of}.")  # as `vault.private` calls what it has not written whole
