"""A process that knows nothing of the training, in which a version is loaded as whoever downloads it will load it.

    with FreshProcess() as fresh:      # starts importing at once, beside whatever is done until then
        fresh.check_loads(folder)

The other end is `python -P -m trainer.publishing.fresh_process`: it reads the folder from standard input, writes what
is wrong to standard output, one problem a line, and exits with 1 if anything is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

from trainer.quick_import import quick_import
from utils.errors import StopRunError

LOAD_CHECK_SECONDS = 600  # importing torch on a busy small machine takes its time


class FreshProcess:
    """Answers once; ends with the block, or by itself when the training dies, since its input ends then."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", __name__]
        pipe = subprocess.PIPE
        # in a session of its own: who asks the training's group to stop must not make good files look bad
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def check_loads(self, folder: Path) -> None:
        """Raises StopRunError when the version in `folder` does not load or answers otherwise than it should."""
        try:
            problems, errors = self._process.communicate(str(folder.resolve()), timeout=LOAD_CHECK_SECONDS)
        except subprocess.TimeoutExpired as error:
            seconds = LOAD_CHECK_SECONDS
            raise StopRunError(f"{folder.name}: loading it took more than {seconds} s; not published") from error
        if self._process.returncode != 0:
            said = (problems.strip() or errors.strip()).splitlines()
            raise StopRunError(f"{folder.name}: the files do not load, not published: {'; '.join(said[-5:])}")


def main() -> int:
    with quick_import():
        from trainer.publishing.load_check import problems_of

    folder = sys.stdin.read()
    if not folder:
        return 1  # the training ended without one
    problems = problems_of(Path(folder))
    sys.stdout.writelines(problem + "\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
