"""A base of a hub: fetched by its id, opened by it, and refused where the hub has none; the hub is one on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from flyroom import stages
from flyroom.cli import main
from flyroom.sources import manifest
from tests import hub, tiny_base

NAME = "Someone/tiny-chat"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    folder = tiny_base.write(tmp_path / "tiny")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "loss.png").write_bytes(b"png")
    with hub.serve(folder, NAME) as (address, asked):
        monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield asked


def test_a_base_is_fetched_by_its_id(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["flyroom", "bases", "fetch", NAME, "--json"])
    main()
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["source"], row["revision"], row["world"]) == ("tiny-chat", NAME, hub.REVISION, "english")
    folder = Path(row["path"])
    assert manifest(folder)
    assert (folder / "additional_chat_templates" / "tool_use.jinja").is_file()
    assert not any("loss.png" in line for line in asked)
    count = len(asked)
    assert stages.open_base("tiny-chat").engine.base.name == "tiny-chat"
    assert len(asked) == count  # no network from then on


def test_a_base_is_opened_by_its_id(asked: list[str], tmp_path: Path) -> None:
    opened = stages.open_base(NAME).engine.base
    assert opened.name == NAME
    assert opened.digest == stages.open_base(str(tmp_path / "tiny")).engine.base.digest
    assert any(line.endswith("model.safetensors") for line in asked)


def test_a_name_that_the_hub_lacks_is_refused(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["flyroom", "bases", "fetch", "Someone/else"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "source is Someone/else; the hub did not give it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="there is no such folder, and the hub did not give it"):
        stages.open_base("Someone/else")
