"""So many pairs of several sources: equal shares as far as each reaches, whole groups, the same ones every time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from osparse.corpus.pairs.pair_filters import Pair
from osparse.corpus.split.groups import text_id


def sampled(pairs: Iterator[Pair], limit: int, seed: int) -> Iterator[Pair]:
    """At most ``limit`` pairs by the hashes of their groups; holds ``limit`` pairs of each source at most.

    A group that does not fit in whole is left out. A source with fewer than its share leaves the rest to the others.
    """
    heaps: dict[str, list[tuple[int, int, Pair]]] = {}
    cut: dict[str, int] = {}  # source -> the group of which a pair was left out
    for number, pair in enumerate(pairs):
        heap = heaps.setdefault(pair.source, [])
        key = -int(text_id("s", f"{seed}\t{pair.group}")[2:], 16)
        if len(heap) < limit:
            heapq.heappush(heap, (key, -number, pair))
        else:
            out = heapq.heappushpop(heap, (key, -number, pair))[0]
            cut[pair.source] = max(out, cut.get(pair.source, out))
    left, sources = limit, sorted(heaps, key=lambda name: (len(heaps[name]), name))
    for place, name in enumerate(sources):
        share = left // (len(sources) - place)
        best = sorted((item for item in heaps[name] if item[0] != cut.get(name)), reverse=True)
        if len(best) > share:
            best = [item for item in best[:share] if item[0] != best[share][0]]
        left -= len(best)
        yield from (pair for _, _, pair in best)
