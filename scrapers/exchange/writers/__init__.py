"""One module for each form in which pictures go out, and the Croissant description that lies beside them."""

from __future__ import annotations

from pathlib import Path

from scrapers.exchange.writers.folder import FolderWriter
from scrapers.exchange.writers.parquet import ParquetWriter
from scrapers.exchange.writers.webdataset import WebDatasetWriter
from scrapers.exchange.writers.writer import Writer

FORMS = ("folder", "webdataset", "parquet")


def open_writer(form: str, folder: Path, shard_bytes: int) -> Writer:
    """A writer of this form into an empty folder; a shard is closed when it has reached `shard_bytes`."""
    if form == "folder":
        return FolderWriter(folder)
    if form == "webdataset":
        return WebDatasetWriter(folder, shard_bytes)
    return ParquetWriter(folder, shard_bytes)
