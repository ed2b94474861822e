"""Tables that name pictures: CSV, TSV and JSON Lines, read line by line with a limit on each."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scrapers.exchange.readers.reader import MAX_TABLE_LINE_BYTES
from utils.errors import OperatorError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")  # what imagefolder datasets call theirs
DELIMITERS = (",", ";", "\t")
PATH_COLUMNS = (
    "file_name",
    "filename",
    "file",
    "path",
    "file_path",
    "filepath",
    "image_path",
    "image",
    "img_path",
    "img",
)


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Each line as a mapping. Raises OperatorError, naming the line, when the file is no table."""
    read = _json_lines if file.suffix.lower() == ".jsonl" else _csv_lines
    try:
        yield from read(file)
    except (UnicodeError, csv.Error) as error:
        raise OperatorError(f"{file}: is no table: {error}") from error


def find_path_column(row: Mapping[str, Any], named: str, file: Path) -> str:
    """The column that holds the picture's path. Raises OperatorError that lists the columns there are."""
    if named:
        if named in row:
            return named
        raise OperatorError(f"{file}: has no column {named!r}; columns are {', '.join(map(str, row))}")
    lower = {str(name).strip().lower(): name for name in row}
    for name in PATH_COLUMNS:
        if name in lower:
            return str(lower[name])
    raise OperatorError(
        f"{file}: which column holds the path? Say --path-column; columns are {', '.join(map(str, row))}"
    )


def _lines(file: Path) -> Iterator[str]:
    """Text lines; single bytes that are no UTF-8 stay with their line, which alone may suffer from them."""
    with file.open("rb") as head:
        encoding = "utf-16" if head.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    with file.open(encoding=encoding, errors="surrogateescape", newline="") as stream:
        number = 0
        while line := stream.readline(MAX_TABLE_LINE_BYTES):
            number += 1
            if len(line) >= MAX_TABLE_LINE_BYTES:
                raise OperatorError(f"{file}, line {number}: is longer than {MAX_TABLE_LINE_BYTES} characters")
            yield line


def _csv_lines(file: Path) -> Iterator[dict[str, Any]]:
    lines = _lines(file)
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)  # spreadsheets write a semicolon where the comma is a decimal point
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    for values in csv.reader(lines, delimiter=delimiter):
        if values:
            yield dict(zip(names, values, strict=False))


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OperatorError(f"{file}, line {number}: is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise OperatorError(f"{file}, line {number}: is not a JSON object")
        yield row
