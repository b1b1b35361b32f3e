"""Bundle parts kept in the cluster, so that any machine can encode for an index with nothing but its URL and name.

A part is stored in the hidden index ``osparse-bundles`` as base64 chunks, keyed by its sha256; one document per bundle
fingerprint lists its parts and is written last, so that what it lists is there. A part that was read is checked
against its sha256 and cached under ``$XDG_CACHE_HOME/osparse/bundles/<sha256>/``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from osparse.contracts.bundle import Bundle, BundleFile
from osparse.contracts.deployment import Deployment
from osparse.contracts.seen import SeenFile
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.plan import Finding, Made
from osparse.errors import ClusterError
from osparse.io.files import sha256_file, write_atomic
from osparse.io.progress import progress
from osparse.io.user_folders import user_folder
from osparse.opensearch_templates import render

CHUNK = 5_000_000
"""Bytes of a part in one document, before base64."""


@dataclass(frozen=True)
class StoreParts:
    """Step: the named parts of a bundle are in the cluster."""

    api: ClusterApi
    bundle: Bundle
    parts: tuple[str, ...]
    takes = ()

    def inspect(self, made: Made) -> Finding:
        sizes = sum(self.bundle.parts[part].size for part in self.parts) / 1e6
        what = f"bundle parts {', '.join(self.parts)} ({sizes:.1f} MB) in {BUNDLES_INDEX}"
        listed = stored_parts(self.api, self.bundle.fingerprint)
        missing = [part for part in self.parts if not self._whole(listed, part)]
        if not missing:
            return Finding("keep", what, "stored, same sha256")
        return Finding("create", what, f"every machine encodes with them; not there yet: {', '.join(missing)}")

    def apply(self, made: Made) -> Made:
        if self.api.get_mapping(BUNDLES_INDEX) is None:
            self.api.create_index(BUNDLES_INDEX, render("index_bundles"))
        record = self.api.get_document(BUNDLES_INDEX, self.bundle.fingerprint) or {"parts": {}}
        missing = [part for part in self.parts if not self._whole(record["parts"], part)]
        for part in missing:
            self._store(part)
        parts = {**record["parts"], **{part: _entry(self.bundle.parts[part]) for part in missing}}
        if parts != record["parts"]:  # a bundle of another name may share the record: its name stays
            source = {"kind": "bundle", "bundle": self.bundle.name, **record, "parts": parts}
            self.api.put_document(BUNDLES_INDEX, self.bundle.fingerprint, source)
        return Made()

    def _whole(self, listed: Mapping[str, Mapping[str, object]], part: str) -> bool:
        file = self.bundle.parts[part]
        wanted = chunk_ids(file.sha256, file.size)
        return listed.get(part, {}).get("sha256") == file.sha256 and len(
            self.api.present(BUNDLES_INDEX, wanted)
        ) == len(wanted)

    def _store(self, part: str) -> None:
        file = self.bundle.parts[part]
        ids = chunk_ids(file.sha256, file.size)
        there = self.api.present(BUNDLES_INDEX, ids)
        with progress(f"store {file.name}", len(ids), "chunks") as bar:
            for chunk_id, data in zip(ids, _chunks(self.bundle.part_path(part)), strict=True):
                if chunk_id not in there:
                    source = {"kind": "chunk", "data": base64.b64encode(data).decode("ascii")}
                    self.api.put_document(BUNDLES_INDEX, chunk_id, source)
                bar.advance()


def _entry(file: BundleFile | SeenFile) -> dict[str, object]:
    return {"sha256": file.sha256, "size": file.size, "name": file.name}


def stored_parts(api: ClusterApi, fingerprint: str) -> dict[str, dict[str, object]]:
    """Part -> sha256, size and file name, as the cluster lists them for a bundle; empty if it knows none."""
    found = api.get_document(BUNDLES_INDEX, fingerprint)
    return dict(found["parts"]) if found else {}


def fetch_part(api: ClusterApi, deployment: Deployment, part: str) -> Path:
    """The path of a part (``tokenizer``, ``onnx``) in the local cache, read from the cluster if it is not there.

    Raises:
        ClusterError: the cluster does not hold the part whole.
    """
    listed = stored_parts(api, deployment.fingerprint).get(part)
    if listed is None:
        raise ClusterError(
            f"{api.cluster.url} holds no {part} part of bundle {deployment.bundle}; store it with: osparse deploy "
            "BUNDLE --index NAME"
        )
    sha256, size = str(listed["sha256"]), int(str(listed["size"]))
    path = cache_folder() / sha256 / str(Path(str(listed["name"])).name)
    if path.is_file() and path.stat().st_size == size and sha256_file(path) == sha256:
        return path
    data = b"".join(_read_chunks(api, deployment, part, chunk_ids(sha256, size)))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ClusterError(
            f"the {part} part of bundle {deployment.bundle} in {BUNDLES_INDEX} is damaged (sha256 differs); delete its "
            "chunks and run osparse deploy BUNDLE again"
        )
    write_atomic(path, data)
    return path


def cache_folder() -> Path:
    """Where parts are cached on this machine."""
    return user_folder("cache") / "bundles"


def _read_chunks(api: ClusterApi, deployment: Deployment, part: str, ids: list[str]) -> Iterator[bytes]:
    with progress(f"fetch {part} of {deployment.bundle}", len(ids), "chunks") as bar:
        for chunk_id in ids:
            found = api.get_document(BUNDLES_INDEX, chunk_id)
            if found is None:
                raise ClusterError(
                    f"the {part} part of bundle {deployment.bundle} is not whole in {BUNDLES_INDEX} ({chunk_id} is "
                    "missing); run osparse deploy BUNDLE again"
                )
            yield base64.b64decode(found["data"])
            bar.advance()


def chunk_ids(sha256: str, size: int) -> list[str]:
    return [f"{sha256}-{number}" for number in range(max(1, -(-size // CHUNK)))]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            yield data


def part_file(bundle: Bundle, part: str) -> BundleFile:
    """A part's entry; raises :class:`BundleError` naming the package command if the bundle lacks it."""
    bundle.zip_path(part)
    return bundle.files[part]
