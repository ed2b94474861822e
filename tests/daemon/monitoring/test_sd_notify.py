import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.monitoring.sd_notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def notifier(systemd: socket.socket) -> Iterator[Notifier]:
    sender = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    yield sender
    sender.close()


def test_ready_carries_the_status_in_one_datagram(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.ready("serving")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=serving"


def test_a_status_with_line_breaks_cannot_set_other_fields(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.status("training\nWATCHDOG=trigger")
    assert systemd.recv(4096) == b"STATUS=training WATCHDOG=trigger"


def test_reloading_gives_its_time_on_the_monotonic_clock(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.reloading()
    first, second = systemd.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, stamp = second.split("=")
    assert name == "MONOTONIC_USEC"
    assert int(stamp) > 0


def test_the_other_messages_are_what_systemd_expects(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.watchdog()
    notifier.extend_timeout(2.5)
    notifier.stopping("bye")
    assert [systemd.recv(4096) for _ in range(3)] == [
        b"WATCHDOG=1",
        b"EXTEND_TIMEOUT_USEC=2500000",
        b"STOPPING=1\nSTATUS=bye",
    ]


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0exposr-test-notify")
        receiver.settimeout(5)
        sender = Notifier({"NOTIFY_SOCKET": "@exposr-test-notify"})
        sender.watchdog()
        sender.close()
        assert receiver.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nobody/listens/here", "not-a-path"])
def test_without_a_listener_every_call_does_nothing(address: str) -> None:
    sender = Notifier({"NOTIFY_SOCKET": address} if address else {})
    sender.ready("x")
    sender.watchdog()
    assert not sender.enabled


def test_a_listener_that_goes_away_is_no_error(notifier: Notifier, systemd: socket.socket) -> None:
    systemd.close()
    notifier.status("still here")
