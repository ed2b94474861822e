"""What Prometheus scrapes: one snapshot of the service, written as an exposition. No global registry, no state.

Times are exported as time stamps, not as ages, so that they keep growing when the service no longer answers:
`time() - exposr_last_run_timestamp_seconds{kind="scrape"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.monitoring.disk import DiskUsage
from daemon.monitoring.gpu import GpuMemory

if TYPE_CHECKING:
    from prometheus_client.core import Metric


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Everything that is exported. Time stamps are Unix seconds; None is "never", and is then left out."""

    version: str
    start_timestamp: float
    images: Mapping[str, int]  # label -> usable images: real, ai_generated, unlabeled
    left_out: Mapping[str, int]  # reason -> images: duplicate, conflict, rejected
    pending: int  # files that are not checked yet
    parts: Mapping[str, bool]  # part of the service -> is it well
    running: Mapping[str, bool] = field(default_factory=dict)  # kind (scrape, training) -> does one run now
    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, outcome) -> ended runs in the history
    last_run: Mapping[str, float | None] = field(default_factory=dict)  # kind -> end of the last run, however it ended
    last_success: Mapping[str, float | None] = field(default_factory=dict)  # kind -> end of the last one that succeeded
    next_due: Mapping[str, float | None] = field(default_factory=dict)  # kind -> when the next one is due
    failures_in_a_row: Mapping[str, int] = field(default_factory=dict)  # kind -> failed since the last that did not
    sources: Mapping[str, bool] = field(default_factory=dict)  # source -> can it be collected from now
    empty_runs: Mapping[str, int] = field(default_factory=dict)  # source -> runs in a row that came to nothing
    candidates: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # (source, outcome, reason) -> so far
    collected: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (label, generator or source) -> images
    drift_risen: bool = False
    observed_pictures: int = 0  # by the version in service, in the window of the decision
    observed_shares: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (kind, which) -> share
    models_published: int = 0
    model: Mapping[str, str] | None = None  # labels of the current version: model, version
    model_timestamp: float | None = None
    model_metrics: Mapping[str, float] = field(default_factory=dict)  # val_acc, val_auc, … of the current version
    disks: Sequence[DiskUsage] = ()
    disk_ok: bool = True
    gpus: Sequence[GpuMemory] = ()


def render(snapshot: MetricsSnapshot, accept: str = "") -> tuple[bytes, str]:
    """The exposition and its content type: OpenMetrics where `accept` asks for it, else the text format."""
    # here, since importing it costs 0.1 s and many a service is never scraped
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collector(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from _service(self._snapshot)
        yield from _dataset(self._snapshot)
        yield from _runs(self._snapshot)
        yield from _model(self._snapshot)
        yield from _machine(self._snapshot)


Sample = tuple[tuple[str, ...], float | None]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"exposr_{name}", text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def _by(table: Mapping[str, float | None] | Mapping[str, int] | Mapping[str, bool]) -> list[Sample]:
    return [((key,), value) for key, value in table.items()]


def _service(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    yield _gauge("info", "The version that runs; always 1.", ["version"], [((snapshot.version,), 1)])
    yield _gauge("start_timestamp_seconds", "When the service started.", [], [((), snapshot.start_timestamp)])
    yield _gauge(
        "part_up", "1 while a part of the service is well; /health says why not.", ["part"], _by(snapshot.parts)
    )


def _dataset(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    yield _gauge("images", "Usable images by label.", ["label"], _by(snapshot.images))
    yield _gauge("images_left_out", "Files that are no usable images, by reason.", ["reason"], _by(snapshot.left_out))
    yield _gauge("images_pending", "Files that wait for their check.", [], [((), snapshot.pending)])
    yield _gauge("source_usable", "1 while a source can be collected from.", ["source"], _by(snapshot.sources))
    empty = "Runs in a row that were offered candidates and stored none."
    yield _gauge("source_empty_runs", empty, ["source"], _by(snapshot.empty_runs))
    yield _gauge(
        "collected_images",
        "Collected images by generator or source.",
        ["label", "name"],
        list(snapshot.collected.items()),
    )
    yield from _candidates(snapshot)


def _candidates(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    labels = ["source", "outcome", "reason"]
    candidates = CounterMetricFamily(
        "exposr_candidates", "Candidates of the sources, by what came of them.", labels=labels
    )
    for values, count in snapshot.candidates.items():
        candidates.add_metric(values, count)
    yield candidates


def _runs(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    runs = CounterMetricFamily("exposr_runs", "Ended runs in the history.", labels=["kind", "outcome"])
    for labels, count in snapshot.runs.items():
        runs.add_metric(labels, count)
    yield runs
    yield _gauge("running", "1 while a run of this kind is under way.", ["kind"], _by(snapshot.running))
    yield _gauge("last_run_timestamp_seconds", "End of the last run.", ["kind"], _by(snapshot.last_run))
    yield _gauge("last_success_timestamp_seconds", "End of the last good run.", ["kind"], _by(snapshot.last_success))
    yield _gauge("next_due_timestamp_seconds", "When the next run is due.", ["kind"], _by(snapshot.next_due))
    yield _gauge("failures_in_a_row", "Runs failed since the last good one.", ["kind"], _by(snapshot.failures_in_a_row))


def _model(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    yield _gauge(
        "drift_risen", "1 while Core significantly sees more undecidable pictures.", [], [((), snapshot.drift_risen)]
    )
    yield _gauge("observed_pictures", "Judged by Core in 7 days.", [], [((), snapshot.observed_pictures)])
    text = "Share of pictures, uncertain or unfamiliar: seen, significantly at least, in validation at most."
    yield _gauge("observed_share", text, ["kind", "which"], list(snapshot.observed_shares.items()))
    yield _gauge("models_published", "Published versions.", [], [((), snapshot.models_published)])
    if snapshot.model is None:
        return
    names = list(snapshot.model)
    yield _gauge("model_info", "The current version; always 1.", names, [(tuple(snapshot.model.values()), 1)])
    yield _gauge("model_timestamp_seconds", "When it was published.", [], [((), snapshot.model_timestamp)])
    yield _gauge("model_metric", "Its metrics on held-out data.", ["metric"], _by(snapshot.model_metrics))


def _machine(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    disks = [((str(disk.path),), disk) for disk in snapshot.disks]
    yield _gauge("disk_free_bytes", "Free space for the service.", ["path"], [(key, d.free_bytes) for key, d in disks])
    yield _gauge("disk_size_bytes", "Size of the file system.", ["path"], [(key, d.total_bytes) for key, d in disks])
    counted = [(key, disk) for key, disk in disks if disk.inodes_total]
    yield _gauge("disk_inodes_free", "Free inodes.", ["path"], [(key, d.inodes_free) for key, d in counted])
    yield _gauge("disk_inodes", "Inodes in all.", ["path"], [(key, d.inodes_total) for key, d in counted])
    yield _gauge("disk_floor_ok", "0 while collecting is stopped for lack of room.", [], [((), snapshot.disk_ok)])
    gpus = [((str(gpu.index), gpu.name), gpu) for gpu in snapshot.gpus]
    yield _gauge("gpu_memory_used_bytes", "Used GPU memory.", ["gpu", "name"], [(key, g.used_bytes) for key, g in gpus])
    yield _gauge("gpu_memory_bytes", "GPU memory.", ["gpu", "name"], [(key, g.total_bytes) for key, g in gpus])
