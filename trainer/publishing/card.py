"""The version's card (model.json) and its registry entry: everything a version must prove, in one place."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as package_version
from typing import Any

from trainer.audit.audit import Audit
from trainer.data.snapshot import Snapshot
from trainer.data.types import PARTS, Candidate, GroupedSample, PartsOfSplit
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.operating_points import MIDDLE
from trainer.gate.gate import GateDecision
from trainer.models.golden import record_golden
from trainer.publishing.registry_files import Entry
from trainer.split.sources import origin
from utils.clock import to_iso
from utils.config_loader import Config
from utils.version import VERSION

CARD_KEYS = (
    "architecture",
    "preprocessing",
    "labels",
    "operating_points",
    "calibration",
    "novelty",
    "evaluation",
    "audit",
    "gate",
    "data",
    "software",
    "files",
)
LABELS_CARD = {
    "0": "real",
    "1": "ai_generated",
    "output": "one logit; P(ai_generated) = sigmoid(logit / calibration.temperature)",
    "verdicts": ["ai_generated", "real", "uncertain"],
    "reasons": {
        "unfamiliar": "novelty above novelty.cut: uncertain, whatever the probability",
        "near_threshold": "probability between the thresholds: uncertain",
    },
}
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")
SMALL_TEST = 100  # pictures of the test split below which the notes warn


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found out about a candidate."""

    calibration: Calibration
    evaluation: Evaluation
    audit: Audit
    decision: GateDecision


@dataclass(frozen=True, slots=True)
class Identity:
    model: str
    version: str
    created: datetime


def make_card(
    identity: Identity,
    candidate: Candidate,
    assessment: Assessment,
    snapshot: Snapshot,
    parts: PartsOfSplit,
    split_report: Mapping[str, Any],
    config: Config,
    files: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The card, with exactly CARD_KEYS on top. `files` are the sha256 and size_bytes of what lies beside it."""
    novelty = assessment.evaluation.novelty
    golden = record_golden(candidate.preprocessing, candidate.model, novelty)
    card = {
        "architecture": {**candidate.architecture, "mode": candidate.mode, "pretrained": candidate.pretrained},
        "preprocessing": {**candidate.preprocessing.as_card(), "golden": golden},
        "labels": LABELS_CARD,
        "operating_points": assessment.calibration.points.to_card(),
        "calibration": assessment.calibration.to_card(),
        "novelty": novelty.to_card() if novelty else None,
        "evaluation": assessment.evaluation.to_card(),
        "audit": assessment.audit.to_card(),
        "gate": {"published_as": f"{identity.model}/{identity.version}", **assessment.decision.to_card()},
        "data": {
            "fingerprint": snapshot.fingerprint,
            "samples": len(snapshot.samples),
            "labels": dict(Counter(sample.label for sample in snapshot.samples)),
            "parts": {part: _part_counts(parts[part]) for part in PARTS},
            "split": dict(split_report),
            "training": {
                "epochs": candidate.epochs,
                "history": candidate.history,
                "notes": candidate.notes,
                "backbones": candidate.backbones,
                "settings": config.training.model_dump(mode="json"),
            },
            "judged_with": {
                "evaluation": config.evaluation.model_dump(mode="json"),
                "audit": config.audit.model_dump(mode="json"),
                "gate": config.gate.model_dump(mode="json"),
            },
        },
        "software": {
            "exposr-trainer": VERSION,
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: package_version(name) for name in PACKAGES},
            "created": to_iso(identity.created),
        },
        "files": {name: dict(facts) for name, facts in files.items()},
    }
    return {key: card[key] for key in CARD_KEYS}


def make_entry(
    identity: Identity, candidate: Candidate, assessment: Assessment, snapshot: Snapshot, parts: PartsOfSplit
) -> Entry:
    """The guide's fields, from the validation split at a threshold of 0.5 after temperature, and the gate's result."""
    validation = assessment.evaluation.validation
    return {
        "model": identity.model,
        "version": identity.version,
        "timestamp": to_iso(identity.created),
        "dataset_size": len(snapshot.samples),
        "train_size": len(parts["train"]),
        "val_size": len(parts["validation"]),
        "calibration_size": len(parts["calibration"]),
        "test_size": len(parts["test"]),
        "epochs": candidate.epochs,
        "val_acc": validation["accuracy"].value,
        "val_auc": validation["auc"].value,
        "val_loss": validation["nll"].value,
        "precision": validation["precision"].value,
        "recall": validation["recall"].value,
        "f1_score": validation["f1"].value,
        "test_auc": assessment.evaluation.test["auc"].value,
        "test_auc_interval": [assessment.evaluation.test["auc"].low, assessment.evaluation.test["auc"].high],
        **{name: figure.to_entry() for name, figure in assessment.evaluation.unseen.items()},
        "notes": notes(candidate, assessment),
        "data_fingerprint": snapshot.fingerprint,
        "gate": assessment.decision.to_card(),
    }


def notes(candidate: Candidate, assessment: Assessment) -> str:
    """What whoever reads the registry must know, in one line."""
    auc, decision = assessment.evaluation.test["auc"], assessment.decision
    weights = candidate.pretrained.get("note") or candidate.pretrained.get("source", "unknown")
    parts = [f"{candidate.architecture['name']}, mode {candidate.mode}, weights: {weights}"]
    parts += candidate.notes
    if auc.value is None:
        parts.append(f"test AUC not measurable: {auc.why}")
    elif auc.n < SMALL_TEST and auc.low is not None and auc.high is not None:
        words = "includes chance" if auc.low <= 0.5 else "few pictures, wide interval"
        parts.append(f"test AUC {auc.value:.2f} on {auc.n} pictures, {auc.low:.2f} to {auc.high:.2f} ({words})")
    reported = assessment.evaluation.reported
    if reported is not None and reported["mistakes"]:
        parts.append(f"of {reported['mistakes']} mistakes that Exposr-Core reported {reported['right']} are right now")
    parts.append(f"gate: {'; '.join(decision.reasons)}")
    parts.append(f"val_* and precision, recall, f1_score are at P >= {MIDDLE} on the validation split")
    return ". ".join(parts)


def _part_counts(members: Sequence[GroupedSample]) -> dict[str, Any]:
    counts = Counter(member.sample.label for member in members)
    return {
        "n": len(members),
        "groups": len({member.group for member in members}),
        "real": counts["real"],
        "ai_generated": counts["ai_generated"],
        "origins": dict(sorted(Counter(origin(member) for member in members).items())),
    }
