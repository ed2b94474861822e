"""Each write fails: on a full disk (ENOSPC), a broken one (EIO), a read-only one (EROFS), without permission (EACCES).

Once, or from then on. Whatever the action says of it, afterwards nothing is lost and nothing lies, as after a kill. By
default a spread of points; EXPOSR_FAULTS=all takes every one.
"""

from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

import pytest
from actions import ACTIONS
from crash_points import Action
from failing_calls import FAILS, Fault, Seen, is_available, run
from selection import ALL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600 if ALL else 120),
    pytest.mark.skipif(not is_available(), reason="needs seccomp's user notification on x86_64"),
]
NEVER = 1 << 60
POINTS = 2
EXPECTED = {"OSError", "ExposrError", "Error"}  # the last is sqlite3's


def fail_at_points(action: Action, folder: Path, error: int, lasting: bool) -> int:
    """How many points were tried."""
    action.prepare(folder / "start")
    shutil.copytree(folder / "start", folder / "counted", dirs_exist_ok=True)
    calls = run(folder / "counted", lambda: action.act(folder / "counted"), Fault(error, NEVER)).calls
    points = range(1, calls + 1) if ALL else [round(calls * (n + 1) / (POINTS + 1)) for n in range(POINTS)]
    for first in points:
        place = folder / f"failed{first}"
        shutil.copytree(folder / "start", place, dirs_exist_ok=True)
        fault = Fault(error, first, lasting)
        seen = run(place, lambda place=place: action.act(place), fault)  # type: ignore[misc]
        try:
            assert not seen.raised or EXPECTED & set(seen.kind.split()), seen.raised
            action.check(place)
        except BaseException as problem:
            problem.add_note(described(fault, calls, seen))
            raise
        shutil.rmtree(place)
    sys.stdout.write(f"{len(points)} points of {calls} calls\n")  # -rP shows it
    return len(points)


def described(fault: Fault, calls: int, seen: Seen) -> str:
    what = "; ".join(seen.failed[:3])
    return f"{errno.errorcode[fault.error]} at call {fault.first} of {calls}: {what}; the action said: {seen.raised}"


SELECTED = [
    ("intake", errno.ENOSPC, True),
    ("label", errno.EROFS, True),
    ("versions", errno.EIO, False),
    ("versions", errno.ENOSPC, True),
    ("backup", errno.ENOSPC, True),
]
CASES = [(name, error, lasting) for name in sorted(ACTIONS) for error in FAILS for lasting in (False, True)]


def name_of(case: object) -> str | None:
    if isinstance(case, bool):
        return "lasting" if case else "once"
    return errno.errorcode[case] if isinstance(case, int) else None


@pytest.mark.parametrize(("name", "error", "lasting"), CASES if ALL else SELECTED, ids=name_of)
def test_a_failed_write_loses_nothing(tmp_path: Path, name: str, error: int, lasting: bool) -> None:
    assert fail_at_points(ACTIONS[name], tmp_path, error, lasting) >= POINTS
