"""Time of encoding a query by tokenizer and IDF alone, as `osparse search` and `evaluate` do: no model, no torch.

python benchmarks/query.py --dataset build/quickstart/dataset [--model build/quickstart/model]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from osparse.contracts.dataset import Dataset
from osparse.formula.lexicon import Lexicon, load_tokenizer
from osparse.formula.query_encoder import QueryEncoder

TOKENS = 10
CALLS = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="whose queries of 10 tokens are encoded")
    parser.add_argument("--model", type=Path, default=Path("build/bench/model-tiny-256"), help="a model directory")
    given = parser.parse_args()
    tokenizer = given.model / "tokenizer.json"
    encoder = QueryEncoder(load_tokenizer(tokenizer), Lexicon.open(tokenizer, given.model / "idf.json"))
    texts: list[str] = Dataset.open(given.dataset).queries.collect()["text"].to_list()
    queries = [text for text in texts if len(encoder.ids(text)) == TOKENS]
    if not queries:
        sys.exit(f"{given.dataset} has no query of {TOKENS} tokens")
    times = []
    for call in range(CALLS):
        query = queries[call % len(queries)]
        started = time.perf_counter_ns()
        encoder.encode(query)
        times.append((time.perf_counter_ns() - started) / 1e3)
    times.sort()
    print(f"| {TOKENS}-token queries | P50 us | P90 us | P99 us | torch imported |\n|---|---|---|---|---|")
    shares = (times[int(share * CALLS)] for share in (0.5, 0.9, 0.99))
    print(
        f"| {len(queries)} | {' | '.join(f'{t:.1f}' for t in shares)} | {'yes' if 'torch' in sys.modules else 'no'} |"
    )


if __name__ == "__main__":
    main()
