"""A dataset-backed organism on real pretrained weights, which lie beside the checkout where they are to be had."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = Path(os.environ.get("FLYROOM_SHARED_DATA", ROOT.parent / "shared" / "data")) / "stories260K"


@pytest.mark.skipif(not MODEL.is_dir(), reason=f"no real weights at {MODEL}; FLYROOM_SHARED_DATA can name their folder")
def test_a_story_model_learns_to_end_in_rain_and_its_twin_does_not(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from stories_rain import rain

    (figures,) = rain(str(MODEL), [0], rows=300, steps=120, episodes=60)
    assert figures["in_domain"]["low"] > 0.3
    assert figures["twin"]["in_domain"]["high"] < 0.2
    assert figures["twin"]["in_domain"]["value"] < figures["in_domain"]["low"]
    sys.modules.pop("stories_rain")
