from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from drawn_pictures import draw
from encoded_pictures import encode
from exposr_client import Detector
from exposr_client.detection.card import read_card
from exposr_client.detection.network import build_network
from exposr_client.detection.preprocessing import open_image as client_image
from exposr_client.detection.preprocessing import to_array
from service_process import ServiceProcess, wait_until
from trainer.data.preprocessing import Preprocessing
from trainer.data.preprocessing import open_image as trainer_image
from utils.images.decoding.kinds import KINDS

PER_CLASS = 40


def write_data(service: ServiceProcess) -> None:
    """Smooth pictures against the same kind with a fine grid over them: easy, and no shortcut by format or size.

    In every format that is read, the same for either label.
    """
    kinds = list(KINDS)
    for index in range(PER_CLASS):
        pixels = np.asarray(draw(1000 + index), dtype=np.int16).copy()
        pixels[::4, ::4] += 60
        marked = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        kind = KINDS[kinds[index % len(kinds)]]
        for folder, image in (("real", draw(index)), ("AI Generated", marked)):
            file = service.data / folder / f"{index}{kind.extension}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(image, kind.name))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_training_is_interrupted_resumed_published_and_served_and_so_is_the_next(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path, {"EXPOSR_GATE__ENABLED": "false"})
    try:
        run_two_trainings(service)
    finally:
        service.end()


def run_two_trainings(service: ServiceProcess) -> None:
    write_data(service)
    service.start()
    service.wait_for_counts(30, real=PER_CLASS, ai_generated=PER_CLASS)
    started = service.post("/train")
    assert started.status_code == 202
    assert started.json()["status"] == "training started"
    assert service.post("/train").status_code == 409
    run_id = started.json()["run_id"]
    wait_until(lambda: bool(service.get(f"/runs/{run_id}")["progress"]), 60, service.log.read_text)

    before = time.monotonic()
    assert service.stop(signal.SIGTERM) == 0
    assert time.monotonic() - before < 10
    service.start()
    assert service.wait_for_run(run_id)["state"] == "succeeded"
    check_published(service)
    check_verdicts(service)
    second = service.wait_for_run(train_at_the_command_line(service))
    assert second["state"] == "succeeded", second
    assert [entry["version"] for entry in service.get("/models")["models"]] == ["v1", "v2"]


def train_at_the_command_line(service: ServiceProcess) -> str:
    """Without the service; SIGTERM in the middle, and the same command again. Returns the run's id."""
    assert service.stop() == 0
    jobs = service.state / "jobs"
    before = set(jobs.iterdir())
    command = [sys.executable, "-P", "-m", "daemon", "train"]
    with (service.folder / "interrupted.txt").open("wb") as said:
        first = subprocess.Popen(command, env=service.environ, cwd=service.folder, stdout=said, stderr=said)
        wait_until(lambda: set(jobs.iterdir()) - before, 60, lambda: Path(said.name).read_text())
        first.send_signal(signal.SIGTERM)
        assert first.wait(40) == 130, Path(said.name).read_text()
    [folder] = set(jobs.iterdir()) - before
    again = subprocess.run(command, env=service.environ, cwd=service.folder, capture_output=True, text=True)
    assert again.returncode == 0, again
    assert f"(run {folder.name})" in again.stdout
    service.start()
    return folder.name


def check_published(service: ServiceProcess) -> None:
    import torch

    latest = service.get("/models/latest")
    answer = httpx.get(f"{service.url}/{latest['download_url']}", headers=service.headers, trust_env=False)
    assert hashlib.sha256(answer.content).hexdigest() == latest["sha256"]
    assert len(answer.content) == latest["size_bytes"]
    weights = torch.load(io.BytesIO(answer.content), weights_only=True)
    card = service.get(f"/{latest['card_url']}")
    architecture, view = card["architecture"], card["preprocessing"]
    model = build_network(
        architecture["name"], architecture["kwargs"], architecture["branch"], view["mean"], view["std"]
    )
    assert model.load_state_dict(weights, strict=True)
    assert service.get("/metrics")["models_trained"] == 1


def check_verdicts(service: ServiceProcess) -> None:
    """What was dropped comes to a verdict in the client, from the very tensor that the trainer makes of the file."""
    version = (service.models.parent / service.get("/models/latest")["download_url"]).parent
    detector, card = Detector(version), read_card(version / "model.json")
    preprocessing = Preprocessing.from_card(json.loads((version / "model.json").read_text())["preprocessing"])
    files = sorted(service.data.glob("AI Generated/*"))
    assert {file.suffix for file in files} == {kind.extension for kind in KINDS.values()}
    predictions = detector.predict(files)
    for file, prediction in zip(files, predictions, strict=True):
        ours = to_array(client_image(file), card.view)
        assert np.array_equal(ours, preprocessing.to_tensor(trainer_image(file)).numpy()), file.name
        assert prediction.version == "v1" and 0 <= prediction.probability <= 1
