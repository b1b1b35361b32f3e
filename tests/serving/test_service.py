"""The encoder over HTTP: right vectors in order, many requests in one run of the encoder, and every refusal."""

from __future__ import annotations

import json
import logging
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from encoder_service import EncoderService, encoder_service
from lookup_bundle import TEXTS

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import CheckError, InputError
from osparse.serving import app
from osparse.serving.metrics import Metrics
from osparse.serving.options import ServeOptions, read_token

WORDS = "pear bread rain tram moon bees tide clay growing lines sea dance 배나무 구름 달 ver. 2.0 [UNK] 😀".split()


def texts(count: int, seed: int = 0) -> list[str]:
    """Of mixed lengths: none to three hundred words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.choice([0, 1, 3, 20, 300]))) for _ in range(count)]


def metric(service: EncoderService, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", service.call("GET", "/metrics").body, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_probes_get_their_weights_in_words_and_ids(small_bundle: Bundle) -> None:
    ids = {token: str(i) for i, token in enumerate(OnnxEncoder.open(small_bundle).tokens)}
    with encoder_service(small_bundle.path) as service:
        words = service.encode(TEXTS).body
        numbered = service.encode(TEXTS, "TOKEN_ID").body
        assert service.encode(TEXTS, "word").body == words
        default = service.call(
            "POST", "/encode", json.dumps({"texts": TEXTS, "sparse_embedding_format": None}).encode()
        )
        assert default.body == words
    for probe, by_word, by_id in zip(small_bundle.probes(), words, numbered, strict=True):
        assert by_word == pytest.approx(probe.document, abs=1e-6)
        assert by_id == {ids[token]: weight for token, weight in by_word.items()}
        assert all(weight > 0 for weight in by_word.values())


def test_many_requests_at_once_each_get_their_own_vectors_in_order(small_bundle: Bundle) -> None:
    encoder = OnnxEncoder.open(small_bundle, threads=1)
    requests = [texts(1 + number % 7, number) for number in range(60)]
    with encoder_service(small_bundle.path, max_batch=8) as service, ThreadPoolExecutor(16) as pool:
        answers = [reply.body for reply in pool.map(service.encode, requests)]
    for request, answer in zip(requests, answers, strict=True):
        assert len(answer) == len(request)
        for vector, expected in zip(answer, encoder.encode(request), strict=True):
            assert vector == expected  # to the last bit, whatever the company


def test_requests_that_wait_share_one_run_of_the_encoder(small_bundle: Bundle) -> None:
    held = threading.Event()
    with encoder_service(small_bundle.path, slow=lambda: held.wait(10) and None) as service:
        with ThreadPoolExecutor(9) as pool:
            first = pool.submit(service.encode, ["pear"])
            wait_until(lambda: metric(service, "osparse_open_requests") == 1)
            others = [pool.submit(service.encode, ["moon", "rain"]) for _ in range(8)]
            wait_until(lambda: metric(service, "osparse_queue_texts") == 16)
            held.set()
            assert [one.result().status for one in (first, *others)] == [200] * 9
        assert metric(service, "osparse_batches_total") == 2 and metric(service, "osparse_texts_total") == 17


def wait_until(holds: object, seconds: float = 10) -> None:
    event = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if holds():  # type: ignore[operator]
            return
        event.wait(0.01)
    raise AssertionError("did not come about")


def test_a_full_queue_is_refused_with_the_header_that_ml_commons_retries_for(small_bundle: Bundle) -> None:
    held = threading.Event()
    with encoder_service(small_bundle.path, max_queue=3, slow=lambda: held.wait(10) and None) as service:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(service.encode, ["pear"])
            wait_until(lambda: metric(service, "osparse_open_requests") == 1)
            large = pool.submit(service.encode, texts(5))  # more than the queue holds, but nothing waits
            wait_until(lambda: metric(service, "osparse_queue_texts") == 5)
            refused = service.encode(["moon"])
            assert refused.status == 429 and refused.headers["x-amzn-errortype"].startswith("ThrottlingException")
            held.set()
            assert first.result().status == large.result().status == 200
        assert service.encode(["moon"]).status == 200
        assert metric(service, 'osparse_requests_total{status="429"}') == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"), (b"[]", "must be"), (b'{"texts": "pear"}', "must be"), (b"[" * 100_000, "not JSON"),
        (b'{"texts": ["pear", null]}', "texts[1] must be a string, got NoneType"),
        (b'{"texts": [], "sparse_embedding_format": "IDS"}', "WORD or TOKEN_ID"), (b"\xff", "not JSON"),
        (b'{"texts": [], "sparse_embedding_format": ["WORD"]}', "WORD or TOKEN_ID"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_400_in_words(small_bundle: Bundle, body: bytes, words: str) -> None:
    with encoder_service(small_bundle.path) as service:
        reply = service.call("POST", "/encode", body)
        assert reply.status == 400 and words in reply.body["error"]


def test_odd_texts_have_one_vector_each(small_bundle: Bundle) -> None:
    odd = ["", " ", "\x00", "${parameters.input}", "pear\ud800", "빵 " * 2000, '"\\\n', "😀"]
    with encoder_service(small_bundle.path) as service:
        reply = service.encode(odd)
        assert reply.status == 200 and len(reply.body) == len(odd)
        assert service.encode([]).body == []


def test_a_body_over_the_limit_is_413_announced_or_not(small_bundle: Bundle) -> None:
    with encoder_service(small_bundle.path, max_body=1000) as service:
        assert service.encode(["pear " * 300]).status == 413
        long = json.dumps({"texts": ["pear " * 300]}).encode()
        assert service.call("POST", "/encode", iter([long[:700], long[700:]])).status == 413  # type: ignore[arg-type]
        assert service.encode(["pear"]).status == 200


def test_the_token_is_required_where_there_is_one(small_bundle: Bundle) -> None:
    with encoder_service(small_bundle.path, token="s3cret") as service:
        assert service.encode(["pear"]).status == service.encode(["pear"], Authorization="Bearer wrong").status == 401
        assert service.encode(["pear"], Authorization="Bearer s3cret").status == 200
        assert service.call("GET", "/ready").status == service.call("GET", "/health").status == 200
    with pytest.raises(InputError, match="OSPARSE_SERVE_TOKEN"):
        read_token({"OSPARSE_SERVE_TOKEN": ""})


def test_one_bad_text_fails_its_own_request_only(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    run = OnnxEncoder.batches

    def failing(self: OnnxEncoder, batch: list[str], size: int = 32) -> object:
        if any("poison" in text for text in batch):
            raise ValueError("poison")
        return run(self, batch, size)

    monkeypatch.setattr(OnnxEncoder, "batches", failing)
    with encoder_service(small_bundle.path, slow=lambda: held.wait(10) and None) as service:
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(service.encode, ["pear"])
            wait_until(lambda: metric(service, "osparse_open_requests") == 1)
            others = [pool.submit(service.encode, [text]) for text in ("moon", "poison", "rain")]
            wait_until(lambda: metric(service, "osparse_queue_texts") == 3)
            held.set()
            assert [one.result().status for one in (first, *others)] == [200, 200, 500, 200]


def test_logs_are_json_and_hold_no_text(small_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    from osparse.serving.json_log import JsonFormatter

    caplog.set_level(logging.INFO, logger="osparse.serving")
    with encoder_service(small_bundle.path) as service:
        service.encode(["very-secret pear"])
        service.call("POST", "/encode", b'{"texts": ["very-secret"')
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("osparse.serving")]
    rows = [json.loads(line) for line in lines]
    assert [row["status"] for row in rows] == [200, 400] and rows[0]["characters"] == 16
    assert "secret" not in "".join(lines)


def test_an_encoder_that_gives_other_weights_is_not_served(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxEncoder.run
    monkeypatch.setattr(OnnxEncoder, "run", lambda *arguments: run(*arguments) * 1.01)
    with pytest.raises(CheckError, match="osparse verify"):
        app.load_encoder(ServeOptions(small_bundle.path))


def test_counters_of_all_workers_are_summed_and_gauges_of_dead_ones_are_not(tmp_path: Path) -> None:
    mine = Metrics(tmp_path)
    mine.add("texts_total", 3)
    mine.set("queue_texts", 2)
    (own,) = tmp_path.glob("*.counters")
    (tmp_path / "4194400.counters").write_bytes(own.read_bytes())  # above the largest process id
    shown = mine.text()
    assert "osparse_texts_total 6\n" in shown and "osparse_queue_texts 2\n" in shown


def test_options_that_cannot_be_are_named(small_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`workers` must be at least 1, got 0.*`tls_key` goes with `tls_cert`"):
        ServeOptions(small_bundle.path, workers=0, tls_key=tmp_path).check()
    options = ServeOptions(small_bundle.path, tls_cert=tmp_path / "c.pem", threads=2)
    assert ServeOptions.from_json(options.to_json()) == options
