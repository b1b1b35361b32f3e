"""Encoder processes: the same bytes as one process gives, whatever the order; and what their death says."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import feature_name
from osparse.deployer.encode import encoders
from osparse.deployer.encode.encoders import OneProcess, WorkerPool, open_source
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import OsparseError

TEXTS = [text for record in world.RECORDS for text in record[1:]] + world.ODD_TEXTS
IDS = [f"d{n}" for n in range(len(TEXTS))]


@pytest.fixture
def pool(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    monkeypatch.setattr(encoders, "PIECE", 4)
    pool = WorkerPool(small_bundle.zip_path("onnx"), "u2024", 2)
    yield pool
    pool.close()


def test_processes_give_what_one_process_gives(pool: WorkerPool, small_bundle: Bundle) -> None:
    alone = OneProcess(FeatureEncoder(small_bundle.zip_path("onnx"), "u2024")).encode(IDS, TEXTS)
    assert pool.encode(IDS, TEXTS) == alone
    vectors = OnnxEncoder.open(small_bundle).encode(TEXTS)
    wanted = [{feature_name(token, "u2024"): weight for token, weight in vector.items()} for vector in vectors]
    for (features, _), vector in zip(alone, wanted, strict=True):
        assert json.loads(features) == pytest.approx(vector, rel=1e-7)
    assert pool.encode([], []) == [] and len(pool._all) == 2


def test_features_do_not_depend_on_the_company(bundle: Bundle) -> None:
    """To the last byte, for a real network: a load that goes on leaves what an unbroken one would."""
    encoder = FeatureEncoder(bundle.zip_path("onnx"), "raw")
    together = dict(zip(TEXTS, encoder.encode(TEXTS), strict=True))
    for seed in range(3):
        some = random.Random(seed).sample(TEXTS, 9)
        assert encoder.encode(some) == [together[text] for text in some]
    assert [encoder.encode([text])[0] for text in TEXTS[:8]] == [together[text] for text in TEXTS[:8]]


def test_a_weight_is_written_in_few_digits_and_read_back_exactly(bundle: Bundle) -> None:
    ((features, _),) = FeatureEncoder(bundle.zip_path("onnx"), "raw").encode(TEXTS[:1])
    (vector,) = OnnxEncoder.open(bundle, threads=1).encode(TEXTS[:1])
    found = json.loads(features)
    assert {k: np.float32(v) for k, v in found.items()} == {k: np.float32(v) for k, v in vector.items()}
    assert len(features) < len(json.dumps(vector)) * 0.8


def test_the_death_of_a_process_names_its_documents(pool: WorkerPool) -> None:
    pool.encode(IDS[:1], TEXTS[:1])
    os.kill(pool._all[0]._process.pid, signal.SIGKILL)
    pool._all[0]._process.wait()
    with pytest.raises(OsparseError, match="killed by signal 9 .*had the documents d5, d6; none.*which continues"):
        pool.encode(["d5", "d6"], ["long text", "text"])


def test_a_process_that_cannot_start_says_why() -> None:
    pool = WorkerPool(Path(__file__), "raw", 1)
    try:
        with pytest.raises(OsparseError, match=r"encoding\.py is not a readable zip.*osparse package"):
            pool.encode(["a"], ["text"])
    finally:
        pool.close()


def test_a_few_documents_start_no_process(small_bundle: Bundle) -> None:
    archive = small_bundle.zip_path("onnx")
    assert isinstance(open_source(archive, "raw", None, encoders.FEW), OneProcess)
    for workers, total in ((1, 1), (None, encoders.FEW + 1)):
        source = open_source(archive, "raw", workers, total)
        assert isinstance(source, WorkerPool) and not source._all, "none before there is work"
        source.close()
