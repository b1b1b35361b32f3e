"""A small faithful sample of every source, in its publisher's format; all text was written for these tests."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apt_world
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from sample_topics import COUNT, topic
from translation_samples import _gettext, _mallard, _tmx, _xliff


@dataclass(frozen=True)
class Sample:
    write: Callable[[Path], list[Path]]
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    licence: str = ""


def page(number: int, title: str, text: str, *, ns: int = 0, redirect: str = "") -> str:
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return f"""  <page>
    <title>{title}</title><ns>{ns}</ns><id>{number}</id>{target}
    <revision><id>{number + 1000}</id><timestamp>2024-03-0{number % 9 + 1}T01:02:03Z</timestamp>
      <contributor><username>someone</username><id>7</id></contributor>
      <model>wikitext</model><format>text/x-wiki</format><text xml:space="preserve">{text}</text></revision>
  </page>
"""


def wiki_dump(pages: list[str], lang: str = "ko", version: str = "0.11") -> bytes:
    """bz2 streams as the multistream dumps have them: the head, the pages, the tail."""
    head = (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" version="{version}" xml:lang="{lang}">\n'
        f"  <siteinfo><sitename>Wiki</sitename><dbname>{lang}wiki</dbname></siteinfo>\n"
    )
    parts = [head, *("".join(pages[i : i + 20]) for i in range(0, len(pages), 20)), "</mediawiki>\n"]
    return b"".join(bz2.compress(part.encode()) for part in parts)


def _wikipedia(folder: Path) -> list[Path]:
    pages = []
    for i in range(COUNT):
        title, text = topic(i, "ko")
        first, second = text.split("\n\n")
        pages.append(
            page(
                i + 1, title, f"{{{{상자|값={i}}}}}'''{title}''' {first}&lt;ref&gt;주&lt;/ref&gt;\n\n== 절 ==\n{second}"
            )
        )
    pages += [
        page(901, "옛 이름", "#넘겨주기 [[빵 1번]]", redirect="빵 1번"),
        page(902, "빵 (동음이의)", "* [[빵 1번]]\n* [[빵 7번]]"),
        page(903, "분류:빵", "빵에 관한 분류", ns=14),
        page(904, "토막글", "짧다."),
    ]
    (folder / "kowiki-pages-articles-multistream.xml.bz2").write_bytes(wiki_dump(pages))
    return [folder / "kowiki-pages-articles-multistream.xml.bz2"]


def _namuwiki(folder: Path) -> list[Path]:
    rows: list[dict[str, Any]] = []
    for i in range(COUNT):
        title, text = topic(i, "ko")
        rows.append(
            {
                "namespace": "0",
                "title": title,
                "text": f"[목차]\n== 개요 ==\n'''{title}''' {text}[* 각주]",
                "contributors": ["a"],
            }
        )
    rows += [
        {"namespace": "0", "title": "옛 빵", "text": "#redirect 빵 1번\n", "contributors": []},
        {"namespace": "0", "title": "배", "text": "[[분류:동음이의어]]\n * 배 1\n * 배 2", "contributors": []},
        {"namespace": "1", "title": "틀:빵", "text": "틀", "contributors": []},
    ]
    half = len(rows) // 2
    (folder / "namuwiki.json").write_text(json.dumps(rows[:half], ensure_ascii=False), encoding="utf-8")
    pa.parquet.write_table(pa.Table.from_pylist(rows[half:]), folder / "namuwiki.parquet")
    return [folder / "namuwiki.json", folder / "namuwiki.parquet"]


def _modu(folder: Path) -> list[Path]:
    documents = []
    for i in range(COUNT):
        title, text = topic(i, "ko")
        forms = [title, *text.split("\n\n")]
        about = {
            "title": title,
            "author": "기자",
            "publisher": "신문",
            "date": f"201801{i % 28 + 1:02}",
            "topic": "생활",
        }
        paragraphs = [{"id": f"NWRW1.{i}.{n}", "form": form} for n, form in enumerate(forms)]
        documents.append({"id": f"NWRW1800000021.{i}", "metadata": about, "paragraph": paragraphs})
    documents.append(
        {"id": "NWRW1800000021.99", "metadata": {"title": "짧은 글"}, "paragraph": [{"id": "p", "form": "짧다"}]}
    )
    (folder / "modu").mkdir()
    whole = {"id": "NWRW1800000021", "metadata": {"title": "신문"}, "document": documents}
    (folder / "modu" / "NWRW1800000021.json").write_text(
        json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return [folder / "modu"]


def _msmarco(folder: Path) -> list[Path]:
    root = folder / "msmarco"
    root.mkdir()
    texts = [topic(i, "en") for i in range(COUNT)]
    flat = [text.replace("\n", " ") for _, text in texts]
    (root / "collection.tsv.gz").write_bytes(gzip.compress("".join(f"{i}\t{t}\n" for i, t in enumerate(flat)).encode()))
    for name, ids in (("train", range(40)), ("dev", range(40, COUNT))):
        (root / f"queries.{name}.tsv").write_text(
            "".join(f"{1000 + i}\t{texts[i][0]}\n" for i in ids) + f"{9000 + len(ids)}\tunjudged\n"
        )
        (root / f"qrels.{name}.tsv").write_text("".join(f"{1000 + i}\t0\t{i}\t1\n" for i in ids))
    rows = [
        {"qid": 1000 + i, "pos": [i], "neg": {"bm25": [(i + 1) % 40, (i + 2) % 40], "dense": [(i + 1) % 40, i]}}
        for i in range(40)
    ]
    rows.append({"qid": 5, "pos": [1], "neg": {"bm25": [2]}})
    (root / "msmarco-hard-negatives.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())
    )
    return [root]


def _triples(folder: Path) -> list[Path]:
    rows = [(topic(i, "en")[0], topic(i, "en")[1], topic((i + 1) % COUNT, "en")[1]) for i in range(COUNT)]
    (folder / "triples.train.small.tsv").write_text(
        "".join("\t".join(cell.replace("\n", " ") for cell in row) + "\n" for row in rows)
    )
    return [folder / "triples.train.small.tsv"]


def _lines(folder: Path, name: str, rows: list[Any]) -> list[Path]:
    (folder / name).write_bytes(
        gzip.compress("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    )
    return [folder / name]


def _s2orc(folder: Path) -> list[Path]:
    rows: list[Any] = [
        {"paper_id": str(i), "title": topic(i, "en")[0], "abstract": topic(i, "en")[1], "year": 2001 + i % 20}
        for i in range(30)
    ]
    rows += [[*topic(i, "en")] for i in range(30, COUNT)]
    return _lines(
        folder, "s2orc.jsonl.gz", [*rows, {"paper_id": "x", "title": "No abstract", "abstract": None, "year": None}]
    )


def _wikianswers(folder: Path) -> list[Path]:
    rows: list[Any] = [
        {"set": [f"what is {topic(i, 'en')[0]}?", f"tell me of {topic(i, 'en')[0]}", f"{topic(i, 'en')[0]} is what"]}
        for i in range(COUNT)
    ]
    return _lines(folder, "WikiAnswers.jsonl.gz", [*rows, {"set": ["alone", "alone "]}])


def _gooaq(folder: Path) -> list[Path]:
    rows: list[Any] = [
        {
            "id": i,
            "question": f"what is {topic(i, 'en')[0]}",
            "short_answer": None,
            "answer": topic(i, "en")[1],
            "answer_type": "feat_snip",
        }
        for i in range(COUNT)
    ]
    return _lines(
        folder,
        "gooaq.jsonl.gz",
        [*rows, {"id": 99, "question": "what?", "short_answer": None, "answer": None, "answer_type": "time_conv"}],
    )


def squad(count: int = COUNT) -> dict[str, Any]:
    data = []
    for i in range(count):
        title, text = topic(i, "ko")
        answer = text.split()[0]
        answers = [{"text": answer, "answer_start": 0}]
        qas = [
            {"question": f"{title}은 무엇인가?", "question_type": 1, "is_impossible": False, "guid": f"q{i}", "answers": answers},
            {"question": f"{title}의 값은?", "question_type": 3, "is_impossible": True, "guid": f"n{i}", "answers": [],
             "plausible_answers": answers},
        ]  # fmt: skip
        data.append(
            {"title": title, "news_category": None, "source": "wiki", "paragraphs": [{"context": text, "qas": qas}]}
        )
    return {"version": "klue-mrc-v1.1", "data": data}


def _squad(folder: Path) -> list[Path]:
    (folder / "klue-mrc.json").write_text(json.dumps(squad(), ensure_ascii=False), encoding="utf-8")
    return [folder / "klue-mrc.json"]


def _beir(folder: Path) -> list[Path]:
    root = folder / "beir"
    (root / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": topic(i, "en")[0], "text": topic(i, "en")[1]} for i in range(COUNT)]
    queries = [{"_id": f"q{i}", "text": topic(i, "en")[0]} for i in range(COUNT)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, ids in (("train", range(40)), ("test", range(40, COUNT))):
        (root / "qrels" / f"{split}.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in ids)
        )
    return [root]


def pairs() -> list[dict[str, Any]]:
    return [
        {"query": topic(i, "ko")[0], "pos": [topic(i, "ko")[1]], "neg": [topic((i + 1) % COUNT, "ko")[1]]}
        for i in range(COUNT)
    ]


def _jsonl(folder: Path) -> list[Path]:
    return _lines(folder, "pairs.jsonl.gz", pairs())


def _scored(folder: Path) -> list[Path]:
    rows = [
        {
            "query": topic(i, "ko")[0],
            "docs": [topic(j % COUNT, "ko")[1] for j in (i, i + 1, i + 2)],
            "scores": [9.5, 2, -1.25],
        }
        for i in range(COUNT)
    ]
    return _lines(folder, "scored.jsonl.gz", rows)


def _parquet(folder: Path) -> list[Path]:
    rows = [{"question": row["query"], "answer": row["pos"][0], "clicks": 3} for row in pairs()]
    table = pa.Table.from_pylist(rows)
    pa.parquet.write_table(table.slice(0, 30), folder / "pairs.parquet")
    with pa.ipc.new_file(str(folder / "pairs.arrow"), table.schema) as writer:
        writer.write_table(table.slice(30))
    return [folder / "pairs.parquet", folder / "pairs.arrow"]


def _hf(folder: Path) -> list[Path]:
    """What save_to_disk writes for a DatasetDict: an Arrow stream and state.json per split."""
    root = folder / "hf"
    table = pa.Table.from_pylist([{"question": row["query"], "answer": row["pos"][0]} for row in pairs()])
    for split, part in (("train", table.slice(0, 40)), ("test", table.slice(40))):
        (root / split).mkdir(parents=True)
        with pa.ipc.new_stream(str(root / split / "data-00000-of-00001.arrow"), part.schema) as writer:
            writer.write_table(part)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "0", "_split": split}
        (root / split / "state.json").write_text(json.dumps(state))
        (root / split / "dataset_info.json").write_text("{}")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return [root]


def _csv(folder: Path) -> list[Path]:
    """A table as pandas writes it, row numbers first, with a text in two lines."""
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "question", "answer"])
        writer.writerows((number, row["query"], row["pos"][0]) for number, row in enumerate(pairs()))
    return [folder / "pairs.csv"]


def _tsv(folder: Path) -> list[Path]:
    rows = [("id", "title", "text"), *((f"t{i}", topic(i, "en")[0], topic(i, "en")[1]) for i in range(COUNT))]
    lines = ["\t".join(cell.replace("\n", " ") for cell in row) for row in rows]
    (folder / "documents.tsv.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return [folder / "documents.tsv.gz"]


def _debian(folder: Path) -> list[Path]:
    return [apt_world.write_lists(folder / "lists")]


COLUMNS = {"columns": "query=question,pos=answer"}
SAMPLES: dict[str, Sample] = {
    "wikipedia": Sample(
        _wikipedia, 60,
        {"redirect": 1, "disambiguation": 1, "not an article (another namespace)": 1, "under 40 characters": 1},
        {"min_characters": "40"},
    ),
    "namuwiki": Sample(
        _namuwiki, 60, {"redirect": 1, "disambiguation": 1, "not an article (another namespace)": 1}, {"min_characters": "40"}
    ),
    "modu": Sample(_modu, 60, {"under 40 characters": 1}, {"min_characters": "40"}),
    "msmarco": Sample(_msmarco, 60),
    "msmarco triples": Sample(_triples, 60),
    "s2orc": Sample(_s2orc, 60, {"no abstract": 1}),
    "wikianswers": Sample(_wikianswers, 60, {"fewer than two different questions": 1}),
    "gooaq": Sample(_gooaq, 60, {"no answer": 1}),
    "squad": Sample(_squad, 60, {"no answer in the passage": 60}),
    "beir": Sample(_beir, 60),
    "jsonl": Sample(_jsonl, 60),
    "jsonl scored": Sample(_scored, 60),
    "csv": Sample(_csv, 60, options=COLUMNS),
    "tsv": Sample(_tsv, 60),
    "parquet": Sample(_parquet, 60, options=COLUMNS),
    "hf": Sample(_hf, 60, options=COLUMNS),
    "mallard": Sample(_mallard, 60, {"no text": 1}),
    "gettext": Sample(_gettext, 60, {"fuzzy or obsolete": 1, "not in two languages": 1}),
    "tmx": Sample(_tmx, 60, {"not in two languages": 1, "the same segment again": 1}),
    "xliff": Sample(_xliff, 60, {"not translated yet": 1}),
    "debian": Sample(
        _debian, 60,
        {"the same description under another package": 1, "no Hangul in the synopsis": 1, "under 30% Hangul letters": 1,
         "under 40 characters": 1, "no English original": 1},
    ),
}  # fmt: skip
