from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemon.state.lock import Holder, StateLock, current_holder
from utils.errors import OperatorError

HOLD = """
import sys, time
from pathlib import Path
from daemon.state.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
lock.acquire("exposr-trainer serve")
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_who_holds_the_state(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-P", "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OperatorError, match=rf"process {other.pid} \(exposr-trainer serve\)"):
            StateLock(tmp_path).acquire("exposr-trainer serve")
        holder = current_holder(tmp_path)
        assert holder is not None
        assert holder.pid == other.pid
    finally:
        other.kill()
        other.communicate()
    lock = StateLock(tmp_path)  # a killed holder leaves nothing behind that would have to be cleaned by hand
    lock.acquire("exposr-trainer serve")
    lock.release()


def test_the_holder_can_say_where_its_api_is(tmp_path: Path) -> None:
    assert current_holder(tmp_path) is None
    lock = StateLock(tmp_path)
    lock.acquire("exposr-trainer serve")
    lock.note(Holder(1234, "exposr-trainer serve", "http://127.0.0.1:8001"))
    holder = current_holder(tmp_path)
    assert holder is not None
    assert holder.address == "http://127.0.0.1:8001"
    lock.release()
    assert current_holder(tmp_path) is None
