from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import world

from osparse.formula.lexicon import load_tokenizer
from osparse.trainer.data.padding import SpecialTokens, buckets, window


def test_frame_is_what_the_tokenizer_puts_around(tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    special, loaded = SpecialTokens.of(path), load_tokenizer(path)
    ids = loaded.encode("moon and rain", add_special_tokens=False).ids
    assert [*special.before, *ids, *special.after] == loaded.encode("moon and rain").ids
    assert special.mask == loaded.token_to_id("[MASK]") and special.pad == loaded.token_to_id("[PAD]")


def test_buckets_hold_every_sequence_once_with_little_padding() -> None:
    special = SpecialTokens(np.array([2]), np.array([3]), 0, 4)
    sequences = [np.arange(10, 10 + n) for n in (1, 30, 2, 29, 3, 28, 0)]
    seen = {}
    for chosen, ids, mask in buckets(sequences, special, rows=3):
        assert ids.shape == mask.shape and ids.shape[1] - mask.sum(1).min() <= 27
        for row, i in enumerate(chosen):
            seen[int(i)] = ids[row, mask[row].bool()]
            assert (ids[row, ~mask[row].bool()] == 0).all()
    for i, sequence in enumerate(sequences):
        assert torch.equal(seen[i], torch.from_numpy(np.concatenate([[2], sequence, [3]])))


def test_windows_are_parts_of_the_text() -> None:
    ids, generator = np.arange(50), np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        part = window(ids, 20, generator)
        assert np.array_equal(part, np.arange(part[0], part[0] + 20))
        starts.add(int(part[0]))
    assert {0, 30} <= starts and len(starts) == 31
    assert np.array_equal(window(ids, 50, generator), ids)
