"""The bundle directory: zips that OpenSearch ML Commons accepts, what they are, and how that was proved.

    manifest.json
    encoder.torchscript.zip and/or encoder.onnx.zip    model file, tokenizer.json, idf.json, LICENSE at the root
    tokenizer.zip                                      tokenizer.json, idf.json
    probes.jsonl                                       texts with the weights they must get
    seen.bin                                           hashes of what the model learnt from (osparse.contracts.seen)

The same model gives the same bytes: no dates, paths or machine names are in any of these files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from osparse.contracts.seen import SEEN, SeenFile, SeenTexts
from osparse.errors import BundleError
from osparse.formula.head import Head
from osparse.io import html
from osparse.io.files import fingerprint, pretty_json, read_json, read_jsonl, sha256_file
from osparse.io.settings import checked, setting

SCHEMA_VERSION = 1
MAX_NAME = 80
"""Characters; the server makes file names of '<name>-<fingerprint>-<part>', which must stay within 120."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class BundleFile:
    """One zip of the bundle."""

    name: str
    sha256: str
    size: int
    """Bytes."""
    function_name: Literal["SPARSE_ENCODING", "SPARSE_TOKENIZE"]
    model_format: str
    """TORCH_SCRIPT or ONNX, as the server calls it."""


@dataclass(frozen=True)
class Probe:
    """A text and the weights that the served models must give it."""

    text: str
    lang: str
    document: dict[str, float]
    query: dict[str, float]


@dataclass(frozen=True)
class Bundle:
    """A bundle directory that was opened; every file has the size and sha256 its manifest says."""

    path: Path
    name: str
    model: str
    """Fingerprint of the model it was made from."""
    idf_version: str
    head: Head
    vocabulary: int
    files: dict[str, BundleFile]
    """``torchscript``, ``onnx`` (or another format; one at least) and ``tokenizer`` -> its zip."""
    probes_sha256: str
    checks: dict[str, Any] = field(default_factory=dict)
    """What was proved before it was written: parity per format, tokenizer losslessness."""
    targets: tuple[str, ...] = ()
    """OpenSearch versions it is proved for."""
    quantization: dict[str, Any] = field(default_factory=dict)
    """``scheme`` (int8) and what it loses against the unquantised encoder; {} for fp32."""
    trimming: dict[str, Any] = field(default_factory=dict)
    """Which tokens of the model are left and what that loses on a dataset; {} where it has all of them."""
    tolerance: float = setting(1e-4, low=0)
    """Largest difference of a served document weight from ``probes.jsonl`` that is not a fault."""
    source: dict[str, Any] = field(default_factory=dict)
    """What was packaged: kind of folder, name, architecture, licence, where the query weights are from; ``pruned`` and
    ``seismic`` say what ``osparse tune --apply`` changed (parameters of a ``sparse_vector`` field)."""
    fit: dict[str, Any] = field(default_factory=dict)
    """How it suits a corpus and a cluster; ``ceilings`` are what a SEISMIC index should be given."""
    seen: SeenFile | None = None
    """The list of texts that the model learnt from; None where that is not known."""

    def _repr_html_(self) -> str:
        """What a notebook shows: the files, and what was proved."""
        facts = {
            "path": str(self.path), "made from the model": self.model, "vocabulary": self.vocabulary,
            "OpenSearch": list(self.targets), "quantisation": self.quantization.get("scheme"), "checks": self.checks,
        }  # fmt: skip
        files = [
            (kind, file.name, f"{file.size / 1e6:,.1f} MB", file.model_format) for kind, file in self.files.items()
        ]
        return html.described(f"Bundle {self.name}", facts, [html.table(("part", "file", "size", "format"), files)])

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Open and check every file against the manifest; raises :class:`BundleError` naming what differs."""
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise BundleError(f"{path} is not a bundle: it has no manifest.json; make one with: osparse package")
        raw = read_json(path / "manifest.json", BundleError)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA_VERSION or "probes_sha256" not in raw:
            raise BundleError(
                f"{path}/manifest.json is not a bundle manifest (schema {SCHEMA_VERSION}); run: osparse package"
            )
        own = {key: value for key, value in raw.items() if key not in ("schema", "fingerprint")}
        bundle, problems = checked(cls, {**own, "path": str(path)})  # this manifest may be anyone's
        if bundle is None:
            listed = [f"  - {problem}" for problem in problems]
            raise BundleError(
                "\n".join([f"{path}/manifest.json is not a bundle manifest; run: osparse package", *listed])
            )
        check_name(bundle.name)
        bundle._check_files(raw)
        return bundle

    def manifest(self) -> dict[str, Any]:
        """What manifest.json says."""
        stated = {key: value for key, value in asdict(self).items() if key != "path"} | {"head": self.head.settings()}
        return {"schema": SCHEMA_VERSION, "fingerprint": self.fingerprint, **stated}

    def save(self) -> None:
        """Write manifest.json beside the files that are already in ``path``."""
        (self.path / "manifest.json").write_text(pretty_json(self.manifest()), encoding="utf-8")

    def problems(self) -> list[str]:
        """What no manifest may say, for :func:`osparse.io.settings.checked`."""
        problems = [] if self.vocabulary >= 1 else [f"vocabulary must be at least 1, got {self.vocabulary}"]
        if self.seen is not None and self.seen.name != SEEN:
            problems.append(f"seen.name must be {SEEN}, got {self.seen.name!r}")
        return problems

    @cached_property
    def fingerprint(self) -> str:
        """Names the content: equal files, equal fingerprint, unless their indices are to be built differently."""
        files = {key: file.sha256 for key, file in self.files.items()}
        built = {"seismic": self.source["seismic"]} if "seismic" in self.source else {}
        return fingerprint({**files, "probes": self.probes_sha256, **built})

    @property
    def short(self) -> str:
        """The twelve hex digits that go into names on the cluster."""
        return self.fingerprint[:12]

    @property
    def formats(self) -> list[str]:
        """Names of the encoder formats; the first is the one a server is given."""
        return [key for key in self.files if key != "tokenizer"]

    @property
    def parts(self) -> dict[str, BundleFile | SeenFile]:
        """The zips by key, and ``seen`` where it has that: what a cluster may be given to keep."""
        return {**self.files, **({"seen": self.seen} if self.seen is not None else {})}

    def training_texts(self) -> SeenTexts | None:
        """The texts that the model learnt from; None where that is not known."""
        return None if self.seen is None else SeenTexts.open(self.path / self.seen.name, BundleError)

    def part_path(self, key: str) -> Path:
        """Path of one of :attr:`parts`; raises as :meth:`zip_path`."""
        return self.path / SEEN if key == "seen" and self.seen is not None else self.zip_path(key)

    def zip_path(self, key: str) -> Path:
        """Path of ``torchscript``, ``onnx`` or ``tokenizer``; raises :class:`BundleError` if the bundle lacks it."""
        if key not in self.files:
            raise BundleError(
                f"{self.path} has no {key} part, only {', '.join(self.files)}; "
                f"run: osparse package MODEL --format {key}"
            )
        return self.path / self.files[key].name

    def probes(self) -> list[Probe]:
        """Raises :class:`BundleError` naming the line that is not a probe."""
        path, read = self.path / "probes.jsonl", list[Probe]()
        for number, row in read_jsonl(path, BundleError):
            probe, problems = checked(Probe, row)
            if probe is None:
                raise BundleError(f"{path}:{number} is not a probe: {'; '.join(problems)}; run: osparse package")
            read.append(probe)
        return read

    def _check_files(self, raw: Mapping[str, Any]) -> None:
        files = self.parts.values()
        expected = {file.name: file.sha256 for file in files} | {"probes.jsonl": self.probes_sha256}
        sizes = {file.name: file.size for file in files}
        problems = []
        for name, sha256 in expected.items():
            path = self.path / name
            if PurePosixPath(name).name != name:
                problems.append(f"  - {name!r} is not a plain file name")
            elif path.is_symlink():
                problems.append(f"  - {name} is a symbolic link, which may lead anywhere; put the file itself there")
            elif not path.is_file():
                problems.append(f"  - {name} is missing")
            elif (found := sha256_file(path)) != sha256:
                problems.append(f"  - {name}: sha256 {found[:12]}.. does not match the manifest's {sha256[:12]}..")
            elif (size := path.stat().st_size) != sizes.get(name, size):
                problems.append(f"  - {name} has {size:,} bytes, the manifest says {sizes[name]:,}")
        if not problems and raw.get("fingerprint") != self.fingerprint:
            problems.append("  - the manifest's fingerprint is not that of its files")
        if problems:
            raise BundleError("\n".join([f"{self.path} is not a whole bundle; run: osparse package", *problems]))


def write_manifest(folder: Path, **values: Any) -> None:
    """Write manifest.json for the files already in ``folder``; ``values`` are the fields of :class:`Bundle`."""
    Bundle(path=folder, probes_sha256=sha256_file(folder / "probes.jsonl"), **values).save()


def check_name(name: str) -> str:
    """A bundle name the server can make file names of; raises :class:`BundleError` saying what may be in it."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > MAX_NAME:
        raise BundleError(
            f"the bundle name {name!r} becomes a file name on the server: use at most {MAX_NAME} of a-z 0-9 . _ - "
            "(a letter or digit first, no '..'); pass --name"
        )
    return name
