"""The reference check: what is packaged against the library that the model was saved by or is used with.

A sentence-transformers folder is opened by ``SparseEncoder`` itself. A plain Hugging Face folder says neither how its
logits are pooled nor what a query weighs, so it is opened as a transformer with SpladePooling and the head's
activation. Where the query side is an idf.json, which no library reads, queries are compared by their tokens.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.errors import CheckError
from osparse.formula.head import SERVER_MAX_TOKENS, Head
from osparse.formula.lexicon import MIN_WEIGHT, Lexicon
from osparse.formula.query_encoder import QueryEncoder
from osparse.masked_lm.architectures import find, of_folder
from osparse.masked_lm.quiet import quiet_transformers
from osparse.packager.checkpoint.layouts import ACTIVATIONS, Layout
from osparse.packager.compare.parity import TOLERANCE, Case, Runner, compare
from osparse.packager.reference.texts import reference_texts
from osparse.plugins.extras import check

log = logging.getLogger("osparse.packager.reference.library")
LIBRARY = "sentence_transformers"
Length = Literal["the library's", "the server's", "given"]
"""What decided where documents are cut: the library's own length, the server's or the model's limit, or the caller."""
QUERY_TOLERANCE = 2 * MIN_WEIGHT
"""A weight of 0.0 is packaged as the smallest that a query may have."""


@dataclass(frozen=True)
class Packaged:
    """What is compared with the library."""

    runners: Mapping[str, Runner]
    """Name of each encoder -> (B, T) ids and mask -> (B, V) weights."""
    tokenizer: Tokenizer
    """Of documents, truncating as packaged."""
    query: QueryEncoder
    query_content: int
    """Ids per query, special ones left out."""
    query_special: int
    """Special ids that the tokenizer adds to a query."""
    head: Head
    tolerance: float = TOLERANCE

    @property
    def lexicon(self) -> Lexicon:
        return self.query.lexicon


@dataclass(frozen=True)
class Library:
    """A model as its library opens it."""

    encode_document: Callable[[str], NDArray[np.float32]]
    """text -> (V,) weights, special tokens included."""
    encode_query: Callable[[str], NDArray[np.float32]]
    """text -> (V,) weights."""
    length: Length


@dataclass(frozen=True)
class Agreement:
    """What the comparison has shown."""

    texts: int
    largest: Mapping[str, float]
    """Largest difference of a document's weight, by encoder; of a query's under ``queries``."""
    problems: Mapping[str, Sequence[str]]
    """What differed, in words, by encoder and under ``queries``."""
    length: Length


def installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec(LIBRARY) is not None


def library_versions() -> dict[str, str]:
    """Name of each library that took part -> its version."""
    return {"sentence-transformers": version("sentence-transformers"), "transformers": version("transformers")}


def compare_with_library(layout: Layout, packaged: Packaged, *, length_given: bool = False) -> Agreement:
    """Documents and queries of the packaged parts and of the library, text by text.

    Args:
        length_given: the length of documents was chosen by the caller, and may differ from the library's.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        CheckError: the library cannot open the folder, or cuts documents elsewhere.
    """
    check(LIBRARY, "reference")
    library = _open(layout, packaged, length_given)
    ordinary = np.ones(len(packaged.lexicon.tokens), bool)
    ordinary[[i for i in packaged.head.masked_ids if i < len(ordinary)]] = False
    texts = reference_texts([token for token, keep in zip(packaged.lexicon.tokens, ordinary, strict=True) if keep])
    largest = dict.fromkeys([*packaged.runners, "queries"], 0.0)
    problems: dict[str, list[str]] = {name: [] for name in largest}
    for text in texts:
        expected = library.encode_document(text)
        expected[list(packaged.head.masked_ids)] = 0
        ids = np.array([packaged.tokenizer.encode(text).ids], dtype=np.int64)
        for name, run in packaged.runners.items():
            case = Case(repr(text[:30]), ids, np.ones_like(ids))
            difference = compare(case, run(ids, case.mask), expected[None], packaged.head, packaged.tolerance)
            largest[name] = max(largest[name], difference.largest)
            if not difference.ok:
                problems[name].append(f"the document {difference.case} differs by {difference.largest:.2g}")
        gap = _query_gap(packaged.query.encode(text), library.encode_query(text), packaged.lexicon, ordinary)
        largest["queries"] = max(largest["queries"], gap)
        if not gap <= QUERY_TOLERANCE:
            problems["queries"].append(f"the query {text[:30]!r} differs by {gap:.2g}")
    return Agreement(len(texts), largest, problems, library.length)


def require_agreement(agreement: Agreement, layout: Layout) -> None:
    """Raises :class:`CheckError` naming what differed."""
    problems = [f"{name}: {problem}" for name, rows in agreement.problems.items() for problem in rows]
    if problems:
        raise CheckError(
            f"what would be packaged is not what sentence-transformers makes of {layout.root} in {len(problems)} "
            f"comparisons; nothing was written; the folder has a setting that osparse does not read as the library "
            "does:\n  " + "\n  ".join(problems[:8])
        )


def _query_gap(
    query: Mapping[str, float], expected: NDArray[np.float32], lexicon: Lexicon, ordinary: NDArray[np.bool_]
) -> float:
    weights = np.zeros(len(lexicon.tokens), np.float32)
    for token, weight in query.items():
        weights[lexicon.id_of[token]] = weight
    gap = np.abs(weights - expected[: len(weights)]) / np.maximum(1.0, np.abs(weights))
    return float((gap * ordinary).max(initial=0))


def _open(layout: Layout, packaged: Packaged, length_given: bool) -> Library:
    of_folder(layout.transformer)  # registers classes that transformers lacks
    try:
        with quiet_transformers():
            documents = _documents(layout, packaged.head)
            _set_padding(_routed(documents, "document").tokenizer)
            length = _set_length(documents, packaged.head, layout, length_given)
            queries = _queries(layout, packaged, documents)
    except CheckError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever the library meets in a folder
        first = str(problem).strip().partition("\n")[0]
        raise CheckError(
            f"sentence-transformers cannot open {layout.root} ({type(problem).__name__}: {first}), so nothing proves "
            "how it is to be read; save the model again"
        ) from None
    return Library(_encoder(documents.encode_document), _encoder(queries.encode_query), length)


def _encoder(encode: Callable[..., Any]) -> Callable[[str], NDArray[np.float32]]:
    def one(text: str) -> NDArray[np.float32]:
        row = encode([text], batch_size=1, convert_to_sparse_tensor=False, show_progress_bar=False)[0]
        weights: NDArray[np.float32] = row.float().cpu().numpy().copy()
        return weights

    return one


def _documents(layout: Layout, head: Head) -> Any:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    arguments = {"dtype": torch.float32}
    if layout.says_model_type:
        return SparseEncoder(str(layout.root), device="cpu", local_files_only=True, model_kwargs=arguments)
    loaded = {"local_files_only": True}
    transformer = Transformer(
        str(layout.transformer), transformer_task="fill-mask", model_kwargs={**arguments, **loaded},
        processor_kwargs={**layout.tokenizer_arguments, **loaded}, config_kwargs=loaded,
        max_seq_length=layout.max_length, do_lower_case=layout.lower_case,
    )  # fmt: skip
    activation: Any = next(name for name, ours in ACTIVATIONS.items() if ours == head.activation)
    pooling = SpladePooling("max", activation)
    prompts = {"document": layout.document_prompt}
    return SparseEncoder(
        modules=[transformer, pooling], device="cpu", prompts=prompts, max_active_dims=layout.max_active_dims
    )


def _set_padding(tokenizer: Any) -> None:
    """The library asks every call to pad, so a tokenizer needs a token for it; texts go one by one and get none."""
    if tokenizer.pad_token is None:
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
        special = [i for i, token in sorted(added.items()) if token.special]
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(special[0] if special else 0)


def _set_length(documents: Any, head: Head, layout: Layout, given: bool) -> Length:
    """Let the library cut where the bundle does, if that is the server's limit, the model's, or the caller's wish."""
    transformer = _routed(documents, "document")
    own = transformer.document_length or transformer.max_seq_length
    if own == head.max_length:
        return "the library's"
    positions = find(transformer.config.model_type).positions(transformer.config)
    if not given and head.max_length != min(own, positions, SERVER_MAX_TOKENS):
        raise CheckError(f"{layout.root}: documents are cut at {head.max_length} ids, the library cuts them at {own}")
    transformer.document_length = head.max_length
    return "given" if given else "the server's"


def _queries(layout: Layout, packaged: Packaged, documents: Any) -> Any:
    """The library's query side, or its SparseStaticEmbedding with the packaged weights, where it has none."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    content = packaged.query_content
    if layout.static is not None:
        static = _routed(documents, "query")
        _set_padding(static.tokenizer)
        if static.tokenizer.model_max_length > content == SERVER_MAX_TOKENS - packaged.query_special:
            static.tokenizer.model_max_length = content
        return documents
    tokenizer = copy.deepcopy(_routed(documents, "document").tokenizer)
    tokenizer.model_max_length = content
    weights = torch.from_numpy(packaged.lexicon.idf.copy())
    return SparseEncoder(modules=[SparseStaticEmbedding(tokenizer, weights)], device="cpu")


def _routed(model: Any, task: str) -> Any:
    """The first module that a text with a task goes through."""
    first = model[0]
    return first.sub_modules[first._resolve_route_name(task, "text")][0] if hasattr(first, "sub_modules") else first
