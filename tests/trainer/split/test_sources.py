"""Folds that leave whole sources out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import make_sample

from trainer.data.types import GroupedSample
from trainer.split.sources import LEAST_IMAGES, MOST_FOLDS, origin, source_folds


def members_of(sizes: dict[str, int], target: int = 0) -> list[GroupedSample]:
    facts = {"generator": None} if target == 0 else {}
    return [
        GroupedSample(
            make_sample(f"{name}{index}", target, **({"source": name} | facts if target == 0 else {"generator": name})),
            f"{name}{index}",
            "train",
        )
        for name, size in sizes.items()
        for index in range(size)
    ]


def test_each_large_source_is_a_fold_of_its_own() -> None:
    folds = source_folds(members_of({"phone": 30, "camera": 50}), 0)
    assert [(fold.name, int(fold.rows.sum())) for fold in folds] == [("camera", 50), ("phone", 30)]


def test_small_sources_are_left_out_together_and_one_source_alone_cannot_be() -> None:
    folds = source_folds(members_of({f"g{number}": 2 for number in range(31)}, 1), 1)
    assert len(folds) == MOST_FOLDS
    assert sum(int(fold.rows.sum()) for fold in folds) == 62
    assert source_folds(members_of({"phone": 100}), 0) == []
    assert source_folds(members_of({"phone": 100, "camera": LEAST_IMAGES - 1}), 0) == []


@given(st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.integers(1, 40)))
@settings(max_examples=60, deadline=None)
def test_no_source_is_ever_parted_and_every_fold_is_large_enough(sizes: dict[str, int]) -> None:
    members = [*members_of(sizes), *members_of({"flux": 5}, 1)]
    folds = source_folds(members, 0)
    assert len(folds) != 1 and len(folds) <= MOST_FOLDS
    together = np.sum([fold.rows for fold in folds], axis=0) if folds else np.zeros(len(members))
    assert together.max(initial=0) <= 1
    for fold in folds:
        inside = {origin(member) for member, row in zip(members, fold.rows, strict=True) if row}
        assert fold.rows.sum() == sum(sizes[name] for name in inside) >= LEAST_IMAGES
