"""The fit's figures against a second computation, and the card and manifest that hold them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError
from osparse.formula.server_costs import BYTES_PER_DOCUMENT, BYTES_PER_WEIGHT
from osparse.packager import package, verify
from osparse.packager.card import card
from osparse.packager.fit.fit import Fit
from osparse.packager.fit.measure import _vocabulary, measure


@pytest.fixture(scope="module")
def fit(bundle: Bundle, dataset: Dataset) -> Fit:
    return measure(bundle, dataset)


def test_tokens_of_a_dataset(fit: Fit, bundle: Bundle, dataset: Dataset) -> None:
    tokenizer = Tokenizer.from_str(read_member(bundle.zip_path("onnx"), "tokenizer.json").decode())
    tokenizer.no_truncation()
    documents = dataset.documents.collect()
    tokens = {
        text: (lang, tokenizer.encode(text, add_special_tokens=False).tokens)
        for lang, text in documents.select("lang", "text").iter_rows()
    }
    cut = [len(found) + 2 > bundle.head.max_length for _, found in tokens.values()]
    every, unknown = Counter[str](), Counter[str]()
    for lang, found in tokens.values():
        every[lang] += len(found)
        unknown[lang] += found.count("[UNK]")
    assert fit.truncated_share == pytest.approx(np.mean(cut), abs=1e-3)
    assert fit.unknown_share == pytest.approx({lang: unknown[lang] / every[lang] for lang in every}, abs=1e-3)
    assert fit.measured_on["read"] == fit.measured_on["encoded"] == len(documents)


def test_weights_of_a_dataset(fit: Fit, bundle: Bundle, dataset: Dataset) -> None:
    encoded = OnnxEncoder.open(bundle, threads=1).encode(dataset.documents.collect()["text"].to_list())
    counts = [len(document) for document in encoded]
    weights = np.array([weight for document in encoded for weight in document.values()])
    assert fit.nonzeros["mean"] == pytest.approx(np.mean(counts), rel=5e-3) and fit.nonzeros["max"] == max(counts)
    assert fit.weights["max"] == pytest.approx(weights.max(), rel=5e-3)
    assert fit.weights["p50"] == pytest.approx(np.median(weights), rel=5e-3)
    assert 0 <= fit.ceilings["ingest"] - 1.05 * weights.max() < 0.1 + 1e-4
    default, fitted = fit.seismic["default"], fit.seismic["fitted"]
    assert default["clipped"] == pytest.approx(np.mean(weights > 3.0), abs=1e-3) and fitted["clipped"] == 0
    assert fitted["error"] < 0.02
    expected = (BYTES_PER_DOCUMENT + BYTES_PER_WEIGHT * np.mean(counts)) * 1e6
    assert fit.index_bytes_per_million == pytest.approx(expected, rel=6e-3)


def test_query_ceiling_is_the_largest_query_weight(fit: Fit, bundle: Bundle) -> None:
    idf = json.loads(read_member(bundle.zip_path("tokenizer"), "idf.json"))
    assert fit.ceilings["search"] == pytest.approx(max(idf.values()), abs=0.1)


def test_clipping_shows_in_the_error(bundle: Bundle, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osparse.packager.fit.measure.DEFAULT_CEILINGS", {"ingest": 0.5, "search": 16.0})
    clipped = measure(bundle, dataset).seismic
    assert clipped["default"]["clipped"] > 0.3 and clipped["default"]["error"] > 10 * clipped["fitted"]["error"]


@pytest.mark.parametrize(
    ("size", "past", "sharing"),
    [(32_768, 0, 0.0), (32_769, 1, 6.1e-5), (50_000, 17_232, 0.689), (105_879, 73_111, 1.0)],
)
def test_ids_that_seismic_folds(size: int, past: int, sharing: float) -> None:
    """50,000 tokens: 17,232 ids fold onto others, 69 % share a slot; mBERT's 105,879 fold three to four times."""
    found = _vocabulary(size)
    assert found["past_fold"] == past and found["sharing"] == pytest.approx(sharing, rel=1e-2)


def test_the_manifest_and_card_hold_what_was_measured_on_the_probes(bundle: Bundle) -> None:
    found = Fit(**bundle.fit)
    assert found == measure(bundle) and found.measured_on["texts"] == "probes" and found.truncated_share is None
    text = (bundle.path / "README.md").read_text()
    assert text == card(bundle, found)
    for file in bundle.files.values():
        assert file.sha256 in text and file.name in text
    for said in (
        bundle.short,
        bundle.model[:12],
        "3.0-3.9",
        "libtorch 2.5.1",
        "below 1e-05",
        "SEISMIC ceilings to set",
    ):
        assert said in text
    assert str(bundle.path) not in text and "not stated by its source" in text


def test_a_dataset_is_an_input_of_the_bundle(
    model: Model, bundle: Bundle, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    assert package(model, copied).fit == bundle.fit
    with pytest.raises(InputError, match=r"its fit was not measured on .*`overwrite=True`.*osparse verify"):
        package(model, copied, dataset=dataset)
    assert verify(copied).fit is None


def test_the_commands_print_it(bundle: Bundle, dataset: Dataset, model: Model) -> None:
    run = CliRunner().invoke(cli, ["verify", str(bundle.path), "--dataset", str(dataset.path)], catch_exceptions=False)
    assert run.exit_code == 0 and "documents cut at the cap" in run.stdout and "16 documents" in run.stdout
    run = CliRunner().invoke(cli, ["package", str(model.path), "--output", str(bundle.path)], catch_exceptions=False)
    assert "SEISMIC ceilings to set" in run.stdout and "give a dataset for" in run.stdout


def test_another_model_is_refused(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model.path, tmp_path / "other"))
    settings = json.loads((other / "osparse.json").read_text())
    settings["head"]["max_length"] = 32
    (other / "osparse.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="is not what .* was made from"):
        verify(bundle.path, model=other)
    names = [check.name for check in verify(bundle.path, model=model).checks]
    assert names[-2:] == ["torchscript = model", "onnx = model"]
