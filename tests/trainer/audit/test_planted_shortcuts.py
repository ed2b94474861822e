"""A label that only an accident of the file carries is not learnt, and audit or split name the accident."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import VARIANTS, by_creators, counter_balanced, planted, targets_of, with_copies
from probing import Probed, probe, silent
from sklearn.metrics import roc_auc_score

from trainer.audit.audit import run_audit
from utils.config.training import Audit

TRAINED, TESTED = 24, 60
TOLERANCE = 0.15  # two standard errors of an AUC over 60 pictures; bench/planted_shortcuts.py asks for 0.05
AUDITED_AS = {"format": "format", "jpeg_quality": "quality", "size": "", "exif": "exif"}


def auc_of_test_part(probed: Probed) -> float:
    tested = [member.sample for member in probed.split.parts["test"]]
    return float(roc_auc_score(targets_of(tested), probed.logits(tested)))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", list(VARIANTS))
def test_a_model_trained_through_augmentation_does_not_know_the_shortcut(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    probed = probe(tmp_path, planted(tmp_path, kind, TRAINED), tmp_path / "split.sqlite")
    tested = counter_balanced(tmp_path, kind, TESTED)
    auc = roc_auc_score(targets_of(tested), probed.logits(tested))
    assert abs(auc - 0.5) < TOLERANCE
    audit = run_audit(probed.split.samples(), probed.scorer, probed.augmentation, tmp_path, Audit(), silent)
    named = [shortcut["property"] for shortcut in audit.to_card()["shortcuts"]]
    assert any(AUDITED_AS[kind] in name for name in named), named


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_copies_teach_nothing_when_the_split_keeps_them_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    samples = with_copies(tmp_path, 60)
    probed = probe(tmp_path, samples, tmp_path / "split.sqlite")
    assert probed.split.report["would_leak"]["near_duplicate"] > 0.5
    groups = {part: {member.group for member in members} for part, members in probed.split.parts.items()}
    assert groups["test"].isdisjoint(groups["train"])
    assert abs(auc_of_test_part(probed) - 0.5) < 0.3
    unhashed = [replace(sample, phash=None) for sample in samples]
    naive = probe(tmp_path, unhashed, tmp_path / "naive.sqlite")
    assert auc_of_test_part(naive) > 0.8  # what the split would have let through


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_creator_teaches_nothing_about_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    samples = by_creators(tmp_path, 30, 4)
    probed = probe(tmp_path, samples, tmp_path / "split.sqlite")
    assert probed.split.report["would_leak"]["creator"] > 0.5
    creators = {part: {m.sample.creator for m in members} for part, members in probed.split.parts.items()}
    assert creators["train"].isdisjoint(creators["test"])
    # someone else's pictures: the cast that tells the train split's labels says nothing here
    others = by_creators(tmp_path, 30, 4, seed=7)
    assert abs(roc_auc_score(targets_of(others), probed.logits(others)) - 0.5) < 0.25


def test_the_variants_differ_in_nothing_but_their_accident(tmp_path: Path) -> None:
    for kind in VARIANTS:
        facts = [
            (sample.format, sample.width, sample.has_exif, round(np.log2(sample.size_bytes)))
            for sample in planted(tmp_path, kind, 1)
        ]
        different = [first != second for first, second in zip(*facts, strict=True)][:3]
        assert different == [kind == "format", kind == "size", kind == "exif"]
