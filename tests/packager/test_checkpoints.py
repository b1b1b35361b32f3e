"""Folders that osparse did not write: what they mean is read, made explicit, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.errors import CheckError, InputError, ModelError
from osparse.formula.lexicon import MIN_WEIGHT
from osparse.masked_lm.load import load_masked_lm
from osparse.packager import package
from osparse.packager.checkpoint import hub
from osparse.packager.checkpoint.checkpoints import ForeignCheckpoint, describe, display_name, open_model
from osparse.packager.checkpoint.loaded import LoadedModel

HUGGING_FACE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def change(path: Path, edit: Any) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    write(path, raw)


@pytest.fixture
def plain(model: Model, tmp_path: Path) -> Path:
    """As OpenSearch's doc-v1 and doc-v2 are: a masked-LM and an idf.json, which leaves some tokens out."""
    folder = tmp_path / "doc-v2"
    folder.mkdir()
    for name in HUGGING_FACE:
        shutil.copy(model.path / name, folder)
    weights = json.loads((model.path / "idf.json").read_text())
    write(folder / "idf.json", {token: weight for token, weight in weights.items() if token != "the"})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return folder


@pytest.fixture
def symmetric(plain: Path) -> Path:
    """As sentence-transformers saves a SPLADE model."""
    package_name = "sentence_transformers.sparse_encoder.modules"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{package_name}.mlm_transformer.MLMTransformer"},
        {"idx": 1, "name": "1", "path": "1_SpladePooling", "type": f"{package_name}.splade_pooling.SpladePooling"},
    ]
    write(plain / "modules.json", modules)
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "embedding_dimension": None}
    write(plain / "1_SpladePooling" / "config.json", pooling)
    write(plain / "sentence_bert_config.json", {"max_seq_length": 200})
    return plain


@pytest.fixture
def routed(model: Model, tmp_path: Path) -> Path:
    """As sentence-transformers saves a document encoder with an inference-free query side."""
    root = tmp_path / "routed"
    document, query = root / "document_0_MLMTransformer", root / "query_0_SparseStaticEmbedding"
    for folder in (document, query):
        folder.mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(model.path / name, folder)
    for name in HUGGING_FACE:
        shutil.copy(model.path / name, document)
    write(root / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}])
    package_name = "sentence_transformers.sparse_encoder.modules"
    names = {query.name: "SparseStaticEmbedding", document.name: "MLMTransformer", "document_1": "SpladePooling"}
    kinds = {folder: f"{package_name}.{name}" for folder, name in names.items()}
    structure = {"query": [query.name], "document": [document.name, "document_1"]}
    write(root / "router_config.json", {"types": kinds, "structure": structure})
    pooling = {"pooling_strategy": "max", "activation_function": "log1p_relu"}
    write(root / "document_1" / "config.json", pooling)
    weights = torch.tensor(model.lexicon.idf)
    weights[model.lexicon.id_of["the"]] = 0
    save_file({"weight": weights}, query / "model.safetensors")
    return root


def test_a_plain_folder_is_the_model_it_was_made_of(plain: Path, model: Model, tmp_path: Path) -> None:
    made = package(plain, tmp_path / "bundle", ["onnx"], activation="log1p_relu", max_length=64)
    assert made.name == "doc-v2" and made.head == model.head and made.vocabulary == 400
    idf = json.loads(read_member(made.zip_path("tokenizer"), "idf.json"))
    assert idf["the"] == 1.0 and len(idf) == 400  # what OpenSearch gives a token without a weight, written out
    assert made.source == {
        "kind": "hugging-face", "name": None, "architecture": "bert", "licence": "apache-2.0",
        "query_weights": {"from": "idf.json", "missing": 1, "missing_count_as": 1.0},
    }  # fmt: skip
    assert package(plain, tmp_path / "bundle", ["onnx"], activation="log1p_relu", max_length=64) == made
    with pytest.raises(InputError, match="`overwrite=True`"):
        package(plain, tmp_path / "bundle", ["onnx"], activation="log1p_log1p_relu", max_length=64)


def test_a_folder_that_does_not_say_its_activation_is_told(plain: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_model(plain).head.activation == "log1p_relu"
    assert "pass `activation=log1p_log1p_relu`" in caplog.text
    assert open_model(plain, activation="log1p_log1p_relu").head.activation == "log1p_log1p_relu"
    assert open_model(plain).head.max_length == 512  # tokenizer_config says nothing sane, the positions do


def test_a_sparse_encoder_folder(symmetric: Path, tmp_path: Path) -> None:
    opened = open_model(symmetric)
    assert (opened.head.activation, opened.head.max_length) == ("log1p_relu", 200)
    assert opened.lexicon.idf[opened.lexicon.id_of["the"]] == np.float32(MIN_WEIGHT)  # here, a missing token is 0.0
    with pytest.raises(InputError, match="says log1p_relu; leave it out"):
        open_model(symmetric, activation="log1p_log1p_relu")
    (symmetric / "idf.json").unlink()
    with pytest.raises(ModelError, match=r"no idf\.json.*osparse idf DATASET.*`idf=idf.json`"):
        open_model(symmetric)
    write(tmp_path / "other.json", {"the": 2.0})
    given = open_model(symmetric, idf=tmp_path / "other.json")
    assert given.lexicon.idf[given.lexicon.id_of["the"]] == 2.0 and given.idf["missing"] == 399


def test_a_routed_folder_has_its_query_weights_in_a_tensor(routed: Path, model: Model) -> None:
    opened = open_model(routed)
    assert isinstance(opened, ForeignCheckpoint) and opened.name == "routed"
    assert opened.head.activation == "log1p_log1p_relu"
    the = model.lexicon.id_of["the"]
    assert opened.lexicon.idf[the] == np.float32(MIN_WEIGHT)
    assert (np.delete(opened.lexicon.idf, the) == np.delete(model.lexicon.idf, the)).all()
    assert describe(opened)["query_weights"] == {
        "from": "SparseStaticEmbedding", "missing": 1, "missing_count_as": MIN_WEIGHT
    }  # fmt: skip
    source = LoadedModel.open(opened)
    assert not source.encoder.keep[list(opened.lexicon.special_ids)].any()


def test_a_bin_is_read_as_tensors_alone(plain: Path, tmp_path: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    wanted = load_masked_lm(plain, "eager").state_dict()
    (plain / "model.safetensors").unlink()
    torch.save(weights, plain / "pytorch_model.bin")
    found = load_masked_lm(plain, "eager").state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert open_model(plain).fingerprint

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harmed",))

    torch.save({**weights, "harm": Harm()}, plain / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin cannot be read.*safetensors"):
        load_masked_lm(plain, "eager")
    assert not (tmp_path / "harmed").exists()


def test_weights_in_parts_are_all_there(plain: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    (plain / "model.safetensors").unlink()
    names = {name: "model-00001-of-00001.safetensors" for name in weights}
    write(plain / "model.safetensors.index.json", {"metadata": {}, "weight_map": names})
    with pytest.raises(ModelError, match=r"not there.*model-00001-of-00001"):
        open_model(plain)
    save_file(weights, plain / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    assert load_masked_lm(plain, "eager") is not None and len(open_model(plain).fingerprint) == 64


def refused(plain: Path, said: str, error: type[Exception] = ModelError, **options: Any) -> None:
    with pytest.raises(error, match=said):
        LoadedModel.open(open_model(plain, **options))


def test_no_masked_lm_head(plain: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    body = {name: tensor for name, tensor in weights.items() if not name.startswith("cls.")}
    save_file(body, plain / "model.safetensors", metadata={"format": "pt"})
    refused(plain, r"model\.safetensors has no masked-LM head.*ForMaskedLM")
    body = {name: tensor for name, tensor in weights.items() if "layer.1.output" not in name}
    save_file(body, plain / "model.safetensors", metadata={"format": "pt"})
    refused(plain, r"lacks \d+ tensors of config\.json, like bert\.encoder\.layer\.1\.output")


def test_another_architecture_or_own_code(plain: Path) -> None:
    change(plain / "config.json", lambda raw: raw.update(model_type="newest", auto_map={"AutoModel": "x.y"}))
    refused(plain, r"'newest' is not among osparse\.architectures: bert.*brings its own code, which osparse never runs")


@pytest.mark.parametrize("rows", [399, None, "400"])
def test_vocabulary_sizes_that_do_not_fit(plain: Path, rows: Any) -> None:
    change(plain / "config.json", lambda raw: raw.update(vocab_size=rows))
    refused(plain, r"vocab_size .*tokenizer\.json 400 tokens")


def test_nan_weights(plain: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"][0] = float("nan")
    save_file(weights, plain / "model.safetensors", metadata={"format": "pt"})
    refused(plain, r"model\.safetensors has NaN.*LayerNorm\.bias")


def test_a_slow_tokenizer(plain: Path) -> None:
    (plain / "tokenizer.json").unlink()
    (plain / "vocab.txt").write_text("[PAD]\n")
    refused(plain, r"tokenizer\.json does not exist.*slow tokenizer.*vocab\.txt.*save_pretrained")
    write(plain / "tokenizer.json", {"model_max_length": 512})
    refused(plain, r"tokenizer\.json is not a tokenizer\.json")


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), "2"])
def test_query_weights_no_query_may_have(plain: Path, weight: Any) -> None:
    change(plain / "idf.json", lambda raw: raw.update({"a": weight}))
    refused(plain, r"idf\.json: 1 weights are not numbers above 0")


def test_query_weights_of_other_tokens(plain: Path) -> None:
    change(plain / "idf.json", lambda raw: raw.update({"없는말": 1.0}))
    refused(plain, r"1 weights are for tokens it does not have \(\['없는말'\]\)")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r.update(pooling_strategy="sum"), "pooling_strategy is 'sum', required is max"),
        (
            lambda r: r.update(activation_function="tanh"),
            "activation_function is 'tanh', required is relu or log1p_relu",
        ),
    ],
)
def test_pooling_of_another_kind(symmetric: Path, edit: Any, said: str) -> None:
    change(symmetric / "1_SpladePooling" / "config.json", edit)
    refused(symmetric, said)


def test_modules_of_another_kind_or_place(symmetric: Path) -> None:
    change(symmetric / "modules.json", lambda rows: rows[1].update(path="../../elsewhere"))
    refused(symmetric, "leads out of the folder")
    change(symmetric / "modules.json", lambda rows: rows[1].update(type="sentence_transformers.models.Pooling"))
    refused(symmetric, "MLMTransformer -> Pooling; osparse packages a transformer followed by SpladePooling")
    write(symmetric / "modules.json", {"idx": 0})
    refused(symmetric, "not sentence-transformers' list of modules")


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_query_weights_in_a_tensor_that_no_query_may_have(routed: Path, value: float) -> None:
    weights = torch.ones(400)
    weights[7] = value
    save_file({"weight": weights}, routed / "query_0_SparseStaticEmbedding" / "model.safetensors")
    refused(routed, "1 query weights are negative, infinite or NaN")


def test_an_option_that_the_folder_decides(model: Model, plain: Path) -> None:
    with pytest.raises(InputError, match="leave out `activation`"):
        open_model(model.path, max_length=64)
    refused(plain, "`max_length` must be 2 to 512, .* got 513", InputError, max_length=513)
    refused(plain, "`activation` must be one of .*, got gelu", InputError, activation="gelu")


def test_a_model_without_weights_below_its_density(plain: Path, tmp_path: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    weights["cls.predictions.bias"].fill_(1000.0)
    save_file(weights, plain / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckError, match="395 of 395 tokens"):
        package(plain, tmp_path / "made" / "bundle", ["onnx"])
    assert not (tmp_path / "made").exists() or not any((tmp_path / "made").iterdir())


def test_a_hub_id_is_a_folder_that_was_fetched(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[tuple[str, str | None]] = []

    def snapshot(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        assert not any("py" in pattern.rpartition(".")[2] for pattern in allow_patterns)
        return str(plain)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    opened = open_model("opensearch-project/doc-v2-mini@main")
    assert isinstance(opened, ForeignCheckpoint) and display_name(opened) == "doc-v2-mini" and opened.path == plain
    assert describe(opened)["name"] == "opensearch-project/doc-v2-mini@main"
    assert asked == [("opensearch-project/doc-v2-mini", "main")]

    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"is no folder here.*no network.*copy the model's folder here"):
        open_model("opensearch-project/doc-v2-mini")


def test_a_mistyped_path_is_not_taken_for_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    assert hub.local("build/typo") == (Path("build/typo"), "typo")
    with pytest.raises(ModelError, match="build/typo is not a model directory; make one with: osparse train"):
        open_model("build/typo")
