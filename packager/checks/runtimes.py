"""What a finished bundle's encoders and tokenizer answer, checked in three groups; ``package`` runs the same code.

``graphs``: the packaged graphs against each other over lengths, batches and padding. ``emulator``: a Python emulation
of the server against the probes and against ``osparse.formula``. ``server runtime``: the server's own runtime
against the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.bundle import Bundle, Probe
from osparse.contracts.model import Model
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.encoders.similarity import unlike
from osparse.errors import CheckError, InputError
from osparse.formula import lucene_rounding
from osparse.packager.checks import djl as server
from osparse.packager.checks import lucene_emulator
from osparse.packager.checks.emulator import ServerEncoder, ServerTokenizer
from osparse.packager.checks.registry import Check, Group, Subject, result
from osparse.packager.compare import parity

if TYPE_CHECKING:
    from osparse.packager.checkpoint.loaded import LoadedModel

SCORE_TOLERANCE = 1e-6
"""Relative; Lucene sums in float32."""


def graphs(subject: Subject) -> Iterable[Check]:
    """Graphs: padding never leaks, and every format gives what the first one gives."""
    bundle = subject.bundle
    for form in bundle.formats:
        if form not in subject.runners:
            hint = "its runtime is not installed here; pip install 'osparse[train]' brings torch"
            yield Check(form, "not run", hint, "graphs")
    cases = _cases(subject) if subject.graphs else []
    for form, run in subject.runners.items() if subject.graphs else ():
        leak = parity.padding_leak(run, cases)
        problems = [f"a padded text differs by {leak:.2g}"] if not leak <= bundle.tolerance else []
        batches = sum(len(case.ids) > 1 for case in cases)
        yield result(f"{form} padding", "graphs", problems, f"{batches} batches, largest difference {leak:.1e}")
    first, *others = subject.runners or [""]
    for form in others if subject.graphs else ():
        wanted = [subject.runners[first](case.ids, case.mask) for case in cases]
        yield _compared(f"{form} = {first}", "graphs", bundle, subject.runners[form], cases, wanted)


def with_model(subject: Subject, model: Model) -> Iterable[Check]:
    """Graphs against the model that the bundle was made from, in torch as it was trained.

    Raises :class:`InputError` for another model.
    """
    from osparse.packager.checkpoint.loaded import LoadedModel

    bundle = subject.bundle
    if model.fingerprint != bundle.model:
        raise InputError(
            f"{model.path} (fingerprint {model.fingerprint[:12]}) is not what {bundle.path} was made from "
            f"({bundle.model[:12]}); pass that model"
        )
    yield from against(subject, LoadedModel.open(model))


def against(subject: Subject, loaded: LoadedModel) -> Iterable[Check]:
    """Graphs against a loaded model that has the bundle's tokens."""
    bundle, cases = subject.bundle, _cases(subject)
    wanted = [loaded.run(case.ids, case.mask) for case in cases]
    for form, run in subject.runners.items():
        yield _compared(f"{form} = model", "graphs", bundle, run, cases, wanted)


def emulator(subject: Subject) -> Iterable[Check]:
    """Emulator: documents, queries and the index, as the emulated server makes them."""
    bundle, probes = subject.bundle, subject.probes
    for form, run in subject.runners.items():
        encoder = ServerEncoder.open(bundle.zip_path(form), bundle.files[form].model_format, run)
        vectors = [encoder.vector(probe.text) for probe in probes]
        words = [encoder.answer(vector) for vector in vectors]
        ids = [{int(i): w for i, w in encoder.answer(vector, "TOKEN_ID").items()} for vector in vectors]
        yield _documents(subject, form, "emulator", words, ids)
    tokenizer = ServerTokenizer.open(bundle.zip_path("tokenizer"))
    yield _queries(subject, "emulator", [tokenizer.predict(probe.text) for probe in probes])
    yield _index(probes)


def server_runtime(subject: Subject) -> Iterable[Check]:
    """Server runtime: what it answers; nothing unless it is asked for."""
    if subject.runtime != "djl":
        return
    bundle = subject.bundle
    cases = [case for case in _cases(subject) if len(case.ids) == 1]
    served = server.serve(bundle, [probe.text for probe in subject.probes], [case.ids[0].tolist() for case in cases])
    for form, answer in served.encoders.items():
        runtime = server.LIBRARIES[bundle.files[form].model_format]
        yield _documents(subject, form, "server runtime", answer.words, answer.ids, f"; {runtime}")
        if form in subject.runners:
            run = subject.runners[form]
            rows = list(_dense(answer.rows, run(cases[0].ids, cases[0].mask).shape[1]))
            yield _compared(f"{form} rows", "server runtime", bundle, run, cases, rows)
    yield _queries(subject, "server runtime", served.queries, f"; {server.TOKENIZERS}")


def _cases(subject: Subject) -> list[parity.Case]:
    bundle = subject.bundle
    tokenizer, tokens, _ = read_tokenizer(bundle.zip_path(bundle.formats[0]))
    masked = set(bundle.head.masked_ids)
    ordinary = [i for i in range(len(tokens)) if i not in masked]
    texts = [tokenizer.encode(probe.text).ids for probe in subject.probes]
    # The graph's own limit is not in the manifest before parity is; the head's is always within it.
    longest = max([bundle.head.max_length, *(row["longest"] for row in bundle.checks.get("parity", {}).values())])
    cases = parity.make_cases(texts, ordinary, longest)
    return parity.of_texts(cases) if bundle.quantization else cases


def _compared(
    name: str,
    group: Group,
    bundle: Bundle,
    run: parity.Runner,
    cases: Sequence[parity.Case],
    expected: Sequence[NDArray[np.float32]],
) -> Check:
    pairs = zip(cases, expected, strict=True)
    differences = [
        parity.compare(case, run(case.ids, case.mask), w, bundle.head, bundle.tolerance) for case, w in pairs
    ]
    problems = [f"{d.case} differs by {d.largest:.2g}" for d in differences if not d.ok]
    longest = max(case.ids.shape[1] for case in cases)
    worst = max(d.largest for d in differences)
    return result(name, group, problems, f"{len(cases)} cases of 1 to {longest} ids, largest difference {worst:.1e}")


def _documents(
    subject: Subject,
    form: str,
    group: Group,
    words: Sequence[Mapping[str, float]],
    ids: Sequence[Mapping[int, float]],
    runtime: str = "",
) -> Check:
    """Answers in WORD and TOKEN_ID against the probes: within 1e-4, the same tokens above 1e-3, nothing lost.

    Of a quantised bundle: within its tolerance, and as like the probe's vector as ``package`` wants it.
    """
    bundle, tokens, probes = subject.bundle, subject.tokens, subject.probes
    problems, worst = [], 0.0
    for probe, answer, by_id in zip(probes, words, ids, strict=True):
        gap = parity.word_difference(answer, probe.document)
        lone = parity.lone_words(answer, probe.document, max(parity.SET_FLOOR, bundle.tolerance))
        worst = max(worst, gap)
        named = {tokens[i] if i < len(tokens) else f"id {i}": weight for i, weight in by_id.items()}
        if not gap <= bundle.tolerance:
            problems.append(f"{probe.text[:30]!r} differs by {gap:.2g}")
        elif bundle.quantization and (far := unlike(answer, probe.document)):
            problems.append(f"{probe.text[:30]!r} is another vector: {far}")
        elif lone:
            problems.append(f"{probe.text[:30]!r} has {lone[:3]} on one side only")
        elif named != answer:
            problems.append(
                f"{probe.text[:30]!r}: ids and words differ over {sorted(named.items() ^ answer.items())[:2]}"
            )
    detail = f"{len(probes)} probe texts get their weights, largest difference {worst:.1e}{runtime}"
    return result(form, group, problems, detail)


def _dense(answers: Sequence[Mapping[int, float]], width: int) -> Iterator[NDArray[np.float32]]:
    """{id: weight} of each row -> (1, V)."""
    for answer in answers:
        row = np.zeros((1, width), np.float32)
        row[0, list(answer)] = list(answer.values())
        yield row


def _queries(subject: Subject, group: Group, answers: Sequence[Mapping[str, float]], runtime: str = "") -> Check:
    """Answers of the tokenizer model against the probes and against ``osparse.formula``."""
    encoder, probes = subject.query_encoder, subject.probes
    problems = []
    for probe, weights in zip(probes, answers, strict=True):
        for other in (probe.query, encoder.encode(probe.text)):
            gap = parity.word_difference(weights, other)
            if gap > parity.TOLERANCE or weights.keys() != other.keys():
                problems.append(f"{probe.text[:30]!r} differs by {gap:.2g}")
                break
    return result("queries", group, problems, f"{len(probes)} probe texts get their query weights{runtime}")


def _index(probes: Sequence[Probe]) -> Check:
    """The index takes every document and query, and scores them as ``osparse.formula`` does."""
    problems: list[str] = []
    pairs = 0
    for document in probes:
        try:
            stored = lucene_emulator.rank_features(document.document)
            for query in probes:
                score, wanted = (
                    lucene_emulator.score(query.query, stored),
                    lucene_rounding.score(query.query, document.document),
                )
                pairs += 1
                if abs(score - wanted) > SCORE_TOLERANCE * max(1.0, abs(wanted)):
                    problems.append(f"{query.text[:20]!r} scores {document.text[:20]!r} {score:.6g}, not {wanted:.6g}")
        except CheckError as refused:
            problems.append(f"{document.text[:30]!r}: {refused}")
    return result(
        "index", "emulator", problems, f"{pairs} pairs of probes score as the formula does, stored as rank_features"
    )
