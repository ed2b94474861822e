"""A label that only storage carries: is such a model kept out, by name? And one that has learnt nothing at all?

    python bench/storage_only.py [storage] [nothing] [--seeds 20] [--pictures 300] [--size 96]

For each seed drawn pictures, another split, the frozen mode, and the assessment as in a training: calibration,
evaluation, audit, gate.

storage   JPEG quality alone carries the label. Twice: with augmentation as shipped, and without (`raw`), where the
          shortcut is learnt in full. Demanded: never published, and every rejection names what tells the labels apart
nothing   no pixel carries the label (only EXIF does, which no model sees). Demanded: never published
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
# names, each with the kind of tests/trainer/planted.py and whether it is augmented
VARIANTS = {
    "storage": (("shipped", ("jpeg_quality", True)), ("raw", ("jpeg_quality", False))),
    "nothing": (("nothing", ("exif", True)),),
}
SETTINGS = Evaluation(robustness=False, bootstrap_samples=300)


def judged(data: Path, kind: str, seed: int, count: int, size: int, *, augmented: bool) -> GateDecision:
    samples = planted(data, kind, count // 2, seed)
    ledger = data / f"split-{augmented}.sqlite"
    probed = probe(data, samples, ledger, augmented=augmented, size=size, key=f"seed {seed}")
    scorer, parts = CachedScorer(probed.scorer), probed.split.parts
    evaluation = evaluate(scorer, parts, calibrate(scorer, parts, SETTINGS), SETTINGS, silent)
    audit = run_audit(probed.split.samples(), scorer, probed.augmentation, data, Audit(), silent, seed)
    return decide(evaluation, audit, None, Gate())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=list(VARIANTS), default=list(VARIANTS), metavar="storage | nothing")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--size", type=int, default=96)
    given = parser.parse_args()
    variants = [variant for what in given.what for variant in VARIANTS[what]]
    failed = 0
    for seed in range(given.seeds):
        for name, (kind, augmented) in variants:
            with tempfile.TemporaryDirectory() as folder:
                decision = judged(Path(folder), kind, seed, given.pictures, given.size, augmented=augmented)
            is_named = name == "nothing" or any(word in reason for reason in decision.reasons for word in NAMES)
            failed += decision.publish or not is_named
            print(f"seed {seed}, {name}: {decision.verdict}{'' if is_named else ', NOT NAMED'}", flush=True)
            print(f"    {decision.reasons[0]}", flush=True)
    total = given.seeds * len(variants)
    print(f"{'FAILED' if failed else 'passed'}: {failed} of {total} published or not named")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
