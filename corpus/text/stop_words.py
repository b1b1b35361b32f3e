"""Words that say nothing by themselves, in English and Korean: left out where terms are shown to people.

Counting keeps them: a query weight needs every word.
"""

from __future__ import annotations

STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being but by can could did do does done
    each few for from had has have he her here him his how i if in into is it its just may me more most must my no
    nor not of off on once one only or other our out over own s same she should so some such t than that the their
    them then there these they this those through to too under until up us very was we were what when where which
    while who whom why will with would you your 그 그런 그리고 그러나 그래서 그것 이 이런 이것 저 저것 것 수 등 및
    또 또는 또한 더 매우 가장 모든 다른 같은 대한 대해 위한 위해 통해 따라 따른 관한 관련 있다 있는 있습니다 없다
    없는 하다 하는 한다 합니다 했다 했습니다 하고 해 된 된다 되는 됩니다 이다 입니다 있으며 하며 때 때문 중 안 내
    전 후 간 년 월 일 오늘 지난 제 각 약 총
    """.split()
)
"""Lower-cased, Korean ones without their particle, as :func:`osparse.corpus.text.analysis.words` gives them."""


def says_something(term: str) -> bool:
    """Whether a word, or a phrase's first and last word, are neither stop words, nor single letters, nor numbers."""
    parts = term.split()
    ends = {parts[0], parts[-1]} if parts else set()
    return bool(ends) and not any(word in STOP_WORDS or word.isdigit() or _one_letter(word) for word in ends)


def _one_letter(word: str) -> bool:
    return len(word) == 1 and word.isascii()
