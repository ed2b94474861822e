from __future__ import annotations

import hashlib
import io
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from drawn_pictures import draw, write_pictures
from PIL import Image
from service_process import ServiceProcess, wait_until

PER_CLASS = 40


def write_data(service: ServiceProcess) -> None:
    """Smooth pictures against the same kind with a fine grid over them: easy, and no shortcut by format or size."""
    write_pictures(service.data / "real", PER_CLASS)
    folder = service.data / "ai_generated"
    folder.mkdir(parents=True)
    for index in range(PER_CLASS):
        pixels = np.asarray(draw(1000 + index), dtype=np.int16).copy()
        pixels[::4, ::4] += 60
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"generated-{index}.jpg")


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
    second = service.wait_for_run(service.post("/train").json()["run_id"])
    assert second["state"] == "succeeded", second
    assert [entry["version"] for entry in service.get("/models")["models"]] == ["v1", "v2"]


def check_published(service: ServiceProcess) -> None:
    import timm
    import torch

    latest = service.get("/models/latest")
    answer = httpx.get(f"{service.url}/{latest['download_url']}", headers=service.headers, trust_env=False)
    assert hashlib.sha256(answer.content).hexdigest() == latest["sha256"]
    assert len(answer.content) == latest["size_bytes"]
    weights = torch.load(io.BytesIO(answer.content), weights_only=True)
    card = service.get(f"/{latest['card_url']}")
    model = timm.create_model(card["architecture"]["name"], pretrained=False, **card["architecture"]["kwargs"])
    assert model.load_state_dict(weights, strict=True)
    assert service.get("/metrics")["models_trained"] == 1
