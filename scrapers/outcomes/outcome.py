"""What came of a source in one run: of each candidate and of the source itself, for people, the API and the metrics.

Every candidate that a page offered is one of: `stored` now; `known` (stored in an earlier run); `duplicate` (the same
address or bytes as another); `filtered` (a rule about labels or limits); `refused` (a guard, an opt-out, a bad file);
`failed` (not to be had). What an earlier run left out for a reason that still holds is counted again under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from scrapers.outcomes.reasons import explain, remedy_for
from scrapers.store.items import STATES, State
from utils.clock import to_iso

SourceStatus = Literal["finished", "parked", "blocked", "no_key", "disabled"]
USUAL_RESTS = frozenset({"", "quota", "http_429"})  # a source that rests for these is well
LEFT_OUT: tuple[State, ...] = ("filtered", "refused", "failed")
SHOWN_REASONS = 3


@dataclass(slots=True)
class SourceResult:
    """How a source's part of the run ended."""

    state: SourceStatus = "finished"
    message: str = ""
    until: datetime | None = None
    reason: str = ""  # of a rest, without its end
    code: str = ""  # of a rest: quota, or what is wrong with the source


@dataclass(slots=True)
class Tally:
    """Counts of one source in one run, by state and why; also what an interrupted start of the run did."""

    counts: dict[State, Counter[str]] = field(default_factory=lambda: {state: Counter() for state in STATES})
    known: int = 0
    again: int = 0  # of those left out: the ones that an earlier run had left out already
    pages: int = 0
    pages_failed: int = 0
    alerts: list[tuple[str, str]] = field(default_factory=list)  # (code, words): what a person should look at

    def add(self, state: State, why: str, count: int = 1) -> None:
        self.counts[state][why] += count

    def total(self, state: State) -> int:
        return self.counts[state].total()

    @property
    def left_out(self) -> int:
        return sum(self.total(state) for state in LEFT_OUT)

    @property
    def offered(self) -> int:
        """Candidates of which something came."""
        return self.known + sum(self.total(state) for state in STATES)

    @property
    def is_empty(self) -> bool:
        """Nothing was stored although there was something to store: all of it, or most of what is new, was left out,
        or no page could be read. A source of which everything is known is not empty, but up to date."""
        if self.total("stored"):
            return False
        if self.pages_failed and not self.pages:
            return True
        held = self.known + self.total("duplicate")
        return self.left_out > 0 and (held == 0 or self.left_out - self.again > held)

    def flat(self) -> dict[str, int]:
        """`stored`, `duplicate`, and `filtered:<why>` and the like, for progress lines."""
        flat = {"stored": self.total("stored"), "duplicate": self.total("duplicate")}
        for state in LEFT_OUT:
            flat |= {f"{state}:{why}": count for why, count in sorted(self.counts[state].items())}
        return flat

    def main_reasons(self) -> list[tuple[State, str, int]]:
        """(state, code, count) of what was left out, the most frequent first."""
        every = [(state, why, count) for state in LEFT_OUT for why, count in self.counts[state].items()]
        return sorted(every, key=lambda entry: -entry[2])


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """One source's part of a run."""

    name: str
    result: SourceResult
    tally: Tally
    waiting: int = 0

    @property
    def is_good(self) -> bool:
        """The source did what it is for: it stored, or there was nothing to store."""
        if self.tally.total("stored"):
            return True
        return self.result.state == "finished" and not self.tally.is_empty

    @property
    def came_to_nothing(self) -> bool:
        """Nothing was stored of what was offered, or the source could not be asked for other reasons than its quota."""
        if self.result.state == "parked" and self.result.code not in USUAL_RESTS:
            return not self.tally.total("stored") and not self.tally.pages
        return self.tally.is_empty

    def describe(self) -> str:
        """One line for people: what the source gave, and why it gave nothing."""
        told = [f"{self.tally.total('stored')} stored"]
        if left_out := self.describe_left_out():
            told.append(left_out)
        if self.result.message:
            told.append(f"({self.result.message})")
        return f"{self.name}: " + " ".join(told)

    def describe_left_out(self) -> str:
        """What was left out and why, with the remedy of the main reason; empty where nothing was."""
        reasons = self.tally.main_reasons()
        if not reasons:
            return ""
        shown = ", ".join(f"{count} {state}: {explain(why)}" for state, why, count in reasons[:SHOWN_REASONS])
        remedy = remedy_for(reasons[0][1], self.name) if self.tally.is_empty else ""
        more = ", …" if len(reasons) > SHOWN_REASONS else ""
        return f"of {self.tally.offered} offered [{shown}{more}]" + (f"; to do: {remedy}" if remedy else "")

    def as_details(self) -> dict[str, Any]:
        """The form that `GET /runs`, `status` and the state keep; docs/api.md describes it."""
        counts = self.tally.counts
        codes = dict.fromkeys(why for _, why, _ in self.tally.main_reasons())
        return {
            "state": self.result.state,
            "until": to_iso(self.result.until) if self.result.until else None,
            "message": self.result.message,
            "empty": self.tally.is_empty,
            "offered": self.tally.offered,
            "stored": self.tally.total("stored"),
            "known": self.tally.known,
            "duplicate": self.tally.total("duplicate"),
            "waiting": self.waiting,
            "filtered": dict(counts["filtered"]),
            "refused": dict(counts["refused"]),
            "failed": dict(counts["failed"]),
            "reasons": {code: {"message": explain(code), "remedy": remedy_for(code, self.name)} for code in codes},
            "alerts": [{"code": code, "message": message} for code, message in self.tally.alerts],
        }


def counts_of(details: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """(outcome, reason) -> count of `as_details`; the reason is empty where an outcome needs none."""
    plain = {(name, ""): int(details.get(name, 0)) for name in ("stored", "known", "duplicate")}
    left_out = {(state, why): int(n) for state in LEFT_OUT for why, n in dict(details.get(state) or {}).items()}
    return {key: count for key, count in (plain | left_out).items() if count}
