"""Anything that can be packaged, opened as a :class:`~osparse.model.Model`: a model directory, a folder, a hub id."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from osparse.encoding import ACTIVATIONS, SERVER_MAX_TOKENS, Activation, Head
from osparse.errors import InputError, ModelError
from osparse.files import fingerprint, read_json, read_text, sha256_file
from osparse.lexicon import Lexicon
from osparse.model import Model
from osparse.packager import hub
from osparse.packager.layouts import Layout, read_layout
from osparse.packager.query_weights import read_query_weights

log = logging.getLogger("osparse.packager.checkpoints")
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order of preference; a .bin is read as weights only, never as a pickle of anything else."""


@dataclass(frozen=True)
class Checkpoint(Model):
    """A sparse masked-LM folder that osparse did not write; ``path`` is where its transformer lies."""

    layout: Layout = field(kw_only=True)
    name: str = field(kw_only=True)
    """The folder's, or the whole hub id."""
    table: Lexicon = field(kw_only=True)
    rows: int = field(kw_only=True)
    """Vocabulary size of config.json."""

    @cached_property
    def lexicon(self) -> Lexicon:
        return self.table

    @cached_property
    def fingerprint(self) -> str:
        """Names what is served: weights, tokenizer, query weights and head."""
        parts = [self.path / "config.json", self.path / "tokenizer.json", *weight_files(self.path)]
        sums = {path.name: sha256_file(path) for path in parts}
        return fingerprint({"head": asdict(self.head), "query weights": self.table.version, **sums})


def open_model(
    given: Model | Path | str,
    *,
    idf: Path | None = None,
    activation: str | None = None,
    max_length: int | None = None,
) -> Model:
    """A model directory, a folder of somebody else, or a hub id (``owner/name``, ``owner/name@revision``).

    Args:
        idf: query weights that go before the folder's own.
        activation: of a folder that does not say; ``log1p_relu`` or ``log1p_log1p_relu``.
        max_length: ids per document, in [2, 512], for a folder that does not say or says too many.

    Raises:
        ModelError: it is no sparse masked-LM, or not whole.
        InputError: an option that a model directory decides itself.
    """
    if isinstance(given, Model):
        return given
    root, name = hub.local(given)
    if (
        (root / "osparse.json").is_file()
        or not (root / "config.json").is_file()
        and not (root / "modules.json").is_file()
    ):
        if idf or activation or max_length:
            raise InputError(
                f"{root} is a model of osparse, which knows its query weights and head: leave out --idf, --activation "
                "and --max-length, or change them in the folder (osparse idf writes idf.json)"
            )
        return Model.open(root)
    return _open_checkpoint(root, name, idf, activation, max_length)


def display_name(model: Model) -> str:
    """What the model is called: the folder's name, or the hub's."""
    name = model.name if isinstance(model, Checkpoint) else model.path.resolve().name
    return name.rpartition("/")[2].partition("@")[0]


def describe(model: Model) -> dict[str, Any]:
    """The manifest's ``source``: what was packaged. A folder is not named: the same model has the same bundle."""
    config = read_json(model.path / "config.json", ModelError)
    card = model.layout.root if isinstance(model, Checkpoint) else model.path
    return {
        "kind": model.layout.kind if isinstance(model, Checkpoint) else "osparse",
        "name": model.name if isinstance(model, Checkpoint) and "/" in model.name else None,
        "architecture": config.get("model_type", "unknown"),
        "licence": _licence(card / "README.md"),
        "query_weights": {k: v for k, v in model.idf.items() if k in ("from", "missing", "missing_count_as", "corpus")},
    }


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; raises :class:`ModelError` if there is none or a part is missing."""
    for name in WEIGHTS:
        path = folder / name
        if path.is_file() and name.endswith(".index.json"):
            raw = read_json(path, ModelError)
            names = sorted(set(raw.get("weight_map", {}).values())) if isinstance(raw, dict) else []
            parts = [folder / part for part in names]
            missing = [part.name for part in parts if not part.is_file()]
            if missing or not parts:
                raise ModelError(
                    f"{path} names {len(missing)} files that are not there, like {missing[:1]}; fetch them"
                )
            return [path, *parts]
        if path.is_file():
            return [path]
    raise ModelError(f"{folder} has no weights: one of {', '.join(WEIGHTS)} is needed; fetch the folder again")


def _open_checkpoint(
    root: Path, name: str, idf: Path | None, activation: str | None, max_length: int | None
) -> Checkpoint:
    layout = read_layout(root)
    config = read_json(layout.transformer / "config.json", ModelError)
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{layout.transformer}/config.json names no model_type; it is no transformers checkpoint")
    table, where = read_query_weights(layout, idf)
    rows = config.get("vocab_size")
    if not isinstance(rows, int) or rows < len(table.tokens):
        raise ModelError(
            f"{layout.transformer}: config.json has vocab_size {rows}, tokenizer.json {len(table.tokens)} tokens; "
            "they do not belong together; fetch the folder again"
        )
    weight_files(layout.transformer)
    unused = [i for i in range(rows) if i >= len(table.tokens) or not table.tokens[i]]
    head = Head(
        activation=_activation(layout, activation),
        max_length=_max_length(layout, config, max_length),
        masked_ids=tuple(sorted({*table.special_ids, *unused})),
    )
    log.info("%s: %s folder, %s, %d ids per document", name, layout.kind, head.activation, head.max_length)
    return Checkpoint(layout.transformer, head, where, layout=layout, name=name, table=table, rows=rows)


def _activation(layout: Layout, given: str | None) -> Activation:
    known = {name: name for name in ACTIVATIONS}
    if given is not None and given not in known:
        raise InputError(f"--activation {given}: choose from {', '.join(ACTIVATIONS)}")
    if given is not None and layout.activation not in (None, given):
        raise InputError(f"--activation {given}: {layout.root} says {layout.activation}; leave the option out")
    if given is None and layout.activation is None:
        log.warning(
            "%s does not say how its logits become weights: log1p_relu is taken (SPLADE, doc-v1, doc-v2); for an l0 "
            "model such as doc-v3 pass --activation log1p_log1p_relu",
            layout.root,
        )
    return layout.activation or (known[given] if given else "log1p_relu")


def _max_length(layout: Layout, config: dict[str, Any], given: int | None) -> int:
    if given is not None and not 2 <= given <= SERVER_MAX_TOKENS:
        raise InputError(f"--max-length {given} is not within [2, {SERVER_MAX_TOKENS}], which is what the server reads")
    positions = config.get("max_position_embeddings", SERVER_MAX_TOKENS)
    if config.get("model_type") in ("roberta", "xlm-roberta"):
        positions -= int(config.get("pad_token_id", 1)) + 1
    return given or min(layout.max_length or SERVER_MAX_TOKENS, positions, SERVER_MAX_TOKENS)


def _licence(card: Path) -> str | None:
    """``license`` of a model card's front matter, as the hub writes it."""
    if not card.is_file():
        return None
    import yaml

    text = read_text(card, errors="replace")
    if not text.startswith("---"):
        return None
    try:
        front = yaml.safe_load(text[3:].partition("\n---")[0])
    except yaml.YAMLError:
        return None
    found = front.get("license") if isinstance(front, dict) else None
    return str(found) if found else None
