"""Publishing: stage every file of a version, have a fresh process load it, then let the registry make it visible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from trainer.data.snapshot import Snapshot, write_snapshot
from trainer.data.types import PARTS, Candidate, PartsOfSplit, Report
from trainer.publishing.card import Assessment, Identity, make_card, make_entry
from trainer.publishing.fresh_process import FreshProcess
from trainer.publishing.registry import Registry
from trainer.publishing.registry_files import CARD_FILE, WEIGHTS_FILE, Entry
from trainer.publishing.report import write_report
from utils.config_loader import Config
from utils.errors import StopRunError
from utils.files import sha256_of_file, write_json_atomically
from utils.logs import get_logger

log = get_logger(__name__)

SNAPSHOT_FILE = "snapshot.jsonl"
SPLIT_FILE = "split.jsonl"
REPORT_FILE = "report.html"


def publish(
    registry: Registry,
    model_name: str,
    candidate: Candidate,
    assessment: Assessment,
    snapshot: Snapshot,
    parts: PartsOfSplit,
    split_report: Mapping[str, Any],
    config: Config,
    now: datetime,
    fresh: FreshProcess,
    report: Report,
    run: str = "",
) -> Entry:
    """Make the candidate the champion; `run` is the id under which `Registry.published_by` finds it.

    Raises StopRunError, with nothing visible, when its files do not load.
    """
    identity = Identity(model_name, registry.reserve_version(model_name), now)
    staged = registry.stage(model_name, identity.version)
    entry = make_entry(identity, candidate, assessment, snapshot, parts) | {"run": run}
    card = make_card(identity, candidate, assessment, snapshot, parts, split_report, config, {})
    try:
        report(0, 3, f"writing {model_name}/{identity.version}")
        write_files(staged, candidate, snapshot, parts, entry, card)
        report(1, 3, "loading it in a fresh process")
        fresh.check_loads(staged)
    except BaseException:
        registry.discard(staged)
        raise
    report(2, 3, f"publishing {model_name}/{identity.version}")
    published = registry.publish(staged, entry)  # what fails in here may be finished by the next sweep
    log.info("version_published", model=model_name, version=identity.version, sha256=published["sha256"])
    for name in registry.prune(config.gate.keep_versions):
        log.info("version_removed", name=name, keep_versions=config.gate.keep_versions)
    report(3, 3, f"published {model_name}/{identity.version}")
    return published


def write_files(
    staged: Path,
    candidate: Candidate,
    snapshot: Snapshot,
    parts: PartsOfSplit,
    entry: Entry,
    card: dict[str, Any],
) -> None:
    """All files of the version, the card last, since it names the others."""
    try:
        write_weights(staged / WEIGHTS_FILE, candidate.model)
        write_snapshot(staged / SNAPSHOT_FILE, snapshot.samples)
        write_split(staged / SPLIT_FILE, parts)
        write_report(staged / REPORT_FILE, entry, card)
        write_json_atomically(staged / CARD_FILE, card | {"files": _facts_of(staged)})
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise StopRunError(f"{staged}: cannot be written ({error}); nothing was published") from error


def write_weights(file: Path, model: torch.nn.Module) -> None:
    """A plain state_dict of CPU tensors that torch.load(weights_only=True) reads."""
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, file)


def write_split(file: Path, parts: PartsOfSplit) -> None:
    """Group and part of every sample used, by sha256: with the snapshot, all that a check needs."""
    rows = sorted((member.sample.sha256, member.group, part) for part in PARTS for member in parts[part])
    lines = [json.dumps({"sha256": sha256, "group": group, "part": part}) + "\n" for sha256, group, part in rows]
    file.write_text("".join(lines), encoding="utf-8")


def _facts_of(staged: Path) -> dict[str, dict[str, Any]]:
    return {
        path.name: {"sha256": sha256_of_file(path), "size_bytes": path.stat().st_size}
        for path in sorted(staged.iterdir())
    }
