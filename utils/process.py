"""What a child process does to itself at its start."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int | None = None, *, with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process when the parent's starting thread ends; leave at once if it already has.

    `parent_pid` is who should be the parent; None takes the present one. A parent has to start such children from a
    thread that lives as long as they may, since the kernel watches the thread and not the process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if parent_pid is not None and os.getppid() != parent_pid:
        os.kill(os.getpid(), with_signal)
