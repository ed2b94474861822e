"""Events are lost, too few folders can be watched, trees are renamed back and forth, files grow: the counts are right.

By default lost events alone; EXPOSR_FAULTS=all takes the others, too, for minutes.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import data_violations
from selection import ALL

from drawn_pictures import write_pictures
from service_process import ServiceProcess, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if ALL else 120)]

MORE_EVENTS_THAN_THE_QUEUE_HOLDS = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 2000
STORM_SECONDS = 20.0
GROWING_SECONDS = 150.0
in_full = pytest.mark.skipif(not ALL, reason="takes long; EXPOSR_FAULTS=all takes it")
LIMIT_WATCHES = 'echo 8 > /proc/sys/user/max_inotify_watches && exec "$@"'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess(tmp_path)
    yield made
    made.end()


def assert_right(service: ServiceProcess) -> None:
    wait_until(
        lambda: not service.counts()["pending"] and not data_violations(service.data, service.counts()),
        20,
        lambda: f"{service.counts()}: {data_violations(service.data, service.counts())}",
    )


def test_what_happens_while_the_event_queue_overflows_is_seen(service: ServiceProcess) -> None:
    write_pictures(service.data / "real", 4)
    service.start()
    service.wait_for_counts(real=4, pending=0)
    assert service.process is not None
    service.process.send_signal(signal.SIGSTOP)  # nobody reads the queue, as when the machine is busy, or sleeps
    busy = service.data / "busy.txt"
    busy.write_text("")
    for number in range(MORE_EVENTS_THAN_THE_QUEUE_HOLDS // 2):
        busy = busy.rename(busy.with_name(f"busy{number}.txt"))
    busy.unlink()
    write_pictures(service.data / "real/late", 3, first_seed=50)
    (service.data / "real/picture-0000.jpg").unlink()
    (service.data / "real/picture-0001.jpg").rename(service.data / "ai_generated.jpg")
    service.process.send_signal(signal.SIGCONT)
    service.wait_for_counts(total=6, real=5, unlabeled=1, pending=0)
    assert_right(service)


@in_full
@pytest.mark.skipif(
    subprocess.run(["unshare", "-Ur", "sh", "-c", LIMIT_WATCHES, "sh", "true"], capture_output=True).returncode != 0,
    reason="needs a user namespace with limits of its own",
)
def test_where_the_kernel_watches_too_few_folders_scans_take_over(service: ServiceProcess) -> None:
    for number in range(20):
        write_pictures(service.data / f"real/source {number}", 1, first_seed=number)
    service.prefix = ("unshare", "-Ur", "sh", "-c", LIMIT_WATCHES, "sh")
    service.start()
    service.wait_for_counts(real=20, pending=0)
    write_pictures(service.data / "real/source 19", 2, first_seed=100)
    write_pictures(service.data / "real/new", 2, first_seed=200)
    service.wait_for_counts(30, real=24, pending=0)
    health = service.get("/health")
    assert "max_user_watches" in str(health)
    assert_right(service)


@in_full
def test_a_storm_of_renames_leaves_the_counts_right(service: ServiceProcess) -> None:
    for label in ("real", "ai_generated"):
        for number in range(4):
            first_seed = 100 * number + (1000 if label == "real" else 0)
            write_pictures(service.data / label / f"source {number}", 6, first_seed=first_seed)
    service.start()
    until = time.monotonic() + STORM_SECONDS

    def shift(number: int) -> None:
        here, there = (service.data / label / f"source {number}" for label in ("real", "ai_generated"))
        aside = service.data / f"aside {number}"
        while time.monotonic() < until:
            for source, target in ((here, aside), (there, here), (aside, there)):
                source.rename(target)

    threads = [threading.Thread(target=shift, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    service.wait_for_counts(60, total=48, real=24, ai_generated=24, pending=0)
    assert_right(service)


@in_full
def test_files_that_grow_for_long_count_when_they_are_whole(service: ServiceProcess) -> None:
    whole = [file.read_bytes() for file in write_pictures(service.folder / "elsewhere", 5)]
    service.start()
    folder = service.data / "real"
    folder.mkdir(parents=True)
    streams = [(folder / f"{number}.jpg").open("wb", buffering=0) for number in range(len(whole))]
    steps = int(GROWING_SECONDS / 0.1)
    for step in range(steps):
        for content, stream in zip(whole, streams, strict=True):
            stream.write(content[len(content) * step // steps : len(content) * (step + 1) // steps])
        time.sleep(0.1)
        if step < steps - 1:
            assert service.counts()["total"] == 0
    for stream in streams:
        stream.close()
    service.wait_for_counts(real=5, total=5, rejected=0, pending=0)
    assert_right(service)
