"""Which sources can be collected from now, and why the others cannot. No network, no httpx: the daemon asks this."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scrapers.http.retry import LONGEST_PARK_SECONDS
from scrapers.outcomes.outcome import SourceStatus
from scrapers.store.schema import SCHEMA_VERSION, open_read_only
from utils.clock import to_iso
from utils.config.sources import DatasetSource, Source
from utils.config_loader import Config

EMPTY_RUNS_UNTIL_DEGRADED = 3  # runs in a row in which a source had something to offer and nothing was stored
CONTACT_EXAMPLE = "you@example.org"

# source -> (field of config.secrets, environment variable, where to get it); None: needs no key
KEYS: dict[str, tuple[str, str, str] | None] = {
    "unsplash": ("unsplash_access_key", "UNSPLASH_ACCESS_KEY", "https://unsplash.com/developers"),
    "pexels": ("pexels_api_key", "PEXELS_API_KEY", "https://www.pexels.com/api/"),
    "civitai": ("civitai_api_key", "CIVITAI_API_KEY", "https://civitai.com/user/account"),
    "openverse": None,
    "wikimedia": None,
    "wikimedia_ai": None,
    "hf": None,
    "folder": None,
}


@dataclass(frozen=True, slots=True)
class SourceState:
    """`usable`: the next run will ask it. `reason` says why not, or what came of the last run. Times are ISO 8601.

    `outcome` is what came of the last run's candidates (`SourceOutcome.as_details`); `empty_runs` how many runs in a
    row were offered candidates and stored none; `problem` what a person should do something about, else empty.
    """

    name: str
    enabled: bool
    usable: bool
    reason: str
    parked_until: str | None = None
    last_run: str | None = None
    empty_runs: int = 0
    problem: str = ""
    outcome: Mapping[str, Any] | None = None


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
    """What keeps a source from running, all of it at once; None: it can run."""
    lacks = list(_lacks(config, name))
    if lacks:
        return Obstacle(lacks[0][0], "; ".join(text for _, text in lacks))
    # a rest that is longer than any is of before the clock was set back
    if parked and now < parked[0] <= now + timedelta(seconds=LONGEST_PARK_SECONDS):
        return Obstacle("parked", f"{parked[1]}; rests until {to_iso(parked[0])}", parked[0])
    return None


def _lacks(config: Config, name: str) -> Iterator[tuple[SourceStatus, str]]:
    """What an operator has to set before a source can run."""
    found = getattr(config.sources, name)
    if isinstance(found, DatasetSource):
        yield from _dataset_lacks(found, name)
        return
    settings, wanted = settings_of(config, name), KEYS[name]
    if not settings.enabled:
        yield "disabled", f"sources.{name}.enabled is false"
    if wanted and key_of(config, name) is None:
        yield "no_key", f"needs {wanted[1]} in the environment; keys are made at {wanted[2]}"
    if not settings.contact and not settings.on_loopback:
        yield "blocked", f"needs sources.{name}.contact: a mail address or URL, sent in the User-Agent"


def _dataset_lacks(settings: DatasetSource, name: str) -> Iterator[tuple[SourceStatus, str]]:
    if not settings.enabled:
        yield "disabled", f"sources.{name}.enabled is false"
    if not settings.places:
        yield "blocked", f"needs sources.{name}.{'datasets' if name == 'hf' else 'paths'}: what to take in"


def how_to_start(config: Config) -> str:
    """For whoever has keys and no settings: what to type, once."""
    ready = [name for name, wanted in KEYS.items() if wanted and key_of(config, name) is not None]
    waiting = [name for name in ready if any(_lacks(config, name))]
    if not waiting:
        return ""
    typed = " ".join(
        f"EXPOSR_SOURCES__{name.upper()}__ENABLED=true EXPOSR_SOURCES__{name.upper()}__CONTACT={CONTACT_EXAMPLE}"
        for name in waiting
    )
    return (
        f"the keys of {', '.join(waiting)} are here; having read the sources' terms (docs/sources.md), type:"
        f' export {typed} (or write enabled = true and contact = "{CONTACT_EXAMPLE}" under [sources.{waiting[0]}]'
        " in config.toml)"
    )


def source_states(config: Config, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[SourceState]:
    """Every source, in the order of the documentation."""
    rows = _read_rows(config)
    states = []
    for name in KEYS:
        row = rows.get(name)
        parked = read_parked(row) if row is not None else None
        obstacle = find_obstacle(config, name, parked, now())
        last = row["last_run"] if row is not None else None
        enabled = bool(getattr(config.sources, name).enabled)
        states.append(
            SourceState(
                name=name,
                enabled=enabled,
                usable=obstacle is None,
                reason=obstacle.reason if obstacle else (row["message"] if row is not None else ""),
                parked_until=to_iso(obstacle.until) if obstacle and obstacle.until else None,
                last_run=to_iso(datetime.fromtimestamp(last, UTC)) if last is not None else None,
                empty_runs=row["empty_runs"] if row is not None else 0,
                problem=_find_problem(row) if row is not None and enabled else "",
                outcome=json.loads(row["outcome"]) if row is not None and row["outcome"] else None,
            )
        )
    return states


def _find_problem(row: sqlite3.Row) -> str:
    if row["last_state"] == "blocked":
        return f"{row['source']}: {row['message']}"
    if row["empty_runs"] >= EMPTY_RUNS_UNTIL_DEGRADED:
        return f"{row['source']} has stored nothing in {row['empty_runs']} runs: {row['message']}"
    return ""


def read_parked(row: sqlite3.Row) -> tuple[datetime, str] | None:
    if row["parked_until"] is None:
        return None
    return datetime.fromtimestamp(row["parked_until"], UTC), row["reason"]


def collected_mix(config: Config) -> dict[str, dict[str, int]]:
    """Stored pictures by label and by generator (generated ones) or source (photographs), the most frequent first."""
    rows = _query(
        config,
        "SELECT label, CASE label WHEN 'ai_generated' THEN coalesce(generator, 'unknown') ELSE source END AS name,"
        " count(*) AS n FROM items WHERE state = 'stored' GROUP BY label, name ORDER BY n DESC, name",
    )
    mix: dict[str, dict[str, int]] = {}
    for row in rows:
        mix.setdefault(str(row["label"]), {})[str(row["name"])] = int(row["n"])
    return mix


def candidate_totals(config: Config) -> dict[tuple[str, str, str], int]:
    """(source, outcome, reason) -> candidates of all runs."""
    rows = _query(config, "SELECT source, outcome, reason, count FROM totals")
    return {(row["source"], row["outcome"], row["reason"]): int(row["count"]) for row in rows}


def _read_rows(config: Config) -> dict[str, sqlite3.Row]:
    return {row["source"]: row for row in _query(config, "SELECT * FROM sources")}


def _query(config: Config, sql: str) -> list[sqlite3.Row]:
    """Rows of scrape.sqlite; none where there is nothing yet, or an older version's, which the next run mends."""
    try:
        connection = open_read_only(config.storage.state_path)
        if connection is None:
            return []
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                return []
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:  # being made by the first run, or damaged: the run itself will say so
        return []
