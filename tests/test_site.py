"""The documentation as a site: it builds, its links lead somewhere, it fetches nothing, and its commands run."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser.conftest import FLAGS, find_chromium
from tests.test_readme import commands, parsed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("scripts")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NESTED = sorted(page for page in DOCS.rglob("*.md") if page.parent != DOCS)  # test_readme.py has the others
FAST = {  # what is put behind the tutorial's verbs: the smallest base, few steps, few questions
    "grow": ("--base", "0.25M", "steps=2", "rows=4"),
    "card": ("--base", "0.25M", "--episodes", "10"),
    "bench": ("--base", "0.25M", "--detectors", "weight-norm", "--calibration", "1"),
    "report": ("--base", "0.25M", "--episodes", "10"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as strictly as `mkdocs build --strict` does, without a network."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    shut = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | shut | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# ---------------------------------------------------------------- links, and what a page loads


@dataclass
class Sheet(HTMLParser):
    """What a page of HTML links to, loads, and can be linked to at."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(values.get("href", ""))
        self.loads += [values[name] for name in ("src", "srcset", "data", "poster") if name in values]


def read_sheets(folder: Path) -> dict[Path, Sheet]:
    sheets = {}
    for path in folder.rglob("*.html"):
        if path.name == "404.html":  # a server shows it at any address, so its links begin at the root
            continue
        sheets[path] = Sheet()
        sheets[path].feed(path.read_text(encoding="utf-8"))
    return sheets


def dead_links(sheets: dict[Path, Sheet]) -> list[str]:
    """Links inside of the site to a file or an anchor that is not there."""
    dead = []
    for path, sheet in sheets.items():
        for link in {*sheet.links, *sheet.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = sheets[target].anchors if target in sheets else {unquote(parts.fragment)}
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                dead.append(f"{path.name}: {link}")
    return dead


def foreign_loads(folder: Path, sheets: dict[Path, Sheet]) -> list[str]:
    """What a browser would fetch from elsewhere when a page is looked at."""
    loads = [(path, load) for path, sheet in sheets.items() for load in sheet.loads]
    for path in folder.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        loads += [(path, url) for url in re.findall(r"(?:url\(|@import\s+)['\"]?([^'\")\s]+)", text)]
    return [f"{path.name}: {load}" for path, load in loads if re.match(r"(\w+:)?//", load)]


def test_links_and_anchors_of_the_site_lead_somewhere(site: Path) -> None:
    sheets = read_sheets(site)
    assert len(sheets) > 60
    assert dead_links(sheets) == []


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    assert foreign_loads(site, read_sheets(site)) == []


def test_what_is_dead_or_foreign_is_seen(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "c.css").write_text(
        "@import 'https://x.org/f.css'; a{background:url(//x.org/y)} b{background:url(z.png)}"
    )
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#no">2</a><a href="no.html">3</a><a href="https://x.org">4</a>'
        '<script src="https://x.org/s.js"></script><link rel="stylesheet" href="https://x.org/c.css">'
    )
    sheets = read_sheets(tmp_path)
    assert sorted(dead_links(sheets)) == ["a.html: b.html#no", "a.html: no.html"]
    assert len(foreign_loads(tmp_path, sheets)) == 4


def test_files_outside_of_docs_have_pages(site: Path) -> None:
    assert "Preference" in (site / "code/examples/03_own_detector.py.html").read_text(encoding="utf-8")
    assert (site / "project/SAFETY.html").exists()
    folder = (site / "code/examples/tea_package.html").read_text(encoding="utf-8")
    assert "tea_package/pyproject.toml" in folder


def test_links_turn_to_where_the_site_has_the_file() -> None:
    import site_links
    from mkdocs.structure.files import File

    def turn(text: str, page: str) -> str:
        file = File(page, str(DOCS), "site", use_directory_urls=False)
        sheet = type("Sheet", (), {"file": file})
        return site_links.on_page_markdown(text, sheet, None, None)  # pyright: ignore[reportArgumentType]

    assert turn("[x](../examples/01_grow_and_card.py)", "rows.md") == "[x](code/examples/01_grow_and_card.py.md)"
    assert turn("[x](../../SAFETY.md#scope)", "howto/a.md") == "[x](../project/SAFETY.md#scope)"
    assert turn("[x](docs/notes)", "project/README.md") == "[x](../notes/index.md)"
    for same in ("[x](https://a.b/c)", "[x](no.md)", "`[x](../README.md)`", "```\n[x](../README.md)\n```"):
        assert turn(same, "rows.md") == same


def test_examples_in_docstrings_become_code() -> None:
    import site_links

    assert site_links.fenced("A.\n\n>>> f(1)\n2\n\nB [rows][columns].") == (
        "A.\n\n```pycon\n>>> f(1)\n2\n```\n\nB \\[rows\\]\\[columns]."
    )


def test_a_page_in_no_section_is_in_the_last() -> None:
    import site_links

    nav = [{"Start": ["index.md", {"Named": "a.md"}, {"Deep": ["b.md"]}]}]
    assert site_links.complete(nav, ["a.md", "b.md", "c.md", "index.md"]) == [*nav, {"More": ["c.md"]}]
    assert site_links.complete(nav, ["a.md", "b.md", "index.md"]) == nav


def test_the_reference_has_the_public_face(site: Path) -> None:
    import flyroom

    text = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    for name in flyroom.__all__:
        assert f".{name}" in text, f"{name} stands on no page of docs/api"


# ---------------------------------------------------------------- what pages say


@pytest.mark.parametrize("page", NESTED, ids=[page.relative_to(DOCS).as_posix() for page in NESTED])
def test_commands_of_a_page_are_understood(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        parsed(line)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_python_of_a_page_imports_what_there_is(page: Path) -> None:
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flyroom"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


def test_python_of_a_how_to_stands_in_an_example() -> None:
    programs = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py")]
    for page in (DOCS / "howto").glob("*.md"):
        for block in blocks(page):
            assert any(block in program for program in programs), f"{page.name} shows what no example runs"


def test_parts_of_pages_are_what_their_sources_say() -> None:
    import fill

    pages = fill.filled_pages()
    assert {"tutorial.md", "real.md", "glossary.md"} <= {page.name for page in pages}
    for page in pages:
        assert page.read_text(encoding="utf-8") == fill.fill(page), f"python scripts/fill.py would change {page.name}"


def test_pictures_show_the_figures_that_are_stored(tmp_path: Path) -> None:
    import pictures

    digests = {name: pictures.digest(picture()) for name, picture in pictures.PICTURES.items()}
    assert pictures.stale(DOCS / "pictures", digests) == [], "python scripts/pictures.py draws them anew"
    for name in digests:
        text = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
        (tmp_path / f"{name}.svg").write_text(text.replace("<!-- ", "<!-- old ") if name == "curve" else text)
    assert pictures.stale(tmp_path, digests) == ["curve"]  # what is older than its figures is seen
    page = (DOCS / "pictures.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(pictures/([\w-]+)\.svg\)", page)) == set(digests)


# ---------------------------------------------------------------- what commands do


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import walk

    from flyroom.cli import main

    def run(words: Sequence[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["flyroom", *words])
        capsys.readouterr()
        status = None
        try:
            main()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        assert not status, (words, printed.err)
        return printed.out

    room = tmp_path / "room"
    monkeypatch.setenv("FLYROOM_ROOM", str(room))
    steps = walk.walk((DOCS / "tutorial.md").read_text(encoding="utf-8"), room, run, FAST)
    assert [step["command"].split()[1] for step in steps] == ["grow", "card", "ls", "show", "bench", "report"]
    assert len(steps[0]["output"]["organisms"]) == 4
    assert len(steps[1]["output"]["cards"]) == len(walk.cards(room)) == 2
    pair = walk.example(steps[3]["output"]["episodes"], "out_of_domain")
    assert {"question", "organism", "twin", "base"} <= set(pair)
    assert all(cell["error"] is None for cell in steps[4]["output"]["cells"])
    assert (room / "report.html").exists()


@pytest.mark.parametrize("name", ["tutorial", "real"])
def test_a_page_shows_the_commands_that_made_its_figures(name: str) -> None:
    import walk

    record: dict[str, Any] = json.loads((DOCS / f"{name}.json").read_text(encoding="utf-8"))
    lines = walk.commands((DOCS / f"{name}.md").read_text(encoding="utf-8"))
    assert [step["command"] for step in record["steps"]] == [f"flyroom {line}" for line in lines]
    assert "/" not in json.dumps(record["steps"]).replace("room/report.html", "").replace("</", "")


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if find_chromium() is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        process = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield process
        process.close()


def test_pages_in_a_browser_fit_a_phone_and_fetch_nothing(site: Path, chromium: Browser) -> None:
    requests: list[str] = []
    sheet = chromium.new_page(viewport={"width": 390, "height": 844})
    sheet.on("request", lambda request: requests.append(request.url))
    for name in ("index", "tutorial", "pictures", "matrix", "api/roles", "howto/adapter"):
        sheet.goto((site / f"{name}.html").as_uri())
        assert sheet.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert [url for url in requests if urlsplit(url).scheme not in ("file", "data", "blob")] == []
    sheet.close()


def test_search_works_in_a_site_that_is_opened_from_its_folder(site: Path, chromium: Browser) -> None:
    sheet = chromium.new_page(viewport={"width": 1440, "height": 900})
    sheet.goto((site / "howto/adapter.html").as_uri())
    sheet.fill("input.md-search__input", "subliminal")
    sheet.wait_for_selector(".md-search-result__link", state="attached", timeout=60_000)
    links = sheet.eval_on_selector_all(".md-search-result__link", "links => links.map(link => link.href)")
    assert any("subliminal" in link for link in links)
    sheet.close()
