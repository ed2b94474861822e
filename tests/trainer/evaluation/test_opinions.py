"""What a model says of pictures that it did not learn from, and nothing of those that it did."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample, Part, Transform
from trainer.evaluation.leave_sources_out import LeftOut, LeftOutSources
from trainer.evaluation.opinions import (
    Novelties,
    Opinion,
    form_opinions,
    measure_novelties,
    read_unlabelled,
    write_opinions,
)
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import Scored
from utils.errors import StopRunError

NOBODY = LeftOutSources((), (), (), (), "")


class Fixed:
    """A scorer whose logit is in the picture's name."""

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        if any(member.sample.path == "broken" for member in samples):
            raise StopRunError("broken cannot be read any more")
        return np.array([float(member.sample.path) for member in samples])

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        return np.stack([np.random.default_rng(len(member.sample.sha256)).normal(size=6) for member in samples])


def member(name: str, part: Part, label: str = "real", logit: str = "0") -> GroupedSample:
    return GroupedSample(Sample(name, logit, name, 1, label, "s", "png", 9, 9, False), name, part)  # type: ignore[arg-type]


@pytest.fixture
def parts() -> dict[Part, list[GroupedSample]]:
    return {
        "train": [member("learnt", "train")],
        "validation": [member("seen", "validation", "ai_generated", "-3")],
        "calibration": [],
        "test": [member("tested", "test", "real", "2")],
    }


def by_name(opinions: list[Opinion]) -> dict[str, Opinion]:
    return {opinion.sha256: opinion for opinion in opinions}


def test_what_was_learnt_from_is_judged_only_by_a_head_that_never_met_its_source(
    parts: dict[Part, list[GroupedSample]],
) -> None:
    alone = by_name(form_opinions(Fixed(), parts, 1.0, NOBODY, []))
    assert set(alone) == {"seen", "tested"}
    own = Scored((parts["train"][0],), np.array([0.9]))
    left_out = LeftOutSources((LeftOut("s", 0, own, own),), (), (), (), "")
    found = by_name(form_opinions(Fixed(), parts, 1.0, left_out, []))
    assert found["learnt"].probability == 0.9
    assert found["learnt"].doubt == 0.9


def test_doubt_is_the_probability_of_the_other_label_and_greatest_in_the_middle_without_one() -> None:
    assert Opinion("a", "ai_generated", 0.2, "").doubt == 0.8
    assert Opinion("a", "real", 0.2, "").doubt == 0.2
    assert Opinion("a", None, 0.5, "").doubt == 1
    assert Opinion("a", None, 0.0, "").doubt == 0


def test_a_picture_that_went_away_costs_its_opinion_and_no_training(
    parts: dict[Part, list[GroupedSample]], tmp_path: Path
) -> None:
    (tmp_path / "1.5").touch()
    (tmp_path / "broken").touch()
    file = tmp_path / "unlabelled.jsonl"
    file.write_text("".join(json.dumps({"sha256": name, "path": name}) + "\n" for name in ("1.5", "gone")))
    there = read_unlabelled(file, tmp_path)
    assert [sample.path for sample in there] == ["1.5"]
    found = by_name(form_opinions(Fixed(), parts, 1.0, NOBODY, there))
    assert found["1.5"].label is None
    file.write_text(json.dumps({"sha256": "broken", "path": "broken"}))
    assert set(by_name(form_opinions(Fixed(), parts, 1.0, NOBODY, read_unlabelled(file, tmp_path)))) == {
        "seen",
        "tested",
    }
    assert read_unlabelled(tmp_path / "no file", tmp_path) == []


def test_a_new_file_replaces_the_old_while_somebody_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "opinions.sqlite"
    write_opinions(file, [Opinion("a", "real", 0.1, "x")], "vit/v1")
    with closing(sqlite3.connect(file)) as reader:
        write_opinions(file, [], "vit/v2")
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (1,)
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("SELECT version, (SELECT count(*) FROM predictions) FROM about").fetchall() == [
            ("vit/v2", 0)
        ]


def test_every_picture_has_a_novelty_also_what_was_learnt_from(
    parts: dict[Part, list[GroupedSample]], tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 6))
    fitted = Novelty.of(rows, np.arange(60) % 2)
    assert fitted is not None
    unlabelled = member("waits", "test").sample
    found = measure_novelties(Fixed(), replace(fitted, cut=3.0), parts, [unlabelled])
    assert set(found.values) == {"learnt", "seen", "tested", "waits"}
    assert found.cut == 3.0
    expected = fitted(Fixed().embeddings(parts["test"]))
    assert found.values["tested"] == pytest.approx(expected[0])
    file = tmp_path / "opinions.sqlite"
    write_opinions(file, [], "vit/v1", found)
    with closing(sqlite3.connect(file)) as reader:
        assert dict(reader.execute("SELECT sha256, value FROM novelty")) == found.values
        assert reader.execute("SELECT cut FROM about").fetchone() == (3.0,)
    assert measure_novelties(Fixed(), None, parts, [unlabelled]) == Novelties({}, None)
