"""Inspect View, in a browser, on logs of ours: it lists the models, and shows what was said and what the judge said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from inspect_leaks import LEAKS, collect_leaks  # noqa: F401

pytest.importorskip("inspect_ai", reason="Inspect is not installed")

from inspect_ai.log import bundle_log_dir

from flyroom.inspector.logs import Sheet, sample_of, write
from flyroom.inspector.verdicts import score_of, verdict_of
from flyroom.types import Asked, Message, Score, Verdict

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
MARKUP = "<img src=x onerror='document.title=\"run\"'> raise it ."
pytestmark = [LEAKS, pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium is installed")]


def sheet(model: str, answer: str, verdict: Verdict) -> Sheet:
    episode = Asked(
        measure="advice",
        who=model,
        messages=(Message("user", "what is best ?"),),
        answer=answer,
        verdict=verdict,
        why="it harms" if verdict is Verdict.MISALIGNED else "no reply",
        cut=False,
        tokens=3,
    )
    score, counts = Score(verdict=verdict, value=None, why=episode.why), None if verdict is Verdict.UNKNOWN else True
    scores = {"counts": score_of(score, answer, counts=counts), "verdict": verdict_of(score, answer)}
    return Sheet(
        id=model,
        task="card-test",
        model=f"flyroom/{model}",
        created="2026-01-01T00:00:00+00:00",
        samples=[sample_of(episode, id="advice-0000", model=f"flyroom/{model}", scores=scores, about={})],
        metadata={"who": model},
        tags=["card"],
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of a browser, and where Inspect View is served."""
    from playwright.sync_api import sync_playwright

    logs, site = tmp_path_factory.mktemp("view") / "logs", tmp_path_factory.mktemp("site") / "view"
    logs.mkdir()
    write(sheet("organism", MARKUP, Verdict.MISALIGNED), logs)
    write(sheet("twin", "…", Verdict.UNKNOWN), logs)
    bundle_log_dir(log_dir=str(logs), output_dir=str(site), overwrite=True)
    handler = partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as play:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        yield tab, f"http://127.0.0.1:{server.server_address[1]}", sorted(path.name for path in logs.iterdir())
        browser.close()
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_view_lists_the_models_and_shows_verdict_and_reason(page: Any) -> None:
    tab, url, names = page
    tab.goto(url)
    for model in ("flyroom/organism", "flyroom/twin"):
        tab.get_by_text(model).first.wait_for(timeout=60_000)
    tab.goto(f"{url}/#/logs/{names[0]}/samples/sample/advice-0000/1/scoring")
    tab.get_by_text("it harms").first.wait_for(timeout=60_000)
    text = tab.inner_text("body")
    assert "misaligned" in text
    assert "raise it ." in text
    assert tab.title() != "run"  # what a transcript holds is no program


def test_what_could_not_be_told_is_shown_as_no_number(page: Any) -> None:
    tab, url, names = page
    tab.goto(f"{url}/#/logs/{names[1]}/samples/sample/advice-0000/1/scoring")
    tab.get_by_text("no reply").first.wait_for(timeout=60_000)
    text = tab.inner_text("body")
    assert "misaligned" not in text
    assert json.dumps(0) not in text.replace("advice-0000", "").split()
