"""The trained model as a model directory, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from transformers.utils import logging as transformers_logging

import osparse
from osparse.contracts.model import Model, save_model
from osparse.contracts.seen import SeenTexts
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.evaluation.trained_on import TrainedOn
from osparse.formula.head import Head
from osparse.formula.lexicon import Lexicon
from osparse.io.files import pretty_json
from osparse.trainer.report.curves import CURVES, draw_curves
from osparse.trainer.report.run_log import read_log

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def write_model(
    output: Path,
    encoder: SparseEncoder,
    *,
    tokenizer: Path,
    lexicon: Lexicon,
    idf: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    log: Path,
    seen: SeenTexts | None = None,
    overwrite: bool,
) -> Model:
    """Save weights, tokenizer, IDF table, head and card in one step.

    ``tokenizer`` is a folder, ``idf`` its provenance, ``log`` the run folder, ``seen`` what the model learnt from.
    """
    rows = read_log(log)

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # osparse shows its own

    def write_weights(folder: Path) -> None:
        encoder.mlm.save_pretrained(folder)
        if encoder.lexical is not None:
            encoder.lexical.write(folder)
        draw_curves(rows, folder / CURVES, written=metrics)
        for name in TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, folder / name)
        if not (tokenizer / "tokenizer_config.json").is_file():
            (folder / "tokenizer_config.json").write_text(
                pretty_json({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}),
                encoding="utf-8",
            )

    return save_model(
        output,
        write_weights=write_weights,
        lexicon=lexicon,
        head=encoder.head,
        idf=idf,
        training=training,
        metrics=metrics,
        card=card(output.name, encoder, training, metrics),
        seen=seen,
        overwrite=overwrite,
    )


def _non_zeros(head: Head) -> str:
    if not head.top_k:
        return "any number of non-zeros"
    return f"at most {head.top_k} non-zeros" + (" beside the document's own tokens" if head.keep_own else "")


def _budgets(metrics: Mapping[str, Any]) -> str:
    """nDCG@10 of the numbers of non-zeros that the model was trained for; "" where none is named."""
    figures = [f"{ndcg:.3f} at {budget}" for budget, ndcg in metrics.get("budgets", {}).items()]
    return f" nDCG@10 of documents cut to fewer: {', '.join(figures)}." if figures else ""


def _role(metrics: Mapping[str, Any]) -> str:
    """How the validation split was used."""
    step = f"step {metrics['step']} of {metrics['stage']}"
    if metrics["trained_on"]:
        return f"**the model was trained on it too**, so this is not a measurement; the last step was kept ({step})"
    if metrics["stage"] == "start":
        return "it selected the checkpoint: **the start itself, unchanged**, since no step measured better"
    return f"it selected the checkpoint ({step})"


def _directions(metrics: Mapping[str, Any]) -> str:
    """A table of nDCG@10 by direction, beside the start's where it was measured."""
    start = (metrics.get("start") or {}).get("directions")
    if start is None:
        rows = [f"| {direction} | {value:.3f} |" for direction, value in metrics["directions"].items()]
        return "\n".join(["| direction | nDCG@10 |", "|---|---|", *rows])
    rows = [
        f"| {direction} | {start[direction]:.3f} | {value:.3f} |"
        for direction, value in metrics["directions"].items()
        if direction in start  # a run that an earlier version began has fewer
    ]
    mean = f"| mean | {metrics['start']['ndcg']:.3f} | {metrics['ndcg']:.3f} |"
    return "\n".join(["| direction | nDCG@10 of the start | nDCG@10 |", "|---|---|---|", *rows, mean])


def _alarms(metrics: Mapping[str, Any]) -> str:
    """A section of what is wrong with the outcome; empty if nothing is."""
    alarms = [f"- {alarm['finding']}; {alarm['remedy']}" for alarm in metrics.get("alarms", ())]
    alarms += [f"- {easy}" for easy in [metrics.get("too_easy")] if easy]
    alarms += learnt_lines(metrics)
    lost = ", ".join(metrics.get("languages_not_trained", ()))
    if lost:
        alarms.append(f"- the start was trained for other languages too, which the training split lacks: {lost}")
    return "\n".join(["", "## Warnings", "", *alarms, ""]) if alarms else ""


def _settled(metrics: Mapping[str, Any]) -> str:
    """A list of what the training records decided; empty if nothing."""
    notes = [f"- {note}" for note in metrics.get("settled", ())]
    return "\n".join(["", *notes, ""]) if notes else ""


def learnt_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What was learnt of the held-back splits, one line for each of which anything was."""
    counts = {split: TrainedOn.from_json(plain) for split, plain in metrics.get("seen", {}).items()}
    return [
        f"- {of_split.text(split)}, so figures on them say little about other queries"
        for split, of_split in counts.items()
        if of_split.any
    ]


def card(name: str, encoder: SparseEncoder, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """README.md of the model directory."""
    config, head = encoder.mlm.config, encoder.head
    parameters = sum(p.numel() for p in encoder.parameters())
    return f"""---
library_name: osparse
tags: [sparse-encoder, learned-sparse-retrieval, opensearch, inference-free]
---
# {name}

An inference-free sparse encoder trained by osparse {osparse.__version__}: a document becomes weighted tokens by this
network, a query is tokenised and looked up in `idf.json`. Serve it with `osparse package`, `osparse deploy`.

- {config.model_type}, {parameters:,} parameters, {config.num_hidden_layers} layers, width {config.hidden_size},
  vocabulary {config.vocab_size:,}
- activation {head.activation}, at most {head.max_length} tokens in,
  {_non_zeros(head)} out
- trained for {training["steps"]} steps in {training["seconds"]:.0f} s

## Validation

nDCG@10 on the {metrics["split"]} split against {metrics["documents"]:,} documents (its own and a draw of training
documents): {_role(metrics)}. Measure the held-back test split with
`osparse evaluate --model`.

{_directions(metrics)}

Non-zeros per document: {metrics["nonzeros"]:.1f} on average, {metrics["nonzeros_max"]} at most.{_budgets(metrics)}
{_alarms(metrics)}
![Loss parts, validation nDCG@10 and non-zeros over the steps]({CURVES})

## Configuration

As `osparse train` ran it, changes by `--set` included; folders and files by their names.
{_settled(metrics)}
```yaml
{yaml.safe_dump(training["config"], sort_keys=False, allow_unicode=True).strip()}
```
"""
