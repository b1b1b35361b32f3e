"""The trainings of benchmarks/quality.py, all by configs/quality.yaml: on descriptions, and on help pages.

The ground ``gnome-trained`` is split by page by the dataset's rule. A model is trained on the training pages, with
Korean and English beside Debian's descriptions, and asked for the test pages, of which it has seen nothing, among all
pages. The validation pages choose what is ``auto``, the checkpoint and the hybrid's weight.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from help_pages import Page, gnome_input, pages_of
from quality_tables import compare, show
from unseen import page_sentences, page_tables

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus import Input, build_from, compute_idf, train_tokenizer
from osparse.deployer.cluster.client import Cluster
from osparse.trainer import train as train_model

TRAINED = "gnome-trained"
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "quality.yaml"
VOCABULARY = 12_000
DESCRIPTIONS, MORE_ENGLISH = Input("debian"), Input("debian", (), {"english": "true"})


@dataclass(frozen=True)
class Recipe:
    """The models of the recipe."""

    model: Path
    """Trained on the validation split too."""
    chosen_with: Path
    """Not trained on it: what is tuned is tuned with this."""
    spent: str


def train(build: Path, aligned: Dataset, training: Dataset) -> Recipe:
    """Both models of docs/quality.md; what ``auto`` became in the first is what the second is trained by."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    chosen_with = train_once(build, aligned, training, "model-chosen-with")
    settled = [f"{name}={value}" for name, value in Model.open(chosen_with).training["auto"].items()]
    model = train_once(build, aligned, training, "model", [*settled, "validation.trained_on=true"])
    return Recipe(model, chosen_with, f"training, both: {_spent(before, began)}")


def train_once(build: Path, aligned: Dataset, training: Dataset, name: str, changes: Sequence[str] = ()) -> Path:
    """``build/name``, with tokenizer and IDF table of ``aligned``."""
    tokenizer, idf, model = build / "tokenizer", build / "idf.json", build / name
    if not tokenizer.is_dir():
        train_tokenizer(aligned, tokenizer, kind="unigram", vocab_size=VOCABULARY)
    if not idf.is_file():
        compute_idf(aligned, tokenizer / "tokenizer.json", idf)
    train_model(CONFIG, training, model, overrides=changes, tokenizer=tokenizer, idf=idf)
    return model


def trained_tables(build: Path, languages: Sequence[str], changes: Sequence[str], cluster: Cluster) -> None:
    """Train on the pages, and print the tables of the test pages' titles and sentences."""
    folder = build / f"{TRAINED}-{'-'.join(sorted(languages))}"
    pages, descriptions = gnome_input(build, languages), {*languages} == {"ko", "en"}
    aligned = build_from([*([DESCRIPTIONS] if descriptions else []), pages], folder / "dataset")
    training = build_from([MORE_ENGLISH, pages], folder / "training") if descriptions else aligned
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    model = Model.open(train_once(folder, aligned, training, "model", changes))
    print(f"{TRAINED}: {_spent(before, began)}\n" + "\n".join(model.metrics["settled"]))
    every = [page for page in pages_of(aligned) if page.text.strip()]
    asked, choosing = (pages_of_split(aligned, every, split) for split in ("test", "validation"))
    name = f"{folder.name}"
    for kind, table in page_tables(
        name, every, asked, page_sentences(choosing), folder / "pages-idf.json", model, cluster
    ):
        print("\n".join([f"\n{name}: {kind}", "", *show(table), ""]))
        print("\n".join([*compare(table, "OpenSearch BM25"), "", *compare(table)]))


def pages_of_split(dataset: Dataset, pages: Sequence[Page], split: str) -> list[Page]:
    """Those of the pages whose judgements are in the split."""
    groups = set(dataset.split_documents(split).select("group").collect()["group"])
    return [page for page in pages if page.group in groups]


def _spent(before: resource.struct_rusage, began: float) -> str:
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    return f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f} CPU seconds, {wall:.0f} s wall"
