"""The integration guide's own Python, word for word, against the running service."""

from __future__ import annotations

import os
import subprocess
import sys

from guide_snippets import EXAMPLE, MODEL_INFO, USAGE
from service_process import KEY, ServiceProcess


def run_python(service: ServiceProcess, code: str) -> str:
    environ = {**service.environ, "EXPOSR_TRAINER_URL": service.url, "EXPOSR_TRAINER_API_KEY": KEY, "NO_PROXY": "*"}
    finished = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environ, cwd=service.folder, capture_output=True, text=True, timeout=30
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_usage_snippet_gets_the_four_metrics(running: ServiceProcess) -> None:
    shown = run_python(running, USAGE + "\nprint(sorted(metrics), response.status_code)")
    for name in ("last_training", "models_trained", "total_images", "validation_accuracy"):
        assert f"'{name}'" in shown
    assert "200" in shown


def test_the_model_info_snippet_runs_before_anything_is_published(running: ServiceProcess) -> None:
    assert run_python(running, MODEL_INFO + "\nprint(model_info)").strip() == "None"


def test_the_example_runs_before_anything_is_published(running: ServiceProcess) -> None:
    shown = run_python(running, EXAMPLE + "\ncheck_for_new_model()\ndownload_latest_model()\nprint('ran')")
    assert shown.strip() == "ran"


def test_a_model_in_the_guides_form_is_read_as_the_guide_says(service: ServiceProcess) -> None:
    folder = service.models / "vit/v2"
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_bytes(os.urandom(2000))
    (service.models / "registry.json").write_text(
        """[{"model": "vit", "version": "v2", "timestamp": "2025-10-29T00:59:08Z", "dataset_size": 51, "train_size": 46,
        "val_size": 5, "epochs": 10, "val_acc": 0.89, "val_auc": 0.87, "val_loss": 0.21, "precision": 0.82,
        "recall": 0.9, "f1_score": 0.89, "notes": "Automated training run with evaluation"}]"""
    )
    service.start()
    metrics = service.get("/metrics")
    assert (metrics["models_trained"], metrics["last_training"]) == (1, "2025-10-29T00:59:08Z")
    assert metrics["validation_accuracy"] == 0.89
    latest = service.get("/models/latest")
    assert (latest["model_version"], latest["download_url"]) == ("v2", "models/vit/v2/weights.pt")
    assert latest["metrics"]["val_accuracy"] == 0.89
    shown = run_python(service, MODEL_INFO + "\nprint(model_info['download_url'], get_model_path(config, 'vit', 'v2'))")
    assert shown.split() == ["models/vit/v2/weights.pt", str(folder / "weights.pt")]
