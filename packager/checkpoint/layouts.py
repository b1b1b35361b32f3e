"""Where a sparse masked-LM folder of somebody else keeps its parts, and what it says about its head.

Two layouts: a plain Hugging Face folder (OpenSearch's doc-v1/v2/v3, SPLADE), and sentence-transformers' SparseEncoder
(modules.json: a transformer and a SpladePooling, alone or as the document side of a Router whose query side is a
SparseStaticEmbedding). Nothing here imports torch.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from osparse.errors import ModelError
from osparse.formula.head import Activation
from osparse.io.files import read_json
from osparse.packager.checkpoint.saved_settings import SettingsReader
from osparse.packager.checkpoint.saved_settings_table import (
    CONFIG,
    MODEL,
    MODULES,
    POOLING,
    REFUSED_FILES,
    ROUTER,
    ROUTER_PARAMETERS,
    SETTINGS,
    STATIC,
    TOKENIZER,
    TRANSFORMER,
    TRANSFORMER_NAMES,
)

log = logging.getLogger("osparse.packager.checkpoint.layouts")
ACTIVATIONS: dict[str, Activation] = {"relu": "log1p_relu", "log1p_relu": "log1p_log1p_relu"}
"""SpladePooling's ``activation_function``, which it takes log1p of, -> ours, which names the whole."""
TRANSFORMERS = ("Transformer", "MLMTransformer")
MODULE_PACKAGE = "sentence_transformers."
"""Where a module's class must be; another one is the folder's own code."""
TASKS = ("query", "document")
ROUTED_QUERY_LIMIT = 510
"""Distinct tokens of the longest query that the server reads."""


@dataclass(frozen=True)
class Layout:
    """The parts of a folder, and its settings that are not in the weights."""

    kind: str
    """hugging-face or sentence-transformers."""
    root: Path
    transformer: Path
    """Folder of config.json, the weights and tokenizer.json."""
    activation: Activation | None = None
    """As the folder says; None if it says nothing."""
    max_length: int | None = None
    """Ids per document; None if only the tokenizer says."""
    static: Path | None = None
    """Folder of a SparseStaticEmbedding, whose weights a query's tokens have."""
    lower_case: bool = False
    """Whether documents are lower-cased before the tokenizer's own normalizer."""
    tokenizer_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the document tokenizer's ``AutoTokenizer.from_pretrained``."""
    document_prompt: str = ""
    """Text that goes before each document."""
    max_active_dims: int | None = None
    """Weights of a document that are kept, special tokens included; None keeps all."""
    says_model_type: bool = False
    """Whether sentence-transformers itself opens the folder as a SparseEncoder."""

    @property
    def idf(self) -> Path | None:
        """idf.json, if there is one."""
        for folder in (self.root, self.transformer, *([self.static] if self.static else [])):
            if (folder / "idf.json").is_file():
                return folder / "idf.json"
        return None


def read_layout(root: Path, reader: SettingsReader | None = None) -> Layout:
    """Find the parts, and hold every setting to the table.

    Raises :class:`ModelError` for a folder that is no sparse masked-LM, and for a setting that cannot be obeyed.
    """
    reader = reader or SettingsReader(SETTINGS)
    if (root / "modules.json").is_file():
        layout = _sentence_transformers(root, reader)
    elif (root / "config.json").is_file():
        layout = Layout("hugging-face", root, root)
    else:
        raise ModelError(
            f"{root} is not a model: it has neither config.json (a Hugging Face folder) nor modules.json "
            "(sentence-transformers); make a model with: osparse train"
        )
    reader.read(layout.transformer / CONFIG)
    for folder in (layout.transformer, *([layout.static] if layout.static else [])):
        reader.read(folder / TOKENIZER)
        _refuse_files(folder)
    return layout


def _refuse_files(folder: Path) -> None:
    for name, why in REFUSED_FILES.items():
        if (folder / name).is_file():
            raise ModelError(f"{folder / name} cannot be obeyed: {why} (docs/bundle.md)")


def _sentence_transformers(root: Path, reader: SettingsReader) -> Layout:
    modules = _modules(root, reader)
    static = None
    if [kind for kind, _ in modules] == ["Router"]:
        static, modules = _router(root, root / modules[0][1], reader)
    kinds = [kind for kind, _ in modules]
    if len(kinds) != 2 or kinds[0] not in TRANSFORMERS or kinds[1] != "SpladePooling":
        raise ModelError(
            f"{root}/modules.json: the document side is {' -> '.join(kinds) or 'empty'}; osparse packages a "
            "transformer followed by SpladePooling, which is a SparseEncoder with a masked-LM head"
        )
    transformer, pooling = (_inside(root, path) for _, path in modules)
    settings = _transformer_settings(transformer, kinds[0], reader)
    model = reader.read(root / MODEL)
    if model.get("model_type") is None:
        log.warning("%s/%s names no model_type; it is taken for a SparseEncoder", root, MODEL)
    return Layout(
        "sentence-transformers",
        root,
        transformer,
        ACTIVATIONS[reader.read(pooling / "config.json", POOLING).get("activation_function", "relu")],
        settings.get("document_length") or settings.get("max_seq_length"),
        static,
        settings.get("do_lower_case", False),
        settings.get("processor_kwargs") or settings.get("tokenizer_args") or {},
        _document_prompt(root, model.get("prompts") or {}),
        _max_active_dims(root, model.get("max_active_dims"), static),
        model.get("model_type") is not None,
    )


def _modules(root: Path, reader: SettingsReader) -> list[tuple[str, str]]:
    """(class name, path) of each module, in order."""
    path = root / "modules.json"
    raw = read_json(path, ModelError)
    try:
        rows = [reader.check(row, path, MODULES) for row in raw]
        if [int(row["idx"]) for row in rows] != sorted(int(row["idx"]) for row in rows):
            raise ModelError(f"{path}: idx does not rise, and the library goes by the order of the file; save it again")
        return [(_class_name(path, str(row["type"])), str(row["path"])) for row in rows]
    except (AttributeError, TypeError, KeyError, ValueError) as problem:
        raise ModelError(
            f"{path} is not sentence-transformers' list of modules: {problem!r}; save the model again"
        ) from None


def _class_name(path: Path, kind: str) -> str:
    if not kind.startswith(MODULE_PACKAGE):
        raise ModelError(
            f"{path}: the module {kind} is not sentence-transformers' own but code of the folder, which osparse never "
            "runs; save the model with sentence-transformers' own modules"
        )
    return kind.rpartition(".")[2]


def _transformer_settings(folder: Path, kind: str, reader: SettingsReader) -> dict[str, Any]:
    """What the first file that says anything says, as the library reads it."""
    settings: dict[str, Any] = {}
    for name in TRANSFORMER_NAMES:
        settings = settings or reader.read(folder / name, TRANSFORMER)
    if kind == "Transformer" and "transformer_task" not in settings:
        raise ModelError(
            f"{folder}/{TRANSFORMER}: a Transformer without a transformer_task gives hidden states, required is "
            "fill-mask, which gives the masked-LM logits that are pooled (docs/bundle.md)"
        )
    return settings


def _document_prompt(root: Path, prompts: Mapping[str, str | None]) -> str:
    if prompts.get("query"):
        raise ModelError(
            f"{root}/{MODEL}: prompts: the query prompt {prompts['query']!r} cannot be obeyed, since the cluster "
            "weighs a query's own tokens; take a model without one (docs/bundle.md)"
        )
    unused = sorted(name for name, text in prompts.items() if text and name not in TASKS)
    if unused:
        log.warning("%s/%s: encode_document does not use the prompts %s", root, MODEL, ", ".join(unused))
    return prompts.get("document") or ""


def _max_active_dims(root: Path, limit: int | None, static: Path | None) -> int | None:
    if limit is not None and static is not None and limit < ROUTED_QUERY_LIMIT:
        raise ModelError(
            f"{root}/{MODEL}: max_active_dims is {limit}, which would also cut queries to their {limit} heaviest "
            f"tokens, and the cluster cannot; remove it, or raise it to {ROUTED_QUERY_LIMIT} (docs/bundle.md)"
        )
    return limit


def _router(root: Path, folder: Path, reader: SettingsReader) -> tuple[Path | None, list[tuple[str, str]]]:
    """The query side's SparseStaticEmbedding folder, and the document side's modules."""
    path = folder / "router_config.json"
    raw = reader.read(path if path.is_file() else folder / "config.json", ROUTER)
    try:
        parameters = reader.check(raw.get("parameters") or {}, path, ROUTER_PARAMETERS)
        mappings = {
            ast.literal_eval(key): str(route) for key, route in (parameters.get("route_mappings") or {}).items()
        }
        kinds = {name: _class_name(path, str(kind)) for name, kind in raw["types"].items()}
        query, document = (list(raw["structure"][_route(task, mappings, raw["structure"])]) for task in TASKS)
        static = [name for name in query if kinds[name] == "SparseStaticEmbedding"]
        modules = [(kinds[name], str(PurePosixPath(folder.relative_to(root).as_posix()) / name)) for name in document]
    except (AttributeError, TypeError, KeyError, ValueError, SyntaxError) as problem:
        raise ModelError(f"{path} has no query and document side: {problem!r}; save the model again") from None
    if query != static or len(static) != 1:
        raise ModelError(
            f"{path}: the query side is {' -> '.join(kinds[name] for name in query)}; osparse packages one "
            "SparseStaticEmbedding there, since a query has no model call"
        )
    embedding = _inside(root, str(folder.relative_to(root) / static[0]))
    reader.read(embedding / "config.json", STATIC)
    return embedding, modules


def _route(task: str, mappings: Mapping[Any, str], structure: Mapping[str, Any]) -> str:
    """The name of the route that a text with a task takes, in the order in which the library looks."""
    for key in ((task, "text"), (task, None), (None, "text"), (None, None)):
        if key in mappings:
            return mappings[key]
    return task if task in structure else "text"


def _inside(root: Path, path: str) -> Path:
    folder = (root / path).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise ModelError(f"{root}: the module path {path!r} leads out of the folder; save the model again")
    return root / path
