"""The collecting job: `python -P -m scrapers --job FOLDER` (see utils/job_protocol.py).

SIGTERM ends it within a few seconds with exit status 75; everything it knows is in scrape.sqlite, so that a later start
goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from scrapers.harvest import Harvest
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.sources import ALL_SOURCES
from utils.clock import from_iso
from utils.config_loader import config_from_job
from utils.errors import ExposrError
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED, emit_outcome, emit_progress, read_job
from utils.logs import configure_logging, get_logger
from utils.process import die_with_parent

log = get_logger(__name__)


def report_progress(name: str, done: int, total: int, counts: Mapping[str, int], activity: str) -> None:
    left_out = sum(count for key, count in counts.items() if ":" in key)
    told = [f"{done} stored"]
    told += [f"{counts['duplicate']} duplicates"] if counts["duplicate"] else []
    told += [f"{left_out} left out"] if left_out else []
    message = f"{name}: " + ", ".join(told) + (f"; {activity}" if activity else "")
    emit_progress("scrape", done, total, message, source=name, counts=dict(counts))


def summarize(outcomes: list[SourceOutcome]) -> str:
    """One line for people: what each source gave, or why it gave nothing."""
    told = [outcome.describe() for outcome in outcomes if outcome.result.state != "disabled"]
    return "; ".join(told) or "no source is enabled"


def emit_result(outcomes: list[SourceOutcome]) -> None:
    """A run has succeeded when a source stored, or had nothing left to store; not when all that came was left out."""
    details = {
        "stored": sum(outcome.tally.total("stored") for outcome in outcomes),
        "offered": sum(outcome.tally.offered for outcome in outcomes),
        "sources": {outcome.name: outcome.as_details() for outcome in outcomes},
    }
    emit_outcome("succeeded" if any(o.is_good for o in outcomes) else "failed", summarize(outcomes), details)


async def collect(harvest: Harvest) -> int:
    """Run until done or until SIGTERM or SIGINT; the exit status."""
    work = asyncio.create_task(harvest.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        outcomes = await work
    except asyncio.CancelledError:
        log.info("scrape_interrupted", run=harvest.run_id)
        return EXIT_INTERRUPTED
    except ExposrError as error:
        emit_outcome("failed", str(error), {"sources": {}})
        return EXIT_FINISHED
    emit_result(outcomes)
    return EXIT_FINISHED


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scrapers", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="folder that holds job.json")
    folder: Path = parser.parse_args().job
    die_with_parent(with_signal=signal.SIGTERM)
    job = read_job(folder)
    config = config_from_job(job["config"])
    configure_logging(config.logging.level)
    names = job.get("sources")
    unknown = [name for name in names or () if name not in ALL_SOURCES]
    if unknown:
        emit_outcome(
            "failed", f"no such source: {', '.join(unknown)}; known sources: {', '.join(ALL_SOURCES)}", {"sources": {}}
        )
        return EXIT_FINISHED
    harvest = Harvest(
        config,
        job["run_id"],
        names,
        job.get("limit"),
        from_iso(job["since"]) if job.get("since") else None,
        int(job.get("min_size") or 0),
        report_progress,
    )
    return asyncio.run(collect(harvest))


if __name__ == "__main__":
    sys.exit(main())
