import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from daemon.runs.cgroup import GB, TrainingCgroup, confined, own_cgroup, usable_memory

LEAK = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(5_000_000))\n    time.sleep(0.01)"


def make_hierarchy(
    tmp_path: Path, controllers: str = "cpu memory pids", *, delegated: bool = True
) -> tuple[Path, Path]:
    """Files as the kernel shows them to a process of /system.slice/exposr.service; returns (root, proc)."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    unit = root / "system.slice/exposr.service"
    unit.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/system.slice/exposr.service\n")
    (proc / "meminfo").write_text("MemTotal:       16000000 kB\n")
    (unit / "cgroup.procs").write_text("41\n")
    (unit / "cgroup.controllers").write_text(controllers)
    for name in ("training", "daemon"):
        (unit / name).mkdir()
    (unit / "training/cpu.weight").write_text("100")
    (unit / "training/memory.events").write_text("oom 0\noom_kill 2\n")
    if delegated:
        try:
            os.setxattr(unit, "user.delegate", b"1")
        except OSError:
            pytest.skip("this file system has no user attributes")
    return root, proc


def alive_in_group(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_delegated_group_is_split_and_the_training_gets_the_limit(tmp_path: Path) -> None:
    root, proc = make_hierarchy(tmp_path)
    limits = TrainingCgroup(3 * GB, root, proc)
    limits.prepare()
    unit = root / "system.slice/exposr.service"
    assert limits.available()
    assert "3.0 GB" in limits.reason
    assert (unit / "daemon/cgroup.procs").read_text() == "41"
    assert (unit / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert (unit / "training/memory.max").read_text() == str(3 * GB)
    assert (unit / "training/memory.oom.group").read_text() == "1"
    assert (unit / "training/cpu.weight").read_text() == "20"
    assert str(unit / "training") in limits.command(["/bin/true"])


def test_only_kills_since_the_start_of_this_training_count(tmp_path: Path) -> None:
    root, proc = make_hierarchy(tmp_path)
    limits = TrainingCgroup(3 * GB, root, proc)
    limits.prepare()
    limits.command(["/bin/true"])
    assert limits.verdict(-signal.SIGKILL) is None
    (root / "system.slice/exposr.service/training/memory.events").write_text("oom_kill 3\n")
    verdict = limits.verdict(-signal.SIGKILL)
    assert verdict is not None
    assert "out of memory" in verdict
    assert "training.batch_size" in verdict


def test_another_share_counts_from_the_next_training_on(tmp_path: Path) -> None:
    root, proc = make_hierarchy(tmp_path)
    limits = TrainingCgroup.for_machine(50, root, proc)
    limits.prepare()
    limits.limit_to(25)
    written = (root / "system.slice/exposr.service/training/memory.max").read_text()
    assert int(written) == limits.memory_max_bytes == 16_000_000 * 1024 // 4


@pytest.mark.parametrize(
    ("controllers", "delegated", "reason"),
    [("cpu pids", True, "memory controller"), ("cpu memory", False, "Delegate=yes")],
)
def test_what_cannot_be_limited_by_the_kernel_says_why(
    tmp_path: Path, controllers: str, delegated: bool, reason: str
) -> None:
    root, proc = make_hierarchy(tmp_path, controllers, delegated=delegated)
    limits = TrainingCgroup(3 * GB, root, proc)
    limits.prepare()
    assert not limits.available()
    assert reason in limits.reason
    assert "the daemon watches" in limits.reason
    assert not (root / "system.slice/exposr.service/cgroup.subtree_control").exists()


def test_the_old_hierarchy_has_no_group_to_offer(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("4:memory:/somewhere\n")
    assert own_cgroup(tmp_path, tmp_path) is None


def test_usable_memory_is_the_least_limit_on_the_way_up(tmp_path: Path) -> None:
    root, proc = make_hierarchy(tmp_path)
    unit = root / "system.slice/exposr.service"
    (unit / "memory.max").write_text("max\n")
    (root / "system.slice/memory.max").write_text("5000000000\n")
    assert usable_memory(unit, root, proc) == 5_000_000_000
    assert usable_memory(None, root, proc) == 16_000_000 * 1024


def test_without_the_kernel_a_runaway_training_and_its_workers_are_ended(tmp_path: Path) -> None:
    limits = TrainingCgroup(200_000_000, root=tmp_path)
    limits.prepare()
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LEAK!r}])"
    training = subprocess.Popen(limits.command([sys.executable, "-c", parent]), start_new_session=True)
    while training.poll() is None:
        limits.check(training.pid)
    verdict = limits.verdict(training.returncode)
    assert verdict is not None
    assert "out of memory" in verdict
    while alive_in_group(training.pid):  # the time limit of the test ends this
        time.sleep(0.01)


def test_a_training_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    limits = TrainingCgroup(4 * GB, root=tmp_path)
    limits.prepare()
    training = subprocess.Popen(limits.command([sys.executable, "-c", "input()"]), stdin=subprocess.PIPE)
    assert not limits.check(training.pid)
    training.communicate(b"\n")
    assert limits.verdict(training.returncode) is None


def test_a_confined_program_keeps_its_id_and_is_the_first_to_go() -> None:
    report = "import os; print(os.getpid(), open('/proc/self/oom_score_adj').read().strip(), os.nice(0))"
    command = confined([sys.executable, "-c", report], nice=10, oom_score_adj=777)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, score, nice = process.stdout.read().split()
    assert (int(pid), int(score)) == (process.pid, 777)
    assert int(nice) == min(19, os.nice(0) + 10)


def test_a_program_that_cannot_be_confined_is_not_started(tmp_path: Path) -> None:
    command = confined(["/bin/true"], nice=0, cgroup=tmp_path / "gone")
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 71
    assert "was not started" in ended.stderr
