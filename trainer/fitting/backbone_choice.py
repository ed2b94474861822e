"""Which backbone: each that can be had is embedded once, and asked about left-out sources under compression.

The low-level branch, which would be the same beside each, is computed once. The best is taken, unless the present one
is within a standard error of it, so that few pictures change nothing by chance. The choice is kept until the data have
grown (`trainer.models.comparison`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.storage import StorageHistories
from trainer.data.types import GroupedSample
from trainer.fitting.linear_head import HeadFitter, embed_views
from trainer.fitting.strategy import FROZEN_VIEWS
from trainer.models.backbones import Backbone, branch_width, load_backbone, load_listed
from trainer.models.comparison import (
    Comparison,
    Row,
    best_of,
    comparison_key,
    pinned_by,
    read_comparison,
    too_large,
)
from trainer.models.embedding_cache import Embedding
from trainer.models.embeddings import Embedder
from trainer.models.pretrained import Hub, WeightsMissingError
from trainer.models.shortlist import Listed, listed_as, shortlist
from trainer.split.sources import origin, source_folds
from trainer.stats.intervals import auc_interval
from utils.clock import SystemClock, to_iso
from utils.errors import OperatorError
from utils.logs import get_logger

log = get_logger(__name__)

LEAST_MARGIN = 0.05  # of AUC on left-out sources, by which another backbone must be better: few sources say little
ONE_ERROR = 0.6827  # confidence of an interval of one standard error to either side
COMPARED_MOST = {True: 2_000, False: 240}  # pictures, on a GPU or not
GB = 1e9

Choice = tuple[Backbone, Comparison | str]  # or why nothing was compared


def present_backbone(context: RunContext) -> Backbone:
    """The one that was chosen last, else the configured or the default one."""
    settings, seed = context.config.model, context.config.training.seed
    key = comparison_key(settings, on_gpu=context.on_gpu)
    last = None if pinned_by(settings) else read_comparison(context.config.storage.state_path, key)
    listed = listed_as(last.chosen) if last else None
    if listed:
        try:
            return load_listed(listed, settings, Hub(), seed=seed)
        except OperatorError as error:
            log.warning("chosen_backbone_unavailable", name=listed.name, reason=str(error))
    return load_backbone(settings, on_gpu=context.on_gpu, seed=seed)


def choose_backbone(
    context: RunContext, train: Sequence[GroupedSample], present: Backbone, histories: StorageHistories | None
) -> Choice:
    """The backbone to train, with the comparison that chose it, or why there was none."""
    settings, state = context.config.model, context.config.storage.state_path
    if setting := pinned_by(settings):
        return present, f"{setting} leaves no choice"
    if not present.is_pretrained:
        return present, "no pretrained weights can be had"
    hub, key = Hub(), comparison_key(settings, on_gpu=context.on_gpu)
    pictures, sources = len(train), len({(member.sample.label, origin(member)) for member in train})
    last = read_comparison(state, key)
    if last and last.chosen == present.name and not last.has_outgrown(pictures, sources) and not _is_new(last, hub):
        return present, last
    members = _sample(train, COMPARED_MOST[context.on_gpu])
    if not all(source_folds(members, target) for target in (0, 1)):
        return present, "two real sources and two generators are needed to compare backbones"
    rows = _Contest(context, members, present, histories, hub).rows()
    generated = sum(member.sample.target for member in members)
    chosen, why = _decide(rows, present.name, generated, len(members) - generated)
    made = to_iso(SystemClock().now())
    comparison = Comparison(chosen, why, pictures, sources, len(members), key, hub.answers, made, tuple(rows))
    comparison.write(state)
    log.info("backbone_chosen", name=chosen, reason=why)
    listed = listed_as(chosen)
    if chosen == present.name or listed is None:
        return present, comparison
    return load_listed(listed, settings, hub, seed=context.config.training.seed), comparison


def _is_new(last: Comparison, hub: Hub) -> bool:
    """Weights can be had now that could not be had then."""
    missed = [listed for row in last.missed() if (listed := listed_as(row.name))]
    if any(listed.place() != "hub" for listed in missed):
        return True
    return not last.hub_answered and any(listed.repository for listed in missed) and hub.answers


def _sample(train: Sequence[GroupedSample], most: int) -> list[GroupedSample]:
    """As many of each source, by content, as make about `most`; all where there are no more."""
    if len(train) <= most:
        return list(train)
    by_source: dict[tuple[str, str], list[GroupedSample]] = defaultdict(list)
    for member in sorted(train, key=lambda member: member.sample.sha256):
        by_source[member.sample.label, origin(member)].append(member)
    each = max(1, most // len(by_source))
    return [member for _, members in sorted(by_source.items()) for member in members[:each]]


def _decide(rows: Sequence[Row], present: str, generated: int, real: int) -> tuple[str, str]:
    now = next(row.auc for row in rows if row.name == present)
    other = best_of([row for row in rows if row.name != present])
    if now is None:
        return present, "nothing could be compared"
    if other is None or other.auc is None:
        return present, f"AUC {now:.3f} on left-out sources; no other backbone could be had"
    needed = max(now + LEAST_MARGIN, auc_interval(now, generated, real, ONE_ERROR)[1])
    if other.auc >= needed:
        return other.name, f"AUC {other.auc:.3f} on left-out sources, {now:.3f} with {present}; needed {needed:.3f}"
    return present, (
        f"AUC {now:.3f} on left-out sources; the best other, {other.name}, has {other.auc:.3f}, needed {needed:.3f}"
    )


class _Contest:
    """Asks one backbone after the other about the same pictures."""

    def __init__(
        self,
        context: RunContext,
        members: Sequence[GroupedSample],
        present: Backbone,
        histories: StorageHistories | None,
        hub: Hub,
    ) -> None:
        self._context, self._members, self._present, self._hub = context, members, present, hub
        self._settings, self._seed = context.config.model, context.config.training.seed
        self._histories = histories
        self._views = min(context.config.training.epochs or FROZEN_VIEWS, FROZEN_VIEWS)
        self._may_stay = [self._augmentation(present).may_stay(context.images.storage(m.sample)) for m in members]

    def rows(self) -> list[Row]:
        """The present one first."""
        listed = [entry for entry in shortlist(on_gpu=self._context.on_gpu) if entry.name != self._present.name]
        own = listed_as(self._present.name) or Listed(self._present.name, "", "")
        width = branch_width(self._present.model)
        found, row = self._embedded(own, self._present)
        rows = [self._asked(row, found)]
        branch = [embedding[:, embedding.shape[1] - width :] for embedding in found]
        gpu_gb = self._gpu_gb()
        for entry in listed:
            if gpu_gb is not None and (why := too_large(entry, gpu_gb)):
                rows.append(Row(entry.name, entry.licence, why=why))
                continue
            rows.append(self._rival(entry, branch))
        return rows

    def _rival(self, entry: Listed, branch: Sequence[Embedding]) -> Row:
        try:
            alone = self._settings.model_copy(update={"branch": False})
            backbone = load_listed(entry, alone, self._hub, seed=self._seed)
        except OperatorError as error:
            missing = isinstance(error, WeightsMissingError)
            return Row(entry.name, entry.licence, why=str(error), missing=missing)
        found, row = self._embedded(entry, backbone)
        both = [np.concatenate(parts, axis=1) for parts in zip(found, branch, strict=True)]
        return self._asked(row, both)

    def _embedded(self, entry: Listed, backbone: Backbone) -> tuple[list[Embedding], Row]:
        context, started = self._context, time.monotonic()
        embedder = Embedder(
            backbone.model, backbone.architecture, backbone.preprocessing, context.images, context.cache, context.device
        )

        def report(done: int, total: int, message: str) -> None:
            context.report("embed")(done, total, f"comparing {entry.name}: {message}")

        augmentation = self._augmentation(backbone)
        found = embed_views(embedder, augmentation, self._members, self._views, self._seed, report)
        row = Row(
            entry.name,
            entry.licence,
            weights=str(backbone.pretrained["source"]),
            parameters=sum(parameter.numel() for parameter in backbone.model.parameters()),
            input_size=backbone.preprocessing.size,
            seconds=round(time.monotonic() - started, 1),
            embedded=embedder.computed,
            with_branch=branch_width(backbone.model) > 0,
        )
        return found, row

    def _asked(self, row: Row, embeddings: Sequence[Embedding]) -> Row:
        fitter = HeadFitter(embeddings, self._members, branch_width(self._present.model), self._seed, self._may_stay)
        head = fitter.choose(lambda done, total, message: None)
        if head.auc is None or not np.isfinite(head.auc):
            return replace(row, why="no left-out view of both labels could be asked")
        self._context.report("embed")(1, 1, f"comparing {row.name}: AUC {head.auc:.3f} on left-out sources")
        return replace(row, auc=round(head.auc, 4))

    def _augmentation(self, backbone: Backbone) -> Augmentation:
        return Augmentation(self._context.config.training.augmentation, backbone.preprocessing, self._histories)

    def _gpu_gb(self) -> float | None:
        if not self._context.on_gpu:
            return None
        return float(torch.cuda.get_device_properties(self._context.device).total_memory / GB)
