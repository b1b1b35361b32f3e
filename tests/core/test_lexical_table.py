"""The lexical table against the formula written out, in a model directory, and in what is packaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import world
from safetensors.torch import load_file, save_file

from osparse.contracts.model import LEXICAL_TABLE, Model
from osparse.encoders.lexical_table import LexicalTable, read_table
from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder
from osparse.errors import ModelError
from osparse.masked_lm.load import load_masked_lm
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.export import onnx, torchscript

SETTINGS = {"k1": 1.2, "b": 0.75, "average": 9.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return world.make_model(tmp_path_factory.mktemp("lexical") / "model", lexical=True)


def batch(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of ids with repeats, of 12, 5 and no real tokens."""
    ids = torch.from_numpy(np.random.default_rng(1).integers(5, min(rows, 30), (3, 12)))
    return ids, (torch.arange(12) < torch.tensor([12, 5, 0])[:, None]).long()


def naive(ids: list[int], targets: np.ndarray, weights: np.ndarray, k1: float, b: float, average: float) -> np.ndarray:
    """The module's formula, token by token."""
    added = np.zeros(len(targets))
    for token in set(ids):
        frequency = ids.count(token)
        saturated = (k1 + 1) * frequency / (frequency + k1 * (1 - b + b * len(ids) / average))
        for target, weight in zip(targets[token], weights[token], strict=True):
            added[target] += saturated * weight
    return added


def test_equals_the_formula_whatever_the_padding() -> None:
    random = np.random.default_rng(0)
    targets, weights = random.integers(0, 40, (40, 3)), random.random((40, 3)).astype(np.float32)
    table = LexicalTable(torch.from_numpy(targets), torch.from_numpy(weights), **SETTINGS)
    ids, mask = batch(40)
    found = table(ids, mask).numpy()
    for row in range(3):
        wanted = naive(ids[row][mask[row] > 0].tolist(), targets, weights, **SETTINGS)
        np.testing.assert_allclose(found[row], wanted, atol=1e-6)
    assert found[0].any() and not found[2].any()


def test_a_document_gets_the_networks_weights_and_the_tables(made: Model) -> None:
    encoder = TextEncoder.open(made).encoder
    assert encoder.lexical is not None
    bare = SparseEncoder(load_masked_lm(made.path, "sdpa"), made.head).eval()
    ids, mask = batch(len(encoder.keep))
    with torch.inference_mode():
        wanted = bare(ids, mask) + encoder.lexical(ids, mask) * encoder.keep
        torch.testing.assert_close(encoder(ids, mask), wanted)
        assert not torch.equal(wanted, bare(ids, mask)) and not wanted[:, list(made.head.masked_ids)].any()
        columns = torch.tensor([9, 30, 7])
        torch.testing.assert_close(encoder(ids, mask, columns), wanted[:, columns])
        encoder.training = True  # but no dropout within
        torch.testing.assert_close(encoder(ids, mask), bare(ids, mask))  # the losses see the network alone


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_what_is_packaged_has_the_table_in_it(made: Model, form: str) -> None:
    source = LoadedModel.open(made)
    graph = torchscript.Graph(source.encoder)
    ids, mask = (part.numpy() for part in batch(len(source.encoder.keep)))
    if form == "torchscript":
        found = torchscript.TorchScriptRunner(torchscript.export(graph))(ids, mask)
    else:
        data = onnx.export(graph)
        assert onnx.problems(data) == []
        found = open_session(data, "here", threads=1).run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
    np.testing.assert_allclose(found, source.run(ids, mask), atol=1e-5)
    without = world.make_model(made.path.parent / f"without-{form}")
    assert np.abs(LoadedModel.open(without).run(ids, mask) - found).max() > 0.5


def test_the_fingerprint_and_sentence_transformers_files_follow(made: Model, tmp_path: Path) -> None:
    assert not (made.path / "modules.json").exists()  # its SparseEncoder knows no table
    copy = Path(shutil.copytree(made.path, tmp_path / "copy"))
    world.make_table(len(TextEncoder.open(made).encoder.keep) - 1).write(copy)
    assert Model.open(copy).fingerprint != made.fingerprint
    (copy / LEXICAL_TABLE).unlink()
    with pytest.raises(ModelError, match=LEXICAL_TABLE):  # it would answer differently
        Model.open(copy)
    assert (world.make_model(tmp_path / "plain").path / "modules.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(weights=t["weights"][:-1]), "do not belong together"),
        (lambda t: t["targets"].fill_(10**6), "outside the vocabulary"),
        (lambda t: t["weights"].neg_(), "negative"),
        (lambda t: t.pop("targets"), "not a lexical table"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(made: Model, tmp_path: Path, change: Any, message: str) -> None:
    tensors = load_file(made.path / LEXICAL_TABLE)
    rows = len(tensors["weights"])
    change(tensors)
    save_file(tensors, tmp_path / LEXICAL_TABLE, metadata={"settings": json.dumps(SETTINGS)})
    with pytest.raises(ModelError, match=message):
        read_table(tmp_path, rows)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    """Models' fingerprints hold them; several keys of metadata would come in any order."""
    written = set()
    for _ in range(20):
        world.make_table(30).write(tmp_path)
        written.add((tmp_path / LEXICAL_TABLE).read_bytes())
    assert len(written) == 1
    found = read_table(tmp_path, 30)
    assert found is not None and (found.k1, found.b, found.average) == (1.2, 0.75, 20.0)


@pytest.mark.parametrize("settings", [{"k1": 0.0, "b": 0.75}, {"k1": 1.2, "b": 1.0}])
def test_padding_is_harmless_at_the_ends_of_the_ranges(settings: dict[str, float]) -> None:
    table = LexicalTable(torch.arange(40)[:, None], torch.ones(40, 1), average=9.0, **settings)
    ids, mask = batch(40)
    found = table(ids, mask)
    assert torch.isfinite(found).all() and not found[2].any()
    torch.testing.assert_close(found[1:2], table(ids[1:2, :5], mask[1:2, :5]))


def test_garbage_and_no_file(tmp_path: Path) -> None:
    assert read_table(tmp_path, 5) is None
    (tmp_path / LEXICAL_TABLE).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="osparse train"):
        read_table(tmp_path, 5)
