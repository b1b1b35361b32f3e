"""What each quantisation of a model loses and costs, beside the fp32 encoder: a table and a recommendation.

    table = compare_quantizations("build/quickstart/model", "build/quickstart/dataset")
    print(table.text())
    table.recommended            # "int8", or None where nothing is gained

No bundle is written. Every choice is exported, checked for what the server's ONNX Runtime reads, and run here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.model import Model
from osparse.encoders.onnx_session import open_runner
from osparse.errors import BundleError
from osparse.io.progress import progress
from osparse.packager.checkpoint.checkpoints import open_model
from osparse.packager.export import archive, formats
from osparse.packager.quantize.choice import parse

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset
    from osparse.packager.checkpoint.loaded import LoadedModel
    from osparse.packager.compare.parity import Case

CHOICES = (
    "fp16", "layers=int8,head=fp16", "layers=fp16,head=int8", "int8-tensor", "int8", "layers=int8-static,head=int8",
    "int8-static",
)  # fmt: skip
"""What is compared; those that are calibrated only with a dataset."""
MOST_LOST = 0.005
"""Of nDCG@10, in a recommended choice."""
LEVEL = 0.05
"""A choice whose nDCG@10 is lower with a p below it is not recommended."""
LEAST_MEAN_COSINE = 0.99
"""Of a recommended choice, where there are no judgements."""
GAIN = 0.95
"""Share of fp32's processor time, or bytes, below which a choice counts as quicker, or smaller."""


@dataclass(frozen=True)
class Row:
    """One choice."""

    choice: str
    mean_cosine: float
    least_cosine: float
    mean_shared: float
    """Tokens above 1e-3 that both have, as a share of those that either has."""
    largest_difference: float
    allowed: bool
    """Whether ``package`` would write it: no text is changed too much."""
    zip_bytes: int
    memory_bytes: int | None
    cpu_seconds: float
    """Of one text of the model's full length on one thread."""
    ndcg: float | None = None
    """nDCG@10 on the pool of judged queries; None without judgements."""
    ndcg_change: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class QuantizationTable:
    """Every choice beside fp32, which is the first row."""

    rows: tuple[Row, ...]
    texts: int
    """Texts by which the weights were compared."""
    length: int
    """Ids of the text that was timed."""
    judged: str
    """What the rankings are of, in words; empty without judgements."""
    recommended: str | None

    def text(self) -> str:
        """The table, what it was measured on, and the recommendation."""
        from osparse.packager.compare.parity import table

        head = ("quantize", "cosine mean / least", "shared tokens", "zip MB", "memory MB", "CPU ms", "nDCG@10", "p")
        lines = [table([head, *(_cells(row, self.rows[0]) for row in self.rows)])]
        lines.append(f"  weights of {self.texts} texts; one text of {self.length} ids on one thread; {self.judged}")
        return "\n".join([*lines, f"recommended: {self._recommendation()}"])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def _recommendation(self) -> str:
        if self.recommended is None:
            return "none: no choice is quicker or smaller without losing more than it may"
        row, fp32 = next(r for r in self.rows if r.choice == self.recommended), self.rows[0]
        loss = f"mean cosine {row.mean_cosine:.4f}"
        if row.ndcg_change is not None:
            loss += f", nDCG@10 {row.ndcg_change:+.4f} (p {row.p:.2f})"
        return (
            f"`quantize={row.choice}`: {row.cpu_seconds / fp32.cpu_seconds:.2f}x of fp32's processor time, "
            f"{row.zip_bytes / fp32.zip_bytes:.2f}x of its bytes, {loss}"
        )


def compare_quantizations(
    model: Model | Path | str,
    dataset: Dataset | Path | str | None = None,
    *,
    idf: Path | None = None,
    activation: str | None = None,
    max_length: int | None = None,
    ignore: Sequence[str] = (),
) -> QuantizationTable:
    """Measure every choice of ``quantize`` on a model.

    Args:
        dataset: its documents calibrate int8-static and show what weights lose; its judged queries show what rankings
            lose. Without it, the probes' texts are used and int8-static is left out.
        idf: query weights of another's checkpoint, an idf.json.
        activation: of another's checkpoint that does not say.
        max_length: ids per document of another's checkpoint.
        ignore: settings of another's checkpoint that are not to be obeyed.

    Raises:
        InputError: the model cannot be packaged.
        MissingExtraError: torch, transformers or onnx is not installed.
    """
    from osparse.packager.fit.measure import open_dataset
    from osparse.plugins.extras import check

    opened = open_model(model, idf=idf, activation=activation, max_length=max_length, ignore=ignore)
    for module in formats.get("onnx").modules:
        check(module, "train")
    from osparse.packager.checkpoint.loaded import LoadedModel
    from osparse.packager.export.torchscript import one_thread

    with one_thread():
        loaded = LoadedModel.open(opened)
        return _measured(loaded, None if dataset is None else open_dataset(dataset))


def _measured(loaded: LoadedModel, dataset: Dataset | None) -> QuantizationTable:
    from osparse.packager.compare.probes import TEXTS
    from osparse.packager.export import onnx
    from osparse.packager.export.torchscript import Graph
    from osparse.packager.fit.measure import calibration_texts, held_out_texts
    from osparse.packager.quantize.ranking import draw_pool
    from osparse.packager.quantize.rewrite import rewritten

    tokenizer = loaded.tokenizer()
    longest = max((tokenizer.encode(text).ids for _, text in TEXTS), key=len)
    texts = [text for _, text in TEXTS] if dataset is None else held_out_texts(dataset)
    calibration = [] if dataset is None else [tokenizer.encode(text).ids for text in calibration_texts(dataset)]
    pool = None if dataset is None else draw_pool(dataset)
    fp32 = onnx.export(Graph(loaded.encoder))
    choices = [choice for choice in map(parse, CHOICES) if calibration or not choice.calibrated]
    measuring = _Measuring(loaded, _cases(tokenizer, texts), longest, pool)
    with progress("comparing", total=len(choices) + 1, unit="choices") as bar:
        rows = [measuring.row("fp32", fp32)]
        bar.advance()
        for choice in choices:
            data = onnx.cleaned(rewritten(fp32, replace(choice, texts=calibration)))
            rows.append(measuring.row(str(choice), data))
            bar.advance()
    judged = "no judgements" if pool is None else pool.described()
    return QuantizationTable(tuple(rows), len(texts), len(longest), judged, recommend(rows))


class _Measuring:
    """Measures one encoder after the other; the first is what the others are compared with."""

    def __init__(self, loaded: LoadedModel, cases: Sequence[Case], timed: Sequence[int], pool: Any) -> None:
        self.loaded, self.cases, self.timed, self.pool = loaded, cases, timed, pool
        self._expected: Any = None
        self._ranked: Any = None

    def row(self, choice: str, data: bytes) -> Row:
        from osparse.packager.compare.parity import answers, remembering
        from osparse.packager.export import onnx
        from osparse.packager.quantize.cost import measure_cost
        from osparse.packager.quantize.loss import loss_of

        if problems := onnx.problems(data):
            raise BundleError(f"{choice}: the server would not run it: {'; '.join(problems)}")
        run = remembering(open_runner(data, choice))
        given = answers(run, self.cases)
        self._expected = self._expected or given
        loss = loss_of([given], self._expected)
        with tempfile.TemporaryDirectory(prefix="osparse-quantize-") as scratch:
            file = Path(scratch) / "model.onnx"
            file.write_bytes(data)
            cost = measure_cost(file, self.timed)
            shared = self.loaded.shared
            written = archive.write_encoder(
                Path(scratch), "onnx", data, shared, model_file="model.onnx", model_format="ONNX"
            )
        return Row(
            choice, loss.mean_cosine, loss.least_cosine, loss.mean_shared, loss.largest, loss.allowed, written.size,
            cost.memory_bytes, cost.cpu_seconds, *self._rankings(run),
        )  # fmt: skip

    def _rankings(self, run: Any) -> tuple[float | None, float | None, float | None]:
        from osparse.packager.quantize.ranking import MEASURE, difference, measure_pool

        if self.pool is None:
            return None, None, None
        measured = measure_pool(self.pool, run, self.loaded.tokenizer(), self.loaded.query_encoder())
        self._ranked = self._ranked or measured
        return measured.mean(MEASURE), *difference(self._ranked, measured)


def recommend(rows: Sequence[Row]) -> str | None:
    """The quickest choice that loses little; where none is quicker than fp32, the smallest; None if none is smaller."""
    fp32, *others = rows
    good = [row for row in others if _loses_little(row)]
    quick = [row for row in good if row.cpu_seconds < GAIN * fp32.cpu_seconds]
    if quick:
        least = min(row.cpu_seconds for row in quick)
        alike = [row for row in quick if row.cpu_seconds * GAIN <= least]  # as quick, within what a run differs by
        return max(alike, key=lambda row: (-row.zip_bytes, row.mean_cosine)).choice
    small = [row for row in good if row.zip_bytes < GAIN * fp32.zip_bytes]
    return min(small, key=lambda row: (row.zip_bytes, -row.mean_cosine)).choice if small else None


def _loses_little(row: Row) -> bool:
    if not row.allowed:
        return False
    if row.ndcg_change is None or row.p is None:
        return row.mean_cosine >= LEAST_MEAN_COSINE
    return row.ndcg_change >= -MOST_LOST and not (row.ndcg_change < 0 and row.p < LEVEL)


def _cases(tokenizer: Any, texts: Sequence[str]) -> list[Case]:
    from osparse.encoders.onnx_encoder import pad
    from osparse.packager.compare.parity import Case

    return [Case(repr(text[:30]), *pad([tokenizer.encode(text).ids])) for text in texts]


def _cells(row: Row, fp32: Row) -> tuple[str, ...]:
    return tuple(_parts(row, fp32))


def _parts(row: Row, fp32: Row) -> Iterator[str]:
    yield row.choice + ("" if row.allowed else " (refused)")
    yield f"{row.mean_cosine:.4f} / {row.least_cosine:.4f}"
    yield f"{row.mean_shared:.3f}"
    yield f"{row.zip_bytes / 1e6:.1f} ({row.zip_bytes / fp32.zip_bytes:.2f}x)"
    yield "-" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:.0f}"
    yield f"{row.cpu_seconds * 1e3:.1f} ({row.cpu_seconds / fp32.cpu_seconds:.2f}x)"
    yield "-" if row.ndcg is None else f"{row.ndcg:.4f} ({row.ndcg_change:+.4f})"
    yield "-" if row.p is None or row is fp32 else f"{row.p:.3f}"
