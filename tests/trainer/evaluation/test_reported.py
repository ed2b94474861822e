"""What becomes of reported mistakes is counted by label, and apart for pictures that were not trained on."""

from __future__ import annotations

import json
from pathlib import Path

from judging import KnownScorer, make_sample

from trainer.data.types import GroupedSample, Part
from trainer.evaluation.operating_points import OperatingPoints
from trainer.evaluation.reported import judge_reported, read_reported
from trainer.publishing.report import reported_in_words
from utils.job_protocol import REPORTED_FILE

POINTS = OperatingPoints(threshold_ai=0.7, threshold_real=0.3, points=(), note="")
SURE, UNSURE = 4.0, 0.0


def member(name: str, target: int, part: Part = "test") -> GroupedSample:
    return GroupedSample(make_sample(name, target), name, part)


def test_mistakes_are_counted_and_those_that_were_trained_on_apart() -> None:
    samples = [
        member("fixed", 0, "train"),
        member("fixed-unseen", 1, "validation"),
        member("still-wrong", 0),
        member("unsure", 1),
        member("was-right", 0),
        member("not-reported", 0),
    ]
    logits = dict(zip([m.sample.sha256 for m in samples], [-SURE, SURE, SURE, UNSURE, -SURE, -SURE], strict=True))
    verdicts = [["ai_generated"], ["uncertain", "real"], ["ai_generated"], ["real"], ["real"]]
    reported = {m.sample.sha256: given for m, given in zip(samples, verdicts, strict=False)}
    reported["f" * 64] = ["real"]  # not labelled yet, or gone
    found = judge_reported(KnownScorer(logits), samples, 1.0, POINTS, reported)
    assert found == {
        "labelled": 5,
        "mistakes": 4,
        "right": 2,
        "wrong": 1,
        "uncertain": 1,
        "untrained": {"mistakes": 3, "right": 1, "wrong": 1, "uncertain": 1},
    }
    [sentence] = reported_in_words(found)
    assert "Of 4 mistakes" in sentence
    assert "2 rightly now, 1 wrongly, and cannot tell 1" in sentence


def test_without_reports_nothing_is_said(tmp_path: Path) -> None:
    assert read_reported(tmp_path) == {}
    assert judge_reported(KnownScorer({}), [member("a", 0)], 1.0, POINTS, {}) is None
    assert reported_in_words(None) == []


def test_a_report_that_was_no_mistake_is_none(tmp_path: Path) -> None:
    one = member("a", 0)
    (tmp_path / REPORTED_FILE).write_text(json.dumps({one.sample.sha256: ["real"]}))
    found = judge_reported(KnownScorer({}), [one], 1.0, POINTS, read_reported(tmp_path))
    assert found is not None
    assert (found["labelled"], found["mistakes"], found["untrained"]["mistakes"]) == (1, 0, 0)
    assert "no verdict was wrong" in reported_in_words(found)[0]
