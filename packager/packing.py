"""``package``: a model directory in, zips that ML Commons accepts out; written only if they equal the model."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from osparse.bundle import ENCODER_FILES, MAX_NAME, Bundle, BundleFile, Format, check_name, write_manifest
from osparse.errors import BundleError, InputError
from osparse.extras import check
from osparse.files import atomic_directory
from osparse.model import Model
from osparse.packager import archive
from osparse.packager.verifying import open_runners, verify
from osparse.progress import progress

if TYPE_CHECKING:
    from osparse.packager.source import Source

log = logging.getLogger("osparse.packager.packing")
RECIPE = 1
"""Raised when the same model would make another bundle; in the manifest as ``checks.recipe``."""
TARGET = "3.x"
"""OpenSearch 3.0 to 3.8 run libtorch 2.5.1 and ONNX Runtime 1.16.3."""
HOW = {
    "torchscript": "every operator is in libtorch 2.5.1",
    "onnx": "IR 8 and opset 17, which ONNX Runtime 1.16.3 reads",
}
"""Format -> how it is known to run on the target."""


def package(
    model: Model | Path | str,
    output: Path | str,
    formats: Sequence[str] = ("torchscript", "onnx"),
    name: str | None = None,
    *,
    overwrite: bool = False,
) -> Bundle:
    """Make the bundle ``output`` from a model directory, or find it made already.

    Args:
        formats: ``torchscript``, ``onnx`` or both.
        name: what the models are called on the cluster; the model folder's name made safe if None.

    Raises:
        InputError: the model cannot be packaged, or ``output`` holds something else.
        CheckError: the packaged encoder does not give the model's weights; nothing was written.
    """
    model = model if isinstance(model, Model) else Model.open(model)
    output = Path(output)
    wanted = _formats(formats)
    name = check_name(safe_name(model.path) if name is None else name)
    made = _up_to_date(output, model, wanted, name, overwrite)
    if made is not None:
        log.info("%s is up to date", output)
        return made
    for module in ("torch", "transformers", *(["onnx"] if "onnx" in wanted else [])):
        check(module, "train")
    with atomic_directory(output, marker="manifest.json", overwrite=overwrite) as folder:
        _fill(folder, model, wanted, name)
    return Bundle.open(output)


def safe_name(path: Path) -> str:
    """A bundle name from a folder's name: build/My Model -> my-model."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().name.lower())
    return re.sub(r"\.{2,}", ".", name)[:MAX_NAME].strip("._-") or "model"


def _formats(formats: Sequence[str]) -> list[Format]:
    unknown = [form for form in formats if form not in ENCODER_FILES]
    if unknown or not formats:
        raise InputError(f"format {', '.join(unknown) or '(none)'}: choose from {', '.join(ENCODER_FILES)}")
    return [cast(Format, form) for form in ENCODER_FILES if form in formats]


def _up_to_date(output: Path, model: Model, formats: list[Format], name: str, overwrite: bool) -> Bundle | None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    if not (output / "manifest.json").is_file():
        raise InputError(f"{output} is not empty and not a bundle, so it is not replaced; choose another --output")
    try:
        made = Bundle.open(output)
    except BundleError as problem:
        if overwrite:
            return None
        raise BundleError(f"{problem}\npass --overwrite to make it again, or choose another --output") from None
    current = made.checks.get("recipe") == RECIPE
    if current and (made.model, made.formats, made.name) == (model.fingerprint, formats, name):
        return made
    if not overwrite:
        raise InputError(
            f"{output} was made from another model, by another version of the packager, or with another name or "
            "formats; pass --overwrite to replace it, or choose another --output"
        )
    return None


def _fill(folder: Path, model: Model, formats: list[Format], name: str) -> None:
    from osparse.packager.probes import make_probes, write_probes
    from osparse.packager.source import Source
    from osparse.packager.torchscript import one_thread

    with one_thread(), progress("packaging", total=4 + len(formats), unit="steps") as bar:
        source = Source.open(model)
        bar.advance(note="exporting")
        files: dict[str, BundleFile] = {}
        for form in formats:
            files[form] = archive.write_encoder(folder, form, _export(source, form), source.shared)
            bar.advance()
        files["tokenizer"] = archive.write_tokenizer(folder, source.shared)
        probes = make_probes(source.encoder, source.tokenizer(), source.query_encoder(), model.lexicon.tokens)
        source.require_sparse([len(probe.document) for probe in probes])
        write_probes(folder / "probes.jsonl", probes)
        bar.advance(note="comparing")
        checks, targets = _prove(folder, source, files)
        write_manifest(
            folder,
            name=name,
            model=model.fingerprint,
            idf_version=model.lexicon.version,
            head=model.head,
            vocabulary=len(model.lexicon.tokens),
            files=files,
            checks=checks,
            targets=targets,
        )
        bar.advance(note="verifying")
        verify(folder)
        bar.advance()


def _export(source: Source, form: Format) -> bytes:
    from osparse.packager import torchscript

    graph = torchscript.Graph(source.encoder)
    if form == "torchscript":
        return torchscript.export(graph)
    from osparse.packager import onnx

    return onnx.export(graph)


def _prove(folder: Path, source: Source, files: dict[str, BundleFile]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The manifest's ``checks`` and ``targets``; raises :class:`CheckError` if the zips differ from the model."""
    from osparse.packager.parity import make_cases, require_parity
    from osparse.packager.probes import TEXTS
    from osparse.packager.torchscript import Runner

    runners = open_runners({form: folder / file.name for form, file in files.items() if form != "tokenizer"})
    tokenizer = source.tokenizer()
    texts = [tokenizer.encode(text).ids for _, text in TEXTS]
    cases = make_cases(texts, source.ordinary_ids, source.longest)
    largest = require_parity(runners, source.run, cases, source.model.head)
    log.info("parity on %d cases: %s", len(cases), ", ".join(f"{f} {v:.1e}" for f, v in largest.items()))
    graph = runners.get("torchscript")
    unknown = graph.unknown_operators() if isinstance(graph, Runner) else []
    if unknown:
        log.warning("not known to be in libtorch 2.5.1: %s; try this bundle on a server first", ", ".join(unknown))
    how = {form: HOW[form] for form in largest}
    if unknown:
        how["torchscript"] = "not proved: " + ", ".join(unknown)
    checks = {
        "recipe": RECIPE,
        "parity": {
            form: {"cases": len(cases), "longest": source.longest, "largest_difference_below": _power_of_ten(value)}
            for form, value in largest.items()
        },
        "tokenizer": {"tokens": len(source.ordinary_ids), "lost": 0},
        "targets": {TARGET: how},
    }
    return checks, () if unknown else (TARGET,)


def _power_of_ten(value: float) -> float:
    """The next power of ten: the figure itself differs from machine to machine, the manifest must not."""
    return 0.0 if value == 0 else float(f"1e{math.ceil(math.log10(value))}")
