"""The bundle of an index that is stored otherwise: its encoder prunes, or it names SEISMIC's parameters."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle, BundleFile, Probe
from osparse.contracts.deployment import Deployment
from osparse.contracts.zip_members import open_zip
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.seismic_parameters import CHOSEN
from osparse.deployer.load.bundle_store import fetch_part
from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder
from osparse.errors import InputError
from osparse.formula.head import Head
from osparse.io.files import canonical_json, sha256_file
from osparse.plugins.extras import require
from osparse.retrieval.serving.settings import Pruning

MODEL, OUTPUT = "model.onnx", "output"


def pruned_bundle(source: Bundle, choice: Pruning, folder: Path) -> Bundle:
    """Write ``source`` with pruning added to its ONNX encoder into ``folder``, an empty or missing one.

    The bundle has the parts ``onnx`` and ``tokenizer``, and probes with the pruned weights.

    Raises:
        BundleError: ``source`` has no ONNX part.
        MissingExtraError: the onnx package is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder, tokenizer = folder / "encoder.onnx.zip", folder / "tokenizer.zip"
    shutil.copyfile(source.zip_path("tokenizer"), tokenizer)
    _write_encoder(source.zip_path("onnx"), encoder, choice)
    probes = _probes(source.probes(), encoder, tokenizer)
    (folder / "probes.jsonl").write_text("".join(canonical_json(asdict(probe)) + "\n" for probe in probes), "utf-8")
    files = {
        "onnx": replace(
            source.files["onnx"], name=encoder.name, sha256=sha256_file(encoder), size=encoder.stat().st_size
        ),
        "tokenizer": replace(source.files["tokenizer"], name=tokenizer.name),
    }
    changed = replace(
        source,
        path=folder,
        head=_head(source.head, choice),
        files=files,
        probes_sha256=sha256_file(folder / "probes.jsonl"),
        source={**source.source, "pruned": {"from": source.fingerprint, "kind": choice.kind, "value": choice.value}},
    )
    changed.save()
    return Bundle.open(folder)


def rebuilt(source: Bundle, parameters: Mapping[str, float]) -> Bundle:
    """``source`` as the bundle of an index with these parameters of SEISMIC; its fingerprint is another.

    Args:
        parameters: By their names in :class:`osparse.retrieval.serving.settings.SeismicBuild`.
    """
    return replace(source, source={**source.source, CHOSEN: dict(parameters)})


def rebuilt_bundle(source: Bundle, parameters: Mapping[str, float], folder: Path) -> Bundle:
    """Write :func:`rebuilt` into ``folder``, a missing one; every file is the same but the manifest."""
    shutil.copytree(source.path, folder)
    replace(rebuilt(source, parameters), path=folder).save()
    return Bundle.open(folder)


def stored_bundle(api: ClusterApi, deployment: Deployment, texts: list[str], folder: Path) -> Bundle:
    """The bundle of a client-mode deployment, made of the parts that the cluster keeps, with new probes of ``texts``.

    Raises:
        InputError: the mode is ml-commons or remote, where the cluster keeps no encoder part.
    """
    if deployment.mode != "client":
        raise InputError(
            f"another index in mode {deployment.mode} needs the deployed bundle, which the cluster does not keep; pass "
            "`bundle`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    parts = {part: shutil.copyfile(fetch_part(api, deployment, part), folder / f"{part}.zip") for part in _PARTS}
    encoder, queries = OnnxEncoder.open(Path(parts["onnx"])), open_query_encoder(Path(parts["tokenizer"]))
    rows = zip(texts, encoder.encode(texts, batch_size=1), strict=True)
    probes = [Probe(text, "und", document, queries.encode(text)) for text, document in rows]
    (folder / "probes.jsonl").write_text("".join(canonical_json(asdict(probe)) + "\n" for probe in probes), "utf-8")
    Bundle(
        path=folder,
        name=deployment.bundle,
        model="",
        idf_version=deployment.idf_version,
        head=Head(max_length=deployment.max_length),
        vocabulary=deployment.vocabulary,
        files={part: _entry(Path(parts[part]), part) for part in _PARTS},
        probes_sha256=sha256_file(folder / "probes.jsonl"),
    ).save()
    return Bundle.open(folder)


_PARTS = ("onnx", "tokenizer")


def _entry(path: Path, part: str) -> BundleFile:
    kinds: Mapping[str, Any] = {"onnx": ("SPARSE_ENCODING", "ONNX"), "tokenizer": ("SPARSE_TOKENIZE", "TORCH_SCRIPT")}
    return BundleFile(path.name, sha256_file(path), path.stat().st_size, *kinds[part])


def _head(head: Head, choice: Pruning) -> Head:
    """What the head says of the weights; it has no name for ``alpha_mass``, which the bundle's ``source`` tells."""
    if head.keep_own:  # what is tuned cuts own tokens too, and as many as are left of both have no bound in the head
        head = replace(head, keep_own=False, top_k=None)
    if choice.kind == "max_ratio":
        return replace(head, prune_ratio=max(head.prune_ratio, choice.value))
    if choice.kind == "top_k":
        return replace(head, top_k=min(int(choice.value), head.top_k or int(choice.value)))
    return head


def _probes(probes: list[Probe], encoder: Path, tokenizer: Path) -> list[Probe]:
    opened, queries = OnnxEncoder.open(encoder), open_query_encoder(tokenizer)
    documents = opened.encode([probe.text for probe in probes], batch_size=1)
    return [
        replace(probe, document=document, query=queries.encode(probe.text))
        for probe, document in zip(probes, documents, strict=True)
    ]


def _write_encoder(source: Path, target: Path, choice: Pruning) -> None:
    """The zip with another graph; the same input gives the same bytes."""
    with open_zip(source) as opened, zipfile.ZipFile(target, "w") as written:
        for info in opened.infolist():
            data = opened.read(info)
            content = pruned_graph(data, choice) if info.filename == MODEL else data
            written.writestr(zipfile.ZipInfo(info.filename), content)


def pruned_graph(model: bytes, choice: Pruning) -> bytes:
    """An encoder's ONNX file whose output (B, V) keeps what :func:`..offline.pruning.kept` keeps."""
    onnx = require("onnx", "train")
    loaded = onnx.load_model_from_string(model)
    for node in loaded.graph.node:
        node.output[:] = [BEFORE if name == OUTPUT else name for name in node.output]
        node.input[:] = [BEFORE if name == OUTPUT else name for name in node.input]
    width = loaded.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    nodes, constants = _pruning_nodes(onnx, choice, width)
    loaded.graph.node.extend(nodes)
    loaded.graph.initializer.extend(constants)
    return bytes(loaded.SerializeToString(deterministic=True))


BEFORE = "osparse_unpruned"


def _pruning_nodes(onnx: Any, choice: Pruning, width: int) -> tuple[list[Any], list[Any]]:
    """Nodes from :data:`BEFORE` to :data:`OUTPUT`, with operators whose form is the same from opset 11 on."""
    make, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    import numpy as np

    def number(name: str, value: Any, kind: type) -> Any:
        return constant(np.array([value], kind), f"osparse_{name}")

    mask = [
        make("Cast", ["osparse_kept"], ["osparse_mask"], to=onnx.TensorProto.FLOAT),
        make("Mul", [BEFORE, "osparse_mask"], [OUTPUT]),
    ]
    if choice.kind == "max_ratio":
        nodes = [
            make("TopK", [BEFORE, "osparse_one"], ["osparse_max", "osparse_max_id"], axis=1),
            make("Mul", ["osparse_max", "osparse_ratio"], ["osparse_floor"]),
            make("Greater", [BEFORE, "osparse_floor"], ["osparse_kept"]),
        ]
        return [*nodes, *mask], [number("one", 1, np.int64), number("ratio", choice.value, np.float32)]
    if choice.kind == "top_k":
        count = min(int(choice.value), width) if width else int(choice.value)
        nodes = [
            make("TopK", [BEFORE, "osparse_count"], ["osparse_first", "osparse_ids"], axis=1),
            make("TopK", ["osparse_first", "osparse_one"], ["osparse_floor", "osparse_id"], axis=1, largest=0),
            make("GreaterOrEqual", [BEFORE, "osparse_floor"], ["osparse_kept"]),
        ]
        return [*nodes, *mask], [number("count", count, np.int64), number("one", 1, np.int64)]
    nodes = [
        make("Shape", [BEFORE], ["osparse_shape"]),
        make("Gather", ["osparse_shape", "osparse_column"], ["osparse_count"], axis=0),
        make("TopK", [BEFORE, "osparse_count"], ["osparse_falling", "osparse_ids"], axis=1),
        make("CumSum", ["osparse_falling", "osparse_axis"], ["osparse_sums"]),
        make("TopK", ["osparse_sums", "osparse_one"], ["osparse_total", "osparse_total_id"], axis=1),
        make("Mul", ["osparse_total", "osparse_share"], ["osparse_goal"]),
        make("Sub", ["osparse_sums", "osparse_falling"], ["osparse_before"]),
        make("Less", ["osparse_before", "osparse_goal"], ["osparse_needed"]),
        make("Where", ["osparse_needed", "osparse_falling", "osparse_total"], ["osparse_candidates"]),
        make("TopK", ["osparse_candidates", "osparse_one"], ["osparse_floor", "osparse_id"], axis=1, largest=0),
        make("GreaterOrEqual", [BEFORE, "osparse_floor"], ["osparse_kept"]),
    ]
    return [*nodes, *mask], [
        number("column", 1, np.int64),
        constant(np.array(1, np.int64), "osparse_axis"),
        number("one", 1, np.int64),
        number("share", choice.value, np.float32),
    ]
