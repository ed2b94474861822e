"""What came of a source's candidates, in words for a terminal. The form of an outcome: docs/api.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN_GENERATORS = 8


def render_source(name: str, outcome: Mapping[str, Any]) -> str:
    """One source's part of a run, with what a person can do where most of it was left out."""
    told = f"{name}: {render_outcome(outcome)}"
    if outcome["message"] or outcome["state"] != "finished":
        told += f"; {outcome['message'] or outcome['state']}"
    lines = [told]
    if outcome["empty"]:
        lines += [
            f"    {code}: {reason['message']}" + (f"; to do: {reason['remedy']}" if reason["remedy"] else "")
            for code, reason in outcome["reasons"].items()
        ]
    return "\n".join(lines + [f"    ALERT {alert['message']}" for alert in outcome["alerts"]])


def render_outcome(outcome: Mapping[str, Any]) -> str:
    """What came of a source's candidates in one run: `12 stored, 3 known, 20 refused (20 host_not_allowed)`."""
    told = [f"{outcome['stored']} stored"]
    told += [f"{outcome[key]} {key}" for key in ("known", "duplicate", "waiting") if outcome.get(key)]
    for state in ("filtered", "refused", "failed"):
        if reasons := outcome.get(state):
            shown = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items(), key=lambda pair: -pair[1]))
            told.append(f"{sum(reasons.values())} {state} ({shown})")
    return ", ".join(told)


def render_mix(names: Mapping[str, int]) -> str:
    total = sum(names.values())
    shown = [f"{name} {count} ({count / total:.0%})" for name, count in list(names.items())[:SHOWN_GENERATORS]]
    return ", ".join(shown) + (", …" if len(names) > SHOWN_GENERATORS else "")
