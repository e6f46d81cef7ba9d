"""A folder that would be opened as another base than it is."""

from __future__ import annotations

import json
from pathlib import Path

import engine_models
import pytest

from flyroom.engine import TorchEngine


def test_a_template_of_a_processor_is_not_passed_over(tmp_path: Path) -> None:
    """Tokenizers do not read `chat_template.json`: the base would be asked as one without a template."""
    engine_models.model("llama").save_pretrained(tmp_path)
    engine_models.tokenizer(chat=False).save_pretrained(tmp_path)
    assert not TorchEngine.open(tmp_path, device="cpu").parts.renderer.is_chat
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": engine_models.TEMPLATE}))
    with pytest.raises(ValueError, match=r"its chat template lies in chat_template\.json.*write it into a file chat_"):
        TorchEngine.open(tmp_path, device="cpu")
    (tmp_path / "chat_template.jinja").write_text(engine_models.TEMPLATE)
    assert TorchEngine.open(tmp_path, device="cpu").parts.renderer.is_chat
