"""SIGKILL at random moments, with a tenth of the URLs misbehaving: the stored set is exactly the expected one.

EXPOSR_KILL_CANDIDATES=5000 makes it the full trial (a few minutes).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from lifted import KEY_VARIABLES, lifted_config

from scrapers.candidate import Candidate
from scrapers.sandbox.faults import strikes, url_identity
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import Fault, SandboxSettings
from scrapers.sources import SOURCES as SOURCE_MODULES
from scrapers.status import settings_of
from utils.config_loader import Config
from utils.files import sha256_of_file
from utils.job_protocol import write_job
from utils.metadata import read_metadata

CANDIDATES = int(os.environ.get("EXPOSR_KILL_CANDIDATES", "300"))
KILLS = 3
SOURCES = ("unsplash", "pexels", "civitai")
PASSING = ("status", "cut_body", "length_too_large", "hang")  # tried again: the image arrives in the end
LASTING = ("html", "video", "noai", "redirect", "truncated_image", "oversized", "image_bomb")  # refused for good
SHARE = 0.1 / (len(PASSING) + len(LASTING))


def faults() -> tuple[Fault, ...]:
    api = [
        Fault(kind=kind, share=0.03, attempts=1, where="api", seconds=3600) for kind in ("status", "html", "cut_body")
    ]
    images = [Fault(kind=kind, share=SHARE, attempts=1, where="image", seconds=3600) for kind in PASSING]
    refused = [Fault(kind=kind, share=SHARE, where="image", mebibytes=4) for kind in LASTING]
    return (*api, *images, *refused)


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "out.txt").open("ab") as out, (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "scrapers", "--job", str(folder)],
            stdout=out,
            stderr=log,
            env={**os.environ, **KEY_VARIABLES},
        )


def stored_files(data: Path) -> dict[str, Path]:
    return {file.stem: file for file in (data / "images").rglob("*") if file.is_file()}


def offered(config: Config, sandbox: SandboxServer) -> dict[str, Candidate]:
    """Every candidate of the sandbox by its image URL, read by the source modules over plain httpx."""
    found: dict[str, Candidate] = {}
    with httpx.Client(headers={"user-agent": "Trial/1"}, timeout=30) as http:
        for name in SOURCES:
            module, settings, cursor = SOURCE_MODULES[name], settings_of(config, name), None
            while True:
                answer = http.get(module.page_url(settings, "", cursor), headers=dict(module.headers("sandbox")))
                page = module.read_page(answer.json(), settings, cursor)
                found |= {item.variants[0].url: item for item in page.items if isinstance(item, Candidate)}
                if (cursor := page.next_cursor) is None:
                    break
    return found


def is_refused(url: str) -> bool:
    path = url_identity("image", urlsplit(url).path, "")
    return any(strikes(fault, "", "image", path) for fault in faults() if fault.kind in LASTING)


@pytest.mark.slow
@pytest.mark.timeout(120 + CANDIDATES // 4)
def test_three_kills_and_a_tenth_of_faults_lose_and_repeat_nothing(few_pictures: Path, tmp_path: Path) -> None:
    settings = SandboxSettings.model_validate(
        {
            "synthetic": CANDIDATES,
            "photo_sources": ("unsplash", "pexels"),
            "faults": [fault.model_dump() for fault in faults()],
            "unsplash": {"hourly_limit": 100_000},
            "pexels": {"hourly_limit": 10_000},
        }
    )
    rng = random.Random(20261122)
    with SandboxServer(few_pictures, settings) as server:
        config = lifted_config(
            tmp_path,
            server.url,
            only=SOURCES,
            every={"max_image_mb": 3},
            harvest={"read_seconds": 2, "check_workers": 2, "max_run_minutes": 30},
        )
        job, data = tmp_path / "job", config.storage.local_path
        write_job(job, {"run_id": "killed", "config": config.model_dump(mode="json"), "sources": list(SOURCES)})
        for _ in range(KILLS):
            process = start(job)
            goal = len(stored_files(data)) + rng.randint(CANDIDATES // 12, CANDIDATES // 6)
            while process.poll() is None and len(stored_files(data)) < goal:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "it was killed at work, not after it"
        assert start(job).wait(120 + CANDIDATES // 4) == 0, (job / "log.txt").read_text()[-4000:]

        counters = server.sandbox.journal.counters(with_paths=True)
        server.sandbox.configure(SandboxSettings.model_validate({**settings.model_dump(), "faults": []}))
        candidates = offered(config, server)
        wanted = [url for url in candidates if not is_refused(url)]
        with httpx.Client(timeout=30) as http:
            expected = {hashlib.sha256(http.get(url).content).hexdigest() for url in wanted}

    files = stored_files(data)
    metas = {file.stem: read_metadata(file) for file in (data / "meta").rglob("*.json")}
    stored = {name: sha256_of_file(file) for name, file in files.items()}
    outcome = json.loads((job / "out.txt").read_text().splitlines()[-1])
    assert len(candidates) >= CANDIDATES and len(wanted) < len(candidates)
    assert set(files) == set(metas), "an image without metadata, or the reverse"
    assert stored == {name: meta.sha256 for name, meta in metas.items()}
    assert len(set(stored.values())) == len(stored), "an image was stored twice"
    assert set(stored.values()) == expected
    assert sum(source["stored"] for source in outcome["details"]["sources"].values()) == len(files)
    assert not list((data / ".tmp").iterdir())
    assert set(counters["hosts"]) == {server.host}
    assert not [status for status in counters["statuses"] if status.split()[1:] in (["api", "403"], ["api", "429"])]
    assert {key.split()[-1] for key in counters["keys"] if " image " in key} == {"anonymous"}
    used = [meta.api_data["id"] for meta in metas.values() if meta.source == "unsplash"]
    reports = {photo: counters["paths"].get(f"/unsplash/photos/{photo}/download", 0) for photo in used}
    assert min(reports.values()) >= 1, "a use was not reported"
    print(f"{len(candidates)} candidates, {len(files)} stored, {sum(counters['requests'].values())} requests")
