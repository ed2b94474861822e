"""What must hold whatever has happened, told by files and the API alone; knows nothing of the service's code.

    python tests/faults/invariants.py --datasets FOLDER --models FOLDER [--status FILE]

Prints a line for each violation and exits with 1 if there is one. `--status` is an answer of GET /status, as a file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image

NOT_DATA = {"meta", "README.md"}


def data_violations(datasets: Path, counts: dict[str, int] | None = None) -> list[str]:
    """`counts` as in /status, once the service says that nothing is pending."""
    return list(_data_violations(datasets, counts))


def _data_violations(datasets: Path, counts: dict[str, int] | None) -> Iterator[str]:
    labels: dict[str, list[str | None]] = {}
    for file in sorted((datasets / "meta").rglob("*.json")):
        if file.name.startswith("."):
            continue
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{file}: metadata does not parse: {error}"
            continue
        labels.setdefault(str(said.get("sha256")), []).append(said.get("label"))
    contents = {}
    for file in _pictures(datasets):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        try:
            with PIL.Image.open(file) as image:
                image.load()
        except OSError:
            if file.is_relative_to(datasets / "images"):
                yield f"{file}: a collected picture does not decode"
            continue
        contents[digest] = file
    for digest, file in contents.items():
        if counts is not None and len(labels.get(digest, [])) != 1:
            yield f"{file}: {len(labels.get(digest, []))} metadata files for its content"
    if counts is not None:
        for digest in labels.keys() - contents.keys():
            yield f"metadata of content {digest[:12]} without a picture"
        found = Counter(labels[digest][0] for digest in contents if digest in labels)
        told = {"real": counts["real"], "ai_generated": counts["ai_generated"], None: counts["unlabeled"]}
        for label, count in told.items():
            if found[label] != count:
                yield f"counts say {count} {label}, the files {found[label]}"
        if counts["total"] != sum(found.values()):
            yield f"counts say {counts['total']} in all, the files {sum(found.values())}"


def _pictures(datasets: Path) -> Iterator[Path]:
    for file in sorted(datasets.rglob("*")):
        parts = file.relative_to(datasets).parts
        if file.is_file() and parts[0] not in NOT_DATA and not any(part.startswith(".") for part in parts):
            yield file


def model_violations(models: Path) -> list[str]:
    """Also true while a writer is at work, at every instant."""
    return list(_model_violations(models))


def _model_violations(models: Path) -> Iterator[str]:
    file = models / "registry.json"
    if not file.exists():
        return
    try:
        entries: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"{file}: does not parse: {error}"
        return
    names = [f"{entry['model']}/{entry['version']}" for entry in entries]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} is registered twice"
    numbers: dict[str, int] = {}
    for entry in entries:
        number = int(re.sub(r"\D", "", entry["version"]))
        if number <= numbers.get(entry["model"], 0):
            yield f"{entry['model']}/{entry['version']} comes after {numbers[entry['model']]}"
        numbers[entry["model"]] = number
        for name, facts in entry.get("files", {}).items():
            path = models / entry["model"] / entry["version"] / name
            if not path.is_file():
                yield f"{path} is named by the registry and not there"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
                yield f"{path}: other bytes than the registry says"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--status", type=Path)
    given = parser.parse_args()
    counts = json.loads(given.status.read_text(encoding="utf-8"))["dataset_counts"] if given.status else None
    violations = [*data_violations(given.datasets, counts), *model_violations(given.models)]
    sys.stdout.writelines(f"{violation}\n" for violation in violations)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
