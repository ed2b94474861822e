"""The phases of one training, in their order: snapshot, split, train, calibrate, evaluate, audit, gate, publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trainer.assessment import judge_and_publish, published_before
from trainer.benchmarks.folders import Benchmarks, kept_out, read_benchmarks
from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.snapshot import Sample, Snapshot, read_snapshot
from trainer.data.storage import StorageHistories
from trainer.data.types import Candidate, Outcome
from trainer.distributed.ranks import Ranks
from trainer.fitting.backbone_choice import Choice, choose_backbone, present_backbone
from trainer.fitting.fit import train_candidate
from trainer.interrupts import Interrupts
from trainer.models.backbones import Backbone, branch_width
from trainer.models.embedding_cache import EmbeddingCache
from trainer.models.embeddings import SERVING_VIEW, Embedder
from trainer.shards.provide import LocalShards, training_images
from trainer.split.alike import alike_pairs
from trainer.split.split import Split, split_samples
from utils.config.training import Training
from utils.config_loader import Config, config_from_job
from utils.job_protocol import EMBEDDINGS_FOLDER, SCRATCH_FOLDER, SPLIT_LEDGER_FILE, read_job
from utils.logs import configure_logging, get_logger
from utils.metadata import LABELS

log = get_logger(__name__)

HISTORIES_FILE = f"{EMBEDDINGS_FOLDER}/storage.json"
CACHE_FILE = f"{EMBEDDINGS_FOLDER}/cache.sqlite"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of the training; `outcome` is set when there is nothing to train: too few of them, or it was done."""

    snapshot: Snapshot
    split: Split
    outcome: Outcome | None
    benchmarks: Benchmarks


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job whose ranks are together and whose data are split."""

    context: RunContext
    prepared: Prepared
    backbone: Backbone | None  # on the main rank: the one of the training before, or the default

    def train(self) -> tuple[Candidate, Backbone, Augmentation]:
        """On every rank, with the same result."""
        ranks, parts = self.context.ranks, self.prepared.split.parts
        histories = self._histories() if ranks.is_main else None
        choice: Choice | None = None
        if self.backbone:  # on the main rank
            choice = choose_backbone(self.context, parts["train"], self.backbone, histories)
            choice[0].model.cpu()  # where every rank can take it from
        backbone, compared = ranks.share(choice)
        histories = ranks.share(histories)
        augmentation = Augmentation(self.context.config.training.augmentation, backbone.preprocessing, histories)
        candidate = train_candidate(self.context, parts, backbone, augmentation)
        facts = {"why": compared} if isinstance(compared, str) else compared.to_card()
        return replace(candidate, backbones=facts), backbone, augmentation

    def _histories(self) -> StorageHistories | None:
        config, train = self.context.config, self.prepared.split.parts["train"]
        if not config.training.augmentation.histories:
            return None
        found = StorageHistories.of(
            [self.context.images.storage(member.sample) for member in train],
            [member.sample.target for member in train],
        )
        return found.settled(config.storage.state_path / HISTORIES_FILE)


def run_job(
    folder: Path | None, data: Path | None, interrupts: Interrupts, shards: LocalShards | None = None
) -> Outcome | None:
    """Run the job in `folder` to its end, on this rank. None on all ranks but the main one."""
    with start_job(folder, data, interrupts, shards) as job:
        context, prepared = job.context, job.prepared
        if prepared.outcome is not None:
            return prepared.outcome if context.ranks.is_main else None
        candidate, backbone, augmentation = job.train()
        context.ranks.leave()
        if not context.ranks.is_main:
            return None
        # the audit asks what the augmentation alone leaves of the files' properties
        alone = replace(augmentation, histories=None)
        outcome = judge_and_publish(
            context, prepared.snapshot, prepared.split, backbone.family, candidate, alone, prepared.benchmarks
        )
        context.cache.shrink()
        return outcome


@contextmanager
def start_job(
    folder: Path | None, data: Path | None, interrupts: Interrupts, shards: LocalShards | None = None
) -> Iterator[StartedJob]:
    """Ranks on other machines have no folder: they are told the job, and find images in `data` or in shards."""
    job = read_job(folder) if folder else None
    ranks = Ranks.start(config_from_job(job["config"]).training if job else Training(), has_job=job is not None)
    job = ranks.share(job)
    config = config_from_job(job["config"])
    configure_logging(config.logging.level)
    with TemporaryDirectory(prefix="exposr-rank-") as own:
        state = config.storage.state_path if ranks.is_main else Path(own)
        images = ImageFolder(data or config.storage.local_path)
        context = RunContext(
            folder=folder or Path(own),
            run=str(job["run_id"]),
            config=config,
            images=images,
            training_images=images,
            cache=EmbeddingCache(state / CACHE_FILE, int(config.training.cache_gb * 2**30)),
            ranks=ranks,
            interrupts=interrupts,
        )
        backbone = present_backbone(context) if ranks.is_main else None
        mine = _prepare(context, context.folder / job["snapshot"], backbone) if backbone else None
        prepared = ranks.share(mine)
        if prepared.outcome is None:
            context = replace(
                context,
                training_images=training_images(
                    ranks,
                    images if folder or data else None,
                    shards or LocalShards(),
                    config.training.shards,
                    [member.sample for member in prepared.split.parts["train"]],
                    context.folder / SCRATCH_FOLDER,
                    context.report("shards"),
                ),
            )
        yield StartedJob(context, prepared, backbone)


def _prepare(context: RunContext, file: Path, backbone: Backbone) -> Prepared:
    report = context.report("snapshot")
    snapshot = read_snapshot(file)
    report(0, 1, f"{len(snapshot.samples)} labelled pictures, fingerprint {snapshot.fingerprint[:12]}")
    present = snapshot.where(context.images.has)
    if len(present.samples) < len(snapshot.samples):
        log.warning("samples_gone", count=len(snapshot.samples) - len(present.samples))
    training = context.config.training
    benchmarks = read_benchmarks(context.config.storage.benchmarks_path)
    taken = kept_out(present.samples, benchmarks, training.group_distance)
    if taken:
        log.warning("kept_out_for_benchmarks", count=len(taken), benchmarks=", ".join(sorted(set(taken.values()))))
        report(0, 1, f"{len(taken)} pictures are kept out: a benchmark has them, or near-duplicates of them")
    kept = present
    present = present.where(lambda sample: sample.sha256 not in taken)
    split = split_samples(
        present.samples,
        context.config.storage.state_path / SPLIT_LEDGER_FILE,
        key=training.split_key,
        near_duplicate_distance=training.group_distance,
        published=context.config.storage.models_path,
        alike=lambda known: _alike(context, backbone, present.samples, known),
    )
    if taken:
        split.report["kept_out_for_benchmarks"] = {
            sample.path: taken[sample.sha256] for sample in kept.samples if sample.sha256 in taken
        }
    numbers = ", ".join(f"{len(members)} {part}" for part, members in split.parts.items())
    report(1, 1, f"split by creator, series and resemblance: {numbers}")
    outcome = published_before(context) or _too_little(context.config, split)
    return Prepared(present, split, outcome, benchmarks)


def _alike(
    context: RunContext, backbone: Backbone, samples: Sequence[Sample], known: set[str]
) -> list[tuple[str, str]]:
    """Pairs of sha256 that are nearly alike to the backbone; none where its weights are random, or nothing is new."""
    fresh = [sample.sha256 not in known for sample in samples]
    if not backbone.is_pretrained or not context.config.training.group_alike or not any(fresh):
        return []
    embedder = Embedder(
        backbone.model, backbone.architecture, backbone.preprocessing, context.images, context.cache, context.device
    )
    found = embedder.embed(
        samples, SERVING_VIEW, lambda _, image: [backbone.preprocessing.view(image)], context.report("embed")
    )
    width = -branch_width(backbone.model) or None  # what a picture shows is in the backbone's part alone
    rows = np.stack([found[sample.sha256][0][:width] for sample in samples])
    pairs = alike_pairs(rows, [sample.target for sample in samples], fresh)
    return [(samples[first].sha256, samples[second].sha256) for first, second in pairs]


def _too_little(config: Config, split: Split) -> Outcome | None:
    """Why nothing can be learnt or tested, in numbers; None when it can."""
    floor = config.triggers.min_per_class
    usable = split.samples()
    counts = {label: sum(grouped.sample.label == label for grouped in usable) for label in LABELS}
    details: dict[str, Any] = {"reason": "too_little_data", "counts": counts, "min_per_class": floor}
    short = [f"{count} {label}" for label, count in counts.items() if count < floor]
    if short:
        summary = f"too little data: {' and '.join(short)}, {floor} of each label are needed"
        return Outcome("failed", summary, {**details, "left_out": len(split.left_out)})
    for part in ("train", "test"):
        for label in LABELS:
            if not any(grouped.sample.label == label for grouped in split.parts[part]):
                groups = len({grouped.group for grouped in usable if grouped.sample.label == label})
                summary = (
                    f"too little data: the {counts[label]} {label} pictures form {groups} group(s) of one creator, post"
                    f" or near-duplicate, so none is left for the {part} part"
                )
                return Outcome("failed", summary, {**details, "groups": {label: groups}})
    return None
