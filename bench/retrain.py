"""What a retraining costs after 1 % new pictures, in the frozen mode: at most a tenth of the first run.

    python bench/retrain.py [--pictures 1000] [--work FOLDER]

Both runs are whole jobs: embedding, head, calibration, evaluation, audit, gate, publishing. Compared are CPU seconds
(user and system, of the job and its children), which other work on the machine does not change, and wall seconds.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from jobs import Ended, make_job, run_job
from pictures import small_set

from trainer.data.snapshot import Sample

DEMANDED_SHARE = 0.10
GROWTH = 0.01


def timed(folder: Path, data: Path, work: Path, samples: list[Sample]) -> tuple[Ended, float]:
    settings = {"training": {"mode": "frozen"}, "gate": {"enabled": False}}
    make_job(folder, data, work, samples, settings)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run_job(folder, show=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary = ended.outcome["summary"] if ended.outcome else ended.log[-500:]
    print(f"{len(samples)} pictures: {cpu:.1f} CPU s, {ended.seconds:.1f} s; {summary}", flush=True)
    return ended, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.work) as name:
        work = Path(name)
        data = work / "data"
        samples = small_set(data, given.pictures // 2, side=384)
        new = max(2, round(GROWTH * given.pictures))
        first, first_cpu = timed(work / "job-1", data, work, samples[:-new])
        second, second_cpu = timed(work / "job-2", data, work, samples)
    share = second_cpu / first_cpu
    print(f"retraining: {share:.1%} of the CPU time, {second.seconds / first.seconds:.1%} of the time (<= 10 %)")
    sys.exit(0 if share <= DEMANDED_SHARE else 1)


if __name__ == "__main__":
    main()
