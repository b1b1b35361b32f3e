"""One document above another, and why a document is not found: on the local server, by the deployed bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import world
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.deployer import Cluster, deploy, index_documents, open_cluster
from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import InputError
from osparse.formula.head import Head
from osparse.packager import package
from osparse.retrieval import explain, search

Make = Callable[[str], Any]
TEXTS = {record[0]: record[4] for record in world.RECORDS}
LONG = "moon " * 80 + "the harbour"


@pytest.fixture(autouse=True)
def one_encoding() -> None:
    """Here two models encode the same texts, so the encodings are not shared."""


@pytest.fixture(scope="module")
def pruning(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Bundle]:
    """A model that prunes by share and by number, and its bundle."""
    from osparse.packager import package

    folder = tmp_path_factory.mktemp("pruning")
    head = Head(max_length=64, masked_ids=(0, 1, 2, 3, 4), prune_ratio=0.3, top_k=40)
    model = world.make_model(folder / "model", head=head)
    return model, package(model, folder / "bundle", formats=["onnx", "torchscript"])


@pytest.fixture(scope="module")
def client_mode(pruning: tuple[Model, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("served")
    with mlcommons_server(plugins=()) as server:
        yield served(server, pruning[1], folder, "client")


def served(server: MLCommonsServer, bundle: Bundle, folder: Path, mode: Any) -> Cluster:
    cluster = open_cluster(server.url)
    deploy(bundle, cluster, "products", mode=mode)
    rows = [{"id": name, "text": text, "lang": "en"} for name, text in {**TEXTS, "long": LONG}.items()]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert index_documents(cluster, "products", [folder / "d.jsonl"]).failed == 0
    return cluster


def test_the_weights_before_pruning_are_found_where_own_tokens_are_kept(tmp_path: Path) -> None:
    head = Head(max_length=64, masked_ids=(0, 1, 2, 3, 4), prune_ratio=0.3, top_k=10, keep_own=True)
    trained = world.make_model(tmp_path / "model", head=head, lexical=True)
    packaged = package(trained, tmp_path / "bundle", ["onnx"])
    encoder, plain = UnprunedEncoder(packaged.zip_path("onnx")), TextEncoder.open(trained)
    ids = torch.tensor([encoder.tokenizer.encode(TEXTS["moon"]).ids])
    with torch.inference_mode():
        expected = plain.encoder(ids, torch.ones_like(ids))[0].numpy()
    assert encoder.encode(TEXTS["moon"]) == pytest.approx(expected, abs=1e-5)
    assert np.count_nonzero(expected) > len(plain.encode([TEXTS["moon"]])[0]) > 10


def test_the_weights_before_pruning_are_the_models(pruning: tuple[Model, Bundle], bundle: Bundle, model: Model) -> None:
    for trained, packaged in (pruning, (model, bundle)):
        encoder, plain = UnprunedEncoder(packaged.zip_path("onnx")), TextEncoder.open(trained)
        for text in TEXTS.values():
            ids = torch.tensor([encoder.tokenizer.encode(text).ids])
            with torch.inference_mode():
                expected = plain.encoder(ids, torch.ones_like(ids))[0].numpy()
            assert encoder.encode(text) == pytest.approx(expected, abs=1e-5)
    trained, packaged = pruning
    (kept,) = TextEncoder.open(trained).encode([TEXTS["moon"]])
    assert np.count_nonzero(UnprunedEncoder(packaged.zip_path("onnx")).encode(TEXTS["moon"])) > len(kept)


@pytest.mark.parametrize("kind", ["client", "plugin", "ml-commons"])
def test_the_differences_add_up_to_that_of_the_scores(kind: str, make_cluster: Make) -> None:
    cluster, query = make_cluster(kind), "tram lines 노선 ver. 2.0 달"
    scores = {hit.id: hit.score for hit in search(cluster, "world", query, top=16)}
    explanation = explain(cluster, "world", "tram:en", query, against="moon:ko")
    assert explanation.against is not None
    assert explanation.against.score == pytest.approx(scores["moon:ko"], rel=1e-6)
    differences = [token.difference for token in explanation.against.tokens]
    assert sum(differences) == pytest.approx(scores["tram:en"] - scores["moon:ko"], rel=1e-5)
    assert list(map(abs, differences)) == sorted(map(abs, differences), reverse=True)
    with pytest.raises(InputError, match="has no document 'nowhere'"):
        explain(cluster, "world", "tram:en", query, against="nowhere")


def absent_token(model: Model, text: str, *, given: bool) -> str:
    """A word of the vocabulary that pruning takes from the text, or that the encoder never gave it."""
    encoder = TextEncoder.open(model)
    tokens = [token for token in encoder.tokens if token.isascii() and token.isalpha() and len(token) > 1]
    (kept,) = encoder.encode([text])
    ids = torch.tensor([encoder._tokenizer.encode(text).ids])
    with torch.inference_mode():
        weights = encoder.encoder(ids, torch.ones_like(ids))[0].numpy()
    return next(t for t in tokens if t not in kept and (weights[model.lexicon.id_of[t]] > 0) == given)


@pytest.mark.parametrize("given", [True, False])
def test_a_missing_token_has_its_rank_before_pruning(
    given: bool, client_mode: Cluster, pruning: tuple[Model, Bundle]
) -> None:
    model, bundle = pruning
    token = absent_token(model, TEXTS["moon"], given=given)
    why = explain(client_mode, "products", "moon", token, why_not=True).why_not
    assert why is not None and why.rank is None and not why.shares_token and why.note == "" and why.cut is None
    (needed,) = why.needed
    weights = UnprunedEncoder(bundle.zip_path("onnx")).encode(TEXTS["moon"])
    place = sorted(weights.tolist(), reverse=True).index(float(weights[model.lexicon.id_of[token]])) + 1
    assert needed.token == token and needed.rank == (place if given else None)
    assert needed.weight == pytest.approx(float(weights[model.lexicon.id_of[token]]))
    assert why.unpruned_weights == np.count_nonzero(weights) > why.stored_weights
    assert needed.rank is None or needed.rank > why.stored_weights


def test_a_filter_and_a_rank(client_mode: Cluster) -> None:
    why = explain(client_mode, "products", "moon", TEXTS["moon"], why_not=True, lang="ko").why_not
    assert why is not None and why.rank is None and why.shares_token
    assert why.filtered == "the search asks for lang ko, the document has en"
    hits = [hit.id for hit in search(client_mode, "products", TEXTS["moon"], top=100)]
    why = explain(client_mode, "products", hits[2], TEXTS["moon"], why_not=True, lang="en").why_not
    assert why is not None and why.rank == 3 and why.filtered == ""


def test_the_part_that_was_cut(client_mode: Cluster, pruning: tuple[Model, Bundle]) -> None:
    why = explain(client_mode, "products", "long", "harbour moon", why_not=True).why_not
    assert why is not None and why.cut is not None
    assert why.cut.max_length == 64 and why.cut.lost_text.endswith("moon the harbour")
    model = pruning[0]
    encode = UnprunedEncoder(pruning[1].zip_path("onnx")).tokenizer.encode
    ids = encode(why.cut.lost_text[-len("the harbour") :]).ids
    lost = {model.lexicon.tokens[i] for i in ids if i not in model.lexicon.special_ids}
    assert why.cut.query_tokens and set(why.cut.query_tokens) <= lost
    kept = LONG[: len(LONG) - len(why.cut.lost_text)]
    assert len(encode(kept).ids) == 64, "the rest fills max_length"


def test_where_the_cluster_encodes_the_bundle_is_asked_for(pruning: tuple[Model, Bundle], tmp_path: Path,
                                                           bundle: Bundle) -> None:  # fmt: skip
    with mlcommons_server() as server:
        cluster = served(server, pruning[1], tmp_path, "ml-commons")
        why = explain(cluster, "products", "moon", "harbour", why_not=True).why_not
        assert why is not None and "pass `bundle`" in why.note and why.needed[0].weight is None
        why = explain(cluster, "products", "moon", "harbour", why_not=True, bundle=pruning[1].path).why_not
        assert why is not None and why.note == "" and why.needed[0].weight is not None
        with pytest.raises(InputError, match="give the deployed one"):
            explain(cluster, "products", "moon", "harbour", why_not=True, bundle=bundle)


def test_the_command(client_mode: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", "--cluster", client_mode.url, "--index", "products", "--document", "long", "--against",
               "tram", "--why-not", "--lang", "ko", "harbour moon"]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(command)
    text = capsys.readouterr().out
    assert not stopped.value.code
    for part in (
        "against   tram (en)",
        "filtered out: the search asks for lang ko",
        "cut at max_length 64",
        "needed: ",
    ):
        assert part in text
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["why_not"]["cut"]["max_length"] == 64
    assert sum(t["difference"] for t in result["against"]["tokens"]) == pytest.approx(
        result["score"] - result["against"]["score"]
    )
