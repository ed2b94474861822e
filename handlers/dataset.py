"""The data set: a thread that keeps the index and the counts equal to the files in the data folder.

Events are hints, the scan is the truth. The watcher marks what may have changed; one turn of the thread looks at the
marks, compares with the index, has new files checked, and publishes the counts. A whole scan runs at the start, when
events may have been lost, and every `scheduler.reconcile_interval_seconds`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator

from handlers.index import label_queue, queries
from handlers.index.rows import Counts, KnownSample, Problem
from handlers.index.schema import INDEX_FILE, connect_reader
from handlers.reconcile import Reconciler
from handlers.watch.dirty_paths import DirtyPaths
from handlers.watch.liveness import WatchLiveness
from utils.clock import Clock
from utils.config_loader import Config
from utils.errors import OperatorError, StopRunError
from utils.health import PartHealth
from utils.logs import get_logger
from utils.sample import Sample
from utils.sqlite_files import is_broken

__all__ = ["Counts", "Dataset", "Problem"]

log = get_logger(__name__)

DEBOUNCE_SECONDS = 0.2  # after the first mark, for the rest of a burst
IDLE_SECONDS = 1.0  # the data folder itself is looked at this often
BATCH_SECONDS = 0.05  # results of checks are taken over this often, not one by one
SCAN_REST = 4.0  # a scan may take this share of the time at most: it rests so many times as long as it took
IDLE_REST = 150.0  # where events are known to arrive, whole scans are a safety net: under 1 % of a core
MEANWHILE_SECONDS = 0.05  # between two looks, in a whole scan, at what was dropped
POLLING_REST = 20.0
DOUBT_SECONDS = 5.0  # before folders that seem not to be watched are counted again
STOP_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0


class Dataset:
    """`counts` and `ready` never block. `on_change` is called in the data set's thread with counts that differ."""

    def __init__(self, config: Config, clock: Clock, on_change: Callable[[Counts], None] = lambda counts: None) -> None:
        self._config = config
        self._clock = clock
        self._on_change = on_change
        self._root = config.storage.local_path
        self._index_file = config.storage.state_path / INDEX_FILE
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._dirty_paths = DirtyPaths(self._wake.set)
        self._liveness = WatchLiveness(self._root, self._dirty_paths, config.intake.watcher, clock.monotonic)
        self._reconciler: Reconciler | None = None
        self._counts = Counts()
        self._ready = False
        self._beat = clock.monotonic()
        self._fault = ""
        self._next_whole = 0.0
        self._rest_until = 0.0
        self._marked_at: float | None = None
        self._marks_after = 0.0
        self._next_look = 0.0

    def start(self) -> None:
        """Open the index, which gives the counts of the last run at once; everything else happens in the thread."""
        try:
            self._reconciler = self._make_reconciler()
            self._counts = self._reconciler.count()
        except (sqlite3.Error, OSError) as error:
            reason = f"cannot be opened: {error}; storage.state_path must be a folder that can be written"
            raise OperatorError(f"{self._index_file}: {reason}") from error
        self._beat = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="dataset", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Within two seconds, whatever is being checked."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def counts(self) -> Counts:
        return self._counts

    def ready(self) -> bool:
        """Whether the folder has been compared with the index since the start; checks may still be pending."""
        return self._ready

    def compared_at(self) -> str | None:
        """ISO time of the last whole comparison of folder and index, also of an earlier start; None: there was none."""
        reconciler = self._reconciler
        return reconciler.compared_at if reconciler is not None else None

    def heartbeat(self) -> float:
        """Monotonic time of the thread's last turn, which sees to it that the watcher is proven alive."""
        return self._beat

    def health(self) -> PartHealth:
        thread = self._thread
        if thread is None or not thread.is_alive():
            return PartHealth("dataset", False, "is not running")
        reconciler = self._reconciler
        reasons = [self._fault, *(reconciler.troubles() if reconciler is not None else [])]
        if self._liveness.polling:
            reasons.append(f"watches by scans: {self._liveness.polling}")
        is_whole = not self._fault and not self.missing()
        return PartHealth("dataset", is_whole, "; ".join(reason for reason in reasons if reason))

    def missing(self) -> str:
        """Why the data is not all there, in words: its folder or a disk is away. Until then nothing is trained."""
        reconciler = self._reconciler
        return reconciler.missing() if reconciler is not None else ""

    def is_lost(self) -> bool:
        """Whether the folder itself, or nearly all that was in it, is not there: an alarm."""
        reconciler = self._reconciler
        return reconciler is not None and bool(reconciler.lost)

    def labelled_samples(self) -> Iterator[Sample]:
        """What may be trained on, as the index has it now: one consistent reading, on a connection of its own."""
        with contextlib.closing(connect_reader(self._index_file)) as db:
            yield from queries.labelled_samples(db)

    def known_sample(self, sha256: str) -> KnownSample | None:
        """The sample of these bytes, when the index has it."""
        with contextlib.closing(connect_reader(self._index_file)) as db:
            return queries.known_sample(db, sha256)

    def near_samples(self, phash: str, thumb: bytes) -> list[KnownSample]:
        """Samples of nearly the same picture, the nearest first (`intake.near_duplicate_distance`)."""
        with contextlib.closing(connect_reader(self._index_file)) as db:
            return queries.near_samples(db, phash, thumb, self._config.intake.near_duplicate_distance)

    def undecided(self, source: str) -> tuple[int, int]:
        """How many pictures of a source no one has judged yet, and their bytes."""
        with contextlib.closing(connect_reader(self._index_file)) as db:
            return queries.undecided(db, source)

    def unlabelled(self, limit: int) -> list[tuple[str, str]]:
        """(sha256, path) of pictures that nobody has labelled, the newest first."""
        with contextlib.closing(connect_reader(self._index_file)) as db:
            return label_queue.unlabelled(db, limit)

    def problems(self, limit: int = 100) -> list[Problem]:
        reconciler = self._reconciler
        folders = reconciler.unreadable_folders() if reconciler is not None else []
        with contextlib.closing(connect_reader(self._index_file)) as db:
            return (folders + queries.list_problems(db, limit))[:limit]

    def request_reconcile(self) -> None:
        """Have the whole folder compared soon."""
        self._dirty_paths.add_tree(b"")

    # the thread

    def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            try:
                self._turn()
                self._fault, backoff = "", FIRST_BACKOFF_SECONDS
            except StopRunError:
                break
            except Exception as error:
                self._recover(error)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
            self._beat = self._clock.monotonic()
            if self._reconciler is None or not self._reconciler.is_behind:
                self._stopping.wait(BATCH_SECONDS)
            self._wake.wait(self._pause())
            self._wake.clear()
        self._liveness.stop()
        if self._reconciler is not None:
            self._reconciler.close()

    def _pulse(self) -> None:
        """Called again and again in long work: shows that the thread lives, and ends the work when it is to stop."""
        self._beat = self._clock.monotonic()
        if self._stopping.is_set():
            raise StopRunError("the data set stops")

    def _turn(self) -> None:
        reconciler = self._open()
        if self._is_lost(reconciler):
            return
        now = self._clock.monotonic()
        if self._liveness.check() or reconciler.is_accepted:
            self._next_whole = 0.0
        elif reconciler.lost:
            self._next_whole = min(self._next_whole, now + IDLE_SECONDS)
        if now >= self._next_whole and now >= self._rest_until:
            self._dirty_paths.drop_root()
            seconds, folders = reconciler.compare_all()
            self._rest(seconds)
            if not self._liveness.expect_watches(folders):
                self._next_whole = min(self._next_whole, now + DOUBT_SECONDS)
            self._publish(reconciler.count())  # with what is pending now, before anybody is told that we are ready
            self._ready = True
        self._follow(reconciler)
        if reconciler.confirm_after is not None:
            self._next_whole = min(self._next_whole, reconciler.confirm_after)

    def _follow(self, reconciler: Reconciler) -> None:
        """What events tell, what the checkers found out, and the counts."""
        now = self._clock.monotonic()
        if self._marks_are_due(now):
            self._marks_after = now + SCAN_REST * reconciler.compare(*self._dirty_paths.take())
        reconciler.advance()
        counts = reconciler.fresh_counts()
        if counts is not None:
            self._publish(counts)

    def _meanwhile(self) -> None:
        """In a whole scan, which can take long."""
        now = self._clock.monotonic()
        if self._reconciler is not None and self._ready and now >= self._next_look:
            self._next_look = now + MEANWHILE_SECONDS
            self._follow(self._reconciler)

    def _marks_are_due(self, now: float) -> bool:
        """A burst is given a moment to grow, and scans a rest in proportion to what they cost."""
        if not self._dirty_paths:
            self._marked_at = None
            return False
        if self._marked_at is None:
            self._marked_at = now
        if now < max(self._marked_at + DEBOUNCE_SECONDS, self._marks_after):
            return False
        self._marked_at = None
        return True

    def _open(self) -> Reconciler:
        if self._reconciler is not None and not self._reconciler.is_index_there():
            log.warning("index_deleted", file=str(self._index_file))
            self._reconciler.close()
            self._reconciler = None
        if self._reconciler is None:
            self._reconciler = self._make_reconciler()
            self._next_whole = 0.0
        return self._reconciler

    def _make_reconciler(self) -> Reconciler:
        return Reconciler(
            *(self._config, self._clock, self._wake.set, self._pulse),
            wrote=self._dirty_paths.expect,
            meanwhile=self._meanwhile,
        )

    def _is_lost(self, reconciler: Reconciler) -> bool:
        """No folder to look at. The counts stay, marked as away; looked for again every second."""
        if reconciler.find_folder():
            return False
        self._next_whole = 0.0
        self._publish(reconciler.count())
        self._ready = True  # that there is nothing to compare with is an answer, too
        return True

    def _rest(self, seconds: float) -> None:
        now = self._clock.monotonic()
        self._rest_until = now + SCAN_REST * seconds
        interval = self._config.scheduler.reconcile_interval_seconds
        if self._liveness.polling or self.is_lost():
            interval = min(interval, max(IDLE_SECONDS, POLLING_REST * seconds))
        else:
            interval = max(interval, IDLE_REST * seconds)
        self._next_whole = now + interval if self._next_whole <= now else min(self._next_whole, now + interval)

    def _recover(self, error: Exception) -> None:
        """A broken index is made anew; anything else is tried again."""
        is_expected = isinstance(error, OSError) or (isinstance(error, sqlite3.Error) and not is_broken(error))
        place = f"{self._index_file}: " if isinstance(error, sqlite3.Error) else ""
        fault = f"{place}{error}; tried again" if is_expected else f"{type(error).__name__}: {error}"
        if fault != self._fault:
            log.error("dataset_turn_failed", reason=fault, exc_info=not is_expected)
        self._fault = fault
        reconciler, self._reconciler = self._reconciler, None
        if reconciler is not None:
            with contextlib.suppress(Exception):
                reconciler.close(broken=is_broken(error))

    def _publish(self, counts: Counts) -> None:
        if counts == self._counts:
            return
        self._counts = counts
        try:
            self._on_change(counts)
        except Exception as error:
            log.error("counts_listener_failed", reason=repr(error))

    def _pause(self) -> float:
        """Seconds until there is something to do that no event announces."""
        now = self._clock.monotonic()
        due = [self._next_whole, now + IDLE_SECONDS]
        if self._reconciler is not None and (moment := self._reconciler.next_due()) is not None:
            due.append(moment)
        if self._marked_at is not None:
            due.append(max(self._marked_at + DEBOUNCE_SECONDS, self._marks_after))
        return max(0.0, min(due) - now)
