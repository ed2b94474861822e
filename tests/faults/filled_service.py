"""A service's folders with something of everything in them, and a look at all that the service says of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from dataset_kit import Folder
from starlette.testclient import TestClient

from daemon.api_service import TrainerService
from daemon.application import Application
from daemon.console_service import ConsoleService
from daemon.field.store import FIELD_FILE, FieldStore, StoredReport
from daemon.serving.keys import load_keys
from daemon.state.store import STORE_FILE, Run, Store
from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.protocols import Health
from handlers.labels.commands import set_label
from scrapers.store.item_store import ItemStore
from service_process import KEY, ServiceProcess, wait_until
from trainer.data.snapshot import Sample
from trainer.evaluation.opinions import Opinion, write_opinions
from trainer.models.embedding_cache import EmbeddingCache
from trainer.pipeline import CACHE_FILE
from trainer.publishing.registry import Registry
from trainer.split.split import split_samples
from utils.clock import SystemClock
from utils.config_loader import Config, load_config
from utils.job_protocol import OPINIONS_FILE, SPLIT_LEDGER_FILE

BEFORE = "2026-01-01T00:00:00Z"
PATHS = (
    *("/health", "/status", "/metrics", "/models", "/models/latest", "/models/pointer", "/runs"),
    *("/console/", "/console/pictures", "/console/pictures?part=train", "/console/pictures?model=wrong"),
    *("/console/problems", "/console/queue", "/console/models", "/console/runs", "/console/sources", "/console/field"),
)


def config_of(base: Path, settings: Mapping[str, str] | None = None) -> Config:
    places = {name: str(base / folder) for name, folder in FOLDERS.items()}
    environ = {f"EXPOSR_STORAGE__{name}_PATH": place for name, place in places.items()}
    return load_config(
        environ={**environ, "EXPOSR_STORAGE__MIN_FREE_GB": "0", "TRAINER_API_KEY": KEY, **(settings or {})}
    )


FOLDERS = {"LOCAL": "datasets", "MODELS": "models", "STATE": "state"}


def fill(base: Path) -> None:
    folder = Folder(base)
    for number in range(3):
        folder.picture(f"real/phone/{number}.png", number)
        folder.picture(f"ai_generated/flux/{number}.webp", 10 + number)
    config = config_of(base)
    state = config.storage.state_path
    with looked_at(base) as service:
        service.wait()
        samples = [Sample(**asdict(sample)) for sample in service.application.dataset.labelled_samples()]
    set_label(config, "real/phone/1.png", "ai_generated")
    for number in range(3):
        registry = Registry(config.storage.models_path)
        version = registry.reserve_version("vit")
        staged = registry.stage("vit", version)
        (staged / "weights.pt").write_bytes(version.encode() * 100)
        (staged / "model.json").write_text("{}")
        registry.publish(staged, {"model": "vit", "version": version, "timestamp": f"2026-01-0{number + 1}T00:00:00Z"})
    Registry(config.storage.models_path).promote("vit", "v2")
    store = Store(state / STORE_FILE)
    store.save(Run("train-1", "train", "succeeded", "manual", "asked for", BEFORE, BEFORE))
    store.close()
    field = FieldStore(state / FIELD_FILE)
    sha256 = samples[0].sha256
    field.add_report(StoredReport("r1", sha256, BEFORE, "vit", "v2", "real", 0.1, "ai_generated", "", "core"))
    field.close()
    items = ItemStore(state, "run")
    with items.transaction() as db:
        db.execute("INSERT INTO tombstones VALUES ('pexels', '7', NULL, NULL, 'asked for', ?)", (BEFORE,))
    items.close()
    split_samples(samples, state / SPLIT_LEDGER_FILE, key="key", near_duplicate_distance=6)
    write_opinions(
        state / OPINIONS_FILE, [Opinion(sample.sha256, sample.label, 0.4, "held out") for sample in samples], ""
    )
    EmbeddingCache(state / CACHE_FILE, 1 << 30).add("space", {sha256: np.zeros((1, 4), np.float32)})


@contextlib.contextmanager
def running(base: Path) -> Iterator[ServiceProcess]:
    """A whole service over these folders."""
    fill(base)
    service = ServiceProcess(base)
    try:
        service.start()
        service.wait_for_counts(total=6, pending=0)
        yield service
    finally:
        service.end()


class Looked:
    """All parts of the service but its loop and its socket."""

    def __init__(self, config: Config) -> None:
        self.application = Application(config, SystemClock())
        self.service = TrainerService(self.application)
        self.console = ConsoleService(self.application)
        keys = load_keys(config)
        assert isinstance(keys, Keys)
        self.app = create_app(self.service, keys, console=self.console)

    def wait(self) -> None:
        """Until the pictures are counted."""
        self.application.models.sweep()
        self.application.dataset.start()
        dataset = self.application.dataset
        wait_until(lambda: dataset.ready() and not dataset.counts().pending, 20, lambda: str(dataset.health()))
        self.application.plan_runs(start=False)
        self.application.tick()

    def health(self) -> Health:
        return self.service.health()

    def reasons(self) -> str:
        return "; ".join(part.reason for part in self.health().parts if part.reason)

    def answers(self) -> dict[str, int]:
        """The status of every page and answer."""
        headers = {"Authorization": f"Bearer {KEY}"}
        with TestClient(self.app, "https://trainer", headers=headers, raise_server_exceptions=False) as client:
            [token] = re.findall(r'name="csrf_token" value="(\w+)"', client.get("/login").text)
            client.post("/login", data={"key": KEY, "csrf_token": token})
            picture = next(iter(self.application.dataset.labelled_samples())).sha256
            paths = (*PATHS, f"/console/pictures/{picture}")
            return {path: client.get(path, follow_redirects=False).status_code for path in paths}


@contextlib.contextmanager
def looked_at(base: Path, config: Config | None = None) -> Iterator[Looked]:
    looked = Looked(config or config_of(base))
    try:
        yield looked
    finally:
        looked.application.dataset.stop()
        looked.console.close()
        looked.application.close()
