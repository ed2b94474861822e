"""A real systemd in a throwaway copy of this machine, to try the service as an operator meets it.

The copy is an overlay of / in namespaces of its own (lab/boot); it ends with its PID 1, and nothing outside is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALLED_FROM = ("daemon", "handlers", "scrapers", "trainer", "http", "utils", "systemd")
INSTALLED_FILES = ("pyproject.toml", "setup.py", "README.md", "constraints.txt")
BOOT = Path(__file__).with_name("lab") / "boot"
BOOT_SECONDS = 20
NEEDED_PROGRAMS = ("unshare", "nsenter", "setpriv", "mount", "pivot_root", "systemctl")
SYSTEMD = Path("/lib/systemd/systemd")


class LabError(Exception):
    """The lab cannot be had here; the message says why."""


def obstacle() -> str | None:
    """Why no lab can be booted here; None when it can be tried."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the lab needs root on Linux"
    if missing := [name for name in NEEDED_PROGRAMS if shutil.which(name) is None]:
        return f"the lab needs {', '.join(missing)}"
    if not SYSTEMD.exists():
        return f"the lab needs {SYSTEMD}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the lab needs the overlay file system"
    return None


class Lab:
    """Use as a context manager: `with Lab(scratch) as lab: lab.run("systemctl start x")`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch  # an empty folder, used as a mount point inside the lab only
        self._log = scratch.with_name(f"{scratch.name}-systemd.log")
        self._checkout = scratch.with_name(f"{scratch.name}-checkout")
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid1 = 0
        self._cgroup: Path | None = None

    def __enter__(self) -> Lab:
        try:
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, script: str, *, timeout_seconds: float = 60, check: bool = True) -> str:
        """Run a bash script in the lab as root; its output, standard error included. `check`: it must succeed."""
        assert self._pid1
        inside = ["nsenter", "-t", str(self._pid1), "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"]
        environ = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        ended = subprocess.run(
            [*inside, f"--root=/proc/{self._pid1}/root", f"--wd=/proc/{self._pid1}/root", "bash", "-c", script],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            text=True,
        )
        assert not check or ended.returncode == 0, f"{script}\nended with {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    def path(self, inside: str) -> Path:
        """Where a path of the lab is to be found from outside. Absolute links in the lab lead outside: avoid them."""
        return Path(f"/proc/{self._pid1}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)

    def read(self, inside: str) -> str:
        return self.path(inside).read_text(errors="replace")

    def _copy_checkout(self) -> None:
        """As it is now: somebody may go on editing while the scenarios run."""
        for name in INSTALLED_FROM:
            shutil.copytree(CHECKOUT / name, self._checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in INSTALLED_FILES:
            shutil.copy(CHECKOUT / name, self._checkout)

    def _boot(self) -> None:
        self._copy_checkout()
        outer = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("pid", "mnt")]
        namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]
        inside = [str(BOOT), str(self._scratch), str(self._checkout), sys.prefix, *outer]
        enter = self._own_cgroup()
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                # it dies with the tests, even when these are killed
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "bash",
                    "-c",
                    f'{enter}exec "$@"',
                    "lab",
                    "unshare",
                    *namespaces,
                    "bash",
                    *inside,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._unshare.poll() is None:
            with contextlib.suppress(OSError, AssertionError, IndexError):
                self._pid1 = int(
                    Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()[0]
                )
                if self.run("systemctl is-active lab.target", check=False, timeout_seconds=5).strip() == "active":
                    return
            time.sleep(0.1)
        raise LabError(f"systemd did not come up in the lab: {self._log.read_text(errors='replace')[-2000:]}")

    def _own_cgroup(self) -> str:
        """A control group for the lab, so that its systemd makes its own below it; bash code that enters it."""
        for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
            if (root / "cgroup.controllers").exists():
                own = next(
                    line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
                )
                group = root / own.lstrip("/") / f"exposr-lab-{os.getpid()}"
                try:
                    group.mkdir()
                except OSError:
                    return ""
                self._cgroup = group
                return f"echo 0 >{group}/cgroup.procs; "
        return ""

    def _end(self) -> None:
        if self._unshare is not None:
            for pid in (self._pid1, self._unshare.pid):
                if pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)  # with its PID 1 the kernel ends the whole namespace
            self._unshare.wait()
        if self._cgroup is not None:
            _remove_cgroup(self._cgroup)


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # busy until the kernel has buried its last process
                Path(folder).rmdir()
        time.sleep(0.05)
