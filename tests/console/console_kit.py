"""A running service with pictures and versions for the console's tests, and a browser that looks at it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from daemon.runs.process import LOG_FILE
from daemon.runs.run_queue import JOBS_FOLDER
from daemon.state.store import STORE_FILE, Run, Store
from drawn_pictures import write_pictures
from handlers.index.schema import INDEX_FILE, connect_reader
from service_process import KEY, ServiceProcess
from trainer.evaluation.opinions import Novelties, Opinion, write_opinions
from trainer.publishing.registry import Registry
from utils.job_protocol import OPINIONS_FILE

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
CSRF = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')
RUN = "train-20260103T000000Z-abcdef"
PAGES = (
    "",
    "pictures",
    "pictures?label=real&generator=flux",
    "pictures?novelty=only+unfamiliar",
    "problems?kind=rejected",
    "problems?kind=conflict",
    "problems?kind=duplicate",
    "problems?kind=unreadable",
    "problems?kind=note",
    "queue",
    "queue?by=folder",
    "queue?by=similar",
    "models",
    "models/vit/v2",
    "runs",
    f"runs/{RUN}",
    "sources",
    "field",
)


def write_data(service: ServiceProcess) -> None:
    """A little of everything that a page has words for."""
    data = service.data
    write_pictures(data / "real/phone", 6)
    write_pictures(data / "ai_generated/flux", 5, first_seed=100)
    write_pictures(data / "inbox", 14, first_seed=200)
    shutil.copy(data / "real/phone/picture-0000.jpg", data / "real/phone/copy.jpg")
    shutil.copy(data / "real/phone/picture-0001.jpg", data / "ai_generated/flux/also.jpg")
    (data / "real/no <i>picture<⁄i>.jpg").write_text("<html><script>alert(3)</script>")
    [named] = write_pictures(data / "images/2026/01/02", 1, first_seed=300)
    named.rename(named.with_name("hostile.jpg"))
    metadata = {
        "id": "hostile",
        "source": HOSTILE,
        "label": "ai_generated",
        "label_source": "source",
        "timestamp": "2026-01-02T00:00:00Z",
        "path": "images/2026/01/02/hostile.jpg",
        "sha256": "",
        "attribution": {"photographer": HOSTILE, "url": "javascript:alert(4)"},
        "api_data": {"prompt": HOSTILE, "generator": HOSTILE, "note": HOSTILE},
    }
    file = data / "meta/2026/01/02/hostile.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(metadata))


def write_what_a_training_says(service: ServiceProcess) -> None:
    """Opinions and novelties of the pictures that are there."""
    with closing(connect_reader(service.state / INDEX_FILE)) as index:
        known = index.execute("SELECT lower(hex(sha256)), label FROM samples ORDER BY sha256").fetchall()
    opinions = [Opinion(sha256, label, 0.4, "held out from the training") for sha256, label in known[::2]]
    novelties = Novelties({sha256: 2.0 + place for place, (sha256, _) in enumerate(known)}, 6.5)
    write_opinions(service.state / OPINIONS_FILE, opinions, "vit/v2", novelties)


def write_run(service: ServiceProcess) -> None:
    """A training that was not published, in the history of a service that has not started yet."""
    run = Run(
        id=RUN,
        kind="train",
        state="rejected",
        trigger="manual",
        reason=HOSTILE,
        started="2026-01-03T00:00:00Z",
        ended="2026-01-03T01:00:00Z",
        outcome={
            "result": "rejected",
            "summary": HOSTILE,
            "details": {"reasons": [HOSTILE], "collect": HOSTILE, "gate": {"measured": _measured()}},
        },
    )
    with closing(Store(service.state / STORE_FILE)) as store:
        store.save(run)
    log = service.state / JOBS_FOLDER / run.id / LOG_FILE
    log.parent.mkdir(parents=True)
    log.write_text(f"event=evaluated note={HOSTILE}\n" * 40)


def hand_over_observations(service: ServiceProcess, days: int = 3) -> None:
    """What a detector saw on these days, to the service that runs."""
    today = datetime.now(UTC).date()
    histograms = [
        {
            "day": (today - timedelta(ago)).isoformat(),
            "model": "vit",
            "version": "v2",
            "scores": [60, *[0] * 9, 10, *[0] * 8, 30],
            "verdicts": {"real": 60, "ai_generated": 30, "uncertain": 10},
        }
        for ago in range(days)
    ]
    body = {"reporter": "0" * 32, "histograms": histograms}
    answer = httpx.post(f"{service.url}/observations", json=body, headers=service.headers, trust_env=False)
    assert answer.json() == {"taken": days, "ignored": 0, "status": "observations stored"}, answer.text


def publish_versions(folder: Path, number: int = 2) -> None:
    """Versions as the trainer publishes them, with cards that a page has to cope with."""
    registry = Registry(folder)
    for place in range(number):
        version = registry.reserve_version("vit")
        staged = registry.stage("vit", version)
        (staged / "weights.pt").write_bytes(bytes(range(256)) * 4)
        (staged / "model.json").write_text(json.dumps(_card(place)))
        (staged / "report.html").write_text(f"<h1>Report of {version}</h1><script>document.title='ran'</script>")
        entry = {
            "model": "vit",
            "version": version,
            "timestamp": f"2026-01-0{place + 1}T00:00:00Z",
            "dataset_size": 1000 * (place + 1),
            "val_acc": 0.9,
            "test_auc": 0.9 + place / 100,
            "test_auc_interval": [0.85, 0.97],
            "unseen_auc": {"value": 0.8, "low": 0.7, "high": 0.9, "worst": 0.61},
            "unseen_found": {"value": None, "low": None, "high": None, "worst": None, "why": "not known: collect more"},
            "notes": HOSTILE,
            "gate": {"publish": True, "verdict": "improvement", "reasons": [HOSTILE], "measured": _measured()},
        }
        registry.publish(staged, entry)


def _figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def _card(place: int) -> dict[str, Any]:
    slices = {HOSTILE: {"n": 40, "recall": _figure(0.8), "specificity": _figure(0.9), "auc": _figure(0.85)}}
    steps = [number / 20 for number in range(21)]
    return {
        "evaluation": {
            "test": {"auc": _figure(0.9), "ece": _figure(0.06), "tpr_at_fpr_5": _figure(0.7)},
            "validation": {
                "scores": [50, *[0] * 18, 50],
                "verdicts": {name: _figure(0.06) for name in ("real_uncertain", "ai_uncertain")},
            },
            "per_generator": slices,
            "per_real_source": slices,
            "robustness": {"clean_auc": 0.9, "conditions": {"jpeg": {"what": "JPEG, quality 60", "auc": _figure(0.8)}}},
            "curves": {
                "roc": {"fpr": steps, "tpr": [step**0.5 for step in steps]},
                "reliability": [{"mean_probability": step, "share_ai": step, "n": 5} for step in steps],
            },
        },
        "audit": {"problems": [HOSTILE], "warnings": []},
    }


def _measured() -> dict[str, Any]:
    row = {"candidate": 0.9, "champion": 0.88, "difference": 0.02, "low": -0.01, "high": 0.05, "n": 200}
    return {"champion": "vit/v1", "test": {"n": 200}, "overall": {"auc": row}, "slices": {HOSTILE: row}}


def sign_in(url: str) -> httpx.Client:
    """A client with the session of somebody who has signed in."""
    client = httpx.Client(base_url=url, trust_env=False, timeout=20)
    [token] = CSRF.findall(client.get("/login").text)
    assert client.post("/login", data={"key": KEY, "csrf_token": token}).status_code == 303
    return client


def token_of(client: httpx.Client) -> str:
    return CSRF.findall(client.get("/console/runs").text)[0]


@contextmanager
def open_browser() -> Iterator[Browser]:
    found = next(filter(None, (shutil.which(name) for name in BROWSERS)), None)
    if found is None:
        pytest.skip("Chromium is not installed; scripts/browser installs it (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def enter(context: BrowserContext, url: str, key: str = KEY) -> Page:
    """A page whose session has just begun."""
    page = context.new_page()
    page.goto(f"{url}/login")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/console/")
    return page
