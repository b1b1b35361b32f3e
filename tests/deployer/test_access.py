"""The ways in: profiles, prompts, client certificates, AWS signatures; and that no output ever holds a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster
from osparse.deployer.cluster.credentials import Credentials
from osparse.deployer.cluster.profiles import profiles_file, read_profile
from osparse.errors import AccessError, ClusterUnreachableError, InputError

SECRET = "s3cret-Pa55"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "OSPARSE_PROFILE"]:
        monkeypatch.delenv(name)


def write_profiles(text: str, mode: int = 0o600) -> Path:
    path = profiles_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


# profiles


def test_a_profile_opens_a_cluster(server: MLCommonsServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.password = ("admin", SECRET)
    write_profiles(f'[prod]\ncluster = "{server.url}"\nusername = "admin"\npassword = "{SECRET}"\n')
    assert osparse("status", "--profile", "prod") == 0
    assert osparse("status", "--profile", "prod", "--cluster", server.url, "--verbose") == 0
    assert osparse("status", "--profile", "test") == 2
    shown = capsys.readouterr()
    assert "no profile 'test'; it has: prod" in shown.err and SECRET not in shown.out + shown.err


def test_the_variable_names_a_profile_for_commands_that_want_a_cluster(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profiles(f'[prod]\ncluster = "{server.url}"\n')
    monkeypatch.setenv("OSPARSE_PROFILE", "prod")
    assert osparse("status") == 0
    assert osparse("doctor") == 0
    assert "cluster:" not in capsys.readouterr().out, "it was not asked about"


def test_a_profile_of_the_environment_is_for_its_own_cluster(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profiles(f'[prod]\ncluster = "https://prod.example"\nusername = "a"\npassword = "{SECRET}"\n')
    monkeypatch.setenv("OSPARSE_PROFILE", "prod")
    assert osparse("status", "--cluster", server.url) == 2 and not server.calls
    assert "not sent to another address" in capsys.readouterr().err
    assert osparse("status", "--cluster", server.url, "--profile", "prod") == 0, "asked for"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
def test_a_profile_others_can_read_is_refused(mode: int) -> None:
    path = write_profiles(f'[prod]\npassword = "{SECRET}"\n', mode)
    with pytest.raises(InputError, match=f"chmod 600 {path}") as raised:
        read_profile("prod")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[p]\npassword = "{SECRET}"\n', "username of profile p is not set"),
        (f'[p]\nusername = "a"\npassword = "{SECRET}"\nbearer = "{SECRET}"\n', "more than one kind"),
        (f'[p]\npasword = "{SECRET}"\n', "unknown key 'pasword'"),
        ("[p]\nbearer = 7\n", "bearer is no text"),
        (f'[p]\npassword = "{SECRET}\n', "is not TOML"),
        ("p = 1\n", "no profile 'p'"),
    ],
)
def test_a_profile_that_cannot_be_used(text: str, message: str) -> None:
    write_profiles(text)
    with pytest.raises(InputError, match=message) as raised:
        read_profile("p")
    assert SECRET not in str(raised.value)


def test_no_profiles_file() -> None:
    with pytest.raises(InputError, match="there is no .*profiles.toml"):
        read_profile("p")


def test_two_ways_in_are_refused(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profiles(f'[prod]\nbearer = "{SECRET}"\n')
    monkeypatch.setenv("OSPARSE_BEARER", SECRET)
    assert osparse("status", "--cluster", server.url, "--profile", "prod") == 2
    assert osparse("status", "--cluster", server.url, "--ask") == 2
    assert osparse("status", "--cluster", server.url, "--aws-service", "es") == 2
    monkeypatch.delenv("OSPARSE_BEARER")
    assert osparse("status", "--cluster", server.url, "--ask") == 2
    assert osparse("status") == 2
    shown = capsys.readouterr().err
    assert "from the environment and from profile prod" in shown and "--ask needs a terminal" in shown
    assert "goes with --aws-region" in shown and "--cluster" in shown and SECRET not in shown


def test_a_prompt_asks_for_both(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"User name": "admin", "Password": SECRET}
    server.password = ("admin", SECRET)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda what, **_: answers[what])
    assert osparse("status", "--cluster", server.url, "--ask") == 0


# AWS


def published_signature(method: str, url: str, headers: dict[str, str], body: bytes, keys: dict[str, str]) -> str:
    """The Authorization header, by the steps AWS publishes for Signature Version 4."""
    parts = urlsplit(url)
    scope_date, stamp = headers["x-amz-date"][:8], headers["x-amz-date"]
    names = sorted(name for name in headers if name == "host" or name.startswith("x-amz-"))
    canonical = "\n".join(
        [
            method,
            quote(parts.path or "/", safe="/~"),
            "&".join(sorted(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in parse_qsl(parts.query, True))),
            "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names),
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{scope_date}/{keys['region']}/{keys['service']}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys['secret']}".encode()
    for part in (scope_date, keys["region"], keys["service"], "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={keys['id']}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"


def test_the_published_example() -> None:
    """AWS's own test vector get-vanilla, so that the check below checks against something true."""
    keys = {"region": "us-east-1", "service": "service", "id": KEYS["AWS_ACCESS_KEY_ID"],
            "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}  # fmt: skip
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
    header = published_signature("GET", "https://example.amazonaws.com/", headers, b"", keys)
    assert header.endswith("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_requests_are_signed_for_aws(
    service: str, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import datetime

    import botocore.auth

    now = datetime.datetime(2026, 11, 21, 12, 30, 5)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now)
    for name, value in {**KEYS, "AWS_SESSION_TOKEN": "t0ken-" + SECRET}.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(server.url, credentials=Credentials.aws("eu-central-1", service))
    body = json.dumps({"query": {"match_all": {}}}).encode()
    sent = [("GET", "/", {}, b""), ("GET", "/_all/_mapping", {"filter_path": "*.mappings._meta", "a": "b c"}, b""),
            ("POST", "/i%20%ED%95%9C/_search", {}, body)]  # fmt: skip
    for method, path, params, data in sent:
        cluster.request(method, path, params=params, body=data or None, allow=(400, 404))
        headers = server.headers_seen[-1]
        assert headers["x-amz-date"] == "20261121T123005Z"
        assert headers["x-amz-security-token"] == "t0ken-" + SECRET
        keys = {"region": "eu-central-1", "service": service, "id": KEYS["AWS_ACCESS_KEY_ID"],
                "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}  # fmt: skip
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in params.items())
        url = f"{server.url}{server.calls[-1].path}?{query}"
        assert headers["authorization"] == published_signature(method, url, headers, data, keys)
    assert "EXAMPLEKEY" not in repr(cluster)
    server.authorization = "somebody else's"
    assert osparse("status", "--cluster", server.url, "--aws-region", "eu-central-1", "--verbose") == 1
    shown = capsys.readouterr()
    assert "aws signature" in shown.err and "EXAMPLEKEY" not in shown.err + shown.out


def test_aws_without_keys_or_with_a_wrong_service(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert osparse("status", "--cluster", server.url, "--aws-region", "eu-central-1") == 2
    assert "AWS_ACCESS_KEY_ID" in capsys.readouterr().err
    with pytest.raises(InputError, match="neither es"):
        Credentials.aws("eu-central-1", "s3")
    with pytest.raises(InputError, match="is not a region"):
        Credentials.aws("eu central", "es")


# client certificates


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert), *subject], check=True, capture_output=True)
    return key, cert


def test_a_client_certificate_opens_the_door(tmp_path: Path) -> None:
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    key, cert = certificate(tmp_path, "localhost")
    my_key, my_cert = certificate(tmp_path, "client")
    server = HTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(my_cert)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"https://localhost:{server.server_address[1]}"
    try:
        cluster = Cluster(url, ca_file=cert, client_cert=my_cert, client_key=my_key, retries=0)
        assert cluster.request("GET", "/").body == {}
        both = tmp_path / "both.pem"
        both.write_bytes(my_cert.read_bytes() + my_key.read_bytes())
        assert Cluster(url, ca_file=cert, client_cert=both, retries=0).request("GET", "/").body == {}
        with pytest.raises((AccessError, ClusterUnreachableError)):
            Cluster(url, ca_file=cert, retries=0).request("GET", "/")
        with pytest.raises(AccessError, match="key must belong to"):
            Cluster(url, ca_file=cert, client_cert=my_cert, client_key=key, retries=0).request("GET", "/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(InputError, match="needs `client_cert`"):
        Cluster(url, client_key=my_key)
    with pytest.raises(InputError, match="client certificate file .* does not exist"):
        Cluster(url, client_cert=tmp_path / "none.pem")
    with pytest.raises(InputError, match="`client_cert` is about a certificate"):
        Cluster("http://localhost:1", client_cert=my_cert)


# no secret anywhere

WAYS = {
    "basic": {"OSPARSE_USERNAME": "admin", "OSPARSE_PASSWORD": SECRET},
    "api key": {"OSPARSE_API_KEY": SECRET},
    "bearer": {"OSPARSE_BEARER": SECRET},
}


@pytest.mark.parametrize("way", WAYS)
def test_no_output_holds_a_secret(
    way: str,
    server: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every command that talks to a cluster, done, refused (the server repeats what it was sent) and broken."""
    for name, value in WAYS[way].items():
        monkeypatch.setenv(name, value)
    documents = tmp_path / "d.jsonl"
    documents.write_text('{"id": "1", "text": "growing pears"}\n', encoding="utf-8")
    target = ("--cluster", server.url, "--index", "products", "--verbose")
    failures = ("--failures", str(tmp_path / "failed.jsonl"))
    bundle = str(small_bundle.path)
    commands = [
        ("deploy", bundle, *target, "--plan"), ("deploy", bundle, *target, "--snippets", str(tmp_path / "s.txt"),
         "--saved-objects", str(tmp_path / "s.ndjson")), ("index", *target, str(documents), *failures),
        ("status", *target), ("status", *target, "--heal"), ("search", *target, "growing pears"),
        ("explain", *target, "1", "growing pears"), ("rollback", *target), ("undeploy", *target),
        ("doctor", *target[:2]),
    ]  # fmt: skip
    server.authorization = Cluster(server.url)._connection.headers["authorization"]
    flags = ((), ("--json",)) if way == "basic" else ((),)
    codes = [osparse(*command, *flag) for flag in flags for command in commands]
    assert codes.count(0) >= 7 * len(flags)
    sent = str(server.authorization)
    echo = json.dumps({"error": f"you sent {sent} and {SECRET}", "status": 401})
    monkeypatch.setattr("time.sleep", lambda _: None)
    for answer in ((401, echo), (403, echo), (500, echo), (429, echo), (200, f"<html>{sent}"), (302, echo)):
        refuse(server, monkeypatch, *answer)
        for command in commands[:-1] if answer[0] == 401 and way == "basic" else commands[2:4]:
            osparse(*command)
            osparse(*command, "--json")
    monkeypatch.setattr("osparse.deployer.cluster.client.Cluster.request", _broken)
    for command in commands[2:4]:
        osparse(*command)
    shown = capfd.readouterr()
    files = "".join(p.read_text(encoding="utf-8") for p in tmp_path.glob("*.*") if p.is_file())
    token = sent.split()[1]
    assert SECRET not in shown.out + shown.err + files and token not in shown.out + shown.err + files
    assert "you sent" in shown.err and "***" in shown.err, "the server's words are there, without the secret"


@pytest.mark.parametrize("password", ['s3c"ret\\', "reason", "naïve-비밀"])
def test_a_secret_is_hidden_however_json_writes_it(password: str) -> None:
    """Its words stay an error: a password that is a word of the protocol does not make another answer of it."""
    cluster = Cluster("http://localhost:1", credentials=Credentials.choose({"username": "a", "password": password}))
    for ascii_only in (True, False):
        text = json.dumps({"error": {"reason": f"you sent {password}"}, "status": 400}, ensure_ascii=ascii_only)
        assert cluster._parse(text, {}, 400) == {"error": {"reason": "you sent ***"}, "status": 400}


def refuse(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, status: int, body: str) -> None:
    def send(self: Cluster, *_: object) -> object:
        from osparse.deployer.cluster.client import Answer

        return Answer(status, self._parse(body, {"location": "x", "content-type": "text/plain"}, status), {})

    monkeypatch.setattr("osparse.deployer.cluster.client.Cluster._send", send)


def _broken(self: Cluster, *_: object, **__: object) -> None:
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize("flag", ["--quiet", "--verbose", "--json"])
def test_an_unchecked_certificate_is_said_each_time(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert osparse("status", "--cluster", "https://127.0.0.1:9", "--insecure", flag) == 1
    assert "insecure: the certificate of 127.0.0.1 is not checked" in capsys.readouterr().err
