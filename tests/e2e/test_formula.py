"""One formula: trained, packaged and served results agree with osparse.formula, on the real node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import world
from mlcommons_models import Runtime

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.deployer import Cluster, deploy, index_documents, open_cluster
from osparse.encoders.torch_encoder import TextEncoder
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.lucene_rounding import quantise, score
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval import Searcher, search

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "formula"
WORDS = " ".join(f"{record[2]} {record[4]}" for record in world.RECORDS).split()
TEXTS = [
    *(text for record in world.RECORDS for text in (record[2], record[4])),
    *world.ODD_TEXTS,
    "v1.2.3 . .. ... 2.0. a.b .x x.",
    "e\u0301clair \u1112\u1161\u11ab\u1100\u1173\u11af",
    " ".join((WORDS * 20)[:2000]),
]
"""Korean, English, mixed, emoji, NFD, empty, blank, dots, and two of 2,000 words."""
Vector = dict[str, float]


@pytest.fixture(scope="module")
def trained(model: Model) -> list[Vector]:
    return TextEncoder.open(model).encode(TEXTS)


@pytest.fixture(scope="module")
def served(node: Any, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The texts, each under its number, in an index of the real node."""
    cluster = open_cluster(node.url)
    deploy(bundle, cluster, INDEX, mode="client")
    documents = tmp_path_factory.mktemp("formula") / "documents.jsonl"
    rows = [{"id": f"{number:02}", "text": text} for number, text in enumerate(TEXTS)]
    documents.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert index_documents(cluster, INDEX, [documents], batch=5).indexed == len(TEXTS)
    yield cluster
    cluster.request("DELETE", f"/{INDEX}-{bundle.short}")


def close(a: Vector, b: Vector) -> bool:
    """Equal to 1e-5, a missing token counting 0."""
    tokens = sorted(a.keys() | b.keys())
    return np.allclose([a.get(t, 0) for t in tokens], [b.get(t, 0) for t in tokens], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_packaged_vectors_are_the_trained_ones(form: str, bundle: Bundle, trained: list[Vector]) -> None:
    """The zip run as ML Commons runs it: one text at a time, its own tokenizer, decoded keys."""
    document = {
        "name": bundle.name,
        "algorithm": "SPARSE_ENCODING",
        "model_format": bundle.files[form].model_format,
        "model_version": "1",
    }
    runtime = Runtime(document, bundle.zip_path(form).read_bytes(), "id")
    for text, vector in zip(TEXTS, trained, strict=True):
        found = {token: weight for token, weight in runtime.predict(text, "WORD").items() if weight is not None}
        assert close(found, vector), text[:80]


def test_stored_vectors_are_the_trained_ones(served: Cluster, trained: list[Vector]) -> None:
    searcher = Searcher(served, INDEX)
    for number, (text, vector) in enumerate(zip(TEXTS, trained, strict=True)):
        source = served.request("GET", f"/{INDEX}/_doc/{number:02}").body["_source"]
        stored = searcher.document_weights(source, {})
        if not text.strip():
            assert stored == {}, "a blank text is stored without weights"
            continue
        assert stored.keys() == vector.keys()
        kept = quantise(np.array(list(vector.values()), np.float32))
        # 1e-5 before rounding may be one step, 2^-8, after it.
        assert np.allclose([stored[token] for token in vector], kept, rtol=2**-8, atol=1e-5)


def test_served_scores_are_the_formula(served: Cluster, model: Model, trained: list[Vector]) -> None:
    encoder = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    vectors = {f"{n:02}": v for n, (t, v) in enumerate(zip(TEXTS, trained, strict=True)) if t.strip()}
    compared, stepped, dotted = 0, 0, 0
    for text in TEXTS:
        query = encoder.encode(text)
        hits = search(served, INDEX, text, top=100, explain=True)
        assert {hit.id for hit in hits} == {i for i, v in vectors.items() if query.keys() & v.keys()}, text[:80]
        for hit in hits:
            stored = {match.token: match.document_weight for match in hit.matched}
            assert hit.score == pytest.approx(score(query, stored), rel=1e-6)
            assert hit.score == pytest.approx(sum(match.contribution for match in hit.matched), rel=1e-6)
            wanted = score(query, vectors[hit.id])
            assert hit.score == pytest.approx(wanted, rel=2**-8)
            compared, stepped = compared + 1, stepped + (abs(hit.score - wanted) > 1e-6 * wanted)
            dotted += any("." in token for token in stored)
    assert compared > 100 and dotted > 0
    assert stepped <= compared * 0.02, f"{stepped} of {compared} scores are a rounding step away"
