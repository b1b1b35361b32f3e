"""Other engines: what they are given scores as osparse does, and deletions leave what a load leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardSet
from osparse.deployer import encode_documents
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError
from osparse.formula.lucene_rounding import quantise, score
from osparse.formula.query_encoder import QueryEncoder
from osparse.integrations import bundle_query_encoder, elasticsearch, milvus, open_shards, qdrant
from osparse.integrations.sparse_documents import documents

from .test_encode_shards import write

TEXTS = dict.fromkeys(text for record in world.RECORDS for text in record[1:])
ROWS: list[dict[str, Any]] = [
    *({"id": f"d{n}", "text": text, "price": n / 3} for n, text in enumerate(TEXTS)),
    {"id": "blank", "text": " "},
    {"id": "gone", "text": "pear"},
    {"id": "gone", "_op": "delete"},
    {"id": "back", "text": "pear"},
    {"id": "back", "_op": "delete"},
    {"id": "back", "text": "apple pear"},
    {"id": "d0", "text": "pear flower"},
]
FINAL = {row["id"]: row["text"] for row in ROWS if "text" in row and row["id"] != "gone"}
QUERIES = [*list(TEXTS)[::5], "apple pear", "pear"]


@pytest.fixture
def shards(small_bundle: Bundle, tmp_path: Path) -> ShardSet:
    encode_documents([write(tmp_path / "d.jsonl", ROWS)], small_bundle, tmp_path / "shards", shard_rows=5, workers=1)
    return open_shards(tmp_path / "shards", small_bundle)


@pytest.fixture
def encoder(small_bundle: Bundle) -> QueryEncoder:
    return bundle_query_encoder(small_bundle)


def exact(bundle: Bundle, encoder: QueryEncoder, text: str, documents: Mapping[str, str] = FINAL) -> dict[str, float]:
    """The score of each document above 0, from the texts (a blank one gets no vector): no shards, no ids involved."""
    texts = {id_: text for id_, text in documents.items() if text.strip()}
    encoded = OnnxEncoder.open(bundle).encode(list(texts.values()))
    scores = {id_: score(encoder.encode(text), vector) for id_, vector in zip(texts, encoded, strict=True)}
    return {id_: value for id_, value in scores.items() if value > 0}


def assert_scores(got: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert set(got) == set(expected)
    assert expected
    np.testing.assert_allclose([got[i] for i in expected], list(expected.values()), rtol=1e-5)


def test_elasticsearch_by_its_documented_formula(small_bundle: Bundle, shards: ShardSet, encoder: QueryEncoder) -> None:
    """The sum over shared features of query weight times the 9 significant bits that the field keeps; no server runs."""
    index = {action["_id"]: action for action in elasticsearch.actions(shards, "products")}
    assert set(index) == set(FINAL)
    assert "sparse_embedding" not in index["blank"]["_source"]
    assert {(action["_op_type"], action["_index"]) for action in index.values()} == {("index", "products")}
    assert index["d1"]["_source"]["price"] == 1 / 3
    for text in QUERIES:
        asked = elasticsearch.query(encoder, text)["sparse_vector"]
        assert (asked["field"], asked["prune"]) == ("sparse_embedding", False)
        scores = {}
        for id_, action in index.items():
            vector = action["_source"].get(asked["field"], {})
            stored = dict(zip(vector, quantise(np.array(list(vector.values()), np.float32)), strict=True))
            assert stored == vector
            scores[id_] = sum(weight * stored.get(name, 0) for name, weight in asked["query_vector"].items())
        assert_scores({i: value for i, value in scores.items() if value > 0}, exact(small_bundle, encoder, text))


def test_qdrant_in_local_mode(small_bundle: Bundle, shards: ShardSet, encoder: QueryEncoder) -> None:
    client_module = pytest.importorskip("qdrant_client")
    models = client_module.models
    client = client_module.QdrantClient(":memory:")
    client.create_collection(
        "products", vectors_config={}, sparse_vectors_config={"sparse_embedding": models.SparseVectorParams()}
    )
    client.upload_points("products", qdrant.points(shards), batch_size=7)
    assert client.count("products").count == len(FINAL)
    for text in QUERIES:
        asked = qdrant.query(encoder, text)
        hits = client.query_points("products", query=asked, using="sparse_embedding", limit=len(FINAL)).points
        got = {hit.payload["id"]: hit.score for hit in hits if hit.score > 0}
        assert_scores(got, exact(small_bundle, encoder, text))
    assert client.retrieve("products", [qdrant.point_id("d1")])[0].payload["price"] == 1 / 3


@pytest.fixture
def milvus_file(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("milvus_lite")
    yield str(tmp_path / "milvus.db")


def test_milvus_lite(small_bundle: Bundle, shards: ShardSet, encoder: QueryEncoder, milvus_file: str) -> None:
    module = pytest.importorskip("pymilvus")
    client = module.MilvusClient(milvus_file)
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", module.DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("sparse_embedding", module.DataType.SPARSE_FLOAT_VECTOR)
    indexes = client.prepare_index_params()
    indexes.add_index("sparse_embedding", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection("products", schema=schema, index_params=indexes)
    for entity in milvus.entities(shards):
        client.upsert("products", [entity])
    for text in QUERIES:
        (hits,) = client.search(
            "products", data=[milvus.query(encoder, text)], anns_field="sparse_embedding", limit=len(FINAL)
        )
        got = {hit["id"]: hit["distance"] for hit in hits if hit["distance"] > 0}
        assert_scores(got, exact(small_bundle, encoder, text))
    client.close()


def test_a_document_that_a_later_row_deletes_is_left_out(shards: ShardSet) -> None:
    texts = {document.id: document.text for document in documents(shards)}
    assert texts == FINAL


def test_a_query_without_a_known_token(encoder: QueryEncoder) -> None:
    assert elasticsearch.query(encoder, "") == {"match_none": {}}
    assert milvus.query(encoder, "") == {}


def test_what_cannot_be_converted_is_refused(small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "pear", "sparse_embedding": "mine"}]
    encode_documents([write(tmp_path / "d.jsonl", rows)], small_bundle, tmp_path / "shards", workers=1)
    shards = open_shards(tmp_path / "shards", small_bundle)
    with pytest.raises(InputError, match="document a has a field sparse_embedding"):
        list(elasticsearch.actions(shards, "products"))
    (action,) = elasticsearch.actions(shards, "products", field="vector")
    assert action["_source"]["sparse_embedding"] == "mine"
    with pytest.raises(InputError, match="encoded with bundle"):
        open_shards(tmp_path / "shards", other_bundle)
