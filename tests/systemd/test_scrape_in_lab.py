"""Collecting under a real systemd, with a key that only systemd hands over, from a stand-in of the source."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from lab_service import UNIT, LabService, make_pictures

from utils.clock import from_iso

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(240)]
PEXELS = """
[sources.pexels]
enabled = true
contact = "operator@example.org"
base_url = "http://127.0.0.1:8090/pexels"
image_hosts = ["127.0.0.1:8090"]
queries = ["street"]
limit_per_query = 4
"""
KEY_FILE = "/etc/exposr-trainer/keys/pexels-api-key"


@pytest.fixture
def sandbox(service: LabService, tmp_path: Path) -> Iterator[LabService]:
    """The service with one source, which runs beside it in the lab."""
    make_pictures(tmp_path / "pictures", 12, 1)
    for picture in (tmp_path / "pictures").iterdir():
        inside = service.lab.path(f"/srv/pictures/real/{picture.name}")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_bytes(picture.read_bytes())
    command = "exposr-trainer sandbox --pictures /srv/pictures --port 8090"
    process = service.lab.run(f"{command} >/run/lab/sandbox.log 2>&1 & echo $!").strip()
    service.wait_for("the sandbox", lambda: service.lab.run("curl -s http://127.0.0.1:8090/control"), 60)
    yield service
    service.lab.run(f"kill {process}")
    service.lab.write(KEY_FILE, "")


def test_a_reload_moves_the_next_scrape(sandbox: LabService) -> None:
    sandbox.lab.write(KEY_FILE, "sandbox\n")
    sandbox.configure(PEXELS)
    sandbox.restart()
    process = sandbox.show("MainPID")
    sandbox.post("/scrape")
    sandbox.wait_for("pictures", lambda: sandbox.counts()["real"] > 0, 120)
    last = from_iso(sandbox.wait_for("the end of it", lambda: sandbox.get("/status")["last_scrape"], 60))

    def hours_until_next() -> float:
        due = from_iso(sandbox.get("/status")["plan"]["scrape"]["at"])
        return (due - last) / timedelta(hours=1)

    sandbox.wait_for("the default of 12 hours", lambda: abs(hours_until_next() - 12) < 0.5)
    sandbox.configure(PEXELS + "\n[scheduler]\nscrape_interval_hours = 5\n")
    sandbox.systemctl("reload", UNIT)
    sandbox.wait_for("5 hours", lambda: abs(hours_until_next() - 5) < 0.5)
    assert sandbox.show("MainPID") == process


def test_a_key_is_in_no_environment_that_others_could_read(sandbox: LabService) -> None:
    sandbox.lab.write(KEY_FILE, "sandbox-key-of-the-operator\n")
    sandbox.configure(PEXELS)
    sandbox.restart()
    environ = sandbox.lab.run(f"tr '\\0' '\\n' </proc/{sandbox.show('MainPID')}/environ")
    assert "sandbox-key-of-the-operator" not in environ
    assert "sandbox-key-of-the-operator" not in sandbox.log()
