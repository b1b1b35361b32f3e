"""The model directory: a Hugging Face masked-LM folder, its query weights, and how its head is read.

config.json model.safetensors tokenizer.json tokenizer_config.json   as transformers writes them
idf.json        {raw token: query weight}, every token
osparse.json    head (activation, max_length, masked ids, prune), IDF provenance, training, metrics
seen.bin        hashes of the texts and queries that it, its start and its teachers learnt from (osparse.contracts.seen)
README.md       model card
lexical_table.safetensors   where the run made one: what a document's own tokens give it beside the network
modules.json    the same for sentence-transformers' SparseEncoder, with its three other configuration files; left out
                beside a lexical table, which it does not know
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from osparse.contracts.seen import SeenFile, SeenTexts
from osparse.errors import ModelError
from osparse.formula.head import ACTIVATIONS, SERVER_MAX_TOKENS, Head
from osparse.formula.lexicon import Lexicon
from osparse.io import html
from osparse.io.files import atomic_directory, fingerprint, pretty_json, read_json, sha256_file
from osparse.io.settings import checked

SCHEMA_VERSION = 1
FILES = {
    "config.json": "osparse train",
    "model.safetensors": "osparse train",
    "tokenizer.json": "osparse train",
    "idf.json": "osparse idf",
    "osparse.json": "osparse train",
}
"""What must be there -> the command that makes it."""
LEXICAL_TABLE = "lexical_table.safetensors"
"""What may be there; see osparse.encoders.lexical_table."""


@dataclass(frozen=True)
class Model:
    """A model directory that was opened and found whole. Opening it imports no torch."""

    path: Path
    head: Head
    idf: dict[str, Any] = field(default_factory=dict)
    """Where the query weights come from: corpus fingerprint, documents counted, smoothing."""
    training: dict[str, Any] = field(default_factory=dict)
    """``fingerprint`` of everything that went in, and the whole configuration."""
    metrics: dict[str, Any] = field(default_factory=dict)
    seen: SeenFile | None = None
    """The list of texts that it learnt from; None where that is not known."""

    @classmethod
    def open(cls, path: Path | str) -> Model:
        """Open and validate; raises :class:`ModelError` naming every missing file and the command that makes it."""
        path = Path(path)
        if not path.is_dir():
            raise ModelError(f"{path} is not a model directory; make one with: osparse train")
        missing = [f"  - {name} (made by: {maker})" for name, maker in FILES.items() if not (path / name).is_file()]
        if missing:
            raise ModelError("\n".join([f"{path} is not a whole model; missing:", *missing]))
        raw = read_json(path / "osparse.json", ModelError)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA_VERSION:
            raise ModelError(f"{path}/osparse.json: schema must be {SCHEMA_VERSION}; train again with: osparse train")
        if raw.get("lexical_table") and not (path / LEXICAL_TABLE).is_file():
            raise ModelError(
                f"{path} is not a whole model; missing:\n  - {LEXICAL_TABLE} (made by: osparse train); without it the "
                "model would answer differently"
            )
        head = _read_head(raw.get("head"), path)
        seen = _read_seen(raw.get("seen"), path)
        return cls(path, head, raw.get("idf", {}), raw.get("training", {}), raw.get("metrics", {}), seen)

    def training_texts(self) -> SeenTexts | None:
        """The texts that it, its start and its teachers learnt from; None where that is not known.

        Raises :class:`ModelError` if the list is missing or was changed.
        """
        return None if self.seen is None else SeenTexts.read(self.path, self.seen, ModelError)

    @cached_property
    def lexicon(self) -> Lexicon:
        return Lexicon.open(self.path / "tokenizer.json", self.path / "idf.json")

    @cached_property
    def fingerprint(self) -> str:
        """Names what is served: weights, tokenizer, query weights, lexical table and head; not metrics or the card."""
        names = ["config.json", "model.safetensors", "tokenizer.json", "idf.json"]
        if (self.path / LEXICAL_TABLE).is_file():
            names.append(LEXICAL_TABLE)
        return fingerprint({"head": self.head.settings(), **{name: sha256_file(self.path / name) for name in names}})

    def _repr_html_(self) -> str:
        """What a notebook shows: the head, and the validation by direction beside the start's."""
        head, metrics = self.head, self.metrics
        facts = {
            "path": str(self.path),
            "head": f"{head.activation}, at most {head.max_length} tokens, top_k {head.top_k}",
            "validation nDCG@10": metrics.get("ndcg"),
            "non-zeros per document": metrics.get("nonzeros"),
            "written": f"step {metrics['step']} of {metrics['stage']}" if "stage" in metrics else None,
            "warnings": [f"{alarm['finding']}; {alarm['remedy']}" for alarm in metrics.get("alarms", ())],
        }
        start = (metrics.get("start") or {}).get("directions", {})
        rows = [(name, start.get(name, ""), value) for name, value in metrics.get("directions", {}).items()]
        figures = [html.table(("direction", "start", "nDCG@10"), rows)] if rows else []
        return html.described(f"Model {self.path.name}", facts, figures)


def texts_learnt_by(folder: Path, role: str) -> SeenTexts:
    """What the model of a folder learnt from; nothing but "role name" under ``unknown`` where that is not known.

    Raises :class:`ModelError` if the list is missing or was changed.
    """
    settings = read_json(folder / "osparse.json", ModelError) if (folder / "osparse.json").is_file() else {}
    seen = _read_seen(settings.get("seen"), folder)
    if seen is None:
        return SeenTexts.of((), (), [f"{role} {folder.resolve().name}"])
    return SeenTexts.read(folder, seen, ModelError)


def save_model(
    path: Path,
    *,
    write_weights: Callable[[Path], None],
    lexicon: Lexicon,
    head: Head,
    idf: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    card: str,
    seen: SeenTexts | None = None,
    overwrite: bool = False,
) -> Model:
    """Write a model directory in one step; ``write_weights`` saves the transformers model and tokenizer to a folder."""
    with atomic_directory(path, marker="osparse.json", overwrite=overwrite) as folder:
        write_weights(folder)
        (folder / "idf.json").write_text(lexicon.idf_text(), encoding="utf-8")
        description = {
            "schema": SCHEMA_VERSION,
            "head": head.settings(),
            "lexical_table": (folder / LEXICAL_TABLE).is_file(),
            "idf": {**idf, "version": lexicon.version},
            "training": dict(training),
            "metrics": dict(metrics),
            **({"seen": asdict(seen.write(folder))} if seen is not None else {}),
        }
        (folder / "osparse.json").write_text(pretty_json(description), encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")
        if not (folder / LEXICAL_TABLE).is_file():
            _write_sentence_transformers(folder, head)
        Model.open(folder)
    return Model.open(path)


def _write_sentence_transformers(folder: Path, head: Head) -> None:
    """What SparseEncoder needs to give the same document weights, save for special tokens and pruning.

    The class names are those of version 5, which later versions know too.
    """
    package = "sentence_transformers.sparse_encoder.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{package}.MLMTransformer"},
        {"idx": 1, "name": "1", "path": "1_SpladePooling", "type": f"{package}.SpladePooling"},
    ]
    activation = {"log1p_relu": "relu", "log1p_log1p_relu": "log1p_relu"}[head.activation]
    (folder / "1_SpladePooling").mkdir()
    for name, content in {
        "modules.json": modules,
        "config_sentence_transformers.json": {"model_type": "SparseEncoder", "similarity_fn_name": "dot"},
        "sentence_bert_config.json": {"max_seq_length": head.network_reads},
        "1_SpladePooling/config.json": {"pooling_strategy": "max", "activation_function": activation},
    }.items():
        (folder / name).write_text(pretty_json(content), encoding="utf-8")


def _read_seen(raw: Any, path: Path) -> SeenFile | None:
    if raw is None:
        return None
    seen, problems = checked(SeenFile, raw)
    if seen is None or Path(seen.name).name != seen.name:
        raise ModelError(
            f"{path}/osparse.json: seen is not readable: {'; '.join(problems) or seen}; train again with: osparse train"
        )
    return seen


def _read_head(raw: Any, path: Path) -> Head:
    try:
        head = Head(**{**raw, "masked_ids": tuple(raw["masked_ids"])})
    except (KeyError, TypeError) as problem:
        raise ModelError(
            f"{path}/osparse.json: the head is not readable: {problem}; train again with: osparse train"
        ) from None
    problems = _wrong_types(head)
    if problems:
        raise ModelError(f"{path}/osparse.json: " + "; ".join(problems) + "; train again with: osparse train")
    if head.activation not in ACTIVATIONS:
        problems.append(f"activation {head.activation!r} is not one of {', '.join(ACTIVATIONS)}")
    if not 2 <= head.max_length <= SERVER_MAX_TOKENS:
        problems.append(f"max_length {head.max_length} is not within [2, {SERVER_MAX_TOKENS}]")
    if not 0 <= head.prune_ratio < 1:
        problems.append(f"prune_ratio {head.prune_ratio} is not within [0, 1)")
    if head.top_k is not None and head.top_k < 1:
        problems.append(f"top_k {head.top_k} is below 1")
    if not 0 <= head.own_share <= 1:
        problems.append(f"own_share {head.own_share} is not within [0, 1]")
    if head.network_length is not None and head.network_length < 2:
        problems.append(f"network_length {head.network_length} is below 2")
    if problems:
        raise ModelError(f"{path}/osparse.json: " + "; ".join(problems))
    return head


def _wrong_types(head: Head) -> list[str]:
    """What JSON of another type than the head's fields would break later, far from the file."""
    problems = []
    if type(head.max_length) is not int:
        problems.append(f"max_length {head.max_length!r} is not an integer")
    problems += [
        f"{name} {value!r} is not a number"
        for name, value in (("prune_ratio", head.prune_ratio), ("own_share", head.own_share))
        if type(value) not in (int, float)
    ]
    if head.top_k is not None and type(head.top_k) is not int:
        problems.append(f"top_k {head.top_k!r} is neither an integer nor null")
    if head.network_length is not None and type(head.network_length) is not int:
        problems.append(f"network_length {head.network_length!r} is neither an integer nor null")
    if type(head.keep_own) is not bool:
        problems.append(f"keep_own {head.keep_own!r} is neither true nor false")
    wrong = [i for i in head.masked_ids if type(i) is not int or i < 0]
    if wrong:
        problems.append(f"masked_ids holds {wrong[0]!r}, which is no token id")
    return problems
