"""The client decodes what the trainer decodes, to the same bits: every format, and side data that is broken or huge."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoded_pictures import encode, exif_block, noise_picture, spoilt
from exposr_client import ImageError
from exposr_client.detection.card import View
from exposr_client.detection.preprocessing import open_image, to_array
from trainer.data.preprocessing import Preprocessing
from trainer.data.preprocessing import open_image as trainer_open
from utils.images.decoding.decode import PictureError
from utils.images.decoding.kinds import KINDS

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
RECORDED: dict[str, Any] = json.loads((GOLDEN / "recorded.json").read_text(encoding="utf-8"))
TOLERANCE = 2  # of 255, in the mean of a twelfth of the picture: another release of a lossy decoder may round otherwise
SIZES = (64, 96)
MEANS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (255, 255, 255))
VIEW, PREPROCESSING = View(*SIZES, *MEANS), Preprocessing(*SIZES, *MEANS)


def same_tensor(file: Path) -> np.ndarray[Any, Any]:
    """Of the file and of its bytes, by both."""
    theirs = PREPROCESSING.to_tensor(trainer_open(file)).numpy()
    assert np.array_equal(to_array(open_image(file), VIEW), theirs)
    assert np.array_equal(to_array(open_image(file.read_bytes()), VIEW), theirs)
    return theirs


def test_both_hold_the_same_text() -> None:
    ours, theirs = (ROOT / folder / "decoding" for folder in ("http/exposr_client", "utils/images"))
    assert {file.name for file in ours.glob("*.py")} == {file.name for file in theirs.glob("*.py")}
    for file in ours.glob("*.py"):
        assert file.read_text(encoding="utf-8") == (theirs / file.name).read_text(encoding="utf-8"), file.name


def test_every_format_has_a_golden_picture() -> None:
    assert {f"picture{kind.extension}" for kind in KINDS.values()} == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_golden_pictures_decode_as_recorded(name: str) -> None:
    file = GOLDEN / name
    same_tensor(file)
    image = PREPROCESSING.upright(trainer_open(file))
    assert list(image.size) == RECORDED[name]["size"]
    means = np.asarray(image.resize((4, 3), Image.Resampling.BOX), dtype=np.int64).reshape(-1, 3)
    assert np.abs(means - np.array(RECORDED[name]["means"])).max() <= TOLERANCE


@pytest.mark.parametrize("name", spoilt())
def test_side_data_changes_no_bit_of_a_tensor(tmp_path: Path, name: str) -> None:
    file = tmp_path / "picture"
    file.write_bytes(spoilt()[name])
    found = same_tensor(file)
    if name.startswith(("profile", "text", "international")):
        kind = {"JPEG": "jpeg", "PNG": "png", "WebP": "webp", "AVIF": "avif", "HEIC": "heif", "TIFF": "tiff"}
        options = {"quality": 92} if name.endswith("JPEG") else {}
        file.write_bytes(encode(noise_picture(), kind[name.rpartition(" ")[2]], **options))
        assert np.array_equal(same_tensor(file), found)


def test_a_picture_in_memory_with_broken_exif_is_taken_as_it_is() -> None:
    image = noise_picture()
    image.info["exif"] = exif_block()[:12]
    assert np.array_equal(to_array(open_image(image), VIEW), PREPROCESSING.to_tensor(image).numpy())


def test_a_format_whose_library_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"a HEIC picture, which needs: pip install pillow-heif"):
        open_image((GOLDEN / "picture.heic").read_bytes())


def test_a_bomb_is_refused_before_its_pixels_are_made() -> None:
    small = (GOLDEN / "picture.jxl").read_bytes()
    start = small.index(b"\xff\x0a") + 2
    # not small; height 2^30 in the longest form; ratio 1: as wide as high (ISO/IEC 18181-1, 9.2.2)
    header = (0 | 3 << 1 | ((1 << 30) - 1) << 3 | 1 << 33).to_bytes(8, "little")
    with pytest.raises(ImageError, match="1073741824x1073741824 is larger than"):
        open_image(small[:start] + header + small[start:])


def test_what_is_no_picture_is_refused_by_both(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"words")
    with pytest.raises(ImageError, match="is no JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF, JPEG 2000 or JPEG XL"):
        open_image(file)
    with pytest.raises(PictureError):
        trainer_open(file)
