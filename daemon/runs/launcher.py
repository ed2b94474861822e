"""What a run's folder holds before its job starts, and how the job's process is started."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.runs.cgroup import TrainingCgroup, confined
from daemon.runs.process import Event, JobEnd, JobProcess, job_command, job_environment
from daemon.state.store import Run, Store
from handlers.dataset import Dataset
from trainer.data.snapshot import stream_snapshot
from utils.config_loader import Config
from utils.files import write_json_atomically
from utils.job_protocol import REPORTED_FILE, UNLABELLED_FILE, write_job

SNAPSHOT_FILE = "snapshot.jsonl"
SNAPSHOT_LABELLED = "snapshot_labelled"  # fact: labelled images in the newest snapshot


SCRAPE_NICE = 5
MOST_UNLABELLED = 2000  # pictures, the newest, for which a training says what it thinks: some 100 s on two cores


class JobLauncher:
    """Implements runner.Launcher over the service's parts; `config` is asked at each start: it can be reloaded."""

    def __init__(
        self,
        config: Callable[[], Config],
        dataset: Dataset,
        store: Store,
        reported: Callable[[], Mapping[str, Sequence[str]]] = dict,
    ) -> None:
        """`reported`: sha256 of a picture -> the verdicts with which Exposr-Core reported it."""
        self._config = config
        self._reported = reported
        self._dataset = dataset
        self._store = store
        self.training_limits = TrainingCgroup.for_machine(config().training.memory_percent)
        self.options: dict[str, Any] = {}  # for job.json: what the command line asked for

    def prepare(self, run: Run, folder: Path) -> None:
        config = self._config()
        job = {
            "run_id": run.id,
            "reason": run.reason,
            "config": config.model_dump(mode="json"),
            **self.options,
            **run.options,
        }
        if run.kind == "train":
            labelled = stream_snapshot(folder / SNAPSHOT_FILE, self._dataset.labelled_samples())
            self._store.set_fact(SNAPSHOT_LABELLED, labelled)
            job["snapshot"] = SNAPSHOT_FILE
            lines = (
                json.dumps({"sha256": sha256, "path": path})
                for sha256, path in self._dataset.unlabelled(MOST_UNLABELLED)
            )
            (folder / UNLABELLED_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
            write_json_atomically(folder / REPORTED_FILE, self._reported())
        write_job(folder, job)

    def launch(self, run: Run, folder: Path, on_progress: Callable[[Event], None]) -> JobProcess:
        if run.kind == "scrape":
            command = confined(job_command("scrapers", folder), nice=SCRAPE_NICE)
        else:
            self.training_limits.limit_to(self._config().training.memory_percent)
            command = self.training_limits.command(job_command("trainer", folder))
        env = job_environment(self._config(), with_source_keys=run.kind == "scrape")
        return JobProcess(command, folder, env, on_progress)

    def watch(self, run: Run) -> None:
        """Each tick: where the kernel does not limit a training's memory, this does."""
        if run.kind == "train" and run.pid is not None:
            self.training_limits.check(run.pid)

    def explain_end(self, run: Run, end: JobEnd) -> JobEnd:
        """Name the lack of memory where that ended a training."""
        if run.kind != "train" or end.result != "failed":
            return end
        why = self.training_limits.verdict(int(end.details.get("exit_status", 1)))
        self.training_limits.kill_leftovers()
        return end if why is None else replace(end, summary=why, details={**end.details, "reason": "out_of_memory"})
