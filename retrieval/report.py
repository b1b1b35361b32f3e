"""The result of an evaluation: figures by direction and system, document sizes and query times; kept as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io import html
from osparse.io.files import pretty_json, read_json, write_atomic
from osparse.retrieval.figures import Difference, Row

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Report:
    key: dict[str, Any]
    """Everything the figures depend on; equal keys, equal report."""
    dataset: dict[str, Any]
    """name, fingerprint, split, documents by language."""
    measures: list[str]
    """The first one has the interval, the differences and their p values."""
    systems: list[dict[str, Any]]
    """``name`` and ``kind`` ("index", "model", "bundle", "bm25", "run") of each, the reference first.

    Where they apply: ``fingerprint``; ``weights``, how documents were weighted; ``non_zeros``, mean and max weights
    per document over ``documents`` of them; ``latency_ms``, p50 and p95 of one query at a time, tokenising and HTTP
    included; ``analyzers`` by language; ``trained_on``, how many of the answers and queries a model learnt from,
    or ``{"known": false}``.
    """
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    def save(self, path: Path) -> None:
        write_atomic(path, pretty_json(self.to_json()))

    @classmethod
    def open(cls, path: Path) -> Report:
        """Raises :class:`InputError` if the file is not a report of this version."""
        raw = read_json(path)
        try:
            if raw.pop("schema") != SCHEMA_VERSION:
                raise KeyError("schema")
            rows = [
                Row(**{**row, "difference": row["difference"] and Difference(**row["difference"])})
                for row in raw["rows"]
            ]
            return cls(**{**raw, "rows": rows})
        except (AttributeError, KeyError, TypeError):
            raise InputError(
                f"{path} is not a report of this version of osparse evaluate; pass `overwrite=True` to replace it, or "
                "another `output`"
            ) from None

    def system(self, name: str) -> dict[str, Any]:
        """The description of one system; KeyError if the report has no such system."""
        descriptions = {description["name"]: description for description in self.systems}
        return descriptions[name]

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of figures, with gain and p over the first system."""
        header = ["direction", "queries", "system", *self.measures, "gain", "p"]
        rows = [
            [
                f"{row.direction}, no shared word" if row.no_shared_word else row.direction, row.queries, row.system,
                *(row.figures[measure] for measure in self.measures),
                *((f"{row.difference.gain:+.3f}", f"{row.difference.p_adjusted:.4f}") if row.difference else ("", "")),
            ]
            for row in self.rows
        ]  # fmt: skip
        facts = {"split": self.dataset.get("split"), "documents": self.dataset.get("documents"), "notes": self.notes}
        return html.described(f"Evaluation on {self.dataset.get('name')}", facts, [html.table(header, rows)])

    def __str__(self) -> str:
        from osparse.retrieval.report_table import report_text

        return report_text(self.dataset, self.systems, self.measures, self.rows, self.notes)
