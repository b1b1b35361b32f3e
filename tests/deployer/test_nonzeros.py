"""``deploy --nonzeros N``: an index keeps the N largest weights of a text, whoever encodes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import feature_name
from osparse.deployer import Serving, deploy, encode_documents, index_documents, read_deployment, status
from osparse.deployer.index.kept_options import settle
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import DeploymentConflictError, InputError
from osparse.formula.pruning import prune_by

from .conftest import TEXTS, client
from .test_layouts import processors

N = 3


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": t}) + "\n" for n, t in enumerate(TEXTS)), "utf-8")
    return path


def largest(bundle: Bundle, style: Any) -> dict[str, dict[str, float]]:
    """The N largest weights of each text, by sorting."""
    vectors = OnnxEncoder.open(bundle, threads=1).encode(TEXTS)
    assert max(map(len, vectors)) > N
    falling = [sorted(vector.items(), key=lambda item: -item[1])[:N] for vector in vectors]
    return {str(n): {feature_name(token, style): weight for token, weight in some} for n, some in enumerate(falling)}


def stored(server: MLCommonsServer, bundle: Bundle, name: str = "products") -> dict[str, Any]:
    found = server.indices[f"{name}-{bundle.short}"].documents
    return {i: pytest.approx(source["sparse_embedding"], rel=2**-8) for i, source in found.items()}


def test_in_client_mode_the_encoder_keeps_the_largest(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path, tmp_path: Path
) -> None:
    """Of processes and of shards too; the check of documents expects it, and an upgrade keeps it."""
    cluster, expected = client(core), largest(small_bundle, "u2024")
    deploy(small_bundle, cluster, "products", serving={"nonzeros": N})
    index_documents(cluster, "products", [documents], workers=1)
    assert expected == stored(core, small_bundle)
    encode_documents([documents], small_bundle, tmp_path / "shards", workers=1)
    index_documents(cluster, "products", [], encoded=tmp_path / "shards", force=True)
    assert expected == stored(core, small_bundle)
    for source in core.indices[f"products-{small_bundle.short}"].documents.values():
        source["osparse_hash"] = "somebody else's"
    (shown,) = status(cluster)
    assert not shown.problems and f"at most {N} weights of a text" in str(shown)
    upgraded = deploy(other_bundle, cluster, "products")
    assert f"kept from the index before: nonzeros {N}" in str(upgraded)
    assert largest(other_bundle, "u2024") == stored(core, other_bundle)


def test_in_ml_commons_mode_the_pipeline_does(server: MLCommonsServer, small_bundle: Bundle, documents: Path) -> None:
    cluster = client(server)
    for name, encode in (("by-cluster", "cluster"), ("by-here", "here")):
        deploy(small_bundle, cluster, name, serving={"nonzeros": N})
        index_documents(cluster, name, [documents], encode=encode, bundle=small_bundle)  # type: ignore[arg-type]
        assert largest(small_bundle, "raw") == stored(server, small_bundle, name)
    pipeline = read_deployment(cluster, "by-here").ingest_pipeline or ""
    (body,) = [p["sparse_encoding"] for p in processors(server, pipeline) if "sparse_encoding" in p]
    assert (body["prune_type"], body["prune_ratio"]) == ("top_k", N)
    with pytest.raises(DeploymentConflictError, match=f"prune: top_k {N} there, None required"):
        deploy(small_bundle, cluster, "by-here", serving=Serving())


def test_one_rule_takes_the_place_of_the_other(server: MLCommonsServer, small_bundle: Bundle) -> None:
    before = deploy(small_bundle, client(server), "products", serving={"prune_ratio": 0.1}).deployment
    assert settle(before, "ml-commons", {"nonzeros": 9})[0] == Serving(nonzeros=9)
    before = deploy(small_bundle, client(server), "others", serving={"nonzeros": 9, "ingest_batch": 4}).deployment
    assert settle(before, "ml-commons", {"prune_ratio": 0.2})[0] == Serving(prune_ratio=0.2, ingest_batch=4)
    assert settle(before, "client", None)[0] == Serving(nonzeros=9), "it has a meaning in each mode"


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        (Serving(nonzeros=0), "`nonzeros` must be at least 1, got 0"),
        (Serving(nonzeros=9, prune_ratio=0.1), "`nonzeros` and `prune_ratio` are two rules of pruning"),
    ],
)
def test_impossible_numbers_are_refused(
    serving: Serving, said: str, server: MLCommonsServer, small_bundle: Bundle
) -> None:
    with pytest.raises(InputError, match=said):
        deploy(small_bundle, client(server), "products", serving=serving)


def test_a_kept_number_does_not_refuse_a_bundle_that_keeps_fewer(server: MLCommonsServer, small_bundle: Bundle) -> None:
    fewer = replace(small_bundle, head=replace(small_bundle.head, top_k=5))
    made = deploy(fewer, client(server), "products", serving={"nonzeros": 6}).deployment
    assert made.prune == "top_k 6"


def test_equal_weights_give_no_more_than_the_number() -> None:
    weights = np.array([1, 3, 0, 2, 2, 2], np.float32)
    assert prune_by("top_k 3", weights).tolist() == [0, 3, 0, 2, 2, 0]
    assert prune_by("top_k 5", weights) is weights and prune_by(None, weights) is weights
    with pytest.raises(ValueError, match="max_ratio or top_k, got 'alpha_mass 0.5'"):
        prune_by("alpha_mass 0.5", weights)
