"""What a SageMaker endpoint with a bundle's encoder is made of: model.tar.gz, and the policies of its role.

The layout of the archive is that of the SageMaker PyTorch inference toolkit: the model's files at the root, the handler
and what it requires under ``code/``.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.encoders.onnx_nodes import INTEGER, operators
from osparse.io.files import pretty_json, write_atomic
from osparse.packager.export.archive import license_text

REQUIREMENTS = "onnxruntime>=1.20,<2\ntokenizers>=0.21,<1\nnumpy\n"
"""Installed by the container when it starts; osparse is not among them."""
ENDPOINT = "arn:aws:sagemaker:REGION:ACCOUNT:endpoint/ENDPOINT"
ROLE = "arn:aws:iam::ACCOUNT:role/ROLE"


def write_sagemaker(bundle: Bundle, folder: Path | str | None = None) -> list[Path]:
    """Write model.tar.gz and the IAM policies; the same bundle gives the same archive, by one version of zlib.

    Args:
        folder: None takes ``sagemaker`` in the bundle's folder.

    Returns:
        The files: the archive; what the role of the endpoint's caller may do, who may take the role, and what whoever
        makes the connector may do. REGION, ACCOUNT, ENDPOINT, ROLE and DOMAIN in them are to be filled in.

    Raises:
        BundleError: the bundle has no onnx part.
    """
    target = bundle.path / "sagemaker" if folder is None else Path(folder)
    contents: dict[str, bytes | str] = {"model.tar.gz": _archive(_members(bundle))}
    contents |= {name: pretty_json(policy) for name, policy in policies().items()}
    for name, content in contents.items():
        write_atomic(target / name, content)
    return [target / name for name in contents]


def policies() -> dict[str, dict[str, Any]]:
    """File -> IAM policy document.

    Source: https://docs.aws.amazon.com/opensearch-service/latest/developerguide/ml-amazon-connector.html
    """
    service = {"Service": "opensearchservice.amazonaws.com"}
    domain = "arn:aws:es:REGION:ACCOUNT:domain/DOMAIN"
    source = {
        "StringEquals": {"aws:SourceAccount": "ACCOUNT"},
        "ArnLike": {"aws:SourceArn": domain},
    }
    return {
        "role-policy.json": _policy({"Action": "sagemaker:InvokeEndpoint", "Resource": ENDPOINT}),
        "role-trust.json": _policy({"Action": "sts:AssumeRole", "Principal": service, "Condition": source}),
        "deployer-policy.json": _policy(
            {"Action": "iam:PassRole", "Resource": ROLE},
            {"Action": "es:ESHttp*", "Resource": f"{domain}/*"},
        ),
    }


def _policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def _members(bundle: Bundle) -> dict[str, bytes]:
    zipped = bundle.zip_path("onnx")
    model, (_, _, length) = read_member(zipped, "model.onnx"), read_tokenizer(zipped)
    settings = {"alone": bool(operators(model) & INTEGER), "max_length": length}
    return {
        "model.onnx": model,
        "tokenizer.json": read_member(zipped, "tokenizer.json"),
        "settings.json": json.dumps(settings).encode(),
        "LICENSE": license_text(),
        "code/inference.py": (files("osparse.packager.sagemaker") / "inference.py").read_bytes(),
        "code/requirements.txt": REQUIREMENTS.encode(),
    }


def _archive(members: Mapping[str, bytes]) -> bytes:
    """A tar.gz without dates, owners and machine names."""
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 1, packed, mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()
