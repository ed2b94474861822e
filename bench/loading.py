"""Does loading starve the model? Fine-tuning steps from files, beside tensors in memory and timm's own training loop.

    python -P bench/loading.py [--steps 60] [--pictures 64] [--side 1024] [--architecture NAME] [--device cpu|cuda]
                               [--json FILE]

The files are JPEGs of --side pixels, decoded, augmented and batched as in a training (trainer/data/resized_cache.py:
from the second epoch on, out of prepared arrays). timm reads the same files with the loader, the augmentation and the
optimizer that its train.py has by default, into the same network with views and batches of the same size. All are
measured in turns, so that a busy machine is equally unfair to each, after steps that use up what a loader had ready;
figures are medians over the turns. The demand: 90 % of the rate from memory, and more than timm's.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in trainer/__main__.py

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import timm.data
import timm.optim
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from pictures import encoded, scene, stored

from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.preprocessing import Preprocessing
from trainer.data.resized_cache import AugmentedViews, PreparedImages
from trainer.data.sampling import BatchOrder, sampling_weights
from trainer.data.types import GroupedSample
from trainer.fitting.finetune import BATCH, batches, normalized, train_mode
from trainer.models.backbones import is_transformer, load_backbone
from utils.config.training import Model, Training
from utils.metadata import Label

DEMANDED_SHARE = 0.9
TURN = 10  # steps measured at a time
READY = 8  # batches that a loader may hold; so many steps go before
LINKS = 8  # of each file in timm's folder, whose workers start anew with each epoch

Side = tuple["Step | TimmStep", Iterator[tuple[Tensor, Tensor]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--architecture", default="mobilenetv2_100")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    on_gpu = given.device == "cuda"
    backbone = load_backbone(Model(architecture=given.architecture), on_gpu=on_gpu, seed=0)
    augmentation = Augmentation(Training().augmentation, backbone.preprocessing)
    crop = backbone.preprocessing.size if on_gpu or is_transformer(backbone.model) else backbone.preprocessing.size // 2
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    batch = BATCH[on_gpu]
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        samples = []
        for number in range(given.pictures):
            content = encoded(scene(number, given.side, given.side), quality=90)
            label: Label = "real" if number % 2 else "ai_generated"
            sample = stored(data / "datasets", f"{label}/{number}.jpg", content, label)
            samples.append(GroupedSample(sample, sample.sha256, "train"))
        images = PreparedImages(ImageFolder(data / "datasets"), backbone.preprocessing, data / "prepared")
        dataset = AugmentedViews(samples, images, augmentation, size=crop, seed=0)
        passed = max(TURN, 2 * given.pictures // batch)  # to warm up, and the first epoch, which decodes
        turns = given.steps // TURN
        epochs = 2 + (passed + turns * (READY + TURN)) * batch // given.pictures
        order = BatchOrder(sampling_weights(samples), seed=0, epochs=epochs, batch=batch, rank=0, ranks=1)
        files = batches(dataset, order, min(cores, 12), on_gpu)
        first = next(files)
        memory = iter(lambda: first, None)
        device = torch.device(given.device)
        peer = TimmStep(copy.deepcopy(backbone.model), device)
        step = Step(backbone.model, device, augmentation)
        theirs = timm_batches(data / "datasets", backbone.preprocessing, crop, batch, min(cores, 12), device)
        sides: dict[str, Side] = {"memory": (step, memory), "files": (step, files), "timm": (peer, theirs)}
        for side in sides.values():
            run(*side, passed)
        found = [{name: rate(side, batch) for name, side in sides.items()} for _ in range(turns)]
    medians = {name: statistics.median(turn[name] for turn in found) for name in sides}
    share = statistics.median(turn["files"] / turn["memory"] for turn in found)
    ahead = statistics.median(turn["files"] / turn["timm"] for turn in found)
    rates = ", ".join(f"{median:.1f} images/s by {name}" for name, median in medians.items())
    print(f"{given.architecture} on {given.device}, {crop} px, batch {batch}, files of {given.side} px: {rates}")
    print(f"files: {share:.0%} of memory (>= {DEMANDED_SHARE:.0%}), {ahead:.0%} of timm (> 100%)")
    if given.json:
        facts = {"load": os.getloadavg()[0], "of_memory": share, "of_timm": ahead, "medians": medians, "all": found}
        given.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if share >= DEMANDED_SHARE and ahead > 1 else 1)


class Step:
    """One step of trainer/fitting/finetune.py, without what both sides share for nothing (averages, checkpoints)."""

    def __init__(self, model: nn.Module, device: torch.device, augmentation: Augmentation) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.augmentation = device, augmentation
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def __call__(self, pixels: Tensor, targets: Tensor) -> None:
        train_mode(self.model, keep_statistics=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(normalized(pixels.to(self.device, non_blocking=True), self.augmentation)).flatten()
        goal = targets.to(self.device, torch.float32)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), goal)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class TimmStep:
    """One step of the loop in timm's train.py, for one logit in place of a thousand classes."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self.optimizer = timm.optim.create_optimizer_v2(self.model, opt="adamw", lr=1e-5, weight_decay=2e-5)

    def __call__(self, pixels: Tensor, targets: Tensor) -> None:
        self.model.train()
        pixels = pixels.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(pixels).flatten()
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets.to(self.device, torch.float32))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()


def timm_batches(
    folder: Path, view: Preprocessing, crop: int, batch: int, workers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """As train.py makes them, epoch after epoch."""
    linked = folder.with_name("linked")
    for number in range(LINKS):
        for file in folder.glob("*/*.jpg"):
            link = linked / file.parent.name / f"{number}-{file.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(file)
    loader = timm.data.create_loader(
        timm.data.create_dataset("", root=str(linked), is_training=True),
        input_size=(3, crop, crop),
        batch_size=batch,
        is_training=True,
        color_jitter=0.4,
        interpolation="random",
        mean=view.mean,
        std=view.std,
        num_workers=workers,
        device=device,
    )
    while True:
        yield from loader


def rate(side: Side, batch: int) -> float:
    """Images a second of one side."""
    run(*side, READY)
    return TURN * batch / run(*side, TURN)


def run(step: Step | TimmStep, source: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Seconds of `count` steps."""
    started = time.perf_counter()
    for _ in range(count):
        step(*next(source))
    if step.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
