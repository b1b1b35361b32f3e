"""A bundle against sentence-transformers: while it is made, and again with ``verify(reference=...)``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import open_query_encoder, read_tokenizer
from osparse.errors import InputError
from osparse.packager.checkpoint import hub
from osparse.packager.checkpoint.checkpoints import ForeignCheckpoint
from osparse.packager.checkpoint.layouts import read_layout
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.checkpoint.saved_settings import SettingsReader
from osparse.packager.checkpoint.saved_settings_table import SETTINGS
from osparse.packager.checks.registry import Check, Subject, result
from osparse.packager.compare.parity import Runner, power_of_ten
from osparse.packager.reference import library as reference
from osparse.packager.reference.library import Packaged, compare_with_library, library_versions, require_agreement
from osparse.packager.tokenizer.packaged import load

log = logging.getLogger("osparse.packager.reference.checks")


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
        yield result(f"{name} = {library}", "graphs", problems, detail)


def _packaged(bundle: Bundle, runners: Mapping[str, Runner]) -> Packaged:
    documents, _, _ = read_tokenizer(bundle.zip_path(bundle.formats[0]))
    queries, _, length = read_tokenizer(bundle.zip_path("tokenizer"))
    special = queries.num_special_tokens_to_add(False)
    query = open_query_encoder(bundle.zip_path("tokenizer"))
    return Packaged(runners, documents, query, length - special, special, bundle.head, bundle.tolerance)


def prove_reference(loaded: LoadedModel, runners: Mapping[str, Runner], quantized: bool) -> dict[str, Any]:
    """The manifest's ``checks.reference``, {} for a model of osparse; raises :class:`CheckError` if it differs."""
    model = loaded.model
    if not isinstance(model, ForeignCheckpoint):
        return {}
    if not reference.installed():
        log.warning(
            "%s was not compared with its library, since sentence-transformers is not installed; it comes with: pip "
            "install 'osparse[reference]'",
            model.name,
        )
        return {"library": {}, "length_given": model.length_given}
    query = loaded.query_encoder()
    special = load(loaded.query_tokenizer_json, "tokenizer.json").num_special_tokens_to_add(False)
    packaged = Packaged(
        {"model": loaded.run} if quantized else runners, loaded.tokenizer(), query, loaded.query_length - special,
        special, model.head,
    )  # fmt: skip
    agreement = compare_with_library(model.layout, packaged, length_given=model.length_given)
    require_agreement(agreement, model.layout)
    return {
        "library": library_versions(),
        "length_given": model.length_given,
        "documents_cut_at": agreement.length,
        "texts": agreement.texts,
        "largest_difference_below": {name: power_of_ten(value) for name, value in agreement.largest.items()},
    }
