"""Anything that can be packaged, opened as an osparse.contracts.model.Model: a model directory, a folder, a hub id."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from osparse.contracts.model import Model
from osparse.errors import InputError, ModelError
from osparse.formula.head import ACTIVATIONS, SERVER_MAX_TOKENS, Activation, Head
from osparse.formula.lexicon import Lexicon, read_vocabulary, vocabulary_of
from osparse.io.files import fingerprint, read_json, read_text, sha256_file
from osparse.masked_lm.quiet import quiet_transformers
from osparse.masked_lm.weight_files import weight_files
from osparse.packager.checkpoint import hub
from osparse.packager.checkpoint.layouts import Layout, read_layout
from osparse.packager.checkpoint.query_weights import read_query_weights
from osparse.packager.checkpoint.reweighted import reweighted
from osparse.packager.checkpoint.saved_settings import SettingsReader
from osparse.packager.checkpoint.saved_settings_table import SETTINGS
from osparse.packager.tokenizer.document_prompts import with_document_prompt
from osparse.packager.tokenizer.library import LibraryTokenizer, read_library_tokenizer

log = logging.getLogger("osparse.packager.checkpoint.checkpoints")


@dataclass(frozen=True)
class ForeignCheckpoint(Model):
    """A sparse masked-LM folder that osparse did not write; ``path`` is where its transformer lies."""

    layout: Layout = field(kw_only=True)
    name: str = field(kw_only=True)
    """The folder's, or the whole hub id."""
    table: Lexicon = field(kw_only=True)
    rows: int = field(kw_only=True)
    """Vocabulary size of config.json."""
    tokenizer: str = field(kw_only=True)
    """tokenizer.json of documents, as the folder's library builds it, with the document prompt."""
    query_tokenizer: str = field(kw_only=True)
    """tokenizer.json of queries."""
    query_length: int = field(kw_only=True)
    """Ids per query, special ones included, in [2, 512]."""
    ignored: tuple[str, ...] = field(kw_only=True, default=())
    """Settings of the folder that were left unread because the caller asked for it."""
    length_given: bool = field(kw_only=True, default=False)
    """Whether the caller chose the ids per document."""

    @cached_property
    def lexicon(self) -> Lexicon:
        return self.table

    @cached_property
    def fingerprint(self) -> str:
        """Names what is served: weights, tokenizers, query weights and head."""
        parts = [self.path / "config.json", *weight_files(self.path)]
        sums: dict[str, str | int] = {path.name: sha256_file(path) for path in parts}
        sums |= {"tokenizer": _sha256(self.tokenizer), "query tokenizer": _sha256(self.query_tokenizer)}
        sums["query length"] = self.query_length
        return fingerprint({"head": self.head.settings(), "query weights": self.table.version, **sums})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_model(
    given: Model | Path | str,
    *,
    idf: Path | None = None,
    activation: str | None = None,
    max_length: int | None = None,
    ignore: Collection[str] = (),
) -> Model:
    """A model directory, a folder of somebody else, or a hub id (``owner/name``, ``owner/name@revision``).

    Args:
        idf: query weights that go before the model's own; of a model directory they must be of its tokenizer.
        activation: of a folder that does not say; ``log1p_relu`` or ``log1p_log1p_relu``.
        max_length: ids per document, in [2, 512], for a folder that does not say or says too many.
        ignore: settings of a folder that are unknown to osparse, and are not to be obeyed.

    Raises:
        ModelError: it is no sparse masked-LM, not whole, or has a setting that cannot be obeyed.
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
        if activation or max_length or ignore:
            raise InputError(
                f"{root} is a model of osparse, which knows its head: leave out `activation`, `max_length` and "
                "`ignore`, or change them in the folder"
            )
        model = Model.open(root)
        return model if idf is None else reweighted(model, idf)
    return _open_checkpoint(root, name, idf, activation, max_length, SettingsReader(SETTINGS, ignore))


def display_name(model: Model) -> str:
    """What the model is called: the folder's name, or the hub's."""
    name = model.name if isinstance(model, ForeignCheckpoint) else model.path.resolve().name
    return name.rpartition("/")[2].partition("@")[0]


def alarms_of(model: Model) -> list[dict[str, Any]]:
    """What the training run found wrong with its outcome: ``name``, ``finding``, ``remedy`` and ``usable`` of each."""
    alarms = model.metrics.get("alarms", ())
    return [{key: alarm.get(key) for key in ("name", "finding", "remedy", "usable")} for alarm in alarms]


def describe(model: Model) -> dict[str, Any]:
    """The manifest's ``source``: what was packaged. A folder is not named: the same model has the same bundle."""
    config = read_json(model.path / "config.json", ModelError)
    card = model.layout.root if isinstance(model, ForeignCheckpoint) else model.path
    return {
        "kind": model.layout.kind if isinstance(model, ForeignCheckpoint) else "osparse",
        "name": model.name if isinstance(model, ForeignCheckpoint) and "/" in model.name else None,
        "architecture": config.get("model_type", "unknown"),
        "licence": _licence(card / "README.md"),
        "query_weights": {k: v for k, v in model.idf.items() if k in ("from", "missing", "missing_count_as", "corpus")},
        **({"alarms": alarms} if (alarms := alarms_of(model)) else {}),
        **({"ignored": list(model.ignored)} if isinstance(model, ForeignCheckpoint) and model.ignored else {}),
    }


def _open_checkpoint(
    root: Path, name: str, idf: Path | None, activation: str | None, max_length: int | None, reader: SettingsReader
) -> ForeignCheckpoint:
    from osparse.masked_lm.architectures import of_folder

    layout = read_layout(root, reader)
    reader.require_all_ignored()
    of_folder(layout.transformer)  # before transformers reads the folder: it registers classes that transformers lacks
    config = read_json(layout.transformer / "config.json", ModelError)
    _rows(layout, config, len(read_vocabulary(layout.transformer / "tokenizer.json")[0]))
    documents = _document_tokenizer(layout)
    tokens, special = vocabulary_of(documents.load())
    queries = _query_tokenizer(layout, documents)
    table, where = read_query_weights(layout, idf, tokens, special)
    rows = _rows(layout, config, len(tokens))
    weight_files(layout.transformer)
    unused = [i for i in range(rows) if i >= len(table.tokens) or not table.tokens[i]]
    head = Head(
        activation=_activation(layout, activation),
        max_length=_max_length(layout, config, documents.max_length, max_length),
        masked_ids=tuple(sorted({*table.special_ids, *unused})),
        top_k=layout.max_active_dims,
    )
    log.info("%s: %s folder, %s, %d ids per document", name, layout.kind, head.activation, head.max_length)
    return ForeignCheckpoint(
        layout.transformer, head, where, layout=layout, name=name, table=table, rows=rows,
        tokenizer=_prompted(layout, documents.content, head.max_length), query_tokenizer=queries.content,
        query_length=_query_length(layout, queries), ignored=tuple(sorted(reader.ignored)),
        length_given=max_length is not None,
    )  # fmt: skip


def _rows(layout: Layout, config: dict[str, Any], tokens: int) -> int:
    """vocab_size of config.json; raises :class:`ModelError` if it is too small for the tokens of the tokenizer."""
    rows = config.get("vocab_size")
    if not isinstance(rows, int) or rows < tokens:
        raise ModelError(
            f"{layout.transformer}: config.json has vocab_size {rows}, tokenizer.json {tokens} tokens; they do not "
            "belong together; fetch the folder again"
        )
    return rows


def _document_tokenizer(layout: Layout) -> LibraryTokenizer:
    arguments = dict(layout.tokenizer_arguments)
    return read_library_tokenizer(layout.transformer, arguments, lower_case=layout.lower_case)


def _query_tokenizer(layout: Layout, documents: LibraryTokenizer) -> LibraryTokenizer:
    """The SparseStaticEmbedding's own tokenizer, else the documents'; raises :class:`ModelError` for other tokens."""
    if layout.static is None:
        return documents
    queries = read_library_tokenizer(layout.static)
    if vocabulary_of(queries.load()) != vocabulary_of(documents.load()):
        raise ModelError(
            f"{layout.static}: its tokenizer has other tokens or special tokens than {layout.transformer}'s; queries "
            "and documents meet by their tokens, so save both sides with one vocabulary"
        )
    return queries


def _query_length(layout: Layout, queries: LibraryTokenizer) -> int:
    """Ids per query: a SparseStaticEmbedding cuts at its tokenizer's length and adds no special tokens, we add them."""
    if layout.static is None or queries.max_length is None:
        return SERVER_MAX_TOKENS
    if queries.max_length < 1:
        raise ModelError(f"{layout.static}: model_max_length is {queries.max_length}, required is at least 1")
    return min(SERVER_MAX_TOKENS, queries.max_length + queries.load().num_special_tokens_to_add(False))


def _prompted(layout: Layout, content: str, max_length: int) -> str:
    """The document tokenizer with the document prompt; raises :class:`ModelError` if no text would fit beside it."""
    if not layout.document_prompt:
        return content
    prompted = with_document_prompt(content, layout.document_prompt, str(layout.root))
    added = Tokenizer.from_str(prompted).num_special_tokens_to_add(False)
    if added >= max_length:
        raise ModelError(
            f"{layout.root}: the document prompt and special tokens have {added} ids, the length of a document is "
            f"{max_length}; set a larger max_seq_length or a shorter prompt"
        )
    return prompted


def _activation(layout: Layout, given: str | None) -> Activation:
    known = {name: name for name in ACTIVATIONS}
    if given is not None and given not in known:
        raise InputError(f"`activation` must be one of {', '.join(ACTIVATIONS)}, got {given}")
    if given is not None and layout.activation not in (None, given):
        raise InputError(f"`activation` is {given}, but {layout.root} says {layout.activation}; leave it out")
    if given is None and layout.activation is None:
        log.warning(
            "%s does not say how its logits become weights: log1p_relu is taken (SPLADE, doc-v1, doc-v2); for an l0 "
            "model such as doc-v3 pass `activation=log1p_log1p_relu`",
            layout.root,
        )
    return layout.activation or (known[given] if given else "log1p_relu")


def _max_length(layout: Layout, config: dict[str, Any], said: int | None, given: int | None) -> int:
    """Ids per document: ``given``, or what the layout or the tokenizer (``said``) says, within the positions."""
    if given is not None and not 2 <= given <= SERVER_MAX_TOKENS:
        raise InputError(f"`max_length` must be 2 to {SERVER_MAX_TOKENS}, which the server reads, got {given}")
    length = layout.max_length or said or SERVER_MAX_TOKENS
    if length < 2:
        raise ModelError(f"{layout.transformer}: model_max_length is {length}, required is at least 2")
    return given or min(length, _positions(layout.transformer, config), SERVER_MAX_TOKENS)


def _positions(folder: Path, config: dict[str, Any]) -> int:
    """Ids that the model has positions for."""
    from transformers import AutoConfig

    from osparse.masked_lm.architectures import find

    try:
        with quiet_transformers():
            read = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as problem:
        first = str(problem).strip().partition("\n")[0]
        raise ModelError(
            f"{folder}/config.json cannot be read by transformers ({first}); save the model again"
        ) from None
    return find(config["model_type"]).positions(read)


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
    licence = front.get("license") if isinstance(front, dict) else None
    return str(licence) if licence else None
