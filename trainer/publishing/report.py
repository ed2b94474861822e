"""report.html: the card for people. The verdict and what is unseen first, then the numbers; nothing is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trainer.publishing.plots import plots_of
from trainer.publishing.registry_files import Entry
from utils.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"
ROWS = {
    "auc": "AUC",
    "ap": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "tpr_at_fpr_1": "generated found at 1 % false alarms",
    "tpr_at_fpr_5": "generated found at 5 % false alarms",
    "tpr_at_fpr_10": "generated found at 10 % false alarms",
    "eer": "equal error rate",
    "ece": "calibration error (ECE)",
    "nll": "log loss",
    "brier": "Brier score",
}
HEADLINES = {
    "first": ("good", "Published as the first version"),
    "improvement": ("good", "Published: better than the version before"),
    "not_worse": ("good", "Published: not worse than the version before"),
    "gate_off": ("warn", "Published without a check: the gate is switched off"),
    "rejected": ("bad", "Not published"),
}
UNSEEN_TILES = {
    "unseen_auc": "AUC, unseen sources and generators",
    "unseen_false_alarms": "false alarms, unseen source",
    "unseen_found": "found, unseen generator",
}
WORDS = {"real": "real", "ai_generated": "generated"}
FEW_PICTURES = 100  # in the test split


def write_report(file: Path, entry: Entry, card: dict[str, Any]) -> None:
    write_atomically(file, render_report(entry, card).encode())


def render_report(entry: Entry, card: dict[str, Any]) -> str:
    """One self-contained page."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    tone, headline = HEADLINES[card["gate"]["verdict"]]
    evaluation = card["evaluation"]
    is_doubtful = _is_doubtful(evaluation["test"]["auc"])
    return environment.get_template("report.html.j2").render(
        name=f"{entry['model']}/{entry['version']}",
        entry=entry,
        card=card,
        architecture=f"{card['architecture']['name']}, mode {card['architecture']['mode']}",
        weights_note=card["architecture"]["pretrained"].get("note") or card["architecture"]["pretrained"].get("source"),
        tone="warn" if tone == "good" and is_doubtful else tone,
        headline=headline + (", on few pictures" if tone == "good" and is_doubtful else ""),
        unseen=unseen_in_words(evaluation),
        unseen_tiles=_unseen_tiles(evaluation),
        worth=[*worth_in_words(card), *reported_in_words(evaluation.get("reported"))],
        tiles=_tiles(evaluation),
        numbers=[
            {
                "name": words,
                "test": _number(evaluation["test"][key]),
                "validation": _number(evaluation["validation"][key]),
            }
            for key, words in ROWS.items()
        ],
        slices=_slice_rows(evaluation),
        backbones=_backbones(card["data"]["training"]),
        benchmarks=[
            {"name": name, "n": found["n"], **{key: _number(found[key]) for key in ("auc", "false_alarms", "found")}}
            for name, found in evaluation.get("benchmarks", {}).items()
        ],
        plots=plots_of(card),
        robustness=_robustness_rows(evaluation),
        verdicts=_verdict_rows(evaluation["test"]["verdicts"]),
        audit=_audit_sentences(card["audit"]),
        core=(evaluation["core"] or {}).get("meaning"),
    )


def unseen_in_words(evaluation: dict[str, Any]) -> list[str]:
    """The headline: what it does with sources and generators that it never saw."""
    unseen = evaluation["unseen"]
    auc, alarms, found = (unseen[name] for name in UNSEEN_TILES)
    sentences = []
    if auc["value"] is None:
        sentences.append(f"How well it tells new generators from photographs of new sources is {auc['why']}.")
    else:
        chance = " No better than chance can be ruled out." if auc["within"] and auc["within"][0] <= 0.5 else ""
        sentences.append(
            f"With a real source and a generator left out together, it ranks a picture of that generator above one of "
            f"that source {auc['value']:.0%} of the time, {auc['worst']:.0%} in the worst case "
            f"({auc['worst_name']}).{chance}"
        )
    if alarms["value"] is not None:
        sentences.append(
            f"Of a real source that set no threshold and was not learnt from, {alarms['value']:.0%} were called "
            f"generated ({alarms['worst']:.0%} of {alarms['worst_name']}); for the next source anything from "
            f"{alarms['low']:.0%} to {alarms['high']:.0%} is to be expected, known from {alarms['sources']} sources."
        )
    if found["value"] is not None:
        sentences.append(
            f"Of a generator that was not learnt from, {found['value']:.0%} were called generated "
            f"({found['worst']:.0%} of {found['worst_name']})."
        )
    shares = unseen["verdict_share"]
    known = [f"{share:.0%} of the {WORDS[label]} ones" for label, share in shares.items() if share is not None]
    if known:
        sentences.append(f"So much of what was left out gets a verdict at all, not “uncertain”: {' and '.join(known)}.")
    return sentences


def _unseen_tiles(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": words, **_unseen_note(evaluation["unseen"][name])} for name, words in UNSEEN_TILES.items()]


def _unseen_note(figure: dict[str, Any]) -> dict[str, str]:
    if figure["value"] is None:
        return {"value": "not known", "note": figure["why"].removeprefix("not known: ")}
    note = f"{figure['low']:.2f} to {figure['high']:.2f}; worst {figure['worst']:.2f} ({figure['worst_name']})"
    return {"value": f"{figure['value']:.2f}", "note": note}


def reported_in_words(reported: dict[str, Any] | None) -> list[str]:
    """What became of the mistakes that Exposr-Core reported."""
    if reported is None:
        return []
    if not reported["mistakes"]:
        return [f"Exposr-Core reported {reported['labelled']} pictures that are labelled now; no verdict was wrong."]
    new = reported["untrained"]
    return [
        f"Of {reported['mistakes']} mistakes that Exposr-Core reported and a person has labelled since, this version "
        f"judges {reported['right']} rightly now, {reported['wrong']} wrongly, and cannot tell "
        f"{reported['uncertain']}. {new['mistakes']} of them it was not trained on: {new['right']} rightly, "
        f"{new['wrong']} wrongly."
    ]


def worth_in_words(card: dict[str, Any]) -> list[str]:
    """What the accuracy is worth, for someone who does not read intervals."""
    test = card["evaluation"]["test"]
    auc, accuracy = test["auc"], test["accuracy"]
    if auc["value"] is None:
        return [f"Nothing can be said about how good it is: {auc.get('why', 'the test split is too small')}."]
    right = round(accuracy["value"] * test["n"])
    sentences = [
        f"Of {test['n']} test pictures that it never saw ({test['real']} real, {test['ai_generated']} generated, "
        f"{auc['groups']} independent groups) it judged {right} rightly. Put a random generated and a random real "
        f"picture side by side, and it ranks the generated one higher {auc['value']:.0%} of the time."
    ]
    if auc["low"] is not None and auc["low"] <= 0.5:
        sentences.append(
            f"That is not evidence of anything yet: a coin could have done the same on these pictures (the interval "
            f"runs from {auc['low']:.2f} to {auc['high']:.2f}, and 0.50 is chance). Collect more before relying on it."
        )
    elif test["n"] < FEW_PICTURES:
        sentences.append(
            f"So few pictures cannot say more than that the true figure lies somewhere between {auc['low']:.2f} and "
            f"{auc['high']:.2f}, for pictures like these. It says nothing about other cameras, subjects or generators."
        )
    else:
        sentences.append(
            f"The true figure lies between {auc['low']:.2f} and {auc['high']:.2f}, for more pictures of the same "
            "sources and generators."
        )
    return sentences


def _is_doubtful(auc: dict[str, Any]) -> bool:
    return auc["value"] is None or auc["low"] is None or auc["low"] <= 0.5 or auc["n"] < FEW_PICTURES


def _tiles(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    names = {
        "auc": "AUC",
        "balanced_accuracy": "balanced accuracy",
        "recall": "generated found",
        "specificity": "real left alone",
    }
    return [{"name": words, **_value_and_note(evaluation["test"][key])} for key, words in names.items()]


def _value_and_note(measured: dict[str, Any]) -> dict[str, str]:
    if measured["value"] is None:
        return {"value": "–", "note": measured.get("why", "")}
    if measured["low"] is None:
        return {"value": f"{measured['value']:.2f}", "note": f"n = {measured['n']}"}
    return {
        "value": f"{measured['value']:.2f}",
        "note": f"{measured['low']:.2f} to {measured['high']:.2f}, n = {measured['n']}",
    }


def _number(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "–"
    if measured["value"] is None:
        return f"– ({measured.get('why', 'not measurable')})"
    if measured["low"] is None:
        return f"{measured['value']:.3f}"
    return f"{measured['value']:.3f} [{measured['low']:.3f}, {measured['high']:.3f}]"


def _short_number(measured: dict[str, Any]) -> str:
    """Two digits, for wide tables."""
    if measured["value"] is None or measured["low"] is None:
        return "–"
    return f"{measured['value']:.2f} [{measured['low']:.2f}, {measured['high']:.2f}]"


def _slice_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, label, correct, left_out in (
        ("per_generator", "generated", "recall", "leave_one_generator_out"),
        ("per_real_source", "real", "specificity", "leave_one_real_source_out"),
    ):
        alone = evaluation.get(left_out, {}).get("by_name", {})
        rows += [
            {
                "name": name,
                "label": label,
                "n": entry["n"],
                "correct": _number(entry[correct]),
                "auc": _number(entry["auc"]),
                "left_out": _number(alone[name]["auc"]) if name in alone else "–",
            }
            for name, entry in evaluation[key].items()
        ]
    return rows


def _backbones(training: dict[str, Any]) -> dict[str, Any]:
    """What was compared, in words, and a row for each; no rows where nothing was."""
    found = training.get("backbones") or {}
    if "rows" not in found:
        return {"said": f"Not compared: {found['why']}." if found else "", "rows": []}
    said = (
        f"{found['chosen']} was chosen on {found['made'][:10]}: {found['why']}. Each was embedded for "
        f"{found['compared_on']} training pictures, and asked about left-out sources as they are and compressed."
    )
    return {"said": said, "rows": [_backbone_row(row, found["chosen"]) for row in found["rows"]]}


def _backbone_row(row: dict[str, Any], chosen: str) -> dict[str, str]:
    known = row["auc"] is not None
    branch = ", with the branch" if row["with_branch"] else ""
    return {
        "name": f"{row['name']} (chosen)" if row["name"] == chosen else row["name"],
        "licence": row["licence"],
        "auc": f"{row['auc']:.3f}" if known else row["why"],
        "parameters": f"{row['parameters'] / 1e6:.1f} million" if known else "–",
        "input_size": f"{row['input_size']} px" if known else "–",
        "seconds": f"{row['seconds']:.0f} s for {row['embedded']} pictures{branch}" if row["embedded"] else "–",
    }


def _robustness_rows(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "what": entry["what"],
            "auc": _short_number(entry["auc"]),
            "recall": _short_number(entry["recall"]),
            "specificity": _short_number(entry["specificity"]),
            "flips": f"{entry['flip_rate']['value']:.0%}",
            "changes": f"{entry['verdict_change_rate']['value']:.0%}",
        }
        for entry in evaluation.get("robustness", {}).get("conditions", {}).values()
    ]


def _verdict_rows(rates: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "label": "real",
            "ai": _number(rates.get("false_alarms")),
            "real": _number(rates.get("real_recognised")),
            "uncertain": _number(rates.get("real_uncertain")),
        },
        {
            "label": "generated",
            "ai": _number(rates.get("ai_recognised")),
            "real": _number(rates.get("misses")),
            "uncertain": _number(rates.get("ai_uncertain")),
        },
    ]


def _audit_sentences(audit: dict[str, Any]) -> list[str]:
    probes = ("metadata_probe", "content_probe", "control_probe", "permuted")
    sentences = [f"{words}: {audit[name]['meaning']}." for name, words in zip(probes, _PROBE_WORDS, strict=True)]
    sentences += [f"Shortcut in the files: {warning}." for warning in audit["warnings"]]
    sentences += [f"Problem: {problem}." for problem in audit["problems"]]
    sentences += [f"{audit[name]['meaning'].capitalize()}." for name in ("duplicates", "sources") if name in audit]
    return sentences


_PROBE_WORDS = ("File properties", "Content", "Control", "Random labels")
