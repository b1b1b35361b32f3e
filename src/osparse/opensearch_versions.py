"""OpenSearch versions: what each runs and what each can do. The one table that every package looks these facts up in.

Read in the release tags of ml-commons (``ml-algorithms/build.gradle``, ``DLModel.java``) and neural-search
(``SparseConstants.java``, release notes), from 2.11 to 3.8. Run on the real libraries: DJL with libtorch 1.13.1 and
2.5.1, ONNX Runtime 1.16.3, tokenizers 0.19.1 and 0.20.3. Whole servers that were run: 3.4.0 with both plugins, 3.8.0
without them.

3.9 was read and not run: the main branches that became it, ml-commons 950f056 (version 3.9.0-SNAPSHOT) and
neural-search 936d3c4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from osparse.errors import InputError

Version = tuple[int, int]
"""Major and minor."""
Feature = Literal[
    "sparse_encoding",
    "hybrid",
    "enricher",
    "text_chunking",
    "query_tokens",
    "two_phase",
    "ingest_batch",
    "prune",
    "rrf",
    "skip_existing",
    "analyzers",
    "semantic",
    "sparse_vector",
    "model_id",
]
SINCE: dict[Feature, Version] = {
    "hybrid": (2, 10),  # the normalization-processor
    "sparse_encoding": (2, 11),  # and the neural_sparse query
    "enricher": (2, 13),  # the search pipeline names the tokenizer model
    "text_chunking": (2, 13),
    "query_tokens": (2, 14),  # neural_sparse takes tokens with weights
    "two_phase": (2, 15),
    "ingest_batch": (2, 16),
    "prune": (2, 19),  # prune_type and prune_ratio of the ingest processor
    "rrf": (2, 19),
    "skip_existing": (3, 0),
    "analyzers": (3, 1),  # of neural_sparse: bert-uncased and mbert-uncased
    "semantic": (3, 2),  # the field type is of 3.1, its sparse settings of 3.2
    "sparse_vector": (3, 3),  # SEISMIC
    "model_id": (3, 9),  # chosen by whoever registers the model (ml-commons#4974)
}
"""Feature -> the first version that has it."""
ANALYZERS = ("bert-uncased", "mbert-uncased")
"""Analyzers built into neural-search that give a query its weights without a model."""

SEISMIC_IDS = 32_768
"""Token ids from 0 to this less one stay apart in a sparse_vector field on every version, since its ids are shorts.

Up to 3.8 ids are folded by 65,536, and an index with an id from 32,768 to 65,535 loses its shard (neural-search#1925).
From 3.9 on they are folded by 32,768 (neural-search#1926): no shard is lost, and tokens share a slot.
"""
_FOLDS: tuple[tuple[Version, int], ...] = ((SINCE["sparse_vector"], 65_536), ((3, 9), SEISMIC_IDS))
"""From this version on -> the modulus of SEISMIC's token ids."""

MAX_IR = 9
"""ONNX IR that ONNX Runtime 1.16.3, which every version in ``TARGETS`` runs, still reads."""
MAX_OPSET = 19
"""Opset that it knows in full."""
NEWEST = "3.x"
"""The target asked for by default: every 3 in the table."""


@dataclass(frozen=True)
class ServerRuntime:
    """The libraries in which ML Commons runs a model."""

    since: Version
    djl: str
    libtorch: str
    onnxruntime: str
    tokenizers: str
    """Version of the Hugging Face tokenizers crate in that DJL."""


RUNTIMES = (
    ServerRuntime((2, 11), "0.21.0", "1.13.1", "1.14.0", "0.13.2"),
    ServerRuntime((2, 15), "0.28.0", "1.13.1", "1.16.3", "0.19.1"),
    ServerRuntime((2, 19), "0.31.1", "1.13.1", "1.16.3", "0.20.3"),
    ServerRuntime((3, 0), "0.31.1", "2.5.1", "1.16.3", "0.20.3"),
)
"""Oldest first; the last also stands for versions newer than the table."""


def server_runtime(version: Version) -> ServerRuntime:
    """What a version runs; 2.11 is the oldest, and raises :class:`InputError` below it."""
    older = [runtime for runtime in RUNTIMES if runtime.since <= version]
    if not older:
        raise InputError(f"OpenSearch {version[0]}.{version[1]} is older than 2.11, the first with sparse encoding")
    return older[-1]


def seismic_fold(version: Version) -> int | None:
    """The modulus by which a version folds the token ids of a sparse_vector field; None where it has no such field."""
    return next((modulus for since, modulus in reversed(_FOLDS) if since <= version), None)


@dataclass(frozen=True)
class Target:
    """One OpenSearch version that a bundle can be checked for."""

    version: str
    djl: str
    libtorch: str
    onnxruntime: str
    tokenizers: str
    """Version of the Hugging Face tokenizers crate in that DJL."""
    field_types: tuple[str, ...]
    """What a document's weights can be stored in; sparse_vector is SEISMIC."""
    analyzers: tuple[str, ...]
    """Built-in analyzers that give a query its weights without a model."""
    seismic_fold: int | None
    """The modulus of the token ids in a sparse_vector field; None without that field."""

    @property
    def runtime(self) -> tuple[str, str, str]:
        """Versions with the same are proved in one go."""
        return (self.libtorch, self.onnxruntime, self.tokenizers)


_VERSIONS: tuple[Version, ...] = (*((2, minor) for minor in range(15, 20)), *((3, minor) for minor in range(10)))


def _target(version: Version) -> Target:
    runtime, fold = server_runtime(version), seismic_fold(version)
    return Target(
        version=f"{version[0]}.{version[1]}",
        djl=runtime.djl,
        libtorch=runtime.libtorch,
        onnxruntime=runtime.onnxruntime,
        tokenizers=runtime.tokenizers,
        field_types=("rank_features",) if fold is None else ("rank_features", "sparse_vector"),
        analyzers=ANALYZERS if version >= SINCE["analyzers"] else (),
        seismic_fold=fold,
    )


TARGETS: dict[str, Target] = {target.version: target for target in map(_target, _VERSIONS)}
"""Version -> what it runs, oldest first."""


def select(asked: str | Sequence[str]) -> tuple[Target, ...]:
    """The targets of ``3.x``, ``2.19`` and so on, oldest first; raises :class:`InputError` for an unknown version."""
    names = [asked] if isinstance(asked, str) else list(asked)
    chosen: set[str] = set()
    for name in names:
        matching = {v for v in TARGETS if v == name or (name.endswith(".x") and v.startswith(name[:-1]))}
        if not matching:
            raise InputError(f"`target={name}` is not a known version; choose from 2.x, 3.x, {', '.join(TARGETS)}")
        chosen |= matching
    if not chosen:
        raise InputError(f"`target` names no version; choose from 2.x, 3.x, {', '.join(TARGETS)}")
    return tuple(TARGETS[version] for version in TARGETS if version in chosen)


def by_runtime(targets: Iterable[Target]) -> list[tuple[Target, ...]]:
    """Targets in groups that run the same libtorch, ONNX Runtime and tokenizers."""
    groups: dict[tuple[str, str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault(target.runtime, []).append(target)
    return [tuple(group) for group in groups.values()]


def span(targets: Sequence[Target]) -> str:
    """``3.0-3.9`` for the targets 3.0 to 3.9."""
    first, last = targets[0].version, targets[-1].version
    return first if first == last else f"{first}-{last}"
