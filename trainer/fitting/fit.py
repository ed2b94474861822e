"""From the parts of a split to a candidate: begin on the strategy that fits, climb when the head does not satisfy.

A network that was fine-tuned after a head replaces it only when it is better on the validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    begun: _Begun | None = None
    if strategy.mode == "frozen":
        begun = _fit_head(context, parts, backbone, augmentation, strategy)
        history += begun.head.history
        notes += [_began(strategy), begun.head.choice]
        higher = next_strategy(settings, begun.head.auc, by_sources=begun.head.by_sources, **facts)
        if higher is None:
            begun.head.put_into(backbone.model)
            return _candidate(backbone, strategy, history, notes, begun.refit)
        strategy = higher
    # what the head was best with is what the network is trained with
    gentle = begun is not None and begun.head.is_gentle
    pretrained = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()} if begun else {}
    notes.append(_began(strategy))
    tuned = context.ranks.share(fine_tune(context, parts, backbone, augmentation, strategy, gentle=gentle))
    history += tuned
    notes.append("gentle augmentation, which did best for the head" if gentle else "full augmentation")
    if begun is not None and _is_worse(tuned, begun.validation_auc):
        notes.append(
            f"frozen all the same: AUC {begun.validation_auc:.3f} of the head on the validation split, "
            f"{tuned[-1]['val_auc']:.3f} of the fine-tuned network"
        )
        log.info("fine_tuning_dropped", reason=notes[-1])
        backbone.model.cpu().load_state_dict(pretrained)
        begun.head.put_into(backbone.model)
        return _candidate(backbone, begun.strategy, history, notes, begun.refit)
    return _candidate(backbone, strategy, history, notes)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A head on frozen features; `refit` is there on the first rank, `validation_auc` if validation has both labels."""

    strategy: Strategy
    head: Head
    validation_auc: float | None
    refit: Refit | None


def _began(strategy: Strategy) -> str:
    log.info("training_mode", mode=strategy.mode, epochs=strategy.epochs, reason=strategy.reason)
    return f"{strategy.mode}: {strategy.reason}"


def _is_worse(tuned: Sequence[Mapping[str, float]], head_auc: float | None) -> bool:
    """Not better, to be exact: then what costs less and was fitted with less freedom stays."""
    tuned_auc = tuned[-1].get("val_auc") if tuned else None
    return tuned_auc is not None and head_auc is not None and tuned_auc <= head_auc


def _fit_head(
    context: RunContext, parts: PartsOfSplit, backbone: Backbone, augmentation: Augmentation, strategy: Strategy
) -> _Begun:
    fitter, found = None, None
    if context.ranks.is_main:
        fitter = _head_fitter(context, parts["train"], backbone, augmentation, strategy)
        head = fitter.choose(context.report("train"))
        found = head, _validation_auc(context, parts["validation"], backbone, augmentation, head)
    head, auc = context.ranks.share(found)
    return _Begun(strategy, head, auc, fitter.refit if fitter else None)


def _validation_auc(
    context: RunContext,
    validation: Sequence[GroupedSample],
    backbone: Backbone,
    augmentation: Augmentation,
    head: Head,
) -> float | None:
    targets = [grouped.sample.target for grouped in validation]
    if len(set(targets)) < 2:
        return None
    embedder, seed = _embedder(context, backbone), context.config.training.seed
    served = embed_views(embedder, augmentation, validation, 1, seed, context.report("embed"))
    return float(roc_auc_score(targets, np.stack(served)[:, 0] @ head.weight + head.bias))


def _embedder(context: RunContext, backbone: Backbone) -> Embedder:
    return Embedder(
        backbone.model, backbone.architecture, backbone.preprocessing, context.images, context.cache, context.device
    )


def _head_fitter(
    context: RunContext,
    train: Sequence[GroupedSample],
    backbone: Backbone,
    augmentation: Augmentation,
    strategy: Strategy,
) -> HeadFitter:
    seed = context.config.training.seed
    embedder = _embedder(context, backbone)
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
