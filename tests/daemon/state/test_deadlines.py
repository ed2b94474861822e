from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from daemon.state.deadlines import Timekeeper
from fake_clock import FakeClock


def test_within_a_boot_a_step_of_the_wall_clock_changes_nothing(fake_clock: FakeClock) -> None:
    keeper = Timekeeper(fake_clock, "boot-a")
    mark = keeper.mark()
    fake_clock.pass_time(100)
    fake_clock.wall += timedelta(days=400)
    assert keeper.seconds_since(mark) == 100
    fake_clock.wall -= timedelta(days=800)
    assert keeper.seconds_since(mark) == 100
    assert not keeper.is_in_future(mark)


def test_after_a_reboot_wall_time_answers(fake_clock: FakeClock) -> None:
    mark = Timekeeper(fake_clock, "boot-a").mark()
    fake_clock.wall += timedelta(hours=5)
    fake_clock.boot = 3.0
    assert Timekeeper(fake_clock, "boot-b").seconds_since(mark) == 5 * 3600


def test_a_mark_from_the_future_counts_as_now(fake_clock: FakeClock) -> None:
    mark = Timekeeper(fake_clock, "boot-a").mark()
    fake_clock.wall -= timedelta(days=3)
    keeper = Timekeeper(fake_clock, "boot-b")
    assert keeper.seconds_since(mark) == 0
    assert keeper.is_in_future(mark)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(-1e7, 1e7), st.booleans()), max_size=20))
def test_elapsed_time_is_never_negative_whatever_clocks_and_boots_do(
    steps: list[tuple[float, float, bool]],
) -> None:
    clock = FakeClock()
    boot = 0
    keeper = Timekeeper(clock, "boot-0")
    mark = keeper.mark()
    for passed, step, reboot in steps:
        clock.pass_time(passed)
        clock.wall += timedelta(seconds=step)
        if reboot:
            boot += 1
            clock.boot = 1.0
            keeper = Timekeeper(clock, f"boot-{boot}")
        assert keeper.seconds_since(mark) >= 0
