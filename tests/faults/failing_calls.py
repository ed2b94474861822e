"""Runs an action in a child whose changes on disk pass through here: each is counted, and can be made to fail.

The kernel hands over every system call of the child, and of its own children, that changes a file (seccomp's user
notification): Python's, SQLite's and torch's alike, before it happens. Calls on files outside of the action's folder
go on untouched, and so do pipes and sockets. Needs no root; Linux 5.8 on x86_64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

WRITES = {"write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296}  # the file is argument 0
SIZES = {"ftruncate": 77, "fallocate": 285}
FLUSHES = {"fsync": 74, "fdatasync": 75}
OPENS = {"open": 2, "openat": 257}
NAMES = {  # name -> (number, argument of the path, argument of the folder that it is relative to)
    **{"mkdir": (83, 0, None), "mkdirat": (258, 1, 0), "rename": (82, 1, None), "renameat": (264, 3, 2)},
    **{"renameat2": (316, 3, 2), "link": (86, 1, None), "linkat": (265, 3, 2), "unlink": (87, 0, None)},
    **{"unlinkat": (263, 1, 0), "rmdir": (84, 0, None)},
}
BY_DESCRIPTOR = {number: name for calls in (WRITES, SIZES, FLUSHES) for name, number in calls.items()}
BY_OPEN = {number: name for name, number in OPENS.items()}
BY_PATH = {number: (name, path, folder) for name, (number, path, folder) in NAMES.items()}
MAKES = {"mkdir", "mkdirat", "link", "linkat", "rename", "renameat", "renameat2", "open", "openat"}
FAILS = {  # error -> the calls that may fail with it
    errno.ENOSPC: {*WRITES, "fallocate", *MAKES},
    errno.EIO: {*WRITES, *SIZES, *FLUSHES},
    errno.EROFS: {*WRITES, *SIZES, *FLUSHES, *NAMES, *OPENS},
    errno.EACCES: {*NAMES, *OPENS},
}
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

PR_SET_NO_NEW_PRIVS, SECCOMP, SET_MODE_FILTER, NEW_LISTENER = 38, 317, 1, 8
RECEIVE, SEND, GO_ON = 0xC0502100, 0xC0182101, 1
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NOTICE = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, instruction, arguments
ANSWER = struct.Struct("=QqiI")
AT_FDCWD = -100


@dataclass(frozen=True, slots=True)
class Fault:
    """The `first`-th call (from 1) that can fail with `error` does; `lasting`: so do all that follow."""

    error: int
    first: int
    lasting: bool = False


@dataclass(slots=True)
class Seen:
    """`calls`: how many could have failed; `failed`: which did; `raised`: what the action ended with, else empty."""

    calls: int = 0
    failed: list[str] = field(default_factory=list)
    raised: str = ""
    kind: str = ""  # the names of the error's classes


def is_available() -> bool:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        run(Path("/nowhere"), lambda: None, Fault(errno.EIO, 1))
    except OSError:
        return False
    return True


def run(base: Path, action: Callable[[], object], fault: Fault) -> Seen:
    """Run `action` in a child; calls on files below `base` count. Faults end with the action."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _act(theirs, writing, action)
    theirs.close()
    os.close(writing)
    with ours, os.fdopen(reading, "rb") as said:
        _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
        if not listeners:
            os.waitpid(child, 0)
            raise OSError("system calls cannot be handed over here")
        try:
            seen = _supervise(listeners[0], str(base), fault)
        finally:
            os.close(listeners[0])
        words = said.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise AssertionError(f"the child ended with {status}: {words}")
    seen.kind, _, seen.raised = words.partition("\n")
    return seen


def _act(to_parent: socket.socket, said: int, action: Callable[[], object]) -> None:
    """In the child; never returns."""
    listener = _hand_over_calls()
    socket.send_fds(to_parent, [b"."], [listener] if listener >= 0 else [])
    if listener >= 0:
        os.close(listener)
        words = ""
        try:
            action()
        except BaseException as error:
            names = " ".join(kind.__name__ for kind in type(error).__mro__)
            words = f"{names}\n{type(error).__name__}: {error}"
        os.write(said, words.encode("utf-8", "replace")[:2000])
    os._exit(0)


class _Statement(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("statements", ctypes.POINTER(_Statement)))


def _hand_over_calls() -> int:
    """A descriptor on which this process's changes on disk are announced; negative when the kernel does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    numbers = [*BY_DESCRIPTOR, *BY_OPEN, *BY_PATH]
    load, equals, answer = 0x20, 0x15, 0x06
    statements = [_Statement(load, 0, 0, 0)]
    for position, number in enumerate(numbers):
        statements.append(_Statement(equals, len(numbers) - position, 0, number))
    statements += [_Statement(answer, 0, 0, ALLOW), _Statement(answer, 0, 0, NOTIFY)]
    array = (_Statement * len(statements))(*statements)
    return int(libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, ctypes.byref(_Program(len(statements), array))))


def _supervise(listener: int, base: str, fault: Fault) -> Seen:
    seen = Seen()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    able = FAILS[fault.error]
    while True:
        ((_, events),) = poll.poll()
        if not events & select.POLLIN:
            return seen  # nobody is left
        notice = bytearray(NOTICE.size)
        try:
            ioctl(listener, RECEIVE, notice)
        except OSError:  # the caller has died
            continue
        call, pid, _, number, _, _, *arguments = NOTICE.unpack(notice)
        what = _name(pid, number, arguments, base)
        error = 0
        if what and what.split()[0] in able:
            seen.calls += 1
            if seen.calls == fault.first or (fault.lasting and seen.calls > fault.first):
                error = fault.error
                seen.failed.append(what)
        try:
            ioctl(listener, SEND, ANSWER.pack(call, 0, -error, 0 if error else GO_ON))
        except OSError:
            continue


def _name(pid: int, number: int, arguments: list[int], base: str) -> str:
    """The call and its file, as "write state/index.sqlite"; empty for what does not change a file below `base`."""
    try:
        if number in BY_DESCRIPTOR:
            name, path = BY_DESCRIPTOR[number], str(Path(f"/proc/{pid}/fd/{arguments[0] & 0xFFFFFFFF}").readlink())
        elif number in BY_OPEN:
            name = BY_OPEN[number]
            folder, at, flags = (None, 0, 1) if name == "open" else (0, 1, 2)
            if not arguments[flags] & CHANGES:
                return ""
            path = _path(pid, arguments, at, folder)
        else:
            name, at, folder = BY_PATH[number]
            path = _path(pid, arguments, at, folder)
    except OSError:
        return ""
    path = path.removesuffix(" (deleted)")
    return f"{name} {path[len(base) + 1 :]}" if path.startswith(base + "/") else ""


def _path(pid: int, arguments: list[int], at: int, folder: int | None) -> str:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(arguments[at])
        text = b""
        while b"\0" not in text and len(text) < 4096:  # a page may end the readable part
            text += memory.read(256 - (arguments[at] + len(text)) % 256)
    path = os.fsdecode(text.partition(b"\0")[0])
    if path.startswith("/"):
        return path
    descriptor = AT_FDCWD if folder is None else ctypes.c_int(arguments[folder] & 0xFFFFFFFF).value
    place = f"/proc/{pid}/cwd" if descriptor == AT_FDCWD else f"/proc/{pid}/fd/{descriptor}"
    return str(Path(place).readlink() / path)
