"""Models saved by the libraries with one setting off its default: packaged as the library reads them, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved_worlds as saved
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Dense, Normalize

from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder
from osparse.errors import InputError, ModelError
from osparse.packager import package
from osparse.packager.checkpoint.checkpoints import open_model
from osparse.packager.reference import library as library_comparison
from osparse.packager.reference.texts import reference_texts

Make = Callable[[Path], Path]


def base(folder: Path, **settings: Any) -> Path:
    return saved.bert(folder / "base", **settings)


def symmetric(**settings: Any) -> Make:
    return lambda folder: saved.symmetric(base(folder), folder / "model", **settings)


def routed(**settings: Any) -> Make:
    return lambda folder: saved.routed(base(folder), folder / "model", **settings)


def edited(make: Make, name: str, **values: Any) -> Make:
    """What ``make`` saved, with settings that the library's own code does not write."""

    def change(folder: Path) -> Path:
        root = make(folder)
        saved.edit(root / name, lambda raw: raw.update(values))
        return root

    return change


def of_base(**settings: Any) -> Make:
    """A SPLADE model on a transformer whose tokenizer was saved with other settings."""
    return lambda folder: saved.symmetric(base(folder, **settings), folder / "model")


def other_queries(**settings: Any) -> Make:
    def make(folder: Path) -> Path:
        other = saved.bert(folder / "queries", **settings)
        return saved.routed(base(folder), folder / "model", queries=other)

    return make


def plain(name: str = "tokenizer_config.json", **values: Any) -> Make:
    def make(folder: Path) -> Path:
        root = saved.plain(base(folder))
        saved.edit(root / name, lambda raw: raw.update(values))
        return root

    return make


def lower_json(folder: Path) -> Path:
    root = saved.plain(base(folder, lower=True))
    saved.edit(root / "tokenizer_config.json", lambda raw: raw.update(do_lower_case=False))
    return root


def no_tokenizer_config(folder: Path) -> Path:
    root = saved.plain(base(folder))
    (root / "tokenizer_config.json").unlink()
    return root


def bert_tokenizer_of_config(folder: Path) -> Path:
    """As Korean RoBERTa models are published: transformers goes by config.json where no tokenizer_config.json says it."""
    root = saved.roberta(folder / "base")
    words = saved.bert(folder / "words")
    (root / "tokenizer_config.json").unlink()
    (root / "tokenizer.json").write_bytes((words / "tokenizer.json").read_bytes())
    saved.edit(root / "config.json", lambda raw: raw.update(tokenizer_class="BertTokenizer"))
    return saved.plain(root)


def with_module(module: Any) -> Make:
    """A SPLADE model with a module after its pooling."""
    return lambda folder: saved.symmetric(base(folder), folder / "model", after=[module])


POOLING, TRANSFORMER, MODEL = (
    "1_SpladePooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
OBEYED: dict[str, Make] = {
    "nothing": symmetric(),
    "nothing, routed": routed(),
    "activation": symmetric(activation="log1p_relu"),
    "max_seq_length": symmetric(max_seq_length=12),
    "document_length": symmetric(document_length=9),
    "document_length before max_seq_length": symmetric(document_length=9, max_seq_length=20),
    "query_length": symmetric(query_length=5),
    "max_seq_length of older versions": edited(symmetric(), TRANSFORMER, max_seq_length=13),
    "do_lower_case": edited(symmetric(), TRANSFORMER, do_lower_case=True),
    "do_lower_case, routed": edited(routed(), f"document_0_Transformer/{TRANSFORMER}", do_lower_case=True),
    "max_active_dims": symmetric(model={"max_active_dims": 3}),
    "max_active_dims, routed": routed(model={"max_active_dims": 600}),
    "document prompt": symmetric(model={"prompts": {"document": "passage: "}}),
    "document prompt, lower-cased": edited(
        symmetric(model={"prompts": {"document": "The ferry "}}), TRANSFORMER, do_lower_case=True
    ),
    "document prompt, routed": routed(model={"prompts": {"document": "passage: ", "query": ""}}, max_seq_length=16),
    "default prompt": symmetric(model={"prompts": {"other": "query: "}, "default_prompt_name": "other"}),
    "similarity": symmetric(model={"similarity_fn_name": "dot"}),
    "processor_kwargs": edited(symmetric(), TRANSFORMER, processor_kwargs={"do_lower_case": True}),
    "chunk_size": edited(symmetric(), POOLING, chunk_size=4),
    "word_embedding_dimension": edited(symmetric(), POOLING, word_embedding_dimension=None),
    "unpad_inputs": symmetric(unpad_inputs=False),
    "tokenizer lower": of_base(lower=True),
    "tokenizer lower with accents": of_base(lower=True, strip_accents=False),
    "tokenizer without accents": of_base(strip_accents=True),
    "tokenizer with Chinese words": of_base(tokenize_chinese_chars=False),
    "tokenizer model_max_length": of_base(model_max_length=10),
    "tokenizer padding_side": of_base(padding_side="left"),
    "tokenizer extra tokens": of_base(extra_special_tokens=["ferry"]),
    "tokenizer clean-up": of_base(clean_up_tokenization_spaces=True),
    "queries lower-cased": other_queries(lower=True),
    "queries without accents": other_queries(strip_accents=True),
    "query length": routed(query_length=7),
    "query weights of 0": routed(weights=lambda drawn: drawn * (drawn > 0.5)),
    "routes by task": routed(names=("q", "d"), mappings={("query", None): "q", ("document", "text"): "d"}),
    "routes by modality": routed(names=("query", "text")),
    "max_active_dims, a prompt and a length": symmetric(
        model={"max_active_dims": 3, "prompts": {"document": "The "}}, max_seq_length=10
    ),
    "max_active_dims, a length, an activation and lower case": edited(
        symmetric(model={"max_active_dims": 4}, document_length=9, activation="log1p_relu"),
        TRANSFORMER,
        do_lower_case=True,
    ),
    "lower-cased queries, both lengths": lambda folder: saved.routed(
        base(folder),
        folder / "model",
        queries=saved.bert(folder / "queries", lower=True, strip_accents=False),
        query_length=6,
        max_seq_length=11,
    ),
    "default route of queries": routed(default="query"),
    "default prompt of documents, routed": routed(
        model={"prompts": {"document": "The ", "query": ""}, "default_prompt_name": "document"}
    ),
    "Unigram with bytes": lambda folder: saved.symmetric(
        saved.unigram_of_bytes(folder / "base"), folder / "model", max_seq_length=38
    ),
    "plain, RoBERTa whose config.json names BERT's tokenizer": bert_tokenizer_of_config,
    "plain": plain(),
    "plain, lower in tokenizer_config.json": plain(do_lower_case=True),
    "plain, no accents in tokenizer_config.json": plain(strip_accents=True),
    "plain, length in tokenizer_config.json": plain(model_max_length=11),
    "plain, cased in tokenizer_config.json alone": lower_json,
    "plain, no tokenizer_config.json": no_tokenizer_config,
    "plain, calls return a tuple": plain("config.json", return_dict=False, output_attentions=True),
    "plain XLM-RoBERTa": lambda folder: saved.plain(saved.xlm_roberta(folder / "base")),
    "plain RoBERTa": lambda folder: saved.plain(saved.roberta(folder / "base")),
    "plain RoBERTa, add_prefix_space": lambda folder: saved.plain(saved.roberta(folder / "b", add_prefix_space=True)),
}
REFUSED: dict[str, tuple[Make, str]] = {
    "sum": (symmetric(pooling="sum"), "pooling_strategy is 'sum', required is max"),
    "max_active_dims, routed": (routed(model={"max_active_dims": 3}), "max_active_dims is 3, which would also cut"),
    "query prompt": (symmetric(model={"prompts": {"query": "query: "}}), "query prompt 'query: ' cannot be obeyed"),
    "document prompt without a space": (symmetric(model={"prompts": {"document": "x"}}), "does not end in a space"),
    "document prompt of bytes": (
        lambda folder: saved.symmetric(
            saved.roberta(folder / "base"), folder / "model", model={"prompts": {"document": "passage: "}}
        ),
        "'passage: ' cannot be obeyed exactly, since the tokenizer is no WordPiece",
    ),
    "document prompt as long as the text": (
        symmetric(model={"prompts": {"document": "passage: "}}, max_seq_length=4), "prompt and special tokens have 4",
    ),
    "similarity": (symmetric(model={"similarity_fn_name": "cosine"}), "similarity_fn_name is 'cosine'"),
    "processing_kwargs": (
        symmetric(processing_kwargs={"text": {"max_length": 5}}), "processing_kwargs is .*required is nothing",
    ),
    "truncation_side": (of_base(truncation_side="left"), "truncation_side is 'left', required is right"),
    "split_special_tokens": (of_base(split_special_tokens=True), "split_special_tokens is True"),
    "truncation_side in processor_kwargs": (
        edited(symmetric(), TRANSFORMER, processor_kwargs={"truncation_side": "left"}), "truncation_side 'left'",
    ),
    "model_kwargs": (edited(symmetric(), TRANSFORMER, model_kwargs={"dtype": "float16"}), "model_kwargs is"),
    "feature extraction": (edited(symmetric(), TRANSFORMER, transformer_task="feature-extraction"), "fill-mask"),
    "model_type": (edited(symmetric(), MODEL, model_type="SentenceTransformer"), "model_type is"),
    "max_active_dims in the pooling": (edited(symmetric(), POOLING, max_active_dims=3), "'max_active_dims' is not"),
    "unknown key of the transformer": (edited(symmetric(), TRANSFORMER, whitening=True), "'whitening' is not known"),
    "unknown key of the model": (edited(symmetric(), MODEL, scale=2), "'scale' is not known .*`ignore=scale`"),
    "unknown key of the tokenizer": (plain(fold_case=True), "'fold_case' is not known"),
    "Normalize": (with_module(Normalize()), "document side is Transformer -> SpladePooling -> Normalize"),
    "Dense": (with_module(Dense(4, 4)), "document side is Transformer -> SpladePooling -> Dense"),
    "truncate_dim": (edited(symmetric(), MODEL, truncate_dim=8), "truncate_dim is 8, required is null"),
    "a model for queries": (
        lambda folder: saved.two_encoders(base(folder), folder / "model"), "the query side is Transformer -> SpladePooling",
    ),
    "adapter": (edited(symmetric(), "adapter_config.json", r=8), "adapter_config.json cannot be obeyed"),
    "static path": (
        edited(routed(), "query_0_SparseStaticEmbedding/config.json", path="idf.json"), "path is 'idf.json'",
    ),
    "query weight above 64": (routed(weights=lambda drawn: drawn * 100), "query weights are above 64"),
    "own code": (
        plain("config.json", model_type="my_bert", auto_map={"AutoConfig": "x.Y", "AutoModel": "x.Z"}),
        "'my_bert' .*brings its own code, which osparse never runs",
    ),
    "quantisation": (plain("config.json", quantization_config={"bits": 4}), "quantization_config is"),
}  # fmt: skip
TEXTS = ("The Ferry to the ISLAND", "Ä café, Über naïve", "배나무 물 日本語漢字", "", "a b c d e f g h i j k l " * 20)


@pytest.mark.parametrize("setting", OBEYED)
def test_a_setting_is_obeyed(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``package`` compares on many texts itself; here the finished bundle is compared on a few, by another path."""
    root, whole = OBEYED[setting](tmp_path), setting.startswith("nothing")
    if not whole:
        monkeypatch.setattr(library_comparison, "reference_texts", lambda tokens: reference_texts(tokens)[::4])
    made = package(root, tmp_path / "bundle", ["torchscript", "onnx"] if setting == "max_active_dims" else ["onnx"])
    reference = made.checks["reference"]
    assert reference["library"]["sentence-transformers"] and reference["texts"] > (40 if whole else 10)
    if not (root / "modules.json").is_file():
        return
    library = SparseEncoder(str(root), device="cpu")
    encoder, queries = OnnxEncoder.open(made), open_query_encoder(made.zip_path("tokenizer"))
    special = {encoder.tokens[i] for i in made.head.masked_ids if i < len(encoder.tokens)}
    for text in TEXTS:
        row = library.encode_document([text], convert_to_sparse_tensor=False, show_progress_bar=False)[0].numpy()
        wanted = {encoder.tokens[i]: row[i] for i in np.flatnonzero(row) if encoder.tokens[i] not in special}
        assert encoder.encode([text])[0] == pytest.approx(wanted, abs=1e-4)
        if (root / "router_config.json").is_file():
            row = library.encode_query([text], convert_to_sparse_tensor=False, show_progress_bar=False)[0].numpy()
            found = queries.encode(text)
            kept = {token: weight for token, weight in found.items() if weight > 1e-5}
            wanted = {encoder.tokens[i]: row[i] for i in np.flatnonzero(row) if encoder.tokens[i] not in special}
            assert kept == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("setting", REFUSED)
def test_a_setting_is_refused_by_name(setting: str, tmp_path: Path) -> None:
    make, said = REFUSED[setting]
    with pytest.raises(ModelError, match=said):
        package(make(tmp_path), tmp_path / "bundle", ["onnx"])
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_key_is_ignored_by_name(tmp_path: Path) -> None:
    root = edited(symmetric(), MODEL, scale=2)(tmp_path)
    made = package(root, tmp_path / "bundle", ["onnx"], ignore=["scale"])
    assert made.source["ignored"] == ["scale"]
    with pytest.raises(InputError, match="ignore max_active_dims: no file of the model has it as an unknown key"):
        open_model(root, ignore=["scale", "max_active_dims"])
