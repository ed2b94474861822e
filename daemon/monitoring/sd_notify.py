"""Telling systemd how the service is (sd_notify(3)): datagrams to the socket named in the environment.

Without a socket, which is every start by a person, each call does nothing. What cannot be delivered is dropped:
the service must not fail because its supervisor does not listen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

SOCKET_VARIABLE = "NOTIFY_SOCKET"
SEND_TIMEOUT_SECONDS = 1.0  # a full receive queue must not hold the supervisor up
# what speaks of the daemon itself: a child that inherits these could answer in its name
DAEMON_VARIABLES = (SOCKET_VARIABLE, "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Notifier:
    """One method for each thing that systemd wants to hear; none of them raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._socket: socket.socket | None = None
        address = environ.get(SOCKET_VARIABLE, "")
        if not address.startswith(("/", "@")):
            return
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        channel.settimeout(SEND_TIMEOUT_SECONDS)
        try:
            # "@name" is an abstract socket, whose real first byte is NUL
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            channel.close()
            return
        self._socket = channel

    @property
    def enabled(self) -> bool:
        """Whether somebody listens."""
        return self._socket is not None

    def ready(self, status: str | None = None) -> None:
        """Start (or a reload) is complete."""
        self._send("READY=1", *_status_line(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status_line(text))

    def watchdog(self) -> None:
        """The whole service is alive; see daemon/monitoring/watchdog.py for who may say so."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload has begun; `ready()` must follow. The time stamp is what Type=notify-reload waits for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str | None = None) -> None:
        """The stop has begun; nothing restarts the service because of what ends from here on."""
        self._send("STOPPING=1", *_status_line(status))

    def extend_timeout(self, seconds: float) -> None:
        """Ask for `seconds` more, from now, for the start or stop that is under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send("\n".join(lines).encode())


def _status_line(text: str | None) -> tuple[str, ...]:
    # a line break would end the assignment, and let a status text set other fields
    return () if text is None else (f"STATUS={' '.join(text.split())}",)
