"""What to collect so that the next training is not rejected for the same reason, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.audit.objection import Objection, ObjectionCode

# weightiest first: the first code that an objection carries gives the advice
ADVICE: dict[ObjectionCode, str] = {
    "learnt_shortcut": "collect both labels in the same format, JPEG quality and size, preferably as original files",
    "chance_on_unseen": "collect more real sources and more generators, each in its own folder "
    "(real/<source>/…, ai_generated/<generator>/…)",
    "worse_on_unseen": "collect more real sources and more generators, each in its own folder",
    "chance": "collect more pictures of both labels, by many creators, of the same kinds of subjects and in the same "
    "formats and sizes",
    "unknown": "collect pictures of both labels by more creators, so that the test split gets some of each",
    "worse_than_probe": "collect real and generated pictures that show the same kinds of subjects",
    "data": "read the audit's problems (exposr-trainer runs RUN)",
}
OTHERWISE = "collect more labelled pictures: a larger test split tells smaller differences"


def what_to_collect(objections: Sequence[str]) -> str:
    """Advice for the weightiest of the objections; those without a code are about differences to the champion."""
    codes = {objection.code for objection in objections if isinstance(objection, Objection)}
    return next((advice for code, advice in ADVICE.items() if code in codes), OTHERWISE)
