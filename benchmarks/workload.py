"""What every contender of a speed benchmark is given: the same texts, and the same weights in a Hugging Face folder.

The weights are random, of a shape of ``SHAPES``, and made so that a document has about as many non-zeros as a trained
model's: embeddings (tied to the decoder) drawn with a standard deviation of 0.2, and one number taken from every
decoder bias, the quantile of the largest logits of a sample of the texts at which ``NONZEROS`` of them stay positive on
average. What an encoding costs depends on the shape and on the share of non-zeros, not on what they mean.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.contracts.model import Model, save_model
from osparse.corpus.tokenizers.tokenizer import fit
from osparse.formula.head import Head
from osparse.formula.lexicon import Lexicon, read_vocabulary

VOCABULARY = 30_522
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "tiny": ("bert", {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}),
    "distil": ("distilbert", {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072}),
    "base": ("bert", {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}),
}
"""Name -> model_type, configuration: SPLADE-tiny has BERT-tiny's shape, OpenSearch's
doc-v3-distill DistilBERT's, base BERT-base's."""
NONZEROS = 150
SAMPLE = 128
"""Documents by which the bias is set."""


def texts_of(dataset: Path, count: int, seed: int = 0) -> list[str]:
    """``count`` bodies of a dataset, drawn from both languages."""
    bodies: list[str] = Dataset.open(dataset).documents.collect().sort("id")["text"].to_list()
    order = np.random.default_rng(seed).permutation(len(bodies))
    return [bodies[i] for i in order[:count]]


def make_model(folder: Path, dataset: Path, length: int, seed: int = 0, shape: str = "tiny") -> Path:
    """A model directory with random weights and a tokenizer fitted on the dataset; what is there is kept."""
    if folder.exists():
        return folder
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerFast

    from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder

    folder.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = folder.parent / "tokenizer.json"
    bodies: list[str] = Dataset.open(dataset).documents.collect()["text"].to_list()
    fit(bodies, VOCABULARY).save(str(tokenizer))
    tokens, special = read_vocabulary(tokenizer)
    lexicon = Lexicon.build(tokens, special, dict.fromkeys(tokens, 1.0))
    torch.manual_seed(seed)
    kind, sizes = SHAPES[shape]
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, max_position_embeddings=512, **sizes)
    mlm = AutoModelForMaskedLM.from_config(config).eval()
    head = Head(max_length=length, masked_ids=(*lexicon.special_ids, *range(len(tokens), VOCABULARY)))
    with torch.no_grad():
        mlm.get_input_embeddings().weight.normal_(0, 0.2)
        decoder = mlm.get_output_embeddings()
        decoder.bias.fill_(64.0)  # so that the relu cuts nothing
        encoder = TextEncoder(SparseEncoder(mlm, head), tokenizer)
        logits = np.concatenate([np.expm1(w) for _, w in encoder.batches(texts_of(dataset, SAMPLE, seed + 1))]) - 64
        decoder.bias.fill_(-float(np.partition(logits, -NONZEROS * SAMPLE, axis=None)[-NONZEROS * SAMPLE]))

    def write_weights(there: Path) -> None:
        mlm.save_pretrained(there)
        PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_file=str(tokenizer), model_max_length=length, unk_token="[UNK]", pad_token="[PAD]",
            cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        ).save_pretrained(there)  # fmt: skip
        config = there / "tokenizer_config.json"  # a class that transformers 4 knows too
        config.write_text(json.dumps({**json.loads(config.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))

    save_model(
        folder, write_weights=write_weights, lexicon=lexicon, head=head, idf={"corpus": "benchmark"},
        training={"fingerprint": f"benchmark-{seed}"}, metrics={}, card="# Random weights for benchmarks\n",
    )  # fmt: skip
    return folder


def model_folder(folder: Path, shape: str, length: int) -> Path:
    return folder / f"model-{shape}-{length}"


def write(folder: Path, dataset: Path, documents: int, length: int, shape: str = "tiny") -> tuple[Path, Path]:
    """(model directory, texts.json) for the contenders."""
    model = make_model(model_folder(folder, shape, length), dataset, length, shape=shape)
    texts = folder / "texts.json"
    texts.write_text(json.dumps(texts_of(dataset, documents), ensure_ascii=False))
    return model, texts


def document_tokenizer(model: Model) -> Tokenizer:
    """A model's tokenizer as it is packaged: it truncates and does not pad."""
    tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
    tokenizer.enable_truncation(model.head.max_length)
    tokenizer.no_padding()
    return tokenizer


def int8_graph(model: Model) -> bytes:
    """The ONNX file of ``osparse package --quantize int8``, made once by a process of its own and kept."""
    file = model.path.with_suffix(".int8.onnx")
    if not file.exists():
        subprocess.run([sys.executable, __file__, str(model.path), str(file)], check=True)
    return file.read_bytes()


def write_int8_graph(model: str, file: str) -> None:
    from osparse.packager.checkpoint.loaded import LoadedModel
    from osparse.packager.export import onnx, torchscript
    from osparse.packager.quantize.choice import parse
    from osparse.packager.quantize.rewrite import rewritten

    graph = onnx.export(torchscript.Graph(LoadedModel.open(Model.open(model)).encoder))
    Path(file).write_bytes(onnx.cleaned(rewritten(graph, parse("int8"))))


def make_pairs(folder: Path, dataset: Path, count: int) -> tuple[Path, Path]:
    """``count`` pairs to train on, whose documents fill 128 tokens: (a dataset directory, the pairs as JSON).

    A document is several bodies in a row, its query the first eight words.
    """
    target, pairs_file = folder / f"pairs-{count}", folder / f"pairs-{count}.json"
    if not target.exists():
        bodies = iter(texts_of(dataset, 1_000_000))
        documents = [" ".join(next(bodies) for _ in range(4)) for _ in range(count)]
        pairs = [(" ".join(text.split()[:8]), text) for text in documents]
        folder.mkdir(parents=True, exist_ok=True)
        pairs_file.write_text(json.dumps(pairs, ensure_ascii=False))
        rows = [(f"d{i}", "", text, "en", None, "benchmark", f"g{i}") for i, (_, text) in enumerate(pairs)]
        judged = [(f"q{i}", f"d{i}", 1.0, "annotated") for i in range(count)]
        names, document = ["query_id", "document_id", "score", "origin"], ["id", "title", "text", "lang"]
        save_dataset(
            target,
            documents=pl.DataFrame(rows, schema=[*document, "date", "source", "group"], orient="row"),
            queries=pl.DataFrame(
                [(f"q{i}", query, "en", None) for i, (query, _) in enumerate(pairs)],
                schema=["id", "text", "lang", "date"], orient="row",
            ),
            qrels={"train": pl.DataFrame(judged, schema=names, orient="row")},
            sources=[Source("benchmark", "as the dataset's", count, count, {}, "0" * 64)],
            split_rule="all are train", seed=0,
        )  # fmt: skip
    return target, pairs_file


if __name__ == "__main__":
    write_int8_graph(*sys.argv[1:])
