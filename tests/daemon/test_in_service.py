"""What is in service: each change is announced once, and who compares times as the guide does ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daemon.api_service import TrainerService
from daemon.application import Application
from fake_clock import FakeClock
from trainer.model_sync import push_latest_model
from trainer.publishing.registry import Registry
from utils.clock import to_iso
from utils.config_loader import Config


@pytest.fixture
def application(config: Config, fake_clock: FakeClock) -> Iterator[Application]:
    application = Application(config, fake_clock)
    yield application
    application.close()


def publish(application: Application, clock: FakeClock) -> str:
    registry = Registry(application.config.storage.models_path)
    version = registry.reserve_version("vit")
    staged = registry.stage("vit", version)
    (staged / "weights.pt").write_bytes(version.encode())
    registry.publish(staged, {"model": "vit", "version": version, "timestamp": to_iso(clock.now())})
    application.tick()
    return version


@dataclass
class GuideClient:
    """Exposr-Core as the guide sketches it: compares `last_training` with the time of the model it has."""

    service: TrainerService
    timestamp: str = ""
    version: str = ""
    downloads: int = 0

    def poll(self) -> str:
        metrics = self.service.metrics()
        if metrics["models_trained"] > 0 and metrics["last_training"] > self.timestamp:
            latest = self.service.models.latest()
            assert latest is not None
            self.version, self.timestamp = latest["model_version"], latest["timestamp"]
            self.downloads += 1
        return self.version


def test_a_client_of_the_guide_ends_with_the_version_in_service(
    application: Application, fake_clock: FakeClock
) -> None:
    service = TrainerService(application)
    client = GuideClient(service)
    assert client.poll() == ""
    for version in ("v1", "v2", "v3"):
        fake_clock.pass_time(3600)
        assert publish(application, fake_clock) == version
        assert client.poll() == version
    for change, expected in (
        (lambda: service.models.promote("vit", "v1"), "v1"),
        (lambda: service.models.rollback("vit"), "v3"),
        (lambda: service.models.rollback("vit"), "v1"),
        (lambda: service.models.promote("vit", "v2"), "v2"),
    ):
        assert change().accepted  # all within one second of the clock
        assert client.poll() == expected
    downloads = client.downloads
    for _ in range(3):
        assert client.poll() == "v2"
    assert client.downloads == downloads == 7
    fake_clock.pass_time(-86_400)  # a clock that is set back
    assert publish(application, fake_clock) == "v4"
    assert client.poll() == "v4"


def test_the_guides_functions_and_the_api_say_the_same(application: Application, fake_clock: FakeClock) -> None:
    service = TrainerService(application)
    publish(application, fake_clock)
    publish(application, fake_clock)
    assert service.models.promote("vit", "v1").accepted
    latest, pushed = service.models.latest(), push_latest_model(application.config)
    assert latest is not None
    assert pushed is not None
    assert {key: latest[key] for key in pushed} == pushed
    assert service.metrics()["last_training"] == latest["timestamp"]


def test_every_change_is_announced_once_and_in_order(application: Application, fake_clock: FakeClock) -> None:
    def change() -> None:
        publish(application, fake_clock)
        publish(application, fake_clock)
        assert application.models.promote("vit", "v1").accepted
        assert application.models.rollback("vit").accepted
        Registry(application.config.storage.models_path).promote("vit", "v1")  # a command, in another process
        application.tick()
        application.tick()
        application.hub.publish("end", {})

    async def collect() -> list[Any]:
        listener = application.hub.subscribe()
        await asyncio.to_thread(change)
        announced = []
        async for name, data in listener:
            if name == "end":
                break
            announced += [data] if name == "model" else []
        return announced

    models = asyncio.run(collect())
    assert [data["model_version"] for data in models] == ["v1", "v2", "v1", "v2", "v1"]
    assert [data["serial"] for data in models] == [1, 2, 3, 4, 5]


def test_an_entry_in_the_guides_bare_form_names_no_card(config: Config, fake_clock: FakeClock) -> None:
    folder = config.storage.models_path / "vit/v2"
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_bytes(b"weights")
    registry = '[{"model": "vit", "version": "v2", "timestamp": "2025-10-29T00:59:08Z"}]'
    (config.storage.models_path / "registry.json").write_text(registry)
    application = Application(config, fake_clock)
    try:
        latest = application.models.latest()
        assert latest is not None
        assert latest["timestamp"] == "2025-10-29T00:59:08Z"
        assert "card_url" not in latest
        (folder / "model.json").write_text("{}")
        application.models.promote("vit", "v2")
        latest = application.models.latest()
        assert latest is not None
        assert latest["card_url"] == "models/vit/v2/model.json"
    finally:
        application.close()


def test_an_alias_file_of_before_is_read_with_a_time(application: Application, fake_clock: FakeClock) -> None:
    publish(application, fake_clock)
    fake_clock.pass_time(60)
    publish(application, fake_clock)
    aliases = application.config.storage.models_path / "aliases.json"
    aliases.write_text('{"serial": 3, "champion": "vit/v1", "previous": "vit/v2"}')
    application.tick()
    latest = application.models.latest()
    assert latest is not None
    assert (latest["model_version"], latest["serial"]) == ("v1", 3)
    assert latest["timestamp"] == to_iso(fake_clock.now())
