"""Reading server-sent events, as far as the follower needs them: the names, as hints that something is new.

Why not httpx-sse: the client promises to need httpx only, and all that is read here is a name.
"""

from __future__ import annotations

EVENTS_PATH = "/events"
MAX_LINE_BYTES = 64 * 1024


def announces_model(event: str) -> bool:
    """True for the trainer's events about models: there may be a new pointer."""
    return event.startswith("model")


class EventReader:
    """Feed it bytes as they come; it gives the names of the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = "message"
        self._has_data = False

    def feed(self, chunk: bytes) -> list[str]:
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest = b""  # not a line we need; what remains of it cannot look like an event
        return [name for line in lines if (name := self._take(line))]

    def _take(self, line: bytes) -> str | None:
        if line:
            field, _, value = line.partition(b":")
            if field == b"event":
                self._name = value.strip().decode("utf-8", "replace")
            elif field == b"data":
                self._has_data = True
            return None
        name, self._name = self._name, "message"
        complete, self._has_data = self._has_data, False
        return name if complete else None
