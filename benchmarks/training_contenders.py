"""The contenders of benchmarks/training.py, each run as a child in its own environment; see there."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from child import serve

LENGTH = 128
LAMBDA = 3e-3
Figures = dict[str, float]


def median(walls: list[float], cpus: list[float]) -> Figures:
    return {"wall": statistics.median(walls), "cpu": statistics.median(cpus)}


def osparse(
    model: str, dataset: str, pairs: str, device: str, precision: str, batch: int, steps: int, columns: int, micro: int
) -> Any:
    """Steps of the ranking stage as ``osparse train`` makes them, with FLOPS over ``columns`` columns (0: all)."""
    import torch

    from osparse.contracts.dataset import Dataset
    from osparse.contracts.model import Model
    from osparse.encoders.torch_encoder import SparseEncoder, load_masked_lm
    from osparse.trainer.compute.optimiser import CLIP, make_optimiser, set_rates
    from osparse.trainer.config.run_config import Ranking, SparsityConfig
    from osparse.trainer.data.padding import SpecialTokens
    from osparse.trainer.data.record_reader import read_records
    from osparse.trainer.stages.ranking import RankingStage

    opened = Model.open(model)
    encoder = SparseEncoder(load_masked_lm(opened.path, "sdpa"), opened.head).train().to(device)
    encoder.training_dtype = torch.bfloat16 if precision == "bf16" else None
    config = Ranking(
        steps=1000, batch=batch, lr=2e-5, schedule="linear", warmup=0.1, max_length=LENGTH, temperature=1.0, spans=0,
        neighbours=0, span_weight=1.0,
    )  # fmt: skip
    tokenizer = opened.path / "tokenizer.json"
    records = read_records(Dataset.open(dataset), tokenizer, opened.lexicon)
    sparsity = SparsityConfig(weight=LAMBDA, warmup=0.33, columns=columns)
    stage = RankingStage(
        encoder,
        config,
        sparsity,
        records,
        opened.lexicon.idf,
        SpecialTokens.of(tokenizer),
        0,
        micro_batch=micro or None,
    )
    optimiser = make_optimiser(encoder, config.lr, {})
    done = iter(range(10_000))

    def work() -> Figures:
        walls, cpus = [], []
        for _ in range(steps):
            step = next(done)
            wall, cpu = time.perf_counter(), time.process_time()
            set_rates(optimiser, config, step)
            stage.backward(step)
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if device == "cuda":
                torch.cuda.synchronize()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        return median(walls, cpus)

    return work


def osparse_plain(
    model: str, dataset: str, pairs: str, device: str, precision: str, batch: int, steps: int, columns: int, micro: int
) -> Any:
    """Without the kernels for a GPU."""
    from osparse.encoders import sparse_head

    sparse_head._device_kernels = lambda hidden: None
    return osparse(model, dataset, pairs, device, precision, batch, steps, columns, micro)


def sentence_transformers(
    model: str, dataset: str, pairs: str, device: str, precision: str, batch: int, steps: int, columns: int, micro: int
) -> Callable[[], Figures]:
    """SparseEncoderTrainer, inference-free as osparse is: documents through the model, queries looked up."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder import losses
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
    from transformers import TrainerCallback

    transformer: Any = Transformer(model, transformer_task="fill-mask")
    transformer.max_seq_length = LENGTH
    static = SparseStaticEmbedding(tokenizer=transformer.tokenizer, frozen=True)
    encoder: Any = SparseEncoder(
        modules=[
            Router.for_query_document(query_modules=[static], document_modules=[transformer, SpladePooling("max")])
        ],
        device=device,
    )
    read = json.loads(Path(pairs).read_text(encoding="utf-8"))
    data = Dataset.from_dict({"anchor": [a for a, _ in read], "positive": [b for _, b in read]})
    ranking = losses.SparseMultipleNegativesRankingLoss(encoder)
    if micro:
        loss: Any = losses.CachedSpladeLoss(
            encoder, ranking, document_regularizer_weight=LAMBDA, use_document_regularizer_only=True,
            mini_batch_size=micro,
        )  # fmt: skip
    else:
        loss = losses.SpladeLoss(
            encoder, ranking, document_regularizer_weight=LAMBDA, use_document_regularizer_only=True
        )
    home = tempfile.mkdtemp(prefix="osparse-bench-")

    class Clock(TrainerCallback):  # type: ignore[misc]
        walls: list[float] = []
        cpus: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            self.walls.append(time.perf_counter() - self.began[0])
            self.cpus.append(time.process_time() - self.began[1])

    def work() -> Figures:
        clock = Clock()
        clock.walls, clock.cpus = [], []
        arguments = SparseEncoderTrainingArguments(
            output_dir=home, per_device_train_batch_size=batch, max_steps=steps, save_strategy="no",
            logging_strategy="no", report_to="none", disable_tqdm=True, use_cpu=device == "cpu", learning_rate=2e-5,
            bf16=precision == "bf16",
            router_mapping={"anchor": "query", "positive": "document"}, dataloader_drop_last=True,
        )  # fmt: skip
        SparseEncoderTrainer(model=encoder, args=arguments, train_dataset=data, loss=loss, callbacks=[clock]).train()
        return median(clock.walls, clock.cpus)

    return work


def main() -> None:
    contender, model, dataset, pairs, device, precision, threads, *numbers = sys.argv[1:]
    import torch

    torch.set_num_threads(int(threads))
    serve(globals()[contender](model, dataset, pairs, device, precision, *map(int, numbers)), device=device)


if __name__ == "__main__":
    main()
