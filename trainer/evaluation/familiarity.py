"""The cut of the novelty score: beyond what nearly all pictures of left-out sources reach, nothing was measured.

Up to there it is known how often a verdict on a source that the model never met is wrong. Further out it is not, and
the answer is `uncertain`, whatever the probability.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.data.types import PARTS, PartsOfSplit, Scorer
from trainer.evaluation.leave_sources_out import LeftOutSources
from trainer.stats.novelty import Novelty

LEFT_OUT_SHARE = 0.95  # of the pictures of left-out sources, each source counting alike, that get a verdict
SEEN_SHARE = 0.99  # of the pictures of seen sources, at least; of them alone where nothing can be left out


def fit_novelty(scorer: Scorer, parts: PartsOfSplit, left_out: LeftOutSources) -> Novelty | None:
    """Fitted on the train split, cut by what was left out; None where there is too little to fit."""
    train = parts["train"]
    if not train:
        return None
    targets = np.array([member.sample.target for member in train], dtype=np.int64)
    novelty = Novelty.of(scorer.embeddings(train), targets)
    others = [member for part in PARTS if part != "train" for member in parts[part]]
    if novelty is None or not others:
        return None
    cut = float(np.quantile(novelty(scorer.embeddings(others)), SEEN_SHARE))
    reached = [float(np.quantile(fold.novelty, LEFT_OUT_SHARE)) for fold in left_out.folds if len(fold.novelty)]
    return replace(novelty, cut=max([cut, *([float(np.mean(reached))] if reached else [])]))
