"""Every choice of `osparse package --quantize` at a published encoder's shape, with random weights.

    python benchmarks/quantization.py [doc-v3-distill] [--model MODEL --dataset DATASET]

Bytes, memory and processor time depend on the shape alone; what is lost does not, so the losses of random weights are
left out. `--model` measures a trained model instead, whose table `osparse package --quantize compare` prints. Shapes
are those of benchmarks/published_shapes.py.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import published_shapes

from osparse.packager import QuantizationTable, compare_quantizations


def markdown(table: QuantizationTable) -> str:
    """Rows for docs/bundle.md."""
    lines = ["| quantize | zip | memory | processor time |", "|---|---|---|---|"]
    fp32 = table.rows[0]
    for row in table.rows:
        memory = "-" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:,.0f} MB"
        zipped = f"{row.zip_bytes / 1e6:,.0f} MB ({row.zip_bytes / fp32.zip_bytes:.2f}x)"
        time = f"{row.cpu_seconds * 1e3:,.0f} ms ({row.cpu_seconds / fp32.cpu_seconds:.2f}x)"
        lines.append(f"| {row.choice} | {zipped} | {memory} | {time} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="doc-v3-distill", choices=sorted(published_shapes.SHAPES))
    parser.add_argument("--model", type=Path, help="a trained model, in place of a shape")
    parser.add_argument("--dataset", type=Path, help="as of osparse package; int8-static needs it")
    given = parser.parse_args()
    if given.model:
        print(compare_quantizations(given.model, given.dataset).text())
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        published_shapes.make(given.shape, folder)
        table = compare_quantizations(folder, given.dataset, activation=published_shapes.SHAPES[given.shape][1])
    print(f"{given.shape}, one text of {table.length} ids on one thread:\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
