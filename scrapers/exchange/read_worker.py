"""A reading process: `python -P -m scrapers.exchange.read_worker '{"parent": PID, …}'`, see `read_process.py`.

It reads what others have made, so it has a memory limit, no secrets and nothing to write to. It answers on standard
output in JSON lines; the bytes of a picture follow their line:

    {"ready": {"form": "parquet", "total": 10000}}
    {"file": "a.parquet", "keys": ["…", …]}       and waits for a line on standard input: the places it is to read
    {"index": 3, "path": "…", "columns": {…}, "size": 4711}   and 4711 bytes
    {"index": 4, "path": "…", "columns": {…}, "problem": "is cut short"}
    {"end": true}    or    {"failed": "what an operator must know"}
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from scrapers.exchange.readers.reader import Reader, ReaderOptions
from utils.errors import OperatorError
from utils.process import die_with_parent

MAX_COLUMNS = 64  # of one picture that are told
MAX_COLUMN_BYTES = 32_768  # of one of them, as JSON; larger ones are left out


def main() -> None:
    settings = json.loads(sys.argv[1])
    die_with_parent(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    resource.setrlimit(resource.RLIMIT_AS, (settings["memory_mb"] << 20, settings["memory_mb"] << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints
    try:
        from scrapers.exchange.readers.detect import open_dataset

        form, reader = open_dataset(Path(settings["path"]), ReaderOptions(**settings["options"]))
        _tell(answers, {"ready": {"form": form, "total": reader.total()}})
        _serve(reader, frozenset(settings["skip_files"]), answers)
        _tell(answers, {"end": True})
    except OperatorError as error:
        _tell(answers, {"failed": str(error)})
    except BrokenPipeError:
        os._exit(0)  # the parent has gone; nothing is left to say


def _serve(reader: Reader, skip_files: frozenset[str], answers: BinaryIO) -> None:
    for chunk in reader.chunks(skip_files):
        _tell(answers, {"file": chunk.file, "keys": list(chunk.keys)})
        line = sys.stdin.readline()
        if not line:
            raise BrokenPipeError
        wanted = frozenset(json.loads(line))
        if not wanted:
            continue
        for item in chunk.items(wanted):
            head: dict[str, Any] = {"index": item.index, "path": item.path, "columns": _bounded(item.columns)}
            head |= {"problem": item.problem} if item.problem else {"size": len(item.data)}
            _tell(answers, head, b"" if item.problem else item.data)


def _bounded(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns that JSON takes, within limits; the mapping cuts them to what metadata may hold."""
    kept = {}
    for name, value in islice(columns.items(), MAX_COLUMNS):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            if len(json.dumps(value, allow_nan=False)) <= MAX_COLUMN_BYTES:
                kept[str(name)[:200]] = value
    return kept


def _tell(answers: BinaryIO, head: dict[str, Any], data: bytes = b"") -> None:
    answers.write(json.dumps(head, ensure_ascii=True).encode("ascii") + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    main()
