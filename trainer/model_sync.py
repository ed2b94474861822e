"""What Exposr-Core asks the registry, as the integration guide writes it. Imports neither torch nor the web stack.

from trainer.model_sync import push_latest_model, get_model_path, list_available_models
from utils.config_loader import load_config

info = push_latest_model(load_config())
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.publishing.registry import Registry
from trainer.publishing.registry_files import WEIGHTS_FILE, Entry
from utils.config_loader import Config


def push_latest_model(config: Config) -> dict[str, Any] | None:
    """The model in service: name, version, metrics and where to download it. None when nothing is published."""
    current = _registry(config).in_service()
    return describe_model(current.entry, current.since) if current.entry is not None else None


def describe_model(entry: Entry, since: str | None) -> dict[str, Any]:
    """A registry entry in the guide's form of a model to download; `since` is when it was put in service."""
    return {
        "model_version": entry["version"],
        "model_name": entry["model"],
        "timestamp": since or entry.get("timestamp"),
        "metrics": {
            "val_accuracy": entry.get("val_acc"),
            "val_auc": entry.get("val_auc"),
            "val_loss": entry.get("val_loss"),
            "dataset_size": entry.get("dataset_size"),
        },
        "download_url": f"models/{entry['model']}/{entry['version']}/{WEIGHTS_FILE}",
    }


def get_model_path(config: Config, model_name: str, version: str) -> Path | None:
    """Path of the weights of a published version; None when there is no such version."""
    published = _registry(config).published_file(model_name, version, WEIGHTS_FILE)
    return published.path if published is not None else None


def list_available_models(config: Config) -> list[Entry]:
    """The registry's entries, oldest first."""
    return _registry(config).entries()


def _registry(config: Config) -> Registry:
    return Registry(Path(config["storage"]["models_path"]))
