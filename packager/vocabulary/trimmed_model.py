"""A loaded model with some of its tokens: what is packaged in place of the whole one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from osparse.contracts.model import Model
from osparse.formula.lexicon import Lexicon
from osparse.packager.checkpoint.checkpoints import ForeignCheckpoint
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.checkpoint.model_with_table import ModelWithTable
from osparse.packager.vocabulary.rows import keep_rows
from osparse.packager.vocabulary.subword.tokenizer_file import TokenizerFile


def tokenizer_files(loaded: LoadedModel) -> tuple[TokenizerFile, TokenizerFile]:
    """Those of documents and of queries; raises :class:`InputError` for a model that cannot be trimmed."""
    source = str(loaded.model.path / "tokenizer.json")
    return TokenizerFile(loaded.tokenizer_json, source), TokenizerFile(loaded.query_tokenizer_json, source)


def dealt_ids(loaded: LoadedModel, tokens: Collection[str]) -> dict[int, int]:
    """Old id -> new id of the tokens that stay."""
    return tokenizer_files(loaded)[0].ids(tokens)


def with_tokens(loaded: LoadedModel, tokens: Collection[str]) -> LoadedModel:
    """The model with these tokens alone; layers are shared with ``loaded``.

    Raises:
        InputError: the architecture or the tokenizer cannot be trimmed so.
        ModelError: the tokenizer needs a token that is not among them.
    """
    documents, queries = tokenizer_files(loaded)
    ids = documents.ids(tokens)
    encoder = keep_rows(loaded.encoder, ids)
    contents = documents.trimmed(ids), queries.trimmed(ids)
    model = _model(loaded.model, _lexicon(loaded.model.lexicon, ids), encoder.head, contents)
    masked = set(encoder.head.masked_ids)
    return LoadedModel(model, encoder, *contents, tuple(i for i in range(len(ids)) if i not in masked))


def _lexicon(whole: Lexicon, ids: Mapping[int, int]) -> Lexicon:
    order = [old for old, _ in sorted(ids.items(), key=lambda pair: pair[1])]
    special = sorted(ids[i] for i in whole.special_ids if i in ids)
    return Lexicon(tuple(whole.tokens[i] for i in order), whole.idf[order], tuple(special))


def _model(whole: Model, table: Lexicon, head: Any, contents: tuple[bytes, bytes]) -> Model:
    if isinstance(whole, ForeignCheckpoint):  # its fingerprint is of its tokenizers and query weights too
        tokenizer, query_tokenizer = (content.decode() for content in contents)
        return replace(
            whole, head=head, table=table, rows=len(table.tokens), tokenizer=tokenizer, query_tokenizer=query_tokenizer
        )
    return ModelWithTable(
        whole.path, head, whole.idf, whole.training, whole.metrics, whole.seen, table=table, whole=whole.fingerprint
    )
