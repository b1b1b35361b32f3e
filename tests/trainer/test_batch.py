"""Who is whose negative, with hard negatives of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from candidates_world import ROWS, make, ranking_config, remake
from scipy import sparse

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import ConfigError, DatasetError
from osparse.trainer.config.run_config import Mixing, SourceCap
from osparse.trainer.data.batch import Batch, BatchMaker, BatchQuery, thinned
from osparse.trainer.data.batch_sampler import BatchSampler, shares
from osparse.trainer.data.candidates import with_candidates
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.data.token_translation import Translations
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords


@pytest.fixture(scope="module")
def records(dataset: Dataset, model: Model, tmp_path_factory: pytest.TempPathFactory) -> TrainingRecords:
    made = remake(dataset, tmp_path_factory.mktemp("candidates") / "dataset", ROWS)
    tokenizer = model.path / "tokenizer.json"
    return with_candidates(read_records(made, tokenizer, model.lexicon), made, tokenizer, model.lexicon)


def names(batch: Batch, row: int, kind: str, which: int) -> set[str]:
    return {batch.documents[i].id for i in np.flatnonzero(batch.pools(kind)[which][row].numpy())}


def test_candidates_are_read_with_labels_and_scores_and_without_held_back_documents(records: TrainingRecords) -> None:
    found = records.candidates["q:pear:en"]
    assert found.documents == {"bread:en": True, "rain:en": False, "pear:en": False}
    assert found.scores == {"teacher": {"rain:en": 3.0, "pear:en": 9.0}}
    assert records.candidates["q:pear:ko"].documents == {"bread:ko": True, "moon:ko": True}
    assert set(records.others) == {"bread:en", "rain:en", "pear:en", "bread:ko", "moon:ko"}


def test_held_back_candidates_are_named_in_a_warning(
    dataset: Dataset, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = remake(dataset, tmp_path / "dataset", ROWS)
    tokenizer = model.path / "tokenizer.json"
    with_candidates(read_records(made, tokenizer, model.lexicon), made, tokenizer, model.lexicon)
    assert "1 of 6 candidates" in caplog.text


def test_a_dataset_without_candidates_says_how_to_make_them(dataset: Dataset, model: Model) -> None:
    tokenizer = model.path / "tokenizer.json"
    records = read_records(dataset, tokenizer, model.lexicon)
    with pytest.raises(DatasetError, match="osparse corpus mine"):
        with_candidates(records, dataset, tokenizer, model.lexicon)


def test_hard_negatives_join_the_batch_in_the_language_of_the_document(records: TrainingRecords) -> None:
    batch = make(records, negatives=3)
    assert "q:pear:en" in batch.query_ids
    for row, name in enumerate(batch.query_ids):
        if name and name.startswith("q:pear"):
            lang = batch.columns[batch.queries[row].target].document.lang
            slate = names(batch, row, "all", 1)
            wanted = {"en": {"pear:en", "bread:en", "rain:en"}, "ko": {"pear:ko", "bread:ko", "moon:ko"}}[lang]
            assert slate == wanted
            assert names(batch, row, "all", 0) >= wanted - {"rain:en"}


def test_an_unlabelled_candidate_is_a_teachers_and_no_negative_of_its_query(records: TrainingRecords) -> None:
    batch = make(records, negatives=3)
    for row in range(len(batch.queries)):
        target = batch.columns[batch.queries[row].target].document
        if target.id == "pear:en":
            assert "rain:en" not in names(batch, row, "all", 0) and "rain:en" in names(batch, row, "all", 1)
        elif target.id == "bread:en":
            assert "rain:en" in names(batch, row, "all", 0)


def test_the_published_pools(records: TrainingRecords) -> None:
    batch = make(records, negatives=1)
    for row, query in enumerate(batch.queries):
        here = batch.columns[query.target].document
        own, hard = names(batch, row, "own", 0), names(batch, row, "hard", 0)
        positives = {c.document.id for c in batch.columns if c.positive and c.document.lang == here.lang}
        assert positives - own == (
            {"rain:en"} if here.id == "pear:en" and "rain:en" in names(batch, row, "own", 1) else set()
        )
        assert not (hard - {here.id}) & positives


def test_a_sibling_that_came_as_a_hard_negative_is_no_negative() -> None:
    """Of record b, whose group it shares; it may be one of record a."""
    documents = [TokenisedText("a", "en", np.array([1]), "a"), TokenisedText("b", "en", np.array([2]), "b")]
    sibling = TokenisedText("b-dev", "en", np.array([3]), "b")
    batch = Batch()
    for document in documents:
        batch.add_document(document, document.ids, 0)
    batch.add_candidate(sibling, sibling.ids, 1, owner=0, negative=True)
    for owner in (0, 1):
        batch.add_query(BatchQuery(np.array([9]), owner, 1.0, frozenset({"ab"[owner]}), owner))
    assert batch.candidates().tolist() == [[True, True, True], [True, True, False]]


def test_a_document_that_is_there_is_not_encoded_twice() -> None:
    batch = Batch()
    text = TokenisedText("a", "en", np.array([1]), "a")
    other = TokenisedText("b", "en", np.array([2]), "b")
    batch.add_document(text, text.ids, 0)
    batch.add_document(other, other.ids, 0)
    batch.add_candidate(other, other.ids, 1, owner=0, negative=True)
    assert [d.id for d in batch.documents] == ["a", "b"] and all(column.positive for column in batch.columns)
    assert batch.slate == [(0, 1)]


@pytest.mark.parametrize("kind", ["all", "own", "hard"])
def test_pools_are_those_of_plain_loops(kind: str) -> None:
    draw = np.random.default_rng(5)
    batch, texts = Batch(), [np.array([i % 9]) for i in range(30)]  # some are copies of each other
    documents = [TokenisedText(f"d{i}", "ek"[i % 2], texts[i], f"g{i // 3}") for i in range(30)]
    for document in documents[:12]:
        batch.add_document(document, document.ids, 0)
    offered: dict[tuple[int, int], list[bool]] = {}
    for _ in range(40):
        owner, chosen, negative = int(draw.integers(6)), int(draw.integers(30)), bool(draw.integers(2))
        batch.add_candidate(documents[chosen], texts[chosen], 1, owner=owner, negative=negative)
        offered.setdefault((owner, batch.column_of[f"d{chosen}"]), []).append(negative)
    for row in range(20):
        relevant = frozenset(f"d{i}" for i in draw.integers(0, 30, 3)) | {f"d{row % 12}", "elsewhere"}
        batch.add_query(BatchQuery(np.array([9]), row % 12, 1.0, relevant, row % 6))
    assert len({column.document.id for column in batch.columns}) == len(batch.columns)
    softmax, slate, candidates = batch.pools(kind)
    for row, query in enumerate(batch.queries):
        target = batch.columns[query.target].document
        for number, column in enumerate(batch.columns):
            document, labels = column.document, offered.get((query.owner, number), [])
            allowed = number == query.target or (
                document.lang == target.lang and document.group != target.group and document.id not in query.relevant
                and document.ids.tolist() != target.ids.tolist()
            )  # fmt: skip
            first = int(document.id[1:]) < 12
            negative = bool(labels) and all(labels)
            pooled = {"all": True, "own": negative or first, "hard": not first}[kind] or number == query.target
            assert bool(candidates[row, number]) == allowed
            assert bool(slate[row, number]) == (allowed and (bool(labels) or number == query.target))
            assert bool(softmax[row, number]) == (allowed and pooled and (negative or not labels))


def sources(counts: dict[str, int]) -> TrainingRecords:
    found = [
        TrainingRecord(
            f"{name}{i}",
            name,
            [TokenisedText(f"q{name}{i}", "en", np.array([1]))],
            [TokenisedText(f"{name}{i}", "en", np.array([1]))],
        )
        for name, count in counts.items()
        for i in range(count)
    ]
    return TrainingRecords(found, ("en",), {})


@pytest.mark.parametrize(
    ("mixing", "wanted"),
    [
        (Mixing(), {"a": 100, "b": 25, "c": 4}),
        (Mixing(exponent=0.0), {"a": 4, "b": 4, "c": 4}),
        (Mixing(exponent=0.5), {"a": 20, "b": 10, "c": 4}),
        (Mixing(caps=(SourceCap(source="a", records=30),)), {"a": 30, "b": 25, "c": 4}),
    ],
)
def test_sources_deal_by_their_caps_and_the_exponent(mixing: Mixing, wanted: dict[str, int]) -> None:
    records = sources({"a": 100, "b": 25, "c": 4})
    sampler = BatchSampler(records.groups, 1 << 20, (0,), None, shares(records, mixing))
    found = [records.records[i].source for i in sampler.at(0)]
    assert {name: found.count(name) for name in "abc"} == wanted
    assert sorted(sampler.at(0).tolist()) != sorted(sampler.at(1).tolist()) or wanted["a"] == 100


def test_a_cap_of_an_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="no source 'x'; the train split has: a"):
        shares(sources({"a": 2}), Mixing(caps=(SourceCap(source="x", records=1),)))


def test_mixing_that_leaves_one_record_is_refused() -> None:
    records = sources({"a": 3})
    sampler = BatchSampler(
        records.groups, 2, (0,), None, shares(records, Mixing(caps=(SourceCap(source="a", records=1),)))
    )
    with pytest.raises(DatasetError, match="one group alone"):
        sampler.at(0)


def test_dropout_thins_documents_and_judged_queries_but_never_empties_them(records: TrainingRecords) -> None:
    whole = make(records)
    thin = make(records, document_dropout=0.5, query_dropout=0.9)
    for before, after in zip(whole.columns, thin.columns, strict=True):
        assert 0 < len(after.ids) < len(before.ids)
    judged = [row for row, name in enumerate(thin.query_ids) if name]
    assert {len(thin.queries[row].ids) for row in judged} < {*range(1, 99)}
    assert sum(len(thin.queries[r].ids) for r in judged) < sum(len(whole.queries[r].ids) for r in judged) / 2
    ids = np.arange(10_000)
    kept = thinned(ids, 0.3, np.random.default_rng(0))
    assert abs(len(kept) - 7_000) < 200 and (np.diff(kept) > 0).all()
    assert thinned(ids[:2], 0.9, np.random.default_rng(3)).tolist() == [0]


def test_a_record_in_one_language_has_spans_only_where_there_is_no_other(records: TrainingRecords) -> None:
    alone = [
        TrainingRecord(r.group, r.source, r.queries, [d for d in r.documents if d.lang == "en"]) if i else r
        for i, r in enumerate(records.records)
    ]
    mixed = TrainingRecords(alone, ("en", "ko"), records.relevant)
    batch = make(mixed, batch=len(alone))
    spans = [query.owner for query in batch.queries if query.text is None]
    both = {query.owner for query in batch.queries if batch.columns[query.target].document.lang == "ko"}
    assert set(spans) == both and len(spans) == 2
    english = TrainingRecords(alone[1:], ("en",), records.relevant)
    assert None in make(english, batch=len(alone) - 1).query_ids


def test_queries_of_a_record_in_one_language_are_translated(records: TrainingRecords) -> None:
    """Each of their tokens has one translation here, the id after it; records in two languages are left alone."""
    after = sparse.csr_matrix(np.eye(1000, k=1))
    translations = {pair: Translations(after) for pair in (("en", "ko"), ("ko", "en"))}
    alone = replace(records.records[0], documents=[d for d in records.records[0].documents if d.lang == "en"])
    several = replace(records, records=[alone, *records.records[1:]])
    config = ranking_config(translated_queries=2, spans=0, span_weight=0.25)
    sampler = BatchSampler(several.groups, config.batch, (0,))
    batch = BatchMaker(several, sampler, config, 62, translations).at(0, np.random.default_rng(0))
    made = [row for row, name in enumerate(batch.query_ids) if name is None]
    (english,) = (query for query in alone.queries if query.lang == "en")
    assert len(made) == 2
    for row in made:
        assert batch.queries[row].ids.tolist() == [i + 1 for i in english.ids.tolist()]
        assert (
            batch.columns[batch.queries[row].target].document.id == alone.documents[0].id
            and batch.queries[row].weight == 0.25
        )
