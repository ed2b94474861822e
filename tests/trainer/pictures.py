"""Small synthetic pictures and jobs for the trainer's tests."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data.snapshot import Sample, write_snapshot
from utils.job_protocol import write_job
from utils.metadata import Label

SMALL = {"architecture": "test_vit", "image_size": 64, "pretrained": False}


def scene(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """Smooth colour fields with a few shapes: different for each seed, with detail enough for a hash."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
    for _ in range(4):
        left, top = generator.integers(0, width - 8), generator.integers(0, height - 8)
        image[top : top + height // 5, left : left + width // 5] = generator.integers(0, 256, 3)
    return Image.fromarray(np.clip(image + generator.normal(0, 6, image.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def stored(data: Path, name: str, content: bytes, label: Label, **facts: Any) -> Sample:
    """Write `content` at data/name and return its sample; the hash is the content's own, so that nothing is alike."""
    file = data / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with Image.open(io.BytesIO(content)) as image:
        width, height, form, exif = image.width, image.height, str(image.format).lower(), bool(image.getexif())
    known: dict[str, Any] = {"source": "manual", "phash": digest[:16], **facts}
    return Sample(
        digest[:32], name, digest, len(content), label, known.pop("source"), form, width, height, exif, **known
    )


def small_set(data: Path, count: int = 30, side: int = 96) -> list[Sample]:
    """`count` pictures of each label; the generated ones carry a faint grid, which a network can learn."""
    samples = []
    for number in range(count):
        samples.append(stored(data, f"real/{number}.jpg", encoded(scene(number, side, side), quality=92), "real"))
        marked = np.asarray(scene(100_000 + number, side, side)).astype(np.int64)
        marked[::2, ::2] += 24
        image = Image.fromarray(np.clip(marked, 0, 255).astype(np.uint8))
        samples.append(
            stored(data, f"ai/{number}.jpg", encoded(image, quality=92), "ai_generated", generator=f"g{number % 3}")
        )
    return samples


def make_job(folder: Path, root: Path, samples: list[Sample], **sections: Any) -> Path:
    """A job over root/data, root/models, root/state, quick by default."""
    storage = {"local_path": str(root / "data"), "models_path": str(root / "models"), "state_path": str(root / "state")}
    config: dict[str, Any] = {
        "storage": storage,
        "model": SMALL,
        "evaluation": {"bootstrap_samples": 100, "robustness": False, "leave_one_out": False},
        "audit": {"enabled": False},
        **sections,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_snapshot(folder / "snapshot.jsonl", samples)
    write_job(folder, {"run_id": folder.name, "config": config, "snapshot": "snapshot.jsonl", "reason": "test"})
    return folder
