"""``osparse corpus build``: one source or several in, a whole dataset directory out; no source is held in memory."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.corpus.builder.merge import known_candidates, known_judgements, mean_scores, merge_ids, refuse_dropped
from osparse.corpus.builder.spool import Spool, write_spool
from osparse.corpus.sources.content import better_reader
from osparse.corpus.sources.languages import settle_languages
from osparse.corpus.sources.readers import READERS
from osparse.corpus.sources.records import IGNORED_COLUMNS, Options, Reader
from osparse.corpus.split.split_like import KnownSplits, split_alike
from osparse.corpus.split.splits import RULE, assign_candidates, assign_splits, best_judgements, same_text_relevant
from osparse.errors import DatasetError, InputError
from osparse.io.files import fingerprint, sha256_file
from osparse.io.locations import expanded, location
from osparse.io.streams import as_files

LARGE = 500_000_000
"""Bytes whose checksum takes long enough to be worth a line."""

log = logging.getLogger("osparse.corpus.builder.build")


@dataclass(frozen=True)
class Input:
    """One source to read."""

    source: str
    paths: tuple[Path, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    lang: str = ""
    """Of every text of the source, whatever its rows say; "" takes theirs, and detects what they leave out."""


@dataclass(frozen=True)
class _Part:
    """What is read in one go, and reused if a build was interrupted after it."""

    reader: Reader
    paths: tuple[Path, ...]
    options: Options
    lang: str
    checksums: dict[str, str]

    @property
    def fingerprint(self) -> str:
        key = [self.reader.name, self.reader.recipe, dict(self.options), self.lang, sorted(self.checksums.values())]
        return fingerprint(key)[:20]


def build_dataset(
    source: str,
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    seed: int = 0,
    options: Mapping[str, str] | None = None,
    lang: str = "",
    split_like: Dataset | Path | str | None = None,
    overwrite: bool = False,
    strict: bool = False,
) -> Dataset:
    """Read one source, split it by group and write a dataset directory; see :func:`build_from`."""
    only = Input(source, tuple(location(path) for path in paths), options or {}, lang)
    return build_from([only], output, seed=seed, split_like=split_like, overwrite=overwrite, strict=strict)


def build_from(
    inputs: Sequence[Input],
    output: Path | str,
    *,
    seed: int = 0,
    split_like: Dataset | Path | str | None = None,
    overwrite: bool = False,
    strict: bool = False,
) -> Dataset:
    """Read the sources (each of :data:`READERS`), split them by group and write one dataset directory.

    A dataset already at ``output`` that was built from the same sources, files and seed is returned as it is; that
    holds for ``debian`` too, whose lists are fetched again only with ``overwrite``. Parts of a build that was
    interrupted (sources, or files of a source) are not read again.

    Args:
        split_like: A dataset whose splits are kept: what it holds back, by group, text or query, is held back here.
        strict: Refuse judgements that name a query or document that is missing or has no text; by default they are
            dropped, and counted in the manifest's notes.

    Raises:
        DatasetError: malformed input (with path and line), duplicate ids, a source that keeps no row.
        InputError: ``output`` holds something else and ``overwrite`` is false; an unknown source or option.
    """
    known = None
    if split_like is not None:
        known = KnownSplits.of(split_like if isinstance(split_like, Dataset) else Dataset.open(split_like))
        seed = known.agreed_seed(seed)
    with ExitStack() as copies:
        whole = [replace(given, paths=tuple(copies.enter_context(as_files(expanded(given.paths))))) for given in inputs]
        return _build(whole, Path(output), seed, overwrite, strict, known)


def _build(
    inputs: Sequence[Input], output: Path, seed: int, overwrite: bool, strict: bool, known: KnownSplits | None
) -> Dataset:
    of_input = [list(_parts(given)) for given in inputs]
    parts = [part for of_source in of_input for part in of_source]
    request = {**_request(inputs, parts, seed), **({"split_like": known.fingerprint} if known is not None else {})}
    ready = None if overwrite else ready_dataset(output, request)
    if ready is not None:
        if strict:
            refuse_dropped(ready)
        return ready
    with _workspace(output, len(parts)) as folder:
        read = [[_read(part, folder / part.fingerprint, overwrite) for part in of_source] for of_source in of_input]
        sources = [_source(spools, given.paths) for spools, given in zip(read, inputs, strict=True)]
        every = [spool for spools in read for spool in spools]
        return write_dataset(every, sources, output, request, seed, overwrite, strict=strict, known=known)


def _parts(given: Input) -> Iterator[_Part]:
    if given.source not in READERS:
        raise InputError(f"unknown source {given.source!r}; known: {', '.join(READERS)}")
    reader = READERS[given.source]
    if reader.needs_paths and not given.paths:
        raise DatasetError(f"source {given.source} needs `paths` to read: {reader.reads}")
    options = reader.chosen(given.options)
    apart = reader.independent_files and all(path.is_file() for path in given.paths)
    for paths in [(path,) for path in given.paths] if apart else [given.paths]:
        yield _Part(
            reader, paths, options, given.lang, {**_checksums(paths, reader.suffixes), **_named_files(reader, options)}
        )


def _named_files(reader: Reader, options: Options) -> dict[str, str]:
    """Option -> sha256 of the file it names."""
    named = {name: Path(str(options[name])) for name, option in reader.options.items() if option.file and options[name]}
    return {f"option/{name}": next(iter(_checksums((path,)).values())) for name, path in named.items()}


def _request(inputs: Sequence[Input], parts: Sequence[_Part], seed: int) -> dict[str, Any]:
    """What identifies a dataset: an existing one with an equal request is up to date."""
    requests: list[dict[str, Any]] = []
    for given in inputs:
        reader = READERS[given.source]
        files = {
            **_checksums(given.paths, reader.suffixes, parts),
            **_named_files(reader, reader.chosen(given.options)),
        }
        settings = {"options": dict(given.options), "lang": given.lang}
        request: dict[str, Any] = {"recipe": reader.recipe, "source": given.source, "paths": files}
        requests.append({**request, **{name: value for name, value in settings.items() if value}})
    return {**requests[0], "seed": seed} if len(requests) == 1 else {"sources": requests, "seed": seed}


def _checksums(paths: Sequence[Path], suffixes: tuple[str, ...] = (), known: Sequence[_Part] = ()) -> dict[str, str]:
    """File name -> sha256 of everything given; a folder counts by the files in it that have one of the suffixes."""
    ready = {part.paths: part.checksums for part in known}
    if tuple(paths) in ready:
        return ready[tuple(paths)]
    checksums: dict[str, str] = {}
    for number, path in enumerate(paths):
        if not path.exists():
            raise DatasetError(f"{path} does not exist")
        if (path,) in ready:
            checksums[f"{number}/{path.name}"] = next(iter(ready[(path,)].values()))
            continue
        inside = (file for file in path.rglob("*") if file.is_file() and file.name.endswith(suffixes or ""))
        files = sorted(inside) if path.is_dir() else [path]
        if (size := sum(file.stat().st_size for file in files)) > LARGE:
            log.info("%s: taking the checksum of %s MB", path, f"{size / 1e6:,.0f}")
        for file in files:
            checksums[f"{number}/{file.relative_to(path) if path.is_dir() else file.name}"] = sha256_file(file)
    return checksums


def ready_dataset(output: Path, request: dict[str, Any]) -> Dataset | None:
    """The dataset at ``output`` if the same request made it, None if nothing is there; else :class:`InputError`."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    dataset = Dataset.open(output)
    if dataset.manifest.notes.get("request") != request:
        raise InputError(
            f"{output} is a dataset made from other inputs; replace it with `overwrite=True`, or write another `output`"
        )
    log.info("%s is up to date", output)
    return dataset


@contextmanager
def _workspace(output: Path, parts: int) -> Iterator[Path]:
    """Where finished parts wait; gone at the end, but kept by an interrupted build, or one whose other part failed."""
    folder = output.parent / f".{output.name}.parts"
    keep = False
    try:
        yield folder
    except BaseException as problem:
        keep = any(folder.glob("*/spool.json")) and (parts > 1 or not isinstance(problem, Exception))
        if keep:
            log.info("the parts that were read are kept in %s; the same command continues from them", folder)
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _read(part: _Part, folder: Path, overwrite: bool) -> Spool:
    reader, names = part.reader, ", ".join(path.name for path in part.paths)
    if (folder / "spool.json").is_file() and (part.paths or not overwrite):
        log.info("source %s: %s was read before the last build stopped; it is not read again", reader.name, names)
        return Spool.open(folder)
    counts = reader.counts()
    untouched = counts.digest.hexdigest()

    def finish() -> tuple[Source, dict[str, Any]]:
        if counts.digest.hexdigest() == untouched and part.checksums:
            counts.digest = hashlib.sha256("".join(part.checksums.values()).encode())
        return counts.source(), counts.all_notes()

    try:
        return write_spool(
            folder,
            reader.read(part.paths, counts, part.options),
            source=reader.name,
            same_text_is_relevant=reader.same_text_is_relevant,
            finish=finish,
            lang=part.lang,
        )
    except DatasetError as problem:
        if advice := better_reader(part.paths, reader.name):
            raise DatasetError(f"{problem}; {advice}") from None
        raise


def _source(spools: Sequence[Spool], paths: Sequence[Path]) -> Source:
    """One source's parts added up; raises :class:`DatasetError` if it kept nothing."""
    sources = [spool.source for spool in spools]
    dropped = dict(sorted(sum((Counter(source.dropped) for source in sources), Counter()).items()))
    rows_in, kept = sum(s.rows_in for s in sources), sum(s.rows_kept for s in sources)
    if not kept:
        reasons = ", ".join(f"{rows} {reason}" for reason, rows in dropped.items()) or "it is empty"
        advice = better_reader(paths, sources[0].name) or "nothing was written"
        raise DatasetError(f"source {sources[0].name} kept 0 of {rows_in} rows ({reasons}); {advice}")
    digest = sources[0].sha256 if len(sources) == 1 else fingerprint([source.sha256 for source in sources])
    return Source(sources[0].name, sources[0].licence, rows_in, kept, dropped, digest)


def write_dataset(
    spools: Sequence[Spool],
    sources: list[Source],
    output: Path,
    request: dict[str, Any],
    seed: int,
    overwrite: bool,
    more: Mapping[str, Any] | None = None,
    *,
    strict: bool = False,
    known: KnownSplits | None = None,
) -> Dataset:
    """Merge the spools' ids, assign the judgements to splits, and save; ``more`` goes into the manifest's notes.

    ``known``: splits of another dataset, which go before the rule.

    Judgements about what was not read are dropped, or refused with ``strict``.
    """
    all_documents, all_queries = _texts(spools)
    all_candidates = pl.concat([spool.scan("candidates") for spool in spools])
    documents, merged = merge_ids(all_documents, "document")
    asking = all_queries.filter(pl.col("text").str.strip_chars() != "")
    queries, _ = merge_ids(asking, "query")
    keys = documents.select("id", "group", "lang", text=pl.col("text").hash()).collect(engine="streaming")
    query_hashes = queries.select("id", text=pl.col("text").hash()).collect(engine="streaming")
    judgements, dropped = known_judgements(_judgements(spools, keys), keys, query_hashes, strict=strict)
    judged_by_text = [s.scan("documents").select("id") for s in spools if s.same_text_is_relevant]
    if judged_by_text:
        judgements = same_text_relevant(judgements, keys.join(pl.concat(judged_by_text).collect(), on="id", how="semi"))
    best, conflicts = best_judgements(judgements), dict[str, int]()
    if known is not None:
        best, conflicts = split_alike(best, documents, queries, known)
        for reason, rows in conflicts.items():
            log.warning("%s judgements %s", f"{rows:,}", reason)
    assigned = assign_splits(best, keys, query_hashes, seed)
    for reason, rows in assigned.removed.items():
        log.info("%s judgements removed: %s", f"{rows:,}", reason)
    published = judgements.filter(pl.col("split").is_not_null())["query_id"].unique()
    listed, lost = known_candidates(all_candidates, keys, strict=strict)
    listed, averaged = mean_scores(listed)
    numbered = listed.with_row_index("row")
    candidates = assign_candidates(numbered, assigned, keys, published)
    notes = {"merged": merged} if merged else {}
    return save_dataset(
        output,
        documents=documents,
        queries=queries,
        qrels=assigned.qrels,
        candidates={split: rows for split, rows in candidates.items() if _any(rows)},
        sources=sources,
        split_rule=_split_rule(judgements["split"], known),
        seed=seed,
        notes={
            "request": request,
            "judgements_removed": {**dropped, **lost, **assigned.removed},
            **({"split_conflicts": conflicts} if conflicts else {}),
            **({"scores_averaged": averaged} if averaged else {}),
            **notes,
            **(more or {}),
            **_notes(spools),
        },
        overwrite=overwrite,
    )


def _texts(spools: Sequence[Spool]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Documents and queries of all spools, their languages settled source by source."""
    documents: list[pl.LazyFrame] = []
    queries: list[pl.LazyFrame] = []
    for name, group in groupby(spools, key=lambda spool: spool.source.name):
        of_source = list(group)
        for table, parts in (("documents", documents), ("queries", queries)):
            read = pl.concat([spool.scan(table) for spool in of_source])
            parts.append(settle_languages(read, f"{table} of {name}"))
    return pl.concat(documents), pl.concat(queries)


def _notes(spools: Sequence[Spool]) -> dict[str, Any]:
    """The notes of all parts: numbers added up, ignored columns by source."""
    notes: dict[str, Any] = {}
    for spool in spools:
        for name, value in spool.notes.items():
            if name == IGNORED_COLUMNS:
                merged = notes.setdefault(name, {})
                merged |= {source: sorted({*columns, *merged.get(source, ())}) for source, columns in value.items()}
            else:
                notes[name] = notes.get(name, 0) + value
    return notes


def _split_rule(published: pl.Series, known: KnownSplits | None) -> str:
    """In words; :mod:`osparse.corpus.pairs.pairs` keeps the splits of a dataset whose rule speaks of published ones."""
    if known is not None:
        rule = f"groups, texts and queries of {known.name} ({known.fingerprint[:12]}) are in its split, as if published"
        return f"{rule}; else {_split_rule(published, None)}"
    if published.is_null().all():
        return RULE
    return f"{RULE}; published splits are kept" if published.has_nulls() else "as the source published them"


def _judgements(spools: Sequence[Spool], documents: pl.DataFrame) -> pl.DataFrame:
    """All judgements; those of a document and its translations as one for each."""
    judgements = pl.concat([spool.scan("judgements") for spool in spools]).collect()
    columns = [name for name in judgements.columns if name != "and_translations"]
    of_language = pl.len().over("group", "lang") == 1
    translations = documents.filter(of_language.all().over("group")).select("group", member="id")
    with_translations = (
        judgements.filter("and_translations")
        .join(translations, on="group", how="left", maintain_order="left_right")
        .with_columns(document_id=pl.coalesce("member", "document_id"))
    )
    alone = judgements.filter(pl.col("and_translations").not_())
    return pl.concat([alone.select(columns), with_translations.select(columns)])


def _any(rows: pl.LazyFrame) -> bool:
    return bool(rows.head(1).collect(engine="streaming").height)
