"""OpenSearch versions and what each runs: the one table that packaging and verification look things up in.

Read in the servers' release tags (build files of ml-commons and neural-search) and checked on real runtimes: DJL with
libtorch 1.13.1 and 2.5.1, ONNX Runtime 1.16.3, tokenizers 0.19.1 and 0.20.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osparse.errors import InputError

MAX_IR = 9
"""ONNX IR that ONNX Runtime 1.16.3, which every version runs, still reads."""
MAX_OPSET = 19
"""Opset that it knows in full."""
NEWEST = "3.x"
"""The target asked for by default: every 3 in the table."""


@dataclass(frozen=True)
class Target:
    """One OpenSearch version as a bundle meets it."""

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

    @property
    def runtime(self) -> tuple[str, str, str]:
        """Versions with the same are proved in one go."""
        return (self.libtorch, self.onnxruntime, self.tokenizers)


_VERSIONS = ("2.15", "2.16", "2.17", "2.18", "2.19", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8")


def _target(version: str) -> Target:
    number = tuple(map(int, version.split(".")))
    return Target(
        version=version,
        djl="0.31.1" if number >= (2, 19) else "0.28.0",
        libtorch="2.5.1" if number >= (3, 0) else "1.13.1",
        onnxruntime="1.16.3",
        tokenizers="0.20.3" if number >= (2, 19) else "0.19.1",
        field_types=("rank_features", "sparse_vector") if number >= (3, 3) else ("rank_features",),
        analyzers=("bert-uncased", "mbert-uncased") if number >= (3, 1) else (),
    )


TARGETS: dict[str, Target] = {version: _target(version) for version in _VERSIONS}
"""Version -> what it runs, oldest first."""


def select(wanted: str | Sequence[str]) -> tuple[Target, ...]:
    """The targets of ``3.x``, ``2.19`` and so on, oldest first; raises :class:`InputError` for a version not known."""
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    found: list[str] = []
    for name in names:
        these = [v for v in TARGETS if v == name or (name.endswith(".x") and v.startswith(name[:-1]))]
        if not these:
            raise InputError(f"--target {name}: not known; choose from 2.x, 3.x, {', '.join(TARGETS)}")
        found += these
    if not found:
        raise InputError(f"--target: none given; choose from 2.x, 3.x, {', '.join(TARGETS)}")
    return tuple(TARGETS[version] for version in TARGETS if version in found)


def by_runtime(targets: Iterable[Target]) -> list[tuple[Target, ...]]:
    """Targets in groups that run the same libtorch, ONNX Runtime and tokenizers."""
    groups: dict[tuple[str, str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault(target.runtime, []).append(target)
    return [tuple(group) for group in groups.values()]


def span(targets: Sequence[Target]) -> str:
    """``3.0-3.8`` for the targets 3.0 to 3.8."""
    first, last = targets[0].version, targets[-1].version
    return first if first == last else f"{first}-{last}"
