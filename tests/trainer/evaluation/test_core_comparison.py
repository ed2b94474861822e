"""The comparison with a deployed Core: right numbers, and never an exception, whatever answers or does not."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainer.evaluation.core_comparison import compare_with_core
from utils.config.sections import Core

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def detector(answer: Answer) -> Iterator[str]:
    """A real HTTP server that does with each upload what `answer` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/detect"
    finally:
        server.shutdown()
        server.server_close()


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def says(probability: object) -> Answer:
    body = json.dumps({"ai_probability": probability, "label": "real", "model_version": "v7"}).encode()
    return lambda handler, _: reply(handler, body)


def by_content(handler: BaseHTTPRequestHandler, upload: bytes) -> None:
    """0.9 for pictures that hold the word generated; checks the form of the upload."""
    assert b'name="file"; filename="sample.jpg"' in upload
    assert b"Content-Type: image/jpeg" in upload
    reply(handler, json.dumps({"ai_probability": 0.9 if b"generated" in upload else 0.1}).encode())


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.jpg" for number in range(8)]
    for number, file in enumerate(files):
        file.write_bytes(b"\xff\xd8\xff" + (b"generated" if number < 4 else b"photograph"))
    return files


LABELS = [1, 1, 1, 1, 0, 0, 0, 0]
CANDIDATE = [0.9, 0.9, 0.9, 0.2, 0.1, 0.1, 0.8, 0.8]


def compare(pictures: list[Path], endpoint: str | None, **settings: Any) -> dict[str, Any]:
    given = {"timeout_seconds": 0.5, "total_timeout_seconds": 5.0} | settings
    return compare_with_core(Core(enabled=True, endpoint=endpoint, **given), pictures, CANDIDATE, LABELS)


def test_accuracy_and_agreement_come_with_counts_and_intervals(pictures: list[Path]) -> None:
    with detector(by_content) as endpoint:
        found = compare(pictures, endpoint, timeout_seconds=20)
    assert found["complete"]
    assert found["reason"] == ""
    assert (found["sample"], found["answered"]) == (8, 8)
    assert {key: found["deployed_accuracy"][key] for key in ("value", "count", "n")} == {"value": 1, "count": 8, "n": 8}
    assert math.isclose(found["deployed_accuracy"]["low"], 0.6756, abs_tol=1e-3)  # Wilson for 8 of 8
    assert found["deployed_accuracy"]["high"] == pytest.approx(1)
    assert found["candidate_accuracy"]["count"] == found["agreement"]["count"] == 5
    assert (found["only_deployed_right"], found["only_candidate_right"]) == (3, 0)
    assert found["deployed_versions"] == {"unknown": 8}
    assert "8 test pictures" in found["meaning"]
    json.dumps(found, allow_nan=False)


def test_no_more_than_the_sample_is_sent_and_the_same_one_each_time(pictures: list[Path]) -> None:
    uploads: list[bytes] = []

    def count(handler: BaseHTTPRequestHandler, upload: bytes) -> None:
        uploads.append(upload)
        says(0.9)(handler, upload)

    with detector(count) as endpoint:
        first = compare(pictures, endpoint, sample_size=3, timeout_seconds=20)
        second = compare(pictures, endpoint, sample_size=3, timeout_seconds=20)
    assert len(uploads) == 6
    assert first == second
    assert first["deployed_versions"] == {"v7": 3}


def refuse(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    reply(handler, b'{"error": {}}', 503)


def hang_up(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def stall(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    time.sleep(1.5)


def trickle(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    with_head = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000
    for byte in with_head:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def flood(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x" * 65536)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refuse, "status 503"),
        (hang_up, "no answer"),
        (stall, "no answer within 0.5 s"),
        (trickle, "no answer within 0.5 s"),
        (flood, "more than 65536 bytes"),
        (lambda handler, _: reply(handler, b"<html>"), "not JSON"),
        (lambda handler, _: reply(handler, b"[" * 5000), "not JSON"),
        (lambda handler, _: reply(handler, b"[1]"), "without ai_probability"),
        (lambda handler, _: reply(handler, b'{"ai_probability": NaN}'), "without ai_probability"),
        (says(True), "without ai_probability"),
        (says("0.9"), "without ai_probability"),
        (says(1.5), "without ai_probability"),
    ],
)
def test_a_core_that_misbehaves_is_given_up_with_the_reason(pictures: list[Path], answer: Answer, reason: str) -> None:
    with detector(answer) as endpoint:
        found = compare(pictures, endpoint)
    assert not found["complete"]
    assert reason in found["reason"]
    assert "gave up after 3 failures" in found["reason"]
    assert found["deployed_accuracy"] is None
    assert "could not be compared" in found["meaning"]


def test_a_core_that_is_down_or_not_a_url(pictures: list[Path]) -> None:
    assert "no answer" in compare(pictures, "http://127.0.0.1:9/detect")["reason"]
    assert not compare(pictures, "http://[broken")["complete"]
    assert "not set" in compare(pictures, None)["reason"]


def test_the_time_for_all_is_kept_and_what_was_answered_counts(pictures: list[Path]) -> None:
    def slow(handler: BaseHTTPRequestHandler, upload: bytes) -> None:
        time.sleep(0.2)
        says(0.9)(handler, upload)

    with detector(slow) as endpoint:
        found = compare(pictures, endpoint, timeout_seconds=5, total_timeout_seconds=1)
    assert "total_timeout_seconds is 1" in found["reason"]
    assert found["answered"] < 8


def test_pictures_that_went_away_are_counted_and_an_empty_test_part_is_no_error(pictures: list[Path]) -> None:
    pictures[0].unlink()
    with detector(by_content) as endpoint:
        found = compare(pictures, endpoint, timeout_seconds=20)
    assert found["failures"] == {"the picture cannot be read: No such file or directory": 1}
    assert found["answered"] == 7
    assert compare_with_core(Core(enabled=True, endpoint="http://127.0.0.1:9"), [], [], [])["deployed_accuracy"] is None


def test_user_password_and_query_of_the_endpoint_stay_out_of_the_card(pictures: list[Path]) -> None:
    with detector(by_content) as endpoint:
        secret = endpoint.replace("http://", "http://user:password@") + "?token=secret"
        found = json.dumps(compare(pictures, secret, timeout_seconds=20))
    assert "password" not in found
    assert "secret" not in found
