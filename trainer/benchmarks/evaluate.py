"""`exposr-trainer evaluate`: a published version on any folder of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from trainer.benchmarks.learnt import learnt_from
from trainer.benchmarks.measure import measure_pictures
from trainer.benchmarks.pictures import read_pictures
from trainer.data.images import ImageFolder
from trainer.evaluation.operating_points import OperatingPoints
from trainer.models.scorer import ModelScorer
from trainer.stats.novelty import Novelty
from utils.errors import OperatorError, StopRunError

NAMED = 100  # of the pictures that the version has learnt from, in text and page

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }} on {{ folder }}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2430}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #dfe3ea}
p{max-width:48rem}</style></head><body>
<h1>{{ name }} on {{ folder }}</h1>
{% for line in summary %}<p>{{ line }}</p>{% endfor %}
<h2>By folder</h2><table><tr><th>Folder</th><th>Label</th><th>n</th><th>called generated</th><th>called real</th>
<th>uncertain</th></tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
<h2>Most certain mistakes</h2>
{% if mistakes %}<table><tr><th>Picture</th><th>is</th><th>P(generated)</th></tr>
{% for row in mistakes %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
{% else %}<p>None: no verdict was wrong.</p>{% endif %}
{% if skipped %}<h2>Left out</h2><ul>{% for line in skipped %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
</body></html>
"""


def evaluate_folder(version_folder: Path, folder: Path) -> dict[str, Any]:
    """The result with `name`, `skipped` and `learnt_from`: pictures that are left out of every number, and why.

    Raises OperatorError for the folder, StopRunError for the version.
    """
    pictures = read_pictures(folder)
    learnt = learnt_from(version_folder, pictures.members)
    members = [member for member in pictures.members if member.sample.sha256 not in learnt]
    if not members:
        raise OperatorError(
            f"{folder}: the version has learnt from every picture in it; its card has the figures of its test split"
        )
    scorer = ModelScorer.from_version(version_folder, ImageFolder(folder))
    try:
        card = json.loads((version_folder / "model.json").read_text(encoding="utf-8"))
        given = card["operating_points"]
        points = OperatingPoints(float(given["threshold_ai"]), float(given["threshold_real"]), (), "")
        novelty = Novelty.from_card(card["novelty"]) if card.get("novelty") else None
        temperature, name = float(card["calibration"]["temperature"]), str(card["gate"]["published_as"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StopRunError(f"{version_folder}: model.json cannot be used: {error!r}") from error
    result = measure_pictures(scorer, members, temperature, points, novelty)
    paths = {member.sample.sha256: member.sample.path for member in pictures.members}
    told = sorted(((paths[sha256], known) for sha256, known in learnt.items()), key=lambda entry: entry[0])
    return {
        "name": name,
        "folder": str(folder),
        **result.card,
        "learnt_from": [{"path": path, "part": known.part, "why": str(known)} for path, known in told],
        "skipped": dict(pictures.skipped),
    }


def render_text(found: dict[str, Any]) -> str:
    rows = [("folder", "label", "n", "called generated", "called real", "uncertain"), *_rows(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    mistakes = [f"  {path}: is {label}, P(generated) {probability}" for path, label, probability in _mistakes(found)]
    skipped = [f"  {line}" for line in _skipped(found)]
    lines = [
        *_summary(found),
        "",
        *table,
        "",
        "most certain mistakes:",
        *(mistakes or ["  none: no verdict was wrong"]),
    ]
    return "\n".join([*lines, *(["", "left out:", *skipped] if skipped else [])])


def render_html(found: dict[str, Any]) -> str:
    """One self-contained page."""
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    return template.render(
        name=found["name"],
        folder=found["folder"],
        summary=_summary(found),
        rows=_rows(found),
        mistakes=_mistakes(found),
        skipped=_skipped(found),
    )


def _summary(found: dict[str, Any]) -> list[str]:
    known = len(found["learnt_from"])
    left_out = f"; {known} more are left out, because the version has learnt from them or from near-duplicates of them"
    return [
        f"{found['name']} on {found['n']} pictures ({found['real']} real, {found['ai_generated']} generated)"
        + (left_out if known else ""),
        f"AUC {_words(found['auc'])}; real ones called generated {_words(found['false_alarms'])}; generated ones found "
        f"{_words(found['found'])}; a verdict at all for {_words(found['verdict_share'])}",
    ]


def _rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    shares = ("called_ai_generated", "called_real", "uncertain")
    return [
        (row["name"], row["label"], str(row["n"]), *(f"{row[share]['value']:.0%}" for share in shares))
        for row in found["folders"]
    ]


def _mistakes(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(entry["path"], entry["label"], f"{entry['probability']:.3f}") for entry in found["mistakes"]]


def _skipped(found: dict[str, Any]) -> list[str]:
    known = [f"{entry['path']}: {entry['why']}" for entry in found["learnt_from"][:NAMED]]
    if more := found["learnt_from"][NAMED:]:
        known.append(f"… and {len(more)} more that the version has learnt from; --json names all")
    return [*known, *(f"{name}: {why}" for name, why in found["skipped"].items())]


def _words(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "not known (no such pictures)"
    if measured["value"] is None:
        return f"not known ({measured['why']})"
    return f"{measured['value']:.2f} ({measured['low']:.2f} to {measured['high']:.2f})"
