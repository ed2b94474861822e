"""One import from its name to its tally: a path, or a dataset of the hub file by file. The sources run it as well."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from scrapers.exchange.hub import Hub, HubDataset
from scrapers.exchange.importer import Importer, Store
from scrapers.exchange.items import DatasetItems, Known
from scrapers.exchange.mapping import Terms
from scrapers.exchange.read_process import ReadProcess
from scrapers.exchange.readers.reader import ReaderOptions
from scrapers.exchange.tally import ImportTally
from scrapers.limits.capacity import Capacity
from scrapers.limits.checks import make_check_pool
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, Placement
from scrapers.store.lock import collecting
from scrapers.store.schema import DATABASE_FILE
from utils.clock import Clock, SystemClock
from utils.config_loader import Config
from utils.data_folder import require_data_folder
from utils.errors import OperatorError
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckLimits

HUB_PREFIX = "hf:"
DOWNLOADS = "hub"  # folder of the state in which a file of the hub waits to be read


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be imported: `path` is a path, or hf:OWNER/NAME at `revision`."""

    path: str
    terms: Terms
    options: ReaderOptions
    revision: str = "main"
    limit: int | None = None
    is_dry: bool = False

    @property
    def hub_name(self) -> str:
        """Empty for a path."""
        return self.path.removeprefix(HUB_PREFIX) if self.path.startswith(HUB_PREFIX) else ""

    @property
    def item_source(self) -> str:
        return f"import:{self.terms.name}"


@dataclass(frozen=True, slots=True)
class Imported:
    """`commit`: of a hub's dataset, else empty."""

    tally: ImportTally
    commit: str = ""


async def run_import(
    config: Config,
    request: Request,
    run_id: str,
    hub: Hub,
    open_known: Callable[[], AbstractContextManager[Known]] = lambda: nullcontext(lambda sha256, label: False),
    report: Callable[[ImportTally], None] = lambda tally: None,
    clock: Clock | None = None,
    checks: CheckPool | None = None,
) -> Imported:
    """Import on command. Raises StopRunError while a collection runs, or when there is no room; OperatorError."""
    state, data = config.storage.state_path, config.storage.local_path
    with ExitStack() as stack:
        if request.is_dry:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exposr-import-")))
            item_store = ItemStore(state if (state / DATABASE_FILE).is_file() else folder, run_id)
            store: Store = DryStore(folder)
        else:
            require_data_folder(data, state)
            stack.enter_context(collecting(state))
            item_store = ItemStore(state, run_id)
            store = ImageStore(data, item_store)
            store.repair()
        stack.callback(item_store.close)
        checks = checks or stack.enter_context(make_check_pool(config))
        items = DatasetItems(item_store, data, request.item_source, digest_of(config, request), bring_back=True)
        clock = clock or SystemClock()
        importer = Importer(
            terms=request.terms,
            origin={"dataset": request.hub_name or request.terms.name},
            items=items,
            store=store,
            checks=checks,
            capacity=Capacity(config.storage, clock),
            data_folder=data,
            clock=clock,
            known=stack.enter_context(open_known()),  # after the repair: what is half-stored is no picture yet
            limit=request.limit,
            is_dry=request.is_dry,
            report=report,
        )
        try:
            if request.hub_name:
                commit = await take_hub(config, request, importer, hub)
            else:
                commit = ""
                await importer.run(ReadProcess(Path(request.path), request.options))
        finally:
            if isinstance(store, ImageStore):
                await store.close()
        return Imported(importer.tally, commit)


async def take_hub(config: Config, request: Request, importer: Importer, hub: Hub) -> str:
    """Each file of the dataset: downloaded, read, deleted. Returns the commit."""
    dataset: HubDataset = await asyncio.to_thread(hub.find, request.hub_name, request.revision, request.options.only)
    importer.origin = {"dataset": request.path, "revision": dataset.commit}
    if not request.terms.license and dataset.license:
        importer.terms = replace(request.terms, license=dataset.license)
    folder = config.storage.state_path / DOWNLOADS / hashlib.sha256(request.path.encode()).hexdigest()[:16]
    prefix = importer.key_prefix
    for file in dataset.files:
        shard = f"{prefix}{file.path}@{file.version}"
        if not importer.is_dry and importer.items.is_done(shard):
            importer.tally.whole_files += 1
            continue
        local = await asyncio.to_thread(hub.download, dataset, file, folder, config.storage.min_free_gb)
        before = importer.tally.total("failed")
        importer.key_prefix = prefix + file.path.removesuffix(local.name)
        reading = ReadProcess(local, replace(request.options, only="", version=file.version))
        await importer.run(reading)
        local.unlink(missing_ok=True)
        if importer.is_full():
            break
        if not importer.is_dry and not reading.broken and importer.tally.total("failed") == before:
            importer.items.mark_done(shard)
    return dataset.commit


def digest_of(config: Config, request: Request) -> str:
    """Changes when another verdict on the same picture is possible: limits, terms, columns."""
    limits = CheckLimits.from_settings(config.intake)
    facts = [asdict(limits), asdict(request.terms), asdict(request.options)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def split_name(text: str) -> tuple[str, str]:
    """`hf:OWNER/NAME@REVISION` as name and revision; a path as it is, without one."""
    if not text.startswith(HUB_PREFIX):
        return text, ""
    name, _, revision = text.partition("@")
    if name.count("/") != 1:
        raise OperatorError(f"{text!r}: the form is hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return name, revision


@dataclass(slots=True)
class DryStore:
    """Decides like the image store, in a folder of its own, and keeps nothing but hashes."""

    folder: Path
    _seen: set[tuple[str, str]] = field(init=False, default_factory=set)

    def part_path(self, sample_id: str) -> Path:
        return self.folder / sample_id

    async def put(self, item: Placement | Decision, part: Path | None) -> Decision:
        if part is not None:
            part.unlink(missing_ok=True)
        if isinstance(item, Decision):
            return item
        content = (item.sha256, item.label)
        if content in self._seen:
            return Decision(item.row, "duplicate", "bytes")
        self._seen.add(content)
        return Decision(item.row, "stored")
