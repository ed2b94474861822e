"""The importer's side of a reading process: keys out, wanted pictures in. A file that ends the process is left out.

    with ReadProcess(path, options) as reading:
        for keys in reading:
            for item in reading.items([0, 2]): …

Used from one thread that lives as long as it: see `utils.process`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from scrapers.exchange.readers.reader import Item, ReaderOptions
from utils.errors import OperatorError
from utils.images.check_process import KEPT_VARIABLES
from utils.logs import get_logger

log = get_logger(__name__)

MEMORY_MB = 4096  # of address space, of which libraries take a part
MAX_LINE_BYTES = 256 << 20  # the keys of one row group are one line


class ReadProcess:
    """One dataset from its first chunk to its last. `broken` names the files of which something is missing."""

    def __init__(self, path: Path, options: ReaderOptions, memory_mb: int = MEMORY_MB) -> None:
        self._settings = {"path": str(path), "options": asdict(options), "memory_mb": memory_mb}
        self._process: subprocess.Popen[bytes] | None = None
        self._file: str | None = None
        self._passed: set[str] = set()  # files that another start need not read again
        self._is_asked = True
        self.form = ""
        self.total: int | None = None
        self.broken: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __iter__(self) -> Iterator[list[str]]:
        """The keys of each chunk. Raises OperatorError with what is wrong with the dataset as a whole."""
        while True:
            try:
                if not self._is_asked:
                    self._ask([])
                head = self._read_head()
                if "end" in head:
                    return
                self._enter(str(head["file"]))
                self._is_asked = False
                yield [str(key) for key in head["keys"]]
            except EOFError:
                self._leave_out()

    def items(self, wanted: Sequence[int]) -> Iterator[Item]:
        """The pictures at these places of the chunk; those that a crash has taken are missing."""
        try:
            self._ask(wanted)
            for _ in wanted:
                head = self._read_head()
                data = self._read_exactly(int(head.get("size", 0)))
                yield Item(head["index"], head["path"], head["columns"], data, head.get("problem", ""))
        except EOFError:
            self._leave_out()

    def _enter(self, file: str) -> None:
        if self._file is not None and self._file != file:
            self._passed.add(self._file)
        self._file = file

    def _ask(self, wanted: Sequence[int]) -> None:
        self._is_asked = True
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(list(wanted)).encode("ascii") + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise EOFError from error

    def _read_head(self) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdout is not None
        line = process.stdout.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        head: dict[str, Any] = json.loads(line)
        if "failed" in head:
            raise OperatorError(head["failed"])
        return head

    def _read_exactly(self, size: int) -> bytes:
        process = self._process
        assert process is not None and process.stdout is not None
        data = process.stdout.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def _start(self) -> None:
        settings = {**self._settings, "parent": os.getpid(), "skip_files": sorted(self._passed)}
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}  # others reserve address space
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scrapers.exchange.read_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._is_asked = True
        try:
            ready = self._read_head()["ready"]
        except EOFError:
            raise OperatorError(f"the process that reads {self._settings['path']} ended ({self._stop()})") from None
        except OperatorError:
            self._stop()
            raise
        self.form, total = str(ready["form"]), ready["total"]
        self.total = self.total or total

    def _leave_out(self) -> None:
        """After a crash: go on behind the file that was being read. Raises OperatorError where that is the whole."""
        how, file = self._stop(), self._file
        if not file or file in self._passed:
            raise OperatorError(f"the process that reads {self._settings['path']} ended ({how})")
        log.warning("data_set_file_left_out", file=file, reason=how)
        self.broken[file] = f"ended the process that read it ({how}); its further pictures are left out"
        self._passed.add(file)
        self._start()

    def _stop(self) -> str:
        """Kill and reap; how it had ended."""
        process, self._process = self._process, None
        if process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        status = process.poll()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if status is None:
            return "it had to be killed"
        return f"signal {-status}" if status < 0 else f"exit status {status}"
