"""Catalogues and translation memories against the standard library's gettext, and their edge cases."""

from __future__ import annotations

import gettext
from pathlib import Path

import polars as pl
import polib
import pytest
from sample_topics import topic
from source_samples import SAMPLES

from osparse.contracts.dataset import Dataset
from osparse.corpus import build_dataset
from osparse.corpus.sources.translations.bitext import language_code, plain_text
from osparse.errors import DatasetError

SAMPLE_TEXT = "summary\n\n" + topic(0, "ko")[1]


def pairs(dataset: Dataset) -> set[tuple[str, str]]:
    """(English query, Korean document) of every judgement of an English query."""
    queries = dataset.queries.collect().rename({"id": "query_id", "text": "query", "lang": "asked"})
    documents = dataset.documents.collect().rename({"id": "document_id"})
    qrels = pl.concat([dataset.qrels(split).collect() for split in dataset.splits])
    joined = qrels.join(queries, on="query_id").join(documents, on="document_id").filter(asked="en", lang="ko")
    return set(joined.select("query", "text").iter_rows())


def test_compiled_messages_are_those_of_gettext(tmp_path: Path) -> None:
    _, locale = SAMPLES["gettext"].write(tmp_path)
    dataset = build_dataset("gettext", [locale], tmp_path / "dataset")
    with (locale / "ko/LC_MESSAGES/pages.mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    found = pairs(dataset)
    assert ("%d files", catalogue.ngettext("%d file", "%d files", 1)) in found
    assert len(found) == 30
    assert all(catalogue.gettext(english) == korean for english, korean in found if english != "%d files")


@pytest.mark.parametrize("kind", ["gettext", "tmx", "xliff"])
def test_segments_answer_each_other_across_languages_only(kind: str, tmp_path: Path) -> None:
    dataset = build_dataset(kind, SAMPLES[kind].write(tmp_path), tmp_path / "dataset")
    found = pairs(dataset)
    assert ("pear tree no. 0", "배나무 0번") in found and len(found) == 60
    assert dataset.manifest.sources[0].rows_kept == 60
    langs = dict(dataset.documents.collect().group_by("lang").len().iter_rows())
    assert langs == {"en": 60, "ko": 60}


def test_no_text_is_in_two_splits_when_translations_differ(tmp_path: Path) -> None:
    """Two catalogues that translate one message differently, and another that shares one of the translations."""
    files = []
    for name, message, translation in (("a", "open", "열기"), ("b", "open", "펼치기"), ("c", "unfold", "펼치기")):
        catalogue = polib.POFile()
        catalogue.metadata = {"Language": "ko", "Content-Type": "text/plain; charset=UTF-8"}
        catalogue.append(polib.POEntry(msgid=message, msgstr=translation))
        files.append(tmp_path / f"{name}.po")
        catalogue.save(str(files[-1]))
    dataset = build_dataset("gettext", files, tmp_path / "dataset")
    assert pairs(dataset) == {("open", "열기"), ("open", "펼치기"), ("unfold", "펼치기")}
    assert len(dataset.splits) == 1


def test_languages_and_shortcuts() -> None:
    assert [language_code(tag) for tag in ("ko_KR.UTF-8", "pt-BR", "sr@latin", "EN")] == ["ko", "pt", "sr", "en"]
    assert plain_text("파일(_F)") == "파일" and plain_text("_Save <b>as</b>...") == "Save as ..."
    assert plain_text("AT&T snake_case a\nb") == "AT&T snake_case a b"


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        ("gettext", "x.mo", "not a catalogue", "is not a gettext catalogue"),
        ("gettext", "names.po", 'msgid "a"\nmsgstr "b"\n', "does not name its language"),
        ("tmx", "x.tmx", "<xliff/>", "is not TMX: it begins with <xliff>"),
        ("tmx", "x.tmx", "<tmx><body><tu></body></tmx>", r"x.tmx:1: not well-formed XML"),
        ("xliff", "x.xlf", "<xliff><file><unit><segment/></unit></file></xliff>", "names no source and target"),
    ],
)
def test_files_of_another_form_are_named(kind: str, name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        build_dataset(kind, [tmp_path / name], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_help_pages_without_a_translation_are_left_out_in_that_language(tmp_path: Path) -> None:
    dataset = build_dataset("mallard", SAMPLES["mallard"].write(tmp_path), tmp_path / "dataset")
    documents = dataset.documents.collect()
    assert dict(documents.group_by("lang").len().iter_rows()) == {"en": 60, "ko": 59}
    (page,) = documents.filter(id="page:manual/0:ko").select("title", "text").iter_rows()
    assert page == ("배나무 0번", SAMPLE_TEXT)
    assert dataset.manifest.notes["untranslated"] == 1
    assert pairs(dataset) >= {("pear tree no. 0", SAMPLE_TEXT)}
