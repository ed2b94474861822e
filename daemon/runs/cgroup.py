"""Keeps a training from taking the machine's memory and the API's CPU time, and says afterwards when that ended it.

Where systemd delegates a control group to the service (Delegate=yes) and the kernel's memory controller is in the
unified hierarchy, the training runs in a sub-group with a hard limit: the kernel ends all of it, and nothing else.
Elsewhere `check()` compares what the training's processes use with the same limit, and ends them: that is later by up
to a tick, so a fast leak may meet the kernel's own out-of-memory killer first, which takes the training before others
(oom_score_adj). RLIMIT_AS or RLIMIT_DATA would not do: CUDA reserves hundreds of GB of addresses it never uses.

    limits = TrainingCgroup.for_machine(memory_percent=75)
    limits.prepare()                                      # once, before the first child process
    child = subprocess.Popen(limits.command([python, "-P", "-m", "trainer", …]), start_new_session=True)
    limits.check(child.pid)                               # every tick while it runs
    why = limits.verdict(child.wait())                    # None, or "out of memory: …" with advice
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

CONFINE = Path(__file__).with_name("confine.py")
CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
DAEMON_GROUP = "daemon"  # also what DelegateSubgroup= names, from systemd 254 on
TRAINING_GROUP = "training"
CPU_WEIGHT = 20  # the daemon and everybody else have 100
OOM_SCORE_ADJ = 500  # -1000 to 1000; half of all memory is added to what the kernel's killer thinks it uses
NICE = 10
GB = 1_000_000_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ADVICE = (
    'lower training.batch_size, set training.mode = "frozen", give the service more memory (MemoryMax= of the unit), '
    "or raise training.memory_percent"
)


class TrainingCgroup:
    """Limits of the one training that may run at a time. Used by the supervisor's thread alone."""

    def __init__(self, memory_max_bytes: int, root: Path = CGROUP_ROOT, proc: Path = PROC) -> None:
        self.memory_max_bytes = memory_max_bytes
        self.reason = "not prepared yet"
        self._root = root
        self._proc = proc
        self._group: Path | None = None
        self._kills_before = 0
        self._ended_by_check = False

    @classmethod
    def for_machine(cls, memory_percent: float, root: Path = CGROUP_ROOT, proc: Path = PROC) -> TrainingCgroup:
        """Limit the training to a share of what this service may use: the machine's memory, or its control group's."""
        return cls(_share(memory_percent, root, proc), root, proc)

    def limit_to(self, memory_percent: float) -> None:
        """Another share (after a reload), for the next training."""
        self.memory_max_bytes = _share(memory_percent, self._root, self._proc)
        if self._group is not None:
            (self._group / "memory.max").write_text(str(self.memory_max_bytes))

    def available(self) -> bool:
        """Whether the kernel enforces the limit; `reason` says in words what is so, either way."""
        return self._group is not None

    def prepare(self) -> None:
        """Make the sub-groups and move the daemon into its own: a group with sub-groups may hold no process itself."""
        unit = own_cgroup(self._root, self._proc)
        if unit is not None and unit.name == DAEMON_GROUP:
            unit = unit.parent
        obstacle = _obstacle(unit)
        if unit is not None and not obstacle:
            try:
                _split(unit, self.memory_max_bytes)
                self._group = unit / TRAINING_GROUP
            except OSError as error:
                obstacle = f"{error.filename or unit}: {error.strerror}"
        limit = f"{self.memory_max_bytes / GB:.1f} GB"
        if obstacle:
            self.reason = f"{obstacle}; the daemon watches the training's use of memory itself (limit {limit})"
        else:
            self.reason = f"the kernel limits a training to {limit} (control group {self._group})"

    def command(self, program: Sequence[str]) -> list[str]:
        """The command line that starts `program` (absolute path first) confined, with the same process id."""
        self._kills_before = self._kernel_kills()
        self._ended_by_check = False
        return confined(program, nice=NICE, oom_score_adj=OOM_SCORE_ADJ, cgroup=self._group)

    def check(self, pid: int) -> bool:
        """Without the kernel's limit: end the session of `pid` when it uses too much. True when that was done."""
        if self._group is not None or self._ended_by_check:
            return self._ended_by_check
        family = _family(self._proc, pid)
        # shared pages count in each process of the cheap sum; the exact one is asked only when that is too much
        if _resident_bytes(self._proc, family) > self.memory_max_bytes:
            self._ended_by_check = _proportional_bytes(self._proc, family) > self.memory_max_bytes
            if self._ended_by_check:
                for member in family:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(member, signal.SIGKILL)
        return self._ended_by_check

    def oom_kills(self) -> int:
        """Processes ended for lack of memory since the last `command()`; without a group, anywhere on the machine."""
        return self._kernel_kills() - self._kills_before + self._ended_by_check

    def verdict(self, returncode: int) -> str | None:
        """Why the training ended, when memory was the reason: a sentence with advice. None otherwise."""
        killed = returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if not self.oom_kills() or not (killed or self._group or self._ended_by_check):
            return None
        return f"out of memory: the training needed more than {self.memory_max_bytes / GB:.1f} GB; {ADVICE}"

    def kill_leftovers(self) -> None:
        """End processes of a training that have outlived it (data loaders of a killed parent)."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                (self._group / "cgroup.kill").write_text("1")

    def _kernel_kills(self) -> int:
        file = self._group / "memory.events" if self._group else self._proc / "vmstat"
        return _read_counter(file, "oom_kill")


def confined(program: Sequence[str], *, nice: int, oom_score_adj: int = 0, cgroup: Path | None = None) -> list[str]:
    """The command line that starts `program` (absolute path first) through confine.py."""
    group = ["--cgroup", str(cgroup)] if cgroup else []
    options = [*group, "--oom-score-adj", str(oom_score_adj), "--nice", str(nice)]
    # isolated and by its path: nothing is imported but the standard library, which takes 15 ms
    return [sys.executable, "-I", "-S", str(CONFINE), *options, "--", *program]


def own_cgroup(root: Path, proc: Path) -> Path | None:
    """This process's group in the unified hierarchy; None where there is none (cgroup v1)."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    group = None if path is None else root / path.lstrip("/")
    return group if group is not None and (group / "cgroup.procs").exists() else None


def _share(memory_percent: float, root: Path, proc: Path) -> int:
    return int(usable_memory(own_cgroup(root, proc), root, proc) * memory_percent / 100)


def usable_memory(group: Path | None, root: Path, proc: Path) -> int:
    """Bytes that this service may use: the machine's memory, or the least limit of its control group's chain."""
    limits = [_read_counter(proc / "meminfo", "MemTotal:") * 1024]
    while group is not None and group != root.parent:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((group / "memory.max").read_text()))  # "max" is no number: no limit
        group = group.parent
    return min(limits)


def _obstacle(unit: Path | None) -> str:
    """Why the training cannot have a group of its own; empty when it can."""
    if unit is None:
        return "no unified control group hierarchy (cgroup v2) here"
    if not _is_delegated(unit):
        return "no control group is delegated to this process (Delegate=yes in a systemd unit)"
    if "memory" not in _words(unit / "cgroup.controllers"):
        return "the kernel's memory controller is in the old hierarchy (boot with systemd.unified_cgroup_hierarchy=1)"
    return ""


def _is_delegated(unit: Path) -> bool:
    """Whether systemd has given the group away; nothing else may be rearranged, even where this process could."""
    try:
        return os.getxattr(unit, "user.delegate") == b"1"
    except OSError:
        # before 251 there is no such mark, but the group of a service belongs to its user only when it is delegated
        return unit.name.endswith(".service") and unit.stat().st_uid == os.geteuid() != 0


def _split(unit: Path, memory_max_bytes: int) -> None:
    daemon, training = unit / DAEMON_GROUP, unit / TRAINING_GROUP
    daemon.mkdir(exist_ok=True)
    for pid in _words(unit / "cgroup.procs"):
        (daemon / "cgroup.procs").write_text(pid)
    offered = _words(unit / "cgroup.controllers")
    wanted = [f"+{name}" for name in ("memory", "cpu") if name in offered]
    (unit / "cgroup.subtree_control").write_text(" ".join(wanted))
    training.mkdir(exist_ok=True)
    (training / "memory.max").write_text(str(memory_max_bytes))
    (training / "memory.oom.group").write_text("1")  # half a training is of no use
    if (training / "memory.swap.max").exists():
        (training / "memory.swap.max").write_text("0")  # ended with a reason rather than slow for hours
    if (training / "cpu.weight").exists():
        (training / "cpu.weight").write_text(str(CPU_WEIGHT))


def _words(file: Path) -> list[str]:
    return file.read_text().split()


def _family(proc: Path, pid: int) -> list[int]:
    """`pid` and its descendants, as far as they live."""
    found, todo = [], [pid]
    while todo:
        member = todo.pop()
        found.append(member)
        for file in proc.glob(f"{member}/task/*/children"):
            with contextlib.suppress(OSError):
                todo += [int(child) for child in _words(file)]
    return found


def _resident_bytes(proc: Path, pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int((proc / f"{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def _proportional_bytes(proc: Path, pids: Sequence[int]) -> int:
    return sum(_read_counter(proc / f"{pid}/smaps_rollup", "Pss:") for pid in pids) * 1024


def _read_counter(file: Path, name: str) -> int:
    """The number behind `name` in a file of "name number" lines; 0 where it is not given."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            fields = line.split()
            if len(fields) > 1 and fields[0] == name:
                return int(fields[1])
    return 0
