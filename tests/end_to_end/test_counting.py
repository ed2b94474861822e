from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

from drawn_pictures import draw, write_pictures
from service_process import ServiceProcess

COUNTED_WITHIN_SECONDS = 3.0
SLACK_SECONDS = 12.0  # a busy test machine; the demand itself is measured in bench/


def test_pictures_that_come_in_every_way_are_counted_with_their_labels(running: ServiceProcess, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for index, name in enumerate(("copied", "moved", "packed", "linked")):
        write_pictures(outside / name, 50, first_seed=index * 50)
    real, generated = running.data / "real", running.data / "ai_generated"
    real.mkdir(parents=True, exist_ok=True)
    (generated / "linked/deep").mkdir(parents=True)
    subprocess.run(["tar", "-cf", tmp_path / "packed.tar", "-C", outside, "packed"], check=True)

    subprocess.run(["cp", "-r", outside / "copied", real], check=True)
    (outside / "moved").rename(generated / "moved")
    subprocess.run(["tar", "-xf", tmp_path / "packed.tar", "-C", real], check=True)
    for file in (outside / "linked").iterdir():
        os.link(file, generated / "linked/deep" / file.name)
    running.wait_for_counts(COUNTED_WITHIN_SECONDS + SLACK_SECONDS, total=200, real=100, ai_generated=100, unlabeled=0)

    shutil.rmtree(real / "copied")
    running.wait_for_counts(COUNTED_WITHIN_SECONDS + SLACK_SECONDS, total=150, real=50, ai_generated=100)
    (real / "packed").rename(running.data / "packed")
    running.wait_for_counts(COUNTED_WITHIN_SECONDS + SLACK_SECONDS, total=150, real=0, unlabeled=50)


def test_a_kill_in_the_middle_ends_with_counts_equal_to_the_files(service: ServiceProcess, tmp_path: Path) -> None:
    write_pictures(tmp_path / "outside", 120)
    service.start()
    subprocess.run(["cp", "-r", tmp_path / "outside", service.data / "ai_generated"], check=True)
    time.sleep(0.4)
    service.kill()
    shutil.copytree(service.data / "ai_generated", service.data / "real")
    for file in sorted((service.data / "real").rglob("*.jpg"))[40:]:
        file.unlink()
    for file in sorted((service.data / "ai_generated").rglob("*.jpg"))[:40]:
        file.unlink()
    service.start()
    service.wait_for_counts(30, real=40, ai_generated=80, duplicates=0, conflicts=0, pending=0)


def test_the_same_bytes_twice_are_one_sample_and_under_both_labels_none(
    running: ServiceProcess, tmp_path: Path
) -> None:
    first, second = write_pictures(tmp_path, 2)
    for folder in ("real", "ai_generated"):
        (running.data / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(first, running.data / "real/one.jpg")
    shutil.copy(first, running.data / "real/two.jpg")
    shutil.copy(second, running.data / "real/three.jpg")
    running.wait_for_counts(real=2, duplicates=1)
    shutil.copy(second, running.data / "ai_generated/four.jpg")
    running.wait_for_counts(real=1, ai_generated=0)
    assert running.counts()["conflicts"] > 0
    (running.data / "ai_generated/four.jpg").unlink()
    running.wait_for_counts(real=2, conflicts=0)


def test_files_that_cannot_be_used_are_reported_with_their_reason_and_left_alone(running: ServiceProcess) -> None:
    folder = running.data / "real"
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.jpg"
    draw(1).save(whole)
    bad = {
        "empty.jpg": b"",
        "text.jpg": b"this is not a picture\n" * 40,
        "cut.jpg": whole.read_bytes()[: whole.stat().st_size // 2],
        "huge.png": _png_header(50_000, 50_000),
        "new\nline.jpg": b"x" * 100,
        "n" * 251 + ".jpg": b"x" * 100,
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe.jpg")
    running.wait_for_counts(real=1)

    def reported() -> str:
        shown = subprocess.run(
            [sys.executable, "-P", "-m", "daemon", "problems"],
            env=running.environ,
            cwd=running.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return shown.stdout

    running.wait_for_counts(real=1, pending=0)
    text = reported()
    for name in ("empty.jpg", "text.jpg", "cut.jpg", "huge.png", "new\\nline.jpg", "n" * 251):
        assert name in text, text
    assert all((folder / name).read_bytes() == data for name, data in bad.items())
    assert running.get("/health")["status"] in ("ok", "degraded")


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
