"""What a training run is made of: the YAML's schema. See configs/ for commented examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from osparse.encoding import SERVER_MAX_TOKENS, Activation
from osparse.settings import setting


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A new BERT of this size, or a masked-LM checkpoint to start from."""

    start: Path | None = None
    """Folder of a Hugging Face masked-LM; its sizes then count and the others must be left out."""
    layers: int = setting(0, low=0, high=48)
    hidden: int = setting(0, low=0, high=8192)
    """Width; also the rank of the logits."""
    heads: int = setting(0, low=0, high=128)
    feed_forward: int = setting(0, low=0, high=65536)
    dropout: float = setting(0.0, low=0, high=0.9)

    def problems(self) -> list[str]:
        sizes = (self.layers, self.hidden, self.heads, self.feed_forward)
        if self.start is not None:
            given = any(sizes) or self.dropout > 0
            return ["start: a checkpoint has its own sizes and dropout; leave them out"] if given else []
        if not all(sizes):
            return ["layers, hidden, heads, feed_forward: all wanted for a new encoder (or start: a checkpoint)"]
        return [f"hidden: {self.hidden} is not a multiple of heads {self.heads}"] if self.hidden % self.heads else []


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How logits become weights; see osparse.encoding.Head."""

    activation: Activation
    max_length: int = setting(low=2, high=SERVER_MAX_TOKENS)
    """Ids per document when encoding, special ones included."""
    top_k: int | None = setting(None, low=1)
    """At most this many non-zeros per document."""
    prune_ratio: float = setting(0.0, low=0, high=0.99)
    """Share of the document's largest weight below which weights are dropped."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Embeddings of a new encoder by cross-lingual latent semantic analysis of the training records."""

    share: float = setting(low=0, high=1)
    """Cosine between an embedding and its LSA direction; the rest is noise that tells synonyms apart."""
    norm: float = setting(low=0, above=True, high=10)
    """Length of an embedding; a token's own logit starts at norm x sqrt(hidden)."""
    task: Literal["warm_start"] = "warm_start"


@dataclass(frozen=True, kw_only=True)
class MaskedLm:
    """Masked-LM whose labels are partly the translations aligned with a token."""

    steps: int = setting(low=1)
    batch: int = setting(low=1)
    """Records per step; each gives a document per language."""
    lr: float = setting(low=0, above=True, high=1)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float = setting(low=0, high=1)
    """Share of the steps over which the learning rate rises."""
    max_length: int = setting(low=4, high=SERVER_MAX_TOKENS)
    """Ids per document in this stage; longer documents give a random window."""
    masked: float = setting(low=0, high=1)
    """Share of tokens replaced by [MASK] and asked back."""
    translated: float = setting(low=0, high=1)
    """Share of tokens, left as they are, whose label is a token of the aligned text."""
    kept: float = setting(low=0, high=1)
    """Share of tokens, left as they are, whose label is themselves."""
    columns: int = setting(low=0)
    """Random vocabulary columns of the softmax, beside all tokens of the step; 0 takes the whole vocabulary."""
    active_terms: int = setting(low=1)
    """Mean number of positive logits per document that the output bias is set for at the end of the stage."""
    task: Literal["mlm"] = "mlm"

    def problems(self) -> list[str]:
        total = self.masked + self.translated + self.kept
        return [] if 0 < total <= 1 else [f"masked + translated + kept: {total} is not within (0, 1]"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """InfoNCE over in-batch documents, queries looked up in the IDF table; FLOPS for sparsity."""

    steps: int = setting(low=1)
    batch: int = setting(low=2)
    """Records per step; each gives a document per language, and all its queries."""
    lr: float = setting(low=0, above=True, high=1)
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float = setting(low=0, high=1)
    max_length: int = setting(low=4, high=SERVER_MAX_TOKENS)
    temperature: float = setting(low=0, above=True)
    """Divides IDF-weighted dot products."""
    spans: int = setting(low=0, high=64)
    """Extra queries per document: spans of 3 to 12 tokens of the other language's document."""
    neighbours: int = setting(low=0, high=1024)
    """Records of a batch that are drawn beside each record because they resemble it: harder in-batch negatives."""
    span_weight: float = setting(low=0, high=10)
    """Weight of a span query's loss; a judged query has 1."""
    task: Literal["ranking"] = "ranking"


@dataclass(frozen=True, kw_only=True)
class SparsityConfig:
    """FLOPS regularisation of the ranking stage: lambda(t) = weight * min(1, (t / warm-up))^2."""

    weight: float = setting(low=0)
    """lambda."""
    warmup: float = setting(low=0, high=1)
    """Share of the ranking steps over which lambda rises quadratically."""
    columns: int = setting(low=0)
    """Vocabulary columns drawn per step for an unbiased estimate of FLOPS; 0 takes all."""
    threshold: int | None = setting(None, low=0)
    """With it, only documents with more non-zeros than this count (l0 mask); needs columns 0."""

    def problems(self) -> list[str]:
        if self.threshold is not None and self.columns:
            return ["threshold: non-zeros are only known with columns: 0"]
        return []


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    every: int = setting(low=1)
    """Ranking steps between two measurements; the end of training is always measured."""
    documents: int = setting(low=0)
    """Training documents per language added to the validation documents as distractors."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Paths are relative to the working directory."""

    seed: int = setting(low=0)
    tokenizer: Path
    """Folder with tokenizer.json."""
    idf: Path
    """idf.json of that tokenizer."""
    encoder: EncoderConfig
    head: HeadConfig
    stages: tuple[WarmStart | MaskedLm | Ranking, ...]
    """Run in order."""
    sparsity: SparsityConfig
    validation: ValidationConfig
    checkpoint_every: int = setting(low=1)
    """Steps between two checkpoints; the end of a stage and an interruption always write one."""
    threads: int | None = setting(None, low=1, high=1024)
    """CPU threads; equal weights from equal seeds are promised for an equal number. None: as the machine says."""

    def problems(self) -> list[str]:
        found = []
        tasks = [stage.task for stage in self.stages]
        if not tasks:
            found.append("stages: none; at least one is wanted")
        if "warm_start" in tasks[1:]:
            found.append("stages: warm_start must come first, it replaces the embeddings")
        if "warm_start" in tasks and self.encoder.start is not None:
            found.append("stages: warm_start is for a new encoder, and encoder.start is given")
        longest = max((s.max_length for s in self.stages if not isinstance(s, WarmStart)), default=0)
        if longest > self.head.max_length:
            found.append(f"stages: max_length {longest} is above head.max_length {self.head.max_length}")
        return found
