"""Fine-tuning, in the modes lora and full: one loop that reads from top to bottom.

Every random choice depends on (seed, epoch, number of the draw) or on (seed, step), never on what ran before, so that a
training that was killed and started again ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from exposr_client.detection import residuals
from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.resized_cache import AugmentedViews, PreparedImages, room_for, together
from trainer.data.sampling import BatchOrder
from trainer.data.types import Floats, GroupedSample, PartsOfSplit
from trainer.fitting.checkpoints import load_checkpoint, save_checkpoint
from trainer.fitting.pairs import paired_sampling
from trainer.fitting.strategy import Strategy
from trainer.models.backbones import Backbone, classifier_of, is_transformer
from trainer.models.lora import add_adapters, fold_adapters
from utils.errors import StopRunError
from utils.job_protocol import SCRATCH_FOLDER
from utils.logs import get_logger

log = get_logger(__name__)

WARM_UP = 0.1  # share of the steps in which the learning rate rises
HEAD_FACTOR = 3.0  # the fresh head learns faster than the pretrained weights
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
EMA_DECAY = 0.999  # of the published average, once there were enough steps
REPORT_SECONDS = 1.0
VALIDATIONS = 8  # looks at the validation split, over the whole training
WORKERS_MAX = 12
LEARNING_RATE = {"lora": 5e-4, "full": 1e-4, "full transformer": 5e-5}
FROM_RANDOM_FACTOR = 5.0  # faster where there is nothing to forget
BATCH = {True: 64, False: 16}  # on a GPU or not


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of one fine-tuning; `crop` is the side of training views (pixels), `batch` that of one rank."""

    strategy: Strategy
    seed: int
    batch: int
    crop: int
    learning_rate: float
    workers: int

    @classmethod
    def of(cls, context: RunContext, backbone: Backbone, strategy: Strategy, train: int) -> Recipe:
        settings = context.config.training
        transformer = is_transformer(backbone.model)
        size = backbone.preprocessing.size
        kind = "full transformer" if strategy.mode == "full" and transformer else strategy.mode
        cores = max(1, torch.get_num_threads() if not context.on_gpu else WORKERS_MAX)
        return cls(
            strategy=strategy,
            seed=settings.seed,
            batch=min(settings.batch_size or BATCH[context.on_gpu], max(2, train // context.ranks.count)),
            # a convolutional network sees the same pixels at the same scale in a smaller crop, at a quarter of the cost
            crop=size if transformer or context.on_gpu else max(size // 2, min(size, residuals.LEAST_SIZE)),
            learning_rate=settings.learning_rate
            or LEARNING_RATE[kind] * (1.0 if backbone.is_pretrained else FROM_RANDOM_FACTOR),
            workers=settings.workers if settings.workers is not None else min(cores, WORKERS_MAX),
        )


def fine_tune(
    context: RunContext,
    parts: PartsOfSplit,
    backbone: Backbone,
    augmentation: Augmentation,
    strategy: Strategy,
    *,
    gentle: bool = False,
) -> list[dict[str, float]]:
    """Train `backbone.model` in place and return the history. Every rank calls this and ends with the same weights.

    `gentle` views have a storage history and a crop, and are not rescaled or re-encoded.
    """
    train = parts["train"]
    recipe = Recipe.of(context, backbone, strategy, len(train))
    paired = paired_sampling(context, train, augmentation.preprocessing)
    model, ranks, device = backbone.model, context.ranks, context.device
    torch.manual_seed(recipe.seed)
    _reset_head(classifier_of(model))
    if strategy.mode == "lora":
        log.info("adapters_added", count=add_adapters(model))
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kept_buffers = [buffer for name, buffer in model.named_buffers() if name in model.state_dict()]
    statistics = [buffer for buffer in kept_buffers if buffer.is_floating_point()]  # of batch norms
    counters = [buffer for buffer in kept_buffers if not buffer.is_floating_point()]
    learnt = [*weights, *statistics]
    average = [tensor.detach().clone() for tensor in learnt]
    optimizer = _optimizer(model, recipe.learning_rate)
    kept = context.folder / SCRATCH_FOLDER / "prepared"
    images = PreparedImages(
        context.training_images,
        augmentation.preprocessing,
        kept if room_for(context.folder, train, augmentation.preprocessing) else None,
    )

    order = BatchOrder(
        paired.weights,
        seed=recipe.seed,
        epochs=strategy.epochs,
        batch=max(1, round(recipe.batch / paired.views)),
        rank=ranks.number,
        ranks=ranks.count,
    )
    per_epoch, steps = order.steps_per_epoch, len(order)
    validate_every = max(1, strategy.epochs // VALIDATIONS)
    owner = _owner(recipe, backbone, augmentation, train, ranks.count, [paired.key, gentle])
    history: list[dict[str, float]] = []
    losses: list[float] = []  # of the current epoch
    done = 0
    if state := ranks.share(load_checkpoint(context.folder, owner) if ranks.is_main else None):
        done, history, losses = state["step"], state["history"], state["losses"]
        _copy_into(learnt, state["learnt"])
        _copy_into(counters, state["counters"])
        _copy_into(average, state["average"])
        optimizer.load_state_dict(state["optimizer"])
        log.info("training_resumed", step=done, steps=steps)
    order.first_step = done

    def save() -> None:
        if ranks.is_main:
            states = {"learnt": learnt, "counters": counters, "average": average, "optimizer": optimizer.state_dict()}
            save_checkpoint(context.folder, owner, {**states, "step": done, "history": history, "losses": losses})

    dataset = AugmentedViews(
        train, images, augmentation, size=recipe.crop, seed=recipe.seed, pairs=paired.pairs, gentle=gentle
    )
    autocast = torch.autocast("cuda", torch.bfloat16) if context.on_gpu else nullcontext()
    saved = reported = time.monotonic()
    with context.interrupts.deferred() as interrupts:
        for pixels, targets in batches(dataset, order, recipe.workers, context.on_gpu):
            torch.manual_seed(recipe.seed * 1_000_003 + done * ranks.count + ranks.number)  # dropout and drop path
            _set_rates(optimizer, _rate(done, steps))
            train_mode(model, keep_statistics=backbone.is_pretrained)
            with autocast:
                logits = model(normalized(pixels.to(device, non_blocking=True), augmentation)).flatten()
            loss = binary_cross_entropy_with_logits(logits.float(), targets.to(device, torch.float32))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            stop = torch.tensor([float(interrupts.requested)], device=device)
            ranks.mean([weight.grad for weight in weights if weight.grad is not None] + [*statistics, stop])
            nn.utils.clip_grad_norm_(weights, CLIP_NORM)
            optimizer.step()
            done += 1
            _move_average(average, learnt, done)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise StopRunError(f"the loss became {losses[-1]} in step {done}; lower training.learning_rate")

            epoch, rest = divmod(done, per_epoch)
            if rest == 0:
                entry = {"epoch": float(epoch), "loss": float(np.mean(losses)), "step": float(done)}
                if epoch % validate_every == 0 or done == steps:
                    entry |= _validated(context, model, learnt, average, parts["validation"], images)
                history.append(entry)
            if rest == 0 or time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                metrics = {"loss": float(np.mean(losses))} | (_measured(history[-1]) if history else {})
                context.say("train", done, steps, f"epoch {-(-done // per_epoch)}/{strategy.epochs}", metrics)
            if rest == 0:
                losses.clear()
            if stop.item() > 0:  # agreed on by all ranks, so that none waits for one that has left
                interrupts.requested = True
                break
            if time.monotonic() - saved >= context.config.training.checkpoint_seconds:
                save()
                saved = time.monotonic()
        save()
    _copy_into(learnt, average)
    if strategy.mode == "lora":
        fold_adapters(model)
    if ranks.is_main:
        images.remove()
        paired.remove()
    return history


def batches(dataset: AugmentedViews, order: BatchOrder, workers: int, on_gpu: bool) -> Iterator[tuple[Tensor, Tensor]]:
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        pin_memory=on_gpu,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_quiet_worker if workers else None,
        collate_fn=together,
    )
    return iter(loader)


def _quiet_worker(number: int) -> None:
    """The main process decides when to stop; a worker that obeyed the group's SIGTERM would look like a crash."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def normalized(pixels: Tensor, augmentation: Augmentation) -> Tensor:
    view = augmentation.preprocessing
    mean = torch.tensor(view.mean, device=pixels.device).view(3, 1, 1)
    deviation = torch.tensor(view.std, device=pixels.device).view(3, 1, 1)
    scaled = (pixels.to(torch.float32) / 255 - mean) / deviation
    return scaled.contiguous(memory_format=torch.channels_last)


def _reset_head(head: nn.Linear) -> None:
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


def _optimizer(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """Three groups: the head, matrices and kernels with weight decay, the rest (norms, biases) without."""
    head = {id(parameter) for parameter in classifier_of(model).parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    inner = [parameter for parameter in trained if id(parameter) not in head]
    groups = [
        {"params": [p for p in trained if id(p) in head], "peak": HEAD_FACTOR * rate, "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in inner if p.ndim > 1], "peak": rate, "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in inner if p.ndim <= 1], "peak": rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up to 1, then a cosine to 0.

    Why not LambdaLR: a function of the step alone needs no state of its own in the checkpoint.
    """
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * rate


def train_mode(model: nn.Module, *, keep_statistics: bool) -> None:
    """Training; with the pretrained statistics of batch norms, since batches are small and ranks see different ones.

    Random weights need their own, re-estimated as they change.
    """
    model.train()
    for module in model.modules():
        if keep_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


@torch.no_grad()
def _move_average(average: Sequence[Tensor], learnt: Sequence[Tensor], step: int) -> None:
    # not AveragedModel: it copies the whole network, while here only what is trained has an average (little, with LoRA)
    decay = min(EMA_DECAY, (1 + step) / (10 + step))
    for mean, tensor in zip(average, learnt, strict=True):
        mean.lerp_(tensor, 1 - decay)


@torch.no_grad()
def _copy_into(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


def _validated(
    context: RunContext,
    model: nn.Module,
    learnt: Sequence[Tensor],
    average: Sequence[Tensor],
    samples: Sequence[GroupedSample],
    images: PreparedImages,
) -> dict[str, float]:
    """AUC and log loss of the averaged weights on the validation split, by the serving view, on the first rank."""
    targets = [grouped.sample.target for grouped in samples]
    if not context.ranks.is_main or len(set(targets)) < 2:
        return {}
    current = [tensor.detach().clone() for tensor in learnt]
    _copy_into(learnt, average)
    model.eval()
    logits = []
    with torch.inference_mode():
        for grouped in samples:
            view = images.preprocessing.center_crop(images.open(grouped.sample))
            tensor = images.preprocessing.normalized(view).unsqueeze(0)
            logits.append(float(model(tensor.to(context.device, memory_format=torch.channels_last)).flatten()[0]))
    _copy_into(learnt, current)
    probabilities: Floats = 1 / (1 + np.exp(-np.array(logits)))
    return {
        "val_auc": float(roc_auc_score(targets, probabilities)),
        "val_loss": float(log_loss(targets, probabilities, labels=[0, 1])),
    }


def _measured(entry: dict[str, float]) -> dict[str, float]:
    return {name: entry[name] for name in ("val_auc", "val_loss") if name in entry}


def _owner(
    recipe: Recipe,
    backbone: Backbone,
    augmentation: Augmentation,
    train: Sequence[GroupedSample],
    ranks: int,
    views: list[object],
) -> str:
    """Names everything that the weights depend on."""
    facts = [
        recipe.strategy.mode,
        recipe.strategy.epochs,
        recipe.seed,
        recipe.batch,
        recipe.crop,
        recipe.learning_rate,
        ranks,
        backbone.architecture["name"],
        backbone.pretrained["sha256"],
        augmentation.key(),
        [(grouped.sample.sha256, grouped.sample.label) for grouped in train],
        views,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
