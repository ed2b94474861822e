"""Does a real signal survive the augmentation, by default settings? Photographs against their reconstructions.

    python bench/real_signal.py [--work FOLDER] [--pairs 150] [--seed 0] [--photos FOLDER ...] [--stored 95 60]

Builds the set of bench/upsampled_pairs.py (kept in --work), trains as the daemon would, with the split by source photo,
and prints the test AUC with its interval. The demand: 0.80 or more within 10 minutes on 2 cores.

`--stored REAL GENERATED` saves each label as JPEG of its own quality: a shortcut beside the signal. The version must
then be published, and its AUC with swapped storage must be within 0.05 of the plain one.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jobs import make_job, run_job, sample_of
from PIL import Image
from upsampled_pairs import build, packaged_photos

from trainer.data.snapshot import Sample

DEMANDED_AUC = 0.80
DEMANDED_SECONDS = 600
MOST_LOSS = 0.05  # of AUC, when storage is swapped


def pairs_of(work: Path, pairs: int, photos: Sequence[Path] = ()) -> tuple[Path, list[Sample]]:
    """The set's folder and its samples; made when it is not there yet."""
    data = work / f"pairs-{pairs}"
    if not (data / "pairs.jsonl").exists():
        further = [file for folder in photos for file in sorted(folder.rglob("*.[jpw][pne][gb]*"))]
        print(f"{build(data, packaged_photos() + further, pairs)} pairs made")
    rows = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]
    return data, [
        sample_of(data, data / row["file"], row["label"], post=row["photo"], generator=row["generator"]) for row in rows
    ]


def stored(data: Path, work: Path, samples: Sequence[Sample], qualities: Sequence[int]) -> tuple[Path, list[Sample]]:
    """The same pictures, saved as JPEG of the quality of their label (real, generated)."""
    folder = work / f"{data.name}-{qualities[0]}-{qualities[1]}"
    again = []
    for sample in samples:
        file = folder / sample.path
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(data / sample.path) as image:
            image.save(file, "JPEG", quality=qualities[sample.target])
        again.append(sample_of(folder, file, sample.label, post=sample.post, generator=sample.generator))
    return folder, again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "exposr-real-signal")
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, action="append", default=[])
    parser.add_argument("--stored", type=int, nargs=2, metavar=("REAL", "GENERATED"), help="JPEG qualities by label")
    given = parser.parse_args()
    data, samples = pairs_of(given.work, given.pairs, given.photos)
    if given.stored:
        data, samples = stored(data, given.work, samples, given.stored)
    with tempfile.TemporaryDirectory(prefix="job-", dir=given.work) as folder:
        work = Path(folder)
        settings = {"training": {"seed": given.seed}, "gate": {"enabled": bool(given.stored)}}
        make_job(work / "job", data, work, samples, settings)
        ended = run_job(work / "job")
        outcome = ended.outcome or {"result": "none", "summary": ended.log[-2000:], "details": {}}
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime  # the wall time says little where other work shares the cores
        print(f"{outcome['result']}: {outcome['summary']} in {ended.seconds:.0f} s, {cpu:.0f} CPU s")
        details = outcome["details"]
        if "version" in details:
            card = json.loads((work / "models" / details["model"] / details["version"] / "model.json").read_text())
            auc = card["evaluation"]["test"]["auc"]
            print(
                json.dumps({"mode": card["architecture"]["mode"], "notes": details["notes"], "test_auc": auc}, indent=1)
            )
            wrong = [f"AUC {auc['value']:.3f} < {DEMANDED_AUC}"] * (auc["value"] < DEMANDED_AUC)
            wrong += [f"{ended.seconds:.0f} s > {DEMANDED_SECONDS} s"] * (ended.seconds > DEMANDED_SECONDS)
            for shortcut in card["audit"]["shortcuts"] if given.stored else []:
                loss = (shortcut.get("swapped") or {}).get("loss") or {"value": 0.0}
                print(f"{shortcut['property']}: swapped storage costs {loss['value']:.3f} of AUC")
                wrong += [f"{shortcut['property']} costs {loss['value']:.3f}"] * (loss["value"] > MOST_LOSS)
            print("FAILED: " + "; ".join(wrong) if wrong else f"passed: AUC {auc['value']:.3f}, {ended.seconds:.0f} s")
            raise SystemExit(bool(wrong))
        raise SystemExit("FAILED: nothing was published")


if __name__ == "__main__":
    main()
