"""The published versions as the API serves them: registry, answer to a poll, signed pointer, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from daemon.serving.keys import KEYS_FOLDER
from daemon.serving.signing import load_signer
from exposr_api.protocols import NOT_FOUND, STARTED, Decision
from trainer.model_sync import describe_model
from trainer.publishing.registry import PublishedFile, Registry
from trainer.publishing.registry_files import CARD_FILE, WEIGHTS_FILE, Entry, named_files
from trainer.publishing.registry_repair import repair_registry
from utils.clock import Clock
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.logs import get_logger

log = get_logger(__name__)

RENEW_AT = 0.5  # the pointer is signed anew after this share of its validity


@dataclass(frozen=True, slots=True)
class _Current:
    """The registry as it was read last, and what follows from it."""

    serial: int
    entries: tuple[Entry, ...]
    champion: Entry | None
    latest: Mapping[str, Any] | None
    pointer: bytes | None
    renew_after: datetime


class PublishedModels:
    """Implements `exposr_api.protocols.ModelStore`; used from any thread.

    `on_change` hears of each change of what is in service, in order, whoever made it: a training, a call of the API, a
    command. It is called with the new latest model, under a lock, and must not block.
    """

    def __init__(
        self, config: Config, clock: Clock, on_change: Callable[[Mapping[str, Any]], None] = lambda latest: None
    ) -> None:
        self._registry = Registry(config.storage.models_path, clock)
        self._on_change = on_change
        self._signer = load_signer(config.storage.state_path / KEYS_FOLDER, config.storage.models_path)
        self._clock = clock
        self._valid_for = timedelta(hours=config.api.pointer_hours)
        self._moving = threading.Lock()  # may be held for long: the registry has other writers
        self._lock = threading.Lock()
        self._broken = ""
        self._current = _Current(0, (), None, None, None, clock.now())
        try:
            self._current = self._read_or_repair()
        except OperatorError as error:  # the rest of the service does its work without
            self._broken = str(error)
            log.error("registry_unreadable", reason=self._broken)

    def refresh(self) -> None:
        """Take over what was published or moved since: the one place where what is in service changes for everybody who
        asks or listens."""
        with self._lock:
            before = self._current
            try:
                is_fresh = (self._registry.serial(), tuple(self._registry.entries())) != (before.serial, before.entries)
                if is_fresh or self._clock.now() >= before.renew_after:
                    self._current = self._read()
                self._broken = ""
            except OperatorError as error:
                self._repair_after(error)
            latest = self._current.latest
            if latest is not None and latest != before.latest:
                self._on_change(latest)

    def _repair_after(self, error: OperatorError) -> None:
        """What cannot be read was perhaps damaged; where it cannot be repaired, what was read before is served on."""
        try:
            self._current = self._read_or_repair()
            self._broken = ""
        except OperatorError:
            if str(error) != self._broken:
                self._broken = str(error)
                log.error("registry_unreadable", reason=self._broken)

    def _read_or_repair(self) -> _Current:
        try:
            return self._read()
        except OperatorError:
            try:
                is_repaired = bool(repair_registry(self._registry.models_path))
            except OSError as error:
                log.error("registry_not_repaired", reason=str(error))
                is_repaired = False
            if not is_repaired:
                raise
            return self._read()

    @property
    def problem(self) -> str:
        """Why the registry cannot be read now, in words; what was read before is served on."""
        return self._broken

    def sweep(self) -> list[str]:
        """Finish or remove what crashed trainings left behind."""
        try:
            done = self._registry.sweep()
        except OperatorError as error:
            log.error("registry_not_swept", reason=str(error))
            done = []
        self.refresh()
        return done

    def entries(self) -> Sequence[Entry]:
        return self._current.entries

    def champion(self) -> Entry | None:
        return self._current.champion

    def latest(self) -> Mapping[str, Any] | None:
        return self._current.latest

    def published_file(self, model: str, version: str, name: str) -> PublishedFile | None:
        return self._registry.published_file(model, version, name)

    def pointer(self) -> bytes | None:
        return self._current.pointer

    def public_key(self) -> bytes:
        return self._signer.public_pem

    def promote(self, model: str, version: str) -> Decision:
        return self._move(lambda: self._registry.promote(model, version), NOT_FOUND)

    def rollback(self, model: str) -> Decision:
        """`model` must be the family in service: a roll-back of another would change what nobody asked about."""
        champion = self.champion()
        if champion is None or champion["model"] != model:
            serving = f"the model in service is of family {champion['model']}" if champion else "nothing is published"
            return Decision(False, NOT_FOUND, f"{model}: {serving}; see GET /models")
        return self._move(self._registry.rollback, "no_previous")

    def _move(self, change: Callable[[], Entry], code: str) -> Decision:
        with self._moving:  # of two moves that come together each is seen and announced
            try:
                entry = change()
            except OperatorError as error:
                return Decision(False, code, str(error))
            except OSError as error:
                log.error("champion_not_moved", reason=str(error))
                return Decision(False, "not_written", f"models/ cannot be written: {error.strerror or error}")
            self.refresh()
            serial = self._current.serial
        log.info("champion_moved", model=entry["model"], version=entry["version"], serial=serial)
        details = {"model": entry["model"], "version": entry["version"], "serial": serial}
        return Decision(True, STARTED, f"{entry['model']}/{entry['version']} is in service", details)

    def _read(self) -> _Current:
        now = self._clock.now()
        current = self._registry.in_service()
        entries, champion, serial = self._registry.entries(), current.entry, current.serial
        renew_after = now + self._valid_for * RENEW_AT
        if champion is None:
            return _Current(serial, tuple(entries), None, None, None, renew_after)
        files = self._facts(champion)
        weights = files.get(WEIGHTS_FILE, {})
        latest = {
            **describe_model(champion, current.since),
            "sha256": weights.get("sha256"),
            "size_bytes": weights.get("size_bytes"),
            "serial": serial,
        }
        if CARD_FILE in files:  # an entry in the guide's bare form has none
            latest["card_url"] = f"models/{champion['model']}/{champion['version']}/{CARD_FILE}"
        pointer = None
        if weights:
            pointer = self._signer.sign(champion["model"], champion["version"], serial, files, now, self._valid_for)
        return _Current(serial, tuple(entries), champion, latest, pointer, renew_after)

    def _facts(self, entry: Entry) -> dict[str, Mapping[str, Any]]:
        """sha256 and size of each file that is there; an entry in the guide's bare form has them read off the files."""
        facts: dict[str, Mapping[str, Any]] = {}
        for name, known in named_files(entry).items():
            if "sha256" in known and "size_bytes" in known:
                facts[name] = dict(known)
            elif file := self._registry.published_file(entry["model"], entry["version"], name):
                facts[name] = {"sha256": file.sha256, "size_bytes": file.size_bytes}
        return facts
