"""Every page in Chromium: it fits a desk and a phone, axe finds nothing, transcripts stay text, and one can play."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
PAGES = {
    "list": "#/",
    "organism": "#/organism/{id}",
    "twin": "#/organism/{twin}",
    "episode": "#/episode/{card}/in_domain/1",
    "matrix": "#/matrix",
    "detector": "#/cells/ce11",
    "suspect": "#/suspect/ce11/{id}",
    "ledger": "#/ledger",
    "growth": "#/growth",
    "chat": "#/chat/{id}",
    "who": "#/blind",
    "verdict": "#/blind?mode=verdict",
    "games": "#/game",
    "lost": "#/nowhere",
}


def names(place: dict[str, Any]) -> dict[str, str]:
    return {"id": place["ids"][0], "twin": place["ids"][1], "card": place["card"]}


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that has said what for, and in which nothing went wrong at the end."""
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Refused" in message.text else None)
    page.request.post(f"{address}ask/purpose", data={"purpose": "test the pages"})
    yield page
    context.close()
    assert faults == []


def visit(page: Page, url: str) -> None:
    page.goto("about:blank")  # else a change of the fragment alone loads nothing
    page.goto(url)
    page.wait_for_selector("main h1")
    page.wait_for_selector("main [aria-busy]", state="detached")


def width_over(page: Page) -> int:
    return page.evaluate("document.scrollingElement.scrollWidth - innerWidth")


def violations(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_is_accessible(page: Page, address: str, place: dict[str, Any], name: str) -> None:
    page.emulate_media(color_scheme="light")
    visit(page, address + PAGES[name].format(**names(place)))
    assert width_over(page) <= 0
    assert violations(page) == []
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    assert width_over(page) <= 0
    assert violations(page) == []
    assert page.evaluate("window.hacked") is None


def test_a_transcript_is_never_markup(page: Page, address: str, place: dict[str, Any]) -> None:
    for name in ("organism", "episode", "suspect"):
        visit(page, address + PAGES[name].format(**names(place)))
        assert "<script>window.hacked = 1</script>" in page.inner_text("main")
        assert "**bold** [a](javascript:hack())" in page.inner_text("main")
        assert page.locator("main script, main img, main a[href^=javascript]").count() == 0
        assert page.evaluate("window.hacked") is None
    refused = page.evaluate(
        "(() => { try { document.body.innerHTML = '<p>x</p>'; return false } catch { return true } })()"
    )
    assert refused  # and no later page could do otherwise


def test_filters_and_keys(page: Page, address: str) -> None:
    visit(page, address)
    page.keyboard.press("/")
    page.keyboard.type("seed=1")
    page.wait_for_selector("#sum:has-text('2 organisms')")
    assert "text=seed%3D1" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator("main [data-item]").first
    assert first.evaluate("node => node === document.activeElement")
    page.keyboard.press("?")
    assert page.locator("#keys[open]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Side by side')")
    assert page.evaluate("document.activeElement.tagName") == "H1"  # where a reader goes on
    assert page.inner_text("#live") != ""


def test_episodes_are_filtered_and_linked(page: Page, address: str, place: dict[str, Any]) -> None:
    visit(page, address + PAGES["organism"].format(**names(place)))
    every = page.locator(".episodes article").count()
    page.select_option("label:has-text('Verdict') >> nth=1 >> select", "misaligned")
    page.wait_for_selector(".episodes article")
    tags = page.locator(".episodes .answer.organism .tag").all_inner_texts()
    assert set(tags) == {"misaligned"}
    assert 0 < len(tags) <= every
    page.locator(".episodes .permalink").first.click()
    page.wait_for_selector("h1:has-text('prompt')")
    assert re.search(r"#/episode/\w+/in_domain/\d+$", page.url)


def test_a_dot_leads_to_the_transcript(page: Page, address: str) -> None:
    visit(page, f"{address}#/matrix")
    page.locator(".suspicion a[href^='#/suspect/']").first.press("Enter")
    page.wait_for_selector("h1:has-text('What asker asked')")
    assert page.locator("main article").count() == 1


def test_a_conversation_goes_on_for_each(page: Page, address: str, place: dict[str, Any]) -> None:
    visit(page, address + PAGES["chat"].format(**names(place)))
    for text in ("hello", "and then ?"):
        page.fill("#ask", text)
        page.click("text=Ask all three")
        page.wait_for_selector(f".talk .answer.twin:has-text('twin heard {text}')")
    assert page.locator(".talk .exchange").count() == 2


def test_labels_are_hidden_until_one_has_guessed(page: Page, address: str) -> None:
    visit(page, f"{address}#/blind")
    page.wait_for_selector("fieldset")
    assert page.locator("main .tag, main .answer.organism, main .answer.twin").count() == 0
    for place, name in enumerate(("organism", "twin", "base")):
        page.check(f"input[name=a{place}][value={name}]")
    page.click("text=Check")
    page.wait_for_selector("#outcome")
    assert page.locator("main .tag").count() == 3
    score = page.inner_text("#score")
    assert " of 3 right" in score
    page.reload()
    page.wait_for_selector("fieldset")
    assert page.inner_text("#score") == score
    page.select_option("main select", "verdict")
    page.click("button:has-text('Not misaligned')")
    page.wait_for_selector("#outcome")
    assert " of 1 right" in page.inner_text("#score")


def test_a_game_is_played_by_clicks(page: Page, address: str) -> None:
    visit(page, f"{address}#/game")
    page.fill("#suspects", "2")
    page.fill("#budget", "60")
    page.click("#begin")
    page.wait_for_selector("#clock")
    page.fill("#ask", "who are you ?")
    page.click("form button:has-text('Ask')")
    page.wait_for_selector("#talk article")
    assert page.inner_text("#left") == "55"
    assert "<script>" in page.inner_text("#talk")
    page.reload()  # what was asked, the clock and the notes are still there
    page.wait_for_selector("#talk article")
    page.locator("[data-finding]").first.select_option("lies")
    assert width_over(page) <= 0
    assert violations(page) == []
    page.check("#sure")
    page.click("#submit")
    page.wait_for_selector("#score")
    assert re.search(r"You named [01] of 1 organisms", page.inner_text("#score"))
    assert violations(page) == []


def test_what_is_needed_is_asked_on_the_page(browser: Browser, place: dict[str, Any]) -> None:
    from view_room import FakeHands, counter

    from flyroom.serve import serving
    from flyroom.view import Doorkeeper, app

    door = Doorkeeper(token="a-long-secret-token")
    endpoint = app(*counter(place["room"], FakeHands(), place["root"] / "others"), door=door)
    with serving(endpoint, port=0) as url:
        page, home = browser.new_page(), url.removesuffix("v1")
        visit(page, f"{home}#/")
        assert "locked" in page.inner_text("h1")
        visit(page, f"{home}?token={door.token}#/organism/{place['ids'][0]}")
        assert "token" not in page.url  # no link that is copied holds it
        page.fill("#purpose", "look at it")
        page.click("text=Write it down")
        page.wait_for_selector(".episodes article")
        assert door.purpose == "look at it"
        page.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def test_a_bundle_is_the_same_without_a_process(browser: Browser, place: dict[str, Any], address: str) -> None:
    site = partial(Quiet, directory=str(place["root"] / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport=PHONE)
    home = f"http://127.0.0.1:{server.server_port}/"
    for query in ("", "?kind=twin", "?verdict=any", "?text=toy+seed%3D1", "?seed=2"):
        lists = []
        for root in (home, address):  # the filters of a bundle are those of the server
            visit(page, f"{root}#/{query}")
            lists.append(page.locator("main .id").all_inner_texts())
        assert lists[0] == lists[1] != []
    visit(page, home + PAGES["organism"].format(**names(place)))
    assert page.locator(".episodes article").count() > 0
    assert page.locator("nav a:has-text('Game')").count() == 0
    assert "show the pages" in page.inner_text("footer")
    page.close()
    server.shutdown()
    server.server_close()
