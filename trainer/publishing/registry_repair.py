"""A damaged registry.json, made again from the versions' folders: each holds its card and the files that it names."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.publishing.registry import LOCK_FILE, REGISTRY_FILE
from trainer.publishing.registry_files import (
    CARD_FILE,
    SAFE_NAME,
    VERSION,
    WEIGHTS_FILE,
    Entry,
    FileFacts,
    read_entries,
)
from utils.clock import to_iso
from utils.errors import OperatorError
from utils.files import sha256_of_file, write_json_atomically
from utils.logs import get_logger

log = get_logger(__name__)

UNSEEN = ("unseen_auc", "unseen_false_alarms", "unseen_found")
FROM_VALIDATION = {
    **{"val_acc": "accuracy", "val_auc": "auc", "val_loss": "nll"},
    **{"precision": "precision", "recall": "recall", "f1_score": "f1"},
}


def repair_registry(models: Path) -> str:
    """What was done, in words; empty when registry.json is sound, or is not there.

    Raises OSError when it, or a version, cannot be read: that is no damage.
    """
    file = models / REGISTRY_FILE
    if not file.exists():
        return ""
    file.read_bytes()
    with _locked(models):
        try:
            read_entries(file)
        except OperatorError as error:
            reason = str(error)
        else:
            return ""
        entries = sorted(_found(models), key=lambda entry: (entry["timestamp"], entry["model"], entry["version"]))
        aside = file.with_name(f"{file.name}.set-aside")
        file.replace(aside)
        write_json_atomically(file, entries)
    log.error("registry_rebuilt", reason=reason, versions=len(entries), kept_as=str(aside))
    return f"{file.name} was damaged: kept as {aside.name}, and made again from the folders of {len(entries)} versions"


def _found(models: Path) -> Iterator[Entry]:
    for weights in models.glob(f"*/*/{WEIGHTS_FILE}"):
        folder = weights.parent
        model, version = folder.parent.name, folder.name
        if not (SAFE_NAME.fullmatch(model) and VERSION.fullmatch(version)):
            continue
        files: dict[str, FileFacts] = {
            path.name: {"sha256": sha256_of_file(path), "size_bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.is_symlink() and SAFE_NAME.fullmatch(path.name)
        }
        card = _read_card(folder / CARD_FILE)
        changed = [name for name, known in card.get("files", {}).items() if files.get(name) != known]
        if changed:
            log.error("version_not_restored", version=f"{model}/{version}", reason=f"{', '.join(changed)} has changed")
            continue
        moment = to_iso(datetime.fromtimestamp(weights.stat().st_mtime, UTC))
        yield (
            {"model": model, "version": version, "timestamp": moment}
            | _facts(card)
            | files[WEIGHTS_FILE]
            | {"files": files}
        )


def _facts(card: dict[str, Any]) -> Entry:
    """What the card says of an entry's fields (see `make_entry`); what it does not say is null."""
    data, evaluation = card.get("data", {}), card.get("evaluation", {})
    parts, validation, test = data.get("parts", {}), evaluation.get("validation", {}), evaluation.get("test", {})
    sizes = {f"{name}_size": parts.get(part, {}).get("n") for name, part in _PARTS.items()}
    test_auc = test.get("auc", {})
    created = card.get("software", {}).get("created")
    return {
        **({"timestamp": created} if created else {}),
        "dataset_size": data.get("samples"),
        **sizes,
        "epochs": data.get("training", {}).get("epochs"),
        **{field: validation.get(metric, {}).get("value") for field, metric in FROM_VALIDATION.items()},
        "test_auc": test_auc.get("value"),
        "test_auc_interval": [test_auc.get("low"), test_auc.get("high")],
        **{name: _headline(evaluation.get("unseen", {}).get(name)) for name in UNSEEN},
        "notes": "; ".join(["registry entry made again from the card", *data.get("training", {}).get("notes", [])]),
        "data_fingerprint": data.get("fingerprint"),
        "gate": {key: value for key, value in card.get("gate", {}).items() if key != "published_as"},
    }


_PARTS = {"train": "train", "val": "validation", "calibration": "calibration", "test": "test"}


def _headline(figure: Any) -> Any:
    if not isinstance(figure, dict):
        return None
    return {key: figure[key] for key in ("value", "low", "high", "worst", "why") if key in figure}


def _read_card(file: Path) -> dict[str, Any]:
    """Empty for a version in the guide's bare form, or with a card that cannot be read."""
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


@contextmanager
def _locked(models: Path) -> Iterator[None]:
    descriptor = os.open(models / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
