"""Commands that take datasets in and give them out: import, export."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.options import ConfigOption, read_config
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.metadata import Label, LabelSource

if TYPE_CHECKING:
    from scrapers.exchange.run import Request
    from scrapers.exchange.tally import ImportTally

LINE_SECONDS = 3.0  # between two progress lines
EXIT_LEFT_OUT = 1  # labels that nobody has explained, or nothing at all


def register(app: typer.Typer) -> None:
    app.command("import")(import_dataset)
    app.command("export")(export_dataset)


def import_dataset(
    dataset: Annotated[str, typer.Argument(help="Folder, .csv, .tar or .parquet, or hf:OWNER/NAME[@REVISION].")],
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, store nothing.")] = False,
    name: Annotated[str, typer.Option(help="The dataset's name: the source of pictures that name none.")] = "",
    label: Annotated[str, typer.Option(help="Label of all pictures: real, ai_generated or none.")] = "",
    meaning: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="VALUE=LABEL[/NAME]", help="What a label or folder means; NAME: its generator."),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Another name for a generator or source.")
    ] = None,
    source: Annotated[str, typer.Option(help="Source of all pictures.")] = "",
    generator: Annotated[str, typer.Option(help="Generator of all generated pictures.")] = "",
    license: Annotated[str, typer.Option(help="Licence of pictures that have none.")] = "",
    label_column: Annotated[str, typer.Option(help="Column of the label.")] = "",
    generator_column: Annotated[str, typer.Option(help="Column of the generator.")] = "",
    source_column: Annotated[str, typer.Option(help="Column of the source.")] = "",
    creator_column: Annotated[str, typer.Option(help="Column of the author.")] = "",
    image_column: Annotated[str, typer.Option(help="Column (parquet) or extension (tar) of the picture.")] = "",
    path_column: Annotated[str, typer.Option(help="Column of the path (CSV, metadata.jsonl).")] = "",
    only: Annotated[str, typer.Option(metavar="GLOB", help="Only these files, such as 'data/train-*'.")] = "",
    form: Annotated[str, typer.Option(help="folder, table, webdataset or parquet; default: detected.")] = "",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of a hub's dataset.")] = "",
    labelled_by: Annotated[
        str, typer.Option(help="person: these labels rank like your own, and pairs are kept.")
    ] = "source",
    limit: Annotated[int | None, typer.Option(min=1, help="New pictures, at most.")] = None,
) -> None:
    """Import a data set: image folder, CSV of paths, WebDataset, parquet, Hugging Face. It can be interrupted."""
    from scrapers.exchange.hub import Hub
    from scrapers.exchange.mapping import Terms
    from scrapers.exchange.meanings import read_meanings, read_renames
    from scrapers.exchange.readers.reader import ReaderOptions
    from scrapers.exchange.run import HUB_PREFIX, Request, run_import, split_name

    settings = read_config(config)
    place, named_revision = split_name(dataset)
    is_hub = place.startswith(HUB_PREFIX)
    path = place if is_hub else str(Path(place).resolve())
    columns = {"label": label_column, "generator": generator_column, "source": source_column, "creator": creator_column}
    if labelled_by not in ("person", "source"):
        raise OperatorError(f"--labelled-by is {labelled_by!r}, allowed are person and source")
    by: LabelSource = "person" if labelled_by == "person" else "source"
    terms = Terms(
        name=name or (place.removeprefix(HUB_PREFIX) if is_hub else Path(path).stem),
        label=label,
        source=source,
        generator=generator,
        license=license,
        labelled_by=by,
        root_name="" if is_hub or not Path(path).is_dir() else Path(path).name,
        meanings=read_meanings(meaning or []),
        renames=read_renames(rename or []),
        columns={kind: column for kind, column in columns.items() if column},
    )
    max_bytes = int(settings.intake.max_file_mb * 1e6)
    options = ReaderOptions(form, only, image_column, path_column, max_file_bytes=max_bytes)
    request = Request(path, terms, options, revision or named_revision or "main", limit, dry_run)
    run_id, hub = f"import-{uuid.uuid4().hex[:8]}", Hub(os.environ.get("HF_TOKEN"))
    known = partial(_known_content, settings, dry_run)
    imported = asyncio.run(run_import(settings, request, run_id, hub, known, _Lines()))
    for line in _render(request, imported.tally, imported.commit):
        typer.echo(line)
    tally = imported.tally
    came_in = tally.known + tally.total("stored") + tally.total("duplicate") + tally.whole_files
    if tally.unmapped or not came_in:
        raise typer.Exit(EXIT_LEFT_OUT)


def export_dataset(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    config: ConfigOption = None,
    form: Annotated[str, typer.Option(help="folder, webdataset or parquet.")] = "folder",
    name: Annotated[str, typer.Option(help="The dataset's name in its description.")] = "",
    shard_mb: Annotated[int, typer.Option(min=1, help="Size of a tar or parquet file (MB).")] = 500,
) -> None:
    """Export the labelled data set with its split, credits and a Croissant description."""
    from daemon.export import Export

    settings = read_config(config)
    _bring_index_up_to_date(settings)
    lines = _Throttle()

    def progress(done: int, total: int) -> None:
        lines.say(f"{done} of {total} pictures")

    report = Export(settings, folder, form, name or folder.absolute().name, shard_mb, progress).run()
    for split in sorted({split for split, _ in report.splits}):
        counts = ", ".join(
            f"{count} {label}" for (part, label), count in sorted(report.splits.items()) if part == split
        )
        typer.echo(f"{split}: {counts}")
    for path, reason in report.missing:
        typer.echo(f"left out: {path!r} {reason}")
    typer.echo(
        f"{folder}: {report.pictures} pictures, {report.size_bytes / 1e6:.1f} MB, data fingerprint {report.fingerprint}"
    )


class _Throttle:
    """Progress lines, some seconds apart."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def say(self, text: str) -> None:
        if time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            typer.echo(text, err=True)


class _Lines(_Throttle):
    def __call__(self, tally: ImportTally) -> None:
        self.say(f"{tally.looked_at} looked at: {tally.total('stored')} stored, {tally.known} known")


def _render(request: Request, tally: ImportTally, commit: str) -> Iterator[str]:
    """The whole truth about an import, the most important line last."""
    if commit:
        yield f"revision {commit} (repeat with --revision {commit})"
    for (label, name), count in sorted(tally.stored.items()):
        yield f"{label} / {name}: {count}"
    for license, count in tally.licenses.most_common(10):
        yield f"licence {license!r}: {count}"
    for path, reason in tally.examples:
        yield f"left out: {path!r} {reason}"
    if tally.unmapped:
        yield _explain_labels(tally.unmapped)
    done = "would store" if request.is_dry else "stored"
    counts = [f"{done} {tally.total('stored')}", f"{tally.known} known", f"{tally.total('duplicate')} duplicates"]
    trouble = [(*key, count) for key, count in sorted(tally.decided.items()) if key[0] not in ("stored", "duplicate")]
    counts += [f"{count} {state} ({why})" for state, why, count in trouble]
    counts += [f"{tally.whole_files} files taken before"] if tally.whole_files else []
    yield f"{request.terms.name}: {', '.join(counts)}"


def _explain_labels(unmapped: Counter[str]) -> str:
    values = [value for value, _ in unmapped.most_common(10) if value]
    if not values:
        return "no labels were found: say --label, or --label-column NAME"
    counted = ", ".join(f"{value!r} ({unmapped[value]})" for value in values)
    return f"labels that are not known: {counted}; say what each means: --map '{values[0]}=ai_generated/NAME'"


@contextmanager
def _known_content(config: Config, dry_run: bool) -> Iterator[Callable[[str, Label | None], bool]]:
    """Whether the data folder has some content under a label, by an index that is up to date."""
    from handlers.index.queries import path_under_label
    from handlers.index.schema import INDEX_FILE, connect_reader

    file = config.storage.state_path / INDEX_FILE
    if not dry_run or file.exists():
        _bring_index_up_to_date(config)
    if not file.exists():
        yield lambda sha256, label: False
        return
    root = config.storage.local_path
    with contextlib.closing(connect_reader(file)) as index:

        def is_known(sha256: str, label: Label | None) -> bool:
            found = path_under_label(index, sha256, label)
            return found is not None and (root / found).exists()

        yield is_known


def _bring_index_up_to_date(config: Config) -> None:
    """A running service does it all the time; without one it is done here."""
    from daemon.state.lock import StateLock, current_holder
    from handlers.labels.commands import bring_up_to_date

    if current_holder(config.storage.state_path) is not None:
        return
    lines = _Throttle()
    lock = StateLock(config.storage.state_path)
    lock.acquire("exposr-trainer")
    try:
        bring_up_to_date(config, lambda done, total: lines.say(f"{done} of {total} files checked"))
    finally:
        lock.release()
