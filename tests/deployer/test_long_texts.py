"""Texts longer than the encoder reads: one vector of windows, in an index of mode client, in shards, and in upgrades."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import token_of
from osparse.contracts.shards import ShardSet
from osparse.deployer import (
    Cluster,
    deploy,
    encode_documents,
    index_documents,
    read_deployment,
    status,
)
from osparse.deployer.encode import encoders
from osparse.deployer.encode.encoders import OneProcess, WorkerPool
from osparse.deployer.encode.pieces import PieceCutter
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.deployer.load.vectors import encoded_rows
from osparse.encoders.onnx_encoder import OnnxEncoder, read_tokenizer
from osparse.encoders.windows import windowed
from osparse.errors import InputError
from osparse.formula.lucene_rounding import quantise
from osparse.io.file_folders import open_folder
from osparse.retrieval import Searcher

from .conftest import TEXTS, client

LONG = " ".join([*TEXTS] * 40 + ["배 pear"])
ROWS = [{"id": "long", "text": LONG}, {"id": "short", "text": TEXTS[0]}, {"id": "blank", "text": " "}]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


def by_hand(bundle: Bundle, text: str, weight: float) -> dict[str, float]:
    """The windows cut from the whole text's ids, each run alone, put together in float64."""
    encoder = OnnxEncoder.open(bundle, threads=1)
    tokenizer, tokens, limit = read_tokenizer(bundle.zip_path("onnx"))
    tokenizer.no_truncation()
    first, *inner, last = tokenizer.encode(text).ids
    size, step = limit - 2, limit - 2 - limit // 4
    starts = range(0, max(1, len(inner) - size + step), step)
    total = np.zeros(len(tokens))
    for number, start in enumerate(starts):
        ids = np.array([[first, *inner[start : start + size], last]])
        vector = encoder.run(ids, np.ones_like(ids))[0]
        total = np.maximum(total, vector * (weight if number else 1))
    assert starts[-1] + size >= len(inner) and (len(starts) == 1 or starts[-2] + size < len(inner))
    return {tokens[i]: float(total[i]) for i in np.flatnonzero(total)}


def stored(server: MLCommonsServer, bundle: Bundle, name: str = "products") -> dict[str, dict[str, float]]:
    documents = server.indices[f"{name}-{bundle.short}"].documents
    return {
        i: {token_of(feature, "u2024"): weight for feature, weight in source.get("sparse_embedding", {}).items()}
        for i, source in documents.items()
    }


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_a_vector_of_windows_is_their_largest_weights(weight: float, small_bundle: Bundle) -> None:
    encoder = OnnxEncoder.open(small_bundle, threads=1)
    for text, vector in zip([LONG, TEXTS[0]], windowed(encoder, [LONG, TEXTS[0]], weight), strict=True):
        made = {encoder.tokens[i]: float(vector[i]) for i in np.flatnonzero(vector)}
        assert made == pytest.approx(by_hand(small_bundle, text, weight), rel=1e-5)
    (cut,) = encoder.encode([TEXTS[0]])
    assert made == pytest.approx(cut, rel=1e-6), "a text that fits has the vector that it has anyway"
    assert len(encoder.windows([LONG])[0]) > 2


def test_processes_and_company_change_no_bit(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "PIECE", 2)
    archive, texts = small_bundle.zip_path("onnx"), [LONG, *TEXTS, LONG + TEXTS[1]]
    alone = [OneProcess(FeatureEncoder(archive, "packed", "top_k 20", 0.5)).encode(["a"], [text])[0] for text in texts]
    pool = WorkerPool(archive, "packed", 2, "top_k 20", 0.5)
    try:
        assert pool.encode([str(n) for n in range(len(texts))], texts) == alone
    finally:
        pool.close()


def test_an_index_in_windows_says_so_and_everything_follows_it(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path, tmp_path: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products", serving={"window_weight": 0.5})
    load = index_documents(cluster, "products", [documents])
    assert (load.failed, load.cut) == (0, 0)
    vectors = stored(core, small_bundle)
    assert vectors["long"] == pytest.approx(by_hand(small_bundle, LONG, 0.5), rel=1e-5) and not vectors["blank"]
    assert vectors["long"] != pytest.approx(by_hand(small_bundle, LONG, 1.0), rel=1e-3)
    (shown,) = status(cluster)
    assert "long texts in windows (0.5)" in str(shown) and not shown.problems
    check_notices_a_change(core, cluster, small_bundle)
    assert index_documents(cluster, "products", [documents], force=True).failed == 0
    deploy(other_bundle, cluster, "products")
    assert read_deployment(cluster, "products").window_weight == 0.5
    assert stored(core, other_bundle)["long"] == pytest.approx(by_hand(other_bundle, LONG, 0.5), rel=1e-5)


def check_notices_a_change(core: MLCommonsServer, cluster: Cluster, bundle: Bundle) -> None:
    """The vectors of windows are those that the check of stored documents expects, unless somebody changed them."""
    index = f"products-{bundle.short}"
    source = core.indices[index].documents["long"]
    source["osparse_hash"] = "somebody else's"
    assert not status(cluster, index)[0].problems
    source["sparse_embedding"] = {name: weight * 2 for name, weight in source["sparse_embedding"].items()}
    assert any("long" in problem for problem in status(cluster, index)[0].problems)


def test_shards_of_windows_go_into_an_index_of_the_same_windows_only(
    core: MLCommonsServer, small_bundle: Bundle, documents: Path, tmp_path: Path
) -> None:
    cluster, shards = client(core), tmp_path / "shards"
    made = encode_documents([documents], small_bundle, shards, workers=1, window_weight=0.5)
    assert made.cut == 0 and ShardSet.open(open_folder(shards)).first.long_texts == "windows 0.5"
    for name, weight in (("windows", 0.5), ("plain", None), ("other", 0.6)):
        deploy(small_bundle, cluster, name, serving={"window_weight": weight})
    assert index_documents(cluster, "windows", [], encoded=shards).failed == 0
    expected = by_hand(small_bundle, LONG, 0.5)
    rounded = dict(zip(expected, quantise(np.array([*expected.values()], np.float32)).tolist(), strict=True))
    assert stored(core, small_bundle, "windows")["long"] == pytest.approx(rounded, rel=2**-8)
    with pytest.raises(InputError, match="with long texts windows 0.5, and plain-.* has cut"):
        index_documents(cluster, "plain", [], encoded=shards)
    with pytest.raises(InputError, match="and other-.* has windows 0.6"):
        index_documents(cluster, "other", [], encoded=shards)
    with pytest.raises(InputError, match="and this encoding has cut"):
        encode_documents([documents], small_bundle, tmp_path / "cut", workers=1, since=shards)
    with pytest.raises(InputError, match="differ in long texts"):
        encode_documents([documents], small_bundle, shards, workers=1)
    again = encode_documents([documents], small_bundle, tmp_path / "w", workers=1, window_weight=0.5, since=shards)
    assert again.encoded == 0 and [*encoded_rows(ShardSet.open(open_folder(tmp_path / "w")))]


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ({"window_weight": 0.0}, "`window_weight` must be above 0 and at most 1, got 0"),
        ({"window_weight": 1.5}, "`window_weight` must be above 0 and at most 1, got 1.5"),
        ({"window_weight": 0.5, "chunk_text": True}, "`window_weight` and `chunk_text` exclude each other"),
    ],
)
def test_impossible_windows_are_refused(
    serving: dict[str, Any], said: str, core: MLCommonsServer, small_bundle: Bundle, documents: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        deploy(small_bundle, client(core), "products", serving=serving)
    if "chunk_text" not in serving:
        with pytest.raises(InputError, match=said):
            encode_documents([documents], small_bundle, tmp_path / "s", workers=1, **serving)


def test_a_cluster_that_encodes_has_no_windows(server: MLCommonsServer, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="`window_weight` is for mode client"):
        deploy(small_bundle, client(server), "products", serving={"window_weight": 0.5})


def test_the_commands_take_long_texts(
    core: MLCommonsServer, small_bundle: Bundle, documents: Path, tmp_path: Path
) -> None:
    bundle, url = str(small_bundle.path), core.url
    at = ["--cluster", url, "--index", "products"]
    ran = CliRunner().invoke(cli, ["deploy", bundle, *at, "--long-texts", "windows", "--json"])
    assert ran.exit_code == 0, ran.output
    assert read_deployment(client(core), "products").window_weight == 0.5
    shards = ["encode", str(documents), "--bundle", bundle, "--output", str(tmp_path / "s"), "--workers", "1"]
    ran = CliRunner().invoke(cli, [*shards, "--long-texts", "windows", "--window-weight", "0.5"])
    assert ran.exit_code == 0, ran.output
    ran = CliRunner().invoke(cli, ["index", *at, "--encoded", str(tmp_path / "s")])
    assert ran.exit_code == 0, ran.output
    for wrong in (["deploy", bundle, *at], shards):
        ran = CliRunner().invoke(cli, [*wrong, "--window-weight", "0.5"])
        assert ran.exit_code == 2 and "--long-texts windows" in ran.output


def test_every_word_is_whole_in_a_piece_that_fits(small_bundle: Bundle) -> None:
    archive = small_bundle.zip_path("onnx")
    words = [f"{word}{number}" for number in range(400) for word in ("pear", "배나무", "blossoms")]
    text, short = "  ".join(words), TEXTS[0]
    pieces, one = PieceCutter(archive).cut([text, short])
    assert one == [short] and len(pieces) > 3
    assert {word for piece in pieces for word in piece.split()} == {*words}
    assert not any(OnnxEncoder.open(archive, threads=1).token_ids(pieces)[1])
    unspaced = PieceCutter(archive).cut(["배,꽃;" * 500])[0]
    assert len(unspaced) > 3 and {*"".join(unspaced)} == {*"배,꽃;"}


def test_pieces_in_mode_client_are_nested_and_the_best_one_counts(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products", serving={"chunk_text": True})
    assert index_documents(cluster, "products", [documents]).failed == 0
    source = core.indices[f"products-{small_bundle.short}"].documents["long"]
    assert source["chunk_texts"] == PieceCutter(small_bundle.zip_path("onnx")).cut([LONG])[0]
    encoder = OnnxEncoder.open(small_bundle, threads=1)
    for piece, stored_piece in zip(source["chunk_texts"], source["chunks"], strict=True):
        (expected,) = encoder.encode([piece])
        found = {token_of(name, "u2024"): weight for name, weight in stored_piece["sparse_encoding"].items()}
        assert found == pytest.approx(expected, rel=1e-6)
    searcher = Searcher(cluster, "products")
    query = searcher.encoder.encode(TEXTS[0])
    best = max(
        sum(weight * vector.get(token, 0.0) for token, weight in query.items())
        for vector in encoder.encode(source["chunk_texts"])
    )
    scores = {hit.id: hit.score for hit in searcher.search(TEXTS[0], top=5).hits}
    assert scores["long"] == pytest.approx(best, rel=2**-7)
    (shown,) = status(cluster)
    assert "in pieces" in str(shown) and not shown.problems
    source["osparse_hash"] = "somebody else's"
    assert not status(cluster)[0].problems
    source["chunks"] = source["chunks"][:1]
    assert any("long" in problem for problem in status(cluster)[0].problems)
    deploy(other_bundle, cluster, "products", serving={"chunk_text": True})
    copied = core.indices[f"products-{other_bundle.short}"].documents["long"]
    assert len(copied["chunks"]) == len(copied["chunk_texts"]) > 1
    deploy(small_bundle, cluster, "cut", serving={"chunk_text": False})
