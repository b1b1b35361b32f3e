"""How a bundle's fit is measured: on a dataset's documents and queries, or on its own probes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.errors import BundleError
from osparse.formula.seismic_ceiling import DEFAULT_CEILINGS, MARGINS, up_to_tenth
from osparse.formula.server_costs import model_memory, sparse_field_bytes
from osparse.opensearch_versions import SEISMIC_IDS
from osparse.packager.checks.emulator import ServerEncoder, ServerText, ServerTokenizer
from osparse.packager.checks.lucene_emulator import Seismic, to_bytes
from osparse.packager.export import formats
from osparse.packager.fit.fit import Fit

if TYPE_CHECKING:
    import polars as pl

    from osparse.contracts.dataset import Dataset
    from osparse.packager.compare.parity import Runner

READ = 5_000
"""Documents of a dataset that are tokenised."""
ENCODED = 200
"""Documents of a dataset that are encoded."""
CALIBRATED = 100
"""Documents of a dataset that static scales are taken from."""
ASKED = 50
"""Queries of a dataset that are scored against them."""
OPENING = 8
"""Words of a document's beginning that make a query where a dataset has none."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

Vectors = list[dict[int, float]]
"""{token id: weight} of each text."""


def open_dataset(given: Dataset | Path | str) -> Dataset:
    """The dataset itself, or its directory opened."""
    from osparse.contracts.dataset import Dataset

    return given if isinstance(given, Dataset) else Dataset.open(given)


def measure(bundle: Bundle, dataset: Dataset | None = None, runners: Mapping[str, Runner] | None = None) -> Fit:
    """Measure a bundle on a dataset's documents and queries, or on its own probes.

    Raises:
        BundleError: none of its encoders can run here, and a dataset has to be encoded.
    """
    text = ServerText.open(bundle.zip_path(bundle.formats[0]))
    idf = _idf(bundle)
    documents, queries, facts = (
        _from_probes(bundle, text) if dataset is None else _from_dataset(bundle, dataset, runners)
    )
    weights = np.array([w for document in documents for w in document.values()], np.float32)
    counts = np.array([len(document) for document in documents])
    largest = float(weights.max(initial=0))
    margin = MARGINS[facts["measured_on"]["texts"]]
    ceilings = {"ingest": up_to_tenth(largest * margin), "search": up_to_tenth(max(idf.values(), default=1.0))}
    mean = float(counts.mean())
    return Fit(
        **facts,
        vocabulary=_vocabulary(bundle.vocabulary),
        nonzeros={"mean": _short(mean), "p99": _short(_quantile(counts, 0.99)), "max": int(counts.max(initial=0))},
        weights={name: _short(_quantile(weights, q)) for name, q in QUANTILES.items()},
        ceilings=ceilings,
        seismic={
            "default": _seismic(documents, queries, weights, DEFAULT_CEILINGS),
            "fitted": _seismic(documents, queries, weights, ceilings),
        },
        zip_bytes={part: file.size for part, file in bundle.files.items()},
        server_memory_bytes={form: _memory(bundle, form) for form in bundle.formats},
        index_bytes_per_million=int(_short(sparse_field_bytes(mean) * 1e6)),
    )


def _from_probes(bundle: Bundle, text: ServerText) -> tuple[Vectors, Vectors, dict[str, Any]]:
    probes = bundle.probes()
    ids = {token: i for i, token in enumerate(read_tokenizer(bundle.zip_path("tokenizer"))[1])}
    facts = {
        "measured_on": {"texts": "probes", "read": len(probes), "encoded": len(probes)},
        "truncated_share": None,
        "unknown_share": _unknown(text, [(probe.lang, probe.text) for probe in probes])[1],
    }
    documents = [{ids[token]: w for token, w in probe.document.items()} for probe in probes]
    return documents, [{ids[token]: w for token, w in probe.query.items()} for probe in probes if probe.query], facts


def _from_dataset(
    bundle: Bundle, dataset: Dataset, runners: Mapping[str, Runner] | None
) -> tuple[Vectors, Vectors, dict[str, Any]]:
    runners = formats.open_runners({f: bundle.zip_path(f) for f in bundle.formats}) if runners is None else runners
    if not runners:
        raise BundleError(f"{bundle.path}: no runtime for {', '.join(bundle.formats)} here; install osparse[train]")
    form = next(iter(runners))
    encoder = ServerEncoder.open(bundle.zip_path(form), bundle.files[form].model_format, runners[form])
    tokenizer = ServerTokenizer.open(bundle.zip_path("tokenizer"))
    read = _spread(dataset.documents.select("lang", "text"), READ)
    encoded = [text for _, text in _spread(dataset.documents.select("lang", "text"), ENCODED)]
    asked = [text for _, text in _spread(dataset.queries.select("lang", "text"), ASKED)]
    if not asked:
        asked = [" ".join(text.split()[:OPENING]) for text in encoded[:ASKED]]
    truncated, unknown = _unknown(encoder.text, read)
    facts = {
        "measured_on": {
            "texts": "dataset",
            "fingerprint": dataset.fingerprint,
            "read": len(read),
            "encoded": len(encoded),
        },
        "truncated_share": truncated,
        "unknown_share": unknown,
    }
    documents = [_by_id(encoder.predict(text, "TOKEN_ID")) for text in encoded]
    return documents, [_by_id(tokenizer.predict(text, "TOKEN_ID")) for text in asked], facts


def calibration_texts(dataset: Dataset) -> list[str]:
    """The documents that int8-static takes its scales from."""
    return [text for _, text in _spread(dataset.documents.select("lang", "text"), CALIBRATED)]


def held_out_texts(dataset: Dataset) -> list[str]:
    """Documents that :func:`calibration_texts` does not have, unless there are no others."""
    table = dataset.documents.select("lang", "text")
    return [text for _, text in _spread(table, ENCODED, skip=CALIBRATED) or _spread(table, ENCODED)]


def _spread(table: pl.LazyFrame, wanted: int, skip: int = 0) -> list[tuple[str, str]]:
    """At most ``wanted`` rows, spread over the table; none of those that ``wanted=skip`` gives."""
    import polars as pl

    rows = table.select(pl.len()).collect().item()
    # At random, but always the same: languages may take turns in a dataset, which a fixed step would miss.
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[skip : skip + wanted]).tolist()
    return list(table.collect()[chosen].iter_rows())


def _unknown(text: ServerText, rows: Sequence[tuple[str, str]]) -> tuple[float, dict[str, float]]:
    """Share of texts that the cap cuts, and of unknown tokens per language; texts are read whole."""
    whole = Tokenizer.from_str(text.tokenizer.to_str())
    whole.no_truncation()
    unknown = _unknown_id(whole)
    tokens, missed, cut = Counter[str](), Counter[str](), 0
    for (lang, _), encoding in zip(rows, whole.encode_batch([row for _, row in rows]), strict=True):
        cut += len(encoding.ids) > text.length
        tokens[lang] += len(encoding.ids) - sum(encoding.special_tokens_mask)
        missed[lang] += encoding.ids.count(unknown) if unknown is not None else 0
    # A special token in the mask may be the unknown one itself, so a language can have no other.
    shares = {lang: _short(missed[lang] / max(tokens[lang], missed[lang], 1)) for lang in sorted(tokens)}
    return _short(cut / max(1, len(rows))), {} if unknown is None else shares


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    model = json.loads(tokenizer.to_str())["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    return tokenizer.token_to_id(token) if isinstance(token, str) else None


def _vocabulary(size: int) -> dict[str, int | float]:
    past = max(0, size - SEISMIC_IDS)
    slots = Counter(i % SEISMIC_IDS for i in range(size)) if past else Counter[int]()
    sharing = sum(times for times in slots.values() if times > 1)
    return {"size": size, "past_fold": past, "sharing": _short(sharing / max(1, size))}


def _seismic(
    documents: Vectors, queries: Vectors, weights: NDArray[np.float32], ceilings: Mapping[str, float]
) -> dict[str, float]:
    field = Seismic(ceilings["ingest"], ceilings["search"])
    stored = to_bytes(weights, ceilings["ingest"])
    stored_documents = [field.store(document) for document in documents]
    errors: list[float] = []
    best: list[float] = []
    for query in queries:
        stored_query = field.store(query, ceilings["search"])
        exact = [_dot(query, document) for document in documents]
        scores = [field.score_stored(stored_query, document) for document in stored_documents]
        errors += [abs(f - e) for f, e in zip(scores, exact, strict=True) if e > 0]
        best.append(max(exact))
    return {
        "clipped": _share(weights > ceilings["ingest"]),
        "lost": _share(stored == 0),
        "error": _short(_quantile(np.array(errors), 0.99) / float(np.mean(best))) if errors else 0.0,
    }


def _dot(query: Mapping[int, float], document: Mapping[int, float]) -> float:
    return sum(weight * document[i] for i, weight in query.items() if i in document)


def _memory(bundle: Bundle, form: str) -> int:
    return int(_short(model_memory(bundle.files[form].model_format, bundle.files[form].size)))


def _idf(bundle: Bundle) -> dict[str, float]:
    weights: dict[str, float] = json.loads(read_member(bundle.zip_path("tokenizer"), "idf.json"))
    return weights


def _by_id(weights: Mapping[str, float]) -> dict[int, float]:
    return {int(i): weight for i, weight in weights.items()}


def _share(kept: NDArray[np.bool_]) -> float:
    return _short(float(kept.mean())) if kept.size else 0.0


def _quantile(values: NDArray[Any], q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf")) if values.size else 0.0


def _short(value: float) -> float:
    """Three significant digits: the rest differs between machines and says nothing."""
    return float(f"{value:.3g}")
