"""A small service over real published files, and how to talk to a server in raw bytes."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.serving.signing import PointerSigner
from exposr_api.events import EventHub, Listener
from exposr_api.protocols import NOT_FOUND, STARTED, STORED, Decision, Health, PublishedFile, Report
from exposr_api.transport.server import ApiServer
from trainer.publishing.registry import Registry
from utils.errors import OperatorError
from utils.health import PartHealth

KEY = "test_api_key"
AUTH = {"Authorization": f"Bearer {KEY}"}
WEIGHTS = bytes(range(256)) * 4096 + b"the end"  # 1 MiB and a bit: no multiple of any buffer
STARTED_SCRAPE = Decision(True, STARTED, "scrape started", {"run_id": "r1"})
STARTED_TRAINING = Decision(True, STARTED, "training started")
HEALTHY = Health("ok", [PartHealth("dataset", True)])


class SmallModels:
    """`ModelStore` over a real registry."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder)
        self.signer = PointerSigner(Ed25519PrivateKey.generate())

    def publish(self, weights: bytes = WEIGHTS, model: str = "vit") -> str:
        version = self.registry.reserve_version(model)
        staged = self.registry.stage(model, version)
        (staged / "weights.pt").write_bytes(weights)
        (staged / "model.json").write_text('{"labels": ["real", "ai_generated"]}')
        self.registry.publish(staged, {"model": model, "version": version, "timestamp": "2025-10-29T00:59:08Z"})
        return version

    def entries(self) -> Sequence[Mapping[str, Any]]:
        return self.registry.entries()

    def latest(self) -> Mapping[str, Any] | None:
        entry = self.registry.champion()
        if entry is None:
            return None
        return {
            "model_version": entry["version"],
            "model_name": entry["model"],
            "timestamp": entry["timestamp"],
            "metrics": {"val_accuracy": 0.89},
            "download_url": f"models/{entry['model']}/{entry['version']}/weights.pt",
            "sha256": entry["sha256"],
            "size_bytes": entry["size_bytes"],
            "serial": self.registry.serial(),
        }

    def published_file(self, model: str, version: str, name: str) -> PublishedFile | None:
        return self.registry.published_file(model, version, name)

    def pointer(self) -> bytes | None:
        entry = self.registry.champion()
        if entry is None:
            return None
        issued = datetime(2026, 1, 1, tzinfo=UTC)
        names = (entry["model"], entry["version"])
        return self.signer.sign(*names, self.registry.serial(), entry["files"], issued, timedelta(hours=72))

    def public_key(self) -> bytes:
        return self.signer.public_pem

    def promote(self, model: str, version: str) -> Decision:
        try:
            self.registry.promote(model, version)
        except OperatorError as error:
            return Decision(False, NOT_FOUND, str(error))
        return Decision(True, "promoted", f"{model}/{version} is in service", {"serial": self.registry.serial()})

    def rollback(self, model: str) -> Decision:
        try:
            entry = self.registry.rollback()
        except OperatorError as error:
            return Decision(False, "no_previous", str(error))
        return Decision(True, "rolled_back", "rolled back", {"version": entry["version"]})


class SmallFeedback:
    """`Feedback` that takes what it is told to, and keeps it."""

    def __init__(self) -> None:
        self.answer = Decision(True, STORED, "report stored", {"sample": "s1", "reports": 1})
        self.taken: list[tuple[Report, bytes]] = []

    def report(self, report: Report, picture: BinaryIO) -> Decision:
        self.taken.append((report, picture.read()))
        return self.answer

    def reports(self, sha256: str) -> Sequence[Mapping[str, Any]]:
        return []

    def newest(self, limit: int) -> Sequence[Mapping[str, Any]]:
        found = [{**asdict(report), "id": "1", "received": "2026-01-01T00:00:00Z"} for report, _ in self.taken]
        return [{**report, "sha256": "0" * 64, "sample": "s1", "state": "waiting"} for report in found][:limit]


class SmallObservations:
    """`Observations` that keeps what it is given."""

    def __init__(self) -> None:
        self.answer = Decision(True, STORED, "observations stored", {"taken": 1, "ignored": 0})
        self.taken: list[tuple[str, list[Mapping[str, Any]]]] = []

    def take(self, reporter: str, histograms: Sequence[Mapping[str, Any]]) -> Decision:
        self.taken.append((reporter, list(histograms)))
        return self.answer

    def summary(self) -> Mapping[str, Any]:
        drift = {"state": "too_few", "reason": "", "pictures": 0, "shares": {}, "advice": ""}
        return {"days": [], "validation": None, "drift": drift, "in_service": []}


@dataclass
class SmallService:
    """`Service` whose answers a test sets."""

    models: SmallModels
    feedback: SmallFeedback = field(default_factory=SmallFeedback)
    observations: SmallObservations = field(default_factory=SmallObservations)
    hub: EventHub = field(default_factory=lambda: EventHub(max_clients=3))
    scrape: Decision = STARTED_SCRAPE
    training: Decision = STARTED_TRAINING
    health_now: Health = HEALTHY
    known_runs: list[dict[str, Any]] = field(default_factory=list)
    fault: Exception | None = None

    def status(self) -> Mapping[str, Any]:
        if self.fault is not None:
            raise self.fault
        counts = {"total": 51, "real": 41, "ai_generated": 10, "unlabeled": 0}
        return {"uptime": 3600.0, "last_scrape": None, "last_train": None, "dataset_counts": counts}

    def metrics(self) -> Mapping[str, Any]:
        trained = len(self.models.entries())
        return {"total_images": 51, "models_trained": trained, "last_training": None, "validation_accuracy": 0.89}

    def prometheus(self, accept: str) -> tuple[bytes, str]:
        kind = "application/openmetrics-text" if "openmetrics" in accept else "text/plain"
        return b"exposr_images 51\n", f"{kind}; charset=utf-8"

    def health(self) -> Health:
        return self.health_now

    def start_scrape(self, way: str = "") -> Decision:
        return self.scrape

    def start_training(self, way: str = "") -> Decision:
        return self.training

    def runs(self, kind: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
        return [run for run in self.known_runs if kind in (None, run["kind"])][:limit]

    def run(self, run_id: str) -> Mapping[str, Any] | None:
        return next((run for run in self.known_runs if run["id"] == run_id), None)

    def stop_run(self, run_id: str) -> Decision:
        run = next((run for run in self.known_runs if run["id"] == run_id), None)
        if run is None:
            return Decision(False, NOT_FOUND, "no such run")
        if run.get("ended") is not None:
            return Decision(False, "not_running", "this run has ended already")
        run["ended"] = "2026-01-01T00:00:00Z"
        return Decision(True, STARTED, "the run is being stopped", {"run_id": run_id})

    def subscribe(self) -> Listener:
        return self.hub.subscribe()


def exchange(server: ApiServer, request: bytes, timeout: float = 30.0) -> bytes:
    """Send raw bytes, return all that comes back until the server closes. The request should ask it to."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        connection.sendall(request)
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
    return bytes(received)


def head_of(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower-case names) and body of one raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split(" ")[1]), {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}, body


def is_open(file: Path) -> bool:
    """Whether this process has the file open."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == file:
                return True
        except FileNotFoundError:  # closed since it was listed
            continue
    return False
