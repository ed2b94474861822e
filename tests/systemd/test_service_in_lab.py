"""The service under a real systemd, installed by systemd/install: what an operator relies on."""

from pathlib import Path

import pytest
from lab_service import DATASETS, PYTHON, UNIT, LabService, make_pictures

SQUATTER = 'import socket, time; s = socket.create_server(("127.0.0.1", 8001)); time.sleep(60)'
pytestmark = [pytest.mark.systemd, pytest.mark.timeout(180)]


def drop(service: LabService, scratch: Path, count: int, folder: str = "real", seed: int = 1) -> None:
    """Put pictures into a drop folder as a member of the group exposr-drop, by way of a strict umask."""
    make_pictures(scratch / f"{seed}", count, seed)
    service.lab.run("id alice >/dev/null 2>&1 || useradd --groups exposr-drop alice")
    inside = f"/run/lab/pictures-{seed}"
    service.lab.path(inside).mkdir()
    for picture in (scratch / f"{seed}").iterdir():
        (service.lab.path(inside) / picture.name).write_bytes(picture.read_bytes())
    service.lab.run(f"runuser -u alice -- bash -c 'umask 077; cp -r {inside} {DATASETS}/{folder}/'; rm -r {inside}")


def test_the_installed_service_is_ready_and_says_so_in_words(service: LabService) -> None:
    assert service.show("ActiveState") == "active"
    assert service.show("SubState") == "running"
    assert service.get("/health")["status"] in ("ok", "starting")
    status = service.wait_for(
        "a status in words", lambda: "0 real" in service.show("StatusText") and service.show("StatusText")
    )
    assert status.startswith("idle")
    assert service.lab.run(f"systemd-analyze verify /etc/systemd/system/{UNIT}") == ""


def test_pictures_dropped_by_a_person_are_counted(service: LabService, tmp_path: Path) -> None:
    drop(service, tmp_path, 5)
    service.wait_for("5 real images", lambda: service.counts()["real"] == 5)


def test_files_that_the_service_may_not_read_are_named(service: LabService, tmp_path: Path) -> None:
    drop(service, tmp_path, 2)
    service.wait_for("2 real images", lambda: service.counts()["real"] == 2)
    # as `mv` and `cp -p` bring files: with the rights they had, and no ACL
    locked = f"{DATASETS}/real/locked.png"
    service.lab.run(f"install -o root -g root -m 600 {DATASETS}/real/pictures-1/1-0.png /tmp/x; mv /tmp/x {locked}")
    service.wait_for("a complaint", lambda: "real/locked.png" in service.lab.run("exposr-trainer problems"))


def test_a_stopped_process_is_restarted_by_the_watchdog(service: LabService, tmp_path: Path) -> None:
    drop(service, tmp_path, 3)
    service.wait_for("3 real images", lambda: service.counts()["real"] == 3)
    before = service.show("MainPID")
    service.lab.run(f"kill -STOP {before}")
    service.wait_for("another process", lambda: service.show("MainPID") not in (before, "0"))
    service.wait_for("the counts again", lambda: service.counts()["real"] == 3)
    assert service.show("NRestarts") == "1"


def test_a_killed_process_is_restarted(service: LabService, tmp_path: Path) -> None:
    drop(service, tmp_path, 3)
    service.wait_for("3 real images", lambda: service.counts()["real"] == 3)
    before = service.show("MainPID")
    service.lab.run(f"kill -KILL {before}")
    service.wait_for("another process", lambda: service.show("MainPID") not in (before, "0"))
    service.wait_for("the counts again", lambda: service.counts()["real"] == 3)


def test_a_crash_loop_ends_in_failed_with_the_reason(service: LabService) -> None:
    service.systemctl("stop", UNIT)
    service.lab.run(f"{PYTHON} -c '{SQUATTER}' >/dev/null 2>&1 & echo $! >/run/lab/squatter; sleep 0.5")
    service.systemctl("start", UNIT, check=False)
    service.wait_for("failed", lambda: service.show("ActiveState") == "failed")
    assert "8001" in service.show("StatusText")
    assert int(service.show("NRestarts")) >= 4
    service.lab.run("kill $(cat /run/lab/squatter)")


def test_a_wrong_configuration_fails_at_once_with_the_reason(service: LabService) -> None:
    service.configure("\n[scheduler]\nscrape_interval_hours = -1\n")
    service.systemctl("restart", UNIT, check=False)
    assert service.show("ActiveState") == "failed"
    assert service.show("NRestarts") == "0"
    assert "scheduler.scrape_interval_hours" in service.show("StatusText")


def test_a_reload_changes_the_schedule_and_a_wrong_file_changes_nothing(service: LabService) -> None:
    process = service.show("MainPID")
    service.configure("\n[scheduler]\nscrape_interval_hours = 5\n")
    service.systemctl("reload", UNIT)
    service.wait_for("the reload", lambda: "event=reloaded changed=scheduler" in service.log())
    service.configure("\n[scheduler]\nscrape_interval_hours = 0\n")
    service.systemctl("reload", UNIT)
    service.wait_for("the refusal", lambda: "event=reload_refused" in service.log())
    assert service.show("ActiveState") == "active"
    assert service.show("MainPID") == process


def test_keys_are_readable_by_the_service_alone(service: LabService) -> None:
    service.lab.write("/etc/exposr-trainer/keys/trainer-api-key", "key-of-the-operator\n")
    service.restart()
    process = service.show("MainPID")
    places = [
        "/etc/exposr-trainer/keys/trainer-api-key",
        "/var/lib/exposr-trainer/state/keys/api_key",
        f"/proc/{process}/root/run/credentials/{UNIT}/trainer-api-key",
        f"/proc/{process}/environ",
    ]
    for place in places:
        assert "Permission denied" in service.lab.run(f"runuser -u nobody -- cat {place} 2>&1", check=False)
    assert "key-of-the-operator" not in service.lab.run(f"tr '\\0' '\\n' </proc/{process}/environ")
    assert service.lab.run("stat -c '%a %U' /etc/exposr-trainer/keys/trainer-api-key").strip() == "600 root"
    accepted = service.lab.run(
        "curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer key-of-the-operator' http://127.0.0.1:8001/metrics"
    )
    assert accepted == "200"
    service.lab.write("/etc/exposr-trainer/keys/trainer-api-key", "")
