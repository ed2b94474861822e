"""`exposr-trainer models verify`: every number of a registry entry again, from the published files and the pictures.

Split, weights, settings and seeds come from the version's own files, so that the same functions that made the entry
make it a second time. What depends on pictures that have been deleted since is named as such, with how many are gone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.audit.audit import Audit, run_audit
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.snapshot import Snapshot, read_snapshot
from trainer.data.types import PARTS, Candidate, GroupedSample, Part, PartsOfSplit
from trainer.evaluation.calibration import Calibration, calibrate
from trainer.evaluation.evaluate import evaluate
from trainer.gate.gate import Champion, decide
from trainer.models.scorer import ModelScorer, load_version
from trainer.publishing.card import Assessment, Identity, make_entry
from trainer.publishing.load_check import problems_of
from trainer.publishing.publish import SNAPSHOT_FILE, SPLIT_FILE
from trainer.publishing.registry import Registry
from trainer.publishing.registry_files import CARD_FILE, Entry
from trainer.stats.predictions import CachedScorer
from utils.clock import from_iso
from utils.config.training import Audit as AuditSettings
from utils.config.training import Augmentation as AugmentationSettings
from utils.config.training import Evaluation as EvaluationSettings
from utils.config.training import Gate as GateSettings
from utils.config_loader import Config
from utils.errors import OperatorError, StopRunError
from utils.files import sha256_of_file

Finding = Literal["same", "different", "cannot"]
TOLERANCE = 1e-3  # another processor or thread count moves logits by less
IDENTITY_KEYS = ("model", "version", "timestamp", "run", "notes", "sha256", "size_bytes", "files", "serial")
UNSEEN_NEEDS = "sources are left out while training, with views that are not published"
MARKS: dict[Finding, str] = {"same": "same     ", "different": "DIFFERENT", "cannot": "cannot   "}


@dataclass(frozen=True, slots=True)
class Check:
    """One number (or file): as recorded, as found now, or why it cannot be found."""

    name: str
    finding: Finding
    words: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`ok` when nothing differs; what could not be computed again is listed, not hidden."""

    name: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.finding != "different" for check in self.checks)

    def render(self) -> str:
        counts = {finding: sum(check.finding == finding for check in self.checks) for finding in MARKS}
        lines = [f"{MARKS[check.finding]}  {check.name}: {check.words}" for check in self.checks]
        summary = (
            f"{self.name}: {counts['same']} same, {counts['different']} different, {counts['cannot']} not verifiable"
        )
        return "\n".join([*lines, summary])


def verify_version(config: Config, model: str, version: str) -> VerifyReport:
    """Raises OperatorError when there is no such version."""
    registry = Registry(config.storage.models_path)
    entry = registry.entry(model, version)
    if entry is None:
        raise OperatorError(f"{model}/{version} is not published")
    folder = registry.version_folder(model, version)
    checks = list(_file_checks(folder, entry))
    if all(check.finding == "same" for check in checks):
        checks += _number_checks(config, registry, folder, entry)
    return VerifyReport(f"{model}/{version}", tuple(checks))


def _file_checks(folder: Path, entry: Entry) -> Iterator[Check]:
    for name, facts in entry.get("files", {}).items():
        file = folder / name
        found = sha256_of_file(file) if file.is_file() else "missing"
        is_same = found == facts["sha256"]
        yield Check(
            name, "same" if is_same else "different", found if is_same else f"{found}, recorded {facts['sha256']}"
        )
    if not (folder / CARD_FILE).is_file() or not (folder / SPLIT_FILE).is_file():
        yield Check("files", "cannot", f"without {CARD_FILE} and {SPLIT_FILE} nothing can be computed again")
        return
    problems = problems_of(folder)
    yield Check("loads and answers", "different" if problems else "same", "; ".join(problems) or "golden vectors agree")


def _number_checks(config: Config, registry: Registry, folder: Path, entry: Entry) -> list[Check]:
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    snapshot = read_snapshot(folder / SNAPSHOT_FILE)
    parts = _read_parts(folder / SPLIT_FILE, snapshot)
    images = ImageFolder(config.storage.local_path)
    missing = {part: _missing(images, parts[part]) for part in PARTS}
    recomputed = _Recomputation(registry, folder, card, snapshot, parts, images, missing)
    again = recomputed.entry()
    why = {name: words for name, words in recomputed.reasons().items() if words}
    return [*_compare("", _numbers_of(entry), _numbers_of(again), why)]


@dataclass(frozen=True, slots=True)
class _Recomputation:
    registry: Registry
    folder: Path
    card: dict[str, Any]
    snapshot: Snapshot
    parts: PartsOfSplit
    images: ImageFolder
    missing: dict[Part, int]

    def reasons(self) -> dict[str, str]:
        """Why numbers whose names begin so cannot be told."""
        gone = {
            part: f"{count} of {len(self.parts[part])} {part} pictures are gone" for part, count in self.missing.items()
        }
        validation = gone["validation"] if self.missing["validation"] else ""
        test = gone["test"] if self.missing["test"] else ""
        rival = self.card["gate"]["measured"]["champion"]
        left_out = UNSEEN_NEEDS if self.card["data"]["judged_with"]["evaluation"]["leave_one_out"] else ""
        return {
            **dict.fromkeys(("val_acc", "val_auc", "val_loss", "precision", "recall", "f1_score"), validation),
            "test_auc": test,
            **dict.fromkeys(("unseen_", "gate.measured.unseen"), left_out),
            "gate.measured.benchmarks": "benchmarks are measured while training",
            "gate": test or ("" if rival is None or self._rival_folder() else f"{rival} is not published any more"),
            "gate.measured.probes": "; ".join(gone[part] for part in PARTS if self.missing[part]),
        }

    def entry(self) -> Entry:
        present: dict[Part, list[GroupedSample]] = {
            part: [member for member in members if _is_present(self.images, member)]
            for part, members in self.parts.items()
        }
        model, architecture, preprocessing = load_version(self.folder)
        scorer = CachedScorer(ModelScorer(model, architecture, preprocessing, self.images))
        judged = self.card["data"]["judged_with"]
        settings = EvaluationSettings(**judged["evaluation"] | {"robustness": False, "leave_one_out": False})
        calibration = self._calibration(scorer, present, settings)
        evaluation = evaluate(scorer, present, calibration, settings, _silent)
        training = self.card["data"]["training"]
        audit = Audit({}, tuple(self.card["audit"]["problems"]), (), {})
        if not any(self.missing.values()):
            augmentation = Augmentation(AugmentationSettings(**training["settings"]["augmentation"]), preprocessing)
            members = [member for part in PARTS for member in present[part]]
            audit_settings = AuditSettings(**judged["audit"])
            audit = run_audit(
                members, scorer, augmentation, self.images.folder, audit_settings, _silent, training["settings"]["seed"]
            )
        rival = self._rival()
        decision = decide(evaluation, audit, rival, GateSettings(**judged["gate"]))
        name, version = self.card["gate"]["published_as"].split("/")
        candidate = Candidate(
            model,
            architecture,
            preprocessing,
            architecture["mode"],
            training["epochs"],
            training["history"],
            architecture["pretrained"],
            training["notes"],
        )
        identity = Identity(name, version, from_iso(self.card["software"]["created"]))
        assessment = Assessment(calibration, evaluation, audit, decision)
        return make_entry(identity, candidate, assessment, self.snapshot, self.parts)

    def _calibration(self, scorer: CachedScorer, present: PartsOfSplit, settings: EvaluationSettings) -> Calibration:
        again = calibrate(scorer, present, settings)
        if not self.missing["calibration"]:
            return again
        recorded = float(self.card["calibration"]["temperature"])
        return Calibration(recorded, again.fitted_on, again.n, again.groups, None, None, again.points)

    def _rival_folder(self) -> Path | None:
        name = self.card["gate"]["measured"]["champion"]
        if name is None or self.registry.entry(*name.split("/")) is None:
            return None
        return self.registry.version_folder(*name.split("/"))

    def _rival(self) -> Champion | None:
        folder = self._rival_folder()
        if folder is None:
            return None
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        scorer = ModelScorer.from_version(folder, self.images)
        return Champion(f"{folder.parent.name}/{folder.name}", scorer, float(card["calibration"]["temperature"]))


def _read_parts(file: Path, snapshot: Snapshot) -> PartsOfSplit:
    by_sha256 = {sample.sha256: sample for sample in snapshot.samples}
    parts: dict[Part, list[GroupedSample]] = {part: [] for part in PARTS}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["part"] not in parts or row["sha256"] not in by_sha256:
            raise StopRunError(f"{file}: {row} does not belong to the snapshot")
        parts[row["part"]].append(GroupedSample(by_sha256[row["sha256"]], row["group"], row["part"]))
    return parts


def _missing(images: ImageFolder, members: Sequence[GroupedSample]) -> int:
    return sum(not _is_present(images, member) for member in members)


def _is_present(images: ImageFolder, member: GroupedSample) -> bool:
    """The very bytes that were judged are still there."""
    return images.has(member.sample) and sha256_of_file(images.folder / member.sample.path) == member.sample.sha256


def _numbers_of(entry: Entry) -> dict[str, Any]:
    """The entry without its identity, and the gate without its sentences."""
    kept = {key: value for key, value in entry.items() if key not in IDENTITY_KEYS}
    if isinstance(kept.get("gate"), dict):
        kept["gate"] = {key: value for key, value in kept["gate"].items() if key != "reasons"}
    return kept


def _compare(name: str, recorded: Any, found: Any, why: dict[str, str]) -> Iterator[Check]:
    """Walk both; a number counts as the same within TOLERANCE."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in [*recorded, *(key for key in found if key not in recorded)]:
            yield from _compare(f"{name}.{key}" if name else key, recorded.get(key), found.get(key), why)
        return
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for index, (old, new) in enumerate(zip(recorded, found, strict=True)):
            yield from _compare(f"{name}[{index}]", old, new, why)
        return
    reason = next((words for start, words in why.items() if name.startswith(start)), None)
    if reason is not None:
        yield Check(name, "cannot", f"recorded {_short(recorded)}; {reason}")
    elif _is_same(recorded, found):
        yield Check(name, "same", _short(recorded))
    else:
        yield Check(name, "different", f"recorded {_short(recorded)}, computed again {_short(found)}")


def _is_same(recorded: Any, found: Any) -> bool:
    if isinstance(recorded, float) and isinstance(found, (int, float)):
        return math.isclose(recorded, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(recorded == found)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def _silent(done: int, total: int, message: str, metrics: dict[str, float] | None = None) -> None:
    """Nobody waits for these steps one by one."""
