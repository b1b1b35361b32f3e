"""A SageMaker endpoint: the archive on the container's contract, and a deploy that calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer
from sagemaker_endpoint import Endpoint, sagemaker_endpoint

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, connector_example, deploy, index_documents, sagemaker_url, status
from osparse.deployer.remote import sagemaker
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError
from osparse.packager import write_sagemaker

from .conftest import TEXTS, client
from .test_remote import documents, rows

URL = "https://runtime.sagemaker.eu-central-1.amazonaws.com/endpoints/products/invocations"
ROLE = "arn:aws:iam::123456789012:role/opensearch-sagemaker"


@pytest.fixture
def running(small_bundle: Bundle, tmp_path: Path) -> Iterator[tuple[Endpoint, str]]:
    archive = write_sagemaker(small_bundle, tmp_path / "sagemaker")[0]
    with sagemaker_endpoint(archive, tmp_path / "unpacked") as made:
        yield made


def asked(endpoint: Endpoint, texts: list[str], form: str | None = None) -> Any:
    body = {"texts": texts, **({"sparse_embedding_format": form} if form else {})}
    answer = endpoint.invoke(json.dumps(body))
    assert answer["status"] == 200 and not answer["osparse"], answer
    return json.loads(answer["body"])


def test_the_handler_gives_the_weights_of_the_bundle_without_osparse(
    running: tuple[Endpoint, str], small_bundle: Bundle
) -> None:
    endpoint, _ = running
    encoder = OnnxEncoder.open(small_bundle, threads=1)
    texts = [*(probe.text for probe in small_bundle.probes()), "", "pear " * 300, *TEXTS, "half \ud800 pair"]
    answered = asked(endpoint, texts)
    assert answered == encoder.encode([text.encode("utf-8", "replace").decode() for text in texts])
    for probe, vector in zip(small_bundle.probes(), answered, strict=False):
        assert vector == pytest.approx(probe.document, abs=small_bundle.tolerance)
    ids = {token: str(i) for i, token in enumerate(encoder.tokens)}
    assert asked(endpoint, texts, "TOKEN_ID") == [
        {ids[token]: weight for token, weight in vector.items()} for vector in answered
    ]
    assert asked(endpoint, ["apple ${parameters.x}"]) == asked(endpoint, ["apple $\u2060{parameters.x}"])
    assert asked(endpoint, []) == []


@pytest.mark.parametrize(
    "body", ["[]", '{"texts": "pear"}', '{"texts": ["pear", 3]}', '{"texts": [], "sparse_embedding_format": "X"}', "{"]
)
def test_what_is_no_request_is_refused_without_its_texts(running: tuple[Endpoint, str], body: str) -> None:
    answer = running[0].invoke(body)
    assert answer["status"] == 500 and "pear" not in answer["body"]
    assert "application/json, got text/csv" in running[0].invoke("{}", "text/csv")["body"]


def test_the_archive_depends_on_the_bundle_alone(small_bundle: Bundle, tmp_path: Path) -> None:
    first, *policies = write_sagemaker(small_bundle, tmp_path / "a")
    assert first.read_bytes() == write_sagemaker(small_bundle, tmp_path / "b")[0].read_bytes()
    assert [path.name for path in policies] == ["role-policy.json", "role-trust.json", "deployer-policy.json"]
    assert all(json.loads(path.read_text())["Version"] == "2012-10-17" for path in policies)


@pytest.mark.parametrize("managed", [True, False])
def test_a_deploy_calls_the_endpoint_with_a_role_or_with_keys(
    managed: bool,
    running: tuple[Endpoint, str],
    server: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.hosts["runtime.sagemaker.eu-central-1.amazonaws.com"] = running[1]
    server.takes_roles = managed
    given = {sagemaker.ROLE_VARIABLE: ROLE} if managed else {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    for name in (sagemaker.ROLE_VARIABLE, *sagemaker.KEY_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    options = ModelOptions(encoder_url=sagemaker_url("products", "eu-central-1"), allow_settings=True)
    with pytest.raises(InputError, match=f"set {sagemaker.ROLE_VARIABLE}.*or AWS_ACCESS_KEY_ID"):
        deploy(small_bundle, client(server), "products", mode="remote", models=options)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    deploy(small_bundle, client(server), "products", mode="remote", models=options)
    (connector,) = server.connectors.values()
    assert connector["protocol"] == "aws_sigv4" and connector["actions"][0]["url"] == URL
    assert connector["parameters"] | {"region": "eu-central-1", "service_name": "sagemaker"} == connector["parameters"]
    assert connector["credential"] == ({"roleArn": ROLE} if managed else {"access_key": "A", "secret_key": "S"})
    index_documents(client(server), "products", [rows(tmp_path / "rows.jsonl", TEXTS)])
    for probe, stored in zip(small_bundle.probes(), documents(server).values(), strict=True):
        assert stored["sparse_embedding"] == pytest.approx(probe.document, abs=1e-6)
    for name in given:
        monkeypatch.delenv(name)
    again = deploy(small_bundle, client(server), "products", mode="remote", models=options)
    assert not again.plan.changes, "what is there needs no credential"
    assert status(client(server), "products")[0].ready


@pytest.mark.parametrize(
    ("name", "region", "named"), [("a/b", "eu-central-1", "sagemaker_endpoint"), ("a", "Frankfurt", "region")]
)
def test_names_that_cannot_be(name: str, region: str, named: str) -> None:
    with pytest.raises(InputError, match=f"`{named}`"):
        sagemaker_url(name, region)


def test_a_role_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sagemaker.ROLE_VARIABLE, "opensearch-sagemaker")
    with pytest.raises(InputError, match="must be the ARN of a role"):
        sagemaker.read_credential()


def test_regions_are_read_from_the_address() -> None:
    assert sagemaker.region_of(URL) == "eu-central-1" and sagemaker_url("products", "eu-central-1") == URL
    assert sagemaker.region_of(sagemaker_url("p", "cn-north-1")) == "cn-north-1"
    assert sagemaker.region_of("http://encoder:8765/encode") is None


def test_the_example_is_the_connector_of_a_deploy(small_bundle: Bundle) -> None:
    example = connector_example(small_bundle)
    assert example["parameters"]["region"] == "REGION" and example["protocol"] == "aws_sigv4"
    assert example["actions"][0]["url"] == URL.replace("eu-central-1", "REGION").replace("products", "ENDPOINT")
    assert example["credential"] == {"roleArn": "arn:aws:iam::ACCOUNT:role/ROLE"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sagemaker-endpoint", "a"], "go together"),
        (["--region", "eu-central-1"], "go together"),
        (["--sagemaker-endpoint", "a", "--region", "eu-central-1", "--encoder-url", "http://e"], "keep one"),
        (["--sagemaker-endpoint", "a b", "--region", "eu-central-1"], "--sagemaker-endpoint must be the name"),
    ],
)
def test_the_options_that_name_an_endpoint(
    options: list[str], said: str, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["deploy", str(small_bundle.path), "--cluster", "http://127.0.0.1:9", "--index", "i", "--mode", "remote"]
    with pytest.raises(SystemExit):
        main([*command, *options])
    assert said in " ".join(capsys.readouterr().err.split())
