"""`python -P -m trainer --job FOLDER`: one training, talking as utils/job_protocol.py says.

`torchrun … -m trainer --join --data FOLDER` on another machine lends its devices to a training (docs/training.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from trainer.interrupts import Interrupts, TrainingInterrupted
from trainer.launch import is_rank, run_ranks, torchrun_command
from utils.config_loader import config_from_job
from utils.errors import ExposrError
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED, emit_outcome, read_job
from utils.logs import configure_logging, get_logger

log = get_logger("trainer")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="trainer", description="Run the training whose folder holds job.json.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, metavar="FOLDER", help="the folder that holds job.json")
    what.add_argument("--join", action="store_true", help="help another machine's training; under torchrun only")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with --join: where the images lie here")
    given = parser.parse_args(arguments)
    if given.join and not is_rank():
        parser.error("--join is for processes that torchrun starts")
    configure_logging()
    # read when torch is imported: OpenMP threads that spin while they wait for each other made a step 19 times slower
    # on two cores shared with other work (31 s against 1.65 s)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    is_main = os.environ.get("RANK", "0") == "0"
    try:
        if given.job and not is_rank():
            command = torchrun_command(config_from_job(read_job(given.job)["config"]).training, given.job)
            if command:
                return run_ranks(command)
        interrupts = Interrupts()
        from trainer.pipeline import run_job  # torch takes seconds to import

        outcome = run_job(given.job, given.data, interrupts)
    except TrainingInterrupted:
        log.info("training_interrupted", folder=str(given.job))
        return EXIT_INTERRUPTED
    except ExposrError as error:
        if is_main:
            emit_outcome("failed", str(error), {"reason": type(error).__name__})
        log.error("training_failed", error=str(error))
        # another rank's failure must end the first one too: torchrun sees to that when the exit code says so
        return EXIT_FINISHED if is_main else 1
    if outcome is not None:
        emit_outcome(outcome.result, outcome.summary, outcome.details)
    return EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main())
