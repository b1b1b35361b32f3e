"""Help pages, fetched as Debian packages: GNOME's (some 35 languages) and LibreOffice's (Korean and English).

Nothing of them is kept in this repository; the machine's own apt sources are used, into private folders, without root.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import polars as pl

from osparse.algorithms.language import hangul_share, is_hangul
from osparse.contracts.dataset import Dataset
from osparse.corpus import Input, build_from
from osparse.corpus.sources.published.apt import fetch_lists

LANGS = {"ko": "ko", "en": "en-US"}
"""Language -> LibreOffice's folder of it."""
LIBREOFFICE = tuple(f"libreoffice-help-{lang.lower()}" for lang in LANGS.values())
GNOME = ("gnome-user-docs",)
PAGES = 500
"""LibreOffice's, of 2,561, drawn by the hash of their names."""
SHORTEST = 200
"""Characters of an English page."""
TRANSLATED = 0.5
"""Share of Hangul from which on a page counts as translated."""
_BLOCKS = frozenset({"p", "h1", "h2", "h3", "li", "td", "div", "br"})
_LEFT_OUT = frozenset({"script", "style", "aside", "header", "nav", "footer"})


@dataclass(frozen=True)
class Page:
    group: str
    """The page's name, the same for its translations."""
    lang: str
    title: str
    text: str
    """Without the title."""


def fetch(packages: Sequence[str], folder: Path) -> Path:
    """Download the packages and unpack them into ``folder``, unless it is there already."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix="osparse-apt-") as lists:
            fetch_lists(Path(lists))
            config = str(Path(lists) / "apt.conf")
            subprocess.run(["apt-get", "download", "-c", config, *packages], cwd=lists, check=True, capture_output=True)
            unpacked = Path(lists) / "unpacked"
            for package in sorted(Path(lists).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", unpacked, folder], check=True)
    return folder


def gnome_input(build: Path, languages: Sequence[str]) -> Input:
    """GNOME's pages in these languages, for the reader ``mallard``."""
    folder = fetch(GNOME, build / "gnome") / "usr/share/help"
    return Input("mallard", (folder,), {"langs": ",".join(sorted(languages))})


def gnome_pages(build: Path) -> list[Page]:
    """348 pages, nearly all of them translated."""
    return pages_of(build_from([gnome_input(build, ("en", "ko"))], build / "gnome-dataset"))


def pages_of(dataset: Dataset) -> list[Page]:
    """The pages of a dataset that the reader ``mallard`` made, alone or beside others."""
    pages = dataset.documents.filter(pl.col("source") == "mallard").select("group", "lang", "title", "text")
    return [Page(*row) for row in pages.sort("group", "lang").collect().rows()]


def libreoffice_pages(build: Path) -> list[Page]:
    root = fetch(LIBREOFFICE, build / "libreoffice") / "usr/share/libreoffice/help"
    return [page for pages in _translated(root) for page in pages][: PAGES * len(LANGS)]


def _translated(root: Path) -> Iterator[tuple[Page, ...]]:
    names = [path.relative_to(root / LANGS["ko"]).as_posix() for path in (root / LANGS["ko"]).rglob("*.html")]
    for name in sorted(names, key=lambda name: hashlib.md5(name.encode()).digest()):
        files = {lang: root / folder / name for lang, folder in LANGS.items()}
        if all(path.is_file() for path in files.values()):
            pages = {lang: _page(path, name, lang) for lang, path in files.items()}
            korean = pages["ko"]
            if (
                len(pages["en"].text) >= SHORTEST
                and hangul_share(korean.text) >= TRANSLATED
                and any(map(is_hangul, korean.title))
            ):
                yield tuple(pages.values())


def _page(path: Path, name: str, lang: str) -> Page:
    parser = _Blocks()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.end_block()
    title = parser.title.strip()
    return Page(name, lang, title, "\n\n".join(block for block in parser.blocks if block != title))


class _Blocks(HTMLParser):
    """The title, and the paragraphs of the part that a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self.blocks = "", list[str]()
        self._line, self._left_out, self._shown, self._in_title = list[str](), 0, False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        self._shown |= dict(attrs).get("id") == "DisplayArea"
        self._left_out += tag in _LEFT_OUT
        if tag in _BLOCKS:
            self.end_block()

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        self._left_out -= tag in _LEFT_OUT
        if tag in _BLOCKS:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._shown and not self._left_out:
            self._line.append(data)

    def end_block(self) -> None:
        block = " ".join("".join(self._line).split())
        self._line.clear()
        if block:
            self.blocks.append(block)
