"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flyroom.sources import cache
from flyroom.whole import replace_folder, write_whole


def make(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "page").write_text(text)
    return folder


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, names = tmp_path / "page", list[list[str]]()
    monkeypatch.setattr(os, "fsync", lambda _handle: names.append([file.name for file in tmp_path.iterdir()]))
    write_whole(path, "all of it")
    ((draft,),) = names
    assert draft.startswith(".page.")
    assert [file.name for file in tmp_path.iterdir()] == ["page"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_draft_takes_the_place_of_a_folder(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        make(tmp_path / "folder", "old")
    replace_folder(make(tmp_path / "draft", "new"), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "page").read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_the_old_folder_comes_back_where_the_new_one_cannot_have_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    folder, draft, rename = make(tmp_path / "folder", "old"), make(tmp_path / "draft", "new"), os.rename

    def refuse(source: Path, target: Path) -> None:
        if source == draft:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(error):
        replace_folder(draft, folder)
    assert (folder / "page").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["draft", "folder"]


def test_a_base_outlives_a_new_one_that_cannot_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path))

    def fill(text: str) -> Any:
        return lambda folder: {"world": (folder / "weights").write_text(text)}

    folder, rename = cache.write_folder("mine", fill("old")), os.rename

    def refuse(source: Path, target: Path) -> None:
        if target == folder and source.name.startswith(".mine-"):
            raise OSError("the disk is full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="the disk is full"):
        cache.write_folder("mine", fill("newer"))
    assert (folder / "weights").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_draft_that_a_kill_left_is_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path))
    cache.write_folder("mine", lambda _folder: {"world": 1})
    make(tmp_path / "bases" / ".mine-k1ll3d", "half").joinpath(cache.MANIFEST).write_text("{}")
    assert [*cache.list_bases()] == ["mine"]
