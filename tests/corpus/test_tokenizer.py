"""The tokenizer: NFC and NFD alike, whole syllables, equal bytes in another process, what transformers makes of it."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from string import ascii_lowercase, digits

import pytest
from tokenizers.normalizers import BertNormalizer

from osparse.contracts.dataset import Dataset
from osparse.corpus import train_tokenizer
from osparse.corpus.tokenizers.bpe import fit_bpe
from osparse.corpus.tokenizers.tokenizer import SPECIAL, fit
from osparse.corpus.tokenizers.unigram import fit_unigram
from osparse.errors import DatasetError, InputError
from osparse.formula.lexicon import load_tokenizer, read_vocabulary

TEXTS = [
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG.",
    "한글은 소리를 적는 글자이다.",
    "Hangul writes sounds; it is an alphabet.",
    "글자를 적는다. ①",
    "café CAFÉ ①",
]
SIZE = 300


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tokenizer(dataset, tmp_path_factory.mktemp("tokenizer") / "tokenizer", vocab_size=SIZE).path


def test_nfd_and_nfc_give_the_same_ids(folder: Path) -> None:
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    for text in ("달은 한 달 동안 모양이 바뀌며", "한글 mixed 글자", "café"):
        split, whole = (unicodedata.normalize(form, text) for form in ("NFD", "NFC"))
        assert split != whole
        assert tokenizer.encode(split).ids == tokenizer.encode(whole).ids


def test_every_syllable_is_covered_at_the_start_and_inside_a_word() -> None:
    tokenizer = fit(TEXTS, SIZE)
    syllables = {c for text in TEXTS for c in text if "가" <= c <= "힣"}
    for syllable in syllables:
        for word in (syllable, "는" + syllable, syllable + "는", syllable * 5):
            assert "[UNK]" not in tokenizer.encode(word, add_special_tokens=False).tokens
    assert tokenizer.encode("쀍", add_special_tokens=False).tokens == ["[UNK]"]


def test_accents_stay_and_case_folds_only_when_asked() -> None:
    lower, cased = fit(TEXTS, SIZE), fit(TEXTS, SIZE, lowercase=False)
    assert lower.encode("CAFÉ").ids == lower.encode("café").ids != lower.encode("cafe").ids
    assert cased.encode("THE").tokens != cased.encode("the").tokens
    assert all(token == token.lower() for token in lower.get_vocab() if token[0] != "[")


def test_a_character_outside_the_alphabet_does_not_glue_its_neighbours() -> None:
    tokenizer = fit(["house h€use mouse mouse house"], SIZE)
    assert "€" not in tokenizer.get_vocab()
    assert not {"huse", "##huse"} & set(tokenizer.get_vocab())


def test_specials_come_first_and_frame_a_text(folder: Path) -> None:
    tokens, special = read_vocabulary(folder / "tokenizer.json")
    assert tokens[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert special == (0, 1, 2, 3, 4)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    assert tokenizer.encode("moon").tokens[0] == "[CLS]"
    pair = tokenizer.encode("moon", "달")
    assert pair.tokens.count("[SEP]") == 2
    assert set(pair.type_ids) == {0, 1}
    assert (folder / "vocab.txt").read_text(encoding="utf-8").splitlines() == list(tokens)


def test_it_is_fitted_on_its_split_alone(dataset: Dataset, folder: Path) -> None:
    text = "".join(
        frame.select("text").collect()["text"].str.join("").item()
        for frame in (dataset.split_documents("train"), dataset.split_queries("train"))
    )
    known = {token.removeprefix("##") for token in read_vocabulary(folder / "tokenizer.json")[0][5:]}
    assert {c for token in known for c in token} <= set(text.lower()) | set(ascii_lowercase + digits)


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import hashlib; from osparse.corpus.tokenizers.tokenizer import fit;"
        f"print(hashlib.sha256(fit({TEXTS * 3!r}, 400).to_str().encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": str(seed)}, text=True,
            capture_output=True, check=True,
        ).stdout.strip()
        for seed in range(3)
    }  # fmt: skip
    assert digests == {hashlib.sha256(fit(TEXTS * 3, 400).to_str().encode()).hexdigest()}


def test_transformers_reads_the_folder_as_it_is(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    for text in ("달은 모양이 바뀐다", unicodedata.normalize("NFD", "한글 글자"), "Ünï A\u200bB 🍐", ""):
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert loaded.mask_token == "[MASK]"
    assert len(loaded) == tokenizer.get_vocab_size()


def test_the_report_is_over_the_other_splits(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    report = train_tokenizer(dataset, tmp_path / "tokenizer", vocab_size=SIZE)
    assert set(report.unknown_share) == {"validation/ko", "validation/en", "test/ko", "test/en"}
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    frames = [dataset.split_documents("test"), dataset.split_queries("test")]
    texts = [t for f in frames for t, lang in f.select("text", "lang").collect().iter_rows() if lang == "ko"]
    tokens = [token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).tokens]
    assert report.unknown_share["test/ko"] == pytest.approx(tokens.count("[UNK]") / len(tokens))
    assert report.pieces_per_word["test/ko"] == pytest.approx(len(tokens) / len(" ".join(texts).split()))


def test_a_second_run_is_up_to_date_and_other_settings_are_refused(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "tokenizer"
    first = train_tokenizer(dataset, output, vocab_size=SIZE)
    with caplog.at_level(logging.INFO):
        assert train_tokenizer(dataset, output, vocab_size=SIZE) == first
    assert f"{output} is up to date" in caplog.text
    with pytest.raises(InputError, match="made from other inputs; replace it with `overwrite=True`"):
        train_tokenizer(dataset, output, vocab_size=SIZE + 1)
    (output / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="made from other inputs"):
        train_tokenizer(dataset, output, vocab_size=SIZE)
    assert train_tokenizer(dataset, output, vocab_size=SIZE, overwrite=True) == first


def test_more_tokens_than_a_sparse_vector_field_takes(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = train_tokenizer(dataset, tmp_path / "t", vocab_size=32_769)
    assert made.vocabulary < 32_769, "the corpus has no more"
    assert "a model of 32,769 can be trimmed for it with osparse package MODEL --vocabulary 32768" in caplog.text


def test_wrong_sizes_and_splits(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`vocab_size` must be at least 6, got 5"):
        train_tokenizer(dataset, tmp_path / "t", vocab_size=5)
    with pytest.raises(InputError, match="vocab-size 50 is too small: the alphabet alone takes"):
        train_tokenizer(dataset, tmp_path / "t", vocab_size=50)
    with pytest.raises(DatasetError, match="has no dev qrels; it has: train, validation, test"):
        train_tokenizer(dataset, tmp_path / "t", split="dev")
    assert list(tmp_path.iterdir()) == []


def test_unigram_knows_every_character_and_marks_no_beginning_of_a_word() -> None:
    tokenizer = fit_unigram(TEXTS * 3, 60, BertNormalizer(strip_accents=False), SPECIAL, lowercase=True)
    vocabulary = tokenizer.get_vocab()
    assert {*SPECIAL, *ascii_lowercase, *digits} <= vocabulary.keys()
    assert [vocabulary[name] for name in SPECIAL] == [0, 1, 2, 3, 4]
    for text in TEXTS:
        tokens = tokenizer.encode(text, add_special_tokens=False).tokens
        assert "".join(tokens) == "".join(text.lower().split()) and "[UNK]" not in tokens
    assert tokenizer.encode("쀍").ids == [2, 1, 3]
    with pytest.raises(InputError, match="characters"):
        fit_unigram(TEXTS, 20, BertNormalizer(), SPECIAL, lowercase=True)


def test_unigram_is_of_its_own_kind(dataset: Dataset, tmp_path: Path) -> None:
    made = train_tokenizer(dataset, tmp_path / "a", vocab_size=SIZE, kind="unigram")
    assert 0 < made.vocabulary <= SIZE and not (made.path / "vocab.txt").exists()
    with pytest.raises(InputError, match="other inputs"):
        train_tokenizer(dataset, tmp_path / "a", vocab_size=SIZE)


def test_bpe_merges_whole_syllables_and_knows_every_character() -> None:
    tokenizer = fit_bpe(TEXTS * 3, 120, BertNormalizer(strip_accents=False), SPECIAL, lowercase=True)
    vocabulary = tokenizer.get_vocab()
    assert {*SPECIAL, *ascii_lowercase, *digits, *"한글은소리"} <= vocabulary.keys() and len(vocabulary) <= 120
    for text in TEXTS:
        tokens = tokenizer.encode(text, add_special_tokens=False).tokens
        assert "".join(tokens) == "".join(text.lower().split()) and "[UNK]" not in tokens
    assert "글자" in vocabulary  # the most frequent pair of syllables
    assert tokenizer.encode("쀍").ids == [2, 1, 3]
    with pytest.raises(InputError, match="characters"):
        fit_bpe(TEXTS, 20, BertNormalizer(), SPECIAL, lowercase=True)


def test_bpe_twice_is_equal_to_the_byte(dataset: Dataset, tmp_path: Path) -> None:
    """In another process too, where hash maps have another order."""
    made = train_tokenizer(dataset, tmp_path / "a", vocab_size=SIZE, kind="bpe")
    code = "import sys; from osparse.corpus import train_tokenizer; from osparse.contracts.dataset import Dataset; "
    code += f"train_tokenizer(Dataset.open(sys.argv[1]), sys.argv[2], vocab_size={SIZE}, kind='bpe')"
    subprocess.run([sys.executable, "-c", code, str(dataset.path), str(tmp_path / "b")], check=True)
    assert (made.path / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()
