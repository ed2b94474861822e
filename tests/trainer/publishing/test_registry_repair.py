"""A damaged registry.json is made again from the versions' folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daemon.serving.published_models import PublishedModels
from trainer.publishing.registry import Registry
from trainer.publishing.registry_repair import repair_registry
from utils.clock import SystemClock
from utils.config.sections import Storage
from utils.config_loader import Config

CARD = {
    "data": {"samples": 300, "parts": {"train": {"n": 200}, "test": {"n": 60}}, "training": {"epochs": 3, "notes": []}},
    "evaluation": {
        "validation": {"accuracy": {"value": 0.9}, "auc": {"value": 0.95}, "nll": {"value": 0.2}},
        "test": {"auc": {"value": 0.93, "low": 0.9, "high": 0.96}},
        "unseen": {"unseen_auc": {"value": 0.8, "low": 0.7, "high": 0.9, "worst": 0.6, "sources": 3}},
    },
    "gate": {"published_as": "vit/v1", "accepted": True},
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    storage = Storage(local_path=tmp_path / "datasets", models_path=tmp_path / "models", state_path=tmp_path / "state")
    storage.state_path.mkdir()
    return Config(storage=storage)


@pytest.fixture
def published(config: Config) -> list[dict[str, Any]]:
    registry = Registry(config.storage.models_path)
    for number in range(3):
        version = registry.reserve_version("vit")
        staged = registry.stage("vit", version)
        (staged / "weights.pt").write_bytes(b"weights %d" % number)
        card = CARD | {"software": {"created": f"2026-01-0{number + 1}T00:00:00Z"}}
        (staged / "model.json").write_text(json.dumps(card))
        moment = f"2026-01-0{number + 1}T00:00:00Z"
        registry.publish(staged, {"model": "vit", "version": version, "timestamp": moment, "val_acc": 0.9})
    return registry.entries()


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"model": "vit"}'])
def test_the_service_starts_with_a_rebuilt_registry_and_says_so(
    config: Config, published: list[dict[str, Any]], damage: bytes
) -> None:
    file = config.storage.models_path / "registry.json"
    file.write_bytes(damage)
    models = PublishedModels(config, SystemClock())
    again = Registry(config.storage.models_path).entries()
    for key in ("model", "version", "timestamp", "sha256", "size_bytes", "files", "val_acc"):
        assert [entry[key] for entry in again] == [entry[key] for entry in published]
    assert again[0]["dataset_size"] == 300 and again[0]["train_size"] == 200 and again[0]["val_auc"] == 0.95
    assert again[0]["unseen_auc"] == {"value": 0.8, "low": 0.7, "high": 0.9, "worst": 0.6}
    champion = models.champion()
    assert champion is not None and champion["version"] == "v3"
    assert models.problem == ""
    assert file.with_name("registry.json.set-aside").read_bytes() == damage


def test_damage_while_the_service_runs_is_repaired_too(config: Config, published: list[dict[str, Any]]) -> None:
    models = PublishedModels(config, SystemClock())
    (config.storage.models_path / "registry.json").write_text("{")
    models.refresh()
    assert len(models.entries()) == 3
    assert Registry(config.storage.models_path).reserve_version("vit") == "v4"


def test_a_version_whose_files_changed_is_left_out(config: Config, published: list[dict[str, Any]]) -> None:
    models = config.storage.models_path
    card = json.loads((models / "vit/v2/model.json").read_text())
    card["files"] = {"weights.pt": {"sha256": "0" * 64, "size_bytes": 9}}
    (models / "vit/v2/model.json").write_text(json.dumps(card))
    (models / "registry.json").write_text("{")
    assert "2 versions" in repair_registry(models)
    assert [entry["version"] for entry in Registry(models).entries()] == ["v1", "v3"]


def test_a_sound_registry_is_left_alone(config: Config, published: list[dict[str, Any]]) -> None:
    assert repair_registry(config.storage.models_path) == ""
    assert not (config.storage.models_path / "registry.json.set-aside").exists()


def test_what_cannot_be_repaired_stops_nothing_else(config: Config, published: list[dict[str, Any]]) -> None:
    file = config.storage.models_path / "registry.json"
    file.unlink()
    file.mkdir()
    models = PublishedModels(config, SystemClock())
    assert models.sweep() == [] and models.latest() is None
    assert "registry.json" in models.problem


def test_damaged_aliases_without_a_copy_are_refused_with_advice(
    config: Config, published: list[dict[str, Any]]
) -> None:
    folder = config.storage.models_path
    (folder / "aliases.json").write_text("null")
    (folder / ".aliases.json").unlink()
    models = PublishedModels(config, SystemClock())
    assert models.latest() is None
    assert "remove it: the newest version is then in service" in models.problem
    (folder / "aliases.json").unlink()
    models.refresh()
    assert models.problem == "" and models.latest() is not None


def test_a_copy_that_is_missing_is_made(config: Config, published: list[dict[str, Any]]) -> None:
    folder = config.storage.models_path
    (folder / ".aliases.json").unlink()  # as an earlier release left it
    Registry(folder).sweep()
    before = (folder / "aliases.json").read_bytes()
    assert (folder / ".aliases.json").read_bytes() == before
