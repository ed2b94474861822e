"""Planted shortcuts, at full size: is the shortcut named, and is it learnt?

    python bench/planted_shortcuts.py [--train 120] [--test 800] [--size 128]

For each of format, JPEG quality, size and EXIF: a model is trained on pictures whose label only that accident carries,
and asked about new pictures that come in both variants under a label of chance. Demanded is an AUC of 0.45 to 0.55, and
that the audit names the accident. `without augmentation` shows what there was to learn: the AUC of telling the variants
apart. Then duplicates and creators: the AUC on the test split of a split that keeps groups together, and of one that
does not.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from planted import VARIANTS, by_creators, counter_balanced, planted, targets_of, with_copies
from probing import Probed, probe, silent
from sklearn.metrics import roc_auc_score

from trainer.audit.audit import run_audit
from trainer.data.snapshot import Sample
from utils.config.training import Audit

CHANCE = (0.45, 0.55)


def auc(probed: Probed, samples: Sequence[Sample], targets: Sequence[int] | None = None) -> float:
    return float(roc_auc_score(targets or targets_of(samples), probed.logits(samples)))


def test_part(probed: Probed) -> list[Sample]:
    return [member.sample for member in probed.split.parts["test"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=120, help="pictures of each label to train on")
    parser.add_argument("--test", type=int, default=800, help="new pictures to test on, each in both variants")
    parser.add_argument("--size", type=int, default=128, help="input size of the model")
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        for kind in VARIANTS:
            samples, tested = planted(data, kind, given.train), counter_balanced(data, kind, given.test)
            probed = probe(data, samples, data / f"{kind}.sqlite", size=given.size)
            raw = probe(data, samples, data / f"{kind}.sqlite", size=given.size, augmented=False)
            audit = run_audit(probed.split.samples(), probed.scorer, probed.augmentation, data, Audit(), silent)
            shortcuts = audit.to_card()["shortcuts"]
            named = [shortcut["property"] for shortcut in shortcuts]
            learnt = [shortcut["property"] for shortcut in shortcuts if shortcut["learnt"]]
            variants = [number % 2 for number in range(len(tested))]
            chance = auc(probed, tested)
            failed |= not (CHANCE[0] <= chance <= CHANCE[1] and named)
            told, told_raw = auc(probed, tested, variants), auc(raw, tested, variants)
            print(f"{kind}: counter-balanced AUC {chance:.3f}; the audit names {', '.join(named) or 'NOTHING'}")
            print(f"    tells the variants apart: AUC {told:.3f}, without augmentation {told_raw:.3f}")
            print(f"    learnt, says the audit: {', '.join(learnt) or 'nothing'}", flush=True)
        copies, creators = with_copies(data, given.train), by_creators(data, given.train // 4, 4)
        for kind, samples, forgotten in (("duplicates", copies, "phash"), ("creators", creators, "creator")):
            honest = probe(data, samples, data / f"{kind}.sqlite", size=given.size)
            plain = [replace(sample, **{forgotten: None}) for sample in samples]
            naive = probe(data, plain, data / f"{kind}-naive.sqlite", size=given.size)
            grouped, single = auc(honest, test_part(honest)), auc(naive, test_part(naive))
            print(f"{kind}: test AUC {grouped:.3f} split by groups, {single:.3f} by single images")
            print(f"    the split says {honest.split.report['would_leak']}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
