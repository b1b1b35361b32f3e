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
    factory: str | None = None
    """``module:function`` of your own that makes the masked-LM; see docs/training.md."""
    layers: int = setting(0, low=0, high=48)
    """Transformer layers of a new BERT."""
    hidden: int = setting(0, low=0, high=8192)
    """Width; also the rank of the logits."""
    heads: int = setting(0, low=0, high=128)
    """Attention heads; they divide the width."""
    feed_forward: int = setting(0, low=0, high=65536)
    """Inner width of a layer's feed-forward network."""
    dropout: float = setting(0.0, low=0, high=0.9)
    """Share of states and attention weights dropped in training."""

    def problems(self) -> list[str]:
        sizes = (self.layers, self.hidden, self.heads, self.feed_forward)
        given = any(sizes) or self.dropout > 0
        if self.start is not None and self.factory is not None:
            return ["start, factory: the masked-LM comes from one of them; leave the other out"]
        if self.start is not None:
            return ["start: a checkpoint has its own sizes and dropout; leave them out"] if given else []
        if self.factory is not None:
            return ["factory: what it makes has its own sizes and dropout; leave them out"] if given else []
        if not all(sizes):
            return [
                "layers, hidden, heads, feed_forward: all wanted for a new encoder (or start: a checkpoint, "
                "or factory: a function)"
            ]
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
class SourceCap:
    """At most so many records of a source in an epoch."""

    source: str
    records: int = setting(low=1)


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How several sources share an epoch: each deals records in proportion to (its records)^exponent."""

    exponent: float = setting(1.0, low=0, high=1)
    """1: as many as there are; 0: as many of each as of the smallest."""
    caps: tuple[SourceCap, ...] = ()

    def problems(self) -> list[str]:
        names = [cap.source for cap in self.caps]
        return [f"caps: {name} is given twice" for name in sorted({n for n in names if names.count(n) > 1})]


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
    mixing: Mixing | None = None
    """How several sources share an epoch; None: as many records as each has."""
    task: Literal["mlm"] = "mlm"

    def problems(self) -> list[str]:
        total = self.masked + self.translated + self.kept
        return [] if 0 < total <= 1 else [f"masked + translated + kept: {total} is not within (0, 1]"]


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """One source of teacher scores; several are normalised and averaged."""

    kind: Literal["dataset", "sparse", "dense", "bm25"]
    """dataset: scores that lie in the dataset. sparse: a model directory of osparse. dense: a Hugging Face or
    sentence-transformers bi-encoder folder. bm25: over the training documents' tokens."""
    path: Path | None = None
    """Folder of a sparse or dense teacher."""
    scorer: str | None = None
    """Whose scores of the dataset; None: its one teacher's. A retriever's are of what it found alone: name it."""

    def problems(self) -> list[str]:
        if self.scorer is not None and self.kind != "dataset":
            return [f"scorer: names scores that lie in the dataset; a {self.kind} teacher has none"]
        if (self.kind in ("sparse", "dense")) != (self.path is not None):
            return [f"path: a {self.kind} teacher {'needs its folder' if self.path is None else 'has none'}"]
        return []


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A second ranking loss: the order and distances in which teachers see a query's candidates."""

    loss: Literal["kl", "margin_mse", "ranknet"]
    weight: float = setting(low=0, above=True)
    """Beside the contrastive loss."""
    teachers: tuple[Teacher, ...]
    over: Literal["own", "batch"]
    """Candidates: the positive and the query's own from the dataset, or every document of the batch in its language."""
    scale: float | None = setting(None, low=0, above=True)
    """S: each teacher min-max normalised per query, the mean times S. None: the raw scores of the one teacher."""
    temperature: float = setting(1.0, low=0, above=True)
    """Of the KL divergence, on both sides."""

    def problems(self) -> list[str]:
        found = []
        if not self.teachers:
            found.append("teachers: none; at least one is wanted")
        if len(self.teachers) > 1 and self.scale is None:
            found.append("scale: several teachers score on different scales; give S (10 and 30 are published)")
        if self.loss != "kl" and self.temperature != 1.0:
            found.append(f"temperature: {self.loss} has none; leave it out")
        return found


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Contrastive and distillation losses, queries looked up in the IDF table; FLOPS for sparsity."""

    steps: int = setting(low=1)
    batch: int = setting(low=2)
    """Records per step; each gives a document per language, and all its queries."""
    lr: float = setting(low=0, above=True, high=1)
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float = setting(low=0, high=1)
    max_length: int = setting(low=4, high=SERVER_MAX_TOKENS)
    temperature: float = setting(low=0, above=True)
    """Of InfoNCE: divides IDF-weighted dot products."""
    spans: int = setting(low=0, high=64)
    """Extra queries per document: spans of 3 to 12 tokens of the other language's document."""
    neighbours: int = setting(low=0, high=1024)
    """Records of a batch that are drawn beside each record because they resemble it: harder in-batch negatives."""
    span_weight: float = setting(low=0, high=10)
    """Weight of a span query's loss; a judged query has 1."""
    dropout: float | None = setting(None, low=0, high=0.9)
    """Of hidden states, from this stage on; None leaves the encoder's own."""
    document_dropout: float = setting(0.0, low=0, high=0.9)
    """Share of a document's tokens left out of a step at random, against learning the training documents by heart."""
    query_dropout: float = setting(0.0, low=0, high=0.9)
    """The same of a judged query's tokens."""
    contrastive: float = setting(1.0, low=0)
    """Weight of InfoNCE, or of the loss named below."""
    loss: str | None = None
    """``module:function`` to use for InfoNCE; see docs/training.md."""
    negatives: int = setting(0, low=0, high=256)
    """Hard negatives per document, drawn anew each step from the dataset's candidates of the record's queries."""
    pool: Literal["all", "own", "hard"] = "all"
    """Documents in a query's softmax: all of the batch; positives of all and its own hard negatives; hard negatives of
    all and no other query's positive."""
    distillation: Distillation | None = None
    idf_lr: float | None = setting(None, low=0, above=True, high=1)
    """Peak learning rate of the query weights (of their logarithm); None keeps the IDF table as it is."""
    mixing: Mixing | None = None
    """None: every record once in an epoch, whatever its source."""
    task: Literal["ranking"] = "ranking"

    def problems(self) -> list[str]:
        found = []
        if not self.contrastive and self.distillation is None:
            found.append("contrastive: 0 without distillation leaves nothing to learn from")
        if self.pool == "hard" and not self.negatives:
            found.append("pool: hard leaves no negatives without negatives")
        if self.distillation is not None and self.distillation.over == "own" and not self.negatives:
            found.append("distillation.over: own leaves one candidate without negatives")
        if self.loss is not None and not self.contrastive:
            found.append("loss: contrastive is 0, so it would do nothing")
        return found


@dataclass(frozen=True, kw_only=True)
class DfFlops:
    """DF-FLOPS: terms of many documents are pressed harder (arXiv 2505.15070)."""

    half: float = setting(low=0, above=True, high=0.99)
    """a: the share of documents at which a term's penalty is half its full one."""
    steepness: float = setting(low=0, above=True)
    """b: how sharply the penalty rises around it."""


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """What is not a useful model any more, and what to do about it."""

    empty: float = setting(low=0, above=True, high=1)
    """Share of all-zero documents above which the model is called collapsed."""
    nonzeros: float = setting(low=1)
    """Mean non-zeros per document, once lambda is at its full value, above which it is called dense."""
    action: Literal["stop", "back_off", "warn"]
    """stop with a checkpoint; halve (collapsed) or double (dense) lambda; or only say so."""


@dataclass(frozen=True, kw_only=True)
class SparsityConfig:
    """FLOPS regularisation of the ranking stage: lambda(t) = weight * (floor + (1 - floor) * min(1, t / warm-up)^2)."""

    weight: float = setting(low=0)
    """lambda."""
    warmup: float = setting(low=0, high=1)
    """Share of the ranking steps over which lambda rises quadratically."""
    columns: int = setting(low=0)
    """Vocabulary columns drawn per step for an unbiased estimate of FLOPS; 0 takes all."""
    floor: float = setting(0.0, low=0, high=1)
    """Share of lambda that is there from the first step."""
    threshold: int | None = setting(None, low=0)
    """With it, only documents with more non-zeros than this count (l0 mask); needs columns 0."""
    grouped: bool = False
    """FLOPS within the languages' positives and each place of hard negatives, summed, instead of over all documents."""
    idf_weighted: bool = False
    """Weights times IDF inside FLOPS: a variant of the l0 mask."""
    df: DfFlops | None = None
    idf_penalty: float = setting(0.0, low=0)
    """Weight, relative to lambda, of an L1 divided by each token's IDF."""
    target_nonzeros: int | None = setting(None, low=1)
    """Mean non-zeros per training document that lambda is steered to; ``weight`` is then where it starts."""
    alarms: Alarms | None = None

    def problems(self) -> list[str]:
        found = []
        if self.threshold is not None and self.columns:
            found.append("threshold: non-zeros are only known with columns: 0")
        if self.df is not None and self.idf_weighted:
            found.append("df and idf_weighted: both weigh the terms of FLOPS; choose one")
        if self.target_nonzeros is not None and not self.weight:
            found.append("target_nonzeros: lambda cannot be steered from weight 0")
        return found


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    every: int = setting(low=1)
    """Ranking steps between two measurements; the end of training is always measured."""
    documents: int = setting(low=0)
    """Training documents per language added to the validation documents as distractors."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How steps are computed and kept."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the transformer body while training; its parameters, scores and losses stay fp32. fp16 needs a GPU."""
    micro_batch: int | None = setting(None, low=1)
    """Documents whose activations are held at a time, in each process; None: all of a step's. Gradients stay those of
    the whole batch, up to rounding: by gradient caching in ranking stages, by accumulation in masked-LM stages."""
    gradient_checkpointing: bool = False
    """Keep one activation per layer and compute the others again: about a third more time for a fraction of memory."""
    compile: bool = False
    """torch.compile the transformer body; needs a C++ compiler (CPU) or Triton (GPU)."""
    checkpoints_keep: int = setting(1, low=1, high=1000)
    """Newest checkpoints kept while a run lasts."""
    tensorboard: bool = False
    """Also write the metrics as TensorBoard events, to OUTPUT.run/tensorboard."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Paths are relative to the working directory."""

    seed: int = setting(low=0)
    """Equal seeds give equal weights."""
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
    loop: LoopConfig = LoopConfig()
    threads: int | None = setting(None, low=1, high=1024)
    """CPU threads; equal weights from equal seeds are promised for an equal number. None: as the machine says."""

    def problems(self) -> list[str]:
        found = []
        tasks = [stage.task for stage in self.stages]
        if not tasks:
            found.append("stages: none; at least one is wanted")
        if "warm_start" in tasks[1:]:
            found.append("stages: warm_start must come first, it replaces the embeddings")
        for key in ("start", "factory"):
            if "warm_start" in tasks and getattr(self.encoder, key) is not None:
                found.append(f"stages: warm_start is for a new BERT, and encoder.{key} is given")
        longest = max((s.max_length for s in self.stages if not isinstance(s, WarmStart)), default=0)
        if longest > self.head.max_length:
            found.append(f"stages: max_length {longest} is above head.max_length {self.head.max_length}")
        return found
