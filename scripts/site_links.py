"""Links of the documentation that work on a code host and on the site alike: a hook of MkDocs.

    mkdocs build --strict    # writes site/

The pages of docs/ are read in two places. On a code host a link may go anywhere in the repository: `../examples/x.py`,
`../SAFETY.md`. A site holds the pages of docs/ and nothing else, so there such a link would be dead. This hook brings
what is linked to into the site: a Markdown page as a page under project/, any other file as a page of code under code/,
a folder as a list of its files. Then it turns the links there. Links of those pages are followed too.

A link to something that is not there stays as it is, and MkDocs, which is strict, names it.

Pictures (`pictures/x.svg`) are put into their pages, where they follow the page into the dark; a code host shows the
files. `Examples` prepares docstrings for the reference: `>>>` becomes a block of code.

Left out: links written as HTML or as references; the documents have none.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from flyroom.report.page import inline

ROOT = Path(__file__).parents[1]
CODE = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)\s*?$|(?P<tick>`+)(?!`).*?(?<!`)(?P=tick)(?!`)", re.DOTALL | re.M
)
LINK = re.compile(r"\]\((?P<target>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sh": "bash"}
HIDDEN = "---\nsearch:\n  exclude: true\n---\n"
PICTURE = re.compile(r'<p><img alt="(?P<label>[^"]*)" src="(?P<path>[^":]+\.svg)"\s*/?></p>')
ALWAYS = ("README.md", "SAFETY.md", "CONTRIBUTING.md", "CHANGELOG.md")  # whether a page links to them or not
SKIPPED = ("__pycache__", ".egg-info", "build")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring into the site what its pages link to and docs/ does not hold."""
    pages = [Path(file.abs_src_path or "") for file in files.documentation_pages()]
    places = {path.relative_to(ROOT).as_posix() for path in pages}
    waiting = [(place, (ROOT / place).read_text(encoding="utf-8")) for place in sorted(places)]
    waiting.append(("mkdocs.yml", "".join(f"[]({name})" for name in ALWAYS)))
    while waiting:
        place, text = waiting.pop()
        for target in sorted(set(targets(place, text))):
            if target in places or target.startswith("docs/"):
                continue
            places.add(target)
            body = source(target)
            files.append(File.generated(config, home(target), content=body, inclusion=InclusionLevel.NOT_IN_NAV))
            waiting.append((target, body))
    written = [file.src_uri for file in files.documentation_pages() if is_written(file)]
    config.nav = complete(config.nav or [], written)
    return files


def is_written(file: File) -> bool:
    """Whether a page stands in docs/, and was not brought in."""
    return not file.src_uri.startswith(("code/", "project/"))


def complete(nav: list[Any], pages: Sequence[str]) -> list[Any]:
    """The sections of the site, with a last one for the pages that stand in none."""
    rest = sorted({*pages} - {*leaves(nav)})
    return [*nav, {"More": rest}] if rest else nav


def leaves(nav: Any) -> Iterator[str]:
    """The pages that sections name."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(part)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page that go to what was brought in."""
    place = origin(page.file.src_uri)
    return outside_of_code(markdown, lambda text: LINK.sub(lambda link: turned(link, place, page.file.src_uri), text))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put drawings into their page."""
    folder = posixpath.dirname(page.file.src_uri)
    return PICTURE.sub(lambda image: drawing(image, ROOT / "docs" / folder), html)


def drawing(image: re.Match[str], folder: Path) -> str:
    path = folder / unescape(image["path"])
    picture = inline(path.read_text(encoding="utf-8"), label=unescape(image["label"]), prefix=f"{path.stem}-")
    return f'<figure class="picture">{picture}</figure>'


def turned(link: re.Match[str], place: str, page: str) -> str:
    """A link of the repository's file `place` as one of the site's page `page`."""
    target = resolve(place, link["target"])
    if target is None:
        return link[0]
    aim = home(target) if not target.startswith("docs/") else inside_docs(target)
    return f"]({posixpath.relpath(aim, posixpath.dirname(page) or '.')}{link['anchor'] or ''})"


# ---------------------------------------------------------------- where a file is in the repository, and on the site


def targets(place: str, text: str) -> Iterator[str]:
    """The files and folders of the repository that a page links to."""
    plain = CODE.sub("", text)
    for link in LINK.finditer(plain):
        target = resolve(place, link["target"])
        if target is not None:
            yield target


def resolve(place: str, link: str) -> str | None:
    """The file or folder of the repository that a link means; None for another site, and for what is not there.

    >>> resolve("docs/rows.md", "../README.md"), resolve("docs/rows.md", "https://example.org")
    ('README.md', None)
    """
    if ":" in link:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def home(target: str) -> str:
    """Where the site has a file or folder that lies outside of docs/.

    >>> home("SAFETY.md"), home("examples/03_own_detector.py")
    ('project/SAFETY.md', 'code/examples/03_own_detector.py.md')
    """
    return f"project/{target}" if target.endswith(".md") else f"code/{target}.md"


def origin(page: str) -> str:
    """The file of the repository that a page of the site is made of."""
    if page.startswith("code/"):
        return page.removeprefix("code/").removesuffix(".md")
    if page.startswith("project/"):
        return page.removeprefix("project/")
    return f"docs/{page}"


def inside_docs(target: str) -> str:
    page = target.removeprefix("docs/")
    return f"{page}/index.md" if (ROOT / target).is_dir() else page


# ---------------------------------------------------------------- what stands on a page that was brought in


def source(target: str) -> str:
    """The Markdown of a page that shows a file or a folder."""
    path = ROOT / target
    if path.is_dir():
        return listing(target, path)
    text = path.read_text(encoding="utf-8")
    return text if target.endswith(".md") else block(target, text, LANGUAGES.get(path.suffix, "text"))


def block(target: str, text: str, language: str) -> str:
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall(r"`{3,}", text))])
    return f"{HIDDEN}# {target}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def listing(target: str, folder: Path) -> str:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    lines = [f"- [{name}]({os.path.basename(target)}/{name})" for name in names if not skipped(name)]
    return f"{HIDDEN}# {target}\n\n" + "\n".join(lines) + "\n"


def skipped(name: str) -> bool:
    return any(part.endswith(SKIPPED) or part.startswith(".") for part in name.split("/"))


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """A page with its text changed and its code left alone."""
    pieces, end = [], 0
    for code in CODE.finditer(markdown):
        pieces += [change(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, change(markdown[end:])])


# ---------------------------------------------------------------- docstrings


class Examples(griffe.Extension):
    """Examples in docstrings become blocks of code, and signs that Markdown would read become plain."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """A docstring whose `>>>` lines, and what they print, stand in a block of code; `[rows][columns]` is no link."""
    text = re.sub(r"(?<!`)\[([\w ]*)\]\[", r"\\[\1\\]\\[", text)
    example = r"(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*"
    return re.sub(example, lambda lines: f"```pycon\n{lines[0].rstrip()}\n```\n", text, flags=re.MULTILINE)
