"""``osparse corpus pairs``: what a dataset judges relevant, cut and filtered into pairs to train on.

A pair is a query and a text that answers it. Kinds: ``query-document``, the judged text as it is; ``title-summary``,
its first paragraph; ``title-paragraph``, its later ones; ``aligned``, a text in another language than the query's.
Pairs keep their article's or source's group, hence its split, and splits that a source published.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from osparse.contracts.dataset import Dataset, Source
from osparse.corpus.builder.build import ready_dataset, write_dataset
from osparse.corpus.builder.spool import write_spool
from osparse.corpus.pairs.pair_filters import Pair, PairFilters, Stages, filtered
from osparse.corpus.pairs.pair_shares import sampled
from osparse.corpus.pairs.selection import Selection
from osparse.corpus.pairs.store import Store
from osparse.corpus.pairs.title_mask import mask_title, overlap
from osparse.corpus.sources.records import Judgement, SourceDocument, SourceQuery, SourceRecord
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError, InputError
from osparse.io.files import canonical_json, fingerprint
from osparse.io.progress import progress

KINDS = ("query-document", "title-summary", "title-paragraph", "aligned")
RECIPE = 1
_ABOVE_ZERO = 1e-30


@dataclass(frozen=True)
class PairRules:
    """What pairs are made, and which are kept."""

    kinds: tuple[str, ...] = ("query-document", "aligned")
    paragraphs: int = 3
    """Of an article, beside its first, for ``title-paragraph``; at least 1."""
    mask: float = 0.5
    """Share of the title kinds' pairs, within [0, 1], whose text loses its query's words as they stand there."""
    limit: int | None = None
    """Pairs in all, equal shares for the sources as far as they reach, whole groups; None is all."""
    filters: PairFilters = PairFilters()
    seed: int = 0

    def check(self) -> None:
        """Raises :class:`InputError` naming every setting that cannot be."""
        wrong = [f"unknown kind {kind!r} (known: {', '.join(KINDS)})" for kind in self.kinds if kind not in KINDS]
        wrong += ["no kind" for _ in range(not self.kinds)]
        wrong += [f"paragraphs {self.paragraphs} below 1"] if self.paragraphs < 1 else []
        wrong += [f"mask {self.mask} outside [0, 1]"] if not 0 <= self.mask <= 1 else []
        wrong += [f"limit {self.limit} below 1"] if self.limit is not None and self.limit < 1 else []
        wrong += self.filters.problems()
        if wrong:
            raise InputError(f"pairs: {'; '.join(wrong)}")


def make_pairs(
    datasets: Sequence[Dataset], output: Path | str, rules: PairRules | None = None, *, overwrite: bool = False
) -> Dataset:
    """Write a dataset of pairs; the manifest's notes hold the figures before and after each filter.

    Raises:
        DatasetError: a dataset has no judgements, or nothing is left.
        InputError: a setting that cannot be, or ``output`` was made from other inputs.
    """
    rules, output = rules or PairRules(), Path(output)
    rules.check()
    for dataset in datasets:
        dataset.require_judgements("that pairs are cut out of")
    settings = {"recipe": RECIPE, "pairs": asdict(rules), "datasets": [dataset.fingerprint for dataset in datasets]}
    request = json.loads(canonical_json(settings))  # as the manifest gives it back
    ready = None if overwrite else ready_dataset(output, request)
    if ready is not None:
        return ready
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        stages = Stages()

        def made() -> Iterator[Pair]:
            for number, dataset in enumerate(datasets):
                yield from _pairs(dataset, rules, Path(folder) / "cache", number)

        chosen = filtered(made, rules.filters, stages)
        if rules.limit is not None:
            chosen = stages.counted("limit", sampled(chosen, rules.limit, rules.seed))
        masked = _masked(stages.counted("kept", chosen), rules, stages)
        spool = write_spool(
            Path(folder) / "spool",
            map(_record, masked),
            source="pairs",
            same_text_is_relevant=True,
            finish=lambda: (_source(datasets, stages), {}),
        )
        if not spool.source.rows_kept:
            taken = ", ".join(f"{rows:,} by {name}" for name, rows in stages.dropped().items())
            raise DatasetError(f"no pair is left of {stages.first:,} ({taken}); nothing was written")
        notes = {"pairs": stages.to_json()}
        sources = [*[s for d in datasets for s in d.manifest.sources], spool.source]
        return write_dataset([spool], sources, output, request, rules.seed, overwrite, notes)


def _source(datasets: Sequence[Dataset], stages: Stages) -> Source:
    names = ", ".join(sorted({source.name for dataset in datasets for source in dataset.manifest.sources}))
    licences = "; ".join(sorted({source.licence for dataset in datasets for source in dataset.manifest.sources}))
    sha256 = fingerprint([dataset.fingerprint for dataset in datasets])
    return Source(f"pairs of {names}", licences, stages.first, stages.last, stages.dropped(), sha256)


def _pairs(dataset: Dataset, rules: PairRules, cache: Path, number: int) -> Iterator[Pair]:
    """All pairs of the asked kinds, before any filter."""
    published = "published" in dataset.manifest.split_rule
    for split in dataset.splits:
        store = Store.open([Selection(dataset, split=split, min_score=_ABOVE_ZERO)], cache=cache)
        queries, documents = store.queries[0], store.documents[0]
        with progress(f"pairs of {dataset.path.name}, {split}", len(store), "queries") as bar:
            for example, row in enumerate(store.query_rows.tolist()):
                asked, lang = queries.value(row), queries.value(row, "lang")
                for place in store.document_rows[store.starts[example] : store.starts[example + 1]].tolist():
                    known = {name: documents.value(place, name) for name in ("text", "lang", "date", "group", "source")}
                    group = known.pop("group") or f"{number}:{documents.value(place, 'id')}"
                    for kind, text in _cut(known.pop("text"), lang == known["lang"], rules):
                        yield Pair(
                            kind, asked, lang, text, known["lang"], group, known["source"], known["date"],
                            split if published else None,
                        )  # fmt: skip
                bar.advance()


def _cut(text: str, same_language: bool, rules: PairRules) -> Iterator[tuple[str, str]]:
    if not same_language:
        if "aligned" in rules.kinds:
            yield "aligned", text
        return
    if "query-document" in rules.kinds:
        yield "query-document", text
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    if "title-summary" in rules.kinds and paragraphs:
        yield "title-summary", paragraphs[0]
    if "title-paragraph" in rules.kinds:
        for paragraph in paragraphs[1 : 1 + rules.paragraphs]:
            yield "title-paragraph", paragraph


def _masked(pairs: Iterator[Pair], rules: PairRules, stages: Stages) -> Iterator[Pair]:
    """Take the query's words out of a share of the texts, chosen by the pair's hash."""
    totals = {"pairs": 0, "masked": 0, "before": 0.0, "after": 0.0}
    for pair in pairs:
        totals["pairs"] += 1
        totals["before"] += overlap(pair.query, pair.text)
        drawn = int(text_id("m", f"{rules.seed}\t{pair.query}\t{pair.text}")[2:10], 16) / 0xFFFFFFFF
        if pair.kind.startswith("title-") and drawn < rules.mask:
            text = mask_title(pair.query, pair.text)
            if text != pair.text and len(text) >= rules.filters.text_characters[0]:
                totals["masked"] += 1
                pair = replace(pair, text=text)
        totals["after"] += overlap(pair.query, pair.text)
        yield pair
    count = max(totals["pairs"], 1)
    stages.masking = {
        "masked": totals["masked"],
        "query_words_in_text_before": round(totals["before"] / count, 4),
        "query_words_in_text_after": round(totals["after"] / count, 4),
    }


def _record(pair: Pair) -> SourceRecord:
    query = SourceQuery(text_id("q", f"{pair.query_lang}:{pair.query}"), pair.query, pair.query_lang, pair.date)
    document = SourceDocument(
        text_id("d", pair.text), pair.text, pair.text_lang, date=pair.date, group=pair.group, source=pair.source
    )
    judged = Judgement(query.id, document.id, group=pair.group, split=pair.split)
    return SourceRecord((document,), (query,), (judged,))
