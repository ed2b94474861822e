"""Folder and index brought together: scan, have checked, take over. Used by the data set's thread and by `reindex`."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace

from handlers.catalog import Catalog
from handlers.file_signature import Found
from handlers.index import queries
from handlers.index.rows import Counts, Problem
from handlers.index.schema import INDEX_FILE
from handlers.index.store import Index
from handlers.intake import Intake
from handlers.labels import folders
from handlers.labels.history import open_history
from handlers.loss import Inventory, explain_loss, is_loss
from handlers.paths import META, is_under, printable
from handlers.scan import Changes, Scan
from utils.clock import Clock, to_iso
from utils.config_loader import Config
from utils.data_folder import ACCEPT_COMMAND, DataFolder
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, CheckLimits, ImageFacts, Unchanged, readers
from utils.logs import get_logger
from utils.sqlite_files import remove_side_files, set_aside

log = get_logger(__name__)

COMPARED_AT = "compared_at"  # setting of the index
BATCH = 256  # files taken over in one transaction
CONFIRM_SECONDS = 2.0  # a missing file is forgotten when a whole scan this much later misses it too
LONGEST_EMPTYING_SECONDS = 60.0  # deletions are confirmed when none was seen for CONFIRM_SECONDS, or after this long
CONFIRM_REST = 10.0  # and so many times as long as such a scan takes
CHORES_SECONDS = 10.0  # at most between two batches of metadata while new pictures keep coming
LEFT_OVER_SECONDS = 3600.0  # after which a half-written metadata file belongs to nobody
COUNT_REST = 10.0  # counting rests so many times as long as it took


class Reconciler:
    """Owns index, intake and, unless a pool is lent, checkers. Not thread-safe.

    `wake` is called from other threads when there is news, `pulse` in long work; what it raises ends the work. `wrote`
    hears of each metadata file that is written here. `meanwhile` is called again and again in a whole scan, between two
    folders: it may call `compare` and `advance`.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        wake: Callable[[], None],
        pulse: Callable[[], None] = lambda: None,
        lent_pool: CheckPool | None = None,
        wrote: Callable[[bytes], None] = lambda path: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        intake = config.intake
        folders.adopt(intake)
        self._root = config.storage.local_path
        self._clock = clock
        self._file = config.storage.state_path / INDEX_FILE
        self._folder = DataFolder(self._root, config.storage.state_path)
        self.lost = ""  # why nothing is compared and nothing may be trained, in words
        self._limits = CheckLimits.from_settings(intake)
        self._index = Index(self._file)
        self._inode = self._file.stat().st_ino
        self._is_pool_lent = lent_pool is not None
        self._pool = lent_pool or CheckPool(
            intake.workers, self._limits, intake.check_timeout_seconds, intake.check_memory_mb
        )
        self._intake = Intake(self._root, self._pool, intake.settle_seconds, intake.workers, clock.monotonic, wake)
        self._pulse = pulse
        self._meanwhile = meanwhile
        self._is_in_whole = False
        # monotonic: first and last of the files that went and are not confirmed
        self._vanished_since: float | None = None
        self._vanished_until = 0.0
        distance = intake.near_duplicate_distance
        self._history = open_history(config.storage.state_path)
        self._catalog = Catalog(self._root, self._index, clock, self._history, distance, pulse, wrote)
        self._describe_after = 0.0
        self._unreadable: dict[bytes, str] = {}
        self._held = 0
        self._dirty = True
        self._count_after = 0.0
        self.confirm_after: float | None = None  # monotonic: a whole scan is wanted, for something went missing
        self._adopt_settings(distance)
        self._compared_at = self._index.setting(COMPARED_AT)

    def close(self, *, broken: bool = False) -> None:
        if not self._is_pool_lent:
            self._pool.close()
        try:
            self._history.close()
            self._index.close()
        finally:
            if broken:
                log.warning("index_set_aside", kept_as=str(set_aside(self._file)))
                remove_side_files(self._file)

    def is_index_there(self) -> bool:
        """Whether the file that is open is still the one at its place: it may be deleted at any time."""
        try:
            return self._file.stat().st_ino == self._inode
        except OSError:
            return False

    def compare_all(self) -> tuple[float, int]:
        """Scan everything; seconds it took, and the number of folders."""
        started = self._clock.monotonic()
        if not self.find_folder():
            return 0.0, 0
        is_accepted = self._folder.is_accepted
        changes = self._scan_all()
        if not self._is_trusted(changes, is_accepted=is_accepted):
            return self._clock.monotonic() - started, changes.folders
        with self._index.transaction():
            if is_accepted:
                self._catalog.accept_loss()
            unknown = self._catalog.apply(changes)
            self._catalog.complete_metadata()
            if b"" not in changes.unreadable:
                self._forget_deleted(bool(changes.vanished))
            self._index.forget_empty_folders()
            self._compared_at = to_iso(self._clock.now())
            self._index.set_setting(COMPARED_AT, self._compared_at)
        self._pend(unknown)
        self._folder.adopt()
        if is_accepted:
            self._folder.end_acceptance()
            log.warning("data_loss_accepted", vanished=len(changes.vanished))
        self._unreadable = changes.unreadable
        self._remove(changes.left_over)
        self._after(changes)
        self._held = queries.held_files(self._index.connection)
        seconds = self._clock.monotonic() - started
        again = self._clock.monotonic() + max(CONFIRM_SECONDS, CONFIRM_REST * seconds)
        self.confirm_after = again if self._index.has_gone() else None
        return seconds, changes.folders

    def _remove(self, left_over: list[bytes]) -> None:
        """A writer at work renames its file within moments; an hour later nobody will."""
        for path in left_over:
            file = self._root / os.fsdecode(path)
            with contextlib.suppress(OSError):
                if self._clock.now().timestamp() - file.lstat().st_mtime > LEFT_OVER_SECONDS:
                    file.unlink()
                    log.info("left_over_removed", path=printable(path))

    def _scan_all(self) -> Changes:
        """What is dropped while a large folder is read does not wait for the end of it."""
        self._is_in_whole = True
        try:
            changes = Scan(self._root, self._index, self._breathe, retry=True).whole()
        finally:
            self._is_in_whole = False
        changes.vanished = [(path, there) for path, there in changes.vanished if not self._is_file(path)]
        return changes

    def _breathe(self) -> None:
        self._pulse()
        self._meanwhile()

    def _is_file(self, path: bytes) -> bool:
        """Whether it is there after all: it may have come back while the rest was looked at."""
        try:
            return not stat.S_ISDIR((self._root / os.fsdecode(path)).lstat().st_mode)
        except OSError:
            return False

    @property
    def compared_at(self) -> str | None:
        """ISO time of the last whole scan, which may be an earlier start's; the counts are as of then, and newer."""
        return self._compared_at

    def compare(self, names: dict[bytes, set[bytes] | None], trees: set[bytes]) -> float:
        """Scan what was marked; seconds that looking took, without those of taking over what was found."""
        if b"" in trees or self.lost or self._folder.look() != "known":
            if self._is_in_whole:
                self.confirm_after = self._clock.monotonic()
                return 0.0
            return self.compare_all()[0]
        started = self._clock.monotonic()
        scan = Scan(self._root, self._index, self._pulse)
        for tree in trees:
            scan.tree(tree)
        for folder, some in names.items():
            if some is None:
                scan.flat(folder)
            else:
                scan.names(folder, some)
        changes = scan.finish()
        seconds = self._clock.monotonic() - started
        if changes and self._is_trusted(changes):
            with self._index.transaction():
                unknown = self._catalog.apply(changes)
            self._pend(unknown)
            self._after(changes)
        return seconds

    @property
    def is_accepted(self) -> bool:
        """Whether a person has said that what is missing was deleted, which the next whole scan acts on."""
        return self._folder.is_accepted

    def find_folder(self) -> bool:
        """Whether there is a folder to compare with; makes it before the first start, never again."""
        found = self._folder.look()
        if found == "new" and not self._index.has_any_file():
            self._folder.create()
        elif found == "missing" or (found == "new" and not self._root.is_dir()):
            self._lose(self._folder.explain_missing())
            return False
        return True

    def _is_trusted(self, changes: Changes, *, is_accepted: bool = False) -> bool:
        """Whether what a scan saw may be taken over: not when the data was lost under it."""
        found = self._folder.look()
        if found == "missing":
            self._lose(self._folder.explain_missing())
            return False
        if changes.vanished or self.lost:
            now = self._inventory(changes)
            is_strange = found == "strange" or (found == "new" and not self._folder.is_remembered)
            if is_loss(now, was_lost=bool(self.lost), is_strange=is_strange) and not is_accepted:
                self._lose(explain_loss(now, self._root))
                return False
        if self.lost:
            log.warning("data_is_back", path=str(self._root))
            self.lost = ""
            self._dirty = True
        return True

    def _inventory(self, changes: Changes) -> Inventory:
        """As it would be with these changes. A picture that appears may be a missing one under another name."""
        before = self._index.inventory()
        vanished = [path for path, there in changes.vanished if there]
        metadata = sum(is_under(path, META) for path in vanished)
        missing = before.missing_pictures + len(vanished) - metadata
        new = sum(self._index.file(found.path) is None for found in changes.appeared)
        appeared = min(new + len(changes.returned), missing)
        return Inventory(
            pictures=max(0, before.pictures - (len(vanished) - metadata) + appeared),
            missing_pictures=missing - appeared,
            metadata=max(0, before.metadata - metadata),
            missing_metadata=max(0, before.missing_metadata - self._catalog.undescribed) + metadata,
        )

    def _lose(self, reason: str) -> None:
        if not self.lost:
            log.error("data_folder_lost", reason=reason)
            with self._index.transaction():
                self._index.restore_missing()
                self._catalog.spare_deleted()
            self._dirty = True
        self.lost = reason

    def advance(self) -> None:
        """Take over what the checkers found out, and what became due by waiting."""
        if self.lost:
            return
        now = self._clock.monotonic()
        tick = self._catalog.next_tick()
        due = self._intake.next_due()
        is_due = min(tick or now + 1, due or now + 1) <= now or self._has_chores(now)
        if self._intake.results_waiting or self._catalog.waiting or is_due:
            with self._index.transaction():
                for verdict, found, result in self._intake.judged(BATCH):
                    if isinstance(result, ImageFacts) and verdict == "accept":
                        self._catalog.accept(found, result)
                    elif isinstance(result, Unchanged) and verdict == "accept":
                        self._catalog.confirm(found)
                    elif isinstance(result, CheckFailure) and verdict == "reject":
                        self._catalog.reject(
                            found, result.reason, retryable=result.retryable, incomplete=result.incomplete
                        )
                self._catalog.tick()
                if self._has_chores(now):
                    self._describe_after = now + CHORES_SECONDS
                    self._catalog.do_chores()
            self._dirty = True
        self._intake.submit()

    @property
    def is_behind(self) -> bool:
        """Whether a whole batch of results waits already."""
        return self._intake.results_waiting >= BATCH

    def next_due(self) -> float | None:
        """Monotonic time at which `advance` or `fresh_counts` has something to do without being woken."""
        now = self._clock.monotonic()
        if self._intake.results_waiting or self._has_chores(now):
            return now
        moments = [self._intake.next_due(), self._catalog.next_tick(), self._count_after if self._dirty else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def count(self) -> Counts:
        counts = queries.count(self._index.connection, len(self._intake) + self._catalog.waiting)
        return replace(counts, away=counts.total + counts.conflicts) if self.lost else counts

    def fresh_counts(self) -> Counts | None:
        """Counts, when something changed and the last counting was long enough ago for what it costs."""
        started = self._clock.monotonic()
        if not self._dirty or started < self._count_after:
            return None
        self._dirty = False
        counts = self.count()
        ended = self._clock.monotonic()
        self._count_after = ended + COUNT_REST * (ended - started)
        return counts

    def is_settled(self) -> bool:
        """Whether every file that was seen has been judged."""
        return not len(self._intake) and not self._catalog.waiting

    def unreadable_folders(self) -> list[Problem]:
        """As of the last whole scan; what is known of the files in them stays as it is."""
        found = sorted(self._unreadable.items())
        return [Problem(os.fsdecode(folder) or ".", "unreadable", f"folder {reason}") for folder, reason in found]

    def troubles(self) -> list[str]:
        """What an operator should know, in words; the work goes on."""
        found = [self._catalog.files.problem]
        found += [f"{problem.path!r}: {problem.reason}" for problem in self.unreadable_folders()[:3]]
        found.append(self.missing())
        return [text for text in found if text]

    def missing(self) -> str:
        """Why the data is not all there, in words: until it is, nothing is trained."""
        if self.lost:
            return self.lost
        if not self._held:
            return ""
        return (
            f"{self._held} files went away with their file system and are remembered until it is back"
            f" ({ACCEPT_COMMAND} forgets them)"
        )

    def _after(self, changes: Changes) -> None:
        if not changes:
            return
        self._dirty = True
        for path, _ in changes.vanished:
            self._intake.forget(path)
        if changes.vanished:
            self._vanished_until = self._clock.monotonic()
            self._vanished_since = self._vanished_since or self._vanished_until
        if changes.vanished and self.confirm_after is None:
            self.confirm_after = self._clock.monotonic() + CONFIRM_SECONDS
        log.debug(
            "folder_compared",
            appeared=len(changes.appeared),
            vanished=len(changes.vanished),
            metadata=len(changes.metadata),
        )

    def _forget_deleted(self, has_vanished: bool) -> None:
        """Once nothing goes any more: what is being emptied step by step is judged as a whole (`handlers/loss.py`)."""
        now = self._clock.monotonic()
        since = self._vanished_since
        is_quiet = now - self._vanished_until >= CONFIRM_SECONDS / 2
        if since is not None and not is_quiet and now - since < LONGEST_EMPTYING_SECONDS:
            return
        if not has_vanished:
            self._vanished_since = None
        # half the time: what a partial scan missed, this whole scan has looked for again
        if self._catalog.forget_deleted(CONFIRM_SECONDS / 2, self._intake.sizes()):
            self._catalog.do_chores()
            self._dirty = True

    def _pend(self, unknown: list[Found]) -> None:
        for found in unknown:
            self._intake.pend(found)

    def _has_chores(self, now: float) -> bool:
        """Chores are done when the checkers have nothing to do, and now and then while they have."""
        return self._catalog.has_chores and (not len(self._intake) or now >= self._describe_after)

    def _adopt_settings(self, distance: int) -> None:
        """Other limits, readers, folder names or another distance than those the index was made with."""
        with self._index.transaction():
            limits = json.dumps([*(getattr(self._limits, name) for name in CheckLimits.__slots__), *readers()])
            if self._index.setting("limits") not in (None, limits):
                self._index.forget_rejections()
            if self._index.setting("distance") not in (None, str(distance)):
                self._index.near.rebuild(distance)
            names = folders.adopted().describe()
            if self._index.setting("label_folders") != names:
                self._catalog.relabel()
            self._index.set_setting("label_folders", names)
            self._index.set_setting("limits", limits)
            self._index.set_setting("distance", str(distance))
