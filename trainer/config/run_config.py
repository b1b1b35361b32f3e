"""The schema of a training configuration (YAML). ``osparse configs`` shows commented examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from osparse.formula.head import SERVER_MAX_TOKENS, Activation
from osparse.io.settings import setting
from osparse.trainer.config.stage_config import (
    Distillation,
    MaskedLm,
    Matryoshka,
    Mixing,
    QueryFeedback,
    Ranking,
    SourceCap,
    Teacher,
    WarmStart,
    settled,
)

__all__ = [
    "Alarms",
    "DfFlops",
    "Distillation",
    "EncoderConfig",
    "HeadConfig",
    "LexicalConfig",
    "LoopConfig",
    "MaskedLm",
    "Matryoshka",
    "Mixing",
    "QueryFeedback",
    "Ranking",
    "SourceCap",
    "SparsityConfig",
    "Teacher",
    "TrainConfig",
    "ValidationConfig",
    "WarmStart",
    "budgets",
]


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
                "start, factory or sizes: one is required; give a checkpoint to start from (`start`), a function "
                "(factory), or layers, hidden, heads and feed_forward of a new BERT"
            ]
        return [f"hidden: {self.hidden} is not a multiple of heads {self.heads}"] if self.hidden % self.heads else []


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How logits become weights; see osparse.formula.head.Head."""

    activation: Activation
    max_length: int = setting(low=2, high=SERVER_MAX_TOKENS)
    """Ids per document when encoding, special ones included."""
    top_k: int | None = setting(None, low=1)
    """At most this many non-zeros per document."""
    prune_ratio: float = setting(0.0, low=0, high=0.99)
    """Share of the document's largest weight below which weights are dropped."""
    nonzeros: int | None = setting(None, low=1)
    """Mean non-zeros per document that prune_ratio is set for, anew at each validation, on its documents."""
    keep_own: bool = False
    """A document's own tokens are never dropped, and top_k counts the others alone."""
    own_share: float = setting(1.0, low=0, high=1)
    """Share of the network's weight that a document's own tokens get, beside the lexical table; not in the losses."""
    network_length: int | None = setting(None, low=2)
    """Ids of a document that the network reads, the first ones, where the lexical table is to read more of them."""

    @property
    def network_reads(self) -> int:
        """Ids of a document that the network reads at most."""
        return min(self.max_length, self.network_length or self.max_length)

    def problems(self) -> list[str]:
        if self.nonzeros is not None and self.prune_ratio > 0:
            return ["nonzeros, prune_ratio: the one sets the other; leave one out"]
        if self.nonzeros is not None and self.top_k is not None and self.nonzeros >= self.top_k:
            return [f"nonzeros: top_k {self.top_k} cuts below a mean of {self.nonzeros}; raise top_k or leave it out"]
        if self.keep_own and (self.top_k is None or self.nonzeros is not None or self.prune_ratio):
            return ["keep_own: the other tokens are bounded by top_k alone; set that, not nonzeros or prune_ratio"]
        return []


@dataclass(frozen=True, kw_only=True)
class LexicalConfig:
    """What a document's own tokens give it beside the network; see osparse.encoders.lexical_table."""

    own: float | Literal["auto"] = setting(low=0, high=100)
    """Weight of a token that the document holds, times its saturated frequency. auto: 0.5 (1.25
    where ``head.own_share`` is below 1), or another weight that, after training, is better on the validation split by
    more than a standard error."""
    translated: float | Literal["auto"] = setting(low=0, high=100)
    """Weight of its translations, times their probability and the same frequency; 0 estimates none. auto: 0 where
    no training record has texts in two languages, else 0.7 (more beside an own above 0.5, with its root); with
    ``own: auto`` another may be chosen as ``own`` is."""
    entries: int = setting(12, low=1, high=1000)
    """Translations of a token at most."""
    floor: float = setting(0.05, low=0, above=True, high=1)
    """Probability below which a translation is left out."""
    k1: float = setting(1.2, low=0)
    """BM25's saturation of the frequency."""
    b: float = setting(0.75, low=0, high=1)
    """BM25's normalisation by length."""

    def problems(self) -> list[str]:
        return [] if self.own or self.translated else ["own, translated: both 0, so the table would do nothing"]


@dataclass(frozen=True, kw_only=True)
class DfFlops:
    """DF-FLOPS: terms of many documents are pressed harder (arXiv 2505.15070)."""

    half: float = setting(low=0, above=True, high=0.99)
    """a: the share of documents at which a term's penalty is half its full one."""
    steepness: float = setting(low=0, above=True)
    """b: how sharply the penalty rises around it."""


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """Limits of a useful model, checked in training and once more at its end, and the action in training."""

    empty: float = setting(0.05, low=0, above=True, high=1)
    """Share of all-zero documents above which the model has collapsed."""
    nonzeros: float = setting(2000.0, low=1)
    """Mean non-zeros per document, once lambda has its full value, above which the model is dense."""
    action: Literal["stop", "back_off", "warn"] = "warn"
    """stop with a checkpoint; back_off: halve (collapsed) or double (dense) lambda; warn: only log a warning."""


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
    target_nonzeros: int | Literal["auto"] | None = setting(None, low=1)
    """Mean non-zeros per training document that lambda is steered to; ``weight`` is then where it starts. auto: twice
    ``head.nonzeros``, for what the cut leaves to choose from; none where that is not set."""
    tolerance: float = setting(1.0, low=1, high=100)
    """lambda stays as it is while the non-zeros are between the target divided by this and the target times this."""
    alarms: Alarms | None = Alarms()
    """null: no alarms in training; the end is always checked."""

    def problems(self) -> list[str]:
        problems = []
        if self.threshold is not None and self.columns:
            problems.append("threshold: non-zeros are only known with columns: 0")
        if self.df is not None and self.idf_weighted:
            problems.append("df and idf_weighted: both weigh the terms of FLOPS; choose one")
        if self.target_nonzeros is not None and not self.weight:
            problems.append("target_nonzeros: lambda cannot be steered from weight 0")
        return problems


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    every: int | Literal["auto"] = setting(low=1)
    """Ranking steps between two measurements; the end is always measured. auto: half of the last stage's."""
    documents: int = setting(low=0)
    """Training documents per language added to the validation documents as distractors."""
    trained_on: bool = False
    """Train on the validation split too: for a last model, once all settings are chosen. Figures on it are then not a
    measurement, so the last step is kept and not the best."""

    @property
    def steps_between(self) -> int:
        """The number of ``every``, once it is settled."""
        return int(settled(self.every))


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How steps are computed and checkpointed."""

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
    lexical_table: LexicalConfig | None = None
    """Added when documents are encoded to be measured or served, not in the losses; None: no table, or start's."""
    checkpoint_every: int = setting(low=1)
    """Steps between two checkpoints; the end of a stage and an interruption always write one."""
    loop: LoopConfig = LoopConfig()
    budget: int | None = setting(None, low=1)
    """Document tokens that the stages whose steps are ``auto`` encode at most, in all; None: no limit."""
    threads: int | None = setting(None, low=1, high=1024)
    """CPU threads; equal weights from equal seeds are promised for an equal number. None: as the machine says."""

    def problems(self) -> list[str]:
        problems = []
        tasks = [stage.task for stage in self.stages]
        if not tasks:
            problems.append("stages: there are none; at least one is required")
        if "warm_start" in tasks[1:]:
            problems.append("stages: warm_start must come first, it replaces the embeddings")
        for key in ("start", "factory"):
            if "warm_start" in tasks and getattr(self.encoder, key) is not None:
                problems.append(f"stages: warm_start is for a new BERT, and encoder.{key} is given")
        longest = max((s.max_length for s in self.stages if isinstance(s, MaskedLm | Ranking)), default=0)
        if longest > self.head.network_reads:
            name = "max_length" if longest > self.head.max_length else "network_length"
            problems.append(f"stages: max_length {longest} is above head.{name} {self.head.network_reads}")
        if self.head.own_share < 1 and self.lexical_table is None:
            problems.append("head.own_share: without a lexical_table own tokens only lose by it; set it to 1")
        largest = max(budgets(self), default=0)
        if self.head.top_k is not None and largest > self.head.top_k:
            problems.append(f"stages: matryoshka.budgets {largest} is above head.top_k {self.head.top_k}")
        return problems


def budgets(config: TrainConfig) -> tuple[int, ...]:
    """The numbers of non-zeros that the ranking stages train for, ascending; none where none is named."""
    stages = [stage for stage in config.stages if isinstance(stage, Ranking)]
    named = {budget for stage in stages if stage.matryoshka is not None for budget in stage.matryoshka.budgets}
    return tuple(sorted(named))
