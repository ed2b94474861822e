"""From the parts of a split to a candidate: begin on the strategy that fits, climb when the head does not satisfy.

A network that was fine-tuned after a head replaces it only when it is better on the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.metrics import roc_auc_score

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
from trainer.models.scorer import ModelScorer
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
    start: _FrozenStart | None = None
    if strategy.mode == "frozen":
        start = _fit_head(context, train, backbone, augmentation, strategy)
        start.head.put_into(backbone.model)
        history += start.head.history
        notes += [_announce(strategy), start.head.choice]
        higher = next_strategy(settings, start.head.auc, by_sources=start.head.by_sources, **facts)
        if higher is None:
            return _candidate(backbone, strategy, history, notes, start.refit)
        strategy = higher
    # what the head was best with is what the network is trained with
    gentle = start is not None and start.head.is_gentle
    head_auc = _validation_auc(context, parts["validation"], backbone) if start else None
    frozen = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()} if start else {}
    notes.append(_announce(strategy))
    tuned = context.ranks.share(fine_tune(context, parts, backbone, augmentation, strategy, gentle=gentle))
    history += tuned
    notes.append("gentle augmentation, which did best for the head" if gentle else "full augmentation")
    tuned_auc = tuned[-1].get("val_auc") if tuned else None
    # when they are equal, what costs less and was fitted with less freedom stays
    if start and head_auc is not None and tuned_auc is not None and tuned_auc <= head_auc:
        notes.append(
            f"frozen all the same: AUC {head_auc:.3f} of the head on the validation split, "
            f"{tuned_auc:.3f} of the fine-tuned network"
        )
        log.info("fine_tuning_dropped", reason=notes[-1])
        backbone.model.cpu().load_state_dict(frozen)
        return _candidate(backbone, start.strategy, history, notes, start.refit)
    return _candidate(backbone, strategy, history, notes)


@dataclass(frozen=True, slots=True)
class _FrozenStart:
    """A head on frozen features; `refit` is there on the first rank."""

    strategy: Strategy
    head: Head
    refit: Refit | None


def _announce(strategy: Strategy) -> str:
    """Logs that this strategy begins; the note that says so."""
    log.info("training_mode", mode=strategy.mode, epochs=strategy.epochs, reason=strategy.reason)
    return f"{strategy.mode}: {strategy.reason}"


def _fit_head(
    context: RunContext,
    train: Sequence[GroupedSample],
    backbone: Backbone,
    augmentation: Augmentation,
    strategy: Strategy,
) -> _FrozenStart:
    fitter = _head_fitter(context, train, backbone, augmentation, strategy) if context.ranks.is_main else None
    head: Head = context.ranks.share(fitter.choose(context.report("train")) if fitter else None)
    return _FrozenStart(strategy, head, fitter.refit if fitter else None)


def _validation_auc(context: RunContext, validation: Sequence[GroupedSample], backbone: Backbone) -> float | None:
    """Of the model as it is, by the serving view; None when a label is missing. Every rank gets the first one's."""
    targets = [grouped.sample.target for grouped in validation]
    if len(set(targets)) < 2:
        return None
    found = None
    if context.ranks.is_main:
        view, images = backbone.preprocessing, context.images
        scorer = ModelScorer(backbone.model, backbone.architecture, view, images, context.cache, context.device)
        found = float(roc_auc_score(targets, scorer.logits(validation)))
    return context.ranks.share(found)


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
