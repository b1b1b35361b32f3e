"""The children of benchmarks/packager.py, run by the peer's interpreter: it needs torch and the peer, not osparse.

packager_contenders.py export MODEL FOLDER             opensearch-py-ml's save_as_pt, into FOLDER/peer.pt
packager_contenders.py run FILE BATCH LENGTH CALLS OUT one line per line of stdin: CALLS forward passes of one thread
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

from child import serve

VOCABULARY = 30_000
"""Ids are drawn below it, above the special ones."""


def export(model: Path, folder: Path) -> None:
    from opensearch_py_ml.ml_models import SparseEncodingModel

    peer = SparseEncodingModel(model_id=str(model), folder_path=str(folder / "peer"), overwrite=True)
    # Its licence file would be fetched from the network.
    with zipfile.ZipFile(
        peer.save_as_pt(sentences=["today is sunny"], model_id="peer", add_apache_license=False)
    ) as made:
        (folder / "peer.pt").write_bytes(made.read("peer.pt"))


def run(file: Path, batch: int, length: int, calls: int, output: Path) -> None:
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    module: Any = torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    ids = torch.randint(5, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def work() -> list[list[float]]:
        with torch.no_grad():
            for _ in range(calls):
                answer = module(inputs)["output"]
        return [row.tolist() for row in answer[:1]]

    serve(work, output)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        run(Path(sys.argv[2]), *(int(n) for n in sys.argv[3:6]), Path(sys.argv[6]))
