"""Reports of wrong verdicts: what is kept and how, what is refused, and what a person's word makes of it."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from drawn_pictures import draw
from exposr_client import ModelFollower, Prediction, ReportRefusedError
from service_process import KEY, ServiceProcess, wait_until

FIELDS = {"version": "vit/v3", "verdict": "ai_generated", "probability": "0.97"}
MAX_WAITING = 6


def encoded(seed: int, kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    draw(seed).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests of this module: each uses pictures of its own."""
    settings = {"EXPOSR_FEEDBACK__MAX_WAITING": str(MAX_WAITING), "EXPOSR_INTAKE__MAX_FILE_MB": "1"}
    made = ServiceProcess(tmp_path_factory.mktemp("feedback"), settings)
    made.start()
    yield made
    made.end()


def send(service: ServiceProcess, picture: bytes, name: str = "photo.jpg", **fields: str) -> httpx.Response:
    return httpx.post(
        f"{service.url}/feedback",
        headers=service.headers,
        data={**FIELDS, **fields},
        files={"file": (name, picture, "image/jpeg")},
        timeout=30,
        trust_env=False,
    )


def metadata_of(service: ServiceProcess, sample: str) -> dict[str, Any]:
    [file] = service.data.glob(f"meta/*/*/*/{sample}.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def label(service: ServiceProcess, sample: str, value: str) -> None:
    command = [sys.executable, "-P", "-m", "daemon", "label", sample, value]
    subprocess.run(command, env=service.environ, cwd=service.folder, check=True, capture_output=True, timeout=30)


def state_of(service: ServiceProcess, sample: str) -> str:
    return next(report["state"] for report in service.get("/feedback")["reports"] if report["sample"] == sample)


def test_a_report_is_stored_once_unlabelled_and_counts_once_a_person_has_labelled_it(service: ServiceProcess) -> None:
    before = service.counts()
    picture = encoded(1)
    answer = send(service, picture, label="real", note="<b>mine</b>", reporter="core-1")
    assert (answer.status_code, answer.json()["status"]) == (201, "report stored")
    sample = answer.json()["sample"]
    [stored] = service.data.glob(f"images/*/*/*/{sample}.jpg")
    assert stored.read_bytes() == picture
    metadata = metadata_of(service, sample)
    assert (metadata["source"], metadata["label"], metadata["label_source"]) == ("feedback", None, None)
    assert metadata["api_data"]["feedback"]["note"] == "<b>mine</b>"
    service.wait_for_counts(unlabeled=before["unlabeled"] + 1, total=before["total"] + 1)
    again = send(service, picture, label="real", note="<b>mine</b>", reporter="core-1")
    assert again.json() == {"status": "already reported", "sample": sample, "reports": 1}
    other = send(service, picture, name="../../etc/passwd", note="another view", reporter="core-2")
    assert (other.json()["sample"], other.json()["reports"]) == (sample, 2)
    assert len(list(service.data.glob("images/*/*/*/*"))) == 1
    assert state_of(service, sample) == "waiting"
    label(service, sample, "real")
    service.wait_for_counts(real=before["real"] + 1, unlabeled=before["unlabeled"])
    assert state_of(service, sample) == "real"
    assert not list(service.data.glob(".tmp/*.upload"))


def test_a_picture_that_the_data_has_gets_no_second_copy(service: ServiceProcess) -> None:
    picture = encoded(2)
    (service.data / "real").mkdir(exist_ok=True)
    (service.data / "real" / "own.jpg").write_bytes(picture)
    real = service.counts()["real"]
    wait_until(lambda: service.counts()["real"] > real, 20, lambda: str(service.counts()))
    answer = send(service, picture)
    assert answer.json()["status"] == "report stored; the picture is known"
    assert not list(service.data.glob(f"images/*/*/*/{answer.json()['sample']}*"))
    assert state_of(service, answer.json()["sample"]) == "real"


def bomb() -> bytes:
    """A PNG of 400 megapixels in some kilobytes."""
    rows = zlib.compress(bytes(20_001 * 20_000 // 100), 9)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (20_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


HOSTILE = {
    "a page": b"<!doctype html><html><script>alert(1)</script></html>",
    "an SVG with a script": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "nothing": b"",
    "noise": random.Random(0).randbytes(5000),
    "a cut picture": encoded(3)[:1500],
    "a page behind a picture's first bytes": b"\xff\xd8\xff\xe0<html><script>alert(1)</script></html>",
    "a bomb": bomb(),
    "an archive": b"PK\x03\x04" + bytes(300),
    "a program": b"\x7fELF" + bytes(300),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_what_is_no_picture_is_refused_with_the_reason_and_not_kept(service: ServiceProcess, what: str) -> None:
    before = sorted(service.data.rglob("*"))
    answer = send(service, HOSTILE[what])
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "not_a_picture"
    assert error["message"].startswith("the file ")
    assert "script" not in error["message"]
    assert [path for path in sorted(service.data.rglob("*")) if path not in before and path.name != ".tmp"] == []


def test_a_file_that_is_too_large_is_refused_before_it_is_kept(service: ServiceProcess) -> None:
    assert send(service, encoded(4) + bytes(2_000_000)).status_code == 413
    assert not list(service.data.glob(".tmp/*.upload"))


def test_many_at_once_become_one_picture(service: ServiceProcess) -> None:
    picture = encoded(5)
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(send(service, picture, reporter=str(number))))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 503}
    samples = {answer.json()["sample"] for answer in answers if answer.status_code == 201}
    assert len(samples) == 1
    assert len(list(service.data.glob(f"images/*/*/*/{samples.pop()}.jpg"))) == 1


def test_nearly_the_same_picture_is_counted_with_the_one_that_is_known(service: ServiceProcess) -> None:
    first = send(service, encoded(11), note="as it was taken").json()["sample"]
    other_file = encoded(11, "PNG")
    at_once = send(service, other_file, note="saved again")  # the index may not have the first one yet
    assert at_once.json() == {
        "status": "report stored; nearly the same picture is known",
        "sample": first,
        "reports": 2,
        "nearly": True,
    }
    wait_until(lambda: state_of(service, first) == "waiting", 20, lambda: service.get("/feedback"))
    assert len(list(service.data.glob("images/*/*/*/*.png"))) == 0
    again = send(service, other_file, note="saved again")
    assert (again.json()["status"], again.json()["reports"]) == ("already reported", 2)
    assert send(service, encoded(12)).json()["status"] == "report stored"
    label(service, first, "real")
    wait_until(lambda: state_of(service, first) == "real", 20, lambda: service.get("/feedback"))
    agreed = send(service, encoded(11, "WEBP"), label="real")
    assert (agreed.json()["sample"], agreed.json()["nearly"]) == (first, True)
    denied = send(service, encoded(11, "WEBP"), label="ai_generated")  # perhaps made out of that photograph
    assert denied.json()["status"] == "report stored"
    assert denied.json()["sample"] != first


def test_the_client_gets_a_receipt_or_the_reason(service: ServiceProcess, tmp_path: Path) -> None:
    judged = Prediction(0.97, "ai_generated", "v3")
    file = tmp_path / "photo.webp"
    file.write_bytes(encoded(6, "WEBP"))
    with ModelFollower(service.url, KEY, tmp_path / "cache", events=False) as follower:
        receipt = follower.report(file, judged, label="real", note="mine", reporter="core-1")
        assert (receipt.status, receipt.reports) == ("report stored", 1)
        with pytest.raises(ReportRefusedError) as refused:
            follower.report(b"<html>", judged)
        assert refused.value.code == "not_a_picture"
    [report] = [report for report in service.get("/feedback")["reports"] if report["sample"] == receipt.sample]
    assert (report["probability"], report["label"], report["version"]) == (0.97, "real", "v3")


def test_a_flood_ends_at_the_quota_and_what_is_known_can_still_be_reported(service: ServiceProcess) -> None:
    """The last test of this service: it fills the queue."""
    picture = b""
    for seed in range(100, 100 + 3 * MAX_WAITING):
        answer = send(service, encoded(seed))
        if answer.status_code == 409:
            break
        picture = encoded(seed)
    assert answer.json()["error"]["code"] == "queue_full"
    assert "feedback.max_waiting" in answer.json()["error"]["message"]
    assert send(service, picture, note="again").status_code == 201
    waiting = [report for report in service.get("/feedback?limit=1000")["reports"] if report["state"] == "waiting"]
    assert len({report["sample"] for report in waiting}) == MAX_WAITING


def test_a_crash_in_between_leaves_nothing_behind(tmp_path: Path) -> None:
    left = ServiceProcess(tmp_path)
    try:
        (left.data / ".tmp").mkdir(parents=True)
        (left.data / ".tmp" / "dead.upload").write_bytes(encoded(7))
        meta = left.data / "meta/2026/01/01"
        meta.mkdir(parents=True)
        (meta / "dead.json").write_text("{}")
        left.start()
        assert not list(left.data.glob(".tmp/*.upload"))
        assert not (meta / "dead.json").exists()
    finally:
        left.end()


def test_nobody_listens_on_a_data_folder_that_is_away(tmp_path: Path) -> None:
    away = ServiceProcess(tmp_path)
    try:
        away.start()
        (away.data / "real").mkdir(exist_ok=True)
        (away.data / "real" / "one.jpg").write_bytes(encoded(8))
        away.wait_for_counts(real=1)
        away.data.rename(away.folder / "elsewhere")
        wait_until(lambda: send(away, encoded(9)).status_code == 409, 20, lambda: send(away, encoded(9)).text)
        assert send(away, encoded(9)).json()["error"]["code"] == "data_away"
        assert not away.data.exists()
    finally:
        away.end()
