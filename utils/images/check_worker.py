"""A checker process: `python -P -m utils.images.check_worker '{"parent": PID, "memory_mb": N, "limits": {…}}'`.

Reads one JSON object a line, `{"path": "…"}`, and answers each with one: `{"facts": {…}}` or `{"failure": {…}}`.
With the `sha256` that the file is expected to have, it answers `{"unchanged": true}` where that still holds.
Asked for a `thumbnail`, it answers `{"drawn": "…"}`, a WebP picture in base64: it writes no file.
JSON is ASCII with `\\udcXX` for bytes that are no UTF-8, so any file name passes. It ends when its input ends.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, TypeVar

from utils.errors import CutFileError, RetryLaterError, SkipItemError
from utils.images.facts import CheckFailure, CheckLimits, CheckResult, Thumbnail
from utils.process import die_with_parent

T = TypeVar("T")

NICENESS = 5
OOM_SCORE = 500  # of 1000: when memory runs out, the kernel takes this process rather than the daemon


def main() -> None:
    settings = json.loads(sys.argv[1])
    die_with_parent(settings["parent"])
    _confine(settings["memory_mb"])
    answers = _claim_stdout()
    importlib.import_module("utils.images.check")  # under the memory limit, and not in the first file's time
    _answer(answers, {"ready": os.getpid()})
    limits = CheckLimits(**settings["limits"])
    for line in sys.stdin:
        request = json.loads(line)
        if "thumbnail" in request:
            _answer(answers, draw(request["path"], Thumbnail(**request["thumbnail"]), limits))
            continue
        if "sha256" in request and has_content(request["path"], request["sha256"], limits):
            _answer(answers, {"unchanged": True})
            continue
        result = check(request["path"], limits)
        key = "failure" if isinstance(result, CheckFailure) else "facts"
        _answer(answers, {key: asdict(result)})


def check(path: str, limits: CheckLimits) -> CheckResult:
    """One file; never raises for what a file may hold."""
    from utils.images.check import check_image  # `main` has loaded it, after the memory limit was in place

    return _guarded(lambda: check_image(path, limits))


def has_content(path: str, sha256: str, limits: CheckLimits) -> bool:
    """Whether the file has these bytes; what keeps it from being read is for `check` to say."""
    from utils.images.check import read_regular_file

    content = _guarded(lambda: read_regular_file(path, limits.max_file_bytes))
    return isinstance(content, bytes) and hashlib.sha256(content).hexdigest() == sha256


def draw(path: str, thumbnail: Thumbnail, limits: CheckLimits) -> dict[str, Any]:
    """The answer to a request for a thumbnail."""
    from utils.images.thumbnail import draw_thumbnail

    drawn = _guarded(lambda: draw_thumbnail(path, thumbnail, limits))
    if isinstance(drawn, CheckFailure):
        return {"failure": asdict(drawn)}
    return {"drawn": base64.b64encode(drawn).decode("ascii")}


def _guarded(look: Callable[[], T]) -> T | CheckFailure:
    """What `look` finds, or why it cannot."""
    try:
        return look()
    except CutFileError as error:
        return CheckFailure(str(error), retryable=False, incomplete=True, code=error.code)
    except SkipItemError as error:
        return CheckFailure(str(error), retryable=False, code=error.code)
    except RetryLaterError as error:
        return CheckFailure(str(error), retryable=True)
    except MemoryError:
        return CheckFailure("needs more memory to decode than a check may use", retryable=False, code="memory")
    except Exception as error:
        # a decoder's own bug on this file must not take the others down; the file is reported with it
        return CheckFailure(f"cannot be checked: {type(error).__name__}: {error}", retryable=False)


def _confine(memory_mb: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the group; the parent decides
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")


def _claim_stdout() -> TextIO:
    """Our own copy of standard output; whatever a library prints goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value, ensure_ascii=True) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
