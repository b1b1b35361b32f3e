"""The stages of a run: a part of the YAML's schema, see osparse.trainer.config.run_config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.io.settings import setting


def settled(value: float | str) -> float:
    """The number of a setting that may be ``auto``, once :mod:`osparse.trainer.loop.auto_settings` has settled it."""
    if isinstance(value, str):
        raise TypeError(f"{value!r} was not settled")
    return value


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

    exponent: float | Literal["auto"] = setting(1.0, low=0, high=1)
    """1: all records; 0: as many of each source as of the smallest. auto: the one at which about 40 % of the records
    dealt have texts in two languages."""
    caps: tuple[SourceCap, ...] = ()

    def problems(self) -> list[str]:
        names = [cap.source for cap in self.caps]
        return [f"caps: {name} is given twice" for name in sorted({n for n in names if names.count(n) > 1})]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What every stage that trains has."""

    steps: int | Literal["auto"] = setting(low=1)
    """auto: by passes over the records, within the configuration's ``budget``."""
    batch: int = setting(low=1)
    """Records per step; each gives a document per language."""
    lr: float = setting(low=0, above=True, high=1)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float = setting(low=0, high=1)
    """Share of the steps over which the learning rate rises."""
    max_length: int = setting(low=4, high=SERVER_MAX_TOKENS)
    """Ids per document in this stage; longer documents give a random window."""

    @property
    def step_count(self) -> int:
        """The number of steps, once it is settled."""
        return int(settled(self.steps))


@dataclass(frozen=True, kw_only=True)
class MaskedLm(Steps):
    """Masked-LM whose labels are partly the translations aligned with a token."""

    masked: float = setting(low=0, high=1)
    """Share of tokens replaced by [MASK], whose label is the token."""
    translated: float = setting(low=0, high=1)
    """Share of tokens, left as they are, whose label is a translation: a token of the record's text in the other
    language, or, where it has none, a likely one of a token whose likely ones sum to .3."""
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

    kind: Literal["dataset", "sparse", "dense", "bm25", "labels"]
    """dataset: scores that lie in the dataset. sparse: a model directory of osparse. dense: a Hugging Face or
    sentence-transformers bi-encoder folder. bm25: over the training documents' tokens. labels: the relevant documents
    first, the others as bm25 orders them; across languages these are equal."""
    path: Path | None = None
    """Folder of a sparse or dense teacher."""
    scorer: str | None = None
    """Whose scores of the dataset; None: its one teacher's. A retriever scored only what it found: name it."""

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
    force_teacher: bool = False
    """Train on a teacher that ranks near chance too; it is refused otherwise."""

    def problems(self) -> list[str]:
        problems = []
        if not self.teachers:
            problems.append("teachers: there are none; at least one is required")
        if len(self.teachers) > 1 and self.scale is None:
            problems.append("scale: several teachers score on different scales; give S (10 and 30 are published)")
        if self.loss != "kl" and self.temperature != 1.0:
            problems.append(f"temperature: {self.loss} has none; leave it out")
        return problems


@dataclass(frozen=True, kw_only=True)
class QueryFeedback:
    """What the first hits join to each judged query, by the formula of a search with feedback."""

    documents: int = setting(3, low=1, high=100)
    """The first so many hits among the training documents in the language of the query's answer."""
    tokens: int = setting(16, low=1)
    """At most so many tokens join, the heaviest."""
    share: float = setting(0.2, low=0, above=True, high=4)
    """Sum of the weights that join, as a share of the sum of the query's own."""
    refresh: int = setting(low=1)
    """Steps after which the training documents are encoded and searched again."""


@dataclass(frozen=True, kw_only=True)
class Matryoshka:
    """Ranking losses also of documents cut to several numbers of non-zeros: one training, any budget."""

    budgets: tuple[int, ...]
    """Numbers of non-zeros, ascending: so many of a document's weights are kept, the largest of what is served."""
    weight: float = setting(1.0, low=0)
    """Of the mean of the budgets' ranking losses, beside those of whole documents."""
    self_distillation: float = setting(0.0, low=0)
    """Of the mean of the budgets' KL divergence from the scores of whole documents."""

    def problems(self) -> list[str]:
        problems = []
        if not self.budgets:
            problems.append("budgets: there are none; at least one is required")
        small = [budget for budget in self.budgets if budget < 1]
        if small:
            problems.append(f"budgets: must be at least 1, got {', '.join(map(str, small))}")
        if list(self.budgets) != sorted(set(self.budgets)):
            problems.append(f"budgets: must ascend without repetition, got {list(self.budgets)}")
        if not self.weight and not self.self_distillation:
            problems.append("weight, self_distillation: both 0, so the budgets would do nothing")
        return problems


@dataclass(frozen=True, kw_only=True)
class Ranking(Steps):
    """Contrastive and distillation losses, queries looked up in the IDF table; FLOPS for sparsity."""

    batch: int = setting(low=2)
    """Records per step; each gives a document per language, and all its queries."""
    temperature: float = setting(low=0, above=True)
    """Of InfoNCE: divides IDF-weighted dot products."""
    spans: int = setting(low=0, high=64)
    """Extra queries per document: spans of 3 to 12 tokens of the other language's document."""
    translated_queries: int | Literal["auto"] = setting(0, low=0, high=64)
    """Extra queries per judged query and other language, where a record has documents in one: the query's tokens'
    likely translations, drawn anew each step. They weigh as spans do. auto: 1 where training records have texts in two
    languages, else 0."""
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
    feedback: QueryFeedback | None = None
    """Judged queries as a search with feedback asks them; None: their own tokens alone."""
    matryoshka: Matryoshka | None = None
    idf_lr: float | None = setting(None, low=0, above=True, high=1)
    """Peak learning rate of the query weights (of their logarithm); None keeps the IDF table as it is."""
    mixing: Mixing | None = None
    """None: every record once in an epoch, whatever its source."""
    task: Literal["ranking"] = "ranking"

    def problems(self) -> list[str]:
        problems = []
        if self.translated_queries and not self.span_weight:
            problems.append("translated_queries: span_weight is 0, so they would count nothing")
        if not self.contrastive and self.distillation is None:
            problems.append("contrastive: 0 without distillation leaves nothing to learn from")
        if self.pool == "hard" and not self.negatives:
            problems.append("pool: hard leaves no negatives without negatives")
        if self.distillation is not None and self.distillation.over == "own" and not self.negatives:
            problems.append("distillation.over: own leaves one candidate without negatives")
        if self.feedback is not None and self.distillation is None:
            problems.append(
                "feedback: there is no order to learn; give distillation with a teacher, of kind labels where the "
                "dataset has no scores"
            )
        if self.loss is not None and not self.contrastive:
            problems.append("loss: contrastive is 0, so it would do nothing")
        return problems
