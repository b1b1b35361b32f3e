"""Mode remote: this machine's vectors, shards, an index that is taken over, hybrid queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adoption_world import TEXT, fill
from encoder_service import EncoderService, encoder_service
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD
from osparse.deployer import Adoption, encode_documents, index_documents, status
from osparse.deployer.names import fusing_pipeline
from osparse.errors import CheckError

from .conftest import TEXTS, client, stands_on
from .test_remote import actions, documents, remote, rows

SERVINGS = [{}, {"field": "sparse_vector"}, {"chunk_text": True}, {"prune_ratio": 0.3}]
HARD = [*TEXTS, "pear ${parameters.input} apple", "apple $\u2060{ pear"]
"""With texts that ML Commons would change on their way to the encoder."""


@pytest.fixture
def service(small_bundle: Bundle) -> Iterator[EncoderService]:
    with encoder_service(small_bundle.path) as running:
        yield running


def texts_encoded(service: EncoderService) -> int:
    found = re.search(r"^osparse_texts_total (\d+)", service.call("GET", "/metrics").body, re.MULTILINE)
    return int(found[1]) if found else -1


def weights(source: dict[str, Any]) -> Any:
    """Of a document, or of its pieces in turn."""
    if "chunks" in source:
        return [pytest.approx(piece["sparse_encoding"], abs=1e-5) for piece in source["chunks"]]
    return pytest.approx(source[FIELD], abs=1e-5)


def plain(source: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in (FIELD, "chunks")}


@pytest.mark.parametrize("serving", SERVINGS)
def test_what_this_machine_writes_is_what_the_remote_encoder_writes(
    serving: dict[str, Any], server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    remote(small_bundle, server, service.url, serving=serving)
    file = rows(tmp_path / "rows.jsonl", HARD)
    by_cluster = index_documents(client(server), "products", [file], bundle=small_bundle)
    expected = dict(documents(server))
    assert by_cluster.encoder == "cluster: mode remote" and by_cluster.indexed == len(HARD)
    before = texts_encoded(service)
    here = index_documents(client(server), "products", [file], encode="here", bundle=small_bundle, force=True)
    assert (here.failed, here.encoder, here.encoded > 0) == (0, "here: as asked", True)
    assert 0 < texts_encoded(service) - before <= len(small_bundle.probes()) + len(HARD), "only the comparison"
    assert documents(server).keys() == expected.keys()
    for i, source in documents(server).items():
        assert plain(source) == plain(expected[i])
        made = source["chunks"] if "chunks" in source else None
        found = [piece["sparse_encoding"] for piece in made] if isinstance(made, list) else source[FIELD]
        assert found == weights(expected[i]), i


@pytest.mark.parametrize("serving", [{}, {"field": "sparse_vector"}])
def test_shards_are_loaded_past_the_remote_encoder(
    serving: dict[str, Any], server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    remote(small_bundle, server, service.url, serving=serving)
    encode_documents([rows(tmp_path / "rows.jsonl", HARD)], small_bundle, tmp_path / "shards", workers=1)
    done = index_documents(client(server), "products", [], encoded=tmp_path / "shards")
    assert (done.failed, done.encoded, done.indexed) == (0, 0, len(HARD))
    of_shards = {i: source[FIELD] for i, source in documents(server).items()}
    index_documents(client(server), "products", [tmp_path / "rows.jsonl"], encode="cluster", force=True)
    for i, source in documents(server).items():
        assert of_shards[i] == pytest.approx(source[FIELD], rel=2**-7), "the rounding of the feature field"


def test_a_remote_encoder_with_other_weights_is_seen_before_anything_is_written(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    remote(small_bundle, server, service.url)
    file = rows(tmp_path / "rows.jsonl", TEXTS)
    with encoder_service(other_bundle.path) as other:
        (connector,) = server.connectors.values()
        connector["actions"][0]["url"] = other.url
        with pytest.raises(CheckError, match="the encoder behind products"):
            index_documents(client(server), "products", [file], encode="here", bundle=small_bundle)
    assert not documents(server)


@pytest.mark.parametrize("serving", [{}, {"field": "sparse_vector"}])
def test_an_index_is_taken_over_by_a_remote_encoder(
    serving: dict[str, Any], server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    fill(server, count=40)
    choices = {**TEXT, **serving}
    adoption = Adoption("products-v7")
    result = remote(small_bundle, server, service.url, serving=choices, adoption=adoption)
    assert stands_on(server) == [result.plan.index] and stands_on(server, "products-previous") == ["products-v7"]
    stored = server.indices[result.plan.index].documents
    assert len(stored) == 40 and all(source[FIELD] for source in stored.values())
    assert any("probes as proved through its pipeline" in line for line in result.gate)
    assert texts_encoded(service) >= 40 and status(client(server), "products")[0].ready
    again = remote(small_bundle, server, None, serving=choices, adoption=adoption)
    assert set(actions(again)) == {"keep"}


def test_hybrid_queries_are_encoded_in_the_cluster(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url, serving={"hybrid": "normalise"})
    assert server.pipelines[fusing_pipeline("products")]["request_processors"], "they name the tokenizer"
    again = remote(small_bundle, server, service.url)
    assert actions(again) == ["keep"] * len(actions(again)) and status(client(server), "products")[0].ready
