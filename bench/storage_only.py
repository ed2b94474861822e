"""A label that only storage carries: is such a model kept out, by name? And one that has learnt nothing at all?

    python bench/storage_only.py [--seeds 20] [--pictures 300] [--size 96]

For each seed drawn pictures whose label JPEG quality alone carries, another split, the frozen mode, and the assessment
as in a training: calibration, evaluation, audit, gate. Twice: with augmentation as shipped, and without (`raw`), where
the shortcut is learnt in full. Demanded: never published, and every rejection names what tells the labels apart.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from planted import planted
from probing import probe, silent

from trainer.audit.audit import run_audit
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.evaluate import evaluate
from trainer.gate.gate import GateDecision, decide
from trainer.stats.predictions import CachedScorer
from utils.config.training import Audit, Evaluation, Gate

NAMES = ("JPEG quality", "file format")
SETTINGS = Evaluation(robustness=False, bootstrap_samples=300)


def judged(data: Path, seed: int, count: int, size: int, *, augmented: bool) -> GateDecision:
    samples = planted(data, "jpeg_quality", count // 2, seed)
    ledger = data / f"split-{augmented}.sqlite"
    probed = probe(data, samples, ledger, augmented=augmented, size=size, key=f"seed {seed}")
    scorer, parts = CachedScorer(probed.scorer), probed.split.parts
    evaluation = evaluate(scorer, parts, calibrate(scorer, parts, SETTINGS), SETTINGS, silent)
    audit = run_audit(probed.split.samples(), scorer, probed.augmentation, data, Audit(), silent, seed)
    return decide(evaluation, audit, None, Gate())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--size", type=int, default=96)
    given = parser.parse_args()
    failed = 0
    for seed in range(given.seeds):
        for augmented in (True, False):
            with tempfile.TemporaryDirectory() as name:
                decision = judged(Path(name), seed, given.pictures, given.size, augmented=augmented)
            is_named = any(word in reason for reason in decision.reasons for word in NAMES)
            failed += decision.publish or not is_named
            kind = "shipped" if augmented else "raw"
            print(f"seed {seed}, {kind}: {decision.verdict}, {'named' if is_named else 'NOT NAMED'}", flush=True)
            print(f"    {decision.reasons[0]}", flush=True)
    print(f"{'FAILED' if failed else 'passed'}: {failed} of {2 * given.seeds} published or not named")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
