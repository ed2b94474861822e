"""What the demo shows: a live view in a terminal, plain lines elsewhere, and at the end what to try."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINES_KEPT = 6


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came out: the ended training run, the newest entry (None: nothing was published), the last status."""

    training: Mapping[str, Any]
    entry: Mapping[str, Any] | None
    status: Mapping[str, Any]


class DemoView:
    """Fed with the API's answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._lines: list[str] = []
        self._last = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        if self._console.is_terminal:
            self._lines = [*self._lines, line][-LINES_KEPT:]
            self._live.update(Panel("\n".join(self._lines), title="Exposr Trainer demo"))
        elif line != self._last:
            self._last = line
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def update(self, status: Mapping[str, Any], run: Mapping[str, Any] | None) -> None:
        counts = status["dataset_counts"]
        progress = run["progress"] if run else {}
        message = " ".join(str(progress.get("message", "")).split())
        if not self._console.is_terminal:
            amounts = f"{counts['real']} real, {counts['ai_generated']} ai_generated"
            self.say(f"{run['kind']}: {message} ({amounts})" if run and message else f"images: {amounts}")
            return
        self._live.update(Panel(Group(self._counts(counts), *self._bars(run, progress)), title="Exposr Trainer demo"))

    def finish(self, result: DemoResult, port: int) -> None:
        """The outcome in plain words, then the lines to try."""
        self._live.stop()
        for line in [*_outcome(result), "", *_lines_to_try(self._folder, port, result)]:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _counts(self, counts: Mapping[str, int]) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("real", "ai_generated", "unlabeled", "duplicates", "rejected", "pending"):
            table.add_column(name, justify="right")
        table.add_row(
            *(str(counts[name]) for name in ("real", "ai_generated", "unlabeled", "duplicates", "rejected", "pending"))
        )
        return table

    def _bars(self, run: Mapping[str, Any] | None, progress: Mapping[str, Any]) -> list[Any]:
        if run is None:
            return [Text("checking the last pictures")]
        rows = progress.get("sources") or {progress.get("phase") or run["state"]: progress}
        table = Table.grid(padding=(0, 2))
        for name, row in rows.items():
            bar = ProgressBar(
                total=row.get("total") or None, completed=row.get("done") or 0, width=30, pulse=not row.get("total")
            )
            table.add_row(str(name), bar, " ".join(str(row.get("message", "")).split()))
        return [Text(f"\n{run['kind']}"), table]


def _outcome(result: DemoResult) -> list[str]:
    counts, entry = result.status["dataset_counts"], result.entry
    lines = [f"Collected: {counts['real']} photographs and {counts['ai_generated']} AI-generated pictures."]
    lines.append(f"Training:  {result.training['state']}: {result.training['outcome']['summary']}")
    if entry is None:
        return [*lines, "Nothing is published."]
    auc = entry.get("val_auc")
    lines.append(
        f"Published: {entry['model']}/{entry['version']}, validation AUC {'unknown' if auc is None else f'{auc:.2f}'}"
    )
    lines.append(f"           on {entry['val_size']} pictures. {entry.get('notes', '')}")
    lines.append(
        "           So few pictures prove that the loop works, not that the detector does: believe no verdict of it."
    )
    return lines


def _lines_to_try(folder: Path, port: int, result: DemoResult) -> list[str]:
    shown = Path(folder.name) if folder.parent == Path.cwd() else folder
    url, key = f"http://127.0.0.1:{port}", f'-H "Authorization: Bearer $(cat {shown}/state/keys/api_key)"'
    lines = [
        f"The service goes on: open {url} in a browser; the key to sign in with is in {shown}/state/keys/api_key.",
        "In a terminal, try:",
        f"  curl {url}/status",
        f"  curl {url}/health",
        f"  curl {url}/metrics {key}",
        f"  curl {url}/models/latest {key}",
        f"  curl {url}/runs {key}",
        f"  curl -N {url}/events {key}        # then drop a picture:",
        f"  cp some-photo.jpg {shown}/datasets/real/    # counted within 3 s",
        f"  curl -X POST {url}/scrape {key}",
        f"  curl -X POST {url}/train {key}",
    ]
    if result.entry:
        version = f"{result.entry['model']}/{result.entry['version']}"
        lines.append(f"  curl -o weights.pt {url}/models/{version}/weights.pt {key}")
        lines.append(f"The model lies in {shown}/models/{version}/ ; open report.html there for the whole evaluation.")
    return [*lines, "End it with: scripts/demo --stop"]
