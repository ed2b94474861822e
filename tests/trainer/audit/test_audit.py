"""The shortcut audit: each planted accident is named, and nothing is named where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judging import KnownScorer, silent
from pictures import encoded, scene, stored
from PIL import Image

from trainer.audit.audit import Audit, run_audit
from trainer.audit.file_properties import jpeg_quality
from trainer.data.augmentation import Augmentation
from trainer.data.preprocessing import Preprocessing
from trainer.data.snapshot import Sample
from trainer.data.types import PARTS, GroupedSample
from utils.config.training import Audit as Settings
from utils.config.training import Augmentation as AugmentationSettings

VIEW = Preprocessing(size=64, short_side_max=96, mean=(0.5,) * 3, std=(0.5,) * 3)
COUNT = 60


def grouped(samples: list[Sample]) -> list[GroupedSample]:
    return [GroupedSample(sample, sample.sha256, PARTS[index % 4]) for index, sample in enumerate(samples)]


def audited(
    folder: Path, members: list[GroupedSample], *, augmented: bool = True, features: dict[str, np.ndarray] | None = None
) -> Audit:
    rng = np.random.default_rng(0)
    given = features or {member.sample.sha256: rng.normal(size=16) for member in members}
    scorer = KnownScorer(dict.fromkeys(given, 0.0), given)
    return run_audit(
        members, scorer, Augmentation(AugmentationSettings(enabled=augmented), VIEW), folder, Settings(), silent
    )


def plant(folder: Path, kind: str) -> list[Sample]:
    """Alike pictures of both labels in turn; only `kind` differs."""
    samples = []
    for number in range(COUNT):
        label = ("real", "ai_generated")[number % 2]
        is_ai = label == "ai_generated"
        side = 160 if kind == "image_size" and is_ai else 120
        image = scene(number, 120, 120).resize((side, side), Image.Resampling.LANCZOS)
        tags = Image.Exif()
        tags[271] = "Maker"
        if kind == "format" and is_ai:
            content = encoded(image, "PNG")
        else:
            quality = 60 if kind == "jpeg_quality" and is_ai else 92
            content = encoded(image, quality=quality, **({"exif": tags} if kind == "exif" and not is_ai else {}))
        source = "civitai" if is_ai else ("pexels", "unsplash")[number // 2 % 2]
        samples.append(stored(folder, f"{number}.img", content, label, source=source, creator=f"c{number}"))
    return samples


@pytest.mark.parametrize("kind", ["format", "jpeg_quality", "image_size", "exif"])
def test_a_planted_shortcut_is_named_and_gone_after_augmentation(tmp_path: Path, kind: str) -> None:
    audit = audited(tmp_path, grouped(plant(tmp_path, kind)))
    card = audit.to_card()
    assert kind in [shortcut["property"] for shortcut in card["shortcuts"]]
    assert card["metadata_probe"]["auc_before"] > 0.9
    assert card["metadata_probe"]["after_resaved"]["value"] < 0.7
    assert audit.problems == ()
    assert any("the label can be told from" in warning for warning in audit.warnings)


def test_without_a_shortcut_nothing_is_named(tmp_path: Path) -> None:
    audit = audited(tmp_path, grouped(plant(tmp_path, "none")))
    card = audit.to_card()
    assert card["shortcuts"] == []
    assert card["duplicates"]["across_parts"] == 0
    assert audit.problems == ()
    for auc in (
        card["metadata_probe"]["auc_before"],
        card["metadata_probe"]["auc_after"],
        card["content_probe"]["auc"],
        card["control_probe"]["auc"],
        card["permuted"]["auc"],
    ):
        assert 0.25 < auc < 0.75
    for probe in ("content_probe", "control_probe", "permuted"):
        assert card[probe]["low"] <= 0.5 <= card[probe]["high"]
        assert card[probe]["meaning"]


def test_shortcuts_without_augmentation_are_a_problem(tmp_path: Path) -> None:
    samples = []
    for number in range(COUNT):
        is_ai = number % 2
        image = scene(number, 96, 96)
        if is_ai:  # coarse compression whose blocks stay in the pixels
            image = Image.open(Path(_saved(tmp_path / f"coarse{number}.jpg", encoded(image, quality=4)))).convert("RGB")
        label = ("real", "ai_generated")[is_ai]
        form, name = ("PNG", f"{number}.png") if is_ai else ("JPEG", f"{number}.jpg")
        samples.append(stored(tmp_path, name, encoded(image, form), label))
    audit = audited(tmp_path, grouped(samples), augmented=False)
    assert any("the augmentation is switched off" in problem for problem in audit.problems)
    assert any("block traces" in warning for warning in audit.warnings)
    assert audited(tmp_path, grouped(samples)).problems == ()


def _saved(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_content_and_sources_are_told_apart_by_their_probes(tmp_path: Path) -> None:
    samples, features = [], {}
    for number in range(COUNT):
        is_ai = number % 2
        image = scene(number, 96, 96)
        if is_ai:
            image = Image.blend(image, Image.new("RGB", image.size, (200, 60, 60)), 0.5)
        source = "civitai" if is_ai else ("pexels", "unsplash")[number // 2 % 2]
        sample = stored(
            tmp_path, f"{number}.jpg", encoded(image, quality=90), ("real", "ai_generated")[is_ai], source=source
        )
        samples.append(sample)
        features[sample.sha256] = np.random.default_rng(number).normal(size=8) + 3 * (source == "unsplash")
    card = audited(tmp_path, grouped(samples), features=features).to_card()
    assert card["content_probe"]["auc"] > 0.9
    assert card["control_probe"]["auc"] > 0.9
    assert "pexels" in card["control_probe"]["meaning"]
    assert card["permuted"]["low"] <= 0.5


def test_duplicates_across_the_split_are_a_problem(tmp_path: Path) -> None:
    members = grouped(plant(tmp_path, "none"))
    first, second = members[0], members[2]
    twin = GroupedSample(replace(second.sample, phash=first.sample.phash), second.group, "test")
    audit = audited(tmp_path, [*members[:2], twin, *members[3:]])
    assert audit.card["duplicates"]["across_parts"] == 1
    assert any(problem.startswith("duplicates:") for problem in audit.problems)


def test_a_dominant_creator_is_named(tmp_path: Path) -> None:
    samples = [
        replace(sample, creator="prolific") if sample.label == "ai_generated" and index > 20 else sample
        for index, sample in enumerate(plant(tmp_path, "none"))
    ]
    audit = audited(tmp_path, grouped(samples))
    assert audit.card["creators"]["dominant"][0]["creator"] == "prolific"
    assert any("creator prolific made" in warning for warning in audit.warnings)


def test_a_single_real_source_has_no_control_and_says_why(tmp_path: Path) -> None:
    samples = [replace(sample, source="one") for sample in plant(tmp_path, "none")]
    control = audited(tmp_path, grouped(samples)).card["control_probe"]
    assert control["auc"] is None
    assert "two real sources" in control["meaning"]


def test_deleted_and_damaged_files_are_left_out_of_the_views(tmp_path: Path) -> None:
    members = grouped(plant(tmp_path, "none"))
    (tmp_path / members[0].sample.path).unlink()
    (tmp_path / members[1].sample.path).write_bytes(b"damaged")
    card = audited(tmp_path, members).to_card()
    assert card["metadata_probe"]["before"]["n"] == COUNT
    assert card["metadata_probe"]["after"]["n"] == COUNT - 2


def test_too_few_groups_give_no_numbers(tmp_path: Path) -> None:
    members = [
        GroupedSample(member.sample, str(index % 2), "train")
        for index, member in enumerate(grouped(plant(tmp_path, "none")))
    ]
    card = audited(tmp_path, members).to_card()
    assert card["metadata_probe"]["auc_before"] is None
    assert "groups" in card["metadata_probe"]["meaning"]


def test_the_audit_can_be_switched_off_and_says_so(tmp_path: Path) -> None:
    scorer = KnownScorer({})
    audit = run_audit([], scorer, Augmentation(AugmentationSettings(), VIEW), tmp_path, Settings(enabled=False), silent)
    assert audit.card["metadata_probe"]["auc_before"] is None
    assert audit.card["permuted"]["auc"] is None
    assert "switched off" in audit.warnings[0]


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 95])
def test_jpeg_quality_is_read_from_the_quantization_tables(tmp_path: Path, quality: int) -> None:
    file = _saved(tmp_path / "picture.jpg", encoded(scene(1), quality=quality))
    assert jpeg_quality(file) == pytest.approx(quality, abs=1.5)


def test_what_is_no_jpeg_has_no_quality(tmp_path: Path) -> None:
    assert jpeg_quality(_saved(tmp_path / "picture.png", encoded(scene(1), "PNG"))) == -1
    assert jpeg_quality(_saved(tmp_path / "broken.jpg", b"\xff\xd8\xff")) == -1
    assert jpeg_quality(tmp_path / "missing.jpg") == -1
