"""One source is collected from alone, and its card says what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_kit import sign_in, token_of

from drawn_pictures import write_pictures
from scrapers.sandbox.server import SandboxServer
from service_process import ServiceProcess

SOURCES = ("pexels", "unsplash")


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[ServiceProcess]:
    pictures = tmp_path / "offered"
    write_pictures(pictures / "real/Model A", 6)
    write_pictures(pictures / "ai_generated/Model A", 2, first_seed=50)
    with SandboxServer(pictures) as sandbox:
        settings = {"PEXELS_API_KEY": "sandbox", "UNSPLASH_ACCESS_KEY": "sandbox"}
        settings["EXPOSR_SCHEDULER__SCRAPE_INTERVAL_HOURS"] = "8760"
        for source in SOURCES:
            section = f"EXPOSR_SOURCES__{source.upper()}__"
            settings |= {
                f"{section}ENABLED": "true",
                f"{section}BASE_URL": f"{sandbox.url}/{source}",
                f"{section}IMAGE_HOSTS": json.dumps([sandbox.url.removeprefix("http://")]),
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
def test_one_source_is_collected_from_alone(collecting: ServiceProcess) -> None:
    client = sign_in(collecting.url)
    refused = client.post("/console/sources", data={"csrf_token": token_of(client), "source": "civitai"})
    assert refused.headers["location"].endswith("console/sources")
    assert "The source civitai cannot be used" in client.get("/console/sources").text
    started = client.post("/console/sources", data={"csrf_token": token_of(client), "source": "pexels"})
    run = collecting.wait_for_run(started.headers["location"].rpartition("/")[2], 90)
    assert run["state"] == "succeeded", run
    assert set(run["outcome"]["details"]["sources"]) == {"pexels"}
    page = client.get("/console/sources").text
    card = page[page.index('id="source-pexels"') : page.index('id="source-civitai"')]
    [stored] = re.findall(r"<dt>Stored</dt><dd>(\d+)</dd>", card)
    assert int(stored) > 0
    client.close()
