"""Does loading starve the model? Fine-tuning steps from real files against the same steps on tensors in memory.

    python bench/loading.py [--steps 60] [--pictures 64] [--side 1024] [--architecture NAME] [--device cpu|cuda]

The files are JPEGs of --side pixels, decoded, augmented and batched as in a training (trainer/data/resized_cache.py:
from the second epoch on, out of prepared arrays). Both are measured in turns, so that a busy machine is equally unfair
to either. The demand: 90 % or more.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in trainer/__main__.py

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from pictures import encoded, scene, stored

from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.resized_cache import AugmentedViews, PreparedImages
from trainer.data.sampling import BatchOrder, sampling_weights
from trainer.data.types import GroupedSample
from trainer.fitting.finetune import BATCH, batches, normalized, train_mode
from trainer.models.backbones import is_transformer, load_backbone
from utils.config.training import Model, Training

DEMANDED_SHARE = 0.9
TURN = 10  # steps measured at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--architecture", default="mobilenetv2_100")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
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
            sample = stored(data, f"{number}.jpg", content, "real" if number % 2 else "ai_generated")
            samples.append(GroupedSample(sample, sample.sha256, "train"))
        images = PreparedImages(ImageFolder(data), backbone.preprocessing, data / "prepared")
        dataset = AugmentedViews(samples, images, augmentation, size=crop, seed=0)
        epochs = 2 + (given.steps + 2 * TURN) * batch // given.pictures
        order = BatchOrder(sampling_weights(samples), seed=0, epochs=epochs, batch=batch, rank=0, ranks=1)
        files = batches(dataset, order, min(cores, 12), on_gpu)
        first = next(files)
        memory = iter(lambda: first, None)
        step = make_step(backbone.model, torch.device(given.device), augmentation)
        rates: dict[str, list[float]] = {"memory": [], "files": []}
        for source in ("memory", "files"):  # warm up, and pass the first epoch, which decodes
            run(step, memory if source == "memory" else files, max(TURN, 2 * given.pictures // batch))
        for _ in range(given.steps // TURN):
            rates["memory"].append(TURN * batch / run(step, memory, TURN))
            rates["files"].append(TURN * batch / run(step, files, TURN))
    memory_rate, file_rate = statistics.median(rates["memory"]), statistics.median(rates["files"])
    share = file_rate / memory_rate
    print(f"{given.architecture} on {given.device}, {crop} px, batch {batch}: {memory_rate:.1f} images/s from memory,")
    print(f"{file_rate:.1f} from files of {given.side} px: {share:.0%} (>= {DEMANDED_SHARE:.0%})")
    sys.exit(0 if share >= DEMANDED_SHARE else 1)


def make_step(model: nn.Module, device: torch.device, augmentation: Augmentation) -> Step:
    return Step(model.to(device=device, memory_format=torch.channels_last), device, augmentation)  # type: ignore[call-overload]


class Step:
    """One step of trainer/fitting/finetune.py, without what both sides share for nothing (averages, checkpoints)."""

    def __init__(self, model: nn.Module, device: torch.device, augmentation: Augmentation) -> None:
        self.model, self.device, self.augmentation = model, device, augmentation
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


def run(step: Step, source: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Seconds of `count` steps."""
    started = time.perf_counter()
    for _ in range(count):
        step(*next(source))
    if step.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
