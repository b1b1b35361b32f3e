"""Field types, pieces, fusion, pruning: what is made, what is refused, and that each index has its own wiring."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import stored_vectors
from osparse.deployer import Serving, deploy, index_documents, read_deployment, status
from osparse.deployer.index.pipeline_steps import words_per_piece
from osparse.deployer.index.seismic_parameters import ceilings
from osparse.deployer.operate.snippets import saved_objects, snippets
from osparse.errors import DeploymentConflictError, InputError
from osparse.opensearch_templates.queries import tokens_body

from .conftest import TEXTS, client


def mapping(server: MLCommonsServer, bundle: Bundle) -> dict[str, Any]:
    return dict(server.indices[f"products-{bundle.short}"].mappings["properties"])


def processors(server: MLCommonsServer, name: str) -> list[dict[str, Any]]:
    return list(server.ingest[name]["processors"])


def test_sparse_vector_takes_its_ceilings_from_the_bundle(server: MLCommonsServer, small_bundle: Bundle) -> None:
    result = deploy(small_bundle, client(server), "products", serving=Serving(field="sparse_vector"))
    field = mapping(server, small_bundle)["sparse_embedding"]
    assert field["type"] == "sparse_vector" and field["method"]["name"] == "seismic"
    found = field["method"]["parameters"]
    probes = small_bundle.probes()
    assert found["quantization_ceiling_ingest"] >= max(w for p in probes for w in p.document.values())
    assert 64 >= found["quantization_ceiling_search"] >= max(w for p in probes for w in p.query.values())
    assert server.indices[f"products-{small_bundle.short}"].settings["sparse"] is True
    assert '"k": 10' in result.snippets and '"size": 10' in result.snippets, "k is 10 whatever size says"
    assert ceilings(small_bundle)["ceiling_search"] == found["quantization_ceiling_search"]


def test_a_vocabulary_too_large_for_seismic_is_refused(server: MLCommonsServer, small_bundle: Bundle) -> None:
    large = replace(small_bundle, vocabulary=32_769)
    with pytest.raises(InputError, match=r"below 32,768, and this bundle has 32,769 tokens"):
        deploy(large, client(server), "products", serving=Serving(field="sparse_vector"))
    assert not server.models and not server.indices


def test_a_semantic_field_encodes_by_itself(server: MLCommonsServer, small_bundle: Bundle) -> None:
    result = deploy(small_bundle, client(server), "products", serving=Serving(field="semantic"))
    field = mapping(server, small_bundle)["text"]
    names = {server.models[field[key]]["name"].rsplit("-", 1)[1] for key in ("model_id", "search_model_id")}
    assert field["type"] == "semantic" and names == {"encoder", "tokenizer"}
    assert field["sparse_encoding_config"] == {"prune_type": "none"}, "its own default would drop weights"
    assert not server.ingest and result.deployment.ingest_pipeline is None
    (pipeline,) = server.pipelines.values()
    (enricher,) = pipeline["request_processors"]
    assert enricher["neural_query_enricher"]["neural_field_default_id"].keys() == {"text_semantic_info.embedding"}
    assert not deploy(small_bundle, client(server), "products", serving=Serving(field="semantic")).plan.changes
    assert '"fields": ["title.ko", "title.en", "text"]' in result.snippets, "it has no text.ko to search"
    assert status(client(server), "products")[0].ready


def test_long_texts_are_encoded_in_pieces(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    serving = Serving(chunk_text=True)
    deploy(small_bundle, client(server), "products", serving=serving)
    limit = words_per_piece(small_bundle)
    assert 8 <= limit <= small_bundle.head.max_length
    removing, chunking, encoding = processors(server, f"osparse-tiny-{small_bundle.short}-ingest-chunks")
    assert removing["remove"]["field"] == ["chunk_texts", "chunks"], "a new text leaves no old piece"
    assert chunking["text_chunking"]["algorithm"]["fixed_token_length"]["token_limit"] == limit
    assert encoding["sparse_encoding"]["field_map"] == {"chunk_texts": "chunks"}
    path = tmp_path / "d.jsonl"
    words = [f"{TEXTS[0]} {number}" for number in range(limit)]
    path.write_text(json.dumps({"id": "1", "text": " ".join(words)}), encoding="utf-8")
    index_documents(client(server), "products", [path])
    source = server.indices[f"products-{small_bundle.short}"].documents["1"]
    pieces = stored_vectors(source, "chunks.sparse_encoding")
    assert len(pieces) == len(source["chunk_texts"]) > 1 and all(pieces)
    body = tokens_body(read_deployment(client(server), "products"), {"a": 1.0}, 5)
    assert body["query"]["nested"]["path"] == "chunks" and body["query"]["nested"]["score_mode"] == "max"


def test_pruning_batches_and_skipping_go_into_the_pipeline(server: MLCommonsServer, small_bundle: Bundle) -> None:
    serving = Serving(prune_ratio=0.1, skip_existing=True, ingest_batch=16)
    deploy(small_bundle, client(server), "thin", serving=serving)
    deploy(small_bundle, client(server), "whole")
    thin, whole = (server.indices[f"{n}-{small_bundle.short}"].settings["default_pipeline"] for n in ("thin", "whole"))
    (body,) = [p["sparse_encoding"] for p in processors(server, thin) if "sparse_encoding" in p]
    assert (body["prune_type"], body["prune_ratio"], body["skip_existing"], body["batch_size"]) == (
        "max_ratio",
        0.1,
        True,
        16,
    )
    (body,) = [p["sparse_encoding"] for p in processors(server, whole) if "sparse_encoding" in p]
    assert not {"prune_type", "prune_ratio", "skip_existing", "batch_size"} & body.keys()
    assert len(server.models) == 2, "the models are shared"
    with pytest.raises(DeploymentConflictError, match="prune: max_ratio 0.1 there, None required"):
        deploy(small_bundle, client(server), "thin", serving=Serving())


@pytest.mark.parametrize(
    ("hybrid", "processor"), [("normalise", "normalization-processor"), ("rrf", "score-ranker-processor")]
)
def test_a_fusing_pipeline_stands_beside_the_plain_one(
    hybrid: Any, processor: str, server: MLCommonsServer, small_bundle: Bundle
) -> None:
    result = deploy(small_bundle, client(server), "products", serving=Serving(hybrid=hybrid))
    name = "osparse-hybrid-products"
    pipeline = server.pipelines[name]
    assert [next(iter(p)) for p in pipeline["phase_results_processors"]] == [processor]
    assert [next(iter(p)) for p in pipeline["request_processors"]] == ["neural_query_enricher"]
    assert server.indices[f"products-{small_bundle.short}"].settings["search.default_pipeline"] != name
    assert f"GET products/_search?search_pipeline={name}" in result.snippets and '"hybrid"' in result.snippets
    assert not deploy(small_bundle, client(server), "products", serving=Serving(hybrid=hybrid)).plan.changes


REFUSED = [
    (Serving(prune_ratio=1.0), r"must be in \[0, 1\)"),
    (Serving(ingest_batch=0), "at least 1, got 0"),
    (Serving(field="sparse_vector", two_phase=True), "exclude each other"),
    (Serving(field="semantic", chunk_text=True), "goes with `field=rank_features`"),
    (Serving(field="semantic", skip_existing=True), "`field=semantic` has none"),
    (Serving(chunk_text=True, two_phase=True), "no effect on the nested"),
]


@pytest.mark.parametrize(("serving", "message"), REFUSED)
def test_choices_that_cannot_be(serving: Serving, message: str, server: MLCommonsServer, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match=message):
        deploy(small_bundle, client(server), "products", serving=serving)
    assert not server.indices


NEWER = [
    (Serving(field="sparse_vector"), "3.2.0", "3.3"),
    (Serving(field="semantic"), "3.1.0", "3.2"),
    (Serving(hybrid="rrf"), "2.18.0", "2.19"),
    (Serving(prune_ratio=0.1), "2.18.0", "2.19"),
    (Serving(nonzeros=4), "2.18.0", "2.19"),
    (Serving(skip_existing=True), "2.19.1", "3.0"),
    (Serving(ingest_batch=4), "2.15.0", "2.16"),
]


@pytest.mark.parametrize(("serving", "version", "needs"), NEWER)
def test_choices_of_a_newer_cluster(
    serving: Serving,
    version: str,
    needs: str,
    server: MLCommonsServer,
    small_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = server.root
    monkeypatch.setattr(
        server, "root", lambda request: {**plain(request), "version": {"number": version, "distribution": "opensearch"}}
    )
    with pytest.raises(InputError, match=f"needs OpenSearch {needs} or newer, this is {version}"):
        deploy(small_bundle, client(server), "products", serving=serving)


def test_choices_of_the_other_mode(core: MLCommonsServer, small_bundle: Bundle) -> None:
    serving = Serving(field="semantic", prune_ratio=0.1, hybrid="rrf")
    with pytest.raises(
        InputError, match="`field=semantic`, `prune_ratio` are for mode ml-commons.*`hybrid` needs the plugin"
    ):
        deploy(small_bundle, client(core), "products", serving=serving)


def test_what_is_written_for_dashboards(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, objects = tmp_path / "lines.txt", tmp_path / "objects.ndjson"
    command = ["deploy", str(small_bundle.path), "--cluster", server.url, "--index", "products", "--hybrid", "rrf",
               "--snippets", str(lines), "--saved-objects", str(objects)]  # fmt: skip
    with pytest.raises(SystemExit):
        main([*command, "--plan"])
    assert not lines.exists() and not objects.exists(), "a plan writes nothing"
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(command)
    assert lines.read_text(encoding="utf-8") in capsys.readouterr().out
    (pattern,) = [json.loads(line) for line in objects.read_text(encoding="utf-8").splitlines()]
    assert pattern["type"] == "index-pattern" and pattern["attributes"]["title"] == "products"
    assert objects.read_text(encoding="utf-8") == saved_objects("products")


def test_every_dev_tools_line_is_a_call_with_json(server: MLCommonsServer, small_bundle: Bundle) -> None:
    snippet = deploy(small_bundle, client(server), "products", serving=Serving(hybrid="normalise")).snippets
    calls = [block for block in snippet.strip().split("\n\n") if block]
    bodies = []
    for block in calls:
        rows = [row for row in block.splitlines() if not row.startswith("#")]
        assert rows[0].startswith("GET products/_")
        bodies += [json.loads("\n".join(rows[1:]))] if rows[1:] else []
    assert len(bodies) == 5 and all(body["size"] == 10 for body in bodies)


def test_a_vocabulary_the_cluster_has_an_analyzer_for(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deployment = deploy(small_bundle, client(server), "products").deployment
    assert "analyzer" not in snippets(small_bundle, deployment, "products")
    shown = snippets(replace(small_bundle, vocabulary=30_522), deployment, "products")
    assert '"analyzer": "bert-uncased"' in shown


@pytest.mark.parametrize("flags", [("--gate-margin", "0.1"), ("--gate-split", "test"), ("--stage", "--no-copy"),
                                   ("--stage", "--carry-aliases")])  # fmt: skip
def test_a_flag_that_would_do_nothing_is_refused(
    flags: tuple[str, ...], server: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["deploy", str(small_bundle.path), "--cluster", server.url, "--index", "products", *flags])
    assert stopped.value.code == 2 and flags[0] in capsys.readouterr().err and not server.calls
