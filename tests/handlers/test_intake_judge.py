"""What a check means for a file: the pure decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.file_signature import FileSignature
from handlers.intake import judge, retry_delay
from utils.images.facts import CheckFailure, ImageFacts

STAMP = FileSignature(100, 1, 1, 7)
GOOD = ImageFacts("0" * 64, 100, "png", ".png", 96, 80, None, None, False)
BAD = CheckFailure("is text", retryable=False)
SETTLE = 2.0


def test_a_good_file_counts_at_once_when_it_did_not_change() -> None:
    assert judge(GOOD, STAMP, STAMP, 0.0, SETTLE) == "accept"


def test_a_bad_file_is_given_time_to_arrive() -> None:
    assert judge(BAD, STAMP, STAMP, 1.9, SETTLE) == "wait"
    assert judge(BAD, STAMP, STAMP, 2.0, SETTLE) == "reject"


def test_a_file_that_changed_is_checked_again_and_one_that_went_is_let_go() -> None:
    grown = STAMP._replace(size=200)
    assert judge(GOOD, STAMP, grown, 60, SETTLE) == judge(BAD, STAMP, grown, 60, SETTLE) == "again"
    assert judge(GOOD, STAMP, None, 60, SETTLE) == judge(BAD, STAMP, None, 60, SETTLE) == "gone"


@given(st.integers(0, 10**6), st.floats(0.01, 600))
def test_the_wait_for_another_check_grows_up_to_the_settle_time(failures: int, settle: float) -> None:
    assert 0 < retry_delay(failures, settle) <= settle
    assert retry_delay(failures, settle) <= retry_delay(failures + 1, settle)


@given(st.integers(-(2**70), 2**70))
def test_any_inode_and_time_fit_into_the_index(number: int) -> None:
    class Status:
        st_size, st_mtime_ns, st_ctime_ns, st_ino = 1, number, number, abs(number)

    assert all(0 <= part < 2**63 for part in FileSignature.of(Status()))  # type: ignore[arg-type]
