"""The report's plots, as SVG that can be put into a page; the same card gives the same bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, ACCENT, WARM = "#1d2430", "#9aa3b0", "#2a5db0", "#c2571a"
STYLE: dict[str, Any] = {
    "svg.hashsalt": "exposr",
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of generators are no formulas
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Plot:
    svg: str
    caption: str


def plots_of(card: dict[str, Any]) -> list[Plot]:
    """ROC, calibration, slices and robustness, as far as they could be measured."""
    evaluation = card["evaluation"]
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        made = [
            _roc(evaluation),
            _reliability(evaluation),
            _slices(evaluation),
            _robustness(evaluation),
        ]
    return [plot for plot in made if plot is not None]


def _roc(evaluation: dict[str, Any]) -> Plot | None:
    curve, auc = evaluation["curves"]["roc"], evaluation["test"]["auc"]
    if curve is None:
        return None
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    axes.plot(curve["fpr"], curve["tpr"], color=ACCENT, linewidth=2, drawstyle="steps-post")
    axes.set(
        xlabel="real pictures called generated",
        ylabel="generated pictures found",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    interval = "" if auc["low"] is None else f" ({auc['low']:.2f} to {auc['high']:.2f})"
    return Plot(_svg(figure), f"ROC of the test split: AUC {auc['value']:.3f}{interval}; dashed: chance")


def _reliability(evaluation: dict[str, Any]) -> Plot | None:
    bins = evaluation["curves"]["reliability"]
    if not bins:
        return None
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    largest = max(entry["n"] for entry in bins)
    axes.scatter(
        [entry["mean_probability"] for entry in bins],
        [entry["share_ai"] for entry in bins],
        s=[20 + 160 * entry["n"] / largest for entry in bins],
        color=ACCENT,
        alpha=0.75,
    )
    axes.set(xlabel="probability given", ylabel="share that is generated", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    return Plot(
        _svg(figure), "Calibration of the test split: dots on the line are as sure as they should be; size: pictures"
    )


def _slices(evaluation: dict[str, Any]) -> Plot | None:
    rows = [
        (name, entry["auc"], color)
        for key, color in (("per_generator", ACCENT), ("per_real_source", WARM))
        for name, entry in evaluation[key].items()
        if entry["auc"]["value"] is not None
    ]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: row[1]["value"])[:20]
    figure = Figure(figsize=(4.2, 0.8 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, auc, color) in enumerate(rows):
        if auc["low"] is not None:
            axes.plot([auc["low"], auc["high"]], [place, place], color=color, linewidth=2, alpha=0.5)
        axes.plot([auc["value"]], [place], "o", color=color, markersize=5)
    axes.axvline(0.5, color=SOFT, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(rows)), [_short(name) for name, _, _ in rows])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4), xlabel="AUC against the other label")
    return Plot(
        _svg(figure), "By generator (blue) and real source (orange), weakest first from below, with 95 % intervals"
    )


def _robustness(evaluation: dict[str, Any]) -> Plot | None:
    conditions = evaluation.get("robustness", {}).get("conditions", {})
    rows = [(entry["what"], entry["auc"], entry["flip_rate"]) for entry in conditions.values() if entry["auc"]["value"]]
    if not rows:
        return None
    figure = Figure(figsize=(4.2, 0.8 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = list(range(len(rows)))[::-1]
    axes.barh(places, [flips["value"] for _, _, flips in rows], color=WARM, alpha=0.5, height=0.55)
    axes.plot([auc["value"] for _, auc, _ in rows], places, "o", color=ACCENT, markersize=5)
    clean = evaluation["robustness"]["clean_auc"]
    if clean is not None:
        axes.axvline(clean, color=ACCENT, linewidth=1, linestyle=":")
    axes.set_yticks(places, [what for what, _, _ in rows])
    axes.set(xlim=(-0.02, 1.02))
    return Plot(
        _svg(figure),
        "Robustness: AUC under each condition (dots; dotted: untouched) and share of flipped verdicts (bars)",
    )


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    return figure, figure.add_subplot()


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
