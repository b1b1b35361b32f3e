"""The page of osparse report in a real browser: clicked, searched by keyboard, in the dark, and printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import report_world
from browser import Browser, browser, find_browser

from osparse.contracts.bundle import Bundle
from osparse.retrieval import WrittenPage, write_html_report

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed: the page is not opened")
CARDS = "document.querySelectorAll('#results details.card')"


@pytest.fixture(autouse=True)
def one_encoding() -> None:
    """Here the bundle encodes, not the model."""


@pytest.fixture(scope="module")
def written(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    """Against a run that finds every answer, so that queries are lost, but one, so that one may be won."""
    folder = tmp_path_factory.mktemp("page")
    data = report_world.make_report_dataset(folder / "dataset")
    run = folder / "perfect.run"
    answers = {query: answer for query, (_, _, answer) in report_world.QUERIES.items() if query != "q:rain"}
    run.write_text("".join(f"{query} Q0 {answer} 1 1.0 x\n" for query, answer in answers.items()))
    return write_html_report(data.path, folder / "report.html", bundle=bundle, baseline=run)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with browser(tmp_path_factory.mktemp("profile"), PROGRAM) as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, written: WrittenPage) -> Iterator[Browser]:
    chromium.media()
    chromium.open(Path(written.path))
    yield chromium
    assert chromium.errors() == []
    assert {url for url in chromium.requested() if not url.startswith("data:")} == {Path(written.path).as_uri()}


def test_the_worst_lost_query_and_its_reason_are_one_click_away(page: Browser, written: WrittenPage) -> None:
    worst = written.lost[0]
    box = page.run("document.querySelector('#worst').textContent")
    assert worst["text"] in box and worst["reason"] in box
    assert page.run("document.querySelectorAll('#lost-cards details[open]').length") == 0
    page.click("#worst a")
    assert page.run("document.querySelectorAll('#lost-cards details[open]').length") == 1
    assert page.run("document.activeElement.parentElement.open"), "the focus is on the opened query"
    body = page.run("document.querySelector('#lost-cards details[open] .body').innerText")
    assert "Answer" in body and written.evaluation.systems[0]["name"] in body
    page.click("#lost-cards summary")
    assert page.run("document.querySelectorAll('#lost-cards details[open]').length") == 0


def test_every_lost_and_won_query_is_there_and_markup_is_text(page: Browser, written: WrittenPage) -> None:
    for name, queries in (("lost", written.lost), ("won", written.won)):
        shown = page.run(f"[...document.querySelectorAll('#{name}-cards .query')].map((e) => e.textContent.trim())")
        assert shown == [query["text"] for query in queries]
    texts = page.run("[...document.querySelectorAll('#results .query')].map((e) => e.textContent.slice(0, -1))")
    assert sorted(texts) == sorted(text for text, _, _ in report_world.QUERIES.values())
    assert page.run("document.images.length") == 0 and page.run("document.title") != "1"


def test_a_query_is_found_by_keyboard_alone(page: Browser) -> None:
    assert page.run(f"{CARDS}.length") == len(report_world.QUERIES)
    page.press("/")
    assert page.run("document.activeElement.id") == "words"
    page.type("\ud0a4\uc6b0\uae30 \ubc30\ub098\ubb34")
    assert page.run(f"[...{CARDS}].map((c) => c.query.id)") == ["q:korean"], "every word, in any order"
    assert page.run("document.querySelector('#count').textContent") == f"1 of {len(report_world.QUERIES)} queries"
    page.press("ArrowDown")
    page.press("Enter")
    assert page.run(f"{CARDS}[0].open")
    page.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # the toggle event comes later
    assert "pear:ko" in page.run(f"{CARDS}[0].innerText")
    page.run("document.querySelector('#words').focus()")
    page.press("Escape")
    assert page.run(f"{CARDS}.length") == len(report_world.QUERIES)
    page.press("ArrowDown")
    page.press("j")
    assert page.run(f"document.activeElement === {CARDS}[1].firstElementChild")
    page.press("k")
    assert page.run(f"document.activeElement === {CARDS}[0].firstElementChild")


def test_the_list_is_ordered_and_cut_to_a_direction(page: Browser) -> None:
    gains = f"[...{CARDS}].map((c) => c.query.values[0] - c.query.values[1])"
    choose = (
        "(() => {{ const e = document.querySelector('#{}'); e.value = '{}'; e.dispatchEvent(new Event('change')); }})()"
    )
    assert page.run(gains) == sorted(page.run(gains))
    page.run(choose.format("order", "won"))
    assert page.run(gains) == sorted(page.run(gains), reverse=True)
    names = page.run("[...document.querySelectorAll('#direction option')].map((o) => o.textContent)")
    assert names == ["all", "en->en", "ko->ko", "en->ko"]
    page.run(choose.format("direction", "2"))
    assert page.run(f"[...{CARDS}].map((c) => c.query.id)") == ["q:cross"]


def luminance(page: Browser, selector: str, name: str) -> float:
    colour = page.run(f"getComputedStyle(document.querySelector('{selector}')).{name}")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_mode_follows_the_system_and_the_button(scheme: str, page: Browser) -> None:
    page.media(scheme=scheme)
    dark = luminance(page, "body", "backgroundColor") < 60
    assert dark == (scheme == "dark")
    for selector, name in (("body", "color"), (".quiet", "color"), (".chart .tick", "fill"), ("th", "color")):
        assert abs(luminance(page, selector, name) - luminance(page, "body", "backgroundColor")) > 90
    page.click("#theme")
    assert (luminance(page, "body", "backgroundColor") < 60) == (not dark)
    page.click("#theme")
    assert (luminance(page, "body", "backgroundColor") < 60) == dark


def test_it_prints_on_white_with_the_lost_queries_open_and_without_the_search(page: Browser) -> None:
    page.media("print", "dark")
    assert luminance(page, "body", "backgroundColor") > 250 and luminance(page, "body", "color") < 60
    assert page.run("document.querySelector('#find').offsetHeight") == 0
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert page.run("[...document.querySelectorAll('#lost-cards details')].every((d) => d.open)"), "opened to print"
    assert page.run("document.querySelector('#lost-cards .body').offsetHeight") > 50


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_window(width: int, chromium: Browser, written: WrittenPage) -> None:
    chromium.media()
    chromium.open(Path(written.path), width=width)
    chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert chromium.run("document.documentElement.scrollWidth") <= width
