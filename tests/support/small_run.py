"""A training configuration for the tests' small world: twelve steps of a one-layer BERT."""

from __future__ import annotations

from pathlib import Path

import world

CONFIG = """
seed: 3
threads: 1
tokenizer: {folder}
idf: {folder}/idf.json
checkpoint_every: 2
encoder: {{layers: 1, hidden: 16, heads: 2, feed_forward: 32, dropout: {dropout}}}
head: {{activation: log1p_relu, max_length: 64, top_k: 30}}
stages:
- {{task: warm_start, share: 0.8, norm: 0.6}}
- {{task: mlm, steps: 5, batch: 3, lr: 1e-3, schedule: linear, warmup: 0.2, max_length: 32,
   masked: 0.2, translated: 0.3, kept: 0.1, active_terms: 60, columns: 40}}
- {{task: ranking, steps: 7, batch: 3, lr: 1e-3, schedule: cosine, warmup: 0.2, max_length: 32,
   temperature: 2.0, spans: 1, neighbours: 1, span_weight: 0.5}}
sparsity: {{weight: 1e-3, warmup: 0.5, columns: 100}}
validation: {{every: 3, documents: 2}}
"""

ONE_STEP = (
    "{task: ranking, steps: 1, batch: 2, lr: 1e-3, schedule: constant, warmup: 0, max_length: 8, temperature: 1, "
    "spans: 1, neighbours: 0, span_weight: 1}"
)
"""A stage for runs that are looked at for something else."""


def write_inputs(folder: Path, *, dropout: float = 0.1) -> Path:
    """tokenizer.json, idf.json and run.yaml; returns the last."""
    folder.mkdir(parents=True, exist_ok=True)
    lexicon = world.make_lexicon(world.make_tokenizer(folder / "tokenizer.json"))
    (folder / "idf.json").write_text(lexicon.idf_text(), encoding="utf-8")
    (folder / "run.yaml").write_text(CONFIG.format(folder=folder, dropout=dropout), encoding="utf-8")
    return folder / "run.yaml"
