"""Storage histories: what files say, what both labels share, and that a label never decides how a view is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from judging import make_sample
from pictures import encoded, scene, stored

from trainer.data.augmentation import Augmentation
from trainer.data.preprocessing import Preprocessing
from trainer.data.storage import LOSSLESS, Storage, StorageHistories
from utils.config.training import Augmentation as AugmentationSettings

VIEW = Preprocessing(64, 96, (0.5,) * 3, (0.5,) * 3)
JPEG, PNG = Storage("jpeg", 80, False), Storage(LOSSLESS)


@pytest.mark.parametrize(
    ("form", "options", "expected"),
    [
        ("JPEG", {"quality": 60}, Storage("jpeg", 60, False)),
        ("JPEG", {"quality": 91, "subsampling": 0}, Storage("jpeg", 90, True)),
        ("PNG", {}, Storage(LOSSLESS)),
        ("WEBP", {"quality": 70}, Storage("webp", 80, False)),
    ],
)
def test_a_file_says_how_it_is_stored(tmp_path: Path, form: str, options: dict, expected: Storage) -> None:
    sample = stored(tmp_path, "a", encoded(scene(1), form, **options), "real")
    assert Storage.of(tmp_path / "a", sample) == expected


def test_saving_is_the_codecs_own_and_keeps_the_size() -> None:
    picture = scene(2)
    assert PNG.saved(picture) is picture
    for storage in (JPEG, Storage("webp", 80, False), Storage("avif", 65, False)):
        saved = storage.saved(picture)
        assert saved.size == picture.size
        assert np.asarray(saved).tolist() != np.asarray(picture).tolist()


def test_the_label_does_not_decide_what_is_drawn() -> None:
    histories = StorageHistories.of([JPEG] * 90 + [PNG] * 10, [0] * 90 + [1] * 10)
    generator = np.random.default_rng(0)
    drawn = [histories.draw(generator) for _ in range(400)]
    assert 150 < drawn.count(JPEG) < 250
    assert not histories.is_common(JPEG)
    assert StorageHistories.of([JPEG, PNG] * 2, [0, 0, 1, 1]).is_common(JPEG)


def test_a_view_stays_as_it_is_only_where_both_labels_are_stored_like_it() -> None:
    untouched = AugmentationSettings(untouched_share=1.0)
    picture = VIEW.resized(scene(3, 96, 96))
    apart = Augmentation(untouched, VIEW, StorageHistories.of([JPEG, JPEG, PNG, PNG], [0, 0, 1, 1]))
    alike = Augmentation(untouched, VIEW, StorageHistories.of([JPEG, PNG, JPEG, PNG], [0, 0, 1, 1]))
    own = {np.asarray(view).tobytes() for view in views(alike, picture, PNG)}
    assert own <= crops_of(picture)
    resaved = [view for view in views(apart, picture, PNG) if np.asarray(view).tobytes() not in crops_of(picture)]
    assert 10 < len(resaved) < 30  # half of the draws are JPEG


def test_a_few_new_pictures_do_not_change_the_table(tmp_path: Path) -> None:
    file = tmp_path / "storage.json"
    first = StorageHistories.of([JPEG] * 50 + [PNG] * 50, [0, 1] * 50).settled(file)
    grown = StorageHistories.of([JPEG] * 52 + [PNG] * 50, [0, 1] * 51)
    assert grown.settled(file).key() == first.key() != grown.key()
    other = StorageHistories.of([PNG] * 100, [0, 1] * 50)
    assert other.settled(file).key() == other.key()
    file.write_text("{", encoding="utf-8")
    assert grown.settled(file).key() == grown.key()


def test_a_label_without_pictures_has_no_histories() -> None:
    with pytest.raises(ValueError, match="label 1"):
        StorageHistories.of([JPEG], [make_sample("a", 0).target])


def views(augmentation: Augmentation, picture, storage: Storage) -> list:
    return [augmentation.view(picture, np.random.default_rng(seed), storage=storage) for seed in range(40)]


def crops_of(picture) -> set[bytes]:
    plain = [picture.crop((x, y, x + 64, y + 64)) for x in range(33) for y in range(33)]
    return {np.asarray(view).tobytes() for crop in plain for view in (crop, crop.transpose(0))}
