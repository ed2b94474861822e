"""What is nearly alike to a network is tied together, whatever the network; and only while it is new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_split import DISTANCE, many, places, sample

from trainer.data.snapshot import Sample
from trainer.split.alike import LEAST_PICTURES, alike_pairs
from trainer.split.split import Split, split_samples


def subjects(count: int, each: int, *, offset: float, seed: int = 0) -> np.ndarray:
    """Embeddings of `count` subjects, `each` pictures of every one; `offset` is what all pictures share."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(count, 64)), each, axis=0)
    return (centres + rng.normal(size=centres.shape) * 0.15 + offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 3.0])  # cosines around 0, and around 0.9 as some networks have them
def test_pictures_of_one_subject_are_alike_and_others_are_not(offset: float) -> None:
    rows = subjects(60, 2, offset=offset)
    found = set(alike_pairs(rows, [0] * len(rows), [True] * len(rows)))
    wanted = {(2 * number, 2 * number + 1) for number in range(60)}
    assert len(found & wanted) >= 55
    assert len(found - wanted) <= 3


def test_labels_are_not_tied_to_each_other_and_known_pictures_are_left_alone() -> None:
    rows = subjects(60, 2, offset=0.0)
    assert alike_pairs(rows, [index % 2 for index in range(len(rows))], [True] * len(rows)) == []
    fresh = [index < 4 for index in range(len(rows))]
    assert set(alike_pairs(rows, [0] * len(rows), fresh)) == {(0, 1), (2, 3)}


def test_too_few_pictures_or_a_network_that_sees_no_difference_tie_nothing() -> None:
    few = subjects(LEAST_PICTURES // 2 - 1, 2, offset=0.0)
    assert alike_pairs(few, [0] * len(few), [True] * len(few)) == []
    blind = np.ones((80, 8), dtype=np.float32)
    assert alike_pairs(blind, [0] * 80, [True] * 80) == []


def split(samples: list[Sample], ledger: Path, pairs: list[tuple[str, str]]) -> Split:
    def alike(known: set[str]) -> list[tuple[str, str]]:
        return [pair for pair in pairs if not known.issuperset(pair)]

    return split_samples(samples, ledger, key="test", near_duplicate_distance=DISTANCE, alike=alike)


def test_what_is_alike_lies_in_one_part_and_one_group_and_the_card_counts_what_would_have_leaked(
    tmp_path: Path,
) -> None:
    samples = [*many(60, "real"), *many(60, "ai_generated")]
    pairs = [(samples[number].sha256, samples[number + 1].sha256) for number in range(0, 60, 2)]
    result = split(samples, tmp_path / "split.sqlite", pairs)
    groups = {member.sample.sha256: member.group for member in result.samples()}
    for first, second in pairs:
        assert places(result)[first] == places(result)[second]
        assert groups[first] == groups[second]
    assert result.report["would_leak"]["alike"] > 0
    assert result.report["would_leak"]["near_duplicate"] == 0


def test_what_has_its_place_is_not_moved_by_a_resemblance_that_is_found_later(tmp_path: Path) -> None:
    samples = [*many(60, "real"), *many(60, "ai_generated")]
    before = places(split(samples, tmp_path / "split.sqlite", []))
    new = sample("new", "real")
    train = next(member for member in samples if before[member.sha256] == "train" and member.label == "real")
    test = next(member for member in samples if before[member.sha256] == "test" and member.label == "real")
    pairs = [(new.sha256, train.sha256), (train.sha256, test.sha256)]

    def alike(known: set[str]) -> list[tuple[str, str]]:
        return pairs  # also of two that are known

    after = split_samples(
        [*samples, new], tmp_path / "split.sqlite", key="test", near_duplicate_distance=DISTANCE, alike=alike
    )
    assert after.left_out == {}
    assert places(after) == before | {new.sha256: "train"}
