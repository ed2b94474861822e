"""One run of a source that is a dataset and no API: what is new in it comes in by the importer.

What was decided stays decided, also about pictures that a person has deleted since, until the settings change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from scrapers.exchange.hub import HUB_URL, Hub
from scrapers.exchange.importer import Importer
from scrapers.exchange.items import DatasetItems
from scrapers.exchange.mapping import Terms
from scrapers.exchange.meanings import read_meanings, read_renames
from scrapers.exchange.read_process import ReadProcess
from scrapers.exchange.readers.reader import ReaderOptions
from scrapers.exchange.run import Request, digest_of, split_name, take_hub
from scrapers.exchange.tally import ImportTally
from scrapers.limits.capacity import Capacity
from scrapers.outcomes.outcome import SourceResult, Tally
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.items import STATES
from utils.clock import Clock
from utils.config.sources import DatasetSource, Hf
from utils.config_loader import Config
from utils.errors import OperatorError, RetryLaterError, StopRunError
from utils.images.check_pool import CheckPool
from utils.logs import get_logger

log = get_logger(__name__)


class DatasetRun:
    """For the harvester what `SourceRun` is: `run`, and what is told of it meanwhile."""

    def __init__(
        self,
        name: str,
        config: Config,
        settings: DatasetSource,
        item_store: ItemStore,
        image_store: ImageStore,
        checks: CheckPool,
        capacity: Capacity,
        clock: Clock,
        *,
        limit: int | None,
        report: Callable[[DatasetRun], None],
    ) -> None:
        self.name = name
        self.activity = ""
        self.is_over = False
        self._config = config
        self._settings = settings
        self._item_store = item_store
        self._image_store = image_store
        self._checks = checks
        self._capacity = capacity
        self._clock = clock
        self._report = report
        self._counts = ImportTally()
        self._notes: list[str] = []
        self._failed_places = 0
        self._ends_at = clock.monotonic() + config.harvest.max_run_minutes * 60
        self.planned = settings.limit_per_run if limit is None else min(limit, settings.limit_per_run)

    @property
    def tally(self) -> Tally:
        tally = Tally(known=self._counts.known, pages_failed=self._failed_places)
        tally.pages = int(self._counts.looked_at > 0)
        for state in STATES:
            found = {why: count for (name, why), count in self._counts.decided.items() if name == state}
            tally.counts[state].update(found)
        return tally

    def note(self, text: str) -> None:
        self._notes.append(text)

    async def run(self) -> SourceResult:
        """Never raises for what a dataset holds, or for one that is not there."""
        state: str = "finished"
        try:
            for place in self._settings.places:
                try:
                    await self._take(place)
                except RetryLaterError as error:
                    self._failed_places += 1
                    self.note(str(error))
                except OperatorError as error:
                    self._failed_places += 1
                    state = "blocked"
                    self.note(str(error))
        except StopRunError as error:
            self.note(str(error))
        finally:
            self.is_over = True
            self._report(self)
        message = "; ".join(dict.fromkeys(self._notes))
        return SourceResult("blocked" if state == "blocked" else "finished", message)

    async def _take(self, place: str) -> None:
        """One dataset, as far as the run's limits go."""
        path, revision = split_name(place)
        request = Request(path, self._terms(path), self._options(), revision or "main")
        if not request.hub_name:
            self._refuse_own_folders(Path(path))
        importer = Importer(
            terms=request.terms,
            origin={"dataset": request.hub_name or request.terms.name},
            items=DatasetItems(
                self._item_store,
                self._config.storage.local_path,
                self.name,
                digest_of(self._config, request),
                bring_back=False,
            ),
            store=self._image_store,
            checks=self._checks,
            capacity=self._capacity,
            data_folder=self._config.storage.local_path,
            clock=self._clock,
            limit=self.planned,
            key_prefix=f"{request.terms.name}/",
            report=self._tell,
            may_go_on=lambda: self._clock.monotonic() < self._ends_at,
            tally=self._counts,
        )
        self.activity = f"reads {request.terms.name}"
        if isinstance(self._settings, Hf):
            hub = Hub(os.environ.get("HF_TOKEN"), self._settings.base_url or HUB_URL)
            await take_hub(self._config, request, importer, hub)
        else:
            await importer.run(ReadProcess(Path(path), request.options))
        for value, count in importer.tally.unmapped.most_common(3):
            told = f"the label {value!r}" if value else "no label"
            self.note(f"{count} pictures of {request.terms.name} have {told}: explain it in sources.{self.name}.map")

    def _refuse_own_folders(self, path: Path) -> None:
        data = self._config.storage.local_path.resolve()
        if path.resolve().is_relative_to(data) or data.is_relative_to(path.resolve()):
            raise OperatorError(f"{path}: is, holds or lies in the data folder itself; it needs no source")

    def _terms(self, path: str) -> Terms:
        settings = self._settings
        columns = {kind: name for kind, name in settings.columns.items() if kind not in ("image", "path")}
        return Terms(
            name=path.removeprefix("hf:") if isinstance(settings, Hf) else Path(path).stem,
            label=settings.label,
            source=settings.source,
            generator=settings.generator,
            license=settings.license,
            root_name=Path(path).name if not isinstance(settings, Hf) and Path(path).is_dir() else "",
            meanings=read_meanings(settings.map),
            renames=read_renames(settings.rename),
            columns=columns,
        )

    def _options(self) -> ReaderOptions:
        return ReaderOptions(
            only=self._settings.only,
            image_column=self._settings.columns.get("image", ""),
            path_column=self._settings.columns.get("path", ""),
            max_file_bytes=int(self._config.intake.max_file_mb * 1e6),
        )

    def _tell(self, tally: ImportTally) -> None:
        self._report(self)
