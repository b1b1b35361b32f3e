"""What lies in a bundle's zips: the files the server wants, one tokenizer and one IDF table, both as they must be."""

from __future__ import annotations

import json
from collections.abc import Iterable

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import open_zip, read_member
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT
from osparse.packager.checks.registry import Check, Subject, result
from osparse.packager.export import formats
from osparse.packager.tokenizer.packaged import load, lossy

SHARED = ("idf.json", "tokenizer.json")


def zips(subject: Subject) -> Iterable[Check]:
    """Each zip holds exactly what the server wants, and all hold the same tokenizer and IDF."""
    bundle = subject.bundle
    problems = []
    for key, file in bundle.files.items():
        wanted = {*SHARED} if key == "tokenizer" else {*SHARED, formats.get(key).model_file, "LICENSE"}
        with open_zip(bundle.zip_path(key)) as opened:
            names = opened.namelist()
        if sorted(names) != sorted(wanted):
            problems.append(f"{file.name} holds {sorted(names)}, not {sorted(wanted)}")
    if not problems:
        problems = [f"the zips hold different {name}" for name in SHARED if len(_copies(bundle, name)) > 1]
        problems += _other_vocabulary(bundle)
    yield result("zips", "contents", problems, f"{len(bundle.files)} zips, each with what the server wants at its root")


def _copies(bundle: Bundle, name: str) -> set[str]:
    """The different contents of a file that all zips hold; where a tokenizer truncates is a zip's own.

    tokenizer.json of tokenizer.zip is left out where the manifest says that queries have their own.
    """
    own = name == "tokenizer.json" and _own_query_tokenizer(bundle)
    contents = {read_member(bundle.zip_path(key), name) for key in bundle.files if not (own and key == "tokenizer")}
    if name != "tokenizer.json":
        return {data.decode(errors="replace") for data in contents}
    return {json.dumps({**json.loads(data), "truncation": None}, sort_keys=True) for data in contents}


def _own_query_tokenizer(bundle: Bundle) -> bool:
    return bool(bundle.checks.get("tokenizer", {}).get("own_query_tokenizer"))


def _other_vocabulary(bundle: Bundle) -> list[str]:
    """Queries' own tokenizer must have the documents' tokens, in words; [] if it has."""
    if not _own_query_tokenizer(bundle):
        return []
    tokens = [read_tokenizer(bundle.zip_path(key))[1] for key in (bundle.formats[0], "tokenizer")]
    return [] if tokens[0] == tokens[1] else ["tokenizer.zip has other tokens than the encoders"]


def tokenizer(subject: Subject) -> Iterable[Check]:
    """Every id keeps its own string on the server, and truncation is written: as trained, and of queries."""
    bundle = subject.bundle
    path = bundle.zip_path("tokenizer")
    loaded = load(read_member(path, "tokenizer.json"), str(path))
    problems = lossy(loaded)
    if loaded.get_vocab_size(with_added_tokens=True) > bundle.vocabulary:
        problems.insert(0, f"it has more tokens than the manifest's {bundle.vocabulary:,}")
    yield result("tokenizer", "contents", problems, f"each of {bundle.vocabulary:,} ids keeps its own token")
    queries = bundle.checks.get("tokenizer", {}).get("query_length", SERVER_MAX_TOKENS)
    lengths = {key: queries if key == "tokenizer" else bundle.head.max_length for key in bundle.files}
    problems = []
    for key, length in lengths.items():
        truncation = json.loads(read_member(bundle.zip_path(key), "tokenizer.json")).get("truncation") or {}
        if truncation.get("max_length") != length:
            problems.append(f"{key}: {truncation.get('max_length', 'none')}, not {length} ids")
    detail = f"documents {bundle.head.max_length} ids, queries {queries}"
    yield result("truncation", "contents", problems, detail)


def idf(subject: Subject) -> Iterable[Check]:
    """Every token has a weight that no query fails over."""
    bundle = subject.bundle
    path = bundle.zip_path("tokenizer")
    lexicon = subject.query_encoder.lexicon
    raw: dict[str, float] = json.loads(read_member(path, "idf.json"))
    problems = [f"{token!r} weighs {w}" for token, w in raw.items() if not MIN_WEIGHT <= w <= MAX_WEIGHT]
    if lexicon.version != bundle.idf_version:
        problems.insert(0, f"its version is {lexicon.version}, not the manifest's {bundle.idf_version}")
    yield result("idf", "contents", problems, f"{len(raw):,} weights within [{MIN_WEIGHT:g}, {MAX_WEIGHT:g}]")
