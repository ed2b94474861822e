"""Start a program confined, in place of this process: `python confine.py [options] -- PROGRAM [ARG ...]`.

A small program of its own, because what it does must happen between fork and exec, where a process with threads
(the daemon) may not run Python. The program keeps this process's id, session and pipes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

EXIT_NOT_CONFINED = 71  # EX_OSERR: the program was not started


def confine(cgroup: Path | None, oom_score_adj: int, nice: int) -> None:
    """Enter `cgroup`, be the kernel's first choice when memory runs out, and let others have the CPU first."""
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text("0")  # 0 is "whoever writes"
    score = Path("/proc/self/oom_score_adj")
    # raising is anybody's right, lowering is not
    score.write_text(str(max(oom_score_adj, int(score.read_text()))))
    os.nice(nice)


def main() -> int:
    parser = argparse.ArgumentParser(prog="confine.py", description="Start a program confined.")
    parser.add_argument("--cgroup", type=Path, help="control group to enter (a folder under /sys/fs/cgroup)")
    parser.add_argument("--oom-score-adj", type=int, default=0, help="0 to 1000: how gladly the kernel ends it")
    parser.add_argument("--nice", type=int, default=0, help="0 to 19")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    try:
        confine(options.cgroup, options.oom_score_adj, options.nice)
        os.execv(options.program[0], options.program)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{options.program[0]} was not started: {error}\n")
    return EXIT_NOT_CONFINED


if __name__ == "__main__":
    raise SystemExit(main())
