"""From the parts of a split to a candidate: begin on the strategy that fits, climb when the head does not satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.types import Candidate, GroupedSample, PartsOfSplit, Refit
from trainer.fitting.finetune import fine_tune
from trainer.fitting.linear_head import Head, HeadFitter, embed_views
from trainer.fitting.pairs import reconstructions_of
from trainer.fitting.strategy import Strategy, first_strategy, next_strategy
from trainer.models.backbones import Backbone, branch_width, is_transformer
from trainer.models.embedding_cache import Embedding
from trainer.models.embeddings import Embedder
from utils.logs import get_logger

log = get_logger(__name__)

SMALL_PARAMETERS = 10_000_000  # a convolutional network below this is fine-tuned whole


def train_candidate(
    context: RunContext, parts: PartsOfSplit, backbone: Backbone, augmentation: Augmentation
) -> Candidate:
    """Every rank calls this and gets the same weights."""
    settings, train = context.config.training, parts["train"]
    facts: dict[str, Any] = {
        "minority": min(sum(grouped.sample.target == label for grouped in train) for label in (0, 1)),
        "train": len(train),
        "pretrained": backbone.is_pretrained,
        "on_gpu": context.on_gpu,
        "small": _is_small_convolutional(backbone),
    }
    strategy = first_strategy(settings, **facts)
    history: list[dict[str, float]] = []
    notes: list[str] = []
    gentle = False  # what the head was best with is what the network is trained with, if it comes to that
    while True:
        log.info("training_mode", mode=strategy.mode, epochs=strategy.epochs, reason=strategy.reason)
        notes.append(f"{strategy.mode}: {strategy.reason}")
        if strategy.mode != "frozen":
            history += fine_tune(context, parts, backbone, augmentation, strategy, gentle=gentle)
            notes.append("gentle augmentation, which did best for the head" if gentle else "full augmentation")
            return _candidate(backbone, strategy, history, notes)
        fitter = _head_fitter(context, train, backbone, augmentation, strategy) if context.ranks.is_main else None
        head: Head = context.ranks.share(fitter.choose(context.report("train")) if fitter else None)
        history += head.history
        notes.append(head.choice)
        higher = next_strategy(settings, head.auc, by_sources=head.by_sources, **facts)
        if higher is None:
            head.put_into(backbone.model)
            return _candidate(backbone, strategy, history, notes, fitter.refit if fitter else None)
        strategy, gentle = higher, head.is_gentle


def _head_fitter(
    context: RunContext,
    train: Sequence[GroupedSample],
    backbone: Backbone,
    augmentation: Augmentation,
    strategy: Strategy,
) -> HeadFitter:
    seed = context.config.training.seed
    embedder = Embedder(
        backbone.model, backbone.architecture, backbone.preprocessing, context.images, context.cache, context.device
    )
    views, report = strategy.epochs, context.report("embed")
    embeddings = embed_views(embedder, augmentation, train, views, seed, report)
    may_stay = [augmentation.may_stay(context.images.storage(grouped.sample)) for grouped in train]
    pairs: list[tuple[GroupedSample, Embedding]] = []
    if reconstructions := reconstructions_of(context):
        made = reconstructions.members(train)
        found = embed_views(embedder, augmentation, made, views, seed, report, reconstructions)
        pairs = list(zip(made, found, strict=True))
    return HeadFitter(embeddings, train, branch_width(backbone.model), seed, may_stay, pairs)


def _candidate(
    backbone: Backbone,
    strategy: Strategy,
    history: list[dict[str, float]],
    notes: list[str],
    refit: Refit | None = None,
) -> Candidate:
    return Candidate(
        model=backbone.model.cpu().eval(),
        architecture={**backbone.architecture, "mode": strategy.mode, "pretrained": backbone.pretrained},
        preprocessing=backbone.preprocessing,
        mode=strategy.mode,
        epochs=strategy.epochs,
        history=history,
        pretrained=backbone.pretrained,
        notes=notes,
        refit=refit,
    )


def _is_small_convolutional(backbone: Backbone) -> bool:
    size = sum(parameter.numel() for parameter in backbone.model.parameters())
    return size < SMALL_PARAMETERS and not is_transformer(backbone.model)
