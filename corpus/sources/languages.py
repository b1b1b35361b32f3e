"""The languages of a source's texts: as the source names them, else detected, the same way for every reader.

A record names the language of a text, or "" where the source does not. Such a language is guessed from the text, and
then from the texts of the same record; what stays undetermined is settled once the whole source was read.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

import polars as pl

from osparse.algorithms.language import UNDETERMINED, guess_language, settle_guesses
from osparse.corpus.sources.records import SourceDocument, SourceQuery, SourceRecord

ENGLISH_WORDS = r"(?i)\b(the|and|of|with|from|that|this|are|you|your|is|it|for|to|by|be|not|on)\b"
"""Function words; most English texts of ten words have one, and few texts of other languages."""
LONG, LOOKED_AT, FEWEST = 10, 1_000, 20
"""Words of a text in which function words are looked for, how many such texts, and how few say nothing."""
GUESSED = "~"
"""Begins a language that was guessed, until the source was read to its end."""

log = logging.getLogger("osparse.corpus.sources.languages")


def guessed(*texts: str) -> str:
    """The language of the first text that has one that can be detected, marked as guessed."""
    guesses = (guess_language(text) for text in texts)
    return GUESSED + next((lang for lang in guesses if lang != UNDETERMINED), UNDETERMINED)


def with_languages(record: SourceRecord, lang: str = "") -> SourceRecord:
    """The record with a language for every text: ``lang`` for all if it is given; guessed ones are marked."""
    texts: list[SourceDocument | SourceQuery] = [*record.documents, *record.queries]
    if not lang and all(text.lang for text in texts):
        return record
    guesses = {text.text: guess_language(text.text) for text in texts if not text.lang and not lang}
    detected = {text.lang or guesses[text.text] for text in texts if not lang} - {UNDETERMINED}
    shared = detected.pop() if len(detected) == 1 else UNDETERMINED

    def language(text: SourceDocument | SourceQuery) -> str:
        if lang or text.lang:
            return lang or text.lang
        guess = guesses[text.text]
        return GUESSED + (shared if guess == UNDETERMINED else guess)

    documents = tuple(replace(document, lang=language(document)) for document in record.documents)
    queries = tuple(replace(query, lang=language(query)) for query in record.queries)
    return replace(record, documents=documents, queries=queries)


def settle_languages(table: pl.LazyFrame, what: str) -> pl.LazyFrame:
    """All documents or all queries of one source (columns ``lang``, ``text``) with the guessed languages settled.

    ``what``: names them in the warning where languages stay undetermined.
    """
    guessed = table.filter(pl.col("lang").str.starts_with(GUESSED), pl.col("text").str.strip_chars() != "")
    counted = guessed.group_by("lang").len().collect(engine="streaming")
    texts = Counter({UNDETERMINED: 0, **{lang.removeprefix(GUESSED): rows for lang, rows in counted.iter_rows()}})
    settled = settle_guesses(texts)
    unknown = sum(rows for lang, rows in texts.items() if settled[lang] == UNDETERMINED)
    if unknown:
        log.warning(
            "%s: the language of %s of %s texts cannot be detected (%s); name it with `lang`",
            what, f"{unknown:,}", f"{texts.total():,}", UNDETERMINED,
        )  # fmt: skip
    if settled.get("en") == "en":
        _warn_of_other_languages(table, what)
    return table.with_columns(pl.col("lang").replace({GUESSED + guess: lang for guess, lang in settled.items()}))


def _warn_of_other_languages(table: pl.LazyFrame, what: str) -> None:
    """German or French has the letters of English; what gives it away is that its texts lack English function words."""
    texts = table.filter(pl.col("lang") == GUESSED + "en", pl.col("text").str.count_matches(" ") >= LONG - 1)
    english = pl.col("text").str.contains(ENGLISH_WORDS)
    seen = texts.select(english=english).head(LOOKED_AT).collect(engine="streaming")["english"]
    share = float(seen.sum()) / max(1, len(seen))
    if len(seen) >= FEWEST and share < 0.5:
        log.warning(
            "%s: %s texts are taken for English by their letters, but only %.0f %% of the longer ones have a word such "
            "as 'the' or 'of'; name their language with `lang`",
            what, f"{table.filter(pl.col('lang') == GUESSED + 'en').select(pl.len()).collect().item():,}", 100 * share,
        )  # fmt: skip
