"""What is kept of a source's runs: the last outcome, how many runs came to nothing, and counts over all runs."""

from __future__ import annotations

import json

from scrapers.outcomes.outcome import SourceOutcome, counts_of
from scrapers.store.item_store import ItemStore


def record_outcome(item_store: ItemStore, outcome: SourceOutcome, rules: int, now: float) -> None:
    """At the end of a source's part of a run. `now` is Unix time; `rules` the revision of the source's own."""
    result, tally, details = outcome.result, outcome.tally, outcome.as_details()
    until = result.until.timestamp() if result.state == "parked" and result.until else None
    message = "; ".join(filter(None, (result.message, outcome.describe_left_out() if tally.is_empty else "")))
    with item_store.transaction() as db:
        row = db.execute("SELECT empty_runs FROM sources WHERE source = ?", (outcome.name,)).fetchone()
        before = int(row["empty_runs"]) if row is not None else 0
        # a run that was offered nothing (no quota) says nothing about what would have come of it
        empty_runs = before + 1 if outcome.came_to_nothing else (0 if tally.offered or tally.pages else before)
        db.execute(
            "INSERT OR REPLACE INTO sources"
            " (source, parked_until, reason, last_run, last_state, message, outcome, empty_runs, rules)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                outcome.name,
                until,
                result.reason if until else "",
                now,
                result.state,
                message,
                json.dumps(details),
                empty_runs,
                rules,
            ),
        )
        for (kind, why), count in counts_of(details).items():
            db.execute(
                "INSERT INTO totals (source, outcome, reason, count) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (outcome.name, kind, why, count),
            )
