"""The robustness sweep: what happens to pictures on their way through the web, to both labels alike.

Each condition gets the upright picture. Pictures larger than the web carries are first brought to WEB_SIDE; the
condition `web_size` shows what that alone does. The flip rate is the share of pictures whose verdict changes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainer.data.types import Floats, GroupedSample, Report, Scorer, Transform
from trainer.evaluation.operating_points import MIDDLE, OperatingPoints, verdicts
from trainer.stats.intervals import Measured, wilson
from trainer.stats.metrics import measure
from trainer.stats.predictions import Scored, choose, score
from utils.config.training import Evaluation as Settings
from utils.images.decoding.orientation import upright
from utils.images.decoding.pixels import to_rgb

WEB_SIDE = 1024  # pixels of the long side
REPORTED = ("auc", "balanced_accuracy", "recall", "specificity")
STEPS_BEFORE = 2  # of the evaluation
REPLICATES = 300  # the sweep is read as a whole; its intervals need fewer


def _recoded(image: Image.Image, codec: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, codec, quality=quality, **({"method": 2} if codec == "WEBP" else {}))
    with Image.open(buffer) as coded:
        return coded.convert("RGB")


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32) + rng.normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _random_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = max(1, round(image.width * 0.6)), max(1, round(image.height * 0.6))
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _screenshot(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture as a viewer shows it: scaled to a window, with a title bar and margins, saved as JPEG."""
    shown = _scaled(image, float(rng.uniform(0.7, 0.95)))
    margin, bar = max(4, shown.width // 40), max(12, shown.height // 20)
    screen = Image.new("RGB", (shown.width + 2 * margin, shown.height + 2 * margin + bar), (238, 238, 240))
    ImageDraw.Draw(screen).rectangle((0, 0, screen.width, bar), fill=(52, 54, 60))
    screen.paste(shown, (margin, bar + margin))
    return _recoded(screen, "JPEG", 85)


@dataclass(frozen=True, slots=True)
class Condition:
    """One way in which pictures are changed; as a transform it gets them upright and of a size that the web carries."""

    name: str
    what: str
    change: Transform

    @property
    def cache_key(self) -> str:
        """Names the change with its parameters, so that a scorer may remember what it saw."""
        return f"robustness 1, {self.name}: {self.what}, web side {WEB_SIDE}"

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        rgb = to_rgb(upright(image))
        long_side = max(rgb.size)
        return self.change(_scaled(rgb, WEB_SIDE / long_side) if long_side > WEB_SIDE else rgb, rng)


CONDITIONS = (
    Condition("web_size", f"long side at most {WEB_SIDE} px", lambda image, rng: image),
    Condition("jpeg_90", "JPEG, quality 90", lambda image, rng: _recoded(image, "JPEG", 90)),
    Condition("jpeg_60", "JPEG, quality 60", lambda image, rng: _recoded(image, "JPEG", 60)),
    Condition("jpeg_30", "JPEG, quality 30", lambda image, rng: _recoded(image, "JPEG", 30)),
    Condition("webp_50", "WebP, quality 50", lambda image, rng: _recoded(image, "WEBP", 50)),
    Condition("resize_50", "half the size", lambda image, rng: _scaled(image, 0.5)),
    Condition("blur", "Gaussian blur, 1 px", lambda image, rng: image.filter(ImageFilter.GaussianBlur(1))),
    Condition("noise", "Gaussian noise, 8 of 255", _noisy),
    Condition("crop_60", "a random 60 % of either side", _random_crop),
    Condition("screenshot", "shown in a window and captured, JPEG 85", _screenshot),
)


def sweep(
    scorer: Scorer,
    samples: Sequence[GroupedSample],
    temperature: float,
    points: OperatingPoints,
    settings: Settings,
    report: Report,
) -> dict[str, Any]:
    """The card's `evaluation.robustness`: each condition's metrics, flip rate, and distance from the clean AUC.

    Reports itself as the last steps of the evaluation.
    """
    chosen = choose(samples, settings.robustness_images)
    clean = score(scorer, chosen, temperature)
    clean_auc = measure(clean, MIDDLE, REPLICATES)["auc"].value
    conditions: dict[str, Any] = {}
    for done, condition in enumerate(CONDITIONS):
        report(STEPS_BEFORE + done, STEPS_BEFORE + len(CONDITIONS), f"robustness: {condition.what}")
        scored = score(scorer, chosen, temperature, condition)
        measured = measure(scored, MIDDLE, REPLICATES)
        auc = measured["auc"].value
        conditions[condition.name] = {
            "what": condition.what,
            **{metric: measured[metric].to_card() for metric in REPORTED},
            "auc_change": None if auc is None or clean_auc is None else round(auc - clean_auc, 6),
            "flip_rate": _share(decided(clean.probabilities) != decided(scored.probabilities), scored).to_card(),
            "verdict_change_rate": _share(
                verdicts(clean.probabilities, points) != verdicts(scored.probabilities, points), scored
            ).to_card(),
        }
    return {"n": len(chosen), "clean_auc": clean_auc, "conditions": conditions}


def decided(probabilities: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    return (probabilities >= MIDDLE).astype(np.int64)


def _share(events: np.ndarray[Any, np.dtype[np.bool_]], scored: Scored) -> Measured:
    groups = len(set(scored.groups.tolist()))
    low, high = wilson(float(events.mean()), groups)
    return Measured(float(events.mean()), low, high, len(scored), groups)
