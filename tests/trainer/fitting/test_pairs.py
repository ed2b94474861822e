"""Pairs in a fine-tuning: both in one batch and treated alike, in the train split alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from autoencoders import tiny
from contexts import make_context
from pictures import encoded, scene, stored

from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.resized_cache import AugmentedViews, KeptPictures, Pairs, PreparedImages, together
from trainer.data.sampling import RECONSTRUCTIONS, Draw, sampling_weights
from trainer.data.storage import StorageHistories
from trainer.data.types import GroupedSample, PartsOfSplit
from trainer.fitting.finetune import fine_tune
from trainer.fitting.pairs import paired_sampling
from trainer.fitting.strategy import Strategy
from trainer.models.backbones import load_backbone
from utils.config.training import Model, Training

SIDE = 80
MODEL = Model(architecture="test_vit", image_size=64, pretrained=False, branch=False)


def members(data: Path, part: str, count: int) -> list[GroupedSample]:
    """As many photographs, of several qualities, as pictures of two generators."""
    made = []
    for number in range(count):
        for label, facts in (("real", {"source": f"s{number % 2}"}), ("ai_generated", {"generator": f"g{number % 2}"})):
            content = encoded(scene(hash_of(part, label, number), SIDE, SIDE), quality=70 + 5 * (number % 4))
            sample = stored(data, f"{part}-{label}-{number}.jpg", content, label, **facts)  # type: ignore[arg-type]
            made.append(GroupedSample(sample, sample.sha256, part))  # type: ignore[arg-type]
    return made


def hash_of(*facts: object) -> int:
    return sum(ord(character) * 31**place for place, character in enumerate(str(facts))) % 2**31


def augmented(data: Path, train: list[GroupedSample]) -> tuple[Augmentation, PreparedImages]:
    """The augmentation with the storage histories of `train`, and their pictures."""
    images = ImageFolder(data)
    storages = [images.storage(member.sample) for member in train]
    histories = StorageHistories.of(storages, [member.sample.target for member in train])
    preprocessing = load_backbone(MODEL, on_gpu=False, seed=0).preprocessing
    return Augmentation(Training().augmentation, preprocessing, histories), PreparedImages(images, preprocessing, None)


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    tiny(tmp_path / "tae")
    training = Training(devices=0, workers=0, batch_size=6, pairs=str(tmp_path / "tae"))
    return make_context(tmp_path, MODEL, training)


def test_both_of_a_pair_get_the_same_draws(tmp_path: Path) -> None:
    """The reconstruction kept here is the photograph itself: any draw of its own would make the views differ."""
    train = members(tmp_path, "train", 6)
    augmentation, prepared = augmented(tmp_path, train)
    kept = KeptPictures(tmp_path / "kept")
    photos = [index for index, member in enumerate(train) if member.sample.target == 0]
    for index in photos[:-1]:
        kept.put(train[index].sample, prepared.open(train[index].sample))
    views = AugmentedViews(train, prepared, augmentation, size=64, seed=0, pairs=Pairs(kept, 0.5))
    paired, alone = 0, Counter[int]()
    for number in range(120):
        index = number % len(train)
        pixels, targets = views[Draw(index, number // 40, number)]
        if len(targets) == 2:
            assert targets.tolist() == [0, 1]
            assert torch.equal(pixels[0], pixels[1])
            paired += 1
        else:
            assert targets.tolist() == [train[index].sample.target]
            alone[index] += 1
    assert 15 < paired < 35  # half of 50 draws
    assert alone[photos[-1]] == 10  # it has none
    batch, targets = together([views[Draw(index, 0, index)] for index in photos])
    assert len(batch) == len(targets) > len(photos)
    assert batch.shape[1:] == (3, 64, 64)


def test_gentle_views_of_files_stored_alike_are_crops_of_the_picture(tmp_path: Path) -> None:
    """In either label every storage is as common, so that nothing but a crop and a mirror image is left."""
    train = members(tmp_path, "train", 4)
    augmentation, prepared = augmented(tmp_path, train)

    def crops(*, gentle: bool) -> int:
        views = AugmentedViews(train, prepared, augmentation, size=64, seed=0, gentle=gentle)
        found = 0
        for number in range(40):
            index = number % len(train)
            picture = np.asarray(prepared.open(train[index].sample))
            view = views[Draw(index, 0, number)][0][0].permute(1, 2, 0).numpy()
            windows = np.lib.stride_tricks.sliding_window_view(picture, view.shape)[:, :, 0]
            both = (view, view[:, ::-1])
            found += any(bool((windows == seen).all(axis=(-3, -2, -1)).any()) for seen in both)
        return found

    assert crops(gentle=True) == 40
    assert crops(gentle=False) < 20


def test_reconstructions_weigh_a_quarter_and_photographs_are_drawn_as_without(context: RunContext) -> None:
    train = members(context.images.folder, "train", 8)
    backbone = load_backbone(MODEL, on_gpu=False, seed=0)
    sampling = paired_sampling(context, train, backbone.preprocessing)
    assert sampling.pairs is not None
    is_real = np.array([member.sample.target == 0 for member in train])
    drawn = sampling.weights
    together_drawn = float(drawn[is_real].sum()) * sampling.pairs.share
    assert drawn.sum() == pytest.approx(1)
    assert sampling.views == pytest.approx(1 + together_drawn)
    generated = float(drawn[~is_real].sum())
    assert generated + together_drawn == pytest.approx(float(drawn[is_real].sum()))  # both labels equally often
    # two generators of 4 and 8 reconstructions, by the root of their number
    made = RECONSTRUCTIONS * 8**0.5
    assert together_drawn / (generated + together_drawn) == pytest.approx(made / (made + 2 * 4**0.5))
    plain = sampling_weights(train)
    assert drawn[is_real] / drawn[is_real].sum() == pytest.approx(plain[is_real] / plain[is_real].sum())
    for member in train:
        assert sampling.pairs.kept.has(member.sample) == (member.sample.target == 0)
    without = make_context(context.folder, MODEL, Training(devices=0))
    assert paired_sampling(without, train, backbone.preprocessing).pairs is None


def test_a_fine_tuning_learns_from_pairs_of_the_train_split_alone(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = context.images.folder
    parts: PartsOfSplit = {
        "train": members(data, "train", 6),
        "validation": members(data, "validation", 3),
        "calibration": [],
        "test": members(data, "test", 2),
    }
    seen: list[tuple[str, bool]] = []
    real_open = KeptPictures.open

    def watched(self: KeptPictures, sample: object) -> object:
        seen.append((sample.path.split("-")[0], self.folder.name == "reconstructions"))  # type: ignore[attr-defined]
        return real_open(self, sample)  # type: ignore[arg-type]

    monkeypatch.setattr(KeptPictures, "open", watched)
    backbone = load_backbone(MODEL, on_gpu=False, seed=0)
    augmentation = Augmentation(context.config.training.augmentation, backbone.preprocessing)
    (context.folder).mkdir()
    history = fine_tune(context, parts, backbone, augmentation, Strategy("full", 2, "a test"))
    assert len(history) == 2
    assert 0 <= history[-1]["val_auc"] <= 1
    assert {part for part, is_reconstruction in seen if is_reconstruction} == {"train"}
    assert "validation" in {part for part, _ in seen}
    assert not (context.folder / "scratch/reconstructions").exists()
