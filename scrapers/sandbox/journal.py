"""What was asked of the sandbox, so that a test can prove quotas, politeness and that no key went astray."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from utils.clock import Clock

LOG_ENTRIES = 10_000
SECRET_PARAMETERS = {"client_id", "token"}
SOURCES = ("unsplash", "pexels", "openverse", "civitai", "wikimedia")


@dataclass(slots=True)
class Entry:
    """One request. `kind` is api, image or other; `key` is sandbox, anonymous or wrong, never the credential itself."""

    number: int
    at_seconds: float  # since the journal began
    source: str
    kind: str
    method: str
    path: str
    query: str
    host: str
    key: str
    agent: str
    status: int = 0
    fault: str = ""
    ended: bool = False


class Journal:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        self._began = self._clock.monotonic()
        self._number = 0
        self._log: deque[Entry] = deque(maxlen=LOG_ENTRIES)
        self._counters: dict[str, Counter[str]] = {
            name: Counter() for name in ("requests", "keys", "hosts", "agents", "statuses", "faults", "peak_in_flight")
        }
        self._paths: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()

    def begin(self, request: Request, key: str) -> Entry:
        source, kind = classify(request.url.path)
        query = [(name, "…" if name in SECRET_PARAMETERS else value) for name, value in parse_qsl(request.url.query)]
        self._number += 1
        entry = Entry(
            number=self._number,
            at_seconds=round(self._clock.monotonic() - self._began, 4),
            source=source,
            kind=kind,
            method=request.method,
            path=request.url.path,
            query=urlencode(query),
            host=request.headers.get("host", ""),
            key=key,
            agent=request.headers.get("user-agent", ""),
        )
        if kind == "control":
            return entry
        group = f"{source} {kind}"
        self._log.append(entry)
        self._paths[entry.path] += 1
        self._in_flight[group] += 1
        counters = self._counters
        counters["requests"][group] += 1
        counters["keys"][f"{group} {key}"] += 1
        counters["hosts"][entry.host] += 1
        counters["agents"][entry.agent] += 1
        counters["peak_in_flight"][group] = max(counters["peak_in_flight"][group], self._in_flight[group])
        return entry

    def end(self, entry: Entry) -> None:
        """Count the outcome; a second call for the same entry does nothing."""
        if entry.kind == "control" or entry.ended:
            return
        entry.ended = True
        group = f"{entry.source} {entry.kind}"
        self._in_flight[group] -= 1
        self._counters["statuses"][f"{group} {entry.status}"] += 1
        if entry.fault:
            self._counters["faults"][f"{group} {entry.fault}"] += 1

    def entries(self) -> list[Entry]:
        """The latest requests, oldest first."""
        return list(self._log)

    def counters(self, *, with_paths: bool) -> dict[str, Any]:
        counted: dict[str, Any] = {name: dict(counter) for name, counter in self._counters.items()}
        return counted | ({"paths": dict(self._paths)} if with_paths else {})


def classify(path: str) -> tuple[str, str]:
    """(source, kind) of a request path; paths outside the sources are ("", "other") or ("", "control")."""
    parts = path.strip("/").split("/")
    if parts[0] in SOURCES:
        return parts[0], "api"
    if parts[0] == "images" and len(parts) > 1 and parts[1] in SOURCES:
        return parts[1], "image"
    return "", "control" if parts[0] == "control" else "other"
