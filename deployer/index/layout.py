"""How an index is laid out and asked: what can be chosen, and where the cluster or the bundle sets limits."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import CHUNKS_FIELD, FIELD, Hybrid, Vector
from osparse.contracts.sparse_field import SparseField
from osparse.deployer.cluster.facts import Choice, Facts
from osparse.deployer.fields.text_rule import variant_of
from osparse.errors import InputError
from osparse.opensearch_versions import SEISMIC_IDS, SINCE, TARGETS, Feature

log = logging.getLogger("osparse.deployer.index.layout")

INTERVAL = r"-1|[1-9]\d*(ms|s|m|h|d)"
"""Refresh intervals that the server takes."""


@dataclass(frozen=True)
class Serving:
    """The choices; the defaults are exact scores, no fusion, no pruning."""

    field: Vector = "rank_features"
    chunk_text: bool = False
    """Encode a text in chunks of the model's length, nested; its best chunk counts."""
    window_weight: float | None = None
    """Encode a long text in overlapping windows, those after the first at this weight in (0, 1]; None cuts it."""
    two_phase: bool = False
    """Let the search pipeline score in two phases: first the heavy tokens, then the rest for the best documents."""
    hybrid: Hybrid = "none"
    """Make a second search pipeline that fuses BM25 and sparse scores: by normalised scores, or by ranks (RRF)."""
    prune_ratio: float | None = None
    """Drop a document's weights below this share of its largest, in [0, 1)."""
    nonzeros: int | None = None
    """Keep so many weights of a document, the largest, at least 1; of each piece or window of a long text's vector."""
    skip_existing: bool = False
    """Do not encode a text again that the stored document has already."""
    ingest_batch: int = 1
    """Documents of one bulk request handed to a remote model together, at least 1."""
    text_template: str | None = None
    """How the text is made of other fields (:class:`osparse.rows.text_template.TextTemplate`); None: rows bring it."""
    boost: float = 1.0
    """Of the first sparse field, where further ones are searched with it; 0: it is searched only where it is named."""
    sparse_fields: tuple[SparseField, ...] = ()
    """Further sparse fields; :func:`osparse.deployer.deploy` reads them from its own argument."""
    shards: int | None = None
    """Primary shards of a new index, at least 1; None makes one."""
    replicas: int | None = None
    """Copies of each shard, at least 0; None lets the cluster keep one where it has a second node."""
    refresh_interval: str | None = None
    """How soon what is written can be found, as the server writes it ("5s", "1m", "-1" for never); None leaves it."""
    seismic_threshold: int | None = None
    """Documents of a segment, at least 1, from which on a ``sparse_vector`` field is searched approximately; None takes
    that of the index that is replaced, or the server's 1,000,000."""

    @property
    def vector_field(self) -> str:
        """The path a query names."""
        if self.field == "semantic":
            return "text_semantic_info.embedding"
        return f"{CHUNKS_FIELD}.sparse_encoding" if self.chunk_text else FIELD

    @property
    def prune(self) -> str | None:
        """The rule of :func:`osparse.formula.pruning.prune_by`."""
        if self.nonzeros is not None:
            return f"top_k {self.nonzeros}"
        return None if self.prune_ratio is None else f"max_ratio {self.prune_ratio:g}"

    @property
    def ingest_variant(self) -> str:
        """Names the pipeline: indices of one bundle that are laid out differently have their own."""
        parts = [
            "chunks" if self.chunk_text else "",
            f"prune{self.prune_ratio:g}" if self.prune_ratio is not None else "",
            f"top{self.nonzeros}" if self.nonzeros is not None else "",
            "skip" if self.skip_existing else "",
            f"batch{self.ingest_batch}" if self.ingest_batch > 1 else "",
        ]
        return "".join(f"-{part}" for part in parts if part) + variant_of(self.text_template) + self._fields_variant

    @property
    def search_variant(self) -> str:
        """Names the search pipeline, for the same reason."""
        own = {"semantic": "-semantic"}.get(self.field, "-chunks" if self.chunk_text else "")
        return own + ("-2p" if self.two_phase else "") + self._fields_variant

    @property
    def _fields_variant(self) -> str:
        said = "\n".join(field.layout for field in self.sparse_fields)
        return f"-fields{hashlib.sha256(said.encode()).hexdigest()[:8]}" if said else ""


def check_serving(serving: Serving, facts: Facts, choice: Choice, bundle: Bundle) -> None:
    """Raises :class:`InputError` naming every choice that this cluster, mode or bundle cannot have."""
    problems = [
        *_not_proved(facts, choice, bundle),
        *_impossible(serving, bundle),
        *_too_old(serving, facts, choice),
        *_of_the_other_mode(serving, facts, choice),
        *_of_several_fields(serving, choice),
    ]
    if problems:
        raise InputError("; ".join(problems))


def _not_proved(facts: Facts, choice: Choice, bundle: Bundle) -> list[str]:
    """Of a known version with other libraries than any the bundle was checked for; warns of an unknown version."""
    version = ".".join(facts.version.split(".")[:2])
    proved_runtimes = {TARGETS[target].runtime for target in bundle.targets if target in TARGETS}
    if choice.mode == "client" or not bundle.targets or version in bundle.targets:
        return []
    if version in TARGETS and TARGETS[version].runtime in proved_runtimes:
        return []
    proved = f"bundle {bundle.name} is proved for OpenSearch {', '.join(bundle.targets)}"
    if version in TARGETS:
        return [
            f"{proved}, and this is {facts.version}; package it for this one (osparse package --target "
            f"{version}), or use `mode=client`"
        ]
    log.warning("%s; what %s runs is not known: the models' answers will show", proved, facts.version)
    return []


def _impossible(serving: Serving, bundle: Bundle) -> list[str]:
    problems = []
    if serving.prune_ratio is not None and not 0 <= serving.prune_ratio < 1:
        problems.append(f"`prune_ratio` must be in [0, 1), got {serving.prune_ratio:g}")
    problems += _fewer_nonzeros(serving)
    if serving.window_weight is not None and not 0 < serving.window_weight <= 1:
        problems.append(f"`window_weight` must be above 0 and at most 1, got {serving.window_weight:g}")
    if serving.window_weight is not None and serving.chunk_text:
        problems.append("`window_weight` and `chunk_text` exclude each other: one vector, or one of each piece")
    if serving.ingest_batch < 1:
        problems.append(f"`ingest_batch` must be at least 1, got {serving.ingest_batch}")
    if serving.shards is not None and serving.shards < 1:
        problems.append(f"`shards` must be at least 1, got {serving.shards}")
    if serving.replicas is not None and serving.replicas < 0:
        problems.append(f"`replicas` must be at least 0, got {serving.replicas}")
    if serving.seismic_threshold is not None and serving.seismic_threshold < 1:
        problems.append(f"`seismic_threshold` must be at least 1, got {serving.seismic_threshold}")
    if serving.seismic_threshold is not None and serving.field != "sparse_vector":
        problems.append(f"`seismic_threshold` goes with `field=sparse_vector`, not with `field={serving.field}`")
    if serving.refresh_interval is not None and not re.fullmatch(INTERVAL, serving.refresh_interval):
        problems.append(f"`refresh_interval` must be a time such as 5s or 1m, or -1, got {serving.refresh_interval!r}")
    if serving.field == "sparse_vector" and bundle.vocabulary > SEISMIC_IDS:
        problems.append(
            f"`field=sparse_vector` holds token ids below {SEISMIC_IDS:,}, and this bundle has "
            f"{bundle.vocabulary:,} tokens (a higher id costs the index its shard up to 3.8, and shares its slot with "
            "another token from 3.9 on); use `field=rank_features`, or trim the vocabulary for your corpus: osparse "
            f"package MODEL --vocabulary {SEISMIC_IDS} --dataset DATASET --output BUNDLE"
        )
    if serving.field == "sparse_vector" and serving.two_phase:
        problems.append("`two_phase` and `field=sparse_vector` exclude each other: the server refuses such queries")
    if serving.field != "rank_features" and serving.chunk_text:
        problems.append(f"`chunk_text` goes with `field=rank_features`, not with `field={serving.field}`")
    if serving.chunk_text and serving.two_phase:
        problems.append("`two_phase` has no effect on the nested queries of `chunk_text`; leave one out")
    if serving.field == "semantic" and (serving.skip_existing or serving.ingest_batch > 1):
        problems.append("`skip_existing` and `ingest_batch` are the ingest pipeline's, and `field=semantic` has none")
    if serving.field == "semantic" and serving.text_template is not None:
        problems.append("`field=semantic` encodes the field text as it is: leave `text_field` and `template` out")
    return problems


def _fewer_nonzeros(serving: Serving) -> list[str]:
    """What ``nonzeros`` cannot be."""
    nonzeros = serving.nonzeros
    if nonzeros is None:
        return []
    if nonzeros < 1:
        return [f"`nonzeros` must be at least 1, got {nonzeros}"]
    if serving.prune_ratio is not None:
        return ["`nonzeros` and `prune_ratio` are two rules of pruning; leave one out"]
    return []


def _of_several_fields(serving: Serving, choice: Choice) -> list[str]:
    """What an index with further sparse fields cannot have."""
    if not serving.sparse_fields:
        return []
    used = {
        f"`field={serving.field}`": serving.field != "rank_features",
        "`chunk_text`": serving.chunk_text,
        "`two_phase`": serving.two_phase,
        "`skip_existing`": serving.skip_existing,
        "`hybrid`": serving.hybrid != "none",
    }
    problems = [f"{name} goes with one sparse field, not with `sparse_fields`" for name, given in used.items() if given]
    others = [field.path for field in serving.sparse_fields if field.bundle is not None]
    if others and choice.mode == "remote":
        problems.append(f"in mode remote one encoder serves all fields: leave the bundle of {', '.join(others)} out")
    return problems


def _too_old(serving: Serving, facts: Facts, choice: Choice) -> list[str]:
    used_features: tuple[tuple[bool, str, Feature], ...] = (
        (serving.two_phase, "`two_phase`", "two_phase"),
        (serving.field == "sparse_vector", "`field=sparse_vector`", "sparse_vector"),
        (serving.field == "semantic", "`field=semantic`", "semantic"),
        (serving.chunk_text and choice.mode != "client", "`chunk_text`", "text_chunking"),
        (serving.hybrid == "normalise", "`hybrid=normalise`", "hybrid"),
        (serving.hybrid == "rrf", "`hybrid=rrf`", "rrf"),
        (serving.prune_ratio is not None, "`prune_ratio`", "prune"),
        (serving.nonzeros is not None and choice.mode != "client", "`nonzeros`", "prune"),
        (serving.skip_existing, "`skip_existing`", "skip_existing"),
        (serving.ingest_batch > 1, "`ingest_batch`", "ingest_batch"),
    )
    return [
        f"{name} needs OpenSearch {'.'.join(map(str, SINCE[feature]))} or newer, this is {facts.version}; leave it out"
        for used, name, feature in used_features
        if used and not facts.has(feature)
    ]


def _of_the_other_mode(serving: Serving, facts: Facts, choice: Choice) -> list[str]:
    if choice.mode == "remote" and serving.field == "semantic":
        return ["`field=semantic` is for mode ml-commons: it has no pipeline that could guard texts on their way to a "
                "remote encoder; use `field=rank_features`"]  # fmt: skip
    if choice.mode != "client":
        return ["`window_weight` is for mode client: a cluster's encoder cuts"] if serving.window_weight else []
    used = {
        "`two_phase`": serving.two_phase,
        f"`field={serving.field}`": serving.field != "rank_features",
        "`prune_ratio`": serving.prune_ratio is not None,
        "`skip_existing`": serving.skip_existing,
        "`ingest_batch`": serving.ingest_batch > 1,
    }
    named = [name for name, given in used.items() if given]
    problems = []
    if named:
        problems.append(
            f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} for mode ml-commons, and this is mode client "
            f"({choice.why}): osparse encodes, without the cluster's pipelines; leave "
            f"{'it' if len(named) == 1 else 'them'} out"
        )
    if serving.hybrid != "none" and not facts.neural_search:
        problems.append("`hybrid` needs the plugin opensearch-neural-search, which this cluster lacks; leave it out")
    return problems
