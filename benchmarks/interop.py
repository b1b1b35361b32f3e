"""osparse and sentence-transformers read each other's folders and give the same vectors.

    python benchmarks/interop.py                          # tiny random models, made here
    python benchmarks/interop.py MODEL                    # a model of yours too, one without a lexical table

Two ways: a model directory of osparse is encoded by SparseEncoder as it is; and folders that SparseEncoder saves (a
symmetric one, and a Router with an inference-free query encoder) are opened as ``osparse package`` opens them. Special
tokens, which osparse never gives weight, and pruning, which sentence-transformers does not know, are left out. The
peer runs in its own environment (benchmarks/peers.py). Exit code 1 if a weight differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from osparse.contracts.model import LEXICAL_TABLE

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 1e-4
TEXTS = [
    "배나무는 봄에 하얀 꽃이 피고 가을에 열매를 딴다.",
    "A pear tree flowers white in spring.",
    "version 2.0",
    "the the the",
]
PEER = """
import json, sys
import numpy as np
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseStaticEmbedding, SpladePooling
from sentence_transformers.base.modules import Router
models, out, texts = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
def save(name, encoder, queries=False):
    found = {"documents": encoder.encode_document(texts, convert_to_sparse_tensor=False).cpu().numpy()}
    if queries:
        found["queries"] = encoder.encode_query(texts, convert_to_sparse_tensor=False).cpu().numpy()
    np.savez(f"{out}/{name}.npz", **found)
for name, path in models.items():
    encoder = SparseEncoder(path)
    save(name, encoder)
    mlm, pooling = encoder[0], encoder[1]
    SparseEncoder(modules=[mlm, pooling]).save(f"{out}/{name}-symmetric")
    static = SparseStaticEmbedding.from_json(f"{path}/idf.json", tokenizer=mlm.tokenizer, frozen=True)
    routed = SparseEncoder(modules=[Router.for_query_document([static], [mlm, pooling])])
    routed.save(f"{out}/{name}-routed")
    save(f"{name}-routed", routed, queries=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", type=Path, help="model directories to compare beside the tiny ones")
    parser.add_argument("--python", help="interpreter that has sentence-transformers; made by peers.py if left out")
    given = parser.parse_args()
    if tabled := [str(path) for path in given.model if (path / LEXICAL_TABLE).is_file()]:
        parser.error(f"{', '.join(tabled)}: sentence-transformers does not know lexical tables")
    with tempfile.TemporaryDirectory(prefix="osparse-interop-") as folder:
        out = Path(folder)
        models = {**_tiny(out), **{f"given-{n}": path.resolve() for n, path in enumerate(given.model)}}
        _peer(given.python, models, out)
        rows = [row for name, path in models.items() for row in _compare(name, path, out)]
    for name, what, difference in rows:
        print(f"{name:24}{what:44}{difference:.1e}")
    sys.exit(0 if all(difference <= TOLERANCE for *_, difference in rows) else 1)


def _tiny(out: Path) -> dict[str, Path]:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import world

    from osparse.formula.head import ACTIVATIONS, Head

    heads = {name: Head(name, max_length=64, masked_ids=tuple(range(5))) for name in ACTIVATIONS}
    return {name: world.make_model(out / "models" / name, head=head).path for name, head in heads.items()}


def _peer(python: str | None, models: dict[str, Path], out: Path) -> None:
    import peers

    interpreter = python or str(peers.python("sentence-transformers"))
    paths = json.dumps({name: str(path) for name, path in models.items()})
    environment = {**peers.environment(1), **({"PYTHONPATH": os.environ.get("PYTHONPATH", "")} if python else {})}
    subprocess.run(
        [interpreter, "-W", "ignore", "-c", PEER, paths, str(out), json.dumps(TEXTS)], check=True, env=environment
    )


def _compare(name: str, path: Path, out: Path) -> list[tuple[str, str, float]]:
    from osparse.packager.checkpoint.checkpoints import open_model

    theirs = np.load(out / f"{name}.npz")["documents"]
    routed = np.load(out / f"{name}-routed.npz")
    own, pairs = open_model(path), []
    pairs.append((name, "osparse's folder in SparseEncoder", _documents(own, theirs)))
    symmetric = open_model(out / f"{name}-symmetric", idf=path / "idf.json")
    pairs.append((name, "SparseEncoder's folder in osparse", _documents(symmetric, theirs)))
    opened = open_model(out / f"{name}-routed")
    pairs.append((name, "a routed folder in osparse, documents", _documents(opened, routed["documents"])))
    pairs.append((name, "a routed folder in osparse, queries", _queries(opened, routed["queries"])))
    return pairs


def _documents(model: Any, theirs: np.ndarray) -> float:
    from dataclasses import replace

    from osparse.packager.checkpoint.loaded import LoadedModel

    whole = replace(model, head=replace(model.head, prune_ratio=0.0, top_k=None))
    source = LoadedModel.open(whole)
    tokenizer = source.tokenizer()
    rows = [np.array([tokenizer.encode(text).ids]) for text in TEXTS]
    ours = np.concatenate([source.run(row, np.ones_like(row)) for row in rows])
    kept = np.ones(ours.shape[1], bool)
    kept[list(model.head.masked_ids)] = False
    return float(np.abs(ours - theirs)[:, kept].max())


def _queries(model: Any, theirs: np.ndarray) -> float:
    from osparse.formula.lexicon import load_tokenizer
    from osparse.formula.query_encoder import QueryEncoder

    encoder = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    ours = np.zeros_like(theirs)
    for row, text in enumerate(TEXTS):
        ids = encoder.ids(text)
        ours[row, ids] = model.lexicon.idf[ids]
    kept = np.ones(ours.shape[1], bool)
    kept[list(model.lexicon.special_ids)] = False
    return float(np.abs(ours - theirs)[:, kept].max())


if __name__ == "__main__":
    main()
