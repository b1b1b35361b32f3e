"""Checks of a finished bundle against sentence-transformers: ``osparse verify --reference``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from osparse.bundle import Bundle
from osparse.errors import InputError
from osparse.onnx_encoder import open_query_encoder, read_tokenizer
from osparse.packager import hub
from osparse.packager.checks import Check, Subject, result
from osparse.packager.layouts import read_layout
from osparse.packager.parity import Runner
from osparse.packager.reference import Packaged, compare_with_library, library_versions
from osparse.packager.saved_settings import SettingsReader
from osparse.packager.saved_settings_table import SETTINGS


def with_library(subject: Subject, given: Path | str) -> Iterable[Check]:
    """Documents by each encoder, and queries, against what the library makes of the folder or hub id ``given``.

    Raises:
        InputError: ``given`` is a model of osparse.
        MissingExtraError: sentence-transformers is not installed.
        CheckError: the library cannot open the folder.
    """
    bundle = subject.bundle
    root, _ = hub.local(given)
    if (root / "osparse.json").is_file():
        raise InputError(f"{root} is a model of osparse, which no other library defines; pass it as the model instead")
    layout = read_layout(root, SettingsReader(SETTINGS, bundle.source.get("ignored", ())))
    given_length = bool(bundle.checks.get("reference", {}).get("length_given"))
    agreement = compare_with_library(layout, _packaged(bundle, subject.runners), length_given=given_length)
    library = f"sentence-transformers {library_versions()['sentence-transformers']}"
    for name, problems in agreement.problems.items():
        detail = f"{agreement.texts} texts, largest difference {agreement.largest[name]:.1e}"
        yield result(f"{name} = {library}", "a", problems, detail)


def _packaged(bundle: Bundle, runners: Mapping[str, Runner]) -> Packaged:
    documents, _, _ = read_tokenizer(bundle.zip_path(bundle.formats[0]))
    queries, _, length = read_tokenizer(bundle.zip_path("tokenizer"))
    special = queries.num_special_tokens_to_add(False)
    query = open_query_encoder(bundle.zip_path("tokenizer"))
    return Packaged(runners, documents, query, length - special, special, bundle.head, bundle.tolerance)
