"""What of the service's life becomes a notice: one method for each thing that people want to hear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from daemon.monitoring.disk import DiskState
from daemon.notify.alarms import Alarms
from daemon.notify.notices import Notice, NoticeKind
from daemon.notify.webhook import Webhook
from daemon.state.store import Run, Store
from scrapers.status import SourceState
from utils.clock import Clock, to_iso
from utils.config_loader import Config

SOURCE = "source:"


class Sender(Protocol):
    """Takes notices without waiting (`Webhook` fits)."""

    def send(self, notice: Notice) -> None: ...
    def stop(self) -> None: ...


class Reporter:
    """Turns events into notices. Never raises and never waits for the network."""

    def __init__(self, config: Callable[[], Config], store: Store, clock: Clock, sender: Sender | None = None) -> None:
        self._clock = clock
        self._alarms = Alarms(store, clock)
        self._sender = sender or Webhook(lambda: config().notify, lambda: _secrets_of(config()))

    def stop(self) -> None:
        self._sender.stop()

    def model_changed(self, latest: Mapping[str, Any], entry: Mapping[str, Any] | None) -> None:
        """`entry` is the registry's of the version that is in service now."""
        name = f"{latest['model_name']}/{latest['model_version']}"
        is_new = entry is not None and entry.get("serial") == latest["serial"]
        accuracy = latest["metrics"].get("val_accuracy")
        worth = "" if accuracy is None else f", accuracy in validation {accuracy:.1%}"
        if is_new:
            self._tell("published", f"{name} is published and in service", f"Serial {latest['serial']}{worth}.", latest)
        else:
            text = f"Promoted or rolled back, serial {latest['serial']}{worth}."
            self._tell("moved", f"{name} is in service", text, latest)

    def training_ended(self, run: Run, result: str, summary: str) -> None:
        if result == "rejected":
            self._tell("rejected", "A trained version was not published", summary, {"run_id": run.id})
        elif result == "failed":
            self._tell("failed", "A training failed", summary, {"run_id": run.id})

    def look_at_sources(self, states: Sequence[SourceState]) -> None:
        enabled = [state for state in states if state.enabled]
        for state in enabled:
            needs_someone = state.problem or ("" if state.usable or state.parked_until else state.reason)
            self._alarms.update(
                f"{SOURCE}{state.name}",
                bool(needs_someone),
                lambda state=state, why=needs_someone: self._tell(  # type: ignore[misc]
                    "source_failing", f"Nothing comes from {state.name}", why, {"source": state.name}
                ),
            )
        self._alarms.forget_others(SOURCE, {f"{SOURCE}{state.name}" for state in enabled})

    def look_at_disk(self, disk: DiskState) -> None:
        title = "Collecting and training have stopped for lack of room"
        self._alarms.update("disk", not disk.ok, lambda: self._tell("disk_full", title, disk.reason, {}))

    def look_at_drift(self, is_risen: bool, reason: str, details: Mapping[str, Any]) -> None:
        title = "Exposr-Core meets pictures that the model cannot judge"
        self._alarms.update("drift", is_risen, lambda: self._tell("drift", title, reason, details))

    def _tell(self, kind: NoticeKind, title: str, message: str, details: Mapping[str, Any]) -> None:
        self._sender.send(Notice(kind, title, message, to_iso(self._clock.now()), dict(details)))


def _secrets_of(config: Config) -> Iterable[str]:
    """Whatever must not leave in a notice: keys, and the webhook's own address."""
    known = [getattr(config.secrets, name) for name in type(config.secrets).model_fields] + [config.notify.url]
    return [secret.get_secret_value() for secret in known if secret is not None]
