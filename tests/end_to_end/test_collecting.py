from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from drawn_pictures import write_pictures
from service_process import ServiceProcess, wait_until

PER_LABEL = 12


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[str]:
    """Address of a stand-in of the sources over some pictures."""
    pictures = tmp_path / "pictures"
    write_pictures(pictures / "real", PER_LABEL)
    write_pictures(pictures / "ai_generated/flux", PER_LABEL, first_seed=500, suffix=".png")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "daemon", "sandbox", "--port", str(port), "--pictures", str(pictures)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            httpx.get(f"{url}/control", trust_env=False)
        except httpx.HTTPError:
            return False
        return True

    wait_until(answers, 20, lambda: "the sandbox did not start")
    yield url
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
def collecting(tmp_path: Path, sandbox: str) -> Iterator[ServiceProcess]:
    settings = {"UNSPLASH_ACCESS_KEY": "sandbox", "PEXELS_API_KEY": "sandbox", "CIVITAI_API_KEY": "sandbox"}
    for source in ("unsplash", "pexels", "civitai"):
        section = f"EXPOSR_SOURCES__{source.upper()}__"
        settings |= {
            f"{section}ENABLED": "true",
            f"{section}BASE_URL": f"{sandbox}/{source}",
            f"{section}IMAGE_HOSTS": json.dumps([sandbox.removeprefix("http://")]),
            f"{section}QUERIES": "[]",
            f"{section}MIN_INTERVAL_SECONDS": "0",
            f"{section}IMAGE_INTERVAL_SECONDS": "0",
        }
    service = ServiceProcess(tmp_path, settings)
    service.start()
    yield service
    service.end()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_scrape_fills_the_folder_with_labelled_pictures_and_a_second_adds_nothing(
    collecting: ServiceProcess,
) -> None:
    started = collecting.post("/scrape")
    assert (started.status_code, started.json()["status"]) == (202, "scrape started")
    again = collecting.post("/scrape")
    assert (again.status_code, again.json()["status"]) == (409, "scrape already running")
    run = collecting.wait_for_run(started.json()["run_id"], 60)
    assert run["state"] == "succeeded", run
    collecting.wait_for_counts(20, real=PER_LABEL, ai_generated=PER_LABEL, unlabeled=0, rejected=0)

    metadata = [json.loads(file.read_text()) for file in (collecting.data / "meta").rglob("*.json")]
    assert len(metadata) == 2 * PER_LABEL
    for entry in metadata:
        assert entry["source"] in ("unsplash", "pexels", "civitai")
        assert entry["label"] == ("ai_generated" if entry["source"] == "civitai" else "real")
        assert {"platform", "photographer", "license"} <= set(entry["attribution"])
        assert (collecting.data / entry["path"]).is_file()
    assert collecting.get("/status")["last_scrape"] is not None

    second = collecting.wait_for_run(collecting.post("/scrape").json()["run_id"], 60)
    assert second["state"] == "succeeded", second
    assert collecting.counts()["total"] == 2 * PER_LABEL
    assert "sandbox" not in [part for line in collecting.log.read_text().splitlines() for part in line.split()]
