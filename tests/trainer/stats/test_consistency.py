"""Features that tell every pair of sources apart weigh more than those that tell one."""

from __future__ import annotations

import numpy as np

from trainer.stats.consistency import consistency

EACH = 40
SOURCES = ("phone", "stock", "flux", "sdxl")


def rows() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Column 0 tells the labels apart everywhere, 1 marks one generator more clearly, 2 is noise, 3 never moves."""
    noise = np.random.default_rng(0).normal(size=(len(SOURCES) * EACH, 4))
    sources = [source for source in SOURCES for _ in range(EACH)]
    targets = np.array([int(source in SOURCES[2:]) for source in sources])
    noise[:, 0] += 1.5 * targets
    noise[:, 1] += 4.0 * (np.array(sources) == "flux")
    noise[:, 3] = 1.0
    return noise, targets, sources


def test_what_holds_for_every_pair_of_sources_weighs_most() -> None:
    features, targets, sources = rows()
    weighed = consistency(features, targets, sources)
    assert weighed.argmax() == 0
    assert weighed[1] > weighed[2]
    assert weighed[3] == 0
    assert np.isclose((weighed**2).mean(), 1)


def test_small_sources_are_taken_together() -> None:
    features, targets, sources = rows()
    small = [f"{source} {number % 20}" for number, source in enumerate(sources)]
    assert np.isfinite(consistency(features, targets, small)).all()
    by_label = ["real" if target == 0 else "generated" for target in targets]
    np.testing.assert_allclose(consistency(features, targets, small), consistency(features, targets, by_label))


def test_nothing_to_go_by_weighs_all_features_alike() -> None:
    features, targets, sources = rows()
    alike = np.ones_like(features)
    assert (consistency(alike, targets, sources) == 1).all()
    assert (consistency(features, np.zeros_like(targets), sources) == 1).all()
