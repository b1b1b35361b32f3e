"""Where a sparse masked-LM folder of somebody else keeps its parts, and what it says about its head.

Two layouts: a plain Hugging Face folder (OpenSearch's doc-v1/v2/v3, SPLADE), and sentence-transformers' SparseEncoder
(modules.json: a transformer and a SpladePooling, alone or as the document side of a Router whose query side is a
SparseStaticEmbedding). Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from osparse.encoding import Activation
from osparse.errors import ModelError
from osparse.files import read_json

ACTIVATIONS: dict[str, Activation] = {"relu": "log1p_relu", "log1p_relu": "log1p_log1p_relu"}
"""SpladePooling's ``activation_function``, which it takes log1p of, -> ours, which names the whole."""
TRANSFORMERS = ("Transformer", "MLMTransformer")


@dataclass(frozen=True)
class Layout:
    """The parts of a folder."""

    kind: str
    """hugging-face or sentence-transformers."""
    root: Path
    transformer: Path
    """Folder of config.json, the weights and tokenizer.json."""
    activation: Activation | None = None
    """As the folder says; None if it says nothing."""
    max_length: int | None = None
    static: Path | None = None
    """Folder of a SparseStaticEmbedding, whose weights a query's tokens have."""

    @property
    def idf(self) -> Path | None:
        """idf.json, if there is one."""
        for folder in (self.root, self.transformer, *([self.static] if self.static else [])):
            if (folder / "idf.json").is_file():
                return folder / "idf.json"
        return None


def read_layout(root: Path) -> Layout:
    """Find the parts; raises :class:`ModelError` for a folder that is no sparse masked-LM."""
    if (root / "modules.json").is_file():
        return _sentence_transformers(root)
    if not (root / "config.json").is_file():
        raise ModelError(
            f"{root} is not a model: it has neither config.json (a Hugging Face folder) nor modules.json "
            "(sentence-transformers); make a model with: osparse train"
        )
    return Layout("hugging-face", root, root, max_length=_max_length(root))


def _sentence_transformers(root: Path) -> Layout:
    modules = _modules(root)
    static = None
    if [kind for kind, _ in modules] == ["Router"]:
        static, modules = _router(root, root / modules[0][1])
    kinds = [kind for kind, _ in modules]
    if len(kinds) != 2 or kinds[0] not in TRANSFORMERS or kinds[1] != "SpladePooling":
        raise ModelError(
            f"{root}/modules.json: the document side is {' -> '.join(kinds) or 'empty'}; osparse packages a "
            "transformer followed by SpladePooling, which is a SparseEncoder with a masked-LM head"
        )
    transformer, pooling = (_inside(root, path) for _, path in modules)
    activation = _activation(pooling / "config.json")
    return Layout("sentence-transformers", root, transformer, activation, _max_length(transformer), static)


def _modules(root: Path) -> list[tuple[str, str]]:
    """(class name, path) of each module, in order."""
    path = root / "modules.json"
    raw = read_json(path, ModelError)
    try:
        rows = sorted(raw, key=lambda row: int(row["idx"]))
        return [(str(row["type"]).rpartition(".")[2], str(row["path"])) for row in rows]
    except (TypeError, KeyError, ValueError) as problem:
        raise ModelError(
            f"{path} is not sentence-transformers' list of modules: {problem!r}; save the model again"
        ) from None


def _router(root: Path, folder: Path) -> tuple[Path | None, list[tuple[str, str]]]:
    """The query side's SparseStaticEmbedding folder, and the document side's modules."""
    path = folder / "router_config.json"
    raw = read_json(path, ModelError)
    try:
        kinds: Mapping[str, str] = {name: str(kind).rpartition(".")[2] for name, kind in raw["types"].items()}
        query, document = list(raw["structure"]["query"]), list(raw["structure"]["document"])
        static = [name for name in query if kinds[name] == "SparseStaticEmbedding"]
        modules = [(kinds[name], str(PurePosixPath(folder.relative_to(root).as_posix()) / name)) for name in document]
    except (AttributeError, TypeError, KeyError) as problem:
        raise ModelError(f"{path} has no query and document side: {problem!r}; save the model again") from None
    if query != static or len(static) != 1:
        raise ModelError(
            f"{path}: the query side is {' -> '.join(kinds[name] for name in query)}; osparse packages one "
            "SparseStaticEmbedding there, since a query has no model call"
        )
    return _inside(root, str(folder.relative_to(root) / static[0])), modules


def _activation(path: Path) -> Activation:
    raw = read_json(path, ModelError)
    pooling, activation = (raw.get("pooling_strategy", "max"), raw.get("activation_function", "relu"))
    if pooling != "max" or activation not in ACTIVATIONS:
        raise ModelError(
            f"{path}: pooling {pooling!r} with activation {activation!r}; osparse packages max pooling with "
            f"{' or '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]


def _max_length(folder: Path) -> int | None:
    """Ids per text that the folder was trained with; None if it does not say (transformers writes 1e30 for that)."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        raw: Any = read_json(folder / name, ModelError) if (folder / name).is_file() else {}
        found = raw.get(key) if isinstance(raw, dict) else None
        if isinstance(found, (int, float)) and not isinstance(found, bool) and 2 <= found < 1_000_000:
            return int(found)
    return None


def _inside(root: Path, path: str) -> Path:
    folder = (root / path).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise ModelError(f"{root}: the module path {path!r} leads out of the folder; save the model again")
    return root / path
