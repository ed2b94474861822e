"""The shapes in openapi.json (JSON Schema). Objects may carry more keys than are named here; clients ignore those."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TIME: Schema = {"type": ["string", "null"], "format": "date-time", "description": "ISO 8601 in UTC with Z, or null."}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
NUMBER: Schema = {"type": ["number", "null"]}
UNSEEN: Schema = {
    "type": ["object", "null"],
    "description": "Of sources left out of training: mean, interval for one more source, worst; all null with `why`.",
    "properties": {"value": SHARE, "low": SHARE, "high": SHARE, "worst": SHARE, "why": TEXT},
}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _object(description: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        "What went wrong and what to do.",
        {"error": _object("Stable code, message for people.", {"code": TEXT, "message": TEXT})},
    ),
    "Refused": _object(
        "A wish that cannot be granted now, with the numbers that say why.",
        {"status": TEXT, "error": _object("Stable code, message for people.", {"code": TEXT, "message": TEXT})},
    ),
    "Started": _object("The run that was started, or is being stopped.", {"status": TEXT}, {"run_id": TEXT}),
    "Moved": _object(
        "The version that is in service now.", {"status": TEXT}, {"model": TEXT, "version": TEXT, "serial": COUNT}
    ),
    "Status": _object(
        "The service at a glance.",
        {
            "uptime": {"type": "number", "description": "Seconds."},
            "last_scrape": TIME,
            "last_train": TIME,
            "dataset_counts": _object(
                "Usable samples; total = real + ai_generated + unlabeled.",
                {"total": COUNT, "real": COUNT, "ai_generated": COUNT, "unlabeled": COUNT},
                {"duplicates": COUNT, "conflicts": COUNT, "rejected": COUNT, "pending": COUNT, "away": COUNT},
            ),
        },
        {"dataset_compared_at": TIME},
    ),
    "Health": _object(
        "`ready` is false while the status is starting or failing.",
        {
            "status": {"enum": ["ok", "starting", "degraded", "failing"]},
            "live": {"type": "boolean"},
            "ready": {"type": "boolean"},
            "parts": {
                "type": "array",
                "items": _object("One part.", {"name": TEXT, "ok": {"type": "boolean"}, "reason": TEXT}),
            },
        },
    ),
    "Metrics": _object(
        "The integration guide's four figures, and how the version in service does on what it never saw.",
        {"total_images": COUNT, "models_trained": COUNT, "last_training": TIME, "validation_accuracy": SHARE},
        {"unseen_auc": UNSEEN, "unseen_false_alarms": UNSEEN, "unseen_found": UNSEEN},
    ),
    "Batch": _object(
        "Totals of one detector, by day and version; those with the most pictures stay, so sending twice counts once.",
        {
            "reporter": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "Random, new with each start."},
            "histograms": {
                "type": "array",
                "maxItems": 64,
                "items": _object(
                    "`scores` are counts in 20 equal bins over 0..1 of the probability of ai_generated.",
                    {
                        "day": {"type": "string", "format": "date"},
                        "model": TEXT,
                        "version": TEXT,
                        "scores": {"type": "array", "items": COUNT, "minItems": 20, "maxItems": 20},
                        "verdicts": _object(
                            "They add up to the scores.", {"ai_generated": COUNT, "real": COUNT, "uncertain": COUNT}
                        ),
                    },
                    {
                        "unfamiliar": {**COUNT, "description": "Of the uncertain ones."},
                        "novelty": {
                            "type": "array",
                            "items": COUNT,
                            "minItems": 20,
                            "maxItems": 20,
                            "description": "In 20 bins over 0..2 cuts of the version; the last one has all above.",
                        },
                    },
                ),
            },
        },
    ),
    "Taken": _object(
        "How many histograms were kept, and how many are of days or versions that do not count.",
        {"status": TEXT, "taken": COUNT, "ignored": COUNT},
    ),
    "Observations": _object(
        "Sums by day and version; the scores of the validation split; the decision; when which version came.",
        {
            "days": {"type": "array", "items": {"type": "object"}},
            "validation": {"type": ["object", "null"]},
            "in_service": {
                "type": "array",
                "items": _object(
                    "A version and when it came into service.", {"model": TEXT, "version": TEXT, "since": TEXT}
                ),
            },
            "drift": _object(
                "Whether the share of pictures that could not be judged has significantly risen.",
                {
                    "state": {"enum": ["off", "no_version", "no_baseline", "too_few", "steady", "risen"]},
                    "reason": TEXT,
                    "pictures": COUNT,
                    "shares": {
                        "type": "object",
                        "additionalProperties": _object(
                            "Of the window, with its lower limit; in validation, with its upper limit.",
                            {"seen": SHARE, "low": SHARE, "validation": SHARE, "high": SHARE},
                        ),
                    },
                    "advice": TEXT,
                },
            ),
        },
    ),
    "ReportForm": _object(
        "The picture, and what is said of it. Texts are kept as they are, without control characters.",
        {
            "file": {"type": "string", "format": "binary", "description": "The picture's file, as it was judged."},
            "version": {"type": "string", "description": "The version that judged it: `v3`, or `vit/v3`."},
            "verdict": {"enum": ["ai_generated", "real", "uncertain"]},
        },
        {
            "probability": SHARE,
            "label": {"enum": ["real", "ai_generated"], "description": "What the reporter claims it is."},
            "note": {"type": "string", "maxLength": 2000},
            "reporter": {"type": "string", "maxLength": 200},
        },
    ),
    "Receipt": _object(
        "The picture's id, and how many reports of it are kept; `nearly`: the known one is not this very file.",
        {"status": TEXT, "sample": TEXT, "reports": COUNT},
        {"nearly": {"type": "boolean"}},
    ),
    "Report": _object(
        "One report, and what has become of its picture.",
        {
            "id": TEXT,
            "sha256": SHA256,
            "received": TIME,
            "version": TEXT,
            "verdict": TEXT,
            "state": {"enum": ["waiting", "real", "ai_generated", "skipped", "gone"]},
        },
        {"model": TEXT, "probability": SHARE, "sample": {"type": ["string", "null"]}, "note": TEXT, "reporter": TEXT}
        | {"nearly": {"type": "boolean"}},
    ),
    "Run": _object("A scrape or a training.", {"id": TEXT, "kind": {"enum": ["scrape", "train"]}}),
    "Version": _object(
        "One entry of models/registry.json.",
        {"model": TEXT, "version": TEXT},
        {
            "timestamp": TIME,
            "dataset_size": COUNT,
            "train_size": COUNT,
            "val_size": COUNT,
            "epochs": COUNT,
            "val_acc": SHARE,
            "val_auc": SHARE,
            "val_loss": NUMBER,
            "unseen_auc": UNSEEN,
            "unseen_false_alarms": UNSEEN,
            "unseen_found": UNSEEN,
            "precision": SHARE,
            "recall": SHARE,
            "f1_score": SHARE,
            "notes": TEXT,
            "sha256": SHA256,
            "size_bytes": COUNT,
        },
    ),
    "Latest": _object(
        "The version in service, and where its weights are.",
        {
            "model_version": TEXT,
            "model_name": TEXT,
            "timestamp": TIME,
            "metrics": {"type": "object"},
            "download_url": {"type": "string", "description": "Relative to this service's base URL."},
            "sha256": SHA256,
            "size_bytes": COUNT,
        },
        {"serial": COUNT},
    ),
    "Pointer": _object(
        "Ed25519 over the exact bytes that `payload` encodes: JSON {model, version, serial, files, issued, expires}.",
        {
            "payload": {"type": "string", "contentEncoding": "base64"},
            "signature": {"type": "string", "contentEncoding": "base64"},
            "key_id": SHA256,
        },
    ),
}
