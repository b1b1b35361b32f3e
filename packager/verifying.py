"""``verify``: a bundle is checked again, alone, wherever it is: hashes, zips, tokenizer, IDF, and its own probes.

The ONNX encoder runs everywhere (no torch needed); the TorchScript one where torch is installed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from osparse.bundle import Bundle, open_zip, read_member
from osparse.errors import CheckError
from osparse.lexicon import MAX_WEIGHT, MIN_WEIGHT
from osparse.onnx_encoder import INPUTS, open_query_encoder, open_session, pad, read_tokenizer
from osparse.packager import parity
from osparse.packager.archive import MODEL_FILES
from osparse.packager.tokenizer import load, lossy

Outcome = Literal["ok", "failed", "not run"]


@dataclass(frozen=True)
class Check:
    """One line of a verification."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Verification:
    """What was checked in a bundle; every outcome is ``ok`` or ``not run``."""

    bundle: Bundle
    checks: tuple[Check, ...]

    def table(self) -> str:
        return _table(self.checks)


def verify(path: Path | str) -> Verification:
    """Check a bundle without its model.

    Raises:
        BundleError: it is not a whole bundle, or a zip is unsafe.
        CheckError: something in it does not hold; the message is the whole table.
    """
    bundle = Bundle.open(path)
    checks = [Check("files", "ok", f"{len(bundle.files) + 1} files have the manifest's sha256")]
    checks.append(_contents(bundle))
    if checks[-1].outcome == "ok":
        checks += [_tokenizer(bundle), _idf(bundle), _queries(bundle), *_encoders(bundle)]
    if any(check.outcome == "failed" for check in checks):
        raise CheckError(f"{bundle.path} does not hold:\n{_table(checks)}\nmake it again with: osparse package")
    return Verification(bundle, tuple(checks))


def open_runners(zips: Mapping[str, Path]) -> dict[str, parity.Runner]:
    """Format -> what runs that zip's model here; TorchScript only where torch is installed."""
    found: dict[str, parity.Runner] = {}
    if "torchscript" in zips and importlib.util.find_spec("torch") is not None:
        from osparse.packager.torchscript import Runner

        found["torchscript"] = Runner(
            read_member(zips["torchscript"], MODEL_FILES["torchscript"]), str(zips["torchscript"])
        )
    if "onnx" in zips:
        session = open_session(read_member(zips["onnx"], MODEL_FILES["onnx"]), str(zips["onnx"]), threads=1)

        def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
            weights: NDArray[np.float32] = session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
            return weights

        found["onnx"] = run
    return found


def _contents(bundle: Bundle) -> Check:
    """Each zip holds exactly what the server wants, and all hold the same tokenizer and IDF."""
    shared = {"tokenizer.json", "idf.json"}
    problems = []
    for key, file in bundle.files.items():
        wanted = shared if key == "tokenizer" else shared | {MODEL_FILES[key], "LICENSE"}
        with open_zip(bundle.zip_path(key)) as opened:
            names = opened.namelist()
        if sorted(names) != sorted(wanted):
            problems.append(f"{file.name} holds {sorted(names)}, not {sorted(wanted)}")
    if not problems:
        for name in sorted(shared):
            if len({read_member(bundle.zip_path(key), name) for key in bundle.files}) > 1:
                problems.append(f"the zips hold different {name}")
    return _check("zips", problems, f"{len(bundle.files)} zips, each with what the server wants at its root")


def _tokenizer(bundle: Bundle) -> Check:
    path = bundle.zip_path("tokenizer")
    data = read_member(path, "tokenizer.json")
    tokenizer = load(data, str(path))
    problems = lossy(tokenizer)[:3]
    if (tokenizer.truncation or {}).get("max_length") != bundle.head.max_length:
        problems.append(f"truncation is {tokenizer.truncation}, not {bundle.head.max_length} ids")
    if tokenizer.get_vocab_size(with_added_tokens=True) > bundle.vocabulary:
        problems.append(f"it has more tokens than the manifest's {bundle.vocabulary:,}")
    return _check("tokenizer", problems, f"each of {bundle.vocabulary:,} ids keeps its own token")


def _idf(bundle: Bundle) -> Check:
    path = bundle.zip_path("tokenizer")
    lexicon = open_query_encoder(path).lexicon
    raw: dict[str, float] = json.loads(read_member(path, "idf.json"))
    problems = [f"{token!r} weighs {w}" for token, w in raw.items() if not MIN_WEIGHT <= w <= MAX_WEIGHT][:3]
    if lexicon.version != bundle.idf_version:
        problems.append(f"its version is {lexicon.version}, not the manifest's {bundle.idf_version}")
    return _check("idf", problems, f"{len(raw):,} weights within [{MIN_WEIGHT:g}, {MAX_WEIGHT:g}]")


def _queries(bundle: Bundle) -> Check:
    encoder = open_query_encoder(bundle.zip_path("tokenizer"))
    probes = bundle.probes()
    problems = []
    for probe in probes:
        gap = _largest(encoder.encode(probe.text), probe.query)
        if gap > parity.RUNTIME_TOLERANCE:
            problems.append(f"{probe.text[:30]!r} differs by {gap:.2g}")
    return _check("queries", problems[:3], f"{len(probes)} probe texts get their query weights")


def _encoders(bundle: Bundle) -> list[Check]:
    runners = open_runners({form: bundle.zip_path(form) for form in bundle.formats})
    checks = []
    for form in bundle.formats:
        if form in runners:
            checks.append(_documents(bundle, form, runners[form]))
        else:
            checks.append(Check(form, "not run", "torch is not installed here; pip install 'osparse[train]' runs it"))
    if len(runners) == 2:
        checks.append(_each_other(bundle, runners["torchscript"], runners["onnx"]))
    return checks


def _documents(bundle: Bundle, form: str, run: parity.Runner) -> Check:
    """The server's way: one text at a time, each non-zero under the decoded string of its id."""
    tokenizer, _, _ = read_tokenizer(bundle.zip_path(form))
    problems, worst = [], 0.0
    for probe in (probes := bundle.probes()):
        ids = tokenizer.encode(probe.text).ids
        weights = run(*pad([ids]))[0]
        if not np.isfinite(weights).all():
            problems.append(f"{probe.text[:30]!r} gets NaN or infinite weights")
            continue
        kept = np.flatnonzero(weights)
        keys = tokenizer.decode_batch([[int(i)] for i in kept], skip_special_tokens=True)
        gap = _largest({k: float(weights[i]) for k, i in zip(keys, kept, strict=True) if k}, probe.document)
        worst = max(worst, gap)
        if gap > parity.RUNTIME_TOLERANCE:
            problems.append(f"{probe.text[:30]!r} differs by {gap:.2g}")
    return _check(form, problems[:3], f"{len(probes)} probe texts get their weights, largest difference {worst:.1e}")


def _each_other(bundle: Bundle, torchscript: parity.Runner, onnx: parity.Runner) -> Check:
    tokenizer, tokens, longest = read_tokenizer(bundle.zip_path("onnx"))
    masked = set(bundle.head.masked_ids)
    ordinary = [i for i in range(len(tokens)) if i not in masked]
    texts = [tokenizer.encode(probe.text).ids for probe in bundle.probes()]
    cases = parity.make_cases(texts, ordinary, longest)
    found = [
        parity.compare(c, onnx(c.ids, c.mask), torchscript(c.ids, c.mask), bundle.head, parity.RUNTIME_TOLERANCE)
        for c in cases
    ]
    problems = [f"{d.case} differs by {d.largest:.2g}" for d in found if not d.ok][:3]
    worst = max(d.largest for d in found)
    return _check("onnx = torchscript", problems, f"{len(cases)} cases, largest difference {worst:.1e}")


def _largest(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    return max((abs(a.get(token, 0.0) - b.get(token, 0.0)) for token in {*a, *b}), default=0.0)


def _check(name: str, problems: list[str], detail: str) -> Check:
    return Check(name, "failed", "; ".join(problems)) if problems else Check(name, "ok", detail)


def _table(checks: Sequence[Check]) -> str:
    return parity.table([(check.name, check.outcome, check.detail) for check in checks])
