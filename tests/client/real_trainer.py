"""The service's own API over a real registry, without the daemon around it: what a follower meets in production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from small_trainer import API_KEY

from daemon.serving.published_models import PublishedModels
from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.events import EventHub, Listener
from exposr_api.transport.server import ApiServer
from trainer.publishing.registry import Registry
from utils.clock import SystemClock
from utils.config_loader import Config, load_config


class RealTrainer:
    """Publishes into models/ and serves it; implements of `Service` what a follower uses."""

    def __init__(self, folder: Path) -> None:
        settings = {
            "EXPOSR_STORAGE__MODELS_PATH": str(folder / "models"),
            "EXPOSR_STORAGE__STATE_PATH": str(folder / "state"),
            "EXPOSR_STORAGE__LOCAL_PATH": str(folder / "datasets"),
        }
        self.config: Config = load_config(environ=settings)
        self.registry = Registry(self.config.storage.models_path)
        self._hub = EventHub()
        self.models = PublishedModels(self.config, SystemClock(), lambda latest: self._hub.publish("model", latest))
        self._server = ApiServer(create_app(self, Keys([API_KEY])), "127.0.0.1", 0)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        return self._server.address

    @property
    def public_key_file(self) -> Path:
        return self.config.storage.models_path / "signing_key.pub.pem"

    def publish(self, files: Mapping[str, bytes], model: str = "vit") -> str:
        version = self.registry.reserve_version(model)
        staged = self.registry.stage(model, version)
        for name, data in files.items():
            (staged / name).write_bytes(data)
        entry = {"model": model, "version": version, "timestamp": "2025-10-29T00:59:08Z"}
        self.registry.publish(staged, entry)
        self.models.refresh()
        return version

    def rollback(self, model: str = "vit") -> None:
        assert self.models.rollback(model).accepted

    def status(self) -> Mapping[str, Any]:
        return {}

    @property
    def listeners(self) -> int:
        return self._hub.clients

    def subscribe(self) -> Listener:
        return self._hub.subscribe()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.close()
        self._server.stop()
