"""A program for tests: the training of a job, without judging what came of it. Writes FOLDER/weights-RANK.pt.

python -P tests/trainer/train_only.py FOLDER [--elsewhere]

--elsewhere: all ranks but the first behave as on another machine, which has neither the job nor the pictures.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trainer.interrupts import Interrupts, TrainingInterrupted
from trainer.quick_import import quick_import
from utils.job_protocol import EXIT_INTERRUPTED

with quick_import():
    import torch

    from trainer.pipeline import start_job


def main() -> int:
    folder = Path(sys.argv[1])
    interrupts = Interrupts()
    try:
        is_elsewhere = "--elsewhere" in sys.argv and os.environ.get("RANK", "0") != "0"
        if is_elsewhere:
            os.environ["LOCAL_RANK"] = "0"
        with start_job(None if is_elsewhere else folder, None, interrupts) as started:
            candidate, _, _ = started.train()
    except TrainingInterrupted:
        return EXIT_INTERRUPTED
    state = candidate.model.state_dict()
    torch.save({"state": state, "history": candidate.history}, folder / f"weights-{os.environ.get('RANK', '0')}.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
