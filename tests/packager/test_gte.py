"""A GTE folder as it is published, packaged: the bundle gives what the network written again in numpy gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import plain_gte
import pytest
import world
from numpy.typing import NDArray
from plain_gte import DOC_V3_GTE, random_weights, write_folder

from osparse.contracts.bundle import Bundle
from osparse.formula.activation import document_weights
from osparse.packager import package, verify
from osparse.packager.export.formats import open_runners
from osparse.packager.tokenizer.packaged import load

NTK = {"type_vocab_size": 1, "rope_theta": 20000, "rope_scaling": {"type": "ntk", "factor": 8.0}}


def published(folder: Path, config: dict[str, Any]) -> Path:
    """The whole folder, with a tokenizer of 400 tokens: eight rows of the decoder belong to none."""
    write_folder(folder, config, random_weights(config))
    lexicon = world.make_lexicon(world.make_tokenizer(folder / "tokenizer.json"))
    (folder / "idf.json").write_text(lexicon.idf_text(), encoding="utf-8")
    return folder


def packaged(folder: Path, config: dict[str, Any], output: Path) -> Bundle:
    return package(published(folder, config), output, activation="log1p_log1p_relu")


@pytest.fixture(scope="module", params=[{}, NTK], ids=["doc-v3-gte", "NTK"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    changes: dict[str, Any] = request.param
    return DOC_V3_GTE | changes


@pytest.fixture(scope="module")
def bundle(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("gte")
    return packaged(folder / "doc-v3-gte", config, folder / "bundle")


def plain_weights(
    ids: list[int], weights: plain_gte.Weights, config: dict[str, Any], bundle: Bundle
) -> NDArray[np.float32]:
    """(V,) what the document of these ids must get."""
    logits = plain_gte.logits(ids, weights, config).astype(np.float32)
    return document_weights(logits, np.ones(len(ids), bool), bundle.head)


def test_every_probe_gets_the_plain_weights(bundle: Bundle, config: dict[str, Any]) -> None:
    weights = random_weights(config)
    tokenizer = load((bundle.path.parent / "doc-v3-gte" / "tokenizer.json").read_bytes(), "tokenizer.json")
    tokenizer.enable_truncation(bundle.head.max_length)
    compared = 0
    for probe in bundle.probes():
        ids = tokenizer.encode(probe.text).ids
        wanted = plain_weights(ids, weights, config, bundle)
        found = np.zeros_like(wanted)
        for token, weight in probe.document.items():
            found[tokenizer.token_to_id(token)] = weight
        assert np.array_equal(found > 0, wanted > 0)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        compared += len(probe.document)
    assert compared > 100


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_the_graphs_give_the_plain_weights_up_to_512_ids(form: str, bundle: Bundle, config: dict[str, Any]) -> None:
    weights = random_weights(config)
    run = open_runners({form: bundle.zip_path(form)})[form]
    random = np.random.default_rng(0)
    for length in (1, 2, 60, 512):
        ids = random.integers(5, 400, (1, length))
        wanted = plain_weights(ids[0].tolist(), weights, config, bundle)
        np.testing.assert_allclose(run(ids, np.ones_like(ids))[0], wanted, atol=1e-5)
    assert bundle.checks["parity"][form]["longest"] == 512


def test_it_is_proved_for_every_server(bundle: Bundle) -> None:
    assert {"2.15", "2.19", "3.8"} <= set(bundle.targets) and bundle.source["architecture"] == "new"
    assert {check.outcome for check in verify(bundle.path).checks} == {"ok"}
    assert not (bundle.path.parent / "doc-v3-gte" / "ran").exists()


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [packaged(tmp_path / name / "gte", DOC_V3_GTE, tmp_path / name / "bundle") for name in ("a", "b")]
    assert made[0].fingerprint == made[1].fingerprint
    config = json.loads((tmp_path / "a" / "gte" / "config.json").read_text())
    assert config["auto_map"]  # as published: the folder's own code was there to be run


@pytest.mark.e2e
@pytest.mark.network
def test_the_server_s_runtime_gives_the_same(bundle: Bundle) -> None:
    """libtorch 2.5.1 and ONNX Runtime 1.16.3."""
    checks = verify(bundle.path, runtime="djl").checks
    assert {check.outcome for check in checks} == {"ok"}
    assert {"torchscript rows", "onnx rows"} <= {check.name for check in checks if check.group == "server runtime"}
