from __future__ import annotations

import numpy as np
import pytest

from osparse.errors import DatasetError
from osparse.trainer.sampling import BatchSampler

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
