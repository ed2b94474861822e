"""`python -P -m trainer --job FOLDER`: one training, talking as utils/job_protocol.py says.

`python -P -m trainer --join HOST:PORT --nodes N` lends this machine to a training (docs/training.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from trainer.distributed.launch import Launch, is_rank, launch_of, run_ranks
from trainer.interrupts import AllRanksStop, Interrupts, TrainingInterrupted
from trainer.quick_import import quick_import
from utils.config.training import Training
from utils.config_loader import config_from_job
from utils.errors import ExposrError
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED, emit_outcome, read_job
from utils.logs import configure_logging, get_logger

log = get_logger("trainer")


def main(arguments: list[str] | None = None) -> int:
    given = _parse(arguments)
    configure_logging()
    # read when torch is imported: OpenMP threads that spin while they wait for each other made a step 19 times slower
    # on two cores shared with other work (31 s against 1.65 s)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    is_main = given.job is not None and os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        launch = None if is_rank() else _launch(given)
        if launch:
            return run_ranks(launch)
        interrupts = Interrupts()
        with quick_import():
            from trainer.pipeline import run_job
            from trainer.shards.provide import LocalShards

        outcome = run_job(given.job, given.data, interrupts, LocalShards(given.shards, given.cache, given.cache_gb))
    except TrainingInterrupted:
        log.info("training_interrupted", folder=str(given.job))
        return EXIT_INTERRUPTED
    except ExposrError as error:
        log.error("training_failed", error=str(error))
        if not is_main:
            # so that torchrun ends the first rank, too, unless it knows already
            return EXIT_FINISHED if isinstance(error, AllRanksStop) else 1
        emit_outcome("failed", str(error), {"reason": type(error).__name__})
        return EXIT_FINISHED
    if outcome is not None:
        emit_outcome(outcome.result, outcome.summary, outcome.details)
    return EXIT_FINISHED


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainer", description="Run the training whose folder holds job.json.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, metavar="FOLDER", help="the folder that holds job.json")
    what.add_argument("--join", metavar="HOST:PORT", help="help the training whose rendezvous this is")
    parser.add_argument("--nodes", type=int, default=2, help="with --join: the machines of the training")
    parser.add_argument("--devices", type=int, default=None, help="with --join: GPUs to lend; default: all; 0: the CPU")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="with --join: a copy of the images, if there is one"
    )
    parser.add_argument("--shards", metavar="PLACE", help="with --join: where training.shards lies for this machine")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="with --join: where shards are kept")
    parser.add_argument("--cache-gb", type=float, help="with --join: shards kept, at most (GB; default 100)")
    return parser.parse_args(arguments)


def _launch(given: argparse.Namespace) -> Launch | None:
    if given.job:
        settings = config_from_job(read_job(given.job)["config"]).training
        return launch_of(settings, ["--job", str(given.job)])
    settings = Training(launch="torchrun", nodes=given.nodes, rendezvous_endpoint=given.join, devices=given.devices)
    return launch_of(settings, ["--join", given.join, *_of_this_machine(given)], has_job=False)


def _of_this_machine(given: argparse.Namespace) -> list[str]:
    named = {"--data": given.data, "--shards": given.shards, "--cache": given.cache, "--cache-gb": given.cache_gb}
    return [word for option, value in named.items() if value is not None for word in (option, str(value))]


if __name__ == "__main__":
    sys.exit(main())
