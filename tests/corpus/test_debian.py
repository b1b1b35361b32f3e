"""The Debian reader on a small faithful tree of lists, whole and broken."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from pathlib import Path

import apt_world
import pytest

from osparse.corpus import build_dataset
from osparse.corpus.sources.published import apt, debian
from osparse.errors import DatasetError


def test_counts_every_description_once_and_says_why_others_were_left_out(tmp_path: Path) -> None:
    counts = debian.READER.counts()
    records = list(debian.read([apt_world.write_lists(tmp_path)], counts, {"english": False}))
    assert len(records) == counts.kept == 60
    assert counts.dropped == Counter(
        {
            "the same description under another package": 1,
            "no Hangul in the synopsis": 1,
            "under 30% Hangul letters": 1,
            "under 40 characters": 1,
            "no English original": 1,
        }
    )
    source = counts.source()
    assert source.rows_in == source.rows_kept + sum(source.dropped.values()) == 65


def test_a_record_is_two_bodies_and_two_synopses_all_relevant(tmp_path: Path) -> None:
    record = next(debian.read([apt_world.write_lists(tmp_path)], debian.READER.counts(), {"english": False}))
    md5 = f"{0:032x}"
    assert [d.id for d in record.documents] == [f"deb:{md5}:ko", f"deb:{md5}:en"]
    assert [(q.id, q.text, q.lang) for q in record.queries] == [
        (f"deb:{md5}:ko:q", "도구 0", "ko"),
        (f"deb:{md5}:en:q", "tool tool0", "en"),
    ]
    assert {(j.query_id, j.document_id) for j in record.judgements} == {
        (q.id, d.id) for q in record.queries for d in record.documents
    }
    assert {d.title for d in record.documents} == {""}
    assert {d.group for d in record.documents} == {"source0"}


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([" one", " two"], "one two"),
        ([" one", " .", " two", " three"], "one\n\ntwo three"),
        ([" list:", "  * a", "  * b", " after"], "list:\n* a\n* b\nafter"),
        ([" .", " one", " .", " ."], "one"),
        ([], ""),
    ],
)
def test_fold(lines: list[str], text: str) -> None:
    assert debian.fold(lines) == text


def test_the_source_is_the_first_by_name_whatever_the_order_of_the_lists(tmp_path: Path) -> None:
    one, two = tmp_path / "a_Packages", tmp_path / "b_Packages"
    one.write_text(apt_world.package("gcc-12", "f" * 32, "gcc-12 (12.2.0-14)"))
    two.write_text(apt_world.package("gcc-11", "f" * 32) + apt_world.package("no-translation", None))
    assert debian.source_packages([one, two]) == debian.source_packages([two, one]) == {"f" * 32: "gcc-11"}


def test_the_sha256_depends_on_content_only(tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        counts = debian.READER.counts()
        assert list(debian.read([folder], counts, {"english": False}))
        return counts.source().sha256

    first = apt_world.write_lists(tmp_path / "one")
    second = apt_world.write_lists(tmp_path / "two")
    for path in list(second.iterdir()):
        path.rename(path.with_name("other.mirror_" + path.name))
    assert digest(first) == digest(second)
    with (second / f"other.mirror_{apt_world.KO}").open("a", encoding="utf-8") as file:
        file.write(apt_world.translation("ko", "e" * 32, "more", "더", apt_world.LONG_KO))
    with (second / f"other.mirror_{apt_world.EN}").open("a", encoding="utf-8") as file:
        file.write(apt_world.translation("en", "e" * 32, "more", "more", apt_world.LONG_EN))
    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (apt_world.KO, b"<!DOCTYPE html>\n<html>", ":1: not a Debian package list"),
        (apt_world.KO, b"\n continuation of nothing\n", ":2: not a Debian package list"),
        (apt_world.KO, b"Package: a\nDescription-ko: \xff\xfe\n", ":2: not UTF-8"),
        (apt_world.EN, b"\nPackage: a\nDescription-en: tool\n", ":2: a translation needs Description-md5"),
        (apt_world.PACKAGES, b"Source: a\nDescription-md5: 00\n", ":1: a package without a Package field"),
    ],
)
def test_a_malformed_list_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    lists = apt_world.write_lists(tmp_path / "lists")
    (lists / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"{name}{message}"):
        build_dataset("debian", [lists], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_a_compressed_list_reads_as_the_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "apt-helper"
    helper.write_text('#!/bin/sh\nexec gzip -dc "$2"\n')
    helper.chmod(0o755)
    monkeypatch.setattr(apt, "APT_HELPER", helper)
    plain = apt_world.write_lists(tmp_path / "lists") / apt_world.KO
    packed = plain.with_name(plain.name + ".gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(apt.stanzas(packed)) == list(apt.stanzas(plain))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DatasetError, match="cannot be read"):
        list(apt.stanzas(packed))


def test_fetching_runs_apt_get_privately_and_reads_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = apt_world.write_lists(tmp_path / "lists")
    monkeypatch.setenv("PATH", str(apt_world.fake_apt(tmp_path / "bin", lists)), prepend=":")
    fetched = build_dataset("debian", [], tmp_path / "fetched")
    read = build_dataset("debian", [lists], tmp_path / "read")
    assert fetched.manifest.sha256 == read.manifest.sha256


def test_a_failing_extra_source_does_not_stop_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lists = apt_world.write_lists(tmp_path / "lists")
    apt_get = apt_world.fake_apt(
        tmp_path / "bin", lists, code=100, says="E: The repository third.example is not signed."
    )
    monkeypatch.setenv("PATH", str(apt_get), prepend=":")
    assert build_dataset("debian", [], tmp_path / "dataset").manifest.sources[0].rows_kept == 60
    assert "third.example is not signed" in caplog.text


def test_without_apt_or_network_the_sample_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match="apt-get.*--source jsonl examples/sample_corpus.jsonl"):
        build_dataset("debian", [], tmp_path / "dataset")
    apt_get = apt_world.fake_apt(tmp_path / "bin", None, code=100, says="E: Could not resolve deb.example")
    monkeypatch.setenv("PATH", f"{apt_get}:{Path(shutil.which('sh') or '/bin/sh').parent}:/bin:/usr/bin")
    with pytest.raises(DatasetError, match=r"(?s)no Translation-ko, .*sample_corpus.jsonl.*Could not resolve"):
        build_dataset("debian", [], tmp_path / "dataset")


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="takes no `paths`, or one folder"):
        build_dataset("debian", [tmp_path / "file"], tmp_path / "dataset")
