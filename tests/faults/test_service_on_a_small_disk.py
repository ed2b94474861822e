"""A running service whose whole disk is filled, or becomes read-only, and comes back.

By default a full disk alone; EXPOSR_FAULTS=all takes the others, too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import data_violations, model_violations
from selection import ALL

from drawn_pictures import draw
from service_process import ServiceProcess, wait_until
from trainer.publishing.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
in_full = pytest.mark.skipif(not ALL, reason="takes long; EXPOSR_FAULTS=all takes it")

MOUNT = 'mount -t tmpfs -o size=24m small "$0" && echo mounted && exec sleep 600'


class SmallDisk:
    """A tmpfs in a mount namespace of its own, on which everything of a service lies."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "disk"
        self.place.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", MOUNT, str(self.place)], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            self.close()
            pytest.skip("needs a user namespace in which a tmpfs may be mounted")
        self.enter = ("nsenter", "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials")
        self.seen = Path(f"/proc/{self._holder.pid}/root{self.place}")  # from here

    def remount(self, options: str) -> None:
        subprocess.run([*self.enter, "mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def fill(self) -> Path:
        """To the last byte."""
        filler = self.seen / "filler"
        with filler.open("wb", buffering=0) as stream:
            try:
                for size in (1 << 20, 4096, 1):
                    while stream.write(b"x" * size) == size:
                        pass
            except OSError:
                pass
        return filler

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def service(disk: SmallDisk, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServiceProcess]:
    """With the state elsewhere where the test is marked so: what has files open cannot become read-only."""
    made = ServiceProcess(tmp_path)
    for variable, name in (("LOCAL", "data"), ("MODELS", "models"), ("STATE", "state")):
        if name != "state" or not hasattr(request, "param"):
            made.environ[f"EXPOSR_STORAGE__{variable}_PATH"] = str(disk.place / name)
            setattr(made, name, disk.seen / name)
    made.prefix = disk.enter
    drop(made, 0, 6)
    for number in range(1, 4):
        registry = Registry(made.models)
        staged = registry.stage("vit", registry.reserve_version("vit"))
        (staged / "weights.pt").write_bytes(b"w" * 1000)
        registry.publish(staged, {"model": "vit", "version": f"v{number}", "timestamp": f"2026-01-0{number}T00:00:00Z"})
    made.start()
    made.wait_for_counts(real=6, pending=0)
    yield made
    made.end()


def drop(service: ServiceProcess, first: int, last: int) -> None:
    folder = service.data / "real"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last):
        draw(seed).save(folder / f"{seed}.png")


def assert_right(service: ServiceProcess) -> None:
    def violations() -> list[str]:
        return [*data_violations(service.data, service.counts()), *model_violations(service.models)]

    wait_until(lambda: not service.counts()["pending"] and not violations(), 30, lambda: str(violations()))
    assert "Traceback" not in service.log.read_text()


def test_a_full_disk_stops_nothing_that_only_reads_and_loses_nothing(service: ServiceProcess, disk: SmallDisk) -> None:
    filler = disk.fill()
    for path in ("/status", "/models", "/models/latest", "/metrics"):
        service.get(path)
    answer = service.post("/models/vit/v2/promote")
    assert answer.status_code in (200, 409), answer.text
    (service.data / "real/0.png").rename(service.data / "real/renamed.png")
    (service.data / "real/1.png").unlink()
    filler.unlink()
    drop(service, 100, 103)
    service.wait_for_counts(40, real=8, total=8, pending=0)
    assert service.post("/models/vit/v1/promote").status_code == 200
    assert service.get("/models/latest")["model_version"] == "v1"
    assert_right(service)
    wait_until(lambda: service.get("/health")["status"] == "ok", 90, lambda: str(service.get("/health")))


@in_full
def test_a_start_on_a_full_disk_says_so_or_serves(service: ServiceProcess, disk: SmallDisk) -> None:
    service.kill()
    filler = disk.fill()
    assert service.process is not None
    try:
        service.start()
        assert service.get("/models/latest")["model_version"] == "v3"
    except AssertionError:
        assert service.process.wait(30) == 1
        assert "No space" in service.log.read_text() or "full" in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
    service.end()
    filler.unlink()
    service.start()
    service.wait_for_counts(real=6, pending=0)
    assert_right(service)


@in_full
@pytest.mark.parametrize("service", ["state elsewhere"], indirect=True)
def test_a_disk_that_becomes_read_only_is_said_and_comes_back(service: ServiceProcess, disk: SmallDisk) -> None:
    disk.remount("ro")
    refused = service.post("/models/vit/v1/promote")
    assert refused.status_code == 409, refused.text
    assert refused.json()["error"]["code"] == "not_written"
    assert service.get("/models/latest")["model_version"] == "v3"
    assert service.get("/status")["dataset_counts"]["real"] == 6
    disk.remount("rw")
    assert service.post("/models/vit/v1/promote").status_code == 200
    drop(service, 200, 202)
    service.wait_for_counts(40, real=8, pending=0)
    assert_right(service)
    wait_until(lambda: service.get("/health")["status"] == "ok", 90, lambda: str(service.get("/health")))
