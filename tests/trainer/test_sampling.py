from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world

from osparse.contracts.dataset import Dataset
from osparse.errors import DatasetError
from osparse.trainer.data import batch_sampler
from osparse.trainer.data.batch_sampler import BatchSampler, nearest, tf_idf
from osparse.trainer.data.record_reader import read_records

GROUPS = np.array([0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8])


def test_no_group_twice_in_a_batch_and_all_records_seen() -> None:
    sampler = BatchSampler(GROUPS, 4, (1, 2))
    seen: set[int] = set()
    for step in range(30):
        batch = sampler.at(step)
        assert len(batch) == 4
        assert len(set(GROUPS[batch])) == 4
        seen |= set(batch.tolist())
    assert seen == set(range(12))


def test_a_step_does_not_depend_on_the_steps_before_it() -> None:
    straight, jumped = BatchSampler(GROUPS, 3, (1,)), BatchSampler(GROUPS, 3, (1,))
    wanted = [straight.at(step).tolist() for step in range(40)]
    assert [jumped.at(step).tolist() for step in (39, 0, 17, 18)] == [wanted[s] for s in (39, 0, 17, 18)]
    assert [BatchSampler(GROUPS, 3, (2,)).at(s).tolist() for s in range(40)] != wanted


def test_a_batch_above_the_groups_is_cut_and_one_group_is_refused() -> None:
    assert len(BatchSampler(GROUPS, 100, (1,)).at(3)) == 9
    with pytest.raises(DatasetError, match="at least two"):
        BatchSampler(np.zeros(5, np.int64), 2, (1,))


def test_one_record_a_step_is_a_batch() -> None:
    """Masked-LM may have it; only a mixing that leaves one group is wrong."""
    assert [len(BatchSampler(GROUPS, 1, (1,)).at(step)) for step in range(20)] == [1] * 20


def plainly_dealt(
    groups: np.ndarray, batch: int, generator: np.random.Generator, similar: np.ndarray | None
) -> list[list[int]]:
    """The rule as it is said: each batch takes, in the drawn order, every undealt record whose group is free."""
    order = generator.permutation(len(groups)).tolist()
    batches: list[list[int]] = []
    while True:
        taken: dict[int, int] = {}
        for record in order:
            for candidate in [record, *([] if similar is None else similar[record].tolist())]:
                if len(taken) < batch and candidate in order and int(groups[candidate]) not in taken:
                    taken[int(groups[candidate])] = candidate
        if len(taken) < batch and batches:
            return batches
        batches.append(list(taken.values()))
        order = [record for record in order if record not in taken.values()]


@pytest.mark.parametrize("neighbours", [0, 1, 3])
@pytest.mark.parametrize("names", [5, 40, 120])
def test_batches_are_those_of_the_plain_rule(names: int, neighbours: int) -> None:
    draw = np.random.default_rng([names, neighbours])
    for trial in range(20):
        groups = np.minimum(draw.integers(0, names, 120), draw.integers(0, names, 120))  # some groups are large
        similar = draw.integers(0, 120, (120, neighbours)) if neighbours else None
        sampler = BatchSampler(groups, int(draw.integers(1, 12)), (trial,), similar)
        dealt = plainly_dealt(groups, sampler.batch, np.random.default_rng([trial, 0]), similar)
        assert [sampler.at(step).tolist() for step in range(len(dealt))] == dealt


@pytest.mark.parametrize("large", [0, 20_000])
def test_dealing_looks_at_a_record_a_fixed_number_of_times(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of records, and also where one group holds most of them."""
    groups = np.concatenate([np.zeros(large, np.int64), np.arange(1, 20_001)])
    sampler = BatchSampler(groups, 32, (1,))
    counted, take = [0], sampler._take

    def counting(*arguments: Any) -> int | None:
        counted[0] += 1
        return take(*arguments)

    monkeypatch.setattr(sampler, "_take", counting)
    sampler.at(0)
    assert counted[0] <= 2 * len(groups)


def test_resembling_records_come_into_one_batch() -> None:
    similar = np.array([[r ^ 1] for r in range(12)])
    groups = np.arange(12)
    sampler = BatchSampler(groups, 4, (1,), similar)
    seen: list[int] = []
    for step in range(3):
        batch = sampler.at(step).tolist()
        assert all(record ^ 1 in batch for record in batch)
        seen += batch
    assert sorted(seen) == list(range(12))


def test_nearest_is_the_largest_cosine_of_another_group(dataset: Dataset, tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    lexicon = world.make_lexicon(path)
    records = read_records(dataset, path, lexicon)
    dense = tf_idf(records, lexicon.idf).toarray().T
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1)
    cosine = dense @ dense.T
    np.fill_diagonal(cosine, -1)
    assert np.array_equal(nearest(records, lexicon.idf, 2), np.argsort(-cosine, axis=1)[:, :2])
    assert nearest(records, lexicon.idf, 99).shape == (5, 4)


def test_among_many_records_the_telling_tokens_decide(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    lexicon = world.make_lexicon(path)
    records = read_records(dataset, path, lexicon)
    monkeypatch.setattr(batch_sampler, "MANY", 2)
    monkeypatch.setattr(batch_sampler, "TELLING", 5)
    dense = tf_idf(records, lexicon.idf).toarray().T
    fifth = np.sort(dense, axis=1)[:, -5][:, None]
    scores = np.where(dense >= fifth, dense, 0) @ dense.T
    np.fill_diagonal(scores, -1)
    assert np.array_equal(nearest(records, lexicon.idf, 1)[:, 0], scores.argmax(1))
