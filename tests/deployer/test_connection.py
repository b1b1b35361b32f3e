"""One request: every way it can fail, said in words, without a secret."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlcommons_http import Handler
from mlcommons_server import Fault, MLCommonsServer

from osparse.deployer import Cluster, open_cluster
from osparse.deployer.cluster.client import reason_of
from osparse.deployer.cluster.credentials import Credentials
from osparse.errors import AccessError, ClusterBusyError, ClusterError, ClusterUnreachableError, InputError

from .conftest import client

SECRET = "s3cret-비밀-Pa55"


def test_an_address_where_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterUnreachableError, match="Connection refused.*is it running"):
            Cluster(url, retries=0).request("GET", "/")
    with pytest.raises(ClusterUnreachableError, match="no-such-host.invalid"):
        Cluster("http://no-such-host.invalid:9200", retries=0).request("GET", "/")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9200",
        "ftp://x:1",
        "http://",
        "http://h:99999",
        "http://h:1?a=b",
        "",
        "http://h:1#x",
        "http://a b:9200",
        "http://[x]:1",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="write it like http://localhost:9200"):
        open_cluster(url)


@pytest.mark.parametrize("url", [f"http://admin:{SECRET}@h:9200", f"https://{SECRET}@h", f"http://a:{SECRET}@h:x/"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="OSPARSE_PASSWORD") as raised:
        open_cluster(url)
    assert SECRET not in str(raised.value)


def test_401_and_403(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.password = ("admin", SECRET)
    with pytest.raises(AccessError, match=r"401; credentials sent: none.*OSPARSE_USERNAME"):
        client(server).request("GET", "/")
    monkeypatch.setenv("OSPARSE_USERNAME", "admin")
    monkeypatch.setenv("OSPARSE_PASSWORD", SECRET)
    with caplog.at_level(logging.DEBUG):
        cluster = client(server)
        assert cluster.request("GET", "/").status == 200
        server.forbidden = "GET /_cluster/settings"
        with pytest.raises(AccessError, match="no permissions for") as raised:
            cluster.request("GET", "/_cluster/settings")
    assert SECRET not in str(raised.value) + repr(cluster) + repr(Credentials.from_environment()) + caplog.text
    assert len(server.calls) == 3, "neither is tried again"


@pytest.mark.parametrize(("name", "header"), [("OSPARSE_API_KEY", "ApiKey"), ("OSPARSE_BEARER", "Bearer")])
def test_header_credentials(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, name: str, header: str) -> None:
    server.authorization = f"{header} abc.DEF-123"
    monkeypatch.setenv(name, "abc.DEF-123\n")
    assert client(server).request("GET", "/").status == 200
    for unusable in (SECRET, f"a\r\nx: {SECRET}"):
        monkeypatch.setenv(name, unusable)
        with pytest.raises(InputError, match=f"{name} holds characters") as raised:
            client(server)
        assert SECRET not in str(raised.value)


def test_half_or_double_credentials() -> None:
    with pytest.raises(InputError, match="OSPARSE_PASSWORD is not set"):
        Credentials.from_environment({"OSPARSE_USERNAME": "u"})
    with pytest.raises(InputError, match="keep one") as raised:
        Credentials.from_environment({"OSPARSE_API_KEY": "s3cret", "OSPARSE_BEARER": "s3cret"})
    assert "s3cret" not in str(raised.value)


def test_a_busy_cluster_is_asked_again_then_given_up(server: MLCommonsServer) -> None:
    server.faults = [Fault("status", matching="GET /$", times=3, status=429)]
    assert client(server).request("GET", "/").status == 200
    server.faults = [Fault("status", matching="GET /$", times=99, status=503)]
    with pytest.raises(ClusterBusyError, match="503 at try 4.*Data too large"):
        client(server).request("GET", "/")
    assert len(server.calls) == 8


def test_retry_after_is_obeyed(server: MLCommonsServer) -> None:
    server.faults = [Fault("status", matching="GET /$", status=429, retry_after="1")]
    started = time.monotonic()
    client(server).request("GET", "/")
    assert 1 <= time.monotonic() - started < 3


def test_what_must_not_be_sent_twice_is_not(server: MLCommonsServer) -> None:
    server.faults = [Fault("lose", matching="GET /$", times=9)]
    with pytest.raises(ClusterUnreachableError):
        client(server).request("GET", "/", repeatable=False)
    assert len(server.calls) == 1
    with pytest.raises(ClusterUnreachableError):
        client(server).request("GET", "/")
    assert len(server.calls) == 4, "a dropped connection is tried twice more"


@pytest.mark.parametrize("kind", ["html", "garbage"])
def test_something_that_is_no_opensearch(server: MLCommonsServer, kind: str) -> None:
    server.faults = [Fault(kind, matching="GET /$", status=200)]
    with pytest.raises(ClusterError, match="not as OpenSearch does"):
        client(server).request("GET", "/")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (301, "redirects to https://elsewhere/; give that address"),
        (407, r"refused GET / \(407\): .*said by a proxy"),
        (413, "a proxy before it refuses bodies of the size of GET /.*raise its limit.*10 MB"),
        (500, r"refused GET / \(500\): .*said by a proxy"),
        (404, "not as OpenSearch does: status 404, text/html"),
    ],
)
def test_a_page_of_a_proxy_is_read_by_its_status(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    headers = {"content-type": "text/html", "location": "https://elsewhere/"}
    cluster = client(server)
    monkeypatch.setattr(
        cluster._connection, "perform_request", lambda *_, **__: (status, headers, "<html>said by a proxy</html>")
    )
    with pytest.raises(ClusterError, match=said):
        cluster.request("GET", "/")


def test_an_answer_that_is_no_text(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Handler._reply
    monkeypatch.setattr(Handler, "_reply", lambda self, status, _, headers: plain(self, status, b"\xff\xfe{}", headers))
    with pytest.raises(ClusterError, match="not as OpenSearch does: its answer is no UTF-8"):
        client(server).request("GET", "/")


def test_a_long_retry_after_is_cut(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server.faults = [Fault("status", matching="GET /$", status=429, retry_after="3600")]
    client(server).request("GET", "/")
    assert slept == [60.0]


def test_half_a_surrogate_pair_can_be_sent(server: MLCommonsServer) -> None:
    client(server).request("PUT", "/i/_doc/1", body={"text": "a\udcff"})
    assert server.indices["i"].documents["1"] == {"text": "a?"}


def test_an_allowed_status_is_returned(server: MLCommonsServer) -> None:
    answer = client(server).request("GET", "/none", allow=(404,))
    assert answer.status == 404 and answer.reason == "no such index [none]"
    with pytest.raises(ClusterError, match=r"refused GET /none \(404\): no such index"):
        client(server).request("GET", "/none")


def test_the_deepest_cause_is_told() -> None:
    cause = {"type": "x", "reason": "weight must be in (0, 64.0], got: 0.0"}
    shard = {"reason": {"reason": "failed to create query", "caused_by": cause}}
    body = {"error": {"reason": "all shards failed", "failed_shards": [shard]}, "status": 400}
    assert reason_of(body) == "all shards failed; failed to create query; weight must be in (0, 64.0], got: 0.0"
    assert reason_of({"error": "Content-Type header [x] is not supported"}).startswith("Content-Type")
    assert reason_of(None) == "no reason given"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert),
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


def test_tls(certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    key, cert = certificate
    server = HTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"https://localhost:{server.server_address[1]}"
    try:
        assert Cluster(url, ca_file=cert, retries=0).request("GET", "/").body == {}
        with pytest.raises(AccessError, match="`ca_file`, or skip the check with `insecure=True`"):
            Cluster(url, retries=0).request("GET", "/")
        with caplog.at_level(logging.WARNING, "osparse"):
            assert Cluster(url, insecure=True, retries=0).request("GET", "/").body == {}
        assert "certificate of localhost is not checked" in caplog.text
        with pytest.raises(InputError, match="does not exist"):
            Cluster(url, ca_file=Path("none.pem"))
    finally:
        server.shutdown()
        server.server_close()
