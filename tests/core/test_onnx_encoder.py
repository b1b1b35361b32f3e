from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import world
from tokenizers import Tokenizer

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import BundleError
from osparse.formula import lexicon
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder

TEXTS = [text for record in world.RECORDS for text in record[1:]] + world.ODD_TEXTS


def test_it_gives_the_trained_weights_in_the_order_of_the_texts(bundle: Bundle, model: Model) -> None:
    wanted = TextEncoder.open(model).encode(TEXTS)
    for found in (
        OnnxEncoder.open(bundle).encode(TEXTS),
        OnnxEncoder.open(bundle.path, threads=1).encode(TEXTS, batch_size=3),
        OnnxEncoder.open(bundle.zip_path("onnx")).encode(TEXTS, batch_size=1),
    ):
        for a, b in zip(found, wanted, strict=True):
            tokens = {*a, *b}
            assert np.allclose([a.get(t, 0) for t in tokens], [b.get(t, 0) for t in tokens], rtol=0, atol=1e-5)


def test_no_text_gives_nothing(bundle: Bundle) -> None:
    assert OnnxEncoder.open(bundle).encode([]) == []


def test_batches_are_of_like_length(bundle: Bundle) -> None:
    encoder = OnnxEncoder.open(bundle)
    rows = [row for row, _ in encoder.batches(TEXTS, 4)]
    assert sorted(i for row in rows for i in row) == list(range(len(TEXTS)))
    lengths = [len(encoder._tokenizer.encode(TEXTS[i]).ids) for row in rows for i in row]
    assert lengths == sorted(lengths, reverse=True) and max(lengths) == 64


def test_queries_are_the_models(bundle: Bundle, model: Model) -> None:
    own = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon, max_length=64)
    packaged = open_query_encoder(bundle.zip_path("tokenizer"))
    assert [packaged.encode(text) for text in TEXTS] == [own.encode(text) for text in TEXTS]


def test_other_files_are_refused(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model\.onnx"):
        OnnxEncoder.open(bundle.zip_path("torchscript"))
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        OnnxEncoder.open(model.path)
    (tmp_path / "x.zip").write_bytes(b"nothing")
    with pytest.raises(BundleError, match="not a readable zip"):
        open_query_encoder(tmp_path / "x.zip")


def test_importing_it_is_cheap() -> None:
    script = (
        "import sys; import osparse.encoders.onnx_encoder;"
        "found = {'torch', 'transformers', 'onnxruntime', 'polars'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_zips_tokenizer_is_parsed_once_and_from_memory(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    once = Tokenizer

    class Counted:
        @staticmethod
        def from_buffer(content: bytes) -> Tokenizer:
            parsed.append(content)
            return once.from_buffer(content)

    monkeypatch.setattr(lexicon, "Tokenizer", Counted)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: pytest.fail("a temporary folder was made"))
    open_query_encoder(bundle.zip_path("tokenizer"))
    assert len(parsed) == 1
    OnnxEncoder.open(bundle)
    assert len(parsed) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", r"x\.zip: tokenizer\.json is not a tokenizer\.json"),
        ("tokenizer.json", b"\xff", r"x\.zip: tokenizer\.json is not a tokenizer\.json"),
        ("idf.json", b"{", r"x\.zip: idf\.json is not JSON"),
        ("idf.json", b"\xff", r"x\.zip: idf\.json is not JSON"),
        ("idf.json", b'{"a": 1}', r"x\.zip: idf\.json does not fit the tokenizer"),
        ("idf.json", b'{"a": 0}', r"x\.zip: idf\.json: 1 weights are not numbers above 0"),
    ],
)
def test_broken_members_are_named(bundle: Bundle, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with zipfile.ZipFile(bundle.zip_path("tokenizer")) as whole, zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for member in whole.namelist():
            made.writestr(member, content if member == name else whole.read(member))
    with pytest.raises(BundleError, match=message):
        open_query_encoder(tmp_path / "x.zip")
