"""An opponent of the quality tables: sentence-transformers' SparseEncoder on the same data, for the same time.

    python benchmarks/sparse_encoder_opponent.py --model MODEL --dataset DATASET --seconds 500

It is trained from nothing, as the quickstart's model is: the same tokenizer and IDF table, the same shape, the pairs of
query and relevant document of the training split, an inference-free Router, SpladeLoss over
SparseMultipleNegativesRankingLoss. With ``--pretrained SHARE`` that share of the processor time goes to masked-language
modelling by transformers before. Both are then asked the same test queries; documents keep at most as many weights as
MODEL's do, rounded as an index rounds them.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dense_opponent import sampled
from quality_systems import ModelScores, System, Table, measures, remembered
from quality_tables import compare, show

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import Benchmark, open_benchmark

NAME = "SparseEncoder, same data and time"
BATCH, RATE, MASKED = 32, 1e-3, 0.15
TRIED = 6
"""Steps by which the time of one is measured; they are made again in the training."""
LENGTH = 64
"""Tokens of a document in training: shorter than the quickstart's 96, for a third more steps in the same time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="whose tokenizer, IDF and shape are taken")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--sample", type=int, help="documents of each language, as in dense_opponent.py; else all")
    parser.add_argument("--queries", type=int, nargs=2, default=(None, None), help="as in dense_opponent.py")
    parser.add_argument("--seconds", type=float, default=500.0, help="processor time of the training")
    parser.add_argument("--pretrained", type=float, default=0.0, help="share of it for masked-language modelling")
    parser.add_argument("--regularisation", type=float, default=3e-4, help="weight of FLOPS of the documents")
    given = parser.parse_args()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    both = [open_benchmark(given.dataset, split) for split in ("validation", "test")]
    if given.sample:
        both = sampled(both, given.sample, given.queries)
    model, data = Model.open(given.model), both[given.split == "test"]
    encoder = new_encoder(model)
    began = time.process_time()
    if given.pretrained:
        pretrain(encoder, Dataset.open(given.dataset), given.seconds * given.pretrained)
    train(encoder, Dataset.open(given.dataset), given.seconds * (1 - given.pretrained), given.regularisation)
    print(f"training: {time.process_time() - began:.0f} CPU seconds")
    index = encoded(encoder, data, model.head.top_k or len(model.lexicon.tokens), model.head.max_length)
    print(f"non-zeros per document: {index.non_zeros().mean():.1f}")
    systems: dict[str, System] = {NAME: ModelScores(model, index), "model": ModelScores.of(model, data)}
    table: Table = {name: measures(remembered(system), data) for name, system in systems.items()}
    print("\n".join([*show(table), "", *compare(table)]))


def new_encoder(model: Model) -> Any:
    """Random weights in the shape of ``model``; queries are looked up in its IDF table."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="osparse-bench-") as home:
        AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(model.path)).save_pretrained(home)
        AutoTokenizer.from_pretrained(model.path).save_pretrained(home)
        transformer: Any = Transformer(home, transformer_task="fill-mask")
    transformer.max_seq_length = LENGTH
    weights = torch.tensor(np.asarray(model.lexicon.idf, dtype=np.float32))
    static = SparseStaticEmbedding(tokenizer=transformer.tokenizer, weight=weights, frozen=True)
    documents = [transformer, SpladePooling("max")]
    return SparseEncoder(modules=[Router.for_query_document([static], documents)], device="cpu")


def pretrain(encoder: Any, data: Dataset, seconds: float) -> None:
    """Masked-language modelling of the training documents, by transformers' Trainer."""
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    transformer = encoder[0].sub_modules["document"][0]
    read = transformer.tokenizer([text for _, text in pairs(data)], truncation=True, max_length=LENGTH)
    rows = [{"input_ids": ids} for ids in read["input_ids"]]
    masking = DataCollatorForLanguageModeling(transformer.tokenizer, mlm_probability=MASKED)

    def run(steps: int) -> None:
        arguments = TrainingArguments(**_arguments(steps), remove_unused_columns=False)
        Trainer(model=transformer.model, args=arguments, train_dataset=rows, data_collator=masking).train()

    timed(run, seconds, transformer.model)


def train(encoder: Any, data: Dataset, seconds: float, regularisation: float) -> None:
    """The ranking: each query beside a relevant document, the others of the batch as negatives."""
    from datasets import Dataset as Rows
    from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder import losses

    read = pairs(data)
    rows = Rows.from_dict({"anchor": [query for query, _ in read], "positive": [text for _, text in read]})
    ranking = losses.SparseMultipleNegativesRankingLoss(encoder, scale=0.5)  # dot products of 20 to 60, halved
    loss = losses.SpladeLoss(
        encoder, ranking, document_regularizer_weight=regularisation, use_document_regularizer_only=False,
        query_regularizer_weight=0.0,
    )  # fmt: skip

    def run(steps: int) -> None:
        arguments = SparseEncoderTrainingArguments(
            **_arguments(steps), router_mapping={"anchor": "query", "positive": "document"}, dataloader_drop_last=True
        )
        SparseEncoderTrainer(model=encoder, args=arguments, train_dataset=rows, loss=loss).train()

    timed(run, seconds, encoder)


def _arguments(steps: int) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(prefix="osparse-bench-"), "per_device_train_batch_size": BATCH,
        "max_steps": steps, "learning_rate": RATE, "warmup_steps": max(1, steps // 16), "save_strategy": "no",
        "logging_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True, "seed": 1,
    }  # fmt: skip


def timed(run: Any, seconds: float, module: torch.nn.Module) -> None:
    """As many steps as take ``seconds`` of processor time, by the time of a few that are undone."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run(1)
    began = time.process_time()
    run(TRIED)
    each = (time.process_time() - began) / TRIED
    module.load_state_dict(before)
    steps = max(TRIED, int(seconds / each))
    print(f"{type(module).__name__}: {steps} steps of {each:.2f} CPU seconds", flush=True)
    run(steps)


def pairs(data: Dataset) -> list[tuple[str, str]]:
    """(query, relevant document) of the training split, in every direction."""
    queries = dict(data.queries.select("id", "text").collect().rows())
    documents = dict(data.documents.select("id", "text").collect().rows())
    judged = data.qrels("train").select("query_id", "document_id").collect().rows()
    return [(queries[q], documents[d]) for q, d in judged if q in queries and d in documents]


def encoded(encoder: Any, data: Benchmark, top_k: int, max_length: int) -> InvertedIndex:
    """Every document's ``top_k`` largest weights, as an index keeps them."""
    encoder[0].sub_modules["document"][0].max_seq_length = max_length
    index = InvertedIndex(quantised=True)
    for batch in data.texts(64):
        vectors = encoder.encode_document([text for _, text, _ in batch], convert_to_sparse_tensor=False)
        values, tokens = torch.topk(vectors, min(top_k, vectors.shape[1]), dim=1)
        rows = torch.arange(len(batch))[:, None].expand_as(tokens)
        positive = values > 0
        index.add_sparse(
            [name for name, _, _ in batch], rows[positive].numpy(), tokens[positive].numpy(),
            values[positive].float().numpy(),
        )  # fmt: skip
    return index


if __name__ == "__main__":
    main()
