"""The three functions of the integration guide."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.model_sync import get_model_path, list_available_models, push_latest_model
from trainer.publishing.registry import Registry
from utils.config_loader import Config, load_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(environ={"EXPOSR_STORAGE__MODELS_PATH": str(tmp_path / "models")})


def publish(config: Config, timestamp: str) -> None:
    registry = Registry(config.storage.models_path)
    version = registry.reserve_version("vit")
    staged = registry.stage("vit", version)
    (staged / "weights.pt").write_bytes(b"weights of " + version.encode())
    entry = {
        "val_acc": 0.89,
        "val_auc": 0.87,
        "val_loss": 0.21,
        "dataset_size": 51,
        "timestamp": timestamp,
    }
    registry.publish(staged, {"model": "vit", "version": version, **entry})


def test_nothing_published(config: Config) -> None:
    assert push_latest_model(config) is None
    assert list_available_models(config) == []
    assert get_model_path(config, "vit", "v1") is None


def test_the_latest_model_in_the_guides_form(config: Config) -> None:
    publish(config, "2025-10-28T00:59:08Z")
    publish(config, "2025-10-29T00:59:08Z")
    assert push_latest_model(config) == {
        "model_version": "v2",
        "model_name": "vit",
        "timestamp": "2025-10-29T00:59:08Z",
        "metrics": {"val_accuracy": 0.89, "val_auc": 0.87, "val_loss": 0.21, "dataset_size": 51},
        "download_url": "models/vit/v2/weights.pt",
    }
    assert [model["version"] for model in list_available_models(config)] == ["v1", "v2"]


def test_after_a_roll_back_the_latest_model_is_the_older_one(config: Config) -> None:
    publish(config, "2025-10-29T00:59:08Z")
    publish(config, "2025-10-29T00:59:08Z")
    Registry(config.storage.models_path).rollback()
    latest = push_latest_model(config)
    assert latest is not None
    assert latest["model_version"] == "v1"


def test_model_path_is_the_weights_file(config: Config) -> None:
    publish(config, "2025-10-29T00:59:08Z")
    path = get_model_path(config, "vit", "v1")
    assert path == config.storage.models_path / "vit" / "v1" / "weights.pt"
    assert path is not None
    assert path.read_bytes() == b"weights of v1"
    assert get_model_path(config, "vit", "../v1") is None
