"""When a signal ends a run in the foreground."""

from __future__ import annotations

import os
import signal

import pytest

from daemon.cli.foreground import signals_in_pauses


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_next_pause(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # whatever these tests have been started with
    try:
        done = []
        with pytest.raises(KeyboardInterrupt), signals_in_pauses() as pause:
            pause(0)
            os.kill(os.getpid(), number)
            done.append("work goes on")
            pause(3600)
        assert done and signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_what_the_shell_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_in_pauses() as pause:
            os.kill(os.getpid(), signal.SIGINT)
            pause(0.01)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
