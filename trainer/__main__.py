"""`python -P -m trainer --job FOLDER`: one training, talking as utils/job_protocol.py says; torchrun starts it too."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from utils.errors import ExposrError
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED, emit_outcome
from utils.logs import configure_logging, get_logger

log = get_logger("trainer")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="trainer", description="Run the training whose folder holds job.json.")
    parser.add_argument("--job", type=Path, required=True, metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).job
    configure_logging()
    from trainer.interrupts import Interrupts, TrainingInterrupted

    try:
        interrupts = Interrupts()
        from trainer.pipeline import run_job  # torch takes seconds to import

        outcome = run_job(folder, interrupts)
    except TrainingInterrupted:
        log.info("training_interrupted", folder=str(folder))
        return EXIT_INTERRUPTED
    except ExposrError as error:
        if os.environ.get("RANK", "0") == "0":
            emit_outcome("failed", str(error), {"reason": type(error).__name__})
        return EXIT_FINISHED
    if outcome is not None:
        emit_outcome(outcome.result, outcome.summary, outcome.details)
    return EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main())
