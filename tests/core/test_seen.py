"""The list of texts that a model learnt from: exact, compact, read from a memory map."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from osparse.contracts.seen import SEEN, SeenFile, SeenTexts, text_hash
from osparse.errors import ModelError


def test_every_text_is_found_and_no_other(tmp_path: Path) -> None:
    generator = random.Random(0)
    texts = ["".join(generator.choices("가나다라 abcdef", k=12)).strip() for _ in range(2000)]
    learnt, others = set(texts[:1000]), [text for text in texts[1000:] if text not in set(texts[:1000])]
    SeenTexts.of(learnt, []).write(tmp_path)
    seen = SeenTexts.open(tmp_path / SEEN)
    assert seen.holds("document", sorted(learnt)).all() and not seen.holds("document", others).any()
    assert not seen.holds("query", sorted(learnt)).any(), "a document is not a query"
    assert isinstance(seen.hashes, np.memmap) and (tmp_path / SEEN).stat().st_size < 8 * len(learnt) + 100


def test_case_spaces_and_composition_do_not_matter() -> None:
    seen = SeenTexts.of(["배 Café\n키우기"], ["Q"])
    same = [unicodedata.normalize("NFD", "배 café 키우기"), "  배  CAFÉ 키우기 "]
    assert seen.holds("document", same).all() and seen.holds("query", ["q"]).all()
    assert not seen.holds("document", ["배 cafe 키우기", "배café 키우기", ""]).any()


def test_the_hash_does_not_depend_on_the_process() -> None:
    assert (text_hash("document", "pear"), text_hash("query", "pear")) == (HASHES["document"], HASHES["query"])


HASHES = {"document": 2064710462140466830, "query": 13951811169107007694}
"""blake2b(b"pear", digest_size=8, person=kind), little endian, computed in another process."""


def test_the_union_of_several(tmp_path: Path) -> None:
    one, other = SeenTexts.of(["a", "b"], [], ["start bert"]), SeenTexts.of(["b", "c"], ["a"], ["teacher x"])
    both = one.union(other)
    assert len(both) == 4 and both.unknown == ("start bert", "teacher x")
    written = both.write(tmp_path)
    again = SeenTexts.read(tmp_path, written)
    assert (again.hashes == both.hashes).all() and again.unknown == both.unknown
    assert SeenTexts.of([], []).union(one).holds("document", ["a"]).all()


def test_nothing_learnt_is_a_list_too(tmp_path: Path) -> None:
    written = SeenTexts.of([], [], ["start bert"]).write(tmp_path)
    seen = SeenTexts.read(tmp_path, written)
    assert len(seen) == 0 and not seen.holds("document", ["a"]).any() and seen.unknown == ("start bert",)


def test_false_positives_are_what_hashes_of_so_many_bits_give() -> None:
    """Against a simulation with hashes of 16 bits, in which equal ones are common."""
    generator = np.random.default_rng(0)
    stored = np.unique(generator.integers(0, 2**16, 3000))
    simulated = np.isin(generator.integers(0, 2**16, 200_000), stored).mean()
    assert simulated == pytest.approx(len(stored) / 2**16, rel=0.05)
    seen = SeenTexts(np.arange(4_000_000, dtype=np.uint64))
    assert seen.false_positives(10_000) == pytest.approx(10_000 * 4_000_000 / 2**64)


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"texts":2,"unknown":[]}\n' + b"0" * 8, b"\xff\xfe", b'{"texts":-1,"unknown":[]}\n']
)
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SEEN).write_bytes(content)
    with pytest.raises(ModelError, match=r"seen.bin is not a list of training texts"):
        SeenTexts.open(tmp_path / SEEN, ModelError)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    written = SeenTexts.of(["a"], []).write(tmp_path)
    with pytest.raises(ModelError, match="was changed"):
        SeenTexts.read(tmp_path, SeenFile(SEEN, "0" * 64, written.size), ModelError)
