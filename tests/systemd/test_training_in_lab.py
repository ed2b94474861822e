"""Trainings under a real systemd: what a stop and a runaway do to them, and to everything else."""

from pathlib import Path
from typing import Any

import pytest
from lab_service import DATASETS, UNIT, LabService, make_pictures

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(400)]
TRAINING_SECONDS = 180  # until something is heard of a training, on a machine that is busy with other things


@pytest.fixture
def with_data(service: LabService, tmp_path: Path) -> LabService:
    """The service with enough pictures of both labels for a training."""
    for seed, folder in ((1, "real"), (2, "ai_generated")):
        make_pictures(tmp_path / folder, 30, seed)
        for picture in (tmp_path / folder).iterdir():
            (service.lab.path(f"{DATASETS}/{folder}") / picture.name).write_bytes(picture.read_bytes())
    service.lab.run(f"chown -R exposr {DATASETS}/real {DATASETS}/ai_generated")
    service.wait_for("60 images", lambda: service.counts()["total"] == 60, 60)
    return service


def newest_training(service: LabService) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/runs?kind=train&limit=1")["runs"][0]
    return found


def is_at_work(service: LabService, resumes: int) -> bool:
    run = newest_training(service)
    progress = run["progress"]
    at_work = progress.get("phase") in ("embed", "train", "evaluate")
    return bool(run["state"] == "running" and at_work and progress["resumes"] == resumes)


def test_a_training_is_stopped_in_time_and_goes_on_after_the_start(with_data: LabService) -> None:
    service = with_data
    run = service.post("/train")["run_id"]
    service.wait_for("a training at work", lambda: is_at_work(service, resumes=0), TRAINING_SECONDS)
    service.systemctl("stop", UNIT)
    assert service.show("Result") == "success"  # it would be "timeout" after 30 s
    assert service.lab.run("pgrep --full 'python.* -m trainer'", check=False) == ""
    service.systemctl("start", UNIT)
    service.wait_for("the training at work again", lambda: is_at_work(service, resumes=1), TRAINING_SECONDS)
    assert newest_training(service)["id"] == run


def test_a_runaway_training_ends_alone_and_the_reason_is_on_record(with_data: LabService) -> None:
    service = with_data
    service.configure("\n[training]\nmemory_percent = 0.5\n")
    service.restart()
    process = service.show("MainPID")
    service.wait_for("60 images", lambda: service.counts()["total"] == 60)
    service.post("/train")
    service.wait_for("the end", lambda: newest_training(service)["state"] == "failed", TRAINING_SECONDS)
    run = newest_training(service)
    assert "out of memory" in run["outcome"]["summary"]
    assert "training.batch_size" in run["outcome"]["summary"]
    assert service.show("MainPID") == process
    assert service.show("NRestarts") == "0"
    assert service.counts()["total"] == 60
