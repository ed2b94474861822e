"""A damaged registry.json, made again from the versions' folders: each holds its card and the files that it names.

A damaged aliases.json is made again from its copy.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.publishing.aliases import ALIASES_FILE, read_aliases, repair_aliases
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
from utils.files import set_aside_name, sha256_of_file, write_json_atomically
from utils.logs import get_logger

log = get_logger(__name__)

UNSEEN = ("unseen_auc", "unseen_false_alarms", "unseen_found")
FROM_VALIDATION = {
    **{"val_acc": "accuracy", "val_auc": "auc", "val_loss": "nll"},
    **{"precision": "precision", "recall": "recall", "f1_score": "f1"},
}


def repair_registry(models: Path) -> str:
    """What was done, in words; empty when registry.json and aliases.json are sound, or are not there.

    Raises OSError when it, or a version, cannot be read: that is no damage.
    """
    if not (models / REGISTRY_FILE).exists():
        return ""
    (models / REGISTRY_FILE).read_bytes()
    with _locked(models):
        done = [_repair_entries(models), _repair_aliases(models)]
    return "; ".join(words for words in done if words)


def _repair_entries(models: Path) -> str:
    file = models / REGISTRY_FILE
    try:
        read_entries(file)
        return ""
    except OperatorError as error:
        reason = str(error)
    entries = sorted(_found(models), key=lambda entry: (entry["timestamp"], entry["model"], entry["version"]))
    aside = set_aside_name(file)
    file.replace(aside)
    write_json_atomically(file, entries)
    log.error("registry_rebuilt", reason=reason, versions=len(entries), kept_as=str(aside))
    return f"{file.name} was made again from the folders of {len(entries)} versions"


def _repair_aliases(models: Path) -> str:
    entries = read_entries(models / REGISTRY_FILE)
    try:
        read_aliases(models, entries)
        return ""
    except OperatorError as error:
        reason = str(error)
    aside = set_aside_name(models / ALIASES_FILE)
    if not repair_aliases(models, entries, aside):
        return ""
    log.error("aliases_rebuilt", reason=reason, kept_as=str(aside))
    return f"{ALIASES_FILE} was made again from its copy"


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
