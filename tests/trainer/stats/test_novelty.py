"""The novelty score: what is unlike the train split stands out, and trainer and client mean the same by it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from exposr_client.detection.novelty import parse_novelty
from trainer.stats.novelty import Novelty

WIDTH = 48


def features(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Non-negative, as after a ReLU; `shift` moves what is usually small."""
    rng = np.random.default_rng(seed)
    rows = np.abs(rng.normal(size=(count, WIDTH))) + np.linspace(3, 0, WIDTH)
    rows[:, -8:] += shift
    return rows


TARGETS = np.arange(200) % 2
FITTED = Novelty.of(features(200, 0), TARGETS)


def test_more_of_the_same_is_familiar_and_the_rest_is_not() -> None:
    usual, odd = FITTED(features(200, 1)), FITTED(features(200, 1, shift=3.0))
    assert 1.5 < np.median(usual) < 4
    assert (odd > np.quantile(usual, 0.99)).mean() > 0.95


def test_a_row_near_zero_is_not_taken_for_usual() -> None:
    flat = np.full((50, WIDTH), 0.01)  # what a page of text leaves of a network's features
    assert FITTED(flat).min() > np.quantile(FITTED(features(200, 1)), 0.99)
    assert np.isfinite(FITTED(np.zeros((1, WIDTH)))).all()


def test_the_client_reads_the_same_numbers_from_the_card() -> None:
    card = json.loads(json.dumps(replace(FITTED, cut=5.0).to_card()))
    rows = features(20, 3, shift=1.0)
    client = parse_novelty(card)
    assert client.of(rows) == pytest.approx(FITTED(rows).tolist(), rel=1e-9)
    assert Novelty.from_card(card)(rows).tolist() == pytest.approx(FITTED(rows).tolist(), rel=1e-9)
    assert client.is_unfamiliar(5.1) and not client.is_unfamiliar(5.0) and client.is_unfamiliar(float("nan"))


@pytest.mark.parametrize(
    "broken",
    [
        {"formula": "another"},
        {"cut": float("inf")},
        {"outside": 0.0},
        {"means": {"shape": [2, 7], "float32": FITTED.to_card()["means"]["float32"]}},
        {"basis": {"shape": [10**6, 10**6], "float32": ""}},
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(broken: dict) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_novelty(FITTED.to_card() | broken)


def test_one_label_alone_gives_none() -> None:
    assert Novelty.of(features(10, 0), np.zeros(10, dtype=int)) is None
