"""Private files are written whole or not at all, and nobody else may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flyroom.vault.private import write_new, write_over


def listing(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


def test_a_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"one", b"another"):
        write_over(path, content)
        assert listing(path.parent) == {"file": (content, 0o600)}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"the only one")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"another")
    assert listing(tmp_path) == {"key": (b"the only one", 0o600)}


def test_where_the_disk_is_full_the_former_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    write_over(tmp_path / "file", b"one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_over(tmp_path / "file", b"another")
    assert listing(tmp_path) == {"file": (b"one", 0o600)}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_over(tmp_path / "file", b"mine")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "file").is_symlink()
