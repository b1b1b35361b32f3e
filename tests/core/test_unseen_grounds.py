"""The help pages of benchmarks/quality.py: what is read of a page, and which pages answer a question."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from help_pages import (  # type: ignore[import-not-found]
    LANGS,
    SHORTEST,
    Page,
    _page,
    _translated,
    gnome_input,
    pages_of,
)
from quality_training import pages_of_split  # type: ignore[import-not-found]
from unseen import _halves, _titles, benchmark, page_sentences  # type: ignore[import-not-found]

from osparse.corpus import build_from

MALLARD = """<page xmlns="http://projectmallard.org/1.0/"><title>{title}</title><p>{text}</p></page>"""
HTML = """<html><head><title>{title}</title><script>var left = 1;</script></head><body><p>Menu</p>
<div id="DisplayArea"><h1>{title}</h1><p>{first}</p><aside>Index</aside><ul><li>One <b>bold</b> line</li></ul></div>
</body></html>"""


def test_what_is_read_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(HTML.format(title="Print", first="Choose a &amp; b."), "utf-8")
    assert _page(tmp_path / "a.html", "a", "en") == Page("a", "en", "Print", "Choose a & b.\n\nOne bold line")


def test_pages_without_a_translation_are_left_out(tmp_path: Path) -> None:
    for name, korean in (("done", "한국어로 옮긴 문서입니다. " * 9), ("copied", "An untranslated text.")):
        for lang, folder in LANGS.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            first = korean if lang == "ko" else "word " * SHORTEST
            title = "인쇄" if lang == "ko" else "Print"
            (tmp_path / folder / f"{name}.html").write_text(HTML.format(title=title, first=first), "utf-8")
    assert [page.group for pages in _translated(tmp_path) for page in pages] == ["done.html", "done.html"]


def test_which_pages_answer_a_question() -> None:
    first, second = "The first page alone says this.", "The second page alone says that."
    pages = [
        Page("a", "en", "Open", first), Page("a", "ko", "열기", "첫째 쪽만 이 말을 합니다 정말로."),
        Page("b", "en", "Open", second), Page("c", "ko", "", "셋째 쪽만 이 말을 합니다 정말로."),
    ]  # fmt: skip
    data = benchmark("x", pages, _titles(pages))
    found = {judged.direction: judged.qrels for judged in data.sets}
    assert found["en->en"] == {"en: Open": {"a:en": 1, "b:en": 1}} and found["en->ko"] == {"en: Open": {"a:ko": 1}}
    assert found["ko->en"] == {"ko: 열기": {"a:en": 1}} and found["ko->ko"] == {"ko: 열기": {"a:ko": 1}}
    asked = {judged.direction: judged.qrels for judged in benchmark("x", pages, page_sentences(pages)).sets}
    assert asked["en->en"] == {f"en: {first}": {"a:en": 1}, f"en: {second}": {"b:en": 1}}
    assert asked["en->ko"] == {f"en: {first}": {"a:ko": 1}}


def test_translations_are_in_one_half() -> None:
    pages = [Page(f"page{n}", lang, "t", "x") for n in range(40) for lang in ("en", "ko")]
    choosing, asked = _halves(pages)
    assert {page.group for page in choosing}.isdisjoint(page.group for page in asked) and choosing and asked
    assert len(choosing) + len(asked) == 80


def test_any_two_languages_of_the_pages_are_split_by_page(tmp_path: Path) -> None:
    """As the trained ground reads them, from a folder that is there already; a third language is left out."""
    for folder, word in (("C", "This page is about"), ("de", "Diese Seite handelt von"), ("ko", "이 쪽의 주제는")):
        manual = tmp_path / "gnome" / "usr" / "share" / "help" / folder / "gnome-help"
        manual.mkdir(parents=True)
        for number in range(40):
            text = MALLARD.format(title=f"{folder} {number}", text=f"{word} {number * 7919}.")
            (manual / f"page{number}.page").write_text(text, encoding="utf-8")
    dataset = build_from([gnome_input(tmp_path, ("de", "en"))], tmp_path / "dataset")
    pages = pages_of(dataset)
    assert len(pages) == 80 and {page.lang for page in pages} == {"de", "en"}
    parts = [{page.group for page in pages_of_split(dataset, pages, split)} for split in dataset.splits]
    assert sorted(group for part in parts for group in part) == sorted({page.group for page in pages})
    assert {"train", "validation", "test"} == {*dataset.splits}
