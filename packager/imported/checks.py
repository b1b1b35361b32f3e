"""``verify`` of an imported model: what a server does with zips that another tool made, checked here.

Nothing says which weights such a model must give, so they are compared only where a model or a checkpoint is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.imported import ImportedModel
from osparse.errors import BundleError, CheckError
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.packager.checks import lucene_emulator
from osparse.packager.checks.emulator import ServerEncoder, ServerTokenizer
from osparse.packager.checks.registry import Check, result
from osparse.packager.compare.probes import TEXTS
from osparse.packager.imported.graph import ServedGraph, open_graph
from osparse.packager.imported.zip_contents import ZipContents
from osparse.packager.tokenizer.packaged import lossy

LENGTHS = (1, 2, 9, 64, 257, SERVER_MAX_TOKENS)
"""Ids that an encoder must take, those of them that its tokenizer gives."""
DENSE = 0.995
"""Share of the vocabulary that may be non-zero in the median text; above it nothing is sparse."""


@dataclass(frozen=True)
class ImportedSubject:
    """What the checks look at; each part is opened once."""

    imported: ImportedModel

    @cached_property
    def contents(self) -> Mapping[str, ZipContents]:
        return {name: ZipContents.read(self.imported.zip_path(name)) for name in self.imported.parts}

    @cached_property
    def graph(self) -> ServedGraph | None:
        """Of the encoder, if there is one."""
        part = self.imported.encoder
        return None if part is None else open_graph(self.imported.zip_path("encoder"), part.model_format)

    @cached_property
    def server(self) -> ServerEncoder | None:
        """The encoder as the emulated server deploys it."""
        part = self.imported.encoder
        if part is None or self.graph is None:
            return None
        return ServerEncoder.open(self.imported.zip_path("encoder"), part.model_format, self.graph.run)

    @property
    def queries(self) -> ZipContents | None:
        """Whose tokenizer and idf.json weigh queries; None where the encoder itself encodes them."""
        return self.contents.get("tokenizer")


def run_checks(subject: ImportedSubject) -> list[Check]:
    """Every check; once the contents have failed, the model is not run."""
    imported = subject.imported
    detail = f"{len(imported.parts)} zips have the size and sha256 that they were registered or copied with"
    try:
        checks = [Check("files", "ok", detail), *_contents(subject)]
    except BundleError as broken:
        return [Check("files", "ok", detail), Check("zips", "failed", str(broken))]
    if any(check.outcome == "failed" for check in checks):
        return [*checks, Check("encoder", "not run", "left out, since a check above failed", "graphs")]
    try:
        checks += list(_encoder(subject))
        checks += list(_emulator(subject))
    except BundleError as refused:
        checks.append(Check("encoder", "failed", str(refused), "graphs"))
    return checks


def _contents(subject: ImportedSubject) -> Iterable[Check]:
    for name, contents in subject.contents.items():
        detail = f"each of {len(contents.tokens):,} ids keeps its own token; cut at {contents.length} ids"
        yield result(f"{name} tokenizer", "contents", lossy(contents.raw_tokenizer), detail)
        if contents.idf is not None and name == "tokenizer":
            yield _query_weights(contents)
    if len({contents.tokens for contents in subject.contents.values()}) > 1:
        problem = "the encoder's and the query model's tokenizers have different tokens: they do not belong together"
        yield result("vocabulary", "contents", [problem], "")


def _query_weights(contents: ZipContents) -> Check:
    """A weight outside (0, 64] fails every query with its token; a token that idf.json lacks weighs 1.0."""
    idf, known = contents.idf or {}, {token for token in contents.tokens if token}
    limit = lucene_emulator.MAX_QUERY_WEIGHT
    problems = [f"{token!r} weighs {w}, required is (0, {limit:g}]" for token, w in idf.items() if not 0 < w <= limit]
    if not known & idf.keys():
        problems.insert(0, "none of its keys is a token, so every token weighs 1.0")
    missing, unknown = len(known - idf.keys()), len(idf.keys() - known)
    detail = f"{len(idf):,} weights; {missing:,} tokens have none and weigh 1.0; {unknown:,} keys are no tokens"
    return result("idf", "contents", problems, detail)


def _encoder(subject: ImportedSubject) -> Iterator[Check]:
    """One weight per token, whatever the length of the text; finite, not negative, sparse."""
    if subject.graph is None or subject.server is None:
        return
    contents, run = subject.contents["encoder"], subject.graph.run
    random, tokens = np.random.default_rng(0), len(contents.tokens)
    lengths = [length for length in LENGTHS if length <= contents.length]
    problems: list[str] = []
    for length in lengths:
        ids = random.integers(0, tokens, (1, length), dtype=np.int64)
        weights = run(ids, np.ones_like(ids))
        problems += _faults(weights, tokens, length)
    detail = f"texts of {', '.join(map(str, lengths))} ids get {tokens:,} weights or more, finite and not negative"
    yield result("encoder", "graphs", problems, detail)
    if not problems:
        yield _sparseness(subject, subject.server)


def _faults(weights: NDArray[np.float32], tokens: int, length: int) -> list[str]:
    if weights.ndim != 2 or weights.shape[0] != 1 or weights.shape[1] < tokens:
        return [f"{length} ids get weights of shape {weights.shape}, required is (1, {tokens:,}) or more"]
    if not np.isfinite(weights).all():
        return [f"{length} ids get NaN or infinite weights"]
    return [f"{length} ids get negative weights, down to {weights.min():.3g}"] if weights.min() < 0 else []


def _sparseness(subject: ImportedSubject, server: ServerEncoder) -> Check:
    contents = subject.contents["encoder"]
    vectors = [server.vector(text) for _, text in TEXTS]
    nonzeros = sorted(int((vector > 0).sum()) for vector in vectors)
    median = nonzeros[len(nonzeros) // 2]
    problems = []
    if not any(nonzeros):
        problems = ["every text gets no weight at all"]
    elif median > DENSE * len(contents.tokens):
        problems = [f"the median text has {median:,} of {len(contents.tokens):,} tokens non-zero: it is not sparse"]
    special = sum(bool(vector[list(contents.special_ids)].any()) for vector in vectors)
    words = (
        f"; special tokens carry weight in {special} texts, which only a sparse_vector field stores" if special else ""
    )
    return result("sparseness", "graphs", problems, f"median text {median:,} weights{words}")


def _emulator(subject: ImportedSubject) -> Iterator[Check]:
    """An index takes every document, and a query that is weighed by the query model finds what it should."""
    if subject.server is not None:
        problems = []
        for _, text in TEXTS:
            try:
                lucene_emulator.rank_features(subject.server.predict(text))
            except CheckError as refused:
                problems.append(f"{text[:30]!r}: {refused}")
        yield result("documents", "emulator", problems, f"{len(TEXTS)} texts can be stored as rank_features")
    if subject.queries is not None:
        yield _queries(subject, subject.queries)


def _queries(subject: ImportedSubject, contents: ZipContents) -> Check:
    """What the emulated server answers is what the formula says, with idf.json's weights."""
    tokenizer = ServerTokenizer.open(subject.imported.zip_path("tokenizer"))
    encoder, problems = contents.query_encoder(), []
    for _, text in TEXTS:
        answer, expected = tokenizer.predict(text), encoder.encode(text)
        worst = max((abs(answer.get(t, 0) - expected.get(t, 0)) for t in {*answer, *expected}), default=0.0)
        if not worst <= 1e-4:
            problems.append(f"{text[:30]!r} differs by {worst:.2g}")
    return result("queries", "emulator", problems, f"{len(TEXTS)} texts get the weights of idf.json")
