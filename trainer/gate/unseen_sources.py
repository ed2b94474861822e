"""What the gate asks of left-out sources and generators: better than chance, and not worse than the champion."""

from __future__ import annotations

from typing import Any

from trainer.audit.objection import Objection
from trainer.evaluation.unseen import Unseen
from utils.config.training import Gate as Settings


def unseen_objections(
    unseen: dict[str, Unseen], champion_auc: float | None, settings: Settings, measured: dict[str, Any]
) -> list[str]:
    """Empty where too few sources are there to know. `champion_auc` is what the champion's entry says of itself."""
    measured["unseen"] = {name: figure.to_card() for name, figure in unseen.items()}
    figure = unseen.get("unseen_auc")
    if figure is None or figure.value is None or figure.within is None:
        return []
    low, high = figure.within
    words = f"AUC {figure.value:.3f} ({low:.3f} to {high:.3f}) on sources and generators that were left out"
    if low <= 0.5:
        return [Objection("chance_on_unseen", f"not significantly better than chance on what it never saw: {words}")]
    if champion_auc is not None and high < champion_auc - settings.margin:
        sentence = f"worse on what it never saw: {words}, {champion_auc:.3f} of the champion"
        return [Objection("worse_on_unseen", sentence)]
    return []
