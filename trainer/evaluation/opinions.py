"""What a model says of each picture that it did not learn from, and how novel each picture is to it.

Kept for people who look for wrong labels and for pictures of a kind that is missing. Labelled pictures are judged by
heads that never met their source, where sources were left out; else, outside of the train split, by the model itself.
Pictures without a label are judged by the model. Each training replaces the file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from trainer.data.snapshot import Sample
from trainer.data.types import PARTS, GroupedSample, PartsOfSplit, Scorer
from trainer.evaluation.leave_sources_out import LeftOutSources
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import Scored, score
from utils.errors import StopRunError
from utils.logs import get_logger

log = get_logger(__name__)

AT_ONCE = 4096  # pictures whose embeddings are copied together
HELD_OUT = ("validation", "calibration", "test")
LEFT_OUT = "by a head that never met its source"
NOT_LEARNT = "held out from the training"
NO_LABEL = "it has no label"
TABLES = """
CREATE TABLE about (
    version TEXT NOT NULL,                       -- family/vN; empty: what the model was not published as
    cut REAL                                     -- above this novelty a picture gets no verdict; null: none has
);
CREATE TABLE predictions (
    sha256 TEXT PRIMARY KEY, label TEXT,         -- the label when it was judged; null: none
    probability REAL NOT NULL,                   -- of ai_generated
    doubt REAL NOT NULL,                         -- of the label: that of the other one; without a label 1 at 0.5
    how TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX predictions_by_doubt ON predictions (doubt);
CREATE INDEX unlabelled_by_doubt ON predictions (doubt) WHERE label IS NULL;
CREATE TABLE novelty (sha256 TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;  -- `trainer/stats/novelty.py`
CREATE INDEX novelty_by_value ON novelty (value, sha256);
INSERT INTO about VALUES ('', NULL);
"""


@dataclass(frozen=True, slots=True)
class Opinion:
    """`label` None: the picture has none."""

    sha256: str
    label: str | None
    probability: float
    how: str

    @property
    def doubt(self) -> float:
        if self.label is None:
            return 1 - abs(2 * self.probability - 1)
        return 1 - self.probability if self.label == "ai_generated" else self.probability


@dataclass(frozen=True, slots=True)
class Novelties:
    """Novelty by sha256; those above `cut` are unfamiliar (None: no picture is)."""

    values: Mapping[str, float]
    cut: float | None


NO_NOVELTIES = Novelties({}, None)


def form_opinions(
    scorer: Scorer, parts: PartsOfSplit, temperature: float, left_out: LeftOutSources, unlabelled: Sequence[Sample]
) -> list[Opinion]:
    """One for each picture that was not learnt from in the way that its opinion says."""
    found: dict[str, Opinion] = {}
    for part in HELD_OUT:
        for opinion in _of(score(scorer, parts[part], temperature), NOT_LEARNT):  # type: ignore[index]
            found[opinion.sha256] = opinion
    for fold in left_out.folds:
        for opinion in _of(fold.own, LEFT_OUT):
            found[opinion.sha256] = opinion
    alone = [_alone(sample) for sample in unlabelled if sample.sha256 not in found]
    try:
        scored = score(scorer, alone, temperature)
    except StopRunError as error:  # one was removed or damaged since; the training does not depend on them
        log.warning("unlabelled_not_judged", reason=str(error))
        scored = Scored((), [])  # type: ignore[arg-type]
    for member, probability in zip(scored.samples, scored.probabilities, strict=True):
        found[member.sample.sha256] = Opinion(member.sample.sha256, None, float(probability), NO_LABEL)
    return list(found.values())


def measure_novelties(
    scorer: Scorer, novelty: Novelty | None, parts: PartsOfSplit, unlabelled: Sequence[Sample]
) -> Novelties:
    """Of all pictures of the split, also of those that were learnt from, and of `unlabelled` ones."""
    if novelty is None:
        return NO_NOVELTIES
    values: dict[str, float] = {}

    def measure(members: Sequence[GroupedSample]) -> None:
        for start in range(0, len(members), AT_ONCE):
            some = members[start : start + AT_ONCE]
            found = novelty(scorer.embeddings(some)).tolist()
            values.update((member.sample.sha256, value) for member, value in zip(some, found, strict=True))

    for part in PARTS:
        measure(parts[part])
    try:
        measure([_alone(sample) for sample in unlabelled])
    except StopRunError as error:
        log.warning("unlabelled_not_judged", reason=str(error))
    return Novelties(values, novelty.cut)


def write_opinions(file: Path, opinions: Iterable[Opinion], version: str, novelties: Novelties = NO_NOVELTIES) -> None:
    """Beside its place, then renamed: who reads the old one reads on."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as db:
        db.executescript(TABLES)
        db.execute("UPDATE about SET version = ?, cut = ?", (version, novelties.cut))
        db.executemany(
            "INSERT INTO predictions VALUES (?, ?, ?, ?, ?)",
            ((each.sha256, each.label, each.probability, each.doubt, each.how) for each in opinions),
        )
        db.executemany("INSERT INTO novelty VALUES (?, ?)", novelties.values.items())
        db.commit()
    new.replace(file)


def read_unlabelled(file: Path, folder: Path) -> list[Sample]:
    """Pictures without a label that are there, from lines of `{"sha256", "path"}`; none without the file."""
    if not file.is_file():
        return []
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    # their label is asked by nobody: a scorer looks at the picture alone
    samples = [Sample(row["sha256"], row["path"], row["sha256"], 0, "real", "", "", 0, 0, False) for row in rows]
    return [sample for sample in samples if (folder / sample.path).is_file()]


def _alone(sample: Sample) -> GroupedSample:
    """Without a label it is in no split, and its part is asked by nobody."""
    return GroupedSample(sample, sample.sha256, "test")


def _of(scored: Scored, how: str) -> list[Opinion]:
    return [
        Opinion(member.sample.sha256, member.sample.label, float(probability), how)
        for member, probability in zip(scored.samples, scored.probabilities, strict=True)
    ]
