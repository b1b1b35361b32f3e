"""A model directory becomes the same bundle everywhere, or a clear sentence and nothing at all."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import world
from safetensors.torch import load_file, save_file

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.encoders.onnx_session import open_runner
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import BundleError, CheckError, InputError, ModelError
from osparse.formula.head import Head
from osparse.io.files import pretty_json, sha256_file
from osparse.opensearch_versions import TARGETS
from osparse.packager import package, verify
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.export import archive, onnx, torchscript
from osparse.packager.make_bundle import collector_paused
from osparse.packager.recipe import RECIPE, safe_name

MACHINE = (b"site-packages", b"/home/", b"/root/", b"/tmp/", str(Path(__file__).parents[2]).encode(), b".py")


@pytest.fixture
def own(model: Model, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(model.path, tmp_path / "My Model"))


def change(path: Path, edit: Any) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw, ensure_ascii=False))


def sums(bundle: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(bundle.iterdir())}


def test_what_is_in_it(bundle: Bundle, model: Model) -> None:
    shared = ["idf.json", "tokenizer.json"]
    for key, names in {
        "torchscript": ["LICENSE", "idf.json", "model.pt", "tokenizer.json"],
        "onnx": ["LICENSE", "idf.json", "model.onnx", "tokenizer.json"],
        "tokenizer": shared,
    }.items():
        with zipfile.ZipFile(bundle.zip_path(key)) as archive:
            assert archive.namelist() == names
            assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert archive.read("idf.json").decode() == model.lexicon.idf_text()
            truncation = json.loads(archive.read("tokenizer.json"))["truncation"]["max_length"]
            assert truncation == (512 if key == "tokenizer" else 64)
            if key != "tokenizer":
                assert archive.read("LICENSE") == (Path(__file__).parents[2] / "LICENSE").read_bytes()
    assert bundle.name == "model" and bundle.model == model.fingerprint and bundle.targets == tuple(TARGETS)
    assert bundle.vocabulary == 400 and bundle.idf_version == model.lexicon.version
    assert bundle.checks["parity"].keys() == {"torchscript", "onnx"}
    assert {f.function_name for f in bundle.files.values()} == {"SPARSE_ENCODING", "SPARSE_TOKENIZE"}
    assert {k: f.model_format for k, f in bundle.files.items()}["onnx"] == "ONNX"


def test_nothing_in_it_says_where_it_was_made(bundle: Bundle) -> None:
    for path in bundle.path.iterdir():
        contents = {path.name: path.read_bytes()}
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                contents |= {name: archive.read(name) for name in archive.namelist()}
        for name, data in contents.items():
            for word in MACHINE:
                allowed = word == b".py" and (b"code/__torch__.py" in data)
                assert allowed or word not in data, f"{path.name}:{name} holds {word!r}"


def test_another_process_place_and_thread_count_give_the_same_bytes(bundle: Bundle, own: Path, tmp_path: Path) -> None:
    script = (
        "import torch; torch.set_num_threads(2); torch.jit.script(torch.nn.Linear(2, 2));"
        f"from osparse.packager import package; package({str(own)!r}, 'out', ['onnx', 'torchscript'], 'model')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "LANG": "C"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, check=True, env=environment, capture_output=True
    )
    assert sums(tmp_path / "out") == sums(bundle.path)


def test_twice_in_one_process_gives_the_same_bytes(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    assert sums(package(model, tmp_path / "again").path) == sums(bundle.path)


def test_the_files_are_read_and_the_manifest_is_written_once(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    saved: list[Path] = []
    save = Bundle.save

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr("osparse.packager.export.archive.sha256_file", counted)
    monkeypatch.setattr("osparse.packager.make_bundle.sha256_file", counted)
    monkeypatch.setattr("osparse.contracts.bundle.sha256_file", counted)

    def counted_save(bundle: Bundle) -> None:
        saved.append(bundle.path)
        save(bundle)

    monkeypatch.setattr(Bundle, "save", counted_save)
    made = package(model, tmp_path / "bundle")
    assert sorted(hashed) == ["encoder.onnx.zip", "encoder.torchscript.zip", "probes.jsonl", "tokenizer.zip"]
    assert len(saved) == 1 and made == Bundle.open(made.path)
    assert pretty_json(made.manifest()) == (made.path / "manifest.json").read_text(encoding="utf-8")


def test_the_garbage_collector_runs_again_after_a_pause() -> None:
    with pytest.raises(ValueError, match="within"), collector_paused():
        assert not gc.isenabled()
        raise ValueError("within")
    assert gc.isenabled()


def test_a_model_file_is_read_once_for_all_targets(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = {"torchscript": 0, "onnx": 0}

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            loads[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(torchscript._jit, "load", counted("torchscript", torchscript._jit.load))
    monkeypatch.setattr("osparse.packager.export.formats.open_runner", counted("onnx", open_runner))
    monkeypatch.setattr(onnx, "problems", counted("onnx", onnx.problems))
    package(model, tmp_path / "bundle")
    assert loads == {"torchscript": 1, "onnx": 2}  # the protobuf for its operators, the session to run it


def test_a_bundle_of_another_packager_is_not_up_to_date(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    output = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    raw = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert raw["checks"].pop("recipe") == RECIPE
    (output / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(InputError, match="another version of the packager"):
        package(model, output, name=bundle.name)


def test_an_up_to_date_bundle_is_left_alone_without_torch(bundle: Bundle, model: Model) -> None:
    script = (
        f"import sys; from osparse.packager import package; package({str(model.path)!r}, {str(bundle.path)!r});"
        "found = {'torch', 'transformers', 'onnxruntime', 'onnx'} & set(sys.modules); assert not found, found"
    )
    before = {path: path.stat().st_mtime_ns for path in bundle.path.iterdir()}
    subprocess.run([sys.executable, "-c", script], check=True)
    assert before == {path: path.stat().st_mtime_ns for path in bundle.path.iterdir()}


def test_an_output_made_otherwise_is_replaced_only_on_demand(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    output = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    with pytest.raises(InputError, match="`overwrite=True`"):
        package(model, output, name="other")
    with pytest.raises(InputError, match="`overwrite=True`"):
        package(model, output, ["onnx"])
    (output / "tokenizer.zip").write_bytes(b"")
    with pytest.raises(BundleError, match=r"tokenizer\.zip.*\n.*`overwrite=True`"):
        package(model, output)
    made = package(model, output, ["onnx"], "other", overwrite=True)
    assert made.formats == ["onnx"] and made.name == "other"
    assert sorted(os.listdir(output)) == [
        "README.md",
        "encoder.onnx.zip",
        "manifest.json",
        "probes.jsonl",
        "tokenizer.zip",
    ]


def test_a_folder_that_is_no_bundle_is_never_replaced(model: Model, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="not a bundle"):
            package(model, tmp_path, overwrite=overwrite)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_probes_are_the_formula(bundle: Bundle, model: Model) -> None:
    probes = bundle.probes()
    assert {probe.lang for probe in probes} >= {"ko", "en", "mixed", "emoji", "nfd", "empty", "long"}
    for probe, vector in zip(probes, TextEncoder.open(model).encode([p.text for p in probes]), strict=True):
        tokens = {*probe.document, *vector}
        assert np.allclose([probe.document.get(t, 0) for t in tokens], [vector.get(t, 0) for t in tokens], atol=1e-5)
        assert all(probe.query[t] == model.lexicon.idf[model.lexicon.id_of[t]] for t in probe.query)


def test_query_weights_of_the_documents_to_search(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    weights = {token: 2.0 + i % 3 for i, token in enumerate(model.lexicon.tokens)}
    (tmp_path / "idf.json").write_text(json.dumps(weights))
    made = package(model.path, tmp_path / "b", ["onnx"], idf=tmp_path / "idf.json")
    assert made.model != bundle.model and made.source["query_weights"] == {"from": "idf.json"}
    for before, after in zip(bundle.probes(), made.probes(), strict=True):
        assert after.query == {token: weights[token] for token in before.query}
        assert after.document == before.document
    assert package(model.path, tmp_path / "b", ["onnx"], idf=tmp_path / "idf.json") == made
    (tmp_path / "idf.json").write_text(json.dumps({"pear": 1.0}))
    with pytest.raises(ModelError, match="does not fit the tokenizer"):
        package(model.path, tmp_path / "c", idf=tmp_path / "idf.json")


def test_a_bundle_keeps_own_tokens(tmp_path: Path) -> None:
    head = Head(max_length=64, masked_ids=(0, 1, 2, 3, 4), top_k=9, keep_own=True, own_share=0.5, network_length=12)
    model = world.make_model(tmp_path / "model", head=head, lexical=True)
    assert Model.open(model.path).head == head
    text, source = "growing pears in spring, 비와 구름 " * 4, LoadedModel.open(model)
    own = set(source.tokenizer().encode(text).tokens) - {"[CLS]", "[SEP]"}
    made = package(model, tmp_path / "b", ["onnx"])
    verify(made.path)
    (packaged,), (whole,) = OnnxEncoder.open(made).encode([text]), TextEncoder.open(model).encode([text])
    assert packaged == pytest.approx(whole, abs=1e-5)
    assert own <= set(packaged) and len(set(packaged) - own) == 9
    assert "the network reads 12" in (made.path / "README.md").read_text(encoding="utf-8")
    cut = TextEncoder(source.with_top_k(5).encoder, source.tokenizer())  # a budget counts own tokens too
    assert len(cut.encode([text])[0]) == 5


def test_a_bundle_with_fewer_nonzeros_keeps_the_largest(model: Model, tmp_path: Path) -> None:
    made = package(model, tmp_path / "b", ["onnx"], nonzeros=6)
    assert made.head.top_k == 6 and package(model, tmp_path / "b", ["onnx"], nonzeros=6) == made
    for other in (7, None):
        with pytest.raises(InputError, match="non-zeros; pass `overwrite=True`"):
            package(model, tmp_path / "b", ["onnx"], nonzeros=other)
    texts = ["growing pears in spring", "비와 구름", ""]
    whole, cut = TextEncoder.open(model).encode(texts), OnnxEncoder.open(made).encode(texts)
    for before, after in zip(whole, cut, strict=True):
        least = sorted(before.values(), reverse=True)[:6][-1:]
        assert after == pytest.approx({token: w for token, w in before.items() if w >= least[0]}, abs=1e-5)
    assert all(len(before) > 6 for before in whole[:2])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Model", "my-model"),
        ("배", "model"),
        ("a..b", "a.b"),
        ("--x--", "x"),
        ("v1.2_x", "v1.2_x"),
        ("m" * 99, "m" * 80),
    ],
)
def test_a_folder_gives_a_safe_name(folder: str, name: str) -> None:
    assert safe_name(folder) == name


def refused(source: Path, tmp_path: Path, error: type[Exception], said: str, **options: Any) -> None:
    output = tmp_path / "made" / "bundle"
    with pytest.raises(error, match=said):
        package(source, output, **options)
    assert not output.exists() and (not output.parent.exists() or not any(output.parent.iterdir()))


def test_bad_arguments(own: Path, tmp_path: Path, dataset: Any) -> None:
    refused(own, tmp_path, BundleError, "--name", name="../../x")
    refused(own, tmp_path, InputError, "choose from torchscript, onnx", formats=["tflite"])
    refused(own, tmp_path, InputError, r"`target=4\.0` is not a known version; choose from", target="4.0")
    refused(
        own,
        tmp_path,
        InputError,
        "`quantize` must be one of fp16, int8, int8-tensor, int8-static, or name parts .* got 'int4'",
        quantize="int4",
    )
    refused(own, tmp_path, InputError, r"is for ONNX.*`formats=onnx`", quantize="int8", formats=["torchscript"])
    refused(own, tmp_path, InputError, "leave out `activation`", activation="log1p_relu")
    refused(own, tmp_path, InputError, "choose from", formats=[])
    refused(own, tmp_path, InputError, "`nonzeros` must be at least 1, got 0", nonzeros=0)
    refused(tmp_path / "nothing", tmp_path, ModelError, "osparse train")
    refused(dataset.path, tmp_path, ModelError, r"model\.safetensors")


def test_a_model_without_idf(own: Path, tmp_path: Path) -> None:
    (own / "idf.json").unlink()
    refused(own, tmp_path, ModelError, r"idf\.json \(made by: osparse idf\)")


@pytest.mark.parametrize("weight", [0, -1.5, float("nan"), "2.0", None])
def test_idf_weights_no_query_may_have(own: Path, tmp_path: Path, weight: Any) -> None:
    change(own / "idf.json", lambda raw: raw.update({"the": weight}))
    refused(own, tmp_path, ModelError, r"idf\.json: 1 weights are not numbers above 0.*'the'")


def test_idf_of_another_tokenizer(own: Path, tmp_path: Path) -> None:
    change(own / "idf.json", lambda raw: (raw.pop("the"), raw.update({"없는말": 1.0})))
    refused(own, tmp_path, ModelError, r"\['the'\].*\['없는말'\]")


def test_fewer_rows_than_tokens(own: Path, tmp_path: Path) -> None:
    change(own / "tokenizer.json", lambda raw: raw["model"]["vocab"].update({"새말": 400}))
    change(own / "idf.json", lambda raw: raw.update({"새말": 1.0}))
    refused(own, tmp_path, ModelError, "400 rows, the tokenizer 401 tokens")


def test_special_tokens_that_are_not_masked(own: Path, tmp_path: Path) -> None:
    change(own / "osparse.json", lambda raw: raw["head"].update(masked_ids=[0, 1]))
    refused(own, tmp_path, ModelError, r"masked_ids lacks 3 .*\[2, 3, 4\]")


def test_a_zip_the_server_would_refuse_for_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1000)
    with pytest.raises(BundleError, match=r"encoder\.onnx\.zip would hold 1,001 bytes; the server refuses"):
        archive.write_zip(tmp_path / "encoder.onnx.zip", {"model.onnx": bytes(1001)})
    assert not any(tmp_path.iterdir())


def test_nan_weights(own: Path, tmp_path: Path) -> None:
    weights = load_file(own / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"][3, 3] = float("nan")
    save_file(weights, own / "model.safetensors", metadata={"format": "pt"})
    refused(own, tmp_path, ModelError, r"model\.safetensors has NaN.*layer\.1\.output\.dense\.weight")


@pytest.mark.parametrize(("bias", "said"), [(-1000.0, "no weight at all"), (1000.0, "395 of 395 tokens")])
def test_an_encoder_that_is_not_sparse(own: Path, tmp_path: Path, bias: float, said: str) -> None:
    weights = load_file(own / "model.safetensors")
    weights["cls.predictions.bias"].fill_(bias)
    save_file(weights, own / "model.safetensors", metadata={"format": "pt"})
    refused(own, tmp_path, CheckError, said)


def test_no_positions_for_the_length(own: Path, tmp_path: Path) -> None:
    weights = load_file(own / "model.safetensors")
    name = "bert.embeddings.position_embeddings.weight"
    weights[name] = weights[name][:48].clone()
    save_file(weights, own / "model.safetensors", metadata={"format": "pt"})
    change(own / "config.json", lambda raw: raw.update(max_position_embeddings=48))
    refused(own, tmp_path, ModelError, "the network reads 64 ids, it has 48 positions")
    change(own / "osparse.json", lambda raw: raw["head"].update(max_length=48))
    assert package(own, tmp_path / "short").checks["parity"]["onnx"]["longest"] == 48


def test_no_parity_no_bundle(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torchscript.Graph.forward

    def wrong(self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return right(self, input_ids, attention_mask) * 1.001

    monkeypatch.setattr(torchscript.Graph, "forward", wrong)
    refused(own, tmp_path, CheckError, r"(?s)largest difference.*\n  torchscript  text 1, .*\n  onnx  ")


def test_pruned_heads_package(tmp_path: Path) -> None:
    masked = tuple(range(5))
    for number, head in enumerate(
        [Head(max_length=32, masked_ids=masked, prune_ratio=0.3), Head(max_length=32, masked_ids=masked, top_k=7)]
    ):
        made = package(world.make_model(tmp_path / f"m{number}", head=head), tmp_path / f"b{number}")
        assert made.targets == tuple(TARGETS)
        largest = max(len(probe.document) for probe in made.probes())
        assert largest == 7 if head.top_k else largest < 395
