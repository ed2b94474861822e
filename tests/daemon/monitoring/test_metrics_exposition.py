from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from daemon.monitoring.disk import DiskUsage
from daemon.monitoring.gpu import GpuMemory, parse_nvidia_smi
from daemon.monitoring.metrics import MetricsSnapshot, render

SNAPSHOT = MetricsSnapshot(
    version="1.2.3",
    start_timestamp=1_800_000_000.0,
    images={"real": 41, "ai_generated": 10, "unlabeled": 2},
    left_out={"duplicate": 3},
    pending=5,
    parts={"api": True, "dataset": False},
    runs={("scrape", "succeeded"): 7, ("train", "failed"): 2},
    last_run={"scrape": 1_800_000_100.0, "train": None},
    failures_in_a_row={"train": 2},
    models_published=2,
    model={"model": "vit", "version": "v2"},
    model_metrics={"val_auc": 0.87},
    disks=[DiskUsage(Path("/data"), 1, 10, 20, 3, 4), DiskUsage(Path("/btrfs"), 2, 10, 20, 0, 0)],
    disk_ok=False,
    gpus=[GpuMemory(0, "NVIDIA L4", 100, 200)],
)


def samples(snapshot: MetricsSnapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, content_type = render(snapshot, "text/plain")
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_part_of_the_snapshot_is_exported() -> None:
    found = samples(SNAPSHOT)
    assert found["exposr_images", (("label", "real"),)] == 41
    assert found["exposr_images_left_out", (("reason", "duplicate"),)] == 3
    assert found["exposr_part_up", (("part", "dataset"),)] == 0
    assert found["exposr_runs_total", (("kind", "train"), ("outcome", "failed"))] == 2
    assert found["exposr_last_run_timestamp_seconds", (("kind", "scrape"),)] == 1_800_000_100
    assert found["exposr_model_info", (("model", "vit"), ("version", "v2"))] == 1
    assert found["exposr_disk_floor_ok", ()] == 0
    assert found["exposr_gpu_memory_used_bytes", (("gpu", "0"), ("name", "NVIDIA L4"))] == 100
    assert found["exposr_images_pending", ()] == 5


def test_what_never_happened_and_what_does_not_exist_is_left_out() -> None:
    found = samples(SNAPSHOT)
    assert ("exposr_last_run_timestamp_seconds", (("kind", "train"),)) not in found
    assert ("exposr_disk_inodes_free", (("path", "/btrfs"),)) not in found


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    body, content_type = render(SNAPSHOT, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_two_services_in_one_process_do_not_share_a_registry() -> None:
    assert samples(SNAPSHOT) is not None
    assert samples(SNAPSHOT)["exposr_images_pending", ()] == 5


def test_nvidia_smi_lines_are_read_and_gpus_without_numbers_left_out() -> None:
    text = "0, NVIDIA H100 80GB HBM3, 523, 81559\n1, NVIDIA, odd, 1, 2\n2, GRID, [N/A], [N/A]\n\n"
    assert parse_nvidia_smi(text) == [
        GpuMemory(0, "NVIDIA H100 80GB HBM3", 523 << 20, 81559 << 20),
        GpuMemory(1, "NVIDIA, odd", 1 << 20, 2 << 20),
    ]
