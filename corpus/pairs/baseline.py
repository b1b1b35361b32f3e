"""``osparse corpus baseline``: pairs out of whatever sources lie in a folder, one sub-folder per reader.

    sources/wikipedia/kowiki-latest-pages-articles-multistream.xml.bz2
    sources/squad/KorQuAD_v1.0_train.json
    sources/beir/scifact/...

Debian's package descriptions are one more source, fetched where this machine has apt.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from osparse.contracts.dataset import Dataset
from osparse.corpus.builder.build import Input, build_from
from osparse.corpus.pairs.pairs import PairRules, make_pairs
from osparse.corpus.sources.readers import READERS
from osparse.errors import InputError

FOLDERS = ("beir", "msmarco", "hf")
"""Readers of one folder each: every folder (or other path) in theirs is a source of its own."""
ARTICLES = ("wikipedia", "namuwiki", "modu")
"""Readers whose titles ask for a summary and paragraphs instead of a whole article."""
TITLES = ("title-summary", "title-paragraph", "aligned")

log = logging.getLogger("osparse.corpus.pairs.baseline")


def prepare_baseline(sources: Path, output: Path, *, pairs: int = 10_000, overwrite: bool = False) -> Dataset:
    """Build a dataset of each source present beside ``output``, and one of at most ``pairs`` pairs out of all.

    A second run reads only the sources that changed.

    Raises:
        InputError: a folder that no reader is called; no source at all. DatasetError: a source that cannot be read:
            nothing is passed over.
    """
    inputs = _found(sources)
    if not inputs:
        raise InputError(
            f"{sources} holds no source and this machine has no apt-get; put files into {sources}/NAME/ with NAME of "
            f"{', '.join(READERS)}"
        )
    datasets = []
    for name, one in inputs.items():
        log.info("source %s: %s", name, ", ".join(map(str, one.paths)) or "this machine's apt sources")
        built = build_from([one], output.parent / "sources" / name, overwrite=overwrite)
        kinds = TITLES if one.source in ARTICLES else ("query-document", "aligned")
        rules = PairRules(kinds=kinds, limit=pairs)
        datasets.append(make_pairs([built], output.parent / "pairs" / name, rules, overwrite=overwrite))
    return make_pairs(datasets, output, PairRules(limit=pairs, mask=0.0), overwrite=overwrite)


def _found(sources: Path) -> dict[str, Input]:
    """Name -> what is to be read."""
    inputs: dict[str, Input] = {}
    folders = sorted(path for path in sources.iterdir() if path.is_dir()) if sources.is_dir() else []
    for folder in folders:
        if folder.name not in READERS:
            raise InputError(f"{folder}: no reader has this name; known: {', '.join(READERS)}")
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if folder.name == "debian":
            inputs["debian"] = Input("debian", (folder,))
        elif folder.name in FOLDERS:
            inputs |= {f"{folder.name}-{path.name}": Input(folder.name, (path,)) for path in inside}
        elif inside:
            inputs[folder.name] = Input(folder.name, tuple(inside))
    if "debian" not in inputs and shutil.which("apt-get"):
        inputs["debian"] = Input("debian")
    return inputs
