"""The pool of checkers: answers for every file, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from child_processes import running_children
from encoded_pictures import noise_picture
from utils.images.check_pool import CheckFailure, CheckLimits, CheckPool, ImageFacts

LIMITS = CheckLimits(max_file_bytes=60_000_000, min_side=64, max_side=16_384, max_pixels=50_000_000)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.png"
    noise_picture(0, (200, 160)).save(file)
    return file


@pytest.fixture
def checkers() -> Callable[[], list[psutil.Process]]:
    """The checkers that this test has started; other tests of the same process may share a pool that lives on."""
    before = running_children("utils.images.check_worker")
    return lambda: [child for child in running_children("utils.images.check_worker") if child not in before]


def test_good_and_bad_files_are_answered_in_any_number(
    good: Path, tmp_path: Path, checkers: Callable[[], list[psutil.Process]]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("words")
    with CheckPool(2, LIMITS, 30, 1536) as pool:
        results = [pool.submit(path).result() for path in [good, bad] * 10]
    assert all(isinstance(result, ImageFacts) for result in results[::2])
    assert all(isinstance(result, CheckFailure) and not result.retryable for result in results[1::2])
    assert not checkers()


@pytest.mark.parametrize(
    "name", [b"line\nbreak\r\t.jpg", b"\xff\xfe not utf-8 \x80.jpg", "…é".encode() + b"x" * 245, b'"\\.jpg']
)
def test_any_file_name_passes(good: Path, tmp_path: Path, name: bytes) -> None:
    odd = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118  bytes
    os.link(good, odd)
    with CheckPool(1, LIMITS, 30, 1536) as pool:
        assert isinstance(pool.submit(os.fsdecode(odd)).result(), ImageFacts)


def test_a_checker_that_is_killed_costs_one_file_at_most(
    good: Path, checkers: Callable[[], list[psutil.Process]]
) -> None:
    with CheckPool(1, LIMITS, 30, 1536) as pool:
        assert isinstance(pool.submit(good).result(), ImageFacts)
        (checker,) = checkers()
        os.kill(checker.pid, signal.SIGKILL)
        checker.wait(5)
        assert isinstance(pool.submit(good).result(), ImageFacts)


def test_a_checker_that_hangs_is_replaced_and_the_file_reported(
    good: Path, checkers: Callable[[], list[psutil.Process]]
) -> None:
    with CheckPool(1, LIMITS, 4.0, 1536) as pool:
        assert isinstance(pool.submit(good).result(), ImageFacts)
        (checker,) = checkers()
        os.kill(checker.pid, signal.SIGSTOP)
        result = pool.submit(good).result()
        assert isinstance(result, CheckFailure) and "within 4 s" in result.reason
        assert isinstance(pool.submit(good).result(), ImageFacts)
        assert checker.pid not in [process.pid for process in checkers()]


def test_files_sent_ahead_survive_a_checker_that_hangs_or_is_killed(
    good: Path, checkers: Callable[[], list[psutil.Process]]
) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        with CheckPool(1, LIMITS, 4.0, 1536) as pool:
            futures = [pool.submit(good) for _ in range(1000)]
            futures[50].result()
            (checker,) = checkers()
            os.kill(checker.pid, number)
            failures = [result.reason for future in futures if isinstance(result := future.result(), CheckFailure)]
            if number == signal.SIGSTOP:
                assert failures == ["could not be checked within 4 s"]
            else:  # none where it had just answered
                assert failures in ([], ["crashed its checker (signal 9)"])
            assert checker.pid not in [process.pid for process in checkers()]


def test_answers_belong_to_their_files_and_long_names_fit_the_pipe(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), *[b"\xff" * 250] * 3)  # noqa: PTH118  bytes
    os.makedirs(folder)  # noqa: PTH103
    files = []
    for number in range(200):
        files.append(os.fsdecode(os.path.join(folder, b"%d.png" % number)))  # noqa: PTH118
        Image.new("L", (64 + number, 64)).save(files[-1])
    with CheckPool(2, LIMITS, 30, 1536) as pool:
        results = [future.result() for future in [pool.submit(file) for file in files]]
    assert [result.width for result in results if isinstance(result, ImageFacts)] == list(range(64, 264))


def test_a_picture_beyond_the_memory_limit_is_reported_with_it(tmp_path: Path, good: Path) -> None:
    huge = tmp_path / "huge.png"
    Image.new("RGB", (7000, 7000)).save(huge, compress_level=1)
    with CheckPool(1, LIMITS, 30, 256) as pool:
        result = pool.submit(huge).result()
        assert isinstance(result, CheckFailure) and "memory" in result.reason
        assert isinstance(pool.submit(good).result(), ImageFacts)


def test_closing_cancels_what_waits_and_leaves_no_process(
    good: Path, checkers: Callable[[], list[psutil.Process]]
) -> None:
    pool = CheckPool(2, LIMITS, 30, 1536)
    futures = [pool.submit(good) for _ in range(200)]
    futures[0].result()
    pool.close()
    assert all(future.done() for future in futures)
    assert pool.submit(good).cancelled()
    assert not checkers()


def test_checkers_die_with_a_killed_parent(good: Path) -> None:
    program = textwrap.dedent(f"""
        import psutil, sys, time
        from utils.images.check_pool import CheckLimits, CheckPool
        pool = CheckPool(1, CheckLimits(10**7, 64, 4096, 10**7), 30, 1536)
        pool.submit({os.fspath(good)!r}).result()
        print(psutil.Process().children()[0].pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        checker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([checker], timeout=10)
        assert not checker.is_running() or checker.status() == psutil.STATUS_ZOMBIE


def test_the_pool_imports_no_imaging_library() -> None:
    program = (
        "import sys, utils.images.check_pool; print([m for m in ('PIL', 'numpy', 'imagehash') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
