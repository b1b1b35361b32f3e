"""``package``: a model in, zips that ML Commons accepts out; written only if they equal the model."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import MAX_NAME, Bundle, BundleFile, check_name, write_manifest
from osparse.contracts.model import Model
from osparse.errors import BundleError, CheckError, InputError
from osparse.io.files import atomic_directory
from osparse.io.progress import progress
from osparse.opensearch_versions import NEWEST, TARGETS, Target, by_runtime, select, span
from osparse.packager.checkpoint.checkpoints import describe, display_name, open_model
from osparse.packager.export import archive, formats
from osparse.packager.export.formats import QUANTIZATIONS, Quantization
from osparse.packager.finishing import finish, require_dataset
from osparse.packager.fit.measure import open_dataset
from osparse.plugins.extras import check

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset
    from osparse.packager.checkpoint.loaded import Source
    from osparse.packager.compare.parity import Case, Runner

log = logging.getLogger("osparse.packager.make_bundle")
RECIPE = 3
"""Raised when the same model would make another bundle; in the manifest as ``checks.recipe``."""


def package(
    model: Model | Path | str,
    output: Path | str,
    formats: Sequence[str] = formats.OWN,
    name: str | None = None,
    *,
    target: str | Sequence[str] = NEWEST,
    quantize: Quantization | None = None,
    idf: Path | None = None,
    activation: str | None = None,
    max_length: int | None = None,
    ignore: Sequence[str] = (),
    dataset: Dataset | Path | str | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Make the bundle ``output`` from a model, or find it made already.

    Args:
        model: a model directory, another's sparse masked-LM folder, or a hub id ``owner/name[@revision]``.
        formats: ``torchscript``, ``onnx``, or what a plug-in brings.
        name: what the models are called on the cluster; the model's own name made safe if None.
        target: OpenSearch versions that it must run on: ``3.x``, ``2.x``, ``2.19``, ... The manifest lists every
            version that it is proved for, whatever was asked.
        quantize: ``int8`` makes the encoder smaller; what that loses is in the manifest.
        idf: query weights of another's checkpoint, an idf.json.
        activation: of another's checkpoint that does not say; ``log1p_relu`` or ``log1p_log1p_relu``.
        max_length: ids per document of another's checkpoint.
        ignore: settings of another's checkpoint that osparse does not know, and is not to obey.
        dataset: what the manifest's ``fit`` is measured on; the bundle's own probes if None.

    Raises:
        InputError: the model cannot be packaged, or ``output`` holds something else.
        CheckError: the packaged encoder does not give the model's weights, or would not run on a target; nothing was
            written.
    """
    output = Path(output)
    wanted, targets = _formats(formats), select(target)
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise InputError(f"--quantize {quantize}: choose from {', '.join(QUANTIZATIONS)}")
    model = open_model(model, idf=idf, activation=activation, max_length=max_length, ignore=ignore)
    name = check_name(safe_name(display_name(model)) if name is None else name)
    corpus = None if dataset is None else open_dataset(dataset)
    made = _up_to_date(output, model, wanted, name, quantize, overwrite)
    if made is not None:
        _require_targets(made, targets)
        require_dataset(made, corpus)
        log.info("%s is up to date", output)
        return made
    for module in dict.fromkeys(module for form in wanted.values() for module in form.modules):
        check(module, "train")
    with atomic_directory(output, marker="manifest.json", overwrite=overwrite) as folder:
        _fill(folder, model, wanted, name, targets, quantize, corpus)
    return Bundle.open(output)


def safe_name(name: str) -> str:
    """A bundle name from a folder's name: My Model -> my-model."""
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower())
    return re.sub(r"\.{2,}", ".", name)[:MAX_NAME].strip("._-") or "model"


def _formats(names: Sequence[str]) -> dict[str, formats.Format]:
    known = formats.known()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"format {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}")
    return {name: formats.get(name) for name in known if name in names}


def _up_to_date(
    output: Path,
    model: Model,
    wanted: Mapping[str, formats.Format],
    name: str,
    quantize: str | None,
    overwrite: bool,
) -> Bundle | None:
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
    same = (made.checks.get("recipe"), made.model, made.formats, made.name, made.quantization.get("scheme"))
    if same == (RECIPE, model.fingerprint, list(wanted), name, quantize):
        return made
    if not overwrite:
        raise InputError(
            f"{output} was made from another model, by another version of the packager, or with another name, formats "
            "or quantisation; pass --overwrite to replace it, or choose another --output"
        )
    return None


def _fill(
    folder: Path,
    model: Model,
    wanted: Mapping[str, formats.Format],
    name: str,
    targets: Sequence[Target],
    quantize: Quantization | None,
    dataset: Dataset | None,
) -> None:
    from osparse.packager.checkpoint.loaded import Source
    from osparse.packager.compare.probes import make_probes, write_probes
    from osparse.packager.export.torchscript import Graph, one_thread
    from osparse.packager.reference.checks import prove_reference

    with one_thread(), progress("packaging", total=4 + len(wanted), unit="steps") as bar:
        source = Source.open(model)
        bar.advance(note="exporting")
        graph = Graph(source.encoder)
        made: dict[str, bytes] = {}
        for key, form in wanted.items():
            made[key] = form.export(graph, quantize)
            bar.advance()
        proved = _prove_targets(wanted, made, source, targets)
        probes = make_probes(source.encoder, source.tokenizer(), source.query_encoder(), model.lexicon.tokens)
        source.require_sparse([len(probe.document) for probe in probes])
        bar.advance(note="comparing")
        runners = {key: runner for key, form in wanted.items() if (runner := form.open(made[key], key)) is not None}
        parity, loss = _prove_parity(source, runners, quantize)
        reference = prove_reference(source, runners, bool(quantize))
        write_probes(folder / "probes.jsonl", probes)
        write_manifest(
            folder,
            name=name,
            model=model.fingerprint,
            idf_version=model.lexicon.version,
            head=model.head,
            vocabulary=len(model.lexicon.tokens),
            files=_write_zips(folder, wanted, made, source),
            checks={
                "recipe": RECIPE,
                "parity": parity,
                **({"reference": reference} if reference else {}),
                "tokenizer": {
                    "tokens": len(source.ordinary_ids),
                    "lost": 0,
                    "query_length": source.query_length,
                    "own_query_tokenizer": source.own_query_tokenizer,
                },
                "targets": proved,
            },
            targets=tuple(version for version in TARGETS if any(version in _versions(key) for key in proved)),
            quantization=loss,
            tolerance=loss.get("largest_difference_below", 1e-4),
            source=describe(model),
        )
        bar.advance(note="verifying")
        finish(folder, dataset)
        bar.advance()


def _write_zips(
    folder: Path, wanted: Mapping[str, formats.Format], made: Mapping[str, bytes], source: Source
) -> dict[str, BundleFile]:
    files = {
        key: archive.write_encoder(
            folder, key, made[key], source.shared, model_file=form.model_file, model_format=form.model_format
        )
        for key, form in wanted.items()
    }
    return {**files, "tokenizer": archive.write_tokenizer(folder, source.for_queries)}


def _prove_targets(
    wanted: Mapping[str, formats.Format], made: Mapping[str, bytes], source: Source, targets: Sequence[Target]
) -> dict[str, dict[str, str]]:
    """Versions -> part -> how it is known to run there; raises :class:`CheckError` for a target that was asked for."""
    from osparse.packager.tokenizer.packaged import unreadable

    proved: dict[str, dict[str, str]] = {}
    for group in by_runtime(TARGETS.values()):
        problems = [problem for key, form in wanted.items() for problem in form.problems(made[key], group[0])]
        problems += unreadable(source.tokenizer_json, group[0].tokenizers)
        asked = [target for target in group if target in targets]
        if problems and asked:
            raise CheckError(
                f"{source.model.path} would not run on OpenSearch {span(asked)}: {'; '.join(problems)}; ask for "
                "another --target, or leave out the format that fails with --format"
            )
        if not problems:
            how = {key: form.proof(group[0]) for key, form in wanted.items()}
            proved[span(group)] = {**how, "tokenizer": f"tokenizers {group[0].tokenizers} reads every component"}
    return proved


def _versions(spanned: str) -> list[str]:
    """The versions of ``2.15-2.18``."""
    every = list(TARGETS)
    first, _, last = spanned.partition("-")
    return every[every.index(first) : every.index(last or first) + 1]


def _require_targets(made: Bundle, targets: Sequence[Target]) -> None:
    lacking = [target.version for target in targets if target.version not in made.targets]
    if lacking:
        raise CheckError(
            f"{made.path} is up to date, but it is not proved for OpenSearch {', '.join(lacking)}, only for "
            f"{', '.join(made.targets)}; package with another --format, or ask for another --target"
        )


def _prove_parity(
    source: Source, runners: Mapping[str, Runner], quantize: Quantization | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest's ``checks.parity`` and ``quantization``; raises :class:`CheckError` if a graph differs."""
    from osparse.packager.compare.parity import of_texts, power_of_ten, require_parity

    cases = _cases(source)
    if quantize is not None:
        from osparse.packager.export.quantize import measure

        loss = measure(runners, source.run, of_texts(cases))
        log.info("%s loses: %s", quantize, ", ".join(f"{key} {value}" for key, value in loss.items()))
        return {}, {"scheme": quantize, **loss}
    largest = require_parity(runners, source.run, cases, source.model.head)
    log.info("parity on %d cases: %s", len(cases), ", ".join(f"{f} {v:.1e}" for f, v in largest.items()))
    parity = {
        form: {"cases": len(cases), "longest": source.longest, "largest_difference_below": power_of_ten(value)}
        for form, value in largest.items()
    }
    return parity, {}


def _cases(source: Source) -> list[Case]:
    from osparse.packager.compare.parity import make_cases
    from osparse.packager.compare.probes import TEXTS

    tokenizer = source.tokenizer()
    return make_cases([tokenizer.encode(text).ids for _, text in TEXTS], source.ordinary_ids, source.longest)
