"""How one part of the service is doing, in a form that /health, the log and the watchdog share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartHealth:
    """`reason` says in words what is wrong, or what works only in part (polling instead of events); else empty."""

    name: str
    ok: bool
    reason: str = ""
