"""What a job process (scrape, training) and the daemon say to each other.

The daemon starts `python -P -m scrapers --job FOLDER` or `python -P -m trainer --job FOLDER`; FOLDER holds job.json.
The job writes one JSON object a line to standard output; the last one says how it ended. Log lines go to stderr.
SIGTERM asks it to save its state and leave with EXIT_INTERRUPTED; a later start of the same folder goes on from there.

    {"event": "progress", "phase": "train", "done": 4, "total": 10, "message": "epoch 4/10", "metrics": {"loss": 0.41}}
    {"event": "outcome", "result": "succeeded", "summary": "published v3", "details": {"version": "v3"}}
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from utils.files import write_json_atomically

EXIT_FINISHED = 0  # an outcome line was written: succeeded, rejected or failed
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: state saved, start the same folder again to go on
REPORTED_FILE = "reported.json"  # of a training: sha256 of a picture -> the verdicts with which it was reported
JOB_FILE = "job.json"
SPLIT_LEDGER_FILE = "split.sqlite"  # in the state folder: the trainer writes it, the daemon may look
OPINIONS_FILE = "opinions.sqlite"  # in the state folder, likewise: what the last training says of each picture
EMBEDDINGS_FOLDER = "embeddings"  # in the state folder, likewise: what the next training need not compute again
UNLABELLED_FILE = "unlabelled.jsonl"  # in FOLDER: pictures for which a training says what it thinks
SCRATCH_FOLDER = "scratch"  # in FOLDER: what a job needs only to go on; the daemon deletes it when the run is over

Result = Literal["succeeded", "rejected", "failed"]

_writing = threading.Lock()


def emit(event: str, **fields: Any) -> None:
    """Write one event line to standard output and flush it; a reader that has gone is not an error."""
    line = json.dumps({"event": event, **fields}, ensure_ascii=True, allow_nan=False)
    with _writing:
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            return


def emit_progress(
    phase: str, done: int, total: int | None, message: str, metrics: dict[str, float] | None = None, **fields: Any
) -> None:
    """`done` of `total` units of `phase` (total None: unknown); `message` is for people."""
    emit("progress", phase=phase, done=done, total=total, message=message, metrics=metrics or {}, **fields)


def emit_outcome(result: Result, summary: str, details: dict[str, Any] | None = None) -> None:
    """The last line of a job: `rejected` is a job that worked and whose result is not good enough."""
    emit("outcome", result=result, summary=summary, details=details or {})


def write_job(folder: Path, job: dict[str, Any]) -> None:
    """Store what the job needs; 0600, since it holds the resolved configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomically(folder / JOB_FILE, job, mode=0o600)


def read_job(folder: Path) -> dict[str, Any]:
    job: dict[str, Any] = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    return job
