"""``package``: a model in, zips that ML Commons accepts out; written only if they equal the model.

Read from the top: the recipe, the model, its graphs, what proves them, the files, what is measured on them.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import Bundle, BundleFile, check_name
from osparse.contracts.model import Model
from osparse.errors import CheckError, InputError
from osparse.io.files import atomic_directory, sha256_file
from osparse.io.progress import progress
from osparse.masked_lm.lean_imports import import_model_classes
from osparse.opensearch_versions import NEWEST, TARGETS, by_runtime, select, span
from osparse.packager.checkpoint.checkpoints import (
    ForeignCheckpoint,
    alarms_of,
    describe,
    display_name,
    open_model,
)
from osparse.packager.export import archive, formats
from osparse.packager.quantize.choice import Quantization, parse
from osparse.packager.recipe import RECIPE, Recipe, formats_of, safe_name
from osparse.packager.vocabulary.request import read_request

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset
    from osparse.packager.checkpoint.loaded import LoadedModel
    from osparse.packager.compare.ahead import Ahead
    from osparse.packager.compare.parity import Case, Runner
    from osparse.packager.vocabulary.trim import Trimmed

log = logging.getLogger("osparse.packager.make_bundle")
CARD = "README.md"


def package(
    model: Model | Path | str,
    output: Path | str,
    formats: Sequence[str] = formats.OWN,
    name: str | None = None,
    *,
    target: str | Sequence[str] = NEWEST,
    quantize: Quantization | str | None = None,
    idf: Path | None = None,
    activation: str | None = None,
    max_length: int | None = None,
    ignore: Sequence[str] = (),
    dataset: Dataset | Path | str | None = None,
    vocabulary: int | str | None = None,
    nonzeros: int | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Make the bundle ``output`` from a model, or find it made already.

    Args:
        model: a model directory, another's sparse masked-LM folder, or a hub id ``owner/name[@revision]``.
        formats: ``torchscript``, ``onnx``, or what a plug-in brings.
        name: what the models are called on the cluster; the model's own name made safe if None.
        target: OpenSearch versions that it must run on: ``3.x``, ``2.x``, ``2.19``, ... The manifest lists every
            version that it is proved for, whatever was asked.
        quantize: ``fp16``, ``int8``, ``int8-tensor`` or ``int8-static`` for the whole encoder, or a precision for each
            part as in ``layers=int8,head=fp16``; what that loses is in the manifest.
        idf: query weights that go before the model's own, an idf.json, such as one of the documents to be searched.
        activation: of another's checkpoint that does not say; ``log1p_relu`` or ``log1p_log1p_relu``.
        max_length: ids per document of another's checkpoint.
        ignore: settings of another's checkpoint that osparse does not know, and is not to obey.
        dataset: what the manifest's ``fit`` is measured on, and int8-static calibrated on; the bundle's own probes if
            None.
        vocabulary: trim the vocabulary for ``dataset``: to a number of tokens at most, or to those of ``keep:FILE``;
            what that loses is in the manifest. None keeps every token.
        nonzeros: keep at most so many weights of a document, the largest (and ties); as many as the model keeps if
            None.

    Raises:
        InputError: the model cannot be packaged, or ``output`` holds something else.
        CheckError: the packaged encoder does not give the model's weights, or would not run on a target; nothing was
            written.
    """
    output = Path(output)
    chosen, targets = formats_of(formats), select(target)
    quantize = parse(quantize) if isinstance(quantize, str) else quantize
    if quantize is not None and quantize.calibrated and dataset is None:
        raise InputError(f"`quantize={quantize}` takes its scales from texts; pass the `dataset` to take them from")
    model = open_model(model, idf=idf, activation=activation, max_length=max_length, ignore=ignore)
    name = check_name(safe_name(display_name(model)) if name is None else name)
    corpus = _opened(dataset)
    recipe = Recipe(model, chosen, name, targets, quantize, corpus, read_request(vocabulary, model, corpus), nonzeros)
    recipe.require_fewer_nonzeros()
    for alarm in alarms_of(model):
        log.warning("%s: %s; %s", name, alarm["finding"], alarm["remedy"])
    made = recipe.already_made(output, overwrite)
    if made is not None:
        return made
    recipe.require_modules()
    with atomic_directory(output, marker="manifest.json", overwrite=overwrite) as folder:
        bundle = _make(recipe, folder)
    return replace(bundle, path=output)


def _opened(dataset: Dataset | Path | str | None) -> Dataset | None:
    if dataset is None:
        return None
    from osparse.packager.fit.measure import open_dataset

    return open_dataset(dataset)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No cyclic garbage collection meanwhile: it would visit every object of a large import again and again."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _make(recipe: Recipe, folder: Path) -> Bundle:
    """The whole bundle in ``folder``; raises :class:`CheckError` if anything in it does not hold."""
    with collector_paused():  # importing torch and transformers makes a million objects that stay
        if not isinstance(recipe.model, ForeignCheckpoint):  # the reference check needs all of transformers
            import_model_classes()
        from osparse.packager.checkpoint.loaded import LoadedModel
        from osparse.packager.compare.ahead import Ahead
        from osparse.packager.compare.probes import TEXTS, ProbeMaker, write_probes
        from osparse.packager.export.torchscript import Graph, one_thread
        from osparse.packager.reference.checks import prove_reference

    with collector_paused():  # transformers imports a model's class when it loads one
        whole = LoadedModel.open(recipe.model)
    trimmed = _trimmed(recipe, whole)
    loaded = trimmed.loaded if trimmed else whole
    if recipe.nonzeros is not None:
        loaded = loaded.with_top_k(recipe.nonzeros)
    recipe = replace(recipe, model=loaded.model)
    steps = progress("packaging", total=4 + len(recipe.formats), unit="steps")
    with one_thread(), steps as bar, Ahead(_cases(recipe, loaded), len(recipe.formats) + 1) as ahead:
        bar.advance(note="exporting")
        graph = Graph(loaded.encoder)
        quantize = _with_texts(recipe, loaded)
        exports: dict[str, bytes] = {}
        for key, form in recipe.formats.items():
            exports[key] = form.export(graph, quantize)
            ahead.open(key, partial(form.open, exports[key], key))
            bar.advance()
        servers = _prove_targets(recipe, exports, loaded)
        bar.advance(note="comparing")
        maker = ProbeMaker(loaded.encoder, loaded.tokenizer(), loaded.query_encoder(), recipe.model.lexicon.tokens)
        probing = ahead.share(maker, TEXTS)
        parity, loss = _prove_parity(recipe, loaded, ahead)
        files = _write_zips(recipe, folder, exports, loaded)
        probes = [probe for probe in probing.results() if probe is not None]
        loaded.require_sparse([len(probe.document) for probe in probes])
        changed = loaded is not whole
        runners = ahead.runners()
        reference = prove_reference(whole, {} if changed else runners, bool(recipe.quantize or changed))
        write_probes(folder / "probes.jsonl", probes)
        proofs = {
            "recipe": RECIPE,
            "parity": parity,
            **({"reference": reference} if reference else {}),
            "tokenizer": _tokenizer_facts(loaded),
            "targets": servers,
        }
        bar.advance(note="verifying")
        bundle = replace(
            _bundle(recipe, folder, files, proofs, loss), trimming=trimmed.manifest(files) if trimmed else {}
        )
        bundle = _finish(bundle, runners, recipe.dataset)
        bar.advance()
    return bundle


def _with_texts(recipe: Recipe, loaded: LoadedModel) -> Quantization | None:
    """The quantisation that was asked for, with the texts that it is calibrated on."""
    if recipe.quantize is None or not recipe.quantize.calibrated or recipe.dataset is None:
        return recipe.quantize
    from osparse.packager.fit.measure import calibration_texts

    tokenizer = loaded.tokenizer()
    texts = [tokenizer.encode(text).ids for text in calibration_texts(recipe.dataset)]
    return replace(recipe.quantize, texts=texts)


def _trimmed(recipe: Recipe, whole: LoadedModel) -> Trimmed | None:
    """The model with fewer tokens, if the recipe asks for that."""
    if recipe.vocabulary is None:
        return None
    from osparse.packager.vocabulary.trim import trim

    return trim(whole, recipe.vocabulary)


def _bundle(
    recipe: Recipe, folder: Path, files: dict[str, BundleFile], proofs: dict[str, Any], loss: dict[str, Any]
) -> Bundle:
    """What the manifest is going to say, without the fit; the list of training texts is copied."""
    model = recipe.model
    texts = model.training_texts()
    seen = texts.write(folder) if texts is not None else None
    return Bundle(
        path=folder,
        name=recipe.name,
        model=model.fingerprint,
        idf_version=model.lexicon.version,
        head=model.head,
        vocabulary=len(model.lexicon.tokens),
        files=files,
        probes_sha256=sha256_file(folder / "probes.jsonl"),
        checks=proofs,
        targets=tuple(v for v in TARGETS if any(v in _versions(spanned) for spanned in proofs["targets"])),
        quantization=loss,
        tolerance=loss.get("largest_difference_below", 1e-4),
        source=describe(model),
        seen=seen,
    )


def _finish(bundle: Bundle, runners: Mapping[str, Runner], dataset: Dataset | None) -> Bundle:
    """Check the finished files, measure how they fit, and write the manifest and the card.

    Raises:
        CheckError: something does not hold; the message is the whole table.
    """
    from osparse.packager.card import card
    from osparse.packager.checks.registry import Subject, require, run_all
    from osparse.packager.fit.measure import measure

    subject = Subject(bundle, graphs=False, opened=runners)  # each graph was just compared with its model
    require(subject, run_all(subject))
    fit = measure(bundle, dataset, runners)
    bundle = replace(bundle, fit=fit.to_json())
    bundle.save()
    (bundle.path / CARD).write_text(card(bundle, fit), encoding="utf-8")
    return bundle


def _tokenizer_facts(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "tokens": len(loaded.ordinary_ids),
        "lost": 0,
        "query_length": loaded.query_length,
        "own_query_tokenizer": loaded.own_query_tokenizer,
    }


def _write_zips(
    recipe: Recipe, folder: Path, exports: Mapping[str, bytes], loaded: LoadedModel
) -> dict[str, BundleFile]:
    files = {
        key: archive.write_encoder(
            folder, key, exports[key], loaded.shared, model_file=form.model_file, model_format=form.model_format
        )
        for key, form in recipe.formats.items()
    }
    return {**files, "tokenizer": archive.write_tokenizer(folder, loaded.for_queries)}


def _prove_targets(recipe: Recipe, exports: Mapping[str, bytes], loaded: LoadedModel) -> dict[str, dict[str, str]]:
    """Versions -> part -> how it is known to run there; raises :class:`CheckError` for a target that was asked for."""
    from osparse.packager.tokenizer.packaged import unreadable

    proved: dict[str, dict[str, str]] = {}
    for group in by_runtime(TARGETS.values()):
        problems = [
            problem for key, form in recipe.formats.items() for problem in form.problems(exports[key], group[0])
        ]
        problems += unreadable(loaded.tokenizer_json, group[0].tokenizers)
        asked = [target for target in group if target in recipe.targets]
        if problems and asked:
            raise CheckError(
                f"{recipe.model.path} would not run on OpenSearch {span(asked)}: {'; '.join(problems)}; ask for "
                "another `target`, or leave the format that fails out of `formats`"
            )
        if not problems:
            how = {key: form.proof(group[0]) for key, form in recipe.formats.items()}
            proved[span(group)] = {**how, "tokenizer": f"tokenizers {group[0].tokenizers} reads every component"}
    return proved


def _versions(spanned: str) -> list[str]:
    """The versions of ``2.15-2.18``."""
    every = list(TARGETS)
    first, _, last = spanned.partition("-")
    return every[every.index(first) : every.index(last or first) + 1]


def _prove_parity(recipe: Recipe, loaded: LoadedModel, ahead: Ahead) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest's ``checks.parity`` and ``quantization``; raises :class:`CheckError` if a graph differs."""
    from osparse.packager.compare.parity import answers, power_of_ten, require_parity

    cases = ahead.cases
    expected = answers(loaded.run, cases)
    if recipe.quantize is not None:
        from osparse.packager.quantize.loss import require_likeness

        loss = require_likeness(ahead.answers(), expected, str(recipe.quantize))
        log.info("%s loses: %s", recipe.quantize, ", ".join(f"{key} {value}" for key, value in loss.items()))
        return {}, {**recipe.quantization, **loss}
    largest = require_parity(ahead.answers(), expected, cases, recipe.model.head)
    log.info("parity on %d cases: %s", len(cases), ", ".join(f"{f} {v:.1e}" for f, v in largest.items()))
    parity = {
        form: {"cases": len(cases), "longest": loaded.longest, "largest_difference_below": power_of_ten(value)}
        for form, value in largest.items()
    }
    return parity, {}


def _cases(recipe: Recipe, loaded: LoadedModel) -> list[Case]:
    """What graphs and model are compared on."""
    from osparse.packager.compare.parity import make_cases, of_texts
    from osparse.packager.compare.probes import TEXTS

    tokenizer = loaded.tokenizer()
    cases = make_cases([tokenizer.encode(text).ids for _, text in TEXTS], loaded.ordinary_ids, loaded.longest)
    return cases if recipe.quantize is None else of_texts(cases)
