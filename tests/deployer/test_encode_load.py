"""Shards and this machine's encoder write what the cluster's own pipeline writes, past it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlcommons_models import Runtime
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import (
    DocumentRow,
    Serving,
    Upgrade,
    deploy,
    encode_documents,
    index_documents,
    load_rows,
    read_deployment,
)
from osparse.deployer.load import encode_here
from osparse.deployer.load.documents import HASH_FIELD
from osparse.errors import CheckError, InputError
from osparse.formula.lucene_rounding import quantise

from .conftest import TEXTS, client
from .test_encode_shards import LONG, ROWS, write

FIELDS = ["rank_features", "sparse_vector", "semantic"]
TEXTS_OF_ROWS = {row["id"]: row["text"] for row in ROWS if row.get("text", "").strip()}
GOOD = [row for row in ROWS if row["id"] != "no text"]


@pytest.fixture
def shards(small_bundle: Bundle, tmp_path: Path) -> Path:
    encode_documents([write(tmp_path / "d.jsonl", GOOD)], small_bundle, tmp_path / "shards", shard_rows=7, workers=1)
    return tmp_path / "shards"


def vector(source: dict[str, Any]) -> dict[str, float] | None:
    found: dict[str, float] | None = source.get("sparse_embedding")
    return found or source.get("text_semantic_info", {}).get("embedding")


def without_weights(source: dict[str, Any]) -> dict[str, Any]:
    info = source.get("text_semantic_info", {})
    rest = {k: v for k, v in source.items() if k not in ("sparse_embedding", "text_semantic_info")}
    return {**rest, "model": info.get("model")}


def assert_alike(
    found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]], *, rounded: bool, prune: float = 0
) -> None:
    """Equal weights, rounded as a feature field rounds them where ``rounded``; everything else equal.

    A weight that the rounding moves across the threshold of ``prune`` may be missing from one of them.
    """
    assert found.keys() == expected.keys()
    for i, source in expected.items():
        assert without_weights(found[i]) == without_weights(source)
        there, here = vector(source), vector(found[i])
        assert (there is None) == (here is None), i
        if there is not None and here is not None:
            weights = np.array([*there.values()], np.float32)
            wanted = dict(zip(there, (quantise(weights) if rounded else weights).tolist(), strict=True))
            limits = {token for token in wanted.keys() ^ here.keys()}
            assert not limits or rounded, "without the rounding the same weights are pruned"
            threshold = prune * max(there.values())
            assert all({**there, **here}[token] == pytest.approx(threshold, rel=2**-7) for token in limits)
            common = wanted.keys() & here.keys()
            assert len(common) > len(limits) * 20
            shown, expected_weights = ({t: some[t] for t in common} for some in (here, wanted))
            assert shown == pytest.approx(expected_weights, rel=1e-6 if not rounded else 2**-8)


def stored(server: MLCommonsServer, bundle: Bundle, name: str = "products") -> dict[str, dict[str, Any]]:
    return server.indices[f"{name}-{bundle.short}"].documents


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the cluster's models were given."""
    texts, predict = list[str](), Runtime.predict

    def recorded(self: Runtime, text: str, form: str = "WORD") -> dict[str, Any]:
        texts.append(text)
        return predict(self, text, form)

    monkeypatch.setattr(Runtime, "predict", recorded)
    return texts


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("prune", [None, 0.3])
def test_every_field_gets_what_its_own_encoder_gives(
    field: Any,
    prune: float | None,
    server: MLCommonsServer,
    small_bundle: Bundle,
    shards: Path,
    tmp_path: Path,
    asked: list[str],
) -> None:
    cluster = client(server)
    for name in ("by-cluster", "by-shards", "by-here"):
        deploy(small_bundle, cluster, name, serving=Serving(field=field, prune_ratio=prune))
    path = tmp_path / "d.jsonl"
    assert index_documents(cluster, "by-cluster", [path], encode="cluster", batch=256).cut == 1
    assert LONG in asked
    asked.clear()
    first = index_documents(cluster, "by-shards", [], encoded=shards)
    again = index_documents(cluster, "by-shards", [], encoded=shards)
    assert (first.failed, first.encoded, first.cut, again.indexed) == (0, 0, 1, 0)
    here = index_documents(cluster, "by-here", [path], encode="here", bundle=small_bundle)
    assert (here.failed, here.encoder, here.cut) == (0, "here: as asked", 1) and here.encoded > 0
    assert LONG not in asked, "the cluster encodes the probes and the sample, and no document that is written"
    expected = stored(server, small_bundle, "by-cluster")
    assert_alike(stored(server, small_bundle, "by-shards"), expected, rounded=True, prune=prune or 0)
    assert_alike(stored(server, small_bundle, "by-here"), expected, rounded=False)
    forced = index_documents(cluster, "by-here", [path], encode="here", bundle=small_bundle, force=True)
    assert forced.failed == 0, "documents that are there are replaced by version"
    assert_alike(stored(server, small_bundle, "by-here"), expected, rounded=False)
    for name in ("by-shards", "by-here"):  # other writers' documents are encoded by the pipeline, which is still there
        load_rows(cluster, name, iter([DocumentRow("later", {"text": TEXTS[0]})]), 1, encode="cluster")
        assert vector(stored(server, small_bundle, name)["later"])


def test_one_encoding_serves_both_modes(
    server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle, shards: Path
) -> None:
    for one in (server, core):
        deploy(small_bundle, client(one), "products")
        assert index_documents(client(one), "products", [], encoded=shards).failed == 0
    assert [set(stored(one, small_bundle)) for one in (server, core)] == [{row["id"] for row in GOOD} - {"d0"}] * 2
    weights = [[*(vector(source) or {}).values()] for source in stored(server, small_bundle).values()]
    assert weights == [[*(vector(source) or {}).values()] for source in stored(core, small_bundle).values()]
    flat = [value for some in weights for value in some]
    assert flat == quantise(np.array(flat, np.float32)).tolist()


def test_the_shards_of_another_bundle_are_refused(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, shards: Path, tmp_path: Path
) -> None:
    deploy(other_bundle, client(server), "products")
    with pytest.raises(
        InputError, match=f"{small_bundle.short}.*bundle tiny .{other_bundle.short}. serves in products-"
    ):
        index_documents(client(server), "products", [], encoded=shards)
    with pytest.raises(InputError, match="give the bundle that was deployed"):
        index_documents(client(server), "products", [tmp_path / "d.jsonl"], bundle=small_bundle)
    calls = len(server.calls)
    with pytest.raises(InputError, match=f"bundle tiny .{other_bundle.short}. is to be deployed"):
        deploy(other_bundle, client(server), "products", upgrade=Upgrade(encoded=shards))
    assert len(server.calls) == calls, "nothing was asked of the cluster"
    assert stored(server, other_bundle) == {}


@pytest.mark.parametrize("prune", [None, 0.3])
def test_pieces_are_cut_by_the_cluster_and_encoded_here(
    prune: float | None, server: MLCommonsServer, small_bundle: Bundle, shards: Path, tmp_path: Path
) -> None:
    cluster = client(server)
    for name in ("by-cluster", "by-here"):
        deploy(small_bundle, cluster, name, serving=Serving(chunk_text=True, prune_ratio=prune))
    rows = [*GOOD, {"id": "no words", "text": "!!"}, {"id": "too long", "text": "pear " * 10_001}]
    path = write(tmp_path / "pieces.jsonl", rows)
    index_documents(cluster, "by-cluster", [path], encode="cluster", batch=256)
    load = index_documents(cluster, "by-here", [path], encode="here", bundle=small_bundle)
    assert load.failed == 0 and load.encoded == len(TEXTS_OF_ROWS.keys() - {"d0"} | {"too long"}), (
        "not the one without words"
    )
    expected, found = stored(server, small_bundle, "by-cluster"), stored(server, small_bundle, "by-here")
    assert len(expected["long"]["chunk_texts"]) > 1
    for i, source in expected.items():
        pieces, here = source.pop("chunks", None), found[i].pop("chunks", None)
        assert found[i] == source
        assert (here is None) == (pieces is None) and len(here or ()) == len(pieces or ())
        for one, other in zip(here or (), pieces or (), strict=True):
            assert one["sparse_encoding"] == pytest.approx(other["sparse_encoding"], rel=1e-5)
    with pytest.raises(InputError, match="keeps a vector for each piece of a text.*without `encoded`"):
        index_documents(cluster, "by-here", [], encoded=shards)


def test_who_encodes_is_settled_by_a_rule(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, path = client(server), write(tmp_path / "d.jsonl", GOOD)
    deploy(small_bundle, cluster, "products")
    one = write(tmp_path / "one.jsonl", [{"id": "one", "text": "pear"}])
    assert index_documents(cluster, "products", [one]).encoder == ("cluster: the encoder is not on this machine")
    stored(server, small_bundle).clear()
    assert index_documents(cluster, "products", [one], bundle=small_bundle).encoder == "here: the index is empty"
    assert index_documents(cluster, "products", [path], bundle=small_bundle).encoder.startswith("cluster: the load is")
    monkeypatch.setattr(encode_here, "MANY", 3)
    assert (
        index_documents(cluster, "products", [path], bundle=small_bundle).encoder
        == f"here: the load has {len(GOOD)} rows"
    )
    with pytest.raises(InputError, match="needs the encoder; give `bundle`"):
        index_documents(cluster, "products", [path], encode="here")
    with pytest.raises(InputError, match="exclude each other"):
        index_documents(cluster, "products", [], encode="here", encoded="shards")


def test_unequal_weights_leave_the_encoding_to_the_cluster(
    server: MLCommonsServer, small_bundle: Bundle, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, path = client(server), tmp_path / "d.jsonl"
    deploy(small_bundle, cluster, "products")
    predict = Runtime.predict

    def off(self: Runtime, text: str, form: str = "WORD") -> dict[str, float]:
        return {token: (weight or 0.0) * 1.05 for token, weight in predict(self, text, form).items()}

    monkeypatch.setattr(Runtime, "predict", off)
    for options in ({"paths": [path], "encode": "here", "bundle": small_bundle}, {"paths": [], "encoded": shards}):
        with pytest.raises(CheckError, match="the encoder behind products-.*is not the proved one"):
            index_documents(cluster, "products", **options)  # type: ignore[arg-type]
        assert stored(server, small_bundle) == {}
    load = index_documents(cluster, "products", [path], bundle=small_bundle)
    assert load.encoder == "cluster: this machine's weights differ" and load.failed == 0


@pytest.mark.parametrize("mode", ["client", "ml-commons"])
def test_a_copy_takes_vectors_from_shards_and_encodes_the_rest_here(
    mode: Any,
    server: MLCommonsServer,
    small_bundle: Bundle,
    other_bundle: Bundle,
    shards: Path,
    tmp_path: Path,
    asked: list[str],
) -> None:
    cluster = client(server)
    deploy(other_bundle, cluster, "products", mode=mode)
    index_documents(cluster, "products", [tmp_path / "d.jsonl"], batch=256)
    load_rows(cluster, "products", iter([DocumentRow("more", {"text": "more pears"})]), 1)
    deploy(small_bundle, cluster, "expected", mode=mode)
    index_documents(cluster, "expected", [tmp_path / "d.jsonl"], batch=256)
    load_rows(cluster, "expected", iter([DocumentRow("more", {"text": "more pears"})]), 1)
    asked.clear()
    deploy(small_bundle, cluster, "products", mode=mode, upgrade=Upgrade(encoded=shards))
    rest = stored(server, small_bundle)
    expected = stored(server, small_bundle, "expected")
    expected["long"][HASH_FIELD] = rest["long"][HASH_FIELD]  # a copy takes no field out
    assert_alike(rest, expected, rounded=True)
    given = [value for i, source in rest.items() if i != "more" for value in (vector(source) or {}).values()]
    assert given == quantise(np.array(given, np.float32)).tolist(), "of the shards, not encoded again"
    assert LONG not in asked, "only the probes and the sample are encoded by the cluster"


def test_a_document_that_goes_away_meanwhile_is_written_anew(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a semantic field the write is a script, which the server answers with 404 where the document is gone."""
    cluster = client(server)
    deploy(small_bundle, cluster, "products", serving=Serving(field="semantic"))
    index_documents(cluster, "products", [write(tmp_path / "a.jsonl", [{"id": "a", "text": "pear"}])])
    index, real = server.indices[f"products-{small_bundle.short}"], server.bulk
    path = write(tmp_path / "b.jsonl", [{"id": "a", "text": "bread"}])
    gone: list[str] = []

    def bulk(request: Any) -> Any:
        if not gone and json.loads(request.data.splitlines()[0]).get("update", {}).get("if_seq_no") is not None:
            gone.append("a")
            index.delete("a")
        return real(request)

    monkeypatch.setattr(server, "bulk", bulk)
    load = index_documents(cluster, "products", [path], encode="here", bundle=small_bundle)
    assert gone == ["a"] and (load.indexed, load.failed) == (1, 0) and index.documents["a"]["text"] == "bread"


TABLE = ["sku,title,body,price,zip", f"7,{TEXTS[0]},{TEXTS[1]},3.5,01234", f"8,{TEXTS[1]},,10,99999"]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A pattern of two CSV files, without types, whose texts are in two fields."""
    for number, rows in enumerate((TABLE, [TABLE[0], f"9,,{TEXTS[2]},7,1"])):
        (tmp_path / f"part-{number}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "part-*.csv"


@pytest.mark.parametrize("mode", ["ml-commons", "client"])
def test_shards_of_tables_with_a_template_are_what_the_index_makes_of_them_itself(
    mode: str, server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle, tables: Path, tmp_path: Path
) -> None:
    running = server if mode == "ml-commons" else core
    rules: dict[str, Any] = {"id_field": "sku", "text_field": ["title", "body"], "rename": {"zip": "code"}}
    made = encode_documents([tables], small_bundle, tmp_path / "shards", shard_rows=2, workers=1, **rules)
    assert (made.failed, made.documents) == (0, 3)
    for name in ("direct", "by-shards", "by-here"):
        deploy(small_bundle, client(running), name)
    asked_of: dict[str, Any] = {"encode": "cluster"} if mode == "ml-commons" else {}
    direct = index_documents(client(running), "direct", [tables], **asked_of, **rules)
    loaded = index_documents(client(running), "by-shards", [], encoded=tmp_path / "shards")
    index_documents(client(running), "by-here", [tables], encode="here", bundle=small_bundle, **rules)
    assert (loaded.failed, loaded.encoded, loaded.mapped) == (0, 0, direct.mapped)
    assert direct.mapped["price"] == "double" and direct.mapped["code"] == "keyword"
    expected = stored(running, small_bundle, "direct")
    assert expected["7"]["text"] == f"{TEXTS[0]}\n{TEXTS[1]}" and expected["8"]["price"] == 10.0
    assert_alike(stored(running, small_bundle, "by-shards"), expected, rounded=True)
    assert_alike(stored(running, small_bundle, "by-here"), expected, rounded=False)
    recorded = {read_deployment(client(running), name).text_template for name in ("direct", "by-shards", "by-here")}
    assert recorded == {"{title}\n{body}"}
    assert (
        index_documents(client(running), "by-shards", [tables], id_field="sku", rename={"zip": "code"}).unchanged == 3
    )
    assert index_documents(client(running), "direct", [], encoded=tmp_path / "shards").unchanged == 3


def test_shards_whose_texts_were_made_otherwise_are_refused(
    core: MLCommonsServer, small_bundle: Bundle, shards: Path, tables: Path, tmp_path: Path
) -> None:
    rules: dict[str, Any] = {"id_field": "sku", "template": "{title}: {body}"}
    encode_documents([tables], small_bundle, tmp_path / "composed", workers=1, **rules)
    deploy(small_bundle, client(core), "products")
    index_documents(client(core), "products", [tables], **{**rules, "template": "{title} {body}"})
    with pytest.raises(InputError, match="makes its texts with the template .* were encoded without it"):
        index_documents(client(core), "products", [], encoded=shards)
    with pytest.raises(InputError, match="`template` '{title}: {body}' cannot be used"):
        index_documents(client(core), "products", [], encoded=tmp_path / "composed")
    with pytest.raises(InputError, match="`id_field`, `text_field` cannot be given with `encoded`"):
        index_documents(client(core), "products", [], encoded=tmp_path / "composed", **rules)
    with pytest.raises(InputError, match="holds shards that differ in number of input files, template"):
        encode_documents([write(tmp_path / "d.jsonl", GOOD)], small_bundle, tmp_path / "composed", workers=1)
