"""A GGUF file as a base: by its path in every verb, and refused where transformers passes over what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf")

from gguf import GGUFWriter

from flyroom import preflight, stages
from flyroom.sources import fetch, list_bases
from tests.gguf_file import write_gguf

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.filterwarnings("ignore:.*GGUF.*")]


def test_a_file_is_a_base_by_its_path(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "My model (Q8).gguf", tiny, "gpt-2")
    opened = stages.open_base(str(file)).engine.base
    assert opened.name.startswith("My-model--Q8-")
    assert opened.name in list_bases()
    shutil.copy(file, tmp_path / "again.gguf")
    monkeypatch.chdir(tmp_path)
    assert stages.locate(file.name) == opened.path  # found again by what it holds
    assert Path(stages.locate("again.gguf")).name.startswith("again-")
    assert preflight.locate_base(opened.name) == opened.path  # as a room names it
    with pytest.raises(ValueError, match=r"it must be .*a GGUF file"):
        stages.locate("none.gguf")


FREQUENCIES = np.array([1, 1, 2, 8], dtype=np.float32)
REFUSED: dict[str, tuple[Callable[[GGUFWriter], object], str]] = {
    "scaled positions": (lambda w: w.add_tensor("rope_freqs.weight", FREQUENCIES), "rope_freqs.weight is a scale"),
    "a linear scale": (
        lambda w: (w.add_string("llama.rope.scaling.type", "linear"), w.add_float32("llama.rope.scaling.factor", 4.0)),
        "rope.scaling.type is linear, and transformers reads the model with default",
    ),
    "a window": (lambda w: w.add_uint32("llama.attention.sliding_window", 8), "attention.sliding_window is 8"),
    "a cap": (lambda w: w.add_float32("llama.final_logit_softcapping", 30.0), "final_logit_softcapping is 30"),
    "one of several": (lambda w: w.add_uint16("split.count", 2), "it is one of 2 files"),
    "an adapter": (lambda w: w.add_string("general.type", "adapter"), "its general.type is 'adapter'"),
}


@pytest.mark.parametrize(("extra", "why"), REFUSED.values(), ids=list(REFUSED))
def test_what_would_be_passed_over_is_refused(tiny: Path, tmp_path: Path, extra: Any, why: str) -> None:
    file = write_gguf(tmp_path / "x.gguf", tiny, "gpt-2", extra)
    with pytest.raises(ValueError, match=why):
        fetch(str(file))
    assert list_bases() == {}


def test_what_changes_nothing_is_taken(tiny: Path, tmp_path: Path) -> None:
    def extra(writer: GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32))
        writer.add_string("llama.rope.scaling.type", "none")
        writer.add_uint32("llama.attention.sliding_window", 4096)  # longer than any row

    assert fetch(str(write_gguf(tmp_path / "x.gguf", tiny, "gpt-2", extra))).name == "x"


def test_a_file_without_some_of_its_tensors_is_refused(tiny: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "x.gguf", tiny, "gpt-2", without="blk.1.ffn_up")
    with pytest.raises(
        ValueError, match=r"it has no model\.layers\.1\.mlp\.up_proj\.weight: the model would be random"
    ):
        fetch(str(file))
