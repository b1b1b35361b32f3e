"""An imported model against a model that it is said to be made from: osparse's reading, and its own library's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.model import Model
from osparse.errors import InputError
from osparse.formula.head import ACTIVATIONS, Activation, Head
from osparse.packager.checkpoint import hub
from osparse.packager.checkpoint.layouts import Layout, read_layout
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.checks.registry import Check, result
from osparse.packager.compare import parity
from osparse.packager.compare.probes import TEXTS
from osparse.packager.imported.checks import ImportedSubject
from osparse.packager.imported.graph import ServedGraph
from osparse.packager.imported.zip_contents import ZipContents
from osparse.packager.reference.library import Agreement, Packaged, compare_with_library, library_versions


def with_model(subject: ImportedSubject, model: Model) -> Iterable[Check]:
    """Documents by the served encoder, and queries, against the model in torch, each by its own tokenizer."""
    loaded = LoadedModel.open(model)
    if subject.graph is not None:
        yield _documents(subject.graph, subject.contents["encoder"], loaded)
    if subject.queries is not None:
        served, own = subject.queries.query_encoder(), loaded.query_encoder()
        problems = []
        for _, text in TEXTS:
            gap = parity.word_difference(served.encode(text), own.encode(text))
            problems += [] if gap <= parity.TOLERANCE else [f"{text[:30]!r} differs by {gap:.2g}"]
        yield result("queries = model", "graphs", problems, f"{len(TEXTS)} texts get the model's query weights")


def _documents(graph: ServedGraph, contents: ZipContents, loaded: LoadedModel) -> Check:
    run = _without_special(graph, contents)
    tokenizer, problems, worst = loaded.tokenizer(), list[str](), 0.0
    for _, text in TEXTS:
        ids, own = (np.array([t.encode(text).ids], dtype=np.int64) for t in (contents.tokenizer, tokenizer))
        if ids.shape != own.shape or (ids != own).any():
            problems.append(f"{text[:30]!r} has other ids: {ids.shape[1]} of them, the model's {own.shape[1]}")
            continue
        case = parity.Case(repr(text[:30]), ids, np.ones_like(ids))
        expected = loaded.run(ids, case.mask)
        difference = parity.compare(case, run(ids, case.mask), expected, loaded.model.head)
        worst = max(worst, difference.largest)
        problems += [] if difference.ok else [f"{difference.case} differs by {difference.largest:.2g}"]
    return result("encoder = model", "graphs", problems, f"{len(TEXTS)} texts, largest difference {worst:.1e}")


def with_reference(subject: ImportedSubject, given: Path | str) -> Iterable[Check]:
    """Documents and queries against what sentence-transformers makes of the folder or hub id ``given``.

    A folder that does not say its activation is compared with each, and the nearer one counts.

    Raises:
        InputError: ``given`` is a model of osparse, or there is no encoder to compare.
        MissingExtraError: sentence-transformers is not installed.
        CheckError: the library cannot open the folder, or cuts documents elsewhere.
    """
    root, _ = hub.local(given)
    if (root / "osparse.json").is_file():
        raise InputError(f"{root} is a model of osparse, which no other library defines; pass it as the model instead")
    if subject.graph is None:
        raise InputError(f"{subject.imported.path} has no encoder, and queries alone are compared with `model`")
    layout = read_layout(root)
    choices: tuple[Activation, ...] = (layout.activation,) if layout.activation else ACTIVATIONS
    agreements = {activation: _agreement(subject, subject.graph, layout, activation) for activation in choices}
    activation = min(choices, key=lambda choice: agreements[choice].largest["encoder"])
    agreement = agreements[activation]
    library = f"sentence-transformers {library_versions()['sentence-transformers']}"
    for name, problems in agreement.problems.items():
        if name == "queries" and subject.queries is None:
            continue
        note = "" if name == "queries" or layout.activation else f"; its activation is {activation}"
        detail = f"{agreement.texts} texts, largest difference {agreement.largest[name]:.1e}{note}"
        yield result(f"{name} = {library}", "graphs", problems, detail)


def _agreement(subject: ImportedSubject, graph: ServedGraph, layout: Layout, activation: Activation) -> Agreement:
    documents = subject.contents["encoder"]
    queries = subject.queries or documents
    special = queries.tokenizer.num_special_tokens_to_add(False)
    packaged = Packaged(
        {"encoder": _without_special(graph, documents)}, documents.tokenizer, queries.query_encoder(),
        queries.length - special, special, replace(_head(documents), activation=activation),
    )  # fmt: skip
    return compare_with_library(layout, packaged)


def _head(contents: ZipContents) -> Head:
    unused = {i for i, token in enumerate(contents.tokens) if not token}
    return Head(max_length=contents.length, masked_ids=tuple(sorted({*contents.special_ids, *unused})))


def _without_special(graph: ServedGraph, contents: ZipContents) -> parity.Runner:
    """The served encoder without the weights that a server drops: those of special tokens and of ids without one."""
    dropped = list(_head(contents).masked_ids)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        weights = graph.run(ids, mask).copy()
        weights[:, dropped] = 0
        return weights

    return run
