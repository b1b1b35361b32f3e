"""A plug-in of osparse: one format, one check, one architecture. docs/plugins.md explains it line by line."""

from __future__ import annotations

from collections.abc import Iterable

from osparse.masked_lm import BERT
from osparse.packager import Check, Graph, Onnx, Quantization, Subject, result


class StampedOnnx(Onnx):
    """ONNX that names who made it; the server takes it like any other."""

    def export(self, graph: Graph, quantize: Quantization | None) -> bytes:
        import onnx

        model = onnx.load_from_string(super().export(graph, quantize))
        model.producer_name = "Example Ltd"
        data: bytes = model.SerializeToString(deterministic=True)
        return data


MOST_WEIGHTS = 5_000


def short_documents(subject: Subject) -> Iterable[Check]:
    """No probe may have more weights than our index accepts."""
    counts = {probe.text[:30]: len(probe.document) for probe in subject.bundle.probes()}
    problems = [f"{text!r} has {count:,} weights" for text, count in counts.items() if count > MOST_WEIGHTS]
    yield result("short documents", "contents", problems, f"at most {max(counts.values()):,} weights per probe")


EXAMPLE_BERT = BERT
"""A model_type of our own whose head comes apart as BERT's does."""
