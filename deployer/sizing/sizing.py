"""Compute the capacity sheet from a sample of documents, a bundle and, if one is named, a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, Vector
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import look
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.preflight.capacity import COPY_FACTOR
from osparse.deployer.sizing.cluster_limits import ClusterLimits, read_limits
from osparse.deployer.sizing.rates import EncodedSample, cluster_rate, encode_sample
from osparse.deployer.sizing.sample import DocumentSample, sample_of_files, sample_of_index
from osparse.deployer.sizing.sheet import CapacitySheet, Sizes, weights_of
from osparse.errors import InputError
from osparse.formula.server_costs import (
    REST_BYTES_PER_JSON_BYTE,
    SEISMIC_HEAP_PER_WEIGHT,
    model_memory,
    sparse_field_bytes,
)
from osparse.rows.row_rules import make_rules

MILLION = 1_000_000


def sizing(
    bundle: Bundle | None = None,
    paths: Sequence[Path | str] = (),
    *,
    cluster: Cluster | None = None,
    index: str | None = None,
    documents: int | None = None,
    field: Vector | None = None,
    replicas: int | None = None,
    workers: int | None = None,
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    exclude: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> CapacitySheet:
    """What documents take on a cluster, on disk and in memory, and how long their encoding takes; changes nothing.

    Args:
        bundle: Encodes the sample. None: the vectors that the documents of ``index`` have.
        paths: Files of documents, as :func:`index_documents` reads them; or none, and ``index``.
        index: An index on ``cluster``, osparse's own or one that is to be adopted.
        documents: Compute for so many; None: for as many as there are, where that is known.
        field: Of the vectors; None: that of ``index``, or rank_features.
        replicas: Copies of each shard; None: one where the cluster has a second node, or no cluster is given.
        workers: Processes that encode on this machine; None: one per core.

    Raises:
        InputError: neither documents nor an index, or both; no document with a text; an index without vectors and no
            bundle.
        BundleError: the bundle has no onnx part.
        ClusterError: the cluster does not answer.
    """
    if bool(paths) == (index is not None):
        raise InputError("a capacity sheet needs a sample: give documents, or an `index` on a cluster, not both")
    if index is not None and cluster is None:
        raise InputError("`index` is looked at on a cluster; give `cluster` too")
    rules = make_rules(id_field, text_field, template, exclude, rename)
    api = ClusterApi(cluster) if cluster is not None else None
    deployment: Deployment | None = None
    if api is not None and index is not None:
        sample, deployment = sample_of_index(api, index, rules.template)
    else:
        sample = sample_of_files(paths, rules)
    if bundle is None and not sample.nonzeros:
        raise InputError("the documents have no vectors yet; give a `bundle`, which encodes a sample of them")
    window = deployment.window_weight if deployment is not None else None
    encoded = encode_sample(bundle, sample.texts, workers, window) if bundle is not None else None
    served = _cluster_rate(api, *_named(bundle, deployment), sample.texts) if api is not None else None
    limits = read_limits(api) if api is not None else ClusterLimits()
    vector = field or (deployment.vector if deployment is not None else "rank_features")
    copies = replicas if replicas is not None else min(1, (limits.nodes or 2) - 1)
    return _sheet(sample, encoded, served, limits, vector, copies, bundle, documents)


def _cluster_rate(api: ClusterApi, bundle: str, fingerprint: str, texts: Sequence[str]) -> float | None:
    return None if look(api).missing_plugins else cluster_rate(MLCommons(api.cluster), bundle, fingerprint, texts)


def _named(bundle: Bundle | None, deployment: Deployment | None) -> tuple[str, str]:
    if bundle is not None:
        return bundle.name, bundle.fingerprint
    return (deployment.bundle, deployment.fingerprint) if deployment is not None else ("", "")


def _sheet(
    sample: DocumentSample,
    encoded: EncodedSample | None,
    served: float | None,
    limits: ClusterLimits,
    vector: Vector,
    replicas: int,
    bundle: Bundle | None,
    documents: int | None,
) -> CapacitySheet:
    counts = encoded.nonzeros if encoded is not None else sample.nonzeros
    mean = sum(counts) / len(counts)
    here = encoded.per_second if encoded is not None else None
    vectors, rest = sparse_field_bytes(mean, seismic=vector == "sparse_vector"), _rest_bytes(sample)

    def of(count: int) -> Sizes:
        one_copy = count * (vectors + rest)
        switch = one_copy * (1 + replicas) * (1 + COPY_FACTOR)
        return Sizes(
            documents=count,
            vector_bytes=int(count * vectors),
            rest_bytes=int(count * rest),
            all_copies_bytes=int(one_copy * (1 + replicas)),
            switch_bytes=int(switch),
            switch_disk_bytes=int(limits.disk_of(switch)),
            seismic_heap_bytes=int(count * mean * SEISMIC_HEAP_PER_WEIGHT) if vector == "sparse_vector" else None,
            hours_here=None if here is None else count / here / 3600,
            hours_cluster=None if served is None else count / served / 3600,
        )

    wanted = documents or sample.total
    return CapacitySheet(
        vector=vector,
        sample={
            "source": sample.source,
            "documents": len(counts),
            "weights": weights_of(counts),
            "cut": None if encoded is None else encoded.cut / len(sample.texts),
        },
        rates={"here": here, "workers": None if encoded is None else encoded.workers, "cluster": served},
        replicas=replicas,
        sizes=tuple(map(of, (MILLION, *([wanted] if wanted else [])))),
        model_memory_bytes={} if bundle is None else _memory(bundle),
        limits=limits,
        how=tuple(_how(sample, here, served, vector, limits)),
    )


def _rest_bytes(sample: DocumentSample) -> float:
    """Bytes on disk of a document without its vector."""
    if sample.stored_bytes is None:
        return sample.json_bytes * REST_BYTES_PER_JSON_BYTE
    if not sample.nonzeros:
        return sample.stored_bytes
    mean = sum(sample.nonzeros) / len(sample.nonzeros)
    return max(0.0, sample.stored_bytes - sparse_field_bytes(mean, seismic=sample.seismic))


def _memory(bundle: Bundle) -> dict[str, int]:
    files = {form: bundle.files[form] for form in bundle.formats}
    return {form: int(model_memory(file.model_format, file.size)) for form, file in files.items()}


def _how(
    sample: DocumentSample, here: float | None, served: float | None, vector: Vector, limits: ClusterLimits
) -> list[str]:
    per_weight = sparse_field_bytes(1, seismic=vector == "sparse_vector") - sparse_field_bytes(0)
    said = [f"vectors: the sample's non-zeros x {per_weight:g} bytes, measured on other documents in one segment"]
    if sample.stored_bytes is None:
        said.append(f"everything else: the sample's JSON ({sample.json_bytes:,.0f} bytes a document) x "
                    f"{REST_BYTES_PER_JSON_BYTE:g}; an index of the documents (`index`) gives it measured")  # fmt: skip
    else:
        said.append("everything else: measured, the primary shards of that index without its vectors")
    said.append(f"upgrade: both indices with their copies, the new one x {COPY_FACTOR:g} while its segments merge")
    if here is None:
        said.append("encoding here: not measured; give a `bundle`")
    else:
        said.append(f"encoding here: {here:,.1f} documents a second, measured on the sample")
    if served is None:
        said.append("encoding on the cluster: not known; measured where a `cluster` serves this bundle's encoder")
    else:
        said.append(f"encoding on the cluster: {served:,.1f} documents a second, one at a time by one node, measured")
    if vector == "sparse_vector":
        said.append(
            f"SEISMIC caches: at most {limits.seismic_limit} of a node's heap (cluster setting); segments below the "
            "threshold take none"
        )
    return said
