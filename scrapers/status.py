"""Which sources can be collected from now, and why the others cannot. No network, no httpx: the daemon asks this."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from scrapers.store.schema import open_read_only
from utils.clock import to_iso
from utils.config.sources import Source
from utils.config_loader import Config

SourceStatus = Literal["finished", "parked", "blocked", "no_key", "disabled"]

# source -> (field of config.secrets, environment variable, where to get it); None: needs no key
KEYS: dict[str, tuple[str, str, str] | None] = {
    "unsplash": ("unsplash_access_key", "UNSPLASH_ACCESS_KEY", "https://unsplash.com/developers"),
    "pexels": ("pexels_api_key", "PEXELS_API_KEY", "https://www.pexels.com/api/"),
    "civitai": ("civitai_api_key", "CIVITAI_API_KEY", "https://civitai.com/user/account"),
    "openverse": None,
}


@dataclass(frozen=True, slots=True)
class SourceState:
    """`usable`: the next run will ask it. `reason` says why not, or what came of the last run. Times are ISO 8601."""

    name: str
    enabled: bool
    usable: bool
    reason: str
    parked_until: str | None = None
    last_run: str | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a source cannot run now."""

    state: SourceStatus
    reason: str
    until: datetime | None = None


def settings_of(config: Config, name: str) -> Source:
    settings: Source = getattr(config.sources, name)
    return settings


def key_of(config: Config, name: str) -> str | None:
    wanted = KEYS[name]
    secret = getattr(config.secrets, wanted[0]) if wanted else None
    return secret.get_secret_value() if secret is not None else None


def find_obstacle(config: Config, name: str, parked: tuple[datetime, str] | None, now: datetime) -> Obstacle | None:
    """What keeps a source from running, the first thing to mend first; None: it can run."""
    settings, wanted = settings_of(config, name), KEYS[name]
    if not settings.enabled:
        return Obstacle("disabled", f"sources.{name}.enabled is false")
    if wanted and key_of(config, name) is None:
        return Obstacle("no_key", f"needs {wanted[1]} in the environment; keys are made at {wanted[2]}")
    if not settings.contact and not settings.on_loopback:
        return Obstacle("blocked", f"needs sources.{name}.contact: a mail address or URL, sent in the User-Agent")
    if parked and parked[0] > now:
        return Obstacle("parked", f"{parked[1]}; rests until {to_iso(parked[0])}", parked[0])
    return None


def source_states(config: Config, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[SourceState]:
    """Every source, in the order of the documentation."""
    rows = _read_rows(config)
    states = []
    for name in KEYS:
        row = rows.get(name)
        parked = read_parked(row) if row is not None else None
        obstacle = find_obstacle(config, name, parked, now())
        last = row["last_run"] if row is not None else None
        states.append(
            SourceState(
                name=name,
                enabled=settings_of(config, name).enabled,
                usable=obstacle is None,
                reason=obstacle.reason if obstacle else (row["message"] if row is not None else ""),
                parked_until=to_iso(obstacle.until) if obstacle and obstacle.until else None,
                last_run=to_iso(datetime.fromtimestamp(last, UTC)) if last is not None else None,
            )
        )
    return states


def read_parked(row: sqlite3.Row) -> tuple[datetime, str] | None:
    if row["parked_until"] is None:
        return None
    return datetime.fromtimestamp(row["parked_until"], UTC), row["reason"]


def _read_rows(config: Config) -> dict[str, sqlite3.Row]:
    try:
        connection = open_read_only(config.storage.state_path)
        if connection is None:
            return {}
        try:
            return {row["source"]: row for row in connection.execute("SELECT * FROM sources")}
        finally:
            connection.close()
    except sqlite3.Error:  # being made by the first run, or damaged: the run itself will say so
        return {}
