"""The alert rules and the dashboard may only speak of metrics that the service exports."""

import json
import re
from pathlib import Path

import pytest

from daemon.monitoring.disk import DiskUsage
from daemon.monitoring.gpu import GpuMemory
from daemon.monitoring.metrics import MetricsSnapshot, render

MONITORING = Path(__file__).resolve().parents[2] / "systemd/monitoring"
FULL = MetricsSnapshot(
    version="1",
    start_timestamp=1,
    images={"real": 1},
    left_out={"duplicate": 1},
    pending=0,
    parts={"api": True},
    running={"train": False},
    runs={("train", "failed"): 1},
    last_run={"train": 1},
    last_success={"train": 1},
    next_due={"train": 1},
    failures_in_a_row={"train": 1},
    sources={"pexels": True},
    model={"model": "vit", "version": "v1"},
    model_timestamp=1,
    model_metrics={"val_auc": 1, "unseen_auc": 1, "unseen_auc_low": 1, "unseen_found": 1, "unseen_false_alarms": 0},
    drift_risen=True,
    observed_pictures=1,
    observed_shares={("uncertain", which): 0.1 for which in ("seen", "sure", "validation")},
    disks=[DiskUsage(Path("/"), 1, 1, 1, 1, 1)],
    gpus=[GpuMemory(0, "GPU", 1, 1)],
)


@pytest.fixture(scope="module")
def exported() -> set[str]:
    body, _ = render(FULL, "text/plain")
    return {re.split(r"[{ ]", line)[0] for line in body.decode().splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_every_metric_that_is_asked_for_is_exported(name: str, exported: set[str]) -> None:
    used = set(re.findall(r"\b(?:exposr|process)_[a-z_]+\b", (MONITORING / name).read_text()))
    assert len(used) >= 10
    assert used <= exported


def test_the_dashboard_is_json_that_grafana_imports() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    assert dashboard["title"] == "Exposr Trainer"
    assert all(panel["targets"] for panel in dashboard["panels"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_panels_do_not_overlap_and_show_drift_and_what_is_unseen(exported: set[str]) -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23
    asked = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    text = render(FULL, "text/plain")[0].decode()
    assert "exposr_drift_risen" in asked
    for which in re.findall(r'which="(\w+)"', asked):
        assert f'which="{which}"' in text
    [wanted] = re.findall(r'metric=~"(unseen[^"]+)"', asked)
    shown = [name for name in re.findall(r'exposr_model_metric{metric="(\w+)"}', text) if re.fullmatch(wanted, name)]
    assert set(shown) >= {"unseen_auc", "unseen_auc_low", "unseen_found", "unseen_false_alarms"}


def test_every_alert_says_what_to_do() -> None:
    rules = (MONITORING / "alerts.yml").read_text()
    assert rules.count("- alert:") == rules.count("summary:") == rules.count("action:") == rules.count("severity:")
